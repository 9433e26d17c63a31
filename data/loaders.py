"""Loading a training set: worker processes, unreadable files, whole epochs."""

import atexit
import logging
import os
import signal
import threading
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import fields
from multiprocessing import connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from impasto.data.channels.ranges import Formats
from impasto.data.datasets import (
    Domain,
    PairedPictures,
    UnpairedBatch,
    UnpairedPictures,
    UnpairedSampler,
    collate_unpaired,
)
from impasto.data.fingerprints import describe_changes
from impasto.options.errors import FolderError, ImpastoError, LostProcessError

__all__ = [
    "GuardedLoader",
    "LoadedBatch",
    "PictureLoader",
    "UnpairedLoader",
    "note_unreadable",
    "start_worker",
    "useful_processes",
]

_log = logging.getLogger(__name__)


class LoadedBatch(Protocol):
    """What every batch of pictures tells; it is a dataclass of tensors and plain values."""

    @property
    def unreadable(self) -> tuple[tuple[Path, str], ...]:
        """Files that were met and could not be read, with the reason."""
        ...


Batch = TypeVar("Batch", bound=LoadedBatch)
Loader = TypeVar("Loader", bound="GuardedLoader[Any]")
Result = TypeVar("Result")

# Without a batch for so long, loading is taken for hung: a disk that is only slow, or a machine on
# which many processes start at once, gives one sooner.
_PATIENCE_SECONDS = 600.0
# A process that the system says is stopped gives none until someone lets it go on.
_STOPPED_PATIENCE_SECONDS = 60.0
# Who asked for an end should have it before the system kills.
_ASKED_PATIENCE_SECONDS = 3.0
# A process that is killed closes its connections before the system says that it has ended.
_ENDING_SECONDS = 5.0


