"""Trainings in the trackers of others: Weights & Biases, MLflow and Trackio.

:class:`TrackingDisplay` is the one adapter: it turns what an observer is told into numbers,
pictures and the end of a run. Each tracker below it says how its library takes these. Nothing is
sent unless ``--display`` names a tracker, and then where that library's own settings say: a server,
a file, or nowhere. A tracked run belongs to the run directory, which holds its identifier, and goes
on with it.
"""

import json
import logging
import math
import os
import uuid
from abc import abstractmethod
from collections.abc import Mapping
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from impasto.data.atomic import write_text_atomic
from impasto.runs.observers import Observer, Pictures, Progress

__all__ = ["TRACKERS", "MlflowDisplay", "TrackingDisplay", "TrackioDisplay", "WandbDisplay"]

_log = logging.getLogger(__name__)

_FILE = "tracking.json"
_PROJECT = "impasto"


class TrackingDisplay(Observer):
    """Gives a tracker the losses, scores, learning rate and speed, the samples, and the options.

    A step of a tracker is one picture of each domain. The tracker is started with the first report,
    not with the training, so that an observer of its own thread (``Background``) never holds that
    up. What fails is raised, for ``Background`` to say once.

    Args:
        directory: directory of the run; its name is the run's name there.
        config: options of the run, by their flat names, and facts about the machine.

    Attributes:
        tracker: name of the tracker, as in ``--display``.
    """

    tracker: str

    def __init__(self, directory: Path, *, config: Mapping[str, Any]) -> None:
        self._directory, self._config = directory, {k: _plain(v) for k, v in config.items()}
        self._begun = False

    @classmethod
    def is_installed(cls) -> bool:
        """Whether its package is there; otherwise say in one line how to install it."""
        if find_spec(cls.tracker) is not None:
            return True
        _log.warning(
            "%s is not installed; training goes on without it. To install it: pip install "
            '"impasto[%s]"',
            cls.tracker,
            cls.tracker,
        )
        return False

    def on_report(self, progress: Progress, record: Mapping[str, Any]) -> None:
        """Give the numbers that are finite."""
        numbers = {f"loss/{name}": value for name, value in record["losses"].items()}
        numbers |= {f"score/{name}": value for name, value in record.get("scores", {}).items()}
        numbers |= {f"output/{name}": value for name, value in record.get("outputs", {}).items()}
        for name in ("learning_rate", "images_per_second", "data_wait"):
            numbers[name] = record.get(name)
        numbers["epoch"] = progress.epoch
        finite = {
            name: float(value)
            for name, value in numbers.items()
            if value is not None and math.isfinite(value)
        }
        self._begin()
        self._take_numbers(finite, progress.images)

    def on_samples(self, progress: Progress, samples: Pictures) -> None:
        """Give the pictures."""
        self._begin()
        self._take_pictures(samples, progress.images)

    def on_end(self, progress: Progress, error: str | None = None) -> None:  # noqa: ARG002
        """End the run there, as failed if the training could not go on."""
        if self._begun:
            self._begun = False
            self._end(failed=error is not None)

    def _begin(self) -> None:
        if self._begun:
            return
        known = _read(self._directory / _FILE)
        before = known.get(self.tracker)
        now = self._start(before)
        self._begun = True
        if now != before:
            write_text_atomic(
                self._directory / _FILE, json.dumps({**known, self.tracker: now}, indent=1) + "\n"
            )

    @abstractmethod
    def _start(self, before: str | None) -> str:
        """Start a run, or continue the one of an identifier; return its identifier."""

    @abstractmethod
    def _take_numbers(self, numbers: Mapping[str, float], images: int) -> None:
        """Take numbers."""

    @abstractmethod
    def _take_pictures(self, samples: Pictures, images: int) -> None:
        """Take pictures, RGB, (H, W, 3), uint8."""

    @abstractmethod
    def _end(self, *, failed: bool) -> None:
        """End the run."""


