"""All options of `impasto survey export`.

All options of `impasto survey audit`.

All options of `impasto survey serve`.

All options of `impasto survey import`.

All options of `impasto survey report`.

All options of `impasto survey power`.
"""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from impasto.options.errors import OptionError
from impasto.options.fields import require, require_at_least, require_between, require_positive

__all__ = [
    "ANSWER_FORMATS",
    "AnswerFormat",
    "SurveyAuditOptions",
    "SurveyExportOptions",
    "SurveyImportOptions",
    "SurveyPowerOptions",
    "SurveyReportOptions",
    "SurveyServeOptions",
]


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
    equalize: str = "none"
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
            OptionError: ``equalize`` is neither none nor jpeg:QUALITY.
        """
        if self.equalize == "none":
            return None
        found = _JPEG.fullmatch(self.equalize)
        if not found or not 1 <= int(found[1]) <= 100:
            raise OptionError(
                "equalize", f"{self.equalize!r}: expected none, or jpeg:1 to jpeg:100"
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


@dataclass(frozen=True, kw_only=True)
class SurveyAuditOptions:
    """Look for what gives the answers of a study away."""

    key: Path | None = None
    """the answer key that impasto survey export wrote; FOLDER.key.json unless given"""
    zip: Path | None = None
    """archive of the folder; FOLDER.zip, if there is one, unless given"""
    alpha: float = 0.001
    """chance that a study without a leak fails, all observables together"""
    permutations: int = 9999
    """random labellings that the observables are compared with"""
    output: Path | None = None
    """file for the findings, as .json"""

    def __post_init__(self) -> None:
        require_between("alpha", self.alpha, 1e-6, 0.5)
        require(
            self.permutations * self.alpha >= 2,
            "permutations",
            f"{self.permutations} are too few for --alpha {self.alpha:g}; "
            f"take {round(9.999 / self.alpha)} or so",
        )
        require(self.permutations <= 10**6, "permutations", f"{self.permutations} are above 10**6")
        require(
            self.output is None or self.output.suffix.lower() == ".json",
            "output",
            f"{self.output} does not end in .json",
        )


_LONGEST_EXPOSURE_MS = 60_000


@dataclass(frozen=True, kw_only=True)
class SurveyServeOptions:
    """Run a study in browsers; every answer is on the disk before it is acknowledged."""

    key: Path
    """the answer key that impasto survey export wrote; for the results page and the staircase"""
    database: Path
    """SQLite file for the answers; made if there is none, gone on with if there is"""
    host: str = "127.0.0.1"
    """address to listen on: 127.0.0.1 is this machine alone, 0.0.0.0 everybody who can reach it"""
    port: int = 8080
    """port to listen on; 0 takes a free one"""
    texts: Path | None = None
    """YAML with what participants read, instead of the texts of the export"""
    completion_code: str = ""
    """shown at the end, for participants to give to their platform"""
    redirect_url: str = ""
    """where a button leads at the end, e.g. https://app.prolific.com/submissions/complete?cc=..."""
    require_participant: bool = False
    """refuse those who come without an id in the URL (PROLIFIC_PID, workerId or participant)"""
    behind_proxy: bool = False
    """believe X-Forwarded-For and X-Forwarded-Proto: only if all requests come through a proxy"""
    requests_per_second: float = 200.0
    """most requests of one address, ten times as many at once; twenty pictures count as one
    request; 0 sets no limit"""
    sessions_per_hour: int = 500
    """most sessions that one address begins; 0 sets no limit"""
    staircase: bool = False
    """timed studies: shorten the exposure after a right answer, lengthen it after a wrong one
    (HYPE-time, Zhou et al. 2019)"""
    staircase_start_ms: int = 500
    """exposure of the first trial"""
    staircase_shortest_ms: int = 100
    """shortest exposure"""
    staircase_longest_ms: int = 1000
    """longest exposure"""
    staircase_up_ms: int = 30
    """added after a wrong answer"""
    staircase_down_ms: int = 10
    """taken away after a right answer; the staircase settles at up / (up + down) right"""

    def __post_init__(self) -> None:
        require(0 <= self.port <= 65535, "port", f"{self.port} is not in 0..65535")
        require(bool(self.host), "host", "is empty; 127.0.0.1 is this machine")
        require(
            len(self.completion_code) <= 200 and self.completion_code.isprintable(),
            "completion_code",
            "expected at most 200 printable signs",
        )
        if self.redirect_url:
            require(_is_web_url(self.redirect_url), "redirect_url", "expected https://... or http")
        require_at_least("requests_per_second", self.requests_per_second, 0.0)
        require_at_least("sessions_per_hour", self.sessions_per_hour, 0)
        require_positive("staircase_up_ms", self.staircase_up_ms)
        require_positive("staircase_down_ms", self.staircase_down_ms)
        require_positive("staircase_shortest_ms", self.staircase_shortest_ms)
        require(
            self.staircase_shortest_ms <= self.staircase_start_ms <= self.staircase_longest_ms,
            "staircase_start_ms",
            f"{self.staircase_start_ms} is not between --staircase_shortest_ms "
            f"{self.staircase_shortest_ms} and --staircase_longest_ms {self.staircase_longest_ms}",
        )
        require(
            self.staircase_longest_ms <= _LONGEST_EXPOSURE_MS,
            "staircase_longest_ms",
            f"{self.staircase_longest_ms} is above {_LONGEST_EXPOSURE_MS}",
        )


