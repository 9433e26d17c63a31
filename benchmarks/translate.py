"""Measure translating on a processor against an earlier version, in turns, in one run.

python benchmarks/translate.py --before COMMIT [--rounds 3] [--threads 1] [--cases monet-512 ...]
    [--start]

The earlier version is checked out into a temporary worktree. Each case is the whole command,
`impasto translate`, as a user calls it, of a folder of photographs that is made here; the two
versions take turns, in processes of their own with so many threads each. What is printed are
medians of CPU seconds (user and system), of the clock's, and of the peak memory, their ratios, and
two floors: the seconds that
the arithmetic of the network's own layers takes at the rate of a large product of matrices, and
those that reading and writing each layer's values once takes at the rate of copying.

With --start it times what the start of commands takes instead: CPU seconds of `--help`, `models`,
`weights list` and `translate` of one small picture.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

__all__ = ["main"]

ROOT = Path(__file__).resolve().parents[1]
# Model, side of the photographs in pixels, and their number.
CASES = {
    "monet-512": ("monet_cycle", 512, 4),
    "monet-1024": ("monet_cycle", 1024, 1),
    "monet-2048": ("monet_cycle", 2048, 1),
    "resnet9-512": ("resnet9", 512, 4),
    "resnet9-1024": ("resnet9", 1024, 1),
}
# As a file: in versions before it became the second Monet, the model had another name.
_CYCLE = ROOT / "cyclegan" / "pretrained" / "monet_cycle.safetensors"
STARTS = {
    "--help": ["--help"],
    "translate --help": ["translate", "--help"],
    "train --help": ["train", "--help"],
    "models": ["models"],
    "weights list": ["weights", "list"],
    "translate, 64 px": ["translate", "{small}", "--output", "{out}", "--device", "cpu"],
}

_PREPARE = """
import sys
from pathlib import Path
import torch
from PIL import Image
from impasto.cyclegan import GeneratorArchitecture
from impasto.data.samples.photographs import sample_photographs
folder = Path(sys.argv[1])
photographs = [Image.fromarray(rgb) for rgb in sample_photographs().values()]
for side in (64, 512, 1024, 2048):
    (folder / str(side)).mkdir()
    for number in range(4 if side == 512 else 1):
        small = photographs[number % len(photographs)].convert("RGB").resize((side, side))
        small.save(folder / str(side) / f"{number}.png")
torch.manual_seed(0)
architecture = GeneratorArchitecture()
network = architecture.build()
weights = {
    name: value * (2 / value[0].numel()) ** 0.5 / value.std() if value.ndim == 4 else value * 0
    for name, value in network.state_dict().items()
}
torch.save(weights, folder / "resnet9.pth")  # as the reference; metadata differ by version
"""

_FLOORS = """
import json, sys, time
from pathlib import Path
import torch
from impasto.cyclegan import find_generator
torch.set_num_threads(1)
def seconds(work):
    best = []
    for _ in range(5):
        began = time.process_time()
        work()
        best.append(time.process_time() - began)
    return min(best)
a = torch.rand(1024, 1024)
flop_rate = 2 * 1024**3 / seconds(lambda: a @ a)
source, target = torch.rand(2**25), torch.rand(2**25)
byte_rate = 2 * 4 * 2**25 / seconds(lambda: target.copy_(source))
result = {"flop_rate": flop_rate, "byte_rate": byte_rate}
for model in sys.argv[1:]:
    loaded, side = find_generator(Path(model)), 128
    flop = floats = 0
    def count(layer, inputs, output):
        global flop, floats
        pixels = output.shape[2] * output.shape[3]
        if isinstance(layer, torch.nn.ConvTranspose2d):
            pixels = inputs[0].shape[2] * inputs[0].shape[3]
        flop += 2 * layer.weight.numel() * pixels
        floats += inputs[0].numel() + output.numel()
    for layer in loaded.network.modules():
        if isinstance(layer, (torch.nn.Conv2d, torch.nn.ConvTranspose2d)):
            layer.register_forward_hook(count)
    with torch.inference_mode():
        loaded.network(torch.zeros(1, 3, side, side))
    border = 40 if loaded.grid_bend_px else 0
    result[model] = {"flop": flop / side**2, "bytes": 4 * floats / side**2, "border": border}
