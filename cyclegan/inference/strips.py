"""A ResNet generator computed in strips of rows on a processor, in as much memory as there is.

Between two normalizations, a convolution needs only a few rows at a time: padding, enlarging and
the activation before it are made for a strip and forgotten, and stay in the processor's cache. What
is kept of a layer are the bare values of its convolution, of which means and variances are gathered
strip by strip; the next layer normalizes them when it reads them. Where memory is short, fewer
layers are kept, and the others are computed again for each of the layers behind them. The results
are those of the network's own layers, up to rounding.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from impasto.cyclegan.blocks import ColorSkip, ResizeConv2d, ResnetBlock, SoftKuwahara, StrokeNoise
from impasto.cyclegan.inference.maps import (
    FLOAT_BYTES,
    GAP_ROWS,
    Affine,
    Computed,
    Map,
    Moments,
    Source,
    Space,
    StoredMap,
    affine_of,
    changed,
    needs_moments,
    row_strips,
    strip_rows,
)
from impasto.cyclegan.inference.row_convolutions import (
    convolution_of,
    enlarging,
    transposed,
)
from impasto.cyclegan.networks import Generator, ResnetGenerator

__all__ = ["ImageMap", "Keep", "Put", "StripGenerator"]

Keep = Literal["all", "inner", "trunk", "none"]
"""Which layers are kept while a picture is translated: all; all but the first and the last ones at
full size, which are computed twice; only what the residual blocks add to, for which their layers
are computed up to three times; or none, for which all statistics have to be known before."""

Put = Callable[[int, Tensor], None]
"""Takes rows of the result: the number of the first one, and the rows, (3, rows, W)."""

# Maps up to this size are kept for the next picture, whose pages need not be taken anew.
_KEPT_FLOATS = 2**26
# Rows of a residual block's sum that are still to be read once the next ones are computed, in
# strips: two, and what convolutions look beyond them.
_BEHIND_STRIPS = 3


class _UnknownLayerError(Exception):
    """A layer that cannot be computed in strips."""


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

    @property
    def needs_passes(self) -> bool:
        """Whether some statistics are of the whole picture, which is so passed more than once."""
        return any(needs_moments(layer.norm) for layer in _flat_steps(self._steps))

    def map_bytes(self, height: int, width: int, *, keep: Keep = "all") -> int:
        """Return the size of the maps that are kept at the same time, for a picture of a size."""
        return self.map_floats(height, width, keep=keep) * FLOAT_BYTES

    def map_floats(self, height: int, width: int, *, keep: Keep = "all") -> int:
        """Return how many values are kept at the same time, for a picture of a size."""
        most = now = gap = 0
        high, wide = float(height), float(width)
        for number, step in enumerate(self._steps):
            if isinstance(step, tuple):
                most = max(most, now + gap + now) if keep in {"all", "inner"} else max(most, now)
                continue
            high, wide = high * step.scale, wide * step.scale
            if self._is_kept(number, keep):
                made = round(high) * round(wide) * step.channels
                most = max(most, now + gap, made + gap)
                now, gap = made, GAP_ROWS * round(wide) * step.channels
        return most

    def strip_bytes(self, width: int, *, keep: Keep = "all") -> int:
        """Return about how much the strips take at the same time that are not kept.

        Args:
            width: width of the picture, in pixels.
            keep: which layers are kept.
        """
        wide, kept, most = float(width), 0, 0
        for number, step in enumerate(self._steps):
            layers = step if isinstance(step, tuple) else (step,)
            for layer in layers:
                wide *= layer.scale
                row = round(wide) * layer.widest
                most = max(most, strip_rows(row) * row)
                if not self._is_kept(number, keep):
                    behind = 3 if isinstance(step, tuple) else 1
                    kept += strip_rows(row) * round(wide) * layer.channels * (2 + behind)
        most = max(most, strip_rows(width * self._last.widest) * width * self._last.widest)
        return (kept + 6 * most) * FLOAT_BYTES

    @torch.inference_mode()
    def __call__(self, images: Tensor) -> Tensor:
        """Translate images, RGB, (N, 3, H, W), float32 in [-1, 1], to the same size and range.

        Args:
            images: H and W are multiples of 4, at least 8; of as many channels as the generator
                takes. The result has as many as it makes.
        """
        result = images.new_empty(len(images), self._last.channels, *images.shape[2:])
        floats = self.map_floats(*images.shape[2:])
        try:
            block = self._kept.pop()
        except IndexError:
            block = torch.empty(0)
        space = Space(floats, block=block)
        del block  # a smaller one goes before this is filled
        for image, place in zip(images, result, strict=True):
            self._into(image, place, space)
        if floats <= _KEPT_FLOATS:
            self._kept[:] = [space.block]
        return result

    def _into(self, image: Tensor, result: Tensor, space: Space) -> None:
        def put(start: int, rows: Tensor) -> None:
            result[:, start : start + rows.shape[1]] = rows

        self.translate(ImageMap(image), put, space=space)

    @torch.inference_mode()
    def translate(
        self,
        image: Map,
        put: Put,
        *,
        space: Space | None = None,
        keep: Keep = "all",
        known: Sequence[Affine] | None = None,
    ) -> list[Affine]:
        """Translate one picture, whose rows are read several times, and give rows of the result.

        Args:
            image: RGB, float32 in [-1, 1]; height and width are multiples of 4, at least 8.
            put: takes the rows of the result, in their order.
            space: room for ``map_floats`` values; not needed where none are kept.
            keep: which layers are kept.
            known: what this returned for another picture, whose statistics are then those of this
                one, too; None: they are gathered.

        Returns:
            Factors and terms of all layers, in their order.
        """
        statistics, noise = _Statistics(known), self._noise
        now: Map = image
        for number, step in enumerate(self._steps):
            if isinstance(step, tuple):
                if noise is not None:
                    now = _noisy(now, noise, now.width * step[1].widest)
                    noise = None
                now = _block(step, now, keep, statistics)
            elif self._is_kept(number, keep):
                assert space is not None  # noqa: S101 - for mypy
                made = _stored(step, now, space, statistics)
                now = _settled(made) if self._before_block(number) else made
            else:
                behind = _BEHIND_STRIPS if self._before_block(number) else 0
                now = _computed(step, now, statistics, behind=behind)
        self._finish(image, now, put)
        return statistics.found

    def _before_block(self, number: int) -> bool:
        return isinstance(next(iter(self._steps[number + 1 :]), None), tuple)

    def _is_kept(self, number: int, keep: Keep) -> bool:
        """Whether a layer, or the sum of a residual block, is kept."""
        if keep == "none":
            return False
        if keep == "all" or self._before_block(number) or isinstance(self._steps[number], tuple):
            return True
        return keep == "inner" and 0 < number < len(self._steps) - 1

    def _finish(self, image: Map, now: Map, put: Put) -> None:
        """Compute the last layer, and what is added to it."""
        last, image = self._last, image.again()
        for start, stop in row_strips(image.height, image.width * last.widest):
            rows = last.compute(now.rows, now.height, start, stop)[0]
            if self._skip is not None:
                rows = rows + _colors(self._skip, image, start, stop)
            if self._base is None:
                rows = torch.tanh(rows)
            else:
                rows = (_in_rows(self._base, image, start, stop) + rows).clamp_(-1, 1)
            put(start, rows)


class ImageMap(Map):
    """A picture that is there, RGB, (3, H, W)."""

    def __init__(self, image: Tensor) -> None:
        self._image = image[None]
        self.channels, self.height, self.width = image.shape

    def rows(self, start: int, stop: int) -> Tensor:
        """Return rows, (1, 3, stop - start, W), with channels last in memory."""
        rows = self._image[:, :, start:stop]
        return rows.contiguous(memory_format=torch.channels_last)


class _Statistics:
    """What the normalizations of all layers do, as it is found or was known before."""

    def __init__(self, known: Sequence[Affine] | None) -> None:
        self.found: list[Affine] = []
        self._known = None if known is None else iter(known)

    def of(self, layer: "_Layer", moments: Moments) -> Affine:
        """Return factors and terms of a layer, of what is known or was gathered."""
        affine = affine_of(layer.norm, moments) if self._known is None else next(self._known)
        self.found.append(affine)
        return affine

    def are_gathered(self, layer: "_Layer") -> bool:
        """Whether moments of this layer are needed."""
        return self._known is None and needs_moments(layer.norm)


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


def _flat_steps(steps: Iterable[_Layer | tuple[_Layer, _Layer]]) -> Iterator[_Layer]:
    for step in steps:
        yield from step if isinstance(step, tuple) else (step,)


def _stored(
    layer: _Layer, before: Map, space: Space, statistics: _Statistics, *, place: int | None = None
) -> StoredMap:
    """Compute a layer, keep its values, and gather what its normalization needs."""
    height, width = round(before.height * layer.scale), round(before.width * layer.scale)
    if place is None:
        place = before.place + before.floats if isinstance(before, StoredMap) else 0
    made = StoredMap(space=space, place=place, height=height, width=width, channels=layer.channels)
    moments, are_gathered = Moments(layer.channels), statistics.are_gathered(layer)
    for start, stop in row_strips(height, width * layer.widest):
        values = layer.compute(before.rows, before.height, start, stop)[0].permute(1, 2, 0)
        values = values.contiguous()
        made.write(start, values)
        if are_gathered:
            moments.add(values.flatten(0, 1))
    return replace(made, affine=statistics.of(layer, moments), relu=layer.relu)


def _computed(layer: _Layer, before: Map, statistics: _Statistics, *, behind: int = 0) -> Computed:
    """Return a layer that is computed when it is read; what its normalization needs, at once."""
    height, width = round(before.height * layer.scale), round(before.width * layer.scale)
    row, moments = width * layer.widest, Moments(layer.channels)
    if statistics.are_gathered(layer):
        for start, stop in row_strips(height, row):
            values = layer.compute(before.rows, before.height, start, stop)[0].permute(1, 2, 0)
            moments.add(values.contiguous().flatten(0, 1))
    affine = statistics.of(layer, moments)

    def make(start: int, stop: int) -> Tensor:
        values = layer.compute(before.rows, before.height, start, stop)[0].permute(1, 2, 0)
        return changed(values, affine, relu=layer.relu).permute(2, 0, 1)[None]

    step = strip_rows(row)
    return Computed(
        make, height=height, width=width, channels=layer.channels, step=step, behind=behind * step
    )


def _settled(map_: StoredMap) -> StoredMap:
    """Do to the values what is to be done to them."""
    for start, stop in row_strips(map_.height, map_.row_floats):
        map_.write(start, map_.rows(start, stop)[0].permute(1, 2, 0))
    return replace(map_, affine=(None, None), relu=False)


def _add(sum_: StoredMap, term: Map, row_floats: int) -> StoredMap:
    """Add a map to one that has nothing to be done."""
    for start, stop in row_strips(sum_.height, row_floats):
        added = term.rows(start, stop)[0].permute(1, 2, 0)
        sum_.write(start, sum_.values(start, stop) + added)
    return sum_


def _sum(one: Map, other: Map, step: int) -> Computed:
    """Return a sum that is computed when it is read, of which the next block is a sum, too."""

    def make(start: int, stop: int) -> Tensor:
        # This one first: the other one reads further rows of it.
        rows = one.rows(start, stop)
        return rows + other.rows(start, stop)

    return Computed(
        make,
        height=one.height,
        width=one.width,
        channels=one.channels,
        step=step,
        behind=_BEHIND_STRIPS * step,
    )


def _block(layers: tuple[_Layer, _Layer], trunk: Map, keep: Keep, statistics: _Statistics) -> Map:
    """Return the sum of a map and what a residual block makes of it."""
    first, second = layers
    row = trunk.width * second.widest
    if isinstance(trunk, StoredMap) and keep != "trunk":
        after, gap = trunk.place + trunk.floats, GAP_ROWS * trunk.row_floats
        inner = _stored(first, trunk, trunk.space, statistics, place=after + gap)
        # It takes the place of what it is computed of, row by row.
        term = _stored(second, inner, trunk.space, statistics, place=after)
        return _add(trunk, term, trunk.row_floats)
    computed = _computed(second, _computed(first, trunk, statistics), statistics)
    if isinstance(trunk, StoredMap):
        # Sums are never read as if they were terms: what is inside is computed a strip ahead.
        return _add(trunk, computed, row)
    return _sum(trunk, computed, strip_rows(row))


def _noisy(map_: Map, noise: StrokeNoise, row_floats: int) -> Map:
    """Add noise to a map."""

    def make(start: int, stop: int) -> Tensor:
        return noise.rows(start, stop, map_.width).permute(2, 0, 1)[None]

    sides = {"height": map_.height, "width": map_.width, "channels": map_.channels}
    added = Computed(make, **sides, step=strip_rows(row_floats))
    if isinstance(map_, StoredMap):
        return _add(map_, added, row_floats)
    return _sum(map_, added, strip_rows(row_floats))


def _in_rows(base: SoftKuwahara, image: Map, start: int, stop: int) -> Tensor:
    """Return some rows of what a base makes of an image, which looks two rows further."""
    above, below = max(0, start - 2), min(image.height, stop + 2)
    smooth: Tensor = base(image.rows(above, below).contiguous())[0]
    return smooth[:, start - above : stop - above]


def _colors(skip: ColorSkip, image: Map, start: int, stop: int) -> Tensor:
    """Return rows of the colors to add, (3, rows, W)."""
    factor = skip.reduction

    def source(first: int, last: int) -> Tensor:
        rows = image.rows(first * factor, last * factor)
        return skip.coarse(rows.contiguous())

    height = image.height // factor
    return _enlarged(source, height, start, stop, factor=factor, mode="bilinear")[0]


def _enlarged(
    source: Source, height: int, start: int, stop: int, *, factor: int, mode: str
) -> Tensor:
    """Return rows of an enlarged map; of the source, one more on each side than they lie in."""
    first, last = max(start // factor - 1, 0), min((stop - 1) // factor + 2, height)
    rows = F.interpolate(source(first, last), scale_factor=factor, mode=mode)
    return rows[:, :, start - first * factor : stop - first * factor]


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