def _is_web_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
    except ValueError:
        return False
    return (
        parts.scheme in ("https", "http")
        and bool(parts.hostname)
        and re.fullmatch(r"[!-~]{1,2000}", text) is not None
    )


AnswerFormat = Literal[
    "auto",
    "impasto",
    "database",
    "google_forms",
    "mturk",
    "qualtrics",
    "jspsych",
    "prolific",
    "wide",
    "long",
]
ANSWER_FORMATS = (
    *("impasto", "database", "google_forms", "mturk", "qualtrics", "jspsych", "prolific"),
    *("wide", "long"),
)
"""What `impasto survey import` can read."""


@dataclass(frozen=True, kw_only=True)
class SurveyImportOptions:
    """Read the answers of forms and platforms into one table."""

    output: Path = Path("answers.csv")
    """file for the answers: .csv or .json"""
    key: Path | None = None
    """the study's key: tells practice, unknown pictures, and who did not answer all"""
    format: AnswerFormat = "auto"
    """what the files are; auto looks into each: impasto (downloaded from the page, or imported
    before), database (of impasto survey serve), google_forms, mturk, qualtrics, jspsych, prolific
    (who took part), wide (a row for each participant), long (a row for each answer)"""
    participants: Path | None = None
    """file for who took part, as .csv, with what a Prolific export says about them"""
    overwrite: bool = False
    """replace the output if it exists"""

    def __post_init__(self) -> None:
        require(
            self.output.suffix.lower() in (".csv", ".json"),
            "output",
            f"{self.output} ends in neither .csv nor .json",
        )
        require(
            self.participants is None or self.participants.suffix.lower() == ".csv",
            "participants",
            f"{self.participants} does not end in .csv",
        )
        if self.participants is not None:
            require(
                self.participants.resolve() != self.output.resolve(),
                "participants",
                f"{self.participants} is also the output",
            )


@dataclass(frozen=True, kw_only=True)
class SurveyReportOptions:
    """Analyse the answers of a study: a page, tables, figures."""

    key: Path
    """the answer key that impasto survey export wrote"""
    output: Path = Path("report")
    """folder for index.html, results.csv, results.json and figures"""
    study: Path | None = None
    """the exported folder, for the pictures; without it there are only tables"""
    title: str = "Real or fake?"
    """heading of the page"""
    failed_checks: int = 0
    """attention checks that a participant may fail"""
    min_rt_ms: float = 200.0
    """answers that come faster than this do not count"""
    fast_share: float = 0.1
    """share of such answers above which none of the participant's answers count"""
    keep_incomplete: bool = False
    """count participants who did not come to the end"""
    keep_straight_lines: bool = False
    """count participants who gave the same answer everywhere"""
    margin: float = 0.05
    """how far from 50 % the share of errors may be for pictures to be called indistinguishable"""
    blocks: int = 1
    """equal parts of a session with a staircase of its own each, for HYPE-time; HYPE has 3, impasto
    survey serve 1"""
    resamples: int = 10_000
    """of every bootstrap and permutation test"""
    seed: int = 0
    """of all resampling"""

    def __post_init__(self) -> None:
        if self.study is not None:
            output = self.output.resolve()
            require(
                self.study.resolve() not in (output, *output.parents),
                "output",
                f"{self.output} is in the folder of the study, which is public, and a report tells "
                "which pictures are real",
            )
        require_at_least("failed_checks", self.failed_checks, 0)
        require_at_least("min_rt_ms", self.min_rt_ms, 0)
        require_between("fast_share", self.fast_share, 0.0, 1.000001)
        require(0 < self.margin < 0.5, "margin", f"{self.margin} is not between 0 and 0.5")
        require_at_least("blocks", self.blocks, 1)
        require_at_least("resamples", self.resamples, 1000)
        require(self.resamples <= 1_000_000, "resamples", f"{self.resamples} are above 1,000,000")
        require(0 <= self.seed < 2**63, "seed", f"{self.seed} is not in [0, 2**63)")


_MOST = 100_000


@dataclass(frozen=True, kw_only=True)
class SurveyPowerOptions:
    """Say how exact a study will be, and how large one must be."""

    raters: int = 30
    """people who judge all pictures"""
    pictures: int = 50
    """pictures of each generator, and as many real ones"""
    half_width: float = 0.05
    """wanted half width of the interval: 0.05 is 5 points to each side"""
    rate: float | None = None
    """fooling rate to expect: 0.5 unless given, where intervals are widest"""
    person_sd: float | None = None
    """how much people differ: standard deviation in log-odds, 0.5 unless given"""
    picture_sd: float | None = None
    """how much pictures differ: standard deviation in log-odds, 1.0 unless given"""
    pilot: Path | None = None
    """results.json of an earlier report, for the three options above"""

    def __post_init__(self) -> None:
        for name, least in (("raters", 2), ("pictures", 2)):
            require_at_least(name, getattr(self, name), least)
            require(getattr(self, name) <= _MOST, name, f"{getattr(self, name)} is above {_MOST}")
        require(
            0.001 <= self.half_width < 0.5, "half_width", f"{self.half_width} is not in 0.001..0.5"
        )
        if self.rate is not None:
            require(0.01 <= self.rate <= 0.99, "rate", f"{self.rate} is not in 0.01..0.99")
        for name in ("person_sd", "picture_sd"):
            value = getattr(self, name)
            if value is not None:
                require(0 <= value <= 5, name, f"{value} is not in 0..5")
