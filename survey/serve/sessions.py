"""The sessions of participants: started once, resumed, and completed step by step.

Participants are identified by the identifiers that recruiting platforms put into the URL.
"""

import base64
import hashlib
import hmac
import logging
import re
import secrets
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from impasto.options.errors import ImpastoError
from impasto.survey.answers import Measurements
from impasto.survey.protocols import Question
from impasto.survey.serve.database import Database, now_text
from impasto.survey.study import Step, Study, make_steps

__all__ = [
    "Admission",
    "BadIdError",
    "MeasuredChoice",
    "NextExposure",
    "OutOfOrderError",
    "ScoredResponse",
    "Session",
    "Sessions",
    "Visitor",
    "anonymous",
    "check_id",
    "read_visitor",
    "sign_participant",
]


# Printable, short, nothing that HTML, SQL, CSV, a path or a spreadsheet could take for its own.
# Also in page/survey.js.
_ID = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@+-]{0,127}")

# Prolific; Amazon Mechanical Turk; a link that the researcher made.
_PARTICIPANT = ("PROLIFIC_PID", "workerId", "participant")
_SESSION = ("SESSION_ID", "assignmentId", "session")
_STUDY = ("STUDY_ID", "hitId", "study")
_ANONYMOUS = "anonymous-"
_SIGNATURE = re.compile(r"[0-9a-f]{32}")
_LOG = logging.getLogger(__name__)


class BadIdError(ImpastoError, ValueError):
    """Invalid identifier in the URL."""


@dataclass(frozen=True, kw_only=True)
class Visitor:
    """Visitor who opened the page.

    Attributes:
        participant: identifier of the participant on the platform; empty if there is none.
        session: the platform's identifier of this visit, or empty.
        study: the platform's identifier of the study, or empty.
        signature: signature of the participant's identifier in a signed link, or empty.
    """

    participant: str = ""
    session: str = ""
    study: str = ""
    signature: str = ""

    @property
    def is_preview(self) -> bool:
        """True if the visitor previews a Mechanical Turk task without having accepted it."""
        return self.session == "ASSIGNMENT_ID_NOT_AVAILABLE"


def read_visitor(given: Mapping[str, str]) -> Visitor:
    """Read the identifiers in a URL or a form.

    Raises:
        BadIdError: an identifier is too long, or has a character that no platform uses.

    >>> read_visitor({"PROLIFIC_PID": "5f1b", "SESSION_ID": "9"})
    Visitor(participant='5f1b', session='9', study='', signature='')
    """
    ids = [_first(given, names) for names in (_PARTICIPANT, _SESSION, _STUDY)]
    if not all(_ID.fullmatch(given_id) for given_id in ids if given_id):
        raise BadIdError("an id in the URL is not valid")
    participant, session, study = ids
    if participant:
        check_id(participant)
    signature = given.get("signature", "")
    if signature and not _SIGNATURE.fullmatch(signature):
        raise BadIdError("the signature in the URL is not valid")
    return Visitor(participant=participant, session=session, study=study, signature=signature)


def check_id(participant: str) -> None:
    """Refuse what cannot be the identifier of a participant.

    Raises:
        BadIdError: it is empty, too long, has a character that no platform uses, or is one that
            this program gives to anonymous participants.
    """
    if not _ID.fullmatch(participant):
        raise BadIdError(
            "expected 1 to 128 letters, digits or _ . @ + -, of which the first is a letter, a "
            "digit or _"
        )
    if participant.startswith(_ANONYMOUS):
        raise BadIdError("is one that this program gives itself")


def sign_participant(secret: bytes, participant: str) -> str:
    """Sign an identifier for a link that only its participant gets: 32 hexadecimal digits.

    Args:
        secret: secret of the database (HMAC-SHA256, RFC 2104, cut to 128 bits).
        participant: identifier of the participant.
    """
    return hmac.new(secret, f"participant {participant}".encode(), "sha256").hexdigest()[:32]


@dataclass(frozen=True, kw_only=True)
class Admission:
    """Who may take part.

    Attributes:
        require_participant: True if the URL must have an identifier.
        signed_links: True if it must have one that is signed.
        allowed: identifiers of those who may take part; None: everybody.
    """

    require_participant: bool = False
    signed_links: bool = False
    allowed: frozenset[str] | None = None


def anonymous() -> str:
    """Return a random name for an anonymous participant."""
    return f"{_ANONYMOUS}{secrets.token_hex(8)}"


def _first(given: Mapping[str, str], names: tuple[str, ...]) -> str:
    return next((given[name] for name in names if given.get(name)), "")


ScoredResponse = tuple[str, Question]
"""Token of a picture, and what it was called, in a trial without feedback."""
NextExposure = Callable[[Sequence[ScoredResponse]], int]
"""From the responses of a session so far to the exposure of its next trial, milliseconds."""


class OutOfOrderError(Exception):
    """Form of a step that the participant has not reached yet."""


@dataclass(frozen=True, kw_only=True)
class MeasuredChoice(Measurements):
    """Choice that a browser sent for a trial, with its measurements."""

    choice: str


