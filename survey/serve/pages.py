"""The pages that the server sends: the current step of a session, and error messages."""

import json
from dataclasses import dataclass
from urllib.parse import urlencode

from dominate import tags

from impasto.survey import screens
from impasto.survey.serve.sessions import Session, Sessions, Visitor
from impasto.survey.texts import Words

__all__ = ["Pages", "picture_url"]


def picture_url(token: str, path: str) -> str:
    """Return the relative URL of a picture: its token, and the extension of its file."""
    return f"images/{token}.{path.rsplit('.', 1)[-1].lower()}"


@dataclass(frozen=True, kw_only=True)
class Pages:
    """Renderer of complete HTML pages.

    Attributes:
        sessions: sessions of the study.
        words: texts of the study.
        completion_code: code that participants enter on their platform at the end, or empty.
        redirect_url: URL to which participants are sent at the end, or empty.
        varying_exposure: True if a staircase sets the exposures.
    """

    sessions: Sessions
    words: Words
    completion_code: str = ""
    redirect_url: str = ""
    varying_exposure: bool = False

    def consent(self, visitor: Visitor, csrf: str, *, problem: str = "") -> str:
        """Return the first page, which asks for consent."""
        fields = {"csrf": csrf}
        if visitor.participant:
            fields["participant"] = visitor.participant
            fields |= {"session": visitor.session} if visitor.session else {}
            fields |= {"study": visitor.study} if visitor.study else {}
            fields |= {"signature": visitor.signature} if visitor.signature else {}
        section = screens.consent(self.words, fields=fields, problem=problem)
        if visitor.is_preview:
            section.get(cls="notice preview")[0].delete_attribute("hidden")
            section.get(tags.button)[0]["disabled"] = "disabled"
        return self._page(section)

    def current(self, session: Session, token: str, *, reveal: bool = True) -> str:
        """Return the page of a session's current step, with the pictures of later steps.

        Args:
            session: the session.
            token: its token.
            reveal: True to show the completion code and the way back to the platform at the end.
        """
        steps = self.sessions.steps(session)[session.position :]
        tokens = sorted({token for step in steps for token in step.trial})
        section = self._section(session, token, reveal=reveal)
        return self._page(section, [self._url(shown) for shown in tokens])

    def message(self, text: str, *, base: str = "", link: str = "") -> str:
        """Return a page with an error message.

        Args:
            text: name of the text to show.
            base: relative URL from the page to the study.
            link: relative URL to continue with, or empty.
        """
        on = tags.a(self.words("back_to_study"), href=link, cls="main-button")
        parts = [tags.p(on)] if link else []
        section = screens.message(self.words("error_heading"), self.words(text), *parts)
        return self._page(section, base=base)

    def way_back(self, session: Session) -> str:
        """Return the relative URL of a session, with its identifier in case the cookie is lost."""
        query = self.sessions.query(session)
        return f"./?{urlencode(query)}" if query else "./"

    def _page(
        self, section: tags.html_tag, pictures: list[str] | None = None, *, base: str = ""
    ) -> str:
        page = screens.document(self.words, mode="server", base=base)
        if pictures:
            page.main["data-pictures"] = json.dumps(pictures)
        page.main.add(section)
        return str(page.render(indent=""))

    def _section(self, session: Session, token: str, *, reveal: bool) -> tags.html_tag:
        study, words, step = self.sessions.study, self.words, self.sessions.step(session)
        fields: dict[str, str | int] = {
            "csrf": self.sessions.csrf(token),
            "step": session.position,
        }
        if step.screen == "instructions":
            return screens.instructions(
                study, words, fields=fields, varying_exposure=self.varying_exposure
            )
        if step.screen == "trial":
            return screens.trial_screen(
                study,
                words,
                step=step,
                urls=[self._url(shown) for shown in step.trial],
                fields=fields,
                exposure_ms=self.sessions.exposure_ms(session),
            )
        if step.screen == "feedback":
            return screens.feedback(
                study,
                words,
                step=step,
                urls=[self._url(shown) for shown in step.trial],
                response=self.sessions.response(session, step.number),
                fields=fields,
            )
        if step.screen == "ready":
            return screens.ready(words, fields=fields)
        return self._thanks(session, str(fields["csrf"]), reveal=reveal)

    def _thanks(self, session: Session, csrf: str, *, reveal: bool) -> tags.html_tag:
        words = self.words
        code, redirect = (self.completion_code, self.redirect_url) if reveal else ("", "")
        parts = [tags.p(words("thanks_saved"))]
        if not redirect:
            parts.append(tags.p(words("thanks_close")))
        if code:
            parts.append(tags.p(words("thanks_code"), cls="code-label"))
            parts.append(tags.p(code, cls="code", translate="no"))
        if redirect:
            link = tags.a(words("thanks_return"), href=redirect, cls="main-button")
            parts.append(tags.p(link))
        if not session.named:
            form = screens.leave_form(words, {"csrf": csrf})
            parts.append(tags.div(tags.p(words("thanks_another")), form, cls="another"))
        return screens.thanks(words, *parts)

    def _url(self, token: str) -> str:
        return picture_url(token, self.sessions.study.pictures[token])
