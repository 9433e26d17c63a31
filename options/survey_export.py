"""All options of `impasto survey export`."""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from impasto.options.checks import require, require_at_least
from impasto.options.errors import OptionError

__all__ = ["SurveyExportOptions"]

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_JPEG = re.compile(r"jpeg:([0-9]{1,3})")
_DEFAULT_EXPOSURE_MS = 1000  # as in AMT Real vs Fake (Isola et al. 2017, section 3)
_MOST_PIXELS = 2**24
_NAME_LIMIT = 64


@dataclass(frozen=True, kw_only=True)
class SurveyExportOptions:
    """Make a study of folders of pictures: a site, forms for four platforms, and a private key."""

    output: Path
    """folder of the study, which must not exist; its archive becomes OUTPUT.zip"""
    real: Path | None = None
    """folder with real pictures; sub-folders are searched, too"""
    fake: Sequence[str] = ()
    """NAME=FOLDER, one or more: pictures that a generator made; the name stays in the key"""
    key: Path | None = None
    """file for the answer key, which is private; OUTPUT.key.json unless given"""
    per_class: int = 10
    """pictures of each generator that are judged, and as many real ones as fakes in all"""
    practice: int = 4
    """trials with feedback that come first, with pictures of their own"""
    attention: int = 2
    """trials in which the picture says itself what to answer"""
    protocol: Literal["single", "pair", "timed"] = "single"
    """single: a picture, REAL or FAKE; pair: two, one of which is real; timed: as single, but the
    picture is gone after exposure_ms"""
    question: Literal["real", "fake"] = "fake"
    """of a pair: which one is to be chosen"""
    exposure_ms: int | None = None
    """how long a picture is shown, with --protocol timed: 1000 unless given"""
    mask_ms: int = 120
    """how long the mask after it is shown, with --protocol timed"""
    orders: int = 100
    """orders of the trials, each for one participant; they are used in turn"""
    max_run: int | None = None
    """most real, or fake, pictures one after the other; the smallest that tells nothing unless
    given. Many orders without longer runs give the answers away to who compares them"""
    width: int = 256
    """of every picture, in pixels"""
    height: int = 256
    """of every picture, in pixels"""
    fit: Literal["crop", "stretch"] = "crop"
    """how pictures of other proportions are brought to width and height"""
    equalise: str = "none"
    """none, or jpeg:QUALITY, which puts every picture through JPEG once; use it where one class was
    stored as JPEG and the other was not (the audit warns)"""
    repeat_sources: bool = False
    """allow the same scene, told by equal file names, to be shown both as real and as fake"""
    base_url: str = ""
    """where the folder will be on the web, for the forms of the platforms"""
    texts: Path | None = None
    """YAML file with the words that participants read; English unless given"""
    survey_id: str = ""
    """names the study in every answer; drawn unless given"""
    seed: int | None = None
    """makes the same study again; drawn, and kept in the key, unless given. Who knows it can
    compute the key"""

    def __post_init__(self) -> None:
        require(self.output.name not in ("", ".", ".."), "output", f"{self.output} has no name")
        require_at_least("per_class", self.per_class, 1)
        require_at_least("practice", self.practice, 0)
        require_at_least("attention", self.attention, 0)
        require_at_least("orders", self.orders, 1)
        if self.max_run is not None:
            require_at_least("max_run", self.max_run, 1)
        require_at_least("mask_ms", self.mask_ms, 0)
        for name in ("width", "height"):
            require_at_least(name, getattr(self, name), 32)
        require(
            self.width * self.height <= _MOST_PIXELS,
            "width",
            f"{self.width} x {self.height} pixels are more than {_MOST_PIXELS}",
        )
        require(
            self.protocol == "pair" or self.practice % 2 == 0,
            "practice",
            f"{self.practice} is odd; half of the practice pictures are real",
        )
        require(
            self.exposure_ms is None or self.protocol == "timed",
            "exposure_ms",
            f"goes with --protocol timed, not {self.protocol}",
        )
        if self.exposure_ms is not None:
            require(
                10 <= self.exposure_ms <= 60_000,
                "exposure_ms",
                f"{self.exposure_ms} is not in 10..60000",
            )
        require(
            not self.survey_id or _ID.fullmatch(self.survey_id) is not None,
            "survey_id",
            f"{self.survey_id!r}: expected up to 64 letters, digits, - and _",
        )
        require(
            self.seed is None or 0 <= self.seed < 2**63, "seed", f"{self.seed} is not in [0, 2**63)"
        )
        self._require_url()
        self._require_key_apart()
        _ = self.jpeg_quality, self.generators

    @property
    def generators(self) -> dict[str, Path]:
        """Name to folder, in the order given.

        Raises:
            OptionError: a word is not NAME=FOLDER, or a name is given twice.
        """
        folders: dict[str, Path] = {}
        for word in self.fake:
            name, sign, folder = word.partition("=")
            name = unicodedata.normalize("NFC", name.strip())
            require(bool(sign and name and folder), "fake", f"{word!r}: expected NAME=FOLDER")
            # The name stays in the key, so it need not be safe for files; it is printed, though.
            require(
                name.isprintable() and len(name) <= _NAME_LIMIT,
                "fake",
                f"{name!r}: expected a name of up to {_NAME_LIMIT} printable characters",
            )
            require(name not in folders, "fake", f"{name!r} is given twice")
            require(
                name.casefold() not in {"real", "fake"},
                "fake",
                f"{name!r} would be mistaken for an answer; name the generator",
            )
            folders[name] = Path(folder)
        return folders

    @property
    def jpeg_quality(self) -> int | None:
        """Quality of the JPEG that every picture goes through; None: not at all.

        Raises:
            OptionError: ``equalise`` is neither none nor jpeg:QUALITY.
        """
        if self.equalise == "none":
            return None
        found = _JPEG.fullmatch(self.equalise)
        if not found or not 1 <= int(found[1]) <= 100:
            raise OptionError(
                "equalise", f"{self.equalise!r}: expected none, or jpeg:1 to jpeg:100"
            )
        return int(found[1])

    @property
    def key_path(self) -> Path:
        """Where the key goes."""
        return self.key or self.output.with_name(f"{self.output.name}.key.json")

    @property
    def zip_path(self) -> Path:
        """Where the archive goes."""
        return self.output.with_name(f"{self.output.name}.zip")

    @property
    def shown_ms(self) -> int | None:
        """How long a picture is shown; None: until it is answered."""
        if self.protocol != "timed":
            return None
        return _DEFAULT_EXPOSURE_MS if self.exposure_ms is None else self.exposure_ms

    def _require_url(self) -> None:
        if not self.base_url:
            return
        plain = re.fullmatch(r"https?://[A-Za-z0-9._~:/%@+-]+", self.base_url)
        require(
            plain is not None,
            "base_url",
            f"{self.base_url!r}: expected http:// or https://, a host and a path, without "
            "spaces, quotes, ? or #",
        )

    def _require_key_apart(self) -> None:
        output, key = self.output.resolve(), self.key_path.resolve()
        require(
            not key.is_relative_to(output),
            "key",
            f"{self.key_path} lies in {self.output}, which participants see; choose another place",
        )
        require(
            key != self.zip_path.resolve(), "key", f"{self.key_path} is the name of the archive"
        )
