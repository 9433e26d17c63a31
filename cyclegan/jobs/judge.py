"""The best epoch, found while training: generators are measured between epochs, the best are kept.

The numbers are those of `impasto evaluate`, whose code computes them. A measurement works on copies
of the generators, and leaves random numbers and settings of torch as they were, so that a training
has the same weights with it and without. Whatever goes wrong in one is told in a line.
"""

import hashlib
import json
import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import torch
from torch import Tensor

from impasto.cyclegan.architecture import GeneratorArchitecture
from impasto.cyclegan.blocks import take_statistics
from impasto.cyclegan.evaluation.candidates import PictureFiles, Translations, split_real
from impasto.cyclegan.evaluation.sets import Extractor, Settings
from impasto.cyclegan.evaluation.table import Comparison, Measurer, Reference, Row
from impasto.cyclegan.networks import load_weights
from impasto.cyclegan.optim import exported_weights
from impasto.cyclegan.trainer import Trainer
from impasto.cyclegan.weights import LoadedGenerator, save_generator
from impasto.data.fingerprints import fingerprint
from impasto.gatys.features.lite import find_lite_weights, missing_lite_message
from impasto.options.errors import CheckpointError, FolderError
from impasto.runs.directory import RunDirectory
from impasto.runs.learner import Verdict
from impasto.runs.log import read_log
from impasto.runs.observers import Progress
from impasto.runs.state import load_tensors

__all__ = [
    "EpochJudge",
    "best_file",
    "read_best",
]

_log = logging.getLogger(__name__)

# What is told of each row, by the name in the log.
_MEASURES = {"swd": "swd", "kid_lite": "kid", "palette": "palette", "content": "content"}
_PREFIX = "val"
_FEWEST = 4


def best_file(run: Path, generator: str) -> Path:
    """Return the file that keeps the best epoch of a generator such as ``G_A``."""
    return run / f"best_{generator}.safetensors"


def read_best(run: Path, generator: str) -> Mapping[str, str]:
    """Return what the best epoch of a generator says of itself; nothing if none is kept.

    Returns:
        ``epoch``, ``images``, ``best_by``, ``value``, ``measured`` (all numbers, as JSON) and
        ``pictures`` (what it was measured with), among others.
    """
    try:
        metadata = load_tensors(best_file(run, generator))[1]
        _ = int(metadata["epoch"]), int(metadata["images"]), float(metadata["value"])
    except (CheckpointError, OSError, KeyError, ValueError):
        return {}
    return metadata


@dataclass(frozen=True, kw_only=True)
class _Best:
    epoch: int
    value: float


class _InMemory:
    """Gives a generator that is in memory already."""

    def __init__(self, loaded: LoadedGenerator) -> None:
        self._loaded = loaded

    def load(self) -> LoadedGenerator:
        return self._loaded

    def load_way_back(self) -> LoadedGenerator | None:
        return None


class _Side:
    """What the translations of one generator are measured with, and the two rows beside them."""

    def __init__(
        self, reference: Reference, extractor: Extractor | None, comparison: Comparison | None
    ) -> None:
        assert reference.inputs is not None  # noqa: S101 - both are made below
        assert reference.others is not None  # noqa: S101
        self.measure = Measurer(reference, Settings(), extractor=extractor, comparison=comparison)
        self.nothing = _told(self.measure("do nothing", "nothing", reference.inputs))
        self.floor = _told(self.measure("floor", "floor", reference.others))


def _told(row: Row) -> dict[str, float]:
    return {name: row.values[of] for name, of in _MEASURES.items() if of in row.values}


