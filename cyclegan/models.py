"""Finding the generator of a model that a user names: shipped models, runs, and single files.

What ships are the files in ``pretrained``: a file that is put there is a model, by what its
metadata say of it (``benchmarks/pack_shipped.py`` writes them). A run keeps generators of several
epochs and of both directions; :func:`find_generator` picks one. :func:`shipped_models` and
:func:`models_in` list the available models, for `impasto models`. torch is imported only once a
file is loaded, so that a wrong name is told at once.
"""

import json
import re
import shlex
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from safetensors import SafetensorError, safe_open

from impasto.data.fetch.catalog import fetch_hint
from impasto.options.errors import CheckpointError, FolderError, ImpastoError, OptionError
from impasto.options.fields import nearest, require
from impasto.options.translate import ALL_PAINTERS
from impasto.runs.directory import RunDirectory

if TYPE_CHECKING:
    from impasto.cyclegan.weights import LoadedGenerator

__all__ = [
    "BEST",
    "GENERATOR_OF",
    "SHIPPED",
    "STYLES_FILE",
    "KnownModel",
    "ShippedModel",
    "epochs_of",
    "find_generator",
    "hidden_by_shipped",
    "is_reserved",
    "kept_epochs",
    "models_in",
    "painters",
    "read_shipped",
    "reads_numbers",
    "refuse_choices",
    "resolve_model",
    "resolve_results",
    "shipped_model",
    "shipped_models",
]


_RUNS = Path("checkpoints")  # where `impasto train` puts runs unless told otherwise


_PAINTS = "photographs into "
# Number of pixels above which strokes of a few pixels look small, whatever the picture shows.
_FINE_ABOVE_PIXELS = 600_000


@dataclass(frozen=True, kw_only=True)
class ShippedModel:
    """A generator inside the package, as the metadata of its file describe it.

    Attributes:
        name: name of the model, for ``--model``: that of its file.
        path: path of the file.
        what: description in words, such as ``photographs into Monets``.
        label: name to be shown under a picture, such as ``Monet``.
        opposite: name of the generator of the other direction, of the same training; None if there
            is none.
        strokes_at_px: shorter side of the pictures for which its strokes are right; None if that is
            not known, or it has no strokes.
    """

    name: str
    path: Path
    what: str
    label: str
    opposite: str | None = None
    strokes_at_px: float | None = None

    @property
    def is_painter(self) -> bool:
        """Whether it makes paintings of photographs."""
        return self.what.startswith(_PAINTS)

    @property
    def fine_above_pixels(self) -> int | None:
        """Number of pixels above which a hint at ``--stroke_scale`` is useful.

        None for a generator without strokes, or one whose strokes follow the size by themselves.
        """
        fixed = self.is_painter and self.strokes_at_px is None
        return _FINE_ABOVE_PIXELS if fixed else None


_FIRST = "monet"  # the default, which comes before the others
_FORMER = {"monet_strokes": "monet"}  # names that models had, which scripts may still say


def read_shipped(folder: Path) -> dict[str, ShippedModel]:
    """Read what the files in a folder of shipped models say of themselves.

    Args:
        folder: folder with ``.safetensors``, each named after its model. One that cannot be read is
            a model, too, of which nothing is known: loading it says why.

    Returns:
        The models by name: the default first, then painters, those whose strokes follow the size
        before the others, then all others.
    """
    said = {file.stem: _metadata(file) for file in sorted(folder.glob("*.safetensors"))}
    models = [
        ShippedModel(
            name=name,
            path=folder / f"{name}.safetensors",
            what=metadata.get("what", ""),
            label=metadata.get("label", name.capitalize()),
            opposite=_opposite(name, said),
            strokes_at_px=_number(metadata.get("strokes_at_px")),
        )
        for name, metadata in said.items()
    ]
    models.sort(key=_place)
    return {model.name: model for model in models}


def _place(model: ShippedModel) -> tuple[object, ...]:
    fixed = model.fine_above_pixels is not None
    return model.name != _FIRST, not model.is_painter, fixed, model.name


# METADATA_KEY of runs.state, which needs torch.
_METADATA = "impasto"


def _metadata(file: Path) -> dict[str, str]:
    try:
        with safe_open(file, framework="np") as opened:
            said = json.loads((opened.metadata() or {}).get(_METADATA, "{}"))
    except (OSError, SafetensorError, ValueError):
        return {}
    return {key: str(value) for key, value in said.items()} if isinstance(said, dict) else {}


