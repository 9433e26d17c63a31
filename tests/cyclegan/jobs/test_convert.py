import errno
import itertools
import threading
import tracemalloc
import weakref
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from impasto.cyclegan.inference.fitting import blend
from impasto.cyclegan.inference.large import LargePlan
from impasto.cyclegan.inference.memory import TranslationMemory
from impasto.cyclegan.inference.translator import NotFiniteError, Translator
from impasto.cyclegan.jobs import convert as convert_module, pictures
from impasto.cyclegan.jobs.convert import Conversion, Converted, Job, convert
from impasto.cyclegan.networks import ResnetGenerator
from impasto.data import transforms
from impasto.data.decode import Picture, read_picture
from impasto.data.encode import write_picture
from impasto.options.errors import ImpastoError, PictureError

RNG = np.random.default_rng(7)


def picture(
    path: Path, height: int = 6, width: int = 5, *, alpha: bool = False
) -> NDArray[np.uint8]:
    """Write a picture of noise and return its samples."""
    samples = RNG.integers(0, 256, (height, width, 4 if alpha else 3), dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(samples).save(path)
    return samples


def negative(images: Tensor) -> Tensor:
    return -images


def job(folder: Path, name: str) -> Job:
    return Job(source=folder / f"{name}.png", target=folder / "out" / f"{name}.png")


def pixels(path: Path) -> NDArray[np.uint8]:
    return read_picture(path).rgb


def whole_files(folder: Path) -> list[str]:
    """Names of all files in a folder, every one of which must be a complete picture."""
    names = sorted(path.name for path in folder.iterdir())
    for name in names:
        read_picture(folder / name)
    return names


class Recorder:
    """Translates to the negative and notes the shapes that it is given."""

    def __init__(self) -> None:
        self.shapes: list[tuple[int, ...]] = []

    def __call__(self, images: Tensor) -> Tensor:
        self.shapes.append(tuple(images.shape))
        assert images.dtype == torch.float32
        assert images.abs().max() <= 1
        return -images


@pytest.mark.parametrize(("batch_size", "threads"), [(1, 1), (3, 2), (50, 4)])
def test_every_picture_becomes_its_own_result(
    tmp_path: Path, batch_size: int, threads: int
) -> None:
    names = [f"{index:02d}" for index in range(13)]
    originals = {name: picture(tmp_path / f"{name}.png") for name in names}
    jobs = [job(tmp_path, name) for name in names]
    told: list[Job] = []
    how = Conversion(batch_size=batch_size, threads=threads)
    result = convert(jobs, negative, how=how, on_done=told.append)
    for name, original in originals.items():
        np.testing.assert_array_equal(pixels(tmp_path / "out" / f"{name}.png"), 255 - original)
    # Pictures of one size keep their order.
    assert result.done == told == jobs
    assert result.failures == {}
    assert result.pixels == 13 * 6 * 5
    assert result.seconds > 0


def test_nothing_to_do() -> None:
    assert convert([], negative, how=Conversion()).done == []


def test_batches_are_of_one_size(tmp_path: Path) -> None:
    sizes = [(6, 5), (5, 6), (6, 5), (6, 5), (5, 6), (7, 7), (6, 5)]
    for index, size in enumerate(sizes):
        picture(tmp_path / f"{index}.png", *size)
    translate = Recorder()
    jobs = [job(tmp_path, str(index)) for index in range(len(sizes))]
    result = convert(jobs, translate, how=Conversion(batch_size=2, threads=2))
    assert translate.shapes == [
        (2, 3, 6, 5),  # 0 and 2
        (2, 3, 5, 6),  # 1 and 4
        (2, 3, 6, 5),  # 3 and 6; 5 waits
        (1, 3, 7, 7),
    ]
    assert [int(done.source.stem) for done in result.done] == [0, 2, 1, 4, 3, 6, 5]
    for index, (height, width) in enumerate(sizes):
        assert pixels(tmp_path / "out" / f"{index}.png").shape == (height, width, 3)


def test_many_sizes_do_not_pile_up(tmp_path: Path) -> None:
    for index in range(12):
        picture(tmp_path / f"{index}.png", 4 + index, 5)
    seen: list[int] = []

    def translate(images: Tensor) -> Tensor:
        seen.append(images.shape[2] - 4)
        return images

    jobs = [job(tmp_path, str(index)) for index in range(12)]
    waiting: list[int] = []

    def count(path: Path) -> Picture:
        waiting.append(int(path.stem) - len(seen))
        return read_picture(path)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pictures, "read_picture", count)
        convert(jobs, translate, how=Conversion(batch_size=2, threads=1))
    assert seen == list(range(12))  # the one that waited longest goes first
    # 2 * batch_size wait for partners, threads + batch_size + 1 are read ahead.
    assert max(waiting) <= 8


