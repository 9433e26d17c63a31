"""The answers of a server in SQLite: every acknowledged answer is on disk."""

import hashlib
import json
import os
import secrets
import sqlite3
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from impasto.options.errors import SurveyError
from impasto.survey.answers import COLUMNS, Answer
from impasto.survey.study import Study

__all__ = ["Database", "now_text", "read_database"]

_APPLICATION = 0x47565259  # "GVRY": says whose file it is
_VERSION, _READABLE = 2, (1, 2)
# How long an answer waits for a lock of another program, and what can be done without; and, when
# one has just waited in vain, the next: pages that ask again must not stand in line.
_PATIENCE_SECONDS, _SHORT_PATIENCE_SECONDS, _LITTLE_PATIENCE_SECONDS = 2.5, 0.5, 0.1
_SIDE_FILES = ("", "-wal", "-shm", "-journal")
_SCHEMA = (
    """
CREATE TABLE study (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    survey_id TEXT NOT NULL,
    fingerprint TEXT NOT NULL,      -- of what decides what a trial is
    secret BLOB NOT NULL,           -- signs forms; the results page's address comes of it
    created TEXT NOT NULL
) STRICT""",
    """
CREATE TABLE sessions (
    number INTEGER PRIMARY KEY,     -- from 0, in the order of arrival
    session TEXT NOT NULL UNIQUE,
    participant TEXT NOT NULL UNIQUE,
    named INTEGER NOT NULL,         -- whether a platform gave the participant's id
    platform_session TEXT NOT NULL,
    platform_study TEXT NOT NULL,
    token_sha256 BLOB NOT NULL UNIQUE,
    order_index INTEGER NOT NULL,
    position INTEGER NOT NULL,      -- screens gone through; answers are written together with it
    served TEXT NOT NULL,           -- when the screen at that position was first sent
    views INTEGER NOT NULL,         -- how often it was sent
    started TEXT NOT NULL,
    completed TEXT,
    condition INTEGER REFERENCES conditions (number)  -- in which consent was given
) STRICT""",
    """
CREATE TABLE answers (
    number INTEGER NOT NULL REFERENCES sessions (number),
    trial INTEGER NOT NULL,
    token TEXT NOT NULL,
    other TEXT NOT NULL,
    response TEXT NOT NULL CHECK (response IN ('real', 'fake')),
    rt_ms REAL,
    exposure_ms REAL,
    asked_ms INTEGER,               -- exposure that was asked for
    is_practice INTEGER NOT NULL,
    onset TEXT NOT NULL,
    viewport TEXT NOT NULL,
    device_pixel_ratio REAL,
    served TEXT NOT NULL,           -- by the server's clock, as is received
    received TEXT NOT NULL,
    views INTEGER NOT NULL,         -- above 1: the trial was loaded again
    PRIMARY KEY (number, trial)
) STRICT, WITHOUT ROWID""",
)
_CONDITIONS = (
    """
CREATE TABLE conditions (           -- what participants read, and what the server was told
    number INTEGER PRIMARY KEY,
    sha256 TEXT NOT NULL UNIQUE,
    content TEXT NOT NULL           -- JSON
) STRICT""",
    """
CREATE TABLE starts (               -- of the server: which of them was in force when
    started TEXT NOT NULL,
    condition INTEGER NOT NULL REFERENCES conditions (number)
) STRICT""",
)
_DERIVED = {"completed": "completed IS NOT NULL AS completed"}
_ANSWERS = (
    f"SELECT {', '.join(_DERIVED.get(name, name) for name in COLUMNS)} "  # noqa: S608 - our own names
    "FROM answers JOIN sessions USING (number), study ORDER BY number, trial"
)


