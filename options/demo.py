"""All options of `giverny demo`."""

from dataclasses import dataclass
from pathlib import Path

from giverny.options.checks import require, require_at_least, require_positive

__all__ = ["DemoOptions"]


@dataclass(frozen=True, kw_only=True)
class DemoOptions:
    """The tour: make two domains, train, translate, compare with the truth, write a page."""

    output: Path = Path("demo")
    """folder for everything that the demo makes"""
    max_images: int | None = None
    """train on so many pictures of each domain instead of the demo's own number"""
    train_pictures: int = 96
    """pictures in each of the two training folders"""
    test_pictures: int = 24
    """pictures in the held-out set"""
    seed: int = 0
    """seed of the pictures and of the training"""

    def __post_init__(self) -> None:
        if self.max_images is not None:
            require_positive("max_images", self.max_images)
        require_at_least("train_pictures", self.train_pictures, 1)
        require_at_least("test_pictures", self.test_pictures, 1)
        require(0 <= self.seed < 2**63, "seed", f"{self.seed} is not in [0, 2**63)")
