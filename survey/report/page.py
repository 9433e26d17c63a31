"""The page of a report: one HTML file beside its pictures, tables and figures."""

from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path

from dominate import tags
from dominate.util import raw

from impasto.runs.pages.page import page, relative_url, write_page
from impasto.survey.analysis.findings import Estimate, Findings, GeneratorFindings, PictureFindings
from impasto.survey.analysis.judgements import REAL_GROUP
from impasto.survey.protocols import find_protocol
from impasto.survey.rates import Interval
from impasto.survey.report.text import (
    conclusions,
    decimal,
    decimal_range,
    limits,
    p_value,
    percent,
    percent_range,
    pluralize,
    points,
    points_range,
    seconds,
    verdict,
)

__all__ = [
    "agreement_part",
    "comparisons_part",
    "exclusions_part",
    "pictures_part",
    "rates_part",
    "said_part",
    "sensitivity_part",
    "write_report_page",
]


def write_report_page(
    path: Path,
    findings: Findings,
    *,
    title: str,
    pictures: Mapping[str, Path],
    attached: Sequence[Path],
) -> None:
    """Write the page of a report.

    Args:
        path: path of the page, ``index.html``.
        findings: results of the analysis.
        title: heading of the page.
        pictures: mapping from token to picture file; empty for a page without pictures.
        attached: further files of the report to which the page links.

    Raises:
        OSError: the folder cannot be written or the disk is full.
    """
    after = findings.after
    shown = sum(one.n > 0 for one in findings.pictures)
    people = pluralize(after.people, "person", "people")
    document = page(
        title,
        description=f"{people} judged {pluralize(shown, 'picture')} in "
        f"{pluralize(after.answers, 'answer')}.",
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
        said_part("What people said", conclusions(findings), name="conclusions"),
        rates_part(findings),
        sensitivity_part(findings),
    )
    if findings.comparisons:
        main.add(comparisons_part(findings))
    main.add(
        pictures_part(findings, pictures, path.parent),
        said_part("How far the numbers go", limits(findings), name="limits"),
        exclusions_part(findings),
        agreement_part(findings),
        _methods(findings),
        _attached(attached, path.parent),
    )
    write_page(path, document)


