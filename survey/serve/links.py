"""Signed links, one for each participant, and lists of who may take part."""

import csv
import io
import re
import secrets
from collections.abc import Iterator, Sequence
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
# Of the column of ids in a table, as we, Prolific, Mechanical Turk and people name it; without
# spaces, hyphens, underscores and capitals.
_HEADINGS = ("participant", "participantid", "prolificpid", "prolificid", "workerid", "id", "ids")


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
    """Read identifiers: one per line, or a column of a CSV file, such as the one of links.

    That is the column with a known heading, such as ``participant``, ``PROLIFIC_PID``, ``workerId``
    or ``id``, or else the first. Empty lines and lines that begin with ``#`` are passed over.

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
    for number, cell in _find_cells(lines):
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


def _find_cells(lines: Sequence[str]) -> Iterator[tuple[int, str]]:
    """Yield the cells of the column of ids, with the numbers of their lines, from 1."""
    column: int | None = None
    for number, line in enumerate(lines, 1):
        cells = [cell.strip() for cell in next(csv.reader([line]), [])]
        if not any(cells) or cells[0].startswith("#"):
            continue
        if column is None:
            headings = [re.sub(r"[\s_-]", "", cell).casefold() for cell in cells]
            known = next((name for name in _HEADINGS if name in headings), None)
            column = 0 if known is None else headings.index(known)
            if known is not None:
                continue
        if cell := next(iter(cells[column:]), ""):
            yield number, cell


def random_ids(count: int) -> list[str]:
    """Return random identifiers, all different."""
    ids: dict[str, None] = {}
    while len(ids) < count:
        ids[f"p{secrets.token_hex(5)}"] = None
    return list(ids)
