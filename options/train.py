"""All options of `impasto train`."""

from dataclasses import dataclass, field

from impasto.options.checks import require
from impasto.options.data import DataOptions
from impasto.options.displays import DisplayOptions
from impasto.options.losses import LossOptions
from impasto.options.networks import NetworkOptions
from impasto.options.run import RunOptions
from impasto.options.schedule import ScheduleOptions

__all__ = ["MAY_CHANGE", "TrainOptions"]

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
