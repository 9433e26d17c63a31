"""TIFF files that are written by rows, against what was written, by two readers."""

from pathlib import Path

import numpy as np
import pytest
import tifffile

from impasto.data import encode
from impasto.data.decode import Picture, read_picture
from impasto.data.encode import write_rows
from impasto.options.errors import PictureError


@pytest.mark.parametrize("alpha", [False, True])
@pytest.mark.parametrize("big", [False, True])
def test_rows_are_read_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, alpha: bool, big: bool
) -> None:
    if big:
        monkeypatch.setattr(encode, "_MOST_TIFF_BYTES", 100)
    drawn = np.random.default_rng(0).integers(0, 256, (33, 20, 4), np.uint8)
    picture = Picture(rgb=drawn[..., :3], alpha=drawn[..., 3] if alpha else None)
    whole: list[Path] = []
    path = tmp_path / "new" / "b.tif"
    for one in (path.with_name("a.tif"), path):
        with write_rows(one, (33, 20), alpha=alpha, on_whole=whole.append) as put:
            for start in (20, 0, 10, 30):
                rows = slice(start, min(start + 10, 33))
                shown = None if picture.alpha is None else picture.alpha[rows]
                put(start, Picture(rgb=picture.rgb[rows], alpha=shown))
            assert not one.exists()
    assert len(whole) == 2
    assert path.read_bytes() == path.with_name("a.tif").read_bytes()
    with tifffile.TiffFile(path) as file:
        assert file.is_bigtiff == big
        assert np.array_equal(file.asarray(), drawn if alpha else drawn[..., :3])
    read = read_picture(path)
    assert np.array_equal(read.rgb, picture.rgb)
    assert (read.alpha is None) != alpha
    assert sorted(file.name for file in path.parent.iterdir()) == ["a.tif", "b.tif"]


def test_what_fails_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    path.write_text("before")
    for error, seen in ((OSError(28, "No space left"), PictureError), (KeyError("x"), KeyError)):
        with pytest.raises(seen):
            write_and_fail(path, error)
        assert path.read_text() == "before"
        assert list(tmp_path.iterdir()) == [path]


def write_and_fail(path: Path, error: Exception) -> None:
    with write_rows(path, (4, 4)) as put:
        put(0, Picture(rgb=np.zeros((4, 4, 3), np.uint8)))
        raise error
