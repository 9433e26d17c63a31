"""A ResNet generator computed in strips of rows on a processor, which takes half of the memory.

Between two normalizations, a convolution needs only a few rows at a time: padding, enlarging and
the activation before it are made for a strip and forgotten, and stay in the processor's cache. What
is kept of a layer are the bare values of its convolution, of which means and variances are gathered
strip by strip; the next layer normalizes them when it reads them. The results are those of the
network's own layers, up to rounding.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from impasto.cyclegan.blocks import ColorSkip, ResizeConv2d, ResnetBlock, SoftKuwahara, StrokeNoise
from impasto.cyclegan.inference.row_convolutions import (
    convolution_of,
    enlarging,
    transposed,
)
from impasto.cyclegan.networks import Generator, ResnetGenerator

__all__ = ["StripGenerator"]

# What a strip makes, in bytes for each thread: of the size of a core's cache.
_STRIP_BYTES = 2**21
_FLOAT_BYTES = 4
# Strips begin at multiples of it: more than any layer pads, and what tiles of Winograd need.
_EVEN_ROWS = 4
# Fewer are computed in more time, for of each strip some rows of its neighbors are computed, too;
# twice as many, where rows are so wide, let the tiles of Winograd leave the cache: 1.8, 1.6, 2.4 s.
_LEAST_ROWS = 8
# Maps up to this size are kept for the next picture, whose pages need not be taken anew.
_KEPT_FLOATS = 2**26


class _UnknownLayerError(Exception):
    """A layer that cannot be computed in strips."""


def _in_rows(base: SoftKuwahara, image: Tensor, start: int, stop: int) -> Tensor:
    """Return some rows of what a base makes of an image, which looks two rows further."""
    above, below = max(0, start - 2), min(image.shape[1], stop + 2)
    smooth: Tensor = base(image[None, :, above:below])[0]
    return smooth[:, start - above : stop - above]


class StripGenerator:
    """Computes the layers of a generator in strips; :meth:`of` makes it.

    Args:
        steps: layers in their order; a pair of layers is a residual block.
        last: last layer before the skip connection and tanh.
        skip: skip connection for colors, or None.
        base: what the output of the last layer is added to and clamped with, instead of a tanh, or
            None.
        noise: what is added before the first residual block, or None.
    """

    def __init__(
        self,
        steps: Sequence["_Layer | tuple[_Layer, _Layer]"],
        *,
        last: "_Layer",
        skip: ColorSkip | None,
        base: SoftKuwahara | None = None,
        noise: StrokeNoise | None = None,
    ) -> None:
        self._steps, self._last, self._skip, self._base = steps, last, skip, base
        self._noise = noise
        self._kept: list[Tensor] = []  # one block at most; each call takes it out for itself

    @classmethod
    def of(cls, generator: Generator) -> Self | None:
        """Return what computes a generator in strips; None where one of its layers is not known.

        Args:
            generator: generator network, in evaluation mode, on the processor, whose weights stay
                as they are: some of them are copied, now or when they are first needed.
        """
        if not isinstance(generator, ResnetGenerator):
            return None
        if type(generator).forward is not ResnetGenerator.forward:
            return None
        try:
            *steps, last = _steps(generator.model)
        except _UnknownLayerError:
            return None
        if isinstance(last, tuple) or last.norm is not None or last.relu:
            return None
        return cls(
            steps,
            last=last,
            skip=generator.color_skip,
            base=generator.base,
            noise=generator.noise,
        )

    def map_bytes(self, height: int, width: int) -> int:
        """Return the size of the maps that are kept at the same time, for a picture of a size."""
        return self._floats(height, width) * _FLOAT_BYTES

    @torch.inference_mode()
    def __call__(self, images: Tensor) -> Tensor:
        """Translate images, RGB, (N, 3, H, W), float32 in [-1, 1], to the same shape and range.

        Args:
            images: H and W are multiples of 4, at least 8.
        """
        result = torch.empty_like(images, memory_format=torch.contiguous_format)
        floats = self._floats(*images.shape[2:])
        block = self._take_block(floats)
        space = _Space(block)
        for image, place in zip(images, result, strict=True):
            self._translate(image, place, space)
        if floats <= _KEPT_FLOATS:
            self._kept[:] = [block]
        return result

    def _take_block(self, floats: int) -> Tensor:
        """Return memory for so many values, which no other thread has."""
        try:
            block = self._kept.pop()
        except IndexError:
            block = torch.empty(0)
        if len(block) < floats:
            del block  # the old one goes before there is a new one
            block = torch.empty(floats, dtype=torch.float32, device="cpu")
        return block

    def _translate(self, image: Tensor, result: Tensor, space: "_Space") -> None:
        now = _Map(values=image.permute(1, 2, 0).contiguous())
        noise = self._noise
        for step in self._steps:
            if isinstance(step, tuple):
                now = _settled(now)
                if noise is not None:
                    _add_noise(now, noise)
                    noise = None
                inner = _apply(step[0], now, space, beside=(now,))
                _add(now, _apply(step[1], inner, space, beside=(now, inner)))
            else:
                now = _apply(step, now, space, beside=(now,))
        colors = None if self._skip is None else self._skip.coarse(image[None])
        height, width = image.shape[1:]
        for start, stop in _strips(height, width * self._last.widest):
            rows = self._last.compute(now.rows, now.height, start, stop)[0]
            if colors is not None:
                rows = rows + _colors(colors, start, stop, height // colors.shape[2])
            if self._base is None:
                torch.tanh(rows, out=result[:, start:stop])
            else:
                smooth = _in_rows(self._base, image, start, stop)
                torch.clamp(smooth + rows, -1, 1, out=result[:, start:stop])

    def _floats(self, height: int, width: int) -> int:
        """Return how many values are kept at the same time."""
        most, now, pixels = 0, 0, float(height * width)
        for step in self._steps:
            first, *others = step if isinstance(step, tuple) else (step,)
            pixels *= first.scale**2
            made = round(pixels) * first.channels
            most = max(most, now + made * (1 + len(others)))
            now = made
        return most


@dataclass(frozen=True, kw_only=True)
class _Map:
    """The values of a layer, and what is to be done to them when they are read.

    Attributes:
        values: (H, W, C).
        scale: factors of the channels, (C,), or None.
        shift: terms of the channels, (C,), or None.
        relu: whether negative values count as 0.
    """

    values: Tensor
    scale: Tensor | None = None
    shift: Tensor | None = None
    relu: bool = False

    @property
    def height(self) -> int:
        return len(self.values)

    def rows(self, start: int, stop: int) -> Tensor:
        """Return rows as the next layer sees them, (1, C, stop - start, W)."""
        rows = self.values[start:stop]
        if self.scale is not None and self.shift is not None:
            rows = torch.addcmul(self.shift, rows, self.scale)
        elif self.relu:
            rows = rows.clone()
        if self.relu:
            rows.relu_()
        return rows.permute(2, 0, 1)[None]


class _Space:
    """Places maps in one block of memory, in which each takes that of others that are gone."""

    def __init__(self, block: Tensor) -> None:
        self._block = block

    def take(self, height: int, width: int, channels: int, *, beside: Iterable[_Map]) -> Tensor:
        """Return room for a map, (H, W, C), that does not touch the given ones.

        From the beginning or from the end, so that of two maps in turn each finds room.
        """
        size, begin = height * width * channels, 0
        extents = [self._extent(map_.values) for map_ in beside]
        end = len(self._block)
        for start, stop in [*sorted(one for one in extents if one[1]), (end, end)]:
            if start - begin >= size:
                at = 0 if begin == 0 else start - size
                return self._block[at : at + size].view(height, width, channels)
            begin = stop
        raise AssertionError("the block was made for less")

    def _extent(self, values: Tensor) -> tuple[int, int]:
        """Return where a map lies in the block; nothing for one that lies elsewhere."""
        start = (values.data_ptr() - self._block.data_ptr()) // _FLOAT_BYTES
        inside = 0 <= start < len(self._block)
        return (start, start + values.numel()) if inside else (0, 0)


Source = Callable[[int, int], Tensor]
"""Gives the rows from the first to before the last one, (1, C, rows, W)."""

Compute = Callable[[Source, int, int, int], Tensor]
"""From a source, its height, and the first and last row of a strip of the result to that strip."""


@dataclass(frozen=True, kw_only=True)
class _Layer:
    """A convolution with all that stands between it and the next one.

    Attributes:
        channels: number of channels of the result.
        widest: number of channels of the result or of what is convolved, whichever is larger.
        scale: factor from the sides of the input to those of the result.
        compute: makes a strip of the result, (1, C, rows, W).
        norm: normalization after it, or None.
        relu: whether a ReLU follows.
    """

    channels: int
    widest: int
    scale: float
    compute: Compute
    norm: nn.Module | None = None
    relu: bool = False


def _apply(layer: _Layer, before: _Map, space: _Space, *, beside: Iterable[_Map]) -> _Map:
    """Compute a layer, and gather what its normalization needs."""
    height, width = (round(side * layer.scale) for side in before.values.shape[:2])
    values = space.take(height, width, layer.channels, beside=beside)
    moments = _Moments(layer.channels)
    for start, stop in _strips(height, width * layer.widest):
        made = layer.compute(before.rows, before.height, start, stop)[0].permute(1, 2, 0)
        values[start:stop] = made
        if _needs_moments(layer.norm):
            moments.add(values[start:stop].flatten(0, 1))
    scale, shift = _affine(layer.norm, moments)
    return _Map(values=values, scale=scale, shift=shift, relu=layer.relu)


def _settled(map_: _Map) -> _Map:
    """Do to the values what is to be done to them."""
    for start, stop in _strips(map_.height, map_.values[0].numel()):
        map_.values[start:stop] = map_.rows(start, stop)[0].permute(1, 2, 0)
    return _Map(values=map_.values)


def _add(sum_: _Map, term: _Map) -> None:
    """Add a layer's result to a map that has nothing to be done."""
    for start, stop in _strips(sum_.height, sum_.values[0].numel()):
        sum_.values[start:stop] += term.rows(start, stop)[0].permute(1, 2, 0)