def _number(text: str | None) -> float | None:
    try:
        return None if text is None else float(text)
    except ValueError:
        return None  # loading the model refuses it in words


# What both generators of a training have in common.
_OF_A_TRAINING = ("recipe", "options", "epoch", "images")


def _opposite(name: str, said: Mapping[str, Mapping[str, str]]) -> str | None:
    """Return the model that is the other generator of the same training, if it ships."""
    own = said[name]
    for other, metadata in said.items():
        both = all(own.get(key) == metadata.get(key) is not None for key in _OF_A_TRAINING)
        if both and {own.get("direction"), metadata.get("direction")} == {"AtoB", "BtoA"}:
            return other
    return None


SHIPPED = read_shipped(Path(str(files("impasto.cyclegan") / "pretrained")))
"""All shipped models, by name."""


def painters() -> list[ShippedModel]:
    """Return the shipped models that make paintings of photographs, the default first."""
    return [model for model in SHIPPED.values() if model.is_painter]


def shipped_model(model: Path) -> ShippedModel | None:
    """Return the shipped model that a name means; None if it means none.

    Args:
        model: a name or path. One that a shipped model had in earlier versions means that model,
            unless there is a file, a folder or a run of that name.
    """
    name = str(model)
    if name in _FORMER and not (model.exists() or (_RUNS / model).is_dir()):
        name = _FORMER[name]
    return SHIPPED.get(name)


def is_reserved(model: Path) -> bool:
    """Whether a name means shipped models, so that a run of that name needs its whole path."""
    return str(model) in SHIPPED or model == ALL_PAINTERS


def hidden_by_shipped(model: Path) -> Path | None:
    """Return the user's folder or run that a shipped model of the same name hides, if any."""
    if not is_reserved(model):
        return None
    own = (model.absolute(), _RUNS / model)
    return next((path for path in own if path.is_dir()), None)


BEST = "best"
"""The ``epoch`` that stands for the best one that a training has measured."""

STYLES_FILE = "styles.safetensors"
"""Name of the only generator in a run of `impasto style train`."""


def resolve_model(model: Path) -> Path:
    """Return the file or run folder that a user means.

    Args:
        model: name of a shipped model, which comes first (give the whole path of a run folder
            of that name, or one like ``checkpoints/monet``), see :func:`shipped_model`; a file; a
            run folder; or the name of a run in ``checkpoints``.

    Raises:
        CheckpointError: there is no such model; the message shows the nearest names.
    """
    if (shipped := shipped_model(model)) is not None:
        return shipped.path
    if model.exists():
        return _or_its_styles(model)
    named = len(model.parts) == 1 and model.suffix not in {".onnx", ".pth", ".safetensors"}
    if named and (_RUNS / model).is_dir():
        return _or_its_styles(_RUNS / model)
    if model == ALL_PAINTERS:
        raise CheckpointError(
            f"{model} stands for several models, and only impasto translate takes it; expected one "
            f"of them: {', '.join(painter.name for painter in painters())}"
        )
    runs = [path.name for path in _RUNS.iterdir() if path.is_dir()] if _RUNS.is_dir() else []
    hint = nearest(str(model), [*SHIPPED, *runs]) if named else ""
    hint = fetch_hint(str(model), "model") or hint
    raise CheckpointError(
        f"{model}: no such run folder or weights file{hint}; impasto models lists what there is"
    )


def _or_its_styles(model: Path) -> Path:
    """Return the file of a run that has but one generator, which knows several styles."""
    file = model / STYLES_FILE
    return file if file.is_file() else model


def refuse_choices(model: Path, *, direction: str | None = None, epoch: str = "latest") -> None:
    """Refuse to choose a direction or an epoch of a model that is one generator, not a run.

    A file may be given with the direction that its metadata say, which only loading it tells.

    Args:
        model: a name or path, as :func:`resolve_model` takes it.
        direction: direction that the user asked for; None if none.
        epoch: epoch that the user asked for, or ``latest``.

    Raises:
        CheckpointError: there is no such model.
        OptionError: a shipped model has no choice of directions, and only runs have epochs.
    """
    found = resolve_model(model)
    if found.is_dir():
        return
    shipped = shipped_model(model)
    own = hidden_by_shipped(model)
    for_run = "" if own is None else f"; for the run in {own}, use --model {own.absolute()}"
    if shipped is not None and direction is not None:
        opposite = SHIPPED.get(str(shipped.opposite))
        other = f", or for {opposite.what} use --model {opposite.name}" if opposite else ""
        raise OptionError(
            "direction",
            f"is for runs, and {model} is a model that ships with Impasto and translates "
            f"{shipped.what}; leave --direction out{other}{for_run}",
        )
    if epoch != "latest":
        raise OptionError(
            "epoch",
            f"is for runs, and {model} is a single generator, which has no epochs; leave --epoch "
            f"out{for_run}",
        )


