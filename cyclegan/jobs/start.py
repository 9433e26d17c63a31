"""What a training starts from: the networks of a model, and the options that they ask for.

``--init_from`` names a run, a shipped model or a single generator, or two single generators.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from impasto.cyclegan.architecture import GeneratorArchitecture, registered_generators
from impasto.cyclegan.models import (
    GENERATOR_OF,
    epochs_of,
    find_generator,
    resolve_model,
    shipped_model,
)
from impasto.cyclegan.weights import LoadedGenerator, read_weights
from impasto.options.errors import CheckpointError, OptionError
from impasto.options.fields import default_values, flatten, make, spell_change
from impasto.options.train import TrainOptions
from impasto.runs.directory import RunDirectory

__all__ = ["Start", "read_start"]

# A run has discriminators of these options, which generators do not tell.
_OF_DISCRIMINATORS = ("netD", "ndf", "n_layers_D")
_OPPOSITE = {"AtoB": "BtoA", "BtoA": "AtoB"}


@dataclass(frozen=True, kw_only=True)
class Start:
    """What a training starts from.

    Attributes:
        options: options of the training, with the architecture of the model.
        weights: weights by the name of the network that starts from them; none for a training that
            starts from random weights.
        lines: what is taken, and which options are the model's, in words.
    """

    options: TrainOptions
    weights: Mapping[str, Mapping[str, Tensor]] = field(default_factory=dict)
    lines: Sequence[str] = ()


@dataclass(frozen=True, kw_only=True)
class _Source:
    """A generator of a model: its name in messages, and where it lies if it is one of a run.

    ``what`` says what it does, in words, where that is known.
    """

    label: str
    loaded: LoadedGenerator
    direction: str | None
    run: RunDirectory | None = None
    what: str = ""


def read_start(options: TrainOptions, *, typed: Collection[str] | None = None) -> Start:
    """Read the models that ``init_from`` names, and fit the options to them.

    Args:
        options: options of the training.
        typed: names of the options that a user gave, which the model may not contradict; by default
            those whose values are not the defaults.

    Returns:
        The weights, and options in which the architecture is the model's.

    Raises:
        CheckpointError: there is no such model, it is damaged, or no ``netG`` has its depth.
        OptionError: an option in ``typed`` contradicts the model; the generators of the model do
            not serve the directions of the training; or there is no such style.
    """
    networks = options.networks
    style = networks.init_style
    try:
        sources = [each for model in networks.init_from for each in _generators_of(model, style)]
    except OptionError as error:
        if error.option != "style":
            raise
        raise OptionError("init_style", error.reason) from None
    single = networks.one_sided or options.data.paired
    chosen = _choose(sources, one_sided=single, direction=networks.init_direction, options=options)
    if options.data.paired:
        chosen = {"G": chosen["G_A"]}
    typed = _differing(options) if typed is None else typed
    fitted, changes = _fit(options, chosen, typed)
    if networks.freeze != "none" and not single:
        _require_all_taken(chosen)
    weights: dict[str, Mapping[str, Tensor]] = {}
    lines = []
    for name, source in chosen.items():
        weights[name] = source.loaded.network.state_dict()
        styled = "" if style is None else f", {style}"
        what = f" ({source.what})" if source.what else ""
        lines += [f"{name}: {source.label}{what}{styled}, {source.loaded.architecture}"]
        lines += [f"{name}: {note}" for note in source.loaded.notes]
        for own, file in _companions(name, source).items():
            weights[own] = read_weights(file)
            lines.append(f"{own}: {file}")
    if changes:
        changed = ", ".join(spell_change(option, *pair) for option, pair in changes.items())
        lines.append(f"options as in the model: {changed}")
    return Start(options=fitted, weights=weights, lines=lines)


def _differing(options: TrainOptions) -> set[str]:
    """Return the names of the options whose values are not the defaults."""
    flat = flatten(options)
    defaults = {**default_values(TrainOptions), **TrainOptions.implied_defaults(flat)}
    return {name for name, value in flat.items() if value != defaults[name]}


def _generators_of(model: Path, style: str | None) -> list[_Source]:
    """Load the generators of a model: both of a run, or the one that it is."""
    path = resolve_model(model)
    if not path.is_dir():
        loaded = find_generator(model, style=style)
        direction = loaded.provenance.get("direction") or _direction_in(path.name)
        shipped = shipped_model(model)
        what = "" if shipped is None else shipped.what
        return [_Source(label=str(model), loaded=loaded, direction=direction, what=what)]
    run = RunDirectory(path)
    ways = [way for way, name in GENERATOR_OF.items() if "latest" in epochs_of(path, name)]
    if not ways:  # a published model is one generator without a letter, and says no direction
        loaded = find_generator(model, style=style)
        direction = loaded.provenance.get("direction")
        return [_Source(label=str(model), loaded=loaded, direction=direction, run=run)]
    return [
        _Source(
            label=f"{model} ({GENERATOR_OF[way]})",
            loaded=find_generator(path.absolute(), direction=way, style=style),
            direction=way,
            run=run,
        )
        for way in ways
    ]


def _direction_in(name: str) -> str | None:
    """Return the direction that the file name of a generator tells, or None."""
    return next((way for way, own in GENERATOR_OF.items() if f"_net_{own}" in name), None)


def _choose(
    sources: Sequence[_Source], *, one_sided: bool, direction: str | None, options: TrainOptions
) -> dict[str, _Source]:
    """Return the source of each generator of the training that has one, by its name.

    Raises:
        OptionError: two sources are of the same direction, or none is of the one that is asked for.
    """
    if one_sided and direction is None and len(sources) == 1:
        return {"G_A": sources[0]}
    named = {source.direction for source in sources}
    free = [way for way in GENERATOR_OF if way not in named]
    found: dict[str, _Source] = {}
    for source in sources:
        way = source.direction or free.pop(0)
        if direction == "BtoA":
            way = _OPPOSITE[way]
        name = GENERATOR_OF[way]
        if name in found:
            raise OptionError(
                "init_from",
                f"{found[name].label} and {source.label} both translate {source.direction}; "
                "expected a generator of each direction, or one model",
            )
        found[name] = source
    if not one_sided:
        return found
    if "G_A" not in found:
        there = ", ".join(source.direction or "none" for source in sources)
        raise OptionError(
            "init_direction",
            f"{direction or 'AtoB'}, but {options.networks.init_from[0]} translates {there}; "
            "leave it out, or choose the other one",
        )
    return {"G_A": found["G_A"]}


def _companions(name: str, source: _Source) -> dict[str, Path]:
    """Return the files of the networks that were trained with a generator of a run, by name here.

    They are its discriminator and, of G_A alone, the network of the contrastive loss. A
    discriminator of pairs sees inputs, too, and serves no other training.
    """
    if source.run is None:
        return {}
    of_pairs = source.run.network_file("latest", "D")
    if name == "G":
        return {"D": of_pairs} if of_pairs.is_file() else {}
    if source.direction is None:
        return {}
    ours, theirs = name[-1], GENERATOR_OF[source.direction][-1]
    pairs = {f"D_{ours}": f"D_{theirs}"}
    if ours == theirs == "A":
        pairs["F_A"] = "F_A"
    files = {own: source.run.network_file("latest", other) for own, other in pairs.items()}
    return {own: file for own, file in files.items() if file.is_file()}


def _fit(
    options: TrainOptions, chosen: Mapping[str, _Source], typed: Collection[str]
) -> tuple[TrainOptions, dict[str, tuple[Any, Any]]]:
    """Return options with the architecture of the model, and what changed for that.

    Raises:
        CheckpointError: no ``netG`` is the model's, or its two generators differ.
        OptionError: an option in ``typed`` contradicts the model.
    """
    first, *others = chosen.values()
    ways = {name: _towards_b(name, source) for name, source in chosen.items()}
    architecture, *rest = ways.values()
    for other, its in zip(others, rest, strict=True):
        if its != architecture:
            raise CheckpointError(
                f"{first.label} is {first.loaded.architecture}, and {other.label} is "
                f"{other.loaded.architecture}; expected two generators of one architecture, or one"
            )
    flat, wanted = flatten(options), _described(first, architecture)
    wanted["stroke_noise"] |= flat["stroke_noise"]  # it can be added to what a model has learned
    differing = {name: value for name, value in wanted.items() if flat[name] != value}
    refused = [name for name in differing if name in typed]
    if refused:
        more = "".join(f"; --{name} {_spelled(wanted[name])}" for name in refused[1:])
        raise OptionError(
            refused[0],
            f"{_spelled(flat[refused[0]])}, but {first.label}, which the training starts from, has "
            f"{_spelled(wanted[refused[0]])}{more}; leave {'them' if more else 'it'} out, or start "
            "from another model",
        )
    differing |= _of_run(flat, first, typed)
    ranges = _ranges(*next(iter(chosen.items())))
    if "value_range" not in typed and not flat["value_range"] and ranges:
        differing["value_range"] = ranges
    bend_px = first.loaded.grid_bend_px
    if "grid_bend_px" not in typed and flat["grid_bend_px"] == 0 and bend_px:
        differing["grid_bend_px"] = bend_px
    strokes_px = _strokes_at_px(chosen, one_sided=options.networks.one_sided)
    if "strokes_at_px" not in typed and flat["strokes_at_px"] is None and strokes_px is not None:
        differing["strokes_at_px"] = strokes_px
    changes = {name: (flat[name], value) for name, value in differing.items()}
    return make(TrainOptions, {**flat, **differing}), changes


def _strokes_at_px(chosen: Mapping[str, _Source], *, one_sided: bool) -> float | None:
    """Return the size for which strokes are right, where all generators of the training say one."""
    said = {source.loaded.strokes_at_px for source in chosen.values()}
    all_taken = len(chosen) == (1 if one_sided else 2)
    return said.pop() if all_taken and len(said) == 1 else None


def _spelled(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _towards_b(name: str, source: _Source) -> GeneratorArchitecture:
    """Return the architecture of a generator, or of its opposite: that from A to B."""
    architecture = source.loaded.architecture
    return architecture.reversed() if name == "G_B" else architecture


def _ranges(name: str, source: _Source) -> list[str]:
    """Return the ranges of A and of B that a model has, as they are typed; none for usual ones."""
    formats = source.loaded.formats[::-1] if name == "G_B" else source.loaded.formats
    texts = [
        "full" if each is None or each.source == "full" else f"{each.low:.9g},{each.high:.9g}"
        for each in formats
    ]
    return [] if texts == ["full", "full"] else texts


def _described(source: _Source, architecture: GeneratorArchitecture) -> dict[str, Any]:
    """Return the options that describe a generator, which stands for one from A to B.

    Raises:
        CheckpointError: no ``netG`` does.
    """
    of_kind = {
        entry.depth: name
        for name, entry in registered_generators().items()
        if entry.kind == architecture.kind
    }
    if architecture.depth not in of_kind:
        raise CheckpointError(
            f"{source.label}: {architecture}; expected one of {', '.join(of_kind.values())}, which "
            "--netG can train"
        )
    options = {
        "netG": of_kind[architecture.depth],
        "ngf": architecture.channels,
        "norm": architecture.norm,
        "upsample": architecture.upsample,
        "color_skip": architecture.color_skip,
        "output_base": architecture.base,
        "stroke_noise": architecture.noise,
        "dropout": architecture.dropout,
        "input_nc": architecture.in_channels,
        "output_nc": architecture.out_channels,
    }
    if architecture.kind == "unet" and "impasto" not in source.loaded.provenance:
        del options["dropout"]  # a U-Net's weights are the same with it and without
    return options


def _of_run(flat: Mapping[str, Any], source: _Source, typed: Collection[str]) -> dict[str, Any]:
    """Return the options of a run's discriminators, unless others are asked for."""
    defaults = default_values(TrainOptions)
    asked = any(name in typed or flat[name] != defaults[name] for name in _OF_DISCRIMINATORS)
    if source.run is None or asked or not source.run.options_file.is_file():
        return {}
    stored = source.run.read_options()
    return {
        name: stored[name]
        for name in _OF_DISCRIMINATORS
        if name in stored and stored[name] != flat[name]
    }


def _require_all_taken(chosen: Mapping[str, _Source]) -> None:
    """Refuse to keep the random weights of an encoder.

    Raises:
        OptionError: a generator does not start from a model.
    """
    for name in ("G_A", "G_B"):
        if name not in chosen:
            raise OptionError(
                "freeze",
                f"{name} starts from random weights, which are not worth keeping; give --init_from "
                "a generator of each direction, or train one with --one_sided true",
            )
