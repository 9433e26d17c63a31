"""Typed options of every command: dataclasses and YAML presets. Never imports torch."""

from impasto.options.data import DataOptions
from impasto.options.displays import DisplayOptions
from impasto.options.errors import (
    CheckpointError,
    FolderError,
    ImpastoError,
    LostProcessError,
    OptionError,
    PictureError,
    TrainingError,
)
from impasto.options.evaluate import EvaluateOptions
from impasto.options.losses import LossOptions
from impasto.options.models import ModelsOptions
from impasto.options.networks import NetworkOptions
from impasto.options.plot import PlotOptions
from impasto.options.run import RunOptions
from impasto.options.schedule import ScheduleOptions
from impasto.options.sections import difference, flatten, make
from impasto.options.stylize import StylizeOptions
from impasto.options.train import TrainOptions
from impasto.options.translate import TranslateOptions
from impasto.options.weights import WeightsOptions

__all__ = [
    "CheckpointError",
    "DataOptions",
    "DisplayOptions",
    "EvaluateOptions",
    "FolderError",
    "ImpastoError",
    "LossOptions",
    "LostProcessError",
    "ModelsOptions",
    "NetworkOptions",
    "OptionError",
    "PictureError",
    "PlotOptions",
    "RunOptions",
    "ScheduleOptions",
    "StylizeOptions",
    "TrainOptions",
    "TrainingError",
    "TranslateOptions",
    "WeightsOptions",
    "difference",
    "flatten",
    "make",
]
