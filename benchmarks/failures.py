"""Make trainings fail in the known ways, and see when the doctor says so, and what.

    python benchmarks/failures.py
    python benchmarks/failures.py --only lost plain
    python benchmarks/failures.py --dataroot PATH          # the healthy control on other pictures

Every run is an `impasto train` of small networks on generated pictures, and fails for real: by its
options or by its pictures. Two controls must stay silent. Prints, for each, the picture at which
the warning came, and the measures that it came by; exits with 1 if a failure was missed or a
control was warned about.
"""

import argparse
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from impasto.cyclegan.jobs.train import train
from impasto.data.decode import Picture
from impasto.data.encode import write_picture
from impasto.data.samples.domains import make_sample_domains
from impasto.options.errors import TrainingError
from impasto.options.fields import make
from impasto.options.train import TrainOptions
from impasto.runs.observers import Observer, Progress

__all__ = ["FAILURES", "Failure", "Outcome", "main", "make_folders", "provoke"]

_RGB = NDArray[np.uint8]

_BASE: Mapping[str, Any] = {
    "device": "cpu",
    "netG": "resnet_6blocks",
    "ngf": 8,
    "ndf": 16,
    "load_size": 36,
    "crop_size": 32,
    "num_threads": 0,
    "cache_images": True,
    "n_epochs": 10_000,
    "n_epochs_decay": 0,
    "print_freq": 50,
    "display_freq": 10**6,
    "save_latest_freq": 10**6,
    "save_epoch_freq": 10**6,
    "display": "none",
}


@dataclass(frozen=True, kw_only=True)
class Failure:
    """A training that fails, or a control that does not.

    Attributes:
        by: what provokes it, in words.
        says: a part of the expected warning or error; None for a control.
        domains: folders of A and B, below the root.
        images: pictures of each domain to train on.
        changes: options.
        then: options that the run is resumed with halfway, or None.
    """

    by: str
    says: str | None
    domains: tuple[str, str] = ("plain", "stripes")
    images: int = 1500
    changes: Mapping[str, Any] = field(default_factory=dict)
    then: Mapping[str, Any] | None = None


FAILURES: Mapping[str, Failure] = {
    "healthy": Failure(by="nothing: photographs and paintings", says=None, domains=("A", "B")),
    "healthy stripes": Failure(by="nothing: plain pictures and striped ones", says=None),
    "lost": Failure(
        by="generators that may change nothing: --lambda_A 1000 --lambda_B 1000",
        says="almost without error",
        changes={"lambda_A": 1000.0, "lambda_B": 1000.0},
        images=2200,
    ),
    "rising": Failure(
        by="a good start, resumed with --lr 0.05",
        says="has risen",
        images=2500,
        then={"lr": 0.05},
    ),
    "plain": Failure(
        by="almost no weights to begin with: --norm none --init_gain 0.001 --lr 1e-6",
        says="nearly plain",
        changes={"norm": "none", "init_gain": 0.001, "lr": 1e-6},
    ),
    "negative": Failure(
        by="light dots on dark grounds, dark dots on light ones, --lambda_identity 0",
        says="like a negative",
        domains=("light dots", "dark dots"),
        changes={"lambda_identity": 0.0},
        images=2500,
    ),
    "not a number": Failure(
        by="--lr 1e6", says="not a finite number", changes={"lr": 1e6, "norm": "none"}
    ),
    "waiting": Failure(
        by="files of 1.5 megapixels, loaded in the training process",
        says="waited for pictures",
        domains=("large", "large"),
        changes={"cache_images": False, "print_freq": 20},
        images=260,
    ),
}


@dataclass(kw_only=True)
class Outcome(Observer):
    """What the doctor said about a run, and the measures of all its reports.

    Attributes:
        warnings: each, with the picture at which it first came; the error that ended the run, too.
        records: the reports.
    """

    warnings: dict[str, int] = field(default_factory=dict)
    records: list[Mapping[str, Any]] = field(default_factory=list)

    def on_report(self, progress: Progress, record: Mapping[str, Any]) -> None:
        """Remember when each warning first came."""
        self.records.append(record)
        for warning in record["warnings"]:
            self.warnings.setdefault(warning, progress.images)

    def on_end(self, progress: Progress, error: str | None = None) -> None:
        """Remember why it ended, where that was not the plan."""
        if error is not None:
            self.warnings[error] = progress.images

    def agrees(self, failure: Failure) -> bool:
        """Whether a failure was named, and a control was not warned about."""
        if failure.says is None:
            return not self.warnings
        return any(failure.says in warning for warning in self.warnings)


