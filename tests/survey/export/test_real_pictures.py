"""A whole study of real photographs: train, translate, export, take it twice, import, report."""

import json
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from impasto.scripts.main import main
from impasto.survey.answers import read_answers
from impasto.survey.key import Key, read_key

if TYPE_CHECKING:
    from tests.survey.conftest import Person

PER_CLASS = 8


@pytest.fixture
def folders(monet2photo: Path, tmp_path: Path) -> tuple[Path, Path]:
    """Photographs, and other photographs as a briefly trained CycleGAN paints them."""
    photographs = sorted((monet2photo / "testB").iterdir())
    for name, some in (("real", photographs[:12]), ("inputs", photographs[-12:])):
        (tmp_path / name).mkdir()
        for path in some:
            shutil.copy(path, tmp_path / name)
    where = ["--checkpoints_dir", str(tmp_path), "--name", "brief", "--display", "none"]
    sizes = ["--load_size", "72", "--crop_size", "64", "--max_images", "8"]
    data = ["--dataroot", str(monet2photo), "--num_threads", "0", "--cache_images", "false"]
    assert main(["train", "--config", "tiny", *where, *sizes, *data]) == 0
    painted = tmp_path / "painted"
    words = ["--model", str(tmp_path / "brief"), "--direction", "BtoA", "--output", str(painted)]
    assert main(["translate", str(tmp_path / "inputs"), *words]) == 0
    return tmp_path / "real", painted


def truthful(person: "Person", key: Key, tokens: list[str]) -> None:
    """Answer by the key, but take every third fake, by its name, for real."""
    truth = key.pictures[tokens[0]]
    fooled = truth.kind == "scored" and truth.label == "fake" and _number(key, tokens[0]) % 3 == 0
    person.click(f"button[value={'real' if fooled else truth.label}]")


def _number(key: Key, token: str) -> int:
    fakes = [one for one, said in key.pictures.items() if said.label == "fake"]
    return sorted(fakes).index(token)


def with_refreshes(person: "Person", answer: Callable[[list[str]], None]) -> Any:
    """Return a way to answer that loads the page anew before the fifth and the ninth answer."""
    count = iter(range(1000))

    def answered(tokens: list[str]) -> None:
        if next(count) in {5, 9}:
            before = person.where()
            person.browser.driver.refresh()
            assert person.is_asked()
            assert (person.where(), person.shown()) == (before, tokens)
        answer(tokens)

    return answered


def take_from_disk(person: "Person", study: Path, answer: Callable[[list[str]], None]) -> None:
    person.browser.set_view(1280, 900)
    person.browser.console()
    person.browser.driver.get(f"{(study / 'index.html').as_uri()}?PROLIFIC_PID=desk")
    person.agree()
    person.goes_through(with_refreshes(person, answer))
    person.click("#csv")


def take_from_server(person: "Person", server: Any, answer: Callable[[list[str]], None]) -> None:
    """Answer at a phone; the server is killed after ten answers."""
    person.browser.set_view(360, 740, touch=True)
    person.browser.driver.get(f"{server.url}?PROLIFIC_PID=phone")
    person.agree()
    killed: list[int] = []

    def with_a_kill(tokens: list[str]) -> None:
        if len(server.answers()) == 10 and not killed:
            server.kill()
            killed.append(len(server.answers()))
            server.start()
        answer(tokens)

    person.goes_through(with_refreshes(person, with_a_kill))
    assert killed == [10]
    assert person.browser.evaluate("document.documentElement.scrollWidth <= innerWidth")
    server.stop()


def test_from_training_to_report(
    folders: tuple[Path, Path],
    tmp_path: Path,
    person: "Person",
    survey_server: Callable[..., Any],
    downloads: Callable[[str], Path],
) -> None:
    real, painted = folders
    study, key_path = tmp_path / "study", tmp_path / "study.key.json"
    words = ["--real", str(real), "--fake", f"brief={painted}", "--output", str(study)]
    assert main(["survey", "export", *words, "--per_class", str(PER_CLASS), "--orders", "10"]) == 0
    key = read_key(key_path)
    for one in key.pictures.values():  # and not the photographs that the page of results shows
        assert one.kind == "attention" or Path(one.source).parent in (real, painted)
    answer = partial(truthful, person, key)
    take_from_disk(person, study, answer)
    server = survey_server(SimpleNamespace(folder=study, key_path=key_path))
    take_from_server(person, server, answer)

    table = tmp_path / "answers.csv"
    sources = [str(downloads(".csv")), str(server.database)]
    with_key = ["--key", str(key_path)]
    assert main(["survey", "import", *sources, *with_key, "--output", str(table)]) == 0
    answers = read_answers(table)
    for participant in ("desk", "phone"):
        tokens = [one.token for one in answers if one.participant == participant]
        assert sorted(tokens) == sorted(key.pictures)
    look_at_report(person, table, key, ["--study", str(study), *with_key])


def look_at_report(person: "Person", table: Path, key: Key, words: list[str]) -> None:
    report = table.with_name("report")
    # These hands are quicker than a person's.
    words = [*words, "--output", str(report), "--min_rt_ms", "0", "--resamples", "1000"]
    assert main(["survey", "report", str(table), *words]) == 0
    results = json.loads((report / "results.json").read_text(encoding="utf-8"))
    fooled = sum(
        one.label == "fake" and one.kind == "scored" and _number(key, token) % 3 == 0
        for token, one in key.pictures.items()
    )
    rate = results["after"]["called_real"]["brief"]["value"]
    assert rate == pytest.approx(fooled / PER_CLASS)
    person.browser.set_view(1280, 900)
    person.browser.open(report / "index.html")
    person.browser.evaluate("[...document.images].forEach(i => { i.loading = 'eager'; })")
    assert person.browser.becomes_true(
        "[...document.images].every(i => i.complete && i.naturalWidth > 0)"
    )
    assert person.browser.evaluate("document.images.length") >= 2 * PER_CLASS
    assert person.browser.console() == []
