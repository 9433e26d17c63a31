"""From options to a network and settings: the only place that sees options."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from giverny.gatys.adam import Adam
from giverny.gatys.backbones import Vgg
from giverny.gatys.builtin import BUILTIN, CONTENT_BLUR, PATCH_SIDE, RANDOM, RANDOM_RECIPE
from giverny.gatys.conventions import Preset
from giverny.gatys.layers import parse_layers
from giverny.gatys.lbfgs import Lbfgs
from giverny.gatys.memory import Demand, Layer, vgg_layers
from giverny.gatys.optimize import Method
from giverny.gatys.patches import Patches
from giverny.gatys.pixels import Pixels
from giverny.gatys.presets import find_preset
from giverny.gatys.random_backbone import random_vgg
from giverny.gatys.statistics import Gaussian, Gram, ResampledSliced, Sliced, Statistic
from giverny.gatys.weight_files import WeightsFile, read_weights
from giverny.gatys.weights import find_weights, load_weights, missing_message
from giverny.options.errors import CheckpointError, OptionError
from giverny.options.names import nearest
from giverny.options.stylize import StylizeOptions

__all__ = [
    "Backbone",
    "Network",
    "build_backbone",
    "build_demand",
    "build_method",
    "build_settings",
    "build_statistic",
]

_log = logging.getLogger(__name__)

# Filters of a style along which a distribution is matched at once.
_DIRECTIONS = 64
# Filters that Adam's are taken from.
_STOCK = 512


class Network(Protocol):
    """A feature network, or what stands for one."""

    @property
    def layers(self) -> Sequence[str]:
        """Names of its layers, shallow to deep."""
        ...

    def smallest(self, layers: Sequence[str]) -> int:
        """Return the smallest side of a picture, in pixels, that has all of these layers."""
        ...

    def to(self, device: torch.device, /) -> Any:
        """Move it to a device."""
        ...

    def __call__(self, image: Tensor, layers: Sequence[str]) -> Mapping[str, Tensor]:
        """Return the features, (1, C, H', W'), of a picture, RGB, (1, 3, H, W), in [0, 1]."""
        ...


@dataclass(frozen=True, kw_only=True)
class Backbone:
    """A feature network, and where its weights are from.

    Attributes:
        network: frozen, on the CPU.
        name: ``vgg19``, ``vgg16``, ``random`` or ``pixels``.
        weights: the file, None where there is none.
    """

    network: Network
    name: str
    weights: WeightsFile | None

    @property
    def relative(self) -> bool:
        """Whether losses are to be relative to their targets, whose sizes mean nothing."""
        return self.name == "random"


def build_settings(options: StylizeOptions) -> Preset:
    """Return the preset with what the options change.

    Raises:
        OptionError: a layer is unknown, or the preset does not go with the backbone.
    """
    preset = _suited(_preset(options), options)
    changes: dict[str, Any] = {
        "content_weight": options.content_weight,
        "style_weight": options.style_weight,
        "variation": options.tv_weight,
        "statistic": options.statistic,
        "pooling": options.pooling,
        "optimizer": options.optimizer,
        "learning_rate": options.lr,
        "history": options.history,
        "init": None if options.init == "file" else options.init,
    }
    if options.optimizer not in {None, preset.optimizer} and options.lr is None:
        # A rate of L-BFGS is none of Adam's.
        changes["learning_rate"] = 0.02 if options.optimizer == "adam" else 1.0
    if options.iterations:
        changes["iterations"] = tuple(options.iterations)
    for name in ("content_layers", "style_layers"):
        if layers := getattr(options, name):
            names = _parse_layers(layers, preset.network, options, name)
            changes[name] = dict.fromkeys(names, 1 / len(names))
    told = {name: value for name, value in changes.items() if value is not None}
    settings = replace(preset, **told)
    return replace(settings, style_weight=settings.style_weight * options.style_strength)


def _preset(options: StylizeOptions) -> Preset:
    asked, backbone = options.preset, options.backbone
    if asked == "auto":
        asked = {"auto": "", "pixels": "builtin", "random": "random"}.get(backbone, "crowsonkb")
    if not asked:
        asked = "builtin" if _find(options) is None else "crowsonkb"
    preset = {"builtin": BUILTIN, "random": RANDOM}.get(asked) or find_preset(asked)
    looks, fits = {
        "pixels": ("pixels", {"pixels"}),
        "random": ("layers of a random network", {"random"}),
    }.get(preset.network, ("layers of a network", {"vgg19", "vgg16", "random"}))
    if backbone != "auto" and backbone not in fits:
        raise OptionError(
            "preset",
            f"{preset.name} looks at {looks}, and --backbone is {backbone}; leave one of them out",
        )
    if options.weights is not None and {"pixels", "random"} & {preset.network, backbone}:
        raise OptionError(
            "weights",
            f"{options.weights} would not be used: preset {preset.name}, with --backbone "
            f"{backbone}, needs no file; leave it out, or choose others of these",
        )
    return preset


def _suited(preset: Preset, options: StylizeOptions) -> Preset:
    """Return a preset for random filters, where VGG's weights are not there or not wanted.

    Their losses are relative to their targets' energies, to which a program's weights mean nothing.
    """
    if not preset.network.startswith("vgg") or options.backbone in {"vgg16", "vgg19"}:
        return preset
    if options.backbone != "random":
        if _find(options) is not None:
            return preset
        _log.warning(
            "no weights of VGG19 are found, so %s looks through random filters, with weights of "
            "losses that suit them; 'giverny weights list' says how to get VGG's",
            preset.name,
        )
    return replace(
        preset,
        network="random",
        content_weight=RANDOM.content_weight,
        style_weight=RANDOM.style_weight,
        variation=RANDOM.variation,
        variation_kind=RANDOM.variation_kind,
    )


def _parse_layers(
    names: Sequence[str], network: str, options: StylizeOptions, option: str
) -> tuple[str, ...]:
    if network != "pixels":
        return parse_layers(names, _depth(options), option=option)
    for name in names:
        if name not in Pixels.layers:
            raise OptionError(
                option,
                f"{name!r} is none of {', '.join(Pixels.layers)}{nearest(name, Pixels.layers)}; "
                "layers of VGG need --backbone random, or a file of weights",
            )
        if names.count(name) > 1:
            raise OptionError(option, f"{name} is named twice; name each layer once")
    return tuple(names)


def _depth(options: StylizeOptions) -> int:
    return 16 if options.backbone == "vgg16" else 19


def _find(options: StylizeOptions) -> Path | None:
    """Return the file of weights that is to be used; None if there is none."""
    return find_weights(_depth(options), options.weights)


def build_backbone(options: StylizeOptions, settings: Preset) -> Backbone:
    """Make the feature network, as deep as the settings ask for.

    Raises:
        CheckpointError: its weights are not found, damaged, or too few.
    """
    layers = [*settings.content_layers, *settings.style_layers]
    if settings.network == "pixels":
        return Backbone(network=Pixels(CONTENT_BLUR), name="pixels", weights=None)
    path = None if settings.network == "random" else _find(options)
    if path is None:
        if options.backbone in {"vgg16", "vgg19"}:
            raise CheckpointError(missing_message(_depth(options)))
        network = random_vgg(0, replace(RANDOM_RECIPE, pooling=settings.pooling))
        _truncate(network, layers)
        return Backbone(network=network, name="random", weights=None)
    file = read_weights(path)
    network = Vgg(
        depth=file.depth if options.backbone == "auto" else _depth(options),
        width=file.width,
        pooling=settings.pooling,
        keep_size_of_activations=settings.keep_size_of_activations,
        replicate_padding=settings.replicate_padding,
    )
    loaded = load_weights(network, path)
    _truncate(network, layers)
    return Backbone(network=network, name=f"vgg{network.depth}", weights=loaded)


def _truncate(network: Vgg, layers: list[str]) -> None:
    missing = [name for name in layers if name not in network.layers]
    if missing:
        raise CheckpointError(
            f"the network ends at {network.layers[-1]}, before {missing[0]}; choose other "
            "--content_layers and --style_layers, or a file of weights that goes deeper"
        )
    network.truncate(max(layers, key=network.layers.index))


def build_method(settings: Preset, iterations: int) -> Method:
    """Return the optimiser for so many evaluations."""
    if settings.optimizer == "adam":
        return Adam(
            lr=settings.learning_rate,
            betas=settings.betas,
            decay_over=iterations if settings.schedule == "cosine" else None,
        )
    return Lbfgs(lr=settings.learning_rate, history=settings.history)


def build_statistic(settings: Preset, *, seed: int) -> Statistic[Any]:
    """Return what of the style is matched; ``seed`` chooses directions, and filters of patches."""
    if settings.statistic == "patches":
        # L-BFGS would take a change of filters for curvature.
        stock = _STOCK if settings.optimizer == "adam" else _DIRECTIONS
        return Patches(side=PATCH_SIDE, filters=_DIRECTIONS, stock=stock, seed=seed)
    if settings.statistic == "gaussian":
        return Gaussian(iterations=settings.root_iterations or 12)
    if settings.statistic == "sliced" and settings.optimizer == "adam":
        generator = torch.Generator().manual_seed(seed)
        return ResampledSliced(generator=generator, directions=_DIRECTIONS)
    if settings.statistic == "sliced":
        return Sliced(seed=seed, directions=_DIRECTIONS)
    return Gram()


def build_demand(settings: Preset, network: Network) -> Demand:
    """Return what a run asks of the memory."""
    history = settings.history if settings.optimizer == "lbfgs" else 0
    if not isinstance(network, Vgg):
        # Projections, their order, and the sorted ones; blurred luminance.
        kept = [Layer(channels=3 * _DIRECTIONS, stride=1, index_bytes=0)]
        return Demand(layers=kept, history=history, style_channels=())
    convolutions = [name for name in network.layers if name.startswith("conv")]
    block, last = (int(part) for part in convolutions[-1][4:].split("_"))
    kept = vgg_layers(
        network.depth, width=network.width, blocks=block, last=last, pooling=settings.pooling
    )
    names = [name for name in settings.style_layers if not name.startswith("pool")]
    channels = [network.convolution(f"conv{name[4:]}").out_channels for name in names]
    return Demand(layers=kept, history=history, style_channels=channels)
