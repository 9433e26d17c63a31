import numpy as np
import pytest
import scipy.ndimage
import torch
from torch import Tensor

from impasto.gatys.features.pixels import LUMA, Pixels


def picture(height: int = 9, width: int = 12, count: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.rand(count, 3, height, width, generator=generator, dtype=torch.float64)


def test_pixels_are_the_picture_itself() -> None:
    image = picture()
    found = Pixels()(image, ["pixels"])
    assert list(found) == ["pixels"]
    assert found["pixels"] is image


def test_layers_come_in_the_order_they_are_asked_for() -> None:
    network = Pixels()
    assert network.layers == ("pixels", "pixels_2", "pixels_4", "luminance")
    assert list(network(picture(), ["luminance", "pixels"])) == ["luminance", "pixels"]
    assert network(picture(), []) == {}
    assert network.smallest(network.layers) == 1
    assert network(picture(1, 1), ["luminance"])["luminance"].shape == (1, 1, 1, 1)


@pytest.mark.parametrize("size", [(8, 12), (9, 13), (3, 2), (1, 1)])
def test_coarser_pixels_are_means_of_squares(size: tuple[int, int]) -> None:
    image = picture(*size)
    found = Pixels()(image, ["pixels_2", "pixels_4"])
    for side in (2, 4):
        rows, columns = (range(0, length, side) for length in size)
        means = [
            [image[0, :, y : y + side, x : x + side].mean((1, 2)).numpy() for x in columns]
            for y in rows
        ]
        expected = np.moveaxis(np.array(means), 2, 0)
        np.testing.assert_allclose(found[f"pixels_{side}"][0].numpy(), expected)


def test_luma_is_television_s() -> None:
    assert LUMA == (0.299, 0.587, 0.114)
    assert sum(LUMA) == pytest.approx(1)
    primaries = torch.eye(3).view(3, 3, 1, 1).expand(3, 3, 4, 5)
    for blur in (0.0, 1.5):
        found = Pixels(blur)(primaries, ["luminance"])["luminance"]
        expected = torch.tensor(LUMA).view(3, 1, 1, 1).expand(3, 1, 4, 5)
        torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("blur", [0.5, 1.0, 1.5, 2.0])
@pytest.mark.parametrize("size", [(9, 12), (2, 3)])
def test_blur_by_scipy(blur: float, size: tuple[int, int]) -> None:
    images = picture(*size, count=2)
    found = Pixels(blur)(images, ["luminance"])["luminance"]
    assert found.shape == (2, 1, *size)
    for image, blurred in zip(images, found, strict=True):
        light = np.tensordot(LUMA, image.numpy(), axes=1)
        expected = scipy.ndimage.gaussian_filter(light, blur, truncate=3, mode="nearest")
        np.testing.assert_allclose(blurred[0].numpy(), expected, atol=1e-7)


def test_no_blur_leaves_the_luminance() -> None:
    image = picture()
    expected = np.tensordot(LUMA, image[0].numpy(), axes=1)
    for blur in (0.0, 1e-9):
        found = Pixels(blur)(image, ["luminance"])["luminance"]
        np.testing.assert_allclose(found[0, 0].numpy(), expected, atol=1e-7)


def test_gradients_reach_the_picture() -> None:
    image = picture(4, 5).requires_grad_()
    network = Pixels(1.0)
    assert torch.autograd.gradcheck(lambda x: network(x, ["luminance"])["luminance"], (image,))
    assert not list(network.parameters())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_other_types(dtype: torch.dtype) -> None:
    image = picture().to(dtype)
    found = Pixels()(image, ["luminance"])["luminance"]
    exact = Pixels()(image.double(), ["luminance"])["luminance"]
    torch.testing.assert_close(found.double(), exact, rtol=0, atol=1e-6)


def test_mistakes() -> None:
    for blur in (-1.0, float("inf"), float("nan")):
        with pytest.raises(ValueError, match="blur: expected at least 0 pixels"):
            Pixels(blur)
    with pytest.raises(ValueError, match=r"layers: 'luminence' is none of .* mean luminance"):
        Pixels()(picture(), ["pixels", "luminence"])
    with pytest.raises(ValueError, match=r"image: expected \(N, 3, H, W\) floating point"):
        Pixels()(picture()[0], ["pixels"])
    with pytest.raises(ValueError, match="uint8"):
        Pixels()(torch.zeros(1, 3, 4, 4, dtype=torch.uint8), ["pixels"])
