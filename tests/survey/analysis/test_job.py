"""From simulated answers to findings, files and a page; every protocol; what is excluded."""

import csv
import hashlib
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from impasto.options.errors import OptionError, SurveyError
from impasto.options.survey import SurveyReportOptions
from impasto.survey.analysis.exclusions import first_sessions
from impasto.survey.analysis.findings import Findings
from impasto.survey.analysis.generators import yes_no
from impasto.survey.analysis.job import analyse, hype_time
from impasto.survey.analysis.judgements import JudgedSession, Judgement, judge
from impasto.survey.analysis.simulation import Population, simulate
from impasto.survey.answers import Answer, write_answers
from impasto.survey.key import Key, KeyedPicture, write_key
from impasto.survey.report.job import results_csv, results_json, write_report
from impasto.survey.report.text import conclusions, limits, verdict

if TYPE_CHECKING:
    from tests.browser import Browser, Page

RATES = {"real": 0.75, "good": 0.5, "bad <b>": 0.15}


@dataclass(frozen=True)
class Made:
    """A study on disk with its key."""

    key: Key
    key_path: Path
    study: Path


def make_study(
    folder: Path,
    *,
    generators: Sequence[str] = ("good",),
    per_class: int = 6,
    protocol: str = "single",
    orders: int = 8,
    pictures: bool = False,
) -> Made:
    rng = np.random.default_rng(0)
    study = folder / "study"
    (study / "images").mkdir(parents=True)
    keyed: dict[str, KeyedPicture] = {}

    def add(label: Any, generator: str, kind: Any, source: str) -> str:
        token = rng.bytes(6).hex()
        content = b""
        if pictures:
            file = study / "images" / f"{token}.png"
            Image.fromarray(rng.integers(0, 256, (24, 32, 3), np.uint8)).save(file)
            content = file.read_bytes()
        keyed[token] = KeyedPicture(
            kind=kind,
            label=label,
            generator=generator,
            source=source,
            picture_sha256=hashlib.sha256(content).hexdigest(),
        )
        return token

    count = per_class * len(generators)
    reals = [add("real", "", "scored", f"photos/{place}.jpg") for place in range(count)]
    fakes = [
        add("fake", name, "scored", f"{place}_{name}.png")
        for name in generators
        for place in range(per_class)
    ]
    checks = [(add(label, "", "attention", ""),) for label in ("real", "fake")]
    practice = add("real", "", "practice", "practice.jpg")
    keyed[practice] = replace(keyed[practice], kind="practice")
    made = []
    for _ in range(orders):
        trials: list[tuple[str, ...]]
        if protocol == "pair":
            pairs = zip(rng.permutation(reals), rng.permutation(fakes), strict=True)
            trials = [tuple(str(one) for one in rng.permutation(pair)) for pair in pairs]
        else:
            trials = [(str(token),) for token in rng.permutation(reals + fakes)]
        made.append([*trials[:2], *checks, *trials[2:]])
    key = Key(survey_id="s1", version="0", protocol=protocol, seed=0, pictures=keyed, orders=made)
    write_key(folder / "key.json", key)
    return Made(key, folder / "key.json", study)


def answer_all(made: Made, people: int = 14, seed: int = 3, **rates: float) -> list[Answer]:
    population = Population(called_real={**RATES, **rates}, picture_sd=0.5)
    return simulate(made.key, population, people=people, rng=np.random.default_rng(seed))


def options(made: Made, **changes: Any) -> SurveyReportOptions:
    return SurveyReportOptions(key=made.key_path, **{"resamples": 1000, **changes})


def find(made: Made, answers: Sequence[Answer], **changes: Any) -> Findings:
    return analyse(answers, made.key, made.key_path, options(made, **changes))


@pytest.fixture
def single(tmp_path: Path) -> Made:
    return make_study(tmp_path, generators=("good", "bad <b>"))


def scored(made: Made, answer: Answer) -> bool:
    return made.key.pictures[answer.token].kind == "scored"


