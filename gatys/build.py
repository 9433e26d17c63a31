"""Build settings, feature network, losses and optimizer from the options of stylize.

The modules that these functions call take numbers and objects, never option classes. A new loss is
one more term in :func:`build_objective`.
"""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from impasto.gatys.features.graph import KEPT_STRIDE, find_anatomy
from impasto.gatys.features.lite import (
    Lite,
    default_lite_layers,
    find_lite_weights,
    missing_lite_message,
)
from impasto.gatys.features.make import (
    Backbone,
    FeatureFunction,
    Network,
    make_network,
    model_of,
    parse_network_layers,
    resolve_model_name,
    with_autocast,
)
from impasto.gatys.features.models import ModelNetwork, default_layers
from impasto.gatys.features.pixels import Pixels
from impasto.gatys.features.smoothing import NO_SMOOTHING, Smoothing
from impasto.gatys.features.vgg import Vgg
from impasto.gatys.features.weight_files import is_trained_here
from impasto.gatys.features.weights import find_weights
from impasto.gatys.inputs import Pictures, picture_image, regions_at
from impasto.gatys.losses.functional import chroma_variation
from impasto.gatys.losses.objective import (
    ChromaVariation,
    LossTerm,
    Objective,
    PixelLoss,
    RangePenalty,
    ShiftedObjective,
    TotalVariation,
    Window,
)
from impasto.gatys.losses.statistics import (
    Gaussian,
    Gram,
    MeanCovariance,
    Patches,
    ResampledSliced,
    Sliced,
    Statistic,
)
from impasto.gatys.losses.targets import (
    Content,
    FeatureLoss,
    Region,
    Style,
    feature_losses,
    with_targets_of,
)
from impasto.gatys.losses.tiles import (
    TiledNetwork,
    TiledObjective,
    Tiling,
    has_reach,
    is_averaged,
)
from impasto.gatys.memory import Layer, MemoryEstimate, vgg_layers
from impasto.gatys.optim.loop import Method
from impasto.gatys.optim.methods import Adam, Lbfgs
from impasto.gatys.presets import (
    MODEL,
    OWN_PRESETS,
    PATCH_SIDE,
    RANDOM,
    TRAINED,
    Preset,
    find_preset,
)
from impasto.gatys.scales import Scale, widen
from impasto.options.errors import OptionError
from impasto.options.stylize import StylizeOptions
from impasto.runs.state import make_generator

__all__ = [
    "build_backbone",
    "build_memory_estimate",
    "build_method",
    "build_objective",
    "build_settings",
    "build_statistic",
]

_log = logging.getLogger(__name__)

# Filters of a style along which a distribution is matched at once.
_DIRECTIONS = 64
# Filters that Adam's are taken from.
_STOCK = 512
# Filters of the patches beside a network, in each evaluation.
_FEW_DIRECTIONS, _FEW_STOCK = 12, 64
# So many of them, and up to four times as many, are compared.
_FEW_POSITIONS = 2**13
# Where they are compared, and the strides: a stroke of a coarse scale is to stay one at the next.
_PATCH_STRIDES = {"pixels": 1, "pixels_2": 2, "pixels_4": 4}
# Shifts of a picture at one scale; the targets of each are kept.
_WINDOWS = 6
_AUTOCAST = {"bf16": torch.bfloat16, "fp16": torch.float16}


