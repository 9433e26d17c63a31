"""Clicks and keys in the site: no honest answer is lost, no double click answers two trials."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.survey.conftest import Person, SmallStudy

Make = Callable[..., "SmallStudy"]


def open_site(person: "Person", small: "SmallStudy", query: str = "") -> None:
    person.browser.driver.get(f"{small.site.as_uri()}{query}")


def test_keys_are_found_on_a_keyboard_of_another_script(
    small_study: Make, person: "Person"
) -> None:
    open_site(person, small_study(practice=0))
    person.agree()
    person.start()
    send = "document.dispatchEvent(new KeyboardEvent('keydown', {{key: '{}', code: 'KeyR'}}))"
    assert person.is_asked()
    person.browser.evaluate(send.format("p"))  # the same key of a Dvorak keyboard, with a letter
    assert person.where() == "1 of 4"
    person.browser.evaluate(send.format("\u043a"))  # of a Russian one
    assert person.browser.becomes_true("document.body.textContent.includes('2 of 4')")


def test_a_double_click_answers_once(small_study: Make, person: "Person") -> None:
    webdriver = pytest.importorskip("selenium.webdriver")
    small = small_study(practice=0)
    open_site(person, small)
    person.agree()
    person.start()
    assert person.is_asked()
    button = person.browser.driver.find_element(
        "css selector", "section:not([hidden]) button[value=real]"
    )
    webdriver.ActionChains(person.browser.driver).double_click(button).perform()
    assert person.is_asked()
    assert person.where() == "2 of 4"


def test_a_double_click_in_practice_leaves_the_feedback_to_be_read(
    small_study: Make, person: "Person"
) -> None:
    open_site(person, small_study())
    person.agree()
    person.start()
    assert person.is_asked()
    # Its second half meets the button that goes on, wherever that stands.
    click = "new MouseEvent('click', {{bubbles: true, cancelable: true, detail: {}}})"
    person.browser.evaluate(
        "document.querySelector('section:not([hidden]) button[value=real]')"
        f".dispatchEvent({click.format(1)}); new Promise(done => setTimeout(done, 100))"
    )
    assert person.comes_to("feedback")
    button = "document.querySelector('section:not([hidden]) .main-button')"
    said = person.browser.evaluate(f"{button}.dispatchEvent({click.format(2)})")
    assert said is False
    assert person.screen() == "feedback"
    person.browser.evaluate("new Promise(done => setTimeout(done, 500))")
    person.browser.evaluate(f"{button}.dispatchEvent({click.format(2)})")
    assert person.comes_to("trial")


def test_a_second_click_at_once_is_an_answer_to_the_next_picture(
    small_study: Make, person: "Person"
) -> None:
    """Systems call it a double click where it follows within their time, on whatever there is."""
    open_site(person, small_study(practice=0))
    person.agree()
    person.start()
    driver = person.browser.driver
    for number in range(1, 5):
        assert person.is_asked()
        assert person.where() == f"{number} of 4"
        box = driver.find_element("css selector", "section:not([hidden]) button[value=real]").rect
        place = {"x": box["x"] + 20, "y": box["y"] + 20, "button": "left"}
        for kind in ("mousePressed", "mouseReleased"):
            event = {"type": kind, "clickCount": number, **place}
            driver.execute_cdp_cmd("Input.dispatchMouseEvent", event)
        next_one = f"!document.querySelector('.where').textContent.startsWith('{number}')"
        assert number == 4 or person.browser.becomes_true(next_one)
    assert person.comes_to("thanks")


HELD = """(() => {
  let open;
  const gate = new Promise((done) => { open = done; });
  window.openGate = () => open();
  const decode = Image.prototype.decode;
  Image.prototype.decode = function () { return gate.then(() => decode.call(this)); };
})()"""


@pytest.mark.parametrize("protocol", ["single", "pair"])
def test_no_trial_looks_open_before_its_pictures_are_there(
    small_study: Make, person: "Person", protocol: str
) -> None:
    """A machine that is slow to decode, as after a reload: a click would have been passed over."""
    open_site(person, small_study(practice=0, protocol=protocol), "?participant=p")
    person.agree()
    person.start()
    assert person.is_asked()
    driver = person.browser.driver
    held = driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": HELD})
    try:
        driver.refresh()
        assert person.comes_to("trial")
        answers = "document.querySelector('section:not([hidden]) fieldset.answers')"
        for _ in range(20):
            assert person.browser.evaluate(f"{answers}.disabled")
        person.browser.evaluate("openGate()")
        person.answers(lambda _: person.click("button[name=choice]"))
    finally:
        driver.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", held)


@pytest.mark.parametrize("protocol", ["single", "pair"])
def test_pictures_that_do_not_load_are_tried_again_in_a_trial(
    small_study: Make, person: "Person", protocol: str
) -> None:
    small = small_study(practice=0, protocol=protocol)
    open_site(person, small, "?participant=p")
    person.agree()
    person.start()
    assert person.is_asked()
    images = small.folder / "images"
    images.rename(small.folder / "away")
    person.browser.driver.refresh()
    button = "document.querySelector('section:not([hidden]) .loading button')"
    assert person.browser.becomes_true(f"!{button}.hidden", seconds=30)
    (small.folder / "away").rename(images)
    person.click(".loading button")
    person.answers(lambda _: person.click("button[name=choice]"))
