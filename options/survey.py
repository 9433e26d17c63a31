"""All options of `impasto survey`: one class for each of its actions.

export makes a study, audit looks for leaks in it, serve runs it in browsers, links makes signed
links to it, import reads answers
of other platforms, report analyzes all answers, and power tells how many are needed.
"""

import re
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar, Literal
from urllib.parse import urlsplit

from impasto.options.errors import OptionError
from impasto.options.fields import (
    expand_home,
    option_class,
    require,
    require_at_least,
    require_between,
    require_positive,
    require_range,
    require_seed,
)

__all__ = [
    "AnswerFormat",
    "SurveyAuditOptions",
    "SurveyExportOptions",
    "SurveyImportOptions",
    "SurveyLinksOptions",
    "SurveyPowerOptions",
    "SurveyReportOptions",
    "SurveyServeOptions",
]


_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_JPEG = re.compile(r"jpeg:([0-9]{1,3})")
_MOST_PIXELS = 2**24
_NAME_LIMIT = 64


@option_class
class SurveyExportOptions:
    """Make a study of folders of pictures: a site, forms for four platforms, and a private key."""

    headings: ClassVar[Mapping[str, str]] = {
        "output": "pictures and files",
        "per_class": "trials",
        "width": "size and format of the pictures",
        "base_url": "texts and identity",
    }
    required: ClassVar[frozenset[str]] = frozenset({"real", "fake"})

    output: Path
    """folder for the study, which must not exist yet; a zip archive of it goes to OUTPUT.zip"""
    real: Path | None = None
    """folder with real pictures; its sub-folders are searched, too"""
    fake: Sequence[str] = ()
    """fake pictures of one or more generators, each as NAME=FOLDER, where FOLDER holds the
    pictures that the generator made; the names appear only in the answer key"""
    exclude: Path | None = None
    """text file with pictures that must not be shown, one per line, by their paths or their file
    names, for example those with a signature or a watermark"""
    key: Path | None = None
    """file for the answer key, which is private (default: OUTPUT.key.json)"""
    per_class: int = 10
    """number of fake pictures of each generator that are judged, together with as many real
    pictures as there are fake ones in all"""
    practice: int = 4
    """number of practice trials with feedback that come first; their pictures are in no other
    trial"""
    attention: int = 2
    """number of attention checks: trials whose picture says which answer to give"""
    protocol: str = "single"
    """kind of trials: single shows one picture, which participants call real or fake; pair
    shows a real and a fake picture, between which they choose; timed is like single, but hides
    the picture after EXPOSURE_MS"""
    question: Literal["real", "fake"] = "fake"
    """which picture of a pair participants are asked to choose, with --protocol pair: the real or
    the fake one"""
    exposure_ms: int | None = None
    """time for which a picture is shown with --protocol timed, in milliseconds (default:
    1000)"""
    mask_ms: int = 120
    """time for which a noise mask is shown after the picture with --protocol timed, in
    milliseconds"""
    orders: int = 100
    """number of different orders of the trials; participants get one of these orders each, in
    turn"""
    max_run: int | None = None
    """largest number of real pictures, or of fake ones, in a row; with --protocol pair, of real
    pictures on the same side. Smaller values than the default are refused, since all orders
    together would then reveal the answers (default: the smallest value that reveals nothing)"""
    width: int = 256
    """width of every picture, in pixels"""
    height: int = 256
    """height of every picture, in pixels"""
    fit: Literal["crop", "stretch"] = "crop"
    """how pictures with another aspect ratio are brought to WIDTH x HEIGHT: crop at the center,
    or stretch"""
    equalize: str = "none"
    """jpeg:QUALITY compresses every picture once as JPEG, for a study in which only the real or
    only the fake pictures were stored as JPEG (the audit, which is part of the export, warns of
    that); none does not compress them"""
    repeat_sources: bool = False
    """allow the same scene to be shown both as real and as fake; files with the same name show the
    same scene"""
    base_url: str = ""
    """web address at which the folder of the study will be, for the forms of the survey
    platforms"""
    texts: Path | None = None
    """YAML file with the texts that participants read (default: English texts)"""
    font: Path | None = None
    """font file (.ttf, .otf or .ttc) for the attention checks (default: DejaVu Sans, or, if that
    lacks a letter of the texts, a font of this system that has all of them)"""
    survey_id: str = ""
    """identifier of the study, which is stored with every answer (default: a random one)"""
    seed: int | None = None
    """seed of the random number generators, with which the same study can be made again; it is
    private, since the answer key can be computed from it (default: a random one, which is stored
    in the key)"""

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
            f"expected at most {_MOST_PIXELS:,} pixels, got {self.width} x {self.height}",
        )
        if self.exposure_ms is not None:
            require_range("exposure_ms", self.exposure_ms, 10, 60_000)
        require(
            not self.survey_id or _ID.fullmatch(self.survey_id) is not None,
            "survey_id",
            f"expected up to 64 letters, digits, - and _, got {self.survey_id!r}",
        )
        if self.seed is not None:
            require_seed(self.seed)
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
            require(bool(sign and name and folder), "fake", f"expected NAME=FOLDER, got {word!r}")
            # The name stays in the key, so it need not be safe for files; it is printed, though.
            require(
                name.isprintable() and len(name) <= _NAME_LIMIT,
                "fake",
                f"expected a name of up to {_NAME_LIMIT} printable characters, got {name!r}",
            )
            require(name not in folders, "fake", f"{name!r} is given twice")
            require(
                name.casefold() not in {"real", "fake"},
                "fake",
                f"{name!r} could be mistaken for an answer; choose another name for the generator",
            )
            folders[name] = expand_home(folder)
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

    def _require_url(self) -> None:
        if not self.base_url:
            return
        plain = re.fullmatch(r"https?://[A-Za-z0-9._~:/%@+-]+", self.base_url)
        require(
            plain is not None,
            "base_url",
            f"expected http:// or https:// with a host and a path, without spaces, quotes, ? or #, "
            f"got {self.base_url!r}",
        )

    def _require_key_apart(self) -> None:
        output, key = self.output.resolve(), self.key_path.resolve()
        require(
            not key.is_relative_to(output),
            "key",
            f"{self.key_path} lies in {self.output}, which participants see; choose another folder",
        )
        require(
            key != self.zip_path.resolve(),
            "key",
            f"{self.key_path} is also the archive; choose another name",
        )


