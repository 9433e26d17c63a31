"""Any convolutional model of torchvision as feature network, by name and names of layers.

``ModelNetwork("resnet50")`` has a layer for every map of features in the model. Weights come from
:func:`~impasto.gatys.model_weights.load_model` or, at random, from
:func:`~impasto.gatys.random_model.random_model`.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Self

import torch
from torch import Tensor, fx, nn
from torch.multiprocessing.reductions import StorageWeakRef

from impasto.data.tensors import check_images
from impasto.gatys.backbones import IMAGENET_MEAN, IMAGENET_STD
from impasto.gatys.memory import Demand, Layer
from impasto.gatys.model_anatomy import (
    LIST_COMMAND,
    find_anatomy,
    make_model,
    part_of,
    run_without_contents,
    shapes_of,
)
from impasto.options.errors import ImpastoError
from impasto.options.fields import nearest

__all__ = ["ModelNetwork"]

# Largest side that a layer can need: Inception v3 needs 75.
_LARGEST_NEED = 512
# What is kept for the way back is counted in values at this stride, on a picture of this side.
_KEPT_STRIDE = 4
_KEPT_SIDE = 256


class ModelNetwork(nn.Module):
    """A model of torchvision, frozen, that gives the maps of features that are asked for.

    Pictures come in [0, 1]; the normalisation is inside. Parameters are zero until they are filled.

    Attributes:
        model: torchvision's name.
        body: the model without what tells classes apart; its state_dict has torchvision's names.
        layers: valid names of layers, in the order of computation.
        channels: of each layer.
        strides: pixels of the picture per position of each layer.
        residual: whether maps are added to one another.
        factors: what layers are multiplied by; 1 unless given.
    """

    def __init__(self, model: str) -> None:
        """Make the network.

        Args:
            model: torchvision's name, e.g. ``resnet50``.

        Raises:
            OptionError: torchvision has no such model, or it takes pictures of one size only.
        """
        super().__init__()
        self.model = model
        self._anatomy = find_anatomy(model)
        self.layers = tuple(self._anatomy.maps)
        self.channels = {name: found.channels for name, found in self._anatomy.maps.items()}
        self.strides = {name: found.stride for name, found in self._anatomy.maps.items()}
        self.residual = self._anatomy.residual
        self.factors: Mapping[str, float] = {}
        self._extractors: dict[frozenset[str], fx.GraphModule] = {}
        self._smallest: dict[frozenset[str], int] = {}
        self.body = self._part(make_model(model), self.layers)
        for parameter in self.body.parameters():
            nn.init.zeros_(parameter)
        for name, values in (("_mean", IMAGENET_MEAN), ("_std", IMAGENET_STD)):
            self.register_buffer(name, torch.tensor(values).view(1, 3, 1, 1), persistent=False)
        self.requires_grad_(False).eval()

    def set_normalisation(self, mean: Sequence[float], std: Sequence[float]) -> None:
        """Expect pictures normalised otherwise than ImageNet's usual.

        Args:
            mean: of red, green and blue, in [0, 1].
            std: standard deviation of red, green and blue.
        """
        for name, values in (("_mean", mean), ("_std", std)):
            self.get_buffer(name).copy_(torch.tensor(values).view(1, 3, 1, 1))

    def truncate(self, layers: Sequence[str]) -> None:
        """Remove all that these layers do not need; ``layers`` become those on the way to them.

        Raises:
            ValueError: a name is unknown, or there is none.
        """
        self._check_names(layers)
        _, held = part_of(self._anatomy, layers)
        self.layers = tuple(name for name in self.layers if name in held)
        self.body = self._part(self.body, layers)
        self._extractors.clear()

    def smallest(self, layers: Sequence[str]) -> int:
        """Return the smallest side of a picture, in pixels, that has all of these layers.

        It can be computed, and has pixels for one whole position of the deepest layer.

        Raises:
            ValueError: a name is unknown, or there is none.
        """
        self._check_names(layers)
        key = frozenset(layers)
        if key not in self._smallest:
            network = self._extractor(layers)
            low = max(self.strides[name] for name in layers) - 1
            high = low + 1 if _has_positions(network, low + 1) else _LARGEST_NEED
            while high - low > 1:
                middle = (low + high) // 2
                low, high = (low, middle) if _has_positions(network, middle) else (middle, high)
            self._smallest[key] = high
        return self._smallest[key]

    def forward(self, image: Tensor, layers: Sequence[str]) -> dict[str, Tensor]:
        """Compute the layers asked for, and nothing that they do not need.

        Values are not clipped, and their range is not checked: that would wait for the GPU.

        Args:
            image: RGB, (N, 3, H, W), floating point, nominally in [0, 1].
            layers: names out of ``self.layers``.

        Returns:
            Layer to features, (N, C, H', W'), in the order asked for.

        Raises:
            ValueError: the shape or type is another, or a name is unknown.
            ImpastoError: the picture is too small for these layers.
        """
        check_images(image, name="image")
        smallest, (height, width) = self.smallest(layers), image.shape[-2:]
        if min(height, width) < smallest:
            raise ImpastoError(
                f"a picture of {width} x {height} pixels is too small for these layers of "
                f"{self.model}, which need {smallest} x {smallest} or more; take a larger picture "
                "or earlier layers"
            )
        # Not called: the wrapper of a traced network prints to stderr what it raises.
        found = self._extractor(layers).forward(self.normalise(image))
        return {name: self._finished(name, found[name]) for name in layers}

    def normalise(self, image: Tensor) -> Tensor:
        """Turn a picture in [0, 1] into what the model sees."""
        normalised: Tensor = (image - self.get_buffer("_mean")) / self.get_buffer("_std")
        return normalised

    def demand(
        self, layers: Sequence[str], *, style_layers: Sequence[str] = (), history: int = 0
    ) -> Demand:
        """Return what a run asks of the memory: all that autograd keeps, weights not included.

        Args:
            layers: all that are asked for.
            style_layers: those whose moments are matched.
            history: steps that L-BFGS remembers; 0 for Adam.
        """
        self._check_names([*layers, *style_layers])
        counts = _kept_bytes(self._extractor(layers))
        positions = (_KEPT_SIDE // _KEPT_STRIDE) ** 2
        return Demand(
            layers=[
                Layer(channels=-(-count // (4 * positions)), stride=_KEPT_STRIDE)
                for count in counts
            ],
            history=history,
            style_channels=[self.channels[name] for name in style_layers],
        )

    def _finished(self, name: str, features: Tensor) -> Tensor:
        if self._anatomy.maps[name].channels_last:
            features = features.permute(0, 3, 1, 2)
        factor = self.factors.get(name, 1.0)
        return features if factor == 1.0 else features * factor

    def _extractor(self, layers: Sequence[str]) -> fx.GraphModule:
        """Return the part of the network that gives these layers, made once for each set."""
        key = frozenset(layers)
        if key not in self._extractors:
            self._extractors[key] = self._part(self.body, layers)
        return self._extractors[key]

    def _part(self, root: nn.Module, layers: Sequence[str]) -> fx.GraphModule:
        """Return a network with the weights of ``root`` that computes no more than these layers."""
        graph, _ = part_of(self._anatomy, layers)
        return fx.GraphModule(root, graph, class_name=self.model)

    def _check_names(self, layers: Sequence[str]) -> None:
        if not layers:
            raise ValueError("layers: expected at least one, got none")
        for name in layers:
            if name not in self.layers:
                raise ValueError(
                    f"layers: {name!r} is no layer of this {self.model}"
                    f"{nearest(name, self.layers)} ('{LIST_COMMAND} {self.model}' lists them)"
                )

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        # Parts of the network hold tensors of their own, which do not move with the body's.
        self._extractors.clear()
        moved: Self = super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        return moved


def _has_positions(network: fx.GraphModule, side: int) -> bool:
    try:
        found = shapes_of(network, side)
    except RuntimeError:  # torch's, where a kernel or a pooling window does not fit
        return False
    return all(min(features.shape) > 0 for features in found.values())


def _kept_bytes(network: fx.GraphModule) -> list[int]:
    """Return the sizes of all that autograd keeps for the way back, in bytes.

    Of a square picture of 256 pixels; weights, and what is much smaller than a map, not included.
    """
    kept: dict[StorageWeakRef, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        # Indices of max pooling are kept too; what else has no gradient are weights.
        if tensor.requires_grad or not tensor.is_floating_point():
            storage = tensor.untyped_storage()
            reference = StorageWeakRef(storage)  # type: ignore[no-untyped-call]
            kept[reference] = storage.nbytes()
        return tensor

    picture = torch.empty(1, 3, _KEPT_SIDE, _KEPT_SIDE, device="meta", requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        found = run_without_contents(network, picture)
    del found  # until here, so that no storage gets the number of another
    return list(kept.values())
