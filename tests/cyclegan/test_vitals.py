"""Contrast and correlation of translations, against NumPy, and how the trainer measures them."""

import json
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from impasto.cyclegan import ResnetGenerator, build_trainer
from impasto.cyclegan.vitals import contrast_and_correlation, read_back
from impasto.data import UnpairedBatch
from impasto.options import TrainOptions
from impasto.runs import make_accelerator

Options = Callable[..., TrainOptions]


def make_batch(*, size_A: int = 24, size_B: int = 24, count: int = 2) -> UnpairedBatch:
    generator = torch.Generator().manual_seed(0)
    A, B = (
        torch.rand(count, 3, size, size, generator=generator) * 2 - 1 for size in (size_A, size_B)
    )
    return UnpairedBatch(A=A, B=B)


def test_contrast_and_correlation_are_those_of_numpy() -> None:
    batch = make_batch()
    luma = [
        np.tensordot(images.double().numpy(), [0.2126, 0.7152, 0.0722], axes=(1, 0))
        for images in (batch.A, batch.B)
    ]
    contrast = np.mean([one.std() / other.std() for one, other in zip(*luma, strict=True)])
    correlation = np.mean(
        [np.corrcoef(one.ravel(), other.ravel())[0, 1] for one, other in zip(*luma, strict=True)]
    )
    found = contrast_and_correlation(batch.A, batch.B).tolist()
    assert found == pytest.approx([contrast, correlation], rel=1e-4, abs=1e-6)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda images: images, (1, 1)),
        (lambda images: -images, (1, -1)),
        (lambda images: 0.3 - images / 2, (0.5, -1)),
        (torch.zeros_like, (0, None)),
        (lambda images: images * 1e-3, (1e-3, None)),
        (lambda images: images * float("nan"), (None, None)),
    ],
)
def test_measures_of_known_translations(
    change: Callable[[Tensor], Tensor], expected: tuple[float | None, float | None]
) -> None:
    batch = make_batch()
    found = read_back(contrast_and_correlation(change(batch.A), batch.A))
    assert found == pytest.approx(list(expected), abs=1e-4)


def test_plain_inputs_are_left_out() -> None:
    A = make_batch().A
    A[0] = 0.5
    assert read_back(contrast_and_correlation(-A, A)) == pytest.approx([1, -1], abs=1e-4)
    assert read_back(contrast_and_correlation(-A[:1], A[:1])) == [None, None]


class Negative(ResnetGenerator):
    def forward(self, x: Tensor) -> Tensor:
        return -x


@pytest.mark.parametrize("mixed_precision", ["no", "bf16"])
def test_vitals_tell_each_generator_and_change_nothing(
    tiny_options: Options, mixed_precision: str
) -> None:
    options = tiny_options(norm="batch", dropout=True, mixed_precision=mixed_precision)
    trainer = build_trainer(options, make_accelerator("cpu", mixed_precision))
    trainer.networks = replace(trainer.networks, G_B=Negative(channels=1, blocks=1))
    before, random = deepcopy(trainer.networks.state_dict()), torch.get_rng_state()
    batch = make_batch(size_B=32)
    vitals = trainer.vitals(batch)
    assert json.loads(json.dumps(vitals)) == vitals
    assert vitals == trainer.vitals(batch), "nothing random"
    assert vitals["correlation_A"] == pytest.approx(-1, abs=1e-3)
    assert vitals["contrast_A"] == pytest.approx(1, abs=1e-3)
    trainer.networks.G_A.eval()
    with torch.no_grad():
        expected = contrast_and_correlation(trainer.networks.G_A(batch.A), batch.A).tolist()
    trainer.networks.G_A.train()
    found = [vitals["contrast_B"], vitals["correlation_B"]]
    assert found == pytest.approx(expected, abs=0.02 if mixed_precision == "bf16" else 1e-5)
    assert torch.equal(random, torch.get_rng_state())
    for name, weights in trainer.networks.state_dict().items():
        assert all(torch.equal(weights[key], before[name][key]) for key in weights)
    assert all(network.training for network in trainer.networks.named().values())
