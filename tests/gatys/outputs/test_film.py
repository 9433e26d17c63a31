"""The film of an optimisation."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from impasto.data.decode import Picture
from impasto.data.encode import write_picture
from impasto.gatys.outputs.film import Film, _Frames
from impasto.options.errors import ImpastoError, PictureError


def frame(value: int, height: int = 12, width: int = 16) -> NDArray[np.uint8]:
    return np.full((height, width, 3), value, np.uint8)


def test_frames_of_all_scales_become_one_film(tmp_path: Path) -> None:
    with Film(tmp_path / "out" / "a.gif", frame_ms=30, hold_ms=900) as film:
        for index in range(3):
            film.add(frame(40 * index, 6, 8))
        film.add(frame(200))
        assert len(film) == 4
        assert not (tmp_path / "out").exists()
        assert film.write() == tmp_path / "out" / "a.gif"
    with Image.open(tmp_path / "out" / "a.gif") as image:
        assert image.size == (16, 12)
        values = []
        for index in range(4):
            image.seek(index)
            values.append(np.asarray(image.convert("RGB"))[5, 5, 0])
        assert values == [0, 40, 80, 200]
        assert image.info["duration"] == 900


def test_a_film_can_be_written_while_it_goes_on(tmp_path: Path) -> None:
    with Film(tmp_path / "a.png") as film:
        film.add(frame(1))
        film.write()
        film.add(frame(2))
        film.write()
    with Image.open(tmp_path / "a.png") as image:
        assert image.n_frames == 2  # type: ignore[attr-defined]


def test_frames_wait_on_disk_and_are_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    def stopped() -> None:
        with Film(tmp_path / "a.gif") as film:
            film.add(frame(1))
            film.add(frame(2))
            assert len(list(tmp_path.rglob("*.png"))) == 2
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        stopped()
    assert list(tmp_path.iterdir()) == []


def test_what_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PictureError, match=r"a.avi: cannot be written: its suffix"):
        Film(tmp_path / "a.avi")
    with Film(tmp_path / "a.gif") as film, pytest.raises(ImpastoError, match="there is no frame"):
        film.write()


def test_frames_read_as_a_sequence(tmp_path: Path) -> None:
    for value in range(3):
        write_picture(tmp_path / f"{value:06d}.png", Picture(rgb=frame(value)))
    frames = _Frames(tmp_path, 3)
    assert [one[0, 0, 0] for one in frames[1:]] == [1, 2]
    assert frames[-1][0, 0, 0] == 2
    with pytest.raises(IndexError):
        frames[3]
