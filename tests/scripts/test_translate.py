"""`impasto translate` as a user calls it."""

import itertools
import os
import re
import signal
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from impasto.cyclegan.architecture import GeneratorArchitecture
from impasto.cyclegan.inference.translator import Translator
from impasto.cyclegan.jobs.results import ResultsFolder
from impasto.cyclegan.models import SHIPPED, find_generator, read_shipped
from impasto.cyclegan.weights import save_generator
from impasto.data import read_picture
from impasto.data.files import list_pictures
from impasto.runs.pages.page import page as start_page, write_page
from tests.browser import parse_page
from tests.translating import shown, translate

Pictures = Sequence[NDArray[np.uint8]]
Ended = Callable[[], list[NDArray[np.uint8]]]


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
    capsys.readouterr()
    assert translate(photos, "--model", "monet_strokes", "--output", tmp_path / "former") == 0
    assert "monet_strokes is now called monet" in capsys.readouterr().err
    assert np.array_equal(read_picture(tmp_path / "former" / "00.png").rgb, monet)


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


def test_strokes_can_be_larger(
    tmp_path: Path,
    picture_folder: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    # A painter that says nothing of the size of its strokes.
    (tmp_path / "shipped").mkdir()
    architecture = GeneratorArchitecture(kind="resnet", depth=1, channels=2)
    weights, said = architecture.build().state_dict(), {"what": "photographs into Monets"}
    save_generator(tmp_path / "shipped" / "monet.safetensors", weights, architecture, said)
    monkeypatch.setitem(SHIPPED, "monet", read_shipped(tmp_path / "shipped")["monet"])
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

    monkeypatch.setattr("impasto.cyclegan.jobs.making.convert", interrupt)
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
        assert re.match(f"{done} translated{' in' if done else ','}", printed.out)
        assert f"{2 - done} already there" in printed.out
        assert says in printed.err
    assert read_picture(out / "00.png").rgb.mean() < 10  # of G_B
    # One more picture, with the other model: the page says of what the rest is.
    more = picture_folder("more", count=3, size=(40, 30))
    assert translate(more / "02.png", *first[1:], "--output", out) == 0
    said = f"direction BtoA, long_side 20, model {second[2]}"
    assert f"also holds other results, made with {said}" in capsys.readouterr().err
    page = (out / "index.html").read_text(encoding="utf-8")
    assert said in page
    assert all(f"0{index}.png" in page for index in range(3))


@pytest.mark.parametrize(("form", "suffix"), [("png", ".png"), ("jpg", ".jpg"), ("webp", ".webp")])
def test_formats_and_long_side(
    model: Path, tmp_path: Path, picture_folder: Callable[..., Path], form: str, suffix: str
) -> None:
    photos, out = picture_folder("photos", count=1, size=(40, 60)), tmp_path / "out"
    chosen = ["--format", form, "--long_side", 30, *(() if form == "png" else ("--quality", 80))]
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
    said = "passed over: 2 pictures that Impasto made of others of this input, such"
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
    whole = Translator.begin

    def begin(translator: Translator, pictures: Pictures) -> Ended:
        if next(calls) == 2:
            signal.raise_signal(number)
        return whole(translator, pictures)

    words = (photos, "--model", model, "--output", out, "--batch_size", 1)
    with monkeypatch.context() as patch:
        patch.setattr(Translator, "begin", begin)
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


def test_the_page_says_what_was_chosen_and_of_shipped_models_what_they_do(
    model: Path, picture_folder: Callable[..., Path]
) -> None:
    photos = picture_folder("photos", count=1, size=(24, 16))
    out = photos.parent / "out"

    def facts(*words: object) -> dict[str, str]:
        assert translate(photos, "--output", out, *words) == 0
        page = parse_page(out / "index.html")
        names, values = (page.find(tag) for tag in ("dt", "dd"))
        return {name.text: value.text for name, value in zip(names, values, strict=True)}

    bend_px = find_generator(Path("monet")).grid_bend_px
    other_px = 0 if bend_px else 2
    shipped = facts("--model", "monet")
    assert shipped["Direction"] == "photographs into Monets"
    assert "Settings" not in shipped
    assert facts("--grid_bend_px", bend_px, "--threads", 1).get("Settings") is None  # as it is
    several = ("--stroke_scale", 2, "--long_side", 20, "--grid_bend_px", other_px)
    said = f"--long_side 20, --stroke_scale 2, --grid_bend_px {other_px}"
    assert facts(*several)["Settings"] == said
    own = facts("--model", model, "--epoch", 7, "--format", "jpg", "--quality", 80)
    assert own["Settings"] == "--epoch 7, --format jpg, --quality 80"
    assert own["Direction"] == "AtoB"


def test_the_last_lines_say_no_more_than_is_so(
    model: Path, picture_folder: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    photos = picture_folder("photos", count=1)
    out = photos.parent / "out"
    words = (photos, "--model", model, "--output", out)
    assert translate(*words, "--stroke_scale", 2) == 0
    assert "page: " in (printed := capsys.readouterr().out)
    assert "open it to compare before and after" in printed
    assert translate(*words, "--stroke_scale", 2) == 0
    assert capsys.readouterr().out.splitlines()[0] == "0 translated, 1 already there, 0 failed"
    # The result in another format is another result of the same picture.
    assert translate(*words, "--format", "jpg") == 0
    assert f"{out} also holds other results, made with stroke_scale 2" in capsys.readouterr().err
    (photos / "00.png").write_bytes(b"no picture")
    assert translate(photos, "--model", model, "--output", out / "new") == 1
    failed, page = capsys.readouterr().out.splitlines()
    assert failed == "0 translated, 0 already there, 1 failed"
    assert page == f"page: {out / 'new' / 'index.html'}; it names what failed, and why"
