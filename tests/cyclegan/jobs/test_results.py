"""Whose the pictures in a folder of translations are, whatever ended the command before."""

import errno
import itertools
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from impasto.cyclegan import GeneratorArchitecture
from impasto.cyclegan.inference.translator import Translator
from impasto.cyclegan.jobs.results import ResultsFolder
from impasto.cyclegan.weights import save_generator
from impasto.data import read_picture
from impasto.data.provenance import Made
from impasto.options.errors import PictureError
from tests.translating import shown, translate

Pictures = Sequence[NDArray[np.uint8]]
Ended = Callable[[], list[NDArray[np.uint8]]]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """Weights of a generator."""
    architecture = GeneratorArchitecture(kind="resnet", depth=1, channels=2)
    path = tmp_path / "G_A.safetensors"
    torch.manual_seed(0)
    facts = {"direction": "AtoB", "weights": "last"}
    save_generator(path, architecture.build().state_dict(), architecture, facts)
    return path


def own_picture(path: Path) -> bytes:
    """Write what a user may have written there, and return the file's content."""
    Image.new("RGB", (2, 2), (1, 2, 3)).save(path)
    return path.read_bytes()


def test_a_picture_that_failed_gives_no_right_to_its_name(
    model: Path,
    tmp_path: Path,
    picture_folder: Callable[..., Path],
    capsys: pytest.CaptureFixture[str],
) -> None:
    photos, out = picture_folder("photos", count=2), tmp_path / "out"
    whole = (photos / "01.png").read_bytes()
    (photos / "01.png").write_bytes(b"junk")
    words = (photos, "--model", model, "--output", out)
    assert translate(*words) == 1
    own = own_picture(out / "01.png")
    (photos / "01.png").write_bytes(whole)
    capsys.readouterr()
    assert translate(*words) == 1
    printed = capsys.readouterr()
    assert f"{out / '01.png'}: is there already, and was not made by impasto" in printed.err
    assert "made anew" not in printed.err
    assert (out / "01.png").read_bytes() == own
    (out / "01.png").unlink()
    assert translate(*words) == 0
    assert shown(out)[1::2] == ["00.png", "01.png"]


def test_a_result_that_could_not_be_made_anew_is_still_shown_and_still_guarded(
    model: Path,
    tmp_path: Path,
    picture_folder: Callable[..., Path],
    capsys: pytest.CaptureFixture[str],
) -> None:
    photos, out = picture_folder("photos", count=2), tmp_path / "out"
    words = (photos, "--model", model, "--output", out)
    assert translate(*words) == 0
    before, whole = ((folder / "01.png").read_bytes() for folder in (out, photos))
    (photos / "01.png").write_bytes(b"junk")
    assert translate(*words) == 1
    assert (out / "01.png").read_bytes() == before
    assert shown(out)[1::2] == ["00.png", "01.png"]
    (photos / "01.png").write_bytes(whole)
    capsys.readouterr()
    assert translate(*words) == 0  # nothing to do: it is the result of this picture
    assert "2 already there" in capsys.readouterr().out
    own = own_picture(out / "01.png")
    (photos / "01.png").write_bytes(b"junk")
    assert translate(*words) == 1
    Image.new("RGB", (30, 20)).save(photos / "01.png")
    capsys.readouterr()
    assert translate(*words) == 1
    assert f"{out / '01.png'}: was changed after it was made" in capsys.readouterr().err
    assert (out / "01.png").read_bytes() == own


