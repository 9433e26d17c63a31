"""The structure of torchvision's models: traced graphs, and the nodes that are feature maps.

Tracing is torchvision's (``torchvision.models.feature_extraction``), of the model in evaluation.
Shapes are found by running the traced model on tensors without contents.
"""

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.multiprocessing.reductions import StorageWeakRef

from impasto.options.errors import OptionError
from impasto.options.fields import nearest

__all__ = [
    "KEPT_STRIDE",
    "LIST_COMMAND",
    "Anatomy",
    "FeatureMap",
    "check_model",
    "find_anatomy",
    "kept_channels",
    "make_model",
    "model_names",
    "part_of",
    "run_without_contents",
    "shapes_of",
    "stage_of",
]

LIST_COMMAND = "impasto weights layers"
"""Command that lists the models, or the layers of one, whose name goes after it."""

KEPT_STRIDE = 4
"""Pixels per position, along each side, in which :func:`kept_channels` counts."""

_KEPT_SIDE = 256  # of the picture that is looked through for it
# Two sides that are multiples of every stride, so that differences of sizes give strides.
_SIDES = (256, 512)
_OVERWRITING: dict[Any, Any] = {
    operator.iadd: operator.add,
    operator.isub: operator.sub,
    operator.imul: operator.mul,
    operator.itruediv: operator.truediv,
}
# Transformers whose positions are counted for pictures of one size.
_ONE_SIZE = ("maxvit_", "vit_")
# Modules that only hold the stages of a model.
_HOLDERS = ("features", "trunk_output", "layers")
# What tells classes apart. SqueezeNet's is a convolution, so a map; its last stage is before it.
_HEADS = ("classifier", "fc", "head", "heads")
_SUMS = (operator.add, torch.add)


@dataclass(frozen=True, kw_only=True)
class FeatureMap:
    """A node of a model whose output is a feature map.

    Attributes:
        name: name of the node in the traced graph.
        channels: number of channels of the feature map.
        stride: pixels of the picture per position of the map, along each side.
        channels_last: whether the model computes the map as (N, H, W, C).
    """

    name: str
    channels: int
    stride: int
    channels_last: bool


@dataclass(frozen=True, kw_only=True)
class Anatomy:
    """The traced structure of a model, without weights.

    Attributes:
        model: torchvision's name of the model.
        graph: the traced model; no operation overwrites its input.
        maps: feature maps by name, from shallow to deep.
        nodes: nodes of the feature maps in the traced graph.
        state_names: names of all weights of the whole model.
        residual: whether the model has residual connections.
    """

    model: str
    graph: fx.Graph
    maps: Mapping[str, FeatureMap]
    nodes: Mapping[str, fx.Node]
    state_names: frozenset[str]
    residual: bool


def model_names() -> list[str]:
    """Return the names of torchvision's classification models that take pictures of any size."""
    from torchvision import models  # noqa: PLC0415 - it takes as long as torch

    names = models.list_models(module=models)
    return [name for name in names if not name.startswith(_ONE_SIZE)]


def check_model(name: str, *, others: Sequence[str] = ()) -> None:
    """Refuse names of unknown or unusable models.

    Args:
        name: name of the model.
        others: further valid names, not torchvision's, that may have been meant.

    Raises:
        OptionError: torchvision has no such model (the nearest are shown), or it takes pictures of
            one size only.
    """
    if name.startswith(_ONE_SIZE):
        raise OptionError(
            "backbone",
            f"{name} takes pictures of one size only; choose a model that takes any, such as "
            "resnet50, inception_v3, efficientnet_b0 or convnext_tiny",
        )
    if name not in (known := model_names()):
        none_of = f"none of {', '.join(others)} and " if others else ""
        raise OptionError(
            "backbone",
            f"{name!r} is {none_of}no model of torchvision{nearest(name, [*others, *known])} "
            f"('{LIST_COMMAND}' lists them)",
        )


def stage_of(name: str) -> str:
    """Return the stage that a layer is in.

    Example:
        >>> stage_of("layer1.0.relu_2"), stage_of("features.3.1.block.0")
        ('layer1', 'features.3')
    """
    parts = name.split(".")
    return ".".join(parts[:2]) if parts[0] in _HOLDERS else parts[0]


def make_model(name: str) -> nn.Module:
    """Make a model without weights: frozen, in evaluation mode, on the CPU.

    torch's global generator is left as it was. Nothing in the model overwrites its input, so that
    values before a ReLU stay available.

    Args:
        name: one of :func:`model_names`.
    """
    from torchvision import models  # noqa: PLC0415 - it takes as long as torch

    # Their weights are trained for [-1, 1] and torchvision converts inside, if asked to.
    extra = {"init_weights": False, "transform_input": True}
    with torch.random.fork_rng(devices=[]):
        model: nn.Module = models.get_model(
            name, weights=None, **(extra if name in {"inception_v3", "googlenet"} else {})
        )
    for module in model.modules():
        if hasattr(module, "inplace"):
            setattr(module, "inplace", False)  # noqa: B010 - no declared attribute of a Module
    return model.eval().requires_grad_(False)


