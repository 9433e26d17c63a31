import hashlib
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from impasto.data.samples.photographs import sample_photographs
from impasto.gatys.features.random import RandomRecipe, calibration_pictures, random_vgg
from impasto.gatys.features.vgg import Vgg

SMALL = RandomRecipe(width=1 / 8)
RELUS = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu4_2", "relu5_1")


def bits(network: Vgg) -> str:
    digest = hashlib.sha256()
    for value in network.state_dict().values():
        digest.update(value.numpy().tobytes())
    return digest.hexdigest()[:16]


def energies(network: Vgg, images: Tensor) -> Tensor:
    found = network(images, [name for name in network.layers if name.startswith("relu")])
    return torch.stack([value.square().mean() for value in found.values()])


def test_same_seed_same_bits() -> None:
    first = random_vgg(3, SMALL)
    torch.manual_seed(1)  # the global generator has no part in it
    torch.set_num_threads(2)  # nor has the order of sums
    assert bits(random_vgg(3, SMALL)) == bits(first)
    assert bits(random_vgg(4, SMALL)) != bits(first)


def test_bits_of_every_machine() -> None:
    # The same with the kernels of SSE4.1, AVX2 and AVX-512 (ATEN_CPU_CAPABILITY).
    assert bits(random_vgg(0, SMALL)) == "8843ff80b98c9f22"


@pytest.mark.parametrize(
    "recipe",
    [
        SMALL,
        RandomRecipe(width=1 / 8, depth=16, pooling="max"),
        RandomRecipe(width=1 / 8, filters="orthogonal"),
        RandomRecipe(width=1 / 8, first_kernels=(3, 5, 7, 11)),
        RandomRecipe(width=1 / 8, normalize="channel"),
        RandomRecipe(width=1 / 8, centered=True),
        RandomRecipe(width=1 / 8, normalize="channel", centered=True),
    ],
    ids=str,
)
def test_unit_energy_on_the_calibration_pictures(recipe: RandomRecipe) -> None:
    network = random_vgg(5, recipe)
    # The pictures are drawn after the filters, from the same generator: remake all of it.
    generator = torch.Generator().manual_seed(5)
    for name in network.layers:
        if name.startswith("conv"):
            sizes = recipe.first_kernels if name == "conv1_1" else (3,)
            channels = network.convolution(name).weight.shape[:2]
            for share, size in zip(
                torch.empty(channels[0]).tensor_split(len(sizes)), sizes, strict=True
            ):
                torch.rand(4, len(share) * channels[1] * size**2, generator=generator)
    found = energies(network, calibration_pictures(generator).float())
    # Factors are rounded to 8 binary digits, and one that was rounded up makes the next smaller.
    torch.testing.assert_close(found, torch.ones_like(found), rtol=0.01, atol=0)


def test_photographs_have_about_unit_energy() -> None:
    network = random_vgg(0, RandomRecipe(width=1 / 4))
    for name, pixels in sample_photographs().items():
        image = torch.from_numpy(pixels[:256, :256].copy()).permute(2, 0, 1).unsqueeze(0) / 255
        found = [value.square().mean().item() for value in network(image, RELUS).values()]
        assert min(found) > 0.15, name
        assert max(found) < 7, name


def test_pictures_of_discs() -> None:
    images = calibration_pictures(torch.Generator().manual_seed(0), count=4)
    assert images.shape == (4, 3, 96, 96)
    assert images.dtype == torch.float64
    assert 0 <= images.min() < 0.05
    assert 0.95 < images.max() <= 1
    mean, std = images.mean(dim=(0, 2, 3)), images.std(dim=(0, 2, 3))
    torch.testing.assert_close(mean, torch.tensor([0.485, 0.456, 0.406]).double(), atol=0.1, rtol=0)
    torch.testing.assert_close(std, torch.tensor([0.229, 0.224, 0.225]).double(), atol=0.08, rtol=0)
    # Power falls about as 1 / f^2, as in photographs: amplitudes 4 frequencies apart differ by 4.
    power = torch.fft.fft2(images - images.mean(dim=(2, 3), keepdim=True)).abs().square()
    low, high = power[..., 0, 3:6].mean(), power[..., 0, 12:24].mean()
    assert 6 < low / high < 60


def test_orthogonal_filters() -> None:
    network = random_vgg(0, RandomRecipe(width=1 / 8, filters="orthogonal"))
    weight = network.convolution("conv3_2").weight.flatten(1).double()
    gram = weight @ weight.T
    torch.testing.assert_close(
        gram / gram.diagonal().mean(),
        torch.eye(len(gram), dtype=torch.float64),
        atol=1e-4,
        rtol=1e-4,
    )


def test_kaiming_filters_are_nearly_normal() -> None:
    weight = random_vgg(0, RandomRecipe(width=1 / 8)).convolution("conv5_1").weight.double()
    z = (weight - weight.mean()) / weight.std()
    assert abs(weight.mean() / weight.std()) < 0.02
    assert z.pow(4).mean().item() == pytest.approx(2.7, abs=0.1)  # four uniform: 3 - 1.2 / 4


def test_filters_of_several_sizes() -> None:
    network = random_vgg(0, RandomRecipe(width=1 / 8, first_kernels=(3, 11)))
    weight = network.convolution("conv1_1").weight
    assert weight.shape == (8, 3, 11, 11)
    border = weight.clone()
    border[..., 4:7, 4:7] = 0
    assert (border[:4] == 0).all()
    assert (border[4:] != 0).float().mean() > 0.9


@pytest.mark.parametrize("change", [{"centered": True}, {"normalize": "channel"}], ids=str)
def test_what_keeps_positions_apart(change: dict[str, Any]) -> None:
    """In plain random networks, the features of all positions point the same way."""
    pixels = sample_photographs()["coffee"][:256, :256].copy()
    image = torch.from_numpy(pixels).permute(2, 0, 1).unsqueeze(0) / 255

    def mean_cosine(recipe: RandomRecipe) -> float:
        features = random_vgg(0, recipe)(image, ["relu5_1"])["relu5_1"][0].flatten(1)
        unit = features / features.norm(dim=0).clamp_min(1e-9)
        return float(unit.mean(dim=1).square().sum())  # over all pairs of positions

    plain = mean_cosine(SMALL)
    assert plain > 0.75
    assert mean_cosine(replace(SMALL, **change)) < plain - 0.15


def test_the_network_is_frozen_float32_and_runs_without_a_file() -> None:
    network = random_vgg(0, SMALL)
    assert {value.dtype for value in network.state_dict().values()} == {torch.float32}
    assert not any(parameter.requires_grad for parameter in network.parameters())
    assert network.layers[-1] == "pool5"
