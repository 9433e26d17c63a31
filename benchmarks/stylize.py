"""Time and compare stylizations by presets with those by the programs that they are of.

    python benchmarks/stylize.py
    python benchmarks/stylize.py --leongatys CHECKOUT --neural_style CHECKOUT --crowsonkb CHECKOUT

The checkouts are of leongatys/PytorchNeuralStyleTransfer, ProGamerGov/neural-style-pt and
crowsonkb/style-transfer-pytorch, of which the presets ``leongatys``, ``neural_style`` and
``crowsonkb`` are; a preset without its checkout is measured alone. Their own programs run, as
they are (``stylize_sides.py`` says how). All start from the content.

All have the same network, a VGG19 of random filters, so nothing is downloaded. It is written twice:
as torchvision's weights, for Impasto and crowsonkb; and as Caffe's, for the two others, whose
pictures are BGR from 0 to 255: the same filters, so that all features are 57.6 times as large.
Impasto reads the former for all presets; their weights allow for that.

Each side runs in a process of its own, and the two take turns, evaluation by evaluation, so that a
change in the machine's speed meets both. At the end, all final pictures are evaluated with both
programs' losses. L-BFGS makes much of rounding errors, so that one run tells little: the runs begin
with the content and noise of 1e-6 of white, other noise each, and medians are compared.

Impasto takes the peers' kind of steps: the first one of L-BFGS and Adam's epsilon are torch's, and
no step is too long. ``--own_steps`` leaves them as users have them.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from argparse import Namespace
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["Comparison", "Side", "Worker", "compare", "main"]

_PROGRAMS = {
    "leongatys": "NeuralStyleTransfer.ipynb",
    "neural_style": "neural_style.py",
    "crowsonkb": "style_transfer/style_transfer.py",
}
_ROOT = Path(__file__).resolve().parents[1]
_PAIRS = _ROOT.parent / "shared" / "pairs"
_PYTHON = (sys.executable, "-m")
_TOLERANCE = 0.02


class Worker:
    """A process that makes one evaluation each time it is asked to.

    Args:
        job: the fields of ``Job`` in ``stylize_session.py``.

    Raises:
        RuntimeError: the process ended; it has said why.
    """

    def __init__(self, job: Mapping[str, Any]) -> None:
        self._process = subprocess.Popen(  # noqa: S603 - the file beside this one
            [*_PYTHON, "benchmarks.stylize_sides", json.dumps(job)],
            cwd=_ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.environment: dict[str, Any] = self._answer()["environment"]

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.communicate()

    def go_on(self) -> dict[str, Any]:
        """Let the process go on to its next answer."""
        if self._process.stdin is not None:
            self._process.stdin.write("\n")
            self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        line = self._process.stdout.readline() if self._process.stdout is not None else ""
        if not line:
            raise RuntimeError(f"a worker ended with exit status {self._process.wait()}")
        answer: dict[str, Any] = json.loads(line)
        return answer


@dataclass(kw_only=True)
class Side:
    """What was measured of one side.

    Attributes:
        name: ``impasto`` or the peer's.
        losses: of each evaluation, in the program's own measure.
        seconds: of each evaluation with the step before it; the first with all preparations.
        cpu: seconds that all threads computed in it.
        pixels: of the picture that was evaluated.
        final: loss of the final picture, as the program says; NaN if it does not.
        peak: MiB, the largest resident memory after the first evaluation.
        whole: MiB, the same from the beginning: with reading files and making networks.
        judged: loss of the final picture by each side's measure, Impasto's first.
    """

    name: str
    losses: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    pixels: list[int] = field(default_factory=list)
    final: float = float("nan")
    peak: float = float("nan")
    whole: float = float("nan")
    judged: list[float] = field(default_factory=list)

    def take(self, answer: Mapping[str, Any]) -> bool:
        """Take in an answer of the worker; return whether it was the last."""
        if "final" in answer:
            self.final, self.peak, self.whole = (answer[key] for key in ("final", "peak", "whole"))
            return True
        for name in ("losses", "seconds", "cpu", "pixels"):
            getattr(self, name).append(answer["loss" if name == "losses" else name])
        return False

    def counted(self, values: Sequence[float]) -> list[float]:
        """Return what belongs to evaluations of the last scale, but for the first of them."""
        last = [
            value
            for value, pixels in zip(values, self.pixels, strict=True)
            if pixels == self.pixels[-1]
        ]
        return last[1:]

    def loss_at(self, evaluation: int) -> float:
        """Return the loss of an evaluation of the last scale, counted from 1."""
        return self.losses[self.pixels.index(self.pixels[-1]) + evaluation - 1]

    def loss_after(self, seconds: float) -> float:
        """Return the loss so long after the first evaluation, NaN before the last scale."""
        done = int(np.searchsorted(np.cumsum(self.seconds[1:]), seconds, side="right"))
        return self.losses[done] if self.pixels[done] == self.pixels[-1] else float("nan")


@dataclass(kw_only=True)
class Comparison:
    """One preset.

    Attributes:
        preset: its name.
        commit: of the checkout, empty without one.
        runs: the sides of each run: Impasto, then the peer if there is one.
        environment: of Impasto's process.
    """

    preset: str
    commit: str
    runs: list[list[Side]]
    environment: dict[str, Any]

    @property
    def sides(self) -> list[list[Side]]:
        """The runs of each side."""
        return [list(runs) for runs in zip(*self.runs, strict=True)]

    def difference(self, judge: int = 1) -> float:
        """Return how much higher Impasto's final loss is than the peer's: of the medians.

        Args:
            judge: 0 for Impasto's measure, 1 for the peer's.
        """
        ours, theirs = (_median([run.judged[judge] for run in side]) for side in self.sides)
        return ours / theirs - 1


def main(argv: Sequence[str] | None = None) -> int:
    """Print the tables; return 1 if a final loss is not within 2 % of the peer's."""
    arguments = _parse(argv)
    results = []
    with tempfile.TemporaryDirectory() as folder:
        _prepare(folder, arguments)
        for preset in arguments.presets:
            results.append(compare(preset, folder, arguments))
            _print(results[-1], arguments)
    if arguments.json:
        record = {
            "size": arguments.size,
            "iterations": arguments.iterations,
            "own_steps": arguments.own_steps,
            "results": [asdict(result) for result in results],
        }
        arguments.json.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    compared = [result for result in results if len(result.sides) > 1]
    return 0 if all(abs(result.difference()) <= _TOLERANCE for result in compared) else 1


