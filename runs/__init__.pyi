from .background import Background
from .console import Console
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
from .samples import SamplePictures
from .seeds import make_generator
from .state import load_state, save_state

__all__ = [
    "Background",
    "BeforeAfter",
    "Console",
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
    "SamplePictures",
    "TrainingLoop",
    "Watchers",
    "describe_environment",
    "load_state",
    "make_accelerator",
    "make_displays",
    "make_generator",
    "pick_device",
    "read_log",
    "save_state",
    "write_gallery",
]
