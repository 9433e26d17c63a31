"""`impasto survey serve`: run a study in browsers."""

import shlex
from collections.abc import Sequence
from pathlib import Path

from impasto.options.command_line import CommandParser
from impasto.options.survey import SurveyServeOptions

__all__ = ["main"]

_EPILOG = """examples:
  impasto survey serve study --key study.key.json --database answers.sqlite
  impasto survey serve study --key study.key.json --database answers.sqlite --host 0.0.0.0 \\
      --redirect_url 'https://app.prolific.com/submissions/complete?cc=C1ABCDEF'

Send participants to the address that the command prints, with ?participant=ID, or with the ids of
Prolific (PROLIFIC_PID, STUDY_ID, SESSION_ID) or Mechanical Turk (workerId, hitId, assignmentId).
Stop the server with Ctrl-C; when it is started again, everybody continues where they were.
"""


def main(argv: Sequence[str]) -> int:
    """Parse, listen, serve until stopped; return the exit status."""
    parser = CommandParser(
        "impasto survey serve",
        SurveyServeOptions,
        description="Serve a study to browsers, and store the answers in an SQLite database.",
        epilog=_EPILOG,
        positionals="FOLDER",
    )
    parser.add_argument(
        "folder", metavar="FOLDER", help="folder of the study that impasto survey export wrote"
    )
    parsed = parser.parse(argv)
    options = parser.make(SurveyServeOptions, parsed, drop=["folder"])

    from impasto.survey.serve.job import serve_study  # noqa: PLC0415 - Flask, after parsing

    answers = serve_study(
        Path(parsed.folder), options, on_start=lambda server: print(server, flush=True)
    )
    print(f"stopped: {answers:,} answers in {options.database}")
    words = [str(options.database), "--key", str(options.key), "--study", str(parsed.folder)]
    print(f"next: impasto survey report {shlex.join(words)} --output report")
    return 0
