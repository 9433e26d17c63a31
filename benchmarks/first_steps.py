"""Whether a painter's recipe still does what it did: its preset's first losses, against kept ones.

    python benchmarks/first_steps.py monet --photographs photos --paintings monets
    python benchmarks/first_steps.py vangogh --photographs ... --paintings ... --record
    python benchmarks/first_steps.py monet ... --start start.safetensors

Trains the first --steps steps of a preset on one thread (some minutes of a core) and compares, loss
by loss, the mean over all of them:

1. with benchmarks/first_steps.json, which --record writes: by the same preset, on the machine and
   with the version of torch that it names. On such a machine every single loss must be the same
   (0.1 %); elsewhere sums are rounded otherwise, which grows from step to step: 15 %.
2. with the log of the training that ships, benchmarks/PRESET.log.jsonl: 15 %, since that training
   started from the weights of the style in full precision, which do not ship. --start names such a
   file (then 0.1 %, and nothing else is compared).

Losses that a preset weighs with 0 are left out. Exit status 1 if a difference is larger, or the
pictures are others than those of the record.
"""

import argparse
import hashlib
import json
import platform
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

import impasto
from impasto.data.files import list_pictures
from impasto.runs.log import read_log

__all__ = ["compare", "first_losses", "machine", "main"]

_HERE = Path(__file__).parent
_KEPT = _HERE / "first_steps.json"
_SAME, _OTHER = 0.001, 0.15
_DIGITS = 7

Losses = dict[str, list[float]]
"""The losses of each step, by their names."""


def machine() -> str:
    """Name what decides the last digits of a loss on a processor."""
    model = platform.machine()
    information = Path("/proc/cpuinfo")
    if information.is_file():
        lines = information.read_text(encoding="utf-8").splitlines()
        model = next((x.partition(":")[2].strip() for x in lines if x.startswith("model name")), "")
    return f"{model}, {torch.backends.cpu.get_cpu_capability()}"


def first_losses(
    preset: str, photographs: Path, paintings: Path, *, steps: int, start: Path | None = None
) -> Losses:
    """Train the first steps of a preset, and return the losses that it does not weigh with 0.

    Args:
        preset: name of the preset, or a file with options.
        photographs: folder of the domain A.
        paintings: folder of the domain B.
        steps: number of steps.
        start: generator to start from, of a single style, instead of the preset's.
    """
    instead: dict[str, Any] = {}
    if start is not None:
        instead = {"init_from": [start.absolute()], "init_style": None}
    with tempfile.TemporaryDirectory() as folder:
        result = impasto.train(
            config=preset,
            folder_A=photographs.absolute(),
            folder_B=paintings.absolute(),
            name="again",
            checkpoints_dir=Path(folder),
            seed=0,
            device="cpu",
            threads=1,
            display="none",
            max_images=steps,
            print_freq=1,
            **instead,
        )
        records = read_log(result.directory / "log.jsonl")
    weights = records[0]["weights"]
    names = [name for name in records[0]["losses"] if weights.get(name, 1) > 0]
    return {name: [round(one["losses"][name], _DIGITS) for one in records] for name in names}


def compare(kept: Mapping[str, Sequence[float]], found: Losses) -> dict[str, float]:
    """Return the difference of the means of each loss, as a share of the mean of its amounts.

    Raises:
        SystemExit: there are other losses, or another number of steps.
    """
    if set(kept) != set(found):
        raise SystemExit(f"losses: expected {', '.join(kept)}, found {', '.join(found)}")
    differences = {}
    for name, values in kept.items():
        if len(values) != len(found[name]):
            raise SystemExit(f"{name}: {len(values)} values are kept, found {len(found[name])}")
        amount = sum(map(abs, values)) / len(values)
        apart = abs(sum(values) - sum(found[name])) / len(values)
        differences[name] = apart / max(amount, 1e-6)
    return differences


