"""`impasto survey links`: make a signed link for each participant."""

import os
import shlex
from collections.abc import Sequence
from pathlib import Path

from impasto.options.command_line import CommandParser
from impasto.options.errors import OptionError
from impasto.options.survey import SurveyLinksOptions

__all__ = ["main"]

_EPILOG = """examples:
  impasto survey links study --database answers.sqlite --participants ids.txt \\
      --base_url https://example.org/study/
  impasto survey links study --database answers.sqlite --count 40 --base_url http://192.0.2.7:8080
  impasto survey serve study --key study.key.json --database answers.sqlite --signed_links true \\
      --participants links.csv

Links are valid for this database, for ever. Made again, the link of a participant is the same.
"""


def main(argv: Sequence[str]) -> int:
    """Parse, sign, write; return the exit status."""
    parser = CommandParser(
        "impasto survey links",
        SurveyLinksOptions,
        description="Make a link to a served study for each participant, which others cannot make.",
        epilog=_EPILOG,
        positionals="FOLDER",
    )
    parser.add_argument(
        "folder", metavar="FOLDER", help="folder of the study that impasto survey export wrote"
    )
    parsed = parser.parse(argv)
    options = parser.make(SurveyLinksOptions, parsed, drop=["folder"])

    if os.path.lexists(options.output) and not options.overwrite:
        raise OptionError("output", f"{options.output} exists; --overwrite true replaces it")

    from impasto.survey.serve.links import (  # noqa: PLC0415 - after parsing
        random_ids,
        read_ids,
        write_links,
    )

    given = options.participants
    ids = random_ids(options.count) if given is None else read_ids(given)
    folder = Path(parsed.folder)
    write_links(folder, options.database, options.output, ids, base_url=options.base_url)
    print(f"wrote {options.output}: {len(ids):,} links, which are private")
    words = ["impasto", "survey", "serve", parsed.folder, "--database", str(options.database)]
    words += ["--signed_links", "true", *(["--participants", str(given)] if given else [])]
    print(f"next: {shlex.join(words)} --key KEY")
    return 0
