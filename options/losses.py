"""The loss functions and their weights."""

from dataclasses import dataclass
from typing import Literal

from giverny.options.checks import require_at_least

__all__ = ["GanMode", "LossOptions"]

GanMode = Literal["lsgan", "vanilla", "wgangp"]


@dataclass(frozen=True, kw_only=True)
class LossOptions:
    """The losses: adversarial, cycle, identity."""

    gan_mode: GanMode = "lsgan"
    """adversarial loss: least squares, cross-entropy, or Wasserstein with gradient penalty"""
    lambda_A: float = 10.0
    """weight of the cycle loss A -> B -> A"""
    lambda_B: float = 10.0
    """weight of the cycle loss B -> A -> B"""
    lambda_identity: float = 0.5
    """weight of the identity loss, relative to LAMBDA_A and LAMBDA_B; 0 turns it off"""
    lambda_gp: float = 10.0
    """weight of the gradient penalty with --gan_mode wgangp"""
    pool_size: int = 50
    """translations kept to show the discriminators old ones too; 0 shows only new ones"""

    def __post_init__(self) -> None:
        for option, value in (
            ("lambda_A", self.lambda_A),
            ("lambda_B", self.lambda_B),
            ("lambda_identity", self.lambda_identity),
            ("lambda_gp", self.lambda_gp),
            ("pool_size", self.pool_size),
        ):
            require_at_least(option, value, 0)
