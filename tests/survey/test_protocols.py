"""Protocols from outside the package, by its public interface; and what the registry refuses.

``glimpse`` shows a real and a fake picture beside each other for a moment; ``medium`` asks with
other words. Both are exported, audited, answered and analyzed like the built-in protocols.
"""

import csv
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from impasto.options import SurveyExportOptions, SurveyReportOptions, SurveyServeOptions
from impasto.options.errors import OptionError, SurveyError
from impasto.survey import (
    Choice,
    Exported,
    Key,
    SurveyProtocol,
    audit_study,
    export_study,
    find_protocol,
    import_answers,
    protocol_names,
    read_answers,
    read_key,
    register_protocol,
    serving,
    write_answers,
    write_report,
)

if TYPE_CHECKING:
    from tests.survey.conftest import Person

GLIMPSE = SurveyProtocol(
    name="glimpse",
    description="pairs of one real and one fake picture, shown for a moment",
    picture_names=("picture_first", "picture_second"),
    choices=find_protocol("pair").choices,
    exposure_ms=250,
    instructions="instructions_glimpse",
    share="instructions_share_pair",
    keys="instructions_keys_pair",
    question="question_glimpse_{question}",
    feedback="feedback_first_{answer}",
    texts={
        "instructions_glimpse": "Two pictures appear for {exposure_ms} ms. One of them is real.",
        "question_glimpse_real": "Which one was real?",
        "question_glimpse_fake": "Which one was fake?",
    },
)
MEDIUM = SurveyProtocol(
    name="medium",
    description="one picture at a time, photograph or painting",
    choices=(Choice("real", "answer_photo", "real"), Choice("fake", "answer_painting", "fake")),
    instructions="instructions_medium",
    question="question_medium",
    texts={
        "answer_photo": "A photograph",
        "answer_painting": "A painting",
        "instructions_medium": "Say of each picture how it was made.",
        "question_medium": "How was this picture made?",
    },
)


@pytest.fixture
def export(tmp_path: Path, picture_folder: Callable[..., Path]) -> Callable[..., Exported]:
    """A function that exports a study by a protocol that was registered here."""
    picture_folder("photos", count=16, seed=1)
    picture_folder("gan", count=16, seed=2)
    register_protocol(GLIMPSE)
    register_protocol(MEDIUM)

    def make(protocol: str, **changes: Any) -> Exported:
        values: dict[str, Any] = {
            "output": tmp_path / "study",
            "per_class": 6,
            "practice": 2,
            "attention": 1,
            "orders": 8,
            "width": 32,
            "height": 32,
            "seed": 1,
            "protocol": protocol,
            **changes,
        }
        folders: dict[str, Any] = {"real": tmp_path / "photos", "fake": [f"gan={tmp_path / 'gan'}"]}
        return export_study(SurveyExportOptions(**folders, **values))

    return make


def write_form(
    path: Path, done: Exported, answer: Callable[[int, Sequence[str]], str], people: int = 8
) -> Path:
    """Write what a form gives: a row for each person, a column for each trial."""
    trials = done.study.orders[0]
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["Participant", *(f"Which? [{' '.join(trial)}]" for trial in trials)])
        for person in range(people):
            table.writerow([f"p{person}", *(answer(person, trial) for trial in trials)])
    return path


def report(tmp_path: Path, done: Exported, answers: Path) -> SurveyReportOptions:
    assert answers.is_file()
    return SurveyReportOptions(
        key=done.key, output=tmp_path / "report", study=done.folder, resamples=1000
    )


def test_pairs_for_a_moment_are_exported_with_their_own_texts(
    export: Callable[..., Exported],
) -> None:
    done = export("glimpse")
    key = read_key(done.key)
    assert done.audit.passed
    assert audit_study(done.folder, key, archive=done.archive).passed
    stored = json.loads((done.folder / "study.json").read_text(encoding="utf-8"))
    assert (stored["protocol"], stored["exposure_ms"]) == ("glimpse", 250)
    for order in done.study.orders:
        for trial in order:
            assert sorted(key.pictures[token].label for token in trial) == ["fake", "real"]
    page = (done.folder / "index.html").read_text(encoding="utf-8")
    assert "Two pictures appear for 250 ms." in page
    assert "Which one was fake?" in page
    platforms = {path.name for path in (done.folder / "platforms").iterdir()}
    assert platforms == {"jspsych.html", "mturk.csv", "mturk.html"}  # which can hide a picture


def test_pairs_for_a_moment_are_imported_and_analysed_as_pairs(
    export: Callable[..., Exported], tmp_path: Path
) -> None:
    done = export("glimpse", question="fake")
    key = read_key(done.key)

    def fooled(person: int, trial: Sequence[str]) -> bool:
        checks = key.pictures[trial[0]].kind == "attention"
        return not checks and (person + done.study.orders[0].index(tuple(trial))) % 3 == 0

    def chosen(person: int, trial: Sequence[str]) -> str:
        fake_is_first = key.pictures[trial[0]].label == "fake"
        return "Picture 1" if fake_is_first != fooled(person, trial) else "2"

    form = write_form(tmp_path / "form.csv", done, chosen)
    imported = import_answers([form], key=key)
    assert not imported.oddities
    write_answers(tmp_path / "answers.csv", imported.answers)
    findings = write_report(
        [tmp_path / "answers.csv"], report(tmp_path, done, tmp_path / "answers.csv")
    )
    mistakes = sum(fooled(person, trial) for person in range(8) for trial in done.study.orders[0])
    (group,) = findings.groups
    assert (group.name, group.answers, group.real) == ("gan", 8 * 6, mistakes)
    assert 0 < mistakes < 8 * 6
    assert not findings.excluded
    page = (tmp_path / "report" / "index.html").read_text(encoding="utf-8")
    assert GLIMPSE.description in page
    assert "taken for the real" in page


