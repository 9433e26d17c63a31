"""Films through `impasto translate`: whole, killed and resumed, on full disks, beside pictures."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from impasto.cyclegan.films.job import measure_flicker
from impasto.data.films.reading import FilmReader
from impasto.data.films.writing import FilmSegments
from impasto.options.errors import ImpastoError, OptionError, PictureError
from impasto.runs.directory import lock_folder
from tests.films import Rgb, need_av, packets, pan, write_film
from tests.translating import shown, translate

pytest.importorskip("cv2", reason='needs OpenCV: pip install "impasto[film]"')

Process = subprocess.Popen[str]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """The file of a tiny generator."""
    import torch  # noqa: PLC0415

    from impasto.cyclegan.architecture import GeneratorArchitecture  # noqa: PLC0415
    from impasto.cyclegan.weights import save_generator  # noqa: PLC0415

    torch.manual_seed(0)
    architecture = GeneratorArchitecture(kind="resnet", depth=1, channels=2)
    path = tmp_path / "tiny.safetensors"
    weights = architecture.build().state_dict()
    save_generator(path, weights, architecture, {"grid_bend_px": "3.0", "weights": "last"})
    return path


def duration(path: Path) -> float:
    with FilmReader(path) as film:
        *_, last = film.frames()
        return float((last.time + last.duration) * film.facts.time_base)


@pytest.mark.parametrize("steady", ["true", "false"])
def test_a_film_keeps_its_sound_size_and_duration(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], steady: str
) -> None:
    clip = write_film(tmp_path / "clip.mp4", pan(30))
    out = tmp_path / "new" / "out.mp4"
    words = (clip, "--model", model, "--output", out, "--steady", steady)
    assert translate(*words) == 0
    before, after = packets(clip, "audio"), packets(out, "audio")
    assert after == before
    assert abs(duration(out) - duration(clip)) <= 1 / 25
    assert [time for _, time in packets(out, "video")] == [
        Fraction(index, 25) for index in range(30)
    ]
    said = capsys.readouterr()
    assert "1 film, 0 already there, 0 failed" in said.out
    assert f"film: {out}" in said.out
    assert "to do: 30 frames" in said.err
    assert sorted(path.name for path in out.parent.iterdir()) == ["out.mp4"]
    # Again: it is there. With other settings: it is not replaced without being asked.
    first = out.read_bytes()
    assert translate(*words) == 0
    assert "1 already there" in capsys.readouterr().out
    assert translate(*words, "--crf", 30) == 1
    assert "choose another --output, or replace it with --overwrite true" in capsys.readouterr().err
    assert out.read_bytes() == first
    assert translate(*words, "--crf", 30, "--overwrite") == 0
    assert out.stat().st_size < len(first)


def test_films_and_pictures_share_a_folder_and_its_page(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photos, out = tmp_path / "photos", tmp_path / "out"
    photos.mkdir()
    frames = pan(3, height=48, width=64)
    write_film(photos / "clip.mp4", frames)
    write_film(photos / "old.avi", frames, sound=False, codec="mpeg4")
    images = [Image.fromarray(rgb) for rgb in frames]
    images[0].save(photos / "moving.gif", save_all=True, append_images=images[1:], duration=70)
    images[0].save(photos / "clip.png")
    (photos / "bad.mov").write_bytes(b"nothing")
    assert translate(photos, "--model", model, "--output", out, "--steady") == 1
    said = capsys.readouterr()
    assert "1 translated in" in said.out
    assert "3 films, 0 already there, 1 failed" in said.out
    assert f"failed: {photos / 'bad.mov'}: is damaged or cut short, or no film" in said.err
    names = {"clip.mp4", "old.mkv", "moving.gif", "clip.png", "index.html", "page"}
    assert {path.name for path in out.iterdir()} == names
    assert len(shown(out)) == 8
    with FilmReader(out / "moving.gif") as film:
        assert [frame.duration for frame in film.frames()] == [70] * 3
    assert translate(photos, "--model", model, "--output", out, "--steady") == 1
    assert "0 translated, 4 already there, 1 failed" in capsys.readouterr().out
    assert translate(photos, "--model", model, "--output", out) == 1
    assert "3 films, 1 already there" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["clip.mp4", "clip.png"], "is for a single film"),
        (["clip.png"], "is for a single film"),
        (["clip.mp4", "--model", "all"], "--model: needs a folder as --output"),
        (["clip.mp4", "--sheet", "sheet.png"], "--sheet: needs a folder as --output"),
        (["clip.mp4", "--codec", "vp8"], "codec"),
        (["clip.mp4", "--crf", "-1"], "crf"),
    ],
)
def test_what_a_film_cannot_be(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    write_film(tmp_path / "clip.mp4", pan(2))
    Image.fromarray(pan(1)[0]).save("clip.png")
    assert translate(*words, "--output", "out.mp4") == 2
    assert message in capsys.readouterr().err
    assert translate("clip.mp4", "--output", "clip.mp4") == 2
    assert "would overwrite the film itself" in capsys.readouterr().err


def test_strokes_that_stay_on_the_screen_make_another_film(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    frames = pan(4, height=64, width=96)
    images = [Image.fromarray(rgb) for rgb in frames]
    clip = tmp_path / "a.png"
    images[0].save(clip, save_all=True, append_images=images[1:], duration=40)
    made = {}
    for name, words in {
        "alone": (),
        "scene": ("--steady",),
        "screen": ("--steady", "--steady_strokes", "screen"),
    }.items():
        out = tmp_path / f"{name}.png"
        assert translate(clip, "--model", model, "--output", out, *words) == 0
        with FilmReader(out) as film:
            made[name] = np.stack([frame.rgb for frame in film.frames()]).astype(float)
    first = {name: rgb[0] for name, rgb in made.items()}
    assert np.array_equal(first["screen"], first["alone"])  # painted as by itself
    assert not np.array_equal(first["scene"], first["alone"])
    near, far = (np.abs(made[name][-1] - made["alone"][-1]).mean() for name in ("screen", "scene"))
    assert 0 < near < far
    alone = ["--model", model, "--output", tmp_path / "other.png", "--steady_strokes", "screen"]
    assert translate(clip, *alone) == 2
    assert "is for films with --steady; give that, too" in capsys.readouterr().err


def test_size_and_strength_count_for_films_too(model: Path, tmp_path: Path) -> None:
    frames = pan(2, height=64, width=96)
    images = [Image.fromarray(rgb) for rgb in frames]
    images[0].save(tmp_path / "a.png", save_all=True, append_images=images[1:], duration=40)
    words = ("--model", model, "--strength", 0, "--long_side", 48, "--stroke_scale", 2)
    assert translate(tmp_path / "a.png", "--output", tmp_path / "out.png", *words, "--steady") == 0
    with FilmReader(tmp_path / "out.png") as film:
        made = [frame.rgb for frame in film.frames()]
    assert made[0].shape == (32, 48, 3)
    small = np.asarray(images[0].resize((48, 32), Image.Resampling.LANCZOS)).astype(int)
    assert np.abs(made[0] - small).mean() < 4


# A command that sends itself a signal in the middle of a segment, however busy a machine is.
STOPPED = """
import os, sys
from impasto.data.films.writing import FilmSegments
from impasto.scripts.main import main

