"""All options of `impasto train`, in seven sections, from the run and the data to the displays.

The help shows each section under its name, and each option with the text below its field.
:class:`BasicRunOptions` and :class:`BasicDisplayOptions` are what every training has; `impasto
backbone train` takes them, too.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import field
from pathlib import Path
from typing import Any, Literal

from impasto.options.errors import moved_away
from impasto.options.fields import (
    nearest,
    option_class,
    require,
    require_at_least,
    require_between,
    require_grid_bend,
    require_positive,
    require_range,
    require_seed,
)
from impasto.options.losses import LossOptions
from impasto.options.networks import (
    SMALLEST_PROJECTED_PX,
    Direction,
    NetworkOptions,
    require_colors_where_needed,
    require_value_ranges,
)

__all__ = [
    "DISPLAYS",
    "FIXED",
    "MAY_CHANGE",
    "PAIRED_DEFAULTS",
    "RUN_MAY_CHANGE",
    "BasicDisplayOptions",
    "BasicRunOptions",
    "BestBy",
    "Compile",
    "Convolution",
    "DataOptions",
    "Device",
    "DisplayOptions",
    "EvaluationOptions",
    "LrPolicy",
    "MixedPrecision",
    "Preprocess",
    "RunOptions",
    "Samples",
    "ScheduleOptions",
    "TrainOptions",
]


Device = Literal["auto", "cpu", "cuda", "mps"]
MixedPrecision = Literal["no", "auto", "fp16", "bf16"]
Convolution = Literal["auto", "direct"]
Compile = Literal["auto", "off", "graph", "full"]


@option_class
class BasicRunOptions:
    """Run: name, folder, device, reports and checkpoints."""

    name: str = "experiment_name"
    """name of the run, whose files go to CHECKPOINTS_DIR/NAME"""
    checkpoints_dir: Path = Path("checkpoints")
    """folder that holds all runs"""
    seed: int = 0
    """seed of the random number generators"""
    device: Device = "auto"
    """where to compute; auto uses a GPU if there is one"""
    threads: int | None = None
    """number of threads that compute on the processor (default: one for each core that the process
    may use, or the environment variable OMP_NUM_THREADS); 1 suits a machine that is busy
    otherwise. The last digits of the results depend on it"""
    mixed_precision: MixedPrecision = "no"
    """numeric precision: no computes in 32 bits; fp16 and bf16 compute in 16 bits where that is
    safe; auto is bf16 where a quick measurement finds it faster, and no elsewhere"""
    gradient_accumulation_steps: int = 1
    """number of batches whose gradients are accumulated before each optimizer step"""
    print_freq: int = 100
    """number of training pictures between two reports of the losses, in the terminal and in
    log.jsonl"""
    display_freq: int = 400
    """number of training pictures between two updates of the sample pictures"""
    save_latest_freq: int = 5000
    """number of training pictures between two saves of the state from which --resume continues"""
    save_epoch_freq: int = 5
    """number of epochs between two saves of the weights to new files, named after the epoch"""

    def __post_init__(self) -> None:
        require(
            bool(self.name) and self.name not in {".", ".."} and not set(self.name) & set("/\\:\0"),
            "name",
            f"{self.name!r} cannot name a folder; use letters, digits, '-' and '_'",
        )
        require_seed(self.seed)
        if self.threads is not None:
            require_positive("threads", self.threads)
        for option, value in (
            ("gradient_accumulation_steps", self.gradient_accumulation_steps),
            ("print_freq", self.print_freq),
            ("display_freq", self.display_freq),
            ("save_latest_freq", self.save_latest_freq),
            ("save_epoch_freq", self.save_epoch_freq),
        ):
            require_positive(option, value)


@option_class
class RunOptions(BasicRunOptions):
    """Run: name, folder, device, reports and checkpoints."""

    compile: Compile = "auto"
    """how training steps are made faster: graph captures a step as a CUDA graph, which needs a GPU
    of NVIDIA or AMD; full also compiles the networks with torch.compile, which takes minutes at the
    start; auto is graph on such a GPU and off elsewhere. Whatever cannot be compiled or
    captured is said and done without. The last digits of the results depend on it"""
    ema_decay: float = 0.0
    """decay per step of an exponential moving average of the generators' weights, for example
    0.999; 0 keeps no average"""
    convolution: Convolution = "direct"
    """arithmetic of the convolutions while networks train on the processor: direct is the library's
    everywhere; auto spares multiplications where that is faster, by Winograd's method with 192
    channels or more, and rounds otherwise in the last digits. On GPUs both are the same, and what
    is shown and evaluated of a training does not follow this option"""
    grid_bend_px: float = 0.0
    """default of --grid_bend_px for these generators in impasto translate and impasto evaluate,
    which then bend (warp) pictures to break up regular grids of strokes, in pixels; it does not
    change the training"""
    strokes_at_px: float | None = None
    """shorter side of the pictures for which the strokes of these generators are right, in pixels,
    by which --stroke_scale auto of impasto translate and impasto evaluate makes strokes larger in
    larger pictures; it does not change the training (default: that of INIT_FROM, if all generators
    start from it; otherwise strokes stay as they are)"""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_between("ema_decay", self.ema_decay, 0.0, 1.0)
        require_grid_bend(self.grid_bend_px)
        if self.strokes_at_px is not None:
            require_positive("strokes_at_px", self.strokes_at_px)


Preprocess = Literal["resize_and_crop", "crop", "scale_width", "scale_width_and_crop", "none"]


@option_class
class DataOptions:
    """Data: folders, sizes, augmentation and loading."""

    dataroot: Path = Path("datasets/monet2photo")
    """folder that holds the sub-folders trainA and trainB"""
    folder_A: Path | None = None
    """folder with the pictures of domain A, instead of DATAROOT/trainA"""
    folder_B: Path | None = None
    """folder with the pictures of domain B, instead of DATAROOT/trainB"""
    direction: Direction = "AtoB"
    """AtoB keeps the two domains as they are; BtoA swaps them"""
    paired: bool = False
    """train the generator from A to B on pairs of pictures of one thing, as pix2pix does: a
    discriminator that also sees the input, and the distance LAMBDA_L1 from the true picture. Pairs
    are files of the same names in both folders, or pictures with A on the left and B on the right
    in DATAROOT/train. Unless they are given, netG is then unet_256, norm batch, dropout true,
    gan_mode vanilla, pool_size 0 and lambda_identity 0, as in the reference implementation"""
    preprocess: Preprocess = "resize_and_crop"
    """how pictures are resized and cropped: resize_and_crop resizes to LOAD_SIZE x LOAD_SIZE, then
    crops at random; crop only crops at random; scale_width resizes to a width of LOAD_SIZE and
    keeps the aspect ratio; scale_width_and_crop does so, then crops at random; none only rounds
    the sides to multiples of the generator's stride"""
    load_size: int = 286
    """side of the square, or width, that --preprocess resizes pictures to, in pixels"""
    crop_size: int = 256
    """side of the square crop that the networks see, in pixels"""
    flip: bool = True
    """flip half of the pictures horizontally, at random"""
    value_range: Sequence[str] = ()
    """numbers of the files that become black and white for the networks, one for both domains or
    one for each, such as 0,4095 for data of 12 bits, or --value_range=-1000,3000; auto measures it
    from the data set, from its percentiles 0.1 to 99.9; full (default) is all that the samples can
    be, 0 to 255 or 0 to 65535, and 0 to 1 for floating-point numbers. It is stored with the model,
    and what lies outside is clipped"""
    serial_batches: bool = False
    """take the pictures of both domains in the order of their names, instead of at random"""
    batch_size: int = 1
    """number of pictures of each domain in a batch; in a distributed training, for each process"""
    batch_size_D: int = 0
    """number of real pictures, and also of translations, that each discriminator sees per step:
    either at least BATCH_SIZE, or 0 for the new pictures only. Those beyond BATCH_SIZE are earlier
    ones, drawn from buffers of POOL_SIZE pictures; a larger batch costs a discriminator little and
    makes its training steadier"""
    max_dataset_size: int | None = None
    """use only the first MAX_DATASET_SIZE pictures of each domain (default: all)"""
    num_threads: int = 4
    """number of processes that load pictures; 0 loads them in the training process"""
    cache_images: bool = False
    """keep decoded and resized pictures in memory, once for all processes that load pictures; for
    datasets that fit"""
    reduced_decoding: bool = False
    """decode JPEGs that are much larger than LOAD_SIZE at a half, a quarter or an eighth of their
    size, such that twice the sides remain that they are resized to: several times as fast for
    photographs of a camera; pixels differ by half of one of 255 levels on average, one at most"""

    def __post_init__(self) -> None:
        object.__setattr__(self, "value_range", tuple(self.value_range))
        require_value_ranges(self.value_range)
        require_positive("load_size", self.load_size)
        require_positive("crop_size", self.crop_size)
        require_positive("batch_size", self.batch_size)
        require_at_least("num_threads", self.num_threads, 0)
        require_at_least("batch_size_D", self.batch_size_D, 0)
        require(
            self.batch_size_D == 0 or self.batch_size_D >= self.batch_size,
            "batch_size_D",
            f"{self.batch_size_D} is below --batch_size {self.batch_size}; expected 0, for the new "
            f"pictures only, or at least {self.batch_size}",
        )
        require(
            self.batch_size_D == 0 or self.crops,
            "batch_size_D",
            "pictures of different sizes cannot form a batch; expected a --preprocess that crops, "
            f"got {self.preprocess}",
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
                f"--preprocess {self.preprocess}, or a --preprocess that crops",
            )
        require(
            (self.folder_A is None) == (self.folder_B is None),
            "folder_A" if self.folder_A is None else "folder_B",
            "is missing; give both --folder_A and --folder_B, or neither and --dataroot",
        )

    @property
    def value_ranges(self) -> tuple[str, str]:
        """The range of each domain: ``full``, ``auto``, or two numbers and a comma."""
        given = self.value_range or ("full",)
        return given[0], given[-1]

    def require_one_place(self, given: Collection[str]) -> None:
        """Refuse a ``dataroot`` that would have no effect.

        Args:
            given: names of the options that are given here, and not by an earlier run or a file.

        Raises:
            OptionError: the folders of both domains are named already.
        """
        require(
            "dataroot" not in given or self.folder_A is None,
            "dataroot",
            f"has no effect, since the pictures are taken from --folder_A {self.folder_A} and "
            f"--folder_B {self.folder_B}; leave it out, or add --folder_A null --folder_B null",
        )

    def require_unmoved(self, *, in_python: bool = False) -> None:
        """Refuse, when a training is resumed, folders that are no longer there.

        Args:
            in_python: whether the message says what to pass to a function, not what to type.

        Raises:
            FolderError: the pictures were moved; the message says how to name their new place.
        """
        names = ("dataroot",) if self.folder_A is None else ("folder_A", "folder_B")
        for folder in dict.fromkeys(self.folders):
            if not folder.exists():
                raise moved_away(folder, names, in_python=in_python)

    @property
    def crops(self) -> bool:
        """Whether every picture becomes a square of ``crop_size`` pixels."""
        return self.preprocess in {"resize_and_crop", "crop", "scale_width_and_crop"}

    @property
    def folders(self) -> tuple[Path, Path]:
        """The folders of domains A and B, already swapped where the direction is BtoA.

        Of paired data they are the same folder where each picture shows both halves of a pair.
        """
        together = self.dataroot / "train"
        apart = self.folder_A is not None or (self.dataroot / "trainA").is_dir()
        if self.paired and not apart and together.is_dir():
            return together, together
        first = self.folder_A or self.dataroot / "trainA"
        second = self.folder_B or self.dataroot / "trainB"
        return (first, second) if self.direction == "AtoB" else (second, first)


