"""The answers of a server in SQLite: every acknowledged answer is on disk."""

import hashlib
import json
import secrets
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from impasto.options.errors import SurveyError
from impasto.survey.answers import COLUMNS, Answer
from impasto.survey.study import Study

__all__ = ["Database", "now_text", "read_database"]

_APPLICATION = 0x47565259  # "GVRY": says whose file it is
_VERSION = 1
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
    completed TEXT
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
        self._lock = threading.RLock()
        if not path.parent.is_dir():
            raise SurveyError(path, f"cannot be made: there is no folder {path.parent}")
        try:
            self._connection = sqlite3.connect(
                path, isolation_level=None, check_same_thread=False, timeout=30.0
            )
        except sqlite3.Error as error:
            raise SurveyError(path, f"cannot be opened: {error}") from error
        try:
            self._connection.row_factory = sqlite3.Row
            self.secret: bytes = self._prepare(study)
        except sqlite3.Error as error:
            self._connection.close()
            raise _no_database(path, error) from error
        except BaseException:
            self._connection.close()
            raise

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Lock the connection for one thread; when the block ends, all its changes are on disk.

        If the block raises an exception, none of its changes are stored.

        Raises:
            sqlite3.Error: the changes could not be written, for example because the disk is full.
        """
        with self._lock:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    def read(self, query: str, values: tuple[Any, ...] = ()) -> list[sqlite3.Row]:
        """Return the rows of a read-only query."""
        with self._lock:
            return self._connection.execute(query, values).fetchall()

    def answers(self) -> list[Answer]:
        """Return all answers, by session and trial."""
        return [_answer(row) for row in self.read(_ANSWERS)]

    def close(self) -> None:
        """Write all data into the single file, and close it."""
        with self._lock:
            self._connection.close()

    def _prepare(self, study: Study) -> bytes:
        self._connection.execute("PRAGMA foreign_keys = ON")
        self._connection.execute("PRAGMA busy_timeout = 30000")
        with self.transaction() as connection:
            (tables,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
            if not tables:
                _create(connection, study)
        _check_whole(self.path, self._connection)
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
    for statement in _SCHEMA:
        connection.execute(statement)
    connection.execute(f"PRAGMA application_id = {_APPLICATION}")
    connection.execute(f"PRAGMA user_version = {_VERSION}")
    connection.execute(
        "INSERT INTO study VALUES (1, ?, ?, ?, ?)",
        (study.survey_id, _fingerprint(study), secrets.token_bytes(32), now_text()),
    )


def _check_whole(path: Path, connection: sqlite3.Connection) -> None:
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if application != _APPLICATION:
        raise SurveyError(path, "is a database of something else; give another --database")
    if version != _VERSION:
        raise SurveyError(path, f"is of format {version}; this Impasto reads format {_VERSION}")
    (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if verdict != "ok":
        raise SurveyError(path, f"is damaged: {verdict}; take a copy from before")
    connection.execute(f"{_ANSWERS} LIMIT 0")  # raises if a table or a column is not there


def _no_database(path: Path, error: sqlite3.Error) -> SurveyError:
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
