"""The section of `impasto train` about its networks: architecture, and what they start from."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, get_args

from impasto.options.fields import (
    add_choice,
    nearest,
    option_class,
    require,
    require_at_least,
    require_positive,
)
from impasto.options.losses import LossOptions

__all__ = [
    "SMALLEST_PROJECTED_PX",
    "Direction",
    "Freeze",
    "InitType",
    "NetD",
    "NetG",
    "NetworkOptions",
    "Norm",
    "OutputBase",
    "Upsample",
    "add_generator_sizes",
    "require_colors_where_needed",
    "require_value_ranges",
]

Direction = Literal["AtoB", "BtoA"]
NetG = Literal[
    "resnet_9blocks", "resnet_6blocks", "resnet_5blocks", "resnet_4blocks", "unet_256", "unet_128"
]
NetD = Literal["basic", "n_layers", "pixel", "projected"]
OutputBase = Literal["none", "kuwahara"]
Norm = Literal["instance", "affine", "batch", "layer", "none"]
Upsample = Literal["deconv", "resize", "bilinear"]
InitType = Literal["normal", "xavier", "kaiming", "orthogonal"]
Freeze = Literal["none", "encoder"]

SMALLEST_PROJECTED_PX = 32
"""Two positions of the deepest layer that a projected discriminator looks at."""

# How many pixels of the input meet in one pixel of the narrowest layer, and the smallest side in
# pixels: a ResNet pads that layer by reflection, for which it needs two. A test compares this with
# the registry in cyclegan/architecture.py, which options never import.
_SIZES: dict[str, tuple[int, int]] = {
    "resnet_9blocks": (4, 8),
    "resnet_6blocks": (4, 8),
    "resnet_5blocks": (4, 8),
    "resnet_4blocks": (4, 8),
    "unet_256": (256, 256),
    "unet_128": (128, 128),
}


def add_generator_sizes(name: str, *, stride: int, smallest: int) -> None:
    """Let ``netG`` name one more generator; ``impasto.cyclegan.register_generator`` calls this.

    Args:
        name: the value of ``netG``.
        stride: sides of images are multiples of it, in pixels.
        smallest: smallest side of an image, in pixels.
    """
    _SIZES[name] = stride, smallest
    if name not in get_args(NetG):
        add_choice(NetG, name)


@option_class
class NetworkOptions:
    """Networks: generators and discriminators."""

    netG: NetG = "resnet_9blocks"
    """architecture of the generators"""
    netD: NetD = "basic"
    """architecture of the discriminators: basic is the 70x70 PatchGAN, n_layers a PatchGAN with
    N_LAYERS_D layers, pixel a 1x1 PixelGAN; projected judges what EfficientNet-Lite0, which is
    installed with Impasto, sees at four depths, by a small head with spectral normalization each
    (after Projected GANs); --ndf 32 and --gan_mode hinge suit it"""
    one_sided: bool = False
    """train the generator from A to B alone, without a cycle; what is to be kept of a picture is
    then up to --lambda_perceptual, which compares features, or --lambda_nce. LAMBDA_A has no
    effect, and LAMBDA_B none but on the identity loss"""
    ngf: int = 64
    """number of filters in the first convolution of the generators"""
    ndf: int = 64
    """number of filters in the first convolution of the discriminators"""
    input_nc: int = 3
    """number of channels of the pictures of domain A, after --direction: 1 for gray, 3 for RGB, 4
    for RGBA as data, or any other number; files with 3 channels and without a VALUE_RANGE are read
    as RGB pictures of 8 bits, all others as numbers of their own depth"""
    output_nc: int = 3
    """number of channels of the pictures of domain B, after --direction; with another number than
    INPUT_NC there is no identity loss: add --lambda_identity 0"""
    n_layers_D: int = 3
    """number of layers with stride 2 in the PatchGAN of --netD n_layers; basic has 3"""
    norm: Norm = "instance"
    """normalization layers: instance, as in the reference implementation
    (pytorch-CycleGAN-and-pix2pix), discards the mean brightness and color of a picture; affine is
    the same with a learned scale and shift of each channel, as generators of impasto style have
    it; layer keeps brightness and color, and so learns faster from small crops"""
    upsample: Upsample = "deconv"
    """how generators upsample: deconv is a transposed convolution, as in the reference
    implementation; resize is nearest-neighbor interpolation and a convolution, which avoids
    checkerboard artifacts; bilinear is bilinear interpolation and a convolution, which also avoids
    block artifacts"""
    color_skip: bool = False
    """add a skip connection around a ResNet generator that carries colors at a low resolution, so
    that a short training does not confuse red and green"""
    output_base: OutputBase = "none"
    """what a ResNet generator adds its output to: none, or kuwahara, the picture without its
    texture (a Kuwahara filter of 3 x 3 pixels), so that what a brush would not have painted does
    not come through; its last layer is then a clamp instead of a tanh"""
    stroke_noise: bool = False
    """add noise to the features of a ResNet generator before its residual blocks, so that strokes
    have where to begin on plain grounds, such as a clear sky; a picture is always translated with
    the same noise"""
    dropout: bool = False
    """use dropout with a probability of 0.5 in the residual blocks or the U-Net"""
    init_type: InitType = "normal"
    """distribution of the initial weights"""
    init_gain: float = 0.02
    """standard deviation of the initial weights with --init_type normal, gain with the other
    types"""
    init_from: Sequence[Path] = ()
    """model whose weights the training starts from, with a new optimizer: a run of impasto train,
    by its folder or its name, whose discriminators are taken, too; a model that ships with Impasto,
    such as monet; the file of one generator, .safetensors or .pth; or two single generators, one
    for each direction. Options of the architecture need not be given: they are the model's"""
    init_style: str | None = None
    """style of INIT_FROM to start from, if that knows several, such as starry_night, or a mixture,
    such as starry_night:2,cafe_terrace_at_night:1 (default: the first one)"""
    init_direction: Direction | None = None
    """direction of INIT_FROM that the direction AtoB of this training starts from: BtoA swaps the
    two generators, and their discriminators (default: AtoB; with --one_sided and a model that is
    one generator, its direction)"""
    freeze: Freeze = "none"
    """weights of INIT_FROM that stay as they are: encoder is the layers of the generators up to
    their lowest resolution"""

    def __post_init__(self) -> None:
        object.__setattr__(self, "init_from", tuple(self.init_from))
        require(
            len(self.init_from) <= 2,
            "init_from",
            f"expected one model, or two generators, got {len(self.init_from)}",
        )
        require(
            not self.one_sided or len(self.init_from) < 2,
            "init_from",
            "two models, and --one_sided trains one generator; expected one of the two",
        )
        for option, given in (
            ("init_style", self.init_style is not None),
            ("init_direction", self.init_direction is not None),
            ("freeze", self.freeze != "none"),
        ):
            require(
                not given or bool(self.init_from),
                option,
                "there is no model to start from; give --init_from, for example "
                f"{'paintings' if option == 'init_style' else 'monet'}",
            )
        require(
            self.netG in _SIZES,
            "netG",
            f"expected one of {', '.join(_SIZES)}, got {self.netG!r}{nearest(self.netG, _SIZES)}",
        )
        require_positive("ngf", self.ngf)
        require_positive("ndf", self.ndf)
        require_at_least("n_layers_D", self.n_layers_D, 1)
        require_at_least("input_nc", self.input_nc, 1)
        require_at_least("output_nc", self.output_nc, 1)
        self._check_channels()
        require_positive("init_gain", self.init_gain)
        require(
            not self.color_skip or self.netG.startswith("resnet"),
            "color_skip",
            f"--netG {self.netG} has skip connections of its own; use one of the ResNets",
        )
        require(
            self.output_base == "none" or self.netG.startswith("resnet"),
            "output_base",
            f"{self.output_base} is for the ResNets; got --netG {self.netG}",
        )
        require(
            not self.stroke_noise or self.netG.startswith("resnet"),
            "stroke_noise",
            f"it is for the ResNets; got --netG {self.netG}",
        )

    def _check_channels(self) -> None:
        """Refuse networks that need colors where there are none."""
        channels = self.input_nc, self.output_nc
        for option, given in (
            ("color_skip", self.color_skip),
            ("output_base", self.output_base != "none"),
        ):
            require(
                not given or channels == (3, 3),
                option,
                f"is for RGB; got --input_nc {self.input_nc} and --output_nc {self.output_nc}",
            )
        require(
            self.netD != "projected" or set(channels) <= {1, 3},
            "netD",
            "projected looks at RGB, or at gray as RGB; got "
            f"--input_nc {self.input_nc} and --output_nc {self.output_nc}",
        )

    @property
    def stride(self) -> int:
        """The generator's stride in pixels: picture sides must be multiples of it."""
        return _SIZES[self.netG][0]

    @property
    def smallest(self) -> int:
        """Smallest side, in pixels, of a square that both networks can be trained on.

        A PatchGAN of n layers halves its input n times and then loses a pixel to each of two more
        convolutions, the first of which is followed by a normalization that needs two pixels.
        """
        layers = {"basic": 3, "n_layers": self.n_layers_D}.get(self.netD)
        patch = 1 if layers is None else 3 << layers
        if self.netD == "projected":
            patch = SMALLEST_PROJECTED_PX
        return max(patch, _SIZES[self.netG][1])


