"""The site that works from disk, in a real browser."""

import json
import re
import threading
from collections.abc import Callable
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from impasto.survey.answers import answers_csv, read_answers
from impasto.survey.export.site import write_site
from impasto.survey.texts import read_texts

if TYPE_CHECKING:
    from tests.browser import Browser, Page
    from tests.survey.conftest import Person, SmallStudy

Make = Callable[..., "SmallStudy"]
Downloads = Callable[[str], Path]


def order_of(small: "SmallStudy", participant: str) -> int:
    """FNV-1a, then the last steps of MurmurHash3, written from their definitions."""
    value = 0x811C9DC5
    for byte in f"{small.study.survey_id}/{participant}".encode():
        value = (value ^ byte) * 0x01000193 % 2**32
    value = (value ^ value >> 16) * 0x85EBCA6B % 2**32
    value = (value ^ value >> 13) * 0xC2B2AE35 % 2**32
    return (value ^ value >> 16) % len(small.study.orders)


def open_site(person: "Person", small: "SmallStudy", query: str = "") -> None:
    person.browser.console()
    person.browser.driver.get(f"{small.site.as_uri()}{query}")


def press_one_of(person: "Person", number: int, _: list[str]) -> None:
    person.press("rf"[number % 2])


def wide(browser: "Browser") -> bool:
    return bool(browser.evaluate("document.documentElement.scrollWidth > innerWidth"))


def test_by_mouse_all_answers_reach_the_file(
    small_study: Make, person: "Person", downloads: Downloads
) -> None:
    small = small_study()
    open_site(person, small, "?PROLIFIC_PID=p1&SESSION_ID=s1&STUDY_ID=x")
    person.agree()
    assert "50 % of the pictures are real" in person.text("ul")
    person.start()
    said: dict[str, str] = {}

    def answer(tokens: list[str]) -> None:
        said[tokens[0]] = "real" if len(said) % 3 else "fake"
        person.click(f"button[value={said[tokens[0]]}]")

    person.goes_through(answer)
    person.click("#csv")
    path = downloads(".csv")
    answers = read_answers(path)
    assert path.name == f"{small.study.survey_id}-p1.csv"
    practice = [one.trial for one in small.study.practice]
    shown = [*practice, *small.study.orders[order_of(small, "p1")]]
    assert [(one.token,) for one in answers] == shown
    assert {one.token: one.response for one in answers} == said
    assert [one.trial for one in answers] == [1, 2, 3, 4, 5, 6]
    assert [one.is_practice for one in answers] == [True] * 2 + [False] * 4
    assert {(one.participant, one.session, one.completed) for one in answers} == {
        ("p1", "s1", True)
    }
    assert {one.viewport for one in answers} == {"1280x900"}
    assert all(0 < (one.rt_ms or 0) < 60_000 and one.exposure_ms is None for one in answers)
    assert all(re.fullmatch(r"20\d\d-.*T.*Z", one.onset) for one in answers)
    # To the sign as Python writes the same table.
    assert path.read_text(encoding="utf-8") == answers_csv(answers)
    person.click("#json")
    rounded = answers_csv(read_answers(downloads(".json")))
    assert rounded == answers_csv(answers)
    assert person.browser.console() == []


def test_practice_says_whether_an_answer_was_right(small_study: Make, person: "Person") -> None:
    small = small_study(practice=1)
    token = small.study.practice[0].trial[0]
    assert small.truth(token) == "real"
    for answer, verdict, sign in (("r", "That is right", "yes"), ("f", "That is not right", "no")):
        open_site(person, small, f"?participant={answer}")
        person.agree()
        person.start()
        assert person.is_asked()
        assert person.where() == "Practice 1 of 1"
        person.press(answer)
        assert person.comes_to("feedback")
        assert (person.text("h1"), person.text(".fact")) == (verdict, "This picture is real.")
        assert person.browser.evaluate("document.querySelector('.verdict').dataset.right") == sign
        assert person.shown() == [token]


