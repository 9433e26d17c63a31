"""Generator weights on disk: Impasto's safetensors, and the reference implementation's ``.pth``."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from impasto.cyclegan.architecture import GeneratorArchitecture, detect_architecture
from impasto.cyclegan.blocks import take_statistics
from impasto.cyclegan.networks import Generator, load_weights
from impasto.data.channels.ranges import Formats, SampleFormat
from impasto.options.errors import CheckpointError, OptionError
from impasto.options.fields import MOST_BENT_PX, nearest
from impasto.runs.state import load_tensors, save_safetensors

__all__ = [
    "LoadedGenerator",
    "fold_strength",
    "fold_styles",
    "load_generator",
    "read_weights",
    "save_generator",
    "style_shares",
]

# What nn.DataParallel, DistributedDataParallel and torch.compile put before the names.
_PREFIXES = ("module.", "_orig_mod.")
_SHOWN = 4  # parts of a checkpoint that are named in a message
_STATISTICS = ("running_mean", "running_var", "num_batches_tracked")


@dataclass(frozen=True, kw_only=True)
class LoadedGenerator:
    """A generator read from a file, and what had to be done to its weights.

    Attributes:
        network: generator network, on the CPU, in evaluation mode.
        architecture: architecture of the generator.
        notes: dropped or renamed weights, in words, one line each.
        provenance: metadata of the file about its origin (direction, epoch, images), if any.
    """

    network: Generator = field(repr=False)
    architecture: GeneratorArchitecture
    notes: tuple[str, ...] = ()
    provenance: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def statistics(self) -> str:
        """``picture`` if batch normalization is to take those of each picture, else ``running``.

        A generator of pairs is used as it was trained, with pictures one by one. The reference's
        test does the same unless ``--eval`` is given. A U-Net of a file without our metadata is
        taken for one of the reference's pix2pix, where alone that is the default.
        """
        if self.architecture.norm != "batch":
            return "running"
        ours = "impasto" in self.provenance
        published = "running" if ours or self.architecture.kind != "unet" else "picture"
        return self.provenance.get("statistics", published)

    @property
    def styles(self) -> tuple[str, ...]:
        """Names of the styles that the file holds, in their order; none for most generators."""
        return _styles_of(self.provenance)

    @property
    def grid_bend_px(self) -> float:
        """Strength of the warp in pixels, from the generator's file or run; 0 if neither has one.

        Raises:
            CheckpointError: the value is not a length from 0 to 3.5.
        """
        text = self.provenance.get("grid_bend_px", "0")
        try:
            length = float(text)
        except ValueError:
            length = -1.0
        if not 0 <= length <= MOST_BENT_PX:
            raise CheckpointError(
                f"its metadata ask for a grid_bend_px of {text!r}, expected 0 to {MOST_BENT_PX}"
            )
        return length

    @property
    def formats(self) -> Formats:
        """What the numbers of its inputs and of its results mean; None: RGB of 8 bits.

        Of a generator with other channels that says nothing, as the reference's are, each file
        counts in the full range of its type, and results have the type of their inputs.

        Raises:
            CheckpointError: a format is damaged, or of another number of channels.
        """
        found: list[SampleFormat | None] = []
        for end, channels in (
            ("input", self.architecture.in_channels),
            ("output", self.architecture.out_channels),
        ):
            text = self.provenance.get(f"{end}_samples")
            samples = None if text is None else SampleFormat.from_text(text)
            if text is None and channels != 3:
                samples = SampleFormat.full(channels, "")
            if samples is not None and samples.channels != channels:
                raise CheckpointError(
                    f"its metadata say {samples.channels} channels of the {end}, it has {channels}"
                )
            found.append(samples)
        return found[0], found[1]

    @property
    def are_colors(self) -> bool:
        """Whether it translates RGB pictures of 8 bits, or of 16, into such."""
        return self.formats == (None, None)

    @property
    def strokes_at_px(self) -> float | None:
        """Shorter side of the pictures for which its strokes are right; None if no file says it.

        Raises:
            CheckpointError: the value is not a length above 0.
        """
        text = self.provenance.get("strokes_at_px")
        if text is None:
            return None
        try:
            length = float(text)
        except ValueError:
            length = 0.0
        if not 0 < length < float("inf"):
            raise CheckpointError(
                f"its metadata say strokes_at_px {text!r}, expected a number of pixels above 0"
            )
        return length


def load_generator(path: Path, *, style: str | None = None) -> LoadedGenerator:
    """Read a generator from a ``.safetensors`` or ``.pth`` file.

    Reference files of every age load: prefixes of parallel or compiled models are removed, and
    the running statistics that InstanceNorm kept until 2018 (issue 461 of the reference) are
    dropped, since neither implementation uses them. Blocks, filters, dropout, normalization and
    upsampling are read off the names and shapes.

    A file of several styles (``impasto style train``) holds scales and shifts of each; those of the
    one that is chosen, or a mixture of them, become the scales and shifts of an ordinary generator.

    Args:
        path: path of the file.
        style: name of a style of the file, or a mixture, see :func:`style_shares`; None takes the
            first one.

    Raises:
        OptionError: there is no such style in the file.
        CheckpointError: the file is missing, damaged, unsafe, or does not hold a generator; the
            message names the weights that do not fit or are not finite.
    """
    try:
        weights, metadata = _read(path)
        weights, notes = _clean(weights)
        if styles := _styles_of(metadata):
            weights = fold_styles(
                weights, style_shares(styles[0] if style is None else style, styles)
            )
            if style is None and len(styles) > 1:
                notes.append(f"of its styles, {', '.join(styles)}, the first one is taken")
        elif style is not None:
            raise OptionError("style", f"{style}: {path} holds no styles; leave it out")
        described = metadata.get("architecture")
        architecture = (
            GeneratorArchitecture.from_json(described)
            if described
            else detect_architecture(weights)
        )
        network = _build(architecture)
        load_weights(network, weights, what=f"a generator ({architecture})")
        _check_finite(weights)
        loaded = LoadedGenerator(
            network=network.eval(),
            architecture=architecture,
            notes=tuple(notes),
            provenance={key: value for key, value in metadata.items() if key != "architecture"},
        )
        # Refused here, where the file is known.
        _ = loaded.grid_bend_px, loaded.strokes_at_px, loaded.formats
        take_statistics(network, of_picture=loaded.statistics == "picture")
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from error
    return loaded


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read the weights of any network, such as a discriminator, cleaned as those of generators.

    Args:
        path: ``.pth`` or ``.safetensors`` file.

    Returns:
        The state_dict, on the CPU.

    Raises:
        CheckpointError: the file is missing, damaged or unsafe, holds something else, or a weight
            is not finite.
    """
    try:
        weights, _ = _clean(_read(path)[0])
        _check_finite(weights)
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from error
    return weights