def resolve_results(path: Path) -> Path:
    """Return the folder of results, run folder or file that a user means, to be measured.

    Raises:
        FolderError: there is none, or it could be two.
    """
    if (shipped := shipped_model(path)) is not None:
        if path.exists():
            raise FolderError(
                path,
                f"is a model that Impasto ships, and a folder here; for the folder, give "
                f"{path.absolute()}, for the model, {shipped.path}",
            )
        return shipped.path
    try:
        return resolve_model(path)
    except CheckpointError as error:
        above = path.parent
        near = [other.name for other in above.iterdir()] if above.is_dir() else []
        hint = fetch_hint(str(path), "model") or nearest(path.name, [*near, *SHIPPED])
        raise FolderError(
            path,
            f"no such folder of results, run folder or weights file{hint}; impasto models lists "
            "what models there are",
        ) from error


GENERATOR_OF = {"AtoB": "G_A", "BtoA": "G_B"}
"""The generator of each direction."""


def find_generator(
    model: Path,
    *,
    direction: str | None = None,
    epoch: str = "latest",
    style: str | None = None,
) -> "LoadedGenerator":
    """Load the generator that a user means.

    Args:
        model: run directory, generator file, or name; see
            :func:`~impasto.cyclegan.models.resolve_model`.
        direction: direction, ``AtoB`` or ``BtoA``; None: ``AtoB`` for a run, and the direction in
            the metadata for a file. A shipped model has one direction, and takes None only. One
            ``.pth``, or a folder with a single ``latest_net_G.pth``, has one that nobody knows: a
            note then says that the direction chose nothing.
        epoch: ``latest``, ``best`` (what a training with ``--evaluate_every_epochs`` kept), or the
            number of a kept epoch of a run directory.
        style: name of one of the styles that the generator knows, or a mixture of them, see
            :func:`~impasto.cyclegan.weights.style_shares`; None: the first one, if it knows any.

    Raises:
        CheckpointError: there is no such generator, or it cannot be loaded.
        OptionError: there is no such style; the direction is unknown, or the file's metadata says
            that it translates in the other one; or a direction or epoch is chosen of a model that
            has no choice.
    """
    require(
        direction is None or direction in GENERATOR_OF,
        "direction",
        f"expected AtoB or BtoA, got {direction!r}",
    )
    refuse_choices(model, direction=direction, epoch=epoch)
    hidden, shipped, typed = hidden_by_shipped(model), shipped_model(model), str(model)
    model = resolve_model(model)
    if not model.is_dir():
        loaded = _load(model, style)
        if shipped is not None and shipped.name != typed:
            loaded = replace(loaded, notes=(*loaded.notes, f"{typed} is now called {shipped.name}"))
        if hidden is not None:
            taken = f"another model than the {hidden.name} that ships with Impasto, taken here"
            loaded = replace(loaded, notes=(*loaded.notes, f"{hidden} is {taken}"))
        return _in_direction(_of_pairs(loaded, model), model, direction)
    way = direction or "AtoB"
    name, directory = GENERATOR_OF[way], RunDirectory(model)
    # A training on pairs, and the published models of the reference, hold one without a letter.
    own, single = (_files_of(directory, epoch, each) for each in (name, "G"))
    for path in (*own, *single):
        if path.is_file():
            last = model / f"{'G' if path in single else name}.safetensors"
            loaded = _as_its_run_says(_load(path, style), directory, last)
            if path in single:
                return _in_direction(loaded, path, direction)
            return replace(loaded, provenance={"direction": way, **loaded.provenance})
    raise CheckpointError(f"{model}: {_why_no_epoch(directory, epoch, name)}")


def _files_of(directory: RunDirectory, epoch: str, generator: str) -> list[Path]:
    """Return the files that may hold a generator of an epoch, the preferred ones first."""
    if epoch == BEST:
        return [directory.path / f"{BEST}_{generator}.safetensors"]
    return [
        *([directory.path / f"{generator}.safetensors"] if epoch == "latest" else []),
        directory.network_file(epoch, f"{generator}_ema"),
        directory.network_file(epoch, generator),
    ]


