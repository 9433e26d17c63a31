"""Differentiable augmentation of the discriminators' input (Zhao et al. 2020)."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from impasto.options.train import DIFFAUGMENT

__all__ = ["DifferentiableAugmentation"]

# The ranges of the code that Zhao et al. published with their paper.
_BRIGHTNESS, _SATURATION, _CONTRAST = (-0.5, 0.5), (0.0, 2.0), (0.5, 1.5)
_TRANSLATION, _CUTOUT = 1 / 8, 1 / 2


class DifferentiableAugmentation:
    """Augments each picture at random, so that discriminators do not memorize small data sets.

    Both real and translated pictures go through it before a discriminator judges them, in its own
    update and in the generators', whose gradients pass through. So a discriminator cannot memorize
    its pictures, and the generators do not learn to produce augmented ones (Zhao et al. 2020,
    section 3).

    Args:
        policy: augmentations, any of ``color`` (brightness +-0.5, saturation x 0 to 2, contrast x
            0.5 to 1.5), ``translation`` (up to an eighth of each side, gray moves in) and
            ``cutout`` (a gray rectangle of half the sides). ``color`` also hides the palette from
            the discriminators, which a painter's style needs.
        generator: random generator, on the CPU.

    Raises:
        ValueError: a policy is unknown.
    """

    def __init__(self, policy: Sequence[str], *, generator: torch.Generator) -> None:
        if unknown := sorted(set(policy) - set(DIFFAUGMENT)):
            raise ValueError(
                f"policy: expected some of {', '.join(DIFFAUGMENT)}, got {unknown[0]!r}"
            )
        self._policy, self._generator = frozenset(policy), generator

    def __call__(self, images: Tensor) -> Tensor:
        """Return augmented pictures.

        Args:
            images: pictures, RGB, (N, 3, H, W), in [-1, 1].

        Returns:
            The pictures, (N, 3, H, W), each augmented independently; ``color`` may exceed the
            range.
        """
        if "color" in self._policy:
            images = self._recolor(images)
        if "translation" in self._policy:
            images = torch.stack([self._move(image) for image in images])
        if "cutout" in self._policy:
            images = images * torch.stack([self._hole(image) for image in images])
        return images

    def state_dict(self) -> dict[str, Tensor]:
        """Return the state of the random generator."""
        return {"generator": self._generator.get_state()}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Continue from a saved state."""
        self._generator.set_state(state["generator"].cpu())

    def _recolor(self, images: Tensor) -> Tensor:
        brightness, saturation, contrast = (
            self._uniform(*bounds, like=images) for bounds in (_BRIGHTNESS, _SATURATION, _CONTRAST)
        )
        images = images + brightness
        gray = images.mean(dim=1, keepdim=True)
        images = torch.lerp(gray, images, saturation)
        mean = images.mean(dim=(1, 2, 3), keepdim=True)
        return torch.lerp(mean, images, contrast)

    def _move(self, image: Tensor) -> Tensor:
        """Shift one picture, (3, H, W), by whole pixels."""
        for side in (1, 2):
            most = int(image.shape[side] * _TRANSLATION + 0.5)
            shift = self._integer(-most, most)
            image = image.roll(shift, dims=side)
            entered = torch.arange(image.shape[side], device=image.device)
            kept = entered >= shift if shift >= 0 else entered < image.shape[side] + shift
            image = image * (kept[:, None] if side == 1 else kept)
        return image

    def _hole(self, image: Tensor) -> Tensor:
        """Return what one picture, (3, H, W), is multiplied with: 0 in a rectangle, else 1."""
        kept = torch.ones_like(image[:1])
        sides = []
        for size in image.shape[1:]:
            length = int(size * _CUTOUT + 0.5)
            # Its middle may lie anywhere, so that it is often cut off at the border.
            middle = self._integer(0, size - length % 2)
            sides.append(slice(max(0, middle - length // 2), middle - length // 2 + length))
        kept[:, sides[0], sides[1]] = 0
        return kept

    def _uniform(self, low: float, high: float, *, like: Tensor) -> Tensor:
        draws = torch.rand(len(like), 1, 1, 1, generator=self._generator)
        return (low + (high - low) * draws).to(like.device, like.dtype)

    def _integer(self, low: int, high: int) -> int:
        """Draw from low to high, both included."""
        return int(torch.randint(low, high + 1, (), generator=self._generator))