def change(
    answers: Sequence[Answer], person: int, edit: Callable[[Answer], Answer | None]
) -> list[Answer]:
    name = f"person-{person:03d}"
    edited = [edit(one) if one.participant == name else one for one in answers]
    return [one for one in edited if one is not None]


def test_rates_are_counts_of_the_answers(single: Made) -> None:
    answers = answer_all(single)
    found = find(single, answers)
    for group in found.groups:
        said = [
            one.response
            for one in answers
            if scored(single, one)
            and (single.key.pictures[one.token].generator or "real") == group.name
        ]
        assert group.answers == len(said)
        assert group.real == said.count("real")
        assert group.called_real.value == pytest.approx(said.count("real") / len(said))
        assert group.called_real.interval is not None
        assert group.called_real.interval.holds(group.called_real.value)
    assert [group.name for group in found.groups] == ["real", "bad <b>", "good"]
    assert sum(one.n for one in found.pictures) == sum(group.answers for group in found.groups)


def test_errors_are_those_of_hype_and_d_prime_is_that_of_the_counts(single: Made) -> None:
    found = find(single, answer_all(single))
    fooled, real = found.group("good"), found.group("real")
    good = next(one for one in found.generators if one.name == "good")
    assert fooled is not None
    assert real is not None
    assert good.error is not None
    wanted = (fooled.called_real.value + 1 - real.called_real.value) / 2
    assert good.error.value == pytest.approx(wanted)
    counted = yes_no(
        fooled.answers - fooled.real, fooled.answers, real.answers - real.real, real.answers
    )
    assert good.d_prime is not None
    assert good.criterion is not None
    assert good.d_prime.value == pytest.approx(counted.d_prime)
    assert good.criterion.value == pytest.approx(counted.criterion)
    assert good.d_prime.interval is not None
    assert good.d_prime.interval.holds(good.d_prime.value)
    assert good.d_prime_people is not None


def test_a_clear_difference_between_generators_is_found_and_worded(single: Made) -> None:
    found = find(single, answer_all(single, people=30))
    (compared,) = found.comparisons
    assert (compared.first, compared.second) == ("bad <b>", "good")
    assert compared.difference.value < 0
    assert compared.permutation is not None
    assert compared.permutation.paired
    assert compared.permutation.p < 0.01
    said = conclusions(found)
    assert any(text.startswith("good fools people more often than bad <b>") for text in said)
    assert any("bad <b>: people called its pictures REAL in" in text for text in said)


def test_pairs_are_judged_by_their_fakes(tmp_path: Path) -> None:
    made = make_study(tmp_path, protocol="pair")
    answers = answer_all(made, good=0.3)
    found = find(made, answers)
    (group,) = found.groups
    fooled = 0
    for one in answers:
        if one.other:
            left_is_fake = made.key.pictures[one.token].label == "fake"
            fooled += (one.response == "real") == left_is_fake
    assert (group.name, group.real, group.answers) == ("good", fooled, 14 * 6)
    # Each answer tells of both pictures.
    assert sum(one.n for one in found.pictures) == 2 * 14 * 6
    reals = [one for one in found.pictures if one.group == "real"]
    assert sum(one.fake for one in reals) == fooled
    (good,) = found.generators
    assert good.error == group.called_real
    assert good.d_prime is not None
    assert good.d_prime.value > 0
    assert good.d_prime.interval is not None
    assert good.d_prime.interval.holds(good.d_prime.value)
    assert good.criterion is not None
    assert any("was taken for the real one" in text for text in conclusions(found))
    assert json.loads(results_json(found, options(made)))["protocol"] == "pair"


def test_pairs_of_two_of_a_kind_are_refused(tmp_path: Path) -> None:
    made = make_study(tmp_path, protocol="pair")
    reals = [t for t, one in made.key.pictures.items() if one.generator == "" and one.source]
    answer = answer_all(made)[0]
    with pytest.raises(SurveyError, match="both are real"):
        find(made, [replace(answer, token=reals[0], other=reals[1])])