def test_ctrl_c_gives_no_right_to_the_names_that_were_waiting(
    model: Path,
    tmp_path: Path,
    picture_folder: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    photos, out = picture_folder("photos", count=4), tmp_path / "out"
    words = (photos, "--model", model, "--output", out, "--batch_size", 1)
    (photos / "03.png").rename(tmp_path / "03.png")
    assert translate(*words) == 0
    (tmp_path / "03.png").rename(photos / "03.png")
    calls = itertools.count()
    whole = Translator.begin

    def begin(translator: Translator, pictures: Pictures) -> Ended:
        if next(calls) == 1:
            signal.raise_signal(signal.SIGINT)
        return whole(translator, pictures)

    with monkeypatch.context() as patch:
        patch.setattr(Translator, "begin", begin)
        assert translate(*words, "--long_side", 20) == 130
    assert shown(out)[1::2] == ["00.png", "01.png", "02.png"]
    own = [own_picture(out / name) for name in ("02.png", "03.png")]
    capsys.readouterr()
    assert translate(*words, "--long_side", 20) == 1
    printed = capsys.readouterr()
    assert "1 translated in" in printed.out
    assert "1 already there, 2 failed" in printed.out
    assert f"{out / '02.png'}: was changed after it was made" in printed.err
    assert f"{out / '03.png'}: is there already, and was not made by impasto" in printed.err
    assert [(out / name).read_bytes() for name in ("02.png", "03.png")] == own


KILLED = """
import os, signal, sys
from impasto.cyclegan.jobs.results import ResultsFolder
from impasto.scripts.main import main

def kill(*_):
    os.kill(os.getpid(), signal.SIGKILL)

announce = ResultsFolder.announce
if sys.argv[1] == "before":
    ResultsFolder.announce = lambda *words: (announce(*words), kill())
else:
    ResultsFolder.confirm = kill
main(sys.argv[2:])
"""


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["before", "after"])
def test_what_a_killed_command_has_written_is_known_for_certain(
    model: Path,
    tmp_path: Path,
    picture_folder: Callable[..., Path],
    capsys: pytest.CaptureFixture[str],
    moment: str,
) -> None:
    photos, out = picture_folder("photos", count=1), tmp_path / "out"
    other = picture_folder("other/deep", count=1).parent
    words = ["--model", str(model), "--output", str(out)]

    def kill(*more: str) -> None:
        command = [sys.executable, "-c", KILLED, moment, "translate", str(photos), *words, *more]
        child = subprocess.run(command, check=False, capture_output=True)
        assert child.returncode == -signal.SIGKILL

    kill()
    assert (out / "00.png").is_file() == (moment == "after")
    assert translate(other, *words) == 0  # a call about something else forgets nothing
    capsys.readouterr()
    assert translate(photos, *words) == 0
    there = int(moment == "after")
    assert f"{1 - there} translated{',' if there else ' in'}" in (
        printed := capsys.readouterr().out
    )
    assert f"{there} already there" in printed or not there
    assert not list(out.rglob(".impasto-*"))
    # Making a result anew.
    before = (out / "00.png").read_bytes()
    kill("--long_side", "20")
    assert ((out / "00.png").read_bytes() == before) == (moment == "before")
    assert translate(photos, *words, "--long_side", "20") == 0
    assert f"{there} already there" in capsys.readouterr().out or not there
    assert read_picture(out / "00.png").rgb.shape == (20, 18, 3)
    # What a user puts there after the kill is the user's.
    kill()
    own = own_picture(out / "00.png")
    capsys.readouterr()
    assert translate(photos, *words, "--long_side", "10") == 1
    assert f"{out / '00.png'}: was changed after it was made" in capsys.readouterr().err
    assert (out / "00.png").read_bytes() == own
    (out / "00.png").unlink()
    assert translate(other, *words) == 0
    kill()
    own = own_picture(out / "00.png")
    assert translate(photos, *words) == 1
    assert f"{out / '00.png'}: is there already, and was not" in capsys.readouterr().err
    assert (out / "00.png").read_bytes() == own


def test_what_comes_while_pictures_are_translated_is_not_replaced(
    model: Path,
    tmp_path: Path,
    picture_folder: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    photos, out = picture_folder("photos", count=3), tmp_path / "out"
    words = (photos, "--model", model, "--output", out)
    (photos / "02.png").rename(tmp_path / "02.png")
    assert translate(*words) == 0
    (tmp_path / "02.png").rename(photos / "02.png")
    whole = Translator.begin
    own: list[bytes] = []

    def begin(translator: Translator, pictures: Pictures) -> Ended:
        own[:] = [own_picture(out / name) for name in ("01.png", "02.png")]
        return whole(translator, pictures)

    monkeypatch.setattr(Translator, "begin", begin)
    changed = (*words, "--long_side", 20)
    assert translate(*changed) == 1
    printed = capsys.readouterr()
    for name in ("01.png", "02.png"):
        assert f"{photos / name}: its result cannot be written: {out / name} was put" in printed.err
    assert [(out / name).read_bytes() for name in ("01.png", "02.png")] == own
    assert read_picture(out / "00.png").rgb.shape == (20, 18, 3)
    assert translate(*changed, "--overwrite", "true") == 0
    assert read_picture(out / "02.png").rgb.shape == (20, 18, 3)


def test_notes_that_no_longer_fit_end_the_job_as_any_full_disk(
    model: Path,
    tmp_path: Path,
    picture_folder: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    photos, out = picture_folder("photos", count=3), tmp_path / "out"
    words = (photos, "--model", model, "--output", out, "--num_threads", 1, "--batch_size", 1)
    note = ResultsFolder._note
    # Each result is noted before it is in its place, and when it is there.
    for moment, there in ((0, 0), (3, 2)):
        count = itertools.count()

        def fill(
            folder: ResultsFolder,
            name: str,
            made: Made,
            moment: int = moment,
            count: Iterator[int] = count,
        ) -> None:
            if next(count) >= moment:
                raise PictureError(out, "words") from OSError(errno.EDQUOT, "words")
            note(folder, name, made)

        with monkeypatch.context() as patch:
            patch.setattr(ResultsFolder, "_note", fill)
            assert translate(*words) == 1
        assert "the disk is full after" in capsys.readouterr().err
        assert len(list(out.glob("*.png"))) == there
    assert translate(*words) == 0
    printed = capsys.readouterr().out
    assert "1 translated in" in printed
    assert "2 already there" in printed
