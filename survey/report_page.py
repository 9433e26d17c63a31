"""The page of a report: one HTML file beside its pictures, tables and figures."""

from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path

from dominate import tags
from dominate.util import raw

from impasto.runs.pages.page import page, relative_url, write_page
from impasto.survey import report_parts as parts
from impasto.survey.findings import Findings
from impasto.survey.sentences import conclusions, limits
from impasto.survey.wording import counted, seconds

__all__ = ["write_report_page"]

_PROTOCOLS = {
    "single": "one picture at a time, no limit of time",
    "pair": "pairs of one real and one fake picture",
    "timed": "one picture at a time, shown for a limited time",
}


def write_report_page(
    path: Path,
    findings: Findings,
    *,
    title: str,
    pictures: Mapping[str, Path],
    attached: Sequence[Path],
) -> None:
    """Write the page.

    Args:
        path: ``index.html``.
        findings: all numbers.
        title: heading.
        pictures: token to file; empty for tables only.
        attached: further files of the report, which the page links to.

    Raises:
        OSError: the folder cannot be written or the disk is full.
    """
    after = findings.after
    shown = sum(one.n > 0 for one in findings.pictures)
    people = counted(after.people, "person", "people")
    document = page(
        title,
        description=f"{people} judged {counted(shown, 'picture')} in "
        f"{counted(after.answers, 'answer')}.",
    )
    document.head.add(tags.style(raw(_style())))
    main = document.main
    main.add(
        tags.p(
            "This page tells which pictures are real. Keep it to yourself while people still take "
            "the study.",
            cls="notice",
        ),
        _facts(findings),
        parts.said_part("What people said", conclusions(findings), name="conclusions"),
        parts.rates_part(findings),
        parts.sensitivity_part(findings),
    )
    if findings.comparisons:
        main.add(parts.comparisons_part(findings))
    main.add(
        parts.pictures_part(findings, pictures, path.parent),
        parts.said_part("How far the numbers go", limits(findings), name="limits"),
        parts.exclusions_part(findings),
        parts.agreement_part(findings),
        _methods(findings),
        _attached(attached, path.parent),
    )
    write_page(path, document)


def _facts(findings: Findings) -> tags.html_tag:
    times = [one.median_rt_ms for one in findings.people if one.median_rt_ms is not None]
    excluded = findings.before.people - findings.after.people
    found = {
        "Study": findings.survey_id,
        "Trials": _PROTOCOLS[findings.protocol],
        "People": f"{findings.after.people:,}, and {excluded:,} excluded",
        "Generators": str(len(findings.generators)),
    }
    if times:
        found["Median time"] = seconds(sorted(times)[len(times) // 2])
    return tags.dl(
        *(tags.div(tags.dt(name), tags.dd(text, dir="auto")) for name, text in found.items()),
        cls="facts",
    )


def _methods(findings: Findings) -> tags.html_tag:
    """Return how everything was computed, for the methods section of a paper."""
    versions = ", ".join(f"{name} {number}" for name, number in findings.versions.items())
    texts = [
        "Intervals for other people and other pictures: two-level bootstrap (people and pictures "
        f"drawn anew, independently, {findings.resamples:,} times) on the log-odds scale, its "
        "spread set to the unbiased one of crossed random effects (method of moments) and "
        "stretched to the t-distribution with Satterthwaite's degrees of freedom. In simulated "
        "studies they hold the truth in 93.5 to 98 %, of pairs to 99 % (docs/survey_report.md).",
        "Intervals for other people: percentiles of the bootstrap of people (Zhou et al. 2019).",
        "Intervals of single pictures: Wilson (1927); results.csv has those of Clopper and Pearson "
        "(1934) as well. Tests of single pictures: exact binomial, Holm (1979).",
        "Guessing: two-sided test of 50 % errors from the two-level bootstrap; equivalence by two "
        "one-sided tests (Schuirmann 1987).",
        "d\N{PRIME} and criterion: log-linear correction (Hautus 1995); of pairs, "
        "\N{SQUARE ROOT}2 z(right) (Macmillan and Creelman 2005).",
        "Whether pictures differ: answers permuted within people (after Cochran 1950). Generators: "
        "people's own rates swapped, or people exchanged where different people judged them.",
        "Agreement: Fleiss (1971), Krippendorff (2019); interval by drawing pictures anew.",
        f"Seed {findings.seed}; {versions}.",
    ]
    section = tags.section(
        tags.div(tags.h2("How this was computed"), cls="section-head"), cls="methods"
    )
    section.add(
        tags.details(
            tags.summary("Methods"), tags.ul(*map(tags.li, texts), cls="says", role="list")
        )
    )
    return section


def _attached(attached: Sequence[Path], folder: Path) -> tags.html_tag:
    links = [
        tags.li(tags.a(path.relative_to(folder).as_posix(), href=relative_url(path, folder)))
        for path in attached
    ]
    return tags.section(
        tags.div(tags.h2("Files"), cls="section-head"),
        tags.ul(*links, cls="files", role="list"),
        cls="attached",
    )


@cache
def _style() -> str:
    return files("impasto.survey").joinpath("page", "report.css").read_text(encoding="utf-8")
