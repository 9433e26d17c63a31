"""Settings of published programs, with their weights in Impasto's convention."""

from collections.abc import Mapping
from types import MappingProxyType

from impasto.gatys.conventions import (
    Preset,
    caffe_scale,
    content_from_half_sum,
    gram_from_mean_square,
    variation_from_sum,
)

__all__ = ["PRESETS", "find_preset"]

_FIRST_OF_BLOCKS = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1")

# Channels of VGG's blocks (Simonyan and Zisserman 2015, table 1).
_CHANNELS = {"1": 64, "2": 128, "3": 256, "4": 512, "5": 512}


def find_preset(name: str) -> Preset:
    """Return a preset by its name.

    Raises:
        ValueError: there is none of that name.
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
        average_decay=0.99,
        clamp=True,
    )


def _adam_5000() -> Preset:
    return Preset(
        name="adam_5000",
        source="Altaha, Liege: content 0.01, style 5, Adam 0.02, 5000 steps (table I)",
        notes="The report says no more of its losses than that Gram losses are normalised for the"
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
