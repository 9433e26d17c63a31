import numpy as np
import pytest
import torch
from torch import Tensor

from impasto.gatys.losses.functional import (
    VariationKind,
    content_loss,
    gram_loss,
    gram_matrix,
    moments,
    range_penalty,
    total_variation,
)

KINDS: list[VariationKind] = ["squared", "nine_point", "absolute"]


def noise(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=dtype)


def some_mask(height: int, width: int) -> Tensor:
    mask = torch.rand(1, 1, height, width, generator=torch.Generator().manual_seed(9))
    mask[..., 0] = 0
    return mask.double()


def test_content_loss_is_two_over_c_m_of_the_paper() -> None:
    features, target = noise(1, 3, 4, 5), noise(1, 3, 4, 5, seed=1)
    paper = 0.0
    for f, p in zip(features.flatten().tolist(), target.flatten().tolist(), strict=True):
        paper += 0.5 * (f - p) ** 2
    assert content_loss(features, target).item() == pytest.approx(paper * 2 / (3 * 20), rel=1e-12)


def test_content_loss_wants_equal_shapes() -> None:
    with pytest.raises(
        ValueError, match=r"expected features of \(1, 3, 4, 4\), got \(1, 3, 4, 5\)"
    ):
        content_loss(noise(1, 3, 4, 5), noise(1, 3, 4, 4))


def test_style_loss_by_loops() -> None:
    features, target = noise(1, 3, 4, 5).numpy()[0], noise(1, 3, 2, 7, seed=1).numpy()[0]

    def gram(f: np.ndarray, i: int, j: int) -> float:
        total = 0.0
        for y in range(f.shape[1]):
            for x in range(f.shape[2]):
                total += float(f[i, y, x] * f[j, y, x])
        return total / int(f.shape[1] * f.shape[2])

    expected = 0.0
    for i in range(3):
        for j in range(3):
            expected += (gram(features, i, j) - gram(target, i, j)) ** 2 / (4 * 3**2)
    found = gram_loss(
        gram_matrix(torch.from_numpy(features)[None]), gram_matrix(torch.from_numpy(target)[None])
    )
    assert found.item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("masked", [False, True])
def test_moments_in_numpy(masked: bool) -> None:
    features = noise(2, 3, 4, 5) + 1
    mask = some_mask(4, 5) if masked else None
    weights = np.ones(20) if mask is None else mask.numpy().flatten()
    found = moments(features, mask)
    for index in range(2):
        flat = features[index].numpy().reshape(3, 20)
        np.testing.assert_allclose(found.mean[index], np.average(flat, axis=1, weights=weights))
        covariance = np.cov(flat, aweights=weights, ddof=0)
        np.testing.assert_allclose(found.covariance[index], covariance, atol=1e-13)
        second = covariance + np.outer(found.mean[index], found.mean[index])
        np.testing.assert_allclose(gram_matrix(features, mask)[index], second, atol=1e-13)


def test_masked_positions_do_not_count() -> None:
    features, mask = noise(1, 3, 4, 6), torch.zeros(1, 1, 4, 6)
    mask[..., :2] = 1
    torch.testing.assert_close(gram_matrix(features, mask), gram_matrix(features[..., :2]))
    torch.testing.assert_close(moments(features, mask).mean, features[..., :2].mean(dim=(2, 3)))
    assert gram_matrix(features, torch.zeros(1, 1, 4, 6)).eq(0).all()  # and nothing is not a number


def test_masks_of_another_size_are_refused() -> None:
    with pytest.raises(ValueError, match=r"expected a mask of \(4, 6\), got \(4, 5\)"):
        gram_matrix(noise(1, 3, 4, 6), torch.ones(1, 1, 4, 5))


def test_losses_do_not_depend_on_the_size_of_a_pattern() -> None:
    features = noise(1, 3, 4, 5)
    torch.testing.assert_close(gram_matrix(features.repeat(1, 1, 3, 2)), gram_matrix(features))
    torch.testing.assert_close(
        moments(features.repeat(1, 1, 3, 2)).covariance, moments(features).covariance
    )


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("n", [1, 2])
def test_gradients(masked: bool, n: int) -> None:
    features, target = noise(n, 3, 4, 5).requires_grad_(), noise(n, 3, 4, 5, seed=1)
    mask = some_mask(4, 5) if masked else None
    wanted = gram_matrix(target)
    check = torch.autograd.gradcheck
    assert check(lambda x: content_loss(x, target), (features,))
    assert check(lambda x: gram_loss(gram_matrix(x, mask), wanted), (features,))
    assert check(lambda x: moments(x, mask).covariance, (features,))
    assert check(lambda x: moments(x, mask).mean, (features,))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("masked", [False, True])