def test_indistinguishable_takes_an_equivalence_test(tmp_path: Path) -> None:
    many = make_study(tmp_path / "many", per_class=40, orders=4)
    population = Population(called_real={"real": 0.5, "good": 0.5}, person_sd=0.2, picture_sd=0.2)
    answers = simulate(many.key, population, people=60, rng=np.random.default_rng(0))
    (shown,) = find(many, answers).generators
    assert shown.equivalence is not None
    assert shown.equivalence.shown
    assert verdict(shown) == "indistinguishable within the margin"
    few = make_study(tmp_path / "few")
    found = find(few, answer_all(few, people=5, good=0.7, real=0.7))
    (unclear,) = found.generators
    assert unclear.equivalence is not None
    assert not unclear.equivalence.shown
    assert verdict(unclear) == "open"
    assert any("This is no proof that they cannot" in text for text in conclusions(found))
    assert any("5 people are few" in text for text in limits(found))


# What does not count.


def test_who_does_not_attend_is_excluded_and_counted(single: Made) -> None:
    answers = answer_all(single, people=10)

    def wrong_checks(one: Answer) -> Answer:
        if made_kind(one) != "attention":
            return one
        return replace(one, response="fake" if one.response == "real" else "real")

    def made_kind(one: Answer) -> str:
        return single.key.pictures[one.token].kind

    answers = change(answers, 1, wrong_checks)
    answers = change(
        answers, 2, lambda one: replace(one, completed=False) if one.trial < 9 else None
    )
    answers = change(
        answers, 3, lambda one: replace(one, response="real") if scored(single, one) else one
    )
    answers = change(answers, 4, lambda one: replace(one, rt_ms=120.0))
    # One fast answer of many is left out alone.
    answers = change(answers, 5, lambda one: replace(one, rt_ms=120.0) if one.trial == 1 else one)
    found = find(single, answers)
    meets = {reason.name: (reason.meets, reason.removed) for reason in found.reasons}
    assert meets == {
        "Attention check failed": (1, 1),
        "Incomplete": (1, 1),
        "Same answer everywhere": (1, 1),
        "Too fast": (1, 1),
    }
    assert (found.before.people, found.after.people) == (10, 6)
    assert [one.number for one in found.excluded] == [1, 2, 3, 4]
    assert found.after.answers == 6 * 24 - 1
    assert any("1 answers of people who count came too fast" in note for note in found.notes)
    assert any("4 of 10 people are excluded" in text for text in limits(found))
    lenient = find(
        single,
        answers,
        failed_checks=2,
        keep_incomplete=True,
        keep_straight_lines=True,
        min_rt_ms=0.0,
    )
    assert lenient.after == lenient.before
    assert lenient.after.people == 10


def test_nobody_excluded_changes_nothing(single: Made) -> None:
    found = find(single, answer_all(single))
    assert found.before == found.after
    assert "Nobody was excluded." in limits(found)


def test_copies_repeats_practice_and_strangers_do_not_count(single: Made) -> None:
    answers = answer_all(single, people=4)
    clean = find(single, answers)
    again = next(one for one in answers if scored(single, one))
    practice = next(t for t, one in single.key.pictures.items() if one.kind == "practice")
    messy = [
        *answers,
        *answers[:7],
        replace(again, trial=99, response="fake" if again.response == "real" else "real"),
        replace(again, token=practice),
        replace(again, token="nobody-knows"),  # noqa: S106 - of a picture
        replace(again, survey_id="another"),
        *(replace(one, session="2") for one in answers if one.participant == "person-001"),
    ]
    found = find(single, messy)
    assert found.after == clean.after
    assert {name: count for name, count in found.sessions.items() if count} == {
        "answers in the files": len(messy),
        "practice answers": 1,
        "answers of other studies": 1,
        "answers about unknown pictures": 1,
        "answers that were there twice": 7,
        "second answers about a picture": 1,
        "further sessions of a participant": 1,
    }


