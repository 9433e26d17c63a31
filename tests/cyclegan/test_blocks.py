import numpy as np
import torch
from torch import Tensor, nn

from impasto.cyclegan.blocks import (
    ResizeConv2d,
    ResnetBlock,
    SoftKuwahara,
    StrokeNoise,
    apply_together,
    is_per_sample,
    keep_in_range,
    smooth_resize_layer,
)


def noise(*shape: int, seed: int = 1) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1


class Counting(nn.Module):
    """Counts its passes."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner, self.passes = inner, 0

    def forward(self, x: Tensor) -> Tensor:
        self.passes += 1
        result: Tensor = self.inner(x)
        return result


def test_block_adds_its_input_and_does_not_clip() -> None:
    block = ResnetBlock(2)
    for parameter in block.parameters():
        nn.init.zeros_(parameter)
    x = noise(1, 2, 5, 4)
    torch.testing.assert_close(block(x), x, rtol=0, atol=0)


def test_resize_convolution_of_an_impulse() -> None:
    layer = ResizeConv2d(1, 1, bias=False)
    nn.init.ones_(layer.weight)
    x = torch.zeros(1, 1, 4, 4)
    x[0, 0, 1, 1] = 1
    with torch.no_grad():
        found = layer(x)[0, 0]
    # The pixel becomes 2 x 2, and a 3 x 3 box is summed around every place.
    profile = torch.tensor([0.0, 1, 2, 2, 1, 0, 0, 0])
    torch.testing.assert_close(found, torch.outer(profile, profile))


def test_smooth_resizing_leaves_no_steps_between_pixels() -> None:
    layer = smooth_resize_layer(1, 1, bias=False)
    convolution = layer[2]  # type: ignore[index]
    nn.init.dirac_(convolution.weight)
    ramp = torch.arange(6.0).expand(1, 1, 6, 6)
    with torch.no_grad():
        found = layer(ramp)[0, 0, 0, 1:-1]
    torch.testing.assert_close(found, torch.linspace(0.25, 4.75, 10))


def test_together_is_one_pass_with_the_same_numbers() -> None:
    network = Counting(ResnetBlock(3))
    inputs = [noise(2, 3, 6, 6, seed=1), noise(1, 3, 6, 6, seed=2), noise(3, 3, 6, 6, seed=3)]
    assert is_per_sample(network)
    together = apply_together(network, *inputs)
    assert network.passes == 1
    for image, output in zip(inputs, together, strict=True):
        torch.testing.assert_close(output, network(image))


def test_batch_norm_and_other_sizes_go_one_by_one() -> None:
    batch = Counting(ResnetBlock(3, norm="batch"))
    inputs = [noise(2, 3, 6, 6, seed=1), noise(2, 3, 6, 6, seed=2)]
    assert not is_per_sample(batch)
    found = apply_together(batch, *inputs)
    assert batch.passes == 2
    for image, output in zip(inputs, found, strict=True):
        torch.testing.assert_close(output, batch(image))
    sizes = Counting(ResnetBlock(3))
    outputs = apply_together(sizes, noise(1, 3, 6, 6), noise(1, 3, 8, 6))
    assert sizes.passes == 2
    assert [output.shape[2:] for output in outputs] == [(6, 6), (8, 6)]


def kuwahara_by_hand(image: np.ndarray) -> np.ndarray:
    """Weigh the means of four windows, pixel by pixel; (3, H, W)."""
    padded = np.pad(image, ((0, 0), (2, 2), (2, 2)), mode="reflect")
    result = np.zeros_like(image)
    for row in range(image.shape[1]):
        for column in range(image.shape[2]):
            means, weights = [], []
            for top in (row, row + 2):
                for left in (column, column + 2):
                    window = padded[:, top : top + 3, left : left + 3]
                    weights.append((100 * window.mean(axis=0).var() + 0.02) ** -4)
                    means.append(window.mean(axis=(1, 2)))
            result[:, row, column] = np.average(means, axis=0, weights=weights)
    return result


def test_kuwahara_weighs_the_flattest_of_four_windows_most() -> None:
    images = noise(2, 3, 7, 6)
    found = SoftKuwahara()(images)
    for image, smoothed in zip(images, found, strict=True):
        expected = kuwahara_by_hand(image.double().numpy())
        np.testing.assert_allclose(smoothed.numpy(), expected, atol=1e-4)


def test_kuwahara_keeps_an_edge_and_takes_texture_away() -> None:
    edge = torch.full((1, 3, 8, 8), -0.5)
    edge[..., 4:] = 0.5
    textured = edge + 0.04 * noise(1, 3, 8, 8)
    smoothed = SoftKuwahara()(textured)
    assert float((smoothed - edge).abs().max()) < 0.03
    assert float((smoothed - edge).std()) < float((textured - edge).std()) / 2


def test_kuwahara_lets_a_share_of_the_picture_through() -> None:
    images, base = noise(2, 3, 7, 6), SoftKuwahara()
    smoothed = base(images)
    base.photograph.fill_(0.25)
    torch.testing.assert_close(base(images), 0.75 * smoothed + 0.25 * images)
    earlier = {"sharpness": torch.tensor(4.0)}  # as files had it
    base.load_state_dict(earlier)
    assert torch.equal(base(images), smoothed)


def test_what_is_out_of_range_is_clamped_and_may_only_come_back() -> None:
    values = torch.tensor([-1.5, -1.5, 0.3, 1.5, 1.5], requires_grad=True)
    kept = keep_in_range(values)
    assert kept.tolist() == [-1, -1, values[2].item(), 1, 1]
    # Descent goes against the gradient: a positive one makes a value smaller.
    (gradient,) = torch.autograd.grad(kept, values, torch.tensor([2.0, -2.0, 5.0, 2.0, -2.0]))
    assert gradient.tolist() == [0, -2, 5, 2, 0]
    assert keep_in_range(values.detach()).tolist() == kept.tolist()


def test_noise_is_mixed_from_maps_of_unit_variance_and_three_grains() -> None:
    layer = StrokeNoise(3).eval()
    assert list(layer.state_dict()) == ["mix.weight"]
    nn.init.dirac_(layer.mix.weight)
    with torch.no_grad():
        found = layer(torch.ones(2, 3, 256, 256)) - 1
    torch.testing.assert_close(found[0], found[1])
    torch.testing.assert_close(found.std((2, 3), correction=0), torch.ones(2, 3))
    # Neighbors of noise smoothed by a Gaussian of sigma correlate by exp(-1 / (4 sigma^2)).
    beside = (found[0] * found[0].roll(1, 2)).mean((1, 2)).tolist()
    np.testing.assert_allclose(beside, [0, np.exp(-1 / 16), np.exp(-1 / 256)], atol=0.02)


def test_noise_repeats_after_256_positions_in_evaluation_and_differs_in_training() -> None:
    layer = StrokeNoise(2)
    features = noise(2, 2, 300, 8)
    with torch.no_grad():
        torch.manual_seed(3)
        first, second = layer(features), layer(features)
        torch.manual_seed(3)
        torch.testing.assert_close(layer(features), first, rtol=0, atol=0)
        assert (first - second).abs().max() > 0.1
        added = first - features
        assert (added[0] - added[1]).abs().max() > 0.1, "each picture has noise of its own"
        torch.testing.assert_close(added[:, :, :44], added[:, :, 256:])
        layer.eval()
        added = layer(features) - features
        torch.testing.assert_close(added[:, :, :44], added[:, :, 256:])
        rows = layer.rows(40, 290, 8).permute(2, 0, 1)
        torch.testing.assert_close(rows, added[0, :, 40:290])
        torch.testing.assert_close(rows, added[1, :, 40:290])
