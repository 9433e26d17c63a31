"""The files for platforms: run by a stand-in of Google, in a browser, and read back."""

import base64
import csv
import io
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from impasto.data.standardize import encode_plain_png
from impasto.survey.collect.job import import_answers
from impasto.survey.export.job import draw_check
from impasto.survey.export.platforms import (
    google_forms_script,
    jspsych_page,
    mturk_layout,
    mturk_table,
    qualtrics_survey,
    write_platforms,
)
from impasto.survey.key import Key, KeyedPicture, draw_tokens, make_rng
from impasto.survey.study import Practice, Study
from impasto.survey.texts import read_texts

if TYPE_CHECKING:
    from tests.browser import Browser

TOKENS = draw_tokens(6, make_rng(1, "tokens"))
JUDGED, PRACTICE = TOKENS[:4], TOKENS[4:]
URL = "https://example.org/a b/"


def study(protocol: Any = "single", **changes: Any) -> Study:
    pair = protocol == "pair"
    trials = [tuple(JUDGED[:2]), tuple(JUDGED[2:])] if pair else [(one,) for one in JUDGED]
    first = tuple(PRACTICE) if pair else (PRACTICE[0],)
    values: dict[str, Any] = {
        "survey_id": "study-1",
        "version": "0",
        "protocol": protocol,
        "question": "fake",
        "pictures": {token: f"images/{token}.png" for token in TOKENS},
        "width": 64,
        "height": 48,
        "practice": [Practice(trial=first, answer="fake")],
        "orders": [trials, trials[::-1]],
        "real_share": 0.5,
        "attention_checks": 1,
        "exposure_ms": 100 if protocol == "timed" else None,
        "mask_ms": 50 if protocol == "timed" else 0,
        "texts": {**read_texts(None), "title": "Real & <fake> ${{1}} [[PageBreak]] */ </script>?"},
    }
    return Study(**{**values, **changes})


def key_of(made: Study) -> Key:
    pictures = {
        token: KeyedPicture(
            kind="practice" if token in PRACTICE else "scored",
            label="real" if place % 2 else "fake",
            picture_sha256="0" * 64,
        )
        for place, token in enumerate(TOKENS)
    }
    return Key(
        survey_id=made.survey_id,
        version="0",
        protocol=made.protocol,
        seed=1,
        pictures=pictures,
        orders=made.orders,
        options={"question": made.question},
    )


# Stands in for Google's objects: notes what was added, and gives the CSV of one answer.
_GOOGLE = """
const log = [];
function item(kind) {
  const one = { kind };
  log.push(one);
  const proxy = new Proxy(one, { get: (target, name) => (...values) => {
    target[name] = values[0]; return proxy; } });
  return proxy;
}
const form = new Proxy({}, { get: (_, name) => (...values) => {
  if (name.startsWith("add")) return item(name);
  if (name.startsWith("get")) return "url";
  item(name).value(values[0]);
} });
const FormApp = { create: (title) => { item("create").title(title); return form; },
                  Alignment: { CENTER: "c" } };
const Utilities = { sleep() {} };
const Logger = { log() {} };
const UrlFetchApp = { fetch: (url) => ({ getBlob: () => url }) };
"""


