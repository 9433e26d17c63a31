"""Conclusions and limits of a study in plain words, and the formatting of numbers."""

from collections.abc import Iterator, Sequence

from scipy.stats import norm

from impasto.survey.analysis.findings import (
    Comparison,
    Estimate,
    Findings,
    GeneratorFindings,
    GroupFindings,
)
from impasto.survey.analysis.judgements import REAL_GROUP
from impasto.survey.rates import Interval, Rate

__all__ = [
    "conclusions",
    "decimal",
    "decimal_range",
    "join_words",
    "limits",
    "p_value",
    "percent",
    "percent_range",
    "pluralize",
    "points",
    "points_range",
    "seconds",
    "verdict",
]


_SPACE = "\N{NO-BREAK SPACE}"
_MINUS = "\N{MINUS SIGN}"


def percent(share: float | None, digits: int = 0) -> str:
    """Format a share: ``31 %``; a dash for None."""
    return "\N{EN DASH}" if share is None else f"{100 * share:.{digits}f}{_SPACE}%"


def percent_range(interval: Interval | None, digits: int = 0) -> str:
    """Format an interval of shares: ``22 to 42 %``; a dash for None."""
    if interval is None:
        return "\N{EN DASH}"
    return f"{100 * interval.low:.{digits}f} to {percent(interval.high, digits)}"


def points(difference: float) -> str:
    """Format a difference of shares in percentage points: ``+12 points``."""
    return f"{_signed(100 * difference, 0)} points"


def points_range(interval: Interval | None) -> str:
    """Format an interval of differences: ``-3 to +27 points``; a dash for None."""
    if interval is None:
        return "\N{EN DASH}"
    return f"{_signed(100 * interval.low, 0)} to {points(interval.high)}"


def decimal(measured: Estimate | None) -> str:
    """Format a number with two decimals; a dash for None."""
    return "\N{EN DASH}" if measured is None else _plain(measured.value)


def decimal_range(measured: Estimate | None) -> str:
    """Format the interval of a number with two decimals; a dash for None."""
    if measured is None or measured.interval is None:
        return "\N{EN DASH}"
    return f"{_plain(measured.interval.low)} to {_plain(measured.interval.high)}"


def p_value(p: float | None) -> str:
    """Format a p-value: ``p = 0.031``, ``p < 0.001``; a dash for None."""
    if p is None:
        return "\N{EN DASH}"
    if p < 0.001:
        return f"p{_SPACE}<{_SPACE}0.001"
    return f"p{_SPACE}={_SPACE}{p:.3f}" if p < 0.1 else f"p{_SPACE}={_SPACE}{p:.2f}"


def seconds(milliseconds: float | None) -> str:
    """Format a time in seconds: ``2.3 s``; a dash for None."""
    return "\N{EN DASH}" if milliseconds is None else f"{milliseconds / 1000:.1f}{_SPACE}s"


def pluralize(number: int, noun: str, plural: str = "") -> str:
    """Format a number with its noun: ``1 person``, ``14 people``."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def join_words(words: Sequence[str]) -> str:
    """Join words into a list: ``a, b and c``."""
    if len(words) < 2:
        return "".join(words)
    return f"{', '.join(words[:-1])} and {words[-1]}"


def _plain(number: float) -> str:
    return f"{number:.2f}".replace("-", _MINUS) if f"{number:.2f}" != "-0.00" else "0.00"


def _signed(number: float, digits: int) -> str:
    text = f"{number:+.{digits}f}"
    return "0" if float(text) == 0 else text.replace("-", _MINUS)


_ALPHA = 0.05
_FEW = 20
# Half width from which an interval of a share says next to nothing.
_NEXT_TO_NOTHING = 0.4
# Fisher's exact test of 3 of 3 against 0 of 3 gives p = 0.1, and of 4 against 0 of 4 0.03.
_FEWEST_TO_DIFFER = 4


def conclusions(findings: Findings) -> list[str]:
    """Return the conclusions: about each generator, comparisons of generators, and pictures."""
    said = [sentence for one in findings.generators for sentence in _about(one, findings)]
    said += [_compared(one, findings) for one in findings.comparisons]
    if findings.exposure is not None:
        exposure = findings.exposure
        said.append(
            f"Exposures followed the answers: people needed {exposure.score_ms:.0f} ms to tell "
            f"fakes (HYPE-time; 95 % interval for other people {exposure.people.low:.0f} to "
            f"{exposure.people.high:.0f} ms). The longer, the better the fakes. Shares of errors "
            "say little here, because the exposures keep them near the same value."
        )
    return said


def limits(findings: Findings) -> list[str]:
    """Return the limits of the conclusions."""
    sentences = list(_about_pictures(findings))
    if (leaning := _leaning(findings)) is not None:
        sentences.append(leaning)
    sentences += _about_exclusions(findings)
    people = findings.after.people
    if people == 1:
        sentences.append(
            "One person is no sample: nothing here tells how others would judge these pictures."
        )
    elif people < _FEW:
        sentences.append(
            f"{pluralize(people, 'person', 'people')} are few. Intervals tell of chance among "
            "people like these; they cannot tell whether these people are like others."
        )
    sentences.append(
        "Intervals are for other people recruited in the same way and other pictures made in the "
        "same way, shown at the same size and for the same time. For other sizes, screens, "
        "instructions or shares of real pictures, ask again."
    )
    sentences.append(
        "Whether pictures look real is one question. It says nothing of whether a translation kept "
        "its photograph's content, or whether its style is right."
    )
    return sentences


def verdict(generator: GeneratorFindings) -> str:
    """Summarize in a few words how well people distinguished a generator's pictures from real."""
    if generator.error is None or generator.p_chance is None or generator.equivalence is None:
        return "cannot be said"  # as in _told_apart
    if generator.equivalence.shown:
        return "indistinguishable within the margin"
    if generator.p_chance < _ALPHA:
        return "told apart" if generator.error.value < 0.5 else "more real than real"
    return "open"