print(json.dumps(result))
"""


def main() -> None:
    """Measure all cases, print a table, and write JSON where it is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--before", required=True, help="commit of the earlier version")
    parser.add_argument("--rounds", type=int, default=3, help="number of turns of each version")
    parser.add_argument("--threads", type=int, default=1, help="threads of each command")
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--start", action="store_true", help="measure the start of commands")
    parser.add_argument("--json", type=Path, help="file for all values")
    arguments = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = str(arguments.threads)
    print(f"load before: {' '.join(f'{load:.1f}' for load in os.getloadavg())}", flush=True)
    with tempfile.TemporaryDirectory() as name, _worktree(arguments.before) as earlier:
        folder = Path(name)
        trees = {"before": earlier, "now": ROOT}
        _python(ROOT, ["-c", _PREPARE, str(folder)])
        record = (
            _starts(trees, folder, arguments.rounds)
            if arguments.start
            else _cases(trees, folder, arguments.rounds, arguments.cases)
        )
    print(f"load after: {' '.join(f'{load:.1f}' for load in os.getloadavg())}")
    if arguments.json:
        arguments.json.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def _cases(
    trees: dict[str, Path], folder: Path, rounds: int, cases: Sequence[str]
) -> dict[str, object]:
    models = {"monet_cycle": str(_CYCLE), "resnet9": str(folder / "resnet9.pth")}
    told = _python(ROOT, ["-c", _FLOORS, *models.values()])[0]
    floors = json.loads(told)
    print(
        f"a product of matrices makes {floors['flop_rate'] / 1e9:.0f} GFLOP/s, a copy moves "
        f"{floors['byte_rate'] / 1e9:.1f} GB/s"
    )
    print(
        "| case | CPU s before | now | ratio | s before | now | ratio | MiB before | now | ratio "
        "| arithmetic, s | bytes, s |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|---|---|")
    record: dict[str, object] = {"floors": floors}
    for case in cases:
        model, side, count = CASES[case]
        words = ["translate", str(folder / str(side)), "--model", models[model]]
        words += ["--device", "cpu", "--overwrite", "true"]
        runs = _in_turns(trees, words, folder, rounds)
        floor = floors[models[model]]
        pixels = count * (side + floor["border"]) ** 2
        arithmetic = pixels * floor["flop"] / floors["flop_rate"]
        moving = pixels * floor["bytes"] / floors["byte_rate"]
        print(f"| {case} x {count} |{_row(runs)} {arithmetic:.2f} | {moving:.2f} |", flush=True)
        record[case] = runs
    return record


def _starts(trees: dict[str, Path], folder: Path, rounds: int) -> dict[str, object]:
    print(
        "| command | CPU s before | now | ratio | s before | now | ratio "
        "| MiB before | now | ratio |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|")
    record: dict[str, object] = {}
    for name, words in STARTS.items():
        filled = [word.replace("{small}", str(folder / "64")) for word in words]
        filled = [word.replace("{out}", str(folder / "out")) for word in filled]
        if "translate" in words and "--help" not in words:
            filled += ["--overwrite", "true"]
        runs = _in_turns(trees, filled, folder, rounds)
        print(f"| {name} |{_row(runs)}", flush=True)
        record[name] = runs
    return record


def _in_turns(
    trees: dict[str, Path], words: Sequence[str], folder: Path, rounds: int
) -> dict[str, list[tuple[float, float, float]]]:
    """Run a command with each version in turn; return CPU seconds, seconds, MiB of each run."""
    runs: dict[str, list[tuple[float, float, float]]] = {name: [] for name in trees}
    for number in range(rounds):
        for name in list(trees) if number % 2 == 0 else list(reversed(trees)):
            output = (
                []
                if "--output" in words or words[0] != "translate"
                else ["--output", str(folder / f"out-{name}")]
            )
            if "--help" in words:
                output = []
            used = _python(trees[name], ["-m", "impasto", *words, *output])[1:]
            runs[name].append(used)
    return runs


def _row(runs: dict[str, list[tuple[float, float, float]]]) -> str:
    cells = []
    for index, form in ((0, ".2f"), (1, ".2f"), (2, ",.0f")):
        before, now = (statistics.median(run[index] for run in runs[name]) for name in runs)
        cells += [f"{before:{form}}", f"{now:{form}}", f"{now / before:.2f}"]
    return " " + " | ".join(cells) + " |"


def _python(tree: Path, words: Sequence[str]) -> tuple[str, float, float, float]:
    """Run Python on a tree; return what it printed, CPU seconds, seconds, and its peak in MiB."""
    links = tree / ".typing"
    environment = {
        **os.environ,
        "PYTHONPATH": str(links),
        "PYTHONSAFEPATH": "1",
    }
    with tempfile.TemporaryFile("w+") as told, tempfile.TemporaryFile("w+") as errors:
        began = time.perf_counter()
        child = subprocess.Popen(  # noqa: S603 - our own command
            [sys.executable, *words], env=environment, stdout=told, stderr=errors, text=True
        )
        _, status, used = os.wait4(child.pid, 0)
        seconds = time.perf_counter() - began
        child.returncode = os.waitstatus_to_exitcode(status)
        told.seek(0)
        errors.seek(0)
        if child.returncode:
            raise RuntimeError(f"{words} in {tree}: {errors.read()[-2000:]}")
        return told.read(), used.ru_utime + used.ru_stime, seconds, used.ru_maxrss / 1024


@contextmanager
def _worktree(commit: str) -> Iterator[Path]:
    """Check a commit out into a temporary folder, ready to be imported."""
    with tempfile.TemporaryDirectory() as name:
        tree = Path(name) / "before"
        git = ["git", "-C", str(ROOT), "worktree"]
        subprocess.run([*git, "add", "--quiet", "--detach", str(tree), commit], check=True)  # noqa: S603
        try:
            for where in (tree, ROOT):
                subprocess.run(["make", "-s", "-C", str(where), "typing"], check=True)  # noqa: S603, S607
            yield tree
        finally:
            subprocess.run([*git, "remove", "--force", str(tree)], check=True)  # noqa: S603


if __name__ == "__main__":
    main()
