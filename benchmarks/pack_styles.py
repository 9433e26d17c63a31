"""Turn a run of `impasto style train` into the file that ships: pretrained/paintings.safetensors.

    python benchmarks/pack_styles.py checkpoints/styles --output cyclegan/pretrained

Halves the precision of the weights, and writes where they come from into the file. The run's log
becomes benchmarks/paintings.log.jsonl.
"""

import argparse
import json
import shutil
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import torch

from impasto.cyclegan.architecture import GeneratorArchitecture
from impasto.cyclegan.models import STYLES_FILE
from impasto.cyclegan.weights import save_generator
from impasto.runs.directory import RunDirectory
from impasto.runs.log import read_log
from impasto.runs.state import load_tensors

__all__ = ["NAME", "main", "pack"]

NAME = "paintings"
_LOG = Path(__file__).parent / f"{NAME}.log.jsonl"
# Where pictures were is nobody's business.
_OWN = {"name", "checkpoints_dir", "styles", "photos"}
_LIMIT_BYTES = 2_000_000
_BEND_PX = 3.0  # or dots line up four pixels apart


def pack(run: RunDirectory, folder: Path, *, data: str) -> Path:
    """Write the model of a run as float16, and return the file."""
    weights, said = load_tensors(run.path / STYLES_FILE)
    options = run.read_options()
    halved = {
        name: value.half() if value.is_floating_point() else value
        for name, value in weights.items()
    }
    if not all(torch.isfinite(value).all() for value in halved.values()):
        raise SystemExit("a weight is too large for float16")
    architecture = GeneratorArchitecture.from_json(said.pop("architecture"))
    count = len(json.loads(said["styles"]))
    provenance = {
        **said,
        "model": NAME,
        "label": "Paintings",
        "what": f"pictures into the styles of {count} single paintings",
        "grid_bend_px": f"{_BEND_PX:g}",
        "strokes_at_px": str(options["style_size"]),
        "options": json.dumps({key: options[key] for key in sorted(options) if key not in _OWN}),
        "data": data,
        "impasto": version("impasto"),
        "torch": torch.__version__,
        "date": datetime.now(UTC).date().isoformat(),
        "licence": "MIT",
    }
    file = folder / f"{NAME}.safetensors"
    save_generator(file, halved, architecture, provenance)
    return file


def main() -> int:
    """Pack, copy the log, and say how large the file is."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--output", type=Path, required=True, help="folder of shipped models")
    parser.add_argument(
        "--data",
        default="eight paintings in the public domain; 350 photographs of monet2photo and 200 "
        "others (not included)",
    )
    given = parser.parse_args()
    run = RunDirectory(given.run)
    file = pack(run, given.output, data=given.data)
    shutil.copyfile(run.log_file, _LOG)
    last = read_log(run.log_file)[-1]
    print(f"{file}: {file.stat().st_size:,} bytes; {last['images']:,} crops, {last['losses']}")
    return 0 if file.stat().st_size <= _LIMIT_BYTES else 1


if __name__ == "__main__":
    raise SystemExit(main())
