"""How long to train, and with which learning rate."""

from dataclasses import dataclass
from typing import Literal

from impasto.options.checks import require, require_at_least, require_between, require_positive

__all__ = ["LrPolicy", "ScheduleOptions"]

LrPolicy = Literal["linear", "step", "plateau", "cosine"]


@dataclass(frozen=True, kw_only=True)
class ScheduleOptions:
    """The schedule: length and learning rate."""

    n_epochs: int = 100
    """epochs with the initial learning rate"""
    n_epochs_decay: int = 100
    """epochs in which the learning rate then falls to zero; may be raised with --resume"""
    max_images: int | None = None
    """stop after so many pictures of each domain, wherever that is in an epoch"""
    lr: float = 0.0002
    """initial learning rate of Adam"""
    beta1: float = 0.5
    """Adam's momentum"""
    beta2: float = 0.999
    """Adam's second-moment decay"""
    lr_policy: LrPolicy = "linear"
    """how the learning rate falls"""
    lr_decay_iters: int = 50
    """epochs between two tenfold drops with --lr_policy step"""

    def __post_init__(self) -> None:
        require_at_least("n_epochs", self.n_epochs, 0)
        require_at_least("n_epochs_decay", self.n_epochs_decay, 0)
        require(
            self.n_epochs + self.n_epochs_decay > 0,
            "n_epochs",
            "0, and --n_epochs_decay is 0 too: there is nothing to train",
        )
        if self.max_images is not None:
            require_positive("max_images", self.max_images)
        require_positive("lr", self.lr)
        require_between("beta1", self.beta1, 0.0, 1.0)
        require_between("beta2", self.beta2, 0.0, 1.0)
        require_positive("lr_decay_iters", self.lr_decay_iters)

    @property
    def total_epochs(self) -> int:
        """Epochs of the whole training."""
        return self.n_epochs + self.n_epochs_decay