def _add_noise(sum_: _Map, noise: StrokeNoise) -> None:
    """Add noise to a map that has nothing to be done."""
    width = sum_.values.shape[1]
    for start, stop in _strips(sum_.height, sum_.values[0].numel()):
        sum_.values[start:stop] += noise.rows(start, stop, width)


def _strips(height: int, row_floats: int) -> Iterator[tuple[int, int]]:
    """Yield first and last row of strips that fit into the cache."""
    budget = _STRIP_BYTES * torch.get_num_threads() // (row_floats * _FLOAT_BYTES)
    rows = max(budget // _EVEN_ROWS * _EVEN_ROWS, _LEAST_ROWS)
    for start in range(0, height, rows):
        yield start, min(start + rows, height)


def _colors(coarse: Tensor, start: int, stop: int, factor: int) -> Tensor:
    """Return rows of the colors to add, (3, rows, W)."""

    def source(first: int, last: int) -> Tensor:
        return coarse[:, :, first:last]

    return _enlarged(source, coarse.shape[2], start, stop, factor=factor, mode="bilinear")[0]


def _enlarged(
    source: Source, height: int, start: int, stop: int, *, factor: int, mode: str
) -> Tensor:
    """Return rows of an enlarged map; of the source, one more on each side than they lie in."""
    first, last = max(start // factor - 1, 0), min((stop - 1) // factor + 2, height)
    rows = F.interpolate(source(first, last), scale_factor=factor, mode=mode)
    return rows[:, :, start - first * factor : stop - first * factor]


class _Moments:
    """Means and variances of channels, of which strips are added one by one.

    Those of each strip are computed around its own means and joined in 64 bits (Chan et al. 1979).
    """

    def __init__(self, channels: int) -> None:
        self._count = 0
        self._means = torch.zeros(channels, dtype=torch.float64)
        self._squares = torch.zeros(channels, dtype=torch.float64)

    def add(self, values: Tensor) -> None:
        """Add values, (n, C)."""
        count, rows = len(values), values.t()[None, :, :, None]
        means, variances = torch.batch_norm_update_stats(rows, None, None, 0.0)
        whole, moved = self._count + count, means.double() - self._means
        self._squares += variances.double() * count
        self._squares += moved.square() * (self._count * count / whole)
        self._means += moved * (count / whole)
        self._count = whole

    def result(self, groups: int | None) -> tuple[Tensor, Tensor]:
        """Return means and variances, (C,), over all channels of a group; None: of each alone."""
        groups = len(self._means) if groups is None else groups
        size = len(self._means) // groups
        means = self._means.view(groups, size).mean(dim=1).repeat_interleave(size)
        variances = self._squares / self._count + (self._means - means).square()
        return means, variances.view(groups, size).mean(dim=1).repeat_interleave(size)


def _needs_moments(norm: nn.Module | None) -> bool:
    return isinstance(norm, nn.InstanceNorm2d | nn.GroupNorm)


def _affine(norm: Any, moments: _Moments) -> tuple[Tensor | None, Tensor | None]:
    """Return by which factors and terms a normalization changes the channels, (C,) each."""
    if norm is None:
        return None, None
    if isinstance(norm, nn.BatchNorm2d):
        statistics: Any = norm
        means, variances = statistics.running_mean.double(), statistics.running_var.double()
    else:
        means, variances = moments.result(getattr(norm, "num_groups", None))
    scale = (variances + norm.eps).rsqrt()
    if norm.weight is not None:
        scale = scale * norm.weight.double()
    shift = -means * scale if norm.bias is None else norm.bias.double() - means * scale
    return scale.float(), shift.float()


def _steps(modules: Iterable[nn.Module]) -> list[_Layer | tuple[_Layer, _Layer]]:
    """Group the modules of a generator into layers.

    Raises:
        _UnknownLayerError: it has others than those of our generators.
    """
    steps: list[_Layer | tuple[_Layer, _Layer]] = []
    before = _Before()
    for module in _flat(modules):
        if isinstance(module, nn.ReflectionPad2d | nn.Upsample):
            before = before.and_then(module)
        elif isinstance(module, nn.Conv2d | nn.ConvTranspose2d | ResnetBlock):
            steps.append(_step(module, before))
            before = _Before()
        elif not isinstance(module, nn.Identity | nn.Dropout | nn.Tanh):
            if not steps:
                raise _UnknownLayerError
            steps[-1] = _followed(steps[-1], module)
    return steps


def _step(
    module: nn.Conv2d | nn.ConvTranspose2d | ResnetBlock, before: "_Before"
) -> _Layer | tuple[_Layer, _Layer]:
    if isinstance(module, nn.Conv2d):
        return _convolution(module, before)
    if before != _Before():
        raise _UnknownLayerError
    if isinstance(module, nn.ConvTranspose2d):
        return _transposed(module)
    first, second = _steps(module.conv_block)
    if isinstance(first, tuple) or isinstance(second, tuple):
        raise _UnknownLayerError
    return first, second


def _followed(step: _Layer | tuple[_Layer, _Layer], module: nn.Module) -> _Layer:
    """Return a layer with what follows its convolution."""
    if isinstance(step, tuple) or step.relu:
        raise _UnknownLayerError
    if isinstance(module, nn.ReLU):
        return replace(step, relu=True)
    if step.norm is None and _is_known_norm(module):
        return replace(step, norm=module)
    raise _UnknownLayerError


def _flat(modules: Iterable[nn.Module]) -> Iterator[nn.Module]:
    for module in modules:
        if isinstance(module, nn.Sequential):
            yield from _flat(module)
        else:
            yield module


def _is_known_norm(module: nn.Module) -> bool:
    if isinstance(module, nn.InstanceNorm2d | nn.BatchNorm2d):
        return module.track_running_stats == isinstance(module, nn.BatchNorm2d)
    return isinstance(module, nn.GroupNorm)


@dataclass(frozen=True, kw_only=True)
class _Before:
    """What is done to a map before a convolution: enlarging, then reflecting its borders."""

    factor: int = 1
    mode: str = "nearest"
    pad: int = 0

    def and_then(self, module: nn.ReflectionPad2d | nn.Upsample) -> Self:
        """Return the same with what a module does."""
        if self.pad:
            raise _UnknownLayerError
        if isinstance(module, nn.Upsample):
            if module.scale_factor != 2 or module.align_corners or self.factor > 1:
                raise _UnknownLayerError
            return replace(self, factor=2, mode=module.mode)
        if len(set(module.padding)) > 1:
            raise _UnknownLayerError
        return replace(self, pad=module.padding[0])


def _convolution(layer: nn.Conv2d, before: _Before) -> _Layer:
    """Return the layer of a convolution with what stands before it."""
    if isinstance(layer, ResizeConv2d):
        before = _Before(factor=2, pad=1)
    stride, kernel, zeros = layer.stride[0], layer.kernel_size[0], int(layer.padding[0])
    pad = zeros + before.pad
    if not _is_known_convolution(layer) or (zeros and before.pad) or 2 * pad != kernel - 1:
        raise _UnknownLayerError
    convolve, multiple = convolution_of(layer.weight, layer.bias, stride=stride)
    pad_mode = "constant" if zeros else "reflect"

    def compute(source: Source, height: int, start: int, stop: int) -> Tensor:
        whole = height * before.factor
        first, last = start * stride - pad, (stop - 1) * stride - pad + kernel
        inner = max(first, 0), min(last, whole)
        if before.factor > 1:
            rows = _enlarged(source, height, *inner, factor=before.factor, mode=before.mode)
        else:
            rows = source(*inner)
        rows = F.pad(rows, (pad, pad, inner[0] - first, last - inner[1]), mode=pad_mode)
        if missing := -(stop - start) % multiple:
            rows = F.pad(rows, (0, 0, 0, missing))
        return convolve(rows)[:, :, : stop - start]

    made = _Layer(
        channels=layer.out_channels,
        widest=max(layer.in_channels * stride**2, layer.out_channels),
        scale=before.factor / stride,
        compute=compute,
    )
    if before == _Before(factor=2, mode="bilinear", pad=1):
        return replace(made, compute=_enlarging(layer, compute))
    return made


def _is_known_convolution(layer: nn.Conv2d) -> bool:
    sides = layer.padding, layer.stride, layer.kernel_size
    plain = layer.groups == 1 and tuple(layer.dilation) == (1, 1)
    square = all(len(set(side)) == 1 for side in sides)
    return plain and square and layer.padding_mode == "zeros" and layer.stride[0] in {1, 2}


def _enlarging(layer: nn.Conv2d, exact: Compute) -> Compute:
    """Return what computes a convolution behind bilinear interpolation without enlarging.

    Only at the borders of the picture, where enlarged rows are repeated and then reflected, it is
    computed as the layers say.
    """
    convolve, multiple = enlarging(layer.weight, layer.bias)

    def compute(source: Source, height: int, start: int, stop: int) -> Tensor:
        top, bottom = max(start // 2 - 2, 0), min(stop // 2 + 2, height)
        rows = source(top, bottom)
        first, last = start // 2 - 1, stop // 2 + 1
        inner = rows[:, :, max(first, 0) - top : min(last, height) - top]
        inner = F.pad(inner, (1, 1, max(-first, 0), max(last - height, 0)), mode="replicate")
        if missing := -(last - first - 2) % multiple:
            inner = F.pad(inner, (0, 0, 0, missing))
        made = convolve(inner)[:, :, : stop - start]

        def part(columns: slice) -> Source:
            return lambda above, below: rows[:, :, above - top : below - top, columns]

        made[..., :1] = exact(part(slice(3)), height, start, stop)[..., :1]
        made[..., -1:] = exact(part(slice(-3, None)), height, start, stop)[..., -1:]
        if start == 0:
            made[:, :, :1] = exact(part(slice(None)), height, 0, 2)[:, :, :1]
        if stop == 2 * height:
            made[:, :, -1:] = exact(part(slice(None)), height, stop - 2, stop)[:, :, -1:]
        return made

    return compute


def _transposed(layer: nn.ConvTranspose2d) -> _Layer:
    """Return the layer of the reference's transposed convolution, which doubles the sides."""
    facts = layer.kernel_size, layer.stride, layer.padding, layer.output_padding
    if facts != ((3, 3), (2, 2), (1, 1), (1, 1)) or layer.groups != 1:
        raise _UnknownLayerError
    convolve = transposed(layer)

    def compute(source: Source, height: int, start: int, stop: int) -> Tensor:
        # An odd row of the result lies between two rows of the source, the last one at its border.
        rows = source(start // 2, min(stop // 2 + 1, height))
        return convolve(rows)[:, :, : stop - start]

    widest = max(layer.in_channels, layer.out_channels)
    return _Layer(channels=layer.out_channels, widest=widest, scale=2, compute=compute)
