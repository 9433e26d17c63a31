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
from impasto.options.networks import Direction
from impasto.options.train import Device, MixedPrecision

__all__ = ["BestBy", "EvaluateOptions", "InputHalf"]

InputHalf = Literal["left", "right"]
BestBy = Literal["auto", "swd", "strokes", "kid", "fid", "palette", "style", "combined"]


@option_class
class EvaluateOptions:
    """Measure how near results are to a domain, and to the pictures that they were made of."""

    headings: ClassVar[Mapping[str, str]] = {
        "real": "pictures",
        "direction": "models",
        "backbone": "measures",
        "seed": "running",
    }

    real: Path | None = None
    """folder with real pictures of the target domain, for example testA, or a .txt file that names
    one picture a line, such as the held_back_B.txt of a run; needed unless STYLES is given"""
    inputs: Path | None = None
    """folder with the pictures that are translated or stylized, for example testB, a .txt file that
    names one picture a line, or one picture; models need it, and so do the measures that compare a
    result with its input. For films, the film before it was translated"""
    paired: bool = False
    """REAL holds the true picture of each picture in INPUTS, of the same name but for the ending,
    and results are also compared with these; where both are the same folder, each of its pictures
    shows input and true picture side by side"""
    input_half: InputHalf = "left"
    """half that is the input where pictures show input and true picture side by side"""
    styles: Sequence[Path] = ()
    """style pictures that the results were stylized with; each is one style, and a folder of
    pictures is one style, too. With several, a result is compared with the style that its recipe,
    its name or its folder names, and else with all of them together"""
    more_real: Path | None = None
    """folder with further real pictures, for example trainA; their distance from REAL shows how
    near any result can be expected to come; without it, the two halves of REAL are compared
    with each other"""
    output: Path = Path("evaluation")
    """folder for results.json, results.csv, the page index.html and its pictures; it must not hold
    anything else"""
    direction: Direction | None = None
    """direction of translation of runs: AtoB uses the generator G_A, BtoA the generator G_B; in
    folders that test.py of the reference implementation wrote, AtoB takes *_fake_B and BtoA
    *_fake_A (default: AtoB)"""
    epochs: Sequence[str] = ("latest",)
    """weights of runs to evaluate: latest, best (what impasto train --evaluate_every_epochs kept),
    numbers of epochs whose weights were kept, or all of these but best"""
    grid_bend_px: float | None = None
    """bend pictures by about this many pixels before the generators, and back after them
    (default: the value that is stored with each model; see impasto translate --help)"""
    backbone: str = "auto"
    """network whose features are compared: inception (the one of published KIDs and FIDs), lite
    (EfficientNet-Lite0, which is installed with Impasto), vgg19, resnet50 or another model of
    torchvision, a run of impasto backbone train, random, or none. auto is inception if its file is
    in the cache of torchvision, and lite otherwise. Whatever is not computed with the published
    network carries the name of its own, as in KID (lite) and FID (lite), and cannot be compared
    with published figures"""
    weights: Path | None = None
    """file with the weights of the network"""
    layer: str = ""
    """layer of the network whose features KID, FID, precision and recall compare (default: the
    deepest)"""
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
    kid, fid, palette, style, or combined, the product of style and content distance; auto is
    combined with STYLES, else kid where BACKBONE names a network or the file of inception is found,
    and swd elsewhere"""
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
                epoch in {"latest", "best", "all"} or epoch.isdecimal(),
                "epochs",
                f"expected latest, best, all or the number of an epoch, got {epoch!r}",
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
        object.__setattr__(self, "styles", tuple(self.styles))
        require(
            self.real is not None or bool(self.styles),
            "real",
            "is missing; give a folder of real pictures, or --styles for stylized pictures",
        )
        require(
            self.real is not None or self.more_real is None,
            "more_real",
            "is compared with real pictures, and there are none; give --real",
        )
        require(
            not self.paired or (self.real is not None and self.inputs is not None),
            "paired",
            "needs the true pictures, --real, and those that were translated, --inputs",
        )
        require(
            self.input_half == "left" or self.paired,
            "input_half",
            "is for pictures side by side; add --paired true",
        )
        if self.backbone == "auto" and self.weights is not None:
            name = "inception" if "inception" in self.weights.name.lower() else "auto"
            object.__setattr__(self, "backbone", name)
        require(
            self.backbone != "inception" or not self.layer,
            "layer",
            f"got {self.layer}; inception is always compared at its last pooling layer",
        )
        require(
            self.backbone != "none" or (self.weights is None and not self.layer),
            "weights" if self.weights is not None else "layer",
            "has no effect without a network; leave --backbone none out",
        )
        require(
            self.backbone != "none" or not self.styles,
            "styles",
            "are compared by features of a network; leave --backbone none out",
        )
        self._require_best_by()
        require_seed(self.seed)

    def _require_best_by(self) -> None:
        """Refuse a measure that there will not be."""
        if self.best_by in {"kid", "fid"}:
            require(
                self.backbone != "none",
                "best_by",
                f"{self.best_by} compares features of a network; leave --backbone none out",
            )
        if self.best_by in {"style", "combined"}:
            require(bool(self.styles), "best_by", f"{self.best_by} needs style pictures: --styles")
        if self.best_by == "combined":
            require(
                self.inputs is not None,
                "best_by",
                "combined is of style and content; give the contents as --inputs",
            )
        if self.best_by in {"swd", "strokes", "kid", "fid", "palette"}:
            require(
                self.real is not None,
                "best_by",
                f"{self.best_by} compares with real pictures; give --real",
            )
