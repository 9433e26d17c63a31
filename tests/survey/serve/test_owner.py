"""The owner's pages: results so far, the table, and whom they refuse."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from impasto.survey.answers import answers_csv
from impasto.survey.serve.owner import results_page
from impasto.survey.staircase import Staircase

if TYPE_CHECKING:
    pass
from tests.survey.serve.visits import Make, Running, Visit


def test_results_are_for_the_owner_alone(run_app: Callable[..., Running]) -> None:
    running = run_app(trials=6)
    assert "none" in running.client().get(running.results).text
    always = Visit(running)
    always.agree()
    always.goes_through(lambda _: "real")
    right = Visit(running)
    right.agree()
    right.goes_through(lambda form: running.small.truth(Path(form.pictures[0]).stem))
    half = Visit(running)
    half.agree()
    page = running.client().get(running.results).text
    cells = [re.sub(r"<[^>]+>|\s+", " ", row) for row in page.split("<tr>")]
    rows = {" ".join(row.split()[:-3][:2]): row.split() for row in cells}
    assert rows["Real pictures"][2:4] == ["6", "100%"]
    fakes = [row for row in cells if "secretgan" in row]
    # One of the two people was fooled by each fake: 1 of 2 answers, or 2 of 4.
    assert fakes
    assert all(row.split()[2] == "50%" for row in fakes)
    assert re.search(r"<dt>Begun</dt>\s*<dd>3</dd>", page)
    assert re.search(r"<dt>Completed</dt>\s*<dd>2</dd>", page)
    table = running.client().get(f"{running.results}/answers.csv")
    assert table.text == answers_csv(running.database.answers())
    assert "/secret" not in page
    assert 'href="../survey.css"' in page
    guesser = running.client()
    codes = [guesser.get(f"{running.results[:-1]}!").status_code for _ in range(6)]
    assert codes == [404, 404, 404, 429, 429, 429]
    assert running.client().get(running.results).status_code == 200


def test_rates_can_be_hidden_until_enough_people_are_through(
    run_app: Callable[..., Running],
) -> None:
    running = run_app(practice=0)
    shown = []
    for _ in range(3):
        visit = Visit(running)
        visit.agree()
        visit.goes_through(lambda _: "real")
        page = results_page(running.sessions, running.small.key, "x", hide_rates_until=3)
        assert "Completed" in page
        shown.append("secretgan" in page)
        assert shown[-1] != ("hidden until 3 sessions" in page)
    assert shown == [False, False, True]


def test_results_of_a_staircase_name_its_score(run_app: Callable[..., Running]) -> None:
    running = run_app(
        protocol="timed", exposure_ms=500, practice=0, trials=4, staircase=Staircase()
    )
    visit = Visit(running)
    visit.agree()
    visit.send()
    asked = []
    while visit.form.screen == "trial":
        asked.append(re.findall(r'data-exposure="(\d+)"', visit.replies[-1].text)[0])
        truth = running.small.truth(Path(visit.form.pictures[0]).stem)
        visit.send(choice=truth, exposure_ms="500")
    assert asked == ["500", "490", "480", "470"]
    page = running.client().get(running.results).text
    assert re.search(r"<dt>Mean of modal exposures</dt>\s*<dd>485 ms</dd>", page)


def test_an_attention_check_is_counted_apart(
    run_app: Callable[..., Running], small_study: Make
) -> None:
    small = small_study(practice=0, trials=3, attention_checks=1)
    token = small.study.orders[0][0][0]
    pictures = dict(small.key.pictures)
    pictures[token] = replace(pictures[token], kind="attention", label="fake", generator="")
    running = run_app(replace(small, key=replace(small.key, pictures=pictures)))
    visit = Visit(running)
    visit.agree()
    visit.goes_through(lambda _: "fake")
    page = re.sub(r"<[^>]+>|\s+", " ", running.client().get(running.results).text)
    assert re.search(r"Attention checks done as asked +1 +100%", page)
