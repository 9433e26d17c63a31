"""One cell of a sweep: computed once, in its own process, and kept on disk with its results.

The process is the command ``impasto stylize --config cell.yaml``: its memory is its own, the system
may kill it without harm to the others, and a user can repeat it by hand.
"""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from functools import cache
from importlib.metadata import version
from pathlib import Path

from impasto.data.atomic import remove_leftovers, write_text_atomic
from impasto.data.decode import read_size
from impasto.gatys.features.lite import find_lite_weights
from impasto.gatys.features.make import model_of
from impasto.gatys.features.weights import find_model_weights, find_weights
from impasto.gatys.masks import parse_mask_pair
from impasto.gatys.outputs.recipe import (
    Facts,
    Recipe,
    absolute_masks,
    difference_from,
    read_recipe,
    recipe_path,
    write_recipe,
)
from impasto.gatys.sweep.plan import SweepCell
from impasto.options.errors import ImpastoError, OptionError
from impasto.options.stylize import StylizeOptions
from impasto.runs.processes import PARENT_VARIABLE
from impasto.runs.signals import stopping_signals

__all__ = [
    "CellFiles",
    "CellResult",
    "cell_command",
    "cell_key",
    "difference_on_disk",
    "read_cell",
    "run_cell",
]

# Statuses of a process that was asked to end, before and after it has handlers of its own.
_STOPPED = {
    status: number.name
    for number in (signal.SIGINT, *stopping_signals())
    for status in (-number, 128 + number)
}
_PATIENCE_SECONDS = 10.0
# Where a signal is sent to all processes of a job, a cell may end before the sweep has heard of it.
_GRACE_SECONDS = 3.0
_ERROR = "impasto stylize: error: "


@dataclass(frozen=True)
class CellFiles:
    """The paths of a cell's files.

    Attributes:
        folder: folder that holds the files of this cell only.
    """

    folder: Path

    @property
    def recipe(self) -> Path:
        """The file of all options, for ``impasto stylize --config``."""
        return self.folder / "cell.yaml"

    @property
    def picture(self) -> Path:
        """The stylized picture."""
        return self.folder / "picture.png"

    @property
    def losses(self) -> Path:
        """The losses of each iterate."""
        return self.folder / "picture.losses.csv"

    @property
    def log(self) -> Path:
        """The file with the output of the command."""
        return self.folder / "stylize.log"

    @property
    def result(self) -> Path:
        """The file with the result of the cell."""
        return self.folder / "cell.json"

    def read_log(self) -> str:
        """Return what the command has printed; empty if it was not started."""
        try:
            return self.log.read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            return ""

    def hashes(self) -> dict[str, str]:
        """Return the SHA-256 of the picture and of the table of losses, by their names."""
        return {path.name: _file_hash(path) for path in (self.picture, self.losses)}

    def remove_made(self) -> None:
        """Remove all that its process has made but for the log, also what is only half written."""
        for path in (self.picture, recipe_path(self.picture), self.losses):
            path.unlink(missing_ok=True)
        remove_leftovers(self.folder)


@dataclass(frozen=True, kw_only=True)
class CellResult:
    """The result of a cell.

    Attributes:
        key: hash of the options and files that the cell was made from.
        labels: labels of the cell's values, by the name of the axis.
        losses: final losses at the last scale, by name; empty if the cell failed.
        evaluations: number of evaluations of the losses.
        seconds: duration of the optimization, in seconds.
        wall_seconds: duration of the whole cell, its start-up included, in seconds; 0 if not known.
        peak_memory_mib: peak memory of the cell's process in MiB, on the device if that is a GPU.
        size: width and height of the picture.
        error: why the cell failed; empty if it did not.
        hashes: SHA-256 of the picture and of the table of losses, by their names.
    """

    key: str
    labels: Mapping[str, str]
    losses: Mapping[str, float]
    evaluations: int = 0
    seconds: float = 0.0
    wall_seconds: float = 0.0
    peak_memory_mib: float = float("nan")
    size: tuple[int, int] = (0, 0)
    error: str = ""
    hashes: Mapping[str, str] = field(default_factory=dict)


