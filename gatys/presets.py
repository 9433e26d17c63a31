"""Presets: settings of published programs and of Impasto, with weights in one convention.

The programs' weights are converted; :data:`BUILTIN`, :data:`LITE`, :data:`LITE_FAST`,
:data:`RANDOM`, :data:`TRAINED` and :data:`MODEL` are Impasto's own. The convention is
:mod:`impasto.gatys.losses.objective`'s: content is the mean squared difference v_l of features,
style is E_l of Gatys et al. 2016 (equation 4) with Gram matrices divided by the number of
positions, layer weights add up to 1, and the network takes pictures in [0, 1], which it normalizes
by ImageNet's means and deviations. With C channels and M positions of a layer:

=============================  ==============================  =============================
what a program computes        in our terms                    who
=============================  ==============================  =============================
1/2 sum (F - P)^2              C M / 2 of our content          Gatys et al. 2016
mean (F - P)^2                 our content                     all others
sum (G - A)^2 / (4 C^2 M^2)    E_l                             Gatys et al. 2016
mean (G - A)^2 / M^2           4 E_l                           leongatys, TensorFlow notebook
mean (G - A)^2 / (C M)^2       4 / C^2 of E_l                  neural-style, PyTorch tutorial
sum (G - A)^2 / (C M)^2        4 E_l                           gordicaleksa
=============================  ==============================  =============================

A program whose network takes values of 0 to 255 (Caffe's VGG: BGR, means subtracted, not divided by
deviations) sees an input that is 255 x 0.226 = 57.6 times ours. ReLU networks are homogeneous
except for their biases, so its features are about 57.6 times ours, a content or Wasserstein loss
3.3e3 and E_l 1.1e7 times. Presets hold weights for *our* input; ``input_scale`` is the factor that
was applied. After the conversion the whole objective equals the source's: the constant factor is 1
for all presets.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Literal

from impasto.gatys.features.smoothing import NO_SMOOTHING, Smoothing
from impasto.gatys.losses.functional import VariationKind

__all__ = [
    "BUILTIN",
    "LITE",
    "LITE_FAST",
    "MODEL",
    "OWN_PRESETS",
    "PATCH_SIDE",
    "PRESETS",
    "RANDOM",
    "TRAINED",
    "Finish",
    "Preset",
    "StatisticKind",
    "caffe_scale",
    "content_from_half_sum",
    "find_preset",
    "gram_from_mean_square",
    "variation_from_sum",
]


StatisticKind = Literal["gram", "gaussian", "moments", "sliced", "patches"]
"""What of a style is matched; see :mod:`impasto.gatys.losses.statistics`."""

_IMAGENET_DEVIATION = (0.229 + 0.224 + 0.225) / 3


@dataclass(frozen=True, kw_only=True)
class Finish:
    """What follows at the largest size: a second run that brings the finest strokes nearer.

    Patches weigh more there, and so does what holds against the grain that they bring. From the
    start, such weights would draw patches before there are shapes.

    Attributes:
        iterations: number of iterations; at most as many as there were at that size before.
        rate: learning rate, as a factor of the preset's.
        patches: weight of the patches, likewise.
        variation: weight of the total variation, likewise.
        chroma: weight of the total variation of colors, likewise.
    """

    iterations: int
    rate: float
    patches: float
    variation: float
    chroma: float


@dataclass(frozen=True, kw_only=True)
class Preset:
    """Settings of a published program, in Impasto's convention.

    Attributes:
        name: name of the preset, as users write it.
        source: source of the settings.
        notes: differences from the source, and settings that the source does not state.
        network: feature network and weights that the source uses: ``vgg19`` (torchvision's),
            ``vgg19_caffe``, or ``vgg19_unit`` (scaled so that activations have a mean of 1).
            ``random`` is the network without a file, ``pixels`` means no network, ``lite`` is
            EfficientNet-Lite0, and ``model`` any of torchvision's models.
        input_scale: scale of the source's network input relative to Impasto's; the weights below
            are already converted.
        content_layers: weights of the content layers, which add up to 1.
        style_layers: weights of the style layers, which add up to 1.
        layers_add_up: whether the source sums the losses of its layers with a weight for each, so
            that fewer layers give a smaller loss; otherwise it divides by the sum of these weights.
        content_weight: weight of the content loss.
        style_weight: weight of the style loss.
        variation: weight of the total variation.
        patch_weight: weight of a second style loss, of the patches of the pixels themselves, as
            ``builtin`` compares them, at full, half and quarter size; 0: none.
        structure_weight: weight of a second content loss, of the blurred luminance, whose values
            are replaced, rank by rank, by those of the styles, as in ``builtin``; 0: none.
        chroma_variation: weight of the total variation of colors, relative to that of the styles.
        variation_kind: kind of differences in the total variation.
        content_centered: whether a relative content loss is divided by the variance of the target
            features, see :class:`~impasto.gatys.losses.targets.Content`.
        statistic: statistic of the style that is matched.
        smoothing: smoothing of all features before they are compared.
        root_iterations: number of Newton-Schulz iterations for the matrix square root of
            ``gaussian``; None: exact.
        pooling: pooling method: ``max``, ``average`` or ``l2``.
        keep_size_of_activations: whether pooling other than ``max`` is scaled to give values as
            large.
        replicate_padding: whether the first convolution pads the picture with its edge pixels.
        optimizer: name of the optimizer, ``lbfgs`` or ``adam``.
        learning_rate: learning rate for a picture in [0, 1].
        schedule: schedule of Adam's learning rate at each scale: ``constant``, or ``cosine``, which
            ends at 0.
        betas: decay rates of Adam's two moments.
        history: number of steps that L-BFGS stores.
        sizes: longer sides of the picture in pixels, from coarse to fine.
        size_factor: ratio of neighboring sizes, which then go down from the size that is asked for
            to at least the first of ``sizes``; 0: ``sizes`` are brought to that size in proportion.
        iterations: number of iterations at each size; for L-BFGS, of evaluations.
        init: initial picture: ``content``, ``palette`` (the content in the style's colors) or
            ``noise``.
        kept_detail: share of the initial picture's detail that the enlarged result of one size gets
            back at the next.
        match_histograms: whether the content's targets take on the histograms of the style's.
        average_decay: decay of the moving average of iterates; 0: no average.
        clamp: whether values are clipped to [0, 1] after each step.
        jitter: largest shift of the picture, in pixels, that is drawn anew in each evaluation, see
            :class:`~impasto.gatys.losses.objective.ShiftedObjective`.
        margin: width of what is optimized around the picture and cut off in the end, in pixels; at
            least ``jitter``.
        cut_frames: whether plain frames of styles are cut off.
        finish: what follows at the largest size; None: nothing.
    """

    name: str
    source: str
    notes: str = ""
    network: str = "vgg19"
    input_scale: float = 1.0
    content_layers: Mapping[str, float]
    style_layers: Mapping[str, float]
    layers_add_up: bool = False
    content_weight: float
    style_weight: float
    variation: float = 0.0
    patch_weight: float = 0.0
    structure_weight: float = 0.0
    chroma_variation: float = 0.0
    variation_kind: VariationKind = "squared"
    content_centered: bool = False
    statistic: StatisticKind = "gram"
    smoothing: Smoothing = NO_SMOOTHING
    root_iterations: int | None = 12
    pooling: Literal["max", "average", "l2"] = "max"
    keep_size_of_activations: bool = False
    replicate_padding: bool = False
    optimizer: Literal["lbfgs", "adam"] = "lbfgs"
    learning_rate: float = 1.0
    schedule: Literal["constant", "cosine"] = "constant"
    betas: tuple[float, float] = (0.9, 0.999)
    history: int = 100
    sizes: tuple[int, ...] = (512,)
    size_factor: float = 0.0
    iterations: tuple[int, ...]
    init: Literal["content", "palette", "noise"] = "content"
    kept_detail: float = 0.0
    match_histograms: bool = False
    average_decay: float = 0.0
    clamp: bool = False
    jitter: int = 0
    margin: int = 0
    cut_frames: bool = False
    finish: Finish | None = None

    def finishing(self) -> "Preset":
        """Return the settings of the finish, and these where there is none."""
        if self.finish is None:
            return self
        return replace(
            self,
            learning_rate=self.learning_rate * self.finish.rate,
            patch_weight=self.patch_weight * self.finish.patches,
            variation=self.variation * self.finish.variation,
            chroma_variation=self.chroma_variation * self.finish.chroma,
        )


def caffe_scale(white: float = 255.0) -> float:
    """Return the scale of a Caffe network's input relative to Impasto's.

    Args:
        white: input value of white; 256 in neural-style, which multiplies by it.
    """
    return white * _IMAGENET_DEVIATION


def content_from_half_sum(weight: float, *, channels: int, positions: int) -> float:
    """Return the content weight for a loss of half the sum of squares."""
    return weight * channels * positions / 2


def gram_from_mean_square(
    weights: Mapping[str, float], *, channels: Mapping[str, int] | None = None
) -> tuple[float, dict[str, float]]:
    """Convert weights of the mean squared difference of Gram matrices.

    Args:
        weights: weights, by layer, of the mean over C^2 entries, for matrices divided by M only.
        channels: number of channels C of each layer, if the source also divides its matrices by C.

    Returns:
        The style weight, and layer weights, which add up to 1.
    """
    ours = {
        layer: 4 * weight / (1 if channels is None else channels[layer] ** 2)
        for layer, weight in weights.items()
    }
    total = sum(ours.values())
    return total, {layer: weight / total for layer, weight in ours.items()}


def variation_from_sum(weight: float, *, height: int, width: int, white: float) -> float:
    """Return the weight of ``absolute`` total variation for a sum over a picture, 0 to ``white``.

    Exact for square pictures, which have as many vertical as horizontal differences.
    """
    return weight * white * 3 * (height * (width - 1) + width * (height - 1)) / 2


_FIRST_OF_BLOCKS = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1")

# Channels of VGG's blocks (Simonyan and Zisserman 2015, table 1).
_CHANNELS = {"1": 64, "2": 128, "3": 256, "4": 512, "5": 512}


def find_preset(name: str) -> Preset:
    """Return a preset by its name.

    Raises:
        ValueError: there is no preset of that name.
    """
    if name not in PRESETS:
        raise ValueError(f"preset: expected one of {', '.join(PRESETS)}, got {name!r}")
    return PRESETS[name]


def _equal(layers: tuple[str, ...]) -> dict[str, float]:
    return dict.fromkeys(layers, 1 / len(layers))


def _channels(layers: tuple[str, ...]) -> dict[str, int]:
    """Return channels of VGG's layers, named ``relu4_2`` or ``conv4_2``."""
    return {layer: _CHANNELS[layer[4]] for layer in layers}


def _gatys2016() -> Preset:
    # conv4_2 of a 512 x 512 picture.
    content = content_from_half_sum(1.0, channels=512, positions=64 * 64)
    return Preset(
        name="gatys2016",
        source="Gatys, Ecker and Bethge 2016, section 2 and figure 3: alpha / beta = 1e-3",
        notes="The paper sums its content loss, so alpha / beta means another balance at each size:"
        " the weight here is for 512 x 512. It says no number of iterations: 500 is the author's"
        " notebook's. Without a network of unit activations, use relative losses.",
        network="vgg19_unit",
        content_layers={"relu4_2": 1.0},
        style_layers=_equal(_FIRST_OF_BLOCKS),
        content_weight=content,
        style_weight=1e3,
        pooling="average",
        iterations=(500,),
        init="noise",
    )


def _leongatys() -> Preset:
    channels = _channels(_FIRST_OF_BLOCKS)
    style, layers = gram_from_mean_square(
        {layer: 1e3 / channels[layer] ** 2 for layer in _FIRST_OF_BLOCKS}
    )
    scale = caffe_scale()
    return Preset(
        name="leongatys",
        source="leongatys/PytorchNeuralStyleTransfer, the author's notebook: 1 and 1e3 / C^2",
        notes="Max pooling, although the paper says average.",
        network="vgg19_caffe",
        input_scale=scale,
        content_layers={"relu4_2": 1.0},
        style_layers=layers,
        layers_add_up=True,
        content_weight=scale**2,
        style_weight=style * scale**4,
        sizes=(512, 800),
        iterations=(500, 200),
    )


def _tutorial() -> Preset:
    # Its conv_1 .. conv_5 count convolutions: they are conv1_1 .. conv3_1, before rectification.
    layers = ("conv1_1", "conv1_2", "conv2_1", "conv2_2", "conv3_1")
    style, weights = gram_from_mean_square(dict.fromkeys(layers, 1e7), channels=_channels(layers))
    return Preset(
        name="tutorial",
        source="PyTorch's neural transfer tutorial with alpha / beta = 1e-7 and average pooling",
        notes="Its conv_5 is conv3_1, far shallower than Gatys's layers. The tutorial adds layers"
        " up; reports that say w_l = 1/5 have a fifth of this style weight.",
        content_layers={"conv3_1": 1.0},
        style_layers=weights,
        layers_add_up=True,
        content_weight=1.0,
        style_weight=style,
        pooling="average",
        iterations=(300,),
    )


def _neural_style() -> Preset:
    style, layers = gram_from_mean_square(
        dict.fromkeys(_FIRST_OF_BLOCKS, 1e2), channels=_channels(_FIRST_OF_BLOCKS)
    )
    scale = caffe_scale(256)
    return Preset(
        name="neural_style",
        source="jcjohnson/neural-style and ProGamerGov/neural-style-pt, defaults: 5, 1e2, 1e-3",
        notes="It sums its total variation: the weight here is for 512 x 512.",
        network="vgg19_caffe",
        input_scale=scale,
        content_layers={"relu4_2": 1.0},
        style_layers=layers,
        layers_add_up=True,
        content_weight=5.0 * scale**2,
        style_weight=style * scale**4,
        variation=variation_from_sum(1e-3, height=512, width=512, white=256),
        variation_kind="absolute",
        iterations=(1000,),
        init="noise",
    )


def _crowsonkb() -> Preset:
    layers = dict(zip(_FIRST_OF_BLOCKS, (256.0, 64.0, 16.0, 4.0, 1.0), strict=True))
    return Preset(
        name="crowsonkb",
        source="crowsonkb/style-transfer-pytorch, defaults: 0.015, 1 and 2",
        content_layers={"relu4_2": 1.0},
        style_layers={layer: weight / 341 for layer, weight in layers.items()},
        content_weight=0.015,
        style_weight=1.0,
        variation=2.0,
        variation_kind="nine_point",
        statistic="gaussian",
        root_iterations=12,
        replicate_padding=True,
        optimizer="adam",
        learning_rate=0.02,
        betas=(0.9, 0.99),
        sizes=(128, 181, 256, 362, 512),
        iterations=(1000, 500, 500, 500, 500),
        size_factor=math.sqrt(2),
        average_decay=0.99,
        clamp=True,
    )


def _adam_5000() -> Preset:
    return Preset(
        name="adam_5000",
        source="Altaha, Liege: content 0.01, style 5, Adam 0.02, 5000 steps (table I)",
        notes="The report says no more of its losses than that Gram losses are normalized for the"
        " size of layers: its weights are taken to be in our convention, over Gatys's layers.",
        content_layers={"relu4_2": 1.0},
        style_layers=_equal(_FIRST_OF_BLOCKS),
        content_weight=0.01,
        style_weight=5.0,
        optimizer="adam",
        learning_rate=0.02,
        iterations=(5000,),
        clamp=True,
    )


def _adam_lr5() -> Preset:
    style, layers = gram_from_mean_square(dict.fromkeys(_FIRST_OF_BLOCKS, 1e2 / 5))
    scale = caffe_scale()
    return Preset(
        name="adam_lr5",
        source="Reddy and Kadam, IIT Bombay: block5_conv2, alpha 1e5, beta 1e2, Adam 5, 1000 steps",
        notes="The report does not spell its losses; layers, rate, steps and size are those of"
        " TensorFlow's eager notebook (mean squared Gram differences over M, mean over layers),"
        " which is taken for it. A rate of 5 of 255 is 0.0196 of 1.",
        network="vgg19_caffe",
        input_scale=scale,
        content_layers={"relu5_2": 1.0},
        style_layers=layers,
        content_weight=1e5 * scale**2,
        style_weight=style * scale**4,
        optimizer="adam",
        learning_rate=5 / 255,
        iterations=(1000,),
        clamp=True,
    )


PRESETS: Mapping[str, Preset] = MappingProxyType(
    {
        preset.name: preset
        for preset in (
            _gatys2016(),
            _leongatys(),
            _tutorial(),
            _neural_style(),
            _crowsonkb(),
            _adam_5000(),
            _adam_lr5(),
        )
    }
)
"""All presets, by name."""


PATCH_SIDE = 5
"""Side of the patches of ``builtin``, in pixels."""

BUILTIN = Preset(
    name="builtin",
    source="found by eye on the pairs of docs/stylizing.md, after Elnekave and Weiss 2022",
    notes="No network: patches of 5 x 5 pixels give the style, blurred light and dark, in the"
    " style's tones, the content.",
    network="pixels",
    content_layers={"luminance": 1.0},
    style_layers={"pixels": 1.0},
    content_weight=4.0,
    style_weight=1.0,
    statistic="patches",
    optimizer="adam",
    learning_rate=0.02,
    betas=(0.9, 0.999),
    schedule="cosine",
    sizes=(64, 90, 128, 181, 256),
    iterations=(150, 120, 80, 60, 50),
    init="palette",
    match_histograms=True,
)
"""The preset where no weights are found."""

_STYLE = ("relu1_1", "relu2_1", "relu3_1", "relu4_1")

RANDOM = Preset(
    name="random",
    source="found by eye on the pairs of docs/stylizing.md, after He, Wang and Hopcroft 2016",
    notes="Losses are relative to their targets' energies, as the paper evens out the layers of"
    " random networks.",
    network="random",
    content_layers={"relu3_1": 1.0},
    style_layers=dict.fromkeys(_STYLE, 1 / len(_STYLE)),
    content_weight=0.1,
    style_weight=1.0,
    variation=0.5,
    statistic="sliced",
    pooling="average",
    replicate_padding=True,
    history=20,
    sizes=(96, 160, 256),
    iterations=(80, 60, 50),
    init="palette",
)
"""The preset of the random network."""

TRAINED = replace(
    RANDOM,
    name="trained",
    source="found by eye on the pairs of docs/stylizing.md, with a network of docs/backbones.md",
    notes="Losses are relative to their targets' energies: features of one's own network are of any"
    " size.",
    network="vgg19",
    content_weight=0.01,
    variation=0.01,
    statistic="gaussian",
    replicate_padding=False,
    iterations=(120, 100, 80),
)
"""The preset of a network of `impasto backbone train`."""

MODEL = replace(
    RANDOM,
    name="model",
    source="found by eye on the pairs of docs/stylizing.md, after Wang, Li and Vasconcelos 2021",
    notes="Losses are relative to their targets' energies, so that weights mean about the same for"
    " all networks. Layers and smoothing are those that suit the model.",
    network="model",
    content_layers={},
    style_layers={},
    style_weight=100.0,
    variation=0.1,
    replicate_padding=False,
    pooling="max",
)
"""The preset of torchvision's models."""

_WIDE = ("stem", *(f"block{number}.expand" for number in (1, 2, 3, 4, 5, 7)))

LITE = Preset(
    name="lite",
    source="found by measuring and by eye on the pairs of docs/stylizing.md",
    notes="Losses are relative to their targets. The picture is optimized with a margin around it,"
    " through a window that moves.",
    network="lite",
    content_layers={"block4.expand": 1.0},
    style_layers=dict.fromkeys(_WIDE, 1 / len(_WIDE)),
    content_weight=0.05,
    content_centered=True,
    style_weight=1.0,
    variation=1.0,
    patch_weight=6.0,
    structure_weight=2.0,
    chroma_variation=0.03,
    kept_detail=0.7,
    statistic="moments",
    optimizer="adam",
    learning_rate=0.02,
    betas=(0.9, 0.99),
    schedule="cosine",
    sizes=(96, 192, 384),
    size_factor=2.0,
    iterations=(80, 55, 30),
    init="palette",
    clamp=True,
    jitter=4,
    margin=8,
    cut_frames=True,
    finish=Finish(iterations=20, rate=0.5, patches=5.0, variation=2.5, chroma=5.0),
)
"""The preset where no weights of VGG19 are found."""

LITE_FAST = replace(
    LITE,
    name="lite_fast",
    notes=f"{LITE.notes} Fewer iterations than lite, and more against the grain that they leave.",
    finish=None,
    variation=2.5,
    chroma_variation=0.08,
    iterations=(25, 16, 5),
)
"""The preset :data:`LITE` in about a third of its time, without start and reading."""

OWN_PRESETS: Mapping[str, Preset] = MappingProxyType(
    {preset.name: preset for preset in (BUILTIN, LITE, LITE_FAST, RANDOM, TRAINED, MODEL)}
)
"""Impasto's own presets, by name."""
