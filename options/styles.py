"""All options of `impasto style train`, which trains one small network for some paintings."""

from collections.abc import Sequence
from dataclasses import field
from pathlib import Path

from impasto.options.fields import (
    option_class,
    require,
    require_at_least,
    require_between,
    require_positive,
)
from impasto.options.networks import OutputBase
from impasto.options.train import RUN_MAY_CHANGE, BasicDisplayOptions, BasicRunOptions

__all__ = [
    "STYLE_FIXED",
    "STYLE_MAY_CHANGE",
    "StyleDataOptions",
    "StyleLossOptions",
    "StyleNetworkOptions",
    "StyleRunOptions",
    "StyleScheduleOptions",
    "StyleTrainOptions",
]

STYLE_FIXED = frozenset({"styles", "ngf", "n_blocks", "output_base", "stroke_noise"})
"""Options of `impasto style train` that make another network."""

STYLE_MAY_CHANGE = RUN_MAY_CHANGE | {"max_minutes"}
"""Options of `impasto style train` that a resumed run may change freely. Those that say when it
ends also stretch the rest of the learning rate's schedule."""

# EfficientNet-Lite0 looks at windows that are 8 pixels smaller.
_SMALLEST_CROP_PX = 64


@option_class
class StyleRunOptions(BasicRunOptions):
    """Run: name, folder, device, reports and checkpoints."""

    name: str = "styles"
    print_freq: int = 200
    display_freq: int = 2000
    save_latest_freq: int = 4000
    save_epoch_freq: int = 1000


@option_class
class StyleDataOptions:
    """Data: paintings, photographs, their sizes and crops."""

    styles: Sequence[Path] = ()
    """pictures of which each is a style, named after its file"""
    photos: Sequence[Path] = ()
    """folders or files of the photographs that the network learns from"""
    style_size: int = 512
    """longer side that the styles are reduced to, in pixels; at about this size of a photograph,
    strokes are as wide as impasto stylize makes them. Smaller pictures are not enlarged"""
    style_frames: bool = False
    """keep the plain frames of the styles, such as the margins of a print, which are cut off
    otherwise"""
    crop_size: int = 256
    """side of the square crops of photographs that the network sees, in pixels, a multiple of 4"""
    load_size: int = 448
    """largest shorter side that photographs are brought to before they are cropped, in pixels:
    their shorter sides are spread evenly from CROP_SIZE to LOAD_SIZE"""
    batch_size: int = 4
    """number of crops in a batch, to which the styles are dealt out in turn; 16 to 32 keep a GPU
    busy"""
    max_dataset_size: int = 2000
    """use only the first MAX_DATASET_SIZE photographs, all of which are kept in memory"""
    num_threads: int = 4
    """number of threads that read the photographs, once, at the start"""

    def __post_init__(self) -> None:
        require_at_least("style_size", self.style_size, _SMALLEST_CROP_PX)
        require_at_least("crop_size", self.crop_size, _SMALLEST_CROP_PX)
        require(
            self.crop_size % 4 == 0,
            "crop_size",
            f"{self.crop_size} is no multiple of 4, by which the network divides the sides",
        )
        require(
            self.crop_size <= self.load_size,
            "load_size",
            f"{self.load_size} is smaller than --crop_size {self.crop_size}, which is cropped from "
            "it",
        )
        require_positive("batch_size", self.batch_size)
        require_positive("max_dataset_size", self.max_dataset_size)
        require_positive("num_threads", self.num_threads)


@option_class
class StyleNetworkOptions:
    """Network: a small ResNet, of whose normalizations each style has its own scales and shifts."""

    ngf: int = 16
    """number of filters in the first convolution"""
    n_blocks: int = 5
    """number of residual blocks"""
    output_base: OutputBase = "kuwahara"
    """what the network adds its output to: kuwahara is the picture without its texture (a Kuwahara
    filter of 3 x 3 pixels), none leaves the whole picture to the network"""
    stroke_noise: bool = True
    """give the network noise from which strokes begin on plain grounds, such as a clear sky; the
    noise is the same each time that a picture is translated"""

    def __post_init__(self) -> None:
        require_positive("ngf", self.ngf)
        require_positive("n_blocks", self.n_blocks)


@option_class
class StyleLossOptions:
    """Losses: those of impasto stylize with --preset lite, of each crop against its style."""

    content_weight: float = 0.05
    """weight of the content loss: features of the photograph"""
    style_weight: float = 1.0
    """weight of the style loss: means and covariances of the features of the painting"""
    tv_weight: float = 1.5
    """weight of the total variation loss"""
    patch_weight: float = 0.4
    """weight of a second style loss, which compares patches of 5 x 5 pixels"""
    chroma_weight: float = 0.03
    """weight of the total variation of colors, relative to that of the style"""

    def __post_init__(self) -> None:
        for name in (
            "content_weight",
            "style_weight",
            "tv_weight",
            "patch_weight",
            "chroma_weight",
        ):
            require_between(name, getattr(self, name), 0.0, float("inf"))


@option_class
class StyleScheduleOptions:
    """Schedule: length of the training, and learning rate."""

    max_images: int = 40_000
    """number of crops after which the training is complete"""
    max_minutes: float | None = None
    """complete the training after MAX_MINUTES of training, if that comes before MAX_IMAGES; how
    far the learning rate has fallen then depends on the speed of the machine, so the same training
    gives other weights on another one (default: no limit)"""
    lr: float = 0.002
    """largest learning rate of Adam, which rises to it for 100 steps and then falls to 0 along a
    cosine"""
    ema_decay: float = 0.995
    """decay per step of the exponential moving average of the weights, which is what is saved as
    the model"""

    def __post_init__(self) -> None:
        require_positive("max_images", self.max_images)
        if self.max_minutes is not None:
            require_positive("max_minutes", self.max_minutes)
        require_positive("lr", self.lr)
        require(0 < self.ema_decay < 1, "ema_decay", f"{self.ema_decay} is not above 0 and below 1")


@option_class
class StyleTrainOptions:
    """Options of the training of fast styles, one section each.

    Raises:
        OptionError: a value cannot be used; names the option.
    """

    run: StyleRunOptions = field(default_factory=StyleRunOptions)
    data: StyleDataOptions = field(default_factory=StyleDataOptions)
    network: StyleNetworkOptions = field(default_factory=StyleNetworkOptions)
    losses: StyleLossOptions = field(default_factory=StyleLossOptions)
    schedule: StyleScheduleOptions = field(default_factory=StyleScheduleOptions)
    displays: BasicDisplayOptions = field(default_factory=BasicDisplayOptions)

    def require_pictures(self) -> None:
        """Refuse a training without paintings or photographs.

        Raises:
            OptionError: names the option that is missing.
        """
        require(bool(self.data.styles), "styles", "is missing; name one or more paintings")
        require(bool(self.data.photos), "photos", "is missing; name a folder of photographs")