LrPolicy = Literal["linear", "step", "plateau", "cosine"]


@option_class
class ScheduleOptions:
    """Schedule: number of epochs and learning rate."""

    n_epochs: int = 100
    """number of epochs with the initial learning rate"""
    n_epochs_decay: int = 100
    """number of epochs after the first N_EPOCHS, in which the learning rate decays to zero; a
    resumed run can raise it"""
    max_images: int | None = None
    """stop after MAX_IMAGES pictures of each domain, even in the middle of an epoch (default:
    train for all epochs)"""
    lr: float = 0.0002
    """initial learning rate of Adam"""
    beta1: float = 0.5
    """decay rate of Adam's first moment (momentum)"""
    beta2: float = 0.999
    """decay rate of Adam's second moment"""
    lr_policy: LrPolicy = "linear"
    """learning rate schedule: linear (constant for N_EPOCHS, then decaying to zero), step (divided
    by 10 after every LR_DECAY_ITERS epochs), plateau (divided by 5 when the loss of the generators
    stops falling) or cosine"""
    lr_decay_iters: int = 50
    """number of epochs between two divisions of the learning rate by 10, with --lr_policy step"""
    warmup_images: int = 0
    """number of pictures of each domain, at the start of the training, in which the learning rate
    rises linearly from 0 to what LR_POLICY makes it; 0 starts with the whole rate"""

    def __post_init__(self) -> None:
        require_at_least("n_epochs", self.n_epochs, 0)
        require_at_least("n_epochs_decay", self.n_epochs_decay, 0)
        require(
            self.n_epochs + self.n_epochs_decay > 0,
            "n_epochs",
            "n_epochs and --n_epochs_decay are both 0; expected at least one epoch",
        )
        if self.max_images is not None:
            require_positive("max_images", self.max_images)
        require_positive("lr", self.lr)
        require_between("beta1", self.beta1, 0.0, 1.0)
        require_between("beta2", self.beta2, 0.0, 1.0)
        require_positive("lr_decay_iters", self.lr_decay_iters)
        require_at_least("warmup_images", self.warmup_images, 0)

    @property
    def total_epochs(self) -> int:
        """Epochs of the whole training."""
        return self.n_epochs + self.n_epochs_decay


