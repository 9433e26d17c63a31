"""The participants' side of the server: a small Flask application around the sessions of a study.

Every page is the current step of a session, rendered here; ``page/survey.js`` makes transitions
smoother. Nothing that is sent reveals which pictures are real, except for the practice pictures:
this module and all that it imports never read the key (``tests/test_architecture.py``). Only with a
staircase does the next exposure depend on whether the last answer was correct; ``owner`` looks that
up in the key.
"""

import hmac
import logging
import re
import secrets
import sqlite3
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path

from flask import Flask, Response, abort, request
from werkzeug.exceptions import HTTPException

from impasto.survey.serve.connections import network_of
from impasto.survey.serve.pages import Pages, picture_url
from impasto.survey.serve.requests import (
    BadFormError,
    RateLimit,
    read_measured,
    read_position,
)
from impasto.survey.serve.sessions import (
    BadIdError,
    MeasuredChoice,
    OutOfOrderError,
    Session,
    Sessions,
    Visitor,
    read_visitor,
)

__all__ = ["RequestLimits", "create_app", "error_reply", "html_reply", "wait_reply"]

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
_TOKEN = re.compile(r"[A-Za-z0-9_-]{43}")
_MONTH = 30 * 86400
_PICTURE_COST = 0.05
_LOG = logging.getLogger(__name__)

# Status -> name of the text that explains it.
_TEXTS = {
    403: "error_forbidden",
    404: "error_missing",
    405: "error_missing",
    409: "error_request",
    410: "session_moved",
    413: "error_too_large",
    429: "error_too_many",
    503: "error_server",
}


@dataclass(frozen=True, kw_only=True)
class RequestLimits:
    """Rate limits per address.

    Attributes:
        requests: rate limit for requests of all kinds.
        sessions: rate limit for starting sessions.
    """

    requests: RateLimit
    sessions: RateLimit


def create_app(
    folder: Path,
    sessions: Sessions,
    pages: Pages,
    limits: RequestLimits,
) -> Flask:
    """Return the Flask application, without the owner's pages.

    Args:
        folder: exported folder of the study, with its pictures.
        sessions: sessions of the study.
        pages: page renderer of the study.
        limits: rate limits per address.
    """
    app = Flask(__name__, static_folder=None, template_folder=None)
    app.config.update(
        MAX_CONTENT_LENGTH=16 * 1024,
        MAX_FORM_MEMORY_SIZE=16 * 1024,
        MAX_FORM_PARTS=40,
        PROPAGATE_EXCEPTIONS=False,
    )
    views = _Views(folder=folder, sessions=sessions, pages=pages, limits=limits)
    rules: list[tuple[str, str, Callable[..., Response]]] = [
        ("/", "GET", views.show),
        ("/begin", "POST", views.begin),
        ("/next", "POST", views.take),
        ("/leave", "POST", views.leave),
        ("/images/<name>", "GET", views.picture),
        ("/survey.css", "GET", lambda: _asset("survey.css", "text/css")),
        ("/survey.js", "GET", lambda: _asset("survey.js", "text/javascript")),
    ]
    for rule, method, view in rules:
        app.add_url_rule(rule, rule, view, methods=[method])
    app.before_request(views.limit)
    app.after_request(_secure)
    app.register_error_handler(HTTPException, views.refuse)
    app.register_error_handler(Exception, views.fail)
    return app


