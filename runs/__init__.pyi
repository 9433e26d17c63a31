from .curves import Curve, History, Point, choose_losses, curves_csv, loss_kind
from .directory import RunDirectory
from .displays.console import Console
from .displays.page import ReportPage, SamplePictures
from .displays.tensorboard import TensorBoardDisplay
from .displays.visdom import VisdomDisplay
from .doctor import Doctor
from .job import TrainingParts, TrainResult, describe_environment, make_displays, run_training_job
from .learner import Learner, Loader, StepResult
from .log import JsonLog, RunLog, read_log, read_runs
from .loop import ReportIntervals, TrainingLoop
from .observers import Background, CompositeObserver, Observer, Pictures, Progress
from .pages.figures import draw_curves, figure_bytes
from .pages.gallery import BeforeAfter, write_gallery
from .processes import make_accelerator, pick_device
from .state import load_state, make_generator, save_state

__all__ = [
    "Background",
    "BeforeAfter",
    "CompositeObserver",
    "Console",
    "Curve",
    "Doctor",
    "History",
    "JsonLog",
    "Learner",
    "Loader",
    "Observer",
    "Pictures",
    "Point",
    "Progress",
    "ReportIntervals",
    "ReportPage",
    "RunDirectory",
    "RunLog",
    "SamplePictures",
    "StepResult",
    "TensorBoardDisplay",
    "TrainResult",
    "TrainingLoop",
    "TrainingParts",
    "VisdomDisplay",
    "choose_losses",
    "curves_csv",
    "describe_environment",
    "draw_curves",
    "figure_bytes",
    "load_state",
    "loss_kind",
    "make_accelerator",
    "make_displays",
    "make_generator",
    "pick_device",
    "read_log",
    "read_runs",
    "run_training_job",
    "save_state",
    "write_gallery",
]
