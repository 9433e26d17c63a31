"""All options of `impasto models`."""

from dataclasses import dataclass
from pathlib import Path

__all__ = ["ModelsOptions"]


@dataclass(frozen=True, kw_only=True)
class ModelsOptions:
    """List the generators that ship with Impasto, and those in folders of runs."""

    checkpoints_dir: Path = Path("checkpoints")
    """folder with runs, looked through unless FOLDERS are given"""