def build_settings(options: StylizeOptions) -> Preset:
    """Return the preset, with the settings that the options change.

    Raises:
        OptionError: a layer is unknown, or the preset or an option does not go with the backbone.
    """
    preset = _adapt_to_network(_choose_preset(options), options)
    changes: dict[str, Any] = {
        "content_weight": options.content_weight,
        "style_weight": options.style_weight,
        "variation": options.tv_weight,
        "patch_weight": options.patch_weight,
        "structure_weight": options.structure_weight,
        "chroma_variation": options.chroma_weight,
        "statistic": options.statistic,
        "pooling": options.pooling,
        "replicate_padding": options.replicate_padding,
        "optimizer": options.optimizer,
        "learning_rate": options.lr,
        "history": options.history,
        "init": None if options.init == "file" else options.init,
    }
    if options.optimizer not in {None, preset.optimizer} and options.lr is None:
        # A rate of L-BFGS is none of Adam's.
        changes["learning_rate"] = 0.02 if options.optimizer == "adam" else 1.0
    if options.optimizer == "lbfgs":
        changes["jitter"] = 0  # it would take a shift for curvature
        preset = replace(preset, finish=None)  # which is of steps as small as Adam's
    if options.iterations:
        changes["iterations"] = tuple(options.iterations)
    for kind in ("content", "style"):
        name = f"{kind}_layers"
        if layers := getattr(options, name):
            own = preset.network in {"pixels", "lite"}
            network = preset.network if own else options.backbone
            names = parse_network_layers(layers, network, option=name)
            changes[name], share = _layer_weights(getattr(preset, name), names)
            if changes[f"{kind}_weight"] is None and preset.layers_add_up:
                changes[f"{kind}_weight"] = share * getattr(preset, f"{kind}_weight")
    given = {name: value for name, value in changes.items() if value is not None}
    settings = replace(preset, **given)
    if options.replicate_padding is not None and not settings.network.startswith("vgg"):
        raise OptionError(
            "replicate_padding",
            f"changes VGG with weights alone, not {settings.network}; leave it out",
        )
    settings = replace(settings, style_weight=settings.style_weight * options.style_strength)
    return settings if options.strength == 1 else _weakened(settings, options.strength)


def _weakened(settings: Preset, strength: float) -> Preset:
    """Return settings for less than the full strength of the styles, which the mix of them has.

    What smooths a painting would blur a photograph, whose content counts the more.
    """
    if strength == 0:
        # One evaluation at one size: the content itself, with its losses.
        largest = settings.sizes[-1:]
        return replace(settings, sizes=largest, size_factor=0.0, iterations=(1,), finish=None)
    return replace(
        settings,
        content_weight=settings.content_weight / strength,
        structure_weight=settings.structure_weight / strength,
        variation=settings.variation * strength,
        chroma_variation=settings.chroma_variation * strength,
    )


def _layer_weights(
    preset: Mapping[str, float], names: Sequence[str]
) -> tuple[Mapping[str, float], float]:
    """Return weights of layers, which add up to 1, and the share of the preset's that is kept.

    Among its own layers, the preset's weights keep their ratios; others count the same.
    """
    if set(names) == set(preset):
        return preset, 1.0
    kept = sum(preset.get(name, 0.0) for name in names)
    if not set(names) <= set(preset) or not kept:
        return dict.fromkeys(names, 1 / len(names)), 1.0
    return {name: preset[name] / kept for name in names}, kept


def _choose_preset(options: StylizeOptions) -> Preset:
    name, backbone = options.preset, options.backbone
    model = model_of(backbone)
    if name == "auto":
        own = {"auto": "", "pixels": "builtin", "random": "random", "lite": "lite"}
        name = own.get(backbone, "model" if model else "crowsonkb")
    if not name:
        file = _find_vgg_weights(options)
        published = "trained" if file and is_trained_here(file) else "crowsonkb"
        name = _without_vgg() if file is None else published
    preset = OWN_PRESETS.get(name) or find_preset(name)
    models = {backbone} if model or backbone == "lite" else set()
    kinds: dict[str, tuple[str, set[str]]] = {
        "pixels": ("pixels", {"pixels"}),
        "lite": ("layers of EfficientNet-Lite0", {"lite"}),
        "random": ("layers of a random network", {"random"}),
        "model": ("layers of lite or of a model of torchvision, such as resnet50", models),
    }
    general = ("layers of a network", {"vgg19", "vgg16", "random", *models})
    looks, fits = kinds.get(preset.network, general)
    if backbone not in fits and (backbone != "auto" or preset.network == "model"):
        raise OptionError(
            "preset",
            f"{preset.name} looks at {looks}, and --backbone is {backbone}; leave one of them out",
        )
    random = backbone == "random" or backbone.startswith("random:")
    if options.weights is not None and (random or preset.network in {"pixels", "random"}):
        raise OptionError(
            "weights",
            f"{options.weights} would not be used: preset {preset.name}, with --backbone "
            f"{backbone}, needs no file; leave it out, or choose others of these",
        )
    return preset