def test_previews(tmp_path: Path) -> None:
    for name, height, width in (("large", 40, 80), ("small", 9, 20)):
        picture(tmp_path / f"{name}.png", height, width)
    jobs = [
        Job(
            source=tmp_path / f"{name}.png",
            target=tmp_path / "out" / f"{name}.png",
            before=tmp_path / "page" / "before" / f"{name}.webp",
            after=tmp_path / "page" / "after" / f"{name}.webp",
        )
        for name in ("large", "small")
    ]
    convert(jobs, torch.ones_like, how=Conversion(preview_px=32))
    before, after = tmp_path / "page" / "before", tmp_path / "page" / "after"
    assert pixels(before / "large.webp").shape == (16, 32, 3)
    assert pixels(after / "large.webp").shape == (16, 32, 3)
    assert pixels(after / "large.webp").min() > 250
    assert pixels(before / "large.webp").min() < 200
    assert pixels(before / "small.webp").shape == (9, 20, 3)
    # A small result is its own preview.
    assert not (after / "small.webp").exists()
    assert pixels(tmp_path / "out" / "large.png").shape == (40, 80, 3)


def test_failures_are_named_and_the_rest_goes_on(tmp_path: Path) -> None:
    names = ["0", "1", "2", "3", "4"]
    for name in names:
        picture(tmp_path / f"{name}.png")
    (tmp_path / "1.png").write_bytes(b"not a picture")
    (tmp_path / "3.png").unlink()
    (tmp_path / "out" / "4.png").mkdir(parents=True)
    jobs = [job(tmp_path, name) for name in names]
    told: list[Job] = []
    result = convert(jobs, negative, how=Conversion(batch_size=2, threads=1), on_done=told.append)
    assert [done.source.stem for done in result.done] == ["0", "2"]
    assert {path.stem: reason for path, reason in result.failures.items()} == {
        "1": "is not a JPEG, PNG, WebP, BMP, TIFF, GIF, AVIF, HEIC or PPM picture",
        "3": "cannot be opened: no such file or directory",
        "4": "cannot be written: is a directory",
    }
    assert sorted(done.source.stem for done in told) == names
    assert result.pixels == 2 * 30


class ShortOfMemory:
    """Has room for so many pixels, and watches what is left of the failed attempts."""

    def __init__(self, room: int, error: Callable[[], Exception]) -> None:
        self.room, self.error = room, error
        self.shapes: list[tuple[int, ...]] = []
        self.leftovers: list[weakref.ref[Tensor]] = []

    def __call__(self, images: Tensor) -> Tensor:
        assert all(leftover() is None for leftover in self.leftovers)
        self.shapes.append(tuple(images.shape))
        large = images * 2
        self.leftovers.append(weakref.ref(large))
        if images.shape[0] * images.shape[2] * images.shape[3] > self.room:
            raise self.error()
        return -images


@pytest.mark.parametrize(
    "error",
    [
        lambda: RuntimeError("CUDA out of memory. Tried to allocate 20.00 MiB"),
        lambda: RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate"),
        lambda: torch.OutOfMemoryError("CUDA out of memory."),
        lambda: RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
        MemoryError,
    ],
)
def test_short_memory_takes_pictures_one_by_one(
    tmp_path: Path, error: Callable[[], Exception]
) -> None:
    for name in ("a", "b", "c", "d"):
        picture(tmp_path / f"{name}.png", 6, 5)
    picture(tmp_path / "huge.png", 30, 20)
    translate = ShortOfMemory(60, error)
    told: list[Job] = []
    jobs = [job(tmp_path, name) for name in ("a", "b", "huge", "c", "d")]
    how = Conversion(batch_size=3, threads=1)
    result = convert(jobs, translate, how=how, on_done=told.append)
    assert [done.source.stem for done in result.done] == ["a", "b", "c", "d"]
    assert result.failures == {
        tmp_path / "huge.png": "not enough memory for 20 x 30 pixels; try --long_side"
    }
    assert translate.shapes == [
        (3, 3, 6, 5),
        *[(1, 3, 6, 5)] * 3,
        (1, 3, 30, 20),
        (1, 3, 6, 5),
    ]
    assert len(told) == 5


