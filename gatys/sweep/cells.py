"""One cell of a sweep: made once, kept on disk with all its numbers."""

import hashlib
import json
import resource
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from impasto.data.atomic import write_text_atomic
from impasto.data.encode import write_float_picture
from impasto.gatys.features.make import model_of
from impasto.gatys.features.weights import find_model_weights, find_weights
from impasto.gatys.jobs.stylize import stylize
from impasto.gatys.masks import parse_mask_pair
from impasto.gatys.outputs.loss_log import LossLog
from impasto.gatys.sweep.plan import SweepCell
from impasto.options.errors import ImpastoError, OptionError
from impasto.options.stylize import StylizeOptions

__all__ = ["CellResult", "cell_key", "read_cell", "run_cell", "write_failure"]

_EVERY = 10


@dataclass(frozen=True, kw_only=True)
class CellResult:
    """What came of a cell.

    Attributes:
        key: of the options and files that it was made from.
        labels: by name of the axis.
        losses: by name, of the last scale; empty if it failed.
        evaluations: of the losses.
        seconds: of the optimisation.
        peak_memory_mib: most memory that the process held meanwhile, on the device if that is a
            GPU; what earlier cells of the same process left counts, too.
        size: width and height of the picture.
        error: why it failed; empty if it did not.
    """

    key: str
    labels: Mapping[str, str]
    losses: Mapping[str, float]
    evaluations: int = 0
    seconds: float = 0.0
    peak_memory_mib: float = float("nan")
    size: tuple[int, int] = (0, 0)
    error: str = ""


def cell_key(cell: SweepCell, threads: int) -> str:
    """Return a hash of everything that decides the picture.

    These are options, files (masks, and weights that are found in the cache, among them), threads
    and Impasto's version.

    A file that is missing counts as empty: the cell then fails when it is run.
    """
    options = cell.options
    paths = [options.content, *options.styles, *_masks(options), options.init_image]
    paths.append(_weights(options))
    hashes = [_file_hash(path) for path in paths if path is not None]
    told = {key: str(value) for key, value in asdict(options).items() if key != "output"}
    text = json.dumps([told, hashes, threads, version("impasto")], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def read_cell(folder: Path, key: str) -> CellResult | None:
    """Return a result that is on disk; None if there is none, or it is of other settings."""
    try:
        raw = json.loads((folder / "cell.json").read_text(encoding="utf-8"))
        known = {field.name: raw[field.name] for field in fields(CellResult)}
        known["size"] = tuple(known["size"])
        found = CellResult(**known)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    whole = not found.error and (folder / "picture.png").is_file()
    return found if whole and found.key == key else None


def run_cell(cell: SweepCell, folder: Path, threads: int, *, stop: Any = None) -> CellResult | None:
    """Make a cell and keep it; a failure is a result, too.

    Returns:
        The result, or None if it was stopped.

    Raises:
        OSError: the folder cannot be written.
    """
    torch.set_num_threads(threads)
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("cell.json", "picture.png", "losses.csv"):
        (folder / name).unlink(missing_ok=True)  # of other settings
    key = cell_key(cell, threads)
    started = time.perf_counter()
    _reset_peak()
    try:
        log = LossLog(folder / "losses.csv")
        result = stylize(cell.options, watcher=log, every=_EVERY, stop=stop or (lambda: False))
        if result.stopped:
            return None
        write_float_picture(folder / "picture.png", result.image)
    except ImpastoError as error:
        return write_failure(cell, folder, key, str(error), seconds=time.perf_counter() - started)
    except (ValueError, RuntimeError, MemoryError) as error:
        told = f"{type(error).__name__}: {error}"
        return write_failure(cell, folder, key, told, seconds=time.perf_counter() - started)
    height, width = result.image.shape[:2]
    made = CellResult(
        key=key,
        labels=cell.labels,
        losses=result.losses,
        evaluations=result.evaluations,
        seconds=round(result.seconds, 3),
        peak_memory_mib=round(_peak_mib(result.device), 1),
        size=(width, height),
    )
    _write(folder, made)
    return made


def write_failure(
    cell: SweepCell, folder: Path, key: str, error: str, *, seconds: float = 0.0
) -> CellResult:
    """Keep, and return, that a cell failed, and why.

    Raises:
        OSError: the folder cannot be written.
    """
    failed = CellResult(
        key=key, labels=cell.labels, losses={}, seconds=round(seconds, 3), error=error
    )
    folder.mkdir(parents=True, exist_ok=True)
    _write(folder, failed)
    return failed


def _masks(options: StylizeOptions) -> list[Path]:
    try:
        return [parse_mask_pair(text, options.styles).path for text in options.masks]
    except OptionError:  # which the cell then fails with
        return []


def _weights(options: StylizeOptions) -> Path | None:
    """Return the file that the feature network is made of; None if there is none."""
    name = options.backbone
    if options.weights is not None:
        return options.weights
    if name in {"random", "pixels"} or name.startswith("random:"):
        return None
    if options.preset in {"builtin", "random"}:
        return None
    try:
        model = model_of(name)
    except OptionError:
        return None
    return find_model_weights(model) if model else find_weights(16 if name == "vgg16" else 19)


def _write(folder: Path, result: CellResult) -> None:
    write_text_atomic(folder / "cell.json", json.dumps(asdict(result), indent=1) + "\n")


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


def _reset_peak() -> None:
    """Let the system count the most memory anew, where it can."""
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # proc(5)
    except OSError:
        return


def _peak_mib(device: torch.device) -> float:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii")
        line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 1024
    except (OSError, StopIteration):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
