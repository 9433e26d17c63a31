"""`impasto translate` as a user calls it."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from impasto.cyclegan import GeneratorArchitecture
from impasto.cyclegan.weights import save_generator
from impasto.data import read_picture
from impasto.runs.state import save_pth
from impasto.scripts.main import main

ARCHITECTURE = GeneratorArchitecture(kind="resnet", depth=1, channels=2)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A run directory with two generators, of which G_B makes everything darker."""
    run = tmp_path / "run"
    run.mkdir()
    torch.manual_seed(0)
    for name, direction in (("G_A", "AtoB"), ("G_B", "BtoA")):
        network = ARCHITECTURE.build()
        if name == "G_B":
            torch.nn.init.constant_(network.get_parameter("model.18.bias"), -9.0)
        save_generator(
            run / f"{name}.safetensors",
            network.state_dict(),
            ARCHITECTURE,
            {"direction": direction, "weights": "last"},
        )
        save_pth(run / f"7_net_{name}.pth", network.state_dict())
    return run


def translate(*words: object) -> int:
    try:
        return main(["translate", *map(str, words)])
    except SystemExit as ended:
        return int(str(ended.code))


def test_a_tree_keeps_its_names_and_sizes(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photos, out = tmp_path / "photos", tmp_path / "out"
    (photos / "deep" / "er").mkdir(parents=True)
    sizes = {
        "a.png": (7, 5),
        "deep/a.jpg": (64, 33),
        "deep/a.png": (1, 1),
        "deep/er/b.png": (3, 5000),
    }
    for name, size in sizes.items():
        Image.new("RGB", size, (200, 30, 90)).save(photos / name)
    assert translate(photos, "--model", model, "--output", out) == 0
    names = {"a.png": "a.png", "deep/a.jpg": "deep/a.jpg.png", "deep/a.png": "deep/a.png.png"}
    for name, size in sizes.items():
        with Image.open(out / names.get(name, name)) as result:
            assert (result.size, result.mode) == (size, "RGB")
    page = (out / "index.html").read_text(encoding="utf-8")
    assert "deep/er/b.png" in page
    assert "4 translated in" in capsys.readouterr().out


def test_modes_alpha_and_orientation(model: Path, tmp_path: Path) -> None:
    photos, out = tmp_path / "photos", tmp_path / "out"
    photos.mkdir()
    alpha = np.arange(20 * 30, dtype=np.uint8).reshape(20, 30)
    Image.merge("LA", [Image.new("L", (30, 20), 99), Image.fromarray(alpha)]).save(
        photos / "la.png"
    )
    Image.new("L", (30, 20), 99).save(photos / "grey.png")
    exif = Image.Exif()
    exif[274] = 6  # lies on its side
    Image.new("RGB", (30, 20)).save(photos / "side.jpg", exif=exif)
    assert translate(photos, "--model", model, "--output", out) == 0
    kept = read_picture(out / "la.png").alpha
    assert kept is not None
    assert np.array_equal(kept, alpha)
    assert read_picture(out / "grey.png").alpha is None
    assert read_picture(out / "side.png").rgb.shape == (30, 20, 3)


def test_direction_and_epoch_choose_the_generator(
    model: Path, tmp_path: Path, picture_folder: Callable[..., Path]
) -> None:
    photos = picture_folder("photos", count=1)
    results = {}
    for words in (("AtoB", "latest"), ("BtoA", "latest"), ("BtoA", "7")):
        out = tmp_path / "-".join(words)
        direction, epoch = words
        chosen = ("--direction", direction, "--epoch", epoch)
        assert translate(photos, "--model", model, "--output", out, *chosen) == 0
        results[words] = read_picture(out / "00.png").rgb
    assert results["BtoA", "latest"].mean() < 10 < results["AtoB", "latest"].mean()
    assert np.array_equal(results["BtoA", "latest"], results["BtoA", "7"])


def test_without_a_model_photographs_become_monets(
    tmp_path: Path, picture_folder: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    photos = picture_folder("photos", count=2, size=(30, 50))
    assert translate(photos, "--output", tmp_path / "monets") == 0
    assert "2 translated in" in capsys.readouterr().out
    assert translate(photos, "--model", "monet", "--output", tmp_path / "named") == 0
    assert translate(photos, "--model", "photo", "--output", tmp_path / "photos_again") == 0
    monet, named, photo = (
        read_picture(tmp_path / folder / "00.png").rgb
        for folder in ("monets", "named", "photos_again")
    )
    assert np.array_equal(monet, named)
    assert photo.shape == monet.shape
    assert not np.array_equal(photo, monet)


def test_a_single_file_knows_its_direction(
    model: Path, tmp_path: Path, picture_folder: Callable[..., Path]
) -> None:
    photos, out = picture_folder("photos", count=1), tmp_path / "out"
    assert translate(photos, "--model", model / "G_B.safetensors", "--output", out) == 0
    assert read_picture(out / "00.png").rgb.mean() < 10
    assert "BtoA" in (out / "index.html").read_text(encoding="utf-8")


def test_results_are_skipped_unless_overwritten(
    model: Path,
    tmp_path: Path,
    picture_folder: Callable[..., Path],
    capsys: pytest.CaptureFixture[str],
) -> None:
    photos, out = picture_folder("photos", count=3), tmp_path / "out"
    words = (photos, "--model", model, "--output", out)
    assert translate(*words) == 0
    (out / "01.png").unlink()
    capsys.readouterr()
    assert translate(*words) == 0
    printed = capsys.readouterr().out
    assert "1 translated in" in printed
    assert "2 already there" in printed
    page = (out / "index.html").read_text(encoding="utf-8")
    assert all(f"0{index}.png" in page for index in range(3))
    assert translate(*words, "--overwrite", "true") == 0
    assert "3 translated in" in capsys.readouterr().out


@pytest.mark.slow
def test_strokes_can_be_larger(
    tmp_path: Path, picture_folder: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    photos = picture_folder("photos", count=1, size=(60, 40))
    for folder, words in (("fine", ()), ("broad", ("--stroke_scale", 2))):
        assert translate(photos, "--output", tmp_path / folder, *words) == 0
        assert "--stroke_scale 2" not in capsys.readouterr().err  # the hint is for large pictures
    large = picture_folder("large", count=1, size=(900, 700))
    assert translate(large, "--output", tmp_path / "large_out") == 0
    assert "--stroke_scale 2" in capsys.readouterr().err
    fine, broad = (read_picture(tmp_path / name / "00.png").rgb for name in ("fine", "broad"))
    assert fine.shape == broad.shape
    assert not np.array_equal(fine, broad)
    assert translate(photos, "--output", tmp_path / "broad") == 0
    assert "made with stroke_scale 2; use --overwrite true" in capsys.readouterr().err


def test_ctrl_c_says_that_the_same_command_goes_on(
    tmp_path: Path,
    picture_folder: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def interrupt(*_args: object, **_kwargs: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("impasto.cyclegan.jobs.translate.convert", interrupt)
    assert translate(picture_folder("photos"), "--output", tmp_path / "out") == 130
    said = f"stopped; finished pictures are in {tmp_path / 'out'}, and the same command continues"
    assert said in capsys.readouterr().err


def test_results_of_another_model_are_not_passed_off_as_this_one_s(
    model: Path,
    tmp_path: Path,
    picture_folder: Callable[..., Path],
    capsys: pytest.CaptureFixture[str],
) -> None:
    photos, out = picture_folder("photos", count=2), tmp_path / "out"
    first, second = ((photos, "--model", model / f"G_{way}.safetensors") for way in "AB")
    assert translate(*first, "--output", out, "--long_side", 20) == 0
    assert "may have been" not in capsys.readouterr().err
    for words in (second, second):  # nothing new the second time either
        assert translate(*words, "--output", out) == 0
        printed = capsys.readouterr()
        assert "0 translated in" in printed.out
        said = f"direction AtoB, long_side 20, model {first[2]}; use --overwrite true"
        assert said in printed.err
        page = (out / "index.html").read_text(encoding="utf-8")
        assert "long_side 20" in page
        assert "Translated by" not in page
    assert translate(*second, "--output", out, "--overwrite", "true") == 0
    assert translate(*second, "--output", out) == 0
    assert "may have been" not in capsys.readouterr().err
    assert f"Translated by {second[2].name}" in (out / "index.html").read_text(encoding="utf-8")
    (out / "page" / "made_with.json").write_text("damaged", encoding="utf-8")
    assert translate(*second, "--output", out) == 0


def test_a_failed_file_is_named_and_the_rest_goes_on(
    model: Path,
    tmp_path: Path,
    picture_folder: Callable[..., Path],
    capsys: pytest.CaptureFixture[str],
) -> None:
    photos, out = picture_folder("photos", count=2), tmp_path / "out"
    (photos / "broken.jpg").write_bytes(b"no picture")
    assert translate(photos, "--model", model, "--output", out) == 1
    printed = capsys.readouterr()
    assert f"failed: {photos / 'broken.jpg'}: " in printed.err
    assert "2 translated in" in printed.out
    assert "broken.jpg" in (out / "index.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(("form", "suffix"), [("png", ".png"), ("jpg", ".jpg"), ("webp", ".webp")])
def test_formats_and_long_side(
    model: Path, tmp_path: Path, picture_folder: Callable[..., Path], form: str, suffix: str
) -> None:
    photos, out = picture_folder("photos", count=1, size=(40, 60)), tmp_path / "out"
    chosen = ("--format", form, "--long_side", 30, "--quality", 80)
    assert translate(photos / "00.png", "--model", model, "--output", out, *chosen) == 0
    with Image.open(out / f"00{suffix}") as result:
        assert result.size == (30, 20)


def test_files_of_several_folders_never_collide(
    model: Path, tmp_path: Path, picture_folder: Callable[..., Path]
) -> None:
    one, two = picture_folder("one", count=1), picture_folder("two", count=1)
    out = tmp_path / "out"
    assert translate(one, two / "00.png", "--model", model, "--output", out) == 0
    assert {p.relative_to(out).as_posix() for p in out.glob("*/00.png")} == {
        "one/00.png",
        "two/00.png",
    }


def test_the_output_inside_the_input_is_not_an_input(
    model: Path, picture_folder: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    photos = picture_folder("photos", count=2)
    words = (photos, "--model", model, "--output", photos / "out", "--overwrite", "true")
    assert translate(*words) == 0
    assert translate(*words) == 0
    assert capsys.readouterr().out.count("2 translated in") == 2


def test_a_read_only_output_is_refused_before_the_work(
    model: Path,
    read_only_disk: Path,
    picture_folder: Callable[..., Path],
    capsys: pytest.CaptureFixture[str],
) -> None:
    photos = picture_folder("photos", count=1)
    for output in (read_only_disk, read_only_disk / "new"):
        assert translate(photos, "--model", model, "--output", output) == 1
        printed = capsys.readouterr().err
        assert f"{output}: cannot be written (Read-only file system)" in printed
        assert "Traceback" not in printed


def test_a_full_disk_says_how_to_go_on(
    model: Path,
    mount_disk: Callable[[str], Path],
    picture_folder: Callable[..., Path],
    capsys: pytest.CaptureFixture[str],
) -> None:
    disk = mount_disk("100k")
    photos = picture_folder("photos", count=8, size=(120, 120))
    assert translate(photos, "--model", model, "--output", disk / "out") == 1
    printed = capsys.readouterr().err
    assert "the disk is full after" in printed
    assert "repeat the command" in printed
    assert not list(disk.rglob(".impasto-*"))


def test_bad_words_are_refused(
    model: Path,
    tmp_path: Path,
    picture_folder: Callable[..., Path],
    capsys: pytest.CaptureFixture[str],
) -> None:
    photos, out = picture_folder("photos"), tmp_path / "out"
    empty = tmp_path / "empty"
    empty.mkdir()
    file = tmp_path / "file.txt"
    file.write_text("a file where a folder should be", encoding="utf-8")
    other = tmp_path / "other.pth"
    save_pth(other, {"fc.weight": torch.zeros(2, 2)})
    for words, status, says in (
        ((photos, "--model", model), 2, "output"),
        ((photos, "--model", tmp_path / "none", "--output", out), 1, "no such run folder"),
        ((photos, "--model", empty, "--output", out), 1, "holds no generator G_A"),
        ((photos, "--model", model, "--output", out, "--epoch", "8"), 1, "7_net_G_A.pth"),
        ((photos, "--model", other, "--output", out), 1, "not the weights of a CycleGAN generator"),
        ((empty, "--model", model, "--output", out), 1, "empty"),
        ((tmp_path / "photo", "--model", model, "--output", out), 1, "photo"),
        ((photos, "--model", model, "--output", photos), 1, "choose an output folder elsewhere"),
        ((photos / "00.png", "--model", model, "--output", photos), 2, "would overwrite"),
        ((photos, "--model", model, "--output", file), 1, "cannot be written"),
        (
            (photos, "--model", model / "G_B.safetensors", "--output", out, "--direction", "AtoB"),
            2,
            "translates BtoA",
        ),
        ((photos, "--model", model, "--output", out, "--format", "gif"), 2, "expected one of png"),
    ):
        assert translate(*words) == status, says
        printed = capsys.readouterr().err
        assert says in printed
        assert "Traceback" not in printed
