"""`impasto survey report` and `impasto survey power` as a user types them."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from impasto.options.errors import OptionError, SurveyError
from impasto.options.survey import SurveyPowerOptions
from impasto.scripts.main import main
from impasto.survey.analysis.power import Design, picture_half_width, raters_for_picture, read_pilot
from impasto.survey.analysis.simulation import Population, simulate
from impasto.survey.answers import write_answers
from impasto.survey.key import Key, KeyedPicture, write_key


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """A folder with key.json and answers.csv of twelve people and eight pictures."""
    pictures = {
        f"tk{place:02d}": KeyedPicture(
            kind="scored",
            label="real" if place < 4 else "fake",
            generator="" if place < 4 else "cyclegan",
            source=f"{place}.jpg",
            picture_sha256="",
        )
        for place in range(8)
    }
    orders = [[(token,) for token in pictures]]
    key = Key(
        survey_id="s1", version="0", protocol="single", seed=0, pictures=pictures, orders=orders
    )
    write_key(tmp_path / "key.json", key)
    population = Population(called_real={"real": 0.8, "cyclegan": 0.3})
    answers = simulate(key, population, people=12, rng=np.random.default_rng(0))
    write_answers(tmp_path / "answers.csv", answers)
    return tmp_path


def test_a_report_is_written_and_summed_up(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["survey", "report", str(study / "answers.csv"), "--key", str(study / "key.json")]
    assert main([*words, "--output", str(study / "report"), "--resamples", "1000"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("12 people (0 excluded), 96 answers\n")
    assert "cyclegan: people called its pictures REAL in" in said
    page = study / "report" / "index.html"
    assert said.splitlines()[-1].startswith(f"wrote {page}; open it")
    assert (study / "report" / "index.html").is_file()


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        (["--key", "key.json"], 2, "missing: ANSWERS"),
        (["answers.csv"], 2, "key"),
        (["answers.csv", "--key", "nowhere.json"], 1, "nowhere.json: no such file"),
        (["nowhere.csv", "--key", "key.json"], 1, "nowhere.csv: no such file"),
        (["key.json", "--key", "key.json"], 1, "key.json: expected a list of answers"),
        (["answers.csv", "--key", "key.json", "--study", "nowhere"], 1, "has no picture"),
        (["answers.csv", "--key", "key.json", "--margin", "2"], 2, "--margin"),
        (["answers.csv", "--key", "key.json", "--output", "key.json"], 1, "key.json"),
    ],
)
def test_mistakes_are_named_without_a_traceback(
    study: Path,
    words: list[str],
    status: int,
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(study)
    try:
        found = main(["survey", "report", *words])
    except SystemExit as stop:
        found = int(stop.code or 0)
    said = capsys.readouterr().err
    assert (found, "Traceback" in said) == (status, False)
    assert message in said


def test_reports_and_power_never_import_torch(study: Path) -> None:
    code = (
        "import sys; from impasto.scripts.main import main; "
        f"main(['survey', 'report', {str(study / 'answers.csv')!r}, '--key', "
        f"{str(study / 'key.json')!r}, '--output', {str(study / 'r')!r}, '--resamples', '1000']); "
        "main(['survey', 'power']); sys.exit('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True)
    assert (done.returncode, done.stderr) == (0, b"")


# Power.


def test_power_says_the_widths_of_the_first_reports(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["survey", "power", "--raters", "14", "--pictures", "10"]) == 0
    said = capsys.readouterr().out
    assert re.search(r"one picture +\+- 23\.2 points", said)
    assert re.search(r"other people and other pictures +\+- 16\.2 points", said)
    assert re.search(r"one picture +381 people", said)
    assert "with 10 pictures           " in said
    assert "no number of people is enough" in said


def test_one_picture_takes_this_many_people() -> None:
    assert raters_for_picture(0.0962) == 100
    assert picture_half_width(14) == pytest.approx(0.232, abs=5e-4)
    count = raters_for_picture(0.05)
    assert count is not None
    assert picture_half_width(count) <= 0.05 < picture_half_width(count - 1)


def test_people_and_pictures_for_a_width_are_the_fewest() -> None:
    design = Design(raters=30, pictures=50)
    raters, pictures = design.raters_for(0.065), design.pictures_for(0.065)
    assert raters is not None
    assert pictures is not None
    assert Design(raters=raters, pictures=50).half_width() <= 0.065
    assert Design(raters=raters - 1, pictures=50).half_width() > 0.065
    assert Design(raters=30, pictures=pictures).half_width() <= 0.065
    assert Design(raters=30, pictures=pictures - 1).half_width() > 0.065
    assert design.raters_for(0.01) is None


def test_widths_follow_from_what_varies() -> None:
    design = Design(raters=30, pictures=50, rate=0.27)
    alike = Design(raters=30, pictures=50, rate=0.27, person_sd=0.0, picture_sd=0.0)
    assert alike.half_width() == pytest.approx(design.half_width_if_independent(), rel=0.05)
    assert design.half_width_for_people() < design.half_width()
    # The intervals that benchmarks/survey_coverage.py gets from simulated studies.
    assert design.half_width() == pytest.approx(0.059, abs=0.002)
    assert Design(raters=14, pictures=10).half_width() == pytest.approx(0.161, abs=0.003)
    # Guessing is shown within margins that shrink as one over the root of the pictures.
    four = Design(raters=30, pictures=200, rate=0.27)
    assert design.provable_margin() == pytest.approx(2 * four.provable_margin())
    assert design.detectable_difference() == pytest.approx(2 * four.detectable_difference())


def test_a_report_is_the_pilot_of_the_next_study(
    study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["survey", "report", str(study / "answers.csv"), "--key", str(study / "key.json")]
    main([*words, "--output", str(study / "report"), "--resamples", "1000"])
    pilot = study / "report" / "results.json"
    stored = json.loads(pilot.read_text(encoding="utf-8"))
    fakes = next(one for one in stored["groups"] if one["name"] == "cyclegan")
    found = read_pilot(pilot)
    wanted = (fakes["called_real"]["value"], fakes["person_sd"], fakes["picture_sd"])
    assert found == pytest.approx(wanted)
    capsys.readouterr()
    assert main(["survey", "power", "--pilot", str(pilot)]) == 0
    assert f"a fooling rate of {found[0]:.0%}" in capsys.readouterr().out
    with pytest.raises(SurveyError, match=r"is no results\.json"):
        read_pilot(study / "answers.csv")


@pytest.mark.parametrize(
    "changes",
    [{"raters": 1}, {"pictures": 1}, {"half_width": 0.5}, {"rate": 0.0}, {"person_sd": -1.0}],
)
def test_bad_numbers_are_refused(changes: dict[str, float]) -> None:
    with pytest.raises(OptionError, match=f"--{next(iter(changes))}"):
        SurveyPowerOptions(**changes)  # type: ignore[arg-type]
