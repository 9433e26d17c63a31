"""Typed options of every command: dataclasses and YAML presets. Never imports torch."""

from giverny.options.data import DataOptions
from giverny.options.displays import DisplayOptions
from giverny.options.errors import (
    CheckpointError,
    FolderError,
    GivernyError,
    LostProcessError,
    OptionError,
    PictureError,
    TrainingError,
)
from giverny.options.evaluate import EvaluateOptions
from giverny.options.losses import LossOptions
from giverny.options.models import ModelsOptions
from giverny.options.networks import NetworkOptions
from giverny.options.plot import PlotOptions
from giverny.options.run import RunOptions
from giverny.options.schedule import ScheduleOptions
from giverny.options.sections import difference, flatten, make
from giverny.options.stylize import StylizeOptions
from giverny.options.train import TrainOptions
from giverny.options.translate import TranslateOptions
from giverny.options.weights import WeightsOptions

__all__ = [
    "CheckpointError",
    "DataOptions",
    "DisplayOptions",
    "EvaluateOptions",
    "FolderError",
    "GivernyError",
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