def _why_no_epoch(directory: RunDirectory, epoch: str, generator: str) -> str:
    """Say what was looked for in a run, and what is there."""
    candidates = [*_files_of(directory, epoch, generator), directory.network_file(epoch, "G")]
    if epoch == BEST:
        return (
            f"holds no {candidates[0].name}, which trainings with --evaluate_every_epochs keep; of "
            "the epochs that were saved, impasto evaluate --epochs all finds the best"
        )
    kept = sorted(file.name for file in directory.path.glob(f"*_net_{generator}.pth"))
    return (
        f"holds no generator {generator} of epoch {epoch}; "
        f"expected {' or '.join(path.name for path in candidates)}, "
        f"found {', '.join(kept) or 'no network files'}"
    )


def _load(path: Path, style: str | None) -> "LoadedGenerator":
    if path.suffix == ".onnx":
        from impasto.cyclegan.export.loading import load_onnx  # noqa: PLC0415 - torch

        if style is not None:
            raise OptionError("style", f"{style}: {path} holds one style; leave it out")
        return load_onnx(path)
    from impasto.cyclegan.weights import load_generator  # noqa: PLC0415 - torch

    return load_generator(path, style=style)


def reads_numbers(model: Path, *, direction: str | None = None) -> bool:
    """Whether a model may take other pictures than RGB of 8 bits; fast, and without torch.

    Args:
        model: a name or path, as :func:`resolve_model` takes it.
        direction: direction that the user asked for; None if none.

    Raises:
        CheckpointError: there is no such model.
    """
    found = resolve_model(model)
    if found.is_dir():
        single = found / "G.safetensors"
        found = found / f"{GENERATOR_OF[direction or 'AtoB']}.safetensors"
        found = single if single.is_file() else found
    if found.suffix == ".onnx":
        return False  # from bytes to bytes
    # What a .pth takes, only its weights tell.
    return not found.is_file() or found.suffix == ".pth" or "input_samples" in _metadata(found)


def _in_direction(
    loaded: "LoadedGenerator", file: Path, direction: str | None
) -> "LoadedGenerator":
    """Compare a direction that was typed with that of a single generator.

    Where the file does not say its own, a note is added that the direction was typed in vain.

    Raises:
        OptionError: they differ.
    """
    says = loaded.provenance.get("direction", "")
    if direction is not None and says not in {"", direction}:
        raise OptionError("direction", f"{direction}, but {file} translates {says}")
    if direction is None or says:
        return loaded
    note = f"{file} does not say its direction, so --direction chooses nothing"
    return replace(loaded, notes=(*loaded.notes, note))


def _of_pairs(loaded: "LoadedGenerator", file: Path) -> "LoadedGenerator":
    """Add what a ``.pth`` of a training on pairs cannot say, if it still lies in its run."""
    run = RunDirectory(file.parent)
    if file.suffix == ".pth" and run.options_file.is_file():
        with suppress(FolderError):  # options of somebody else
            return (
                _as_its_run_says(loaded, run, run.path / "G.safetensors")
                if run.read_options().get("paired")
                else loaded
            )
    return loaded


def _as_its_run_says(
    loaded: "LoadedGenerator", directory: RunDirectory, latest: Path
) -> "LoadedGenerator":
    """Add what a ``.pth`` cannot say: what its numbers mean, and how to show it pictures.

    The latter are how far to bend them, and the size that its strokes are right for.
    """
    known = _metadata(latest)
    formats = {key: text for key, text in known.items() if key.endswith("put_samples")}
    loaded = replace(loaded, provenance={**formats, **loaded.provenance})
    if "grid_bend_px" in loaded.provenance or not directory.options_file.is_file():
        return loaded
    options = directory.read_options()
    said = {"grid_bend_px": str(options.get("grid_bend_px", 0.0)), "statistics": "running"}
    if (strokes_at_px := options.get("strokes_at_px")) is not None:
        said["strokes_at_px"] = str(strokes_at_px)
    if options.get("paired"):
        said |= {"direction": "AtoB", "statistics": "picture"}
    loaded = replace(loaded, provenance={**loaded.provenance, **said})

    from impasto.cyclegan.blocks import take_statistics  # noqa: PLC0415 - torch is there by now

    take_statistics(loaded.network, of_picture=loaded.statistics == "picture")
    return loaded


def kept_epochs(run: Path, direction: str) -> list[str]:
    """Return the epochs whose weights a run has kept, in order, then ``latest`` if it exists."""
    # The published models of the reference hold one generator, without a letter.
    epochs = epochs_of(run, GENERATOR_OF[direction]) | epochs_of(run, "G")
    latest = sorted(epochs & {"latest"})
    return [*sorted(epochs - {"latest"}, key=int), *latest]


