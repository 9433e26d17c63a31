"""Tests."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st
from PIL import Image
from torch import Tensor

from impasto.data.tensors import (
    check_images,
    normalize,
    pad_to_multiple,
    to_byte_tensor,
    to_pictures,
    to_tensor,
    to_unit_range,
)

RNG = np.random.default_rng(3)


def test_every_value_by_hand() -> None:
    ramp = np.arange(256, dtype=np.uint8).reshape(16, 16)
    rgb = np.stack([ramp, ramp[::-1], 255 - ramp], axis=-1)
    tensor = to_tensor(rgb)
    assert tensor.shape == (3, 16, 16)
    assert tensor.dtype == torch.float32
    assert tensor.is_contiguous()
    # The reference: ToTensor, then Normalize(0.5, 0.5).
    expected = (np.moveaxis(rgb, 2, 0) / 255 - 0.5) / 0.5
    np.testing.assert_allclose(tensor.numpy(), expected, rtol=0, atol=1.5e-7)
    assert tensor.min() == -1
    assert tensor.max() == 1


def test_bytes_become_the_same_numbers_in_any_layout() -> None:
    values = np.arange(256, dtype=np.uint8)
    bytes_ = torch.from_numpy(values)
    # Every operation of IEEE 754 is rounded to the nearest, so that these are the only results.
    expected = values.astype(np.float32) / np.float32(127.5) - np.float32(1)
    np.testing.assert_array_equal(normalize(bytes_).numpy(), expected)
    np.testing.assert_array_equal(
        to_unit_range(bytes_).numpy(), values.astype(np.float32) / np.float32(255)
    )
    spread = bytes_.view(1, 4, 8, 8)[:, :3].to(memory_format=torch.channels_last)
    np.testing.assert_array_equal(normalize(spread).numpy(), expected[:192].reshape(1, 3, 8, 8))
    assert bytes_[7] == 7  # as they were


def test_numbers_stay_as_they_are() -> None:
    numbers = torch.tensor([-1.0, 0.25], dtype=torch.float64)
    assert normalize(numbers) is numbers
    assert to_unit_range(numbers) is numbers


def test_round_trip_is_exact_for_all_values() -> None:
    ramp = np.arange(256, dtype=np.uint8).reshape(8, 32)
    rgb = np.stack([ramp, 255 - ramp, ramp.T.reshape(8, 32)], axis=-1)
    (back,) = to_pictures(to_tensor(rgb).unsqueeze(0))
    np.testing.assert_array_equal(back, rgb)
    assert back.dtype == np.uint8
    assert back.flags.c_contiguous


def test_rounds_to_the_nearest_and_clips() -> None:
    wanted = np.array([10.4, 10.6, 254.6, 0.2, -3.0, 300.0])
    values = torch.from_numpy(wanted / 127.5 - 1).float()
    (found,) = to_pictures(values.reshape(1, 1, 1, 6).expand(1, 3, 1, 6))
    assert found[0, :, 0].tolist() == [10, 11, 255, 0, 0, 255]


def test_order_of_pictures_rows_and_colors() -> None:
    pictures = RNG.integers(0, 256, (3, 4, 5, 3), dtype=np.uint8)
    batch = torch.stack([to_tensor(rgb) for rgb in pictures])
    assert batch[1, 2, 3, 4] == pytest.approx(pictures[1, 3, 4, 2] / 127.5 - 1, abs=1e-6)
    np.testing.assert_array_equal(np.stack(to_pictures(batch)), pictures)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_floating_point(dtype: torch.dtype) -> None:
    images = torch.tensor([-1.0, 0.0, 0.5, 1.0], dtype=dtype).reshape(1, 1, 2, 2).expand(1, 3, 2, 2)
    (found,) = to_pictures(images.requires_grad_())
    assert found[..., 1].tolist() == [[0, 128], [191, 255]]  # 127.5 and 191.25


def test_read_only_and_mirrored_pictures() -> None:
    rgb = np.asarray(Image.fromarray(RNG.integers(0, 256, (4, 5, 3), dtype=np.uint8)))
    assert not rgb.flags.writeable
    mirrored = to_tensor(rgb[:, ::-1])
    assert torch.equal(mirrored, to_tensor(rgb).flip(2))


def test_is_a_copy() -> None:
    rgb = np.zeros((2, 2, 3), np.uint8)
    tensor = to_tensor(rgb)
    rgb[:] = 255
    assert (tensor == -1).all()


@pytest.mark.parametrize(
    ("shape", "dtype"),
    [((4, 4), np.uint8), ((4, 4, 4), np.uint8), ((3, 4, 4), np.uint8), ((4, 4, 3), np.float32)],
)
def test_other_pictures_are_refused(shape: tuple[int, ...], dtype: type) -> None:
    with pytest.raises(ValueError, match=r"rgb: expected \(H, W, 3\) uint8, got") as caught:
        to_byte_tensor(np.zeros(shape, dtype))
    assert f"got {shape} {np.dtype(dtype)}" in str(caught.value)


@pytest.mark.parametrize(
    "images",
    [
        torch.zeros(3, 8, 8),
        torch.zeros(2, 1, 8, 8),
        torch.zeros(2, 3, 8, 8, dtype=torch.int64),
        torch.zeros(1, 2, 3, 8, 8),
    ],
)
def test_other_tensors_are_refused(images: Tensor) -> None:
    expected = rf"pairs: expected \(N, 3, H, W\) floating point, got \({images.shape[0]}, .*"
    with pytest.raises(ValueError, match=expected + str(images.dtype)):
        check_images(images, name="pairs")
    with pytest.raises(ValueError, match=r"images: expected"):
        to_pictures(images)


def test_multiples() -> None:
    check_images(torch.zeros(1, 3, 8, 12), name="images", multiple_of=4)
    for shape in ((1, 3, 8, 10), (1, 3, 10, 8)):
        with pytest.raises(ValueError, match="H and W multiples of 4, got"):
            check_images(torch.zeros(shape), name="images", multiple_of=4)


def by_hand(size: int, multiple: int, smallest: int) -> tuple[int, int]:
    """Pixels before and after, the odd one after."""
    target = multiple
    while target < max(size, smallest):
        target += multiple
    return (target - size) // 2, (target - size + 1) // 2


@settings(max_examples=150, deadline=None)
@given(
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    multiple=st.sampled_from([1, 2, 4, 7, 32, 256]),
    smallest=st.sampled_from([1, 8, 100]),
)
def test_equals_numpy(height: int, width: int, multiple: int, smallest: int) -> None:
    images = torch.arange(2 * 3 * height * width).reshape(2, 3, height, width)
    padded, (rows, columns) = pad_to_multiple(images, multiple, smallest=smallest)
    before_after = [by_hand(side, multiple, smallest) for side in (height, width)]
    expected = np.pad(images.numpy(), [(0, 0), (0, 0), *before_after], mode="reflect")
    np.testing.assert_array_equal(padded.numpy(), expected)
    assert torch.equal(padded[:, :, rows, columns], images)
    assert padded.shape[2] % multiple == padded.shape[3] % multiple == 0


def test_reflects_many_times_over() -> None:
    images = torch.tensor([[[[1.0, 2.0, 3.0]]]])
    padded, (rows, columns) = pad_to_multiple(images, 13)
    assert padded[0, 0, 0].tolist() == [2, 1, 2, 3, 2, 1, 2, 3, 2, 1, 2, 3, 2]
    assert padded.shape == (1, 1, 13, 13)
    assert (rows, columns) == (slice(6, 7), slice(5, 8))


@pytest.mark.parametrize("size", [(8, 8), (16, 24)])
def test_what_fits_is_not_copied(size: tuple[int, int]) -> None:
    images = torch.zeros(1, 3, *size)
    padded, (rows, columns) = pad_to_multiple(images, 8)
    assert padded is images
    assert (rows, columns) == (slice(0, size[0]), slice(0, size[1]))


def test_keeps_the_type_and_gradient() -> None:
    images = torch.ones(1, 1, 3, 5, dtype=torch.float16, requires_grad=True)
    padded, _ = pad_to_multiple(images, 4)
    assert padded.dtype == torch.float16
    (gradient,) = torch.autograd.grad(padded.sum(), images)
    # Each of the 4 x 8 places shows one pixel.
    assert gradient.sum() == 32
