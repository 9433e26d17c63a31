"""What keeps a study whole and its truth private, against its owner's slips."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image

from impasto.options.errors import FolderError, OptionError, SurveyError
from impasto.options.survey import SurveyExportOptions, SurveyReportOptions
from impasto.scripts.main import main
from impasto.survey import Answer, export_study, read_key, write_answers, write_key, write_report
from impasto.survey.analysis.exclusions import Criteria, exclude
from impasto.survey.analysis.judgements import JudgedSession, Judgement

if TYPE_CHECKING:
    from tests.survey.conftest import SmallStudy

Make = Callable[..., "SmallStudy"]


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    for place, name in enumerate(("real", "gan")):
        (tmp_path / name).mkdir()
        for number in range(6):
            color = (40 * number, 90 * place, 17 * number)
            Image.new("RGB", (24, 24), color).save(tmp_path / name / f"{name}{number}.png")
    return tmp_path / "real", tmp_path / "gan"


def export(folders: tuple[Path, Path], output: Path, **changes: Any) -> Path:
    options = SurveyExportOptions(
        real=folders[0],
        fake=[f"gan={folders[1]}"],
        output=output,
        per_class=3,
        practice=0,
        attention=0,
        orders=4,
        width=32,
        height=32,
        **changes,
    )
    return export_study(options).folder


def answered(small: "SmallStudy", path: Path) -> Path:
    answers = [
        Answer(
            survey_id=small.study.survey_id,
            participant=who,
            session="1",
            trial=number,
            token=trial[0],
            response="real" if number % 2 else "fake",
            rt_ms=900.0,
            completed=True,
        )
        for who in ("a", "b", "c")
        for number, trial in enumerate(small.study.orders[0], 1)
    ]
    write_answers(path, answers)
    return path


@pytest.mark.parametrize("inside", [".", "reports/first"])
def test_no_report_is_written_into_a_public_folder(
    small_study: Make, tmp_path: Path, inside: str
) -> None:
    small = small_study()
    answers = answered(small, tmp_path / "answers.csv")
    before = (small.folder / "index.html").read_bytes()
    options = SurveyReportOptions(key=small.key_path, output=small.folder / inside)
    with pytest.raises(OptionError, match="is public, and a report tells"):
        write_report([answers], options)
    assert (small.folder / "index.html").read_bytes() == before


@pytest.mark.parametrize(
    "changes",
    [
        {"protocol": "foo"},
        {"orders": [[["unknown"]]]},
        {"options": []},
        {"survey_id": 5},
    ],
)
def test_a_report_refuses_a_key_that_makes_no_sense(
    small_study: Make, tmp_path: Path, changes: dict[str, Any]
) -> None:
    small = small_study()
    answers = answered(small, tmp_path / "answers.csv")
    write_key(small.key_path, replace(small.key, **changes))  # with a right checksum
    options = SurveyReportOptions(key=small.key_path, output=tmp_path / "report")
    with pytest.raises(SurveyError, match="is no key"):
        write_report([answers], options)


def test_an_export_does_not_lie_among_its_pictures(folders: tuple[Path, Path]) -> None:
    with pytest.raises(OptionError, match="for input; choose a folder outside of it"):
        export(folders, folders[0] / "study")
    assert len(list(folders[0].iterdir())) == 6


def test_an_older_study_is_no_folder_of_pictures(
    folders: tuple[Path, Path], tmp_path: Path
) -> None:
    older = export(folders, tmp_path / "older")
    older.rename(folders[0] / "older")
    with pytest.raises(FolderError, match="holds an exported study"):
        export(folders, tmp_path / "study")


@pytest.mark.parametrize("name", ["survey.js", "index.html", "platforms/mturk.csv"])
def test_the_audit_finds_a_changed_or_missing_file(
    folders: tuple[Path, Path], tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    study = export(folders, tmp_path / "study")
    key = tmp_path / "study.key.json"
    assert set(read_key(key).files) >= {"survey.js", "index.html", "study.json", name}
    words = ["survey", "audit", str(study), "--key", str(key)]
    assert main(words) == 0
    text = (study / name).read_bytes()
    (study / name).write_bytes(text + b"\n")
    assert main(words) == 1
    assert f"{name} was changed since the export" in capsys.readouterr().out
    (study / name).unlink()
    assert main(words) == 1
    assert f"{name} is missing" in capsys.readouterr().out


@pytest.mark.parametrize("option", ["key", "database"])
def test_nothing_private_is_served_from_the_public_folder(
    small_study: Make, capsys: pytest.CaptureFixture[str], option: str
) -> None:
    small = small_study()
    private = small.folder / "private"
    places = {"key": str(small.key_path), "database": str(small.folder.parent / "a.sqlite")}
    places[option] = str(private)
    words = [word for name, place in places.items() for word in (f"--{name}", place)]
    assert main(["survey", "serve", str(small.folder), *words]) == 2
    assert f"--{option}: " in capsys.readouterr().err
    assert not private.exists()


def test_who_answers_right_after_a_timed_picture_is_too_fast() -> None:
    def session(after_ms: float) -> JudgedSession:
        judgements = [
            Judgement(
                trial=number + 1,
                token=f"t{number}",
                beside="",
                group="real",
                called_real=number % 2 == 0,
                wrong=number % 2 == 1,
                left=None,
                rt_ms=1000 + after_ms,
                exposure_ms=1000.0,
            )
            for number in range(12)
        ]
        return JudgedSession(
            participant=f"{after_ms}", session="1", judgements=judgements, completed=True
        )

    found = exclude([session(150.0), session(900.0)], Criteria(), expected=12)
    assert [one.reasons for one in found.excluded] == [("Too fast",)]
    assert found.excluded[0].number == 1


def test_tables_of_the_key_are_private(folders: tuple[Path, Path], tmp_path: Path) -> None:
    study = export(folders, tmp_path / "study")
    key = tmp_path / "study.key.json"
    assert key.stat().st_mode & 0o077 == 0
    public = b"".join(path.read_bytes() for path in study.rglob("*") if path.is_file())
    for digest in json.loads(key.read_text(encoding="utf-8"))["files"].values():
        assert digest.encode() not in public