def epochs_of(run: Path, generator: str) -> set[str]:
    """Return the epochs, and ``latest``, of which a run has kept a generator such as ``G_A``."""
    pattern = re.compile(rf"(\d+|latest)_net_{generator}(?:_ema)?\.pth")
    epochs = {match[1] for path in run.iterdir() if (match := pattern.fullmatch(path.name))}
    return epochs | ({"latest"} if (run / f"{generator}.safetensors").is_file() else set())


@dataclass(frozen=True, kw_only=True)
class KnownModel:
    """One generator.

    Attributes:
        name: name or path of the model, as typed after ``--model``.
        what: direction, network and provenance in words; for a damaged file, the error.
        usable: whether the generator can be loaded.
    """

    name: str
    what: str
    usable: bool = True


def shipped_models() -> list[KnownModel]:
    """Return the generators inside the package."""
    return [
        _describe(model.path, name=model.name, what=f"{model.what}; ") for model in SHIPPED.values()
    ]


def models_in(folder: Path) -> list[KnownModel]:
    """Return the generators of all runs in a folder, or of one run, and single files.

    Args:
        folder: folder of runs (``checkpoints``), a single run, or any folder with generator files.

    Raises:
        FolderError: the folder does not exist, or cannot be listed.
    """
    if not folder.is_dir():
        raise FolderError(folder, "no such folder; give a folder of runs, such as checkpoints")
    try:
        runs = [folder, *sorted(path for path in folder.iterdir() if path.is_dir())]
        return [model for run in runs for model in _of_run(run)]
    except OSError as error:
        raise FolderError(folder, f"cannot be listed ({error.strerror})") from error


def _of_run(run: Path) -> Iterator[KnownModel]:
    """Yield the latest generators of a run, or the single files of a folder."""
    # Where a shipped model has that name, only the whole path leads here.
    run = run.absolute() if is_reserved(run) else run
    # A published model is one generator without a letter: both directions would mean the same file.
    ways = GENERATOR_OF if any(run.glob("*G_[AB]*")) else ()
    kept = [direction for direction in ways if "latest" in kept_epochs(run, direction)]
    pairs = not kept and (run / "G.safetensors").is_file()
    if pairs:  # a training on pairs has one direction, which need not be given
        yield _describe(run, name=shlex.quote(str(run)), direction="AtoB")
    for direction in kept:
        name = f"{shlex.quote(str(run))} --direction {direction}"
        yield _describe(run, name=name, direction=direction)
    if not kept and not pairs:
        patterns = ("*_net_G*.pth", "*.safetensors", "*.onnx")
        for path in sorted(path for pattern in patterns for path in run.glob(pattern)):
            known = _describe(path, name=shlex.quote(str(path)))
            if known.usable or not _is_something_else(path):
                yield known


def _is_something_else(path: Path) -> bool:
    """Whether it is no weights file, or a whole one of another network, such as a backbone."""
    if path.suffix == ".pth":
        return False  # its name says that it is a generator
    if path.suffix == ".onnx":
        return True  # of another program
    from safetensors.torch import load_file  # noqa: PLC0415

    from impasto.cyclegan.architecture import detect_architecture  # noqa: PLC0415
    from impasto.runs.state import DAMAGED  # noqa: PLC0415

    try:
        detect_architecture(load_file(path))
    except CheckpointError:
        return True
    except (*DAMAGED, SafetensorError):
        return path.is_dir()
    return False


def _describe(
    model: Path, *, name: str, direction: str | None = None, what: str = ""
) -> KnownModel:
    """Describe what `impasto translate` would take."""
    try:
        loaded = find_generator(model, direction=direction)
    except ImpastoError as error:
        reason = str(error).removeprefix(f"{model}: ").removeprefix(f"{model}/")
        return KnownModel(name=name, what=f"cannot be used: {reason}", usable=False)
    images = loaded.provenance.get("images")
    seen = f", trained on {int(images):,} images" if images and images.isdecimal() else ""
    count = sum(weights.numel() for weights in loaded.network.parameters())
    if loaded.provenance.get("format") == "onnx":
        style = loaded.provenance.get("style")
        what += "exported to ONNX" + (f", style {style}; " if style else "; ")
        count = int(loaded.provenance.get("weights", count))
    size = f"{count:,} weights"
    styles = f"; --style {', '.join(loaded.styles)}" if loaded.styles else ""
    return KnownModel(name=name, what=f"{what}{loaded.architecture}, {size}{seen}{styles}")