def test_by_keyboard_alone(small_study: Make, person: "Person", downloads: Downloads) -> None:
    keys = pytest.importorskip("selenium.webdriver").Keys
    small = small_study()
    open_site(person, small)
    assert person.comes_to("consent")
    for key in (keys.TAB, keys.SPACE, keys.TAB, keys.ENTER):
        person.press(key)
    assert person.comes_to("instructions")
    button = "document.querySelector('section:not([hidden]) .main-button')"
    assert person.browser.becomes_true(f"!{button}.disabled")
    for key in (keys.TAB, keys.TAB, keys.ENTER):
        person.press(key)
    assert person.comes_to("trial")
    pressed = []
    for number in range(6):
        assert person.is_asked()
        pressed.append("rF"[number % 2])
        person.press(pressed[-1])
        if number < 2:
            assert person.comes_to("feedback")
            person.press(keys.ENTER)
        if number == 1:
            assert person.comes_to("ready")
            person.press(keys.TAB)
            person.press(keys.ENTER)
    assert person.comes_to("thanks")
    person.press(keys.TAB)
    person.press(keys.ENTER)
    answers = read_answers(downloads(".csv"))
    assert [one.response for one in answers] == ["real", "fake"] * 3
    assert answers[0].participant.startswith("anonymous-")


def test_keys_are_ignored_when_they_are_switched_off_held_down_or_part_of_a_shortcut(
    small_study: Make, person: "Person"
) -> None:
    small = small_study(practice=0)
    open_site(person, small)
    person.agree()
    person.click("#use-keys")
    person.start()
    assert person.is_asked()
    send = (
        "document.body.dispatchEvent(new KeyboardEvent('keydown', {{key: 'r', bubbles: true{}}}))"
    )
    person.browser.evaluate(send.format(""))
    assert person.is_asked()
    assert person.where() == "1 of 4"
    person.browser.evaluate("localStorage.removeItem('impasto-survey-keys')")
    for more in (", repeat: true", ", ctrlKey: true", ", metaKey: true", ", altKey: true"):
        person.browser.evaluate(send.format(more))
        assert person.where() == "1 of 4"
    person.browser.evaluate(send.format(""))
    assert person.browser.becomes_true("document.body.textContent.includes('2 of 4')")


@pytest.mark.parametrize("question", ["real", "fake"])
def test_a_pair_is_chosen_from_by_numbers_arrows_and_by_touch(
    small_study: Make, person: "Person", downloads: Downloads, question: str
) -> None:
    keys = pytest.importorskip("selenium.webdriver").Keys
    small = small_study(protocol="pair", question=question, practice=1, trials=4)
    open_site(person, small)
    person.agree()
    person.start()
    ways = iter(["1", "2", keys.ARROW_LEFT, keys.ARROW_RIGHT, "button[value='2']"])

    def answer(tokens: list[str]) -> None:
        assert len(tokens) == 2
        way = next(ways)
        if way.startswith("button"):
            person.browser.set_view(360, 640, touch=True)
            person.click(way)
        else:
            person.press(way)

    person.goes_through(answer)
    person.click("#csv")
    answers = read_answers(downloads(".csv"))
    first = question
    second = {"real": "fake", "fake": "real"}[question]
    assert [one.response for one in answers] == [first, second, first, second, second]
    order = small.study.orders[order_of(small, answers[0].participant)]
    assert [(one.token, one.other) for one in answers[1:]] == order