def cell_key(cell: SweepCell, threads: int) -> str:
    """Return a hash of everything that determines the picture.

    This includes options, files (masks, and weights that are found in the cache, among them),
    threads and Impasto's version.

    A file that is missing counts as empty: the cell then fails when it is run.
    """
    options = cell.options
    paths = [options.content, *options.styles, *_masks(options), options.init_image]
    paths.append(_weights(options))
    hashes = [_file_hash(path) for path in paths if path is not None]
    settings = {field.name: getattr(options, field.name) for field in fields(options)}
    del settings["output"], settings["overwrite"]
    told = {name: str(_absolute(value)) for name, value in settings.items()}
    text = json.dumps([told, hashes, threads, version("impasto")], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def cell_command(recipe: Path) -> list[str]:
    """Return the command line that makes a cell, as a list of words."""
    # Safe path: beside a checkout of Impasto, its folder would be taken for the package.
    return [sys.executable, "-P", "-m", "impasto", "stylize", "--config", str(recipe)]


def read_cell(folder: Path, key: str) -> CellResult | None:
    """Return the result on disk.

    Returns:
        The result; None if there is none, it was made with other settings, or the picture or the
        table of losses is missing or no longer what was written.
    """
    result = _read_finished(CellFiles(folder))
    return result if result is not None and result.key == key else None


def _read_finished(files: CellFiles) -> CellResult | None:
    """Return the result of a finished cell, of whatever settings, whose files are whole."""
    try:
        raw = json.loads(files.result.read_text(encoding="utf-8"))
        # Those of earlier versions do not know how long the whole cell took.
        known = {field.name: raw[field.name] for field in fields(CellResult) if field.name in raw}
        known["size"] = tuple(known["size"])
        result = CellResult(**known)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    whole = not result.error and result.hashes == files.hashes()
    return result if whole else None


def difference_on_disk(cell: SweepCell, folder: Path, threads: int) -> str:
    """Describe how a finished cell on disk differs from the one that would replace it.

    Args:
        cell: cell that would be made.
        folder: folder of its files.
        threads: number of threads that it would be made with.

    Returns:
        The settings that were others, or what else has changed, in words; empty if there is no
        finished cell, or it is the same.
    """
    files = CellFiles(folder)
    result = _read_finished(files)
    if result is None or result.key == cell_key(cell, threads):
        return ""
    try:
        options = read_recipe(files.recipe).options
        facts = read_recipe(recipe_path(files.picture)).facts
        now = _recipe_options(cell.options)
    except OptionError:  # a recipe that is damaged, or a mask, which the cell then fails with
        return "unknown settings"
    difference = difference_from(Recipe(options=options, facts=facts), now)
    if difference or facts is None:
        return difference or "unknown files"
    return _other_circumstance(facts, _weights(cell.options), threads)


def _other_circumstance(facts: Facts, weights: Path | None, threads: int) -> str:
    """Say in words what else was other when a cell was made, with equal options and files."""
    before, now = facts.versions.get("impasto"), version("impasto")
    if facts.threads != threads:
        return f"threads {facts.threads} (now {threads})"
    if before != now:
        return f"Impasto {before} (now {now})"
    if weights is not None and str(weights.absolute()) not in {file.path for file in facts.inputs}:
        return f"another feature network (now {weights})"
    return "an earlier version of Impasto"


def _absolute(value: object) -> object:
    """Return a path, or several, as they are from every folder; other values are unchanged."""
    if isinstance(value, Path):
        return value.absolute()
    return tuple(map(_absolute, value)) if isinstance(value, tuple) else value


def _recipe_options(options: StylizeOptions) -> dict[str, object]:
    """Return the options as the recipe of a cell has them, but for its output.

    Raises:
        OptionError: a mask is none.
    """
    flat = {field.name: getattr(options, field.name) for field in fields(options)}
    del flat["output"], flat["overwrite"]
    return {**flat, "masks": absolute_masks(options.masks, options.styles)}


def run_cell(
    cell: SweepCell, folder: Path, threads: int, *, stop: Callable[[], bool] = lambda: False
) -> CellResult | None:
    """Run a cell in its own process, and store its result; a failure is a result, too.

    Args:
        cell: cell to run.
        folder: folder for the files of this cell only; created if it does not exist.
        threads: number of threads of the process.
        stop: called several times a second; if it returns True, the process is ended.

    Returns:
        The result, or None if the cell was stopped.

    Raises:
        OSError: the folder cannot be written.
    """
    files = CellFiles(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for old in (files.result, files.log):
        old.unlink(missing_ok=True)  # of other settings
    files.remove_made()
    key, started = cell_key(cell, threads), time.perf_counter()
    result: CellResult | None
    try:
        result = _make(cell, files, key, threads, stop)
    except ImpastoError as error:
        result = CellResult(key=key, labels=cell.labels, losses={}, error=str(error))
    if result is None or result.error:
        files.remove_made()
    if result is not None:
        result = replace(result, wall_seconds=round(time.perf_counter() - started, 3))
        write_text_atomic(files.result, json.dumps(asdict(result), indent=1) + "\n")
    return result


def _make(
    cell: SweepCell, files: CellFiles, key: str, threads: int, stop: Callable[[], bool]
) -> CellResult | None:
    """Make a cell; return the numbers that its process has left, or None if it was stopped.

    Raises:
        ImpastoError: the process failed.
    """
    write_recipe(files.recipe, {**_recipe_options(cell.options), "output": files.picture})
    command = [*cell_command(files.recipe), "--overwrite", "true"]  # of what an earlier run left
    status = _run(command, files.log, threads, stop)
    if status is None:
        return None
    if status:
        raise ImpastoError(_death(status, files.read_log()))
    facts = read_recipe(recipe_path(files.picture)).facts
    if facts is None:
        raise ImpastoError(f"{recipe_path(files.picture)} holds no facts")
    return CellResult(
        key=key,
        labels=cell.labels,
        losses=facts.losses,
        evaluations=facts.evaluations,
        seconds=facts.seconds,
        peak_memory_mib=facts.peak_memory_mib,
        size=read_size(files.picture),
        hashes=files.hashes(),
    )


def _run(command: list[str], log: Path, threads: int, stop: Callable[[], bool]) -> int | None:
    """Run a command and return its exit status; None if it was asked to stop."""
    count = str(threads)
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": count,
        "MKL_NUM_THREADS": count,
        "PYTHONIOENCODING": "utf-8:backslashreplace",  # of the log
        PARENT_VARIABLE: str(os.getpid()),
    }
    with log.open("wb") as file:
        process = subprocess.Popen(  # noqa: S603 - our own command
            command, stdin=subprocess.DEVNULL, stdout=file, stderr=file, env=environment
        )
    told = None
    while True:
        try:
            status = process.wait(timeout=0.2)
        except subprocess.TimeoutExpired:
            if told is None and stop():
                process.terminate()
                told = time.monotonic()
            elif told is not None and time.monotonic() - told > _PATIENCE_SECONDS:
                process.kill()
        else:
            asked = told is not None or (status in _STOPPED and _soon(stop))
            return None if asked else status


def _soon(stop: Callable[[], bool]) -> bool:
    """Whether the sweep, too, is told to stop, now or in a moment."""
    end = time.monotonic() + _GRACE_SECONDS
    while not stop():
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


def _death(status: int, log: str) -> str:
    """Say why a process failed: in its own words, or by the signal that killed it."""
    if status in _STOPPED:
        return f"its process was stopped by {_STOPPED[status]}"
    if status < 0:
        killed = f"its process was killed by {signal.Signals(-status).name}"
        more = ", as systems do where memory runs out; try fewer --jobs or a smaller size"
        return killed + (more if status == -signal.SIGKILL else "")
    _, marked, message = log.rpartition(_ERROR)
    if marked:
        return message.strip()
    lines = [line for line in log.splitlines() if line.strip()]
    return lines[-1].strip() if lines else f"its process ended with status {status}"


def _masks(options: StylizeOptions) -> list[Path]:
    try:
        return [parse_mask_pair(text, options.styles).path for text in options.masks]
    except OptionError:  # which the cell then fails with
        return []


def _weights(options: StylizeOptions) -> Path | None:
    """Return the file that the feature network is made of; None if there is none."""
    name, preset = options.backbone, options.preset
    drawn = name in {"random", "pixels"} or name.startswith("random:")
    if options.weights is not None or drawn or preset in {"builtin", "random"}:
        return options.weights
    if "lite" in {name, preset.removesuffix("_fast")}:
        return find_lite_weights()
    if name == preset == "auto":
        return find_weights(19) or find_lite_weights()
    try:
        model = model_of(name)
    except OptionError:
        return None
    return find_model_weights(model) if model else find_weights(16 if name == "vgg16" else 19)


def _file_hash(path: Path) -> str:
    if path.is_dir():
        inner = sorted(file for file in path.rglob("*") if file.is_file())
        return hashlib.sha256("".join(_file_hash(file) for file in inner).encode()).hexdigest()
    try:
        facts = path.stat()
        return _content_hash(path, facts.st_size, facts.st_mtime_ns)
    except OSError:
        return ""


@cache
def _content_hash(path: Path, _size: int, _changed: int) -> str:
    # Kept, as all cells may look through the same half gigabyte.
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