@dataclass(frozen=True, kw_only=True)
class Session:
    """Progress of one participant through the study.

    Attributes:
        number: index of the session, from 0.
        participant: identifier of the participant.
        named: True if the identifier is from a platform.
        platform_session: the platform's identifier of the visit with which it began, or empty.
        order: index of the participant's order among those of the study.
        position: index of the current step, from 0.
    """

    number: int
    participant: str
    named: bool
    platform_session: str
    order: int
    position: int


class Sessions:
    """All sessions of a study; every change is one database transaction.

    Args:
        database: open database of the study.
        study: public side of the study.
        next_exposure: function that returns the exposure of the pictures of the next trial, for a
            staircase; None: the study's exposure.
        condition: number that the database gave the texts and options of this start of the server;
            it is stored with each session that begins.
        admission: who may take part.
    """

    def __init__(
        self,
        database: Database,
        study: Study,
        next_exposure: NextExposure | None = None,
        *,
        condition: int | None = None,
        admission: Admission | None = None,
    ) -> None:
        self.database, self.study, self._condition = database, study, condition
        self._admission = admission or Admission()
        self._next_exposure = next_exposure
        self._steps = lru_cache(maxsize=None)(lambda order: make_steps(study, order))

    @property
    def has_staircase(self) -> bool:
        """True if exposures depend on earlier answers."""
        return self._next_exposure is not None

    def refusal(self, visitor: Visitor) -> str:
        """Return the name of the text that says why somebody may not take part, or nothing."""
        admission = self._admission
        if not visitor.participant:
            closed = admission.signed_links or admission.allowed is not None
            return "id_missing" if admission.require_participant or closed else ""
        if (admission.signed_links or visitor.signature) and not self._is_signed(visitor):
            return "id_invalid"
        if admission.allowed is not None and visitor.participant not in admission.allowed:
            return "id_not_listed"
        return ""

    def refusal_of(self, session: Session) -> str:
        """Return why a session, begun before a start with other rules, may not go on, or nothing.

        That it began with a signed link cannot be told; its token, which only its browser has,
        stands for that.
        """
        if not session.named:
            return self.refusal(Visitor())
        allowed = self._admission.allowed
        return "id_not_listed" if allowed is not None and session.participant not in allowed else ""

    def proves(self, visitor: Visitor, session: Session) -> bool:
        """Return True if the URL has more of a participant than an identifier others may know.

        That is a valid signature, or the platform's identifier of the visit as in the URL with
        which the session began.
        """
        same_visit = bool(visitor.session) and visitor.session == session.platform_session
        return self._is_signed(visitor) or same_visit

    def query(self, session: Session) -> dict[str, str]:
        """Return what a URL needs to lead to a session without its cookie."""
        if not session.named:
            return {}
        signature = sign_participant(self.database.secret, session.participant)
        signed = {"signature": signature} if self._admission.signed_links else {}
        return {"participant": session.participant, **signed}

    def _is_signed(self, visitor: Visitor) -> bool:
        expected = sign_participant(self.database.secret, visitor.participant)
        return hmac.compare_digest(visitor.signature.encode(), expected.encode())

    def steps(self, session: Session) -> list[Step]:
        """Return all steps of a session."""
        return self._steps(session.order)

    def step(self, session: Session) -> Step:
        """Return the current step."""
        return self.steps(session)[session.position]

    def begin(self, visitor: Visitor, form_token: str = "") -> tuple[Session, str]:
        """Start a session, or resume that of the same participant.

        Args:
            visitor: who begins.
            form_token: token of the visitor who was sent the form. The same form sent twice, by a
                double click, begins one session, with one token, in whatever order the replies
                come; but not once its first step is taken.

        Returns:
            The session and its new token; earlier tokens become invalid.
        """
        token, now = self._first_token(visitor, form_token), now_text()
        participant = visitor.participant or anonymous()
        with self.database.transaction() as connection:
            begun = connection.execute(_FIND, (_digest(token),)).fetchone()
            if begun is not None and not visitor.participant:
                if not begun["position"]:
                    return _session(begun), token
                token = secrets.token_urlsafe(32)
            taken_up = connection.execute(
                "UPDATE sessions SET token_sha256 = ? WHERE participant = ? AND named = 1",
                (_digest(token), participant),
            )
            if not taken_up.rowcount:
                (number,) = connection.execute("SELECT count(*) FROM sessions").fetchone()
                connection.execute(
                    "INSERT INTO sessions VALUES (?, ?, ?, ?, ?, ?, ?, ?, 0, ?, 0, ?, NULL, ?)",
                    (
                        number,
                        secrets.token_hex(8),
                        participant,
                        int(bool(visitor.participant)),
                        visitor.session,
                        visitor.study,
                        _digest(token),
                        number % len(self.study.orders),
                        now,
                        now,
                        self._condition,
                    ),
                )
            session = _get(connection, token)
        return session, token

    def _first_token(self, visitor: Visitor, form_token: str) -> str:
        if not form_token:
            return secrets.token_urlsafe(32)
        text = f"begin {form_token} {visitor.participant}"
        digest = hmac.new(self.database.secret, text.encode(), "sha256").digest()
        return base64.urlsafe_b64encode(digest).decode().rstrip("=")

    def find(self, token: str) -> Session | None:
        """Return the session of a token; None if it is forged or was replaced by a later token."""
        rows = self.database.read(_FIND, (_digest(token),))
        return _session(rows[0]) if rows else None

    def find_participant(self, participant: str) -> Session | None:
        """Return the session of a participant sent by a platform; None if there is none."""
        rows = self.database.read(
            "SELECT * FROM sessions WHERE participant = ? AND named = 1", (participant,)
        )
        return _session(rows[0]) if rows else None

    def view(self, session: Session) -> None:
        """Record that the current trial is being sent, possibly again.

        Where that cannot be written soon, it is not: a page is worth more than the count.
        """
        if self.step(session).screen != "trial":
            return
        try:
            with self.database.transaction(is_short=True) as connection:
                connection.execute(
                    "UPDATE sessions SET views = views + 1 WHERE number = ? AND position = ?",
                    (session.number, session.position),
                )
        except sqlite3.OperationalError as error:  # a lock of another program, a full disk
            _LOG.warning("a page that was sent is not counted in 'views': %s", error)

    def take(
        self,
        token: str,
        position: int,
        measured: MeasuredChoice | None,
        *,
        sends_next: bool = False,
    ) -> Session:
        """Record a participant's form for one step, and advance to the next step.

        A step that was already recorded is not recorded again, even if the answer differs: the
        first answer counts.

        Args:
            token: token of the session.
            position: position of the step that was answered.
            measured: answer and measurements if the step is a trial, otherwise None.
            sends_next: True if the next step is sent in the reply.

        Returns:
            The session after that step; the answer is stored on disk.

        Raises:
            LookupError: the session does not exist.
            OutOfOrderError: the step is not reached yet, or is a trial and has no answer.
        """
        with self.database.transaction() as connection:
            session = _get(connection, token)
            steps = self.steps(session)
            if position < session.position:
                return session
            step = steps[session.position]
            if position > session.position or step.screen == "thanks":
                raise OutOfOrderError
            if step.screen == "trial":
                if measured is None:
                    raise OutOfOrderError
                self._write(connection, session, step, measured)
            following = steps[session.position + 1]
            now = now_text()
            connection.execute(
                "UPDATE sessions SET position = position + 1, served = ?, views = ?, "
                "completed = ? WHERE number = ?",
                (
                    now,
                    int(sends_next),
                    now if following.screen == "thanks" else None,
                    session.number,
                ),
            )
            return _get(connection, token)

    def exposure_ms(self, session: Session) -> int | None:
        """Return the exposure of the current trial, milliseconds; None: until the answer."""
        if self._next_exposure is None:
            return self.study.exposure_ms
        rows = self.database.read(
            "SELECT token, response FROM answers WHERE number = ? AND NOT is_practice "
            "ORDER BY trial",
            (session.number,),
        )
        return self._next_exposure([(row["token"], row["response"]) for row in rows])

    def response(self, session: Session, trial: int) -> str:
        """Return the answer about the first picture of a trial, or an empty string."""
        rows = self.database.read(
            "SELECT response FROM answers WHERE number = ? AND trial = ?", (session.number, trial)
        )
        return str(rows[0]["response"]) if rows else ""

    def csrf(self, token: str) -> str:
        """Return the CSRF token for the forms of a session, or of a visitor with that token."""
        return hmac.new(self.database.secret, f"form {token}".encode(), "sha256").hexdigest()

    def results_token(self) -> str:
        """Return the random part of the URL of the owner's page."""
        digest = hmac.new(self.database.secret, b"results", "sha256").hexdigest()
        return digest[:40]

    def _write(
        self, connection: sqlite3.Connection, session: Session, step: Step, measured: MeasuredChoice
    ) -> None:
        row = connection.execute(
            "SELECT served, views FROM sessions WHERE number = ?", (session.number,)
        ).fetchone()
        connection.execute(
            "INSERT INTO answers VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                session.number,
                step.position,
                step.trial[0],
                step.trial[1] if len(step.trial) > 1 else "",
                self.study.rules.response_of(measured.choice, self.study.question),
                measured.rt_ms,
                measured.exposure_ms,
                self.exposure_ms(session),
                int(step.practice is not None),
                measured.onset,
                measured.viewport,
                measured.device_pixel_ratio,
                row["served"],
                now_text(),
                row["views"],
            ),
        )


_FIND = "SELECT * FROM sessions WHERE token_sha256 = ?"


def _digest(token: str) -> bytes:
    """Hash a token, so that readers of the database cannot continue a participant's session."""
    return hashlib.sha256(token.encode()).digest()


def _get(connection: sqlite3.Connection, token: str) -> Session:
    row = connection.execute(_FIND, (_digest(token),)).fetchone()
    if row is None:
        raise LookupError("no such session")
    return _session(row)


def _session(row: sqlite3.Row) -> Session:
    return Session(
        number=row["number"],
        participant=row["participant"],
        named=bool(row["named"]),
        platform_session=row["platform_session"],
        order=row["order_index"],
        position=row["position"],
    )
