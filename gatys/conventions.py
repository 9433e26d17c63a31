"""How weights of published programs are converted into Impasto's convention.

The convention is :mod:`impasto.gatys.objective`'s: content is the mean squared difference v_l of
features, style is E_l of Gatys et al. 2016 (equation 4) with Gram matrices divided by the number of
positions, layer weights add up to 1, and the network takes pictures in [0, 1], which it normalises
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
deviations) sees an input that is 255 x 0.226 = 57.6 times ours. Rectified networks are homogeneous
but for their biases, so its features are about 57.6 times ours, a content or Wasserstein loss 3.3e3
and E_l 1.1e7 times. Presets hold weights for *our* input; ``input_scale`` is the factor that was
applied, and :meth:`Preset.for_input` converts for a network that takes other values. After the
conversion the whole objective equals the source's: the constant factor is 1 for all presets
(``gatys/presets.py``).
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from impasto.gatys.losses import VariationKind
from impasto.gatys.smoothing import NO_SMOOTHING, Smoothing

__all__ = [
    "Preset",
    "StatisticKind",
    "caffe_scale",
    "content_from_half_sum",
    "gram_from_mean_square",
    "variation_from_sum",
]

StatisticKind = Literal["gram", "gaussian", "sliced", "patches"]
"""What of a style is matched; see ``gatys/statistics.py`` and ``gatys/patches.py``."""

_IMAGENET_DEVIATION = (0.229 + 0.224 + 0.225) / 3


@dataclass(frozen=True, kw_only=True)
class Preset:
    """Settings of a published program, in our convention.

    Attributes:
        name: as users write it.
        source: where the settings are from.
        notes: what is not exactly the source's, or was not said there.
        network: whose weights the source takes: ``vgg19`` (torchvision's), ``vgg19_caffe``, or
            ``vgg19_unit`` (scaled so that activations have a mean of 1). ``random`` is the network
            without a file, ``pixels`` none at all, ``model`` any of torchvision's.
        input_scale: how many times ours the source's input is; the weights below allow for it.
        content_layers: weights of layers, which add up to 1.
        style_layers: the same.
        layers_add_up: the source adds up its layers' losses, each with a weight of its own, so that
            fewer layers are a smaller loss; otherwise it divides by the sum of these weights.
        content_weight: of the content loss.
        style_weight: of the style loss.
        variation: weight of the total variation.
        variation_kind: which differences it counts.
        statistic: what of the style is matched.
        smoothing: of all features before they are compared.
        root_iterations: of the matrix root of ``gaussian``; None: exact.
        pooling: ``max``, ``average`` or ``l2``.
        keep_size_of_activations: pooling other than ``max`` is scaled to give values as large.
        replicate_padding: the first convolution continues the picture by its edge pixels.
        optimizer: ``lbfgs`` or ``adam``.
        learning_rate: for a picture in [0, 1].
        schedule: of Adam's rate at each scale: ``constant``, or ``cosine``, which ends at 0.
        betas: Adam's.
        history: L-BFGS's.
        sizes: longer sides in pixels, coarse to fine.
        iterations: at each size; of L-BFGS, evaluations.
        init: ``content``, ``palette`` (the content in the style's colours) or ``noise``.
        tones: whether the content's targets take on the style's values, rank by rank.
        average_decay: of the moving average of iterates; 0: none.
        clamp: values are brought back to [0, 1] after each step.
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
    variation_kind: VariationKind = "squared"
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
    iterations: tuple[int, ...]
    init: Literal["content", "palette", "noise"] = "content"
    tones: bool = False
    average_decay: float = 0.0
    clamp: bool = False

    def for_input(self, scale: float) -> "Preset":
        """Return the preset for a network whose input is ``scale`` times ours.

        ``preset.for_input(preset.input_scale)`` has the weights as they are in the source.
        """
        power = 4 if self.statistic == "gram" else 2
        return replace(
            self,
            input_scale=self.input_scale / scale,
            content_weight=self.content_weight / scale**2,
            style_weight=self.style_weight / scale**power,
        )


def caffe_scale(white: float = 255.0) -> float:
    """Return how many times ours the input of a network of Caffe's is.

    Args:
        white: its value of white; 256 in neural-style, which multiplies so.
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
        weights: of the mean over C^2 entries, by layer, with matrices divided by M only.
        channels: C of each layer, where the source divides its matrices by C too.

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

    Exact for squares: there are as many differences downwards as to the right.
    """
    return weight * white * 3 * (height * (width - 1) + width * (height - 1)) / 2
