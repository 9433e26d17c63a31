"""`impasto evaluate` as a user calls it."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from impasto.cyclegan.architecture import GeneratorArchitecture
from impasto.cyclegan.inference import memory
from impasto.cyclegan.weights import save_generator
from impasto.data.files import list_pictures
from impasto.gatys.features.vgg import Vgg
from impasto.options import FolderError
from impasto.runs.state import save_pth
from impasto.scripts.main import main
from tests.films import pan

ARCHITECTURE = GeneratorArchitecture(kind="resnet", depth=1, channels=2)
QUICK = ("--size_px", 32, "--patches", 256, "--device", "cpu")


@pytest.fixture
def folders(picture_folder: Callable[..., Path]) -> dict[str, Path]:
    """Real, more real, inputs and results of them; 0.png is 00.png of each."""
    return {
        "real": picture_folder("real", count=4, size=(64, 70), seed=1),
        "more": picture_folder("more", count=7, size=(66, 64), seed=2),
        "inputs": picture_folder("inputs", count=5, size=(64, 64), seed=3),
        "results": picture_folder("results", count=5, size=(64, 64), seed=4),
    }


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = tmp_path / "run"
    folder.mkdir()
    torch.manual_seed(0)
    for name, direction in (("G_A", "AtoB"), ("G_B", "BtoA")):
        weights = ARCHITECTURE.build().state_dict()
        path = folder / f"{name}.safetensors"
        save_generator(path, weights, ARCHITECTURE, {"direction": direction})
        save_pth(folder / f"5_net_{name}.pth", weights)
    return folder


def evaluate(*words: object) -> int:
    try:
        return main(["evaluate", *map(str, (*words, *QUICK))])
    except SystemExit as ended:
        return int(str(ended.code))


def read(folder: Path) -> dict[str, object]:
    found: dict[str, object] = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    return found


def test_a_folder_and_a_run_are_compared_with_both_references(
    folders: dict[str, Path], run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    words = ("--real", folders["real"], "--inputs", folders["inputs"], "--epochs", "all")
    more = ("--more_real", folders["more"], "--backbone", "random", "--layer", "relu1_1")
    assert evaluate(folders["results"], run, *words, *more, "--output", out) == 0
    printed = capsys.readouterr().out
    content = read(out)
    rows = content["rows"]
    assert isinstance(rows, list)
    assert [(row["name"], row["kind"], row["pictures"], row["paired"]) for row in rows] == [
        ("do nothing", "nothing", 5, 0),
        ("floor (other real pictures)", "floor", 5, 0),
        ("results", "result", 5, 5),
        ("run, epoch 5", "result", 5, 5),
        ("run, epoch latest", "result", 5, 5),
    ]
    assert content["extractor"] == "random, relu1_1 (random weights)"
    assert (content["real_pictures"], content["seed"]) == (4, 0)
    # Inputs and real pictures are noise of one kind.
    assert content["best"] is None
    assert rows[3]["cycle_ssim"] == rows[4]["cycle_ssim"]
    assert {"swd", "swd_32", "swd_16", "palette", "grid_2"} <= set(rows[0])
    assert {"KID (random)", "FID (random)", "precision (random)"} <= set(rows[0])
    assert "No result is called the best, as KID (random) is blind here" in printed
    assert "KID (random) is blind here, so its numbers say nothing about results" in printed
    assert "do nothing: the inputs as they are" in printed
    assert "floor (other real pictures): as near as real pictures are to one another" in printed
    assert "KID (random) \u2193" in printed
    assert "measured run, epoch 5: 5 pictures" in printed
    assert "Sets of 4 to 5 pictures are small" in printed
    page = (out / "index.html").read_text(encoding="utf-8")
    assert "random, relu1_1 (random weights)" in page
    assert "(best)" not in page
    for path in folders["inputs"].iterdir():  # of another kind now
        Image.new("RGB", (64, 64), (255, 0, 0)).save(path)
    assert evaluate(folders["results"], run, *words, *more, "--output", out) == 0
    best = read(out)["best"]
    assert best in {"results", "run, epoch 5", "run, epoch latest"}
    assert f"Best by KID (random): {best}." in capsys.readouterr().out
    page = (out / "index.html").read_text(encoding="utf-8")
    # In the tables of sets and of pictures by themselves.
    assert page.count(f"{best} (best)") == 2
    assert len(list((out / "pictures").rglob("*.png"))) == 5 * 4


def test_pictures_of_the_page_stand_under_their_own_input(
    folders: dict[str, Path], tmp_path: Path, parse_page: Callable[[Path], Any]
) -> None:
    (folders["results"] / "00.png").unlink()
    Image.new("RGB", (64, 64), (255, 0, 0)).save(folders["results"] / "03.png")
    words = ("--real", folders["real"], "--inputs", folders["inputs"])
    assert evaluate(folders["results"], *words, "--output", tmp_path / "out") == 0
    images = parse_page(tmp_path / "out" / "index.html").find("img")
    shown = {image.attributes["alt"]: image.attributes["src"] for image in images}
    assert "00.png: results" not in shown
    red = Image.open(tmp_path / "out" / shown["03.png: results"])
    assert np.array(red)[0, 0].tolist() == [255, 0, 0]
    given = Image.open(tmp_path / "out" / shown["03.png: input"])
    source = Image.open(folders["inputs"] / "03.png")
    assert np.array_equal(np.array(given), np.array(source))
    (folders["results"] / "01.png").unlink()
    assert evaluate(folders["results"], *words, "--output", tmp_path / "out") == 0
    assert "01.png: results" not in (tmp_path / "out" / "index.html").read_text(encoding="utf-8")


def test_one_seed_gives_the_same_numbers_and_the_printed_config_gives_them_again(
    folders: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = (folders["results"], "--real", folders["real"], "--inputs", folders["inputs"])
    assert evaluate(*words, "--seed", 3, "--output", tmp_path / "one") == 0
    capsys.readouterr()
    assert evaluate(*words, "--seed", 3, "--output", tmp_path / "two", "--print_config") == 0
    file = tmp_path / "printed.yaml"
    file.write_text(capsys.readouterr().out, encoding="utf-8")
    assert evaluate(folders["results"], "--config", file) == 0
    assert read(tmp_path / "one")["rows"] == read(tmp_path / "two")["rows"]


def test_the_output_is_never_an_input_later(folders: dict[str, Path]) -> None:
    words = (folders["results"], "--real", folders["real"], "--inputs", folders["inputs"])
    inside = folders["inputs"] / "evaluation"
    assert evaluate(*words, "--output", inside) == 0
    first = read(inside)["rows"]
    assert len(list_pictures(folders["inputs"])) == 5
    assert evaluate(*words, "--output", inside) == 0
    assert read(inside)["rows"] == first
    with pytest.raises(FolderError):
        list_pictures(inside)


def test_a_single_result_is_enough_without_features(
    folders: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = tmp_path / "one"
    one.mkdir()
    Image.new("L", (20, 500), 90).save(one / "grey.png")
    words = ("--real", folders["real"], "--output", tmp_path / "out")
    assert evaluate(one, *words) == 0  # one result has no KID
    rows = read(tmp_path / "out")["rows"]
    assert isinstance(rows, list)
    assert ["KID (lite)" in row for row in rows] == [True, False]
    assert "1 of 1 in one are smaller than the squares" in capsys.readouterr().out
    weights = tmp_path / "small.pth"
    torch.save(Vgg(width=0.0625).state_dict(), weights)
    assert evaluate(one, *words, "--backbone", weights) == 1
    assert "one: holds one picture; KID and FID compare two or more" in capsys.readouterr().err


def test_an_unreadable_picture_ends_it_with_its_name(
    folders: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folders["results"] / "03.png").write_bytes(b"no picture")
    words = ("--real", folders["real"])
    assert evaluate(folders["results"], *words, "--output", tmp_path / "out") == 1
    printed = capsys.readouterr().err
    assert f"{folders['results'] / '03.png'}: " in printed
    assert "Traceback" not in printed


def test_an_input_that_does_not_fit_is_named_with_what_to_do(
    folders: dict[str, Path],
    run: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    Image.new("RGB", (700, 600)).save(folders["inputs"] / "02.png")
    monkeypatch.setattr(memory, "_STRIP_BYTES", 0)  # of each thread, whatever the picture
    monkeypatch.setattr(memory, "free_memory", lambda _device: 10**7)
    words = ("--real", folders["real"], "--inputs", folders["inputs"])
    assert evaluate(run, *words, "--output", tmp_path / "out") == 1
    said = capsys.readouterr().err
    assert f"{folders['inputs'] / '02.png'}: 700 x 600 pixels need about" in said
    assert "10 MB are free; evaluate the results of impasto translate --long_side " in said


def test_a_photograph_in_the_style_of_a_painting(
    folders: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    one, photo = folders["results"] / "00.png", folders["inputs"] / "03.png"
    style = folders["more"] / "02.png"
    assert evaluate(one, "--inputs", photo, "--styles", style, "--output", out) == 0
    printed = capsys.readouterr().out
    rows = read(out)["rows"]
    assert isinstance(rows, list)
    assert [(row["name"], row["pictures"]) for row in rows] == [
        ("do nothing", 1),
        ("floor (styles themselves)", 1),
        ("00.png", 1),
    ]
    assert rows[2]["combined (lite)"] == pytest.approx(
        (1 + rows[2]["style (lite)"] / rows[1]["style (lite)"]) * (1 + rows[2]["content (lite)"])
    )
    for name in ("style (lite) \u2193", "content (lite) \u2193", "combined (lite) \u2193"):
        assert name in printed
    assert "KID" not in printed
    # A picture of the style itself is at no distance from it, and the content from itself.
    folder = tmp_path / "both"
    folder.mkdir()
    for path in (style, photo):
        (folder / f"{path.parent.name}.png").write_bytes(path.read_bytes())
    for name, measure in (("more.png", "style (lite)"), ("inputs.png", "content (lite)")):
        words = ("--inputs", photo, "--styles", style, "--output", out)
        assert evaluate(folder / name, *words) == 0
        rows = read(out)["rows"]
        assert isinstance(rows, list)
        assert rows[2][measure] == pytest.approx(0, abs=1e-6)


def test_mistakes_are_refused_before_the_work_and_nothing_is_written(
    folders: dict[str, Path], run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    real, inputs, results = (folders[name] for name in ("real", "inputs", "results"))
    out = ("--output", tmp_path / "out")
    page = tmp_path / "page"
    page.mkdir()
    (page / "index.html").touch()
    own = tmp_path / "own"
    (own / "pictures").mkdir(parents=True)
    file = tmp_path / "file"
    file.touch()
    for words, status, says in (
        ((results, *out), 2, "--real: is missing; give a folder of real pictures, or --styles"),
        ((results, "--styles", tmp_path / "nihgt.png", *out), 1, "no such folder"),
        ((results, "--styles", inputs, "--backbone", "none", *out), 2, "--styles: are compared"),
        ((results, "--styles", inputs, "--best_by", "kid", *out), 2, "--best_by: kid compares"),
        ((results, "--real", real, "--best_by", "style", *out), 2, "--best_by: style needs"),
        ((results, "--styles", inputs, "--more_real", real, *out), 2, "--more_real: is compared"),
        ((results / "00.png", "--real", real, *out), 2, "--styles: missing; "),
        (("--real", real, *out), 2, "missing: RESULTS"),
        ((results, "--real", tmp_path / "reel", *out), 1, "reel: no such folder"),
        ((tmp_path / "resluts", "--real", real, *out), 1, "did you mean results"),
        ((run, "--real", real, *out), 2, "--inputs: missing"),
        ((run, "--real", real, "--inputs", inputs, "--epochs", "9", *out), 1, "of epoch 9"),
        ((results, results, "--real", real, *out), 1, "is named twice"),
        ((results, "--real", real, "--output", results), 1, "holds what is measured"),
        ((run, "--real", real, "--inputs", inputs, "--output", run), 1, "holds what is measured"),
        ((results, "--real", real, "--output", page), 1, "an index.html that is of no evaluation"),
        ((results, "--real", real, "--output", own), 1, "'pictures' that is of no evaluation"),
        ((results, "--real", real, "--output", file / "x"), 1, "cannot be written"),
        ((results, "--real", real, "--backbone", "resnet5", *out), 2, "did you mean resnet50"),
        ((results, "--real", real, "--backbone", "pixels", *out), 2, "pixels is no network"),
        ((results, "--reel", real, *out), 2, "did you mean --real"),
        ((results, "--real", real, "--seed", "-1", *out), 2, "--seed: -1 is not between 0 and"),
    ):
        found = evaluate(*words)
        printed = capsys.readouterr().err
        assert says in printed, printed
        assert found == status, says
        assert "Traceback" not in printed
    assert not (tmp_path / "out").exists()
    assert not (page / "pictures").exists()


def test_a_read_only_output_is_refused_before_the_work(
    folders: dict[str, Path], read_only_disk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert evaluate(folders["results"], "--real", folders["real"], "--output", read_only_disk) == 1
    printed = capsys.readouterr()
    assert f"{read_only_disk}: cannot be written (Read-only file system)" in printed.err
    assert not printed.out


def test_a_terminal_that_knows_no_arrows(folders: dict[str, Path], tmp_path: Path) -> None:
    words = [
        "--real",
        folders["real"],
        "--inputs",
        folders["inputs"],
        "--output",
        tmp_path / "out",
        *QUICK,
    ]
    command = ["evaluate", folders["results"], *words]
    done = subprocess.run(
        [sys.executable, "-m", "impasto.scripts.main", *map(str, command)],
        env={**os.environ, "PYTHONIOENCODING": "latin-1", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert b"SWD v" in done.stdout
    assert b"SSIM ^" in done.stdout
    assert b"?" not in done.stdout


def test_films_are_measured_by_their_warping_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("cv2", reason='needs OpenCV: pip install "impasto[film]"')
    images = [Image.fromarray(rgb) for rgb in pan(4)]
    for name in ("in.png", "out.png"):
        images[0].save(tmp_path / name, save_all=True, append_images=images[1:], duration=40)
    words = ["evaluate", str(tmp_path / "out.png"), "--inputs", str(tmp_path / "in.png")]
    assert main(words) == 0
    said = capsys.readouterr().out
    assert re.search(r"out\.png: warping error \S+e-\d\d, that of its inputs \S+ \(4 frames", said)
    assert "less is steadier" in said
    assert main([*words, "--json"]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    found = json.loads(line)
    assert found["warping_error"] == pytest.approx(found["inputs_warping_error"])
    assert (found["film"], found["frames"], found["cuts"]) == (str(tmp_path / "out.png"), 4, 0)
    assert main([words[0], words[1]]) == 0
    assert "compare films by their --inputs" in capsys.readouterr().out
