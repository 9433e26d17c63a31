"""The shapes of the networks."""

from dataclasses import dataclass
from typing import Literal

from impasto.options.checks import require, require_at_least, require_positive

__all__ = ["InitType", "NetD", "NetG", "NetworkOptions", "Norm", "Upsample"]

NetG = Literal["resnet_9blocks", "resnet_6blocks", "unet_256", "unet_128"]
NetD = Literal["basic", "n_layers", "pixel"]
Norm = Literal["instance", "batch", "layer", "none"]
Upsample = Literal["deconv", "resize", "bilinear"]
InitType = Literal["normal", "xavier", "kaiming", "orthogonal"]

# How many pixels of the input meet in one pixel of the narrowest layer, and the smallest side in
# pixels: a ResNet pads that layer by reflection, for which it needs two.
_SIZES: dict[NetG, tuple[int, int]] = {
    "resnet_9blocks": (4, 8),
    "resnet_6blocks": (4, 8),
    "unet_256": (256, 256),
    "unet_128": (128, 128),
}


@dataclass(frozen=True, kw_only=True)
class NetworkOptions:
    """The networks: generators and discriminators."""

    netG: NetG = "resnet_9blocks"
    """generator architecture"""
    netD: NetD = "basic"
    """discriminator: basic is the 70x70 PatchGAN, n_layers takes its depth from N_LAYERS_D,
    pixel judges each pixel alone"""
    ngf: int = 64
    """filters in the generator's first convolution"""
    ndf: int = 64
    """filters in the discriminator's first convolution"""
    n_layers_D: int = 3
    """depth of the discriminator with --netD n_layers"""
    norm: Norm = "instance"
    """normalisation layers: instance is the reference's; layer keeps a picture's light and colours,
    which instance forgets, and so learns faster from small crops"""
    upsample: Upsample = "deconv"
    """how a generator enlarges: deconv is the reference's transposed convolution; resize is
    nearest-neighbour and convolution, without its checkerboard; bilinear interpolates
    instead, without steps between pixels"""
    color_skip: bool = False
    """carry coarse colours around the layers of a ResNet, so that a short training keeps red and
    green apart"""
    dropout: bool = False
    """dropout of 0.5 in the generator's blocks"""
    init_type: InitType = "normal"
    """distribution that the weights are drawn from"""
    init_gain: float = 0.02
    """its standard deviation (normal) or gain (the others)"""

    def __post_init__(self) -> None:
        require_positive("ngf", self.ngf)
        require_positive("ndf", self.ndf)
        require_at_least("n_layers_D", self.n_layers_D, 1)
        require_positive("init_gain", self.init_gain)
        require(
            not self.color_skip or self.netG.startswith("resnet"),
            "color_skip",
            f"--netG {self.netG} has skip connections of its own; use one of the ResNets",
        )

    @property
    def stride(self) -> int:
        """The generator's stride in pixels: picture sides must be multiples of it."""
        return _SIZES[self.netG][0]

    @property
    def smallest(self) -> int:
        """Smallest side, in pixels, of a square that both networks can be trained on.

        A PatchGAN of n layers halves its input n times and then loses a pixel to each of two more
        convolutions, the first of which is followed by a normalisation that needs two pixels.
        """
        layers = {"basic": 3, "n_layers": self.n_layers_D}.get(self.netD)
        patch = 1 if layers is None else 3 << layers
        return max(patch, _SIZES[self.netG][1])
