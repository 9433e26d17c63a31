"""Which pictures a training sees, and what is done to them before the networks do."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from impasto.options.checks import require, require_at_least, require_positive

__all__ = ["DataOptions", "Direction", "Preprocess"]

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
