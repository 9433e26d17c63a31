"""Preparing features for comparison: full precision, and smoothing.

The features of networks with residual connections have few, high peaks, and a squared loss then
fits only the peaks. Smoothing (SWAG: Wang, Li and Vasconcelos 2021) lowers them, in the picture's
and in the targets' features alike.
"""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self, get_args

import torch
from torch import Tensor

__all__ = [
    "NO_SMOOTHING",
    "LayerFeatures",
    "Smoothing",
    "SmoothingKind",
    "full_precision",
    "precise_dtype",
    "smooth",
    "smoothing_of_layers",
]


SmoothingKind = Literal["none", "softmax", "scale"]
"""What is done to features; see :class:`Smoothing`."""


def precise_dtype(dtype: torch.dtype) -> torch.dtype:
    """Return float32 for a 16-bit type, and other types unchanged."""
    return torch.float32 if dtype in {torch.float16, torch.bfloat16} else dtype


def full_precision(values: Tensor) -> Tensor:
    """Return half-precision values in float32, and others unchanged."""
    return values.to(precise_dtype(values.dtype))


@dataclass(frozen=True, kw_only=True)
class Smoothing:
    """The smoothing of a layer's features.

    Attributes:
        kind: ``none``; ``softmax``, over all channels and positions of a picture (the paper);
            ``scale``, multiplication by a factor (as the authors' program does, with 0.001 in the
            third and fourth stage of a ResNet).
        amount: the temperature of the softmax, or the factor; more than 0.
    """

    kind: SmoothingKind = "none"
    amount: float = 1.0

    def __post_init__(self) -> None:
        if self.kind not in get_args(SmoothingKind):
            raise ValueError(f"kind: expected one of {get_args(SmoothingKind)}, got {self.kind!r}")
        if not (0 < self.amount < math.inf):
            raise ValueError(f"amount: expected more than 0, got {self.amount}")

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``none``, ``softmax``, ``softmax(T)`` or ``scale(a)``.

        Raises:
            ValueError: the text is none of these.

        Example:
            >>> Smoothing.parse("softmax(2)")
            Smoothing(kind='softmax', amount=2.0)
        """
        expected = f"expected none, softmax, softmax(T) or scale(a), got {text!r}"
        match = re.fullmatch(r"\s*(?:(none)|(softmax|scale)\(([^()]+)\)|(softmax))\s*", text)
        if match is None:
            raise ValueError(expected)
        kind: Any = match[1] or match[2] or match[4]
        try:
            return cls(kind=kind, amount=float(match[3] or 1))
        except ValueError as error:
            raise ValueError(expected) from error

    def __str__(self) -> str:
        return self.kind if self.kind == "none" else f"{self.kind}({self.amount:g})"


NO_SMOOTHING = Smoothing()
"""Leaves features as they are."""


def smooth(features: Tensor, smoothing: Smoothing) -> Tensor:
    """Return smoothed features, (N, C, H, W).

    Departure: the softmax is multiplied by the number of its values C H W, so that its mean is 1.
    The paper's own is about 1e-6, and the authors need a style weight of 1e17; and the Gram matrix
    of pictures of two sizes could not be compared. For pictures of one size this multiplies the
    content loss by (C H W)^2 and the style loss by (C H W)^4, constants.

    Args:
        features: features of a layer, (N, C, H, W).
        smoothing: kind and amount of the smoothing.

    Returns:
        Features of the same shape; float32 or better from ``softmax``.
    """
    if smoothing.kind == "none":
        return features
    if smoothing.kind == "scale":
        return features * smoothing.amount
    flat = full_precision(features).flatten(1) / smoothing.amount
    return (flat.softmax(dim=1) * flat.shape[1]).view_as(features)


class LayerFeatures(Mapping[str, Tensor]):
    """The features of a picture by layer, smoothed once for all losses that need it.

    Args:
        features: features, (N, C, H, W), by the names of layers.
    """

    def __init__(self, features: Mapping[str, Tensor]) -> None:
        self._features = features
        self._smoothed: dict[tuple[str, Smoothing], Tensor] = {}

    def __getitem__(self, layer: str) -> Tensor:
        return self._features[layer]

    def __iter__(self) -> Iterator[str]:
        return iter(self._features)

    def __len__(self) -> int:
        return len(self._features)

    def smoothed(self, layer: str, smoothing: Smoothing) -> Tensor:
        """Return the smoothed features of a layer."""
        key = layer, smoothing
        if key not in self._smoothed:
            self._smoothed[key] = smooth(self._features[layer], smoothing)
        return self._smoothed[key]


def smoothing_of_layers(
    smoothing: Smoothing | Mapping[str, Smoothing], layers: Sequence[str]
) -> dict[str, Smoothing]:
    """Return the smoothing of each layer; layers that a mapping leaves out are not smoothed.

    Raises:
        ValueError: the mapping names a layer that is not among ``layers``.
    """
    if isinstance(smoothing, Smoothing):
        return dict.fromkeys(layers, smoothing)
    unknown = sorted(set(smoothing) - set(layers))
    if unknown:
        raise ValueError(
            f"smoothing: expected layers among {', '.join(layers)}, got {', '.join(unknown)}"
        )
    return {layer: smoothing.get(layer, NO_SMOOTHING) for layer in layers}