def _about(generator: GeneratorFindings, findings: Findings) -> Iterator[str]:
    group = findings.group(generator.name)
    if group is None:
        return
    fooled, how_sure = percent(group.called_real.value), _range(group.called_real)
    if findings.in_pairs:
        yield (
            f"{generator.name}: in {fooled} of the pairs ({how_sure}), its picture was taken for "
            f"the real one; guessing gives 50 %. {_told_apart(generator, with_error=False)}"
        )
        return
    real = findings.group(REAL_GROUP)
    beside = ""
    if real is not None:
        beside = f", real ones in {percent(real.called_real.value)} ({_range(real.called_real)})"
    yield (
        f"{generator.name}: people called its pictures REAL in {fooled} of their answers "
        f"({how_sure}){beside}. "
        f"{_told_apart(generator, with_error=True)}"
    )


def _told_apart(generator: GeneratorFindings, *, with_error: bool) -> str:
    if generator.error is None or generator.p_chance is None or generator.equivalence is None:
        return (
            "Whether people can tell them apart cannot be said: that takes real pictures, and at "
            "least two people and two pictures of each kind."
        )
    error, equivalence = generator.error, generator.equivalence
    wrong = f" ({p_value(generator.p_chance)})"
    if with_error:
        wrong = (
            f": they were wrong in {percent(error.value)} ({_range(error)}; "
            f"{p_value(generator.p_chance)}), where guessing gives 50 %"
        )
    within = f"{100 * (0.5 - equivalence.margin):g} to {percent(0.5 + equivalence.margin)}"
    if equivalence.shown:
        also = "" if generator.p_chance >= _ALPHA else ", although not exactly 50 %"
        return (
            f"Within the margin, {within} of errors, people could not tell them apart{wrong}"
            f"{also}. The 95 % interval, {percent_range(equivalence.interval, 1)}, lies inside "
            f"({p_value(equivalence.p)}, two one-sided tests at 2.5 %)."
        )
    if generator.p_chance < _ALPHA and error.value < 0.5:
        return f"People told them apart{wrong}."
    if generator.p_chance < _ALPHA:
        return f"People took them for more real than the real ones{wrong}."
    missing = (
        f"for that, the 95 % interval, {percent_range(equivalence.interval)}, would have to lie "
        f"within {within} ({p_value(equivalence.p)}, two one-sided tests at 2.5 %)."
    )
    if equivalence.unanimous:
        missing = (
            "all answers about one kind of picture are the same, so that nothing tells how much "
            "people and pictures differ."
        )
    return (
        f"Whether people can tell them apart is open{wrong}. This is no proof that they cannot: "
        f"{missing}"
    )


