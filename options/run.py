"""A training run as such: its name, place, device, seed, and how often it reports and saves."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from impasto.options.checks import require, require_between, require_grid_bend, require_positive

__all__ = ["BasicRunOptions", "Device", "MixedPrecision", "RunOptions"]

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
