"""Who takes part: the ids that recruiting platforms put into the URL."""

import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass

from impasto.options.errors import ImpastoError

__all__ = ["BadIdError", "Visitor", "anonymous", "read_visitor"]

# Printable, short, nothing that HTML, SQL, CSV, a path or a spreadsheet could take for its own.
# Also in page/survey.js.
_ID = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@+-]{0,127}")

# Prolific; Amazon Mechanical Turk; a link that the researcher made.
_PARTICIPANT = ("PROLIFIC_PID", "workerId", "participant")
_SESSION = ("SESSION_ID", "assignmentId", "session")
_STUDY = ("STUDY_ID", "hitId", "study")
_ANONYMOUS = "anonymous-"


class BadIdError(ImpastoError, ValueError):
    """An id in the URL is none."""


@dataclass(frozen=True, kw_only=True)
class Visitor:
    """Who opened the page.

    Attributes:
        participant: id, or empty: the platform gave none.
        session: the platform's id of this visit, or empty.
        study: the platform's id of the study, or empty.
    """

    participant: str = ""
    session: str = ""
    study: str = ""

    @property
    def is_preview(self) -> bool:
        """Whether somebody on Mechanical Turk looks at a task that they did not accept."""
        return self.session == "ASSIGNMENT_ID_NOT_AVAILABLE"


def read_visitor(given: Mapping[str, str]) -> Visitor:
    """Read the ids of a URL or a form.

    Raises:
        BadIdError: one of them has a sign that no platform uses, or is too long.

    >>> read_visitor({"PROLIFIC_PID": "5f1b", "SESSION_ID": "9"})
    Visitor(participant='5f1b', session='9', study='')
    """
    found = [_first(given, names) for names in (_PARTICIPANT, _SESSION, _STUDY)]
    if not all(_ID.fullmatch(one) for one in found if one):
        raise BadIdError("an id in the URL is not valid")
    participant, session, study = found
    if participant.startswith(_ANONYMOUS):
        raise BadIdError("an id in the URL is one that this program gives itself")
    return Visitor(participant=participant, session=session, study=study)


def anonymous() -> str:
    """Return a random name of a participant."""
    return f"{_ANONYMOUS}{secrets.token_hex(8)}"


def _first(given: Mapping[str, str], names: tuple[str, ...]) -> str:
    return next((given[name] for name in names if given.get(name)), "")
