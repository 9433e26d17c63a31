"""`impasto survey export`: make a study from folders of pictures."""

import shlex
import sys
from collections.abc import Sequence

from impasto.options.command_line import CommandParser
from impasto.options.survey import SurveyExportOptions

__all__ = ["main"]

_EPILOG = """examples:
  impasto survey export --real photos --fake cyclegan=translated --output study
  impasto survey export --real photos --fake gatys=a cyclegan=b --per_class 20 --output study
  impasto survey export --real photos --fake cyclegan=b --protocol pair --output pairs
  impasto survey export --real photos --fake cyclegan=b --protocol timed --exposure_ms 500 \\
      --equalize jpeg:90 --output timed --key ~/keys/timed.json

The folder OUTPUT and its archive OUTPUT.zip are public; the answer key OUTPUT.key.json is private.
"""


def main(argv: Sequence[str]) -> int:
    """Parse, export, report; return the exit status."""
    parser = CommandParser(
        "impasto survey export",
        SurveyExportOptions,
        description="From folders of pictures, make a study in which participants tell real "
        "pictures from fake ones; nothing in its files reveals which pictures are real.",
        epilog=_EPILOG,
    )
    parsed = parser.parse(argv)
    options = parser.make(SurveyExportOptions, parsed)

    from impasto.runs.displays.bar import ProgressBar  # noqa: PLC0415 - after parsing
    from impasto.survey.export.job import export_study  # noqa: PLC0415 - NumPy and the rest

    with ProgressBar() as bar:
        done = export_study(options, on_picture=bar.move_of)
    for path, reason in done.passed_over.items():
        print(f"skipped: {path}: {reason}", file=sys.stderr)
    for note in done.notes:
        print(f"note: {note}", file=sys.stderr)
    for row in done.audit.of("warning"):
        print(f"warning: {row.name}: {row.detail}", file=sys.stderr)
    study = done.study
    kind = "pairs" if study.rules.is_paired else "pictures"
    print(
        f"{len(study.orders[0]) - study.attention_checks} {kind} to judge, "
        f"{study.attention_checks} attention checks, {len(study.practice)} for practice; "
        f"{len(study.orders)} orders; audit: {done.audit.verdict}"
    )
    print(f"public:  {done.folder} (open index.html), {done.archive}")
    print(f"private: {done.key}")
    words = ["impasto", "survey", "serve", str(done.folder), "--key", str(done.key)]
    print(f"next: {shlex.join(words)} --database answers.sqlite")
    return 0
