"""Animations: read back with Pillow (and PyAV where it is installed), frame by frame.

The film of an optimization.
"""

import importlib
import importlib.util
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any, overload

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageSequence

from impasto.data.animations import Film, StoredFrames, check_animation, write_animation
from impasto.data.decode import Picture
from impasto.data.encode import write_picture
from impasto.options.errors import ImpastoError, PictureError

Rgb = NDArray[np.uint8]
RNG = np.random.default_rng(3)


def frame(height: int = 24, width: int = 37, *, seed: int = 0) -> Rgb:
    small = np.random.default_rng(seed).integers(0, 256, (3, 4, 3), dtype=np.uint8)
    scaled = Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)
    return np.asarray(scaled)


def read(path: Path) -> tuple[list[Rgb], list[float]]:
    with Image.open(path) as image:
        frames = [
            (np.asarray(one.convert("RGB")), one.info["duration"])
            for one in ImageSequence.Iterator(image)
        ]
        assert image.info["loop"] == 0
    return [pixels for pixels, _ in frames], [duration for _, duration in frames]


class Counted(Sequence[Rgb]):
    """Frames that count how many of them are alive."""

    def __init__(self, count: int) -> None:
        self.length, self.read = count, 0

    def __len__(self) -> int:
        return self.length

    @overload
    def __getitem__(self, index: int) -> Rgb: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[Rgb]: ...

    def __getitem__(self, index: Any) -> Any:
        self.read += 1
        return frame(seed=int(index) % self.length)


@pytest.mark.parametrize("suffix", [".png", ".APNG"])
def test_apng_is_exact(tmp_path: Path, suffix: str) -> None:
    frames = [frame(seed=seed) for seed in range(4)]
    path = tmp_path / "new" / f"a{suffix}"
    write_animation(path, frames, frame_ms=40, hold_ms=1500)
    back, durations = read(path)
    np.testing.assert_array_equal(back, frames)
    assert durations == [40, 40, 40, 1500]
    assert [file.name for file in path.parent.iterdir()] == [f"a{suffix}"]


def test_apng_chunks_are_whole_and_numbered(tmp_path: Path) -> None:
    write_animation(tmp_path / "a.png", [frame(seed=seed) for seed in range(3)])
    data = (tmp_path / "a.png").read_bytes()
    at, kinds, numbers = 8, [], []
    while at < len(data):
        length, kind = struct.unpack(">I4s", data[at : at + 8])
        kinds.append(kind)
        if kind in (b"fcTL", b"fdAT"):
            numbers.append(int.from_bytes(data[at + 8 : at + 12], "big"))
        at += 12 + length
    assert kinds[:4] == [b"IHDR", b"acTL", b"fcTL", b"IDAT"]
    assert kinds[-1] == b"IEND"
    assert numbers == list(range(len(numbers)))


def test_gif_is_close_and_loops(tmp_path: Path) -> None:
    frames = [frame(seed=seed) for seed in range(4)]
    write_animation(tmp_path / "a.gif", frames, frame_ms=50, hold_ms=700)
    back, durations = read(tmp_path / "a.gif")
    assert durations == [50, 50, 50, 700]
    for ours, theirs in zip(back, frames, strict=True):
        # Dithered, so close on the average of a neighborhood.
        assert np.abs(ours.astype(int).mean((0, 1)) - theirs.mean((0, 1))).max() < 4
        assert np.abs(ours.astype(int) - theirs).mean() < 8


def test_gif_of_few_colors_is_exact_and_still_areas_stay(tmp_path: Path) -> None:
    colors = np.array([[0, 0, 0], [255, 255, 255], [200, 30, 30], [10, 90, 200]], np.uint8)
    frames = [colors[RNG.integers(0, 4, (30, 40))] for _ in range(3)]
    for one in frames:
        one[:10] = frames[0][:10]
    write_animation(tmp_path / "a.gif", frames)
    back, _ = read(tmp_path / "a.gif")
    np.testing.assert_array_equal(back, frames)


def test_gif_of_one_color_and_one_pixel(tmp_path: Path) -> None:
    for index, one in enumerate((np.full((9, 8, 3), 77, np.uint8), np.zeros((1, 1, 3), np.uint8))):
        write_animation(tmp_path / f"{index}.gif", [one, one])
        with Image.open(tmp_path / f"{index}.gif") as image:
            assert image.n_frames == 2  # type: ignore[attr-defined]
            np.testing.assert_array_equal(np.asarray(image.convert("RGB")), one)


def test_durations_that_a_gif_cannot_hold(tmp_path: Path) -> None:
    write_animation(tmp_path / "a.gif", [frame(), frame(seed=1)], frame_ms=1, hold_ms=1)
    assert read(tmp_path / "a.gif")[1] == [20, 20]


@pytest.mark.parametrize("suffix", [".gif", ".png"])
def test_frames_get_the_size_of_the_last(tmp_path: Path, suffix: str) -> None:
    frames = [frame(12, 18), frame(23, 36), frame(24, 37)]
    write_animation(tmp_path / f"a{suffix}", frames)
    back, _ = read(tmp_path / f"a{suffix}")
    assert {one.shape for one in back} == {(24, 37, 3)}
    large = np.asarray(Image.fromarray(frames[0]).resize((37, 24), Image.Resampling.BICUBIC))
    assert np.abs(back[0].astype(int) - large).mean() < (8 if suffix == ".gif" else 1e-9)


@pytest.mark.parametrize("suffix", [".gif", ".png"])
def test_equal_frames_give_equal_bytes(tmp_path: Path, suffix: str) -> None:
    frames = [frame(seed=seed) for seed in range(3)]
    for name in ("a", "b"):
        write_animation(tmp_path / f"{name}{suffix}", frames)
    assert (tmp_path / f"a{suffix}").read_bytes() == (tmp_path / f"b{suffix}").read_bytes()


