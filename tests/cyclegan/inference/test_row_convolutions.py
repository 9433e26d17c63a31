"""Convolutions of rows, against torch's own in 64 bits."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from impasto.cyclegan.inference.row_convolutions import (
    convolution_of,
    copied_bytes,
    enlarging,
    plain,
    two_by_two,
    winograd,
)


def drawn(*shape: int) -> Tensor:
    generator = torch.Generator().manual_seed(sum(shape))
    return torch.randn(shape, generator=generator) / (shape[-1] if len(shape) == 4 else 1)


def rows(channels: int, height: int, width: int) -> Tensor:
    return drawn(1, channels, height, width).contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize(("height", "width"), [(6, 6), (10, 13), (18, 7)])
def test_winograd_is_the_convolution(height: int, width: int) -> None:
    values, weight, bias = rows(7, height, width), drawn(5, 7, 3, 3), drawn(5)
    expected = F.conv2d(values.double(), weight.double(), bias.double())
    made = winograd(weight, bias)(values)
    torch.testing.assert_close(made.double(), expected, rtol=0, atol=2e-5)
    exact = winograd(weight.double(), None)(values.double()) + bias.double().view(-1, 1, 1)
    torch.testing.assert_close(exact, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("side", [3, 7])
@pytest.mark.parametrize("width", [9, 12])
def test_squares_of_pixels_are_the_convolution(width: int, side: int) -> None:
    values, weight, bias = rows(6, side + 7, width), drawn(3, 6, side, side), drawn(3)
    expected = F.conv2d(values.double(), weight.double(), bias.double())
    torch.testing.assert_close(
        two_by_two(weight, bias)(values).double(), expected, rtol=0, atol=1e-5
    )


def test_enlarging_is_interpolating_before_the_convolution() -> None:
    values, weight, bias = rows(5, 9, 11), drawn(4, 5, 3, 3), drawn(4)
    enlarged = F.interpolate(values.double(), scale_factor=2, mode="bilinear")
    expected = F.conv2d(enlarged, weight.double(), bias.double())[:, :, 1:-1, 1:-1]
    convolve, multiple = enlarging(weight, bias)
    assert multiple == 1
    # What lies behind the borders of the values has no part in it.
    torch.testing.assert_close(convolve(values).double(), expected, rtol=0, atol=1e-5)


def test_the_choice_follows_the_shape(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    wide, narrow, few = drawn(128, 128, 3, 3), drawn(128, 64, 3, 3), drawn(3, 64, 7, 7)
    assert [convolution_of(weight, None)[1] for weight in (wide, narrow, few)] == [4, 1, 2]
    assert convolution_of(wide, None, stride=2)[1] == 1
    assert copied_bytes(wide) == 4 * wide.numel() * 4  # 36 values for 9
    assert copied_bytes(narrow) == narrow.numel() * 4
    monkeypatch.setattr("platform.machine", lambda: "arm64")
    assert convolution_of(wide, None)[1] == 1


def test_strides_are_those_of_the_layer() -> None:
    values, weight = rows(4, 9, 9), drawn(3, 4, 3, 3)
    made = plain(weight, None, stride=2)(values)
    torch.testing.assert_close(made, F.conv2d(values, weight, stride=2))