def _parse(argv: Sequence[str] | None) -> Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    for preset in _PROGRAMS:
        parser.add_argument(f"--{preset}", type=Path, help="path of the checkout")
    parser.add_argument("--presets", nargs="+", choices=list(_PROGRAMS), default=list(_PROGRAMS))
    parser.add_argument("--content", type=Path, default=_PAIRS / "content_landscape.jpg")
    parser.add_argument("--style", type=Path, default=_PAIRS / "style_starry_night.jpg")
    parser.add_argument("--size", type=int, default=128, help="longer side in pixels")
    parser.add_argument(
        "--smallest", type=int, default=90, help="that of the first scale of crowsonkb, at least"
    )
    parser.add_argument("--iterations", type=int, default=100, help="at each scale")
    parser.add_argument("--repeats", type=int, default=3, help="runs of each side")
    parser.add_argument("--own_steps", action="store_true", help="Impasto's defaults, not torch's")
    parser.add_argument("--seed", type=int, default=0, help="of the network")
    parser.add_argument("--threads", type=int, default=0, help="of torch; 0 for its default")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write everything here")
    arguments = parser.parse_args(argv)
    for preset, program in _PROGRAMS.items():
        checkout = getattr(arguments, preset)
        if checkout and not (checkout / program).is_file():
            parser.error(f"--{preset}: {checkout} has no {program}")
    for name in ("content", "style"):
        if not getattr(arguments, name).is_file():
            parser.error(f"--{name}: {getattr(arguments, name)}: no such file")
    return arguments


def _prepare(folder: str, arguments: Namespace) -> None:
    """Write pictures and weights, in a process of its own."""
    places = (folder, arguments.content.resolve(), arguments.style.resolve())
    values = (arguments.size, arguments.seed)
    subprocess.run(  # noqa: S603 - the file beside this one
        [*_PYTHON, "benchmarks.stylize_files", *map(str, (*places, *values))], cwd=_ROOT, check=True
    )


def compare(preset: str, folder: str, arguments: Namespace) -> Comparison:
    """Run both sides in turn, and let both judge all final pictures."""
    checkout = getattr(arguments, preset)
    places = [None, *([str(checkout.resolve())] if checkout else [])]
    names = ["impasto", *(["peer"] if checkout else [])]
    common = {
        "preset": preset,
        "folder": folder,
        "iterations": arguments.iterations,
        "own_steps": arguments.own_steps,
        "smallest": arguments.smallest,
        "threads": arguments.threads,
    }
    runs, pictures, environment = [], [], {}
    for number in range(arguments.repeats):
        files = [str(Path(folder) / f"{preset} {number} {name}.pt") for name in names]
        jobs = [
            {**common, "checkout": place, "picture": file, "shake": number}
            for place, file in zip(places, files, strict=True)
        ]
        sides = [Side(name=name) for name in names]
        environment = _take_turns(jobs, sides)
        runs.append(sides)
        pictures += files
    for place in places:
        with ExitStack() as stack:
            worker = Worker({**common, "checkout": place, "judge": pictures})
            stack.callback(worker.close)
            losses = iter(worker.go_on()["judged"])
        for sides in runs:
            for side in sides:
                side.judged.append(next(losses))
    return Comparison(
        preset=preset,
        commit=_commit(checkout) if checkout else "",
        runs=runs,
        environment=environment,
    )


