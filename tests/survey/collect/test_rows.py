"""Words, tokens and names in rows of tables."""

from collections.abc import Callable
from pathlib import Path

import pytest

from impasto.options.errors import SurveyError
from impasto.survey.collect.job import import_answers
from impasto.survey.collect.rows import Vocabulary
from impasto.survey.key import Key
from tests.survey.collect.forms import FAKE, JUDGED, REAL, odd


def test_a_token_is_found_in_whatever_surrounds_it() -> None:
    words = Vocabulary(tokens={REAL[0], "zz9"})
    for text in (f"https://x.org/images/{REAL[0]}.png?x=1", f"Answer.{REAL[0]}", f"({REAL[0]})"):
        assert words.trial_in(text) == (REAL[0],)
    assert words.trial_in("ZZ9") == ("zz9",)
    assert words.trial_in("is this picture real or fake") == ()


@pytest.mark.parametrize(
    ("asked", "choice", "expected"),
    [
        ("fake", "Picture 1", "fake"),
        ("fake", "foto 2", "real"),
        ("fake", "1", "fake"),
        ("real", "left", "real"),
        ("real", "Second", "fake"),
        ("real", "fake", "fake"),
    ],
)
def test_choices_of_pairs(
    write: Callable[..., Path], pair_key: Key, asked: str, choice: str, expected: str
) -> None:
    options = {**pair_key.options, "question": asked}
    changed = Key(**{**vars(pair_key), "options": options})
    path = write(
        [["participant", f"Which one? [{REAL[0]} {FAKE[0]}]"], ["p", choice]],
    )
    (found,) = import_answers([path], key=changed).answers
    assert (found.token, found.other, found.response) == (REAL[0], FAKE[0], expected)


def test_a_choice_of_a_pair_is_not_guessed_without_a_key(write: Callable[..., Path]) -> None:
    path = write([["participant", f"{REAL[0]}_{FAKE[0]}"], ["p", "1"]])
    with pytest.raises(SurveyError, match="takes --key"):
        import_answers([path])


def test_without_a_key_what_looks_like_a_picture_is_one(write: Callable[..., Path]) -> None:
    path = write([["id", *JUDGED, "remarks"], ["", *["real"] * 5, "fine"], ["", "fake", *[""] * 5]])
    imported = import_answers([path])
    assert len(imported.answers) == 6
    assert odd(imported)["partial sessions"] == ["in line 3: 1 of 5"]


def test_hostile_ids_are_one_line_and_not_endless(write: Callable[..., Path], key: Key) -> None:
    name = "a\r\nb\tc" + "x" * 10_000
    path = write([["participant", *JUDGED], [name, *["real"] * 5]])
    (only,) = import_answers([path], key=key).participants
    assert only == ("a b c" + "x" * 10_000)[:200]
