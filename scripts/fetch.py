"""`impasto fetch`: get data sets, published models and weights, from addresses of one's own."""

import json
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from impasto.options.command_line import CommandParser
from impasto.options.fetch import FetchOptions

if TYPE_CHECKING:
    from impasto.cyclegan.jobs.fetch import Fetched
    from impasto.data.fetch.catalog import Entry

__all__ = ["main"]

_EPILOG = """examples:
  impasto fetch --list
  impasto fetch vgg19 inception
  impasto fetch monet2photo --source https://mirror.example/cyclegan
  impasto fetch monet2photo --from ~/Downloads/monet2photo.zip
  impasto fetch style_monet --source /mnt/shared/models

mirrors.yaml, in the folder IMPASTO_HOME (by default ~/.impasto), has lines like
  monet2photo: [https://mirror.example/cyclegan, /mnt/shared/{file}]
  dataset: https://mirror.example/cyclegan      # of all data sets; also model, network and all
"""


def main(argv: Sequence[str]) -> int:
    """Parse, fetch, report; return the exit status: 1 where something could not be fetched."""
    parser = CommandParser(
        "impasto fetch",
        FetchOptions,
        description="Fetch data sets, published models and weights of feature networks. Impasto "
        "knows their names, sizes and checksums; addresses are yours, or those of the libraries.",
        epilog=_EPILOG,
        positionals="NAME [NAME ...]",
        skip={"names", "file"},
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="what to fetch; see --list")
    assert parser.groups is not None  # noqa: S101 - made with the options
    parser.groups["where from"].add_argument(
        "--from",
        dest="file",
        metavar="FILE",
        help="file that lies on this disk already, to be verified and put where it belongs",
    )
    parser.add_switch("running", "list", "list what there is, and where it lies, and exit")
    parser.add_switch("running", "json", "print the result, or the list, as JSON")
    parsed = parser.parse(argv)
    drop = ["list", "json"]
    if parsed.list:
        parsed.names = parsed.names or ["all"]
        return _list(parser.make(FetchOptions, parsed, drop=drop), as_json=bool(parsed.json))
    if not parsed.names:
        parser.error("missing: NAME, what to fetch; impasto fetch --list lists what there is")
    options = parser.make(FetchOptions, parsed, drop=drop)

    from impasto.cyclegan.jobs.fetch import run_fetch  # noqa: PLC0415 - torch, after parsing

    result = run_fetch(options, announce=lambda line: print(line, file=sys.stderr))
    if parsed.json:
        found: list[dict[str, Any]] = [_described(each) for each in result.fetched]
        found += [{"name": name, "error": text} for name, text in result.failures.items()]
        print(json.dumps(found, indent=2))
    else:
        for each in result.fetched:
            _report(each)
    for name, text in result.failures.items():
        sys.stderr.write(f"impasto fetch: error: {name}: {text}\n")
    return 1 if result.failures else 0


def _report(fetched: "Fetched") -> None:
    """Say what is there now, and what comes next."""
    entry, path = fetched.entry, shlex.quote(str(fetched.path))
    if fetched.new:
        print(f"{entry.name}: {entry.what}: {path}")
        print(f"  license: {entry.license}")
    else:
        print(f"{entry.name}: is there already: {path}; --overwrite true fetches it again")
    for note in fetched.notes:
        print(f"  {note}")
    if entry.kind == "dataset":
        print(f"  next: impasto train --dataroot {path} --name {entry.name}")
    elif entry.kind == "model":
        run = shlex.quote(str(fetched.path.parent))
        print(f"  next: impasto translate PHOTOS --model {run} --output FOLDER")
    elif entry.name.startswith("vgg") and not entry.name.endswith("_bn"):
        print(f"  next: impasto stylize PHOTO STYLE --weights {path} --output FILE")


def _described(fetched: "Fetched") -> dict[str, Any]:
    entry = fetched.entry
    return {
        "name": entry.name,
        "kind": entry.kind,
        "path": str(fetched.path),
        "new": fetched.new,
        "sha256": fetched.sha256,
        "license": entry.license,
        "notes": list(fetched.notes),
    }


def _list(options: FetchOptions, *, as_json: bool) -> int:
    """List what there is, and where what is there already lies."""
    from impasto.cyclegan.jobs.fetch import place_of  # noqa: PLC0415 - torch, after parsing
    from impasto.data.fetch.catalog import catalog, expected_checksum  # noqa: PLC0415
    from impasto.data.fetch.sources import find_sources  # noqa: PLC0415

    def place(entry: "Entry") -> Path | None:
        found = place_of(
            entry, datasets_dir=options.datasets_dir, checkpoints_dir=options.checkpoints_dir
        )
        return found if found.exists() else None

    entries = list(catalog().values())
    if as_json:
        print(
            json.dumps(
                [
                    {
                        "name": entry.name,
                        "kind": entry.kind,
                        "what": entry.what,
                        "file": entry.file,
                        "bytes": entry.bytes,
                        "sha256": expected_checksum(entry)[0],
                        "pictures": dict(entry.pictures),
                        "license": entry.license,
                        "path": str(found) if (found := place(entry)) else None,
                        "sources": [str(each) for each in find_sources(entry, options.source)],
                    }
                    for entry in entries
                ],
                indent=2,
            )
        )
        return 0
    headings = {"dataset": "data sets", "model": "models", "network": "feature networks"}
    for kind, heading in headings.items():
        print(f"{heading}:")
        for entry in (each for each in entries if each.kind == kind):
            size = f", {entry.bytes / 1e6:,.0f} MB" if entry.bytes else ""
            there = f"; there: {found}" if (found := place(entry)) else ""
            print(f"  {entry.name:34}{entry.what}{size}{there}")
    print("next: impasto fetch NAME; or any model of torchvision by its name")
    return 0
