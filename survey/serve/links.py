"""Signed links, one for each participant, and lists of who may take part."""

import csv
import io
import secrets
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from urllib.parse import urlencode

from impasto.data.atomic import write_text_atomic
from impasto.options.errors import OptionError, SurveyError
from impasto.survey.key import read_study
from impasto.survey.serve.database import Database
from impasto.survey.serve.sessions import BadIdError, check_id, sign_participant

__all__ = ["random_ids", "read_ids", "write_links"]

_HEADING = "participant"


def write_links(
    folder: Path, database: Path, output: Path, ids: Sequence[str], *, base_url: str
) -> None:
    """Write a table of signed links, with the columns ``participant`` and ``url``.

    Args:
        folder: exported folder, written by ``impasto survey export``.
        database: database of the served study, whose secret signs; it is created if missing.
        output: CSV file to write, for its owner alone.
        ids: identifiers of the participants.
        base_url: URL at which participants reach the server.

    Raises:
        SurveyError: the study or the database cannot be used.
        OptionError: the output or the database lies in the folder of the study.
        OSError: the table cannot be written.
    """
    study = read_study(folder)
    for name, path in (("output", output), ("database", database)):
        if path.resolve().is_relative_to(folder.resolve()):
            raise OptionError(
                name, f"{path} lies in {folder}, which is public; choose a place outside of it"
            )
    with closing(Database(database, study)) as opened:
        secret = opened.secret
    text = io.StringIO(newline="")
    table = csv.writer(text, lineterminator="\n")
    table.writerow([_HEADING, "url"])
    for one in ids:
        query = urlencode({"participant": one, "signature": sign_participant(secret, one)})
        table.writerow([one, f"{base_url.rstrip('/')}/?{query}"])
    output.parent.mkdir(parents=True, exist_ok=True)
    write_text_atomic(output, text.getvalue(), mode=0o600)


def read_ids(path: Path) -> list[str]:
    """Read identifiers: one per line, or the first column of a CSV file, such as the one of links.

    Empty lines, lines that begin with ``#`` and a heading ``participant`` are passed over.

    Raises:
        SurveyError: the file cannot be read, is empty, or has an identifier twice or one that no
            participant can have; names the line.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "is no text in UTF-8"
        raise SurveyError(path, f"cannot be read: {reason or error}") from error
    found: dict[str, int] = {}
    for number, line in enumerate(lines, 1):
        cell = next(iter(next(csv.reader([line]), [])), "").strip()
        if not cell or cell.startswith("#") or (not found and cell.casefold() == _HEADING):
            continue
        try:
            check_id(cell)
        except BadIdError as error:
            raise SurveyError(path, f"line {number}: {cell!r}: {error}") from error
        if cell in found:
            raise SurveyError(path, f"line {number}: {cell} is in line {found[cell]}, too")
        found[cell] = number
    if not found:
        raise SurveyError(path, "has no id; expected one per line")
    return list(found)


def random_ids(count: int) -> list[str]:
    """Return random identifiers, all different."""
    ids: dict[str, None] = {}
    while len(ids) < count:
        ids[f"p{secrets.token_hex(5)}"] = None
    return list(ids)
