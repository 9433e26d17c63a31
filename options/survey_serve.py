"""All options of `impasto survey serve`."""

import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from impasto.options.checks import require, require_at_least, require_positive

__all__ = ["SurveyServeOptions"]

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
