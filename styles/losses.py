"""The losses of fast styles: those of stylize with its recipe lite, for a batch of many styles.

Each picture of a batch is compared with its own photograph and with the painting of its own style;
each loss is a mean over the pictures. Everything about the paintings is measured once. No step
waits for a GPU: what is drawn decides which part of a tensor is looked at, never its contents.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from impasto.gatys.features.make import FeatureFunction
from impasto.gatys.features.smoothing import full_precision
from impasto.gatys.losses.functional import chroma_variation, moments, without_autocast
from impasto.gatys.losses.transport import quantiles_of, sorted_rows

__all__ = ["LossWeights", "StyleObjective"]

# As gatys.losses.statistics.MeanCovariance has it: least size of a covariance relative to that of
# the squared means; and half of a sum of two distances, each 1 from features that are all 0.
_LEAST_COVARIANCE, _ENERGY = 1e-2, 2.0
_LEAST = 1e-12
# Of the content's features: a plain gray crop has next to no variance to be relative to.
_LEAST_VARIANCE = 1e-3
_LEAST_CHROMA = 1e-4
_PATCH_PX = 5
# Filters of the patches, and how many of them a step looks along.
_STOCK, _AT_ONCE = 64, 8
# Pictures are looked at through a window that moves by less than this, so that no pattern can hide
# between the pixels that the network's strides see.
_WINDOW_PX = 8


@dataclass(frozen=True, kw_only=True)
class LossWeights:
    """The weights of the losses, as `impasto stylize` has them.

    Attributes:
        content: weight of the content loss.
        style: weight of the style loss.
        variation: weight of the total variation.
        patches: weight of the patches' distance.
        chroma: weight of the total variation of the colors relative to the style's.
    """

    content: float
    style: float
    variation: float
    patches: float
    chroma: float


class StyleObjective:
    """The weighted losses of a batch of pictures, each in one of several styles.

    Args:
        network: feature network that has all layers, on the device of the paintings.
        paintings: the styles, each RGB, (1, 3, H, W), in [0, 1].
        content_layers: weight of each layer of the content loss.
        style_layers: weight of each layer of the style loss.
        weights: weights of the losses.
        size: side of the square pictures, in pixels.
        generator: random generator of windows and filters, on the CPU.
    """

    def __init__(
        self,
        network: FeatureFunction,
        paintings: Sequence[Tensor],
        *,
        content_layers: Mapping[str, float],
        style_layers: Mapping[str, float],
        weights: LossWeights,
        size: int,
        generator: torch.Generator,
    ) -> None:
        self._network, self._weights, self._generator = network, weights, generator
        self._content, self._style = dict(content_layers), dict(style_layers)
        self._size = size - _WINDOW_PX
        drawn = torch.randn(_STOCK, 3, _PATCH_PX, _PATCH_PX, generator=generator)
        norms = drawn.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
        self._filters = (drawn / norms).to(paintings[0].device)
        self._measure(paintings)

    @torch.no_grad()
    def _measure(self, paintings: Sequence[Tensor]) -> None:
        layers = tuple(dict.fromkeys([*self._style, *self._content]))
        seen = [self._network(painting, layers) for painting in paintings]
        self._means: dict[str, Tensor] = {}
        self._covariances: dict[str, Tensor] = {}
        self._sizes: dict[str, tuple[Tensor, Tensor]] = {}
        for layer in self._style:
            found = [moments(features[layer]) for features in seen]
            mean = torch.cat([each.mean for each in found])
            covariance = torch.cat([each.covariance for each in found])
            self._means[layer], self._covariances[layer] = mean, covariance
            squares = mean.square().sum(1)
            spread = covariance.square().sum((1, 2)).maximum((_LEAST_COVARIANCE * squares).square())
            self._sizes[layer] = squares.clamp_min(_LEAST), spread.clamp_min(_LEAST)
        self._variances = {
            layer: torch.cat([_variance(features[layer]) for features in seen])
            for layer in self._content
        }
        # As many quantiles as a picture has values, so that ranks meet ranks.
        count = len(range(0, self._size - _PATCH_PX, 2)) ** 2
        every = [quantiles_of(self._projected(each, self._filters, 1), count) for each in paintings]
        self._quantiles = torch.cat(every)
        self._patch_sizes = self._quantiles.abs().mean((1, 2))
        chroma = torch.stack([chroma_variation(each) for each in paintings])
        self._chromas = chroma.clamp_min(_LEAST_CHROMA)

    def __call__(self, made: Tensor, photographs: Tensor, styles: Tensor) -> dict[str, Tensor]:
        """Return the weighted losses by name, scalars, for pictures that were just made.

        Args:
            made: RGB, (N, 3, S, S), in [-1, 1].
            photographs: what they were made of, of the same shape and range.
            styles: number of the style of each, (N,), int64, on the device.
        """
        down, right = torch.randint(_WINDOW_PX, (2,), generator=self._generator).tolist()
        window = (..., slice(down, down + self._size), slice(right, right + self._size))
        image, photograph = ((each[window].float() + 1) / 2 for each in (made, photographs))
        features = self._network(image, tuple(dict.fromkeys([*self._style, *self._content])))
        with torch.no_grad():
            targets = self._network(photograph, tuple(self._content))
        weights = self._weights
        losses = {
            "content": weights.content * self.content(features, targets, styles).mean(),
            "style": weights.style * self.style(features, styles).mean(),
            "variation": weights.variation * _variation(image).mean(),
        }
        if weights.patches:
            losses["patches"] = weights.patches * self.patches(image, styles).mean()
        if weights.chroma:
            chroma = _variation(image - image.mean(dim=1, keepdim=True))
            relative = chroma / self._chromas.index_select(0, styles)
            losses["chroma"] = weights.chroma * relative.mean()
        return losses

    def content(
        self, features: Mapping[str, Tensor], targets: Mapping[str, Tensor], styles: Tensor
    ) -> Tensor:
        """Return the content loss of each picture, (N,), relative to the target's variance."""
        total = styles.new_zeros(len(styles), dtype=torch.float32)
        for layer, share in self._content.items():
            apart = full_precision(features[layer]) - full_precision(targets[layer])
            rival = self._variances[layer].index_select(0, styles)
            size = _variance(targets[layer]).maximum(_LEAST_VARIANCE * rival)
            total = total + share * apart.square().mean((1, 2, 3)) / size.clamp_min(_LEAST)
        return total

    def style(self, features: Mapping[str, Tensor], styles: Tensor) -> Tensor:
        """Return the style loss of each picture, (N,): 1 for features that are all 0.

        Means and covariances as :class:`~impasto.gatys.losses.statistics.MeanCovariance`, of each
        picture by itself.

        Args:
            features: features by layer, (N, C, h, w).
            styles: number of the style of each, (N,).
        """
        total = styles.new_zeros(len(styles), dtype=torch.float32)
        for layer, share in self._style.items():
            found = moments(features[layer])
            means, spreads = self._sizes[layer]
            far = (found.mean - self._means[layer].index_select(0, styles)).square().sum(1)
            wide = found.covariance - self._covariances[layer].index_select(0, styles)
            apart = far / means.index_select(0, styles)
            apart = apart + wide.square().sum((1, 2)) / spreads.index_select(0, styles)
            total = total + share * apart / _ENERGY
        return total

    def patches(self, image: Tensor, styles: Tensor) -> Tensor:
        """Return how far the patches of each picture are from those of its style, (N,).

        As :class:`~impasto.gatys.losses.statistics.Patches`, along some filters, at every second
        pixel in each direction.

        Args:
            image: RGB, (N, 3, S, S), in [0, 1], of the size of the windows.
            styles: number of the style of each, (N,).
        """
        first = _AT_ONCE * int(torch.randint(_STOCK // _AT_ONCE, (), generator=self._generator))
        down, right = torch.randint(2, (2,), generator=self._generator).tolist()
        side = self._size - 1
        shifted = image[..., down : down + side, right : right + side]
        values = self._projected(shifted, self._filters[first : first + _AT_ONCE], 2)
        wanted = self._quantiles[:, first : first + _AT_ONCE].index_select(0, styles)
        apart = (sorted_rows(values)[0] - wanted).abs().mean((1, 2))
        return apart / self._patch_sizes.index_select(0, styles)

    def _projected(self, image: Tensor, filters: Tensor, stride: int) -> Tensor:
        """Return a number for each filter and position, (N, D, M)."""
        with without_autocast(image):
            return F.conv2d(full_precision(image), filters, stride=stride).flatten(2)

    def state_dict(self) -> dict[str, Tensor]:
        """Return the state of the random generator."""
        return {"generator": self._generator.get_state()}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Continue from a saved state."""
        self._generator.set_state(state["generator"].cpu())


def _variance(features: Tensor) -> Tensor:
    """Return the variance of each channel over positions, averaged over channels, (N,)."""
    return full_precision(features).var(dim=(2, 3), correction=0).mean(1)


def _variation(image: Tensor) -> Tensor:
    """Return the squared total variation of each picture, (N,)."""
    down = image[..., 1:, :] - image[..., :-1, :]
    right = image[..., :, 1:] - image[..., :, :-1]
    return down.square().mean((1, 2, 3)) + right.square().mean((1, 2, 3))
