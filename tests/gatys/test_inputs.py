"""Tests."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from impasto.gatys.colors import match_colors
from impasto.gatys.features.pixels import Pixels
from impasto.gatys.inputs import (
    NOISE_DEVIATION,
    Pictures,
    Start,
    cut_frame,
    initial_image,
    noise_image,
    picture_image,
    read_pictures,
    recolor,
    regions_at,
    start_at,
    statistics_image,
)
from impasto.gatys.losses.objective import Objective
from impasto.gatys.losses.targets import Region, Style, feature_losses
from impasto.options.errors import FolderError, OptionError, PictureError
from impasto.options.stylize import StylizeOptions

Rgb = NDArray[np.uint8]
CPU = torch.device("cpu")


def colors(height: int, width: int, seed: int, tint: tuple[float, ...] = (1, 1, 1)) -> Rgb:
    small = np.random.default_rng(seed).integers(40, 216, (4, 5, 3)) * np.array(tint)
    picture = Image.fromarray(small.astype(np.uint8))
    return np.asarray(picture.resize((width, height), Image.Resampling.BICUBIC))


CONTENT = colors(30, 40, 0)
RED, BLUE = colors(24, 36, 1, (1, 0.3, 0.2)), colors(50, 20, 2, (0.1, 0.4, 1))
LEFT = np.zeros((30, 40), np.uint8)
LEFT[:, :16] = 255


@pytest.fixture
def read(tmp_path: Path) -> Callable[..., Pictures]:
    """Return a function that reads content and styles; names of files lie in ``tmp_path``."""
    for name, rgb in {"content": CONTENT, "red": RED, "blue": BLUE, "left": LEFT}.items():
        Image.fromarray(rgb).save(tmp_path / f"{name}.png")

    def make(*styles: str, masks: tuple[str, ...] = (), **changes: Any) -> Pictures:
        given = {
            "content": tmp_path / "content.png",
            "styles": [tmp_path / style for style in styles or ("red.png",)],
            "masks": [f"{tmp_path}/{mask}" for mask in masks],
        }
        return read_pictures(StylizeOptions(**{**given, **changes}))

    return make


def taken(region: Region) -> list[tuple[tuple[int, int], float]]:
    """Sizes and weights of the styles of a region."""
    return [((one.picture.shape[2], one.picture.shape[3]), one.weight) for one in region.styles]


def test_pictures_as_they_are(read: Callable[..., Pictures], tmp_path: Path) -> None:
    found = read("red.png", "blue.png")
    np.testing.assert_array_equal(found.content, CONTENT)
    assert [len(group) for group in found.styles] == [1, 1]
    np.testing.assert_array_equal(found.styles[0][0], RED)
    np.testing.assert_array_equal(found.styles[1][0], BLUE)
    assert (found.shares, found.regions, found.start) == ([0.5, 0.5], [], None)
    assert found.files == [tmp_path / name for name in ("content.png", "red.png", "blue.png")]


def test_shares_add_up_to_1(read: Callable[..., Pictures]) -> None:
    assert read("red.png", "blue.png", style_weights=[3, 1]).shares == [0.75, 0.25]
    assert read("red.png", "blue.png", style_weights=[0, 0.1]).shares == [0, 1]
    with pytest.raises(OptionError, match="--style_weights: all are 0; give at least one"):
        read("red.png", "blue.png", style_weights=[0, 0])


def test_collections_are_shrunk_to_what_is_needed(
    read: Callable[..., Pictures], picture_folder: Callable[..., Path], tmp_path: Path
) -> None:
    folder = picture_folder("monets", count=3, size=(60, 90))
    Image.fromarray(BLUE).save(folder / "small.png")
    found = read("monets", "red.png", size=64, style_scale=0.5)
    assert [rgb.shape for rgb in found.styles[0]] == [(21, 32, 3)] * 3 + [(32, 13, 3)]
    np.testing.assert_array_equal(found.styles[1][0], RED)
    assert [rgb.shape for rgb in read("monets", size=80).styles[0]][2:] == [(53, 80, 3), BLUE.shape]
    names = ["00.png", "01.png", "02.png", "small.png"]
    assert found.files[1:] == [*(folder / name for name in names), tmp_path / "red.png"]


def test_a_folder_of_one_picture_is_that_picture(
    read: Callable[..., Pictures], picture_folder: Callable[..., Path]
) -> None:
    picture_folder("one", count=1, size=(60, 90))
    assert read("one", size=32).styles[0][0].shape == (60, 90, 3)


def test_what_cannot_be_read(read: Callable[..., Pictures], tmp_path: Path) -> None:
    for options in (
        StylizeOptions(),
        StylizeOptions(content=tmp_path / "content.png"),
        StylizeOptions(styles=[tmp_path / "red.png"]),
    ):
        with pytest.raises(OptionError, match="expected a content picture and at least one style"):
            read_pictures(options)
    (tmp_path / "empty").mkdir()
    with pytest.raises(FolderError, match="empty"):
        read("empty")
    with pytest.raises(PictureError, match=r"nothing\.png"):
        read("nothing.png")
    Image.fromarray(LEFT[:, :20]).save(tmp_path / "narrow.png")
    with pytest.raises(PictureError, match="has 20 x 30 pixels, and the content 40 x 30"):
        read(masks=("narrow.png=red",))
    with pytest.raises(OptionError, match=r"--masks: .* green is no style"):
        read(masks=("left.png=green",))


# Colors of the content


def test_styles_in_the_content_s_colors(
    read: Callable[..., Pictures], picture_folder: Callable[..., Path]
) -> None:
    picture_folder("monets", count=2)
    for method in ("linear", "histogram"):
        found = read("red.png", "monets", keep_colors=method)
        expected = match_colors(RED / 255, CONTENT / 255, method)
        assert found.styles[0][0].dtype == np.uint8
        assert np.abs(found.styles[0][0] / 255 - expected).max() <= 0.5 / 255 + 1e-6
        assert [len(group) for group in found.styles] == [1, 2]
        for rgb in (found.styles[0][0], *found.styles[1]):
            np.testing.assert_allclose(rgb.mean(axis=(0, 1)), CONTENT.mean(axis=(0, 1)), atol=4)
        np.testing.assert_array_equal(found.content, CONTENT)
    for method in ("none", "luminance"):
        np.testing.assert_array_equal(read(keep_colors=method).styles[0][0], RED)


# Regions


def test_styles_are_never_enlarged(read: Callable[..., Pictures]) -> None:
    pictures = read("red.png", "blue.png", style_weights=[3, 1])

    def sizes(height: int, width: int, scale: float) -> list[tuple[int, int]]:
        (region,) = regions_at(pictures, height, width, style_scale=scale, device=CPU)
        assert region.mask is None
        assert [weight for _, weight in taken(region)] == [0.75, 0.25]
        return [size for size, _ in taken(region)]

    assert sizes(12, 18, 1.0) == [(12, 18), (18, 7)]
    assert sizes(18, 12, 0.5) == [(6, 9), (9, 4)]
    assert sizes(20, 40, 1.0) == [(24, 36), (40, 16)]
    assert sizes(500, 400, 2.0) == [(24, 36), (50, 20)]


def test_regions_can_be_read_again(read: Callable[..., Pictures]) -> None:
    (region,) = regions_at(read(), 12, 18, style_scale=1.0, device=CPU)
    (first,), (second,) = list(region.styles), list(region.styles)
    assert torch.equal(first.picture, second.picture)
    assert torch.equal(first.picture, picture_image(RED, 12, 18))


def test_a_collection_counts_as_much_as_one_picture(
    read: Callable[..., Pictures], picture_folder: Callable[..., Path]
) -> None:
    picture_folder("monets", count=4)
    (region,) = regions_at(read("monets", "red.png"), 20, 20, style_scale=1.0, device=CPU)
    assert [weight for _, weight in taken(region)] == [0.125] * 4 + [0.5]


def test_styles_without_weight_are_left_out(
    read: Callable[..., Pictures], picture_folder: Callable[..., Path]
) -> None:
    # More than wait to be mixed: the first mix would have no weight at all.
    picture_folder("monets", count=20, size=(8, 8))
    pictures = read("monets", "red.png", style_weights=[0, 1])
    regions = regions_at(pictures, 20, 20, style_scale=1.0, device=CPU)
    assert taken(regions[0]) == [((13, 20), 1.0)]
    network = Pixels()
    style = Style(regions=regions, layers={"pixels": 1.0})
    objective = Objective(network, feature_losses(network, style=style))
    red = picture_image(RED, 13, 20)
    assert objective(red)["style"].item() == pytest.approx(0, abs=1e-9)


def test_masks_divide_the_picture(read: Callable[..., Pictures], tmp_path: Path) -> None:
    pictures = read("red.png", "blue.png", masks=("left.png=blue",))
    assert pictures.files[-1] == tmp_path / "left.png"
    blue, red = regions_at(pictures, 15, 20, style_scale=1.0, device=CPU)
    assert (blue.name, red.name) == ("left.png", "rest")
    assert [size for size, _ in taken(blue)] == [(20, 8)]
    assert [size for size, _ in taken(red)] == [(13, 20)]
    assert blue.mask is not None
    assert red.mask is not None
    assert blue.mask.shape == red.mask.shape == (1, 1, 15, 20)
    torch.testing.assert_close(blue.mask + red.mask, torch.ones(1, 1, 15, 20), rtol=0, atol=4e-5)
    assert (blue.mask[..., :7] == 1).all()
    assert (blue.mask[..., 9:] == 0).all()
    full, _ = regions_at(pictures, 30, 40, style_scale=1.0, device=CPU)
    assert full.mask is not None
    np.testing.assert_array_equal(full.mask[0, 0].numpy(), LEFT / 255)


def test_what_is_untouched_has_no_region(read: Callable[..., Pictures]) -> None:
    pictures = read(masks=("left.png=untouched",))
    (region,) = regions_at(pictures, 30, 40, style_scale=1.0, device=CPU)
    assert region.name == "rest"
    assert region.mask is not None
    np.testing.assert_array_equal(region.mask[0, 0].numpy(), 1 - LEFT / 255.0)
    both = read(masks=("left.png=red",), mask_rest="untouched")
    (region,) = regions_at(both, 30, 40, style_scale=1.0, device=CPU)
    assert region.name == "left.png"


# Start


def test_starts_without_masks(read: Callable[..., Pictures], tmp_path: Path) -> None:
    Image.fromarray(BLUE).save(tmp_path / "before.png")
    pictures = read("red.png", "blue.png", init="file", init_image=tmp_path / "before.png")
    assert pictures.files[-1] == tmp_path / "before.png"
    assert torch.equal(
        start_at(pictures, "content", 15, 20, seed=0), picture_image(CONTENT, 15, 20)
    )
    assert torch.equal(start_at(pictures, "file", 15, 20, seed=0), picture_image(BLUE, 15, 20))
    palette = picture_image(recolor(CONTENT, [RED, BLUE]), 15, 20)
    assert torch.equal(start_at(pictures, "palette", 15, 20, seed=0), palette)
    for start in ("noise", "statistics"):
        image = start_at(pictures, start, 15, 20, seed=4)
        assert image.shape == (1, 3, 15, 20)
        again, other = (start_at(pictures, start, 15, 20, seed=seed) for seed in (4, 5))
        assert torch.equal(image, again)
        assert not torch.equal(image, other)


def test_the_palette_counts_styles_by_their_shares(
    read: Callable[..., Pictures], picture_folder: Callable[..., Path]
) -> None:
    picture_folder("monets", count=3)
    pictures = read("red.png", "monets", style_weights=[1, 3])
    styles = [RED, *pictures.styles[1]]
    expected = recolor(CONTENT, styles, weights=[1, 1, 1, 1])
    found = start_at(pictures, "palette", 30, 40, seed=0)
    assert torch.equal(found, picture_image(expected, 30, 40))


@pytest.mark.parametrize("start", ["palette", "statistics"])
def test_with_masks_each_region_starts_in_its_own_colors(
    start: Any, read: Callable[..., Pictures]
) -> None:
    pictures = read("red.png", "blue.png", masks=("left.png=blue",))
    found = start_at(pictures, start, 30, 40, seed=3)
    assert found.shape == (1, 3, 30, 40)
    for name, columns in (("blue.png", slice(0, 16)), ("red.png", slice(16, 40))):
        alone = start_at(read(name), start, 30, 40, seed=3)
        torch.testing.assert_close(found[..., columns], alone[..., columns])


@pytest.mark.parametrize("start", ["palette", "statistics"])
def test_what_is_untouched_starts_as_the_content(start: Any, read: Callable[..., Pictures]) -> None:
    found = start_at(read(masks=("left.png=untouched",)), start, 30, 40, seed=3)
    content = picture_image(CONTENT, 30, 40)
    torch.testing.assert_close(found[..., :16], content[..., :16])
    alone = start_at(read(), start, 30, 40, seed=3)
    torch.testing.assert_close(found[..., 16:], alone[..., 16:])


def test_other_starts_know_no_masks(read: Callable[..., Pictures]) -> None:
    masked = read("red.png", "blue.png", masks=("left.png=blue",))
    plain = read("red.png", "blue.png")
    for start in ("content", "noise"):
        found, expected = (start_at(one, start, 15, 20, seed=1) for one in (masked, plain))
        assert torch.equal(found, expected)


def test_soft_edges_blend_two_starts(read: Callable[..., Pictures], tmp_path: Path) -> None:
    gray = np.full((30, 40), 51, np.uint8)
    Image.fromarray(gray).save(tmp_path / "grey.png")
    pictures = read("red.png", "blue.png", masks=("grey.png=blue",))
    found = start_at(pictures, "palette", 30, 40, seed=0)
    blue, red = (
        start_at(read(name), "palette", 30, 40, seed=0) for name in ("blue.png", "red.png")
    )
    torch.testing.assert_close(found, 0.2 * blue + 0.8 * red, rtol=0, atol=1e-4)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def colors_of(seed: int = 0) -> NDArray[np.uint8]:
    """A picture of correlated colors_of, away from the ends of the range."""
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
            picture=colors_of(),
            styles=[colors_of(1)],
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
    picture = colors_of()
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
    first, second = colors_of(1), (colors_of(2) * 0.7).astype(np.uint8)
    image = statistics_image([first, second], 300, 300, generator=seeded(), weights=[1, 3])
    found = image[0].flatten(1).numpy()
    # A collection with the second style three times is the same mixture.
    pixels = np.concatenate([p.reshape(-1, 3) for p in (first, second, second, second)]) / 255
    np.testing.assert_allclose(found.mean(axis=1), pixels.mean(axis=0), atol=2e-3)
    np.testing.assert_allclose(np.cov(found), np.cov(pixels.T), atol=3e-4)


def test_statistics_of_a_plain_style_are_its_color() -> None:
    plain = np.full((8, 8, 3), (255, 51, 0), dtype=np.uint8)
    image = statistics_image([plain], 5, 5, generator=seeded())
    expected = torch.tensor([1.0, 0.2, 0.0]).view(1, 3, 1, 1).expand(1, 3, 5, 5)
    torch.testing.assert_close(image, expected, rtol=0, atol=1e-4)


def moments_of(*pictures: NDArray[np.uint8]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    pixels = np.concatenate([picture.reshape(-1, 3) for picture in pictures]) / 255
    return pixels.mean(axis=0), np.cov(pixels.T, ddof=0)


def test_recolored_pictures_have_the_moments_of_the_styles() -> None:
    picture, first = colors_of(), (colors_of(1) * 0.6 + 20).astype(np.uint8)
    second = (colors_of(2)[:20] * (0.5, 0.8, 0.7)).astype(np.uint8)
    found = recolor(picture, [first])
    assert found.shape == picture.shape
    assert found.dtype == np.uint8
    mean, covariance = moments_of(found)
    wanted = moments_of(first)
    # Values are rounded: by 1/255, which adds a variance of a twelfth of its square.
    np.testing.assert_allclose(mean, wanted[0], atol=5e-4)
    np.testing.assert_allclose(covariance, wanted[1], atol=2e-5)
    # Pictures count by their weights, whatever their sizes: the second has half the pixels.
    mixed = moments_of(recolor(picture, [first, second], weights=[1, 3]))
    pooled = moments_of(first, *[second] * 6)
    np.testing.assert_allclose(mixed[0], pooled[0], atol=1e-3)
    np.testing.assert_allclose(mixed[1], pooled[1], atol=1e-4)
    np.testing.assert_array_equal(
        recolor(picture, [first, second], weights=[2, 0]), recolor(picture, [first])
    )


def test_a_picture_in_its_own_palette_stays() -> None:
    difference = recolor(colors_of(), [colors_of()]).astype(int) - colors_of()
    assert np.abs(difference).max() <= 1


def test_a_plain_style_gives_its_color() -> None:
    plain = np.full((3, 3, 3), (255, 51, 0), dtype=np.uint8)
    assert (recolor(colors_of(), [plain]) == plain[0, 0]).all()


def test_the_palette_start_is_the_recolored_picture() -> None:
    styles = [colors_of(1), (colors_of(2) * 0.7).astype(np.uint8)]
    image = initial_image(
        "palette",
        height=24,
        width=30,
        generator=seeded(),
        picture=colors_of(),
        styles=styles,
        weights=[1, 2],
    )
    expected = picture_image(recolor(colors_of(), styles, weights=[1, 2]), 24, 30)
    assert torch.equal(image, expected)
    assert not torch.equal(image, picture_image(colors_of(), 24, 30))


def test_what_is_missing_is_named() -> None:
    starts: list[Start] = ["content", "palette", "file"]
    for start in starts:
        with pytest.raises(ValueError, match=f"start {start}: expected a picture"):
            initial_image(start, height=8, width=8, generator=seeded())
    with pytest.raises(ValueError, match="at least one style"):
        initial_image("statistics", height=8, width=8, generator=seeded())
    with pytest.raises(ValueError, match="at least one style"):
        initial_image("palette", height=8, width=8, generator=seeded(), picture=colors_of())
    with pytest.raises(ValueError, match="got 'gray'"):
        initial_image("gray", height=8, width=8, generator=seeded())  # type: ignore[arg-type]
    for weights in ([1.0], [1.0, -1.0], [0.0, 0.0]):
        with pytest.raises(ValueError, match="weights: expected 2, none negative"):
            statistics_image([colors_of(), colors_of()], 4, 4, generator=seeded(), weights=weights)
        with pytest.raises(ValueError, match="weights: expected 2, none negative"):
            recolor(colors_of(), [colors_of(), colors_of()], weights=weights)


def _painting(height: int, width: int) -> Rgb:
    return np.random.default_rng(3).integers(0, 140, (height, width, 3), dtype=np.uint8)


def test_a_plain_frame_is_cut_off() -> None:
    inner = _painting(100, 80)
    framed = np.full((120, 100, 3), 240, np.uint8)
    framed[8:108, 12:92] = inner
    shown = cut_frame(framed)
    # All of the frame, and at most two lines more of each side.
    assert shown.mean() < 75
    assert 100 >= shown.shape[0] >= 96
    assert 80 >= shown.shape[1] >= 76
    # A mount around a margin: one frame in another.
    mounted = np.full((128, 108, 3), 90, np.uint8)
    mounted[4:124, 4:104] = framed
    assert cut_frame(mounted).shape[0] <= 100


def test_what_is_no_frame_stays() -> None:
    painting = _painting(100, 80)
    assert cut_frame(painting) is painting
    plain = np.full((60, 60, 3), 128, np.uint8)
    assert cut_frame(plain) is plain
    # A sky that ends in a jagged line, and one that fades.
    sky = np.full((100, 80, 3), 220, np.uint8)
    for column in range(80):
        sky[4 + column % 40 :, column] = painting[4 + column % 40 :, column]
    assert cut_frame(sky) is sky
    fading = np.linspace(250, 0, 100)[:, None, None] * np.ones((1, 80, 3))
    assert cut_frame(fading.astype(np.uint8)).shape == (100, 80, 3)
    # A third of the picture is no frame, however plain.
    deep = painting.copy()
    deep[:33] = 250
    assert cut_frame(deep) is deep
    tiny = _painting(3, 3)
    assert cut_frame(tiny) is tiny
