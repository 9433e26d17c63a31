"""The self-contained site of a study: works from disk and from any static host, offline.

Answers stay in the participant's browser until they are downloaded, as the table that
``survey/answers.py`` reads.
"""

import json
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

from dominate import tags

from impasto.data.atomic import write_text_atomic
from impasto.survey import screens
from impasto.survey.study import Study
from impasto.survey.texts import Words, complete_texts

__all__ = ["write_site"]

# Allows no request but for the site's own files. It does not name these: what 'self' means for a
# page that was opened from disk differs between browsers.
_POLICY = "connect-src 'none'; object-src 'none'; base-uri 'none'; form-action 'none'"


def write_site(folder: Path, study: Study) -> None:
    """Write ``index.html``, ``survey.js``, ``survey.css`` and ``study.json`` into a folder.

    Args:
        folder: existing folder that holds the pictures at the paths in ``study.pictures``.
        study: public side of the study; missing texts are replaced by the English ones.

    Raises:
        OSError: the folder cannot be written.
    """
    study = replace(study, texts=complete_texts(study))
    content = study.as_dict()
    words = Words(study)
    page = screens.document(words, mode="site")
    page.head.children[1:1] = [
        tags.meta(http_equiv="Content-Security-Policy", content=_POLICY),
        tags.meta(name="generator", content="Impasto"),
    ]
    page.main.add(tags.noscript(tags.p(words("no_javascript"), cls="notice")))
    for screen in _screens(study, words):
        screen["hidden"] = "hidden"
        page.main.add(screen)
    # The texts are on the page already, and the script knows layouts instead of protocols.
    embedded = {**content, "protocol": study.rules.layout, "texts": {}}
    page.footer.add(screens.data_block("study", embedded))
    write_text_atomic(folder / "index.html", page.render(indent=" ") + "\n")
    write_text_atomic(
        folder / "study.json", json.dumps(content, indent=1, ensure_ascii=False) + "\n"
    )
    for name in ("survey.css", "survey.js"):
        text = (files("impasto.survey") / "page" / name).read_text(encoding="utf-8")
        write_text_atomic(folder / name, text)


def _screens(study: Study, words: Words) -> list[tags.html_tag]:
    return [
        screens.message(words("error_heading"), words("id_invalid")),
        screens.consent(words),
        screens.instructions(study, words),
        screens.trial_screen(study, words, exposure_ms=study.exposure_ms),
        screens.feedback(study, words),
        screens.ready(words),
        screens.thanks(
            words,
            tags.p(words("thanks_download")),
            tags.div(
                tags.button(words("download_csv"), type="button", id="csv", cls="main-button"),
                tags.button(words("download_json"), type="button", id="json", cls="plain-button"),
                cls="actions",
            ),
            tags.div(
                tags.p(words("thanks_another")),
                tags.button(
                    words("another_person"), type="button", id="another", cls="plain-button"
                ),
                tags.p(cls="status", role="status", aria_live="polite"),
                cls="another",
                hidden=True,
            ),
        ),
    ]