class GuardedLoader(Generic[Batch]):
    """Loads batches, in processes of its own if asked; none of them is waited for in vain.

    A loading process that gives nothing any more, because it is stopped or its disk does not
    answer, is ended, and so is the wait for it.

    Attributes:
        stop: whether the end of the training was asked for, which a wait then does not hold up.
        unreadable: files that were met and could not be read, with the reasons.

    Args:
        dataset: gives a batch of one, or of none.
        collate: joins batches of one.
        workers: loading processes, of which no more are started than there are usable cores; 0
            loads in this process.
        keep: keep the processes from one epoch to the next.
        settings: further settings of torch's ``DataLoader``: which items make a batch.
    """

    def __init__(
        self,
        dataset: Dataset[Batch],
        *,
        collate: Callable[[Sequence[Batch]], Batch],
        workers: int = 0,
        keep: bool = False,
        **settings: Any,
    ) -> None:
        self.unreadable: dict[Path, str] = {}
        self.stop: Callable[[], bool] = lambda: False
        self._wait = _Wait(self) if workers else None
        self._batches: Any = None  # of torch's loader, where processes give them
        self._loader: DataLoader[Batch] = DataLoader(
            dataset,
            num_workers=useful_processes(workers),
            collate_fn=_Sharing(collate) if workers else collate,
            persistent_workers=keep and workers > 0,
            worker_init_fn=start_worker if workers else None,
            # Every draw brings its own seed; without a generator here, the loader would draw from
            # torch's own one each epoch, and a resumed run would see other dropout.
            generator=torch.Generator(),
            **settings,
        )
        if workers:
            # Python would end them with SIGTERM, which they ignore, and wait for ever.
            atexit.register(_close, weakref.ref(self))

    def close(self) -> None:
        """End the worker processes; the loader can be used again, with new ones."""
        if self._batches is None:
            return
        workers = self.processes
        # The loader has no public way; it does the same when it is garbage-collected. While it
        # waits for one that was killed, torch's handler of SIGCHLD says so once more.
        with suppress(RuntimeError):
            self._batches._shutdown_workers()  # noqa: SLF001
        self._batches = self._loader._iterator = None  # noqa: SLF001
        for worker in workers:
            # One that hangs, on a lost network drive say, was asked by SIGTERM, which they ignore.
            if worker.is_alive():
                worker.kill()
            worker.join()

    @property
    def processes(self) -> Sequence[BaseProcess]:
        """The processes that load now, if any."""
        return getattr(self._batches, "_workers", ())

    def _each(self) -> Iterator[Batch]:
        """Yield the batches of an epoch; name the files that could not be read.

        Raises:
            LostProcessError: a loading process cannot be started, or was waited for in vain; the
                message says why.
        """
        batches = self._waited(self._start)
        while (batch := self._waited(lambda: next(batches, None))) is not None:
            note_unreadable(self.unreadable, batch.unreadable)
            yield batch

    def _start(self) -> Iterator[Batch]:
        """Start an epoch, and the processes that load, unless they are there already."""
        try:
            batches = iter(self._loader)
        except OSError as error:  # their locks and queues lie in shared memory, too
            raise LostProcessError(
                f"the processes that load pictures cannot be started ({error.strerror or error}); "
                "is there enough shared memory (/dev/shm)? In a container, start that with "
                "--ipc=host or a larger --shm-size, or use --num_threads 0, which needs none"
            ) from error
        self._batches = batches if self._wait is not None else None
        return batches

    def _waited(self, get: Callable[[], Result]) -> Result:
        """Return what a call gives that may wait for loading processes.

        Raises:
            LostProcessError: it was in vain.
            RuntimeError: torch's, where a process was killed, in its words.
        """
        if self._wait is None:
            return get()
        try:
            with self._wait:
                return self._connected(get)
        except RuntimeError as error:
            if self._wait.why:
                raise LostProcessError(self._wait.why) from error
            raise

    def _connected(self, get: Callable[[], Result]) -> Result:
        """Return what a call gives; if its connection breaks, say it as torch says that of others.

        That is the first sign of a killed process whose batch was just being taken over.
        """
        try:
            return get()
        except ImpastoError:
            raise
        except (OSError, EOFError) as error:
            if self._has_ended():
                raise RuntimeError("DataLoader worker exited unexpectedly") from error
            reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
            raise LostProcessError(
                "a batch could not be taken over from the processes that load pictures "
                f"({reason.splitlines()[0]}); with --num_threads 0 there are no such processes"
            ) from error

    def _has_ended(self) -> bool:
        """Whether a process that loads has ended, or does so now."""
        try:
            sentinels = [process.sentinel for process in self.processes]
            return bool(sentinels and connection.wait(sentinels, _ENDING_SECONDS))
        except RuntimeError:  # torch's handler of SIGCHLD says so
            return True


