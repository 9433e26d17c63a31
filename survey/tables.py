"""Reading of CSV files with various encodings and separators, and detection of damage."""

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
    """Table of strings.

    Attributes:
        path: path of the file.
        header: column names, without surrounding whitespace; duplicates are numbered.
        rows: for each row, the line of the file in which it ends, and its cells, one per column.
        ragged: lines whose number of cells differs from that of the header.
    """

    path: Path
    header: tuple[str, ...]
    rows: tuple[tuple[int, tuple[str, ...]], ...]
    ragged: tuple[int, ...] = ()

    def records(self) -> Iterator[tuple[int, Mapping[str, str]]]:
        """Yield the line and the cells by column name for every row that is not empty."""
        for line, cells in self.rows:
            if any(cells):
                yield line, dict(zip(self.header, cells, strict=True))

    def column(self, *names: str) -> str | None:
        """Return the first of the given names that is a column, ignoring case, or None."""
        folded = {_plain(name): name for name in reversed(self.header)}
        return next((folded[_plain(name)] for name in names if _plain(name) in folded), None)


def read_table(path: Path) -> Table:
    """Read a CSV file: UTF-8, UTF-16 or Windows-1252; separated by comma, semicolon or tab.

    Raises:
        SurveyError: the file is missing, or is not a table.
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
    """Return the content of a file as bytes.

    Raises:
        SurveyError: the file is missing or cannot be read.
    """
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise SurveyError(path, "no such file") from None
    except OSError as error:
        raise SurveyError(path, f"cannot be read: {error.strerror or error}") from error


def decimal(text: str) -> float:
    """Parse a number with a decimal point or a decimal comma.

    >>> decimal("2618,6")
    2618.6

    Raises:
        ValueError: the text is not a finite number.
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