def test_a_timed_picture_is_shown_as_long_as_asked_then_masked(
    small_study: Make, person: "Person", downloads: Downloads
) -> None:
    small = small_study(
        protocol="timed", exposure_ms=300, mask_ms=120, practice=1, trials=2, size=(96, 64)
    )
    open_site(person, small)
    person.agree()
    person.start()
    assert person.comes_to("trial")
    # What could be seen, frame by frame, of the first trial.
    person.browser.evaluate("""(() => {
        window.seen = [];
        const screen = document.querySelector("section:not([hidden])");
        const looks = (element) => getComputedStyle(element).visibility === "visible";
        const watch = () => {
            const [picture, mask] = [screen.querySelector("img"), screen.querySelector("canvas")];
            window.seen.push(looks(picture) ? "picture" : looks(mask) ? "mask" : "nothing");
            if (screen.querySelector("fieldset").disabled) requestAnimationFrame(watch);
        };
        watch();
    })()""")
    person.press("r")  # too early: there is nothing to be judged yet
    assert person.is_asked()
    seen = person.browser.evaluate("window.seen")
    parts = [kind for kind, before in zip(seen, ["", *seen], strict=False) if kind != before]
    assert parts in (["nothing", "picture", "mask", "nothing"], ["nothing", "picture", "mask"])
    person.goes_through(lambda _: person.press("f"))
    person.click("#csv")
    answers = read_answers(downloads(".csv"))
    assert len(answers) == 3
    # To a frame; a busy machine may miss some.
    assert all(280 <= (one.exposure_ms or 0) <= 450 for one in answers)
    assert all((one.rt_ms or 0) > (one.exposure_ms or 0) + 100 for one in answers)


def test_a_refresh_in_the_middle_resumes_at_the_right_trial(
    small_study: Make, person: "Person", downloads: Downloads
) -> None:
    small = small_study()
    open_site(person, small)
    person.agree()
    person.browser.driver.refresh()
    person.start()
    for number in range(6):
        assert person.is_asked()
        before = person.where(), person.shown()
        person.browser.driver.refresh()
        assert person.is_asked()
        assert (person.where(), person.shown()) == before
        person.answers(partial(press_one_of, person, number))
        if number < 2:
            assert person.comes_to("feedback")
            person.browser.driver.refresh()
            assert person.comes_to("feedback")
            assert person.text("h1").startswith("That is")
            person.click(".main-button")
        if number == 1:
            assert person.comes_to("ready")
            person.click(".main-button")
    assert person.comes_to("thanks")
    person.browser.driver.refresh()
    assert person.comes_to("thanks")
    person.click("#csv")
    answers = read_answers(downloads(".csv"))
    assert [one.trial for one in answers] == [1, 2, 3, 4, 5, 6]
    assert [one.response for one in answers] == ["real", "fake"] * 3
    assert len({one.token for one in answers}) == 6


def test_two_windows_count_nothing_twice(
    small_study: Make, person: "Person", downloads: Downloads
) -> None:
    small = small_study(practice=0)
    open_site(person, small)
    person.agree()
    person.start()
    assert person.is_asked()
    driver = person.browser.driver
    first = driver.current_window_handle
    driver.switch_to.new_window("tab")
    try:
        driver.get(small.site.as_uri())
        person.answers(lambda _: person.press("f"))
        assert person.where() == "2 of 4"
        driver.switch_to.window(first)
        assert person.is_asked()
        assert person.browser.becomes_true(
            "document.querySelector('section:not([hidden]) .where').textContent === '2 of 4'"
        )
        person.goes_through(lambda _: person.press("r"))
        person.click("#csv")
        responses = [one.response for one in read_answers(downloads(".csv"))]
        assert responses == ["fake", "real", "real", "real"]
    finally:
        for handle in driver.window_handles:
            if handle != first:
                driver.switch_to.window(handle)
                driver.close()
        driver.switch_to.window(first)


def test_the_next_person_at_the_same_device_begins_anew(
    small_study: Make, person: "Person", downloads: Downloads
) -> None:
    small = small_study(practice=0, trials=2)
    open_site(person, small)
    person.agree()
    person.goes_through(lambda _: person.press("r"))
    person.click("#another")
    assert "not downloaded yet" in person.text(".another .status")
    person.click("#csv")
    first = read_answers(downloads(".csv"))
    person.click("#another")
    person.agree()
    person.goes_through(lambda _: person.press("f"))
    person.click("#json")
    second = read_answers(downloads(".json"))
    assert first[0].participant != second[0].participant
    assert [one.response for one in second] == ["fake", "fake"]


