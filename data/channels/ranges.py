"""What the numbers of a domain's pictures mean: channels, type, and the range that becomes [-1, 1].

A domain of RGB pictures of 8 bits needs none of this: it is read as colors, by
:func:`~impasto.data.decode.read_picture`. All others are numbers, which keep their depth.
"""

import json
import logging
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from impasto.data.channels.read import count_pages, read_layout, read_samples
from impasto.data.decode import Rgb
from impasto.options.errors import CheckpointError, FolderError, OptionError, PictureError

__all__ = ["Formats", "SampleFormat", "find_format", "show_numbers", "tell_pages"]

_log = logging.getLogger(__name__)

_FULL: dict[str, tuple[float, float]] = {
    "uint8": (0, 255),
    "uint16": (0, 65535),
    "float32": (0, 1),
}
_TYPES = ("uint8", "uint16", "int16", "uint32", "int32", "float32")
# Of a data set, evenly spaced: enough for its percentiles, and read in seconds.
_LOOKED_AT = 64
_VALUES_OF_EACH = 2**16
_DARK_LOOKED_AT = 8
_PERCENTILES = 0.1, 99.9
_BLENDED_ROWS = 2**18  # values at once, as numbers of 64 bits
_MOST_TOLD = 5  # files of a folder, by each process
_clipped: Counter[Path] = Counter()  # those that were told, by their folder
_TIFF_SUFFIXES = (".tif", ".tiff")


