"""The training loop that every method shares: epochs, reports, checkpoints, stopping, resuming."""

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from functools import partial
from signal import Signals
from typing import Any, Generic, TypeVar

import torch
from accelerate import Accelerator
from torch import Tensor

from impasto.data.atomic import is_disk_full
from impasto.data.tensors import to_pictures, to_shown
from impasto.options.errors import (
    CheckpointError,
    ImpastoError,
    LostProcessError,
    TrainingError,
)
from impasto.runs.directory import RunDirectory
from impasto.runs.doctor import Doctor
from impasto.runs.learner import Judge, Learner, Loader, Verdict
from impasto.runs.log import read_log
from impasto.runs.meter import Meter
from impasto.runs.observers import Observer, Progress
from impasto.runs.processes import gather_states, mean_over_processes, what_was_lost
from impasto.runs.signals import Interrupts
from impasto.runs.state import (
    load_last_state,
    random_state,
    restore_random_state,
    save_state,
)

__all__ = ["ReportIntervals", "TrainingLoop"]

_log = logging.getLogger(__name__)

Batch = TypeVar("Batch")


@dataclass(frozen=True, kw_only=True)
class ReportIntervals:
    """The length of a training and its intervals, in pictures of each domain or epochs.

    Attributes:
        epochs: number of epochs of the whole training.
        max_images: number of pictures after which the training ends early, or None.
        accumulate: number of batches per step.
        report_images: number of pictures between reports.
        sample_images: number of pictures between samples.
        checkpoint_images: number of pictures between saved states.
        keep_epochs: number of epochs between weights that are kept.
        evaluate: whether the learner evaluates itself at the end of each epoch. The evaluation is
            reported and shown, and a state that is due there is saved after it, not between the
            last step and it.
        judge_epochs: number of epochs between two measurements by the judge, of which the same is
            true; 0 for none. The last epoch is measured, too.
    """

    epochs: int
    max_images: int | None = None
    accumulate: int = 1
    report_images: int = 100
    sample_images: int = 400
    checkpoint_images: int = 5000
    keep_epochs: int = 5
    evaluate: bool = False
    judge_epochs: int = 0


