from .analysis.bootstrap import TwoLevel
from .analysis.generators import Sensitivity, yes_no
from .analysis.job import analyze
from .analysis.power import Design
from .answers import Answer, answers_csv, answers_json, read_answers, write_answers
from .audit.job import audit_study
from .audit.report import Audit
from .collect.job import Imported, import_answers
from .export.job import Exported, export_study
from .export.site import write_site
from .key import Key, KeyedPicture, read_key, write_key
from .protocols import (
    Choice,
    SurveyProtocol,
    find_protocol,
    opposite,
    protocol_names,
    register_protocol,
)
from .rates import Interval, Rate, holm
from .report.job import read_all_answers, write_report
from .serve.app import create_app
from .serve.database import read_database
from .serve.job import Serving, serving
from .study import Practice, Study

__all__ = [
    "Answer",
    "Audit",
    "Choice",
    "Design",
    "Exported",
    "Imported",
    "Interval",
    "Key",
    "KeyedPicture",
    "Practice",
    "Rate",
    "Sensitivity",
    "Serving",
    "Study",
    "SurveyProtocol",
    "TwoLevel",
    "analyze",
    "answers_csv",
    "answers_json",
    "audit_study",
    "create_app",
    "export_study",
    "find_protocol",
    "holm",
    "import_answers",
    "opposite",
    "protocol_names",
    "read_all_answers",
    "read_answers",
    "read_database",
    "read_key",
    "register_protocol",
    "serving",
    "write_answers",
    "write_key",
    "write_report",
    "write_site",
    "yes_no",
]