class EpochJudge:
    """Measures the exported generators as `impasto evaluate` does, and keeps the best of each.

    Half of the real pictures is what all are compared with; the other half is the floor.

    Args:
        learner: learner whose generators are measured.
        pictures: folder and picture files of domains A and B, which nothing is trained on.
        architecture: architecture of the generators.
        run: folder of the run.
        device: device that computes.
        best: ``swd`` or ``kid_lite``, the measure whose lowest value is best.
        patience: number of measurements in a row without a better one after which the training
            ends; 0 for never.
        provenance: what is written into the files of the best, and says how generators are used, as
            in :class:`~impasto.cyclegan.weights.LoadedGenerator`.

    Raises:
        FolderError: a domain has fewer than four pictures.
    """

    def __init__(  # noqa: PLR0913
        self,
        learner: Trainer,
        pictures: Mapping[str, tuple[Path, Sequence[Path]]],
        *,
        architecture: GeneratorArchitecture,
        run: Path,
        device: torch.device,
        best: str = "swd",
        patience: int = 0,
        provenance: Mapping[str, str] | None = None,
    ) -> None:
        self._learner, self._architecture = learner, architecture
        self._run, self._device = run, device
        self._by, self._patience = best, patience
        self._provenance = dict(provenance or {})
        self._references: dict[str, Reference] = {}
        self._letters = {name: way[0] for way, name in learner.directions.items()}
        for direction, generator in learner.directions.items():
            inputs, real = (pictures[domain] for domain in (direction[0], direction[-1]))
            self._references[generator] = _reference(inputs, real)
        self._pictures = _digest(pictures)
        self._sides: dict[str, _Side] = {}
        self._told_missing = False
        self._best: dict[str, _Best] = {}
        self._since = dict.fromkeys(self._references, 0)

    def restore(self, progress: Progress) -> Verdict:
        """Take up the best epochs of the run, unless they are of other pictures or measures."""
        records = read_log(RunDirectory(self._run).log_file)
        for generator in self._references:
            said = read_best(self._run, generator)
            same = said.get("best_by"), said.get("pictures")
            if same != (self._by, self._pictures) or int(said["images"]) > progress.images:
                continue
            self._best[generator] = _Best(epoch=int(said["epoch"]), value=float(said["value"]))
            name, first = self._name(self._by, generator), int(said["images"])
            later = [r for r in records if first < r["images"] <= progress.images]
            self._since[generator] = sum(name in r.get("scores", {}) for r in later)
        return Verdict(stops=self._stops)

    def measure(self, progress: Progress) -> Verdict:
        """Measure all generators; what goes wrong is told, and ends no training."""
        try:
            with _undisturbed():
                return self._measure(progress)
        except Exception as error:  # noqa: BLE001 - whatever it is, it must not end a training
            reason = (str(error) or type(error).__name__).splitlines()[0]
            _log.warning(
                "epoch %d could not be measured, and the training goes on: %s",
                progress.epoch,
                reason,
            )
            return Verdict()

    @property
    def _stops(self) -> bool:
        return self._patience > 0 and min(self._since.values()) >= self._patience

    def _measure(self, progress: Progress) -> Verdict:
        if not self._sides:
            self._sides = self._make_sides()
        scores: dict[str, float] = {}
        told, better = [], False
        for direction, generator in self._learner.directions.items():
            weights, kind = exported_weights(
                self._learner.networks[generator], self._learner.averages.get(generator)
            )
            side, values = self._sides[generator], self._values(generator, weights)
            for name, value in values.items():
                key = self._name(name, generator)
                scores[key] = value
                if name != "content":  # of which doing nothing has 0, and others have none
                    scores |= {
                        f"{key}_floor": side.floor[name],
                        f"{key}_nothing": side.nothing[name],
                    }
            said = {"direction": direction, "weights": kind, "measured": json.dumps(values)}
            kept = self._judge(generator, values, weights, said, progress)
            better = better or kept
            told.append(self._sentence(generator, values, kept=kept))
        note = f"epoch {progress.epoch} measured: {'; '.join(told)}"
        if self._stops:
            note += (
                f". No generator has become better in {self._patience} measurements: the training "
                f"ends here (--patience {self._patience})"
            )
        return Verdict(scores=scores, note=note, better=better, stops=self._stops)

    def _make_sides(self) -> dict[str, _Side]:
        extractor: Extractor | None = None
        comparison: Comparison | None = None
        if find_lite_weights() is None:
            if not self._told_missing:
                why = missing_lite_message()
                _log.warning("KID and content distance are not measured: %s", why)
            self._told_missing = True
        else:
            from impasto.gatys.features.distances import (  # noqa: PLC0415 - only here
                make_comparison,
                make_extractor,
            )

            extractor = make_extractor("lite", None, layer="", device=self._device)
            comparison = make_comparison("lite", None, device=self._device)
        return {
            generator: _Side(reference, extractor, comparison)
            for generator, reference in self._references.items()
        }

    def _values(self, generator: str, weights: Mapping[str, Tensor]) -> dict[str, float]:
        """Measure the translations by a copy of a generator."""
        network = self._architecture.build()
        load_weights(network, weights, what=f"a generator ({self._architecture})")
        inputs = self._references[generator].inputs
        assert isinstance(inputs, PictureFiles)  # noqa: S101 - made below
        loaded = LoadedGenerator(
            network=network.eval(),
            architecture=self._architecture,
            provenance=self._provenance,
        )
        take_statistics(loaded.network, of_picture=loaded.statistics == "picture")
        translations = Translations(
            inputs=inputs,
            generator=_InMemory(loaded),
            grid_bend_px=None,
            mixed_precision="no",
            device=self._device,
        )
        return _told(self._sides[generator].measure(generator, "result", translations))

    def _judge(
        self,
        generator: str,
        values: Mapping[str, float],
        weights: Mapping[str, Tensor],
        said: Mapping[str, str],
        progress: Progress,
    ) -> bool:
        """Keep the weights if they are the best so far; return whether they were kept."""
        value, before = values.get(self._by, math.nan), self._best.get(generator)
        if not math.isfinite(value) or (before is not None and value >= before.value):
            self._since[generator] += 1
            return False
        self._since[generator] = 0
        provenance = {
            "impasto": version("impasto"),
            **said,
            "images": str(progress.images),
            "epoch": str(progress.epoch),
            "best_by": self._by,
            "value": repr(value),
            "pictures": self._pictures,
            **self._provenance,
        }
        path = best_file(self._run, generator)
        try:
            save_generator(path, weights, self._architecture, provenance)
        except OSError as error:
            _log.warning(
                "%s cannot be written (%s); the training goes on, and the next better epoch is "
                "kept again",
                path,
                error.strerror or error,
            )
            return False
        self._best[generator] = _Best(epoch=progress.epoch, value=value)
        return True

    def _name(self, measure: str, generator: str) -> str:
        """Return the name of a score in the log, such as ``val_swd_A`` of ``G_A``."""
        return f"{_PREFIX}_{measure}_{self._letters[generator]}"

    def _sentence(self, generator: str, values: Mapping[str, float], *, kept: bool) -> str:
        side, best = self._sides[generator], self._best.get(generator)
        numbers = ", ".join(f"{name} {_spelled(value)}" for name, value in values.items())
        if self._by not in values:
            return f"{generator} {numbers}; {self._by} is not known, so no best epoch is kept"
        floor, nothing = (_spelled(row[self._by]) for row in (side.floor, side.nothing))
        rank = "the best so far" if kept else ""
        if best is not None and not kept:
            rank = f"best {_spelled(best.value)} at epoch {best.epoch}"
        beside = f"{self._by} of other real pictures {floor}, of the inputs {nothing}"
        return f"{generator} {numbers} ({', '.join(part for part in (rank, beside) if part)})"


