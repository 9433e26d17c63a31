"""`impasto train --check`: what looks wrong, what a training takes, and nothing left behind."""

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from impasto.cyclegan import train
from impasto.cyclegan.jobs import check as check_module
from impasto.cyclegan.jobs.check import CheckResult, check_training
from impasto.data.channels.write import write_samples
from impasto.options import ImpastoError, TrainOptions
from impasto.runs import RunDirectory
from impasto.scripts.main import main

Options = Callable[..., TrainOptions]
STEPS: dict[str, Any] = {"max_images": 1, "display": "none"}


@pytest.fixture
def sound(tiny_options: Options, picture_folder: Callable[..., Path], tmp_path: Path) -> Options:
    """Options of a training with nothing wrong."""
    for domain, seed in (("A", 1), ("B", 2)):
        shutil.rmtree(tmp_path / "data" / f"train{domain}")
        picture_folder(f"data/train{domain}", count=22, seed=seed)
    return tiny_options


def check(options: TrainOptions, tmp_path: Path) -> CheckResult:
    return check_training(options, sheet=tmp_path / "sheet.jpg")


def skip_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look at the pictures alone."""
    monkeypatch.setattr(check_module, "_try", lambda *_: None)


def files_below(folder: Path) -> set[Path]:
    """Return what lies there, but for the folder that torch makes for its own compiler."""
    return {path for path in folder.rglob("*") if "torchinductor" not in str(path)}


def test_a_sound_training_has_no_problem_and_leaves_a_sheet(
    sound: Options, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    before = files_below(tmp_path)
    options = sound(save_epoch_freq=1)
    result = check(options, tmp_path)
    assert result.problems == []
    assert files_below(tmp_path) - before == {tmp_path / "sheet.jpg"}
    assert result.facts["A"] == {
        "folder": str(tmp_path / "data" / "trainA"),
        "pictures": 22,
        "unreadable": {},
        "width_px": {"least": 36, "median": 36, "most": 36},
        "height_px": {"least": 40, "median": 40, "most": 40},
        **dict.fromkeys(("smaller_than_crop_size", "gray", "plain", "transparent", "turned"), 0),
        "gray_share": 0.0,
    }
    cost: Any = result.facts["cost"]
    assert cost["epoch_images"] == 22
    assert cost["epoch_seconds"] == pytest.approx(cost["seconds_per_image"] * 22, abs=0.1)
    # What a real training then writes.
    train(options)
    run = RunDirectory(options.run.checkpoints_dir / "tiny").path
    kept = sum(path.stat().st_size for path in run.glob("2_net_*.pth"))
    assert cost["epoch"] == pytest.approx(kept, rel=0.02)
    written = sum(path.stat().st_size for path in run.iterdir() if path.suffix != ".jsonl")
    assert cost["disk"] == pytest.approx(written, rel=0.1)
    with Image.open(tmp_path / "sheet.jpg") as sheet:
        assert sheet.width > 8 * 36


def spoil(folder: Path) -> Sequence[str]:
    """Make one of each thing that can be wrong; return what has to be told."""
    A, B = folder / "trainA", folder / "trainB"
    (A / "00.png").write_bytes(b"nothing")
    Image.open(A / "02.png").resize((80, 72)).save(A / "copy.jpg", quality=90)
    Image.open(A / "03.png").resize((70, 78)).save(B / "crossed.png")
    Image.fromarray(np.full((40, 40, 3), 9, np.uint8)).save(A / "plain.png")
    image = Image.open(B / "05.png").convert("RGBA")
    image.putalpha(128)
    image.save(B / "05.png")
    for number in range(10, 20):
        gray = Image.open(B / f"{number}.png").convert("L")
        gray.resize((20, 20) if number < 14 else gray.size).save(B / f"{number}.png")
    return (
        f"1 picture of A cannot be read, and a training passes over them: {A / '00.png'} is not a",
        "1 picture of A (plain.png) is nearly one plain color",
        "1 picture of B (05.png) is partly transparent",
        "of B are gray: the generators will learn to give or take colors",
        "17% of B are smaller than --crop_size: the discriminators",
        f"1 pair of files in A show the same picture, perhaps in other sizes: {A / '02.png'} and",
        f"in A and in B: {A / '03.png'} and {B / 'crossed.png'}. Remove",
    )


def test_each_thing_that_is_wrong_is_told_once(
    sound: Options, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    skip_steps(monkeypatch)
    expected = spoil(tmp_path / "data")
    result = check(sound(), tmp_path)
    for words in expected:
        assert sum(words in problem for problem in result.problems) == 1, words
    assert len(result.problems) == len(expected)


def test_few_pictures_and_those_measured_with_are_looked_at(
    tiny_options: Options,
    picture_folder: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    skip_steps(monkeypatch)
    val_A, val_B = (picture_folder(name, count=4, seed=9) for name in ("valA", "valB"))
    shutil.copy(tmp_path / "data" / "trainA" / "01.png", val_A / "00.png")
    Image.fromarray(np.zeros((30, 30, 3), np.uint8)).save(val_B / "00.png")
    options = tiny_options(evaluate_every_epochs=1, val_A=val_A, val_B=val_B)
    problems = check(options, tmp_path).problems
    for words in ("A has 5 pictures that can be read, which are few", "B has 7 pictures that"):
        assert sum(words in problem for problem in problems) == 1
    assert sum("show the same picture in A and in val_A" in problem for problem in problems) == 1


def test_steps_that_do_not_work_are_a_problem(
    sound: Options, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise RuntimeError("out of memory: tried to allocate 2 GiB\nmore")

    monkeypatch.setattr(check_module, "train", fails)
    problems = check(sound(), tmp_path).problems
    assert problems == [
        "A few steps of this training do not work here: out of memory: tried to allocate 2 GiB"
    ]


def test_a_disk_that_is_too_small_is_a_problem(
    sound: Options, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _folder: free)
    (problem,) = check(sound(), tmp_path).problems
    assert problem.startswith("The checkpoints need ")
    assert problem.endswith("0 MB are free. Free some, or keep fewer epochs.")


def test_a_sheet_that_cannot_be_written_says_so(
    sound: Options, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    skip_steps(monkeypatch)
    with pytest.raises(ImpastoError, match="the contact sheet cannot be written"):
        check_training(sound(), sheet=tmp_path / "data" / "trainA" / "01.png" / "sheet.jpg")


def test_the_command_says_it_in_words_and_as_json(
    sound: Options,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    skip_steps(monkeypatch)
    monkeypatch.chdir(tmp_path)
    data = sound().data
    words = ["train", "--name", "mine", "--crop_size", "32", "--load_size", "36"]
    folders = ["--folder_A", str(data.folders[0]), "--folder_B", str(data.folders[1])]
    assert main([*words, *folders, "--check"]) == 0
    said = capsys.readouterr().out
    assert f"A: 22 pictures in {data.folders[0]}; width 36 to 36 px, median 36; height" in said
    assert said.endswith("contact sheet: mine_check.jpg; look at it\nnothing looks wrong\n")
    assert not (tmp_path / "checkpoints" / "mine").exists()
    (data.folders[1] / "00.png").write_bytes(b"nothing")
    assert main([*words, "--dataroot", str(data.dataroot), "--check", "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert found["facts"]["B"]["unreadable"].keys() == {str(data.folders[1] / "00.png")}
    assert len(found["problems"]) == 1
    assert found["sheet"] == "mine_check.jpg"
    assert main([*words, *folders, "--json"]) == 2
    assert "--json: says how --check tells" in capsys.readouterr().err


def test_pairs_may_look_alike_and_lie_side_by_side(
    sound: Options, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    skip_steps(monkeypatch)
    shutil.rmtree(tmp_path / "data" / "trainB")
    shutil.copytree(tmp_path / "data" / "trainA", tmp_path / "data" / "trainB")
    pairs = {"paired": True, "lambda_identity": 0.0, "pool_size": 0}
    assert check(sound(**pairs), tmp_path).problems == []
    assert len(check(sound(), tmp_path).problems) == 1
    shutil.rmtree(tmp_path / "data" / "trainB")
    (tmp_path / "data" / "trainA").rename(tmp_path / "data" / "train")
    result = check(sound(**pairs), tmp_path)
    assert result.problems == []
    assert list(result.facts) == ["A", "copies"]


def test_numbers_are_looked_at_in_their_range(
    sound: Options, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """12 bits, gray: the counts are those of the files that were made so."""
    skip_steps(monkeypatch)
    rng = np.random.default_rng(0)
    for domain in "AB":
        folder = tmp_path / "gray" / f"train{domain}"
        for number in range(21):
            small = rng.integers(0, 4096, (5, 5, 1), dtype=np.uint16)
            write_samples(folder / f"{number:02}.tif", small.repeat(8, axis=0).repeat(8, axis=1))
    A = tmp_path / "gray" / "trainA"
    write_samples(A / "03.tif", np.full((40, 40, 1), 5000, np.uint16))  # beyond, and plain
    write_samples(A / "04.tif", np.zeros((40, 40, 3), np.uint16) + np.arange(3, dtype=np.uint16))
    shutil.copy(A / "05.tif", A / "copy.tif")
    np.save(A / "small.npy", rng.integers(0, 4096, (20, 50), dtype=np.uint16))
    options = sound(
        dataroot=tmp_path / "gray", input_nc=1, output_nc=1, value_range=["0,4095"], **STEPS
    )
    result = check(options, tmp_path)
    facts: Any = result.facts["A"]
    assert facts["format"] == "1 channel of 16 bits, 0 to 4095"
    counts = {kind: facts[kind] for kind in ("pictures", "plain", "clipped", "gray")}
    assert counts == {"pictures": 23, "plain": 1, "clipped": 1, "gray": 0}
    assert facts["smaller_than_crop_size"] == 1
    assert (facts["width_px"]["most"], facts["height_px"]["least"]) == (50, 20)
    expected = (
        f"1 picture of A cannot be read, and a training passes over them: {A / '04.tif'} has 3 ch",
        "1 picture of A (03.tif) is nearly one plain color",
        "1 picture of A (03.tif) is clipped: there are values outside of 0 to 4095. Give a wider",
        f"1 pair of files in A show the same picture, perhaps in other sizes: {A / '05.tif'} and",
    )
    for words in expected:
        assert sum(words in problem for problem in result.problems) == 1, words
    assert len(result.problems) == len(expected)
    assert "Pictures of B are read as 1 channel of 16 bits, 0 to 4095." in result.notes
    with Image.open(tmp_path / "sheet.jpg") as sheet:
        assert sheet.width > 8 * 40
    # A model says what the numbers are that a training from it is on.
    run = train(options).directory
    started = sound(name="next", dataroot=tmp_path / "gray", init_from=[str(run)])
    again: Any = check(started, tmp_path).facts["A"]
    assert (again["format"], again["pictures"]) == (facts["format"], 23)


def test_numbers_are_tried_in_steps(sound: Options, tmp_path: Path) -> None:
    for domain, channels in (("A", 3), ("B", 1)):
        for number in range(20):
            small = np.random.default_rng(number).integers(0, 256, (5, 5, channels), dtype=np.uint8)
            path = tmp_path / "mixed" / f"train{domain}" / f"{number}.png"
            write_samples(path, small.repeat(8, axis=0).repeat(8, axis=1))
    options = sound(dataroot=tmp_path / "mixed", output_nc=1, lambda_identity=0.0)
    result = check(options, tmp_path)
    assert [problem for problem in result.problems if "show the same picture" not in problem] == []
    cost: Any = result.facts["cost"]
    assert cost["epoch_images"] == 20
    assert "gray" in result.facts["B"]  # type: ignore[operator]


def test_halves_of_pairs_are_measured_as_such(
    tiny_options: Options,
    picture_folder: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    skip_steps(monkeypatch)
    folder = picture_folder("sides/train", count=20, size=(30, 40))
    pairs = {"paired": True, "lambda_identity": 0.0, "pool_size": 0}
    result = check(tiny_options(dataroot=folder.parent, **pairs), tmp_path)
    facts: Any = result.facts["A"]
    assert facts["width_px"] == {"least": 20, "median": 20, "most": 20}
    assert facts["smaller_than_crop_size"] == 20  # 24