def _take_turns(jobs: Sequence[dict[str, Any]], sides: Sequence[Side]) -> dict[str, Any]:
    """Run some processes to their end, evaluation by evaluation; return the first's environment."""
    with ExitStack() as stack:
        workers = []
        for job in jobs:
            workers.append(Worker(job))
            stack.callback(workers[-1].close)
        running = list(zip(workers, sides, strict=True))
        while running:
            running = [(worker, side) for worker, side in running if not side.take(worker.go_on())]
        return workers[0].environment


def _commit(checkout: Path) -> str:
    command = ["git", "-C", str(checkout), "rev-parse", "--short", "HEAD"]
    found = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    return found.stdout.strip() or "unknown"


def _print(result: Comparison, arguments: Namespace) -> None:
    environment = result.environment
    print(
        f"\npreset {result.preset}, peer at {result.commit or '(no checkout)'}: longer side "
        f"{arguments.size} px ({result.runs[0][0].pixels[-1]:,} pixels), {arguments.iterations} "
        f"iterations at each scale, {arguments.repeats} runs; medians\n"
        f"torch {environment['torch']}, {environment['threads']} threads, "
        f"{environment['processor']}"
    )
    _print_speed(result.sides)
    _print_losses(result.sides)
    if len(result.sides) > 1:
        _print_verdict(result)
    sys.stdout.flush()


def _print_speed(sides: Sequence[Sequence[Side]]) -> None:
    print(
        f"{'':<10}{'evaluations/s':>14}{'s each':>9}{'quartiles':>16}{'CPU s each':>12}"
        f"{'peak MiB':>10}{'with start':>12}{'start s':>9}"
    )
    rows = []
    for runs in sides:
        seconds = np.concatenate([side.counted(side.seconds) for side in runs])
        cpu = np.concatenate([side.counted(side.cpu) for side in runs])
        memory = [_median([side.peak for side in runs]), _median([side.whole for side in runs])]
        rows.append((seconds, cpu, *memory, _median([side.seconds[0] for side in runs])))
        _print_row(runs[0].name, *rows[-1], digits=0)
    if len(rows) > 1:
        _print_row("ratio", *(ours / theirs for ours, theirs in zip(*rows, strict=True)), digits=3)


def _print_row(name: str, seconds: Any, cpu: Any, *others: Any, digits: int) -> None:
    peak, whole, start = others
    low, high = np.quantile(seconds, [0.25, 0.75])
    print(
        f"{name:<10}{1 / _median(seconds):>14.3f}{_median(seconds):>9.3f}{low:>8.3f}{high:>8.3f}"
        f"{_median(cpu):>12.3f}{peak:>10.{digits}f}{whole:>12.{digits}f}{start:>9.2f}"
    )


def _print_losses(sides: Sequence[Sequence[Side]]) -> None:
    """Print the losses after evaluations, and after seconds, of the last scale."""
    last = len(sides[0][0].counted(sides[0][0].losses)) + 1
    places = [place for place in (1, 2, 5, 10, 20, 50, 100, 200, 500) if place < last]
    _print_curve("evaluations", [*places, last], sides, Side.loss_at)
    total = max(_median([sum(side.seconds[1:]) for side in runs]) for runs in sides)
    moments = [round(total * share, 2) for share in (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0)]
    _print_curve("seconds", moments, sides, Side.loss_after)


def _print_curve(
    unit: str, places: Sequence[Any], sides: Sequence[Sequence[Side]], loss: Callable[..., float]
) -> None:
    print(f"{'loss after':<10}" + "".join(f"{place:>11}" for place in places) + f"  {unit}")
    found = [[_median([loss(side, place) for side in runs]) for place in places] for runs in sides]
    for runs, losses in zip(sides, found, strict=True):
        print(f"{runs[0].name:<10}" + "".join(f"{value:>11.5g}" for value in losses))
    if len(found) > 1:
        print(f"{'ratio':<10}" + "".join(f"{a / b:>11.5f}" for a, b in zip(*found, strict=True)))


def _print_verdict(result: Comparison) -> None:
    print(
        f"{'final picture':<18}{'own number':>13}{'peer judges':>13}{'from':>13}{'to':>13}", end=""
    )
    print(f"{'impasto judges':>16}")
    for runs in result.sides:
        own, theirs = ([side.final for side in runs], [side.judged[1] for side in runs])
        ours = _median([side.judged[0] for side in runs])
        print(
            f"{f'of {runs[0].name}':<18}{_median(own):>13.6g}{_median(theirs):>13.6g}"
            f"{min(theirs):>13.6g}{max(theirs):>13.6g}{ours:>16.6g}"
        )
    difference = result.difference()
    verdict = "within 2 %" if abs(difference) <= _TOLERANCE else "NOT WITHIN 2 %"
    print(
        f"{'difference':<31}{100 * difference:>12.3f}%{'':>26}"
        f"{100 * result.difference(0):>15.3f}%  {verdict}"
    )


def _median(values: Any) -> float:
    return float(np.median(values))


if __name__ == "__main__":
    raise SystemExit(main())
