"""Estimating the memory of a run, and refusing one that does not fit.

The estimate counts the tensors that a run keeps: the output of every layer for the backward pass,
the buffers of the layer with the largest output, the optimizer's pictures, and matrices of moments.
Where the network can be run tile by tile (:mod:`impasto.gatys.losses.tiles`), outputs are those of
a tile; the maps that are compared are whole, one at a time, when the targets are measured.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch

from impasto.gatys.scales import fit
from impasto.options.errors import ImpastoError
from impasto.runs.memory import free_memory, gigabytes

__all__ = [
    "Layer",
    "MemoryEstimate",
    "MemoryPlan",
    "plan_memory",
    "vgg_layers",
]

_VGG_CONVOLUTIONS = {16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}
_VGG_CHANNELS = (64, 128, 256, 512, 512)

# Buffers of the layer with the largest output that live at once while a gradient passes: the one
# coming in, the one going out, and the convolution's reordered copies of both.
_BUFFERS = 4
# Pictures beside the history: the iterate, its gradient and the one before, direction, the best
# iterate, products, the normalized input; and Adam's two moments.
_PICTURES = 12
# Room for the allocator's gaps, measured with VGG19 at 128 to 384 px on the CPU; the long-lived
# pictures of the history lie between short-lived activations, and leave more of them.
_MARGIN = 1.35
_HISTORY_MARGIN = 1.35
# Sides of tiles that are tried, in pixels: smaller ones are mostly surroundings.
_SIDES = (2048, 1536, 1024, 768, 512, 384, 256, 192)
# While a target is measured: its map, and what is computed of it.
_MEASURING = 2
# A shorter history is not worth recommending.
_LEAST_HISTORY = 3


@dataclass(frozen=True, kw_only=True)
class Layer:
    """One activation that autograd keeps for the backward pass.

    Attributes:
        channels: number of channels of the output.
        stride: pixels of the picture per position, along each side.
        index_bytes: bytes per value of the indices kept beside the output (8 for max pooling on the
            CPU).
        sampled: number of positions to which a loss goes down, by taking one of each square of up
            to ``most_step`` by ``most_step``; None: it takes all.
        most_step: see there.
    """

    channels: int
    stride: int
    index_bytes: int = 0
    sampled: int | None = None
    most_step: int = 1

    def positions(self, height: int, width: int) -> int:
        """Return the number of positions for a picture of a given size, at least 1."""
        count = max(height // self.stride, 1) * max(width // self.stride, 1)
        if self.sampled is None:
            return count
        step = max(1, min(math.isqrt(count // self.sampled), self.most_step))
        return max(count // step**2, 1)


def vgg_layers(
    depth: int = 19, *, width: float = 1.0, blocks: int = 5, last: int = 1, pooling: str = "max"
) -> list[Layer]:
    """Return the outputs that a VGG keeps up to convolution ``last`` of block ``blocks``.

    Simonyan and Zisserman 2015, table 1, configurations D (16) and E (19).

    Args:
        depth: depth of the network, 16 or 19.
        width: number of channels relative to the published network.
        blocks: number of blocks that are run, the last possibly in part: 5 up to conv5_1.
        last: number of convolutions that are run in the last block.
        pooling: pooling method: ``max`` keeps indices; ``average`` and ``l2`` do not.
    """
    layers: list[Layer] = []
    for block in range(blocks):
        channels, stride = max(round(_VGG_CHANNELS[block] * width), 1), 2**block
        count = last if block == blocks - 1 else _VGG_CONVOLUTIONS[depth][block]
        layers += [Layer(channels=channels, stride=stride)] * count
        if block < blocks - 1:
            kept = 8 if pooling == "max" else 0
            layers.append(Layer(channels=channels, stride=2 * stride, index_bytes=kept))
    return layers


@dataclass(frozen=True, kw_only=True)
class MemoryEstimate:
    """The memory that a run needs, for any size of picture.

    Attributes:
        layers: outputs that the network keeps.
        pixel_layers: outputs that losses of pixels alone keep, which are of the whole picture.
        compared: outputs that are compared with targets.
        kept_maps: outputs of the content that are targets, once for each window.
        style_share: pixels of the largest style picture relative to those of the content.
        reach: how far the network looks, and the step of its grid, in pixels; None: it cannot be
            run tile by tile.
        history: number of steps that L-BFGS stores; 0 for Adam.
        style_channels: number of channels of each layer whose moments are matched.
        value_bytes: bytes of one activation: 4, or 2 with autocast.
    """

    layers: Sequence[Layer] = field(default_factory=vgg_layers)
    pixel_layers: Sequence[Layer] = ()
    compared: Sequence[Layer] = ()
    kept_maps: Sequence[Layer] = ()
    style_share: float = 1.0
    reach: tuple[int, int] | None = None
    history: int = 0
    style_channels: Sequence[int] = (64, 128, 256, 512, 512)
    value_bytes: int = 4

    def bytes(self, height: int, width: int, *, tile_px: int | None = None) -> int:
        """Return the estimate in bytes for a picture of the given size, weights not included.

        Args:
            height: height of the picture, in pixels.
            width: width of the picture, in pixels.
            tile_px: side of the tiles that the network is run on; None: it sees the whole picture.
        """
        if tile_px is None:
            compared = sum(self._compared(height, width))
            layers = max(
                self._outputs([*self.layers, *self.pixel_layers], height, width),
                round(_MARGIN * (1 + self.style_share) * compared),
            )
        else:
            layers = self._tiled_outputs(height, width, tile_px)
        history = round(_HISTORY_MARGIN * 2 * self.history * 3 * height * width * 4)
        pictures = _PICTURES * 3 * height * width * 4
        # Of each: matrix, target, difference, its square and its gradient.
        moments = sum(5 * channels**2 * 4 for channels in self.style_channels)
        return layers + history + pictures + moments

    def _outputs(self, layers: Sequence[Layer], height: int, width: int) -> int:
        """Return the bytes of the outputs of layers, and of the buffers of the largest."""
        kept, largest = 0, 0
        for layer in layers:
            values = layer.channels * layer.positions(height, width)
            kept += values * (self.value_bytes + layer.index_bytes)
            largest = max(largest, values * self.value_bytes)
        return round(_MARGIN * (kept + _BUFFERS * largest))

    def _tiled_outputs(self, height: int, width: int, tile_px: int) -> int:
        """Return the bytes of outputs where the network sees tiles."""
        if self.reach is None:
            raise ValueError("tile_px: this network cannot be run tile by tile")
        reach, step = self.reach
        seen = [min(side, tile_px + 2 * (reach + step)) for side in (height, width)]
        largest = max(self._compared(height, width), default=0)
        measuring = round(_MEASURING * largest * max(1.0, self.style_share))
        maps = sum(4 * each.channels * each.positions(height, width) for each in self.kept_maps)
        evaluating = self._outputs(self.pixel_layers, height, width)
        return self._outputs(self.layers, seen[0], seen[1]) + maps + max(measuring, evaluating)

    def _compared(self, height: int, width: int) -> list[int]:
        """Return the bytes of each map that is compared, of a picture of the content's size."""
        return [4 * each.channels * each.positions(height, width) for each in self.compared]

    def plan(self, height: int, width: int, available: int | None) -> "MemoryPlan | None":
        """Return how a picture fits into memory: whole, in the largest tiles that fit, or None.

        Args:
            height: height of the picture, in pixels.
            width: width of the picture, in pixels.
            available: available memory in bytes; None: unknown, and enough.
        """
        whole = MemoryPlan(bytes=self.bytes(height, width))
        if available is None or whole.bytes <= available:
            return whole
        sides = [side for side in _SIDES if side < max(height, width)] if self.reach else []
        plans = (MemoryPlan(bytes=self.bytes(height, width, tile_px=s), tile_px=s) for s in sides)
        return next((plan for plan in plans if plan.bytes <= available), None)

    def largest_side(self, height: int, width: int, available: int, *, margin: int = 0) -> int:
        """Return the largest longest side, for this shape, that ``available`` bytes allow, or 0.

        Args:
            height: height of a picture of this shape, in pixels.
            width: width of it.
            available: available memory in bytes.
            margin: width of what is computed around every picture, in pixels; not in the result.
        """
        low, high = 0, 2**16
        while high - low > 1:
            middle = (low + high) // 2
            rows, columns = (side + 2 * margin for side in fit(height, width, middle))
            if self.plan(rows, columns, available) is not None:
                low = middle
            else:
                high = middle
        return low

    def longest_history(self, height: int, width: int, available: int) -> int:
        """Return the largest number of stored steps, at most ``history``, that fits, or -1."""
        fits = (
            steps
            for steps in range(self.history, -1, -1)
            if replace(self, history=steps).plan(height, width, available) is not None
        )
        return next(fits, -1)


