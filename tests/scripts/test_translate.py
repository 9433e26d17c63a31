"""`impasto translate` as a user calls it."""

import itertools
import os
import re
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest
import torch
from PIL import Image

from impasto.cyclegan import GeneratorArchitecture
from impasto.cyclegan.inference import memory
from impasto.cyclegan.inference.translator import Translator
from impasto.cyclegan.jobs.results import ResultsFolder
from impasto.cyclegan.weights import save_generator
from impasto.data import read_picture
from impasto.data.files import list_pictures
from impasto.runs.pages.page import page as start_page, write_page
from impasto.runs.state import save_pth
from impasto.scripts.main import main
from tests.browser import parse_page

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


def shown(out: Path) -> list[str]:
    """The pictures on a page, all of which are there."""
    images = parse_page(out / "index.html").find("img")
    sources = [unquote(image.attributes["src"]) for image in images]
    assert all((out / source).is_file() for source in sources)
    return sources


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
    assert "broad/00.png, which was made with other settings" in capsys.readouterr().err


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
    said = capsys.readouterr().err
    assert "stopped after 0 of 5 pictures; finished pictures are in" in said
    assert f"{tmp_path / 'out'}, and the same command continues\nimpasto translate: stopped" in said
    assert (tmp_path / "out" / "index.html").is_file()


def test_results_of_another_model_are_made_anew(
    model: Path,
    tmp_path: Path,
    picture_folder: Callable[..., Path],
    capsys: pytest.CaptureFixture[str],
) -> None:
    photos, out = picture_folder("photos", count=2), tmp_path / "out"
    first, second = ((photos, "--model", model / f"G_{way}.safetensors") for way in "AB")
    assert translate(*first, "--output", out) == 0
    copied = tmp_path / "copied.safetensors"
    copied.write_bytes(Path(second[2]).read_bytes())
    # Other weights; the same weights under another name; a smaller size.
    for words, done, says in (
        (
            second,
            2,
            f"made anew: {out / '00.png'}, which was made with other settings (and 1 more)",
        ),
        ((photos, "--model", copied), 0, ""),
        ((*second, "--long_side", 20), 2, "which was made with other settings"),
        ((*second, "--long_side", 20), 0, ""),
    ):
        capsys.readouterr()
        assert translate(*words, "--output", out) == 0
        printed = capsys.readouterr()
        assert f"{done} translated in" in printed.out
        assert f"{2 - done} already there" in printed.out
        assert says in printed.err
    assert read_picture(out / "00.png").rgb.mean() < 10  # of G_B
    # One more picture, with the other model: the page says of what the rest is.
    more = picture_folder("more", count=3, size=(40, 30))
    assert translate(more / "02.png", *first[1:], "--output", out) == 0
    said = f"direction BtoA, long_side 20, model {second[2]}"
    assert f"also holds results of other pictures, made with {said}" in capsys.readouterr().err
    page = (out / "index.html").read_text(encoding="utf-8")
    assert said in page
    assert all(f"0{index}.png" in page for index in range(3))


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


def test_pictures_of_the_same_name_are_told_apart(
    model: Path,
    tmp_path: Path,
    picture_folder: Callable[..., Path],
    capsys: pytest.CaptureFixture[str],
) -> None:
    one = picture_folder("one", count=1, size=(40, 30), seed=1)
    two = picture_folder("two", count=1, size=(50, 30), seed=2)
    moved, out = tmp_path / "moved", tmp_path / "out"

    def size() -> tuple[int, int]:
        rgb = read_picture(out / "00.png").rgb
        return rgb.shape[0], rgb.shape[1]

    assert translate(one, "--model", model, "--output", out) == 0
    assert translate(two, "--model", model, "--output", out) == 0
    said = f"made anew: {out / '00.png'}, which was made of another picture, {one / '00.png'}"
    assert said in capsys.readouterr().err
    assert size() == (50, 30)
    # Another place is not another picture, another time is not another content.
    two.rename(moved)
    os.utime(moved / "00.png", ns=(1, 1))
    assert translate(moved, "--model", model, "--output", out) == 0
    assert "1 already there" in capsys.readouterr().out
    Image.new("RGB", (30, 60)).save(moved / "00.png")
    assert translate(moved, "--model", model, "--output", out) == 0
    assert "which was made before its picture changed" in capsys.readouterr().err
    assert size() == (60, 30)
    # a.jpg goes, a.png comes: the name of the result is the same.
    Image.new("RGB", (30, 70)).save(moved / "00.jpg")
    (moved / "00.png").unlink()
    assert translate(moved, "--model", model, "--output", out) == 0
    assert size() == (70, 30)