class PictureLoader(GuardedLoader[Batch]):
    """Yields batches to train on, and knows where it is.

    An unreadable file is named once, counted, and replaced by the next readable one.

    Args:
        dataset: gives a batch of one for a :class:`Draw`.
        sampler: draws the indices of the pictures, in their order.
        collate: joins batches of one.
        workers: loading processes, of which no more are started than there are usable cores; 0
            loads in this process.
        pin_memory: load into page-locked memory, for a GPU.
        fingerprints: what identifies the files of each set of pictures, by its name for messages
            (:func:`~impasto.data.fingerprints.fingerprint`). A state holds them, and what has
            changed since then is told. Of several processes, only the first needs them.
    """

    def __init__(
        self,
        dataset: Dataset[Batch],
        *,
        sampler: UnpairedSampler,
        collate: Callable[[Sequence[Batch]], Batch],
        workers: int = 0,
        pin_memory: bool = False,
        fingerprints: Mapping[str, Tensor] | None = None,
    ) -> None:
        super().__init__(
            dataset,
            collate=collate,
            workers=workers,
            keep=True,
            batch_sampler=sampler,
            pin_memory=pin_memory,
        )
        self.sampler = sampler
        self._fingerprints = dict(fingerprints or {})

    @property
    def global_batch(self) -> int:
        """Pictures (of each domain) per batch, of all processes together."""
        return self.sampler.global_batch

    @property
    def epoch_images(self) -> int:
        """Pictures (of each domain) per epoch."""
        return self.sampler.epoch_length

    @property
    def position(self) -> int:
        """Pictures (of each domain) that this epoch has used."""
        return self.sampler.position

    def __iter__(self) -> Iterator[Batch]:
        """Yield the rest of the epoch (nothing, if it was saved at its very end), then go on.

        Raises:
            FolderError: there is no readable picture left.
            LostProcessError: a loading process cannot be started, or was waited for in vain; the
                message says why.
        """
        try:
            for batch in self._each():
                self._check(batch)
                self.sampler.advance()
                yield batch
        except (Exception, KeyboardInterrupt):
            # Not on GeneratorExit: whoever stops in the middle of an epoch may go on later.
            self.close()
            raise
        self.sampler.next_epoch()

    def state_dict(self) -> dict[str, Any]:
        """Return the sampler's state, and the fingerprints of the files."""
        return {**self.sampler.state_dict(), "files": self._fingerprints, **self._facts()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a saved state; warn where the files are no longer those of that state."""
        self.sampler.load_state_dict(state)
        # States of earlier versions hold none.
        changes = describe_changes(state.get("files", {}), self._fingerprints)
        if changes:
            _log.warning(
                "the pictures changed since the state was saved: %s. The training goes on with "
                "those that are there now, so it is not exactly the run that it would have been",
                changes,
            )

    def _facts(self) -> dict[str, Any]:
        """Return what else a state has to hold."""
        return {}

    def _check(self, batch: Batch) -> None:
        """Refuse a batch without pictures."""


class _Wait:
    """Watches a wait for loading processes, and kills them where it would have no end.

    torch then notices that they are dead, wherever it waits. The seconds are counted one by one:
    a training that is suspended as a whole, and goes on the next day, has not waited.
    """

    def __init__(self, loader: GuardedLoader[Any]) -> None:
        self.why = ""
        self._loader = weakref.ref(loader)
        self._over = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> None:
        self.why = ""
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, args=(self._over,), daemon=True)
        self._thread.start()

    def __exit__(self, *_error: object) -> None:
        self._over.set()
        if self._thread is not None:
            self._thread.join()

    def _watch(self, over: threading.Event) -> None:
        seconds, asked = 0.0, 0.0
        while not over.wait(1.0):
            loader = self._loader()
            if loader is None:
                return
            seconds += 1.0
            asked += 1.0 if loader.stop() else 0.0
            stopped = [process for process in loader.processes if _is_stopped(process)]
            if asked >= _ASKED_PATIENCE_SECONDS:
                self.why = "stopped while a process that loads pictures gave none"
            elif stopped and seconds >= _STOPPED_PATIENCE_SECONDS:
                self.why = (
                    f"a process that loads pictures, {stopped[0].pid}, was stopped by a signal "
                    f"and gave none for {seconds:.0f} seconds; let such processes go on with "
                    "kill -CONT, or use --num_threads 0"
                )
            elif seconds >= _PATIENCE_SECONDS:
                self.why = (
                    f"the processes that load pictures gave none for {seconds:.0f} seconds; does "
                    "the disk with the pictures still answer? With --num_threads 0 there are no "
                    "such processes"
                )
            if self.why:
                for process in loader.processes:
                    process.kill()
                return


def _is_stopped(process: BaseProcess) -> bool:
    """Whether a process is stopped, as by SIGSTOP; False where the system does not tell."""
    try:
        status = Path(f"/proc/{process.pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    return status.rpartition(")")[2].split()[0] == "T"


class _Sharing(Generic[Batch]):
    """Joins batches of one, and moves the tensors to shared memory at once.

    torch would do it in a thread that only prints what fails, for example in a container whose
    /dev/shm is full, and the training would wait for ever.
    """

    def __init__(self, collate: Callable[[Sequence[Batch]], Batch]) -> None:
        self._collate = collate

    def __call__(self, some: Sequence[Batch]) -> Batch:
        batch = self._collate(some)
        values: Any = batch
        for value in (getattr(batch, field.name) for field in fields(values)):
            if isinstance(value, torch.Tensor):
                value.share_memory_()  # type: ignore[no-untyped-call]
        return batch


class UnpairedLoader(PictureLoader[UnpairedBatch]):
    """Yields batches of both domains.

    Args:
        domains: pictures of A and of B.
        folders: their folders, for messages.
        sampler: draws pairs of indices, one of each domain.
        workers: loading processes; 0 loads in this process.
        pin_memory: load into page-locked memory, for a GPU.
        fingerprints: what identifies the files of each domain, as of :class:`PictureLoader`.
        paired: give each picture of A with its partner, the one of B at the same place.
    """

    def __init__(
        self,
        domains: tuple[Domain, Domain],
        folders: tuple[Path, Path],
        *,
        sampler: UnpairedSampler,
        workers: int = 0,
        pin_memory: bool = False,
        fingerprints: Mapping[str, Tensor] | None = None,
        paired: bool = False,
    ) -> None:
        super().__init__(
            PairedPictures(*domains) if paired else UnpairedPictures(*domains),
            sampler=sampler,
            collate=collate_unpaired,
            workers=workers,
            pin_memory=pin_memory,
            fingerprints=fingerprints,
        )
        self._domains, self._folders, self._paired = domains, folders, paired

    @property
    def sizes(self) -> tuple[int, int]:
        """Numbers of pictures of A and of B."""
        first, second = (len(domain.paths) for domain in self._domains)
        return first, second

    @property
    def samples(self) -> Formats:
        """What the numbers of A and of B mean; None: they are colors, RGB of 8 bits."""
        first, second = (domain.samples for domain in self._domains)
        return first, second

    def _facts(self) -> dict[str, Any]:
        """Return what the numbers of the domains mean, for a resumed run may not measure again."""
        texts = {
            name: samples.to_text()
            for name, samples in zip("AB", self.samples, strict=True)
            if samples is not None
        }
        return {"samples": texts} if texts else {}

    def _check(self, batch: UnpairedBatch) -> None:
        for images, domain, folder in zip(
            (batch.A, batch.B), self._domains, self._folders, strict=True
        ):
            if not images.numel():
                what = "pairs" if self._paired else "pictures"
                reasons = self.unreadable  # of a pair, either picture has one
                reason = reasons.get(domain.paths[0]) or next(iter(reasons.values()))
                raise FolderError(
                    folder, f"none of its {what} can be read; the first reason: {reason}"
                )


def useful_processes(asked: int) -> int:
    """Return how many processes load pictures: no more than there are cores for them.

    Which process loads a picture changes nothing in it, so this alters no result.

    Args:
        asked: number of processes that an option asks for.
    """
    # Not os.process_cpu_count, which is newer than the oldest Python that this runs on.
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return min(asked, usable or 1)


def note_unreadable(known: dict[Path, str], met: Sequence[tuple[Path, str]]) -> None:
    """Name files that cannot be read, each once.

    Args:
        known: those that were named before, with the reasons; the new ones are added.
        met: files and reasons.
    """
    for path, reason in met:
        if path not in known:
            known[path] = reason
            _log.warning("%s cannot be read (%s); it is passed over", path, reason)


def _close(loader: "weakref.ref[Loader]") -> None:
    """Close a loader that still lives when Python ends."""
    living = loader()
    if living is not None:
        living.close()


def start_worker(_worker: int) -> None:
    """Leave Ctrl-C, SIGTERM and hangups, which often reach the whole group, to the main process.

    It saves, and then tells the workers to end; if it is killed, they notice and end too.
    """
    for number in signal.Signals:
        if number.name in ("SIGINT", "SIGTERM", "SIGHUP"):  # Windows has no SIGHUP
            signal.signal(number, signal.SIG_IGN)
