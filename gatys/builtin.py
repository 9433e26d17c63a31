"""What works without any file of weights, and settings that suit it."""

from dataclasses import replace

from impasto.gatys.conventions import Preset
from impasto.gatys.random_backbone import RandomRecipe

__all__ = ["BUILTIN", "CONTENT_BLUR", "MODEL", "PATCH_SIDE", "RANDOM", "RANDOM_RECIPE", "TRAINED"]

PATCH_SIDE = 5
"""Side of the patches of ``builtin``, in pixels."""

CONTENT_BLUR = 1.5
"""Standard deviation of what ``builtin`` takes for content, in pixels."""

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
    tones=True,
)
"""The preset where no weights are found."""

RANDOM_RECIPE = RandomRecipe(width=0.5, pooling="average", normalise="channel")
"""One factor per channel, or deep layers would tell next to nothing of a picture."""

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
