"""All options of `impasto train`.

A training run as such: its name, place, device, seed, and how often it reports and saves.

Which pictures a training sees, and what is done to them before the networks do.

The shapes of the networks.

The loss functions and their weights.

How long to train, and with which learning rate.

Where a training is watched: terminal, report page, visdom, TensorBoard.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from impasto.options.fields import (
    nearest,
    require,
    require_at_least,
    require_between,
    require_grid_bend,
    require_positive,
    split_backbone,
)

__all__ = [
    "DIFFAUGMENT",
    "DISPLAYS",
    "MAY_CHANGE",
    "BasicDisplayOptions",
    "BasicRunOptions",
    "DataOptions",
    "Device",
    "Direction",
    "DisplayOptions",
    "GanMode",
    "InitType",
    "LossOptions",
    "LrPolicy",
    "MixedPrecision",
    "NetD",
    "NetG",
    "NetworkOptions",
    "Norm",
    "PerceptualTargets",
    "Preprocess",
    "RunOptions",
    "Samples",
    "ScheduleOptions",
    "TrainOptions",
    "Upsample",
]


Device = Literal["auto", "cpu", "cuda", "mps"]
MixedPrecision = Literal["no", "fp16", "bf16"]


@dataclass(frozen=True, kw_only=True)
class BasicRunOptions:
    """The run: name, place, device, reports, checkpoints."""

    name: str = "experiment_name"
    """name of the run; its files go to CHECKPOINTS_DIR/NAME"""
    checkpoints_dir: Path = Path("checkpoints")
    """folder that holds the runs"""
    seed: int = 0
    """seed of everything that is random"""
    device: Device = "auto"
    """where to compute; auto takes a GPU if there is one"""
    mixed_precision: MixedPrecision = "no"
    """compute in 16 bits where that is safe: bf16 or fp16"""
    gradient_accumulation_steps: int = 1
    """batches that are added up to one step"""
    print_freq: int = 100
    """pictures between two reports (console, log.jsonl)"""
    display_freq: int = 400
    """pictures between two sets of sample pictures"""
    save_latest_freq: int = 5000
    """pictures between two checkpoints to resume from"""
    save_epoch_freq: int = 5
    """epochs between two sets of weights that are kept"""

    def __post_init__(self) -> None:
        require(
            bool(self.name) and self.name not in {".", ".."} and not set(self.name) & set("/\\:\0"),
            "name",
            f"{self.name!r} cannot name a folder; use letters, digits, '-' and '_'",
        )
        require(0 <= self.seed < 2**63, "seed", f"{self.seed} is not in [0, 2**63)")
        for option, value in (
            ("gradient_accumulation_steps", self.gradient_accumulation_steps),
            ("print_freq", self.print_freq),
            ("display_freq", self.display_freq),
            ("save_latest_freq", self.save_latest_freq),
            ("save_epoch_freq", self.save_epoch_freq),
        ):
            require_positive(option, value)


@dataclass(frozen=True, kw_only=True)
class RunOptions(BasicRunOptions):
    """The run: name, place, device, reports, checkpoints."""

    ema_decay: float = 0.0
    """decay per step of the generators' running average, e.g. 0.999; 0 keeps none"""
    grid_bend_px: float = 0.0
    """how far impasto translate and evaluate shall bend pictures for these generators, see impasto
    translate --help; it does not change the training"""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_between("ema_decay", self.ema_decay, 0.0, 1.0)
        require_grid_bend(self.grid_bend_px)


Direction = Literal["AtoB", "BtoA"]
Preprocess = Literal["resize_and_crop", "crop", "scale_width", "scale_width_and_crop", "none"]


@dataclass(frozen=True, kw_only=True)
class DataOptions:
    """The pictures: folders, sizes, augmentation, loading."""

    dataroot: Path = Path("datasets/monet2photo")
    """folder that holds trainA and trainB"""
    folder_A: Path | None = None
    """folder of domain A, instead of DATAROOT/trainA"""
    folder_B: Path | None = None
    """folder of domain B, instead of DATAROOT/trainB"""
    direction: Direction = "AtoB"
    """AtoB, or BtoA to swap the two domains"""
    preprocess: Preprocess = "resize_and_crop"
    """how a picture is brought to size: resize_and_crop squeezes it to LOAD_SIZE x LOAD_SIZE and
    crops; scale_width scales its width to LOAD_SIZE; none only rounds it to the network's stride"""
    load_size: int = 286
    """size in pixels that pictures are scaled to before cropping"""
    crop_size: int = 256
    """size in pixels of the square crop that the networks see"""
    flip: bool = True
    """mirror half of the pictures at random"""
    serial_batches: bool = False
    """take the pictures of both domains in the order of their names instead of at random"""
    batch_size: int = 1
    """pictures of each domain per step and process"""
    batch_size_D: int = 0
    """real pictures, and as many translations, that each discriminator judges per step; those
    beyond BATCH_SIZE are earlier ones, out of pools of POOL_SIZE. Discriminators cost little and
    learn more steadily from several; at least BATCH_SIZE, or 0: only the new ones"""
    max_dataset_size: int | None = None
    """use only the first so many pictures of each domain"""
    num_threads: int = 4
    """processes that load pictures; 0 loads them in the training process"""
    cache_images: bool = False
    """keep decoded pictures in memory (per loading process): for small datasets"""

    def __post_init__(self) -> None:
        require_positive("load_size", self.load_size)
        require_positive("crop_size", self.crop_size)
        require_positive("batch_size", self.batch_size)
        require_at_least("num_threads", self.num_threads, 0)
        require_at_least("batch_size_D", self.batch_size_D, 0)
        require(
            self.batch_size_D == 0 or self.batch_size_D >= self.batch_size,
            "batch_size_D",
            f"{self.batch_size_D} is below --batch_size {self.batch_size}, and all new pictures "
            f"are judged; expected 0, for the new ones only, or at least {self.batch_size}",
        )
        require(
            self.batch_size_D == 0 or self.crops,
            "batch_size_D",
            f"pictures of different sizes cannot be judged together; use a mode that crops, not "
            f"--preprocess {self.preprocess}",
        )
        if self.max_dataset_size is not None:
            require_positive("max_dataset_size", self.max_dataset_size)
        if self.preprocess in {"resize_and_crop", "scale_width_and_crop"}:
            require(
                self.crop_size <= self.load_size,
                "crop_size",
                f"{self.crop_size} is larger than --load_size {self.load_size}; "
                f"--preprocess {self.preprocess} crops from a picture of LOAD_SIZE pixels",
            )
        if not self.crops:
            require(
                self.batch_size == 1,
                "batch_size",
                f"{self.batch_size} pictures of different sizes cannot form a batch; use 1 with "
                f"--preprocess {self.preprocess}, or a mode that crops",
            )
        require(
            (self.folder_A is None) == (self.folder_B is None),
            "folder_A" if self.folder_A is None else "folder_B",
            "missing; give both --folder_A and --folder_B, or neither and --dataroot",
        )

    @property
    def crops(self) -> bool:
        """Whether every picture becomes a square of ``crop_size`` pixels."""
        return self.preprocess in {"resize_and_crop", "crop", "scale_width_and_crop"}

    @property
    def folders(self) -> tuple[Path, Path]:
        """The folders of domains A and B, already swapped where the direction is BtoA."""
        first = self.folder_A or self.dataroot / "trainA"
        second = self.folder_B or self.dataroot / "trainB"
        return (first, second) if self.direction == "AtoB" else (second, first)


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