def test_what_translate_did_not_make_is_never_replaced_unasked(
    model: Path,
    tmp_path: Path,
    picture_folder: Callable[..., Path],
    capsys: pytest.CaptureFixture[str],
) -> None:
    photos, out = picture_folder("photos", count=5), tmp_path / "out"
    (out / "00.png").mkdir(parents=True)
    os.mkfifo(out / "01.png")
    Image.new("RGB", (1, 1)).save(out / "02.png")
    (out / "03.png").symlink_to(tmp_path / "nowhere")
    words = (photos, "--model", model, "--output", out)
    assert translate(*words) == 1
    printed = capsys.readouterr()
    assert "1 translated in" in printed.out
    assert "0 already there, 4 failed" in printed.out
    assert f"{out / '00.png'} is a folder; move that away" in printed.err
    assert f"{out / '01.png'} is no regular file" in printed.err
    assert f"{out / '02.png'}: is there already, and was not made by impasto" in printed.err
    assert read_picture(out / "02.png").rgb.shape == (1, 1, 3)
    # Nor is a result that someone has worked on since, when its settings change.
    Image.new("RGB", (2, 2)).save(out / "04.png")
    assert translate(*words) == 1
    assert "1 already there" in capsys.readouterr().out
    assert translate(*words, "--long_side", 20) == 1
    assert f"{out / '04.png'}: was changed after it was made" in capsys.readouterr().err
    assert read_picture(out / "04.png").rgb.shape == (2, 2, 3)
    assert translate(*words, "--overwrite", "true") == 1
    assert "2 translated in" in capsys.readouterr().out
    assert read_picture(out / "02.png").rgb.shape == read_picture(out / "04.png").rgb.shape


@pytest.mark.parametrize("content", ["<h1>My site</h1>", None])
def test_a_page_of_something_else_is_not_overwritten(
    model: Path,
    tmp_path: Path,
    picture_folder: Callable[..., Path],
    capsys: pytest.CaptureFixture[str],
    content: str | None,
) -> None:
    photos, out = picture_folder("photos", count=1), tmp_path / "site"
    out.mkdir()
    page = out / "index.html"
    if content is None:  # of another command of ours
        write_page(page, start_page("An evaluation"))
    else:
        page.write_text(content, encoding="utf-8")
    before = page.read_bytes()
    assert translate(photos, "--model", model, "--output", out) == 1
    assert "holds a page index.html that impasto translate did not make" in capsys.readouterr().err
    assert page.read_bytes() == before
    assert [path.name for path in out.iterdir()] == ["index.html"]


def test_a_folder_of_photographs_may_be_called_page(
    model: Path, tmp_path: Path, picture_folder: Callable[..., Path]
) -> None:
    photos, out = picture_folder("photos", count=1), tmp_path / "out"
    assert translate(photos, "--model", model, "--output", out) == 0
    picture_folder("photos/Page", count=1)
    assert translate(photos, "--model", model, "--output", out) == 0
    names = [path.relative_to(out).as_posix() for path in list_pictures(out)]
    assert names == ["00.png", "Page/00.png"]
    assert shown(out) == [
        *("page-2/before/00.png.webp", "00.png"),
        *("page-2/before/Page/00.png.webp", "Page/00.png"),
    ]
    (photos / "Page" / "00.png").unlink()
    assert translate(photos, "--model", model, "--output", out) == 0
    assert len(shown(out)) == 4  # what was made before is still there