def test_pairs_for_a_moment_are_answered_in_a_browser(
    export: Callable[..., Exported],
    person: "Person",
    downloads: Callable[[str], Path],
) -> None:
    done = export("glimpse", question="real", exposure_ms=100, practice=1)
    key = read_key(done.key)
    choices: dict[str, str] = {}

    def takes_the_second(shown: list[str]) -> None:
        choices[shown[0]] = "fake"  # who takes the second for real calls the first one fake
        person.press("2")

    person.browser.open(done.folder / "index.html")
    person.agree()
    person.goes_through(takes_the_second)
    person.click("#csv")
    answers = read_answers(downloads(".csv"))
    assert len(answers) == 1 + 6 + 1
    assert {one.token: one.response for one in answers} == choices
    assert all({one.token, one.other} <= key.pictures.keys() for one in answers)
    assert all(one.exposure_ms is not None for one in answers)
    assert not import_answers([downloads(".csv")], key=key).oddities


def test_pairs_for_a_moment_are_served(export: Callable[..., Exported], tmp_path: Path) -> None:
    done = export("glimpse")
    options = SurveyServeOptions(
        key=done.key, database=tmp_path / "answers.sqlite", port=0, staircase=True
    )
    with serving(done.folder, options) as server:
        assert server.study.rules == GLIMPSE


def test_other_words_for_the_two_answers_are_shown_and_understood(
    export: Callable[..., Exported], tmp_path: Path
) -> None:
    done = export("medium")
    key = read_key(done.key)
    page = (done.folder / "index.html").read_text(encoding="utf-8")
    assert "A photograph" in page
    assert "How was this picture made?" in page
    assert "A painting" in (done.folder / "platforms" / "google_forms.gs").read_text("utf-8")

    def says(_person: int, trial: Sequence[str]) -> str:
        return {"real": "a photograph", "fake": "A PAINTING"}[key.pictures[trial[0]].label]

    imported = import_answers([write_form(tmp_path / "form.csv", done, says)], key=key)
    assert not imported.oddities
    assert len(imported.answers) == 8 * (12 + 1)
    assert all(one.response == key.pictures[one.token].label for one in imported.answers)


def test_a_translation_must_have_the_texts_of_the_protocol(
    export: Callable[..., Exported], tmp_path: Path
) -> None:
    texts = tmp_path / "texts.yaml"
    texts.write_text("question_medium: Photo or paint?\n", encoding="utf-8")
    assert export("medium", texts=texts).study.texts["question_medium"] == "Photo or paint?"
    with pytest.raises(SurveyError, match="question_medium: no such text"):
        export("single", texts=texts, output=tmp_path / "other")


def test_a_study_of_an_unknown_protocol_is_refused(export: Callable[..., Exported]) -> None:
    done = export("single")
    path = done.folder / "study.json"
    path.write_text(path.read_text(encoding="utf-8").replace('"single"', '"rating"'), "utf-8")
    with pytest.raises(SurveyError, match="'rating', which is not known here"):
        audit_study(done.folder, read_key(done.key))


def test_the_built_in_protocols_come_first_and_mean_what_they_say() -> None:
    assert protocol_names()[:3] == ("single", "pair", "timed")
    pair, timed = find_protocol("pair"), find_protocol("timed")
    assert [pair.response_of("1", asked) for asked in ("real", "fake")] == ["real", "fake"]
    assert [pair.response_of("2", asked) for asked in ("real", "fake")] == ["fake", "real"]
    assert [timed.response_of(value, "fake") for value in timed.values] == ["real", "fake"]
    assert (pair.unit, timed.unit) == ("pairs", "answers")
    assert (pair.exposure_of(None), timed.exposure_of(None), timed.exposure_of(30)) == (
        None,
        1000,
        30,
    )
    assert (pair.practice_per_kind(3), timed.practice_per_kind(4)) == (3, 2)


def test_a_name_has_one_protocol() -> None:
    register_protocol(find_protocol("single"))  # the same once more changes nothing
    with pytest.raises(ValueError, match="another protocol 'single'"):
        register_protocol(replace(MEDIUM, name="single"))
    assert find_protocol("single") != replace(MEDIUM, name="single")
    with pytest.raises(OptionError, match="did you mean pair"):
        find_protocol("pear")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "Two words"}, "no name of a protocol"),
        ({"picture_names": ("picture",) * 3}, "one picture or two"),
        ({"picture_names": ()}, "one picture or two"),
        ({"choices": find_protocol("pair").choices}, "expected choices"),
        ({"choices": (Choice("real", "answer_real", "fake"),) * 2}, "expected choices"),
    ],
)
def test_what_answers_cannot_hold_is_no_protocol(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(MEDIUM, **changes)  # type: ignore[arg-type]


def test_keys_tell_their_protocol(export: Callable[..., Exported]) -> None:
    key: Key = read_key(export("glimpse").key)
    assert key.rules.description == GLIMPSE.description
