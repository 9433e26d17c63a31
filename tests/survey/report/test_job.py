"""A report is a folder of a page, tables and figures; what it reads, and what it refuses."""

import csv
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image

from impasto.options.errors import OptionError, SurveyError
from impasto.options.survey import SurveyReportOptions
from impasto.survey.analysis.findings import Findings
from impasto.survey.answers import write_answers
from impasto.survey.report.job import results_csv, results_json, write_report
from impasto.survey.report.text import conclusions

if TYPE_CHECKING:
    from tests.browser import Page
from tests.survey.analysis.studies import Made, answer_all, find, make_study, options


def test_a_report_is_a_folder_of_page_tables_and_figures(report: tuple[Path, Findings]) -> None:
    output, findings = report
    figures = {path.name for path in (output / "figures").iterdir()}
    assert figures == {
        *(f"{name}.{kind}" for name in ("rates", "pictures", "times") for kind in ("png", "pdf")),
        *(f"gallery_{number}.png" for number in range(3)),
    }
    for path in (output / "figures").glob("*.png"):
        with Image.open(path) as picture:
            assert picture.width > 600
    rows = list(csv.DictReader((output / "results.csv").read_text("utf-8").splitlines()))
    assert len(rows) == len(findings.pictures) == 24
    assert float(rows[0]["real_share"]) == pytest.approx(findings.pictures[0].real_share, abs=1e-5)
    stored = json.loads((output / "results.json").read_text(encoding="utf-8"))
    assert stored["seed"] == 0
    assert stored["groups"][0]["called_real"]["value"] == findings.groups[0].called_real.value


def test_results_name_nobody(report: tuple[Path, Findings]) -> None:
    output, _ = report
    for name in ("index.html", "results.csv", "results.json"):
        assert "person-0" not in (output / name).read_text(encoding="utf-8")


def test_the_same_answers_give_the_same_bytes(report: tuple[Path, Findings]) -> None:
    output, _ = report
    first = {path: path.read_bytes() for path in output.rglob("*") if path.is_file()}
    made_key = output.parent / "key.json"
    write_report(
        [output.parent / "answers.csv"],
        SurveyReportOptions(
            key=made_key, output=output, study=output.parent / "study", resamples=1000
        ),
    )
    assert {path: path.read_bytes() for path in output.rglob("*") if path.is_file()} == first


def test_without_the_study_there_are_tables(
    single: Made, tmp_path: Path, parse_page: Callable[[Path], "Page"]
) -> None:
    write_answers(tmp_path / "answers.json", answer_all(single))
    output = tmp_path / "deep" / "report"
    write_report([tmp_path / "answers.json"], options(single, output=output))
    page = parse_page(output / "index.html")
    assert page.find("img") == []
    assert len([row for row in page.find("tr") if "photos" not in row.text]) > 24


def test_a_changed_or_missing_picture_is_refused(tmp_path: Path) -> None:
    made = make_study(tmp_path, pictures=True)
    write_answers(tmp_path / "answers.csv", answer_all(made))
    settings = options(made, output=tmp_path / "report", study=made.study)
    picture = next(
        made.study / "images" / f"{token}.png"
        for token, one in made.key.pictures.items()
        if one.kind == "scored"
    )
    whole = picture.read_bytes()
    picture.write_bytes(whole + b"\0")
    with pytest.raises(SurveyError, match="is not the picture of the key"):
        write_report([tmp_path / "answers.csv"], settings)
    picture.unlink()
    with pytest.raises(SurveyError, match="has no picture"):
        write_report([tmp_path / "answers.csv"], settings)
    (made.study / "study.json").write_text('{"pictures": {"a": "../key.json"}}', encoding="utf-8")
    with pytest.raises(SurveyError, match="outside of its folder"):
        write_report([tmp_path / "answers.csv"], settings)


def test_answers_are_read_from_files_folders_and_databases(single: Made, tmp_path: Path) -> None:
    folder = tmp_path / "downloads"
    folder.mkdir()
    answers = answer_all(single, people=4)
    middle = len(answers) // 2
    write_answers(folder / "one.csv", answers[:middle])
    write_answers(folder / "two.json", answers[middle:])
    found = write_report([folder], options(single, output=tmp_path / "report"))
    assert found.after == find(single, answers).after
    for path, message in (
        (tmp_path / "missing.csv", "no such file"),
        (single.study / "images", "holds no"),
        (single.key_path.with_suffix(".txt"), "is empty"),
    ):
        if path.suffix == ".txt":
            path.write_text("", encoding="utf-8")
        with pytest.raises(SurveyError, match=message):
            write_report([path], options(single, output=tmp_path / "report"))
    (tmp_path / "broken.sqlite").write_bytes(b"no database")
    with pytest.raises(SurveyError, match=r"broken\.sqlite"):
        write_report([tmp_path / "broken.sqlite"], options(single, output=tmp_path / "report"))


def test_tables_hold_no_words_for_missing_numbers(single: Made) -> None:
    answers = answer_all(single, people=1)
    found = find(single, answers)
    text = results_json(found, options(single)) + results_csv(found)
    assert "nan" not in text.lower().replace("banan", "")
    assert json.loads(results_json(found, options(single)))["groups"][0]["p_pictures"] is None
    assert any("too few people or pictures" in said for said in conclusions(found))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"margin": 0.5}, "--margin: 0.5 is not between"),
        ({"resamples": 10}, "--resamples"),
        ({"blocks": 0}, "--blocks"),
        ({"fast_share": 1.5}, "--fast_share"),
        ({"seed": -1}, "--seed"),
        ({"study": Path("report")}, "--output: report lies in the folder of the study"),
        ({"study": Path(), "output": Path("a/b")}, "--output: a/b lies in the folder of"),
    ],
)
def test_bad_options_are_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=re.escape(message)):
        SurveyReportOptions(key=Path("key.json"), **changes)