class SlowDevice(Translator):
    """Makes negatives, each in memory of its own until its end is waited for."""

    def __init__(self, room: int = 1000, *, stop_at: int = -1) -> None:
        super().__init__(ResnetGenerator(channels=1, blocks=1), device=torch.device("cpu"))
        self.room, self.stop_at = room, stop_at
        self.in_flight: list[int] = []
        self.most_in_flight = self.begun = 0
        self.stopped = threading.Event()

    def begin(self, pictures: Sequence[NDArray[np.uint8]]) -> Callable[[], list[NDArray[np.uint8]]]:
        if self.begun == self.stop_at:
            self.stopped.set()
            raise KeyboardInterrupt
        pixels = sum(rgb[..., 0].size for rgb in pictures)
        if sum(self.in_flight) + pixels > self.room:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        self.in_flight.append(pixels)
        self.most_in_flight = max(self.most_in_flight, len(self.in_flight))
        self.begun += 1

        def end() -> list[NDArray[np.uint8]]:
            self.in_flight.remove(pixels)
            return [255 - rgb for rgb in pictures]

        return end


def test_what_fits_alone_waits_until_it_is_alone(tmp_path: Path) -> None:
    sizes = [(6, 5), (6, 5), (30, 20), (6, 5), (6, 5), (31, 20), (6, 5)]
    originals = [picture(tmp_path / f"{index}.png", *size) for index, size in enumerate(sizes)]
    jobs = [job(tmp_path, str(index)) for index in range(len(sizes))]
    device = SlowDevice(room=600)
    result = convert(jobs, device, how=Conversion(batch_size=1, ahead=1, threads=1))
    assert result.failures == {
        tmp_path / "5.png": "not enough memory for 20 x 31 pixels; try --long_side"
    }
    assert len(result.done) == 6
    assert device.most_in_flight == 2
    for done in result.done:
        original = originals[int(done.source.stem)]
        np.testing.assert_array_equal(pixels(done.target), 255 - original)


def test_ctrl_c_with_two_batches_in_flight_writes_what_was_made(tmp_path: Path) -> None:
    jobs = [job(tmp_path, str(index)) for index in range(6)]
    for index in range(6):
        picture(tmp_path / f"{index}.png")
    device, result = SlowDevice(stop_at=3), Converted()

    def wait(*_what: object) -> None:
        assert device.stopped.wait(10)  # so that another result waits to be written

    with pytest.raises(KeyboardInterrupt):
        convert(
            jobs,
            device,
            how=Conversion(batch_size=1, ahead=1, threads=1),
            result=result,
            on_whole=wait,
        )
    assert device.most_in_flight == 2
    assert result.done == jobs[:2]  # the third was begun only
    assert whole_files(tmp_path / "out") == ["0.png", "1.png"]


def test_a_result_that_is_not_finite_is_no_result(tmp_path: Path) -> None:
    for name in "abc":
        picture(tmp_path / f"{name}.png")
    Image.new("RGB", (5, 6), "white").save(tmp_path / "b.png")

    def translate(images: Tensor) -> Tensor:
        if (images.flatten(1).min(dim=1).values == 1).any():  # as large values overflow 16 bits
            raise NotFiniteError("made values that are not finite")
        return -images

    jobs = [job(tmp_path, name) for name in "abc"]
    result = convert(jobs, translate, how=Conversion(batch_size=3))
    assert result.failures == {tmp_path / "b.png": "made values that are not finite"}
    assert whole_files(tmp_path / "out") == ["a.png", "c.png"]


