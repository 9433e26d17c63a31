"""A study of two generators and single pictures."""

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    pass
from tests.survey.analysis.studies import Made, make_study


@pytest.fixture
def single(tmp_path: Path) -> Made:
    return make_study(tmp_path, generators=("good", "bad <b>"))
