"""All options of `impasto fetch`."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from impasto.options.fields import option_class, require, require_positive

__all__ = ["FetchOptions"]


@option_class
class FetchOptions:
    """Fetch data sets, published models and weights of feature networks."""

    headings: ClassVar[Mapping[str, str]] = {
        "source": "where from",
        "datasets_dir": "where to",
        "any_checksum": "running",
    }

    names: Sequence[str]
    """names of what to fetch; impasto fetch --list lists them"""
    source: Sequence[str] = ()
    """one or more addresses (http, https, ftp) or folders to fetch from, of the file or of the
    folder that holds it, tried in this order; {name} and {file} stand for the name and the file;
    hf:OWNER/NAME is a repository of a model hub (default: the environment variable IMPASTO_SOURCE,
    mirrors.yaml in IMPASTO_HOME, then what the libraries know)"""
    file: Path | None = None
    """file that lies on the disk already, to be checked, unpacked and put where it belongs"""
    datasets_dir: Path = Path("datasets")
    """folder that holds data sets, where impasto train --dataroot NAME finds them"""
    checkpoints_dir: Path = Path("checkpoints")
    """folder that holds all runs, to which published models are added"""
    any_checksum: bool = False
    """keep a file whose SHA-256 is not the published or remembered one"""
    overwrite: bool = False
    """fetch again what is there already, and replace it"""
    keep_archive: bool = False
    """keep the zip archive of a data set beside its folder"""
    timeout_seconds: float = 30.0
    """longest time without an answer, or without a further byte"""

    def __post_init__(self) -> None:
        object.__setattr__(self, "names", tuple(self.names))
        object.__setattr__(self, "source", tuple(self.source))
        require(bool(self.names), "names", "expected one name or more, got none")
        require(
            self.file is None or len(self.names) == 1,
            "from",
            f"is one file, and these are {len(self.names)} names; expected one name",
        )
        require(
            self.file is None or not self.source,
            "from",
            "is a file of this disk, and --source says where to fetch it; expected one of the two",
        )
        require_positive("timeout_seconds", self.timeout_seconds)