def test_other_errors_of_the_network_are_not_hidden(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")

    def broken(_images: Tensor) -> Tensor:
        raise RuntimeError("shapes cannot be multiplied")

    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        convert([job(tmp_path, "a")], broken, how=Conversion())


def test_alpha_is_carried(tmp_path: Path) -> None:
    samples = picture(tmp_path / "a.png", alpha=True)
    convert([job(tmp_path, "a")], negative, how=Conversion())
    result = read_picture(tmp_path / "out" / "a.png")
    assert result.alpha is not None
    np.testing.assert_array_equal(result.alpha, samples[..., 3])
    np.testing.assert_array_equal(result.rgb, 255 - samples[..., :3])


def test_stroke_scale_shows_the_generator_less_and_keeps_the_size(tmp_path: Path) -> None:
    samples = picture(tmp_path / "a.png", 31, 20, alpha=True)
    picture(tmp_path / "b.png", 31, 20)
    picture(tmp_path / "c.png", 1, 3)
    translate = Recorder()
    jobs = [job(tmp_path, name) for name in "abc"]
    result = convert(jobs, translate, how=Conversion(stroke_scale=2.5, batch_size=2))
    assert not result.failures
    assert sorted(translate.shapes) == [(1, 3, 1, 1), (2, 3, 12, 8)]
    made = read_picture(tmp_path / "out" / "a.png")
    assert made.rgb.shape == (31, 20, 3)
    assert made.alpha is not None
    assert np.array_equal(made.alpha, samples[..., 3])  # transparency stays as sharp as it was
    bicubic = Image.Resampling.BICUBIC
    small = Image.fromarray(read_picture(tmp_path / "a.png").rgb).resize((8, 12), bicubic)
    expected = Image.fromarray(255 - np.asarray(small)).resize((20, 31), bicubic)
    assert np.abs(made.rgb.astype(int) - np.asarray(expected)).max() <= 2


@pytest.mark.parametrize(
    ("size", "long_side", "expected"),
    [
        ((40, 30), 20, (20, 15)),
        ((30, 40), 20, (15, 20)),
        ((40, 30), 40, (40, 30)),
        ((40, 30), 500, (40, 30)),
        ((1, 50), 10, (1, 10)),
        ((33, 100), 50, (16, 50)),
    ],
)
def test_long_side(
    tmp_path: Path, size: tuple[int, int], long_side: int, expected: tuple[int, int]
) -> None:
    samples = picture(tmp_path / "a.png", *size, alpha=True)
    translate = Recorder()
    convert([job(tmp_path, "a")], translate, how=Conversion(long_side=long_side))
    assert translate.shapes == [(1, 3, *expected)]
    result = read_picture(tmp_path / "out" / "a.png")
    assert result.alpha is not None
    height, width = expected
    for found, original in ((255 - result.rgb, samples[..., :3]), (result.alpha, samples[..., 3])):
        scaled = Image.fromarray(original).resize((width, height), Image.Resampling.BICUBIC)
        np.testing.assert_array_equal(found, np.asarray(scaled))


def test_too_large_even_when_scaled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transforms, "_MAX_PIXELS", 300)
    for name, side in (("a", 10), ("b", 40), ("c", 10)):
        picture(tmp_path / f"{name}.png", side, side)
    jobs = [job(tmp_path, name) for name in "abc"]
    result = convert(jobs, negative, how=Conversion(long_side=20))
    assert [done.source.stem for done in result.done] == ["a", "c"]
    assert "20 x 20 pixels, more than 300" in result.failures[tmp_path / "b.png"]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_full_disk_ends_the_job(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    for index in range(12):
        picture(tmp_path / f"{index:02d}.png")
    written: list[Path] = []

    def write(path: Path, content: Picture, *, quality: int, **_: object) -> None:
        if len(written) == 3:
            raise PictureError(path, "cannot be written") from OSError(number, "No space")
        written.append(path)
        write_picture(path, content, quality=quality)

    monkeypatch.setattr(convert_module, "write_picture", write)
    jobs = [job(tmp_path, f"{index:02d}") for index in range(12)]
    with pytest.raises(ImpastoError, match=r"03\.png: the disk is full after 3 pictures; free"):
        convert(jobs, negative, how=Conversion(batch_size=1, threads=1))
    assert whole_files(tmp_path / "out") == ["00.png", "01.png", "02.png"]


def test_really_full_disk(tmp_path: Path, small_disk: Path) -> None:
    jobs = []
    for index in range(20):
        picture(tmp_path / f"{index:02d}.png", 60, 60)  # 10 kB of noise each, 64 kB in all
        target = small_disk / f"{index:02d}.png"
        jobs.append(Job(source=tmp_path / f"{index:02d}.png", target=target))
    with pytest.raises(ImpastoError, match=r"the disk is full after \d pictures"):
        convert(jobs, negative, how=Conversion(threads=1))
    names = whole_files(small_disk)
    assert 2 <= len(names) <= 6
    assert names == [f"{index:02d}.png" for index in range(len(names))]


def test_other_write_errors_end_one_picture_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, _content: Picture, *, quality: int, **_: object) -> None:
        assert quality == 42
        raise PictureError(path, "cannot be written: denied") from OSError(errno.EACCES, "denied")

    monkeypatch.setattr(convert_module, "write_picture", refuse)
    picture(tmp_path / "a.png")
    result = convert([job(tmp_path, "a")], negative, how=Conversion(quality=42))
    assert result.failures == {tmp_path / "a.png": "cannot be written: denied"}