def _facts(findings: Findings) -> tags.html_tag:
    times = [person.median_rt_ms for person in findings.people if person.median_rt_ms is not None]
    excluded = findings.before.people - findings.after.people
    facts = {
        "Study": findings.survey_id,
        "Trials": find_protocol(findings.protocol).description,
        "People": f"{findings.after.people:,}, and {excluded:,} excluded",
        "Generators": str(len(findings.generators)),
    }
    if times:
        facts["Median time"] = seconds(sorted(times)[len(times) // 2])
    return tags.dl(
        *(tags.div(tags.dt(name), tags.dd(text, dir="auto")) for name, text in facts.items()),
        cls="facts",
    )


def _methods(findings: Findings) -> tags.html_tag:
    """Return the description of all computations, for the methods section of a paper."""
    versions = ", ".join(f"{name} {number}" for name, number in findings.versions.items())
    texts = [
        "Intervals for other people and other pictures: two-level bootstrap (people and pictures "
        f"drawn anew, independently, {findings.resamples:,} times) on the log-odds scale, its "
        "spread set to the unbiased one of crossed random effects (method of moments) and "
        "stretched to the t-distribution with Satterthwaite's degrees of freedom; errors, "
        "d\N{PRIME} and differences from the intervals of their shares (Zou 2008). Where all "
        "answers are the same: Clopper and Pearson (1934), for as many answers as there are people "
        "or pictures. "
        "docs/survey_report.md says in how many simulated studies they hold the truth.",
        "Intervals for other people: percentiles of the bootstrap of people (Zhou et al. 2019).",
        "Intervals of single pictures: Wilson (1927); results.csv has those of Clopper and Pearson "
        "(1934) as well. Tests of single pictures: exact binomial, Holm (1979).",
        "Guessing: two-sided test of 50 % errors from the two-level bootstrap; equivalence by two "
        "one-sided tests (Schuirmann 1987) at 2.5 % each, and never where all answers about one "
        "kind of picture are the same.",
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


def said_part(title: str, sentences: Sequence[str], *, name: str) -> tags.html_tag:
    """Return a section with sentences as a list."""
    return _section(title, tags.ul(*map(tags.li, sentences), cls="says", role="list"), name=name)


def rates_part(findings: Findings) -> tags.html_tag:
    """Return the section on the share of REAL for each group: figure and table."""
    scale = tags.div(cls="scale")
    for group in findings.groups:
        of = f"{pluralize(group.pictures, 'picture')}, {pluralize(group.answers, 'answer')}"
        kind = "real" if group.name == REAL_GROUP else "fake"
        scale.add(_row(_name(group.name), of, group.called_real, kind))
    for one in findings.generators:
        if one.error is not None and not findings.in_pairs:
            scale.add(_row("Errors", f"{one.name} against real", one.error, "error"))
    axis = tags.div(cls="axis", aria_hidden="true")
    for place in (0, 50, 100):
        axis.add(tags.span(f"{place}\N{NO-BREAK SPACE}%", style=f"left: {place}%"))
    scale.add(tags.div(tags.span(cls="label"), axis, tags.span(cls="number"), cls="row axis-row"))
    title = "How often pictures were called REAL"
    if findings.in_pairs:
        title = "How often the fake of a pair was taken for the real picture"
    return _section(
        title,
        scale,
        hint="Line: 95 % interval for other people and other pictures. Broad: for other people "
        "and these very pictures. Dashed: 50 %, a coin.",
        name="rates",
    )


def sensitivity_part(findings: Findings) -> tags.html_tag:
    """Return the section with error rate and sensitivity of each generator as a table."""
    columns = ["Generator", "Fooling rate", "Errors", "Guessing?", "d\N{PRIME}", "Leaning"]
    rows = [_sensitivity_row(one, findings) for one in findings.generators]
    hint = (
        "Errors: mean of fakes called REAL and real pictures called FAKE (HYPE-infinity); guessing "
        "gives 50 %. d\N{PRIME}: how far fakes and real pictures lie apart for people, 0 is "
        "guessing. Leaning: the criterion, below 0 to FAKE, above 0 to REAL."
    )
    if findings.in_pairs:
        hint = (
            "Errors: pairs in which the fake was taken for the real picture; guessing gives 50 %. "
            "d\N{PRIME}: how far the two lie apart for people, 0 is guessing. Leaning: below 0, "
            "people called the left one fake more often, above 0 the right one."
        )
    return _section("Told apart?", _table(columns, rows), hint=hint, name="sensitivity")


def comparisons_part(findings: Findings) -> tags.html_tag:
    """Return the section with the tests between generators as a table."""
    columns = [
        "Generators",
        "Difference of fooling",
        "Other people, other pictures",
        "Other people, these pictures",
    ]
    rows = []
    several = len(findings.comparisons) > 1
    for comparison in findings.comparisons:
        permutation = comparison.permutation
        details = []
        if permutation is not None:
            details = [
                "paired" if permutation.paired else "unpaired",
                pluralize(permutation.people, "person", "people"),
                f"before Holm {p_value(permutation.p)}" if several else "",
            ]
        rows.append(
            tags.tr(
                tags.th(f"{comparison.first} less {comparison.second}", scope="row", dir="auto"),
                _cell(
                    points(comparison.difference.value),
                    points_range(comparison.difference.interval),
                ),
                _cell(
                    p_value(comparison.p_two_level_holm),
                    f"before Holm {p_value(comparison.p_two_level)}" if several else "",
                ),
                _cell(p_value(comparison.p_permutation_holm), ", ".join(filter(None, details))),
            )
        )
    return _section(
        "Generators compared",
        _table(columns, rows),
        hint="The last column is a permutation test of people."
        + (" P-values are corrected for the number of comparisons (Holm)." if several else ""),
        name="comparisons",
    )


def pictures_part(findings: Findings, copies: Mapping[str, Path], folder: Path) -> tags.html_tag:
    """Return the section of pictures with percentages, or a table if there are no picture files."""
    counts = {one.n for one in findings.pictures}
    each = f" Each has {pluralize(counts.pop(), 'answer')}." if len(counts) == 1 else ""
    section = _section(
        "Pictures",
        hint="From most to least REAL. In the bar: share of REAL with its 95 % interval (Wilson), "
        f"in numbers below it.{each}",
        name="pictures",
    )
    for name in dict.fromkeys(one.group for one in findings.pictures):
        some = [one for one in findings.pictures if one.group == name]
        section.add(tags.h3(_name(name), dir="auto"))
        if all(one.token in copies for one in some):
            cards = [
                _card(one, relative_url(copies[one.token], folder), count=not each) for one in some
            ]
            section.add(tags.ul(*cards, cls="shown", role="list"))
        else:
            section.add(_picture_table(some))
    return section


def exclusions_part(findings: Findings) -> tags.html_tag:
    """Return the section on who was excluded and how that changed the results."""
    before, after = findings.before, findings.after
    rows = [_stage_row("All", before.people, before.answers, before.called_real)]
    rows.append(_stage_row("That count", after.people, after.answers, after.called_real))
    columns = ["", "People", "Answers", *(f"{_name(name)}: REAL" for name in before.called_real)]
    reasons = [
        tags.tr(
            tags.th(reason.name, scope="row"),
            tags.td(str(reason.meets)),
            tags.td(str(reason.removed)),
        )
        for reason in findings.reasons
    ]
    toll = _table(["Criterion", "People it applies to", "Removed by it"], reasons)
    left_out = [f"{name}: {count:,}" for name, count in findings.sessions.items() if count]
    notes = [*findings.notes, f"Read: {'; '.join(left_out)}."]
    section = _section(
        "Exclusions",
        _table(columns, rows),
        hint="Criteria apply in the order of the table; one person can meet several.",
        name="exclusions",
    )
    section.add(toll, tags.ul(*map(tags.li, notes), cls="says", role="list"))
    return section


def agreement_part(findings: Findings) -> tags.html_tag:
    """Return the section on agreement and reaction times."""
    rows = []
    for group in findings.groups:
        some, times = group.agreement, group.times
        rows.append(
            tags.tr(
                tags.th(_name(group.name), scope="row", dir="auto"),
                _cell(percent(some.raw), f"by chance {percent(some.expected)}"),
                _cell(_number(some.alpha), _number_range(some.alpha_interval)),
                tags.td(_number(some.fleiss)),
                _cell(*_times(times.quartiles if times else None)),
                tags.td(seconds(times.right if times else None)),
                tags.td(seconds(times.wrong if times else None)),
            )
        )
    whole = findings.agreement
    rows.append(
        tags.tr(
            tags.th("All pictures", scope="row"),
            _cell(percent(whole.raw), f"by chance {percent(whole.expected)}"),
            _cell(_number(whole.alpha), _number_range(whole.alpha_interval)),
            tags.td(_number(whole.fleiss)),
            *(tags.td() for _ in range(3)),
        )
    )
    columns = ["", "Agreement", "Alpha", "Kappa", "Median time", "Right", "Wrong"]
    return _section(
        "Agreement and times",
        _table(columns, rows),
        hint="Agreement: how often two people say the same about a picture. Alpha "
        "(Krippendorff) and kappa (Fleiss) take chance away: 0 is chance, 1 is full agreement. "
        "Where nearly all answers are the same, they are low although people agree.",
        name="agreement",
    )


def _sensitivity_row(generator: GeneratorFindings, findings: Findings) -> tags.html_tag:
    group = findings.group(generator.name)
    rate = group.called_real if group else None
    equivalence = generator.equivalence
    tost = p_value(equivalence.p) if equivalence else "\N{EN DASH}"
    return tags.tr(
        tags.th(generator.name, scope="row", dir="auto"),
        _cell(
            percent(rate.value if rate else None, 1),
            percent_range(rate.interval if rate else None, 1),
        ),
        _cell(
            percent(generator.error.value if generator.error else None, 1),
            percent_range(generator.error.interval if generator.error else None, 1),
        ),
        _cell(verdict(generator), f"{p_value(generator.p_chance)}; equivalence {tost}"),
        _cell(decimal(generator.d_prime), decimal_range(generator.d_prime)),
        _cell(decimal(generator.criterion), decimal_range(generator.criterion)),
    )


def _stage_row(
    name: str, people: int, answers: int, rates: Mapping[str, Estimate]
) -> tags.html_tag:
    cells = [_cell(percent(one.value, 1), percent_range(one.interval, 1)) for one in rates.values()]
    return tags.tr(
        tags.th(name, scope="row"), tags.td(f"{people:,}"), tags.td(f"{answers:,}"), *cells
    )


def _row(label: str, detail: str, measured: Estimate, kind: str) -> tags.html_tag:
    track = tags.div(
        tags.i(cls="half"),
        _span(measured.people, "people"),
        _span(measured.interval, "both"),
        tags.i(cls="point", style=f"left: {100 * measured.value:.2f}%"),
        cls="track",
        aria_hidden="true",
    )
    number = tags.div(
        tags.b(percent(measured.value, 1)),
        tags.small(percent_range(measured.interval, 1)),
        cls="number",
    )
    return tags.div(
        tags.div(label, tags.small(detail), cls="label", dir="auto"),
        track,
        number,
        cls=f"row {kind}",
    )


def _span(interval: Interval | None, name: str) -> tags.html_tag:
    if interval is None:
        return tags.i(cls=name, style="width: 0")
    left, width = 100 * interval.low, 100 * (interval.high - interval.low)
    return tags.i(cls=name, style=f"left: {left:.2f}%; width: {width:.2f}%")


def _card(picture: PictureFindings, url: str, *, count: bool) -> tags.html_tag:
    image = tags.img(src=url, alt=picture.name, loading="lazy", decoding="async")
    file = tags.span(Path(picture.source).name, cls="file", title=picture.source, dir="auto")
    if picture.real_share is None or picture.wilson is None:
        caption = tags.figcaption(tags.small("not judged"), file)
        return tags.li(tags.figure(image, caption))
    left, width = 100 * picture.wilson.low, 100 * (picture.wilson.high - picture.wilson.low)
    bar = tags.span(
        tags.i(cls="share", style=f"width: {100 * picture.real_share:.2f}%"),
        tags.i(cls="interval", style=f"left: {left:.2f}%; width: {width:.2f}%"),
        tags.i(cls="at", style=f"left: {100 * picture.real_share:.2f}%"),
        cls="bar",
        aria_hidden="true",
    )
    shares = tags.span(
        tags.span(f"REAL {percent(picture.real_share)}", cls="real"),
        tags.span(f"FAKE {percent(1 - picture.real_share)}", cls="fake"),
        cls="shares",
    )
    detail = percent_range(picture.wilson) + (f" of {picture.n}" if count else "")
    caption = tags.figcaption(shares, bar, tags.small(detail), file)
    return tags.li(tags.figure(image, caption))


def _picture_table(pictures: Sequence[PictureFindings]) -> tags.html_tag:
    columns = ["Picture", "Answers", "REAL", "FAKE", "95 % interval", "Other than 50 %?", "Time"]
    rows = [
        tags.tr(
            tags.th(
                picture.name, tags.small(f" {Path(picture.source).name}"), scope="row", dir="auto"
            ),
            tags.td(str(picture.n)),
            tags.td(percent(picture.real_share)),
            tags.td(percent(None if picture.real_share is None else 1 - picture.real_share)),
            tags.td(percent_range(picture.wilson)),
            tags.td(p_value(picture.p_holm)),
            tags.td(seconds(picture.median_rt_ms)),
        )
        for picture in pictures
    ]
    return _table(columns, rows)


def _times(quartiles: tuple[float, float, float] | None) -> tuple[str, str]:
    if quartiles is None:
        return seconds(None), ""
    low, middle, high = quartiles
    return seconds(middle), f"{low / 1000:.1f} to {seconds(high)}"


def _number(value: float | None) -> str:
    return decimal(None if value is None else Estimate(value=value))


def _number_range(interval: Interval | None) -> str:
    return decimal_range(None if interval is None else Estimate(value=0.0, interval=interval))


def _cell(value: str, detail: str = "") -> tags.html_tag:
    return tags.td(value, tags.small(detail) if detail else "")


def _table(columns: Sequence[str], rows: Sequence[tags.html_tag]) -> tags.html_tag:
    head = tags.thead(tags.tr(*(tags.th(name, scope="col", dir="auto") for name in columns)))
    # Focusable, so that the keyboard can scroll it on a phone's width.
    return tags.div(
        tags.table(head, tags.tbody(*rows), cls="numbers"),
        cls="wide",
        tabindex="0",
        role="region",
        aria_label=" ".join(filter(None, columns[:2])),
    )


def _name(group: str) -> str:
    return "Real pictures" if group == REAL_GROUP else group


def _section(title: str, *content: tags.html_tag, hint: str = "", name: str) -> tags.html_tag:
    head = tags.div(tags.h2(title), cls="section-head")
    if hint:
        head.add(tags.p(hint, cls="hint"))
    return tags.section(head, *content, cls=name)
