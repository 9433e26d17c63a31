"""The section of `impasto train` about its losses."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from impasto.options.fields import (
    option_class,
    require,
    require_at_least,
    require_positive,
    split_backbone,
)

__all__ = ["DIFFAUGMENT", "GanMode", "LossOptions", "PerceptualTargets", "StyleTargets"]

DIFFAUGMENT = ("color", "translation", "cutout")
"""Kinds of differentiable augmentation."""

PerceptualTargets = Literal["translation", "reconstruction", "both"]
GanMode = Literal["lsgan", "vanilla", "wgangp", "hinge"]
StyleTargets = Literal["nearest", "collection", "both"]


@option_class
class LossOptions:
    """Losses: adversarial, cycle, identity, palette, perceptual, style, stroke and contrastive."""

    gan_mode: GanMode = "lsgan"
    """adversarial loss: lsgan is least squares, vanilla cross-entropy, wgangp Wasserstein with
    gradient penalty, hinge the hinge loss"""
    lambda_gan: float = 1.0
    """weight of the adversarial loss of the generators; 0 turns it off"""
    lambda_A: float = 10.0
    """weight of the cycle loss of domain A (A -> B -> A)"""
    lambda_B: float = 10.0
    """weight of the cycle loss of domain B (B -> A -> B)"""
    lambda_identity: float = 0.5
    """weight of the identity loss, relative to LAMBDA_A and LAMBDA_B; 0 turns it off"""
    lambda_L1: float = 100.0
    """weight of the distance between a translation and the true picture, with --paired"""
    lambda_gp: float = 10.0
    """weight of the gradient penalty, with --gan_mode wgangp"""
    pool_size: int = 50
    """number of earlier translations in the image buffer of each discriminator, which is shown
    some of them in place of new ones; 0 shows it new ones only"""
    diffaugment: Sequence[str] = ()
    """differentiable augmentation (DiffAugment) of everything that the discriminators see, for
    small datasets: one or more of color, translation (a shift) and cutout. With color, the
    discriminators no longer see differences in brightness, saturation and contrast"""
    lambda_palette: float = 0.0
    """weight of the palette loss, the distance between the color distributions of recent
    translations and recent real pictures; 0 turns it off"""
    lambda_perceptual: float = 0.0
    """weight of the perceptual loss, the distance between an input and its translation, or its
    reconstruction, in the features of a network; with --paired, between the true picture and the
    translation; 0 turns it off"""
    perceptual_targets: PerceptualTargets = "translation"
    """what the perceptual loss compares with an input: its translation, its reconstruction after a
    cycle, or both"""
    perceptual_backbone: str = "auto"
    """feature network of the perceptual loss: lite (EfficientNet-Lite0, which is installed with
    Impasto), vgg19, vgg16, a model of torchvision such as resnet50, random (a VGG with random
    weights), or a run of impasto backbone train. auto is lite, or VGG if PERCEPTUAL_WEIGHTS is a
    file of its weights"""
    perceptual_weights: Path | None = None
    """file with the weights of the feature network (default: where they are installed, or the
    file in the cache of torchvision; see impasto weights list)"""
    perceptual_layers: Sequence[str] = ()
    """layers whose features the perceptual loss compares, equally weighted (default: those that
    suit the network)"""
    lambda_style: float = 0.0
    """weight of the style loss, the distance of means and covariances of features of
    EfficientNet-Lite0 between translations and real pictures, which brings out brush strokes; 0
    turns it off"""
    style_targets: StyleTargets = "nearest"
    """what the style loss compares a translation with: nearest is the real picture, of the last
    STYLE_CANDIDATES, whose light, colors and detail are as usual or unusual in its domain as the
    input's in its own; collection is the running mean of all real pictures, for large batches;
    both takes the mean"""
    style_candidates: int = 10
    """number of real pictures among which --style_targets nearest chooses"""
    style_scales: int = 1
    """number of sizes at which the style loss compares pictures, each half as large as the one
    before; 2 also brings out strokes that are wider, and colors that change within them"""
    lambda_strokes: float = 0.0
    """weight of the stroke loss, the kernel distance (maximum mean discrepancy) between crops of
    translations and crops of real pictures, 128 px wide, in features of EfficientNet-Lite0. Its
    unit is the distance between samples of 100 real crops, so a small weight will do, such as
    0.015; 0 turns it off"""
    lambda_nce: float = 0.0
    """weight of the contrastive loss (CUT), which asks that patches of a translation can be told
    to be those of its input, with --one_sided; 0 turns it off"""
    nce_layers: Sequence[int] = ()
    """layers of the generator whose features the contrastive loss compares: 0 for the pixels, 4
    and 7 for the strided convolutions, 10 for the first residual block, 11 for the second, and so
    on (default: these four, and the middle block)"""
    nce_idt: bool = True
    """compare pictures of B with their translations by the contrastive loss, too, which then takes
    the place of the identity loss, whose weight is not used"""
    nce_T: float = 0.07
    """temperature of the contrastive loss"""
    netF_nc: int = 256
    """number of values in which the contrastive loss compares each patch"""
    num_patches: int = 256
    """number of patches of each layer that the contrastive loss compares"""

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
        object.__setattr__(self, "nce_layers", tuple(sorted(set(self.nce_layers))))
        for kind in self.diffaugment:
            require(
                kind in DIFFAUGMENT,
                "diffaugment",
                f"expected one or more of {', '.join(DIFFAUGMENT)}, got {kind!r}",
            )
        for option, number in (
            ("lambda_A", self.lambda_A),
            ("lambda_B", self.lambda_B),
            ("lambda_identity", self.lambda_identity),
            ("lambda_L1", self.lambda_L1),
            ("lambda_gp", self.lambda_gp),
            ("pool_size", self.pool_size),
            ("lambda_palette", self.lambda_palette),
            ("lambda_perceptual", self.lambda_perceptual),
            ("lambda_gan", self.lambda_gan),
            ("lambda_style", self.lambda_style),
            ("lambda_strokes", self.lambda_strokes),
            ("lambda_nce", self.lambda_nce),
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
        style: dict[str, object] = {
            "style_targets": "nearest",
            "style_candidates": 10,
            "style_scales": 1,
        }
        for option, default in style.items():
            require(
                self.lambda_style > 0 or getattr(self, option) == default,
                option,
                "there is no style loss; give --lambda_style, for example 1",
            )
        require_at_least("style_candidates", self.style_candidates, 1)
        require_at_least("style_scales", self.style_scales, 1)
        contrastive: dict[str, object] = {
            "nce_layers": (),
            "nce_idt": True,
            "nce_T": 0.07,
            "netF_nc": 256,
            "num_patches": 256,
        }
        for option, default in contrastive.items():
            require(
                self.lambda_nce > 0 or getattr(self, option) == default,
                option,
                "there is no contrastive loss; give --lambda_nce, for example 1",
            )
        require_positive("nce_T", self.nce_T)
        require_positive("netF_nc", self.netF_nc)
        require_at_least("num_patches", self.num_patches, 2)
        require(
            not self.nce_layers or self.nce_layers[0] >= 0,
            "nce_layers",
            f"expected numbers from 0, got {' '.join(map(str, self.nce_layers))}",
        )