def _logged(log: Path, found: Losses) -> tuple[Losses, Losses]:
    """Return what a log says of the same steps, and the means of what was found in its manner."""
    records = read_log(log)
    steps = len(next(iter(found.values())))
    ends = [record["images"] for record in records if record["images"] <= steps]
    if not ends:
        raise SystemExit(f"{log}: holds no report of the first {steps} steps; raise --steps")
    spans = list(zip([0, *ends[:-1]], ends, strict=True))
    kept = {name: [one["losses"][name] for one in records[: len(ends)]] for name in found}
    means = {
        name: [sum(values[begin:end]) / (end - begin) for begin, end in spans]
        for name, values in found.items()
    }
    return kept, means


def _described(folder: Path) -> dict[str, Any]:
    """Return the number of pictures, and a digest of their bytes in the order of their names."""
    digest = hashlib.sha256()
    files = list_pictures(folder)
    for file in files:
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    return {"count": len(files), "sha256": digest.hexdigest()[:16]}


def _report(title: str, differences: Mapping[str, float], tolerance: float) -> bool:
    print(f"{title}, at most {tolerance:.1%}:")
    for name, difference in differences.items():
        verdict = "" if difference <= tolerance else "   TOO FAR"
        print(f"  {name:16}{difference:8.3%}{verdict}")
    return all(difference <= tolerance for difference in differences.values())


def _against_record(kept: Mapping[str, Any], here: Mapping[str, Any], found: Losses) -> bool:
    for which in ("photographs", "paintings"):
        if kept[which] != here[which]:
            print(f"{which}: {here[which]} are others than those of the record, {kept[which]}")
            return False
    differences = compare(kept["losses"], found)
    same = all(kept[key] == here[key] for key in ("machine", "torch", "threads"))
    if same:  # each step counts, and not only their mean
        differences = {
            name: max(
                abs(one - other) / max(abs(one), 1e-3)
                for one, other in zip(values, found[name], strict=True)
            )
            for name, values in kept["losses"].items()
        }
    where = f"{kept['machine']}, torch {kept['torch']}, {kept['threads']} thread"
    return _report(f"the record ({where})", differences, _SAME if same else _OTHER)


def main(argv: Sequence[str] | None = None) -> int:
    """Train, compare or record, and return the exit status."""
    given = _parsed(argv)
    name, kept_file = Path(given.preset).stem, given.kept
    folders = (given.photographs, given.paintings)
    found = first_losses(given.preset, *folders, steps=given.steps, start=given.start)
    log = given.log or _HERE / f"{name}.log.jsonl"
    met = True
    if log.is_file():
        title = f"the training that ships ({log.name})"
        tolerance = _OTHER if given.start is None else _SAME
        met = _report(title, compare(*_logged(log, found)), tolerance)
    if given.start is not None:
        return 0 if met else 1
    here = {
        "machine": machine(),
        "torch": torch.__version__,
        "threads": 1,
        "photographs": _described(given.photographs),
        "paintings": _described(given.paintings),
    }
    kept = json.loads(kept_file.read_text(encoding="utf-8")) if kept_file.is_file() else {}
    if given.record:
        kept[name] = {**here, "losses": found}
        lines = (f"{json.dumps(key)}: {json.dumps(kept[key])}" for key in sorted(kept))
        kept_file.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")
        print(f"{kept_file}: {given.steps} steps of {name}")
    elif name not in kept:
        raise SystemExit(f"{kept_file}: holds no {name}; --record keeps what is found")
    else:
        met &= _against_record(kept[name], here, found)
    return 0 if met else 1


def _parsed(argv: Sequence[str] | None) -> argparse.Namespace:
    assert __doc__  # noqa: S101 - for mypy
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("preset", help="monet, vangogh, ukiyoe, or a file with options")
    parser.add_argument("--photographs", type=Path, required=True, help="folder of domain A")
    parser.add_argument("--paintings", type=Path, required=True, help="folder of domain B")
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--start", type=Path, help="generator to start from, not the preset's")
    parser.add_argument("--record", action="store_true", help="keep what is found")
    parser.add_argument("--kept", type=Path, default=_KEPT, help="file of what is kept")
    parser.add_argument("--log", type=Path, help="log (default: benchmarks/PRESET.log.jsonl)")
    return parser.parse_args(argv)


if __name__ == "__main__":
    raise SystemExit(main())
