"""`impasto survey import`: read the answers of forms and platforms into one table."""

import csv
import io
import os
import shlex
from collections.abc import Sequence
from pathlib import Path

from impasto.options.command_line import CommandParser
from impasto.options.errors import OptionError
from impasto.options.survey import SurveyImportOptions

__all__ = ["main"]

_EPILOG = """examples:
  impasto survey import downloads/*.csv --key study.key.json --output answers.csv
  impasto survey import answers.sqlite --key study.key.json --output answers.csv
  impasto survey import batch.csv prolific_export.csv --key study.key.json \\
      --participants people.csv --output answers.csv

Without --key, unknown pictures and missing answers are not recognized. If a person answered the
same picture twice, the first answer counts.
"""


def main(argv: Sequence[str]) -> int:
    """Parse, read, report; return the exit status."""
    parser = CommandParser(
        "impasto survey import",
        SurveyImportOptions,
        description="Read the answers of forms and survey platforms into one table.",
        epilog=_EPILOG,
        positionals="FILE [FILE ...]",
    )
    parser.add_argument(
        "files",
        nargs="+",
        metavar="FILE",
        help="files that a survey platform, the page or the server of the study gave",
    )
    parsed = parser.parse(argv)
    options = parser.make(SurveyImportOptions, parsed, drop=["files"])
    files = [Path(name) for name in parsed.files]
    _refuse(options, files)

    from impasto.data.atomic import write_text_atomic  # noqa: PLC0415 - after parsing
    from impasto.survey.answers import write_answers  # noqa: PLC0415
    from impasto.survey.collect.job import import_answers, participants_table  # noqa: PLC0415
    from impasto.survey.key import (  # noqa: PLC0415
        check_key,
        read_key,
    )

    key = None
    if options.key is not None:
        key = read_key(options.key)
        check_key(options.key, key)
    imported = import_answers(files, key=key, format_=options.format)
    for file in imported.files:
        count = f"{len(file.people)} people" if file.people else f"{len(file.answers)} answers"
        print(f"{file.path}: {file.format}, {count}")
    for oddity in imported.oddities:
        print(f"note: {oddity}")
    options.output.parent.mkdir(parents=True, exist_ok=True)
    write_answers(options.output, imported.answers)
    practice = sum(one.is_practice for one in imported.answers)
    print(
        f"wrote {options.output}: {len(imported.answers) - practice} answers and {practice} of "
        f"practice, of {len(imported.participants)} participants"
    )
    if options.participants is not None:
        header, rows = participants_table(imported)
        text = io.StringIO(newline="")
        csv.writer(text, lineterminator="\n").writerows([header, *rows])
        options.participants.parent.mkdir(parents=True, exist_ok=True)
        write_text_atomic(options.participants, text.getvalue(), mode=0o600)
        print(f"wrote {options.participants}")
    key_file = shlex.quote(str(options.key)) if options.key else "STUDY.key.json"
    print(f"next: impasto survey report {shlex.quote(str(options.output))} --key {key_file}")
    return 0


def _refuse(options: SurveyImportOptions, files: Sequence[Path]) -> None:
    """Refuse to replace what is there, or what is read."""
    read = {path.resolve() for path in (*files, *([options.key] if options.key else []))}
    for name, path in (("output", options.output), ("participants", options.participants)):
        if path is None:
            continue
        if path.resolve() in read:
            raise OptionError(name, f"{path} is also an input; choose another name")
        if os.path.lexists(path) and not options.overwrite:
            raise OptionError(name, f"{path} exists; --overwrite true replaces it")
