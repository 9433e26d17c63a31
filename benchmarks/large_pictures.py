"""Measure translating pictures that do not fit into memory: peak memory, seconds, and differences.

python benchmarks/large_pictures.py [--models monet vangogh] [--megapixels 24 100]
    [--memory 2GB 4GB] [--tile exact] [--threads 1]
python benchmarks/large_pictures.py --equal [--side 1024]
python benchmarks/large_pictures.py --ways [--model monet_cycle] [--side 1400]
python benchmarks/large_pictures.py --stylize [--side 1600] [--memory 2500MB]

The first runs the whole command, `impasto translate`, on a picture that is made here (gratings of
all lengths, colors that change from part to part, and noise), once for each size with the amount of
memory of the same place, and prints the peak of the process's resident memory. --equal compares
pictures translated in rows, of which parts lie on disk, with the same pictures translated at once,
for generators of 6 and 9 blocks and each normalization. --ways takes the time of each way to keep
features, in memory and on disk, and says by how much --tile fast differs. --stylize runs `impasto
stylize --preset lite`, a few evaluations at each scale, with what memory there is and with no more
than the amount, in turns, and prints peaks, processor seconds, ratios, and how the pictures differ.
"""

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from itertools import product
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

__all__ = ["main", "photograph"]

Pixels = NDArray[np.uint8]

_RUN = """
import sys
from impasto.scripts.main import main
code = main(sys.argv[1:])
import torch
from impasto.runs.memory import peak_memory_mib
print(f"peak {peak_memory_mib(torch.device('cpu')):.0f} MiB", file=sys.stderr)
sys.exit(code)
"""


def photograph(height: int, width: int) -> Pixels:
    """Return a picture of gratings, of colors that change slowly, and of noise."""
    made, drawn = np.empty((height, width, 3), np.uint8), np.random.default_rng(0)
    columns = np.linspace(0, 1, width, dtype=np.float32)
    for row in range(height):
        down = np.float32(row / height)
        wave = np.sin(2000 * columns**3 * (0.2 + down) + 40 * down)
        for channel in range(3):
            color = 128 + 70 * np.sin(7 * columns + 5 * down * (channel + 1) + channel)
            noise = drawn.integers(-12, 13, width)
            made[row, :, channel] = np.clip(color + 40 * wave + noise, 0, 255)
    return made


