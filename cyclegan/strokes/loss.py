"""The stroke loss: a kernel distance between the crops of translations and those of paintings.

:class:`~impasto.cyclegan.painting.StyleLoss` brings each translation near to one painting, or to
the mean of all of them. Neither says that translations should differ among one another as paintings
do. The maximum mean discrepancy does (Gretton et al. 2012; Li et al. 2017, MMD GAN): with the
kernel of Binkowski et al. 2018 it is zero only where means, covariances and third moments of what
describes the crops agree.
"""

import math
from collections.abc import Iterable, Mapping
from functools import partial
from itertools import islice
from typing import Any

import torch
from torch import Tensor

from impasto.cyclegan.painting import FrozenFeatures
from impasto.cyclegan.terms import LossTerm, Translations
from impasto.data.datasets import UnpairedBatch
from impasto.options.errors import CheckpointError
from impasto.options.networks import Direction
from impasto.runs.capture import on_device

__all__ = [
    "StrokeLoss",
    "StrokeTerm",
    "count_pictures",
    "cut_crops",
    "describe_strokes",
    "kernel_mean",
]

_LAYERS = tuple(f"block{block}.expand" for block in (1, 3, 5, 7))
_CROP_PX = 128
# Crops of earlier translations that the newest ones are told from.
_KNOWN = 32
# A distance of 1 is what two samples of so many crops of paintings have from one another, expected.
_SAMPLE = 100
_LEAST_FLOOR = 1e-6
# The variance of an even map has no square root with a gradient.
_LEAST_VARIANCE = 1e-8
# Pictures whose features are computed at a time.
_AT_ONCE = 16
# Real pictures that are shown, unless so many crops are enough.
_SHOWN_PICTURES, _ENOUGH_CROPS = 1000, 4000
# Crops that are compared with all others at a time, so that memory does not grow with the square.
_ROWS = 1000


def kernel_mean(x: Tensor, y: Tensor) -> Tensor:
    """Return the mean of the kernel (x.y / D + 1)^3 over all pairs, a scalar.

    Args:
        x: vectors, (N, D).
        y: vectors, (M, D).
    """
    values: Tensor = (x @ y.T / x.shape[1] + 1) ** 3
    return values.mean()