def test_existing_pictures_are_replaced_or_left_whole(tmp_path: Path) -> None:
    for name in ("a", "b"):
        picture(tmp_path / f"{name}.png")
        picture(tmp_path / "out" / f"{name}.png", 3, 3)
    (tmp_path / "b.png").write_bytes(b"damaged")
    convert([job(tmp_path, name) for name in "ab"], negative, how=Conversion())
    assert pixels(tmp_path / "out" / "a.png").shape == (6, 5, 3)
    assert pixels(tmp_path / "out" / "b.png").shape == (3, 3, 3)


def interrupt_in_translate(jobs: list[Job], how: Conversion, after: int) -> Callable[[], Converted]:
    calls = itertools.count()

    def translate(images: Tensor) -> Tensor:
        if next(calls) == after:
            raise KeyboardInterrupt
        return -images

    return lambda: convert(jobs, translate, how=how)


def interrupt_when_told(jobs: list[Job], how: Conversion, after: int) -> Callable[[], Converted]:
    calls = itertools.count()

    def tell(_job: Job) -> None:
        if next(calls) == after:
            raise KeyboardInterrupt

    return lambda: convert(jobs, negative, how=how, on_done=tell)


@pytest.mark.parametrize("interrupt", [interrupt_in_translate, interrupt_when_told])
@pytest.mark.parametrize("after", [0, 1, 5])
def test_ctrl_c_leaves_no_half_file(
    tmp_path: Path,
    interrupt: Callable[[list[Job], Conversion, int], Callable[[], Converted]],
    after: int,
) -> None:
    originals = {f"{i:02d}.png": picture(tmp_path / f"{i:02d}.png", 60, 60) for i in range(16)}
    jobs = [job(tmp_path, name.removesuffix(".png")) for name in originals]
    run = interrupt(jobs, Conversion(batch_size=1, threads=2), after)
    (tmp_path / "out").mkdir()
    with pytest.raises(KeyboardInterrupt):
        run()
    names = whole_files(tmp_path / "out")
    assert len(names) < 16
    for name in names:
        np.testing.assert_array_equal(pixels(tmp_path / "out" / name), 255 - originals[name])


def test_a_batch_is_begun_before_the_result_of_another_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"{index}" for index in range(5)]
    originals = {name: picture(tmp_path / f"{name}.png") for name in names}
    told: list[str] = []

    def begin(
        pictures: list[NDArray[np.uint8]], **_: object
    ) -> Callable[[], list[NDArray[np.uint8]]]:
        number = sum(words.startswith("begun") for words in told)
        told.append(f"begun {number}")
        if told == ["begun 0", "begun 1"]:
            raise RuntimeError("CUDA out of memory.")

        def end() -> list[NDArray[np.uint8]]:
            told.append(f"ended {number}")
            return [255 - rgb for rgb in pictures]

        return end

    monkeypatch.setattr(convert_module, "_begin", begin)
    jobs = [job(tmp_path, name) for name in names]
    result = convert(jobs, negative, how=Conversion(batch_size=2, ahead=1))
    # What found no memory beside another batch is begun again when that has ended.
    assert told == [
        *("begun 0", "begun 1", "ended 0"),
        *("begun 2", "begun 3", "ended 2", "ended 3"),
    ]
    assert result.done == jobs
    for name, original in originals.items():
        np.testing.assert_array_equal(pixels(tmp_path / "out" / f"{name}.png"), 255 - original)


@pytest.mark.parametrize("strength", [0.0, 0.25, 0.6, 1.0])
def test_strength_mixes_the_picture_with_its_translation(tmp_path: Path, strength: float) -> None:
    samples = picture(tmp_path / "a.png", 9, 7, alpha=True)
    convert([job(tmp_path, "a")], negative, how=Conversion(strength=strength))
    made = read_picture(tmp_path / "out" / "a.png")
    assert made.alpha is not None
    assert np.array_equal(made.alpha, samples[..., 3])
    share = Fraction(str(strength))
    for before, after in zip(samples[..., :3].ravel(), made.rgb.ravel(), strict=True):
        exact = (1 - share) * int(before) + share * (255 - int(before))
        assert abs(exact - int(after)) <= Fraction(1, 2)