def _styles_of(metadata: Mapping[str, str]) -> tuple[str, ...]:
    """Return the names of the styles of a file.

    Raises:
        CheckpointError: the metadata hold something else in their place.
    """
    text = metadata.get("styles", "[]")
    try:
        names = json.loads(text)
    except (TypeError, ValueError):
        names = None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise CheckpointError(f"its metadata name the styles {text!r}, expected a list of names")
    return tuple(names)


def style_shares(text: str, styles: Sequence[str]) -> dict[str, float]:
    """Return the share of each style in a mixture; the shares add up to 1.

    Args:
        text: a name, or several, divided by commas, each with a weight after a colon or a weight of
            1, such as ``great_wave:0.7,scream:0.3``.
        styles: names of all styles of a file.

    Raises:
        OptionError: a name is unknown or named twice, or a weight is no number of at least 0.

    Example:
        >>> style_shares("wave:3,fuji", ["fuji", "wave", "kiss"])
        {'fuji': 0.25, 'wave': 0.75, 'kiss': 0.0}
    """
    weights = dict.fromkeys(styles, 0.0)
    for part in text.split(","):
        name, colon, number = part.strip().rpartition(":")
        if not colon:
            name, number = number, "1"
        name = name.strip()
        if name not in weights:
            raise OptionError(
                "style", f"{name!r} is none of {', '.join(styles)}{nearest(name, styles)}"
            )
        if weights[name]:
            raise OptionError("style", f"{name} is named twice; name each style once")
        try:
            weight = float(number)
        except ValueError:
            weight = -1.0
        if not 0 <= weight < math.inf:
            raise OptionError("style", f"{part.strip()}: expected a weight of at least 0")
        weights[name] = weight
    total = sum(weights.values())
    if not 0 < total < math.inf:
        raise OptionError("style", f"{text}: expected a weight above 0")
    return {name: weight / total for name, weight in weights.items()}


def fold_styles(weights: Mapping[str, Tensor], shares: Mapping[str, float]) -> dict[str, Tensor]:
    """Return the weights of an ordinary generator for one style or a mixture of styles.

    Scales and shifts of the normalizations, (styles, channels), become their weighted means,
    (channels,); all other weights are common to all styles.

    Args:
        weights: weights of a file of several styles.
        shares: share of each style, in the order of the file; they add up to 1.

    Raises:
        CheckpointError: the weights have another number of styles.
    """
    mix = torch.tensor(list(shares.values()))
    folded = dict(weights)
    for name in weights:
        layer, _, kind = name.rpartition(".")
        pair = [weights.get(f"{layer}.{part}") for part in ("weight", "bias")]
        if kind not in {"weight", "bias"} or any(one is None or one.ndim != 2 for one in pair):
            continue
        if len(weights[name]) != len(mix):
            raise CheckpointError(
                f"its metadata name {len(mix)} styles, and {name} holds {len(weights[name])}"
            )
        folded[name] = mix @ weights[name].float()
    return folded


