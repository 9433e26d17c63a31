"""All options of the feature networks: `impasto backbone train` and `impasto weights`.

A backbone is trained as a classifier; its options have the same sections as those of `impasto
train`, from which it takes the run and the displays.
"""

from collections.abc import Mapping, Sequence
from dataclasses import field
from pathlib import Path
from typing import ClassVar, Literal

from impasto.options.errors import moved_away
from impasto.options.fields import (
    expand_home,
    option_class,
    require,
    require_at_least,
    require_between,
    require_positive,
    require_range,
)
from impasto.options.train import (
    RUN_MAY_CHANGE,
    BasicDisplayOptions,
    BasicRunOptions,
)

__all__ = [
    "BACKBONE_FIXED",
    "BACKBONE_MAY_CHANGE",
    "BackboneOptions",
    "BackboneRunOptions",
    "ClassDataOptions",
    "ClassScheduleOptions",
    "ClassifierOptions",
    "DatasetName",
    "WeightsAction",
    "WeightsOptions",
]


DatasetName = Literal["folder", "cifar100", "caltech101"]

BACKBONE_FIXED = frozenset({"depth", "width", "batch_norm", "pooled"})
"""Options of `impasto backbone train` that make another network."""

BACKBONE_MAY_CHANGE = RUN_MAY_CHANGE | {"download", "n_epochs", "patience"}
"""Options of `impasto backbone train` that a resumed run may change freely."""


@option_class
class BackboneRunOptions(BasicRunOptions):
    """Run: name, folder, device, reports and checkpoints."""

    name: str = "backbone"
    print_freq: int = 2000
    display_freq: int = 10_000
    save_latest_freq: int = 20_000