@pytest.mark.parametrize(
    "query",
    [
        "?participant=%3Cscript%3Ealert(1)%3C/script%3E",
        "?PROLIFIC_PID=%7B%7B%25PROLIFIC_PID%25%7D%7D",
        "?workerId=a&assignmentId=%22%2C%22",
        "?participant=%3DHYPERLINK(1)",
        f"?participant={'a' * 129}",
    ],
)
def test_an_id_that_no_platform_gives_is_refused(
    small_study: Make, person: "Person", query: str
) -> None:
    open_site(person, small_study(), query)
    assert person.comes_to("message")
    assert "not valid" in person.text("p")
    assert person.browser.console() == []


def test_a_preview_on_mechanical_turk_cannot_begin(small_study: Make, person: "Person") -> None:
    open_site(person, small_study(), "?workerId=w&assignmentId=ASSIGNMENT_ID_NOT_AVAILABLE")
    assert person.comes_to("consent")
    assert "preview" in person.text(".preview")
    assert person.browser.evaluate(
        "document.querySelector('section:not([hidden]) .main-button').disabled"
    )


def test_all_pictures_are_there_before_the_first_trial_and_a_missing_one_is_said(
    small_study: Make, person: "Person"
) -> None:
    small = small_study()
    last = small.folder / small.study.pictures[small.study.orders[0][-1][0]]
    hidden = last.with_suffix(".away")
    last.rename(hidden)
    open_site(person, small)
    person.agree()
    assert person.browser.becomes_true(
        "document.querySelector('section:not([hidden]) .loading button')?.hidden === false"
    )
    assert "could not be loaded" in person.text(".loading p")
    assert person.browser.evaluate(
        "document.querySelector('section:not([hidden]) .main-button').disabled"
    )
    hidden.rename(last)
    person.click(".loading button")
    person.start()
    assert person.is_asked()
    # Without the files, everything is shown still.
    for path in (small.folder / "images").iterdir():
        path.rename(path.with_suffix(".away"))
    person.goes_through(lambda _: person.press("r"))
    assert person.screen() == "thanks"


def test_without_storage_the_study_goes_on_and_says_so(
    small_study: Make, person: "Person", downloads: Downloads
) -> None:
    script = person.browser.driver.execute_cdp_cmd(
        "Page.addScriptToEvaluateOnNewDocument",
        {
            "source": "for (const name of ['getItem', 'setItem', 'removeItem'])"
            " Storage.prototype[name] = () => { throw new Error('off'); };"
        },
    )
    try:
        open_site(person, small_study(practice=0, trials=2))
        assert person.comes_to("consent")
        assert person.browser.evaluate("!document.querySelector('.storage').hidden")
        person.agree()
        person.goes_through(lambda _: person.press("r"))
        person.click("#csv")
        assert len(read_answers(downloads(".csv"))) == 2
    finally:
        person.browser.driver.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", script)


@pytest.mark.parametrize("protocol", ["single", "pair", "timed"])
@pytest.mark.parametrize("view", [(360, 640), (320, 568), (667, 375), (1280, 800)])
def test_nothing_is_cut_off_or_scrolls_sideways(
    small_study: Make, person: "Person", protocol: str, view: tuple[int, int]
) -> None:
    exposure = {"exposure_ms": 50, "mask_ms": 30} if protocol == "timed" else {}
    small = small_study(protocol=protocol, practice=1, trials=1, size=(640, 400), **exposure)
    person.browser.set_view(*view, touch=view[0] < 700)
    open_site(person, small)
    person.agree()
    assert not wide(person.browser)
    person.start()

    def answer(_: list[str]) -> None:
        assert not wide(person.browser)
        boxes = person.browser.evaluate("""[...document.querySelectorAll(
            "section:not([hidden]) .frame, section:not([hidden]) button[name=choice]"
        )].map(e => {
            const box = e.getBoundingClientRect();
            return [box.left, box.top, box.right, box.bottom, box.width];
        })""")
        assert len(boxes) >= 2
        for left, top, right, bottom, width in boxes:
            assert left >= 0
            assert top >= 0
            assert right <= view[0] + 0.5
            assert bottom <= view[1] + 0.5
            assert width >= 44
        ratio = person.browser.evaluate("""(() => {
            const box = document.querySelector("section:not([hidden]) .frame img");
            return box.getBoundingClientRect().width / box.getBoundingClientRect().height;
        })()""")
        assert ratio == pytest.approx(1.6, rel=0.02)
        person.click(f"button[value={'real' if protocol != 'pair' else chr(34) + '2' + chr(34)}]")
        assert not wide(person.browser)

    person.goes_through(answer)
    assert not wide(person.browser)


