"""`impasto survey`: finds the action and runs it."""

import importlib
import sys
from collections.abc import Sequence

from impasto.options.fields import nearest

__all__ = ["main"]

# Action -> module and one line of help; imported only when they are called.
ACTIONS = {
    "export": ("impasto.scripts.survey.export", "make a study from folders of pictures"),
    "audit": ("impasto.scripts.survey.audit", "look for what gives the answers away"),
    "serve": ("impasto.scripts.survey.serve", "run a study in browsers, answers into SQLite"),
    "import": ("impasto.scripts.survey.import_", "read the answers of forms and platforms"),
    "report": ("impasto.scripts.survey.report", "rates, intervals, tests, figures, a page"),
    "power": ("impasto.scripts.survey.power", "say how exact a study will be"),
}
_EPILOG = """examples:
  impasto survey power --raters 14 --pictures 10
  impasto survey export --real photos --fake cyclegan=translated --output study
  impasto survey serve study --key study.key.json --database answers.sqlite
  impasto survey report answers.csv --key study.key.json --output report
"""


def main(argv: Sequence[str]) -> int:
    """Run one action; return its exit status."""
    words = list(argv)
    if not words or words[0] in {"-h", "--help", "help"}:
        sys.stdout.write(_help())
        raise SystemExit(0 if words else 2)
    if words[0] not in ACTIONS:
        hint = nearest(words[0], ACTIONS)
        sys.stderr.write(f"impasto survey: error: unknown action {words[0]!r}{hint}\n")
        sys.stderr.write("Try 'impasto survey --help'.\n")
        return 2
    return int(importlib.import_module(ACTIONS[words[0]][0]).main(words[1:]))


def _help() -> str:
    lines = "".join(f"  {name:<8} {text}\n" for name, (_, text) in ACTIONS.items())
    return (
        "usage: impasto survey ACTION [options]\n\n"
        "Ask people which pictures are real.\n\n"
        f"actions:\n{lines}\n"
        "'impasto survey ACTION --help' lists the options of an action.\n\n"
        f"{_EPILOG}"
    )