@lru_cache(maxsize=8)
def find_anatomy(name: str) -> Anatomy:
    """Trace a model; takes about a second, and the result is cached.

    Raises:
        OptionError: torchvision has no such model, or it takes pictures of one size only.
    """
    from torchvision.models import feature_extraction  # noqa: PLC0415 - it takes as long as torch

    check_model(name)
    model = make_model(name)
    train, evaluation = feature_extraction.get_graph_node_names(model, suppress_diff_warning=True)
    traced = feature_extraction.create_feature_extractor(
        model,
        train_return_nodes=train[-1:],
        eval_return_nodes=evaluation,
        suppress_diff_warning=True,
    ).eval()
    _stop_overwriting(traced.graph)
    traced.recompile()
    maps = _find_maps(traced)
    output = next(node for node in reversed(traced.graph.nodes) if node.op == "output")
    every: Mapping[str, fx.Node] = output.args[0]
    # A copy: the traced model's own graph would keep its weights in memory.
    graph = fx.Graph()
    copies: dict[Any, Any] = {}
    graph.graph_copy(traced.graph, copies)
    nodes = {layer: copies[every[layer]] for layer in maps}
    return Anatomy(
        model=name,
        graph=graph,
        maps=maps,
        nodes=nodes,
        state_names=frozenset(model.state_dict()),
        residual=any(
            node.target in _SUMS and len(set(node.all_input_nodes) & set(nodes.values())) == 2
            for node in nodes.values()
        ),
    )


def shapes_of(network: fx.GraphModule, side: int) -> dict[str, Any]:
    """Return the outputs of a network for a square picture, without computing their values.

    Args:
        network: any network, on any device.
        side: height and width of the picture, in pixels.

    Returns:
        The network's outputs, as tensors without contents.

    Raises:
        RuntimeError: torch's own, where the picture is too small.
    """
    picture = torch.empty(1, 3, side, side, device="meta")
    return run_without_contents(network, picture)


def run_without_contents(network: fx.GraphModule, picture: Tensor) -> dict[str, Any]:
    """Run a network on the ``meta`` device: weights and picture have no contents."""
    plain = _Plain(network)
    state = {**dict(plain.named_parameters()), **dict(plain.named_buffers())}
    # Whatever type the network computes in, or a double one would look as if nothing fitted it.
    nothing = {
        key: torch.empty_like(
            value, device="meta", dtype=picture.dtype if value.is_floating_point() else None
        ).requires_grad_(value.requires_grad)
        for key, value in state.items()
    }
    outputs: dict[str, Any] = torch.func.functional_call(plain, nothing, (picture,))
    return outputs


def kept_channels(compute: Callable[[Tensor], Any]) -> list[int]:
    """Return the sizes of the tensors that autograd keeps for the backward pass of a computation.

    Weights, and tensors much smaller than a feature map, are not included.

    Args:
        compute: takes a picture without contents (1, 3, H, W), on the ``meta`` device.

    Returns:
        Channels that a map of float32 at a stride of :data:`KEPT_STRIDE` pixels has to have to
        take as many bytes, one number for each tensor.
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
        outputs = compute(picture)
    del outputs  # until here, so that no storage gets the number of another
    positions = (_KEPT_SIDE // KEPT_STRIDE) ** 2
    return [-(-count // (4 * positions)) for count in kept.values()]


def part_of(
    anatomy: Anatomy, layers: Sequence[str], *, returned: Sequence[str] | None = None
) -> tuple[fx.Graph, dict[str, fx.Node]]:
    """Return the part of a model that computes some layers.

    Args:
        anatomy: anatomy of the model.
        layers: layers to compute, together with all nodes that they depend on.
        returned: those of the layers that the part returns; all unless given.

    Returns:
        The part, and the nodes of all layers in it.
    """
    needed: set[fx.Node] = set()
    new = [anatomy.nodes[name] for name in layers]
    while new:
        node = new.pop()
        if node not in needed:
            needed.add(node)
            new += node.all_input_nodes
    graph = fx.Graph()
    copies: dict[fx.Node, fx.Node] = {}
    for node in anatomy.graph.nodes:
        if node in needed:
            copies[node] = graph.node_copy(node, copies.__getitem__)
    held = {name: copies[node] for name, node in anatomy.nodes.items() if node in copies}
    graph.output({name: held[name] for name in (layers if returned is None else returned)})
    return graph, held


def _stop_overwriting(graph: fx.Graph) -> None:
    """Let every operation write into a tensor of its own.

    Otherwise what is asked for would be overwritten by what comes after: torchvision's ResNets
    add the shortcut into the output of bn3, and apply their ReLU in place.
    """
    for node in graph.nodes:
        if node.op == "call_function":
            node.target = _OVERWRITING.get(node.target, node.target)
            if node.kwargs.get("inplace"):
                node.kwargs = {**node.kwargs, "inplace": False}
        elif node.op == "call_method" and node.target.endswith("_"):
            node.target = node.target.rstrip("_")


class _Plain(nn.Module):
    """Calls a traced network past its wrapper, which prints to stderr what it raises."""

    def __init__(self, network: fx.GraphModule) -> None:
        super().__init__()
        self.network = network

    def forward(self, picture: Tensor) -> Any:
        return self.network.forward(picture)


def _find_maps(traced: fx.GraphModule) -> dict[str, FeatureMap]:
    """Return the nodes whose output grows with the picture along two sides.

    What has no more channels than a picture is one: Inception's conversion of its input.
    """
    small, large = (shapes_of(traced, side) for side in _SIDES)
    maps = {}
    for layer, features in small.items():
        if not isinstance(features, Tensor) or features.ndim != 4 or stage_of(layer) in _HEADS:
            continue
        sizes, larger = features.shape, large[layer].shape
        grown = [axis for axis in range(4) if sizes[axis] != larger[axis]]
        if grown not in ([2, 3], [1, 2]):
            continue
        channels = sizes[1 if grown == [2, 3] else 3]
        if channels > 3:
            axis = grown[0]
            maps[layer] = FeatureMap(
                name=layer,
                channels=channels,
                stride=round((_SIDES[1] - _SIDES[0]) / (larger[axis] - sizes[axis])),
                channels_last=grown == [1, 2],
            )
    return maps
