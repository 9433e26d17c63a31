"""A history of translations for the discriminators (Shrivastava et al. 2017, section 2.3)."""

from typing import Any

import torch
from torch import Tensor

__all__ = ["ImagePool"]


class ImagePool:
    """Keeps up to ``size`` earlier translations and swaps new ones for old ones at random.

    Until the pool is full, each picture is stored and returned. Then, with probability 1/2, a
    random stored picture is returned and the new one takes its place; otherwise the new one is
    returned. The choices come from a generator on the CPU, so nothing waits for the device.

    Args:
        size: pictures kept; Zhu et al. 2017, section 4: 50. With 0 every picture passes through.
        generator: source of randomness, on the CPU; its state is part of the pool's.
    """

    def __init__(self, size: int, *, generator: torch.Generator) -> None:
        if size < 0:
            raise ValueError(f"size: expected 0 or more, got {size}")
        self.size = size
        self._generator = generator
        self._images: list[Tensor] = []

    def __len__(self) -> int:
        return len(self._images)

    def query(self, images: Tensor) -> Tensor:
        """Return a batch of the same shape, partly of earlier pictures.

        Args:
            images: translations, (N, 3, H, W); detached here.

        Returns:
            (N, 3, H, W) pictures. A stored picture of another size is never swapped in, since
            it would not fit the batch.
        """
        if self.size == 0:
            return images.detach()
        return torch.stack([self._swap(image) for image in images.detach()])

    def sample(self, count: int) -> Tensor:
        """Draw stored pictures, (count, 3, H, W), each from all; all must be of one size.

        Raises:
            ValueError: none is stored.
        """
        if not self._images:
            raise ValueError("the pool is empty")
        places = torch.randint(len(self._images), (count,), generator=self._generator)
        return torch.stack([self._images[place] for place in places.tolist()])

    def _swap(self, image: Tensor) -> Tensor:
        if len(self._images) < self.size:
            self._images.append(image.clone())
            return image
        swaps = torch.rand((), generator=self._generator).item() > 0.5
        place = int(torch.randint(self.size, (), generator=self._generator))
        if not swaps or self._images[place].shape != image.shape:
            return image
        old = self._images[place]
        self._images[place] = image.clone()
        return old

    def state_dict(self) -> dict[str, Any]:
        """Return the stored pictures, on the CPU, and the generator's state."""
        images = [image.cpu() for image in self._images]
        return {"images": images, "generator": self._generator.get_state()}

    def load_state_dict(self, state: dict[str, Any], *, device: torch.device | None = None) -> None:
        """Continue from a saved state; pictures beyond ``size`` are forgotten."""
        self._images = [image.to(device) for image in state["images"][: self.size]]
        self._generator.set_state(state["generator"].cpu())