@dataclass(frozen=True, kw_only=True)
class _Views:
    """The replies to requests."""

    folder: Path
    sessions: Sessions
    pages: Pages
    limits: RequestLimits

    def limit(self) -> Response | None:
        # A whole class behind one address loads all pictures at once.
        cost = _PICTURE_COST if request.path.startswith("/images/") else 1.0
        wait = self.limits.requests.wait(network_of(request.remote_addr), cost=cost)
        return wait_reply(self.pages, wait) if wait else None

    def show(self) -> Response:
        """Show the participant's current step, found by the cookie, or the first page."""
        visitor = self._visitor(request.args)
        token = self._token()
        session = self.sessions.find(token) if token else None
        if session and visitor.participant in ("", session.participant):
            self.sessions.view(session)
            return html_reply(self.pages.current(session, token))
        known = self.sessions.find_participant(visitor.participant)
        if known and self.sessions.step(known).screen == "thanks":
            # Whoever knows an id learns no more than that it is through.
            reveal = self.sessions.proves(visitor, known)
            return html_reply(self.pages.current(known, "", reveal=reveal))
        # The cookie of another participant stays: to open a link must not end a session.
        token = token or secrets.token_urlsafe(32)
        return self._keep(html_reply(self.pages.consent(visitor, self.sessions.csrf(token))), token)

    def begin(self) -> Response:
        """Start or resume the session of a participant who has consented."""
        wait = self.limits.sessions.wait(network_of(request.remote_addr))
        if wait:
            return wait_reply(self.pages, wait)
        visitor = self._visitor(request.form)
        token = self._token()
        if not token:
            return self._begin_again(visitor, "cookies_needed")
        self._check_form(token)
        if request.form.get("agree") != "yes" or visitor.is_preview:
            return self._begin_again(visitor, "consent_needed")
        session = self.sessions.find(token)
        if session is None or visitor.participant not in ("", session.participant):
            known = self.sessions.find_participant(visitor.participant)
            is_over = known is not None and self.sessions.step(known).screen == "thanks"
            if known is not None and is_over and not self.sessions.proves(visitor, known):
                return _redirect(self.pages.way_back(known))
            session, token = self.sessions.begin(visitor, token)
        return self._keep(_redirect(self.pages.way_back(session)), token)

    def take(self) -> Response:
        """Record one step of a session; the reply is sent once it is stored on disk."""
        token = self._token()
        session = self.sessions.find(token) if token else None
        if session is None:
            abort(410)
        self._check_form(token)
        if refusal := self.sessions.refusal_of(session):
            abort(self._message(403, refusal))
        scripted = "X-Requested-With" in request.headers
        try:
            position = read_position(request.form)
            measured = self._measured(session, position)
            session = self.sessions.take(token, position, measured, sends_next=scripted)
        except BadFormError:
            abort(400)
        except OutOfOrderError:
            abort(409)
        except LookupError:  # taken up elsewhere a moment ago
            abort(410)
        if scripted:
            return html_reply(self.pages.current(session, token))
        return _redirect(self.pages.way_back(session))

    def leave(self) -> Response:
        """Forget a participant who has finished, so that another can start on the same device."""
        token = self._token()
        self._check_form(token)
        session = self.sessions.find(token)
        reply = _redirect("./")
        if session and self.sessions.step(session).screen == "thanks":
            reply.delete_cookie(self._cookie)
        return reply

    def picture(self, name: str) -> Response:
        """Send a picture; only the names of the study's pictures are served."""
        token = name.partition(".")[0]
        path = self.sessions.study.pictures.get(token)
        if path is None or name != picture_url(token, path).partition("/")[2]:
            abort(404)
        # Without the file's times, which the export's copies need not share.
        kind = "image/jpeg" if path.lower().endswith(("jpg", "jpeg")) else "image/png"
        reply = Response((self.folder / path).read_bytes(), mimetype=kind)
        reply.headers["Cache-Control"] = "private, max-age=86400, immutable"
        return reply

    def refuse(self, error: HTTPException) -> Response:
        """Explain why Flask or one of the views above refused the request."""
        if isinstance(error.response, Response):
            return error.response
        status = error.code or 500
        return self._message(status, _TEXTS.get(status, "error_request"))

    def fail(self, error: Exception) -> Response:
        """Report an internal error without details, which are only in the owner's log."""
        if isinstance(error, sqlite3.Error):
            _LOG.error("an answer could not be saved, and is asked for again: %s", error)
            try:
                reply = self._message(503, "error_server")
            except sqlite3.Error:  # not even read
                reply = error_reply(self.pages, 503, "error_server")
            if request.method == "GET":
                reply.headers["Refresh"] = "3"
        else:
            _LOG.exception("a page could not be made")
            reply = self._message(503, "error_server")
        reply.headers["Retry-After"] = "2"
        return reply

    def _visitor(self, given: Mapping[str, str]) -> Visitor:
        """Read the visitor's identifiers; abort with an error page if the link is invalid."""
        try:
            visitor = read_visitor(given)
        except BadIdError:
            abort(self._message(400, "id_invalid"))
        if refusal := self.sessions.refusal(visitor):
            abort(self._message(400 if refusal == "id_missing" else 403, refusal))
        return visitor

    @property
    def _cookie(self) -> str:
        # Cookies are shared by all ports of a host: each database has its own.
        return f"impasto_{self.sessions.csrf('cookie')[:12]}"

    def _token(self) -> str:
        token = request.cookies.get(self._cookie, "")
        return token if _TOKEN.fullmatch(token) else ""

    def _keep(self, reply: Response, token: str) -> Response:
        reply.set_cookie(
            self._cookie,
            token,
            max_age=_MONTH,
            httponly=True,
            samesite="Lax",
            secure=request.is_secure,
        )
        return reply

    def _check_form(self, token: str) -> None:
        """Refuse requests that were not sent by a form of this participant's own page."""
        sent = request.form.get("csrf", "")
        same_site = request.headers.get("Sec-Fetch-Site", "same-origin") == "same-origin"
        expected = self.sessions.csrf(token)
        if not (token and same_site and hmac.compare_digest(sent.encode(), expected.encode())):
            abort(403)

    def _measured(self, session: Session, position: int) -> MeasuredChoice | None:
        steps = self.sessions.steps(session)
        if position >= len(steps) or steps[position].screen != "trial":
            return None
        study = self.sessions.study
        limited = study.exposure_ms is not None or self.pages.varying_exposure
        return read_measured(request.form, study.rules.values, needs_exposure=limited)

    def _begin_again(self, visitor: Visitor, problem: str) -> Response:
        token = self._token() or secrets.token_urlsafe(32)
        text = self.pages.words(problem)
        page = self.pages.consent(visitor, self.sessions.csrf(token), problem=text)
        return self._keep(html_reply(page, 400), token)

    def _message(self, status: int, text: str) -> Response:
        token = self._token()
        session = self.sessions.find(token) if token else None
        if session and not self.sessions.refusal_of(session):
            way = self.pages.way_back(session)
        else:  # who may not take part has no way on but another link
            way = "./" if text == "error_forbidden" else ""
        return error_reply(self.pages, status, text, way)