@pytest.mark.parametrize("protocol", ["single", "pair"])
def test_google_forms_makes_a_page_for_each_picture(protocol: str, tmp_path: Path) -> None:
    node = shutil.which("node")
    if not node:
        pytest.skip("needs node")
    made = study(protocol)
    script = google_forms_script(made, URL)
    code = f"{_GOOGLE}\n{script}\nmakeForm();\nconsole.log(JSON.stringify(log));"
    done = subprocess.run([node, "-e", code], capture_output=True, text=True, check=True)
    items = json.loads(done.stdout)
    kinds = [one["kind"] for one in items]
    pictures = 2 if protocol == "pair" else 1
    assert kinds[kinds.index("addPageBreakItem") :] == [
        *["addPageBreakItem", *["addImageItem"] * pictures, "addSectionHeaderItem"],
        *["addPageBreakItem", *["addImageItem"] * pictures, "addMultipleChoiceItem"]
        * len(made.orders[0]),
    ]
    images = [one["setImage"] for one in items if one["kind"] == "addImageItem"]
    shown = [*made.practice[0].trial, *(token for trial in made.orders[0] for token in trial)]
    assert images == [f"{URL}images/{token}.png" for token in shown]
    questions = [one for one in items if one["kind"] == "addMultipleChoiceItem"]
    titles = [one["setTitle"] for one in questions]
    assert len(set(titles)) == len(titles)
    assert all(one["setRequired"] for one in questions)
    # What the form's sheet will hold comes back through the import.
    choice = questions[0]["setChoiceValues"][1]
    text = io.StringIO(newline="")
    csv.writer(text).writerows([["Timestamp", *titles], ["now", *[choice] * len(titles)]])
    path = tmp_path / "answers.csv"
    path.write_text(text.getvalue(), encoding="utf-8")
    imported = import_answers([path], key=key_of(made))
    expected = "real" if protocol == "pair" else "fake"
    assert {one.response for one in imported.answers} == {expected}
    assert len(imported.answers) == len(made.orders[0])
    assert not imported.oddities


def test_qualtrics_has_one_question_for_each_trial() -> None:
    text = qualtrics_survey(study(), URL)
    lines = text.splitlines()
    assert lines[0] == "[[AdvancedFormat]]"
    tags = [line for line in lines if line.startswith("[[")]
    assert tags.count("[[Question:MC:SingleAnswer:Horizontal]]") == 4
    assert [tag for tag in tags if tag.startswith("[[ID:")] == [f"[[ID:{one}]]" for one in JUDGED]
    assert tags.count("[[PageBreak]]") == 4  # one for practice, three between four questions
    for token in JUDGED:
        place = lines.index(f"[[ID:{token}]]")
        assert f'src="{URL}images/{token}.png"' in lines[place + 1]
        assert lines[place + 2 : place + 7] == [
            *("[[AdvancedChoices]]", "[[Choice:1]]", "Real", "[[Choice:2]]", "Fake"),
        ]


def test_mturk_has_a_row_for_each_participant() -> None:
    rows = list(csv.DictReader(io.StringIO(mturk_table(study(), URL))))
    assert [row["trials"] for row in rows] == [" ".join(JUDGED), " ".join(JUDGED[::-1])]
    (row, _) = csv.DictReader(io.StringIO(mturk_table(study("pair"), URL)))
    assert row["trials"] == f"{JUDGED[0]}+{JUDGED[1]} {JUDGED[2]}+{JUDGED[3]}"
    # Every place of the layout has a column, and no text of the study makes another.
    assert set(re.findall(r"\$\{(\w+)\}", mturk_layout(study()))) == set(row)


def test_texts_cannot_break_out_of_the_scripts() -> None:
    for text in (mturk_layout(study()), jspsych_page(study(), "")):
        assert "<fake>" not in text
        assert "*/ </script>" not in text
    assert text.count("</script>") == 4


def test_timed_studies_have_no_forms(tmp_path: Path) -> None:
    write_platforms(tmp_path / "platforms", study("timed"), base_url="")
    assert sorted(path.name for path in (tmp_path / "platforms").iterdir()) == [
        *("jspsych.html", "mturk.csv", "mturk.html"),
    ]


def fill(layout: str, row: dict[str, str]) -> str:
    """Fill a layout as Mechanical Turk does."""
    return re.sub(r"\$\{(\w+)\}", lambda found: row[found[1]], layout)


def write_pictures(folder: Path) -> None:
    (folder / "images").mkdir()
    rng = make_rng(1, "cards")
    for token in TOKENS:
        card = draw_check("Card", token[:3], width=64, height=48, rng=rng)
        (folder / "images" / f"{token}.png").write_bytes(encode_plain_png(card))


