from .backbone import WeightsOptions
from .errors import (
    CheckpointError,
    FetchError,
    FolderError,
    ImpastoError,
    LostProcessError,
    OptionError,
    PictureError,
    TrainingError,
)
from .evaluate import EvaluateOptions
from .fetch import FetchOptions
from .fields import difference, flatten, make
from .losses import LossOptions
from .networks import NetworkOptions
from .plot import PlotOptions
from .stylize import StylizeOptions, SweepOptions
from .survey import (
    SurveyAuditOptions,
    SurveyExportOptions,
    SurveyImportOptions,
    SurveyLinksOptions,
    SurveyPowerOptions,
    SurveyReportOptions,
    SurveyServeOptions,
)
from .train import (
    DataOptions,
    DisplayOptions,
    RunOptions,
    ScheduleOptions,
    TrainOptions,
)
from .translate import ExportOptions, ModelsOptions, TranslateOptions

__all__ = [
    "CheckpointError",
    "DataOptions",
    "DisplayOptions",
    "EvaluateOptions",
    "ExportOptions",
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
