"""Check on a GPU that captured training steps are those that Python makes, and how failures end.

    python benchmarks/captured_steps.py
    python benchmarks/captured_steps.py --device cpu      a try of the script itself

Small networks are trained for 24 steps of 8 pictures, of which the last are replayed from a CUDA
graph, and twice with all steps made by Python; the losses are compared. The latter two show how
much equal trainings differ on the device anyway. One training goes on from its state on the CPU,
as from a file, and in one the capture fails and is undone. On the CPU, where there are no such
graphs, the one of the tests takes their place.
"""

import argparse
import json
import runpy
import tempfile
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from impasto.cyclegan import painting
from impasto.cyclegan.build import build_trainer
from impasto.cyclegan.terms import LossTerm
from impasto.data.datasets import UnpairedBatch
from impasto.gatys.features.lite import find_lite_weights
from impasto.options.fields import make
from impasto.options.train import TrainOptions
from impasto.runs import capture
from impasto.runs.capture import Compiling, CudaGraph
from impasto.runs.processes import make_accelerator

__all__ = ["main", "measure"]

_ROOT = Path(__file__).resolve().parents[1]
# Of losses, relative: more than rounding, less than one wrong picture of a pool makes.
_ROUNDING = 1e-4


def main(argv: Sequence[str] | None = None) -> int:
    """Print how much the losses differ, and return 1 if one does too much."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write everything here")
    arguments = parser.parse_args(argv)
    if arguments.device == "cuda" and not torch.cuda.is_available():
        parser.error("--device cuda: torch finds no GPU here; --device cpu tries the script")
    wrong, found = [], {}
    print(
        f"{'largest relative difference of losses':<44}{'captured':>10}{'by chance':>11}",
        flush=True,
    )
    with tempfile.TemporaryDirectory() as folder:
        for name, (value, chance) in measure(arguments.device, Path(folder)):
            found[name] = value, chance
            right = value <= max(_ROUNDING, 10 * chance)
            wrong += [] if right else [name]
            print(f"{name:<44}{value:>10.1e}{chance:>11.1e} {'' if right else 'WRONG'}", flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    return 1 if wrong else 0


def measure(device: str, folder: Path) -> Iterator[tuple[str, tuple[float, float]]]:
    """Train in all ways, and compare, one after the other.

    Args:
        device: ``cuda`` or ``cpu``.
        folder: empty folder for pictures, which some discriminators see before they are trained.

    Yields:
        The name of a way, and the largest relative difference of the losses with a capture from
        those without, and that of two equal trainings without one.
    """
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.deterministic = True
    make_graph: Callable[[], capture.StepGraph] = CudaGraph
    if device == "cpu":
        of_tests = runpy.run_path(str(_ROOT / "tests" / "recorded_graph.py"))
        make_graph = of_tests["RecordedGraph"]
    mixed: dict[str, Any] = {
        "lambda_palette": 1.0,
        "ema_decay": 0.9,
        "diffaugment": ["translation", "cutout"],
    }
    mixed["batch_size_D"] = 10
    cases: dict[str, dict[str, Any]] = {
        "losses of the defaults": {},
        "palette, average, augmentation": mixed,
        "gradient penalty": {"gan_mode": "wgangp", "norm": "layer"},
        "plateau, no identity loss": {"lr_policy": "plateau", "lambda_identity": 0.0},
        "contrastive, one-sided": {"one_sided": True, "lambda_nce": 1.0, "num_patches": 16},
        "dropout": {"dropout": True},
        "bf16": {"mixed_precision": "bf16"},
    }
    if find_lite_weights() is None:
        print("style loss, projected discriminators: left out, their package is not installed")
    else:
        cases["style loss"] = {"lambda_style": 1.0, "style_targets": "both"}
        _write_domains(folder)
        projected = {"netD": "projected", "gan_mode": "hinge", "dataroot": str(folder)}
        cases["projected discriminators"] = projected
        # So that all is remembered that ever will be, long before the last step.
        vars(painting).update(_KNOWN=32, _DECAY=0.75, _SEEN=3)
    train = partial(_losses_of, device, make_graph)
    for name, changes in cases.items():
        expected = train(changes, captures=False)
        chance = _difference(train(changes, captures=False), expected)
        yield name, (_difference(train(changes), expected), chance)
        if changes is mixed:
            resumed = _difference(train(changes, resumes=True), expected)
            yield f"{name}, resumed", (resumed, chance)
        if name == "dropout":
            failed = _difference(train(changes, fails=True), expected)
            yield "dropout, a capture that fails", (failed, chance)


def _write_domains(folder: Path) -> None:
    chance = np.random.default_rng(0)
    for place in [folder / name for name in ("trainA", "trainB")]:
        place.mkdir()
        for number in range(4):
            levels = chance.integers(0, 256, (40, 40, 3), dtype=np.uint8)
            Image.fromarray(levels).save(place / f"{number}.png")


def _losses_of(
    device: str,
    make_graph: Callable[[], Any],
    changes: dict[str, Any],
    *,
    captures: bool = True,
    resumes: bool = False,
    fails: bool = False,
) -> list[dict[str, float]]:
    """Train small networks for 24 steps of 8 pictures, and return the losses."""
    common = {"netG": "resnet_6blocks", "ngf": 4, "ndf": 4, "pool_size": 10, "batch_size": 8}
    options = make(TrainOptions, {"load_size": 32, "crop_size": 32, **common, **changes})
    vars(capture)["_WARM_UP_STEPS"] = 4 if captures else 10**9

    def make_trainer() -> Any:
        torch.manual_seed(0)
        return build_trainer(
            options,
            make_accelerator(device, options.run.mixed_precision),
            extra_terms=[Reading("reading")] if fails else [],
            compiling=Compiling(make_graph=make_graph),
        )

    trainer, losses = make_trainer(), []
    pictures = torch.Generator().manual_seed(1)
    for number in range(24):
        if resumes and number == 16:
            states, trainer = (trainer.state_dict(), trainer.process_state()), make_trainer()
            file = BytesIO()
            torch.save(states, file)
            file.seek(0)
            shared, own = torch.load(file, map_location="cpu")
            trainer.load_state_dict(shared)
            trainer.load_process_state(own)
        A, B = torch.randint(256, (2, 8, 3, 32, 32), generator=pictures, dtype=torch.uint8)
        made = trainer.step([UnpairedBatch(A=A, B=B)]).losses
        losses.append({name: float(loss) for name, loss in made.items() if name != "reading"})
    if trainer.captured != (captures and not fails):
        raise RuntimeError(
            f"{changes}: the last step was{'' if trainer.captured else ' not'} captured"
        )
    if device == "cuda" and torch.cuda.current_stream() != torch.cuda.default_stream():
        raise RuntimeError("another stream than before is the present one")
    return losses


def _difference(ours: list[dict[str, float]], theirs: list[dict[str, float]]) -> float:
    """Return the largest relative difference, which is no number if a loss is none."""
    pairs = zip(ours, theirs, strict=True)
    mine, others = np.array([(a[name], b[name]) for a, b in pairs for name in b]).T
    return float(np.max(np.abs(mine - others) / np.maximum(np.abs(others), 1e-3)))


class Reading(LossTerm):
    """Reads from the device, and says that it does not."""

    capturable = True

    def __call__(self, _batch: Any, made: Any) -> torch.Tensor:
        value: torch.Tensor = made.fake_B.mean() * 0
        return value + float(value.detach().float())


if __name__ == "__main__":
    raise SystemExit(main())