@option_class
class SurveyAuditOptions:
    """Look for what gives the answers of a study away."""

    headings: ClassVar[Mapping[str, str]] = {
        "key": "files",
        "alpha": "tests",
        "output": "results",
    }

    key: Path | None = None
    """answer key that impasto survey export wrote (default: FOLDER.key.json)"""
    zip: Path | None = None
    """archive of the folder (default: FOLDER.zip, if it exists)"""
    alpha: float = 0.001
    """probability that a study without a leak fails the audit, over all tests together"""
    permutations: int = 9999
    """number of random permutations of the labels in each test"""
    output: Path | None = None
    """JSON file for the findings"""

    def __post_init__(self) -> None:
        require_between("alpha", self.alpha, 1e-6, 0.5)
        require(
            self.permutations * self.alpha >= 2,
            "permutations",
            f"{self.permutations} are too few for --alpha {self.alpha:g}; "
            f"use about {round(9.999 / self.alpha)}",
        )
        require(
            self.permutations <= 10**6,
            "permutations",
            f"expected at most 1,000,000, got {self.permutations:,}",
        )
        require(
            self.output is None or self.output.suffix.lower() == ".json",
            "output",
            f"{self.output} does not end in .json",
        )


_LONGEST_EXPOSURE_MS = 60_000


