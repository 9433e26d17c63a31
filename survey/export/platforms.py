"""Files for four platforms: a Google Forms script, MTurk, Qualtrics, and jsPsych."""

import csv
import html
import io
import json
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from impasto.data.atomic import write_text_atomic
from impasto.survey.study import Practice, Study, Trial
from impasto.survey.texts import Words

__all__ = [
    "google_forms_script",
    "jspsych_page",
    "mturk_layout",
    "mturk_table",
    "qualtrics_survey",
    "write_platforms",
]

_MOST_ORDERS = 100
_PLACEHOLDER_URL = "https://example.org/REPLACE-ME/"


def write_platforms(folder: Path, study: Study, *, base_url: str) -> None:
    """Write the files for platforms; Google Forms and Qualtrics do not support timed pictures.

    Args:
        folder: folder to write to, which is created.
        study: study to write the files for.
        base_url: URL at which the study's folder will be published; if empty, the files have a
            placeholder for it.

    Raises:
        OSError: the folder cannot be written.
    """
    folder.mkdir()
    url = f"{base_url.rstrip('/')}/" if base_url else ""
    texts = {
        "jspsych.html": jspsych_page(study, url),
        "mturk.csv": mturk_table(study, url or _PLACEHOLDER_URL),
        "mturk.html": mturk_layout(study),
    }
    if study.rules.fits_forms:
        texts["google_forms.gs"] = google_forms_script(study, url)
        texts["qualtrics.txt"] = qualtrics_survey(study, url or _PLACEHOLDER_URL)
    for name, text in sorted(texts.items()):
        write_text_atomic(folder / name, text)


def google_forms_script(study: Study, base_url: str) -> str:
    """Return an Apps Script that creates a form."""
    return _fill("google_forms.gs", _content(study), base_url)


def jspsych_page(study: Study, base_url: str) -> str:
    """Return a page with a jsPsych 8 timeline; without a URL, it looks in its parent folder."""
    page = _fill("jspsych.html", _content(study), base_url or "../")
    words = Words(study)
    language, direction = html.escape(words("language")), html.escape(words("direction"))
    return page.replace('<html lang="en" dir="ltr">', f'<html lang="{language}" dir="{direction}">')


def mturk_layout(study: Study) -> str:
    """Return the HTML of a Mechanical Turk project, for use with the :func:`mturk_table`."""
    content = _content(study)
    del content["orders"], content["survey_id"]
    return _fill("mturk.html", content, "")


def mturk_table(study: Study, base_url: str) -> str:
    """Return a CSV table with one row per participant: the order of the trials, as tokens."""
    text = io.StringIO(newline="")
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["survey_id", "order", "base_url", "trials"])
    for number, order in enumerate(study.orders, 1):
        trials = " ".join("+".join(trial) for trial in order)
        table.writerow([study.survey_id, number, base_url, trials])
    return text.getvalue()


def qualtrics_survey(study: Study, base_url: str) -> str:
    """Return a survey in Qualtrics' Advanced Format; one page for each trial of the first order.

    Each picture is part of its question, so that Qualtrics can shuffle them together.
    """
    words = Words(study)
    lines = ["[[AdvancedFormat]]", "", "[[Block:Introduction]]", "", "[[Question:DB]]"]
    lines += [_one_line(html.escape(_description(study, words)).replace("\n\n", "<br><br>")), ""]
    for number, practice in enumerate(study.practice, 1):
        where = words("practice_where", number=number, total=len(study.practice))
        lines += ["[[PageBreak]]", "", "[[Question:DB]]"]
        says = f"{_escaped(where)}<br>{_images(study, practice.trial, base_url)}"
        lines += [f"{says}<br>{_escaped(_says(study, practice, words))}", ""]
    lines += ["[[Block:Pictures]]", ""]
    for place, trial in enumerate(study.orders[0]):
        if place:
            lines += ["[[PageBreak]]", ""]
        lines += ["[[Question:MC:SingleAnswer:Horizontal]]", f"[[ID:{'_'.join(trial)}]]"]
        lines += [f"{_images(study, trial, base_url)}<br>{_escaped(_question(study, words))}"]
        lines += ["[[AdvancedChoices]]"]
        for code, choice in enumerate(_choices(study, words), 1):
            lines += [f"[[Choice:{code}]]", _one_line(choice)]
        lines += [""]
    return "\n".join(lines)


def _content(study: Study) -> dict[str, Any]:
    """Return what the scripts need to know."""
    words = Words(study)
    return {
        "survey_id": study.survey_id,
        "title": words("title"),
        "description": _description(study, words),
        "participant": "Participant",
        "question": _question(study, words),
        "asked": study.question if study.rules.is_paired else "",
        "choices": _choices(study, words),
        "alt": [words("picture"), words("picture_first"), words("picture_second")],
        "width": study.width,
        "height": study.height,
        "exposure_ms": study.exposure_ms,
        "mask_ms": study.mask_ms,
        "practice_where": study.texts.get("practice_where", "{number} / {total}"),
        "trial_where": study.texts.get("trial_where", "{number} / {total}"),
        "begin": words("consent_begin"),
        "go_on": words("continue"),
        "right": words("feedback_right"),
        "wrong": words("feedback_wrong"),
        "thanks": words("thanks_heading"),
        "loading_failed": words("loading_failed"),
        "preview": words("preview"),
        "pictures": dict(study.pictures),
        "practice": [
            {
                "trial": list(example.trial),
                "answer": example.answer,
                "says": _says(study, example, words),
            }
            for example in study.practice
        ],
        "orders": [[list(trial) for trial in order] for order in study.orders[:_MOST_ORDERS]],
    }


def _description(study: Study, words: Words) -> str:
    names = [
        study.rules.instructions.format(question=study.question),
        "instructions_meaning",
        study.rules.share,
        *(["instructions_attention"] if study.attention_checks else []),
        "instructions_final",
    ]
    paragraphs = [*words.paragraphs("consent_text"), *(words(name) for name in names)]
    return "\n\n".join(paragraphs)


def _question(study: Study, words: Words) -> str:
    return words(study.rules.question.format(question=study.question))


def _choices(study: Study, words: Words) -> list[str]:
    return [words(label) for label in study.rules.labels]


def _says(study: Study, practice: Practice, words: Words) -> str:
    return words(study.rules.feedback.format(answer=practice.answer))


def _images(study: Study, trial: Trial, base_url: str) -> str:
    size = f'width="{study.width}" height="{study.height}"'
    return " ".join(
        f'<img src="{html.escape(base_url + study.pictures[token])}" {size} alt="">'
        for token in trial
    )


def _escaped(text: str) -> str:
    return _one_line(html.escape(text))


def _one_line(text: str) -> str:
    """Return a text that cannot be taken for a tag of Qualtrics."""
    return " ".join(text.split()).replace("[[", "[ [")


def _fill(name: str, content: Mapping[str, Any], base_url: str) -> str:
    template = (files("impasto.survey") / "page" / name).read_text(encoding="utf-8")
    filled = template.replace("/*STUDY*/{}", _script_json(content))
    return filled.replace('/*BASE_URL*/""', _script_json(base_url))


def _script_json(value: object) -> str:
    """Return JSON that ends no script and opens no comment, without the ${ of MTurk's places."""
    text = json.dumps(value, ensure_ascii=True)
    for sign in "<>&$":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return text
