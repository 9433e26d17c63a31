import gc
import logging
import os
import signal
import time
import warnings
import weakref
from collections.abc import Callable
from itertools import islice
from multiprocessing import Process
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.utils.data import _utils as worker_utils

from impasto.data import loaders
from impasto.data.datasets import (
    Domain,
    Draw,
    UnpairedBatch,
    UnpairedPictures,
    UnpairedSampler,
    collate_unpaired,
)
from impasto.data.loaders import UnpairedLoader
from impasto.data.transforms import Preprocessing
from impasto.options.errors import FolderError, LostProcessError

Folder = Callable[..., Path]
HOW = Preprocessing(load_size=12, crop_size=8)


@pytest.fixture
def folders(picture_folder: Folder) -> tuple[Path, Path]:
    return picture_folder("A", count=5, seed=1), picture_folder("B", count=7, seed=2)


def loader(
    folders: tuple[Path, Path],
    *,
    workers: int = 0,
    batch_size: int = 1,
    seed: int = 0,
    cache: bool = False,
) -> UnpairedLoader:
    domain_A, domain_B = (
        Domain(sorted(folder.iterdir()), preprocessing=HOW, cache=cache) for folder in folders
    )
    sampler = UnpairedSampler(
        len(domain_A),
        len(domain_B),
        batch_size=batch_size,
        generator=torch.Generator().manual_seed(seed),
    )
    return UnpairedLoader((domain_A, domain_B), folders, sampler=sampler, workers=workers)


def take(of: UnpairedLoader, count: int) -> list[tuple[Tensor, Tensor]]:
    """Take batches, over as many epochs as it needs; stops in the middle of one like a trainer."""
    taken: list[tuple[Tensor, Tensor]] = []
    while len(taken) < count:
        for batch in of:
            taken.append((batch.A, batch.B))
            if len(taken) == count:
                break
    return taken


def equal(first: list[tuple[Tensor, Tensor]], second: list[tuple[Tensor, Tensor]]) -> bool:
    return len(first) == len(second) and all(
        torch.equal(a, c) and torch.equal(b, d)
        for (a, b), (c, d) in zip(first, second, strict=True)
    )


def test_shapes_and_counts(folders: tuple[Path, Path]) -> None:
    of = loader(folders, batch_size=2)
    assert (of.global_batch, of.epoch_images, of.position) == (2, 8, 0)
    batches = list(of)
    assert len(batches) == 4
    for batch in batches:
        assert isinstance(batch, UnpairedBatch)
        assert batch.A.shape == batch.B.shape == (2, 3, 8, 8)
        assert batch.A.dtype == batch.B.dtype == torch.uint8


@pytest.mark.parametrize("batch_size", [1, 3])
def test_workers_change_nothing(folders: tuple[Path, Path], batch_size: int) -> None:
    alone = take(loader(folders, batch_size=batch_size), 16)
    assert equal(take(loader(folders, batch_size=batch_size, workers=2), 16), alone)
    assert equal(take(loader(folders, batch_size=batch_size, cache=True), 16), alone)
    assert not equal(take(loader(folders, batch_size=batch_size, seed=1), 16), alone)


def test_position_counts_what_was_given_out(folders: tuple[Path, Path]) -> None:
    of = loader(folders, workers=2)
    assert [of.position for _ in of] == [1, 2, 3, 4, 5, 6, 7]
    assert of.position == 0  # of the next epoch


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="the system tells no cores")
def test_no_more_processes_than_cores_and_torch_says_nothing(
    folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = take(loader(folders), 8)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _process: {0})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        of = loader(folders, workers=3)
        assert equal(take(of, 8), alone)
    assert len(of.processes) == 1
    of.close()


@pytest.mark.parametrize("workers", [0, 2])
def test_stopping_in_the_middle_and_going_on(folders: tuple[Path, Path], workers: int) -> None:
    of = loader(folders, workers=workers)
    pieces = take(of, 3) + take(of, 2) + take(of, 9)
    assert equal(pieces, take(loader(folders), 14))


def test_resumed_anywhere_equals_uninterrupted(folders: tuple[Path, Path]) -> None:
    whole = take(loader(folders, batch_size=2), 10)
    for position in range(10):
        first = loader(folders, batch_size=2)
        begun = take(first, position)
        resumed = loader(folders, batch_size=2, seed=9)
        resumed.load_state_dict(first.state_dict())
        assert equal(begun + take(resumed, 10 - position), whole)


@pytest.mark.parametrize("position", [3, 7])
def test_resumed_with_workers_that_had_read_ahead(
    folders: tuple[Path, Path], position: int
) -> None:
    whole = take(loader(folders), 16)
    first = loader(folders, workers=2)
    begun = take(first, position)
    resumed = loader(folders, workers=2, seed=9)
    list(islice(resumed, 2))  # its workers run already, on other pictures
    resumed.load_state_dict(first.state_dict())
    assert equal(begun + take(resumed, 16 - position), whole)