@dataclass(frozen=True, kw_only=True)
class SampleFormat:
    """The format of a domain's pictures as numbers.

    Attributes:
        channels: number of channels.
        dtype: type of the numbers in files, such as ``uint16``; empty: that of the input, where
            nobody knows what a model was trained with.
        low: number that becomes -1, in units of the file.
        high: number that becomes 1.
        source: where the range is from. ``full`` is that of the type, 0 to 255, 0 to 65535, or 0 to
            1 for floating-point numbers, and each file counts in the range of its own type.
            ``given`` was asked for, ``auto`` measured from percentiles.

    Raises:
        ValueError: a value is none of these.
    """

    channels: int
    dtype: str
    low: float
    high: float
    source: Literal["full", "given", "auto"] = "full"

    def __post_init__(self) -> None:
        known = self.dtype in ("", *_TYPES) and self.source in ("full", "given", "auto")
        # So written that what is not a number is refused.
        if not (known and self.channels >= 1 and -np.inf < self.low < self.high < np.inf):
            raise ValueError(f"no format of samples: {self}")

    @classmethod
    def full(cls, channels: int, dtype: str) -> "SampleFormat":
        """Return the format in the full range of a type; empty: of the input's, whatever it is."""
        low, high = _FULL[dtype or "uint8"]
        return cls(channels=channels, dtype=dtype, low=low, high=high)

    @property
    def is_bytes(self) -> bool:
        """Whether its pictures travel as bytes, as RGB does."""
        return self.dtype == "uint8" and self.source == "full"

    def for_input(self, dtype: str) -> "SampleFormat":
        """Return the format of a result: where its type is not known, that of the input."""
        return self if self.dtype else SampleFormat.full(self.channels, dtype)

    def read(self, path: Path) -> NDArray[Any]:
        """Read a file of the domain.

        Returns:
            (H, W, C): uint8 where the format travels as bytes, else float32 in [-1, 1].

        Raises:
            PictureError: it cannot be read, or its channels, type or numbers are not the domain's.
        """
        return self.normalize(read_samples(path, channels=self.channels), path=path)

    def clips(self, values: NDArray[Any]) -> bool:
        """Whether numbers of a file, (H, W, C), lie outside of a range that was asked for."""
        return self.source == "given" and bool(values.min() < self.low or values.max() > self.high)

    def normalize(self, values: NDArray[Any], *, path: Path, tells: bool = True) -> NDArray[Any]:
        """Return what :meth:`read` returns, for the numbers of a file, (H, W, C).

        Args:
            values: numbers as :func:`~impasto.data.channels.read.read_samples` gives them.
            path: their file, for messages.
            tells: whether it is logged that numbers are clipped.

        Raises:
            PictureError: they do not fit the format.
        """
        if self.is_bytes and values.dtype == np.uint8:
            return values
        low, high = self._range_of(values, path)
        if tells and self.clips(values):
            _warn_of_clipping(path, float(values.min()), float(values.max()), low, high)
        scaled = np.empty(values.shape, np.float32)
        rows = max(1, _BLENDED_ROWS // (values.shape[1] * values.shape[2]))
        for top in range(0, len(values), rows):
            part = values[top : top + rows].astype(np.float64)
            scaled[top : top + rows] = ((part - low) / (high - low) * 2 - 1).clip(-1, 1)
        return self.restore(scaled) if self.is_bytes else scaled

    def _range_of(self, values: NDArray[Any], path: Path) -> tuple[float, float]:
        own = values.dtype.name
        if self.source != "full":
            if (own == "uint8") != (self.dtype == "uint8"):
                raise PictureError(
                    path, f"has samples of {_type(own)}; expected {_type(self.dtype)}, as {self}"
                )
            return self.low, self.high
        if own not in _FULL:
            raise PictureError(
                path,
                f"has samples of {_type(own)}, whose full range nothing uses; say what it is by "
                "--value_range lo,hi or auto when a model is trained",
            )
        low, high = _FULL[own]
        if own == "float32" and not (values.min() >= 0 and values.max() <= 1):
            raise PictureError(
                path,
                f"has values from {values.min():g} to {values.max():g}, expected 0 to 1; say what "
                "they are by --value_range lo,hi or auto when a model is trained",
            )
        return low, high

    def restore(self, numbers: NDArray[np.float32]) -> NDArray[Any]:
        """Turn numbers in [-1, 1] into those of a file: the opposite of :meth:`normalize`.

        Args:
            numbers: (H, W, C), floating point; what lies outside is clipped.

        Returns:
            (H, W, C), of the format's type, whole numbers rounded; exact for up to 16 bits.
        """
        dtype = np.dtype(self.dtype or "uint8")
        made = np.empty(numbers.shape, dtype)
        rows = max(1, _BLENDED_ROWS // (numbers.shape[1] * numbers.shape[2]))
        for top in range(0, len(numbers), rows):
            part = numbers[top : top + rows].astype(np.float64).clip(-1, 1)
            values = (part + 1) / 2 * (self.high - self.low) + self.low
            if dtype.kind != "f":
                bounds = np.iinfo(dtype)
                values = np.rint(values).clip(bounds.min, bounds.max)
            made[top : top + rows] = values
        return made

    def to_text(self) -> str:
        """Return the format as JSON, for a file's metadata."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_text(cls, text: str) -> "SampleFormat":
        """Read what :meth:`to_text` wrote.

        Raises:
            CheckpointError: the text does not describe a format.
        """
        try:
            return cls(**json.loads(text))
        except (TypeError, ValueError) as error:
            raise CheckpointError(f"the format of its pictures is {text!r}: {error}") from error

    def __str__(self) -> str:
        channels = f"{self.channels} {'channel' if self.channels == 1 else 'channels'}"
        if not self.dtype:
            return f"{channels}, of the input's type"
        return f"{channels} of {_type(self.dtype)}, {self.low:g} to {self.high:g}"


Formats = tuple[SampleFormat | None, SampleFormat | None]
"""The formats of A and of B, or of inputs and of results; None: they are colors, RGB of 8 bits."""


def find_format(
    files: Sequence[Path], *, channels: int, value_range: str, option: str, folder: Path
) -> SampleFormat:
    """Find the format of a domain: what most of its files are, and what their numbers mean.

    Args:
        files: all picture files of the domain, of which up to 64 are looked at, evenly spaced.
        channels: number of channels that they must have.
        value_range: ``full``, ``auto``, or two numbers such as ``0,4095``.
        option: option that names the number of channels, for messages.
        folder: folder of the files, for messages.

    Raises:
        FolderError: none that was looked at has so many channels, or all their values are equal.
        OptionError: the type has no usual range.
    """
    readable, dtype = _usual_type(files, channels, option, folder)
    if value_range == "auto":
        low, high = _percentiles(readable, channels, dtype, folder)
        return SampleFormat(channels=channels, dtype=dtype, low=low, high=high, source="auto")
    if value_range != "full":
        low, high = (float(number) for number in value_range.split(","))
        return SampleFormat(channels=channels, dtype=dtype, low=low, high=high, source="given")
    if dtype not in _FULL:
        raise OptionError(
            "value_range",
            f"is needed for {folder}, whose pictures have samples of {_type(dtype)}; give two "
            "numbers, such as 0,4095, or auto",
        )
    if dtype == "uint16":
        _tell_dark(readable, channels, folder)
    return SampleFormat.full(channels, dtype)


def tell_pages(files: Sequence[Path], folder: Path) -> None:
    """Say where a domain that is read as colors has TIFF files of several pages.

    Args:
        files: all picture files of the domain, of which up to 64 are looked at, evenly spaced.
        folder: folder of the files, for messages.
    """
    tiffs = [path for path in files if path.suffix.lower() in _TIFF_SUFFIXES]
    looked_at = [tiffs[place] for place in _spread(len(tiffs), _LOOKED_AT)]
    several = [path for path in looked_at if _pages(path) > 1]
    if several:
        _log.warning(
            "%s: %s has several pages, of which the first one alone is read as a picture; with "
            "--value_range, such as 0,65535, and --input_nc or --output_nc, pages are channels",
            folder,
            several[0].name,
        )


def _pages(path: Path) -> int:
    try:
        return count_pages(path)
    except PictureError:
        return 0  # named when the training meets it


def show_numbers(numbers: NDArray[Any]) -> Rgb:
    """Return a picture to look at, of numbers in [-1, 1], or bytes, of any number of channels.

    Args:
        numbers: (H, W, C), floating point in [-1, 1], or uint8.

    Returns:
        RGB, (H, W, 3), uint8: the first three channels, or the first one as gray if there are fewer
        than three.
    """
    shown = numbers[..., :3] if numbers.shape[2] >= 3 else np.repeat(numbers[..., :1], 3, axis=2)
    if shown.dtype == np.uint8:
        return np.ascontiguousarray(shown)
    rgb: Rgb = np.rint((shown.astype(np.float32) + 1) * 127.5).clip(0, 255).astype(np.uint8)
    return rgb


def _spread(count: int, most: int) -> list[int]:
    """Return places of no more than so many, evenly spaced."""
    return sorted({place * count // min(most, count) for place in range(min(most, count))})


def _usual_type(
    files: Sequence[Path], channels: int, option: str, folder: Path
) -> tuple[list[Path], str]:
    """Return files that can be used, and the type of most of them."""
    looked_at = [files[place] for place in _spread(len(files), _LOOKED_AT)]
    types: Counter[str] = Counter()
    readable, reason = [], ""
    for path in looked_at:
        try:
            types[read_layout(path, channels=channels).dtype] += 1
        except PictureError as error:
            reason = reason or str(error)
        else:
            readable.append(path)
    if not readable:
        raise FolderError(
            folder,
            f"none of {len(looked_at)} pictures there can be used with --{option} {channels}; the "
            f"first reason: {reason}",
        )
    return readable, types.most_common(1)[0][0]


def _samples(
    files: Sequence[Path], channels: int, use: Callable[[NDArray[Any]], None], *, most: int
) -> None:
    for place in _spread(len(files), most):
        try:
            use(read_samples(files[place], channels=channels))
        except PictureError:
            continue  # named when the training meets it


def _percentiles(
    files: Sequence[Path], channels: int, dtype: str, folder: Path
) -> tuple[float, float]:
    found: list[NDArray[Any]] = []

    def keep(values: NDArray[Any]) -> None:
        flat = values.reshape(-1)
        found.append(flat[:: -(-len(flat) // _VALUES_OF_EACH)].astype(np.float64))

    _samples(files, channels, keep, most=_LOOKED_AT)
    low, high = map(float, np.percentile(np.concatenate(found), _PERCENTILES)) if found else (0, 0)
    if dtype != "float32":
        low, high = float(np.floor(low)), float(np.ceil(high))
    if low >= high:
        raise FolderError(folder, f"all values of its pictures are {low:g}, which is no range")
    return low, high


def _tell_dark(files: Sequence[Path], channels: int, folder: Path) -> None:
    most = 0

    def look(values: NDArray[Any]) -> None:
        nonlocal most
        most = max(most, int(values.max()))

    _samples(files, channels, look, most=_DARK_LOOKED_AT)
    if 0 < most < 1 << 14:
        _log.warning(
            "%s: the brightest of its samples of 16 bits that were looked at is %d of 65535; if "
            "these are data of %d bits, give --value_range 0,%d, or auto",
            folder,
            most,
            max(10, most.bit_length()),
            (1 << max(10, most.bit_length())) - 1,
        )


@lru_cache(maxsize=4096)  # called once for a file, however often an epoch reads it
def _warn_of_clipping(path: Path, least: float, most: float, low: float, high: float) -> None:
    _clipped[path.parent] += 1
    if _clipped[path.parent] > _MOST_TOLD:
        return
    last = _clipped[path.parent] == _MOST_TOLD
    _log.warning(
        "%s: has values from %g to %g; those outside of %g to %g are clipped%s",
        path,
        least,
        most,
        low,
        high,
        ", and so they are, without a word, in further files of this folder" if last else "",
    )


def _type(dtype: str) -> str:
    kinds = {"u": "", "i": "signed ", "f": "floating-point "}
    found = np.dtype(dtype)
    return f"{kinds.get(found.kind, '')}{found.itemsize * 8} bits"