def _spelled(value: float) -> str:
    return f"{value:.4g}"


def _reference(inputs: tuple[Path, Sequence[Path]], real: tuple[Path, Sequence[Path]]) -> Reference:
    """Make the sets that `impasto evaluate --real REAL --inputs INPUTS` compares."""
    for folder, files in (inputs, real):
        if len(files) < _FEWEST:
            raise FolderError(
                folder,
                f"holds {len(files)} pictures, too few to measure with; expected {_FEWEST} or more",
            )
    half, others = split_real(*real, seed=Settings().seed)
    return Reference(
        real=half, others=others, inputs=PictureFiles(folder=inputs[0], files=inputs[1])
    )


def _digest(pictures: Mapping[str, tuple[Path, Sequence[Path]]]) -> str:
    """Return a text that changes with the names or sizes of the pictures."""
    rows = [
        (domain, fingerprint(files, folder)[:, :2].tolist())
        for domain, (folder, files) in sorted(pictures.items())
    ]
    return hashlib.sha256(json.dumps(rows).encode()).hexdigest()[:16]


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Leave torch's random numbers, and what a training has set for cuDNN, as they are."""
    state, benchmark = torch.get_rng_state(), torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = False  # pictures have many sizes
    try:
        yield
    finally:
        torch.backends.cudnn.benchmark = benchmark
        torch.set_rng_state(state)