def test_strength_holds_for_reduced_pictures_and_larger_strokes(tmp_path: Path) -> None:
    picture(tmp_path / "a.png", 40, 30)
    reduced: list[NDArray[np.uint8]] = []
    for number, strength in enumerate((0.0, 0.5, 1.0)):
        target = tmp_path / f"{number}.png"
        how = Conversion(strength=strength, long_side=20, stroke_scale=2)
        result = convert([Job(source=tmp_path / "a.png", target=target)], negative, how=how)
        assert not result.failures
        reduced.append(pixels(target))
    assert reduced[0].shape == (20, 15, 3)
    assert np.array_equal(reduced[0], transforms.limit_long_side(pixels(tmp_path / "a.png"), 20))
    mean = (reduced[0].astype(float) + reduced[2]) / 2
    assert np.abs(reduced[1] - mean).max() <= 0.5


def test_mixing_takes_the_memory_of_the_result_and_little_more() -> None:
    before = RNG.integers(0, 256, (3000, 2000, 3), dtype=np.uint8)
    after = 255 - before
    tracemalloc.start()
    mixed = blend(before, after, 0.5)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < mixed.nbytes + 24 * 2**20  # floating-point copies of both would be 144 MB
    assert np.abs(mixed.astype(int) - 127.5).max() <= 0.5


def test_strokes_follow_the_size_of_each_picture(tmp_path: Path) -> None:
    for name, size in (("a", (60, 80)), ("b", (33, 20)), ("c", (300, 100))):
        picture(tmp_path / f"{name}.png", *size)
    translate = Recorder()
    jobs = [job(tmp_path, name) for name in "abc"]
    how = Conversion(strokes_at_px=20, batch_size=1, stroke_scale=9)
    result = convert(jobs, translate, how=how)
    assert not result.failures
    # The shorter side is 20 pixels, and small pictures are shown as they are.
    assert sorted(translate.shapes) == [(1, 3, 20, 27), (1, 3, 33, 20), (1, 3, 60, 20)]
    assert pixels(tmp_path / "out" / "c.png").shape == (300, 100, 3)


@pytest.mark.parametrize("how", [{}, {"stroke_scale": 1.7}, {"strength": 0.5, "long_side": 70}])
def test_what_does_not_fit_is_translated_in_rows_with_the_same_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: dict[str, Any]
) -> None:
    network = ResnetGenerator(channels=4, blocks=1, norm="layer", color_skip=True)
    for weights in network.parameters():
        torch.nn.init.normal_(weights, std=0.2, generator=torch.Generator().manual_seed(1))
    translator = Translator(network, device=torch.device("cpu"), grid_bend_px=3)
    picture(tmp_path / "a.png", 90, 120)
    (tmp_path / "out").mkdir()
    jobs = [job(tmp_path, "a")]
    convert(jobs, translator, how=Conversion(**how))
    at_once = pixels(tmp_path / "out" / "a.png").astype(int)
    memory = TranslationMemory(
        network, device=torch.device("cpu"), bends=True, folder=tmp_path / "out"
    )
    monkeypatch.setattr(TranslationMemory, "_fits", lambda *_size: False)
    monkeypatch.setattr(TranslationMemory, "is_large", lambda *_size: True)
    told: list[str] = []
    convert(jobs, translator, how=Conversion(**how), memory=memory, on_note=told.append)
    in_rows = pixels(tmp_path / "out" / "a.png").astype(int)
    assert at_once.std() > 5
    assert np.abs(in_rows - at_once).max() <= 1
    assert told == [
        f"{tmp_path / 'a.png'}: 120 x 90 pixels are translated in rows, which takes longer"
    ]


def test_a_full_disk_fails_the_picture_that_needs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = ResnetGenerator(channels=4, blocks=1, norm="layer")
    translator = Translator(network, device=torch.device("cpu"))
    picture(tmp_path / "a.png", 90, 120)
    plan = LargePlan(keep="trunk", resident=0, folder=tmp_path / "none")
    memory = TranslationMemory(network, device=torch.device("cpu"), folder=tmp_path)
    monkeypatch.setattr(TranslationMemory, "is_large", lambda *_size: True)
    monkeypatch.setattr(TranslationMemory, "plan", lambda *_size, **_how: plan)
    result = convert([job(tmp_path, "a")], translator, how=Conversion(), memory=memory)
    assert not result.done
    assert "features of a picture need up to" in result.failures[tmp_path / "a.png"]


