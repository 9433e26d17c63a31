"""Turn a generator of a finished run into a file that ships: cyclegan/pretrained/NAME.safetensors.

    python benchmarks/pack_shipped.py checkpoints/vangogh --name vangogh --label "Van Gogh" \
        --what "photographs into Van Goghs" --strokes_at_px 512 --recipe vangogh.yaml \
        --data "300 paintings by Vincent van Gogh (public domain), 550 photographs (not included)"
    impasto evaluate vangogh --real test --inputs photos --more_real train --output evaluation
    python benchmarks/model_cards.py --evaluation vangogh=evaluation/results.json

Takes the averaged weights if there are any, halves their precision, and writes into the file where
they come from. It is a model from then on: `impasto translate --model vangogh`. The run may have
one direction or two, of which --direction is taken. The run's log becomes
benchmarks/NAME.log.jsonl. The last command writes the card, docs/painters/vangogh.md.
"""

import argparse
import json
import re
import shutil
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from impasto.cyclegan.inference.translator import Translator
from impasto.cyclegan.jobs.convert import paint
from impasto.cyclegan.models import find_generator, shipped_model
from impasto.cyclegan.weights import (
    LoadedGenerator,
    fold_strength,
    load_generator,
    save_generator,
)
from impasto.data.samples.photographs import sample_photographs
from impasto.options.translate import ALL_PAINTERS
from impasto.runs.directory import RunDirectory
from impasto.runs.log import read_log

__all__ = ["LIMIT_BYTES", "LIMIT_OF_ALL_BYTES", "main", "pack"]

LIMIT_BYTES, LIMIT_OF_ALL_BYTES = 4_000_000, 20_000_000
_ROOT = Path(__file__).parents[1]
_PRETRAINED = _ROOT / "cyclegan" / "pretrained"
# Where the pictures and files of a training were is nobody's business.
_OWN = {
    *("name", "checkpoints_dir", "dataroot", "folder_A", "folder_B", "perceptual_weights"),
    *("init_from", "display_server", "display_env", "display_port"),
}


def pack(run: Path, folder: Path, given: argparse.Namespace) -> Path:
    """Write a generator of a run as float16, and return its file.

    Args:
        run: folder of the run.
        folder: folder of shipped models.
        given: the arguments of the command.

    Raises:
        SystemExit: a weight is too large for float16, the file or all files together would be
            larger than may be, or the name cannot be one.
    """
    directory = RunDirectory(run)
    if not re.fullmatch(r"[a-z][a-z0-9_]*", given.name) or given.name == str(ALL_PAINTERS):
        raise SystemExit(f"--name: expected small letters and digits, got {given.name}")
    loaded = find_generator(run, direction=given.direction, epoch=given.epoch)
    if given.strength != 1:
        folded = fold_strength(loaded.network.state_dict(), given.strength)
        loaded.network.load_state_dict(folded)
    whole = loaded.network.state_dict()
    weights = {
        name: value.half() if value.is_floating_point() else value for name, value in whole.items()
    }
    if not all(torch.isfinite(value).all() for value in weights.values()):
        raise SystemExit(f"{run}: a weight is too large for float16")
    target = folder / f"{given.name}.safetensors"
    with tempfile.TemporaryDirectory() as temporary:
        packed = Path(temporary) / target.name
        save_generator(packed, weights, loaded.architecture, _provenance(directory, loaded, given))
        size = packed.stat().st_size
        others = (file for file in folder.glob("*.safetensors") if file != target)
        total = size + sum(file.stat().st_size for file in others)
        if size > LIMIT_BYTES or total > LIMIT_OF_ALL_BYTES:
            raise SystemExit(
                f"{target}: would have {size:,} bytes, at most {LIMIT_BYTES:,} are allowed; all "
                f"models together {total:,}, at most {LIMIT_OF_ALL_BYTES:,}"
            )
        shutil.copyfile(packed, target)
    print(f"{target}: {size:,} bytes; all models together {total:,}")
    print(f"float16 changes a photograph's translation by up to {_change(loaded, target)} of 255")
    return target