class TrainingLoop(Generic[Batch]):
    """Runs a learner over a loader, tells the observers, and saves what is needed to go on.

    Args:
        learner: learner to train.
        loader: source of the batches.
        intervals: length of the training, and intervals of reports, samples and states.
        directory: directory of the run, for the state.
        accelerator: device and processes; only the first process writes.
        observer: observer of the training.
        export: function that writes the networks under a label (``latest`` or an epoch).
        doctor: doctor that checks every report for known failures.
        sample_batch: pictures that samples are made from; the current batch unless given.
        converged: function called after each epoch; if it returns True, the training ends.
        judge: who measures between epochs, in the first process.
        facts: what else each state says of the run, plain values by name.
    """

    def __init__(  # noqa: PLR0913
        self,
        learner: Learner[Batch],
        loader: Loader[Batch],
        *,
        intervals: ReportIntervals,
        directory: RunDirectory,
        accelerator: Accelerator,
        observer: Observer,
        export: Callable[[str, Progress], None],
        doctor: Doctor | None = None,
        sample_batch: Batch | None = None,
        converged: Callable[[], bool] = lambda: False,
        judge: Judge | None = None,
        facts: Mapping[str, Any] | None = None,
    ) -> None:
        self._learner, self._loader, self._intervals = learner, loader, intervals
        self._directory, self._accelerator = directory, accelerator
        self._observer = observer if accelerator.is_main_process else Observer()
        self._export, self._doctor = export, doctor or Doctor()
        self._sample_batch, self._converged = sample_batch, converged
        self._judge, self._judged_enough = judge, False
        self._facts = dict(facts or {})
        self._meter = Meter(average=partial(mean_over_processes, accelerator=accelerator))
        total = intervals.epochs * loader.epoch_images
        self.progress = Progress(
            epoch=1,
            images=0,
            steps=0,
            total_images=min(total, intervals.max_images or total),
            total_epochs=intervals.epochs,
            global_batch=loader.global_batch,
            processes=accelerator.num_processes,
            epoch_images=loader.epoch_images,
        )
        self._saved: tuple[int, int] | None = None  # images, epoch
        self._reported = False
        self._batch: Batch | None = None  # the last one
        self._before = 0  # images before the last step
        self._shown = 0  # images at the last samples

    def resume(self) -> None:
        """Continue from the state in the run directory or, if it is damaged, the one before it.

        Raises:
            CheckpointError: both are missing or damaged, or the state is of other networks.
        """
        state = self._load_state()
        # First, for it may refuse pictures of other classes, in words that tell more than shapes.
        self._loader.load_state_dict(state["loader"])
        self._learner.load_state_dict(state["learner"])
        processes = state["processes"]
        if len(processes) != self._accelerator.num_processes:
            _log.warning(
                "the run had %d and now has %d processes: image pools and random numbers are "
                "shared out anew, so it is not exactly the run that it would have been",
                len(processes),
                self._accelerator.num_processes,
            )
        index = self._accelerator.process_index
        own = processes[index % len(processes)]
        self._learner.load_process_state(own["learner"])
        if index < len(processes):  # others keep their own seed, or they would draw the same
            restore_random_state(own["random"])
        threads, before = torch.get_num_threads(), own.get("threads")
        on_cpu = self._accelerator.device.type == "cpu"
        if before not in {None, threads} and on_cpu and self._accelerator.is_main_process:
            _log.warning(
                "the number of threads is %d now, and was %d when the state was saved: sums are "
                "added up in another order, so it is not bit for bit the run that it would have "
                "been; --threads %d makes it so",
                threads,
                before,
                before,
            )
        # States of earlier versions hold the first process's only.
        self._meter.load_state_dict(own.get("meter", state.get("meter")))
        position = {key: state["progress"][key] for key in ("epoch", "images", "steps")}
        total = position["images"] - self._loader.position
        total += (self._intervals.epochs - position["epoch"] + 1) * self._loader.epoch_images
        self.progress = replace(
            self.progress, total_images=min(total, self._intervals.max_images or total), **position
        )
        self._saved = self.progress.images, self.progress.epoch
        if self._intervals.judge_epochs:
            self._agree(None if self._judge is None else self._judge.restore(self.progress))
        self._end_where_converged()

    def _load_state(self) -> dict[str, Any]:
        directory = self._directory
        state, problem = load_last_state(directory.state_file, directory.previous_state_file)
        images = state["progress"]["images"]
        found = gather_states({"images": images}, self._accelerator)
        if any(each["images"] != images for each in found):
            raise CheckpointError(
                f"{directory.state_file}: not all processes of this job read the same state "
                f"(images: {', '.join(str(each['images']) for each in found)}); expected one disk "
                "that all of them see, with a whole file"
            )
        if problem is not None and self._accelerator.is_main_process:
            aside = directory.put_damaged_state_aside()
            kept = f", and the damaged one is kept as {aside.name}" if aside else ""
            _log.warning(
                "%s. Continuing from the state before it, at image %d%s", problem, images, kept
            )
        return state

    @property
    def losses(self) -> Mapping[str, float]:
        """The means of the losses since the last report, by name; none if one is not finite."""
        with suppress(TrainingError):  # the next report says so
            return self._meter.check()
        return {}

    @property
    def finished(self) -> bool:
        """Whether nothing is left to train."""
        limit = self._intervals.max_images
        limited = limit is not None and self.progress.images >= limit
        return limited or self.progress.epoch > self._intervals.epochs or self._ends_early()

    def _ends_early(self) -> bool:
        return self._judged_enough or self._converged()

    def run(self) -> Signals | None:
        """Train to the end, or until a signal asks to stop; save in both cases.

        Returns:
            The signal that stopped the training, or None if it was completed.

        Raises:
            TrainingError: a loss or weight is not finite; the last good state is kept.
            LostProcessError: another process of the job, or one that loads pictures, is gone.
            ImpastoError: a state cannot be written; the one before is kept.
        """
        error: str | None = None
        with Interrupts(announce=self._accelerator.num_processes == 1) as interrupts:
            if self.progress.processes == 1:  # several have to agree, with a step
                self._loader.stop = lambda: interrupts.received is not None
            self._restore_doctor()
            self._observer.on_start(self.progress)
            try:
                while not self.finished and not self._stops(interrupts):
                    self._run_epoch(interrupts)
                self._checkpoint("latest")
                if interrupts.received is not None:
                    self._show_last_samples()
            except BaseException as problem:
                alone = self.progress.processes == 1
                lost = isinstance(problem, LostProcessError)
                if interrupts.received and alone and lost and self._is_saved():
                    return interrupts.received
                explained = self._explain(problem)
                error = self._told(explained)
                if isinstance(explained, LostProcessError) and self.progress.processes > 1:
                    # The launcher sends SIGTERM to those who are left; they are ending already.
                    interrupts.ignore()
                if explained is problem:
                    raise
                raise explained from problem
            finally:
                self._observer.on_end(self.progress, error)
        return interrupts.received

    def _told(self, problem: BaseException) -> str | None:
        """Return what observers are told; a training that was stopped after it saved is whole."""
        if not isinstance(problem, KeyboardInterrupt):
            return str(problem) or type(problem).__name__
        return None if self._is_saved() else "stopped before it could save"

    def _is_saved(self) -> bool:
        """Whether a state was written after the last step."""
        return self._saved == (self.progress.images, self.progress.epoch)

    def _explain(self, problem: BaseException) -> BaseException:
        """Say what was lost and what was kept, where that can be said."""
        if isinstance(problem, TrainingError):
            return type(problem)(f"{problem}. {self._last_good()}")
        lost = what_was_lost(problem)
        return LostProcessError(f"{lost}. {self._last_good()}") if lost else problem

    def _restore_doctor(self) -> None:
        if not self._accelerator.is_main_process:
            return
        try:
            records = read_log(self._directory.log_file)
            self._doctor.restore([r for r in records if r["images"] <= self.progress.images])
        except Exception as error:  # noqa: BLE001 - advice must not end a training
            self._dismiss_doctor(error)

    def _examine(self, record: Mapping[str, Any]) -> list[str]:
        try:
            return self._doctor.examine({**asdict(self.progress), **record})
        except Exception as error:  # noqa: BLE001 - advice must not end a training
            self._dismiss_doctor(error)
            return []

    def _dismiss_doctor(self, error: Exception) -> None:
        _log.warning("the search for known failures failed and is switched off: %r", error)
        self._doctor = Doctor()

    def _run_epoch(self, interrupts: Interrupts) -> None:
        self._learner.start_epoch(self.progress.epoch)
        at_end: Mapping[str, Any] | None = None
        for batches in self._steps():
            before = self._before = self.progress.images
            result = self._learner.step(batches)
            images = len(batches) * self._loader.global_batch
            self.progress = replace(
                self.progress, images=before + images, steps=self.progress.steps + 1
            )
            self._meter.add(result.losses, step=self.progress.steps, images=images)
            self._observer.on_step(self.progress)
            self._batch = batches[-1]
            if self._evaluates() and self._loader.position >= self._loader.epoch_images:
                at_end = self._loader.state_dict()  # which goes on to the next epoch now
                continue  # to the end of the epoch, which is told and saved as a whole
            self._act_at_intervals(before, batches[-1])
            if self.finished or self._stops(interrupts):
                return
        self._end_epoch(at_end)

    def _evaluates(self) -> bool:
        """Whether the epoch ends with an evaluation."""
        every, epoch = self._intervals.judge_epochs, self.progress.epoch
        judged = every > 0 and (epoch % every == 0 or epoch == self._intervals.epochs)
        return self._intervals.evaluate or judged

    def _steps(self) -> Iterator[Sequence[Batch]]:
        """Yield the batches of each step, counting the seconds that they are waited for."""
        batches: list[Batch] = []
        source = iter(self._loader)
        position: Mapping[str, Any] = {}
        while True:
            if not batches:
                position = self._loader.state_dict()
            started = time.perf_counter()
            try:
                batch = next(source, None)
            except Exception:
                self._save_what_is_done(position)
                raise
            self._meter.wait(time.perf_counter() - started)
            if batch is not None:
                batches.append(batch)
            # Before the loader is asked again, for then it goes on to the next epoch.
            ends = self._loader.position >= self._loader.epoch_images
            if batches and (ends or len(batches) == self._intervals.accumulate):
                yield batches
                batches = []
            if batch is None:
                return

    def _save_what_is_done(self, position: Mapping[str, Any]) -> None:
        """Save between two steps, where no next one can follow.

        Args:
            position: state of the loader after the last step. Batches that wait for the rest of
                theirs count as used by now, and are to be loaded again.
        """
        if self._accelerator.num_processes == 1 and self.progress.images:
            try:
                self._checkpoint("latest", position)
            except ImpastoError as error:  # what ends the training is raised, not this
                _log.warning("%s", error)

    def _act_at_intervals(self, before: int, batch: Batch) -> None:
        """Report, show samples and save, each when its number of pictures has gone by."""
        now, intervals = self.progress.images, self._intervals
        self._reported = _passed(before, now, intervals.report_images)
        if self._reported:
            self._report(self._learner.present_learning_rate, batch)
        if _passed(before, now, intervals.sample_images) or now >= self.progress.total_images:
            self._show_samples(batch)
        if _passed(before, now, intervals.checkpoint_images):
            self._checkpoint("latest")

    def _show_last_samples(self) -> None:
        """Show what a training that was stopped has come to, unless that is shown already."""
        if self._batch is not None and self._shown != self.progress.images:
            self._show_samples(self._batch)

    def _show_samples(self, batch: Batch) -> None:
        self._shown = self.progress.images
        if not self._accelerator.is_main_process:
            return
        shown = self._sample_batch if self._sample_batch is not None else batch
        self._tell_samples(self._learner.samples(shown))

    def _tell_samples(self, images: Mapping[str, Tensor]) -> None:
        pictures = {name: to_pictures(to_shown(some[:1]))[0] for name, some in images.items()}
        self._observer.on_samples(self.progress, pictures)

    def _report(
        self,
        learning_rate: float,
        batch: Batch | None = None,
        scores: Mapping[str, float] | None = None,
        note: str = "",
    ) -> None:
        record = self._meter.report()
        if not self._accelerator.is_main_process:
            return
        if scores is not None:
            record["scores"] = dict(scores)
        if note:
            record["note"] = note
        record["learning_rate"] = learning_rate
        record["weights"] = dict(self._learner.loss_weights)
        outputs = {} if batch is None else self._learner.output_statistics(batch)
        record["outputs"] = dict(outputs)
        record["threads"] = torch.get_num_threads()
        record["warnings"] = self._examine(record)
        self._observer.on_report(self.progress, record)

    def _end_epoch(self, at_end: Mapping[str, Any] | None) -> None:
        """Evaluate, tell, save.

        Args:
            at_end: state of the loader at the end of the epoch, if a step has led there.
        """
        learning_rate = self._learner.present_learning_rate
        try:
            evaluation = self._learner.end_epoch()
        except Exception as error:
            # Weights whose losses are not finite are better not kept.
            worthless = isinstance(error, TrainingError) and not isinstance(error, LostProcessError)
            if at_end is not None and not worthless:
                self._save_what_is_done(at_end)
            raise
        if evaluation is not None:
            self._reported = True
            self._report(learning_rate, scores=evaluation.scores)
            if self._accelerator.is_main_process and evaluation.samples:
                self._tell_samples(evaluation.samples)
        better = False
        if at_end is not None and not self._intervals.evaluate:
            better = self._judge_epoch(learning_rate)
        ended = self.progress.epoch
        self.progress = replace(self.progress, epoch=ended + 1)
        self._end_where_converged()
        saved = self._saved[0] if self._saved else 0
        if ended % self._intervals.keep_epochs == 0:
            self._checkpoint(str(ended))
        elif better or (
            at_end is not None
            and _passed(saved, self.progress.images, self._intervals.checkpoint_images)
        ):
            self._checkpoint("latest")

    def _judge_epoch(self, learning_rate: float) -> bool:
        """Measure, report and show; return whether networks were kept as the best so far."""
        verdict = self._agree(None if self._judge is None else self._judge.measure(self.progress))
        self._reported = True
        self._report(learning_rate, self._batch, scores=verdict.scores or None, note=verdict.note)
        now = self.progress.images
        due = _passed(self._before, now, self._intervals.sample_images)
        if self._batch is not None and (due or now >= self.progress.total_images):
            self._show_samples(self._batch)
        return verdict.better

    def _agree(self, verdict: Verdict | None) -> Verdict:
        """Let all processes know what the first one has found."""
        found = verdict or Verdict()
        said = gather_states({"better": found.better, "stops": found.stops}, self._accelerator)[0]
        self._judged_enough = said["stops"]
        return replace(found, **said)

    def _end_where_converged(self) -> None:
        """Let the training be as long as it has become."""
        if self._ends_early():
            self.progress = replace(
                self.progress,
                total_images=self.progress.images,
                total_epochs=self.progress.epoch - 1,
            )

    def _checkpoint(self, label: str, position: Mapping[str, Any] | None = None) -> None:
        """Save the state and export the networks, after making sure that they are worth it.

        Args:
            label: name of the exported networks.
            position: state of the loader, if not where it is now.
        """
        if label == "latest" and self._is_saved():
            return
        self._meter.check()
        self._learner.check_finite()
        own = {
            "learner": self._learner.process_state(),
            "random": random_state(),
            "meter": self._meter.state_dict(),
            "threads": torch.get_num_threads(),
        }
        processes = gather_states(own, self._accelerator)
        if self._accelerator.is_main_process:
            self._write(label, processes, position or self._loader.state_dict())
        self._saved = self.progress.images, self.progress.epoch
        self._accelerator.wait_for_everyone()

    def _write(
        self, label: str, processes: Sequence[Mapping[str, Any]], loader: Mapping[str, Any]
    ) -> None:
        position = {key: getattr(self.progress, key) for key in ("epoch", "images", "steps")}
        state = {
            **self._facts,
            "learner": self._learner.state_dict(),
            "loader": loader,
            "processes": processes,
            "progress": position,
        }
        try:
            try:
                self._write_files(label, state)
            except OSError as error:
                previous = self._directory.previous_state_file
                spare = previous.is_file() and self._directory.state_file.is_file()
                if not is_disk_full(error) or not spare:
                    raise
                _log.warning("%s: the disk is full; %s is removed", previous.parent, previous.name)
                previous.unlink()
                self._write_files(label, state)
        except OSError as error:
            raise ImpastoError(
                f"{self._directory.path}: cannot save ({error.strerror or error}). "
                f"{self._last_good()}"
            ) from error
        self._observer.on_checkpoint(self.progress, self._directory.state_file)

    def _write_files(self, label: str, state: Mapping[str, Any]) -> None:
        # The state comes last: a training that is killed before it writes these files again.
        for name in dict.fromkeys(("latest", label)):
            self._export(name, self.progress)
        directory = self._directory
        save_state(directory.state_file, state, previous=directory.previous_state_file)

    def _last_good(self) -> str:
        if self._saved is None:
            return "No state was saved before; start again"
        if not self._directory.has_state:
            return (
                f"The state that was saved at image {self._saved[0]} is gone: "
                f"{self._directory.state_file} was removed meanwhile; start again"
            )
        return (
            f"The last good state, at image {self._saved[0]}, is kept: "
            f"{self._directory.state_file}; continue from it with --resume "
            "(--allow_changes where options change)"
        )

    def _stops(self, interrupts: Interrupts) -> bool:
        """Whether any process was asked to stop; on GPUs several agree after each report."""
        if self._accelerator.num_processes == 1:
            return interrupts.received is not None
        # On a GPU every vote would wait for it.
        if not self._reported and self._accelerator.device.type != "cpu":
            return False
        asked = torch.tensor(float(interrupts.received is not None))
        asked = asked.to(self._accelerator.device)
        agreed = bool(self._accelerator.reduce(asked, reduction="sum").item())
        if agreed and self._accelerator.is_main_process:
            interrupts.announce()
        return agreed


def _passed(before: int, now: int, every: int) -> bool:
    """Whether a multiple of ``every`` lies in (before, now], whatever the batch size."""
    return now // every > before // every