signal, segment = int(sys.argv[1]), int(sys.argv[2])
write = FilmSegments.write

def stopping(segments, frames):
    number = len(segments)
    def some():
        for index, frame in enumerate(frames):
            if (number, index) == (segment, 5):
                os.kill(os.getpid(), signal)
            yield frame
    write(segments, some())

FilmSegments.write = stopping
sys.exit(main(sys.argv[3:]))
"""


def test_a_film_that_was_stopped_twice_becomes_the_same_file(
    model: Path, tmp_path: Path, start_process: Callable[..., Process]
) -> None:
    clip = write_film(tmp_path / "clip.mp4", pan(72, height=48, width=64))
    words = (clip, "--model", model, "--steady", "true", "--threads", 1, "--output")
    assert translate(*words, tmp_path / "whole.mp4") == 0
    said = ""
    out, ends = tmp_path / "out.mp4", ((signal.SIGKILL, -9), (signal.SIGINT, 130))
    for segment, (how, status) in enumerate(ends, 1):
        call = [sys.executable, "-c", STOPPED, int(how), segment, "translate", *words, out]
        pipes = {"stderr": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        process = start_process([str(word) for word in call], **pipes)
        _, said = process.communicate(timeout=300)
        assert process.returncode == status, said
        assert "Traceback" not in said
        assert not out.exists()
        whole = {path.name for path in (tmp_path / ".out.mp4.film").glob("*.json")}
        assert whole == {f"{number:06d}.json" for number in range(segment)}
    assert "finished parts lie beside" in said
    assert translate(*words, out) == 0
    assert out.read_bytes() == (tmp_path / "whole.mp4").read_bytes()
    assert not list(tmp_path.glob(".*"))


def test_segments_of_other_settings_are_not_taken(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip = write_film(tmp_path / "clip.mp4", pan(30), sound=False)
    words = (clip, "--model", model, "--output")

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("impasto.data.films.writing.FilmSegments.join", stop)
        assert translate(*words, tmp_path / "out.mp4", "--strength", 0.5) == 130
    assert (tmp_path / ".out.mp4.film" / "000001.json").is_file()
    assert translate(*words, tmp_path / "out.mp4") == 0
    assert translate(*words, tmp_path / "whole.mp4") == 0
    assert (tmp_path / "out.mp4").read_bytes() == (tmp_path / "whole.mp4").read_bytes()


def test_a_full_disk_keeps_what_is_done(
    model: Path,
    tmp_path: Path,
    mount_disk: Callable[[str], Path],
    capsys: pytest.CaptureFixture[str],
) -> None:
    clip = write_film(tmp_path / "clip.mp4", pan(60, height=128, width=192), sound=False)
    disk = mount_disk("128k")
    words = (clip, "--model", model, "--crf", 1, "--output")
    assert translate(*words, disk / "out.mp4") == 1
    said = capsys.readouterr().err
    assert "the disk is full" in said
    assert "repeat the command, it goes on from there" in said
    assert "Traceback" not in said
    assert not (disk / "out.mp4").exists()


def test_a_film_that_cannot_be_read_leaves_nothing_behind(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    need_av()
    (tmp_path / "clip.mp4").write_bytes(b"no film" * 100)
    assert translate(tmp_path / "clip.mp4", "--model", model, "--output", tmp_path / "o.mp4") == 1
    assert "is damaged or cut short, or no film" in capsys.readouterr().err
    write_film(tmp_path / "clip.mp4", pan(3))
    assert translate(tmp_path / "clip.mp4", "--model", model, "--output", tmp_path / "o.webm") == 1
    assert "choose a name that ends in one of .mkv" in capsys.readouterr().err
    assert {path.name for path in tmp_path.iterdir()} == {"clip.mp4", model.name}


def test_packages_that_are_missing_are_named(
    model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    clip = write_film(tmp_path / "clip.mp4", pan(2))
    words = (clip, "--model", model, "--output", tmp_path / "out.mp4")
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "cv2", None)
        assert translate(*words, "--steady") == 1
        assert "pip install opencv-python-headless" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "av", None)
    assert translate(*words) == 1
    assert "pip install av" in capsys.readouterr().err


def test_flicker_of_a_film_beside_its_inputs(tmp_path: Path) -> None:
    frames = pan(6)
    rng = np.random.default_rng(0)
    noisy = [np.clip(f + rng.normal(0, 12, f.shape), 0, 255).astype(np.uint8) for f in frames]

    def save(name: str, some: list[Rgb]) -> Path:
        images = [Image.fromarray(rgb) for rgb in some]
        images[0].save(tmp_path / name, save_all=True, append_images=images[1:], duration=40)
        return tmp_path / name

    inputs, film = save("in.png", frames), save("out.png", noisy)
    found = measure_flicker(film, inputs)
    assert (found.frames, found.cuts) == (6, 0)
    assert found.inputs_warping_error is not None
    assert found.inputs_warping_error < 3e-4
    assert found.warping_error == pytest.approx(2 * 144 / 255**2, rel=0.35)
    assert measure_flicker(inputs, None).inputs_warping_error is None
    with pytest.raises(PictureError, match="has more frames than"):
        measure_flicker(film, save("short.png", frames[:4]))
    with pytest.raises(PictureError, match=r"has 4 frames, and .* has more"):
        measure_flicker(tmp_path / "short.png", inputs)
    with pytest.raises(OptionError, match="it is another film"):
        measure_flicker(film, save("other.png", [rgb[:, :40] for rgb in frames]))


def test_measuring_says_what_it_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(ImpastoError, match="pip install opencv-python-headless"):
        measure_flicker(tmp_path / "a.png", None)


def test_two_commands_do_not_work_on_one_film(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if os.name == "nt":
        pytest.skip("needs locks")
    clip, folder = write_film(tmp_path / "clip.mp4", pan(3)), tmp_path / ".out.mp4.film"
    words = (clip, "--model", model, "--output", tmp_path / "out.mp4")
    # As another command holds it that is at its first segment.
    with lock_folder(folder, "busy"):
        (folder / "key").write_text("of the other")
        assert translate(*words) == 1
        assert "another impasto translate works on this film" in capsys.readouterr().err
        (tmp_path / "out.mp4").write_bytes(b"which the other will replace")
        assert translate(*words) == 1
        assert "is there already" in capsys.readouterr().err
        assert (folder / "key").read_text() == "of the other"
    assert translate(*words, "--overwrite") == 0
    assert not folder.exists()


def test_a_film_that_changes_while_it_is_read_is_refused(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clip = write_film(tmp_path / "clip.mp4", pan(3))
    words = (clip, "--model", model, "--output", tmp_path / "out.mp4")
    check, other = FilmSegments.check_sound, write_film(tmp_path / "other.mp4", pan(30))

    def check_and_replace(self: FilmSegments, source: Path) -> None:
        check(self, source)
        other.replace(source)

    with monkeypatch.context() as patch:
        patch.setattr(FilmSegments, "check_sound", check_and_replace)
        assert translate(*words) == 1
    assert f"failed: {clip}: was changed while it was read" in capsys.readouterr().err
    assert not (tmp_path / "out.mp4").exists()
    assert translate(*words) == 0
    with FilmReader(tmp_path / "out.mp4") as film:
        assert len(list(film.frames())) == 30


@pytest.mark.parametrize("name", ["out.gif", "out.apng", "out.mkv", "out.mov"])
def test_a_film_that_is_there_is_not_made_again(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    clip = write_film(tmp_path / "clip.mp4", pan(3), sound=False)
    words = (clip, "--model", model, "--output", tmp_path / name)
    assert translate(*words) == 0
    before = (tmp_path / name).stat().st_mtime_ns
    assert translate(*words) == 0
    assert "1 already there" in capsys.readouterr().out
    assert (tmp_path / name).stat().st_mtime_ns == before
    assert translate(*words, "--strength", 0.5) == 1
    assert "is there already" in capsys.readouterr().err


def test_names_may_look_like_addresses(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if os.name == "nt":
        pytest.skip("names have no colons")
    monkeypatch.chdir(tmp_path)
    write_film(tmp_path / "a.mp4", pan(3)).rename("12:30.mp4")
    assert translate("12:30.mp4", "--model", model, "--output", "http:2.mp4") == 0
    assert translate("12:30.mp4", "--model", model, "--output", "http:2.mp4") == 0
    assert duration(Path("http:2.mp4")) == pytest.approx(3 / 25)