def require_value_ranges(value_range: Sequence[str]) -> None:
    """Refuse what is no range of values for one domain, or for each.

    Raises:
        OptionError: names ``value_range``.
    """
    require(
        len(value_range) <= 2,
        "value_range",
        f"expected one for both domains, or one for each, got {len(value_range)}",
    )
    for text in value_range:
        numbers = [_number(part) for part in text.split(",")]
        require(
            text in {"full", "auto"} or (len(numbers) == 2 and numbers[0] < numbers[1]),
            "value_range",
            f"expected full, auto, or two numbers such as 0,4095, the lower one first, got "
            f"{text!r}",
        )


def _number(text: str) -> float:
    """Return the number that a text is, or not-a-number, which is smaller than nothing."""
    try:
        return float(text) if math.isfinite(float(text)) else math.nan
    except ValueError:
        return math.nan


def require_colors_where_needed(networks: NetworkOptions, losses: LossOptions) -> None:
    """Refuse losses that need colors, or the same channels on both sides, where there are none.

    Gray is shown as RGB to what looks at colors.

    Raises:
        OptionError: names the weight of the loss.
    """
    first, second = networks.input_nc, networks.output_nc
    got = f"got --input_nc {first} and --output_nc {second}"
    for option in ("lambda_palette", "lambda_perceptual", "lambda_style", "lambda_strokes"):
        require(
            getattr(losses, option) == 0 or {first, second} <= {1, 3},
            option,
            f"this loss looks at RGB, or at gray as RGB; {got}",
        )
    for option in ("lambda_nce", "lambda_identity"):
        require(
            getattr(losses, option) == 0 or first == second,
            option,
            f"the generator cannot take pictures of its own target domain; {got}: use --{option} 0",
        )