def _without_vgg() -> str:
    """Return the preset where no weights of VGG19 are found."""
    if find_lite_weights() is not None:
        return "lite"
    _log.warning("%s; until then, the preset builtin does without", missing_lite_message())
    return "builtin"


def _adapt_to_network(preset: Preset, options: StylizeOptions) -> Preset:
    """Return a preset for the network that there is, where that is another than its source's.

    Losses then are relative to their targets' energies, to which a program's weights mean nothing.
    """
    if preset.network == "lite":
        if options.pooling is not None:
            raise OptionError("pooling", f"changes VGG alone; leave it out with {preset.name}")
        return replace(preset, smoothing=_smoothing(options, residual=False))
    if options.backbone == "lite":
        return _adapt_to_model(preset, *default_lite_layers(), residual=False, options=options)
    if model := model_of(options.backbone):
        residual = find_anatomy(model).residual
        return _adapt_to_model(preset, *default_layers(model), residual=residual, options=options)
    smoothing = _smoothing(options, residual=False)
    if preset.network == "pixels" and smoothing != NO_SMOOTHING:
        raise OptionError(
            "smoothing", f"is for layers of a network, and {preset.name} looks at pixels"
        )
    preset = replace(preset, smoothing=smoothing)
    return _adapt_to_vgg(preset, options) if preset.network.startswith("vgg") else preset


def _adapt_to_vgg(preset: Preset, options: StylizeOptions) -> Preset:
    named, file = options.backbone in {"vgg16", "vgg19"}, None
    if options.backbone != "random":
        file = _find_vgg_weights(options)
        if file is None and not named:
            _log.warning(
                "no weights of VGG19 are found, so %s looks through random filters instead, with "
                "other loss weights, as these need: results are not like those through VGG19; "
                "'impasto weights list' says how to get its weights, and what sees without them",
                preset.name,
            )
    if file is None and not named:
        return _with_weights_of(RANDOM, replace(preset, network="random"))
    if file is not None and is_trained_here(file):
        return _with_weights_of(TRAINED, preset)
    if preset.name == TRAINED.name:
        raise OptionError(
            "preset",
            "trained is for a network of impasto backbone train; give it as --backbone, or choose "
            "another preset",
        )
    return preset if preset.smoothing == NO_SMOOTHING else _with_weights_of(RANDOM, preset)


def _adapt_to_model(
    preset: Preset, content: str, style: Sequence[str], *, residual: bool, options: StylizeOptions
) -> Preset:
    if options.pooling is not None:
        raise OptionError("pooling", f"changes VGG alone; leave it out with {options.backbone}")
    return _with_weights_of(
        MODEL,
        replace(
            preset,
            network=resolve_model_name(options.backbone, options.weights),
            content_layers={content: 1.0},
            style_layers=dict.fromkeys(style, 1 / len(style)),
            layers_add_up=False,  # these layers are none of the source's
            smoothing=_smoothing(options, residual=residual),
        ),
    )


def _with_weights_of(other: Preset, preset: Preset) -> Preset:
    return replace(
        preset,
        content_weight=other.content_weight,
        style_weight=other.style_weight,
        variation=other.variation,
        variation_kind=other.variation_kind,
    )


def _smoothing(options: StylizeOptions, *, residual: bool) -> Smoothing:
    """Return what is asked for; SWAG's softmax for residual networks unless said otherwise.

    Source: Wang, Li and Vasconcelos 2021: a temperature of 1, in every layer.
    """
    if options.smoothing == "auto":
        return Smoothing(kind="softmax") if residual else NO_SMOOTHING
    try:
        return Smoothing.parse(options.smoothing)
    except ValueError as error:
        raise OptionError("smoothing", f"{error} (or auto)") from error


