"""An application in this process, and visitors without JavaScript."""

from collections.abc import Callable
from dataclasses import dataclass
from html.parser import HTMLParser
from typing import TYPE_CHECKING

from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import Cookie, TestResponse

from impasto.survey.serve.database import Database
from impasto.survey.serve.sessions import Sessions

if TYPE_CHECKING:
    from tests.survey.conftest import SmallStudy


Make = Callable[..., "SmallStudy"]


SCRIPTED = {"X-Requested-With": "survey.js"}


@dataclass
class Running:
    """An application in this process, and its study."""

    app: Flask
    small: "SmallStudy"
    sessions: Sessions

    def client(self) -> FlaskClient:
        return self.app.test_client()

    @property
    def database(self) -> Database:
        return self.sessions.database

    @property
    def results(self) -> str:
        return f"/results/{self.sessions.results_token()}"


class Form(HTMLParser):
    """The first form of a page: where it goes, and its hidden fields; the screen's name."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.action = ""
        self.fields: dict[str, str] = {}
        self.choices: list[str] = []
        self.screen = ""
        self.pictures: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        self.screen = self.screen or values.get("data-screen", "")
        if tag == "form":
            self.action = self.action or values["action"]
        elif tag == "input" and values["type"] == "hidden":
            self.fields[values["name"]] = values["value"]
        elif tag == "button" and values.get("name") == "choice":
            self.choices.append(values["value"])
        elif tag == "img":
            self.pictures.append(values.get("src") or values["data-url"])


class Visit:
    """Somebody without JavaScript, who follows links and sends forms."""

    def __init__(self, running: Running, query: str = "") -> None:
        self.client = running.client()
        self.replies: list[TestResponse] = []
        self.location = f"/{query}"
        self.open()

    def open(self) -> None:
        self.note(self.client.get(self.location))

    def note(self, reply: TestResponse) -> TestResponse:
        self.replies.append(reply)
        if reply.status_code == 303:
            self.location = "/" + reply.headers["Location"].removeprefix("./")
            self.open()
        else:
            self.form = Form(reply.text)
        return reply

    def send(self, **values: str) -> TestResponse:
        """Send the form that is shown, with these values besides."""
        return self.note(self.client.post(f"/{self.form.action}", data=self.form.fields | values))

    def cookie(self) -> Cookie:
        """Give the cookie of the session."""
        cookies = self.client._cookies
        assert cookies
        (found,) = cookies.values()
        return found

    def agree(self) -> None:
        self.send(agree="yes")

    def goes_through(self, choice: Callable[[Form], str], **measured: str) -> None:
        while self.form.screen != "thanks":
            if self.form.screen == "trial":
                for url in self.form.pictures:
                    self.replies.append(self.client.get(f"/{url}"))
                # As the script would say it; only a picture shown for a moment needs it.
                self.send(choice=choice(self.form), **measured)
            else:
                self.send()


def assert_calm(reply: TestResponse) -> None:
    """A page in plain words, with all headers, without a word about the inside."""
    text = reply.text
    for word in ("Traceback", "File ", ".py", "sqlite", "werkzeug", "Flask", "Exception"):
        assert word not in text, word
    assert reply.headers["X-Content-Type-Options"] == "nosniff"
    assert "Server" not in reply.headers
