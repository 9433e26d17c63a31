"""CSV files as people have them: other encodings, other separators, signs of damage."""

import csv
import io
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from impasto.options.errors import SurveyError

__all__ = ["Table", "decimal", "read_bytes", "read_table"]

_FIELD_LIMIT = 2**20
_SEPARATORS = ",;\t"


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table of texts.

    Attributes:
        path: its file.
        header: names of the columns, without surrounding blanks; repeated ones are numbered.
        rows: line of the file in which a row ends, and its cells, as many as the header has.
        ragged: lines with another number of cells than the header.
    """

    path: Path
    header: tuple[str, ...]
    rows: tuple[tuple[int, tuple[str, ...]], ...]
    ragged: tuple[int, ...] = ()

    def records(self) -> Iterator[tuple[int, Mapping[str, str]]]:
        """Yield the line and the cells by name of every row that is not empty."""
        for line, cells in self.rows:
            if any(cells):
                yield line, dict(zip(self.header, cells, strict=True))

    def column(self, *names: str) -> str | None:
        """Return the first of some names that is a column, whatever its case, or None."""
        folded = {_plain(name): name for name in reversed(self.header)}
        return next((folded[_plain(name)] for name in names if _plain(name) in folded), None)


def read_table(path: Path) -> Table:
    """Read a CSV: UTF-8, UTF-16 or Windows-1252; by comma, semicolon or tabulator.

    Raises:
        SurveyError: there is no such file, or it is no table.
    """
    text = _decode(path)
    first = text.lstrip("\r\n").partition("\n")[0]
    separator = max(_SEPARATORS, key=first.count)
    before = csv.field_size_limit(_FIELD_LIMIT)
    try:
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
        lines = [(reader.line_num, [cell.strip() for cell in row]) for row in reader]
    except csv.Error as error:
        raise SurveyError(path, f"is no CSV: {error}") from error
    finally:
        csv.field_size_limit(before)
    while lines and not any(lines[0][1]):
        del lines[0]
    if not lines:
        raise SurveyError(path, "is empty")
    header = _numbered(lines[0][1])
    width = len(header)
    rows = tuple((line, tuple((row + [""] * width)[:width])) for line, row in lines[1:] if any(row))
    ragged = tuple(line for line, row in lines[1:] if any(row) and len(row) != width)
    return Table(path=path, header=header, rows=rows, ragged=ragged)


def read_bytes(path: Path) -> bytes:
    """Return what a file holds.

    Raises:
        SurveyError: there is no such file, or it cannot be read.
    """
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise SurveyError(path, "no such file") from None
    except OSError as error:
        raise SurveyError(path, f"cannot be read: {error.strerror or error}") from error


def decimal(text: str) -> float:
    """Return the number that a text is, with a point or with a comma.

    >>> decimal("2618,6")
    2618.6

    Raises:
        ValueError: it is none, or none that is finite.
    """
    number = float(text.replace(",", "."))
    if not math.isfinite(number):
        raise ValueError(text)
    return number


def _decode(path: Path) -> str:
    stored = read_bytes(path)
    if stored.startswith((b"\xff\xfe", b"\xfe\xff")):
        encodings = ["utf-16"]
    else:
        encodings = ["utf-8-sig", "cp1252"]
    for encoding in encodings:
        try:
            text = stored.decode(encoding)
        except UnicodeDecodeError:
            continue
        if "\0" in text:
            break
        return text
    raise SurveyError(path, "is no text")


def _numbered(names: list[str]) -> tuple[str, ...]:
    seen: dict[str, int] = {}
    numbered = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        numbered.append(name if seen[name] == 1 else f"{name} ({seen[name]})")
    return tuple(numbered)


def _plain(name: str) -> str:
    return "".join(sign for sign in name.casefold() if sign.isalnum())
