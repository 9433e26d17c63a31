"""The owner's side of the server: everything that needs the answer key.

These are the page of results so far with its table of answers, and the staircase, which depends on
whether an answer was correct. Participants' pages are made by ``app`` and ``pages``, which never
read the key.
"""

import hmac
import math
from collections.abc import Sequence

from dominate import tags
from flask import Flask, Response, request

from impasto.survey import screens
from impasto.survey.answers import Answer, answers_csv
from impasto.survey.key import Key
from impasto.survey.protocols import opposite
from impasto.survey.serve.app import error_reply, html_reply, wait_reply
from impasto.survey.serve.connections import network_of
from impasto.survey.serve.pages import Pages
from impasto.survey.serve.requests import RateLimit
from impasto.survey.serve.sessions import NextExposure, ScoredResponse, Sessions
from impasto.survey.staircase import Staircase, modal_exposure
from impasto.survey.texts import Words

__all__ = ["add_owner_pages", "exposures_by_key", "results_page"]


def exposures_by_key(staircase: Staircase, key: Key) -> NextExposure:
    """Return a function from a session's responses to its next exposure in milliseconds."""

    def next_exposure(responses: Sequence[ScoredResponse]) -> int:
        return staircase.exposure_ms(
            response == key.pictures[token].label
            for token, response in responses
            if key.pictures[token].kind == "scored"
        )

    return next_exposure


def add_owner_pages(
    app: Flask,
    key: Key,
    sessions: Sessions,
    pages: Pages,
    guesses: RateLimit,
    *,
    hide_rates_until: int = 0,
) -> None:
    """Add the owner's pages to the application, at an address that only the owner knows.

    Args:
        app: application made by :func:`impasto.survey.serve.app.create_app`.
        key: answer key of the study.
        sessions: sessions of the study.
        pages: page renderer, for error pages.
        guesses: rate limit per visitor for requests with a wrong owner's address.
        hide_rates_until: number of completed sessions before which no rates are shown.
    """

    def refusal(token: str) -> Response | None:
        expected = sessions.results_token()
        if hmac.compare_digest(token.encode(), expected.encode()):
            return None
        wait = guesses.wait(network_of(request.remote_addr))
        return wait_reply(pages, wait) if wait else error_reply(pages, 404, "error_missing")

    def results(token: str) -> Response:
        """Show the results so far."""
        if (refused := refusal(token)) is not None:
            return refused
        page = results_page(
            sessions, key, f"{token}/answers.csv", hide_rates_until=hide_rates_until
        )
        return html_reply(page)

    def table(token: str) -> Response:
        """Send all answers so far as CSV."""
        if (refused := refusal(token)) is not None:
            return refused
        reply = Response(answers_csv(sessions.database.answers()), mimetype="text/csv")
        reply.headers["Content-Disposition"] = "attachment; filename=answers.csv"
        return reply

    app.add_url_rule("/results/<token>", "results", results, methods=["GET"])
    app.add_url_rule("/results/<token>/answers.csv", "table", table, methods=["GET"])


def results_page(sessions: Sessions, key: Key, table: str, *, hide_rates_until: int = 0) -> str:
    """Return the results page, in English; it is for the owner only, since it uses the key.

    Args:
        sessions: sessions of the study.
        key: answer key of the study.
        table: relative URL of the CSV table of all answers.
        hide_rates_until: number of completed sessions before which no rates are shown.
    """
    words = Words(sessions.study)
    page = screens.document(words, mode="results", base="../")
    page.title = f"Results so far: {sessions.study.survey_id}"
    page["lang"], page["dir"] = "en", "ltr"
    answers = sessions.database.answers()
    (row,) = sessions.database.read("SELECT count(completed) AS completed FROM sessions")
    is_hidden = row["completed"] < hide_rates_until
    page.main.add(
        tags.section(
            tags.h1("Results so far"),
            tags.p(f"Study {sessions.study.survey_id}; nothing is excluded yet.", cls="quiet"),
            _facts(sessions, answers, key, hide_score=is_hidden),
            tags.p(f"Rates are hidden until {hide_rates_until:,} sessions are completed.")
            if is_hidden
            else _rates(sessions, answers, key),
            tags.p(
                "Intervals are Wilson's, 95 %, as if all answers were independent; those of the "
                "same person are not. ",
                tags.code("impasto survey report"),
                " takes this into account. Looking at results before a study is complete, and "
                "stopping when they please, makes them wrong.",
                cls="quiet",
            ),
            tags.p(
                tags.a("Download all answers so far", href=table, cls="plain-button"),
            ),
            cls="screen reading results",
            data_screen="results",
        )
    )
    return str(page.render(indent=""))