@option_class
class SurveyServeOptions:
    """Run a study in browsers; every answer is on the disk before it is acknowledged."""

    headings: ClassVar[Mapping[str, str]] = {
        "key": "files",
        "host": "network",
        "texts": "participants",
        "behind_proxy": "proxies and limits",
        "staircase": "staircase",
    }

    key: Path
    """answer key that impasto survey export wrote; the page of the results and the staircase
    need it"""
    database: Path
    """SQLite file for the answers; it is created if it does not exist, and continued if it
    does"""
    host: str = "127.0.0.1"
    """address to listen on: 127.0.0.1 is reachable from this machine only, 0.0.0.0 from every
    machine in the network"""
    port: int = 8080
    """port to listen on; 0 chooses a free one"""
    texts: Path | None = None
    """YAML file with the texts that participants read, instead of those in the exported
    study"""
    completion_code: str = ""
    """code that participants see at the end and give to their survey platform"""
    redirect_url: str = ""
    """address that a button at the end leads to, for example
    https://app.prolific.com/submissions/complete?cc=C1ABCDEF"""
    require_participant: bool = False
    """refuse participants whose URL has no id (PROLIFIC_PID, workerId or participant)"""
    signed_links: bool = False
    """let in only those who come by a link that impasto survey links made for this database, so
    that nobody can take up the session of another by guessing an id"""
    participants: Path | None = None
    """file with the ids of those who may take part, one per line or in a column of a CSV file:
    the one headed participant, PROLIFIC_PID, workerId or id, or else the first; all others are
    refused"""
    behind_proxy: bool = False
    """trust X-Forwarded-For and X-Forwarded-Proto; only safe if every request comes through a
    proxy"""
    requests_per_second: float = 200.0
    """largest number of requests per second from one address, with bursts of ten times as many;
    twenty pictures count as one request, and 0 sets no limit"""
    sessions_per_hour: int = 500
    """largest number of sessions per hour that one address starts; 0 sets no limit"""
    hide_rates_until: int = 0
    """number of completed sessions before which the page of the results shows no rates, so that
    nobody stops a study because of them; 0 always shows them"""
    staircase: bool = False
    """with a timed study, shorten the exposure after each right answer and lengthen it after
    each wrong one (HYPE-time, Zhou et al. 2019)"""
    staircase_start_ms: int = 500
    """exposure of the first trial of the staircase, in milliseconds"""
    staircase_shortest_ms: int = 100
    """shortest exposure of the staircase, in milliseconds"""
    staircase_longest_ms: int = 1000
    """longest exposure of the staircase, in milliseconds"""
    staircase_up_ms: int = 30
    """how much a wrong answer lengthens the exposure, in milliseconds"""
    staircase_down_ms: int = 10
    """how much a right answer shortens the exposure, in milliseconds; the staircase converges
    where the share of right answers is UP / (UP + DOWN)"""

    def __post_init__(self) -> None:
        require_range("port", self.port, 0, 65535)
        require(
            bool(self.host), "host", "expected an address, got nothing; 127.0.0.1 is this machine"
        )
        require(
            len(self.completion_code) <= 200 and self.completion_code.isprintable(),
            "completion_code",
            "expected at most 200 printable characters",
        )
        if self.redirect_url:
            require(
                _is_web_url(self.redirect_url),
                "redirect_url",
                "expected an address that begins with https:// or http://",
            )
        require_at_least("requests_per_second", self.requests_per_second, 0.0)
        require_at_least("sessions_per_hour", self.sessions_per_hour, 0)
        require_at_least("hide_rates_until", self.hide_rates_until, 0)
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
            f"{self.staircase_longest_ms} is above {_LONGEST_EXPOSURE_MS}, the longest exposure",
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


@option_class
class SurveyLinksOptions:
    """Make a signed link for each participant of a served study."""

    headings: ClassVar[Mapping[str, str]] = {"database": "files", "base_url": "links"}

    database: Path
    """SQLite file of impasto survey serve, whose secret signs the links; it is created if it does
    not exist"""
    output: Path = Path("links.csv")
    """CSV file for the links, with the columns participant and url; it is private, since whoever
    has a link can take part with it"""
    participants: Path | None = None
    """file with the ids of the participants, one per line or in a column of a CSV file: the one
    headed participant, PROLIFIC_PID, workerId or id, or else the first"""
    count: int = 0
    """number of participants with random ids, instead of PARTICIPANTS"""
    base_url: str = ""
    """address at which participants reach the server, for example https://example.org/study/"""
    overwrite: bool = False
    """replace OUTPUT if it exists"""

    def __post_init__(self) -> None:
        require_range("count", self.count, 0, 100_000)
        require(
            (self.participants is None) == (self.count > 0),
            "count",
            "expected either --participants or --count, one of them",
        )
        require(
            _is_web_url(self.base_url) and not re.search("[?#]", self.base_url),
            "base_url",
            "expected an address that begins with https:// or http://, without ? or #, since the "
            f"link of each participant adds its own, got {self.base_url!r}",
        )
        require(
            self.output.suffix.lower() == ".csv", "output", f"{self.output} does not end in .csv"
        )
        require(
            self.participants is None or self.participants.resolve() != self.output.resolve(),
            "output",
            f"{self.output} is also --participants; choose another name",
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


@option_class
class SurveyImportOptions:
    """Read the answers of forms and platforms into one table."""

    headings: ClassVar[Mapping[str, str]] = {
        "output": "files",
    }

    output: Path = Path("answers.csv")
    """file for the answers: .csv or .json"""
    key: Path | None = None
    """answer key of the study, by which practice trials, unknown pictures and participants who
    did not finish are recognized"""
    format: AnswerFormat = "auto"
    """format of the files: impasto (downloaded from the page of the study, or imported before),
    database (of impasto survey serve), google_forms, mturk, qualtrics, jspsych, prolific (a
    list of participants), wide (one row per participant) or long (one row per answer); auto
    recognizes the format of each file"""
    participants: Path | None = None
    """CSV file for the participants, with what an export of Prolific says about them"""
    overwrite: bool = False
    """replace output files that exist"""

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
                f"{self.participants} is also the --output; choose another name",
            )


