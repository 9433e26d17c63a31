"""The generators that come with Impasto, and what a user's word for a model means."""

from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from impasto.options.errors import CheckpointError
from impasto.options.fields import nearest

__all__ = ["SHIPPED", "ShippedModel", "hidden_by_shipped", "resolve_model"]

_RUNS = Path("checkpoints")  # where `impasto train` puts runs unless told otherwise


@dataclass(frozen=True, kw_only=True)
class ShippedModel:
    """A generator inside the package; docs/model_card.md says what it was made of.

    Attributes:
        name: what ``--model`` takes.
        what: what it does, in words.
        opposite: name of the generator of the other direction.
    """

    name: str
    what: str
    opposite: str

    @property
    def path(self) -> Path:
        """Its file."""
        return Path(str(files("impasto.cyclegan") / "weights" / f"{self.name}.safetensors"))


SHIPPED = {
    model.name: model
    for model in (
        ShippedModel(name="monet", what="photographs into Monets", opposite="photo"),
        ShippedModel(name="photo", what="Monets into photographs", opposite="monet"),
    )
}
"""All shipped models, by name."""


def hidden_by_shipped(model: Path) -> Path | None:
    """Return the user's folder or run that a shipped model of the same name hides, if any."""
    if str(model) not in SHIPPED:
        return None
    own = (model.absolute(), _RUNS / model)
    return next((path for path in own if path.is_dir()), None)


def resolve_model(model: Path) -> Path:
    """Return the file or run folder that a user means.

    Args:
        model: the name of a shipped model, which comes first (give the whole path of a run folder
            of that name, or one like ``checkpoints/monet``); a file; a run folder; or the name of a
            run in ``checkpoints``.

    Raises:
        CheckpointError: there is nothing of that name; shows the nearest.
    """
    if str(model) in SHIPPED:
        return SHIPPED[str(model)].path
    if model.exists():
        return model
    named = len(model.parts) == 1 and model.suffix not in {".pth", ".safetensors"}
    if named and (_RUNS / model).is_dir():
        return _RUNS / model
    runs = [path.name for path in _RUNS.iterdir() if path.is_dir()] if _RUNS.is_dir() else []
    hint = nearest(str(model), [*SHIPPED, *runs]) if named else ""
    raise CheckpointError(
        f"{model}: no such run folder or weights file{hint}; impasto models lists what there is"
    )