def test_the_earlier_session_counts() -> None:
    one = Judgement(
        trial=1,
        token="a",  # noqa: S106 - of a picture
        beside="",
        group="real",
        called_real=True,
        wrong=False,
        left=None,
        rt_ms=None,
        exposure_ms=None,
    )
    late = JudgedSession(participant="p", session="1", judgements=[one], onset="2026-05-02T08:00Z")
    early = replace(late, session="2", onset="2026-05-01T08:00Z")
    empty = replace(late, participant="q", judgements=[])
    kept, further = first_sessions([late, early, empty])
    assert ([session.session for session in kept], further) == (["2"], 1)


def test_answers_of_another_study_are_refused(single: Made) -> None:
    answers = [replace(one, survey_id="other") for one in answer_all(single)]
    with pytest.raises(SurveyError, match="is the key of study s1, and all answers are of other"):
        find(single, answers)
    with pytest.raises(SurveyError, match="no answer"):
        find(single, [])


def test_excluding_everybody_is_an_error_that_says_why(single: Made) -> None:
    answers = [replace(one, rt_ms=1.0) for one in answer_all(single, people=3)]
    with pytest.raises(SurveyError, match=r"all 3 participants are excluded \(too fast: 3\)"):
        find(single, answers)


def test_files_without_times_and_positions_are_analysed(single: Made) -> None:
    answers = [replace(one, rt_ms=None, trial=0) for one in answer_all(single)]
    found = find(single, answers)
    assert found.groups[0].times is None
    assert any("no reaction times" in note for note in found.notes)
    assert judge(answers, single.key, single.key_path).repeats == 0


# Staircases.


def timed(exposures: Sequence[float], wrong: Sequence[bool] = ()) -> JudgedSession:
    flags = list(wrong) or [False] * len(exposures)
    return JudgedSession(
        participant="p",
        session="1",
        judgements=[
            Judgement(
                trial=trial,
                token=str(trial),
                beside="",
                group="real",
                called_real=True,
                wrong=flag,
                left=None,
                rt_ms=500.0,
                exposure_ms=exposure,
            )
            for trial, (exposure, flag) in enumerate(zip(exposures, flags, strict=True), 1)
        ],
    )


def test_hype_time_is_the_mean_over_blocks_of_the_commonest_exposure() -> None:
    rng = np.random.default_rng(0)
    one = timed([500, 400, 400, 300, 200, 200])  # 400 and 200
    other = timed([500, 500, 500, 100, 100, 300])  # 500 and 100
    found = hype_time([one, other], blocks=2, resamples=1000, rng=rng)
    assert found is not None
    assert found.score_ms == (300 + 300) / 2
    assert found.people.low == found.people.high == 300
    whole = hype_time([one, other], blocks=1, resamples=1000, rng=rng)
    assert whole is not None
    assert whole.score_ms == ((400 + 200) / 2 + 500) / 2
    assert whole.errors["500"] == (4, 0)


def test_the_jitter_of_screens_is_no_staircase() -> None:
    rng = np.random.default_rng(0)
    exposures = rng.choice([983.4, 1000.1, 1016.7], 40).tolist()
    assert hype_time([timed(exposures)], blocks=1, resamples=1000, rng=rng) is None


def test_a_staircase_is_reported(tmp_path: Path) -> None:
    made = make_study(tmp_path, protocol="timed")
    answers = [
        replace(one, exposure_ms=500.0 - 20 * one.trial) for one in answer_all(made, good=0.4)
    ]
    found = find(made, answers)
    assert found.exposure is not None
    assert any("HYPE-time" in text for text in conclusions(found))


# Files and page.


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


def test_the_page_shows_each_picture_with_its_percentages(
    report: tuple[Path, Findings], parse_page: Callable[[Path], "Page"]
) -> None:
    output, findings = report
    page = parse_page(output / "index.html")
    images = page.find("img")
    assert len(images) == 24
    for image, one in zip(images, findings.pictures, strict=True):
        assert one.token in image.attributes["src"]
        assert (output / image.attributes["src"]).is_file()
    shares = page.find("span", class_="shares")
    for element, one in zip(shares, findings.pictures, strict=True):
        assert one.real_share is not None
        text = element.text.replace("\N{NO-BREAK SPACE}", " ")
        assert f"REAL {100 * one.real_share:.0f} %" in text
        assert f"FAKE {100 - 100 * one.real_share:.0f} %" in text
    assert page.find("b") != []
    assert not any("<b>" in element.attributes.get("href", "") for element in page.elements)
    linked = [element.attributes["href"] for element in page.find("a")]
    assert all((output / href).is_file() for href in linked)


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


