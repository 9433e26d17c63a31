from .api import (
    evaluate,
    export,
    export_study,
    fetch,
    load_generator,
    report_study,
    serve_study,
    stylize,
    sweep,
    train,
    translate,
    translate_all,
)
from .cyclegan.inference.translator import Translator
from .version import __version__

__all__ = [
    "Translator",
    "__version__",
    "evaluate",
    "export",
    "export_study",
    "fetch",
    "load_generator",
    "report_study",
    "serve_study",
    "stylize",
    "sweep",
    "train",
    "translate",
    "translate_all",
]