def describe_strokes(features: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return means and standard deviations of each channel over the positions of each crop.

    Args:
        features: maps (N, C, h, w), float32, by layer.

    Returns:
        (N, 2 C) by layer: the means, then the standard deviations.
    """
    described = {}
    for layer, values in features.items():
        flat = values.flatten(2)
        spread = (flat.var(2, correction=0) + _LEAST_VARIANCE).sqrt()
        described[layer] = torch.cat([flat.mean(2), spread], dim=1)
    return described


def cut_crops(images: Tensor, down: Tensor, right: Tensor) -> Tensor:
    """Cut pictures into square crops of 128 px that do not overlap.

    Args:
        images: (N, C, H, W); those with a shorter side below 128 px have crops of that side.
        down: share of the rows left over that lie above the crops, a scalar in [0, 1).
        right: likewise, of the columns.

    Returns:
        (N crops, C, S, S), as many as fit, those of a picture one after another.
    """
    side = min(_CROP_PX, *images.shape[2:])
    counts = []
    for axis, share in ((2, down), (3, right)):
        count = images.shape[axis] // side
        first = (share * (images.shape[axis] - count * side + 1)).floor().long()
        places = torch.arange(count * side, device=images.device) + first
        images = images.index_select(axis, places)
        counts.append(count)
    shape = (len(images), images.shape[1], counts[0], side, counts[1], side)
    return images.reshape(shape).permute(0, 2, 4, 1, 3, 5).flatten(0, 2)


def count_pictures(side: int) -> int:
    """Return of how many real pictures crops are to be shown: 1,000, and fewer of many crops each.

    Args:
        side: their height and width, pixels.
    """
    return min(_SHOWN_PICTURES, math.ceil(_ENOUGH_CROPS / max(1, side // _CROP_PX) ** 2))


class StrokeLoss:
    """Squared maximum mean discrepancy of crops of translations and of real pictures.

    A crop is what :func:`describe_strokes` says of it, in each layer. Of the newest crops x, the
    last 32 crops o before them (of this process, where there are several) and the crops y of real
    pictures that were shown at the start, the distance is

        mean k(x, o) + mean k(y, y') - 2 mean k(x, y),

    without bias for a generator that stands still, and its gradient that of the distance between
    all that the generator makes and the real pictures: x is one of the two crops in k(x, o) as
    often as o. Distances are divided by what two samples of 100 crops of real pictures are expected
    to have, their floor, so that layers weigh alike; the mean over the layers is returned.

    Args:
        features: frozen features; the expansions of the blocks 1, 3, 5 and 7 of the installed
            EfficientNet-Lite0 unless given.
        generator: random generator of the places of crops, on the CPU.
    """

    def __init__(
        self, features: FrozenFeatures | None = None, *, generator: torch.Generator
    ) -> None:
        self._features = FrozenFeatures(_LAYERS) if features is None else features
        self._generator = generator
        self._real: dict[str, Tensor] = {}
        self._within: dict[str, Tensor] = {}  # mean k(y, y')
        self._floor: dict[str, Tensor] = {}
        self._made: dict[str, Tensor] = {}

    @torch.no_grad()
    def show(self, pictures: Iterable[Tensor], *, device: torch.device) -> None:
        """Describe the crops of real pictures, which translations are compared with from then on.

        Args:
            pictures: real pictures of the domain, each RGB, (3, H, W), in [-1, 1]; of one size, at
                least two of them, of which a few at a time are in memory.
            device: device of the training.
        """
        left, group = iter(pictures), []
        while some := list(islice(left, _AT_ONCE)):
            group.append(self._describe(torch.stack(some).to(device)))
        self._take({name: torch.cat([each[name] for each in group]) for name in group[0]})

    def __call__(self, made: Tensor) -> Tensor:
        """Return the distance, a scalar, and remember the crops; of the very first, 0.

        Args:
            made: translations, RGB, (N, 3, H, W), in [-1, 1], for which the loss has gradients.

        Raises:
            ValueError: no real pictures were shown.
        """
        if not self._real:
            raise ValueError("show real pictures before the first translation")
        described = self._describe(made)
        distances = [self._distance(name, crops) for name, crops in described.items()]
        for name, crops in described.items():
            known = torch.cat([crops.detach(), self._made.get(name, crops[:0].detach())])[:_KNOWN]
            old = self._made.get(name)
            # In place, where a captured step looks for it, once as much is known as ever will be.
            fits = old is not None and old.shape == known.shape
            self._made[name] = old.copy_(known) if old is not None and fits else known.clone()
        return torch.stack(distances).mean()

    @property
    def settled(self) -> bool:
        """Whether each further call does the same work; so for batches of one size."""
        return bool(self._made) and all(len(crops) == _KNOWN for crops in self._made.values())

    def state_dict(self) -> dict[str, Any]:
        """Return the crops of both kinds, on the CPU, and the state of the random generator."""
        kinds = {"made": self._made, "real": self._real}
        # Copies, since the next steps write to this memory.
        return {
            kind: {name: crops.to("cpu", copy=True) for name, crops in described.items()}
            for kind, described in kinds.items()
        } | {"generator": self._generator.get_state()}

    def load_state_dict(self, state: Mapping[str, Any], *, device: torch.device) -> None:
        """Continue from a saved state.

        Raises:
            CheckpointError: it is of other layers.
        """
        if set(state["real"]) != set(self._features.layers):
            raise CheckpointError(
                f"the stroke loss compares {', '.join(self._features.layers)}; the state is of "
                f"{', '.join(state['real'])}"
            )
        self._take({name: crops.to(device, copy=True) for name, crops in state["real"].items()})
        self._made = {name: crops.to(device, copy=True) for name, crops in state["made"].items()}
        self._generator.set_state(state["generator"].cpu())

    def _distance(self, name: str, crops: Tensor) -> Tensor:
        known = self._made.get(name)
        if known is None:
            return crops.sum() * 0
        with torch.autocast(crops.device.type, enabled=False):
            # A copy, which the gradient needs after what is known was written over.
            own = kernel_mean(crops, known.clone())
            across = kernel_mean(crops, self._real[name])
            apart = own + self._within[name] - 2 * across
            # Each of two crops of k(x, o) moves with the generator; o does not, as it is here.
            both = own - own.detach()
            return (apart + both) / self._floor[name]

    def _take(self, real: dict[str, Tensor]) -> None:
        """Store crops of real pictures, and what is always the same about them."""
        self._real = real
        for name, crops in real.items():
            exact, count = crops.double(), len(crops)
            itself = ((exact.square().sum(1) / exact.shape[1] + 1) ** 3).mean()
            some = (exact[first : first + _ROWS] for first in range(0, count, _ROWS))
            sums = [kernel_mean(rows, exact) * len(rows) for rows in some]
            apart = (torch.stack(sums).sum() - itself) / (count - 1)
            floor = (2 / _SAMPLE * (itself - apart)).clamp_min(_LEAST_FLOOR)
            self._within[name], self._floor[name] = apart.float(), floor.float()

    def _describe(self, images: Tensor) -> dict[str, Tensor]:
        down, right = on_device(partial(torch.rand, 2, generator=self._generator), images.device)
        return describe_strokes(self._features(cut_crops(images, down, right)))


class StrokeTerm(LossTerm):
    """The stroke loss of the translations of one direction.

    Args:
        name: name of the term in the log.
        direction: direction whose translations are compared with their target domain.
        strokes: stroke loss, which remembers crops.
        weight: factor of the term in the objective.
    """

    capturable = True

    def __init__(
        self, name: str, direction: Direction, *, strokes: StrokeLoss, weight: float = 1.0
    ) -> None:
        super().__init__(name, weight=weight)
        self.state_key = "strokes"
        self.direction: Direction = direction
        self.strokes = strokes

    def __call__(self, batch: UnpairedBatch, made: Translations) -> Tensor:
        """Return the distance for one batch."""
        return self.strokes(made.of(self.direction, batch).fake)

    @property
    def settled(self) -> bool:
        """Whether the loss remembers as much as it ever will."""
        return self.strokes.settled

    def state_dict(self) -> Mapping[str, Any]:
        """Return the state of the loss."""
        return self.strokes.state_dict()

    def load_state_dict(self, state: Mapping[str, Any], *, device: torch.device) -> None:
        """Continue from a saved state."""
        self.strokes.load_state_dict(state, device=device)
