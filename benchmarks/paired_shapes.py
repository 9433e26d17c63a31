"""Whether pairs help: outlines to colored shapes, trained with the pairs and without them.

    python benchmarks/paired_shapes.py --work /tmp/paired_shapes

Makes pictures of outlines and of the same shapes filled with the color of their kind (circles red,
squares green, triangles blue), trains a generator of one architecture for as many pictures as a
CycleGAN, which does not know what belongs together, and as pix2pix, and measures both on pairs that
neither saw, beside the untouched outlines. With ``--unet``, pix2pix is also measured in the ways in
which batch normalization and dropout can be used after a training. The exit status is 1 unless
pix2pix has the higher PSNR by --margin_db.
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from torch import nn

import impasto
from impasto.cyclegan.blocks import take_statistics
from impasto.data.decode import read_picture
from impasto.data.metrics.paired import mean_absolute_error, psnr, ssim
from impasto.data.tensors import to_pictures, to_tensor

_COLORS = {"circle": (200, 60, 50), "square": (60, 160, 80), "triangle": (60, 80, 190)}
_SCALE = 4  # drawn larger, so that edges are smooth


def draw_pair(rng: np.random.Generator, side: int) -> tuple[Image.Image, Image.Image]:
    """Draw outlines, white on black, and the same shapes filled, on a light ground."""
    size = (side * _SCALE, side * _SCALE)
    outlines, filled = Image.new("RGB", size), Image.new("RGB", size, (235, 230, 220))
    for left, top in ((0, 0), (0, 1), (1, 0), (1, 1)):
        kind = list(_COLORS)[rng.integers(len(_COLORS))]
        half = size[0] / 4
        radius = half * rng.uniform(0.5, 0.85)
        x, y = half * (2 * left + 1), half * (2 * top + 1)
        box = (x - radius, y - radius, x + radius, y + radius)
        corners = [(x, y - radius), (x + radius, y + radius), (x - radius, y + radius)]
        for picture, fill in ((outlines, None), (filled, _COLORS[kind])):
            draw = ImageDraw.Draw(picture)
            line: dict[str, Any] = {"outline": "white" if fill is None else fill, "width": _SCALE}
            if kind == "circle":
                draw.ellipse(box, fill=fill, **line)
            elif kind == "square":
                draw.rectangle(box, fill=fill, **line)
            else:
                draw.polygon(corners, fill=fill, **line)
    smooth = Image.Resampling.BOX
    return outlines.resize((side, side), smooth), filled.resize((side, side), smooth)


def make_set(folder: Path, *, phase: str, count: int, side: int, seed: int) -> None:
    """Write pairs of the same names into ``trainA`` and ``trainB``, or ``testA`` and ``testB``."""
    rng = np.random.default_rng(seed)
    for place in range(count):
        for domain, picture in zip("AB", draw_pair(rng, side), strict=True):
            (folder / f"{phase}{domain}").mkdir(parents=True, exist_ok=True)
            picture.save(folder / f"{phase}{domain}" / f"{place:04}.png")


def translated(generator: nn.Module, folder: Path) -> list[NDArray[np.uint8]]:
    """Translate the pictures of a folder one by one."""
    results = []
    torch.manual_seed(0)
    for path in sorted(folder.iterdir()):
        with torch.no_grad():
            results.append(to_pictures(generator(to_tensor(read_picture(path).rgb)[None]))[0])
    return results


def measure(name: str, results: list[NDArray[np.uint8]], truth: Path) -> float:
    """Print the means over all pairs; return the mean PSNR in dB."""
    true = [read_picture(path).rgb for path in sorted(truth.iterdir())]
    pairs = list(zip(results, true, strict=True))
    means = [
        float(np.mean([measured(one, other) for one, other in pairs]))
        for measured in (psnr, ssim, mean_absolute_error)
    ]
    print(f"{name:44}PSNR {means[0]:5.2f} dB  SSIM {means[1]:.3f}  L1 {means[2]:5.2f}")
    return means[0]


def main() -> int:
    """Make the data, train, measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--images", type=int, default=1200)
    parser.add_argument("--pairs", type=int, default=200)
    parser.add_argument("--side", type=int, default=64)
    parser.add_argument("--ngf", type=int, default=16)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--margin_db", type=float, default=3.0)
    parser.add_argument("--unet", action="store_true")
    given = parser.parse_args()
    data = given.work / "shapes"
    make_set(data, phase="train", count=given.pairs, side=given.side, seed=1)
    make_set(data, phase="test", count=24, side=given.side, seed=2)
    recipe: dict[str, Any] = {
        "dataroot": data,
        "checkpoints_dir": given.work,
        "preprocess": "crop",
        "crop_size": given.side,
        "netG": "unet_128" if given.unet else "resnet_4blocks",
        "ngf": given.ngf,
        "ndf": given.ngf,
        "norm": "batch" if given.unet else "instance",
        "dropout": given.unet,
        "cache_images": True,
        "num_threads": 0,
        "seed": given.seed,
        "max_images": given.images,
        "display": "none",
    }
    inputs, truth = data / "testA", data / "testB"
    outlines = [read_picture(path).rgb for path in sorted(inputs.iterdir())]
    measure("untouched outlines", outlines, truth)
    reached = {}
    for name, paired in (("CycleGAN, without the pairs", False), ("pix2pix, with the pairs", True)):
        run = impasto.train(name=f"paired_{paired}".lower(), paired=paired, **recipe)
        network = impasto.load_generator(run.directory).network
        reached[paired] = measure(name, translated(network, inputs), truth)
        if paired and given.unet:
            _measure_ways(network, inputs, truth)
    won = reached[True] - reached[False]
    print(f"the pairs are worth {won:.2f} dB")
    return 0 if won >= given.margin_db else 1


def _measure_ways(network: nn.Module, inputs: Path, truth: Path) -> None:
    """Measure the ways to use batch normalization and dropout after a training."""
    for of_picture in (True, False):
        take_statistics(network, of_picture=of_picture)
        for drops in (False, True):
            network.eval()
            for module in network.modules():
                if isinstance(module, nn.Dropout):
                    module.train(drops)
            whose = "of the picture" if of_picture else "running"
            name = f"  statistics {whose}, dropout {'on' if drops else 'off'}"
            measure(name, translated(network, inputs), truth)


if __name__ == "__main__":
    raise SystemExit(main())
