"""Feature networks may be named by their weights: a file, or the run that trained them."""

from pathlib import Path

from impasto.options.checks import require

__all__ = ["split_backbone"]

_SUFFIXES = (".safetensors", ".pth", ".pt")


def split_backbone(
    backbone: str, weights: Path | None, *, options: tuple[str, str]
) -> tuple[str, Path | None]:
    """Return the network's name and its file, where the name may be a file or a run directory.

    Args:
        backbone: a name, or a path.
        weights: a file, or None.
        options: how both are called, for the message.

    Raises:
        OptionError: there are two files.

    Example:
        >>> split_backbone("mine.safetensors", None, options=("backbone", "weights"))
        ('auto', PosixPath('mine.safetensors'))
    """
    path = Path(backbone)
    trained = path / "backbone.safetensors"
    if path.suffix.lower() not in _SUFFIXES and not trained.is_file():
        return backbone, weights
    require(
        weights is None,
        options[0],
        f"{backbone} is a file of weights, and --{options[1]} is {weights}; leave one of them out",
    )
    return "auto", trained if trained.is_file() else path
