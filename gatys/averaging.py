"""The average of iterates, which is smoother than any of them."""

import torch
from torch import Tensor

__all__ = ["IterateAverage"]


class IterateAverage:
    """An exponential moving average whose start does not weigh too much.

    Kingma and Ba 2015, section 3: the average begins at 0 and is divided by the weight that it has
    taken in, 1 - decay^n after n pictures.

    Args:
        decay: share of the old average that is kept at each update, at least 0 and below 1.
    """

    def __init__(self, decay: float) -> None:
        if not 0 <= decay < 1:
            raise ValueError(f"decay: expected at least 0 and below 1, got {decay}")
        self._decay = decay
        self._missing = 1.0
        self._sum: Tensor | None = None

    def update(self, image: Tensor) -> None:
        """Take in one more picture, (1, 3, H, W)."""
        image = image.detach()
        if self._sum is None:
            self._sum = torch.zeros_like(image)
        self._sum.lerp_(image, 1 - self._decay)
        self._missing *= self._decay

    def restart(self) -> None:
        """Forget all pictures."""
        self._missing, self._sum = 1.0, None

    @property
    def value(self) -> Tensor:
        """The average, (1, 3, H, W); a copy.

        Raises:
            ValueError: nothing has been averaged yet.
        """
        if self._sum is None:
            raise ValueError("the average of no pictures")
        return self._sum / (1 - self._missing)