def test_state_of_the_end_of_an_epoch(folders: tuple[Path, Path]) -> None:
    of = loader(folders)
    states = [of.state_dict() for _ in of]
    assert states[-1]["position"] == of.epoch_images
    assert of.state_dict()["position"] == 0
    # Saved at the last batch: nothing is left of that epoch, then the next one follows.
    resumed = loader(folders, seed=9)
    resumed.load_state_dict(states[-1])
    assert list(resumed) == []
    after = loader(folders, seed=9)
    after.load_state_dict(of.state_dict())
    second = take(loader(folders), 14)[7:]
    assert equal(take(resumed, 7), second)
    assert equal(take(after, 7), second)


@pytest.mark.parametrize("workers", [0, 2])
def test_unreadable_pictures_are_named_once_and_replaced(
    folders: tuple[Path, Path], workers: int, caplog: pytest.LogCaptureFixture
) -> None:
    bad, beyond = sorted(folders[0].iterdir())[1:3]
    bad.write_bytes(b"not a picture")
    of = loader(folders, workers=workers, batch_size=2)
    with caplog.at_level(logging.WARNING):
        found = take(of, 12)
    reason = "is not a JPEG, PNG, WebP, BMP, TIFF, GIF, AVIF, HEIC or PPM picture"
    assert of.unreadable == {bad: reason}
    assert caplog.messages == [f"{bad} cannot be read ({reason}); it is passed over"]
    # The next picture takes its place: as if the file were a copy of that one.
    bad.write_bytes(beyond.read_bytes())
    assert equal(found, take(loader(folders, batch_size=2), 12))


@pytest.mark.parametrize("workers", [0, 2])
def test_a_folder_with_no_readable_picture(folders: tuple[Path, Path], workers: int) -> None:
    # One of A is damaged as well, but that is not why B has none.
    for path in folders[0].iterdir():
        path.write_bytes(b"not a picture")
    sorted(folders[0].iterdir())[0].write_bytes(folders[1].joinpath("00.png").read_bytes())
    for path in folders[1].iterdir():
        path.write_bytes(b"")
    of = loader(folders, workers=workers)
    with pytest.raises(FolderError) as caught:
        list(of)
    assert caught.value.folder == folders[1]
    assert str(caught.value) == (
        f"{folders[1]}: none of its pictures can be read; the first reason: is empty"
    )
    assert set(folders[1].iterdir()) <= set(of.unreadable)
    assert of.position == 0


def processes(of: UnpairedLoader) -> list[Process]:
    """The loader's worker processes, where torch keeps them."""
    iterator = of._loader._iterator
    assert iterator is not None
    workers: list[Process] = iterator._workers  # type: ignore[attr-defined]
    return workers


def test_workers_leave_signals_to_the_main_process(folders: tuple[Path, Path]) -> None:
    of = loader(folders, workers=2)
    batches = iter(of)
    found = list(islice(batches, 4))  # both workers are at work by then
    for worker in processes(of):
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            os.kill(worker.pid or 0, number)
    found += batches
    assert len(found) == 7
    assert all(worker.is_alive() for worker in processes(of))
    of.close()


def test_closing_ends_a_worker_that_hangs(
    folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_utils, "MP_STATUS_CHECK_INTERVAL", 0.2)  # torch waits so long
    of = loader(folders, workers=2)
    take(of, 1)
    workers = processes(of)
    os.kill(workers[0].pid or 0, signal.SIGSTOP)
    of.close()
    assert not any(worker.is_alive() for worker in workers)


@pytest.mark.parametrize(
    ("asked", "patience", "says"),
    [
        (False, "_STOPPED_PATIENCE_SECONDS", "was stopped by a signal and gave none for 2 seconds"),
        (False, "_PATIENCE_SECONDS", "gave none for 2 seconds; does the disk"),
        (True, "_ASKED_PATIENCE_SECONDS", "stopped while a process that loads pictures gave none"),
    ],
)
def test_a_wait_for_a_worker_that_hangs_ends(
    folders: tuple[Path, Path],
    monkeypatch: pytest.MonkeyPatch,
    asked: bool,
    patience: str,
    says: str,
) -> None:
    monkeypatch.setattr(worker_utils, "MP_STATUS_CHECK_INTERVAL", 0.2)
    monkeypatch.setattr(loaders, patience, 2.0)
    of = loader(folders, workers=2)
    of.stop = lambda: asked
    batches = iter(of)
    found = [(batch.A, batch.B) for batch in islice(batches, 1)]
    workers = processes(of)
    for worker in workers:
        os.kill(worker.pid or 0, signal.SIGSTOP)
    with pytest.raises(LostProcessError, match=says):
        # What was loaded ahead comes first.
        found.extend((batch.A, batch.B) for batch in batches)
    assert not any(worker.is_alive() for worker in workers)
    # Nothing of the epoch is lost: the next start goes on behind what was given out.
    of.stop = lambda: False
    assert of.position == len(found) < 7
    assert equal(found + take(of, 10 - len(found)), take(loader(folders), 10))
    of.close()


def leave_the_dead_to(of: UnpairedLoader) -> None:
    """Switch off torch's handler of SIGCHLD, which may or may not be the first to notice."""
    iterator = of._loader._iterator
    worker_utils.signal_handling._remove_worker_pids(id(iterator))  # type: ignore[attr-defined]
    iterator._worker_pids_set = False  # type: ignore[union-attr]


