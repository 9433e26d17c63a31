"""The stroke distance beside a brute force, and what it sees in pictures made for it."""

import math
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from impasto.cyclegan.evaluation.sets import (
    Settings,
    StrokeFeatures,
    crop_distance,
    make_stroke_features,
    stroke_distances,
    times_floor,
)
from impasto.cyclegan.evaluation.table import Candidate, Reference, Sample, evaluate
from impasto.gatys.features.lite import find_lite_weights, load_lite

Rgb = NDArray[np.uint8]
needs_lite = pytest.mark.skipif(find_lite_weights() is None, reason="no EfficientNet-Lite0")


def crops(count: int, *, seed: int, shift: float = 0.0) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(size=(count, 3)) + shift)


def samples_distance(real: torch.Tensor, other: torch.Tensor, count: int) -> float:
    """Draw samples of so many crops, and average their squared mean discrepancies."""
    generator = np.random.default_rng(0)

    def kernel(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
        return float(((x @ y.T / x.shape[1] + 1) ** 3).mean())

    found = []
    for _ in range(4000):
        x, y = (
            side.numpy()[generator.choice(len(side), count, replace=False)]
            for side in (real, other)
        )
        found.append(kernel(x, x) + kernel(y, y) - 2 * kernel(x, y))
    return float(np.mean(found))


def test_it_is_the_expectation_over_samples_of_as_many_crops(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("impasto.cyclegan.evaluation.sets._SAMPLE", 6)
    real, other = crops(18, seed=0), crops(23, seed=1, shift=0.4)
    assert crop_distance(real, other) == pytest.approx(samples_distance(real, other, 6), rel=0.03)


def test_of_few_crops_it_is_the_distance_of_all_of_them() -> None:
    real, other = crops(5, seed=2), crops(5, seed=3, shift=1.0)
    assert crop_distance(real, other) == pytest.approx(samples_distance(real, other, 5))
    assert crop_distance(real, real) == pytest.approx(0, abs=1e-12)


def test_large_sets_are_summed_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    real, other = crops(7, seed=4), crops(5, seed=5)
    whole = crop_distance(real, other)
    monkeypatch.setattr("impasto.cyclegan.evaluation.sets._ROWS", 4)
    assert crop_distance(real, other) == pytest.approx(whole, rel=1e-12)


def test_one_crop_has_no_distance() -> None:
    assert math.isnan(crop_distance(crops(1, seed=0), crops(5, seed=1)))


def test_the_mean_over_depths_is_geometric() -> None:
    assert times_floor({"a": 8.0, "b": 0.5}, {"a": 2.0, "b": 0.5}) == pytest.approx(2)
    assert times_floor({"a": 3.0}, {"a": 3.0}) == pytest.approx(1)
    assert math.isnan(times_floor({"a": 3.0}, {"a": -0.1}))
    assert math.isnan(times_floor({"a": math.nan}, {"a": 1.0}))


class Channels(torch.nn.Module):
    """A network whose every layer is the picture itself."""

    def forward(self, image: torch.Tensor, layers: Sequence[str]) -> dict[str, torch.Tensor]:
        return dict.fromkeys(layers, image)


def test_a_picture_becomes_means_and_deviations_of_its_four_crops() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (256, 256, 3), dtype=np.uint8)
    found = StrokeFeatures(Channels(), device=torch.device("cpu"))(picture)
    assert list(found) == ["strokes_1", "strokes_3", "strokes_5", "strokes_7"]
    lower_left = picture[128:, :128].reshape(-1, 3) / 255
    expected = [*lower_left.mean(axis=0), *lower_left.std(axis=0)]
    assert found["strokes_3"].shape == (4, 6)
    assert found["strokes_3"][2].tolist() == pytest.approx(expected, rel=1e-5)


def strokes_of(count: int, *, seed: int, long: bool) -> list[Rgb]:
    """Pictures of smooth noise: long marks in one direction, or round spots of equal contrast."""
    drawn = np.random.default_rng(seed).normal(size=(count, 128, 128, 3))
    sigmas = (0.7, 6.0, 0) if long else (2.0, 2.0, 0)
    smooth = [gaussian_filter(picture, sigmas) for picture in drawn]
    return [
        (128 + 40 * picture / picture.std()).clip(0, 255).astype(np.uint8) for picture in smooth
    ]


@needs_lite
def test_strokes_of_one_kind_are_at_the_floor_and_spots_are_not() -> None:
    def samples(pictures: list[Rgb]) -> list[Sample]:
        return [Sample(picture=picture) for picture in pictures]

    evaluation = evaluate(
        Reference(
            real=samples(strokes_of(6, seed=0, long=True)),
            others=samples(strokes_of(6, seed=1, long=True)),
            inputs=samples(strokes_of(6, seed=2, long=False)),
        ),
        [Candidate(name="long", pictures=samples(strokes_of(6, seed=3, long=True)))],
        settings=Settings(size_px=128, patches=512),
        strokes=make_stroke_features(torch.device("cpu")),
        best_by="strokes",
    )
    nothing, floor, result = (row.values["strokes"] for row in evaluation.rows)
    assert floor == 1
    assert 0.5 < result < 2
    assert nothing > 5


@needs_lite
def test_distances_are_those_of_the_network_s_own_layers() -> None:
    one, other = strokes_of(3, seed=0, long=True), strokes_of(3, seed=1, long=False)
    see = make_stroke_features(torch.device("cpu"))
    assert see is not None
    found = stroke_distances([see(p) for p in one], [see(p) for p in other])
    network = load_lite(layers=["block5.expand"])

    def vectors(pictures: list[Rgb]) -> torch.Tensor:
        listed = []
        for picture in pictures:
            image = torch.from_numpy(picture).permute(2, 0, 1)[None] / 255
            layer = network(image, ["block5.expand"])["block5.expand"][0].double().numpy()
            values = np.concatenate([layer.mean(axis=(1, 2)), layer.std(axis=(1, 2))])
            listed.append(torch.from_numpy(values))
        return torch.stack(listed)

    assert found["strokes_5"] == pytest.approx(crop_distance(vectors(one), vectors(other)))


def test_without_the_eye_there_is_no_stroke_distance() -> None:
    pictures = [Sample(picture=picture) for picture in strokes_of(3, seed=0, long=True)]
    evaluation = evaluate(
        Reference(real=pictures, others=pictures),
        [Candidate(name="a", pictures=pictures)],
        settings=Settings(size_px=32, patches=512),
    )
    assert not [key for row in evaluation.rows for key in row.values if "strokes" in key]