def _compared(comparison: Comparison, findings: Findings) -> str:
    first, second = comparison.first, comparison.second
    if comparison.difference.value < 0:
        first, second = second, first
    size = f"{100 * abs(comparison.difference.value):.0f} points"
    if comparison.p_permutation_holm is None or comparison.p_two_level_holm is None:
        return (
            f"{first} fooled people more often than {second}, by {size}; there are too few people "
            "or pictures to test it."
        )
    holm = "; corrected by Holm" if len(findings.comparisons) > 1 else ""
    numbers = (
        f"(95 % interval of {comparison.first} less {comparison.second}: "
        f"{points_range(comparison.difference.interval)}; "
        f"{p_value(comparison.p_two_level_holm)} for other people and other pictures, "
        f"{p_value(comparison.p_permutation_holm)} for other people and these very pictures{holm})"
    )
    if comparison.p_two_level_holm < _ALPHA:
        return f"{first} fools people more often than {second}, by {size} {numbers}."
    if comparison.p_permutation_holm < _ALPHA:
        return (
            f"These pictures of {first} fool people more often than those of {second}, by {size} "
            f"{numbers}. Whether the generators differ is open, and takes more pictures to say."
        )
    return (
        f"Whether {first} or {second} fools people more often is open: here {first} did, by {size} "
        f"{numbers}."
    )


def _about_pictures(findings: Findings) -> Iterator[str]:
    asked = [one.n for one in findings.pictures if one.n]
    if not asked:
        return
    n = sorted(asked)[len(asked) // 2]
    middle = Rate(count=n // 2, n=n).wilson()
    if middle is None:
        return
    apart = 100 * norm.ppf(0.975) * (0.5 / n) ** 0.5
    differ_by = f"differ by more than chance only if they are some {apart:.0f} points apart"
    if n < _FEWEST_TO_DIFFER:
        differ_by = "never differ by more than chance, with so few answers"
    yield (
        f"A single picture has {pluralize(n, 'answer')}: its percentage is good to some "
        f"\N{PLUS-MINUS SIGN}{100 * middle.half_width:.0f} points. Two given pictures {differ_by}."
    )
    differ = [one for one in findings.groups if (one.p_pictures or 0.0) < _ALPHA]
    alike = [one for one in findings.groups if (one.p_pictures or 0.0) >= _ALPHA]
    differ = [one for one in differ if one.p_pictures is not None]
    if differ:
        yield (
            f"The percentages of {_pictures_of(differ)} differ by more than chance: some of these "
            "pictures are called REAL more often than others."
        )
    if alike:
        yield (
            f"The percentages of {_pictures_of(alike)} differ no more than chance makes them: do "
            "not rank these pictures."
        )
    corrected = [one.p_holm for one in findings.pictures if one.p_holm is not None]
    clear = sum(p < _ALPHA for p in corrected)
    yield (
        f"Tested one by one against 50 % and corrected for {len(corrected)} tests (Holm), "
        f"{clear or 'none'} of {pluralize(len(corrected), 'picture')} "
        f"{'is' if clear == 1 else 'are'} different from a coin."
    )


def _leaning(findings: Findings) -> str | None:
    if findings.in_pairs:
        return None
    leaning: dict[str, list[str]] = {"FAKE": [], "REAL": []}
    for generator in findings.generators:
        interval = generator.criterion.interval if generator.criterion else None
        if interval is not None and not interval.holds(0.0):
            leaning["REAL" if interval.low > 0 else "FAKE"].append(generator.name)
    leanings = [f"to {answer} ({join_words(names)})" for answer, names in leaning.items() if names]
    if not leanings:
        return None
    return (
        f"People leaned {join_words(leanings)} whatever they saw, which moves fooling rates up or "
        "down without any better or worse pictures. Errors and d\N{PRIME} take both kinds of "
        "mistakes into account."
    )


def _about_exclusions(findings: Findings) -> Iterator[str]:
    left_out = findings.before.people - findings.after.people
    if not left_out:
        yield "Nobody was excluded."
        return
    changes = [
        f"{name} {percent(before.value)}"
        for name, before in findings.before.called_real.items()
        if name != REAL_GROUP
    ]
    yield (
        f"{left_out} of {pluralize(findings.before.people, 'person', 'people')} are excluded. With "
        f"them, fooling rates would be: {join_words(changes)}."
    )


def _pictures_of(groups: Sequence[GroupFindings]) -> str:
    return join_words(
        [
            f"{'real pictures' if one.name == REAL_GROUP else one.name} ({p_value(one.p_pictures)})"
            for one in groups
        ]
    )


def _range(measured: Estimate) -> str:
    if measured.interval is None:
        return "no interval: it takes two people and two pictures"
    wide = measured.interval.half_width > _NEXT_TO_NOTHING
    return f"95 % interval {percent_range(measured.interval)}" + (
        ": too few people or pictures to know more" if wide else ""
    )
