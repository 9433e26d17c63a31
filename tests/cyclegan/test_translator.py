import numpy as np
import pytest
import torch
from torch import Tensor

from impasto.cyclegan.generators import ResnetGenerator, UnetGenerator
from impasto.cyclegan.translator import Translator

CPU = torch.device("cpu")


class Unchanged(ResnetGenerator):
    """Gives back what it gets, and notes its size."""

    def __init__(self) -> None:
        super().__init__(channels=1, blocks=1)
        self.seen: list[tuple[int, ...]] = []

    def forward(self, images: Tensor) -> Tensor:
        self.seen.append(tuple(images.shape))
        return images


def resnet() -> ResnetGenerator:
    network = ResnetGenerator(channels=4, blocks=2)
    with torch.no_grad():
        generator = torch.Generator().manual_seed(0)
        for parameter in network.parameters():
            scale = parameter[0].numel() ** -0.5 if parameter.ndim == 4 else 0.5
            parameter.normal_(0, scale, generator=generator)
    return network


def noise(*shape: int, seed: int = 1) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1


@pytest.mark.parametrize(
    ("size", "padded"),
    [
        ((1, 1), (8, 8)),
        ((1, 7), (8, 8)),
        ((3, 500), (8, 500)),
        ((257, 130), (260, 132)),
        ((64, 36), (64, 36)),
        ((9, 4), (12, 8)),
    ],
)
def test_any_size(size: tuple[int, int], padded: tuple[int, int]) -> None:
    images = noise(2, 3, *size)
    unchanged = Unchanged()
    # What was padded is what is cut off: every pixel comes back in its place.
    assert torch.equal(Translator(unchanged, device=CPU)(images), images)
    assert unchanged.seen == [(2, 3, *padded)]
    result = Translator(resnet(), device=CPU)(images)
    assert result.shape == images.shape
    assert result.isfinite().all()


def test_padding_continues_the_picture_by_reflection() -> None:
    images, network = noise(1, 3, 13, 18), resnet().eval()
    padded = np.pad(images.numpy(), ((0, 0), (0, 0), (1, 2), (1, 1)), mode="reflect")
    with torch.no_grad():
        expected = network(torch.from_numpy(padded))[:, :, 1:14, 1:19]
    torch.testing.assert_close(Translator(network, device=CPU)(images), expected)


@pytest.mark.parametrize("size", [(8, 8), (64, 36), (12, 100)])
def test_equals_the_plain_network_on_multiples_of_4(size: tuple[int, int]) -> None:
    images, network = noise(1, 3, *size), resnet().eval()
    with torch.no_grad():
        expected = network(images)
    assert torch.equal(Translator(network, device=CPU)(images), expected)


def test_a_picture_does_not_depend_on_its_batch() -> None:
    images, translate = noise(3, 3, 21, 30), Translator(resnet(), device=CPU)
    together = translate(images)
    assert together.std() > 0.1
    for index in range(3):
        torch.testing.assert_close(
            translate(images[index : index + 1])[0], together[index], rtol=0, atol=1e-5
        )


def test_dropout_is_off_and_no_gradient_is_kept() -> None:
    network = ResnetGenerator(channels=2, blocks=2, dropout=True).train()
    translate = Translator(network, device=CPU)
    images = noise(1, 3, 16, 16)
    first = translate(images)
    assert torch.equal(first, translate(images))
    assert not first.requires_grad
    assert not network.training


def test_unet_of_any_size() -> None:
    translate = Translator(UnetGenerator(downs=5, channels=2), device=CPU)
    for size in ((1, 1), (33, 5), (64, 32)):
        assert translate(noise(1, 3, *size)).shape == (1, 3, *size)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_floating_point_becomes_float32(dtype: torch.dtype) -> None:
    images, translate = noise(1, 3, 10, 9).to(dtype), Translator(resnet(), device=CPU)
    result = translate(images)
    assert result.dtype == torch.float32
    assert torch.equal(result, translate(images.float()))


def test_mixed_precision_stays_close() -> None:
    images, network = noise(1, 3, 16, 16), resnet()
    exact = Translator(network, device=CPU)(images)
    mixed = Translator(network, device=CPU, mixed_precision="bf16")(images)
    assert mixed.dtype == torch.float32
    assert not torch.equal(mixed, exact)
    assert (mixed - exact).abs().mean() < 0.05


@pytest.mark.parametrize(
    "images",
    [
        torch.zeros(3, 8, 8),
        torch.zeros(1, 4, 8, 8),
        torch.zeros(1, 8, 8, 3),
        torch.zeros(1, 3, 8, 8, dtype=torch.uint8),
    ],
)
def test_other_shapes_and_types_are_refused(images: Tensor) -> None:
    with pytest.raises(ValueError, match=r"images: expected \(N, 3, H, W\) floating") as caught:
        Translator(resnet(), device=CPU)(images)
    assert f"got {tuple(images.shape)} {images.dtype}" in str(caught.value)