def error_reply(pages: Pages, status: int, text: str, way: str = "") -> Response:
    """Return an error page.

    Args:
        pages: page renderer of the study.
        status: HTTP status code.
        text: name of the text to show.
        way: URL to continue with, relative to the study, or empty.
    """
    # From /images/x, say, the study is one folder up.
    base = "../" * (request.path.count("/") - 1)
    page = pages.message(text, base=base, link=f"{base}{way}" if way else "")
    return html_reply(page, status)


def wait_reply(pages: Pages, seconds: float) -> Response:
    """Return a page that asks the visitor to come back after a number of seconds."""
    reply = error_reply(pages, 429, "error_too_many")
    reply.headers["Retry-After"] = str(int(seconds) + 1)
    return reply


def html_reply(html: str, status: int = 200) -> Response:
    """Return a page with headers that prevent caching."""
    reply = Response(html, status=status, mimetype="text/html")
    # Never from a cache: the page after the back button is where the participant is.
    reply.headers["Cache-Control"] = "no-store"
    return reply


def _redirect(url: str) -> Response:
    reply = Response("", status=303)
    reply.headers["Location"] = url
    reply.headers["Cache-Control"] = "no-store"
    return reply


@cache
def _read_asset(name: str) -> bytes:
    return (files("impasto.survey") / "page" / name).read_bytes()


def _asset(name: str, kind: str) -> Response:
    reply = Response(_read_asset(name), mimetype=kind)
    reply.headers["Cache-Control"] = "no-cache"
    return reply


def _secure(reply: Response) -> Response:
    reply.headers.update(_HEADERS)
    return reply
