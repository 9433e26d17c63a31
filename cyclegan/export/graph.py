"""A translation as one graph, from bytes to bytes, for pictures of any size.

What :class:`~impasto.cyclegan.inference.translator.Translator` decides for each picture in Python,
its padding and its bend, is arithmetic with the sides of the picture here, so that tracing and
exporting keep it. There are no branches: a picture that is too small to be bent is bent by nothing.
"""

import copy
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from impasto.cyclegan.blocks import StrokeNoise
from impasto.cyclegan.inference.bend import (
    BENT_BORDER_PX,
    EVERY_PX,
    ITERATIONS,
    LENGTH_PX,
    REFINEMENTS,
    bend_factor,
    draw_places,
)
from impasto.cyclegan.inference.translator import SMALLEST_BENT_PX
from impasto.cyclegan.networks import Generator

__all__ = ["TranslationGraph"]

Side = Any  # int where Python computes, Tensor where it is traced, SymInt where it is exported
# Numbers of the field that bends, of which a graph holds the first: enough for 50 megapixels.
_DRAWN = 2**17


class TranslationGraph(nn.Module):
    """Translates pictures as `impasto translate` does, bytes in and bytes out.

    Input and output: RGB, (N, H, W, 3), uint8, any H and W.

    Args:
        generator: generator network, on the CPU, which is copied.
        grid_bend_px: strength of the warp in pixels, see
            :class:`~impasto.cyclegan.inference.bend.BentGrid`; 0: no warp.
    """

    drawn: Tensor

    def __init__(self, generator: Generator, *, grid_bend_px: float) -> None:
        super().__init__()
        self._stride, self._smallest = generator.stride, generator.smallest
        self._bend_px = grid_bend_px
        self.network = _traceable(generator)
        if grid_bend_px:
            self.register_buffer("drawn", draw_places(_DRAWN), persistent=False)
        self.eval().requires_grad_(False)

    def forward(self, pictures: Tensor) -> Tensor:
        """Translate RGB, (N, H, W, 3), uint8, to the same shape and type."""
        images = pictures.permute(0, 3, 1, 2).to(torch.float32) / 127.5 - 1.0
        translated = self._bent(images) if self._bend_px else self._padded(images)
        scaled = torch.clamp(torch.round((translated + 1.0) * 127.5), 0.0, 255.0)
        return scaled.to(torch.uint8).permute(0, 2, 3, 1).contiguous()

    def _padded(self, images: Tensor) -> Tensor:
        """Do what ``pad_to_multiple`` does, translate, and cut the picture out again."""
        height, width = images.shape[2], images.shape[3]
        high, wide = self._target(height), self._target(width)
        top, left = (high - height) // 2, (wide - width) // 2
        padded = images.index_select(2, _mirrored(high, top, height))
        made: Tensor = self.network(padded.index_select(3, _mirrored(wide, left, width)))
        return _cut(made, top, left, height, width)

    def _target(self, size: Side) -> Side:
        """Return the size that a side is padded to."""
        least = -(-self._smallest // self._stride)
        count = _at_least((size + self._stride - 1) // self._stride, least)
        return _fresh(count, least=least) * self._stride

    def _bent(self, images: Tensor) -> Tensor:
        height, width = images.shape[2], images.shape[3]
        # 1 for pictures that are large enough, 0 for others.
        bends = _at_most(_at_most(height, width) // SMALLEST_BENT_PX, 1)
        border = bends * BENT_BORDER_PX
        # A side of one pixel has nothing to be mirrored at: it is two while it is sampled.
        high, wide = (_fresh(_at_least(side + 2 * border, 2), least=2) for side in (height, width))
        there = self._field(high, wide) * bends
        around = images.index_select(2, _mirrored(high, border, height))
        around = around.index_select(3, _mirrored(wide, border, width))
        sample = _Sampler(high, wide, high, wide)
        back = _inverse(there, high, wide, sample)
        straight = sample(self._padded(sample(around, there)), back)
        return torch.clamp(_cut(straight, border, border, height, width), -1.0, 1.0)

    def _field(self, high: Side, wide: Side) -> Tensor:
        rows, columns = (_fresh(side // LENGTH_PX + 2, least=2) for side in (high, wide))
        drawn = self.drawn.index_select(0, torch.arange(2 * rows * columns) % _DRAWN)
        coarse = drawn.reshape(1, 2, rows, columns) * 2.0 - 1.0
        fine = F.interpolate(coarse, scale_factor=LENGTH_PX, mode="bicubic", align_corners=False)
        return _cut(fine, 0, 0, high, wide) * bend_factor(self._bend_px)


def _inverse(there: Tensor, height: Side, width: Side, sample: "_Sampler") -> Tensor:
    """Return the displacements that lead back."""
    every = EVERY_PX
    rows, columns = (_fresh((side + every - 1) // every, least=1) for side in (height, width))
    coarse = _Sampler(height, width, rows, columns, every_px=every)
    # What is sampled is what leads back, so that no step has to change its sign.
    back, reversed_ = torch.zeros(1, 2, rows, columns), -there
    for _ in range(ITERATIONS):
        back = coarse(reversed_, back)
    fine = F.interpolate(back, scale_factor=every, mode="bicubic", align_corners=False)
    fine = _cut(fine, 0, 0, height, width)
    for _ in range(REFINEMENTS):
        fine = sample(reversed_, fine)
    return fine


def _cut(images: Tensor, top: Side, left: Side, height: Side, width: Side) -> Tensor:
    """Return a part of images; by numbers of rows, so that no size is a difference of others."""
    rows = images.index_select(2, torch.arange(height) + top)
    return rows.index_select(3, torch.arange(width) + left)


class _Sampler:
    """Looks at every so many places of images plus displacements, in pixels.

    Args:
        height: height of the images.
        width: width of the images.
        rows: number of rows to look at.
        columns: number of columns to look at.
        every_px: distance of the places.
    """

    def __init__(
        self, height: Side, width: Side, rows: Side, columns: Side, *, every_px: int = 1
    ) -> None:
        y, x = (
            torch.arange(count).to(torch.float32) * every_px + (every_px - 1) / 2
            for count in (rows, columns)
        )
        places = torch.stack(
            [x[None, :] + torch.zeros_like(y)[:, None], y[:, None] + torch.zeros_like(x)], dim=-1
        )
        # From pixels to [-1, 1].
        one = torch.ones(1)
        self._scale = torch.cat([2.0 / (one * (width - 1)), 2.0 / (one * (height - 1))])
        self._places = (places * self._scale - 1.0)[None]

    def __call__(self, images: Tensor, displacements: Tensor) -> Tensor:
        """Return (N, C, rows, columns) for displacements (1, 2, rows, columns): x, then y."""
        places = displacements.permute(0, 2, 3, 1) * self._scale + self._places
        return F.grid_sample(
            images,
            places.expand(images.shape[0], -1, -1, -1),
            mode="bicubic",
            padding_mode="reflection",
            align_corners=True,
        )


def _mirrored(target: Side, before: Side, size: Side) -> Tensor:
    """Return the pixel of a side that stands at each place of a longer one."""
    # Going on along a mirrored line comes back every 2 (size - 1) pixels.
    period = _at_least(2 * (size - 1), 1)
    place = (torch.arange(target) - before) % period
    return torch.minimum(place, period - place)


def _at_least(size: Side, least: Side) -> Side:
    if isinstance(size, Tensor):
        return torch.clamp(size, min=least)
    return torch.sym_max(size, least)


def _at_most(size: Side, most: Side) -> Side:
    if isinstance(size, Tensor):
        return (
            torch.minimum(size, most) if isinstance(most, Tensor) else torch.clamp(size, max=most)
        )
    return torch.sym_min(size, most)


def _fresh(size: Side, *, least: int) -> Side:
    """Return the same size, of which torch.export shall know no more than that it is one.

    It would take apart what it knows, and tie the program to such sizes as that of its example.
    """
    if isinstance(size, Tensor) or not torch.compiler.is_exporting():
        return size
    counted = torch.ones(size, dtype=torch.long).sum().item()
    torch._check(counted >= least)  # noqa: SLF001 - documented for this
    return counted


class _FixedNoise(nn.Module):
    """The noise of :class:`~impasto.cyclegan.blocks.StrokeNoise` in evaluation."""

    maps: Tensor

    def __init__(self, noise: StrokeNoise) -> None:
        super().__init__()
        self.mix = noise.mix
        self.register_buffer("maps", noise.maps, persistent=False)

    def forward(self, features: Tensor) -> Tensor:
        """Return the features with the mixed maps added."""
        height, width, side = features.shape[2], features.shape[3], self.maps.shape[1]
        rows, columns = torch.arange(height) % side, torch.arange(width) % side
        drawn = self.maps.index_select(1, rows).index_select(2, columns)
        mixed: Tensor = self.mix(drawn[None])
        return features + mixed


def _traceable(generator: Generator) -> nn.Module:
    """Return a copy whose noise does not depend on the size of the batch."""
    network = copy.deepcopy(generator)
    for name, module in list(network.named_modules()):
        if isinstance(module, StrokeNoise):
            parent = network.get_submodule(name.rpartition(".")[0])
            setattr(parent, name.rpartition(".")[2], _FixedNoise(module))
    return network