class WandbDisplay(TrackingDisplay):
    """Weights & Biases; its environment decides where: ``WANDB_MODE=offline`` writes files only."""

    tracker = "wandb"

    def _start(self, before: str | None) -> str:
        wandb: Any = import_module("wandb")  # an extra
        identifier = before or uuid.uuid4().hex[:12]
        self._library: Any = wandb
        self._run: Any = wandb.init(
            project=os.environ.get("WANDB_PROJECT", _PROJECT),
            name=self._directory.name,
            id=identifier,
            resume="allow",
            dir=str(self._directory),
            config=self._config,
            # What the training prints, its code and its repository are nobody's business.
            settings=wandb.Settings(
                console="off", silent=True, disable_git=True, disable_code=True, save_code=False
            ),
        )
        # Numbers go by pictures: after a resumption some come again, and steps may only rise.
        self._run.define_metric("images")
        self._run.define_metric("*", step_metric="images")
        return identifier

    def _take_numbers(self, numbers: Mapping[str, float], images: int) -> None:
        self._run.log({**numbers, "images": images})

    def _take_pictures(self, samples: Pictures, images: int) -> None:
        pictures = {f"samples/{name}": self._library.Image(rgb) for name, rgb in samples.items()}
        self._run.log({**pictures, "images": images})

    def _end(self, *, failed: bool) -> None:
        self._run.finish(exit_code=int(failed))


class MlflowDisplay(TrackingDisplay):
    """MLflow; a database in the run directory, unless ``MLFLOW_TRACKING_URI`` names a place."""

    tracker = "mlflow"

    def _start(self, before: str | None) -> str:
        mlflow: Any = import_module("mlflow")  # an extra
        uri = os.environ.get("MLFLOW_TRACKING_URI")
        place = (self._directory / "mlflow").absolute()
        self._client: Any = mlflow.MlflowClient(uri or f"sqlite:///{place}.db")
        if before is not None and self._continues(before):
            return before
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", _PROJECT)
        found = self._client.get_experiment_by_name(name)
        experiment = (
            self._client.create_experiment(name, artifact_location=None if uri else place.as_uri())
            if found is None
            else found.experiment_id
        )
        run = self._client.create_run(experiment, run_name=self._directory.name)
        self._run = str(run.info.run_id)
        for option, value in self._config.items():
            self._client.log_param(self._run, option, value)
        return self._run

    def _continues(self, before: str) -> bool:
        """Go on with a run, if that place knows it."""
        self._run = before
        try:
            self._client.update_run(before, status="RUNNING")
        except Exception as error:
            # Of another server, or removed; whatever else fails is said by the caller.
            if getattr(error, "error_code", "") != "RESOURCE_DOES_NOT_EXIST":
                raise
            _log.warning("MLflow has no run %s here any more; another one is begun", before)
            return False
        return True

    def _take_numbers(self, numbers: Mapping[str, float], images: int) -> None:
        for name, value in numbers.items():
            self._client.log_metric(self._run, name, value, step=images)

    def _take_pictures(self, samples: Pictures, images: int) -> None:
        for name, rgb in samples.items():
            self._client.log_image(self._run, rgb, key=name, step=images)

    def _end(self, *, failed: bool) -> None:
        self._client.set_terminated(self._run, "FAILED" if failed else "FINISHED")


class TrackioDisplay(TrackingDisplay):
    """Trackio; a local database, unless ``TRACKIO_SPACE_ID`` or ``TRACKIO_SERVER_URL`` is set."""

    tracker = "trackio"

    def _start(self, before: str | None) -> str:
        trackio: Any = import_module("trackio")  # an extra
        self._library: Any = trackio
        # It knows runs by their names.
        name = before or f"{self._directory.name}-{uuid.uuid4().hex[:6]}"
        self._run: Any = trackio.init(
            project=os.environ.get("TRACKIO_PROJECT", _PROJECT),
            name=name,
            config=self._config,
            resume="allow",
            embed=False,
            auto_log_gpu=False,
            auto_log_cpu=False,
        )
        return name

    def _take_numbers(self, numbers: Mapping[str, float], images: int) -> None:
        self._run.log(dict(numbers), step=images)

    def _take_pictures(self, samples: Pictures, images: int) -> None:
        pictures = {f"samples/{name}": self._library.Image(rgb) for name, rgb in samples.items()}
        self._run.log(pictures, step=images)

    def _end(self, *, failed: bool) -> None:  # noqa: ARG002 - it has no word for it
        self._run.finish()


TRACKERS: Mapping[str, type[TrackingDisplay]] = {
    display.tracker: display for display in (WandbDisplay, MlflowDisplay, TrackioDisplay)
}
"""The trackers by their names in ``--display``."""


def _read(path: Path) -> dict[str, str]:
    """Return the identifiers of the tracked runs; none where the file is missing or damaged."""
    try:
        known = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    if not isinstance(known, dict):
        return {}
    return {str(name): str(value) for name, value in known.items()}


def _plain(value: Any) -> Any:
    """Return a value as trackers take it: numbers, truth values, and else text."""
    if isinstance(value, list | tuple):
        return " ".join(map(str, value))
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)