@pytest.mark.parametrize("alpha", [False, True])
@pytest.mark.parametrize(
    "how", [{}, {"stroke_scale": 1.7, "strength": 0.5}, {"long_side": 100, "preview_px": 40}]
)
def test_a_tiff_is_read_translated_and_written_by_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: dict[str, Any], alpha: bool
) -> None:
    network = ResnetGenerator(channels=4, blocks=1, norm="layer", color_skip=True)
    for weights in network.parameters():
        torch.nn.init.normal_(weights, std=0.2, generator=torch.Generator().manual_seed(1))
    translator = Translator(network, device=torch.device("cpu"), grid_bend_px=3)
    source, out = tmp_path / "a.tif", tmp_path / "out"
    # Smooth: of noise Pillow clips what its filter makes between rows and columns.
    rgb = np.random.default_rng(5).integers(0, 256, (15, 11, 4 if alpha else 3), np.uint8)
    Image.fromarray(rgb).resize((110, 300)).save(source, compression="tiff_lzw")
    jobs = [
        Job(
            source=source,
            target=out / "a.tif",
            before=tmp_path / "before.png",
            after=tmp_path / "after.png",
        )
    ]
    convert(jobs, translator, how=Conversion(**how))
    at_once, before = read_picture(out / "a.tif"), read_picture(tmp_path / "before.png")
    after = read_picture(tmp_path / "after.png")
    memory = TranslationMemory(network, device=torch.device("cpu"), bends=True, folder=out)
    monkeypatch.setattr(TranslationMemory, "_fits", lambda *_size: False)
    monkeypatch.setattr(TranslationMemory, "is_large", lambda *_size: True)
    monkeypatch.setattr(pictures, "read_picture", None)  # nothing is read whole
    whole: list[Path] = []
    result = convert(
        jobs,
        translator,
        how=Conversion(**how),
        memory=memory,
        on_whole=lambda _job, _note, file: whole.append(file),
    )
    assert result.done == jobs
    assert len(whole) == 1
    in_rows = read_picture(out / "a.tif")
    assert result.pixels == in_rows.height * in_rows.width
    assert in_rows.rgb.std() > 5
    assert np.abs(in_rows.rgb.astype(int) - at_once.rgb).max() <= 2  # Pillow rounds in between
    assert np.abs(in_rows.rgb.astype(int) - at_once.rgb).mean() < 0.3
    assert (in_rows.alpha is None) == (at_once.alpha is None) == (not alpha)
    if in_rows.alpha is not None and at_once.alpha is not None:
        assert np.abs(in_rows.alpha.astype(int) - at_once.alpha).max() <= 2
    for name, expected in (("before", before), ("after", after)):
        made = read_picture(tmp_path / f"{name}.png")
        assert made.rgb.shape == expected.rgb.shape
        assert np.abs(made.rgb.astype(int) - expected.rgb).max() <= 4
        assert np.abs(made.rgb.astype(int) - expected.rgb).mean() < 0.5


def test_a_tiff_that_cannot_be_written_by_rows_fails_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = ResnetGenerator(channels=4, blocks=1, norm="layer")
    translator = Translator(network, device=torch.device("cpu"))
    cut, fine = tmp_path / "a.tif", tmp_path / "b.tif"
    for path in (cut, fine):
        Image.fromarray(RNG.integers(0, 256, (150, 110, 3), dtype=np.uint8)).save(path)
    cut.write_bytes(cut.read_bytes()[:30000])
    memory = TranslationMemory(network, device=torch.device("cpu"), folder=tmp_path)
    monkeypatch.setattr(TranslationMemory, "_fits", lambda *_size: False)
    monkeypatch.setattr(TranslationMemory, "is_large", lambda *_size: True)
    jobs = [Job(source=path, target=tmp_path / "out" / path.name) for path in (cut, fine)]
    result = convert(jobs, translator, how=Conversion(), memory=memory)
    assert result.done == jobs[1:]
    assert list(result.failures) == [cut]
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["b.tif"]
