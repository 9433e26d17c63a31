"""The palette of a generator's translations against that of its target domain."""

from collections import deque
from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["PaletteLoss"]

_PICTURES = 64
_DIRECTIONS = 4
_SQUARE_PX = 8


class PaletteLoss:
    """Sliced Wasserstein distance of colours (Rabin et al. 2011), over the last pictures seen.

    One picture has the colours of what it shows, so comparing it with one real picture says
    nothing. Here the colours of the newest translations and the 63 before them are compared with
    those of as many real pictures (of this process, where there are several): along random
    directions in RGB, each colour of a new translation is drawn to the one of the same rank among
    the real ones. So translations keep their order of colours, from dark to light and from red to
    green, and all of them together get the domain's palette.

    Args:
        generator: source of the directions, on the CPU.
    """

    def __init__(self, *, generator: torch.Generator) -> None:
        self._generator = generator
        self._made: deque[Tensor] = deque(maxlen=_PICTURES - 1)
        self._real: deque[Tensor] = deque(maxlen=_PICTURES - 1)

    def __call__(self, made: Tensor, real: Tensor) -> Tensor:
        """Compare, and remember the pictures.

        Args:
            made: translations, (N, 3, H, W), in [-1, 1]; the loss has gradients for them.
            real: pictures of the domain, (M, 3, H, W).

        Returns:
            Mean absolute distance along the directions, a scalar, at least 0.
        """
        new, true = _colors(made), _colors(real.detach())
        directions = F.normalize(torch.randn(_DIRECTIONS, 3, generator=self._generator), dim=1)
        directions = directions.to(made.device)
        all_made, all_real = (
            _project(torch.cat([*first, *earlier]), directions)
            for first, earlier in ((new, self._made), (true, self._real))
        )
        ranks = all_made.detach().argsort(dim=0).argsort(dim=0)
        count = sum(map(len, new))
        # Sets of other sizes: the same share of the way from the smallest to the largest.
        places = ranks[:count] * len(all_real) // len(all_made)
        target = all_real.sort(dim=0).values.gather(0, places)
        self._made.extend(colors.detach() for colors in new)
        self._real.extend(true)
        return (all_made[:count] - target).abs().mean()

    def state_dict(self) -> dict[str, Any]:
        """Return what is remembered, on the CPU, and the generator's state."""
        return {
            "made": [colors.cpu() for colors in self._made],
            "real": [colors.cpu() for colors in self._real],
            "generator": self._generator.get_state(),
        }

    def load_state_dict(self, state: Mapping[str, Any], *, device: torch.device) -> None:
        """Continue from a saved state."""
        for mine, saved in ((self._made, state["made"]), (self._real, state["real"])):
            mine.clear()
            mine.extend(colors.to(device) for colors in saved)
        self._generator.set_state(state["generator"].cpu())


def _colors(images: Tensor) -> list[Tensor]:
    """Return the mean colours of squares of 8 pixels, (squares, 3), float32, by picture."""
    side = min(_SQUARE_PX, *images.shape[2:])
    coarse = F.avg_pool2d(images.float(), side)
    return list(coarse.flatten(2).transpose(1, 2))


def _project(colors: Tensor, directions: Tensor) -> Tensor:
    # Not a matrix product, which would be computed in 16 bits where the networks are.
    return (colors[:, None] * directions).sum(dim=-1)
