"""All options of `impasto demo`."""

from dataclasses import dataclass
from pathlib import Path

from impasto.options.fields import require, require_at_least, require_positive

__all__ = ["DemoOptions"]


@dataclass(frozen=True, kw_only=True)
class DemoOptions:
    """The tour: Monets, two domains, a training, translations, a stylised picture, a survey."""

    output: Path = Path("demo")
    """folder for everything that the demo makes; what an earlier demo made there is replaced, and
    nothing else"""
    max_images: int | None = None
    """train on so many pictures of each domain instead of the demo's own number"""
    train_pictures: int = 96
    """pictures in each of the two training folders"""
    test_pictures: int = 24
    """pictures in the held-out set, 2 or more"""
    seed: int = 0
    """seed of the pictures and of the training"""

    def __post_init__(self) -> None:
        if self.max_images is not None:
            require_positive("max_images", self.max_images)
        require_at_least("train_pictures", self.train_pictures, 1)
        require(
            self.test_pictures >= 2,
            "test_pictures",
            f"{self.test_pictures} is too few: the survey at the end takes one for practice and "
            "one to be judged; expected at least 2",
        )
        require(0 <= self.seed < 2**63, "seed", f"{self.seed} is not in [0, 2**63)")