def test_results_of_the_same_pictures_are_no_pictures_to_translate(
    model: Path, picture_folder: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    photos = picture_folder("photos", count=2)
    picture_folder("photos/m1", count=3)  # own photographs, of which two keep their names
    (photos / "m1" / "00.png").unlink()
    (photos / "m1" / "01.png").unlink()
    single = (photos / "00.png", photos / "01.png", "--model", model)
    assert translate(*single, "--output", photos / "m1") == 0
    capsys.readouterr()
    assert translate(photos, "--model", model, "--output", photos / "m2") == 0
    printed = capsys.readouterr()
    assert "3 translated in" in printed.out
    said = "passed over: 2 pictures that are results of an earlier translation of this input, such"
    assert f"{said} as {photos / 'm1' / '00.png'}" in printed.err
    # Results of other pictures are pictures like any other.
    assert translate(photos / "m1", "--model", model, "--output", photos.parent / "again") == 0
    assert "3 translated in" in capsys.readouterr().out


def test_two_at_once_do_not_mix(
    model: Path,
    tmp_path: Path,
    picture_folder: Callable[..., Path],
    capsys: pytest.CaptureFixture[str],
) -> None:
    photos, out = picture_folder("photos", count=1), tmp_path / "out"
    words = (photos, "--model", model, "--output", out)
    with ResultsFolder(out, []).opened():
        assert translate(*words) == 1
    assert f"{out / 'page'}: another impasto translate writes into it" in capsys.readouterr().err
    assert translate(*words) == 0


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
        r"5000 x 4000 pixels need about (\d\.\d) GB of memory, and 0\.4 GB are free; "
        r"try --long_side (\d+)",
        line.removeprefix(before),
    )
    assert said is not None
    assert float(said[1]) > 0.4
    # What is advised fits, and is what is needed.
    assert translate(*words, "--long_side", said[2]) == 0
    assert read_picture(out / "00.png").rgb.shape[1] == int(said[2])


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_signals_end_it_with_what_is_done(
    model: Path,
    tmp_path: Path,
    picture_folder: Callable[..., Path],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    number: signal.Signals,
    status: int,
) -> None:
    photos, out = picture_folder("photos", count=6), tmp_path / "out"
    calls = itertools.count()
    whole = Translator.__call__

    def call(translator: Translator, images: torch.Tensor) -> torch.Tensor:
        if next(calls) == 2:
            signal.raise_signal(number)
        return whole(translator, images)

    words = (photos, "--model", model, "--output", out, "--batch_size", 1)
    with monkeypatch.context() as patch:
        patch.setattr(Translator, "__call__", call)
        assert translate(*words) == status
    err = capsys.readouterr().err
    assert f"finished pictures are in {out}, and the same command continues" in err
    assert sorted(path.name for path in out.glob("*.png")) == ["00.png", "01.png"]
    assert shown(out)[1::2] == ["00.png", "01.png"]
    assert not list(out.rglob(".impasto-*"))
    # What a kill leaves, which cannot tidy up, is cleared by the next call.
    for folder in (out, out / "page" / "before"):
        (folder / ".impasto-abc.tmp").touch()
    assert translate(*words) == 0
    printed = capsys.readouterr().out
    assert "4 translated in" in printed
    assert "2 already there" in printed
    assert not list(out.rglob(".impasto-*"))


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


def test_names_and_previews_that_would_be_too_long_are_shortened(
    model: Path, tmp_path: Path, picture_folder: Callable[..., Path]
) -> None:
    photos = picture_folder("in", count=1)
    stem = "a" * 251
    for name in (f"{stem}.PNG", "\u6a21" * 83 + ".png"):
        (photos / name).write_bytes((photos / "00.png").read_bytes())
    (photos / "00.png").rename(photos / f"{stem}.png")
    out = tmp_path / "out"
    assert translate(photos, "--model", model, "--direction", "AtoB", "--output", out) == 0
    assert len(list(out.glob("*.png"))) == 3
    assert len(shown(out)) == 6


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


@pytest.mark.parametrize("direction", ["AtoB", "BtoA"])
def test_a_shipped_model_has_no_direction_to_choose(
    tmp_path: Path,
    direction: str,
    picture_folder: Callable[..., Path],
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Who wants Monets into photographs must not get the reverse without a word."""
    photos, out = picture_folder("photos"), tmp_path / "out"
    assert translate(photos, "--model", "monet", "--direction", direction, "--output", out) == 2
    says = capsys.readouterr().err
    assert "monet always makes photographs into Monets" in says
    assert "use --model photo for the other direction" in says
    assert not out.exists()