def luminance(color: str) -> float:
    """Relative luminance (WCAG 2.2) of ``rgb(...)``."""
    parts = [int(part) / 255 for part in re.findall(r"\d+", color)[:3]]
    red, green, blue = [
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    ]
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("dark", [False, True])
def test_text_has_the_contrast_that_wcag_aa_asks_for(
    small_study: Make, person: "Person", *, dark: bool
) -> None:
    small = small_study(practice=1, trials=1)
    person.browser.set_view(1280, 900, dark=dark)
    open_site(person, small)
    # Of each element with a text of its own: its color, and the nearest ground below it.
    script = """[...document.querySelectorAll("section:not([hidden]) *")].filter(e =>
        e.checkVisibility() && !e.matches(":disabled, :disabled *") &&
        [...e.childNodes].some(n => n.nodeType === 3 && n.data.trim())
    ).map(e => {
        let ground = e;
        const of = (element) => getComputedStyle(element).backgroundColor;
        while (ground && of(ground) === "rgba(0, 0, 0, 0)") ground = ground.parentElement;
        return [e.textContent, getComputedStyle(e).color, of(ground || document.documentElement)];
    })"""
    looked = 0

    def look() -> None:
        nonlocal looked
        for text, ink, ground in person.browser.evaluate(script):
            low, high = sorted([luminance(ink), luminance(ground)])
            assert (high + 0.05) / (low + 0.05) >= 4.5, (text, ink, ground)
            looked += 1

    def answer(_: list[str]) -> None:
        look()
        red, green, blue = re.findall(
            r"\d+",
            person.browser.evaluate(
                "getComputedStyle(document.querySelector('section:not([hidden])')).backgroundColor"
            ),
        )[:3]
        assert red == green == blue
        person.press("r")
        if person.comes_to("feedback"):
            look()

    assert person.comes_to("consent")
    look()
    person.agree()
    look()
    person.start()
    assert person.is_asked()
    answer([])
    person.click(".main-button")
    assert person.comes_to("ready")
    look()
    person.click(".main-button")
    assert person.is_asked()
    person.press("r")
    assert person.comes_to("thanks")
    look()
    assert looked > 25


def test_every_control_has_a_name_and_focus_can_be_seen(
    small_study: Make, person: "Person"
) -> None:
    open_site(person, small_study())
    tree = person.browser.driver.execute_cdp_cmd("Accessibility.getFullAXTree", {})
    assert tree["nodes"]
    person.agree()
    person.start()
    assert person.is_asked()
    nodes = person.browser.driver.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    named = {
        (node["role"]["value"], node["name"]["value"])
        for node in nodes
        if not node["ignored"] and "name" in node
    }
    assert {("button", "Real"), ("button", "Fake"), ("image", "The picture to judge")} <= named
    assert ("group", "Is this picture real or fake?") in named
    assert not [role for role, name in named if role in ("button", "image") and not name]
    person.press(pytest.importorskip("selenium.webdriver").Keys.TAB)
    style = "getComputedStyle(document.activeElement)"
    assert person.browser.evaluate(f"{style}.outlineStyle") == "solid"
    assert person.browser.evaluate(f"parseFloat({style}.outlineWidth)") >= 2


