from collections.abc import Callable

import numpy as np
import pytest
import scipy.linalg
import scipy.stats
import torch
from torch import Tensor

from impasto.gatys.losses.functional import Moments, moments
from impasto.gatys.losses.transport import (
    Normal,
    match_histograms,
    mixed_quantiles,
    quantiles,
    quantiles_at,
    quantiles_of,
    sliced_wasserstein_loss,
    sorted_rows,
    symmetric_root,
    trace_of_root,
    transport_cost,
    unit_directions,
    wasserstein_loss,
)


def noise(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=dtype)


def directions(count: int, channels: int) -> Tensor:
    drawn = unit_directions(count, channels, generator=torch.Generator().manual_seed(3))
    return drawn.double()


def by_scipy(present: Tensor, target: Tensor, epsilon: float) -> float:
    """The distance per channel of normal distributions fitted to features, (1, C, H, W)."""
    x, y = (features[0].flatten(1).numpy() for features in (present, target))
    ridge = epsilon * np.eye(len(x))
    s, t = np.cov(x, ddof=0) + ridge, np.cov(y, ddof=0) + ridge
    root = scipy.linalg.sqrtm(t)
    cross = scipy.linalg.sqrtm(root @ s @ root)
    squared = np.sum((x.mean(axis=1) - y.mean(axis=1)) ** 2) + np.trace(s + t - 2 * cross)
    return float(np.real(squared)) / len(x)


@pytest.mark.parametrize("iterations", [None, 40])
@pytest.mark.parametrize("positions", [30, 4])  # 4: covariances of rank 3 in 6 channels
def test_wasserstein_by_scipy(iterations: int | None, positions: int) -> None:
    present, target = noise(1, 6, positions, 1) + 0.3, 2 * noise(1, 6, 5, 5, seed=1)
    found = wasserstein_loss(
        moments(present), Normal(moments=moments(target)), iterations=iterations
    )
    expected = by_scipy(present, target, 1e-4)
    assert found.item() == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("iterations", [None, 12])
def test_nothing_is_nearer_than_itself(dtype: torch.dtype, iterations: int | None) -> None:
    features = 10 * noise(1, 24, 4, 4, dtype=dtype)  # rank 15
    present = moments(features)
    here = wasserstein_loss(present, Normal(moments=present), iterations=iterations).item()
    size = present.second.diagonal(dim1=1, dim2=2).mean().item()
    # Newton's 12 steps leave the smallest eigenvalues short, by about the ridge.
    assert abs(here) < (1e-6 if iterations is None else 1e-4) * size


@pytest.mark.parametrize("iterations", [None, 40])
def test_gradients_of_wasserstein(iterations: int | None) -> None:
    target = Normal(moments=moments(noise(1, 3, 4, 4, seed=1)))
    mask = torch.rand(1, 1, 4, 3, generator=torch.Generator().manual_seed(9)).double()
    features = noise(1, 3, 4, 3).requires_grad_()
    for given in (None, mask):
        assert torch.autograd.gradcheck(
            lambda x, given=given: wasserstein_loss(
                moments(x, given), target, iterations=iterations
            ),
            (features,),
        )


@pytest.mark.parametrize("iterations", [None, 12])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("case", ["zero", "plain", "low rank", "repeated"])
def test_gradients_stay_finite(case: str, dtype: torch.dtype, iterations: int | None) -> None:
    features = {
        "zero": torch.zeros(1, 8, 4, 4),
        "plain": torch.full((1, 8, 4, 4), 3.0),
        "low rank": noise(1, 1, 4, 4, dtype=torch.float32).expand(1, 8, 4, 4) * 100,
        "repeated": torch.eye(8).repeat(1, 2).view(1, 8, 4, 4),
    }[case].to(dtype)
    for other in (features, noise(1, 8, 4, 4, dtype=dtype), torch.zeros_like(features)):
        image = features.clone().requires_grad_()
        target = Normal(moments=moments(other))
        loss = wasserstein_loss(moments(image), target, iterations=iterations)
        (gradient,) = torch.autograd.grad(loss, image)
        assert loss.isfinite()
        assert gradient.isfinite().all()
        assert gradient.abs().max() < 1e3


def test_gradient_at_repeated_eigenvalues_is_exact() -> None:
    matrix = (2 * torch.eye(3, dtype=torch.float64)[None]).requires_grad_()
    for iterations in (None, 30):
        trace = trace_of_root(matrix, iterations=iterations)
        assert trace.item() == pytest.approx(3 * 2**0.5)
        (gradient,) = torch.autograd.grad(trace.sum(), matrix)
        expected = torch.eye(3, dtype=torch.float64)[None] / (2 * 2**0.5)
        torch.testing.assert_close(gradient, expected)


