from .analysis import analyse
from .answers import Answer, answers_csv, answers_json, read_answers, write_answers
from .audit import audit_study
from .audit_report import Audit
from .bootstrap import TwoLevel
from .database import read_database
from .export import Exported, export_study
from .importing import Imported, import_answers
from .key import Key, KeyedPicture, read_key, write_key
from .power import Design
from .rates import Interval, Rate, holm
from .report import read_all_answers, write_report
from .server import create_app
from .site import write_site
from .trials import Practice, Study

__all__ = [
    "Answer",
    "Audit",
    "Design",
    "Exported",
    "Imported",
    "Interval",
    "Key",
    "KeyedPicture",
    "Practice",
    "Rate",
    "Study",
    "TwoLevel",
    "analyse",
    "answers_csv",
    "answers_json",
    "audit_study",
    "create_app",
    "export_study",
    "holm",
    "import_answers",
    "read_all_answers",
    "read_answers",
    "read_database",
    "read_key",
    "write_answers",
    "write_key",
    "write_report",
    "write_site",
]