def test_frames_are_read_one_by_one(tmp_path: Path) -> None:
    frames = Counted(40)
    write_animation(tmp_path / "a.gif", frames)
    assert frames.read == 40 + 16 + 1  # the pixels, the palette, the size
    assert len(read(tmp_path / "a.gif")[0]) == 40


def test_what_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PictureError, match=r"none of \.gif, \.png, \.apng, \.mp4"):
        check_animation(tmp_path / "a.webm")
    with pytest.raises(PictureError, match="too large for a GIF"):
        write_animation(tmp_path / "a.gif", [np.zeros((1, 65536, 3), np.uint8)])
    with pytest.raises(ValueError, match="at least one frame"):
        write_animation(tmp_path / "a.gif", [])
    for frame_ms, hold_ms in ((0, 2000), (100, 70000)):
        with pytest.raises(ValueError, match="durations of 1 to 65535"):
            write_animation(tmp_path / "a.gif", [frame()], frame_ms=frame_ms, hold_ms=hold_ms)
    for several in ([100, 100], [0], [70000]):
        with pytest.raises(ValueError, match="duration of 1 to 65535 ms for each frame"):
            write_animation(tmp_path / "a.gif", [frame()], durations_ms=several)
    (tmp_path / "b.gif").mkdir()
    with pytest.raises(PictureError, match="cannot be written: is a directory"):
        write_animation(tmp_path / "b.gif", [frame()])
    assert [file.name for file in tmp_path.iterdir()] == ["b.gif"]


def test_a_full_disk_keeps_the_old_file(small_disk: Path) -> None:
    path = small_disk / "a.png"
    write_animation(path, [frame()])
    noise = [RNG.integers(0, 256, (200, 200, 3), dtype=np.uint8) for _ in range(3)]
    for name in ("a.png", "a.gif"):
        with pytest.raises(PictureError, match="cannot be written: no space left"):
            write_animation(small_disk / name, noise)
    with Image.open(path) as image:
        np.testing.assert_array_equal(np.asarray(image), frame())
    assert [file.name for file in small_disk.iterdir()] == ["a.png"]


def test_mp4_without_pyav(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr("impasto.data.animations.importlib.import_module", refuse)
    with pytest.raises(PictureError, match=r'a.mp4: needs PyAV: pip install "impasto\[video\]"'):
        check_animation(tmp_path / "a.mp4")


@pytest.fixture
def av() -> Any:
    if importlib.util.find_spec("av") is None:
        pytest.skip('needs PyAV: pip install "impasto[video]"')
    return importlib.import_module("av")


@pytest.mark.parametrize("size", [(24, 36), (23, 37), (480, 720), (721, 1281)])
def test_mp4(tmp_path: Path, av: Any, size: tuple[int, int]) -> None:
    frames = [frame(*size, seed=seed) for seed in range(3)]
    path = tmp_path / "a.mp4"
    write_animation(path, frames, frame_ms=40, hold_ms=200)
    with av.open(str(path)) as container:
        back = [one.to_ndarray(format="rgb24") for one in container.decode(video=0)]
        stream = container.streams.video[0]
        assert stream.average_rate == 25
        assert stream.codec_context.pix_fmt == "yuv420p"
        assert stream.codec_context.colorspace == 1  # ITU-R BT.709
    assert len(back) == 2 + 5
    assert back[0].shape == (size[0] + size[0] % 2, size[1] + size[1] % 2, 3)
    for ours, theirs in zip(back, [*frames, *[frames[-1]] * 4], strict=True):
        assert np.abs(ours[: size[0], : size[1]].astype(int) - theirs).mean() < 8


def plain_frame(value: int, height: int = 12, width: int = 16) -> NDArray[np.uint8]:
    return np.full((height, width, 3), value, np.uint8)


def test_frames_of_all_scales_become_one_film(tmp_path: Path) -> None:
    with Film(tmp_path / "out" / "a.gif", frame_ms=30, hold_ms=900) as film:
        for index in range(3):
            film.add(plain_frame(40 * index, 6, 8))
        film.add(plain_frame(200))
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
        film.add(plain_frame(1))
        film.write()
        film.add(plain_frame(2))
        film.write()
    with Image.open(tmp_path / "a.png") as image:
        assert image.n_frames == 2  # type: ignore[attr-defined]


def test_frames_wait_on_disk_and_are_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    def stopped() -> None:
        with Film(tmp_path / "a.gif") as film:
            film.add(plain_frame(1))
            film.add(plain_frame(2))
            assert len(list(tmp_path.rglob("*.png"))) == 2
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        stopped()
    assert list(tmp_path.iterdir()) == []


def test_a_film_refuses_what_no_animation_is(tmp_path: Path) -> None:
    with pytest.raises(PictureError, match=r"a.avi: cannot be written: its suffix"):
        Film(tmp_path / "a.avi")
    with Film(tmp_path / "a.gif") as film, pytest.raises(ImpastoError, match="there is no frame"):
        film.write()


def test_frames_read_as_a_sequence(tmp_path: Path) -> None:
    for value in range(3):
        write_picture(tmp_path / f"{value:06d}.png", Picture(rgb=plain_frame(value)))
    frames = StoredFrames(sorted(tmp_path.iterdir()))
    assert [one[0, 0, 0] for one in frames[1:]] == [1, 2]
    assert frames[-1][0, 0, 0] == 2
    with pytest.raises(IndexError):
        frames[3]
