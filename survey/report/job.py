"""Creation of a report: from answers and key to a folder with a page, tables and figures."""

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from impasto.data.atomic import write_text_atomic
from impasto.options.errors import ImpastoError, OptionError, SurveyError
from impasto.options.survey import SurveyReportOptions
from impasto.survey.analysis.findings import Findings
from impasto.survey.analysis.job import analyze
from impasto.survey.answers import Answer, read_answers
from impasto.survey.key import check_key, read_key

__all__ = ["read_all_answers", "results_csv", "results_json", "write_report"]

_DATABASES = (".sqlite", ".sqlite3", ".db")
_TABLES = (".csv", ".json")
_COLUMNS = (
    *("token", "name", "group", "source", "n", "real", "fake", "real_share", "fake_share"),
    *("wilson_low", "wilson_high", "clopper_pearson_low", "clopper_pearson_high", "error_share"),
    *("p", "p_holm", "median_rt_ms"),
)


def read_all_answers(paths: Sequence[Path]) -> list[Answer]:
    """Read answers of several files.

    Args:
        paths: tables (CSV, JSON) and databases of ``impasto survey serve`` with any name, or
            folders with .csv, .json and .sqlite files.

    Raises:
        SurveyError: a file is missing, damaged, or in another format.
        OSError: a file cannot be read.
    """

    def is_database(path: Path) -> bool:
        with path.open("rb") as file:
            return file.read(16) == b"SQLite format 3\0"

    answers: list[Answer] = []
    for path in paths:
        if path.is_dir():
            inner = [
                entry
                for entry in sorted(path.iterdir())
                if entry.suffix.lower() in _TABLES + _DATABASES
            ]
            if not inner:
                raise SurveyError(path, "holds no .csv, .json or .sqlite file with answers")
            answers += read_all_answers(inner)
        elif not path.is_file():
            raise SurveyError(path, "no such file; expected answers as .csv, .json or .sqlite")
        elif path.suffix.lower() in _DATABASES or is_database(path):
            from impasto.survey.serve.database import read_database  # noqa: PLC0415 - rarely needed

            answers += read_database(path)
        else:
            answers += read_answers(path)
    return answers


def _require_private(output: Path) -> None:
    """Refuse to write into a study's folder, which its owner gives away.

    Raises:
        OptionError: it is in one.
    """
    for folder in (output.resolve(), *output.resolve().parents):
        if (folder / "study.json").is_file():
            raise OptionError(
                "output",
                f"{output} is in a study, {folder}, which is public, and a report tells which "
                "pictures are real; choose a folder outside of it",
            )


def write_report(paths: Sequence[Path], options: SurveyReportOptions) -> Findings:
    """Analyze answers and write the folder of the report.

    Args:
        paths: files with answers, or folders of such files.
        options: options of the report: key, output and all settings.

    Raises:
        SurveyError: answers, key or pictures are missing, damaged or of different studies.
        OptionError: the output lies in the folder of a study, which is public.
        ImpastoError: a file cannot be read or written.
    """
    try:
        return _write_report(paths, options)
    except OSError as error:
        if isinstance(error, ImpastoError):
            raise
        message = f"{error.filename or options.output}: {error.strerror or error}"
        raise ImpastoError(message) from error


def _write_report(paths: Sequence[Path], options: SurveyReportOptions) -> Findings:
    _require_private(options.output)
    key = read_key(options.key)
    check_key(options.key, key)
    answers = read_all_answers(paths)
    findings = analyze(answers, key, options.key, options, answers_path=paths[0])
    # matplotlib and dominate, after all that can be refused.
    from impasto.runs.pages.figures import write_figure  # noqa: PLC0415
    from impasto.survey.report.figures import (  # noqa: PLC0415
        copy_pictures,
        draw_gallery,
        draw_pictures,
        draw_rates,
        draw_times,
    )
    from impasto.survey.report.page import write_report_page  # noqa: PLC0415

    output = options.output
    figures = output / "figures"
    figures.mkdir(parents=True, exist_ok=True)
    pictures: Mapping[str, Path] = {}
    if options.study is not None:
        tokens = [one.token for one in findings.pictures]
        pictures = copy_pictures(options.study, key, tokens, output / "pictures")
    drawn = {"rates": draw_rates(findings), "pictures": draw_pictures(findings)}
    if (times := draw_times(findings)) is not None:
        drawn["times"] = times
    attached = [output / "results.csv", output / "results.json"]
    write_text_atomic(attached[0], results_csv(findings))
    write_text_atomic(attached[1], results_json(findings, options))
    for name, figure in drawn.items():
        for suffix in (".png", ".pdf"):
            attached.append(figures / f"{name}{suffix}")
            write_figure(attached[-1], figure)
    if pictures:
        for number, name in enumerate(dict.fromkeys(one.group for one in findings.pictures)):
            # Numbered: a generator's name need not be safe for a file.
            attached.append(figures / f"gallery_{number}.png")
            write_figure(attached[-1], draw_gallery(findings, pictures, name), dpi=250)
    write_report_page(
        output / "index.html", findings, title=options.title, pictures=pictures, attached=attached
    )
    return findings


def results_csv(findings: Findings) -> str:
    """Return the table of pictures as CSV; unknown values are empty."""
    text = io.StringIO(newline="")
    table = csv.DictWriter(text, _COLUMNS, lineterminator="\n")
    table.writeheader()
    for picture in findings.pictures:
        wilson, exact = picture.wilson, picture.clopper_pearson
        values: dict[str, Any] = {
            "token": picture.token,
            "name": picture.name,
            "group": picture.group,
            "source": picture.source,
            "n": picture.n,
            "real": picture.real,
            "fake": picture.fake,
            "real_share": picture.real_share,
            "fake_share": None if picture.real_share is None else 1 - picture.real_share,
            "wilson_low": wilson and wilson.low,
            "wilson_high": wilson and wilson.high,
            "clopper_pearson_low": exact and exact.low,
            "clopper_pearson_high": exact and exact.high,
            "error_share": picture.error_share,
            "p": picture.p,
            "p_holm": picture.p_holm,
            "median_rt_ms": picture.median_rt_ms,
        }
        table.writerow({name: _written(value) for name, value in values.items()})
    return text.getvalue()


def results_json(findings: Findings, options: SurveyReportOptions) -> str:
    """Return all numbers as JSON; non-finite values are null."""
    settings = {
        name: getattr(options, name)
        for name in (
            *("failed_checks", "min_rt_ms", "fast_share", "keep_incomplete"),
            *("keep_straight_lines", "margin", "blocks", "resamples", "seed"),
        )
    }
    content = _finite({"format": 1, "options": settings, **findings.as_dict()})
    return json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _written(value: object) -> object:
    if value is None:
        return ""
    return f"{value:.6g}" if isinstance(value, float) else value


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _finite(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(one) for one in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
