"""All that docs/model_card.md says of the shipped CycleGAN, measured again.

    python benchmarks/shipped_model.py
    python benchmarks/shipped_model.py --classifier RUN   # of an earlier `impasto backbone train`
    python benchmarks/shipped_model.py --only reproduce

1. quality: `impasto evaluate monet_cycle` on monet2photo's test pictures, with the features of a
   Monet/photo classifier that `impasto backbone train` makes of the training pictures (20 minutes
   on two cores, unless --classifier names one).
2. folder: `impasto translate` of 20 photographs from 640 to 2048 pixels, on the processor.
3. reproduce: the recipe, options/presets/monet_small.yaml, again for 200 steps on one thread,
   beside the first lines of the log that the model's training left.

Exit status 1 if a requirement is missed.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from impasto.data.samples.photographs import sample_photographs
from impasto.runs.log import read_log

__all__ = ["Requirement", "folder_of_photographs", "log_differences", "main", "requirements"]

_LOG = Path(__file__).parent / "monet_small.log.jsonl"
_STEPS = 200
# Threads divide sums in other places, and 16 bits have three digits.
_TOLERANCE = 0.02
_LONG_SIDES = (640, 800, 1024, 1280, 1600, 2048)
_PICTURES = 20


@dataclass(frozen=True, kw_only=True)
class Requirement:
    """One thing that must hold.

    Attributes:
        what: in words.
        value: as measured; None if it could not be, which is a miss.
        bound: what it must not pass.
        at_least: whether the bound is a lower one.
        missing: why there is no value.
    """

    what: str
    value: float | None
    bound: float
    at_least: bool
    missing: str = "not measured"

    @property
    def met(self) -> bool:
        """Whether it holds."""
        if self.value is None:
            return False
        return self.value >= self.bound if self.at_least else self.value <= self.bound

    def __str__(self) -> str:
        """Return it in one line."""
        sign = ">=" if self.at_least else "<="
        verdict = "met" if self.met else "MISSED"
        if self.value is None:
            return f"{self.what:<58} {self.missing}   {verdict}"
        return f"{self.what:<58} {self.value:8.3f} {sign} {self.bound:g}   {verdict}"


def requirements(results: dict[str, Any]) -> list[Requirement]:
    """Return what `impasto evaluate` must have found, out of its results.json.

    Args:
        results: null, there, is a number that is not finite, or the ``closed`` of a measure that
            is blind, because the inputs are as near to Monets as other Monets are. KID goes by the
            name of its network, such as ``KID (classifier)``.
    """
    rows = {row["kind"]: row for row in results["rows"]}
    inputs, made = rows["nothing"], rows["result"]
    found = [
        Requirement(
            what=f"share of the way from inputs to other Monets, {shown}",
            value=made["closed"][measure],
            bound=0.5,
            at_least=True,
            missing=_why_unknown(measure, rows),
        )
        for shown, measure in (("SWD", "swd"), ("KID", _name_of_kid(made)))
    ]
    found.append(
        Requirement(
            what="SSIM of luminance to the input, mean",
            value=made["ssim"],
            bound=0.5,
            at_least=True,
        )
    )
    found += [
        Requirement(
            what=f"spectral peak at {period} px, relative to the inputs'",
            value=_ratio(made[f"grid_{period}"], inputs[f"grid_{period}"]),
            bound=1.2,
            at_least=False,
        )
        for period in (2, 4)
    ]
    return found


def _name_of_kid(row: dict[str, Any]) -> str:
    """Return the key of KID, which has the name of the network in it unless that is Inception."""
    found: list[str] = [name for name in row["closed"] if name == "kid" or name.startswith("KID (")]
    if len(found) != 1:
        sys.exit(f"results.json: expected one KID among {', '.join(row['closed'])}")
    return found[0]


def _why_unknown(measure: str, rows: dict[str, dict[str, Any]]) -> str:
    nothing, floor = rows["nothing"][measure], rows["floor"][measure]
    known = nothing is not None and floor is not None
    shown = ["not finite" if one is None else f"{one:.3f}" for one in (nothing, floor)]
    why = "blind" if known and nothing <= floor else "not finite"
    return f"{why}: do nothing {shown[0]}, floor {shown[1]}"


def _ratio(value: float | None, usual: float | None) -> float | None:
    return None if value is None or not usual else value / usual


def folder_of_photographs(folder: Path) -> None:
    """Write 20 photographs from 640 to 2048 pixels: those of scikit-image, enlarged."""
    folder.mkdir(parents=True)
    photographs = list(sample_photographs().items())
    for number in range(_PICTURES):
        name, rgb = photographs[number % len(photographs)]
        side = _LONG_SIDES[number % len(_LONG_SIDES)]
        scale = side / max(rgb.shape[:2])
        size = round(rgb.shape[1] * scale), round(rgb.shape[0] * scale)
        picture = Image.fromarray(rgb).resize(size, Image.Resampling.LANCZOS)
        picture.save(folder / f"{number:02}_{name}_{side}.jpg", quality=92)


def log_differences(
    log: Sequence[dict[str, Any]], again: Sequence[dict[str, Any]]
) -> dict[int, float]:
    """Return the largest relative difference of the losses, by image, of reports in both logs."""
    first = {record["images"]: record["losses"] for record in log}
    return {
        record["images"]: max(
            abs(value - first[record["images"]][name])
            / max(abs(first[record["images"]][name]), 1e-3)
            for name, value in record["losses"].items()
        )
        for record in again
        if record["images"] in first
    }


def main() -> int:
    """Measure, print, and return the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    shared = Path(__file__).parents[2] / "shared" / "monet2photo"
    parser.add_argument("--monet2photo", type=Path, default=shared, help="trainA, testB, ...")
    parser.add_argument("--classifier", type=Path, help="run of impasto backbone train")
    parser.add_argument("--model", default="monet_cycle", help="what to judge")
    parser.add_argument("--work", type=Path, help="folder to keep; a temporary one unless given")
    parser.add_argument("--only", choices=["quality", "folder", "reproduce"], help="one part")
    given = parser.parse_args()
    parts = [given.only] if given.only else ["quality", "folder", "reproduce"]
    with tempfile.TemporaryDirectory() as temporary:
        work = given.work or Path(temporary)
        work.mkdir(parents=True, exist_ok=True)
        found: list[Requirement] = []
        if "quality" in parts:
            found += _quality(given, work)
        if "folder" in parts:
            _folder(given.model, work)
        if "reproduce" in parts:
            found.append(_reproduce(given.monet2photo, work))
    print()
    for requirement in found:
        print(requirement)
    return 0 if all(requirement.met for requirement in found) else 1


