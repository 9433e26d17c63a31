from .console import Console
from .devices import make_accelerator, pick_device
from .directory import RunDirectory
from .gallery import BeforeAfter, write_gallery
from .log import JsonLog, read_log
from .loop import Learner, Loader, Pace, TrainingLoop
from .observers import Observer, Progress, Watchers
from .report_page import ReportPage
from .samples import SamplePictures
from .seeds import make_generator
from .state import load_state, save_state

__all__ = [
    "BeforeAfter",
    "Console",
    "JsonLog",
    "Learner",
    "Loader",
    "Observer",
    "Pace",
    "Progress",
    "ReportPage",
    "RunDirectory",
    "SamplePictures",
    "TrainingLoop",
    "Watchers",
    "load_state",
    "make_accelerator",
    "make_generator",
    "pick_device",
    "read_log",
    "save_state",
    "write_gallery",
]
