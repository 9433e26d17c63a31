"""A fixture that runs the survey server's application in this process."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from impasto.survey.serve.app import RequestLimits, create_app
from impasto.survey.serve.database import Database
from impasto.survey.serve.owner import add_owner_pages, exposures_by_key
from impasto.survey.serve.pages import Pages
from impasto.survey.serve.requests import RateLimit
from impasto.survey.serve.sessions import Admission, Sessions
from impasto.survey.staircase import Staircase
from impasto.survey.texts import Words

if TYPE_CHECKING:
    from tests.survey.conftest import SmallStudy
from tests.survey.serve.visits import Make, Running


@pytest.fixture
def run_app(small_study: Make, tmp_path: Path) -> Iterator[Callable[..., Running]]:
    """A function that makes an application; takes changes of the study and some of the server."""
    opened: list[Database] = []

    def run(
        small: "SmallStudy | None" = None,
        *,
        staircase: Staircase | None = None,
        requests: RateLimit | None = None,
        begun: RateLimit | None = None,
        admission: Admission | None = None,
        page: dict[str, str] | None = None,
        **changes: Any,
    ) -> Running:
        small = small or small_study(**changes)
        opened.append(Database(tmp_path / f"{len(opened)}.sqlite", small.study))
        exposures = exposures_by_key(staircase, small.key) if staircase else None
        sessions = Sessions(opened[-1], small.study, exposures, admission=admission)
        pages = Pages(
            sessions=sessions,
            words=Words(small.study),
            varying_exposure=staircase is not None,
            **(page or {}),
        )
        free = RateLimit(0, 0)
        limits = RequestLimits(requests=requests or free, sessions=begun or free)
        app = create_app(small.folder, sessions, pages, limits)
        add_owner_pages(app, small.key, sessions, pages, RateLimit(1, 3))
        return Running(app, small, sessions)

    yield run
    for database in opened:
        database.close()