CONTRAST = """(() => {
  const channel = (c) => (c /= 255) <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
  const light = (rgb) => rgb.map(channel).reduce((sum, c, i) => sum + c * [.2126, .7152, .0722][i], 0);
  const parse = (text) => text.match(/[\\d.]+/g).map(Number);
  const ground = (element) => {
    for (let e = element; e; e = e.parentElement) {
      const color = parse(getComputedStyle(e).backgroundColor);
      if (color.length < 4 || color[3] > 0) return color.slice(0, 3);
    }
    return parse(getComputedStyle(document.documentElement).backgroundColor).slice(0, 3);
  };
  let worst = [99, ""];
  for (const element of document.body.querySelectorAll("*")) {
    if (![...element.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim())) continue;
    const [a, b] = [light(parse(getComputedStyle(element).color).slice(0, 3)), light(ground(element))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < worst[0]) worst = [ratio, element.outerHTML.slice(0, 90)];
  }
  return worst;
})()"""  # noqa: E501 - JavaScript


def test_the_page_is_readable_at_any_width_in_light_and_dark(
    report: tuple[Path, Findings], browser: "Browser"
) -> None:
    output, _ = report
    for width, height, dark in ((1280, 900, False), (390, 800, False), (320, 700, True)):
        browser.set_view(width, height, dark=dark)
        browser.open(output / "index.html")
        assert browser.evaluate("document.documentElement.scrollWidth") <= width
        assert browser.evaluate("document.images.length") == 24
        assert browser.becomes_true(
            "[...document.images].every((i) => { i.loading = 'eager'; return i.naturalWidth; })"
        )
        ratio, element = browser.evaluate(CONTRAST)
        assert ratio >= 4.5, element
        spilled = browser.evaluate(
            "[...document.querySelectorAll('.shares')].filter((e) => e.scrollWidth > e.clientWidth)"
            ".length"
        )
        assert spilled == 0
        assert browser.console() == []
    # Nothing is loaded but the pictures beside it.
    loaded = browser.evaluate("performance.getEntriesByType('resource').map((e) => e.name)")
    assert all(name.startswith((output / "pictures").as_uri()) for name in loaded)


def test_a_whisker_stands_where_its_interval_is(
    report: tuple[Path, Findings], browser: "Browser"
) -> None:
    output, findings = report
    browser.open(output / "index.html")
    places = browser.evaluate(
        """[...document.querySelectorAll('.row:has(.both)')].map((r) => {
          const of = (name) => r.querySelector(name).getBoundingClientRect();
          const [track, both, point] = [of('.track'), of('.both'), of('.point')];
          return [both.left, both.right, (point.left + point.right) / 2].map(
            (x) => (x - track.left) / track.width);
        })"""
    )
    for (low, high, value), group in zip(places, findings.groups, strict=False):
        interval = group.called_real.interval
        assert interval is not None
        assert (low, high) == pytest.approx((interval.low, interval.high), abs=0.003)
        assert value == pytest.approx(group.called_real.value, abs=0.003)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"margin": 0.5}, "--margin: 0.5 is not between"),
        ({"resamples": 10}, "--resamples"),
        ({"blocks": 0}, "--blocks"),
        ({"fast_share": 1.5}, "--fast_share"),
        ({"seed": -1}, "--seed"),
        ({"study": Path("report")}, "--output: report is in the folder of the study"),
        ({"study": Path(), "output": Path("a/b")}, "--output: a/b is in the folder of"),
    ],
)
def test_bad_options_are_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=re.escape(message)):
        SurveyReportOptions(key=Path("key.json"), **changes)
