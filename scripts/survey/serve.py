"""`impasto survey serve`: run a study in browsers."""

import logging
from collections.abc import Sequence
from pathlib import Path

from impasto.options.command_line import CommandParser
from impasto.options.errors import ImpastoError
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
_LOOPBACK = ("127.", "[::1]", "localhost")


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

    try:
        from impasto.survey.serve.job import serving  # noqa: PLC0415 - Flask, after parsing
    except ModuleNotFoundError as error:
        if error.name not in ("flask", "waitress"):
            raise
        raise ImpastoError(
            f'impasto survey serve needs {error.name}: pip install "impasto[survey]"'
        ) from error

    logging.getLogger("waitress.queue").setLevel(logging.ERROR)
    with serving(Path(parsed.folder), options) as server:
        print(f"study    {server.study.survey_id}: {server.study.protocol}", flush=True)
        print(f"open     {server.url}")
        print(f"results  {server.results_url}  (for you alone: it is made with the key)")
        print(f"answers  {options.database}", flush=True)
        if not server.url.removeprefix("http://").startswith(_LOOPBACK):
            print("note: without HTTPS in front of it, everybody on the way can read along")
        server.run()
        answers = server.database.read("SELECT count(*) AS n FROM answers")[0]["n"]
    print(f"stopped: {answers:,} answers in {options.database}")
    return 0
