"""The loss functions and their weights."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from impasto.options.backbones import split_backbone
from impasto.options.checks import require, require_at_least

__all__ = ["DIFFAUGMENT", "GanMode", "LossOptions", "PerceptualTargets"]

DIFFAUGMENT = ("color", "translation", "cutout")
"""Kinds of differentiable augmentation."""

PerceptualTargets = Literal["translation", "reconstruction", "both"]
GanMode = Literal["lsgan", "vanilla", "wgangp"]


@dataclass(frozen=True, kw_only=True)
class LossOptions:
    """The losses: adversarial, cycle, identity, palette, perceptual."""

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
    diffaugment: Sequence[str] = ()
    """differentiable augmentation of what the discriminators see, for few pictures: any of
    color, translation, cutout; color also hides the palette from them"""
    lambda_palette: float = 0.0
    """weight of the palette loss: distance of the last translations' colours, all together, from
    those of the last real pictures; 0: none"""
    lambda_perceptual: float = 0.0
    """weight of the perceptual loss: distance from the input, seen through a network; 0: none"""
    perceptual_targets: PerceptualTargets = "translation"
    """what is compared with the input: its translation, its reconstruction, or both"""
    perceptual_backbone: str = "auto"
    """network to look through: vgg19, vgg16, a model of torchvision, random, or what impasto
    backbone train wrote; auto: VGG where its weights are found, random otherwise"""
    perceptual_weights: Path | None = None
    """file with its weights"""
    perceptual_layers: Sequence[str] = ()
    """layers to compare, equally weighted; those that suit the network if not given"""

    def __post_init__(self) -> None:
        names = ("perceptual_backbone", "perceptual_weights")
        for name, value in zip(
            names,
            split_backbone(self.perceptual_backbone, self.perceptual_weights, options=names),
            strict=True,
        ):
            object.__setattr__(self, name, value)
        object.__setattr__(self, "perceptual_layers", tuple(self.perceptual_layers))
        object.__setattr__(self, "diffaugment", tuple(self.diffaugment))
        for kind in self.diffaugment:
            require(
                kind in DIFFAUGMENT,
                "diffaugment",
                f"expected some of {', '.join(DIFFAUGMENT)}, got {kind!r}",
            )
        for option, number in (
            ("lambda_A", self.lambda_A),
            ("lambda_B", self.lambda_B),
            ("lambda_identity", self.lambda_identity),
            ("lambda_gp", self.lambda_gp),
            ("pool_size", self.pool_size),
            ("lambda_palette", self.lambda_palette),
            ("lambda_perceptual", self.lambda_perceptual),
        ):
            require_at_least(option, number, 0)
        for option, without in (
            ("perceptual_backbone", "auto"),
            ("perceptual_weights", None),
            ("perceptual_layers", ()),
            ("perceptual_targets", "translation"),
        ):
            require(
                self.lambda_perceptual > 0 or getattr(self, option) == without,
                option,
                "there is no perceptual loss; give --lambda_perceptual, for example 1",
            )