def _provenance(
    run: RunDirectory, loaded: LoadedGenerator, given: argparse.Namespace
) -> dict[str, str]:
    """Return what the file says of itself; every value is a text."""
    options = run.read_options()
    records = _until(read_log(run.log_file), given.epoch)
    averaged = float(options.get("ema_decay") or 0) > 0
    strokes_px = given.strokes_at_px or loaded.strokes_at_px
    said: dict[str, object] = {
        "model": given.name,
        "label": given.label or given.name.capitalize(),
        "what": given.what,
        "direction": given.direction,
        "weights": loaded.provenance.get("weights", "averaged" if averaged else "last"),
        "grid_bend_px": options.get("grid_bend_px", 0.0),
        "strokes_at_px": None if strokes_px is None else f"{strokes_px:g}",
        "strength": None if given.strength == 1 else f"{given.strength:g}",
        "epoch": given.epoch if given.epoch != "latest" else _last(records, "epoch"),
        "images": _last(records, "images"),
        "seconds": round(sum(record["seconds"] for record in records)),
        "machine": given.machine,
        "recipe": given.recipe,
        "options": json.dumps(_described(options)),
        "data": given.data,
        "impasto": version("impasto"),
        "torch": torch.__version__,
        "date": datetime.now(UTC).date().isoformat(),
        "licence": "MIT",
    }
    return {key: str(value) for key, value in said.items() if value not in {None, ""}}


def _described(options: dict[str, Any]) -> dict[str, Any]:
    """Return the options without those that name folders and files of whoever trained."""
    kept = {key: options[key] for key in sorted(options) if key not in _OWN}
    start = [shipped_model(Path(model)) for model in options.get("init_from") or []]
    if start and None not in start:
        return {**kept, "init_from": [model.name for model in start if model is not None]}
    return {
        key: value for key, value in kept.items() if key not in {"init_style", "init_direction"}
    }


def _until(records: Sequence[dict[str, Any]], epoch: str) -> list[dict[str, Any]]:
    """Return the reports of a training up to the end of an epoch."""
    if epoch == "latest":
        return list(records)
    return [record for record in records if record["epoch"] <= int(epoch)]


def _last(records: Sequence[dict[str, Any]], name: str) -> int | None:
    return max((record[name] for record in records), default=None)


def _change(loaded: LoadedGenerator, packed: Path) -> int:
    """Return the largest difference that half precision makes in a photograph, in 8-bit steps."""
    photograph = sample_photographs()["coffee"]
    cpu = torch.device("cpu")
    before, after = (
        paint([photograph], Translator.of(each, device=cpu, grid_bend_px=0))[0].astype(int)
        for each in (loaded, load_generator(packed))
    )
    return int(np.abs(before - after).max())


def main(argv: Sequence[str] | None = None) -> int:
    """Pack, copy the log, and say how large the files are."""
    assert __doc__  # noqa: S101 - for mypy
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path, help="folder of the run")
    parser.add_argument("--name", required=True, help="name of the model, for --model")
    parser.add_argument("--label", default="", help="name under pictures (default: of NAME)")
    parser.add_argument(
        "--what", required=True, help="what it does; a painter's begins: photographs into"
    )
    parser.add_argument("--data", required=True, help="how many pictures of what it has seen")
    parser.add_argument("--recipe", required=True, help="preset of the training, or its command")
    parser.add_argument("--machine", default="", help="what it was trained on")
    parser.add_argument(
        "--strokes_at_px",
        type=float,
        help="shorter side of the pictures for which strokes are right, in pixels; larger pictures "
        "then have larger strokes by themselves (default: that of the run, or none)",
    )
    parser.add_argument(
        "--strength",
        type=float,
        default=1.0,
        help="share of the translation in what the model makes, which is folded into its weights; "
        "only for models with --output_base kuwahara",
    )
    parser.add_argument("--direction", default="AtoB", choices=["AtoB", "BtoA"])
    parser.add_argument("--epoch", default="latest", help="a kept one")
    parser.add_argument("--folder", type=Path, default=_PRETRAINED, help="where models ship")
    parser.add_argument("--log", type=Path, help="copy of the log (default: NAME.log.jsonl, here)")
    given = parser.parse_args(argv)
    if given.strokes_at_px is not None and not 0 < given.strokes_at_px < float("inf"):
        parser.error(f"--strokes_at_px: expected a number above 0, got {given.strokes_at_px}")
    if not 0 < given.strength <= 1:
        parser.error(f"--strength: expected above 0 and at most 1, got {given.strength}")
    pack(given.run, given.folder, given)
    log = given.log or Path(__file__).parent / f"{given.name}.log.jsonl"
    shutil.copyfile(RunDirectory(given.run).log_file, log)
    print(f"{log}: its log")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