def _depth(options: StylizeOptions) -> int:
    return 16 if options.backbone == "vgg16" else 19


def _find_vgg_weights(options: StylizeOptions) -> Path | None:
    """Return the file of VGG's weights that is to be used; None if there is none."""
    return find_weights(_depth(options), options.weights)


def build_backbone(options: StylizeOptions, settings: Preset) -> Backbone:
    """Make the feature network, as deep as the settings ask for.

    Raises:
        CheckpointError: the weights are not found, damaged, or do not reach the layers needed.
    """
    ours = settings.network in {"random", "pixels", "lite"} or model_of(options.backbone)
    return make_network(
        settings.network if ours else options.backbone,
        options.weights,
        layers=[*settings.content_layers, *settings.style_layers],
        pooling=settings.pooling,
        keep_size_of_activations=settings.keep_size_of_activations,
        replicate_padding=settings.replicate_padding,
    )


def build_method(settings: Preset, iterations: int) -> Method:
    """Return the optimizer for a given number of evaluations."""
    if settings.optimizer == "adam":
        return Adam(
            lr=settings.learning_rate,
            betas=settings.betas,
            decay_over=iterations if settings.schedule == "cosine" else None,
        )
    return Lbfgs(lr=settings.learning_rate, history=settings.history)


def build_statistic(settings: Preset, *, seed: int) -> Statistic[Any]:
    """Return the style statistic to match; ``seed`` chooses its directions or patch filters."""
    if settings.statistic == "patches":
        # L-BFGS would take a change of filters for curvature.
        stock = _STOCK if settings.optimizer == "adam" else _DIRECTIONS
        return Patches(side=PATCH_SIDE, filters=_DIRECTIONS, stock=stock, seed=seed)
    if settings.statistic == "sliced" and settings.optimizer == "adam":
        generator = torch.Generator().manual_seed(seed)
        return ResampledSliced(generator=generator, directions=_DIRECTIONS)
    if settings.statistic == "sliced":
        return Sliced(seed=seed, directions=_DIRECTIONS)
    if settings.statistic == "gaussian":
        return Gaussian(iterations=settings.root_iterations)
    return MeanCovariance() if settings.statistic == "moments" else Gram()


def _patches(settings: Preset, *, seed: int) -> Patches:
    """Return the statistic of the pixels' patches beside a network's features."""
    stock = _FEW_STOCK if settings.optimizer == "adam" else _FEW_DIRECTIONS
    return Patches(
        side=PATCH_SIDE,
        filters=_FEW_DIRECTIONS,
        stock=stock,
        quantiles=2**12,
        positions=_FEW_POSITIONS if settings.optimizer == "adam" else None,
        seed=seed,
    )


