"""`impasto survey report`: rates, intervals, tests, figures and a page from answers."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from impasto.options.command_line import CommandParser
from impasto.options.survey import SurveyReportOptions

if TYPE_CHECKING:
    from impasto.survey.analysis.findings import Findings

__all__ = ["main"]

_EPILOG = """examples:
  impasto survey report answers.csv --key study.key.json --study study --output report
  impasto survey report answers.sqlite --key study.key.json --failed_checks 1
  impasto survey report downloads/ more.json --key study.key.json --margin 0.1

ANSWERS are tables (.csv, .json) that 'impasto survey import' wrote or that were downloaded from the
page of the study, databases of 'impasto survey serve' (.sqlite), or folders of such files.
docs/survey_report.md explains the report.
"""


def main(argv: Sequence[str]) -> int:
    """Parse, analyze, write, say; return the exit status."""
    parser = CommandParser(
        "impasto survey report",
        SurveyReportOptions,
        description="Analyze the answers of a study, and write a page with tables and figures.",
        epilog=_EPILOG,
        positionals="ANSWERS [ANSWERS ...]",
    )
    parser.add_argument(
        "answers", nargs="+", metavar="ANSWERS", help="files with answers, or folders of them"
    )
    parsed = parser.parse(argv)
    options = parser.make(SurveyReportOptions, parsed, drop=["answers"])

    from impasto.survey.report.job import write_report  # noqa: PLC0415 - SciPy, after parsing

    findings = write_report([Path(path) for path in parsed.answers], options)
    print(_summary(findings))
    page = options.output / "index.html"
    print(f"wrote {page}; open it for tables, figures and what they can and cannot say")
    return 0


def _summary(findings: "Findings") -> str:
    from impasto.survey.report.text import (  # noqa: PLC0415
        conclusions,
        pluralize,
    )

    people = pluralize(findings.after.people, "person", "people")
    excluded = findings.before.people - findings.after.people
    lines = [f"{people} ({excluded} excluded), {pluralize(findings.after.answers, 'answer')}"]
    return "\n".join([*lines, *conclusions(findings)]).replace("\N{NO-BREAK SPACE}", " ")
