"""The losses of a picture whose features do not fit into memory: tile by tile, and of the whole.

What a network keeps of a picture for the backward pass is some hundred times as large as it. But
content losses are means over positions, and so are Gram matrices and moments, whose values of a
whole follow from those of its parts. Each evaluation goes through the tiles twice. First it gathers
the moments of the whole; then their losses are known, and the gradients with respect to them. Then
it computes each tile's features anew, and through them what the gradient is at its pixels (the
chain rule through the mean). Losses and gradients are those of the whole picture, up to rounding:
there are no seams, and no tile has to show all of a style. The price is a second forward pass, and
the surroundings of each tile, as far as the network looks.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeGuard

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from impasto.gatys.features.make import FeatureFunction
from impasto.gatys.features.smoothing import LayerFeatures
from impasto.gatys.losses.functional import Moments, content_loss
from impasto.gatys.losses.objective import LossTerm, Objective
from impasto.gatys.losses.statistics import Gaussian, Gram, MeanCovariance
from impasto.gatys.losses.targets import FeatureLoss, LayerLoss
from impasto.gatys.losses.transport import Normal

__all__ = ["Span", "Tile", "TiledNetwork", "TiledObjective", "Tiling", "has_reach", "is_averaged"]

# Gradients of pixels are smaller than what float16 holds, in which a network may compute.
_SCALE = 2.0**10

_Averaged = Gram | Gaussian | MeanCovariance


class _WithReach(Protocol):
    def reach(self, layers: Sequence[str]) -> tuple[int, int]: ...


def has_reach(network: object) -> TypeGuard[_WithReach]:
    """Whether a network says how far it looks; others may look at the whole picture."""
    return hasattr(network, "reach")


def is_averaged(statistic: object) -> TypeGuard[_Averaged]:
    """Whether a statistic of a whole is the average of those of its parts."""
    return isinstance(statistic, _Averaged)


@dataclass(frozen=True, kw_only=True)
class Span:
    """The rows, or the columns, of a tile, in pixels of the picture.

    Attributes:
        start: the first.
        stop: the one after the last.
        first_seen: the first of those that are computed for it.
        end_seen: the one after the last of those.
        is_last: whether it ends where the picture does.
    """

    start: int
    stop: int
    first_seen: int
    end_seen: int
    is_last: bool

    @property
    def seen(self) -> slice:
        """What is computed."""
        return slice(self.first_seen, self.end_seen)

    def inside(self, stride: int) -> slice:
        """Return its positions among those of a layer that are computed for it."""
        start = (self.start - self.first_seen) // stride
        return slice(start, None if self.is_last else start + self.length(stride))

    def placed(self, stride: int) -> slice:
        """Return its positions among those of a layer of the whole picture."""
        start = self.start // stride
        return slice(start, None if self.is_last else start + self.length(stride))

    def length(self, stride: int) -> int:
        """Return the number of its positions in a layer, where it is not the last."""
        return (self.stop - self.start) // stride


@dataclass(frozen=True, kw_only=True)
class Tile:
    """A part of a picture.

    Attributes:
        rows: its rows.
        columns: its columns.
    """

    rows: Span
    columns: Span

    def cut(self, image: Tensor) -> Tensor:
        """Return the part of a picture, (N, C, H, W), with its surroundings, as a view."""
        return image[..., self.rows.seen, self.columns.seen]

    def inside(self, features: Tensor, stride: int) -> Tensor:
        """Return its own part of a layer's features of what :meth:`cut` returns."""
        return features[..., self.rows.inside(stride), self.columns.inside(stride)]

    def placed(self, features: Tensor, stride: int) -> Tensor:
        """Return its part of a layer's features of the whole picture, as a view."""
        return features[..., self.rows.placed(stride), self.columns.placed(stride)]


