"""What `impasto translate` says where it cannot do what it is asked."""

import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image

from impasto.cyclegan.inference import memory
from impasto.data import read_picture
from impasto.runs.state import save_pth
from tests.browser import parse_page
from tests.translating import translate


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


def test_a_picture_that_does_not_fit_is_named_and_the_rest_goes_on(
    model: Path,
    tmp_path: Path,
    picture_folder: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    photos, out = picture_folder("photos", count=3, size=(30, 20)), tmp_path / "out"
    Image.new("RGB", (5000, 4000)).save(photos / "00.png")
    monkeypatch.setattr(memory, "free_memory", lambda _device: 400 * 10**6)
    words = (photos, "--model", model, "--output", out)
    assert translate(*words) == 1
    printed = capsys.readouterr()
    assert "2 translated in" in printed.out
    before, found = f"{photos / '00.png'} will not be translated: ", printed.err.splitlines()
    (line,) = [line for line in found if line.startswith(before)]
    said = re.fullmatch(
        r"5000 x 4000 pixels need about (\d\.\d) GB of memory even in rows, .*, "
        r"and 0\.4 GB are free; try --long_side (\d+)",
        line.removeprefix(before),
    )
    assert said is not None, line
    assert float(said[1]) > 0.4
    # What is advised fits, and is what is needed.
    assert translate(*words, "--long_side", said[2]) == 0
    assert read_picture(out / "00.png").rgb.shape[1] == int(said[2])


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


@pytest.mark.skipif(sys.platform != "linux", reason="the longest path is that of Linux")
def test_a_path_that_is_too_long_fails_by_itself(
    model: Path,
    tmp_path: Path,
    picture_folder: Callable[..., Path],
    capsys: pytest.CaptureFixture[str],
) -> None:
    photos = picture_folder("in", count=1)
    deep = photos
    while len(str(deep)) < 3900:
        deep /= "d" * 150
    deep.mkdir(parents=True)
    (photos / "00.png").rename(deep / "00.png")
    picture_folder("in", count=1)
    out = tmp_path / ("o" * 200)
    for already in (0, 1):
        assert translate(photos, "--model", model, "--direction", "AtoB", "--output", out) == 1
        printed = capsys.readouterr()
        assert f"{already} already there, 1 failed" in printed.out
        assert "file name too long" in printed.err
        assert (out / "00.png").is_file()


def test_of_very_many_failures_the_first_are_named_and_the_page_has_all(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photos = tmp_path / "in"
    photos.mkdir()
    for number in range(60):
        (photos / f"{number:02}.png").touch()
    out = tmp_path / "out"
    assert translate(photos, "--model", model, "--direction", "AtoB", "--output", out) == 1
    printed = capsys.readouterr()
    failed = [line for line in printed.err.splitlines() if line.startswith("failed: ")]
    assert failed[0] == f"failed: {photos / '00.png'}: is empty"
    assert failed[50:] == ["failed: 10 more, which the page names, too"]
    assert "60 failed" in printed.out
    assert (out / "index.html").read_text(encoding="utf-8").count("is empty") == 60


def test_a_choice_that_a_model_does_not_have_is_refused(
    model: Path,
    picture_folder: Callable[..., Path],
    capsys: pytest.CaptureFixture[str],
) -> None:
    photos = picture_folder("photos", count=1)
    out = ("--output", photos.parent / "out")
    for words, says in (
        (("--direction", "BtoA"), "translates photographs into Monets; leave --direction out"),
        (("--model", "photo", "--direction", "AtoB"), "photographs; leave --direction out"),
        (("--epoch", 5), "monet is a single generator, which has no epochs"),
        (("--model", model / "G_A.safetensors", "--epoch", 7), "which has no epochs"),
        (("--format", "png", "--quality", 50), "50 is for --format jpg or webp"),
        (("--stroke_scale", -1), "--stroke_scale: must be at least 1, got -1"),
    ):
        assert translate(photos, *words, *out) == 2, says
        assert says in capsys.readouterr().err
    assert not out[1].exists()
    # A file that does not say its direction takes either, which is told.
    file = model / "7_net_G_A.pth"
    assert translate(photos, "--model", file, "--direction", "BtoA", *out) == 0
    assert f"{file} does not say its direction, so --direction" in capsys.readouterr().err
    # So does a published model, a folder with one generator without a letter.
    published = photos.parent / "style_monet_pretrained"
    published.mkdir()
    (published / "latest_net_G.pth").write_bytes(file.read_bytes())
    whole = ("--model", published, "--overwrite", "true", *out)
    for way in ("AtoB", "BtoA"):
        assert translate(photos, "--direction", way, *whole) == 0
        says = f"{published / 'latest_net_G.pth'} does not say its direction, so --direction"
        assert says in capsys.readouterr().err
        page = parse_page(photos.parent / "out" / "index.html")
        assert page.find("dd")[1].text == "that of the file"
    assert translate(photos, *whole) == 0
    assert "--direction" not in capsys.readouterr().err
    # The direction that it says is no mistake.
    known = ("--model", model / "G_B.safetensors", "--direction", "BtoA", "--overwrite", "true")
    assert translate(photos, *known, *out) == 0


def test_a_name_that_is_nearly_right_is_suggested(
    picture_folder: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    photos = picture_folder("photos", count=1)
    (photos / "00.png").rename(photos / "garden.png")
    out = ("--output", photos.parent / "out")
    for name, near in (("photos/gardn.png", "photos/garden.png"), ("fotos", "photos")):
        assert translate(photos.parent / name, *out) == 1
        err = capsys.readouterr().err
        assert f"{name}: no such file or folder; did you mean {photos.parent / near}?" in err
    assert translate(photos / "zzz", *out) == 1
    assert f"{photos} has no 'zzz' and nothing of a like name" in capsys.readouterr().err
    (photos / "link.png").symlink_to("gone.png")
    assert translate(photos / "link.png", *out) == 1
    assert "link.png: no such file or folder; it is a link to what is" in capsys.readouterr().err


def test_an_output_that_cannot_be_one_is_named_for_what_it_is(
    model: Path, picture_folder: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    photos = picture_folder("photos", count=1)
    file = photos.parent / "A.txt"
    file.touch()
    picture_folder("photos/sub", count=1)
    for first, output, says in (
        (photos, file, f"{file}: cannot be written (it is a file, not a folder)"),
        (photos, file / "x", f"cannot be written ({file} is a file, not a folder)"),
        (photos, photos, f"{photos}: is the output folder, too, whose pictures are results"),
        (photos / "sub", photos, f"{photos / 'sub'}: lies in the output folder {photos}"),
    ):
        assert translate(first, "--model", model, "--output", output) == 1
        assert says in capsys.readouterr().err
