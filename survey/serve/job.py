"""`impasto survey serve`: check the inputs, serve the study, and shut down cleanly."""

import logging
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from impasto.options.errors import ImpastoError, OptionError, SurveyError
from impasto.options.survey import SurveyServeOptions
from impasto.runs.signals import end_on_signals
from impasto.survey.key import Key, check_folder, check_key, read_key, read_study
from impasto.survey.serve.database import Database
from impasto.survey.serve.links import read_ids
from impasto.survey.serve.pages import Pages
from impasto.survey.serve.requests import RateLimit
from impasto.survey.serve.sessions import Admission, NextExposure, Sessions
from impasto.survey.staircase import Staircase
from impasto.survey.study import Study
from impasto.survey.texts import Words, check_texts, complete_texts, read_texts

try:
    import waitress.server
    import waitress.wasyncore

    from impasto.survey.serve.app import RequestLimits, create_app
    from impasto.survey.serve.connections import make_server
    from impasto.survey.serve.owner import add_owner_pages, exposures_by_key
except ModuleNotFoundError as error:
    if error.name not in ("flask", "waitress"):
        raise
    raise ImpastoError(
        f'serving a study needs {error.name}: pip install "impasto[survey]"'
    ) from error

__all__ = ["Serving", "serve_study", "serving"]

_LOOPBACK = ("127.", "[::1]", "localhost")


@dataclass(frozen=True, kw_only=True)
class Serving:
    """Server that listens but does not answer requests yet.

    Attributes:
        url: URL of the study, as seen from this machine.
        results_url: URL of the owner's results page.
        database: open database for the answers.
        study: study that is served.
        signed_links: True if participants need signed links.
        warnings: what the owner should know before anybody takes part, in words.
    """

    url: str
    results_url: str
    database: Database
    study: Study
    signed_links: bool = False
    warnings: Sequence[str] = ()
    _server: waitress.server.BaseWSGIServer

    def run(self) -> None:
        """Answer requests until SIGINT, SIGTERM or SIGHUP.

        A request in progress at that time is either completed or not started; a browser without a
        reply repeats its request.
        """
        with end_on_signals():
            self._server.run()

    def __str__(self) -> str:
        lines = [
            f"study    {self.study.survey_id}: {self.study.protocol}",
            f"open     {self.url}",
            f"results  {self.results_url}  (for you alone: it is made with the key)",
            f"answers  {self.database.path}",
        ]
        if not self.url.removeprefix("http://").startswith(_LOOPBACK):
            lines.append("note: without HTTPS in front of it, everybody on the way can read along")
        if self.signed_links:
            lines.append("note: only the links that 'impasto survey links' makes let anybody in")
        lines += [f"note: {warning}" for warning in self.warnings]
        return "\n".join(lines)


def serve_study(
    folder: Path,
    options: SurveyServeOptions,
    *,
    on_start: Callable[[Serving], object] = lambda _server: None,
) -> int:
    """Run a study in browsers until SIGINT, SIGTERM or SIGHUP.

    Args:
        folder: exported folder, written by ``impasto survey export``.
        options: options of ``impasto survey serve``.
        on_start: function called with the server once it listens.

    Returns:
        The number of answers in the database.

    Raises:
        SurveyError: the folder, the key, the texts or the database is damaged or of another study.
        OptionError: an option does not fit the study.
        ImpastoError: the port is taken, or the address is not of this machine.
    """
    logging.getLogger("waitress.queue").setLevel(logging.ERROR)
    with serving(folder, options) as server:
        on_start(server)
        server.run()
        return int(server.database.read("SELECT count(*) AS n FROM answers")[0]["n"])


@contextmanager
def serving(folder: Path, options: SurveyServeOptions) -> Iterator[Serving]:
    """Open all resources of a server, and close them afterward.

    Args:
        folder: exported folder, written by ``impasto survey export``.
        options: options of ``impasto survey serve``.

    Raises:
        SurveyError: the folder, the key, the texts or the database is damaged or of another study.
        OptionError: an option does not fit the study.
        ImpastoError: the port is taken, or the address is not of this machine.
    """
    study, key = _read(folder, options)
    with closing(_listen(options)) as listening, closing(Database(options.database, study)) as base:
        condition, warnings = _condition_of(base, options, study)
        admission = Admission(
            require_participant=options.require_participant,
            signed_links=options.signed_links,
            allowed=frozenset(read_ids(options.participants)) if options.participants else None,
        )
        sessions = Sessions(
            base, study, _exposures(options, key), condition=condition, admission=admission
        )
        pages = Pages(
            sessions=sessions,
            words=Words(study),
            completion_code=options.completion_code,
            redirect_url=options.redirect_url,
            varying_exposure=options.staircase,
        )
        limits = RequestLimits(
            requests=RateLimit(options.requests_per_second, 10 * options.requests_per_second),
            sessions=RateLimit(options.sessions_per_hour / 3600, options.sessions_per_hour),
        )
        app = create_app(folder, sessions, pages, limits)
        add_owner_pages(
            app,
            key,
            sessions,
            pages,
            RateLimit(0.1, 5),
            hide_rates_until=options.hide_rates_until,
        )
        channels: dict[int, object] = {}
        server = make_server(app, listening, channels, behind_proxy=options.behind_proxy)
        url = _url(listening)
        try:
            yield Serving(
                url=url,
                results_url=f"{url}results/{sessions.results_token()}",
                database=base,
                study=study,
                signed_links=options.signed_links,
                warnings=warnings,
                _server=server,
            )
        finally:
            # With the connections that browsers keep open; server.close() leaves these.
            waitress.wasyncore.close_all(channels, ignore_all=True)