DISPLAYS = ("console", "page", "visdom", "tensorboard")
Samples = Literal["fixed", "batch"]


@dataclass(frozen=True, kw_only=True)
class BasicDisplayOptions:
    """Where a training is watched. log.jsonl is always written."""

    display: str = "console,page"
    """where to watch, with commas between: console, page, visdom, tensorboard; or none"""
    display_server: str = "http://localhost"
    """address of the visdom server"""
    display_port: int = 8097
    """port of the visdom server"""
    display_env: str = ""
    """visdom environment; the run's name if empty"""

    def __post_init__(self) -> None:
        for name in self.displays:
            require(
                name in DISPLAYS,
                "display",
                f"{name!r} is none of {', '.join(DISPLAYS)}, none{nearest(name, DISPLAYS)}",
            )
        require(
            0 < self.display_port < 2**16,
            "display_port",
            f"{self.display_port} is no port; use 1 to 65535",
        )

    @property
    def displays(self) -> tuple[str, ...]:
        """The names in ``display``, each once."""
        names = (name.strip() for name in self.display.split(","))
        return tuple(dict.fromkeys(name for name in names if name not in {"", "none"}))


@dataclass(frozen=True, kw_only=True)
class DisplayOptions(BasicDisplayOptions):
    """Where a training is watched. log.jsonl is always written."""

    display_samples: Samples = "fixed"
    """pictures to show: fixed, the first of each domain every time, or those of the batch"""


# Options that a resumed run may change freely: none of them alters a weight of the run that is
# continued, or (the last two) only where it ends.
MAY_CHANGE = frozenset(
    {
        "name",
        "checkpoints_dir",
        "num_threads",
        "cache_images",
        "print_freq",
        "display_freq",
        "save_latest_freq",
        "save_epoch_freq",
        "display",
        "display_server",
        "display_port",
        "display_env",
        "display_samples",
        "max_images",
        "n_epochs_decay",
    }
)


@dataclass(frozen=True, kw_only=True)
class TrainOptions:
    """Options of a CycleGAN training, one section each.

    The defaults are those of the reference implementation (Zhu et al. 2017, section 4 and
    appendix 7.1). On the command line and in YAML files the sections are flat.

    Raises:
        OptionError: a value cannot be used; names the option.
    """

    run: RunOptions = field(default_factory=RunOptions)
    data: DataOptions = field(default_factory=DataOptions)
    networks: NetworkOptions = field(default_factory=NetworkOptions)
    losses: LossOptions = field(default_factory=LossOptions)
    schedule: ScheduleOptions = field(default_factory=ScheduleOptions)
    displays: DisplayOptions = field(default_factory=DisplayOptions)

    def __post_init__(self) -> None:
        stride, size = self.networks.stride, self.data.crop_size
        if self.data.crops:
            below, above = size // stride * stride, (size // stride + 1) * stride
            require(
                size % stride == 0,
                "crop_size",
                f"{size} is not a multiple of {stride}, the stride of {self.networks.netG}; "
                f"use {below or above} or {above}",
            )
        require(
            self.losses.gan_mode != "wgangp" or self.data.crops,
            "gan_mode",
            "wgangp compares pictures of one size; use a --preprocess that crops",
        )
        require(
            self.data.batch_size_D == 0 or self.losses.pool_size > 0,
            "batch_size_D",
            f"{self.data.batch_size_D} takes pools of earlier pictures, and --pool_size is 0",
        )
        smallest = self.networks.smallest
        require(
            not self.data.crops or size >= smallest,
            "crop_size",
            f"{size} is below {smallest}, the smallest picture that --netD "
            f"{self.networks.netD} and --netG {self.networks.netG} can judge",
        )
