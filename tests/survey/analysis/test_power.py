"""A pilot that cannot be used is refused in plain words."""

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from impasto.options.errors import SurveyError
from impasto.survey.analysis.power import read_pilot

if TYPE_CHECKING:
    pass


@pytest.mark.parametrize(
    ("stored", "message"),
    [
        (None, "no such file"),
        (b"", "it is no JSON"),
        (b"\xff\xff", "it is no JSON"),
        (b"[1]", "its groups do not say"),
        (b'{"groups": [{"name": "x", "called_real": null}]}', "its groups do not say"),
        (b"{}", "its groups do not say"),
    ],
)
def test_a_pilot_that_is_none_is_refused_in_plain_words(
    tmp_path: Path, stored: bytes | None, message: str
) -> None:
    path = tmp_path / "nope"
    if stored is not None:
        path.write_bytes(stored)
    with pytest.raises(SurveyError, match=message) as caught:
        read_pilot(path)
    assert "Error" not in str(caught.value)
    assert str(caught.value).startswith(f"{path}: ")


def test_a_folder_is_no_pilot(tmp_path: Path) -> None:
    with pytest.raises(SurveyError, match="Is a directory"):
        read_pilot(tmp_path)