def _read(folder: Path, options: SurveyServeOptions) -> tuple[Study, Key]:
    """Read the study and its key; refuse what does not fit together."""
    study = read_study(folder)
    for name, path in (("key", options.key), ("database", options.database)):
        if path.resolve().is_relative_to(folder.resolve()):
            raise OptionError(
                name, f"{path} lies in {folder}, which is public; choose a place outside of it"
            )
    key = read_key(options.key)
    check_key(options.key, key)
    for kind, name, reason in check_folder(folder, study, key):
        if kind in ("fault", "leak"):
            raise SurveyError(folder, f"is not as it was exported: {name}: {reason}")
    size = study.rules.pictures_per_trial
    trials = [example.trial for example in study.practice]
    trials += [trial for order in study.orders for trial in order]
    if not study.orders or not all(study.orders) or {len(trial) for trial in trials} != {size}:
        raise SurveyError(folder / "study.json", f"expected orders of trials of {size} pictures")
    if options.staircase and not study.rules.is_timed:
        raise OptionError("staircase", f"is for timed studies, and this one is {study.protocol}")
    if options.texts is not None:
        return replace(study, texts=read_texts(options.texts, study.rules.texts)), key
    check_texts(folder / "study.json", study)
    return replace(study, texts=complete_texts(study)), key


def _condition_of(
    database: Database, options: SurveyServeOptions, study: Study
) -> tuple[int, list[str]]:
    """Record texts and staircase; refuse another staircase than that of the sessions so far.

    Returns:
        Number of the condition, and warnings for the owner.
    """
    names = ("start_ms", "shortest_ms", "longest_ms", "up_ms", "down_ms")
    steps = {name: getattr(options, f"staircase_{name}") for name in names}
    staircase = steps if options.staircase else None
    warnings = []
    for earlier, begun in database.earlier_conditions():
        if earlier["staircase"] != staircase:
            raise OptionError(
                "staircase",
                f"{options.database} has {begun} sessions with {_spell(earlier['staircase'])}, and "
                f"this start has {_spell(staircase)}, which would mix two studies; take the same "
                "options, or give another --database",
            )
        changed = sorted(
            name
            for name in {**earlier["texts"], **study.texts}
            if earlier["texts"].get(name) != study.texts.get(name)
        )
        if changed:
            warnings.append(
                f"{begun} sessions so far began with other texts ({', '.join(changed)}); each "
                "keeps a record of what it began with"
            )
    return database.start({"texts": dict(study.texts), "staircase": staircase}), warnings


def _spell(staircase: Mapping[str, int] | None) -> str:
    if staircase is None:
        return "no staircase"
    return "a staircase of " + ", ".join(f"{name} {value}" for name, value in staircase.items())


def _exposures(options: SurveyServeOptions, key: Key) -> NextExposure | None:
    if not options.staircase:
        return None
    staircase = Staircase(
        start_ms=options.staircase_start_ms,
        shortest_ms=options.staircase_shortest_ms,
        longest_ms=options.staircase_longest_ms,
        up_ms=options.staircase_up_ms,
        down_ms=options.staircase_down_ms,
    )
    return exposures_by_key(staircase, key)


def _listen(options: SurveyServeOptions) -> socket.socket:
    where = f"{options.host}, port {options.port}"
    try:
        addresses = socket.getaddrinfo(
            options.host, options.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except OSError as error:
        raise ImpastoError(f"--host: {options.host} is no address: {error.strerror}") from error
    family, kind, protocol, _, address = addresses[0]
    listening = socket.socket(family, kind, protocol)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        # Now, so that a second server on the same port is refused at once.
        listening.listen(1024)
    except OSError as error:
        listening.close()
        raise ImpastoError(
            f"cannot listen on {where}: {(error.strerror or str(error)).lower()}; "
            "give another --port (0 takes a free one)"
        ) from error
    return listening


def _url(listening: socket.socket) -> str:
    host, port = listening.getsockname()[:2]
    # What listens everywhere is reached from here as this machine.
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - a comparison
    return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"