@option_class
class ClassDataOptions:
    """Data: classes, held-out pictures, augmentation and loading."""

    dataset: DatasetName = "folder"
    """kind of dataset: folder is a folder of pictures for each class; cifar100 and caltech101
    are in the files that torchvision reads"""
    dataroot: Path = Path("datasets/classes")
    """folder that holds the folders of the classes, or cifar-100-python, or caltech101"""
    classes: Sequence[str] = ()
    """two or more classes, each as NAME=FOLDER, or as NAME where that is also the folder;
    relative folders are looked up in DATAROOT (default: every folder in DATAROOT is a class)"""
    val_folder: Path | None = None
    """folder with the held-out pictures, in a folder for each class with the same name as that
    in DATAROOT"""
    val_classes: Sequence[str] = ()
    """folders with the held-out pictures, as NAME=FOLDER for each class; relative folders are
    looked up in VAL_FOLDER or else in DATAROOT"""
    val_share: float = 0.1
    """share of the pictures of each class that is held out, where neither VAL_FOLDER nor
    VAL_CLASSES is given"""
    download: bool = False
    """download cifar100 or caltech101 if it is not in DATAROOT"""
    size: int | None = None
    """side of the square pictures that the network sees, in pixels (default: 32 for cifar100,
    128 for other datasets)"""
    smallest_area: float = 0.35
    """smallest share of a picture's area that its random crop keeps"""
    largest_area: float = 1.0
    """largest share of a picture's area that its random crop keeps; held-out pictures are
    cropped to this share at their center. A small share keeps the resolution of the file, which
    suits classes that differ in strokes or grain rather than in objects"""
    light: float = 0.2
    """strength of the random changes of brightness and contrast; hues are not changed"""
    flip: bool = True
    """flip half of the pictures horizontally, at random"""
    batch_size: int = 64
    """pictures in a batch, for each process"""
    num_threads: int = 4
    """number of processes that load pictures; 0 loads them in the training process"""
    cache_images: bool = False
    """keep decoded and resized pictures in memory, once for all processes that load pictures; for
    datasets that fit"""

    def __post_init__(self) -> None:
        require(
            self.size is None or self.size >= 32,
            "size",
            f"must be at least 32, got {self.size}: five pooling layers divide the sides by 32",
        )
        require_between("val_share", self.val_share, 0.0, 1.0)
        require(
            self.val_share > 0,
            "val_share",
            "0.0 leaves no held-out pictures to measure with; expected a number above 0",
        )
        require(
            0 < self.smallest_area <= 1,
            "smallest_area",
            f"{self.smallest_area} is not above 0 and at most 1",
        )
        require(
            self.smallest_area <= self.largest_area <= 1,
            "largest_area",
            f"{self.largest_area} is not between --smallest_area {self.smallest_area} and 1",
        )
        require_between("light", self.light, 0.0, 1.0)
        require_at_least("batch_size", self.batch_size, 2)
        require_at_least("num_threads", self.num_threads, 0)
        self._require_folders()

    def _require_folders(self) -> None:
        if self.dataset != "folder":
            for name in ("classes", "val_classes", "val_folder"):
                require(not getattr(self, name), name, "can only be used with --dataset folder")
        else:
            require(
                not self.download,
                "download",
                "can only be used with --dataset cifar100 or caltech101",
            )
        for name in ("classes", "val_classes"):
            words: Sequence[str] = getattr(self, name)
            pairs = _pairs(words)
            require(len(words) != 1, name, f"expected two classes or more, got {' '.join(words)}")
            require(len(pairs) == len(words), name, "a class is named twice")
            for word in words:
                require(all(_pairs([word]).popitem()), name, f"expected NAME=FOLDER, got {word!r}")
        places = (
            () if self.val_folder is None or self.val_classes else _pairs(self.classes).values()
        )
        for place in places:
            require(
                not Path(place).is_absolute(),
                "val_folder",
                f"the folder {place} of --classes is absolute, so it has no counterpart in "
                "--val_folder; name the held-out folders with --val_classes",
            )
        require(
            not self.val_classes or set(_pairs(self.classes)) == set(_pairs(self.val_classes)),
            "val_classes",
            f"expected the classes of --classes ({', '.join(_pairs(self.classes)) or 'none'}), got "
            f"{', '.join(_pairs(self.val_classes))}",
        )

    def require_unmoved(self, *, in_python: bool = False) -> None:
        """Refuse, when a training is resumed, folders that are no longer there.

        Args:
            in_python: whether the message says what to pass to a function, not what to type.

        Raises:
            FolderError: the pictures were moved; the message says how to name their new place.
        """
        train, held_out = (_pairs(words).values() for words in (self.classes, self.val_classes))
        places = [
            (self.dataroot / folder, "classes" if Path(folder).is_absolute() else "dataroot")
            for folder in train
        ] or [(self.dataroot, "dataroot")]
        root, name = self.dataroot, "dataroot"
        if self.val_folder is not None:
            root, name = self.val_folder, "val_folder"
            places.append((root, name))
        places += [
            (root / folder, "val_classes" if Path(folder).is_absolute() else name)
            for folder in held_out
        ]
        gone = [(folder, option) for folder, option in places if not folder.exists()]
        if gone:
            options = list(dict.fromkeys(option for _, option in gone))
            raise moved_away(gone[0][0], options, in_python=in_python)

    @property
    def side(self) -> int:
        """The side of the pictures that the network sees, in pixels."""
        return self.size or (32 if self.dataset == "cifar100" else 128)

    @property
    def class_folders(self) -> dict[str, Path]:
        """Folders of the classes that are named, by their names."""
        return {name: self.dataroot / folder for name, folder in _pairs(self.classes).items()}

    @property
    def val_class_folders(self) -> dict[str, Path]:
        """Folders of held-out pictures of the classes that are named, by their names."""
        root = self.val_folder or self.dataroot
        words = self.val_classes or (self.classes if self.val_folder else ())
        return {name: root / folder for name, folder in _pairs(words).items()}