def press(browser: "Browser", text: str) -> None:
    button = f"[...document.querySelectorAll('button')].find(one => one.textContent === {text!r})"
    ready = f"(() => {{ const b = {button}; return b && !b.disabled && b.offsetParent; }})()"
    assert browser.becomes_true(f"!!{ready}")
    browser.evaluate(f"{button}.click()")


def take_hit(made: Study, browser: "Browser", folder: Path) -> dict[str, str]:
    """Take a HIT from its beginning to its end, choosing first, second, first, and so on.

    Returns:
        What the form sends.
    """
    write_pictures(folder)
    (row, _) = csv.DictReader(io.StringIO(mturk_table(made, f"{folder.as_uri()}/")))
    page = folder / "hit.html"
    layout = fill(mturk_layout(made), row)
    form = "<!DOCTYPE html><meta charset=utf-8><form id=mturk_form></form>"
    page.write_text(form + layout, encoding="utf-8")
    browser.open(page)
    browser.evaluate(
        "document.getElementById('mturk_form').submit = function () {"
        " window.sent = Object.fromEntries(new FormData(this)); }"
    )
    pair = made.protocol == "pair"
    choices = ["Picture 1", "Picture 2"] if pair else ["Real", "Fake"]
    press(browser, "Begin")
    where = "document.querySelector('#survey p').textContent"
    assert browser.becomes_true(f"{where} === 'Practice 1 of 1'")
    press_shown(browser, choices[0])
    verdict = "That is right" if pair else "That is not right"
    assert browser.becomes_true(f"document.querySelector('h2')?.textContent === '{verdict}'")
    press(browser, "Continue")
    total = len(made.orders[0])
    for place in range(total):
        assert browser.becomes_true(f"{where} === '{place + 1} of {total}'")
        press_shown(browser, choices[place % 2])
    assert browser.becomes_true("!!window.sent")
    assert browser.console() == []
    return dict(browser.evaluate("window.sent"))


@pytest.mark.parametrize("protocol", ["single", "pair", "timed"])
def test_a_worker_takes_the_mturk_layout_and_the_answers_come_back(
    protocol: str, tmp_path: Path, browser: "Browser"
) -> None:
    made = study(protocol)
    sent = take_hit(made, browser, tmp_path)
    header = ["AssignmentId", "WorkerId", *(f"Answer.{name}" for name in sent)]
    text = io.StringIO(newline="")
    csv.writer(text).writerows([header, ["a1", "w1", *sent.values()]])
    path = tmp_path / "batch.csv"
    path.write_text(text.getvalue(), encoding="utf-8")
    imported = import_answers([path], key=key_of(made))
    assert not imported.oddities
    # Of pairs, the first was chosen as the fake one, then the second.
    expected = ["fake", "real"] if protocol == "pair" else ["real", "fake"] * 2
    answers = list(imported.answers)
    assert [(one.token, one.response) for one in answers] == [
        (trial[0], called) for trial, called in zip(made.orders[0], expected, strict=True)
    ]
    assert [one.trial for one in answers] == list(range(2, 2 + len(answers)))
    fastest = min(-1.0 if one.rt_ms is None else one.rt_ms for one in answers)
    assert fastest >= (150 if protocol == "timed" else 0)
    assert all(one.onset.endswith("Z") and "x" in one.viewport for one in answers)


def press_shown(browser: "Browser", text: str) -> None:
    """Press an answer once it counts: a moment after the picture can be seen."""
    before = browser.evaluate("document.getElementById('survey').textContent")
    button = f"[...document.querySelectorAll('button')].find(one => one.textContent === {text!r})"
    assert browser.becomes_true(
        f"(() => {{ const b = {button}; if (b && getComputedStyle(b).visibility === 'visible')"
        f" b.click(); return document.getElementById('survey').textContent !== {before!r}"
        f" || !!window.sent; }})()"
    )


