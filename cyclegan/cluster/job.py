"""Pictures over the workers of a Ray cluster, for `impasto translate --engine ray`.

The command plans, as it does alone: it holds the folder of results, knows what is there, and hands
out what is not, some pictures at a time. Workers are actors of Ray; each has loaded the model,
reads and writes the shared folder itself, and notes what it makes in a file of its own beside the
small copies. So neither pictures nor results pass through Ray, and no machine needs memory for more
than what its workers are at.

Whatever ends a worker, its notes tell what it had finished. The rest is handed out again, each
picture alone, so that one that ends its worker again and again is known, and named. Ray Data would
do less here: it repeats whole blocks, and a block whose worker is killed each time ends the job.
"""

import importlib
import math
import os
import re
import secrets
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from impasto.cyclegan.jobs.convert import Converted, Job
from impasto.cyclegan.jobs.making import Orders, Report, Task, Worker, pixels_of
from impasto.cyclegan.jobs.results import ResultsFolder
from impasto.data.atomic import write_text_atomic
from impasto.data.provenance import read_notes
from impasto.options.errors import FolderError, ImpastoError, OptionError
from impasto.options.translate import TranslateOptions
from impasto.runs.devices import usable_cores

__all__ = ["TRIES", "Crew", "address_of", "crew_for", "make_on_ray", "require_ray"]

TRIES = 3
"""How many workers a picture may end, being their only one, until it is given up."""

_START_TRIES = 3
_LOCAL = "local"
_MOST_AT_ONCE = 64
# How long what is handed out at once takes, about: progress shows, and little is lost.
_SECONDS_AT_ONCE = 3.0
_TICK_SECONDS = 1.0
_PATIENCE_SECONDS = 30.0
_USUAL_THREADS = 4
# Paths alone pass through Ray's memory; this is the least that it takes.
_STORE_BYTES = 80 * 2**20


def address_of(options: TranslateOptions) -> str:
    """Return the address of Ray that options mean; ``local`` is a Ray of this command alone."""
    return options.ray_address or os.environ.get("RAY_ADDRESS") or _LOCAL


def require_ray(*, alone: bool = False) -> Any:
    """Return the module ``ray``, with its statistics of usage turned off.

    Args:
        alone: whether this process uses no Ray but one that it starts itself. Then that one takes
            orders only from who knows a secret, for all who reach this machine reach its ports.

    Raises:
        ImpastoError: it is not installed.
    """
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    # Else it warns of what a later version will do with processes without GPUs.
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    if alone and "ray" not in sys.modules and "RAY_AUTH_MODE" not in os.environ:
        # Ray reads this when it is imported, and never again.
        os.environ.update(RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=secrets.token_hex(32))
    try:
        return importlib.import_module("ray")
    except ImportError as error:
        raise ImpastoError(
            "--engine ray needs the package Ray, on each machine of the cluster: pip install ray"
        ) from error


@dataclass(kw_only=True)
class _Hired:
    """A worker, and what it is at."""

    actor: Any
    notes: Path
    tasks: list[Task] = field(default_factory=list)
    seconds_each: float | None = None


@dataclass(frozen=True, kw_only=True)
class Crew:
    """How many workers there are to be, and what each takes.

    Attributes:
        workers: number of workers.
        threads: threads of each, which are as many processors to Ray.
        gpus: GPUs of each, possibly a part of one.
    """

    workers: int
    threads: int
    gpus: float

    def __str__(self) -> str:
        workers = "1 worker" if self.workers == 1 else f"{self.workers} workers"
        threads = "1 thread" if self.threads == 1 else f"{self.threads} threads"
        gpus = f" and {self.gpus:g} GPU" if self.gpus else ""
        return f"{workers} of {threads}{gpus}"