BestBy = Literal["swd", "kid_lite"]


@option_class
class EvaluationOptions:
    """Evaluation: which epoch is best, measured between epochs."""

    evaluate_every_epochs: int = 0
    """number of epochs between two measurements of the generators, which are those that are
    exported; the last epoch is measured, too. 0 measures none. Neither a weight nor a random number
    of the training depends on it"""
    val_A: Path | None = None
    """folder with pictures of domain A that are not trained on, for the measurements; they are
    translated as they are, in their own size"""
    val_B: Path | None = None
    """folder with pictures of domain B that are not trained on, likewise; at least 4, since one
    half of them is compared with the other, too"""
    held_back: int = 0
    """number of pictures of each domain that are held back from the training and measured with,
    instead of VAL_A and VAL_B; SEED and their names decide which, and held_back_A.txt and
    held_back_B.txt in the folder of the run name them"""
    best: BestBy = "swd"
    """measure whose lowest value makes an epoch the best one, whose generators are kept as
    best_G_A.safetensors and best_G_B.safetensors, each at its own best epoch: swd (sliced
    Wasserstein distance) or kid_lite (KID with the features of EfficientNet-Lite0)"""
    patience: int = 0
    """end the training after PATIENCE measurements in a row in which no generator has become better
    than its best; 0 trains for all epochs"""

    def __post_init__(self) -> None:
        require_at_least("evaluate_every_epochs", self.evaluate_every_epochs, 0)
        require_at_least("held_back", self.held_back, 0)
        require_at_least("patience", self.patience, 0)
        require(
            (self.val_A is None) == (self.val_B is None),
            "val_A" if self.val_A is None else "val_B",
            "is missing; give both --val_A and --val_B",
        )
        require(
            self.held_back == 0 or self.val_A is None,
            "held_back",
            f"got {self.held_back} beside --val_A and --val_B; leave it out, or leave those out",
        )
        require(
            self.held_back == 0 or self.held_back >= _FEWEST_JUDGED,
            "held_back",
            f"{self.held_back} pictures are too few to compare one half with the other; expected "
            f"at least {_FEWEST_JUDGED}, better 32 or more",
        )
        measured = self.val_A is not None or self.held_back > 0
        require(
            self.evaluate_every_epochs == 0 or measured,
            "evaluate_every_epochs",
            "needs pictures that are not trained on: give folders of them as --val_A and --val_B, "
            "or hold some of the training pictures back, as with --held_back 32",
        )
        require(
            self.evaluate_every_epochs > 0 or not measured,
            "held_back" if self.held_back else "val_A",
            "is for measurements between epochs; add --evaluate_every_epochs 5",
        )
        require(
            self.evaluate_every_epochs > 0 or self.patience == 0,
            "patience",
            f"{self.patience} counts measurements between epochs; add --evaluate_every_epochs 5",
        )


