"""What participants read: shipped, changed, translated; what cannot be shown is refused."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from impasto.options.errors import SurveyError
from impasto.survey.texts import Words, read_texts

if TYPE_CHECKING:
    from tests.survey.conftest import SmallStudy

Make = Callable[..., "SmallStudy"]


def test_shipped_texts_are_whole(small_study: Make) -> None:
    texts = read_texts(None)
    words = Words(small_study().study)
    for name in texts:
        assert words(name, number=1, total=2)
        assert "{" not in words(name, number=1, total=2)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("titel: x", "titel: no such text; did you mean title"),
        ("language: de\ntitle: Echt?", "is in 'de', but has no text for another_person"),
        ("title: '{who}'", "title: cannot fill in {who}"),
        ("title: '{trials.__class__}'", "cannot fill in {trials.__class__}"),
        ("title: '{trials!r}'", "cannot fill in {trials}"),
        ("title: 'a { b'", "title: "),
        ("title: yes", "title: expected a text, got True; write it in quotes"),
        ("title:", "title: expected a text, got None"),
        ("title: ' '", "title: is empty"),
        ("key_real: F", "expected two different letters or digits"),
        ("key_real: '.'", "expected two different letters or digits"),
        ("direction: up", "direction: expected ltr or rtl"),
        ("- a", "expected lines of 'name: text'"),
        ("title: [", "is no YAML"),
        ("title: !!python/object/apply:os.system [ls]", "is no YAML"),
    ],
)
def test_unfit_texts_are_refused(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "texts.yaml"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(SurveyError, match=re.escape(message)) as caught:
        read_texts(path)
    assert str(path) in str(caught.value)


def test_a_whole_translation_is_taken(tmp_path: Path) -> None:
    path = tmp_path / "texts.yaml"
    german = {**read_texts(None), "language": "de", "key_real": "E"}
    path.write_text(json.dumps(german), encoding="utf-8")
    assert read_texts(path)["key_real"] == "E"
