import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from impasto.gatys.initial import (
    NOISE_DEVIATION,
    Start,
    initial_image,
    noise_image,
    picture_image,
    recoloured,
    statistics_image,
)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def colours(seed: int = 0) -> NDArray[np.uint8]:
    """A picture of correlated colours, away from the ends of the range."""
    generator = np.random.default_rng(seed)
    common = generator.normal(128, 20, size=(40, 50, 1))
    return (common + generator.normal(0, 8, size=(40, 50, 3)) * (1, 2, 0.5)).astype(np.uint8)


@pytest.mark.parametrize("start", ["content", "palette", "noise", "statistics", "file"])
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
    assert torch.equal(image, make(1)) == (start in {"content", "palette", "file"})


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


def moments_of(*pictures: NDArray[np.uint8]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    pixels = np.concatenate([picture.reshape(-1, 3) for picture in pictures]) / 255
    return pixels.mean(axis=0), np.cov(pixels.T, ddof=0)


def test_recoloured_pictures_have_the_moments_of_the_styles() -> None:
    picture, first = colours(), (colours(1) * 0.6 + 20).astype(np.uint8)
    second = (colours(2)[:20] * (0.5, 0.8, 0.7)).astype(np.uint8)
    found = recoloured(picture, [first])
    assert found.shape == picture.shape
    assert found.dtype == np.uint8
    mean, covariance = moments_of(found)
    wanted = moments_of(first)
    # Values are rounded: by 1/255, which adds a variance of a twelfth of its square.
    np.testing.assert_allclose(mean, wanted[0], atol=5e-4)
    np.testing.assert_allclose(covariance, wanted[1], atol=2e-5)
    # Pictures count by their weights, whatever their sizes: the second has half the pixels.
    mixed = moments_of(recoloured(picture, [first, second], weights=[1, 3]))
    pooled = moments_of(first, *[second] * 6)
    np.testing.assert_allclose(mixed[0], pooled[0], atol=1e-3)
    np.testing.assert_allclose(mixed[1], pooled[1], atol=1e-4)
    np.testing.assert_array_equal(
        recoloured(picture, [first, second], weights=[2, 0]), recoloured(picture, [first])
    )


def test_a_picture_in_its_own_palette_stays() -> None:
    difference = recoloured(colours(), [colours()]).astype(int) - colours()
    assert np.abs(difference).max() <= 1


def test_a_plain_style_gives_its_colour() -> None:
    plain = np.full((3, 3, 3), (255, 51, 0), dtype=np.uint8)
    assert (recoloured(colours(), [plain]) == plain[0, 0]).all()


def test_the_palette_start_is_the_recoloured_picture() -> None:
    styles = [colours(1), (colours(2) * 0.7).astype(np.uint8)]
    image = initial_image(
        "palette",
        height=24,
        width=30,
        generator=seeded(),
        picture=colours(),
        styles=styles,
        weights=[1, 2],
    )
    expected = picture_image(recoloured(colours(), styles, weights=[1, 2]), 24, 30)
    assert torch.equal(image, expected)
    assert not torch.equal(image, picture_image(colours(), 24, 30))


def test_what_is_missing_is_named() -> None:
    starts: list[Start] = ["content", "palette", "file"]
    for start in starts:
        with pytest.raises(ValueError, match=f"start {start}: expected a picture"):
            initial_image(start, height=8, width=8, generator=seeded())
    with pytest.raises(ValueError, match="at least one style"):
        initial_image("statistics", height=8, width=8, generator=seeded())
    with pytest.raises(ValueError, match="at least one style"):
        initial_image("palette", height=8, width=8, generator=seeded(), picture=colours())
    with pytest.raises(ValueError, match="got 'gray'"):
        initial_image("gray", height=8, width=8, generator=seeded())  # type: ignore[arg-type]
    for weights in ([1.0], [1.0, -1.0], [0.0, 0.0]):
        with pytest.raises(ValueError, match="weights: expected 2, none negative"):
            statistics_image([colours(), colours()], 4, 4, generator=seeded(), weights=weights)
        with pytest.raises(ValueError, match="weights: expected 2, none negative"):
            recoloured(colours(), [colours(), colours()], weights=weights)