_FEWEST_JUDGED = 4

DISPLAYS = ("console", "page", "visdom", "tensorboard", "wandb", "mlflow", "trackio")
Samples = Literal["fixed", "batch"]


@option_class
class BasicDisplayOptions:
    """Displays: where the progress is shown, besides log.jsonl."""

    display: str = "console,page"
    """where the progress is shown, separated by commas: console, page (web/index.html in the
    folder of the run), visdom, tensorboard, wandb, mlflow, trackio; or none. Only the last three
    can send anything to others, where their own settings say"""
    display_server: str = "http://localhost"
    """address of the visdom server"""
    display_port: int = 8097
    """port of the visdom server"""
    display_env: str = ""
    """visdom environment that the run is shown in (default: the name of the run)"""

    def __post_init__(self) -> None:
        for name in self.displays:
            require(
                name in DISPLAYS,
                "display",
                f"expected {', '.join(DISPLAYS)} or none, got {name!r}{nearest(name, DISPLAYS)}",
            )
        require_range("display_port", self.display_port, 1, 2**16 - 1)

    @property
    def displays(self) -> tuple[str, ...]:
        """The names in ``display``, each once."""
        names = (name.strip() for name in self.display.split(","))
        return tuple(dict.fromkeys(name for name in names if name not in {"", "none"}))


