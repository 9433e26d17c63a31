"""All options of `impasto weights`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from impasto.options.checks import require

__all__ = ["WeightsAction", "WeightsOptions"]

WeightsAction = Literal["list", "check", "pack", "layers"]


@dataclass(frozen=True, kw_only=True)
class WeightsOptions:
    """Find, check and pack the weights of feature networks; list their layers."""

    action: WeightsAction
    """what to do"""
    file: Path | None = None
    """weights file to check or pack"""
    model: str = ""
    """network whose layers are listed; without one, all models of torchvision are"""
    output: Path | None = None
    """packed file, .safetensors; unless given, it goes where Impasto looks for it"""
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
