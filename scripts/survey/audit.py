"""`impasto survey audit`: look for what gives the answers of a study away."""

import json
from collections.abc import Sequence
from pathlib import Path

from impasto.options.command_line import CommandParser
from impasto.options.survey import SurveyAuditOptions

__all__ = ["main"]

_EPILOG = """examples:
  impasto survey audit study --key study.key.json
  impasto survey audit study --output audit.json

Exit status: 0 if nothing gives the answers away; 1 if something does, or if a file is not as it was
exported.
"""


def main(argv: Sequence[str]) -> int:
    """Parse, look, report; return the exit status."""
    parser = CommandParser(
        "impasto survey audit",
        SurveyAuditOptions,
        description="Look for anything in an exported study that gives the answers away.",
        epilog=_EPILOG,
        positionals="FOLDER",
    )
    parser.add_argument(
        "folder", metavar="FOLDER", help="folder of the study that impasto survey export wrote"
    )
    parsed = parser.parse(argv)
    options = parser.make(SurveyAuditOptions, parsed, drop=["folder"])
    folder = Path(parsed.folder)

    from impasto.data.atomic import write_text_atomic  # noqa: PLC0415 - after parsing
    from impasto.survey.audit.job import audit_study  # noqa: PLC0415
    from impasto.survey.audit.report import Status, counted  # noqa: PLC0415
    from impasto.survey.key import check_key, read_key, read_study  # noqa: PLC0415

    read_study(folder)  # before a key is looked for that no study has

    beside = folder.absolute()
    key_path = options.key or beside.with_name(f"{beside.name}.key.json")
    key = read_key(key_path)
    check_key(key_path, key)
    archive = options.zip
    if archive is None and (found := beside.with_name(f"{beside.name}.zip")).is_file():
        archive = found
    audit = audit_study(
        folder, key, archive=archive, alpha=options.alpha, permutations=options.permutations
    )
    print(audit.table())
    if options.output is not None:
        options.output.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps(audit.as_dict(), indent=1, ensure_ascii=False)
        write_text_atomic(options.output, text + "\n")
    named: tuple[Status, ...] = ("leak", "fault") if audit.passed else ("leak", "fault", "warning")
    counts = ", ".join(counted(len(audit.of(status)), status) for status in named)
    print(f"\n{audit.verdict}: {counts} in {audit.pictures} pictures")
    if audit.smallest_p > audit.alpha:
        print(
            f"note: with so few pictures, no p-value can be below {audit.smallest_p:.3g}, so what "
            "is random by design, such as names and positions, cannot be tested"
        )
    if audit.passed:
        print(f"next: put {folder} on a web host, or 'impasto survey serve' it; keep {key_path}")
    else:
        print("next: mend what is marked above, and export the study again, to another folder")
    return 0 if audit.passed else 1
