"""VGG16 and VGG19 as classifiers (Simonyan and Zisserman 2015), to be trained from scratch.

Layers, names and shapes are torchvision's, so that a network of full width and 7 x 7 pooled values
exchanges weights with ``torchvision.models.vgg19`` and ``vgg19_bn``.
"""

import itertools
import math
from collections.abc import Iterator
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from impasto.gatys.features.vgg import IMAGENET_MEAN, IMAGENET_STD, layer_names
from impasto.runs.devices import where_complete

__all__ = ["Init", "VggClassifier", "init_weights"]

Init = Literal["default", "xavier", "kaiming"]

# Simonyan and Zisserman 2015, table 1: channels of the blocks, relative to those of the first, and
# of the first; features of the fully connected layers.
_BLOCK_CHANNELS = (1, 2, 4, 8, 8)
_FIRST_CHANNELS = 64
_HIDDEN = 4096


class VggClassifier(nn.Module):
    """Convolutions, adaptive average pooling, and three fully connected layers with dropout.

    Attributes:
        depth: 16 or 19.
        width: number of channels relative to the published network, a multiple of 1/64.
        batch_norm: whether batch normalization follows each convolution.
        classes: number of classes.
        features: convolutions, ReLUs and pooling layers.
        avgpool: adaptive average pooling.
        classifier: the fully connected layers.
    """

    def __init__(
        self,
        classes: int,
        *,
        depth: int = 19,
        width: float = 1.0,
        batch_norm: bool = False,
        pooled: int = 7,
        dropout: float = 0.5,
    ) -> None:
        """Make the network; its weights are undefined until :func:`init_weights`.

        Args:
            classes: number of classes.
            depth: 16 or 19.
            width: number of channels relative to the published network; rounded to 64ths, so that
                each block has exactly twice the channels of the one before.
            batch_norm: normalize after each convolution (Ioffe and Szegedy 2015).
            pooled: height and width of the maps that the fully connected layers receive: 7 in the
                published network, for pictures of 224 pixels; a 32nd of the picture loses nothing.
            dropout: dropout probability.
        """
        super().__init__()
        first = max(1, round(_FIRST_CHANNELS * width))
        self.depth, self.width = depth, first / _FIRST_CHANNELS
        self.batch_norm, self.classes = batch_norm, classes
        channels = [first * factor for factor in _BLOCK_CHANNELS]
        hidden = _HIDDEN * first // _FIRST_CHANNELS
        # Without memory: the usual random start would draw from the global generator.
        with torch.device("meta"):
            layers = nn.Sequential(*_convolutions(depth, channels, batch_norm=batch_norm))
            head = nn.Sequential(
                nn.Linear(channels[-1] * pooled * pooled, hidden),
                nn.ReLU(inplace=True),
                nn.Dropout(dropout),
                nn.Linear(hidden, hidden),
                nn.ReLU(inplace=True),
                nn.Dropout(dropout),
                nn.Linear(hidden, classes),
            )
        self.features = layers.to_empty(device="cpu")
        self.avgpool = nn.AdaptiveAvgPool2d(pooled)
        self.classifier = head.to_empty(device="cpu")
        for name, values in (("_mean", IMAGENET_MEAN), ("_std", IMAGENET_STD)):
            self.register_buffer(name, torch.tensor(values).view(1, 3, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits, (N, classes), of pictures, RGB, (N, 3, H, W), in [0, 1]."""
        normalized = (images - self.get_buffer("_mean")) / self.get_buffer("_std")
        features = self.features(normalized)
        pooled = self.avgpool(features.to(where_complete(features.device))).to(features.device)
        logits: Tensor = self.classifier(pooled.flatten(1))
        return logits

    @torch.no_grad()
    def plain_features(self) -> dict[str, Tensor]:
        """Return the convolutions as those of a VGG without batch normalization, on the CPU.

        A convolution and the normalization after it are one convolution with other weights (as
        they are in ``eval`` mode). The names are torchvision's, ``features.N.weight``.
        """
        plain: dict[str, Tensor] = {}
        names = [name for name in enumerate(layer_names(self.depth)) if name[1].startswith("conv")]
        for (index, _), (convolution, norm) in zip(names, self._pairs(), strict=True):
            weight, bias = convolution.weight, convolution.bias
            assert bias is not None  # noqa: S101 - as __init__ makes them
            if norm is not None:
                assert norm.running_mean is not None  # noqa: S101 - statistics are tracked
                assert norm.running_var is not None  # noqa: S101
                weight, bias = fuse_conv_bn_weights(
                    weight,
                    bias,
                    norm.running_mean,
                    norm.running_var,
                    norm.eps,
                    norm.weight,
                    norm.bias,
                )
            plain[f"features.{index}.weight"] = weight.detach().float().cpu().clone()
            plain[f"features.{index}.bias"] = bias.detach().float().cpu().clone()
        return plain

    def _pairs(self) -> Iterator[tuple[nn.Conv2d, nn.BatchNorm2d | None]]:
        layers = [*self.features, nn.Identity()]
        for layer, after in itertools.pairwise(layers):
            if isinstance(layer, nn.Conv2d):
                yield layer, after if isinstance(after, nn.BatchNorm2d) else None


@torch.no_grad()
def init_weights(
    network: VggClassifier, *, init: Init = "kaiming", generator: torch.Generator
) -> None:
    """Draw the weights of a network on the CPU.

    Args:
        network: network to initialize, in place.
        init: ``kaiming``: normal with variance 2 / inputs, which keeps the size of activations
            through ReLUs (He et al. 2015, equation 10); ``xavier``: uniform with variance
            2 / (inputs + outputs) (Glorot and Bengio 2010, equation 16); both with biases of 0.
            ``default``: PyTorch's own, uniform with variance 1 / (3 inputs), biases too.
        generator: source of randomness, on the CPU.
    """
    layers = [part for part in network.modules() if isinstance(part, nn.Conv2d | nn.Linear)]
    for layer in layers:
        bias = layer.bias
        assert bias is not None  # noqa: S101 - as VggClassifier makes them
        nn.init.zeros_(bias)
        if init == "kaiming":
            # No ReLU comes after the logits.
            after: Literal["linear", "relu"] = "linear" if layer is layers[-1] else "relu"
            nn.init.kaiming_normal_(layer.weight, nonlinearity=after, generator=generator)
        elif init == "xavier":
            nn.init.xavier_uniform_(layer.weight, generator=generator)
        else:
            bound = 1 / math.sqrt(layer.weight[0].numel())
            nn.init.uniform_(layer.weight, -bound, bound, generator=generator)
            nn.init.uniform_(bias, -bound, bound, generator=generator)
    for part in network.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.reset_parameters()


def _convolutions(depth: int, channels: list[int], *, batch_norm: bool) -> Iterator[nn.Module]:
    before = 3
    for name in layer_names(depth):
        if name.startswith("pool"):
            yield nn.MaxPool2d(2)
        elif name.startswith("conv"):
            wide = channels[int(name[4]) - 1]
            yield nn.Conv2d(before, wide, 3, padding=1)
            if batch_norm:
                yield nn.BatchNorm2d(wide)
            before = wide
        else:
            yield nn.ReLU(inplace=True)
