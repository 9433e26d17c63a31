"""All options of `impasto evaluate`."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar, Literal

from impasto.options.fields import (
    option_class,
    require,
    require_at_least,
    require_grid_bend,
    require_positive,
    require_seed,
    split_backbone,
)
from impasto.options.train import Device, Direction, MixedPrecision

__all__ = ["BestBy", "EvaluateOptions"]

BestBy = Literal["auto", "swd", "strokes", "kid", "fid", "palette"]


@option_class
class EvaluateOptions:
    """Measure how near results are to a domain, and to the pictures that they were made of."""

    headings: ClassVar[Mapping[str, str]] = {
        "real": "pictures",
        "direction": "models",
        "backbone": "measures",
        "seed": "running",
    }

    real: Path
    """folder with real pictures of the target domain, for example testA"""
    inputs: Path | None = None
    """folder with the pictures that are translated, for example testB; models need it, and so
    do the measures that compare a result with its input"""
    more_real: Path | None = None
    """folder with further real pictures, for example trainA; their distance from REAL shows how
    near any result can be expected to come; without it, the two halves of REAL are compared
    with each other"""
    output: Path = Path("evaluation")
    """folder for results.json, the page index.html and its pictures; it must not hold anything
    else"""
    direction: Direction | None = None
    """direction of translation of runs: AtoB uses the generator G_A, BtoA the generator G_B; in
    folders that test.py of the reference implementation wrote, AtoB takes *_fake_B and BtoA
    *_fake_A (default: AtoB)"""
    epochs: Sequence[str] = ("latest",)
    """weights of runs to evaluate: latest, numbers of epochs whose weights were kept, or all"""
    grid_bend_px: float | None = None
    """bend pictures by about this many pixels before the generators, and back after them
    (default: the value that is stored with each model; see impasto translate --help)"""
    backbone: str = "none"
    """network whose features KID and FID compare: inception (with its file as WEIGHTS), lite
    (EfficientNet-Lite0, which is installed with Impasto), vgg19, resnet50 or another model of
    torchvision, a run of impasto backbone train, or random; none leaves KID and FID out"""
    weights: Path | None = None
    """file with the weights of the network"""
    layer: str = ""
    """layer of the network whose features are compared (default: the deepest)"""
    size_px: int = 256
    """side to which pictures are resized for measures between sets of pictures, in pixels; a
    power of two"""
    patches: int = 16384
    """number of patches per level for the sliced Wasserstein distance"""
    max_pictures: int | None = None
    """use only the first MAX_PICTURES pictures of REAL, of INPUTS and of each folder of results
    (default: all)"""
    best_by: BestBy = "auto"
    """measure that decides which row is best: swd, strokes (the distance that sees brush strokes),
    kid, fid or palette; auto is kid if there is a network and swd otherwise"""
    seed: int = 0
    """seed of the random patches, projections, subsets, and pictures of MORE_REAL"""
    device: Device = "auto"
    """where to compute; auto uses a GPU if there is one"""
    threads: int | None = None
    """number of threads that compute on the processor (default: one for each core that the process
    may use, or the environment variable OMP_NUM_THREADS); 1 suits a machine that is busy
    otherwise"""
    mixed_precision: MixedPrecision = "no"
    """numeric precision of the generators: no computes in 32 bits; fp16 and bf16 compute in 16
    bits where that is safe; auto is bf16 where a quick measurement finds it faster, and no
    elsewhere. Measures are always computed in 32 bits or more"""

    def __post_init__(self) -> None:
        backbone, weights = split_backbone(
            self.backbone, self.weights, options=("backbone", "weights")
        )
        object.__setattr__(self, "backbone", backbone)
        object.__setattr__(self, "weights", weights)
        # Each once, in the order given.
        object.__setattr__(self, "epochs", tuple(dict.fromkeys(map(str, self.epochs))))
        require(bool(self.epochs), "epochs", "expected at least one, for example latest")
        for epoch in self.epochs:
            require(
                epoch in {"latest", "all"} or epoch.isdecimal(),
                "epochs",
                f"expected latest, all or the number of an epoch, got {epoch!r}",
            )
        require(
            self.size_px >= 16 and self.size_px & (self.size_px - 1) == 0,
            "size_px",
            f"{self.size_px} is not a power of two of at least 16, such as 256",
        )
        require_at_least("patches", self.patches, 256)
        if self.threads is not None:
            require_positive("threads", self.threads)
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
            f"got {self.layer}; inception is always compared at its last pooling layer",
        )
        require(
            self.backbone != "none" or (self.weights is None and not self.layer),
            "weights" if self.weights is not None else "layer",
            "has no effect without a network; give --backbone",
        )
        require(
            self.backbone != "none" or self.best_by not in {"kid", "fid"},
            "best_by",
            f"{self.best_by} compares features of a network; give --backbone",
        )
        require_seed(self.seed)
