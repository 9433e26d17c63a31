"""A report of simulated answers."""

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from impasto.survey.analysis.findings import Findings
from impasto.survey.answers import write_answers
from impasto.survey.report.job import write_report

if TYPE_CHECKING:
    pass
from tests.survey.analysis.studies import Made, answer_all, make_study, options


@pytest.fixture
def single(tmp_path: Path) -> Made:
    return make_study(tmp_path, generators=("good", "bad <b>"))


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Findings]:
    tmp_path = tmp_path_factory.mktemp("report")
    made = make_study(tmp_path, generators=("good", "bad <b>"), pictures=True)
    write_answers(tmp_path / "answers.csv", answer_all(made))
    output = tmp_path / "report"
    findings = write_report(
        [tmp_path / "answers.csv"], options(made, output=output, study=made.study)
    )
    return output, findings
