"""What runs on a device without float64, eigenvalues, bicubic sampling and uneven pooling.

Apple's GPUs are such devices, and no machine with one is here. Its tensors are played by a wrapper
around those of the processor, which refuses what the device lacks; it claims to be ``meta``, one of
the devices for which torch has no code that would compute.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Self

import pytest
import torch
from torch import Tensor
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing
from torch.utils._pytree import tree_flatten, tree_map

from impasto.cyclegan.build import build_trainer
from impasto.cyclegan.inference.translator import BentGrid, Translator
from impasto.cyclegan.networks import ResnetGenerator
from impasto.data.datasets import UnpairedBatch
from impasto.gatys.classifier.model import VggClassifier, init_weights
from impasto.gatys.losses.functional import moments
from impasto.gatys.losses.targets import mask_at
from impasto.gatys.losses.transport import (
    Normal,
    match_histograms,
    quantiles,
    sliced_wasserstein_loss,
    symmetric_root,
    trace_of_root,
    unit_directions,
    wasserstein_loss,
)
from impasto.gatys.scales import enlarge
from impasto.options import TrainOptions
from impasto.runs import make_accelerator
from impasto.runs.meter import Meter

DEVICE = torch.device("meta")
CPU = torch.device("cpu")
aten = torch.ops.aten
LACKING = {torch.float64, torch.complex128}


class OnDevice(Tensor):
    """A tensor on the device; its values are in ``held``, on the processor."""

    held: Tensor

    @staticmethod
    def __new__(cls, held: Tensor) -> Self:
        if held.dtype in LACKING:
            raise TypeError(f"cannot convert a tensor to {held.dtype} on this device")
        made: Self = torch.Tensor._make_wrapper_subclass(
            cls,
            held.shape,
            strides=held.stride(),
            storage_offset=held.storage_offset(),
            dtype=held.dtype,
            device=DEVICE,
            requires_grad=held.requires_grad,
        )
        made.held = held
        return made

    def tolist(self) -> Any:
        return self.held.tolist()

    def __repr__(self) -> str:  # type: ignore[override]
        return f"OnDevice({self.held!r})"

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        return compute(func, args, dict(kwargs or {}))


class TheDevice(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """While active, tensors that are made on or moved to the device are there."""

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        return compute(func, args, dict(kwargs or {}))


def compute(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """Compute on the processor what the device can, and refuse what it cannot."""
    if torch._C._dispatch_has_kernel_for_dispatch_key(func.name(), "CompositeImplicitAutograd"):
        with TheDevice():  # type: ignore[no-untyped-call]  # in inference mode, it was not taken apart before
            return func.decompose(*args, **kwargs)
    inputs = [value for value in tree_flatten((args, kwargs))[0] if isinstance(value, Tensor)]
    there = any(isinstance(value, OnDevice) for value in inputs)
    asked = kwargs.get("device")
    if asked is not None:
        there = torch.device(asked) == DEVICE
        kwargs = {**kwargs, "device": CPU}
    elif there and func is not aten.copy_.default:
        # Only numbers may be mixed with what is on a device.
        assert all(isinstance(value, OnDevice) or value.ndim == 0 for value in inputs), func
    if there or any(isinstance(value, OnDevice) for value in inputs):
        refuse(func, args)
    plain_args, plain_kwargs = tree_map(unwrap, (args, kwargs))
    out = func(*plain_args, **plain_kwargs)
    if not there:
        return out
    wrapped = tree_map(lambda value: OnDevice(value) if isinstance(value, Tensor) else value, out)
    return return_and_correct_aliasing(  # type: ignore[no-untyped-call]
        func, args, kwargs, wrapped
    )


def unwrap(value: Any) -> Any:
    return value.held if isinstance(value, OnDevice) else value


def refuse(func: Any, args: Any) -> None:
    """Raise what Apple's GPUs do, in one version of torch or another."""
    packet = func.overloadpacket
    if packet in {aten._linalg_eigh, aten._upsample_bicubic2d_aa, aten.grid_sampler_2d}:
        raise NotImplementedError(f"{packet} is not implemented for this device")
    if packet is aten._adaptive_avg_pool2d:
        sides = zip(args[0].shape[-2:], args[1], strict=True)
        if any(side % wanted for side, wanted in sides):
            raise RuntimeError("input sizes must be divisible by output sizes")


