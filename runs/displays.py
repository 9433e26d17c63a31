"""The observers that ``--display`` asks for."""

from collections.abc import Mapping, Sequence
from typing import Any

from impasto.runs.background import Background
from impasto.runs.console import Console
from impasto.runs.directory import RunDirectory
from impasto.runs.log import JsonLog
from impasto.runs.observers import Observer
from impasto.runs.report_page import ReportPage

__all__ = ["make_displays"]


def make_displays(
    names: Sequence[str],
    directory: RunDirectory,
    *,
    options: Mapping[str, Any],
    environment: Mapping[str, str],
    server: str,
    port: int,
    env: str,
) -> list[Observer]:
    """Make the log and the displays of a run; those that take their time get a thread.

    Args:
        names: any of ``console``, ``page``, ``visdom``, ``tensorboard``.
        directory: of the run.
        options: of the run, flat, to show.
        environment: what :func:`describe_environment` returned, to show.
        server: address of the visdom server.
        port: port of the visdom server.
        env: visdom environment.

    Raises:
        OptionError: the package of a display is not installed; says how to install it.
    """
    displays: list[Observer] = [JsonLog(directory.log_file)]
    if "console" in names:
        page = directory.web / "index.html" if "page" in names else None
        displays.append(Console(page=page))
    if "page" in names:
        report = ReportPage(directory, options=options, environment=environment)
        displays.append(Background(report))
    if "visdom" in names:
        from impasto.runs.visdom_display import VisdomDisplay  # noqa: PLC0415 - an extra

        visdom = VisdomDisplay(
            directory.path.name, log=directory.log_file, server=server, port=port, env=env
        )
        displays.append(Background(visdom))
    if "tensorboard" in names:
        from impasto.runs.tensorboard_display import TensorBoardDisplay  # noqa: PLC0415 - an extra

        displays.append(Background(TensorBoardDisplay(directory.path / "tensorboard")))
    return displays