class Database:
    """Open database of one study; thread-safe.

    Args:
        path: path of the database file; created if missing.
        study: study to which the answers belong.

    Attributes:
        path: path of the database file.
        secret: 32 random bytes that are specific to this database.

    Raises:
        SurveyError: the file is not such a database, is damaged, or is of another study.
    """

    def __init__(self, path: Path, study: Study) -> None:
        self.path = path
        self._lock, self._reading = threading.RLock(), threading.Lock()
        self._refused = -_PATIENCE_SECONDS
        if not path.parent.is_dir():
            raise SurveyError(path, f"cannot be made: there is no folder {path.parent}")
        _create_private(path)
        try:
            self._connection = _connect(path)
            # Its own, so that no page waits for an answer that waits for the disk or for a lock.
            self._reader = _connect(path)
        except sqlite3.Error as error:
            raise SurveyError(path, f"cannot be opened: {error}") from error
        try:
            self.secret: bytes = self._prepare(study)
        except sqlite3.Error as error:
            self.close()
            raise _no_database(path, error) from error
        except BaseException:
            self.close()
            raise

    @contextmanager
    def transaction(self, *, is_short: bool = False) -> Iterator[sqlite3.Connection]:
        """Lock the connection for one thread; when the block ends, all its changes are on disk.

        If the block raises an exception, none of its changes are stored.

        Args:
            is_short: True to wait for a lock for half a second at most.

        Raises:
            sqlite3.Error: the changes could not be written, for example because the disk is full,
                or another program has locked the file for 2.5 s.
        """
        begun = time.monotonic()
        was_refused = begun - self._refused < _PATIENCE_SECONDS
        most = _SHORT_PATIENCE_SECONDS if is_short else _PATIENCE_SECONDS
        patience = _LITTLE_PATIENCE_SECONDS if was_refused else most
        if not self._lock.acquire(timeout=patience):
            raise sqlite3.OperationalError("database is locked: others wait for it, too")
        try:
            left = max(0.0, patience - (time.monotonic() - begun))
            self._connection.execute(f"PRAGMA busy_timeout = {1000 * left:.0f}")
            try:
                self._connection.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode == sqlite3.SQLITE_BUSY and not is_short:
                    self._refused = time.monotonic()
                raise
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise
        finally:
            self._lock.release()

    def read(self, query: str, values: tuple[Any, ...] = ()) -> list[sqlite3.Row]:
        """Return the rows of a read-only query, as of the last transaction that is complete."""
        with self._reading:
            return self._reader.execute(query, values).fetchall()

    def start(self, condition: Mapping[str, Any]) -> int:
        """Record that a server starts, with what its participants read and what it was told.

        Args:
            condition: texts and options, as JSON can hold them.

        Returns:
            Number of the condition, for the sessions that begin in it; the same for equal contents.
        """
        content = json.dumps(condition, sort_keys=True, ensure_ascii=False)
        digest = hashlib.sha256(content.encode()).hexdigest()
        with self.transaction() as connection:
            connection.execute(
                "INSERT OR IGNORE INTO conditions (sha256, content) VALUES (?, ?)",
                (digest, content),
            )
            (number,) = connection.execute(
                "SELECT number FROM conditions WHERE sha256 = ?", (digest,)
            ).fetchone()
            connection.execute("INSERT INTO starts VALUES (?, ?)", (now_text(), number))
        return int(number)

    def earlier_conditions(self) -> list[tuple[dict[str, Any], int]]:
        """Return every condition in which sessions have begun, with the number of these."""
        rows = self.read(
            "SELECT content, count(*) AS begun FROM sessions "
            "JOIN conditions ON conditions.number = sessions.condition GROUP BY condition"
        )
        return [(json.loads(row["content"]), row["begun"]) for row in rows]

    def answers(self) -> list[Answer]:
        """Return all answers, by session and trial."""
        return [_answer(row) for row in self.read(_ANSWERS)]

    def close(self) -> None:
        """Write all data into the single file, and close it."""
        with self._reading:
            self._reader.close()
        with self._lock:
            self._connection.close()

    def _prepare(self, study: Study) -> bytes:
        self._connection.execute("PRAGMA foreign_keys = ON")
        with self.transaction() as connection:
            (tables,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
            if not tables:
                _create(connection, study)
        _check_whole(self.path, self._connection)
        _make_private(self.path)
        with self.transaction() as connection:
            _bring_up_to_date(connection)
        stored = self._connection.execute("SELECT * FROM study").fetchone()
        if stored["survey_id"] != study.survey_id:
            raise SurveyError(
                self.path,
                f"holds answers of {stored['survey_id']}, and the study is {study.survey_id}; "
                "give another --database",
            )
        if stored["fingerprint"] != _fingerprint(study):
            raise SurveyError(
                self.path,
                f"holds answers of another export of {study.survey_id}, with other pictures or "
                "orders; give another --database",
            )
        # Kept in the file: readers never wait for a writer, and a commit is one append. FULL: a
        # commit is on the disk when it returns, also when the power fails after it.
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("PRAGMA synchronous = FULL")
        return bytes(stored["secret"])


def read_database(path: Path) -> list[Answer]:
    """Read the answers from a database, even while a server is writing to it.

    Args:
        path: path of the database given to ``impasto survey serve --database``.

    Returns:
        All acknowledged answers, by session and trial, including practice.

    Raises:
        SurveyError: the file is missing, damaged, or not such a database.
    """
    if not path.is_file():
        raise SurveyError(path, "no such file; expected the --database of 'impasto survey serve'")
    try:
        uri = f"{path.absolute().as_uri()}?mode=ro"
        with closing(sqlite3.connect(uri, uri=True, timeout=30.0)) as connection:
            connection.row_factory = sqlite3.Row
            _check_whole(path, connection)
            return [_answer(row) for row in connection.execute(_ANSWERS)]
    except sqlite3.Error as error:
        raise _no_database(path, error) from error


def now_text() -> str:
    """Return the current time in ISO 8601 with milliseconds, in UTC."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def _create(connection: sqlite3.Connection, study: Study) -> None:
    for statement in (*_CONDITIONS, *_SCHEMA):
        connection.execute(statement)
    connection.execute(f"PRAGMA application_id = {_APPLICATION}")
    connection.execute(f"PRAGMA user_version = {_VERSION}")
    connection.execute(
        "INSERT INTO study VALUES (1, ?, ?, ?, ?)",
        (study.survey_id, _fingerprint(study), secrets.token_bytes(32), now_text()),
    )


def _bring_up_to_date(connection: sqlite3.Connection) -> None:
    """Add what a file of an earlier format has not."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version == 1:
        for statement in _CONDITIONS:
            connection.execute(statement)
        connection.execute(
            "ALTER TABLE sessions ADD COLUMN condition INTEGER REFERENCES conditions (number)"
        )
        connection.execute(f"PRAGMA user_version = {_VERSION}")


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(
        path, isolation_level=None, check_same_thread=False, timeout=_PATIENCE_SECONDS
    )
    connection.row_factory = sqlite3.Row
    return connection


def _create_private(path: Path) -> None:
    """Create the file, if it is missing, for the owner alone."""
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    except FileExistsError:
        pass
    except OSError as error:
        raise SurveyError(path, f"cannot be made: {error.strerror or error}") from error


def _make_private(path: Path) -> None:
    """Let only the owner read the file: it has ids of people, and the secret of the results.

    SQLite gives its side files the permissions of the file itself. Those of an earlier Impasto were
    open to everybody.
    """
    for ending in _SIDE_FILES:
        # A disk without permissions, of Windows or in the network, has none to give.
        with suppress(OSError):
            path.with_name(f"{path.name}{ending}").chmod(0o600)


def _check_whole(path: Path, connection: sqlite3.Connection) -> None:
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if application != _APPLICATION:
        raise SurveyError(path, "is a database of something else; give another --database")
    if version not in _READABLE:
        raise SurveyError(path, f"is of format {version}; this Impasto reads format {_VERSION}")
    (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if verdict != "ok":
        raise SurveyError(path, f"is damaged: {verdict}; take a copy from before")
    connection.execute(f"{_ANSWERS} LIMIT 0")  # raises if a table or a column is not there


def _no_database(path: Path, error: sqlite3.Error) -> SurveyError:
    if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_BUSY:
        return SurveyError(
            path,
            "is locked by another program, such as a database browser or a backup; close that, and "
            "try again",
        )
    if isinstance(error, sqlite3.OperationalError):
        return SurveyError(path, f"cannot be used as a database: {error}")
    return SurveyError(path, f"is no database of answers, or is damaged: {error}")


def _fingerprint(study: Study) -> str:
    """Hash what defines the trials: not the texts, which may be corrected later."""
    content = study.as_dict()
    for name in ("texts", "version", "real_share", "attention_checks"):
        del content[name]
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _answer(row: sqlite3.Row) -> Answer:
    flags = {name: bool(row[name]) for name in ("is_practice", "completed")}
    return Answer(**{**dict(row), **flags})