def make_folders(root: Path) -> None:
    """Write the pictures of all domains below ``root``; 40 of each but the large ones."""
    generator = np.random.default_rng(0)
    changes: dict[str, Callable[[_RGB], _RGB]] = {
        "plain": lambda rgb: rgb,
        "stripes": _striped,
    }
    for name, change in changes.items():
        for index in range(40):
            picture = change(_blobs(generator, 48, 48))
            write_picture(root / name / f"{index:02d}.png", Picture(rgb=picture))
    for index in range(40):
        for name, light in (("light dots", True), ("dark dots", False)):
            picture = _dotted(generator, 48, light=light)
            write_picture(root / name / f"{index:02d}.png", Picture(rgb=picture))
    for index in range(3):
        picture = _blobs(generator, 1000, 1500)
        write_picture(root / "large" / f"{index:02d}.png", Picture(rgb=picture))
    domains = make_sample_domains(root / "sample", size_px=48, train_pictures=60)
    (root / "A").symlink_to(domains.trainA, target_is_directory=True)
    (root / "B").symlink_to(domains.trainB, target_is_directory=True)


def provoke(failure: Failure, root: Path, work: Path) -> Outcome:
    """Run a training that should fail.

    Args:
        failure: which.
        root: where the folders of pictures are.
        work: an empty folder for the run.
    """
    folders = dict(zip(("folder_A", "folder_B"), (root / d for d in failure.domains), strict=True))
    flat = {**_BASE, **folders, "checkpoints_dir": work, "name": "run", **failure.changes}
    flat["max_images"] = failure.images
    outcome = Outcome()
    with suppress(TrainingError):  # on_end is told
        if failure.then is None:
            train(make(TrainOptions, flat), observers=[outcome])
        else:
            half = flat | {"max_images": failure.images // 2}
            train(make(TrainOptions, half), observers=[outcome])
            later = make(TrainOptions, {**flat, **failure.then})
            train(later, resume=True, allow_changes=True, observers=[outcome])
    return outcome


def main(argv: Sequence[str] | None = None) -> int:
    """Print the table; return 1 if a failure was missed or a control warned about."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--only", nargs="+", choices=list(FAILURES), default=list(FAILURES))
    parser.add_argument("--dataroot", type=Path, help="trainA and trainB of the first control")
    arguments = parser.parse_args(argv)
    torch.set_num_threads(1)
    missed = []
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        make_folders(root)
        if arguments.dataroot:
            for domain in "AB":
                (root / domain).unlink()
                folder = (arguments.dataroot / f"train{domain}").resolve()
                (root / domain).symlink_to(folder, target_is_directory=True)
        for name in arguments.only:
            outcome = provoke(FAILURES[name], root, root / "runs" / name)
            agrees = outcome.agrees(FAILURES[name])
            _print(name, outcome, agrees=agrees)
            missed += [] if agrees else [name]
    print(f"wrong: {', '.join(missed)}" if missed else "every failure was named, no control was")
    return 1 if missed else 0


def _print(name: str, outcome: Outcome, *, agrees: bool) -> None:
    print(f"{name}{'' if agrees else ' (WRONG)'}: {FAILURES[name].by}")
    if not outcome.warnings:
        print("  nothing was said")
    for warning, images in outcome.warnings.items():
        print(f"  image {images:>5}: {warning}")
    for part in ("losses", "outputs"):
        print(f"  last 10 reports, {part}: {_means(outcome.records[-10:], part)}", flush=True)


def _means(records: Sequence[Mapping[str, Any]], part: str) -> str:
    """Spell the means of a part of some records, without values that are missing."""
    values: dict[str, list[float]] = {}
    for record in records:
        for name, value in record[part].items():
            values.setdefault(name, []).extend([] if value is None else [value])
    return ", ".join(f"{name} {fmean(some):.3g}" for name, some in values.items() if some) or "none"


def _blobs(generator: np.random.Generator, height: int, width: int) -> _RGB:
    """Draw a smooth picture of random colors: a 4 x 4 grid, enlarged bilinearly."""
    grid = torch.from_numpy(generator.uniform(0, 255, (1, 3, 4, 4)))
    large = torch.nn.functional.interpolate(grid, (height, width), mode="bilinear")
    return large[0].permute(1, 2, 0).round().to(torch.uint8).numpy()


def _dotted(generator: np.random.Generator, side: int, *, light: bool) -> _RGB:
    """Draw six light dots on a dark ground, or the negative of such a picture."""
    rows, columns = np.mgrid[:side, :side]
    rgb = np.full((side, side, 3), generator.uniform(20, 60, 3))
    for row, column in generator.uniform(0, side, (6, 2)):
        inside = np.hypot(rows - row, columns - column) < generator.uniform(3, 6)
        rgb[inside] = generator.uniform(180, 240, 3)
    return (rgb if light else 255 - rgb).round().astype(np.uint8)


def _striped(rgb: _RGB) -> _RGB:
    striped = rgb.copy()
    striped[::4] = 255
    return striped


if __name__ == "__main__":
    raise SystemExit(main())