def test_half_precision_is_summed_in_float32(dtype: torch.dtype, masked: bool) -> None:
    # 300^2 is beyond float16; its sums over positions are beyond bfloat16's 8 bits.
    features = (300 + noise(1, 3, 16, 16, dtype=torch.float32)).to(dtype).requires_grad_()
    mask = some_mask(16, 16).float() if masked else None
    target = noise(1, 3, 16, 16, dtype=torch.float32).to(dtype)
    exact = features.detach().double()
    exact_mask = None if mask is None else mask.double()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = moments(features, mask)
        gram = gram_matrix(features, mask)
        content = content_loss(features, target)
    assert {found.mean.dtype, gram.dtype, content.dtype} == {torch.float32}
    torch.testing.assert_close(gram.double(), gram_matrix(exact, exact_mask), rtol=1e-5, atol=0)
    torch.testing.assert_close(
        found.mean.double(), moments(exact, exact_mask).mean, rtol=1e-5, atol=0
    )
    torch.testing.assert_close(
        content.double(), content_loss(exact, target.double()), rtol=1e-5, atol=0
    )
    (gradient,) = torch.autograd.grad(gram.sum(), features)
    assert gradient.dtype == dtype
    assert gradient.isfinite().all()


def test_total_variation_by_loops() -> None:
    image = noise(1, 3, 4, 5)
    x = image.numpy()[0]
    down = [(x[c, i + 1, j] - x[c, i, j]) for c in range(3) for i in range(3) for j in range(5)]
    right = [(x[c, i, j + 1] - x[c, i, j]) for c in range(3) for i in range(4) for j in range(4)]
    squared = np.mean(np.square(down)) + np.mean(np.square(right))
    absolute = np.mean(np.abs(down)) + np.mean(np.abs(right))
    assert total_variation(image).item() == pytest.approx(squared, rel=1e-12)
    assert total_variation(image, kind="absolute").item() == pytest.approx(absolute, rel=1e-12)


def test_nine_point_stencil_by_loops() -> None:
    """As crowsonkb's program: the picture continued by its edge, means over all there is."""
    image = noise(1, 3, 4, 5)
    x = np.pad(image.numpy()[0], ((0, 0), (1, 1), (1, 1)), mode="edge")
    straight = 0.0
    for c in range(3):
        for i in range(1, 5):
            for j in range(1, 6):
                straight += (x[c, i, j + 1] - x[c, i, j]) ** 2 + (x[c, i + 1, j] - x[c, i, j]) ** 2
    diagonal = 0.0
    for c in range(3):
        for i in range(5):
            for j in range(6):
                diagonal += (x[c, i + 1, j + 1] - x[c, i, j]) ** 2
                diagonal += (x[c, i + 1, j] - x[c, i, j + 1]) ** 2
    expected = 2 * (straight / (3 * 4 * 5) / 3 + diagonal / (3 * 5 * 6) / 12)
    assert total_variation(image, kind="nine_point").item() == pytest.approx(expected, rel=1e-12)


def test_nine_points_equal_four_on_a_large_ramp() -> None:
    ramp = torch.arange(400.0, dtype=torch.float64).expand(1, 1, 400, 400)
    assert total_variation(ramp, kind="nine_point").item() == pytest.approx(1, rel=0.01)
    assert total_variation(ramp).item() == pytest.approx(1)


@pytest.mark.parametrize("kind", KINDS)
def test_gradient_of_total_variation(kind: VariationKind) -> None:
    image = noise(1, 3, 4, 5).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: total_variation(x, kind=kind), (image,))
    plain = torch.full((1, 3, 4, 4), 0.5, requires_grad=True)
    (gradient,) = torch.autograd.grad(total_variation(plain, kind=kind), plain)
    assert gradient.eq(0).all()


def test_total_variation_refuses() -> None:
    with pytest.raises(ValueError, match="kind: expected one of"):
        total_variation(noise(1, 3, 4, 4), kind="l1")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"at least 2 x 2 pixels, got \(1, 4\)"):
        total_variation(noise(1, 3, 1, 4))


def test_value_range_in_numpy() -> None:
    image = noise(1, 3, 4, 5)
    x = image.numpy()
    expected = np.mean(np.maximum(0, x - 1) ** 2 + np.maximum(0, -x) ** 2)
    assert range_penalty(image).item() == pytest.approx(expected, rel=1e-12)
    assert range_penalty(image, low=-9, high=9).item() == 0
    assert torch.autograd.gradcheck(range_penalty, (image.requires_grad_(),))
