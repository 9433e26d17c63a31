"""Differentiable augmentation of the discriminators' input (Zhao et al. 2020)."""

from collections.abc import Mapping, Sequence
from functools import partial

import torch
from torch import Tensor

from impasto.options.losses import DIFFAUGMENT
from impasto.runs.capture import on_device

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
            images = self._move(images)
        if "cutout" in self._policy:
            images = images * self._holes(images)
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

    def _move(self, images: Tensor) -> Tensor:
        """Shift each picture by whole pixels."""
        count, channels, height, width = images.shape
        shifts = on_device(partial(self._draw_shifts, count, (height, width)), images.device)
        rows, columns = (
            torch.arange(side, device=images.device) - shift[:, None]
            for side, shift in zip((height, width), shifts, strict=True)
        )
        # What leaves on one side enters on the other, and is made gray there.
        sources = (rows % height)[:, :, None] * width + (columns % width)[:, None, :]
        index = sources.flatten(1)[:, None].expand(-1, channels, -1)
        moved = images.flatten(2).gather(2, index).view(images.shape)
        kept_rows, kept_columns = (rows >= 0) & (rows < height), (columns >= 0) & (columns < width)
        shifted: Tensor = moved * kept_rows[:, None, :, None] * kept_columns[:, None, None, :]
        return shifted

    def _holes(self, images: Tensor) -> Tensor:
        """Return what the pictures are multiplied with, (N, 1, H, W): 0 in rectangles, else 1."""
        sides = images.shape[2:]
        bounds = on_device(partial(self._draw_holes, len(images), sides), images.device)
        rows, columns = (
            (places >= first[:, None]) & (places < end[:, None])
            for places, (first, end) in (
                (torch.arange(side, device=images.device), each)
                for side, each in zip(sides, bounds, strict=True)
            )
        )
        holes: Tensor = rows[:, None, :, None] & columns[:, None, None, :]
        return ~holes

    def _uniform(self, low: float, high: float, *, like: Tensor) -> Tensor:
        draws = on_device(partial(self._draw_uniform, len(like)), like.device)
        return (low + (high - low) * draws).to(like.dtype)

    def _draw_uniform(self, count: int) -> Tensor:
        return torch.rand(count, 1, 1, 1, generator=self._generator)

    def _draw_shifts(self, count: int, sides: Sequence[int]) -> Tensor:
        """Draw shifts in pixels: (2, count) int64, down and to the right."""
        most = [int(side * _TRANSLATION + 0.5) for side in sides]
        shifts = [[self._integer(-each, each) for each in most] for _ in range(count)]
        return torch.tensor(shifts).T.contiguous()

    def _draw_holes(self, count: int, sides: Sequence[int]) -> Tensor:
        """Draw rectangles: (2, 2, count) int64, the first row, the end, and those of columns."""
        holes = []
        for _ in range(count):
            for side in sides:
                length = int(side * _CUTOUT + 0.5)
                # Its middle may lie anywhere, so that it is often cut off at the border.
                first = self._integer(0, side - length % 2) - length // 2
                holes.append([max(0, first), first + length])
        return torch.tensor(holes).view(count, 2, 2).permute(1, 2, 0).contiguous()

    def _integer(self, low: int, high: int) -> int:
        """Draw from low to high, both included."""
        return int(torch.randint(low, high + 1, (), generator=self._generator))
