from .background import Background
from .console import Console
from .curve_figure import draw_curves, figure_bytes
from .curves import Curve, choose_losses, curves_csv, loss_kind
from .devices import make_accelerator, pick_device
from .directory import RunDirectory
from .displays import make_displays
from .doctor import Doctor
from .environment import describe_environment
from .gallery import BeforeAfter, write_gallery
from .history import History, Point
from .log import JsonLog, read_log
from .loop import Pace, TrainingLoop
from .observers import Observer, Pictures, Progress, Watchers
from .protocols import Learner, Loader
from .report_page import ReportPage
from .run_logs import RunLog, read_runs
from .samples import SamplePictures
from .seeds import make_generator
from .state import load_state, save_state

__all__ = [
    "Background",
    "BeforeAfter",
    "Console",
    "Curve",
    "Doctor",
    "History",
    "JsonLog",
    "Learner",
    "Loader",
    "Observer",
    "Pace",
    "Pictures",
    "Point",
    "Progress",
    "ReportPage",
    "RunDirectory",
    "RunLog",
    "SamplePictures",
    "TrainingLoop",
    "Watchers",
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
    "save_state",
    "write_gallery",
]