def fold_strength(weights: Mapping[str, Tensor], strength: float) -> dict[str, Tensor]:
    """Return a generator whose output is mixed with its input, as ``translate --strength`` does.

    Its outermost sums are linear, so a share of the picture goes into what its layers are added to,
    and what they add becomes smaller. Only where colors are clamped does the result differ from a
    mixture of pictures.

    Args:
        weights: weights of a generator with the base ``kuwahara``.
        strength: share of the translation, above 0, at most 1.

    Raises:
        CheckpointError: the generator has no such base.
        ValueError: the strength is not within these bounds.
    """
    if not 0 < strength <= 1:
        raise ValueError(f"strength: expected above 0 and at most 1, got {strength}")
    if "base.sharpness" not in weights:
        raise CheckpointError("its output is not added to a base, so no strength can be folded in")
    convolutions = [
        name for name, value in weights.items() if name.startswith("model.") and value.ndim == 4
    ]
    last = max(convolutions, key=lambda name: int(name.split(".")[1])).removesuffix(".weight")
    folded = dict(weights)
    for name in (f"{last}.weight", f"{last}.bias"):
        folded[name] = weights[name] * strength
    before = weights.get("base.photograph", torch.tensor(0.0))
    folded["base.photograph"] = 1 - strength * (1 - before)
    return folded


def save_generator(
    path: Path,
    weights: Mapping[str, Tensor],
    architecture: GeneratorArchitecture,
    provenance: Mapping[str, str],
) -> None:
    """Write a generator atomically as safetensors with its architecture in the metadata.

    Args:
        path: ``.safetensors`` file to write.
        weights: state_dict of the generator.
        architecture: architecture of the generator.
        provenance: origin of the generator (direction, epoch, images, version), as texts.

    Raises:
        OSError: the file cannot be written.
    """
    save_safetensors(path, weights, {**provenance, "architecture": architecture.to_json()})


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return the tensors of a file and our metadata."""
    loaded, metadata = load_tensors(path)
    if not isinstance(loaded, dict) or not all(
        isinstance(key, str) and isinstance(value, Tensor) for key, value in loaded.items()
    ):
        raise CheckpointError(f"expected a state_dict of tensors{_where_weights_are(path, loaded)}")
    return dict(loaded), metadata


def _where_weights_are(path: Path, loaded: Any) -> str:
    """Say in words what to do with a file that holds weights deeper inside, or nothing."""
    if path.name == "state.pt":
        return "; give the run's folder instead"
    if not isinstance(loaded, dict):
        return f", got {type(loaded).__name__}"
    holders = [
        key
        for key, value in loaded.items()
        if isinstance(value, dict) and any(isinstance(item, Tensor) for item in value.values())
    ]
    if not holders:
        return ""
    names = ", ".join(map(repr, holders[:_SHOWN])) + (", ..." if len(holders) > _SHOWN else "")
    example = f"torch.load('{path.name}', weights_only=True)[{holders[0]!r}]"
    return (
        f"; it is a training's checkpoint, which holds some under {names}; write the one of the "
        f"generator into a file of its own, such as torch.save({example}, 'generator.pth')"
    )


def _build(architecture: GeneratorArchitecture) -> Generator:
    """Make the network that a file describes.

    Raises:
        CheckpointError: there is no such network.
    """
    try:
        return architecture.build()
    except (RuntimeError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"describes no possible generator, {architecture}: {error}"
        ) from error


def _check_finite(weights: Mapping[str, Tensor]) -> None:
    """Refuse weights of which all translations would be black.

    Raises:
        CheckpointError: a value is NaN or infinite; the message names the first such tensor.
    """
    for name, tensor in weights.items():
        finite = tensor.isfinite()
        if not finite.all():
            count = tensor.numel() - int(finite.sum())
            raise CheckpointError(
                f"{count} of the {tensor.numel()} values of {name} are not finite numbers (NaN or "
                "infinite): its training had failed, or the file is damaged; take another epoch or "
                "file"
            )


def _clean(weights: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], list[str]]:
    """Remove prefixes and stale statistics; return the rest and what was done, in words."""
    notes, cleaned = [], dict(weights)
    while found := [p for p in _PREFIXES if cleaned and all(k.startswith(p) for k in cleaned)]:
        notes.append(f"removed the prefix {found[0]!r} from {len(cleaned)} names")
        cleaned = {key.removeprefix(found[0]): value for key, value in cleaned.items()}
    stale = [
        key
        for key in cleaned
        if key.endswith(_STATISTICS) and f"{key.rpartition('.')[0]}.weight" not in cleaned
    ]
    if stale:
        notes.append(
            f"dropped {len(stale)} running statistics of InstanceNorm, which no version uses: "
            f"{stale[0]}, ..."
        )
    return {key: value for key, value in cleaned.items() if key not in stale}, notes
