"""All measures of candidates and references, on small pictures made for it."""

import csv
import io
import json
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from impasto.cyclegan.evaluation.page import sentences_of
from impasto.cyclegan.evaluation.sets import Settings, compare_sets, summarize
from impasto.cyclegan.evaluation.table import (
    Candidate,
    Evaluation,
    Reference,
    Row,
    Sample,
    StyleSet,
    closed,
    evaluate,
    is_blind,
)
from impasto.cyclegan.jobs.evaluate import as_csv, as_json
from impasto.options.evaluate import EvaluateOptions

Rgb = NDArray[np.uint8]
SMALL = Settings(size_px=32, patches=512)


class Colors:
    """An extractor without a network: mean and deviation of each channel."""

    name = "colours"
    short = "colours"

    def __call__(self, pictures: list[Rgb], /) -> torch.Tensor:
        values = np.stack([picture.reshape(-1, 3) / 255 for picture in pictures])
        return torch.from_numpy(np.concatenate([values.mean(1), values.std(1)], axis=1)).float()


def noise(count: int, *, seed: int, sigma: float = 0.0, side: int = 64) -> list[Rgb]:
    drawn = np.random.default_rng(seed).normal(size=(count, side, side, 3))
    smooth = [gaussian_filter(picture, (sigma, sigma, 0)) for picture in drawn]
    return [
        (128 + 40 * picture / picture.std()).clip(0, 255).astype(np.uint8) for picture in smooth
    ]


def samples(pictures: Sequence[Rgb], inputs: Sequence[Rgb] | None = None) -> list[Sample]:
    if inputs is None:
        return [Sample(picture=picture) for picture in pictures]
    return [Sample(picture=p, before=b) for p, b in zip(pictures, inputs, strict=True)]


@pytest.fixture(scope="module")
def reference() -> Reference:
    """Smooth pictures are real, rough ones are the inputs."""
    return Reference(
        real=samples(noise(6, seed=0, sigma=2)),
        others=samples(noise(6, seed=1, sigma=2)),
        inputs=samples(noise(6, seed=2)),
    )


def test_references_come_first_and_results_between_them_close_a_share(
    reference: Reference,
) -> None:
    halfway = [gaussian_filter(s.picture, (0.6, 0.6, 0)) for s in reference.inputs or []]
    there = noise(6, seed=3, sigma=2)
    rows: list[str] = []
    evaluation = evaluate(
        reference,
        [
            Candidate(name="halfway", pictures=samples(halfway)),
            Candidate(name="there", pictures=samples(there)),
        ],
        settings=Settings(size_px=64, patches=1024),
        on_row=lambda row: rows.append(row.name),
    )
    assert [row.kind for row in evaluation.rows] == ["nothing", "floor", "result", "result"]
    assert rows == [row.name for row in evaluation.rows]
    assert (evaluation.best, evaluation.best_by) == ("there", "swd")
    shares = [closed(evaluation, row, "swd") for row in evaluation.rows]
    assert shares[:2] == [0, 1]
    assert shares[2] is not None
    assert shares[3] is not None
    assert 0.02 < shares[2] < shares[3] - 0.2