def test_it_runs_under_a_strict_policy_on_any_static_host(
    small_study: Make, person: "Person"
) -> None:
    asked: list[str] = []

    class Strict(SimpleHTTPRequestHandler):
        def end_headers(self) -> None:
            self.send_header(
                "Content-Security-Policy",
                "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:",
            )
            super().end_headers()

        def log_message(self, *_: object) -> None:
            asked.append(self.path)

    small = small_study()
    host = ThreadingHTTPServer(("127.0.0.1", 0), partial(Strict, directory=str(small.folder)))
    threading.Thread(target=host.serve_forever, daemon=True).start()
    try:
        person.browser.console()
        person.browser.driver.get(f"http://127.0.0.1:{host.server_port}/?participant=p")
        person.agree()
        person.goes_through(lambda _: person.press("r"))
        assert person.browser.console() == []
    finally:
        host.shutdown()
        host.server_close()
    known = {"/?participant=p", "/survey.css", "/survey.js"}
    assert set(asked) == known | {f"/{path}" for path in small.study.pictures.values()}


def test_nothing_in_it_tells_the_truth_but_of_practice(
    small_study: Make, parse_page: Callable[[Path], "Page"]
) -> None:
    small = small_study()
    page = parse_page(small.site)
    assert [e.attributes.get("src") for e in page.find("script") if not e.text] == ["survey.js"]
    assert {e.attributes["type"] for e in page.find("script") if e.text} == {"application/json"}
    assert not [e for e in page.elements if "style" in e.attributes or "onclick" in e.attributes]
    (study,) = page.find("script", id="study")
    stored = json.loads(study.text)
    assert stored == {**json.loads((small.folder / "study.json").read_text()), "texts": {}}
    assert set(stored) == set(small.study.as_dict())
    for name in ("index.html", "study.json", "survey.js", "survey.css"):
        text = (small.folder / name).read_text(encoding="utf-8")
        assert "secret" not in text.replace("secrets", "")
        for token, one in small.key.pictures.items():
            assert one.source_sha256 not in text
            if one.kind != "practice":
                near = re.findall(rf"[^\[\]]{{0,60}}{token}[^\[\]]{{0,60}}", text)
                assert not [place for place in near if re.search(r'"(real|fake)"', place)]


def test_a_translation_is_shown_and_cannot_break_out(
    small_study: Make, person: "Person", tmp_path: Path
) -> None:
    path = tmp_path / "mine.yaml"
    attack = "</script><script>alert(1)</script><img src=x onerror=alert(2)>"
    path.write_text(
        f"title: Echt?\nanswer_real: Echt\nkey_real: E\nfeedback_right: {attack}\n"
        f"consent_heading: '{attack}'\n",
        encoding="utf-8",
    )
    small = small_study(texts=read_texts(path))
    open_site(person, small)
    assert person.comes_to("consent")
    assert person.text("h1") == attack
    person.agree()
    person.start()
    assert person.is_asked()
    assert person.text("button[value=real]").split() == ["Echt", "E"]
    person.press("e")
    assert person.comes_to("feedback")
    assert person.text("h1") == attack
    assert person.browser.console() == []


def test_without_scripts_it_says_what_is_needed(
    small_study: Make, person: "Person", parse_page: Callable[[Path], "Page"]
) -> None:
    small = small_study()
    assert "needs JavaScript" in parse_page(small.site).find("noscript")[0].text
    person.browser.set_scripts(enabled=False)
    open_site(person, small)
    assert "needs JavaScript" in person.browser.evaluate("document.querySelector('main').innerText")


def test_a_site_is_the_same_when_written_again(small_study: Make, tmp_path: Path) -> None:
    small = small_study()
    write_site(tmp_path, small.study)
    for name in ("index.html", "survey.js", "survey.css", "study.json"):
        assert (tmp_path / name).read_bytes() == (small.folder / name).read_bytes()