@option_class
class SurveyReportOptions:
    """Analyze the answers of a study: a page, tables, figures."""

    headings: ClassVar[Mapping[str, str]] = {
        "key": "files",
        "failed_checks": "participants and answers that count",
        "margin": "statistics",
    }

    key: Path
    """answer key that impasto survey export wrote"""
    output: Path = Path("report")
    """folder for index.html, results.csv, results.json and the figures"""
    study: Path | None = None
    """folder of the exported study, whose pictures the report shows; without it, there are
    tables only"""
    title: str = "Real or fake?"
    """title of the report"""
    failed_checks: int = 0
    """number of failed attention checks for which a participant is still counted"""
    min_rt_ms: float = 200.0
    """shortest response time of answers that count, in milliseconds"""
    fast_share: float = 0.1
    """largest share of answers faster than MIN_RT_MS for which a participant is still
    counted"""
    keep_incomplete: bool = False
    """count participants who did not finish"""
    keep_straight_lines: bool = False
    """count participants who always gave the same answer"""
    margin: float = 0.05
    """margin of equivalence: pictures count as indistinguishable if the share of errors is
    shown to lie between 0.5 - MARGIN and 0.5 + MARGIN"""
    blocks: int = 1
    """number of equal parts of a session that each had their own staircase, for HYPE-time: 3
    for HYPE, 1 for impasto survey serve"""
    resamples: int = 10_000
    """number of resamples in every bootstrap and permutation test"""
    seed: int = 0
    """seed of all resampling"""

    def __post_init__(self) -> None:
        if self.study is not None:
            output = self.output.resolve()
            require(
                self.study.resolve() not in (output, *output.parents),
                "output",
                f"{self.output} lies in the folder of the study, which is public, and a report "
                "tells which pictures are real; choose another folder",
            )
        require_at_least("failed_checks", self.failed_checks, 0)
        require_at_least("min_rt_ms", self.min_rt_ms, 0)
        require_between("fast_share", self.fast_share, 0.0, 1.000001)
        require(
            0 < self.margin < 0.5,
            "margin",
            f"{self.margin} is not between 0 and 0.5",
        )
        require_at_least("blocks", self.blocks, 1)
        require_at_least("resamples", self.resamples, 1000)
        require(
            self.resamples <= 1_000_000,
            "resamples",
            f"expected at most 1,000,000, got {self.resamples:,}",
        )
        require_seed(self.seed)


_MOST = 100_000


@option_class
class SurveyPowerOptions:
    """Say how exact a study will be, and how large one must be."""

    headings: ClassVar[Mapping[str, str]] = {
        "raters": "design",
        "rate": "assumptions",
    }

    raters: int = 30
    """number of people who judge all pictures"""
    pictures: int = 50
    """number of pictures of each generator, and of real ones"""
    half_width: float = 0.05
    """half width of the 95 % confidence interval that you want; 0.05 is plus or minus 5
    percentage points"""
    rate: float | None = None
    """fooling rate that you expect (default: that of PILOT, or 0.5, where intervals are
    widest)"""
    person_sd: float | None = None
    """standard deviation between people, in log-odds (default: that of PILOT, or 0.5)"""
    picture_sd: float | None = None
    """standard deviation between pictures, in log-odds (default: that of PILOT, or 1.0)"""
    pilot: Path | None = None
    """file results.json of an earlier report, whose estimates replace the defaults of the three
    options above"""

    def __post_init__(self) -> None:
        for name, least in (("raters", 2), ("pictures", 2)):
            require_range(name, getattr(self, name), least, _MOST)
        require_between("half_width", self.half_width, 0.001, 0.5)
        if self.rate is not None:
            require_range("rate", self.rate, 0.01, 0.99)
        for name in ("person_sd", "picture_sd"):
            value = getattr(self, name)
            if value is not None:
                require_range(name, value, 0, 5)
