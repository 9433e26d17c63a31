"""`impasto models`: which generators there are to translate with."""

from collections.abc import Sequence
from pathlib import Path

from impasto.options.command_line import CommandParser
from impasto.options.translate import ModelsOptions

__all__ = ["main"]

_EPILOG = """examples:
  impasto models
  impasto models old_checkpoints downloads
  impasto models --sheet painters.jpg
"""


def main(argv: Sequence[str]) -> int:
    """Parse, look, list; return the exit status: 1 where a file cannot be used."""
    parser = CommandParser(
        "impasto models",
        ModelsOptions,
        description="List the generators that ship with Impasto, and those in folders of runs.",
        epilog=_EPILOG,
        positionals="[FOLDER ...]",
    )
    parser.add_argument(
        "folders", nargs="*", metavar="FOLDER", help="run folders, and folders that hold runs"
    )
    parsed = parser.parse(argv)
    options = parser.make(ModelsOptions, parsed, drop=["folders"])

    from impasto.cyclegan.models import models_in, shipped_models  # noqa: PLC0415 - after parsing

    folders = [Path(folder) for folder in parsed.folders]
    usual = ModelsOptions().checkpoints_dir
    # That there are no runs yet is no mistake; a mistyped folder is.
    if not folders and (options.checkpoints_dir.is_dir() or options.checkpoints_dir != usual):
        folders = [options.checkpoints_dir]
    # Those in folders first, since a mistyped folder is told before torch is imported.
    found = {str(folder): models_in(folder) for folder in folders}
    groups = {"shipped": shipped_models(), **found}
    for heading, models in groups.items():
        print(f"{heading}:")
        for model in models:
            print(f"  --model {model.name}\n      {model.what}")
        if not models:
            print("  no generators")
    if options.sheet is not None:
        from impasto.cyclegan.jobs.painters import write_thumbnails  # noqa: PLC0415 - torch

        write_thumbnails(options)
        print(f"sheet: {options.sheet} shows what each painter makes of a photograph")
    else:
        print("to see them: impasto models --sheet painters.jpg")
    if not folders:
        print(f"{options.checkpoints_dir}: no such folder, so there are no runs to list")
    print("next: impasto translate PHOTOS --model MODEL --output FOLDER")
    return 0 if all(model.usable for models in groups.values() for model in models) else 1