def _facts(
    sessions: Sessions, answers: list[Answer], key: Key, *, hide_score: bool
) -> tags.html_tag:
    rows = sessions.database.read(
        "SELECT count(*) AS begun, count(completed) AS completed, max(started) AS latest "
        "FROM sessions"
    )
    times = sorted(
        answer.rt_ms for answer in answers if answer.rt_ms is not None and not answer.is_practice
    )
    asked = sessions.database.read(
        "SELECT number, token, asked_ms FROM answers "
        "WHERE asked_ms IS NOT NULL AND NOT is_practice ORDER BY number, trial"
    )
    facts = {
        "Begun": f"{rows[0]['begun']:,}",
        "Completed": f"{rows[0]['completed']:,}",
        "Answers that count": f"{sum(not answer.is_practice for answer in answers):,}",
        "Median time of an answer": f"{times[len(times) // 2] / 1000:.1f} s" if times else "none",
        "Last arrival, UTC": (rows[0]["latest"] or "none")[:16].replace("T", " "),
    }
    if sessions.has_staircase and asked and not hide_score:
        blocks: dict[int, list[int]] = {}
        scored = (row for row in asked if key.pictures[row["token"]].kind == "scored")
        for row in scored:
            blocks.setdefault(row["number"], []).append(row["asked_ms"])
        modes = [mode for block in blocks.values() if (mode := modal_exposure(block)) is not None]
        facts["Mean of modal exposures"] = f"{sum(modes) / len(modes):.0f} ms"
    pairs = (tags.div(tags.dt(name), tags.dd(value)) for name, value in facts.items())
    return tags.dl(*pairs, cls="facts")


def _rates(sessions: Sessions, answers: list[Answer], key: Key) -> tags.html_tag:
    groups: dict[str, list[bool]] = {name: [] for name in ["real", *key.generators]}
    checks: list[bool] = []
    for answer in answers:
        for token, response in _judged(answer):
            truth = key.pictures.get(token)
            if truth is None or truth.kind == "practice":
                continue
            if truth.kind == "attention":
                checks.append(response == truth.label)
            else:
                groups[truth.generator or "real"].append(response == "real")
    body = tags.tbody()
    for name, called_real in groups.items():
        label = "Real pictures" if name == "real" else name
        body.add(_row(label, sum(called_real), len(called_real)))
    if sessions.study.attention_checks:
        body.add(_row("Attention checks done as asked", sum(checks), len(checks)))
    head = tags.tr(
        *(tags.th(heading, scope="col") for heading in ("", "Answers", "Called real", "95 %"))
    )
    return tags.table(tags.thead(head), body, cls="rates")


def _judged(answer: Answer) -> list[tuple[str, str]]:
    pair = [(answer.token, str(answer.response))]
    if answer.other:
        pair.append((answer.other, opposite(answer.response)))
    return pair


def _row(label: str, count: int, total: int) -> tags.html_tag:
    from impasto.survey.rates import Rate  # noqa: PLC0415 - SciPy takes a second to import

    rate = Rate(count=count, n=total)
    interval = rate.wilson()
    share = "" if math.isnan(rate.share) else f"{rate.share:.0%}"
    spread = f"{interval.low:.0%} to {interval.high:.0%}" if interval else ""
    cells = (tags.td(text) for text in (f"{total:,}", share, spread))
    return tags.tr(tags.th(label, scope="row"), *cells)