@pytest.mark.parametrize("error", [ConnectionResetError(104, "reset by peer"), EOFError()])
def test_a_connection_that_breaks_is_a_lost_process(
    folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    monkeypatch.setattr(loaders, "_ASKED_PATIENCE_SECONDS", 1.0)
    of = loader(folders, workers=2)
    take(of, 1)
    leave_the_dead_to(of)

    def break_off() -> None:
        raise error

    def kill() -> None:
        processes(of)[0].kill()
        raise error

    def wait() -> None:
        while all(worker.is_alive() for worker in processes(of)):
            time.sleep(0.01)
        raise error

    monkeypatch.setattr(loaders, "_ENDING_SECONDS", 0.0)
    with pytest.raises(LostProcessError, match="could not be taken over from the processes that"):
        of._waited(break_off)
    of.stop = lambda: True  # the watch of the wait kills them
    with pytest.raises(LostProcessError, match="stopped while a process that loads pictures gave"):
        of._waited(wait)
    of.close()
    of.stop = lambda: False
    take(of, 1)
    leave_the_dead_to(of)
    monkeypatch.setattr(loaders, "_ENDING_SECONDS", 600.0)
    with pytest.raises(RuntimeError, match="DataLoader worker exited"):  # as torch itself says it
        of._waited(kill)
    of.close()


def test_an_error_of_ours_passes_a_wait(folders: tuple[Path, Path]) -> None:
    of = loader(folders, workers=2)

    def refuse() -> None:
        raise FolderError(folders[0], "is gone")

    with pytest.raises(FolderError, match="is gone"):
        of._waited(refuse)


def test_closing_is_not_disturbed_by_what_torch_says_of_the_dead(
    folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    of = loader(folders, workers=2)
    take(of, 1)
    workers, iterator = processes(of), of._loader._iterator

    def say() -> None:
        raise RuntimeError("DataLoader worker (pid 1) is killed by signal: Killed.")

    monkeypatch.setattr(iterator, "_shutdown_workers", say)
    of.close()
    assert not any(worker.is_alive() for worker in workers)
    assert of._loader._iterator is None
    monkeypatch.undo()
    assert len(take(of, 2)) == 2
    of.close()


def test_batches_of_workers_are_shared_before_they_are_sent(folders: tuple[Path, Path]) -> None:
    # Where that fails, torch's own thread would only print it, and the training would hang.
    domains = [Domain(sorted(folder.iterdir()), preprocessing=HOW) for folder in folders]
    pair = UnpairedPictures(*domains)[Draw(index_A=0, index_B=0, seed=0)]
    alone, shared = collate_unpaired([pair]), loaders._Sharing(collate_unpaired)([pair])
    assert [tensor.untyped_storage().is_shared() for tensor in (alone.A, shared.A, shared.B)] == [
        False,
        True,
        True,
    ]
    assert torch.equal(alone.A, shared.A)


def test_a_worker_ignores_what_ends_the_training() -> None:
    # In this process, in which coverage can see it.
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = [signal.getsignal(number) for number in numbers]
    try:
        loaders.start_worker(0)
        assert [signal.getsignal(number) for number in numbers] == [signal.SIG_IGN] * 3
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


def test_a_loader_is_closed_when_python_ends(folders: tuple[Path, Path]) -> None:
    of = loader(folders, workers=2)
    take(of, 1)
    workers, alive = processes(of), weakref.ref(of)
    loaders._close(alive)
    assert not any(worker.is_alive() for worker in workers)
    del of
    gc.collect()
    assert alive() is None
    loaders._close(alive)  # and one that is gone is left in peace


def test_closing_ends_the_workers_and_a_new_start_is_possible(folders: tuple[Path, Path]) -> None:
    of = loader(folders, workers=2)
    begun = take(of, 2)
    workers = processes(of)
    of.close()
    assert not any(worker.is_alive() for worker in workers)
    of.close()
    assert equal(begun + take(of, 8), take(loader(folders), 10))
    of.close()


def test_an_error_ends_the_workers(folders: tuple[Path, Path]) -> None:
    for path in folders[1].iterdir():
        path.write_bytes(b"")
    of = loader(folders, workers=2)
    batches = iter(of)
    workers: list[Process] = []
    real_check = of._check

    def check(batch: UnpairedBatch) -> None:
        workers.extend(processes(of))
        real_check(batch)

    of._check = check  # type: ignore[method-assign]
    with pytest.raises(FolderError):
        next(batches)
    assert len(workers) == 2
    assert not any(worker.is_alive() for worker in workers)


@pytest.mark.parametrize("workers", [0, 2])
def test_loading_does_not_draw_from_torchs_own_generator(
    folders: tuple[Path, Path], workers: int
) -> None:
    # Dropout does, and a resumed run must see the same.
    before = torch.get_rng_state()
    take(loader(folders, workers=workers), 9)
    assert torch.equal(torch.get_rng_state(), before)