class Tiling:
    """How a picture is taken apart so that a network sees each part as it sees the whole.

    Args:
        network: network that says how far it looks.
        layers: all layers that are asked for.
        side: longest side of a tile without its surroundings, in pixels; it is rounded up to whole
            steps of the layers' grid.

    Attributes:
        reach: pixels that are computed around a tile, on each side.
        strides: pixels per position of each layer.
    """

    def __init__(self, network: _WithReach, layers: Sequence[str], side: int) -> None:
        if side < 1:
            raise ValueError(f"side: expected at least 1, got {side}")
        reach, self._step = network.reach(layers)
        self.reach = _up(reach, self._step)
        self.strides = {layer: network.reach([layer])[1] for layer in layers}
        self._side = _up(side, self._step)

    def tiles(self, height: int, width: int) -> list[Tile]:
        """Return the tiles of a picture, row by row."""
        columns = list(self._spans(width))
        return [Tile(rows=rows, columns=each) for rows in self._spans(height) for each in columns]

    def _spans(self, size: int) -> Iterator[Span]:
        count = -(-size // self._side)
        side = _up(-(-size // count), self._step)
        starts = list(range(0, size, side))
        if len(starts) > 1 and size - starts[-1] < self._step:
            del starts[-1]  # less than a position: a layer of pooled values has none there
        for start, stop in zip(starts, [*starts[1:], size], strict=True):
            # Where the remainders are equal, all layers pad on the same sides as in the whole.
            end = _up(stop + self.reach, self._step) + size % self._step
            yield Span(
                start=start,
                stop=stop,
                first_seen=max(start - self.reach, 0),
                end_seen=min(end, size),
                is_last=stop == size,
            )


def _up(size: int, step: int) -> int:
    return -(-size // step) * step


class TiledNetwork:
    """Gives the features of a whole picture, computed tile by tile, without gradients.

    Each layer is computed when it is asked for, each time, so that no two need be in memory.

    Args:
        network: feature network that the tiling is of.
        tiling: how pictures are taken apart.
    """

    def __init__(self, network: FeatureFunction, tiling: Tiling) -> None:
        self._network, self._tiling = network, tiling

    def __call__(self, image: Tensor, layers: Sequence[str]) -> Mapping[str, Tensor]:
        """Return the requested layers of a picture, RGB, (1, 3, H, W), in [0, 1]."""
        return _TiledFeatures(self._network, self._tiling, image.detach(), tuple(layers))


class _TiledFeatures(Mapping[str, Tensor]):
    """The features of a picture, each computed when it is asked for."""

    def __init__(
        self, network: FeatureFunction, tiling: Tiling, image: Tensor, layers: tuple[str, ...]
    ) -> None:
        self._network, self._tiling, self._image, self._layers = network, tiling, image, layers

    @torch.no_grad()
    def __getitem__(self, layer: str) -> Tensor:
        if layer not in self._layers:
            raise KeyError(layer)
        stride, found = self._tiling.strides[layer], None
        # The last tile comes first: it tells how large the whole is.
        for tile in reversed(self._tiling.tiles(*self._image.shape[-2:])):
            features = self._network(tile.cut(self._image), [layer])
            own = tile.inside(features[layer], stride)
            if found is None:
                height = tile.rows.start // stride + own.shape[-2]
                width = tile.columns.start // stride + own.shape[-1]
                found = own.new_empty((*own.shape[:2], height, width))
            tile.placed(found, stride).copy_(own)
        assert found is not None  # noqa: S101 - there is at least one tile
        return found

    def __contains__(self, layer: object) -> bool:
        return layer in self._layers

    def __iter__(self) -> Iterator[str]:
        return iter(self._layers)

    def __len__(self) -> int:
        return len(self._layers)


class TiledObjective(Objective):
    """The weighted losses of a picture, as those of an :class:`Objective`, tile by tile.

    Losses of pixels alone are computed of the whole picture at once. All others add their gradients
    to the first of them, so that only the sum of all can be differentiated.

    Args:
        network: feature network that the tiling is of.
        terms: terms by name; those that need layers are losses of contents, and of statistics that
            are averages over positions.
        tiling: how pictures are taken apart.

    Raises:
        TypeError: a term that needs layers is no loss of features.
        ValueError: as :class:`Objective`, or a term cannot be computed from tiles.
    """

    def __init__(
        self, network: FeatureFunction, terms: Mapping[str, LossTerm], tiling: Tiling
    ) -> None:
        super().__init__(network, terms)
        self._tiling = tiling
        self._parts = [
            (name, part)
            for name, term in self._evaluated
            if term.layers
            for part in _parts_of(name, term)
        ]
        # Positions of each part in each tile, of pictures of the last size.
        self._size, self._amounts = (0, 0), [[0.0]]

    def __call__(self, image: Tensor) -> dict[str, Tensor]:
        """Evaluate a picture; terms with a weight of 0 are reported as 0.

        Args:
            image: picture, RGB, (1, 3, H, W), floating point, in [0, 1] or near it.
        """
        if image.ndim != 4 or image.shape[:2] != (1, 3):
            raise ValueError(f"image: expected (1, 3, H, W), got {tuple(image.shape)}")
        losses = {name: image.new_zeros(()) for name in self.terms}
        for name, term in self._evaluated:
            if not term.layers:
                losses[name] = term(image, LayerFeatures({}))
        if not self._parts:
            return losses
        tiles = self._tiling.tiles(*image.shape[-2:])
        wholes = self._gather(image, tiles)
        for (name, _), whole in zip(self._parts, wholes, strict=True):
            losses[name] = losses[name] + whole.loss
        if torch.is_grad_enabled():
            first, gradient = self._parts[0][0], self._gradient(image, tiles, wholes)
            losses[first] = losses[first] + _KnownGradient.apply(image, gradient)
        return losses

    @torch.no_grad()
    def _gather(self, image: Tensor, tiles: Sequence[Tile]) -> list["_Whole"]:
        """Return the losses of all parts of the whole picture."""
        if self._size != image.shape[-2:]:
            self._size = (image.shape[-2], image.shape[-1])
            self._amounts = [self._count(tile, self._own(tile, image)) for tile in tiles]
        sums: list[list[Tensor]] = [[] for _ in self._parts]
        for tile, shares in zip(tiles, self._shares(), strict=True):
            own = self._own(tile, image)
            for (_, part), share, summed in zip(self._parts, shares, sums, strict=True):
                if share:
                    shared = [share * value for value in self._measure(part, tile, own)]
                    summed[:] = (
                        [a + b for a, b in zip(summed, shared, strict=True)] if summed else shared
                    )
        return [_whole(part, summed) for (_, part), summed in zip(self._parts, sums, strict=True)]

    def _gradient(self, image: Tensor, tiles: Sequence[Tile], wholes: Sequence["_Whole"]) -> Tensor:
        """Return the gradient of the sum of all parts, (1, 3, H, W)."""
        gradient = torch.zeros_like(image)
        for tile, shares in zip(tiles, self._shares(), strict=True):
            seen = tile.cut(image.detach()).requires_grad_()
            own, total = self._own_of(tile, seen), seen.new_zeros(())
            for (_, part), share, whole in zip(self._parts, shares, wholes, strict=True):
                if share:
                    for value, slope in zip(
                        self._measure(part, tile, own), whole.slopes, strict=True
                    ):
                        total = total + share * (value * slope).sum()
            if total.requires_grad:  # some part looks at this tile
                (found,) = torch.autograd.grad(total * _SCALE, seen)
                tile.cut(gradient).add_(found, alpha=1 / _SCALE)
        return gradient

    def _own(self, tile: Tile, image: Tensor) -> LayerFeatures:
        return self._own_of(tile, tile.cut(image))

    def _own_of(self, tile: Tile, seen: Tensor) -> LayerFeatures:
        """Return a tile's own features, of the tile with its surroundings."""
        strides = self._tiling.strides
        features = self._network(seen, self.layers)
        return LayerFeatures(
            {layer: tile.inside(features[layer], strides[layer]) for layer in self.layers}
        )

    def _count(self, tile: Tile, own: LayerFeatures) -> list[float]:
        """Return the number of positions of a tile that each part looks at."""
        counts = []
        for _, part in self._parts:
            mask = self._mask(part, tile)
            counts.append(float(own[part.layer][0, 0].numel() if mask is None else mask.sum()))
        return counts

    def _shares(self) -> list[list[float]]:
        """Return the share of each tile in each part."""
        totals = [sum(each) for each in zip(*self._amounts, strict=True)]
        return [
            [amount / total for amount, total in zip(each, totals, strict=True)]
            for each in self._amounts
        ]

    def _mask(self, part: LayerLoss, tile: Tile) -> Tensor | None:
        if part.mask is None:
            return None
        return tile.placed(part.mask, self._tiling.strides[part.layer])

    def _measure(self, part: LayerLoss, tile: Tile, own: LayerFeatures) -> Sequence[Tensor]:
        """Return what is averaged over all tiles: the content's loss, or tensors of a statistic."""
        features = own.smoothed(part.layer, part.smoothing)
        if part.statistic is None:
            target = tile.placed(part.target, self._tiling.strides[part.layer])
            return (content_loss(features, target),)
        return _tensors_of(part.statistic.measure(features, self._mask(part, tile)))


@dataclass(frozen=True, kw_only=True)
class _Whole:
    """One part of the losses of a whole picture.

    Attributes:
        loss: its weighted value, a scalar.
        slopes: its gradients with respect to the averages that it is computed from.
    """

    loss: Tensor
    slopes: Sequence[Tensor]


def _whole(part: LayerLoss, averages: Sequence[Tensor]) -> _Whole:
    """Return a loss from the averages over all tiles."""
    with torch.enable_grad():
        leaves = [each.detach().requires_grad_() for each in averages]
        if part.statistic is None:
            loss = part.weight * leaves[0]
        else:
            assert is_averaged(part.statistic)  # noqa: S101 - see _parts_of
            measured = _from_tensors(part.target, leaves)
            loss = part.weight * part.statistic.compare(measured, part.target)
        slopes = torch.autograd.grad(loss, leaves)
    return _Whole(loss=loss.detach(), slopes=slopes)


def _parts_of(name: str, term: LossTerm) -> Sequence[LayerLoss]:
    """Return the parts of a term, which are to be averages over positions."""
    if not isinstance(term, FeatureLoss):
        raise TypeError(f"{name}: expected a loss of features, got {type(term).__name__}")
    for part in term.parts:
        if not (part.statistic is None or is_averaged(part.statistic)):
            raise ValueError(f"{name}: {type(part.statistic).__name__} is no average of its parts")
        if part.smoothing.kind == "softmax":
            raise ValueError(f"{name}: a softmax is of the whole picture")
    return term.parts


def _tensors_of(measured: Any) -> tuple[Tensor, ...]:
    """Return the tensors of a measurement, which are averages over positions."""
    found = measured.moments if isinstance(measured, Normal) else measured
    return (found.mean, found.second) if isinstance(found, Moments) else (found,)


def _from_tensors(like: Any, tensors: Sequence[Tensor]) -> Any:
    """Return the measurement that :func:`_tensors_of` takes apart."""
    if isinstance(like, Normal):
        return replace(like, moments=_from_tensors(like.moments, tensors))
    if isinstance(like, Moments):
        return Moments(mean=tensors[0], second=tensors[1])
    return tensors[0]


class _KnownGradient(torch.autograd.Function):
    """Zero, with a gradient that is known."""

    @staticmethod
    def forward(ctx: Any, image: Tensor, gradient: Tensor) -> Tensor:
        """Return 0, whose gradient with respect to ``image`` is to be ``gradient``."""
        ctx.save_for_backward(gradient)
        return image.new_zeros(())

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, factor: Tensor) -> tuple[Tensor, None]:
        """Return the gradient times that of the sum."""
        (gradient,) = ctx.saved_tensors
        return factor * gradient, None
