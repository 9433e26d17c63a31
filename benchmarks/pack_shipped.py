"""Turn a run of the preset monet_small into the files that ship: cyclegan/pretrained/*.safetensors.

    python benchmarks/pack_shipped.py checkpoints/monet_small --epoch 24

Takes the averaged generators, halves their precision, and writes where they come from into the
files. The run's log becomes benchmarks/monet_small.log.jsonl, which shipped_model.py compares with.
"""

import argparse
import json
import shutil
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import torch

from impasto.cyclegan.models import GENERATOR_OF, SHIPPED
from impasto.cyclegan.weights import load_generator, save_generator
from impasto.runs.directory import RunDirectory
from impasto.runs.log import read_log

__all__ = ["main", "pack"]

_LOG = Path(__file__).parent / "monet_small.log.jsonl"
_MODELS = {"BtoA": "monet", "AtoB": "photo"}
_OWN = {"name", "checkpoints_dir", "dataroot", "folder_A", "folder_B", "perceptual_weights"}
_LIMIT_BYTES = 8_000_000


def pack(run: RunDirectory, epoch: int, folder: Path) -> list[Path]:
    """Write both generators of an epoch as float16, and return the files."""
    options = run.read_options()
    images = max(record["images"] for record in read_log(run.log_file) if record["epoch"] <= epoch)
    files = []
    for direction, model in _MODELS.items():
        averaged = load_generator(run.network_file(str(epoch), f"{GENERATOR_OF[direction]}_ema"))
        weights = {
            name: value.half() if value.is_floating_point() else value
            for name, value in averaged.network.state_dict().items()
        }
        if not all(torch.isfinite(value).all() for value in weights.values()):
            raise SystemExit(f"{model}: a weight is too large for float16")
        provenance = {
            "model": model,
            "what": SHIPPED[model].what,
            "direction": direction,
            "weights": "averaged",
            "grid_bend_px": str(options["grid_bend_px"]),
            "epoch": str(epoch),
            "images": str(images),
            "recipe": "options/presets/monet_small.yaml",
            "options": json.dumps(
                {key: options[key] for key in sorted(options) if key not in _OWN}
            ),
            "data": "monet2photo: 240 paintings by Claude Monet (public domain), 350 photographs "
            "(not included)",
            "impasto": version("impasto"),
            "torch": torch.__version__,
            "date": datetime.now(UTC).date().isoformat(),
            "licence": "MIT",
        }
        files.append(folder / f"{model}.safetensors")
        save_generator(files[-1], weights, averaged.architecture, provenance)
    return files


def main() -> int:
    """Pack, copy the log, and say how large the files are."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--epoch", type=int, required=True, help="a kept one")
    given = parser.parse_args()
    run = RunDirectory(given.run)
    files = pack(run, given.epoch, SHIPPED["monet"].path.parent)
    shutil.copyfile(run.log_file, _LOG)
    sizes = [file.stat().st_size for file in files]
    for file, size in zip(files, sizes, strict=True):
        print(f"{file}: {size:,} bytes")
    return 0 if sum(sizes) <= _LIMIT_BYTES else 1


if __name__ == "__main__":
    raise SystemExit(main())
