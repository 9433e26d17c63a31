import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from giverny.gatys.initial import (
    NOISE_DEVIATION,
    Start,
    initial_image,
    noise_image,
    picture_image,
    statistics_image,
)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def colours(seed: int = 0) -> NDArray[np.uint8]:
    """A picture of correlated colours, away from the ends of the range."""
    generator = np.random.default_rng(seed)
    common = generator.normal(128, 20, size=(40, 50, 1))
    return (common + generator.normal(0, 8, size=(40, 50, 3)) * (1, 2, 0.5)).astype(np.uint8)


@pytest.mark.parametrize("start", ["content", "noise", "statistics", "file"])
def test_every_start(start: Start) -> None:
    def make(seed: int) -> torch.Tensor:
        return initial_image(
            start,
            height=24,
            width=30,
            generator=seeded(seed),
            picture=colours(),
            styles=[colours(1)],
        )

    image = make(0)
    assert image.shape == (1, 3, 24, 30)
    assert image.dtype == torch.float32
    assert image.is_contiguous()
    assert image.min() >= 0
    assert image.max() <= 1
    assert torch.equal(image, make(0))
    assert torch.equal(image, make(1)) == (start in {"content", "file"})


def test_a_picture_keeps_its_values() -> None:
    picture = colours()
    image = picture_image(picture, 40, 50)
    expected = picture.astype(np.float32).transpose(2, 0, 1)[None] / np.float32(255)
    np.testing.assert_array_equal(image.numpy(), expected)
    mirrored = picture[:, ::-1]
    torch.testing.assert_close(picture_image(mirrored, 40, 50), image.flip(3))


def test_noise_has_the_documented_deviation() -> None:
    unclipped = noise_image(100, 100, generator=seeded(), deviation=0.05)
    assert unclipped.mean().item() == pytest.approx(0.5, abs=1e-3)
    assert unclipped.std().item() == pytest.approx(0.05, rel=0.02)
    noise = noise_image(200, 200, generator=seeded())
    clipped = ((noise == 0) | (noise == 1)).float().mean().item()
    assert NOISE_DEVIATION == 0.2
    assert clipped == pytest.approx(0.0124, abs=0.001)  # 2 (1 - Phi(2.5))


def test_statistics_are_those_of_the_styles() -> None:
    first, second = colours(1), (colours(2) * 0.7).astype(np.uint8)
    image = statistics_image([first, second], 300, 300, generator=seeded(), weights=[1, 3])
    found = image[0].flatten(1).numpy()
    # A collection with the second style three times is the same mixture.
    pixels = np.concatenate([p.reshape(-1, 3) for p in (first, second, second, second)]) / 255
    np.testing.assert_allclose(found.mean(axis=1), pixels.mean(axis=0), atol=2e-3)
    np.testing.assert_allclose(np.cov(found), np.cov(pixels.T), atol=3e-4)


def test_statistics_of_a_plain_style_are_its_colour() -> None:
    plain = np.full((8, 8, 3), (255, 51, 0), dtype=np.uint8)
    image = statistics_image([plain], 5, 5, generator=seeded())
    expected = torch.tensor([1.0, 0.2, 0.0]).view(1, 3, 1, 1).expand(1, 3, 5, 5)
    torch.testing.assert_close(image, expected, rtol=0, atol=1e-4)


def test_what_is_missing_is_named() -> None:
    starts: list[Start] = ["content", "file"]
    for start in starts:
        with pytest.raises(ValueError, match=f"start {start}: expected a picture"):
            initial_image(start, height=8, width=8, generator=seeded())
    with pytest.raises(ValueError, match="at least one style"):
        initial_image("statistics", height=8, width=8, generator=seeded())
    with pytest.raises(ValueError, match="got 'gray'"):
        initial_image("gray", height=8, width=8, generator=seeded())  # type: ignore[arg-type]
    for weights in ([1.0], [1.0, -1.0], [0.0, 0.0]):
        with pytest.raises(ValueError, match="weights: expected 2, none negative"):
            statistics_image([colours(), colours()], 4, 4, generator=seeded(), weights=weights)