@option_class
class ClassifierOptions:
    """Network: VGG16 or VGG19."""

    depth: Literal[16, 19] = 19
    """number of layers with weights: 16 for VGG16, 19 for VGG19"""
    width: float = 1.0
    """number of channels relative to the published network; 0.25 can be trained on a laptop's
    processor"""
    batch_norm: bool = False
    """use batch normalization after each convolution; the saved weights have it folded into the
    convolutions"""
    pooled: int | None = None
    """height and width of the feature map that the fully connected layers see; 1 tells them
    what is in a picture but not where, which suits small datasets (default: 7 as published, or
    SIZE / 32 if that is less)"""
    dropout: float = 0.5
    """dropout probability in the fully connected layers"""
    init: Literal["default", "xavier", "kaiming"] = "kaiming"
    """distribution of the initial weights: kaiming (suits ReLUs), xavier, or default (that of
    PyTorch)"""

    def __post_init__(self) -> None:
        require_range("width", self.width, 0.0625, 4)
        if self.pooled is not None:
            require_positive("pooled", self.pooled)
        require_between("dropout", self.dropout, 0.0, 1.0)


@option_class
class ClassScheduleOptions:
    """Schedule: number of epochs, learning rate and regularization."""

    n_epochs: int = 120
    """largest number of epochs"""
    patience: int = 20
    """stop after this number of epochs without a lower held-out loss"""
    max_images: int | None = None
    """stop after MAX_IMAGES training pictures, even in the middle of an epoch (default: train
    for all epochs)"""
    lr: float = 0.001
    """initial learning rate of AdamW"""
    weight_decay: float = 0.01
    """weight decay of AdamW"""
    plateau_patience: int = 5
    """number of epochs without a lower held-out loss after which the learning rate is
    reduced"""
    plateau_factor: float = 0.2
    """factor of each reduction of the learning rate"""
    label_smoothing: float = 0.1
    """share of the target probability that is spread evenly over all classes"""

    def __post_init__(self) -> None:
        require_positive("n_epochs", self.n_epochs)
        require_positive("patience", self.patience)
        if self.max_images is not None:
            require_positive("max_images", self.max_images)
        require_positive("lr", self.lr)
        require_at_least("weight_decay", self.weight_decay, 0.0)
        require_at_least("plateau_patience", self.plateau_patience, 0)
        require(
            0 < self.plateau_factor < 1,
            "plateau_factor",
            f"{self.plateau_factor} is not above 0 and below 1",
        )
        require_between("label_smoothing", self.label_smoothing, 0.0, 1.0)


@option_class
class BackboneOptions:
    """Options of the training of a classifier, one section each.

    Raises:
        OptionError: a value cannot be used; names the option.
    """

    run: BackboneRunOptions = field(default_factory=BackboneRunOptions)
    data: ClassDataOptions = field(default_factory=ClassDataOptions)
    network: ClassifierOptions = field(default_factory=ClassifierOptions)
    schedule: ClassScheduleOptions = field(default_factory=ClassScheduleOptions)
    displays: BasicDisplayOptions = field(default_factory=BasicDisplayOptions)


def _pairs(words: Sequence[str]) -> dict[str, str]:
    """Return names and folders; a name alone is the name of its folder."""
    pairs = (word.partition("=") for word in words)
    return {
        name: str(expand_home(folder)) if folder else folder if sign else name
        for name, sign, folder in pairs
    }


WeightsAction = Literal["list", "check", "pack", "layers"]


@option_class
class WeightsOptions:
    """Find, check and pack the weights of feature networks; list their layers."""

    headings: ClassVar[Mapping[str, str]] = {"output": "packing"}

    action: WeightsAction
    """what to do: list, check, pack or layers"""
    file: Path | None = None
    """weights file to check or pack"""
    model: str = ""
    """network whose layers are listed; without it, the names of all networks are listed"""
    output: Path | None = None
    """file for the packed weights, ending in .safetensors (default: a file that impasto stylize
    finds by itself)"""
    last_layer: str = "conv5_1"
    """last convolution that is packed; conv5_4 packs all of VGG19"""

    def __post_init__(self) -> None:
        needs = self.action in {"check", "pack"}
        require(
            needs == (self.file is not None),
            "file",
            f"'impasto weights {self.action}' {'needs a file' if needs else 'takes no file'}",
        )
        require(
            self.output is None or self.action == "pack",
            "output",
            f"'impasto weights {self.action}' writes nothing; only pack does",
        )
        require(
            self.output is None or self.output.suffix == ".safetensors",
            "output",
            f"{self.output} does not end in .safetensors",
        )