def test_results_are_compared_with_inputs_of_their_size_only() -> None:
    inputs = [*noise(3, seed=2), *noise(1, seed=9, side=8)]
    results = [inputs[0], inputs[1] // 2 + 40, inputs[2][:40], inputs[3]]
    listed = samples(results, inputs)
    listed[1] = Sample(picture=results[1], before=inputs[1], back=inputs[1])
    real = samples(noise(4, seed=0))
    evaluation = evaluate(
        Reference(real=real, others=real),
        [Candidate(name="a", pictures=listed)],
        settings=SMALL,
    )
    assert evaluation.nothing is None
    (row,) = evaluation.results
    assert (row.pictures, row.paired, row.unequal, row.enlarged) == (4, 2, 1, 1)
    assert row.values["psnr"] == math.inf
    assert 0.5 < row.values["ssim"] < 1
    assert row.values["edges"] == pytest.approx(1, abs=0.01)
    assert row.values["cycle_ssim"] == pytest.approx(1)
    said = " ".join(sentences_of(evaluation, []))
    assert "1 of 4 pictures of a have another size than their input" in said
    assert "1 of 4 in a are smaller than the squares" in said


def test_features_bring_kid_and_fid_and_choose_the_best(reference: Reference) -> None:
    dark = [picture // 2 for picture in noise(6, seed=3, sigma=2)]
    light = noise(6, seed=4)
    evaluation = evaluate(
        reference,
        [
            Candidate(name="dark", pictures=samples(dark)),
            Candidate(name="light", pictures=samples(light)),
        ],
        settings=SMALL,
        extractor=Colors(),
    )
    assert (evaluation.best, evaluation.best_by) == ("light", "kid")
    for row in evaluation.rows:
        assert {"kid", "kid_spread", "fid"} <= set(row.values)
    by_swd = evaluate(
        reference,
        [
            Candidate(name="dark", pictures=samples(dark)),
            Candidate(name="l", pictures=samples(light)),
        ],
        settings=SMALL,
        best_by="swd",
    )
    assert by_swd.best == "dark"  # which SWD sees as well as light ones


def test_every_picture_is_told_with_its_row(reference: Reference) -> None:
    told: list[str] = []
    candidate = Candidate(name="a", pictures=reference.others or [])
    evaluate(reference, [candidate], settings=SMALL, on_sample=lambda row, _: told.append(row))
    assert {row: told.count(row) for row in told} == {
        "real pictures": 6,
        "do nothing": 6,
        "floor (other real pictures)": 6,
        "a": 6,
    }


def test_names_must_differ_and_sets_hold_something(reference: Reference) -> None:
    same = Candidate(name="a", pictures=reference.others or [])
    with pytest.raises(ValueError, match="names that differ"):
        evaluate(reference, [same, same], settings=SMALL)
    with pytest.raises(ValueError, match="at least one in every set"):
        evaluate(reference, [Candidate(name="a", pictures=[])], settings=SMALL)


def row(name: str, kind: str, *, pictures: int = 200, **values: float) -> Row:
    return Row(
        name=name,
        kind=kind,  # type: ignore[arg-type]
        pictures=pictures,
        paired=0,
        unequal=0,
        enlarged=0,
        values={"swd": 1.0, "palette": 1.0, **values},
    )


def made(*rows: Row, best: str | None = None) -> Evaluation:
    return Evaluation(
        rows=rows, real_pictures=200, real_enlarged=0, best_by="swd", best=best or rows[-1].name
    )


def test_blind_measures_and_shares_are_said_in_words() -> None:
    evaluation = made(
        row("do nothing", "nothing", swd=100.0, palette=3.0),
        row("floor", "floor", swd=50.0, palette=3.0),
        row("a", "result", swd=60.0, palette=9.0),
    )
    assert sentences_of(evaluation, [Candidate(name="a", pictures=[], notes=["it rains"])]) == [
        "a has gone 80% in SWD of the way from the untouched inputs to other real pictures.",
        "palette is blind here, so its numbers say nothing about results: it finds the untouched "
        "inputs as near to the real pictures as other real pictures are.",
        "it rains.",
    ]
    assert closed(evaluation, evaluation.results[0], "palette") is None


def test_a_blind_measure_calls_nothing_the_best(reference: Reference) -> None:
    # The inputs are of the kind of the real pictures, and the "other real ones" are not.
    turned = replace(reference, others=reference.inputs, inputs=reference.others)
    candidates = [Candidate(name=name, pictures=reference.others or []) for name in "ab"]
    evaluation = evaluate(turned, candidates, settings=SMALL)
    assert evaluation.best is None
    sentences = sentences_of(evaluation, [])
    assert sentences[0].startswith("No result is called the best, as SWD is blind here")
    assert not any("Best by" in sentence for sentence in sentences)
    rows = (
        row("do nothing", "nothing", swd=50.0, palette=3.0),
        row("floor", "floor", swd=50.0, palette=2.0),
    )
    result = row("a", "result", swd=1.0, palette=2.5)
    two = made(*rows, result, row("b", "result"), best="a")
    assert sentences_of(two, [])[0] == (
        "No result is called the best, as SWD is blind here; --best_by palette would choose."
    )
    # Of a single result it is still said how far it has gone in what is not blind.
    assert sentences_of(made(*rows, result), [])[0].startswith("a has gone 50% in palette of")


def test_nobody_calls_a_measure_blind_that_the_floor_s_size_makes_large() -> None:
    rows = (
        row("do nothing", "nothing", swd=50.0, kid=0.0, strokes=0.9),
        row("floor", "floor", pictures=10, swd=60.0, kid=0.0, strokes=1.0),
    )
    evaluation = made(*rows, row("a", "result"), row("b", "result", swd=0.5))
    assert [is_blind(evaluation, name) for name in ("swd", "strokes", "kid")] == [
        False,
        False,
        True,
    ]
    sentences = sentences_of(evaluation, [])
    assert sentences[0] == "Best by SWD: b."
    (said,) = [text for text in sentences if text.startswith("Not known")]
    assert "told from real pictures by SWD, strokes, palette: the inputs" in said
    assert "only 10 pictures beside 200" in said
    # Fewer inputs make these measures larger for them: as near as the floor all the same.
    fewer = made(replace(rows[0], pictures=10), replace(rows[1], pictures=200), row("a", "result"))
    assert is_blind(fewer, "swd")
    assert not any(text.startswith("Not known") for text in sentences_of(fewer, []))


def test_a_measure_without_a_number_is_not_called_blind() -> None:
    evaluation = made(
        row("do nothing", "nothing", kid=math.nan, strokes=math.nan, palette=2.0),
        row("floor", "floor", kid=0.0, strokes=math.nan),
        row("a", "result", swd=0.5),
    )
    assert not any(is_blind(evaluation, name) for name in ("kid", "strokes", "fid", "style"))


def test_sets_of_other_sizes_have_no_share_of_measures_that_fewer_pictures_make_larger() -> None:
    def rows(floor: int, result: int) -> Evaluation:
        return made(
            row("do nothing", "nothing", swd=100.0, kid=1.0),
            row("floor", "floor", pictures=floor, swd=50.0, kid=0.0),
            row("a", "result", pictures=result, swd=60.0, kid=0.5),
        )

    for counts in ((100, 200), (200, 100), (100, 100)):
        unequal = rows(*counts)
        assert closed(unequal, unequal.results[0], "swd") is None
        assert closed(unequal, unequal.results[0], "kid") == 0.5
        said = sentences_of(unequal, [])
        assert "Rows have 100 to 200 pictures, and fewer make SWD, palette larger" in said[-1]
    about = rows(190, 195)
    assert closed(about, about.results[0], "swd") == pytest.approx(0.8)
    assert not any("Rows have" in sentence for sentence in sentences_of(about, []))


def test_a_checkerboard_is_said() -> None:
    evaluation = made(
        row("do nothing", "nothing", grid_2=1.5, grid_4=1.0),
        row("floor", "floor", grid_2=1.5, grid_4=1.0),
        row("a", "result", grid_2=6.0, grid_4=1.9),
    )
    said = [sentence for sentence in sentences_of(evaluation, []) if "grid" in sentence]
    assert said == ["a draws a grid of 2 px: its spectral peak is 4.0 times that of its inputs."]


def test_json_holds_no_infinity_and_all_options() -> None:
    evaluation = made(
        row("do nothing", "nothing", swd=2.0),
        row("floor", "floor", swd=1.0),
        row("a\udcff", "result", swd=math.nan, psnr=math.inf),
    )
    options = EvaluateOptions(real=Path("testA"), seed=3)
    text = as_json(evaluation, options, facts={"a": "b"}, sentences=[], extractor="x")
    read = json.loads(text, parse_constant=pytest.fail)
    result = read["rows"][2]
    assert (result["swd"], result["psnr"], result["closed"]["swd"]) == (None, None, None)
    assert (result["name"], result["pictures"]) == ("a?", 200)
    assert read["options"]["patches"] == 16384
    assert (read["seed"], read["extractor"], read["facts"]) == (3, "x", {"a": "b"})


def test_a_candidate_without_finite_values_is_never_the_best(reference: Reference) -> None:
    class Broken(Colors):
        def __call__(self, pictures: list[Rgb], /) -> torch.Tensor:
            return super().__call__(pictures) * (math.nan if pictures[0].mean() < 50 else 1)

    black = [np.zeros((64, 64, 3), np.uint8)] * 4
    candidates = [
        Candidate(name="black", pictures=samples(black)),
        Candidate(name="fine", pictures=reference.others or []),
    ]
    evaluation = evaluate(reference, candidates, settings=SMALL, extractor=Broken())
    assert math.isnan(evaluation.results[0].values["kid"])
    assert evaluation.best == "fine"
    alone = evaluate(reference, candidates[:1], settings=SMALL, extractor=Broken())
    assert alone.best is None


def test_sets_of_one_seed_give_one_number_and_equal_sets_none() -> None:
    first = summarize(noise(3, seed=0), SMALL, count=3)
    again = summarize(noise(3, seed=0), SMALL, count=3)
    values = compare_sets(first, again, SMALL)
    assert values["swd"] == values["palette"] == 0
    other = summarize(noise(4, seed=1), SMALL, count=4)
    assert compare_sets(first, other, SMALL) == compare_sets(again, other, SMALL)


class Grays:
    """A comparison without a network: by mean and by deviation."""

    name = "grays, two of them"
    short = "grays"

    def content_distance(self, picture: Rgb, other: Rgb, /) -> float:
        assert picture.shape == other.shape == (32, 32, 3)
        return float(abs(picture.mean() - other.mean()) / 255)

    def statistics(self, pictures: Sequence[Rgb], /) -> float:
        return float(np.mean([picture.std() for picture in pictures]))

    def style_distance(self, picture: float, style: float, /) -> float:
        return abs(picture - style) / (style or 1)


def halves(left: int, right: int, side: int = 32) -> Rgb:
    """Left and right half of one gray each: deviation is half of their difference."""
    picture = np.full((side, side, 3), left, np.uint8)
    picture[:, side // 2 :] = right
    return picture


def test_stylized_pictures_have_style_and_content_distances_and_their_product() -> None:
    content = halves(100, 100)
    day, night = halves(100, 200), halves(0, 20)  # deviations of 50 and 10
    results = [
        Sample(
            picture=halves(60, 140), style="day", before=content, name="a"
        ),  # 40, content as bright
        Sample(
            picture=halves(100, 120, side=64), style="night", before=content, name="a"
        ),  # 10, 10 brighter
        Sample(picture=halves(70, 130), before=content, name="a"),  # 30: both styles together
    ]
    told: list[str] = []
    evaluation = evaluate(
        Reference(
            inputs=samples([content]),
            styles=[
                StyleSet(name="day", pictures=samples([day])),
                StyleSet(name="night", pictures=samples([night, halves(0, 40)])),  # 10 and 20
            ],
        ),
        [Candidate(name="a", pictures=results)],
        settings=SMALL,
        comparison=Grays(),
        on_sample=lambda row, _: told.append(row),
    )
    assert [row.kind for row in evaluation.rows] == ["nothing", "style", "result"]
    nothing, floor, result = evaluation.rows
    # Styles: 50; 15 of two pictures; 80 / 3 of all three together.
    every = 80 / 3
    expected = np.mean([10 / 50, 5 / 15, abs(30 - every) / every])
    # One of them is reduced, which blurs the edge in it.
    assert result.values["style"] == pytest.approx(expected, rel=0.02)
    assert result.values["content"] == pytest.approx(10 / 255 / 3)
    product = (1 + result.values["style"] / 0.375) * (1 + 10 / 255 / 3)
    assert result.values["combined"] == pytest.approx(product)
    assert (result.paired, result.unequal) == (2, 1)
    assert nothing.values["content"] == 0
    assert nothing.values["style"] == 1
    assert nothing.values["combined"] == pytest.approx(1 + 1 / 0.375)
    # Halves of the only picture of a style are flat; the two of the other are of 10 and 20.
    assert floor.values["style"] == pytest.approx((0 + 0 + 10 / 20 + 10 / 10) / 4)
    assert (evaluation.best, evaluation.best_by) == ("a", "combined")
    assert evaluation.headings["style"] == "style (grays)"
    assert {name: told.count(name) for name in told} == {"styles": 3, "do nothing": 1, "a": 3}
    assert "swd" not in result.values
    share = (1 - result.values["style"]) / (1 - floor.values["style"])
    assert closed(evaluation, result, "style") == pytest.approx(share)


class Sizes(Grays):
    """A style distance that is nothing but bias: the larger, the fewer pixels."""

    def statistics(self, pictures: Sequence[Rgb], /) -> float:
        return float(sum(picture.size for picture in pictures))

    def style_distance(self, picture: float, style: float, /) -> float:
        return 1000 / picture + 1000 / style


@pytest.mark.parametrize(("comparison", "blind"), [(Sizes(), True), (Grays(), False)])
@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_style_measure_is_blind_by_parts_as_large_as_the_floor_s(
    comparison: Grays, count: int, *, blind: bool
) -> None:
    pictures = [halves(50, 100) // 2 + noise(1, seed=n, side=32)[0] // 2 for n in range(count)]
    content = halves(100, 100)
    evaluation = evaluate(
        Reference(
            inputs=samples([content]), styles=[StyleSet(name="s", pictures=samples(pictures))]
        ),
        [
            Candidate(name=name, pictures=samples([picture], [content]))
            for name, picture in (("a", content), ("b", pictures[0]))
        ],
        settings=SMALL,
        comparison=comparison,
    )
    nothing, floor = evaluation.nothing, evaluation.style_floor
    assert nothing is not None
    assert floor is not None
    assert evaluation.best_by == "combined"
    assert is_blind(evaluation, "style") is is_blind(evaluation, "combined") is blind
    assert evaluation.best == (None if blind else "b")
    sentences = sentences_of(evaluation, [])
    assert (
        any("as near to the styles as parts of the styles" in said for said in sentences) is blind
    )
    if blind:
        # The bias alone, and all of it: the same for the inputs in such parts.
        assert nothing.values["style_parts"] == pytest.approx(floor.values["style"])
        assert sentences[0] == "No result is called the best, as combined (grays) is blind here."


def test_parts_of_the_styles_are_their_floor() -> None:
    pair = [halves(0, 20), halves(0, 40)]  # deviations of 10 and 20
    evaluation = evaluate(
        Reference(styles=[StyleSet(name="s", pictures=samples(pair))]),
        [Candidate(name="a", pictures=samples([halves(0, 30)]))],
        settings=SMALL,
        comparison=Grays(),
    )
    floor = evaluation.style_floor
    assert floor is not None
    assert floor.values == {"style": pytest.approx((10 / 20 + 10 / 10) / 2)}
    assert (evaluation.best_by, floor.pictures) == ("style", 2)
    assert evaluation.floor is None
    assert "content" not in evaluation.results[0].values
    sentences = sentences_of(evaluation, [])
    assert sentences == []


def test_with_real_pictures_results_have_content_distances_too(reference: Reference) -> None:
    inputs = [sample.picture for sample in reference.inputs or []]
    results = samples([picture // 2 for picture in inputs], inputs)
    evaluation = evaluate(
        reference,
        [Candidate(name="a", pictures=results)],
        settings=SMALL,
        extractor=Colors(),
        comparison=Grays(),
    )
    (row,) = evaluation.results
    assert row.values["content"] == pytest.approx(0.25, abs=0.01)
    assert all("content" not in other.values for other in evaluation.rows[:-1])
    assert {"precision", "recall"} <= set(row.values)
    assert evaluation.best_by == "kid"
    assert evaluation.headings["kid"] == "KID (colours)"
    (said,) = [text for text in sentences_of(evaluation, []) if "papers print" in text]
    assert said.startswith(
        "KID (colours), FID (colours), precision (colours) and recall (colours) are not what"
    )


def test_what_cannot_be_compared_is_refused() -> None:
    one = samples([halves(0, 20)])
    with pytest.raises(ValueError, match="real pictures or styles"):
        evaluate(Reference(), [Candidate(name="a", pictures=one)], comparison=Grays())
    styles = [StyleSet(name="s", pictures=one)]
    with pytest.raises(ValueError, match="expected one, since there are styles"):
        evaluate(Reference(styles=styles), [Candidate(name="a", pictures=one)])


def test_files_name_measures_by_their_network() -> None:
    named = {"kid": "KID (lite)", "fid": "FID (lite)"}
    rows = [
        row("floor", "floor", kid=0.0, fid=1.0),
        row("a", "result", kid=0.5, kid_spread=0.1, fid=2.0),
    ]
    lite = replace(made(*rows), headings=named, best_by="kid")
    options = EvaluateOptions(real=Path("testA"))
    read = json.loads(as_json(lite, options, facts={}, sentences=[], extractor="lite, head"))
    assert read["best_by"] == "KID (lite)"
    result = read["rows"][1]
    assert (result["KID (lite)"], result["KID (lite) spread"], result["FID (lite)"]) == (
        0.5,
        0.1,
        2.0,
    )
    assert not {"kid", "fid", "kid_spread"} & set(result)
    assert "KID (lite)" in result["closed"]
    (first, second) = csv.DictReader(io.StringIO(as_csv(lite, ["lite, head", "lite: maps"])))
    assert second["KID (lite)"] == "0.5"
    assert (second["name"], second["features"]) == ("a", "lite, head; lite: maps")
    assert first["KID (lite) spread"] == ""
    published = json.loads(
        as_json(
            replace(lite, headings={"kid": "KID", "fid": "FID"}),
            options,
            facts={},
            sentences=[],
            extractor="inception",
        )
    )
    assert published["rows"][1]["kid"] == 0.5


def test_extreme_shapes_become_squares() -> None:
    pictures = [np.zeros((1, 3000, 3), np.uint8), np.zeros((500, 33, 3), np.uint8)]
    found = summarize(pictures, SMALL, count=2)
    assert (found.count, found.enlarged) == (2, 1)
    assert set(found.patches) == {32, 16}


@pytest.mark.parametrize("count", [2, 4])
def test_a_wrong_count_is_refused(count: int) -> None:
    with pytest.raises(ValueError, match=r"announced|one too many"):
        summarize(noise(3, seed=0), SMALL, count=count)
