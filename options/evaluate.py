"""All options of `impasto evaluate`."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from impasto.options.fields import (
    require,
    require_at_least,
    require_grid_bend,
    require_positive,
    split_backbone,
)
from impasto.options.train import Device, Direction

__all__ = ["BestBy", "EvaluateOptions"]

BestBy = Literal["auto", "swd", "kid", "fid", "palette"]


@dataclass(frozen=True, kw_only=True)
class EvaluateOptions:
    """Measure how near results are to a domain, and to the pictures that they were made of."""

    real: Path
    """pictures of the domain that results shall look like, for example testA"""
    inputs: Path | None = None
    """pictures that the results are made of, for example testB; needed for models, and for the
    measures that compare with them"""
    more_real: Path | None = None
    """further real pictures, for example trainA: as many of them as there are inputs show how near
    real ones are to real ones; without them the two halves of REAL are compared"""
    output: Path = Path("evaluation")
    """folder for results.json, the page index.html, and its pictures; of its own"""
    direction: Direction | None = None
    """which generator of a run: AtoB is G_A (the default), BtoA is G_B; a single file knows; and
    which results among those of the reference's test.py: *_fake_B or *_fake_A"""
    epochs: Sequence[str] = ("latest",)
    """checkpoints of the runs: latest (the default), numbers of kept epochs, or all"""
    grid_bend_px: float | None = None
    """how far pictures are bent for the generators, and back; unless given, as impasto translate
    does for each"""
    backbone: str = "none"
    """network whose features KID and FID compare: inception (with its file as WEIGHTS), vgg19,
    resnet50 or another model of torchvision, a run of impasto backbone train, random, or none"""
    weights: Path | None = None
    """file with the network's weights"""
    layer: str = ""
    """layer of the network; the deepest unless given"""
    size_px: int = 256
    """side of the square that pictures are brought to for measures of sets, a power of two"""
    patches: int = 16384
    """patches per level of the sliced Wasserstein distance"""
    max_pictures: int | None = None
    """use only the first so many pictures of REAL, INPUTS and each folder of results"""
    best_by: BestBy = "auto"
    """which measure names the best row: auto is kid if there is a network, swd otherwise"""
    seed: int = 0
    """of patches, directions, subsets and of the choice among MORE_REAL"""
    device: Device = "auto"
    """where to compute; auto takes a GPU if there is one"""

    def __post_init__(self) -> None:
        backbone, weights = split_backbone(
            self.backbone, self.weights, options=("backbone", "weights")
        )
        object.__setattr__(self, "backbone", backbone)
        object.__setattr__(self, "weights", weights)
        # Each once, in the order given.
        object.__setattr__(self, "epochs", tuple(dict.fromkeys(map(str, self.epochs))))
        require(bool(self.epochs), "epochs", "there is none; latest is usual")
        for epoch in self.epochs:
            require(
                epoch in {"latest", "all"} or epoch.isdecimal(),
                "epochs",
                f"{epoch!r} is neither latest, nor all, nor a number",
            )
        require(
            self.size_px >= 16 and self.size_px & (self.size_px - 1) == 0,
            "size_px",
            f"{self.size_px} is not a power of two from 16; 256 is usual",
        )
        require_at_least("patches", self.patches, 256)
        if self.grid_bend_px is not None:
            require_grid_bend(self.grid_bend_px)
        if self.max_pictures is not None:
            require_positive("max_pictures", self.max_pictures)
        require(
            self.backbone != "inception" or self.weights is not None,
            "weights",
            "missing; inception needs its file, weights-inception-2015-12-05-6726825d.pth of "
            "torch-fidelity (Impasto downloads nothing)",
        )
        require(
            self.backbone != "inception" or not self.layer,
            "layer",
            f"{self.layer}; FID and KID of inception are always of its last pooling layer",
        )
        require(
            self.backbone != "none" or (self.weights is None and not self.layer),
            "weights" if self.weights is not None else "layer",
            "there is no network to use it; give --backbone",
        )
        require(
            self.backbone != "none" or self.best_by not in {"kid", "fid"},
            "best_by",
            f"{self.best_by} compares features of a network; give --backbone",
        )
        require(0 <= self.seed < 2**63, "seed", f"{self.seed} is not in [0, 2**63)")
