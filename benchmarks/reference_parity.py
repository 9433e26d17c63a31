"""Compare Impasto's networks with those of a checkout of the reference implementation.

    python benchmarks/reference_parity.py --reference PATH_TO_CHECKOUT

Takes a checkout of junyanz/pytorch-CycleGAN-and-pix2pix, or of its relative
taesungp/contrastive-unpaired-translation, whose antialiasing is then turned off. For every network
that both sides have it compares the names, order and shapes of the weights; then each side loads a
file that the other one saved, and the outputs for the same noise are compared: with dropout off
both ways, and with dropout on (from the same seed) where Impasto's weights are in the reference.
"""

import argparse
import inspect
import sys
import tempfile
import types
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from impasto.cyclegan.build import generator_architecture
from impasto.cyclegan.networks import PatchDiscriminator, PixelDiscriminator, load_weights
from impasto.cyclegan.weights import load_generator
from impasto.options.networks import NetG, NetworkOptions, Norm
from impasto.runs.state import save_pth

__all__ = ["Case", "Parity", "compare", "main"]

_SIZES = {"unet_256": 256, "unet_128": 128}
_NETG: tuple[NetG, ...] = ("resnet_9blocks", "resnet_6blocks", "unet_256", "unet_128")
_NORMS: tuple[Norm, ...] = ("instance", "batch", "none")


@dataclass(frozen=True, kw_only=True)
class Case:
    """One network, made by both sides.

    Attributes:
        name: for the table.
        ours: makes Impasto's.
        theirs: makes the reference's, from its module ``networks``.
        size: side of the noise that goes through, in pixels.
        is_generator: whether :func:`load_generator` can read its file.
    """

    name: str
    ours: Callable[[], nn.Module]
    theirs: Callable[[Any], nn.Module]
    size: int
    is_generator: bool


@dataclass(frozen=True, kw_only=True)
class Parity:
    """What was found for one case.

    Attributes:
        keys: whether names, order and shapes of the weights are equal.
        parameters: how many numbers are trained.
        theirs_in_ours: largest absolute difference of the outputs, with their weights.
        ours_in_theirs: the same with our weights, dropout on included.
    """

    keys: bool
    parameters: int
    theirs_in_ours: float
    ours_in_theirs: float


def main(argv: Sequence[str] | None = None) -> int:
    """Print the table; return 1 where something differs, otherwise 0."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--reference", type=Path, required=True, help="path of the checkout")
    parser.add_argument("--filters", type=int, default=64, help="ngf and ndf")
    parser.add_argument("--tolerance", type=float, default=1e-6, help="largest difference allowed")
    arguments = parser.parse_args(argv)
    if not (arguments.reference / "models" / "networks.py").is_file():
        parser.error(f"{arguments.reference}: not a checkout, it has no models/networks.py")
    networks = load_reference(arguments.reference)
    print(
        f"{'network':<34}{'keys':>7}{'parameters':>13}{'theirs in ours':>16}{'ours in theirs':>16}"
    )
    bad = 0
    for case in cases(arguments.filters):
        found = compare(case, networks)
        worst = max(found.theirs_in_ours, found.ours_in_theirs)
        bad += not (found.keys and worst <= arguments.tolerance)
        print(
            f"{case.name:<34}{'equal' if found.keys else 'DIFFER':>7}{found.parameters:>13,}"
            f"{found.theirs_in_ours:>16.1e}{found.ours_in_theirs:>16.1e}"
        )
    print(f"{bad} networks differ" if bad else "all networks are equal")
    return 1 if bad else 0


def load_reference(checkout: Path) -> types.ModuleType:
    """Import ``models/networks.py`` without its package, which needs much that is not used here."""
    package = types.ModuleType("reference_models")
    package.__path__ = [str(checkout / "models")]
    sys.modules["reference_models"] = package
    return import_module("reference_models.networks")


def cases(filters: int) -> list[Case]:
    """List every combination of architecture, normalization and dropout."""
    generators = [
        _generator_case(netG, norm, filters=filters, dropout=dropout)
        for netG in _NETG
        for norm in _NORMS
        for dropout in (False, True)
    ]
    depths = [("basic", 3), *(("n_layers", depth) for depth in range(1, 6)), ("pixel", 0)]
    discriminators = [
        _discriminator_case(netD, depth, norm, filters=filters)
        for netD, depth in depths
        for norm in _NORMS
    ]
    return generators + discriminators


def _generator_case(netG: NetG, norm: Norm, *, filters: int, dropout: bool) -> Case:
    options = NetworkOptions(netG=netG, norm=norm, ngf=filters, dropout=dropout)
    return Case(
        name=f"{netG}, {norm}{', dropout' if dropout else ''}",
        ours=lambda: generator_architecture(options).build(),
        theirs=lambda networks: _call(
            networks.define_G, 3, 3, filters, netG, norm=norm, use_dropout=dropout
        ),
        size=_SIZES.get(netG, 64),
        is_generator=True,
    )


def _discriminator_case(netD: str, depth: int, norm: Norm, *, filters: int) -> Case:
    def ours() -> nn.Module:
        if netD == "pixel":
            return PixelDiscriminator(channels=filters, norm=norm)
        return PatchDiscriminator(channels=filters, layers=depth, norm=norm)

    return Case(
        name=f"{netD}{f' {depth}' if netD == 'n_layers' else ''}, {norm}",
        ours=ours,
        theirs=lambda networks: _call(
            networks.define_D, 3, filters, netD, n_layers_D=depth, norm=norm
        ),
        size=128,
        is_generator=False,
    )


def _call(define: Callable[..., nn.Module], *sizes: object, **options: object) -> nn.Module:
    """Call the reference's ``define_G`` or ``define_D``, whose options depend on its age."""
    known = inspect.signature(define).parameters
    plain = {name: True for name in ("no_antialias", "no_antialias_up") if name in known}
    return define(*sizes, **options, **plain).cpu()