@option_class
class DisplayOptions(BasicDisplayOptions):
    """Displays: where the progress is shown, besides log.jsonl."""

    display_samples: Samples = "fixed"
    """sample pictures that are shown: fixed shows the first ones of each domain every time, batch
    those of the current batch"""


RUN_MAY_CHANGE = frozenset(
    {
        "name",
        "checkpoints_dir",
        "threads",
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
        "max_images",
    }
)
"""Options of every training that a resumed run may change freely: none of them alters a weight of
the run that is continued, or (the last) only where it ends."""

MAY_CHANGE = RUN_MAY_CHANGE | {
    *("compile", "display_samples", "n_epochs_decay", "strokes_at_px"),
    *("evaluate_every_epochs", "val_A", "val_B", "best", "patience"),
}
"""Options of `impasto train` that a resumed run may change freely."""

FIXED = frozenset(
    {
        "netG",
        "netD",
        "input_nc",
        "output_nc",
        "ngf",
        "ndf",
        "n_layers_D",
        "norm",
        "upsample",
        "color_skip",
        "output_base",
        "stroke_noise",
        "one_sided",
        "paired",
        "nce_layers",
        "netF_nc",
        "dropout",
        "init_from",
        "init_style",
        "init_direction",
    }
)
"""Options of `impasto train` that make other networks, into which a saved state does not fit."""


PAIRED_DEFAULTS: Mapping[str, Any] = {
    "netG": "unet_256",
    "norm": "batch",
    "dropout": True,
    "gan_mode": "vanilla",
    "pool_size": 0,
    "lambda_identity": 0.0,
}
"""Values that options have with ``paired`` unless they are given; those of pix2pix in the reference
(Isola et al. 2017, appendix 6)."""