def crew_for(options: TranslateOptions, machines: Sequence[tuple[int, int]]) -> Crew:
    """Decide what the options leave open.

    Args:
        options: all options of the translation.
        machines: processors and GPUs of each machine.
    """
    cores, all_cores = max((one[0] for one in machines), default=0), sum(one[0] for one in machines)
    gpus = options.ray_gpus_per_worker
    if gpus is None:
        on_cpu = options.device == "cpu" or options.runtime == "onnx"
        gpus = 0.0 if on_cpu or not any(one[1] for one in machines) else 1.0
    places = [(one[0], int(one[1] / gpus)) for one in machines if one[1] >= gpus] if gpus else []
    count = options.ray_workers or sum(place[1] for place in places)
    threads = options.threads
    if threads is None and places:
        threads = min(_USUAL_THREADS, *(place[0] // place[1] for place in places), cores)
    elif threads is None and count:
        threads = min(cores, all_cores // count)
    elif threads is None:
        threads = min(_USUAL_THREADS, cores or _USUAL_THREADS)
    threads = max(1, threads)
    count = count or sum(one[0] // threads for one in machines)
    return Crew(workers=max(1, count), threads=threads, gpus=gpus)


def make_on_ray(  # noqa: PLR0913, PLR0917
    jobs: Sequence[Job],
    films: Collection[Path],
    options: TranslateOptions,
    folder: ResultsFolder,
    settings: Mapping[str, str],
    identity: str,
    converted: Converted,
    on_done: Callable[[Job], None],
    on_note: Callable[[str], None],
) -> None:
    """Translate pictures and films over a Ray cluster, or over several processes of this machine.

    Args:
        jobs: what to translate.
        films: sources of those that are films.
        options: all options of the translation, as they were given.
        folder: folder of the results, which this process holds.
        settings: settings in words, by the names of the options.
        identity: what decides how a picture's result looks.
        converted: record to add the jobs to, which the caller has also where this raises.
        on_done: called for each finished job, successful or not.
        on_note: called with sentences.

    Raises:
        ImpastoError: Ray is not installed or cannot be reached, no worker can be used, or the disk
            is full; what is written stays, a repeated call goes on from there.
    """
    if not jobs:
        return
    started = time.perf_counter()
    token = secrets.token_hex(8)
    mark = folder.previews.absolute() / f".cluster-{token}"
    with _connected(options, on_note) as (ray, crew, neighbors):
        # GPUs that Ray does not give are those of others.
        device = "cpu" if options.device == "auto" and not crew.gpus else options.device
        orders = Orders(
            options=replace(options, threads=crew.threads, device=device),
            output=folder.output.absolute(),
            settings=settings,
            identity=identity,
            folder=Path.cwd(),
            mark=mark,
            token=token,
            example=jobs[0].source.absolute(),
            neighbors=neighbors,
        )
        work = _Work(ray, crew, orders, jobs, films, folder, converted, on_done, on_note)
        try:
            write_text_atomic(mark, token)
            work.run()
        except OSError as error:
            if isinstance(error, ImpastoError):
                raise
            reason = f"cannot be written ({error.strerror or error})"
            raise FolderError(folder.output, reason) from error
        finally:
            work.end()
            with suppress(OSError):
                mark.unlink(missing_ok=True)
            converted.seconds = time.perf_counter() - started
            folder.take_over_workers()


class _Work:
    """What is to be done, who does it, and what came of it."""

    def __init__(  # noqa: PLR0913, PLR0917
        self,
        ray: Any,
        crew: Crew,
        orders: Orders,
        jobs: Sequence[Job],
        films: Collection[Path],
        folder: ResultsFolder,
        converted: Converted,
        on_done: Callable[[Job], None],
        on_note: Callable[[str], None],
    ) -> None:
        self._ray, self._crew, self._orders, self._folder = ray, crew, orders, folder
        self._jobs, self._converted = jobs, converted
        self._on_done, self._on_note = on_done, on_note
        tasks = [
            Task(
                number=number,
                job=_absolute(job),
                film=job.source in films,
                known=folder.made.get(folder.name_of(job.target)),
            )
            for number, job in enumerate(jobs)
        ]
        # Films take longest; what is begun last had better be short.
        self._left = deque(sorted(tasks, key=lambda task: not task.film))
        self._suspects: deque[Task] = deque()
        self._ended: Counter[int] = Counter()
        self._starting: dict[Any, _Hired] = {}
        self._busy: dict[Any, _Hired] = {}
        self._idle: list[_Hired] = []
        self._failed_starts = 0
        self._problem = ""
        self._told: set[str] = set()
        actor = ray.remote(Worker)
        self._actor = actor.options(
            num_cpus=crew.threads, num_gpus=crew.gpus, max_restarts=0, scheduling_strategy="SPREAD"
        )

    def run(self) -> None:
        """Hand out everything, and wait for all of it."""
        since = time.monotonic()
        while self._left or self._suspects or self._busy:
            self._hire()
            self._assign()
            waited_for = [*self._starting, *self._busy]
            if not waited_for:
                raise ImpastoError(f"no worker can be used: {self._problem}")
            ready, _ = self._ray.wait(waited_for, num_returns=1, timeout=_TICK_SECONDS)
            if self._busy or ready:
                since = time.monotonic()
            elif time.monotonic() - since > _PATIENCE_SECONDS:
                gpus = f" and {self._crew.gpus:g} GPU" if self._crew.gpus else ""
                self._tell(
                    f"waiting until the cluster has room; a worker needs {self._crew.threads} CPU"
                    f"{gpus} on one machine (--threads, --ray_gpus_per_worker)"
                )
            for reference in ready:
                if reference in self._starting:
                    self._started(self._starting.pop(reference), reference)
                else:
                    self._made(self._busy.pop(reference), reference)

    def end(self) -> None:
        """End all workers; what they had finished before a Ctrl-C counts."""
        hired = [*self._starting.values(), *self._busy.values(), *self._idle]
        for one in hired:
            self._dismiss(one)
        for one in self._busy.values():
            self._unfinished(one)
        self._starting, self._busy, self._idle = {}, {}, []

    def _hire(self) -> None:
        """Start workers until there are as many as are needed."""
        needed = len(self._left) + len(self._suspects) + len(self._busy)
        most = min(self._crew.workers, needed)
        while (
            len(self._starting) + len(self._busy) + len(self._idle) < most
            and self._failed_starts < _START_TRIES
        ):
            notes = self._folder.worker_notes(secrets.token_hex(8)).absolute()
            hired = _Hired(actor=self._actor.remote(self._orders, notes), notes=notes)
            self._starting[hired.actor.start.remote()] = hired

    def _assign(self) -> None:
        """Give each idle worker something to do."""
        while self._idle and (self._left or self._suspects):
            hired = self._idle.pop()
            if self._suspects:
                tasks = [self._suspects.popleft()]
            else:
                tasks = [self._left.popleft() for _ in range(self._portion(hired))]
            hired.tasks = tasks
            self._busy[hired.actor.make.remote(tasks)] = hired

    def _portion(self, hired: _Hired) -> int:
        """Return how many tasks a worker is given at once."""
        films = next((at for at, task in enumerate(self._left) if not task.film), len(self._left))
        if films or hired.seconds_each is None:
            return 1
        fair = math.ceil(len(self._left) / (2 * self._crew.workers))
        wanted = int(_SECONDS_AT_ONCE / max(hired.seconds_each, 1e-3))
        return max(1, min(wanted, fair, _MOST_AT_ONCE))

    def _started(self, hired: _Hired, reference: Any) -> None:
        try:
            problem = self._ray.get(reference)
        except self._ray.exceptions.RayError as error:
            problem = (
                f"it did not start: {_first_line(error)}; each machine needs the same versions of "
                "Python, Ray and Impasto"
            )
        if problem is None:
            self._failed_starts = 0
            self._idle.append(hired)
            return
        self._problem = problem
        self._failed_starts += 1
        self._dismiss(hired)
        self._tell(f"a worker is not used: {problem}")

    def _made(self, hired: _Hired, reference: Any) -> None:
        """Record what a worker made; if it was lost, hand out again what it had not finished."""
        try:
            report: Report = self._ray.get(reference)
        except self._ray.exceptions.RayError as error:
            self._lost(hired, _first_line(error))
            return
        tasks = {task.number: task for task in hired.tasks}
        self._converted.pixels += report.pixels
        for words in report.said:
            self._tell(words)
        for number in report.done:
            self._finish(tasks[number])
        for number, reason in report.failures.items():
            self._finish(tasks[number], reason)
        if report.fatal is not None:
            raise ImpastoError(report.fatal)
        hired.seconds_each = report.seconds / max(len(tasks), 1)
        hired.tasks = []
        self._idle.append(hired)

    def _lost(self, hired: _Hired, reason: str) -> None:
        self._dismiss(hired)
        self._failed_starts = 0  # somebody may take its place
        alone, unfinished = len(hired.tasks) == 1, self._unfinished(hired)
        for task in unfinished:
            if alone:
                self._ended[task.number] += 1
            if self._ended[task.number] >= TRIES:
                self._finish(
                    task,
                    f"its worker ended {TRIES} times while it was translated, as it does where "
                    f"memory is short; try --memory, --long_side or fewer workers ({reason})",
                )
            else:
                self._suspects.append(task)
        pictures = "1 picture" if len(unfinished) == 1 else f"{len(unfinished)} pictures"
        self._on_note(f"a worker was lost, and {pictures} that it had not finished: {reason}")

    def _unfinished(self, hired: _Hired) -> list[Task]:
        """Return what a lost worker had not finished; record the rest, by its notes, as done."""
        made, left = read_notes(hired.notes, self._orders.output), []
        for task in hired.tasks:
            there = made.get(self._folder.name_of(self._jobs[task.number].target))
            if there is not None and there.result.is_still(task.job.target):
                self._converted.pixels += pixels_of(task)
                self._finish(task)
            else:
                left.append(task)
        return left

    def _finish(self, task: Task, reason: str | None = None) -> None:
        job = self._jobs[task.number]
        if reason is None:
            self._converted.done.append(job)
        else:
            self._converted.failures[job.source] = reason
        self._on_done(job)

    def _dismiss(self, hired: _Hired) -> None:
        with suppress(Exception):  # it may be gone, and the whole cluster with it
            self._ray.kill(hired.actor, no_restart=True)

    def _tell(self, words: str) -> None:
        if words not in self._told:
            self._told.add(words)
            self._on_note(words)


def _absolute(job: Job) -> Job:
    """Return a job by paths that mean the same on every machine."""
    before, after = (None if path is None else path.absolute() for path in (job.before, job.after))
    return Job(
        source=job.source.absolute(), target=job.target.absolute(), before=before, after=after
    )


def _first_line(error: BaseException) -> str:
    """Return the cause of an error of Ray, in one line."""
    cause = getattr(error, "cause", None) or error
    words = re.sub(r"\x1b\[\d+m", "", str(cause))
    lines = [line.strip() for line in words.splitlines() if line.strip()]
    told = [line for line in lines if line.startswith("The actor is dead because")]
    raised = lines[-1:] if "creation task" in words else []  # the error itself is in the last line
    line = (raised or told or lines or [type(cause).__name__])[0]
    if "is temporarily unavailable" in line:
        return "its machine does not answer"
    line = line.removeprefix("The actor is dead because ").split(" Worker exit type:")[0]
    return line.rstrip(". ")


@contextmanager
def _connected(
    options: TranslateOptions, on_note: Callable[[str], None]
) -> Iterator[tuple[Any, Crew, int]]:
    """Connect to a cluster, or start one on this machine; yield Ray, the crew, and neighbors.

    Neighbors are the workers that share a machine, at most.

    Raises:
        ImpastoError: Ray is not installed, or does not answer.
        OptionError: this machine has no room for a worker.
    """
    ray = require_ray()
    address = address_of(options)
    quiet = {"log_to_driver": False, "logging_level": "ERROR"}
    if ray.is_initialized():  # by a program that uses Impasto
        crew, neighbors = _seats(ray, options)
        on_note(f"computing on {crew}, over Ray as it is connected")
        yield ray, crew, neighbors
        return
    temporary = None
    if address == _LOCAL:
        gpus = torch.cuda.device_count() if options.device in {"auto", "cuda"} else 0
        crew = crew_for(options, [(usable_cores(), gpus)])
        if crew.workers * crew.gpus > gpus:
            raise OptionError(
                "ray_gpus_per_worker", f"{crew} need more GPUs than this machine has, {gpus}"
            )
        temporary = Path(tempfile.mkdtemp(prefix="impasto-ray-", dir=_short_folder()))
        quiet |= {
            "num_cpus": crew.workers * crew.threads,
            "num_gpus": gpus,
            "include_dashboard": False,
            "object_store_memory": _STORE_BYTES,
            "_temp_dir": str(temporary),
        }
    try:
        with _silent(ray):
            _init(ray, address, quiet)
            crew, neighbors = _seats(ray, options) if temporary is None else (crew, crew.workers)
            where = f"at {address}" if temporary is None else "on this machine"
            on_note(f"computing on {crew}, over Ray {where}")
            yield ray, crew, neighbors
    finally:
        with suppress(Exception):
            ray.shutdown()
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)


def _init(ray: Any, address: str, options: Mapping[str, Any]) -> None:
    """Connect, and keep what SIGTERM does to this process, which Ray would change."""
    main = threading.current_thread() is threading.main_thread()
    before = signal.getsignal(signal.SIGTERM) if main else None
    try:
        ray.init(address=address, namespace="impasto", **options)
    except Exception as error:  # of many kinds, none of them of Ray's own
        raise ImpastoError(
            f"Ray cannot be used at {address}: {_first_line(error)}; expected HOST:PORT of a "
            "cluster (--ray_address, or the environment variable RAY_ADDRESS), or local for "
            "workers on this machine"
        ) from error
    finally:
        if before is not None:
            signal.signal(signal.SIGTERM, before)


@contextmanager
def _silent(ray: Any) -> Iterator[None]:
    """Keep Ray from printing what it is told of workers, which would lie among our lines.

    It has no setting for that.
    """
    worker = importlib.import_module(f"{ray.__name__}._private.worker")
    before = getattr(worker, "print_to_stdstream", None)
    if before is None:
        yield
        return
    worker.print_to_stdstream = lambda *_words, **_options: None  # type: ignore[attr-defined]
    try:
        yield
    finally:
        worker.print_to_stdstream = before  # type: ignore[attr-defined]


def _seats(ray: Any, options: TranslateOptions) -> tuple[Crew, int]:
    """Return the crew for a cluster, and how many of it share a machine, at most."""
    machines = [
        (int(node["Resources"].get("CPU", 0)), int(node["Resources"].get("GPU", 0)))
        for node in ray.nodes()
        if node["Alive"]
    ]
    crew = crew_for(options, machines)
    most = max((cores // crew.threads for cores, _ in machines), default=1)
    return crew, max(1, min(crew.workers, most))


def _short_folder() -> str | None:
    """Return where the sockets of Ray lie, whose paths may have 107 characters; None: as usual."""
    usual = tempfile.gettempdir()
    return "/tmp" if len(usual) > 24 and Path("/tmp").is_dir() else None  # noqa: S108