def _quality(given: argparse.Namespace, work: Path) -> list[Requirement]:
    classifier = given.classifier
    if classifier is None and (work / "classifier" / "backbone.safetensors").is_file():
        classifier = work / "classifier"  # of an earlier call
    if classifier is None:
        print("training a Monet/photo classifier on the training pictures", flush=True)
        classes = work / "classes"
        for name, folder in (("monet", "trainA"), ("photo", "trainB")):
            (classes / name).parent.mkdir(parents=True, exist_ok=True)
            if not (classes / name).exists():
                (classes / name).symlink_to((given.monet2photo / folder).resolve())
        _impasto(
            *("backbone", "train", "--config", "small", "--data", classes),
            *("--name", "classifier", "--checkpoints_dir", work, "--display", "console"),
        )
        classifier = work / "classifier"
    output = work / "evaluation"
    _impasto(
        *("evaluate", given.model, "--real", given.monet2photo / "testA"),
        *("--inputs", given.monet2photo / "testB", "--more_real", given.monet2photo / "trainA"),
        *("--backbone", classifier, "--device", "cpu", "--output", output),
    )
    return requirements(json.loads((output / "results.json").read_text(encoding="utf-8")))


def _folder(model: str, work: Path) -> None:
    photographs = work / "photographs"
    if not photographs.exists():
        folder_of_photographs(photographs)
    print(
        f"\n{_PICTURES} photographs from {_LONG_SIDES[0]} to {_LONG_SIDES[-1]} pixels", flush=True
    )
    _impasto(
        *("translate", photographs, "--model", model, "--device", "cpu", "--overwrite", "true"),
        *("--output", work / "translated"),
    )
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**10
    print(f"peak memory of the largest program so far: {peak:,.0f} MiB")


def _reproduce(monet2photo: Path, work: Path) -> Requirement:
    print(f"\nthe recipe again, {_STEPS} steps", flush=True)
    name = f"again_{os.getpid()}"
    _impasto(
        *("train", "--config", "monet_small", "--dataroot", monet2photo, "--name", name),
        *("--checkpoints_dir", work, "--max_images", str(_STEPS), "--display", "console"),
        threads=1,
    )
    differences = log_differences(read_log(_LOG), read_log(work / name / "log.jsonl"))
    for images, difference in differences.items():
        print(f"image {images}: losses differ by up to {difference:.2%}")
    return Requirement(
        what=f"losses of the first {_STEPS} steps, largest relative difference",
        value=max(differences.values(), default=None),
        bound=_TOLERANCE,
        at_least=False,
    )


def _impasto(*words: object, threads: int | None = None) -> None:
    """Run `impasto` as a user does; its output goes through."""
    environment = dict(os.environ)
    if threads is not None:
        environment["OMP_NUM_THREADS"] = str(threads)
    command = [sys.executable, "-m", "impasto.scripts.main", *map(str, words)]
    ended = subprocess.run(command, check=False, env=environment)  # noqa: S603 - ours
    if ended.returncode:
        sys.exit(f"{' '.join(map(str, words[:2]))} failed: exit status {ended.returncode}")


if __name__ == "__main__":
    raise SystemExit(main())
