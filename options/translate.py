"""All options of `impasto translate`.

All options of `impasto models`.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from impasto.options.fields import require, require_grid_bend, require_positive
from impasto.options.train import Device, Direction, MixedPrecision

__all__ = ["ModelsOptions", "PictureFormat", "TranslateOptions"]


PictureFormat = Literal["png", "jpg", "webp"]


@dataclass(frozen=True, kw_only=True)
class TranslateOptions:
    """Translate pictures with a trained generator; size out = size in."""

    model: Path = Path("monet")
    """monet and photo ship with Impasto: photographs into Monets, and Monets into photographs; or a
    run folder (checkpoints/NAME or NAME), or one generator as .safetensors or .pth"""
    output: Path
    """folder for the translated pictures and their page, index.html"""
    direction: Direction | None = None
    """which generator of a run: AtoB is G_A (the default), BtoA is G_B; a single file knows"""
    epoch: str = "latest"
    """which weights of a run: latest, or the number of a kept epoch"""
    format: PictureFormat = "png"
    """file format of the results; jpg cannot keep transparency"""
    quality: int = 95
    """quality of jpg and webp files, 1 to 100"""
    long_side: int | None = None
    """scale larger pictures down to so many pixels on their longer side first"""
    stroke_scale: float = 1.0
    """paint so many times larger strokes: the generator sees the picture so many times smaller, and
    what it made is enlarged; 2 suits pictures of 1,000 pixels. Faster, and finer detail is lost"""
    grid_bend_px: float | None = None
    """bend pictures by about so many pixels for the generator, and back after it, so that what it
    paints forms no regular grid: 3 is enough; 0 does not. Unless given, what the model says: 3 for
    the shipped models, what its training was given for a run, 0 for others"""
    overwrite: bool = False
    """translate again what is already in OUTPUT"""
    batch_size: int = 4
    """pictures of equal size that are translated together"""
    num_threads: int = 4
    """threads that read and write pictures"""
    device: Device = "auto"
    """where to compute; auto takes a GPU if there is one"""
    mixed_precision: MixedPrecision = "no"
    """compute in 16 bits where that is safe: bf16 or fp16"""

    def __post_init__(self) -> None:
        require(1 <= self.quality <= 100, "quality", f"{self.quality} is not in 1..100")
        require_positive("batch_size", self.batch_size)
        require_positive("num_threads", self.num_threads)
        require(
            1 <= self.stroke_scale < math.inf,
            "stroke_scale",
            f"{self.stroke_scale} is not 1 or more",
        )
        if self.grid_bend_px is not None:
            require_grid_bend(self.grid_bend_px)
        if self.long_side is not None:
            require_positive("long_side", self.long_side)
        require(
            self.epoch == "latest" or self.epoch.isdecimal(),
            "epoch",
            f"{self.epoch!r} is neither 'latest' nor a number",
        )


@dataclass(frozen=True, kw_only=True)
class ModelsOptions:
    """List the generators that ship with Impasto, and those in folders of runs."""

    checkpoints_dir: Path = Path("checkpoints")
    """folder with runs, looked through unless FOLDERS are given"""
