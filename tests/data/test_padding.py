import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st

from impasto.data.padding import pad_to_multiple


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