def build_objective(
    options: StylizeOptions,
    settings: Preset,
    backbone: Backbone,
    pictures: Pictures,
    scale: Scale,
    device: torch.device,
    tile_px: int | None = None,
) -> Objective | ShiftedObjective:
    """Return the losses at one scale. A new loss is one more term here.

    They are those of a picture with the preset's margin around it; with ``tile_px``, the network
    sees tiles of that side, in pixels, and losses are the same up to rounding.
    """
    size = scale.height, scale.width
    shown = widen(picture_image(pictures.content, *size).to(device), settings.margin)
    windows = _windows(shown, settings.jitter, seed=options.seed + scale.index)
    wide = [
        region if region.mask is None else replace(region, mask=widen(region.mask, settings.margin))
        for region in regions_at(
            pictures,
            *size,
            style_scale=options.style_scale,
            device=device,
            strength=options.strength,
        )
    ]
    regions = [
        region if region.mask is None else replace(region, mask=windows[0].cut(region.mask))
        for region in wide
    ]
    # Without a network there is nothing to save, and pixels would lose digits.
    dtype = None if settings.network == "pixels" else _AUTOCAST.get(options.mixed_precision)
    network = with_autocast(backbone.network, dtype)
    looks: FeatureFunction = network
    evaluated: Callable[..., Objective] = Objective
    if tile_px is not None:
        assert has_reach(backbone.network)  # noqa: S101 - or there were no plan with tiles
        names = list({**settings.content_layers, **settings.style_layers})
        tiling = Tiling(backbone.network, names, tile_px)
        looks = TiledNetwork(network, tiling)
        evaluated = partial(TiledObjective, tiling=tiling)
    compared = feature_losses(
        looks,
        content=Content(
            picture=windows[0].cut(shown),
            layers=settings.content_layers,
            weight=settings.content_weight,
            smoothing=settings.smoothing,
            centered=settings.content_centered,
            histograms=regions if settings.match_histograms else (),
        ),
        style=Style(
            regions=regions,
            layers=settings.style_layers,
            weight=settings.style_weight,
            smoothing=settings.smoothing,
            statistic=build_statistic(settings, seed=options.seed + scale.index),
        ),
        relative=backbone.relative or settings.smoothing != NO_SMOOTHING,
    )
    terms: dict[str, LossTerm] = {
        **compared,
        "variation": TotalVariation(weight=settings.variation, kind=settings.variation_kind),
        "value_range": RangePenalty(weight=0.0 if settings.clamp else 1.0),
    }
    if settings.patch_weight:
        style = Style(
            regions=regions,
            layers=dict.fromkeys(_PATCH_STRIDES, 1 / len(_PATCH_STRIDES)),
            weight=settings.patch_weight,
            statistic=_patches(settings, seed=options.seed + scale.index),
        )
        terms["patches"] = PixelLoss(
            loss=feature_losses(Pixels().to(device), style=style, relative=True)["style"],
            network=Pixels().to(device),
        )
    if settings.chroma_variation:
        terms["chroma"] = ChromaVariation(
            weight=settings.chroma_variation, reference=_chroma_of(regions)
        )
    structure = _structure(settings, shown, wide) if settings.structure_weight else None
    if structure is not None:
        terms["structure"] = _seen_through(windows[0], structure)
    if not settings.jitter:
        return evaluated(network, terms)
    objectives = []
    for window in windows:
        content = with_targets_of(compared["content"], looks, window.cut(shown))
        seen: dict[str, LossTerm] = {**terms, "content": content}
        if structure is not None:
            seen["structure"] = _seen_through(window, structure)
        objectives.append(evaluated(network, seen))
    generator = make_generator(options.seed + scale.index, "choice of windows")
    return ShiftedObjective(objectives, windows, generator=generator)


def _structure(settings: Preset, shown: Tensor, regions: Sequence[Region]) -> FeatureLoss:
    """Return the loss of the blurred luminance of a whole canvas, in the tones of the styles."""
    content = Content(
        picture=shown,
        layers={"luminance": 1.0},
        weight=settings.structure_weight,
        centered=True,
        histograms=regions,
    )
    return feature_losses(Pixels().to(shown.device), content=content, relative=True)["content"]


def _seen_through(window: Window, loss: FeatureLoss) -> PixelLoss:
    """Return a loss of the pixels of a canvas as one of those in a window."""
    parts = [replace(part, target=window.cut(part.target)) for part in loss.parts]
    network = Pixels().to(parts[0].target.device)
    return PixelLoss(loss=replace(loss, parts=parts), network=network)


def _chroma_of(regions: Sequence[Region]) -> float:
    """Return the chroma variation of the styles, each by its share of the picture."""
    total = shares = 0.0
    for region in regions:
        area = 1.0 if region.mask is None else float(region.mask.mean())
        for style in region.styles:
            total += area * style.weight * float(chroma_variation(style.picture))
            shares += area * style.weight
    return total / shares if shares else 0.0


