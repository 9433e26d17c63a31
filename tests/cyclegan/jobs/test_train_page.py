"""The report page of a real training on real pictures, in a real browser."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from impasto.cyclegan import train
from impasto.options import TrainOptions
from impasto.runs import read_log

if TYPE_CHECKING:
    from tests.browser import Browser

EPOCHS = 3
ARROW_LEFT = "\ue012"
LOADED = """
    Promise.all([...document.images].map((image) => image.decode().then(() => image.naturalWidth)))
"""


@pytest.mark.slow
def test_report_of_a_real_run(
    tiny_options: Callable[..., TrainOptions], monet2photo: Path, browser: "Browser"
) -> None:
    options = tiny_options(
        dataroot=monet2photo,
        max_dataset_size=8,
        load_size=72,
        crop_size=64,
        ngf=8,
        ndf=8,
        print_freq=2,
        display_freq=4,
        n_epochs=EPOCHS - 1,
        n_epochs_decay=1,
        display="page",
    )
    directory = train(options).directory
    index = directory / "web" / "index.html"
    records = read_log(directory / "log.jsonl")
    assert len(records) == EPOCHS * 4

    browser.open(index)
    lead = browser.evaluate("document.querySelector('.lead').textContent")
    assert lead == "Finished: epoch 3 of 3, image 24 of 24"
    assert browser.evaluate(LOADED) == [64] * 8
    assert not browser.evaluate("document.querySelector('noscript, #silent, .error')")
    _check_curves(browser, dict(records[-1]["losses"]))
    _check_slider(browser)
    urls = browser.evaluate(
        "[...document.querySelectorAll('[src], [href]')].map((e) => e.src || e.href)"
    )
    assert all(url.startswith(("file:", "data:")) for url in urls)
    for width in (390, 1280):
        for dark in (False, True):
            browser.set_view(width, 844, dark=dark, touch=width < 500)
            assert browser.evaluate("document.documentElement.scrollWidth") <= width
    assert browser.console() == []


def _check_curves(browser: "Browser", latest: dict[str, float]) -> None:
    """Each loss has a curve that is drawn, and its latest value in the key."""
    drawn = browser.evaluate("""
        Object.fromEntries([...document.querySelectorAll('.losses path[data-name]')].map((path) => {
            const box = path.getBoundingClientRect();
            return [path.dataset.name, Math.min(box.width, box.height)];
        }))
    """)
    assert drawn.keys() == latest.keys()
    assert all(extent > 5 for extent in drawn.values())
    values = browser.evaluate("""
        Object.fromEntries([...document.querySelectorAll('.losses .key')].map(
            (key) => [key.textContent.trim().split(/\\s+/)[0], key.querySelector('b').textContent]
        ))
    """)
    assert {name: float(text) for name, text in values.items()} == {
        name: pytest.approx(value, rel=6e-3) for name, value in latest.items()
    }


def _check_slider(browser: "Browser") -> None:
    """The slider goes back through the epochs, and their pictures load."""
    slider = browser.driver.find_element("id", "epoch")
    seen = {browser.evaluate("document.images[1].getAttribute('src')")}
    for _ in range(EPOCHS - 1):
        slider.send_keys(ARROW_LEFT)
        seen.add(browser.evaluate("document.images[1].getAttribute('src')"))
        assert browser.evaluate(LOADED) == [64] * 8
    names = {source.split("?")[0] for source in seen}
    assert names == {f"images/epoch{epoch:03d}_fake_B.png" for epoch in range(1, EPOCHS + 1)}