def main() -> None:
    """Measure what is asked for, and print it."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--models", nargs="+", default=["monet", "vangogh"])
    parser.add_argument("--megapixels", nargs="+", type=float, default=[24, 100])
    parser.add_argument("--memory", nargs="+", default=["2GB", "4GB"])
    parser.add_argument("--tile", default="exact")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--equal", action="store_true", help="compare with translating at once")
    parser.add_argument("--ways", action="store_true", help="take the time of each way")
    parser.add_argument("--stylize", action="store_true", help="stylize, in tiles and not")
    parser.add_argument("--model", default="monet_cycle", help="model of --ways")
    parser.add_argument("--side", type=int, default=1024, help="side of the pictures of the latter")
    options = parser.parse_args()
    if options.equal:
        _compare(options.side)
    elif options.ways:
        _time_ways(options.model, options.side)
    elif options.stylize:
        _stylize(options.side, options.memory[0], options.threads)
    else:
        _measure(options)


def _measure(options: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for megapixels, memory in zip(options.megapixels, options.memory, strict=True):
            height = round((megapixels * 1e6 / 1.5) ** 0.5)
            source = folder / f"{megapixels:g}.jpg"
            Image.fromarray(photograph(height, height * 3 // 2)).save(source, quality=90)
            for model in options.models:
                started, output = time.perf_counter(), folder / f"{model}-{megapixels:g}"
                ran = subprocess.run(  # noqa: S603 - our own command
                    [
                        *(sys.executable, "-c", _RUN, "translate", str(source)),
                        *("--model", model, "--output", str(output), "--memory", memory),
                        *("--tile", options.tile, "--threads", str(options.threads)),
                        *("--device", "cpu"),
                    ],
                    capture_output=True,
                    text=True,
                    check=False,
                )
                seconds = time.perf_counter() - started
                peak = ran.stderr.strip().splitlines()[-1:]
                print(
                    f"{model}, {megapixels:g} megapixels, --memory {memory}, --tile {options.tile}:"
                    f" {' '.join(peak)}, {seconds:.0f} s, exit status {ran.returncode}",
                    flush=True,
                )
                if ran.returncode:
                    print(ran.stdout[-2000:], ran.stderr[-2000:])


def _stylize(side: int, memory: str, threads: int, rounds: int = 2) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        Image.fromarray(photograph(side * 2 // 3, side)).save(folder / "content.png")
        style = photograph(side // 2, side // 2)[:, :, ::-1]
        Image.fromarray(style).save(folder / "style.png")
        found: dict[str, list[tuple[float, float]]] = {"": [], memory: []}
        for limit in [*found] * rounds:
            before, words = resource.getrusage(resource.RUSAGE_CHILDREN), ["--overwrite", "true"]
            words += ["--memory", limit] if limit else []
            ran = subprocess.run(  # noqa: S603 - our own command
                [
                    *(sys.executable, "-c", _RUN, "stylize", "content.png", "style.png"),
                    *("--preset", "lite", "--size", str(side), "--iterations", "3"),
                    *("--threads", str(threads), "--device", "cpu"),
                    *("--output", f"{limit or 'whole'}.png", *words),
                ],
                cwd=folder,
                capture_output=True,
                text=True,
                check=True,
            )
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
            peak = float(ran.stderr.strip().splitlines()[-1].split()[1])
            found[limit].append((peak, seconds))
            print(f"{limit or 'whole'}: peak {peak:.0f} MiB, {seconds:.1f} CPU s", flush=True)
        (whole, whole_s), (tiled, tiled_s) = (np.median(each, axis=0) for each in found.values())
        pictures = [
            np.asarray(Image.open(folder / f"{limit or 'whole'}.png"), np.int16) for limit in found
        ]
        far = np.abs(pictures[1] - pictures[0])
        print(
            f"{side} px: {tiled / whole:.2f} of the memory, {tiled_s / whole_s:.2f} times the CPU "
            f"seconds; {(far > 1).mean():.2%} of the values differ by more than 1 of 255, at most "
            f"by {far.max()}"
        )


def _compare(side: int) -> None:
    import torch  # noqa: PLC0415 - not for the other measurements

    from impasto.cyclegan.inference.large import LargePlan  # noqa: PLC0415
    from impasto.cyclegan.inference.translator import Translator  # noqa: PLC0415
    from impasto.cyclegan.networks import ResnetGenerator  # noqa: PLC0415

    picture = photograph(side, side)
    for blocks, norm in product((6, 9), ("instance", "layer", "batch")):
        torch.manual_seed(0)
        network = ResnetGenerator(channels=16, blocks=blocks, norm=norm)
        with torch.no_grad():
            for weights in network.parameters():
                if weights.ndim == 4:
                    weights.normal_(0, (2 / weights[0].numel()) ** 0.5)
            for layer in network.modules():  # as after a training, not as before it
                if isinstance(layer, torch.nn.BatchNorm2d):
                    layer.running_mean.normal_(0, 0.1)  # type: ignore[union-attr]
                    layer.running_var.uniform_(0.8, 1.5)  # type: ignore[union-attr]
        translator = Translator(network, device=torch.device("cpu"), grid_bend_px=3)
        at_once = translator.begin([picture])()[0].astype(np.int16)
        for keep in ("inner", "trunk"):
            made = np.empty_like(picture)
            with tempfile.TemporaryDirectory() as folder:
                plan = LargePlan(keep=keep, resident=side**2, folder=Path(folder))
                _translate(translator, picture, made, plan)
            difference = np.abs(made - at_once)
            print(
                f"{blocks} blocks, {norm}, {keep} kept, {side} px: differs by at most "
                f"{difference.max()} of 255, in {(difference > 0).mean():.1e} of the values",
                flush=True,
            )


def _time_ways(model: str, side: int) -> None:
    import torch  # noqa: PLC0415

    from impasto.cyclegan.inference.large import LargePlan  # noqa: PLC0415
    from impasto.cyclegan.inference.strips import Keep  # noqa: PLC0415
    from impasto.cyclegan.inference.translator import Translator  # noqa: PLC0415
    from impasto.cyclegan.models import find_generator  # noqa: PLC0415

    torch.set_num_threads(1)
    loaded = find_generator(Path(model))
    translator = Translator.of(loaded, device=torch.device("cpu"))
    picture, exact = photograph(side, side), None
    kinds: tuple[Keep, ...] = ("all", "inner", "trunk")
    ways: list[tuple[Keep, int, int | None]] = [(keep, 1, None) for keep in kinds]
    ways += [(keep, 0, None) for keep in kinds]
    ways += [("none", 0, 1024), ("none", 0, 512)]
    for keep, share, fast_px in ways:
        large, made = translator.large(), np.empty_like(picture)
        if large is None:
            raise SystemExit(f"{model} has other layers than a ResNet's")
        floats = large.strips.map_floats(*large.padded(side, side), keep=keep)
        with tempfile.TemporaryDirectory() as folder:
            plan = LargePlan(
                keep=keep, resident=floats * share, folder=Path(folder), fast_px=fast_px
            )
            began, clock = time.process_time(), time.perf_counter()
            _translate(translator, picture, made, plan)
        words = f"{keep} kept, {'in memory' if share else 'on disk'}"
        if fast_px is not None:
            words = f"statistics of {fast_px} px"
        if exact is None:
            exact = made.astype(np.int16)
        difference = np.abs(made - exact)
        print(
            f"{words}: {floats * 4 / 1e6:.0f} MB, {time.process_time() - began:.1f} CPU s, "
            f"{time.perf_counter() - clock:.1f} s, differs by {difference.mean():.2f} on average, "
            f"99 % by at most {np.quantile(difference, 0.99):.0f}, {difference.max()} at most",
            flush=True,
        )


def _translate(translator, picture: Pixels, made: Pixels, plan) -> None:  # type: ignore[no-untyped-def]
    large = translator.large()

    def put(start: int, rows: Pixels) -> None:
        made[start : start + len(rows)] = rows

    large.translate(lambda start, stop: picture[start:stop], put, picture.shape[:2], plan)


if __name__ == "__main__":
    main()