def _windows(canvas: Tensor, jitter: int, *, seed: int) -> Sequence[Window]:
    """Return windows of a canvas, of which the first is in the middle; one without jitter."""
    height, width = canvas.shape[-2:]
    generator = make_generator(seed, "windows")
    drawn = torch.randint(jitter + 1, (_WINDOWS - 1, 2), generator=generator).tolist()
    places = [[jitter // 2, jitter // 2], *(drawn if jitter else ())]
    return [
        Window(top=top, left=left, height=height - jitter, width=width - jitter)
        for top, left in places
    ]


def build_memory_estimate(settings: Preset, network: Network) -> MemoryEstimate:
    """Return the estimate of the memory that a run needs."""
    history = settings.history if settings.optimizer == "lbfgs" else 0
    if isinstance(network, Lite | ModelNetwork):
        return _model_estimate(settings, network, history)
    if not isinstance(network, Vgg):
        # Projections, their order, and the sorted ones; blurred luminance.
        kept = [Layer(channels=3 * _DIRECTIONS, stride=1, index_bytes=0)]
        return MemoryEstimate(layers=kept, history=history, style_channels=())
    tiled = _tiled_estimate(settings, network, lambda name: _vgg_channels(network, name))
    convolutions = [name for name in network.layers if name.startswith("conv")]
    block, last = (int(part) for part in convolutions[-1][4:].split("_"))
    kept = vgg_layers(
        network.depth, width=network.width, blocks=block, last=last, pooling=settings.pooling
    )
    names = [name for name in settings.style_layers if not name.startswith("pool")]
    channels = [_vgg_channels(network, name) for name in names]
    return MemoryEstimate(layers=kept, history=history, style_channels=channels, **tiled)


def _vgg_channels(network: Vgg, name: str) -> int:
    """Return the number of channels of a layer, which all of its block have."""
    return network.convolution(f"conv{name[4]}_1").out_channels


def _tiled_estimate(
    settings: Preset, network: object, channels_of: Callable[[str], int]
) -> dict[str, Any]:
    """Return what the estimate has to know where the network can be run tile by tile."""
    averaged = is_averaged(build_statistic(settings, seed=0))
    if not (averaged and has_reach(network)) or settings.smoothing.kind == "softmax":
        return {}

    def maps(names: Iterable[str]) -> list[Layer]:
        return [
            Layer(channels=channels_of(name), stride=network.reach([name])[1]) for name in names
        ]

    names = list({**settings.content_layers, **settings.style_layers})
    windows = _WINDOWS if settings.jitter else 1
    return {
        "compared": maps(names),
        "kept_maps": maps(settings.content_layers) * windows,
        "reach": network.reach(names),
    }


def _model_estimate(settings: Preset, network: Lite | ModelNetwork, history: int) -> MemoryEstimate:
    names = list({**settings.content_layers, **settings.style_layers})
    kept = [
        Layer(channels=channels, stride=KEPT_STRIDE) for channels in network.kept_channels(names)
    ]
    if settings.smoothing != NO_SMOOTHING:
        # What a softmax gives, and its product.
        kept += [
            Layer(channels=2 * network.channels[name], stride=network.strides[name])
            for name in names
        ]
    pixels = []
    if settings.patch_weight:
        # Projections, their order, and the sorted ones.
        sampled = _FEW_POSITIONS if settings.optimizer == "adam" else None
        pixels += [
            Layer(
                channels=3 * _FEW_DIRECTIONS, stride=stride, sampled=sampled, most_step=PATCH_SIDE
            )
            for stride in _PATCH_STRIDES.values()
        ]
    if settings.structure_weight:
        # Luminance, and its blur by rows and by columns.
        pixels.append(Layer(channels=4, stride=1))
    return MemoryEstimate(
        layers=kept,
        pixel_layers=pixels,
        history=history,
        style_channels=[network.channels[name] for name in settings.style_layers],
        **_tiled_estimate(settings, network, lambda name: network.channels[name]),
    )