def compare(case: Case, networks: types.ModuleType) -> Parity:
    """Make a network on both sides, exchange weights by files, and compare the outputs."""
    ours, theirs = case.ours(), case.theirs(networks)
    generator = torch.Generator().manual_seed(1)
    _fill(ours, generator)
    _fill(theirs, generator)
    images = torch.rand(2, 3, case.size, case.size, generator=generator) * 2 - 1
    if _layout(ours) != _layout(theirs):
        nothing = float("nan")
        return Parity(
            keys=False,
            parameters=_count(ours),
            theirs_in_ours=nothing,
            ours_in_theirs=nothing,
        )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network.pth"
        torch.save(theirs.state_dict(), path)
        loaded = _load_ours(case, path)
        theirs_in_ours = _difference(loaded, theirs, images, training=False)
        save_pth(path, ours.state_dict())
        theirs.load_state_dict(torch.load(path, weights_only=True))
    return Parity(
        keys=True,
        parameters=_count(ours),
        theirs_in_ours=theirs_in_ours,
        ours_in_theirs=max(
            _difference(ours, theirs, images, training=training) for training in (False, True)
        ),
    )


@torch.no_grad()
def _fill(network: nn.Module, generator: torch.Generator) -> None:
    """Draw weights as large as trained ones, statistics and biases included.

    With fresh weights the outputs are nearly zero, and so is any difference.
    """
    for tensor in network.state_dict().values():
        if tensor.ndim == 4:
            tensor.normal_(0, (2 / tensor[0].numel()) ** 0.5, generator=generator)
        elif tensor.is_floating_point():
            tensor.uniform_(0.5, 1.5, generator=generator)


def _load_ours(case: Case, path: Path) -> nn.Module:
    if case.is_generator:
        return load_generator(path).network
    network = case.ours()
    load_weights(network, torch.load(path, weights_only=True), what=case.name)
    return network


def _layout(network: nn.Module) -> list[tuple[str, torch.Size]]:
    return [(name, tensor.shape) for name, tensor in network.state_dict().items()]


def _count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


@torch.no_grad()
def _difference(first: nn.Module, second: nn.Module, images: Tensor, *, training: bool) -> float:
    outputs = []
    for network in (first, second):
        torch.manual_seed(3)  # dropout draws from torch's own generator
        outputs.append(network.train(training)(images))
    return float((outputs[0] - outputs[1]).abs().max())


if __name__ == "__main__":
    raise SystemExit(main())
