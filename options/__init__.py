"""Typed options of every command: dataclasses and YAML presets. Never imports torch."""

from impasto.options.backbone import WeightsOptions
from impasto.options.errors import (
    CheckpointError,
    FetchError,
    FolderError,
    ImpastoError,
    LostProcessError,
    OptionError,
    PictureError,
    TrainingError,
)
from impasto.options.evaluate import EvaluateOptions
from impasto.options.fetch import FetchOptions
from impasto.options.fields import difference, flatten, make
from impasto.options.losses import LossOptions
from impasto.options.plot import PlotOptions
from impasto.options.stylize import StylizeOptions, SweepOptions
from impasto.options.survey import (
    SurveyAuditOptions,
    SurveyExportOptions,
    SurveyImportOptions,
    SurveyLinksOptions,
    SurveyPowerOptions,
    SurveyReportOptions,
    SurveyServeOptions,
)
from impasto.options.train import (
    DataOptions,
    DisplayOptions,
    NetworkOptions,
    RunOptions,
    ScheduleOptions,
    TrainOptions,
)
from impasto.options.translate import ModelsOptions, TranslateOptions

__all__ = [
    "CheckpointError",
    "DataOptions",
    "DisplayOptions",
    "EvaluateOptions",
    "FetchError",
    "FetchOptions",
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
    "SurveyAuditOptions",
    "SurveyExportOptions",
    "SurveyImportOptions",
    "SurveyLinksOptions",
    "SurveyPowerOptions",
    "SurveyReportOptions",
    "SurveyServeOptions",
    "SweepOptions",
    "TrainOptions",
    "TrainingError",
    "TranslateOptions",
    "WeightsOptions",
    "difference",
    "flatten",
    "make",
]