@pytest.fixture(autouse=True)
def _the_device(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    make = torch.tensor  # which no mode can see

    def tensor(values: object, *, device: Any = CPU, **how: Any) -> Tensor:
        return make(values, **how).to(device)

    monkeypatch.setattr(torch, "tensor", tensor)
    with TheDevice():  # type: ignore[no-untyped-call]
        yield


def there(*tensors: Tensor) -> list[Tensor]:
    return [tensor.to(DEVICE) for tensor in tensors]


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def test_the_device_refuses_what_it_lacks() -> None:
    (matrix,) = there(random(1, 4, 4))
    assert matrix.device == DEVICE
    assert (matrix @ matrix).device == DEVICE
    assert torch.equal((matrix @ matrix).cpu(), random(1, 4, 4) @ random(1, 4, 4))
    for lacking in (
        matrix.double,
        lambda: matrix.to(torch.float64),
        lambda: torch.zeros(3, dtype=torch.float64, device=DEVICE),
        lambda: torch.linalg.eigh(matrix),
        lambda: functional.adaptive_avg_pool2d(matrix, 3),
        lambda: functional.interpolate(matrix[None], size=3, mode="bicubic", antialias=True),
        lambda: functional.grid_sample(
            matrix[None], matrix[..., None].expand(1, 4, 4, 2), align_corners=True
        ),
    ):
        with pytest.raises((TypeError, NotImplementedError, RuntimeError)):
            lacking()


def assert_same_there(
    compute_loss: Callable[..., Tensor], *inputs: Tensor, tolerance: float = 1e-6
) -> None:
    """Compare a value and its gradient by the first input with those on the processor."""
    found = []
    for place in (CPU, DEVICE):
        first, *others = [value.to(place) for value in inputs]
        first = first.detach().requires_grad_()
        value = compute_loss(first, *others)
        assert value.device == place
        (gradient,) = torch.autograd.grad(value.sum(), first)
        assert gradient.device == place
        found.append((value.detach().cpu(), gradient.cpu()))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(other, one, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("iterations", [None, 12])
def test_normal_distributions_are_compared(iterations: int | None) -> None:
    def loss(features: Tensor, style: Tensor) -> Tensor:
        return wasserstein_loss(
            moments(features), Normal(moments=moments(style)), iterations=iterations
        )

    assert_same_there(loss, random(1, 6, 9, 7), random(1, 6, 8, 8, seed=1))


def test_roots_are_found() -> None:
    square = random(2, 5, 5) @ random(2, 5, 5).mT + torch.eye(5)
    assert_same_there(trace_of_root, square)
    (given,) = there(square)
    root = symmetric_root(given)
    assert root.device == DEVICE
    torch.testing.assert_close(root.cpu() @ root.cpu(), square, rtol=1e-5, atol=1e-5)


def test_distributions_are_compared_along_directions_and_matched() -> None:
    directions = unit_directions(7, 6, generator=torch.Generator().manual_seed(0))

    def loss(features: Tensor, style: Tensor, mask: Tensor) -> Tensor:
        target = quantiles(style, directions, 40)
        inside = mask_at(mask, features)
        matched = match_histograms(features.detach(), quantiles(style, torch.eye(6), 64))
        apart = sliced_wasserstein_loss(features, target, directions, inside)
        return apart + sliced_wasserstein_loss(features, target, directions) + matched.mean()

    assert_same_there(loss, random(1, 6, 9, 7), random(1, 6, 8, 8, seed=1), random(1, 1, 31, 29))


def test_pictures_are_enlarged_bent_and_translated() -> None:
    picture = random(1, 3, 70, 66)
    (given,) = there(picture)
    assert torch.equal(enlarge(given, 90, 81).cpu(), enlarge(picture, 90, 81))
    grid, its = (BentGrid(70, 66, strength_px=3.0, device=place) for place in (CPU, DEVICE))
    bent = its.bend(given)
    assert bent.device == DEVICE
    assert torch.equal(bent.cpu(), grid.bend(picture))
    assert torch.equal(its.straighten(bent).cpu(), grid.straighten(grid.bend(picture)))
    torch.manual_seed(0)
    network = ResnetGenerator(channels=4, blocks=1)
    expected = Translator(network, device=CPU, grid_bend_px=3)(picture)
    made = Translator(network, device=DEVICE, grid_bend_px=3)(picture)
    assert made.device == DEVICE
    torch.testing.assert_close(made.cpu(), expected, rtol=1e-5, atol=1e-5)


def test_a_classifier_pools_unevenly() -> None:
    torch.manual_seed(0)
    network = VggClassifier(2, depth=16, width=0.0625, batch_norm=True, pooled=3).eval()
    init_weights(network, init="default", generator=torch.Generator().manual_seed(0))
    images = random(1, 3, 128, 128)
    expected = network(images)
    made = network.to(DEVICE)(images.to(DEVICE))
    torch.testing.assert_close(made.cpu(), expected, rtol=1e-4, atol=1e-5)


def test_losses_are_averaged_in_64_bits_on_the_processor() -> None:
    meter = Meter()
    for step, value in enumerate((1.0, 2.0, 4.0)):
        (loss,) = there(torch.tensor(value))
        meter.add({"G": loss}, step=step, images=1)
    assert meter.report()["losses"] == {"G": pytest.approx(7 / 3, abs=1e-15)}


def test_a_training_steps_reports_and_saves(
    tiny_options: Callable[..., TrainOptions], monkeypatch: pytest.MonkeyPatch
) -> None:
    options = tiny_options(
        lambda_palette=1.0, diffaugment=["color", "translation"], ema_decay=0.9, batch_size_D=2
    )
    batch = UnpairedBatch(A=random(1, 3, 32, 32) * 2 - 1, B=random(1, 3, 32, 32, seed=1) * 2 - 1)
    found = []
    for place in (CPU, DEVICE):
        accelerator = make_accelerator("cpu", "no")
        monkeypatch.setattr(type(accelerator), "device", place)
        trainer = build_trainer(options, accelerator)
        meter = Meter()
        for step in range(3):
            meter.add(trainer.step([batch]).losses, step=step, images=1)
        trainer.check_finite()
        assert trainer.samples(batch)["fake_B"].device == place
        statistics = trainer.output_statistics(batch)
        weights = trainer.networks["G_A"].state_dict()
        assert next(iter(weights.values())).device == place
        found.append((meter.report()["losses"], statistics, trainer.state_dict()))
    assert found[1][0] == pytest.approx(found[0][0], rel=1e-4)
    assert found[1][1] == pytest.approx(found[0][1], rel=1e-3)