@dataclass(frozen=True, kw_only=True)
class MemoryPlan:
    """How a run fits into memory.

    Attributes:
        bytes: estimated memory, in bytes.
        tile_px: side of the tiles that the network is run on, in pixels; None: it sees the whole
            picture.
    """

    bytes: int
    tile_px: int | None = None


def plan_memory(
    estimate: MemoryEstimate,
    height: int,
    width: int,
    *,
    device: torch.device,
    margin: int = 0,
    available: int | None = None,
) -> MemoryPlan:
    """Return how a run fits into memory, and refuse one that does not.

    Args:
        estimate: memory estimate of the run.
        height: height of the picture at the largest scale, in pixels.
        width: width of the picture at the largest scale, in pixels.
        device: device that computes.
        margin: width of what is computed around the picture, in pixels.
        available: available memory in bytes; the device's free memory unless given.

    Raises:
        ImpastoError: the run does not fit; the message states the estimate, the available memory,
            and settings that would fit.
    """
    padded = height + 2 * margin, width + 2 * margin
    available = free_memory(device) if available is None else available
    plan = estimate.plan(*padded, available)
    if plan is not None:
        return plan
    assert available is not None  # noqa: S101 - or it would be enough
    least = min(_SIDES) if estimate.reach and max(padded) > min(_SIDES) else None
    needed = estimate.bytes(*padded, tile_px=least)
    advice = []
    if (side := estimate.largest_side(height, width, available, margin=margin)) > 0:
        advice.append(f"a size of at most {side}")
    if estimate.history:
        steps = estimate.longest_history(*padded, available)
        if steps >= _LEAST_HISTORY:
            advice.append(f"an L-BFGS history of at most {steps}")
        if steps >= 0:
            advice.append("Adam")
    raise ImpastoError(
        f"{width} x {height} pixels need about {gigabytes(needed)} on {device}"
        f"{' even in tiles' if least else ''}, of which "
        f"{gigabytes(available)} are available: use {' or '.join(advice) or 'another machine'}"
    )
