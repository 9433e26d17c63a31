"""One way for every picture, whatever it is: decode, sRGB, size, history, 8 bits, encode."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from impasto.data.decode import read_picture
from impasto.data.standardise import encode_plain_png, fit_picture, flatten_alpha, through_jpeg
from impasto.options.errors import PictureError

__all__ = ["Prepared", "Way", "prepare"]


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A picture as it is shown.

    Attributes:
        png: the file.
        source_sha256: of the file it was made of, hexadecimal.
        scale: pixels across that one pixel of it was made of; below 1 it was enlarged.
        jpeg: whether it was stored as JPEG.
    """

    png: bytes
    source_sha256: str
    scale: float
    jpeg: bool

    @property
    def sha256(self) -> str:
        """Of the file, hexadecimal."""
        return hashlib.sha256(self.png).hexdigest()


@dataclass(frozen=True, kw_only=True)
class Way:
    """What is done to every picture.

    Attributes:
        width: pixels.
        height: pixels.
        crop: cut to the proportions, or stretch.
        jpeg_quality: of one generation of JPEG; None: none.
    """

    width: int
    height: int
    crop: bool = True
    jpeg_quality: int | None = None

    def as_dict(self) -> Mapping[str, object]:
        """Return it for a report."""
        return dict(vars(self))


def prepare(path: Path, way: Way) -> Prepared:
    """Read a picture and make of it what is shown.

    Raises:
        PictureError: it cannot be read.
    """
    picture = read_picture(path)
    try:
        stored = path.read_bytes()
    except OSError as error:
        raise PictureError(path, f"cannot be read: {error.strerror or error}") from error
    rgb = fit_picture(flatten_alpha(picture), width=way.width, height=way.height, crop=way.crop)
    if way.jpeg_quality is not None:
        rgb = through_jpeg(rgb, way.jpeg_quality)
    return Prepared(
        png=encode_plain_png(rgb),
        source_sha256=hashlib.sha256(stored).hexdigest(),
        scale=min(picture.width / way.width, picture.height / way.height),
        jpeg=stored.startswith(b"\xff\xd8\xff"),
    )