def test_symmetric_root() -> None:
    matrix = moments(noise(2, 5, 4, 4)).covariance
    root = symmetric_root(matrix)
    torch.testing.assert_close(root @ root, matrix)
    np.testing.assert_allclose(root[1], scipy.linalg.sqrtm(matrix[1].numpy()), atol=1e-12)


def test_target_wants_a_ridge() -> None:
    with pytest.raises(ValueError, match="epsilon: expected more than 0, got 0"):
        Normal(moments=Moments(mean=torch.zeros(1, 2), second=torch.zeros(1, 2, 2)), epsilon=0)


def test_directions_are_unit_vectors_on_all_sides() -> None:
    drawn = unit_directions(4000, 3, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(drawn.norm(dim=1), torch.ones(4000))
    torch.testing.assert_close(drawn.T @ drawn / 4000, torch.eye(3) / 3, atol=0.02, rtol=0)


def test_sliced_distance_of_equal_sizes_by_numpy() -> None:
    present, target, lines = noise(1, 3, 4, 5), noise(1, 3, 5, 4, seed=1), directions(7, 3)
    x, y = (lines.numpy() @ features[0].flatten(1).numpy() for features in (present, target))
    expected = np.mean((np.sort(x, axis=1) - np.sort(y, axis=1)) ** 2)
    wanted = quantiles(target, lines, 20)
    found = sliced_wasserstein_loss(present, wanted, lines)
    assert found.item() == pytest.approx(expected, rel=1e-12)


def test_a_mask_of_ones_is_no_mask() -> None:
    present, target, lines = noise(1, 3, 4, 5), noise(1, 3, 6, 7, seed=1), directions(7, 3)
    ones = torch.ones(1, 1, 4, 5, dtype=torch.float64)
    for count in (20, 42, 17):
        wanted = quantiles(target, lines, count)
        plain = sliced_wasserstein_loss(present, wanted, lines)
        torch.testing.assert_close(sliced_wasserstein_loss(present, wanted, lines, ones), plain)


def test_sliced_distance_of_a_masked_part_is_that_of_the_part() -> None:
    present, target, lines = noise(1, 3, 4, 6), noise(1, 3, 4, 9, seed=1), directions(7, 3)
    present[..., 3:] = 1e6  # does not count
    mask = torch.zeros(1, 1, 4, 6)
    mask[..., :3] = 1
    wanted = quantiles(target, lines, 36)
    part = sliced_wasserstein_loss(present[..., :3], wanted, lines)
    torch.testing.assert_close(sliced_wasserstein_loss(present, wanted, lines, mask), part)
    masked = quantiles(present, lines, 12, mask)
    torch.testing.assert_close(masked, quantiles(present[..., :3], lines, 12))


def test_sliced_distance_nears_the_integral_for_other_sizes() -> None:
    # Along one axis: scipy's own W1 of the two samples is at most the root of ours.
    present, target = noise(1, 1, 40, 50), noise(1, 1, 30, 30, seed=1) * 2 + 1
    line = torch.ones(1, 1, dtype=torch.float64)
    found = sliced_wasserstein_loss(present, quantiles(target, line, 900), line).item()
    x, y = present.flatten().numpy(), target.flatten().numpy()
    steps = (np.arange(180_000) + 0.5) / 180_000
    inverse = [np.sort(v)[np.minimum((steps * v.size).astype(int), v.size - 1)] for v in (x, y)]
    assert found == pytest.approx(np.mean((inverse[0] - inverse[1]) ** 2), rel=0.01)
    assert scipy.stats.wasserstein_distance(x, y) <= found**0.5


def test_absolute_cost_by_scipy() -> None:
    values, target = noise(1, 3, 40), noise(1, 3, 40, seed=1) * 2 + 1
    even = target.sort(dim=2).values
    expected = np.mean(
        [scipy.stats.wasserstein_distance(*pair) for pair in zip(values[0], target[0], strict=True)]
    )
    found = transport_cost(values, even, cost=torch.abs)
    assert found.item() == pytest.approx(expected, rel=1e-12)
    squared = (values.sort(dim=2).values - even).square().mean()
    torch.testing.assert_close(transport_cost(values, even), squared)
    # With weights, scipy's is the integral; ours reads the target once for each value.
    weights = torch.rand(1, 1, 40, generator=torch.Generator().manual_seed(9)).double()
    weights = weights / weights.sum()
    fine = even.repeat_interleave(100, dim=2)
    expected = np.mean(
        [
            scipy.stats.wasserstein_distance(*pair, u_weights=weights.flatten())
            for pair in zip(values[0], target[0], strict=True)
        ]
    )
    found = transport_cost(values, fine, weights, cost=torch.abs)
    assert found.item() == pytest.approx(expected, rel=0.02)


@pytest.mark.parametrize("cost", [torch.abs, torch.square])
@pytest.mark.parametrize("count", [5, 12, 30])
def test_equal_weights_are_no_weights(cost: Callable[[Tensor], Tensor], count: int) -> None:
    values, even = noise(2, 3, 12), noise(1, 3, count, seed=1).sort(dim=2).values
    weights = torch.full((1, 1, 12), 1 / 12, dtype=torch.float64)
    plain = transport_cost(values, even, cost=cost)
    torch.testing.assert_close(transport_cost(values, even, weights, cost=cost), plain)


def test_gradient_of_the_absolute_cost_is_a_sign() -> None:
    values = torch.tensor([[[5.0, 1.0, 2.0]]], requires_grad=True)
    loss = transport_cost(values, torch.tensor([[[0.0, 4.0, 4.5]]]), cost=torch.abs)
    (gradient,) = torch.autograd.grad(loss, values)
    torch.testing.assert_close(gradient, torch.tensor([[[1.0, 1.0, -1.0]]]) / 3)


def test_quantiles_of_numbers() -> None:
    values = noise(1, 2, 35)
    ordered = values.sort(dim=2).values
    assert torch.equal(quantiles_of(values, 35), ordered)
    # The middle one of each 5.
    assert torch.equal(quantiles_of(values, 7), ordered[..., 2::5])
    assert torch.equal(quantiles_of(values, 105), ordered.repeat_interleave(3, dim=2))
    counts = torch.tensor([[[1.0, 0.0, 3.0]]])
    found = quantiles_of(torch.tensor([[[7.0, 1.0, 5.0]]]), 4, counts)
    assert found.tolist() == [[[5.0, 5.0, 5.0, 7.0]]]


def test_quantiles_are_read_between_their_ranks() -> None:
    even, ranks = noise(1, 3, 9).sort(dim=2).values, torch.linspace(0.001, 0.999, 50).double()
    found = quantiles_at(even, ranks.expand(2, 3, 50))
    places = (np.arange(9) + 0.5) / 9
    expected = np.stack([np.interp(ranks, places, one) for one in even[0]])
    np.testing.assert_allclose(found[0], expected, atol=1e-12)
    assert torch.equal(found[1], found[0])
    single = torch.full((1, 1, 1), 3.0)
    assert quantiles_at(single, torch.tensor([[[0.1, 0.9]]])).tolist() == [[[3.0, 3.0]]]


@pytest.mark.parametrize("masked", [False, True])
def test_gradient_of_the_sliced_distance(masked: bool) -> None:
    lines = directions(4, 3)
    wanted = quantiles(noise(1, 3, 4, 4, seed=1), lines, 16)
    mask = torch.rand(1, 1, 3, 5, generator=torch.Generator().manual_seed(9)).double()
    features = noise(2, 3, 3, 5).requires_grad_()
    assert torch.autograd.gradcheck(
        lambda x: sliced_wasserstein_loss(x, wanted, lines, mask if masked else None), (features,)
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("threads", [1, 3])
def test_sorted_as_by_numpy_with_equal_values_in_their_order(
    threads: int, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    # Ten values a row are each found some hundred times; rows are sorted in several parts.
    values = (2 * noise(2, 40, 3000)).round().to(dtype)
    values[0, 0, :6] = torch.tensor([0.0, -0.0, torch.inf, -torch.inf, 1e-45, -3e38])
    found, order = sorted_rows(values)
    expected = np.argsort(values.numpy(), axis=2, kind="stable")
    assert np.array_equal(order.numpy(), expected)
    assert np.array_equal(found.numpy(), np.take_along_axis(values.numpy(), expected, axis=2))
    assert found.dtype == dtype


def test_gradient_of_sorting_goes_back_where_each_value_was() -> None:
    values = torch.tensor([[3.0, -1.0, 3.0, 0.5]], requires_grad=True)
    total = (sorted_rows(values)[0] * torch.tensor([1.0, 10.0, 100.0, 1000.0])).sum()
    (gradient,) = torch.autograd.grad(total, values)
    assert gradient.tolist() == [[100, 1, 1000, 10]]


@pytest.mark.parametrize("sign", [1, -1])
def test_what_is_not_a_number_stays_so_when_sorted(sign: int) -> None:
    found, order = sorted_rows(torch.tensor([[1.0, sign * torch.nan, -2.0]]))
    assert found.isnan().sum() == 1
    assert found[~found.isnan()].tolist() == [-2, 1]
    assert sorted(order[0].tolist()) == [0, 1, 2]


@pytest.mark.parametrize("shape", [(0,), (2, 0), (0, 3), (1,)])
def test_little_to_sort(shape: tuple[int, ...]) -> None:
    found, order = sorted_rows(torch.ones(shape))
    assert found.shape == order.shape == shape


def test_mixtures_pool_values() -> None:
    first, second = torch.tensor([[[0.0, 1.0]]]), torch.tensor([[[10.0, 11.0, 12.0, 13.0]]])
    even = mixed_quantiles([first, second], [1 / 3, 2 / 3])
    # A sixth for each of the first, a sixth for each of the second: 1/8, 3/8, 5/8, 7/8 of them.
    assert even.tolist() == [[[0.0, 10.0, 11.0, 13.0]]]
    assert mixed_quantiles([first, second], [1, 0]).flatten().tolist() == [0, 0, 1, 1]
    assert mixed_quantiles([first], [1.0]) is first


@pytest.mark.parametrize("iterations", [None, 12])
def test_half_precision_and_autocast(iterations: int | None) -> None:
    features = noise(1, 6, 8, 8, dtype=torch.float32).bfloat16().requires_grad_()
    target = Normal(moments=moments(2 * noise(1, 6, 8, 8, seed=1, dtype=torch.float32)))
    lines = directions(6, 6)
    wanted = quantiles(noise(1, 6, 8, 8, seed=1), lines, 64)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        normal = wasserstein_loss(moments(features), target, iterations=iterations)
        sliced = sliced_wasserstein_loss(features, wanted.float(), lines)
    exact = features.detach().double()
    expected = by_scipy(exact, 2 * noise(1, 6, 8, 8, seed=1, dtype=torch.float32).double(), 1e-4)
    assert normal.item() == pytest.approx(expected, rel=1e-4)
    assert sliced.item() == pytest.approx(
        sliced_wasserstein_loss(exact, wanted, lines).item(), rel=1e-5
    )
    (gradient,) = torch.autograd.grad(normal + sliced, features)
    assert gradient.isfinite().all()


def double_noise(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def test_values_become_the_quantiles_in_their_own_order() -> None:
    features = double_noise(1, 2, 5, 6)
    quantiles = double_noise(1, 2, 30, seed=1).sort(dim=2).values * 3 + 5
    found = match_histograms(features, quantiles)
    assert found.shape == features.shape
    for channel in range(2):
        values, before = found[0, channel].flatten(), features[0, channel].flatten()
        torch.testing.assert_close(values.sort().values, quantiles[0, channel])
        assert torch.equal(values.argsort(), before.argsort())


@pytest.mark.parametrize("count", [7, 400])
def test_any_number_of_quantiles(count: int) -> None:
    features, quantiles = (
        double_noise(1, 1, 8, 8),
        double_noise(1, 1, count, seed=1).sort(dim=2).values,
    )
    found = match_histograms(features, quantiles).flatten().numpy()
    ranks = scipy.stats.rankdata(features.flatten().numpy())
    expected = np.interp(
        (ranks - 0.5) / 64, (np.arange(count) + 0.5) / count, quantiles.flatten().numpy()
    )
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_a_picture_in_its_own_histogram_stays() -> None:
    features = double_noise(1, 3, 6, 7)
    torch.testing.assert_close(
        match_histograms(features, quantiles_of(features.flatten(2), 42)), features
    )


def test_ties_share_the_mean_of_their_ranks() -> None:
    features = torch.tensor([[[[3.0, 1.0, 3.0, 2.0], [3.0, 1.0, 9.0, 3.0]]]])
    quantiles = torch.arange(8.0).view(1, 1, 8)
    expected = [[4.5, 0.5, 4.5, 2.0], [4.5, 0.5, 7.0, 4.5]]
    assert match_histograms(features, quantiles).tolist() == [[expected]]


def test_a_plain_picture_becomes_the_median() -> None:
    quantiles = torch.tensor([[[0.0, 1.0, 10.0]]])
    found = match_histograms(torch.full((1, 1, 3, 4), 0.2), quantiles)
    assert torch.equal(found, torch.ones(1, 1, 3, 4))


def test_a_mask_leaves_the_others() -> None:
    features = double_noise(1, 2, 4, 6)
    before = features.clone()
    mask = torch.zeros(1, 1, 4, 6)
    mask[..., :3], mask[..., 3] = 1, 0.5
    quantiles = double_noise(1, 2, 12, seed=1).sort(dim=2).values
    found = match_histograms(features, quantiles, mask)
    assert torch.equal(found[..., 3:], features[..., 3:])
    torch.testing.assert_close(found[..., :3], match_histograms(features[..., :3], quantiles))
    assert torch.equal(features, before)
    assert torch.equal(match_histograms(features, quantiles, torch.zeros(1, 1, 4, 6)), features)


def test_half_precision_has_ranks_of_its_own() -> None:
    # 4096 values, more than bfloat16 counts to.
    features = torch.linspace(-1, 1, 4096).view(1, 1, 64, 64).bfloat16()
    quantiles = torch.linspace(0, 1, 4096).view(1, 1, -1)
    found = match_histograms(features, quantiles)
    exact = match_histograms(features.float(), quantiles)
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found, exact.bfloat16())