@option_class
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
    evaluation: EvaluationOptions = field(default_factory=EvaluationOptions)
    displays: DisplayOptions = field(default_factory=DisplayOptions)

    def __post_init__(self) -> None:
        stride, size = self.networks.stride, self.data.crop_size
        if self.data.crops:
            below, above = size // stride * stride, (size // stride + 1) * stride
            require(
                size % stride == 0,
                "crop_size",
                f"{size} is not a multiple of {stride}, the stride of {self.networks.netG}; "
                f"use {f'{below} or ' if below else ''}{above}",
            )
        require(
            self.losses.gan_mode != "wgangp" or self.data.crops,
            "gan_mode",
            "wgangp needs pictures of the same size; use a --preprocess that crops",
        )
        require(
            self.data.batch_size_D == 0 or self.losses.pool_size > 0,
            "batch_size_D",
            f"{self.data.batch_size_D} needs buffers of earlier pictures; expected a --pool_size "
            "above 0, got 0",
        )
        if self.data.paired:
            self._check_pairs()
        else:
            self._check_sides()
        require(
            not self.data.paired or self.evaluation.held_back == 0,
            "held_back",
            "pairs are not held back; measure with other pictures, --val_A and --val_B",
        )
        require_colors_where_needed(self.networks, self.losses)
        self._check_colors()
        smallest = self.networks.smallest
        require(
            not self.data.crops or size >= smallest,
            "crop_size",
            f"{size} is below {smallest}, the smallest size that --netD "
            f"{self.networks.netD} and --netG {self.networks.netG} can process",
        )

    @staticmethod
    def implied_defaults(flat: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return defaults that take the place of the usual ones where other options ask for it.

        Args:
            flat: options that are given, by their flat names.
        """
        return PAIRED_DEFAULTS if flat.get("paired") in {True, "true"} else {}

    def _check_pairs(self) -> None:
        """Refuse what has no meaning for pairs of pictures."""
        networks, losses = self.networks, self.losses
        for option, given, why in (
            ("one_sided", networks.one_sided, "--paired trains one direction by itself"),
            ("init_from", len(networks.init_from) > 1, "--paired trains one generator; give one"),
            ("lambda_nce", losses.lambda_nce > 0, "pairs are compared pixel by pixel"),
            ("lambda_identity", losses.lambda_identity > 0, "expected 0 with --paired"),
            (
                "netD",
                networks.netD == "projected",
                "projected sees 3 channels, and with --paired a discriminator sees the input, too; "
                "expected basic, n_layers or pixel",
            ),
            (
                "diffaugment",
                "color" in losses.diffaugment,
                "color would change what tells which input a picture belongs to; expected "
                "translation, cutout or both with --paired",
            ),
            (
                "perceptual_targets",
                losses.perceptual_targets != "translation",
                "there is no reconstruction with --paired; expected translation",
            ),
        ):
            require(not given, option, why)
        self._check_style()

    @property
    def are_colors(self) -> tuple[bool, bool]:
        """Whether pictures of A and of B are read as colors, RGB of 8 bits, not as numbers."""
        (first, second), of = self.data.value_ranges, self.networks
        return (of.input_nc, first) == (3, "full"), (of.output_nc, second) == (3, "full")

    def _check_colors(self) -> None:
        """Refuse what is for RGB pictures of 8 bits alone."""
        colors = self.are_colors
        require(
            not self.data.reduced_decoding or any(colors),
            "reduced_decoding",
            "is for RGB pictures of 8 bits, and neither domain is read so",
        )
        require(
            self.evaluation.evaluate_every_epochs == 0 or all(colors),
            "evaluate_every_epochs",
            "measures RGB pictures of 8 bits, not numbers; leave it out (docs/other_images.md)",
        )

    def _check_sides(self) -> None:
        """Refuse losses that need what is not trained."""
        one_sided, losses = self.networks.one_sided, self.losses
        require(
            losses.lambda_nce == 0 or one_sided,
            "lambda_nce",
            "the contrastive loss is for one direction; add --one_sided true",
        )
        require(
            losses.lambda_nce == 0 or self.networks.netG.startswith("resnet"),
            "lambda_nce",
            "the contrastive loss looks into the layers of a ResNet; got --netG "
            f"{self.networks.netG}",
        )
        require(
            not one_sided or losses.lambda_nce > 0 or losses.lambda_perceptual > 0,
            "one_sided",
            "without a cycle nothing would keep the content of a picture; add --lambda_perceptual "
            "1 --perceptual_backbone lite, or --lambda_nce 1",
        )
        require(
            not one_sided or losses.perceptual_targets == "translation",
            "perceptual_targets",
            f"{losses.perceptual_targets} needs a cycle, and --one_sided has none",
        )
        self._check_style()

    def _check_style(self) -> None:
        """Refuse a style loss of pictures that are too small, or of different sizes."""
        losses = self.losses
        for option in ("lambda_style", "lambda_strokes"):
            require(
                getattr(losses, option) == 0 or self.data.crops,
                option,
                "this loss compares pictures of one size; use a --preprocess that crops",
            )
        reduced = self.data.crop_size >> (losses.style_scales - 1)
        require(
            losses.style_scales == 1 or reduced >= SMALLEST_PROJECTED_PX,
            "style_scales",
            f"the smallest of {losses.style_scales} sizes has {reduced} px; expected at least "
            f"{SMALLEST_PROJECTED_PX}: use a larger --crop_size, or fewer sizes",
        )
