"""The screens of a study as HTML, the same for the site that works from disk and for the server.

A screen is one ``<section>`` in ``<main>``, with at most one form. Without JavaScript the form is
submitted normally; ``page/survey.js`` intercepts it, measures, and shows the next screen in place.
There are no inline styles or scripts, so that a strict Content-Security-Policy can be used.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import dominate
from dominate import tags
from dominate.util import raw

from impasto.survey.study import Step, Study
from impasto.survey.texts import Words

__all__ = [
    "consent",
    "data_block",
    "document",
    "feedback",
    "instructions",
    "leave_form",
    "message",
    "ready",
    "thanks",
    "trial_screen",
]

# Texts that the script shows.
_SCRIPT_TEXTS = (
    "another_unsaved",
    "answer_now",
    "connection_lost",
    "feedback_first_fake",
    "feedback_first_real",
    "feedback_is_fake",
    "feedback_is_real",
    "feedback_right",
    "feedback_wrong",
    "get_ready",
    "key_fake",
    "key_real",
    "loading",
    "loading_failed",
    "practice_where",
    "saving",
    "trial_where",
    "try_again",
)

Fields = Mapping[str, str | int]

_EMPTY = Step(screen="trial")


def document(words: Words, *, mode: str, base: str = "") -> dominate.document:
    """Create a page without screens; add them to its ``main``.

    Args:
        words: texts of the study.
        mode: ``site`` or ``server``, which determines where ``survey.js`` keeps the answers, or
            ``results``.
        base: relative URL from the page to the folder of the style sheet, such as ``../``.
    """
    page = dominate.document(words("title"), lang=words("language"))
    page["dir"] = words("direction")
    page["data-mode"] = mode
    # First in the file: browsers look for the encoding in its first 1024 bytes.
    page.head.children[:0] = [tags.meta(charset="utf-8")]
    page.head.add(
        tags.meta(name="viewport", content="width=device-width, initial-scale=1"),
        tags.meta(name="color-scheme", content="light dark"),
        tags.meta(name="robots", content="noindex"),
        tags.meta(name="referrer", content="no-referrer"),
        # An empty icon: the browser would ask a server for /favicon.ico otherwise.
        tags.link(rel="icon", href="data:,"),
        tags.link(rel="stylesheet", href=f"{base}survey.css"),
        # Not deferred: it marks the page as scripted before anything is drawn.
        tags.script(src=f"{base}survey.js"),
    )
    page.main = page.main.add(tags.main(id="main"))
    texts = {name: words(name, number="{number}", total="{total}") for name in _SCRIPT_TEXTS}
    page.footer.add(data_block("texts", texts))
    return page


def data_block(name: str, content: Any) -> tags.html_tag:
    """Return a JSON block for the script; browsers do not execute it, so a CSP allows it."""
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
    return tags.script(raw(text), type="application/json", id=name)


def consent(words: Words, *, fields: Fields | None = None, problem: str = "") -> tags.html_tag:
    """Return the first screen: description of the study, and request for consent."""
    return _reading(
        "consent",
        words("consent_heading"),
        tags.p(problem, cls="problem", role="alert") if problem else None,
        *_paragraphs(words, "consent_text"),
        tags.p(words("preview"), cls="notice preview", hidden=True),
        tags.p(words("storage_off"), cls="notice storage", hidden=True),
        _form(
            "begin",
            fields,
            tags.label(
                tags.input_(type="checkbox", name="agree", value="yes", required=True),
                tags.span(words("consent_agree")),
                cls="check",
            ),
            _main_button(words("consent_begin")),
        ),
    )


def instructions(
    study: Study, words: Words, *, fields: Fields | None = None, varying_exposure: bool = False
) -> tags.html_tag:
    """Return the instructions, including the declared share of real pictures."""
    rules, limited = study.rules, study.exposure_ms is not None or varying_exposure
    names = [
        rules.instructions.format(question=study.question),
        "instructions_meaning",
        rules.share,
        "instructions_practice" if study.practice else "instructions_trials",
        "instructions_attention" if study.attention_checks else "",
        "instructions_final",
        "" if limited else "instructions_no_limit",
    ]
    return _reading(
        "instructions",
        words("instructions_heading"),
        tags.ul(*(tags.li(words(name)) for name in names if name), cls="points"),
        tags.div(
            tags.p(words(rules.keys)),
            tags.label(
                tags.input_(type="checkbox", id="use-keys", checked=True),
                tags.span(words("use_keys")),
                cls="check",
            ),
            cls="keys needs-js",
        ),
        _loading(words),
        _form(
            "next",
            fields,
            _main_button(
                words("instructions_start_practice" if study.practice else "instructions_start")
            ),
        ),
        tags.noscript(tags.p(words("no_javascript"), cls="notice")) if limited else None,
    )


def trial_screen(
    study: Study,
    words: Words,
    *,
    step: Step = _EMPTY,
    urls: Sequence[str] = (),
    fields: Fields | None = None,
    exposure_ms: int | None = None,
) -> tags.html_tag:
    """Return the screen of a trial; without ``step``, the template that the script fills.

    Args:
        study: public side of the study.
        words: texts of the study.
        step: step of the trial.
        urls: URLs of the pictures of the trial.
        fields: hidden fields that the form sends besides the answer.
        exposure_ms: time for which the pictures are shown, milliseconds; None: until the answer.
    """
    question = study.rules.question.format(question=study.question)
    form = _form("next", fields, *_trial_parts(study, words, urls, limited=exposure_ms is not None))
    form["class"] = f"trial-form {study.rules.layout}"
    section = tags.section(
        _bar(words, step, done=step.number - 1),
        tags.h1(words(question), tabindex="-1", id="question"),
        tags.p(cls="status", role="status", aria_live="polite"),
        form,
        cls="screen viewing",
        data_screen="trial",
    )
    if exposure_ms is not None:
        section["data-exposure"] = str(exposure_ms)
        section["data-mask"] = str(study.mask_ms)
        section.add(tags.noscript(tags.p(words("no_javascript"), cls="notice")))
    return section


def feedback(
    study: Study,
    words: Words,
    *,
    step: Step = _EMPTY,
    urls: Sequence[str] = (),
    response: str = "",
    fields: Fields | None = None,
) -> tags.html_tag:
    """Return the feedback on a practice trial; without ``step``, the script's template.

    Args:
        study: public side of the study.
        words: texts of the study.
        step: step of the feedback.
        urls: URLs of the pictures of the trial.
        response: answer about the first picture.
        fields: hidden fields that the form sends.
    """
    verdict, fact, right = "", "", False
    if step.practice is not None:
        right = response == step.practice.answer
        verdict = words("feedback_right" if right else "feedback_wrong")
        fact = words(study.rules.feedback.format(answer=step.practice.answer))
    return tags.section(
        _bar(words, step, done=step.number),
        tags.h1(verdict, tabindex="-1", cls="verdict", data_right="yes" if right else "no"),
        tags.p(fact, cls="fact", id="fact"),
        tags.div(_stage(study, words, urls), cls=f"trial-form {study.rules.layout}"),
        _form("next", fields, _main_button(words("continue"), aria_describedby="fact")),
        cls="screen viewing",
        data_screen="feedback",
    )


def ready(words: Words, *, fields: Fields | None = None) -> tags.html_tag:
    """Return the screen between the practice trials and the scored trials."""
    return _reading(
        "ready",
        words("ready_heading"),
        *_paragraphs(words, "ready_text"),
        _form("next", fields, _main_button(words("ready_start"))),
    )


def leave_form(words: Words, fields: Fields) -> tags.html_tag:
    """Return the form with which the next person starts on the same device."""
    button = tags.button(words("another_person"), type="submit", cls="plain-button")
    return _form("leave", fields, button)


def thanks(words: Words, *parts: tags.html_tag) -> tags.html_tag:
    """Return the last screen, with any remaining instructions."""
    return _reading("thanks", words("thanks_heading"), *_paragraphs(words, "thanks_text"), *parts)


def message(heading: str, text: str, *parts: tags.html_tag) -> tags.html_tag:
    """Return a screen with a message, such as an error."""
    return _reading("message", heading, tags.p(text), *parts)


def _reading(name: str, heading: str, *parts: tags.html_tag | None) -> tags.html_tag:
    return tags.section(
        tags.h1(heading, tabindex="-1"),
        *(part for part in parts if part is not None),
        cls="screen reading",
        data_screen=name,
    )


def _paragraphs(words: Words, name: str) -> list[tags.html_tag]:
    return [tags.p(text) for text in words.paragraphs(name)]


def _form(action: str, fields: Fields | None, *parts: tags.html_tag) -> tags.html_tag:
    hidden = (tags.input_(type="hidden", name=n, value=str(v)) for n, v in (fields or {}).items())
    return tags.form(*hidden, *parts, method="post", action=action, autocomplete="off")


def _main_button(text: str, **attributes: str) -> tags.html_tag:
    return tags.button(text, type="submit", cls="main-button", **attributes)


def _loading(words: Words) -> tags.html_tag:
    return tags.div(
        tags.p(words("loading"), role="status"),
        tags.progress(value="0", max="1", aria_label=words("loading")),
        tags.button(words("try_again"), type="button", cls="plain-button", hidden=True),
        cls="loading",
        hidden=True,
    )


def _bar(words: Words, step: Step, *, done: int) -> tags.html_tag:
    name = "practice_where" if step.practice else "trial_where"
    where = words(name, number=step.number, total=step.total)
    most = str(max(step.total, 1))
    return tags.div(
        tags.p(where, cls="where"),
        tags.progress(value=str(max(done, 0)), max=most, aria_label=where),
        cls="bar",
    )


def _trial_parts(
    study: Study, words: Words, urls: Sequence[str], *, limited: bool
) -> list[tags.html_tag]:
    rules = study.rules
    stage = _stage(study, words, urls, choose=rules.is_paired, hide=limited)
    if limited:
        stage.add(tags.p(cls="countdown", aria_hidden="true"))
    if rules.is_paired:
        # Outside of the buttons, which take no clicks before their pictures are there.
        return [stage, _loading(words)]
    stage.add(_loading(words))
    buttons = [
        tags.button(
            tags.span(words(choice.label)),
            tags.kbd(words(f"key_{choice.value}"), aria_hidden="true", cls="needs-js"),
            type="submit",
            name="choice",
            value=choice.value,
            cls="answer",
            aria_keyshortcuts=words(f"key_{choice.value}"),
        )
        for choice in rules.choices
    ]
    return [stage, tags.fieldset(*buttons, cls="answers", aria_labelledby="question")]


def _stage(
    study: Study,
    words: Words,
    urls: Sequence[str],
    *,
    choose: bool = False,
    hide: bool = False,
) -> tags.html_tag:
    """Return the pictures on their neutral ground; in a pair, as the buttons to choose one by."""
    rules = study.rules
    parts = []
    for index, name in enumerate(rules.picture_names):
        picture = tags.img(
            alt=words(name), width=str(study.width), height=str(study.height), draggable="false"
        )
        if urls:
            # A picture that is shown for a moment is fetched, and shown, by the script alone.
            picture["data-url" if hide else "src"] = urls[index]
        frame = tags.span(picture, cls="frame")
        if hide:
            frame.add(tags.canvas(cls="mask", aria_hidden="true"))
        if choose:
            label = tags.span(str(index + 1), cls="number", aria_hidden="true")
            choice = {"name": "choice", "value": rules.values[index]}
            frame = tags.button(frame, label, type="submit", cls="pick", **choice)
        elif rules.is_paired:
            number = tags.span(str(index + 1), cls="number", aria_hidden="true")
            frame = tags.span(frame, number, cls="pick")
        parts.append(frame)
    if choose:
        return tags.fieldset(*parts, cls="stage answers", aria_labelledby="question")
    return tags.div(*parts, cls="stage")
