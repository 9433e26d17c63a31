"""The files of ``benchmarks/stylize.py``: pictures at their size, and one random network twice.

They have the names that the programs expect, so that these need no change.
"""

import sys
from collections.abc import Mapping
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from impasto.gatys.features.random import RandomRecipe, random_vgg
from impasto.gatys.features.vgg import IMAGENET_MEAN, IMAGENET_STD, convolution_names
from impasto.gatys.presets import caffe_scale
from impasto.gatys.scales import fit

__all__ = ["caffe_weights", "main", "write_pictures", "write_weights"]

_CAFFE_MEAN = (123.68, 116.779, 103.939)


def main() -> int:
    """Write all files; the command line has folder, content, style, size and seed."""
    folder, content, style = (Path(name) for name in sys.argv[1:4])
    size, seed = (int(number) for number in sys.argv[4:])
    write_pictures(folder, content, style, size)
    write_weights(folder, seed)
    return 0


def write_pictures(folder: Path, content: Path, style: Path, size: int) -> None:
    """Write both pictures with a longest side of ``size`` pixels."""
    (folder / "Images").mkdir()
    for path, name, other in (
        (content, "content.png", "Tuebingen_Neckarfront.jpg"),
        (style, "style.png", "vangogh_starry_night.jpg"),
    ):
        with Image.open(path) as opened:
            height, width = fit(opened.height, opened.width, size)
            picture = opened.convert("RGB").resize((width, height), Image.Resampling.BICUBIC)
        picture.save(folder / name)
        picture.save(folder / "Images" / other, format="png")  # the notebook's names


def write_weights(folder: Path, seed: int) -> None:
    """Write the network in both units."""
    (folder / "Models").mkdir()
    (folder / "caffe").mkdir()
    recipe = RandomRecipe(width=1.0, pooling="max", centered=True, replicate_padding=False)
    weights = random_vgg(seed, recipe).state_dict()
    caffe = caffe_weights(weights)
    torch.save(weights, folder / "vgg19.pth")
    torch.save(caffe, folder / "caffe" / "vgg19.pth")
    layers = [f"{name}.{kind}" for name in convolution_names(19) for kind in ("weight", "bias")]
    torch.save(dict(zip(layers, caffe.values(), strict=True)), folder / "Models" / "vgg_conv.pth")


def caffe_weights(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the weights of the same network for BGR pictures of 0 to 255 without their mean.

    All its features are :func:`caffe_scale` times as large.

    Args:
        weights: ``features.0.weight`` and so on, for pictures normalized as ImageNet.
    """
    scale = caffe_scale()
    first = weights["features.0.weight"].double()
    mean, std, caffe = (
        torch.tensor(values, dtype=torch.float64).view(1, 3, 1, 1)
        for values in (IMAGENET_MEAN, IMAGENET_STD, _CAFFE_MEAN)
    )
    rgb = first * scale / (255 * std)
    shift = (rgb * (caffe - 255 * mean)).sum(dim=(1, 2, 3))
    scaled = {
        name: value * scale if name.endswith("bias") else value.clone()
        for name, value in weights.items()
    }
    scaled["features.0.weight"] = rgb.flip(1).float()
    scaled["features.0.bias"] = (scaled["features.0.bias"].double() + shift).float()
    return scaled


if __name__ == "__main__":
    raise SystemExit(main())