def test_nobody_answers_in_the_preview_of_a_hit(tmp_path: Path, browser: "Browser") -> None:
    made = study()
    write_pictures(tmp_path)
    (row, _) = csv.DictReader(io.StringIO(mturk_table(made, f"{tmp_path.as_uri()}/")))
    page = tmp_path / "hit.html"
    page.write_text(fill(mturk_layout(made), row), encoding="utf-8")
    browser.console()
    browser.driver.get(f"{page.as_uri()}?assignmentId=ASSIGNMENT_ID_NOT_AVAILABLE")
    assert browser.becomes_true("document.body.textContent.includes('This is a preview')")
    assert browser.evaluate("document.querySelectorAll('button').length") == 0


# Stands in for jsPsych: gives the timeline.
_JSPSYCH = """
const document = { createElement: () => ({ set textContent(text) { this.outerHTML = text; } }) };
const window = { location: { search: "?participant=p&order=1" }, innerWidth: 1, innerHeight: 1 };
const crypto = require("crypto").webcrypto;
const jsPsychPreload = "preload", jsPsychHtmlButtonResponse = "button";
const initJsPsych = () => ({
  data: { addProperties() {} },
  run: (timeline) => console.log(JSON.stringify(timeline)),
});
"""


@pytest.mark.parametrize("protocol", ["single", "pair", "timed"])
def test_jspsych_is_a_pinned_version_in_the_language_of_the_study(protocol: str) -> None:
    texts = {**read_texts(None), "language": "ar", "direction": "rtl"}
    page = jspsych_page(study(protocol, texts=texts), URL)
    assert '<html lang="ar" dir="rtl">' in page
    assert '<html lang="en" dir="ltr">' in jspsych_page(study(protocol), URL)
    foreign = re.findall(r'<(?:script|link)[^>]*?"(https://[^"]+)"([^>]*)>', page)
    assert len(foreign) == 4
    for url, attributes in foreign:
        # One version, whose bytes cannot change.
        assert re.search(r"@\d+\.\d+\.\d+/", url), url
        (digest,) = re.findall(r'integrity="sha384-([A-Za-z0-9+/]{64})"', attributes)
        assert len(base64.b64decode(digest)) == 48
        assert 'crossorigin="anonymous"' in attributes


@pytest.mark.parametrize("protocol", ["single", "pair", "timed"])
def test_jspsych_leaves_time_for_a_double_click_after_each_click(protocol: str) -> None:
    node = shutil.which("node")
    if not node:
        pytest.skip("needs node")
    (script,) = re.findall(
        r"<script>\n(.*?)</script>", jspsych_page(study(protocol), URL), re.DOTALL
    )
    done = subprocess.run(
        [node, "-e", _JSPSYCH + script], capture_output=True, text=True, check=True
    )
    preload, *parts = json.loads(done.stdout)
    assert preload["type"] == "preload"
    clicked = [part for part in parts[:-1] if part["choices"]]
    made = study(protocol)
    assert len(clicked) == 1 + 2 * len(made.practice) + len(made.orders[0])
    assert {part["post_trial_gap"] for part in clicked} == {500}


def test_a_double_click_answers_one_trial_of_a_hit(tmp_path: Path, browser: "Browser") -> None:
    made = study(practice=[])
    write_pictures(tmp_path)
    (row, _) = csv.DictReader(io.StringIO(mturk_table(made, f"{tmp_path.as_uri()}/")))
    page = tmp_path / "hit.html"
    page.write_text(fill(mturk_layout(made), row), encoding="utf-8")
    browser.open(page)
    press(browser, "Begin")
    where = "document.querySelector('#survey p').textContent"
    for place in range(2):
        assert browser.becomes_true(f"{where} === '{place + 1} of 4'")
        button = "document.querySelector('#survey fieldset button')"
        assert browser.becomes_true(f"{button}.matches(':enabled')")
        # Each frame for a third of a second.
        browser.evaluate(
            f"(async () => {{ const end = performance.now() + 330; {button}.click();"
            f" while (performance.now() < end) {{ {button}.click();"
            " await new Promise(requestAnimationFrame); } })()"
        )
        assert browser.evaluate(where) == f"{place + 2} of 4"
