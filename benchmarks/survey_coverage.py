"""How often the intervals of `impasto survey report` hold the truth, in studies with a known one.

    python benchmarks/survey_coverage.py
    python benchmarks/survey_coverage.py --studies 4000 --resamples 10000
    python benchmarks/survey_coverage.py --markdown >> docs/survey_report.md
    python benchmarks/survey_coverage.py --margin --studies 1000 --resamples 300 --least_freedom 12
    python benchmarks/survey_coverage.py --few_pictures --studies 1000 --resamples 300
    python benchmarks/survey_coverage.py --counting --studies 20000

Every simulated study draws people and pictures anew from populations in which they differ by the
given standard deviations (log-odds), and lets each person judge all pictures: real ones and those
of two generators. An interval of 95 % should hold the rate of the whole population in 95 % of the
studies. Beside the report's interval stand those that are common:

- ``two-level``: percentiles of a two-level bootstrap, people and pictures drawn anew;
- ``people``: percentiles with only people drawn anew (HYPE);
- ``Wilson``: all answers taken as independent.

With ``--pairs``, trials are pairs of a fake and a random real picture, whose effects add up.

With ``--margin``, how often is a difference missed? The true error lies exactly on the edge of the
margin of equivalence, at 45 %, so that "people could not tell them apart" is false; real pictures
are called REAL in 50 to 99.5 %. Printed are the share of studies in which all answers about one
kind of picture were the same, the share that falsely declared equivalence (at most 5 % should), and
the coverage of the error's 95 % interval, there and at a true error of 30 %. ``--least_freedom 12``
adds the same of an interval that is narrower in small studies: its t-distribution never has fewer
degrees of freedom. Both see the same studies.

``--counting`` says, for the same studies, in how many of them the error would be held by somebody
who knows all but the error itself (how much people and pictures differ, and how readily real
pictures are called REAL), and leaves out at most 2.5 % of studies on each side: answers are whole
numbers, so that this is more than 95 %.

``--few_pictures`` takes designs of 100 and 300 people and 3 or 5 pictures instead.
"""

import argparse
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit
from scipy.stats import norm

from impasto.survey.analysis.bootstrap import JudgementTable, Spread, TwoLevel
from impasto.survey.analysis.components import constant_of
from impasto.survey.analysis.generators import d_prime_of_rates
from impasto.survey.rates import Interval

__all__ = ["main"]

Values = NDArray[np.float64]
Design = tuple[int, int, float, float, float]
"""People, pictures, their standard deviations, and the rate at which real pictures are REAL."""

_GROUPS = ("real", "generator", "other")
_SIZES_AT_MARGIN = ((3, 3), (5, 4), (8, 5), (14, 10), (30, 10))
_REAL_AT_MARGIN = (0.5, 0.75, 0.9, 0.97, 0.995)
_EFFECTS_AT_MARGIN = ((0.5, 1.0), (0.3, 0.3))
_FEW_PICTURES = ((100, 3), (100, 5), (300, 5))
_EFFECTS_OF_FEW = ((0.3, 0.3), (0.5, 1.0), (0.3, 1.5))


@dataclass(frozen=True, kw_only=True)
class Setting:
    """Design and truth of a study.

    Attributes:
        people: number of.
        pictures: of each group.
        rate: fooling rate of the generator; the other generator has 0.4.
        person_sd: of people, log-odds.
        picture_sd: of pictures, log-odds.
        answered: share of the answers that are there.
        real: rate at which real pictures are called REAL.
        others: whether there is another generator.
    """

    people: int
    pictures: int
    rate: float
    person_sd: float
    picture_sd: float
    answered: float = 1.0
    real: float = 0.75
    others: bool = True

    @property
    def rates(self) -> Values:
        """Truth of each group."""
        return np.array([self.real, self.rate, 0.4] if self.others else [self.real, self.rate])


@dataclass
class Tally:
    """How often intervals held the truth or showed equivalence, and their widths."""

    held: list[bool] = field(default_factory=list)
    above: int = 0
    below: int = 0
    equivalent: int = 0
    half_widths: list[float] = field(default_factory=list)

    def add(self, found: Spread | Interval | None, truth: float) -> None:
        """Count one interval."""
        if found is None:
            return
        interval = found.interval() if isinstance(found, Spread) else found
        self.held.append(interval.holds(truth))
        self.above += interval.low > truth
        self.below += interval.high < truth
        self.half_widths.append(interval.half_width)

    @property
    def coverage(self) -> float:
        """Share of intervals that held the truth."""
        return float(np.mean(self.held))


def main() -> int:
    """Simulate, print; return the exit status."""
    args = _arguments()
    rng = np.random.default_rng(args.seed)
    start = time.perf_counter()
    divider = " | " if args.markdown else "  "
    if args.margin or args.counting:
        (_print_margin if args.margin else _print_counting)(args, rng, divider)
        print(f"\n{args.studies} studies each, {time.perf_counter() - start:.0f} s")
        return 0
    names = ["report", "two-level", "people", "Wilson", "error", "d'", "difference"]
    names = names[:4] if args.pairs else names
    columns = ["people", "pictures", "rate", "SD people", "SD pictures", "+-", *names]
    print(divider.join(columns))
    if args.markdown:
        print(divider.join("---:" for _ in columns))
    for setting in _few_pictures() if args.few_pictures else _settings(args.pairs):
        tallies = _run(setting, args.studies, args.resamples, rng, pairs=args.pairs)
        answered = "" if setting.answered == 1 else f" ({setting.answered:.0%} answered)"
        cells = [
            f"{setting.people}",
            f"{setting.pictures}{answered}",
            f"{setting.rate:.0%}",
            f"{setting.person_sd:g}",
            f"{setting.picture_sd:g}",
            f"{100 * np.mean(tallies['report'].half_widths):.1f}",
            *(f"{100 * tallies[name].coverage:.1f}" for name in names),
        ]
        if not args.markdown:
            cells = [cell.rjust(len(name)) for cell, name in zip(cells, columns, strict=True)]
        print(divider.join(cells), flush=True)
    print(f"\n{args.studies} studies each, {time.perf_counter() - start:.0f} s")
    return 0


def _print_margin(args: argparse.Namespace, rng: np.random.Generator, divider: str) -> None:
    """Print how often equivalence is declared falsely, and the coverage of the error."""
    columns = ["people", "pictures", "REAL of real", "SD people", "SD pictures", "all the same"]
    measured = ["false equivalence", "+-", "coverage at 45 %", "coverage at 30 %"]
    columns += measured
    if args.least_freedom is not None:
        columns += [f"{name}, >= {args.least_freedom:g} degrees of freedom" for name in measured]
    print(divider.join(columns))
    if args.markdown:
        print(divider.join("---:" for _ in columns))
    for design in _designs_at_margin(args.few_pictures):
        edges, same = _at_error(0.45, design, args, rng)
        others, _ = _at_error(0.3, design, args, rng)
        cells = [*_words_of(design), f"{100 * same:.1f}"]
        for edge, apart in zip(edges, others, strict=True):
            cells += [
                f"{100 * edge.equivalent / args.studies:.1f}",
                f"{100 * np.mean(edge.half_widths):.1f}",
                f"{100 * edge.coverage:.1f}",
                f"{100 * apart.coverage:.1f}",
            ]
        if not args.markdown:
            cells = [cell.rjust(len(name)) for cell, name in zip(cells, columns, strict=True)]
        print(divider.join(cells), flush=True)


def _print_counting(args: argparse.Namespace, rng: np.random.Generator, divider: str) -> None:
    """Print the coverage of the error for somebody who knows everything but the error."""
    columns = [
        "people",
        "pictures",
        "REAL of real",
        "SD people",
        "SD pictures",
        "at 45 %",
        "at 30 %",
    ]
    print(divider.join(columns))
    if args.markdown:
        print(divider.join("---:" for _ in columns))
    for design in _designs_at_margin(args.few_pictures):
        held = [_held_by_counting(error, design, args.studies, rng) for error in (0.45, 0.3)]
        cells = [*_words_of(design), *(f"{100 * share:.1f}" for share in held)]
        if not args.markdown:
            cells = [cell.rjust(len(name)) for cell, name in zip(cells, columns, strict=True)]
        print(divider.join(cells), flush=True)


def _held_by_counting(
    error: float, design: Design, studies: int, rng: np.random.Generator
) -> float:
    """Return the share of studies that two exact tests of the true error at 2.5 % let pass."""
    people, pictures, person_sd, picture_sd, real = design
    who = rng.normal(0, person_sd, (studies, people, 1))
    counts = []
    for rate in (real, 2 * error - 1 + real):
        what = rng.normal(0, picture_sd, (studies, 1, pictures))
        chance = expit(constant_of(rate, person_sd, picture_sd) + who + what)
        counts.append((rng.random(chance.shape) < chance).sum(axis=(1, 2)))
    _, times = np.unique(counts[1] - counts[0], return_counts=True)
    chances = times / studies
    below, above = np.cumsum(chances), np.cumsum(chances[::-1])[::-1]
    return float(1 - chances[(below <= 0.025) | (above <= 0.025)].sum())


def _designs_at_margin(few_pictures: bool) -> Iterator[Design]:
    for person_sd, picture_sd in _EFFECTS_OF_FEW if few_pictures else _EFFECTS_AT_MARGIN:
        for people, pictures in _FEW_PICTURES if few_pictures else _SIZES_AT_MARGIN:
            for real in _REAL_AT_MARGIN:
                yield people, pictures, person_sd, picture_sd, real


def _words_of(design: Design) -> list[str]:
    people, pictures, person_sd, picture_sd, real = design
    return [f"{people}", f"{pictures}", f"{100 * real:g} %", f"{person_sd:g}", f"{picture_sd:g}"]


def _at_error(
    error: float,
    design: Design,
    args: argparse.Namespace,
    rng: np.random.Generator,
) -> tuple[list[Tally], float]:
    """Return tallies of the error by each interval, and the share of studies at a wall."""
    people, pictures, person_sd, picture_sd, real = design
    setting = Setting(
        people=people,
        pictures=pictures,
        rate=2 * error - 1 + real,
        person_sd=person_sd,
        picture_sd=picture_sd,
        real=real,
        others=False,
    )
    least = [0.0] if args.least_freedom is None else [0.0, args.least_freedom]
    tallies = [Tally() for _ in least]
    same = 0
    for _ in range(args.studies):
        two_level = TwoLevel(_study(setting, rng), resamples=args.resamples, rng=rng)
        spread = two_level.spread(lambda rates: (rates[..., 1] + 1 - rates[..., 0]) / 2)
        if spread is None:
            continue
        same += spread.at_wall
        for tally, freedom in zip(tallies, least, strict=True):
            tested = _with_least(spread, freedom).interval()
            tally.add(tested, error)
            # The rule of the report: two one-sided tests at 2.5 %, never at a wall.
            tally.equivalent += not spread.at_wall and tested.low > 0.45 and tested.high < 0.55
    return tallies, same / args.studies


def _with_least(spread: Spread, freedom: float) -> Spread:
    """Return a confidence distribution whose t-distributions have at least so many degrees."""
    shares = {
        place: replace(share, freedom=max(share.freedom, freedom))
        for place, share in spread._shares.items()  # noqa: SLF001 - it is taken apart here
    }
    return replace(spread, _shares=shares)


def _few_pictures() -> Iterator[Setting]:
    for people, pictures in _FEW_PICTURES:
        for rate in (0.1, 0.27, 0.5):
            for person_sd, picture_sd in _EFFECTS_OF_FEW:
                yield Setting(
                    people=people,
                    pictures=pictures,
                    rate=rate,
                    person_sd=person_sd,
                    picture_sd=picture_sd,
                )


def _settings(pairs: bool) -> Iterator[Setting]:
    effects = [(0.0, 0.0), (0.3, 0.3), (0.5, 0.5), (0.5, 1.0), (1.0, 1.0)]
    if pairs:
        effects = [(0.0, 0.0), (0.5, 0.5), (0.5, 1.0)]
    for people, pictures in ((14, 10), (30, 50), (25, 20)):
        for rate in (0.1, 0.27, 0.5):
            for person_sd, picture_sd in effects:
                yield Setting(
                    people=people,
                    pictures=pictures,
                    rate=rate,
                    person_sd=person_sd,
                    picture_sd=picture_sd,
                )
    if not pairs:
        for people, pictures, answered in ((30, 50, 0.2), (14, 10, 0.6)):
            yield Setting(
                people=people,
                pictures=pictures,
                rate=0.27,
                person_sd=0.5,
                picture_sd=1.0,
                answered=answered,
            )


def _run(
    setting: Setting, studies: int, resamples: int, rng: np.random.Generator, *, pairs: bool
) -> dict[str, Tally]:
    names = ("report", "two-level", "people", "Wilson", "error", "d'", "difference")
    tallies = {name: Tally() for name in names}
    truth = setting.rates
    for _ in range(studies):
        table = _pairs(setting, rng) if pairs else _study(setting, rng)
        two_level = TwoLevel(table, resamples=resamples, rng=rng)
        place = table.groups.index("generator")

        def share(rates: Values, place: int = place) -> Values:
            return np.asarray(rates[..., place])

        spread = two_level.spread(share)
        tallies["report"].add(spread, setting.rate)
        tallies["two-level"].add(two_level.percentiles(share), setting.rate)
        tallies["people"].add(two_level.for_people(share), setting.rate)
        tallies["Wilson"].add(table.rate("generator").wilson(), setting.rate)
        if pairs:
            continue
        error = two_level.spread(lambda rates: (rates[..., 1] + 1 - rates[..., 0]) / 2)
        tallies["error"].add(error, (truth[1] + 1 - truth[0]) / 2)
        sensitivity = two_level.spread(
            lambda rates: d_prime_of_rates(rates[..., [1, 0]]), corrected=True
        )
        tallies["d'"].add(sensitivity, float(norm.ppf(truth[0]) - norm.ppf(truth[1])))
        difference = two_level.spread(lambda rates: rates[..., 1] - rates[..., 2])
        tallies["difference"].add(difference, truth[1] - truth[2])
    return tallies


def _study(setting: Setting, rng: np.random.Generator) -> JudgementTable:
    """Draw a study of single pictures; people lean to REAL or FAKE in all groups alike."""
    size = (setting.people, setting.pictures)
    people = rng.normal(0, setting.person_sd, setting.people)
    said, who, what, group = [], [], [], []
    for number, rate in enumerate(setting.rates):
        pictures = rng.normal(0, setting.picture_sd, setting.pictures)
        constant = constant_of(float(rate), setting.person_sd, setting.picture_sd)
        chance = expit(constant + people[:, None] + pictures)
        there = rng.random(size) < setting.answered
        said.append((rng.random(size) < chance)[there])
        rows, columns = np.nonzero(there)
        who.append(rows)
        what.append(columns + number * setting.pictures)
        group.append(np.full(len(rows), number))
    return JudgementTable(
        called_real=np.concatenate(said).astype(np.float64),
        person=np.concatenate(who),
        picture=np.concatenate(what),
        group=np.concatenate(group),
        groups=_GROUPS[: len(setting.rates)],
    )


def _pairs(setting: Setting, rng: np.random.Generator) -> JudgementTable:
    """Draw a study of pairs: fakes beside real pictures, another one for each person."""
    people = rng.normal(0, setting.person_sd, setting.people)
    # Both pictures of a pair make it easy or hard; together they have the SD that is stated.
    one_sd = setting.picture_sd / np.sqrt(2)
    fakes = rng.normal(0, one_sd, setting.pictures)
    reals = rng.normal(0, one_sd, setting.pictures)
    beside = np.argsort(rng.random((setting.people, setting.pictures)), axis=1)
    constant = constant_of(setting.rate, setting.person_sd, setting.picture_sd)
    chance = expit(constant + people[:, None] + fakes + reals[beside])
    who, what = np.indices(chance.shape)
    return JudgementTable(
        called_real=(rng.random(chance.shape) < chance).ravel().astype(np.float64),
        person=who.ravel(),
        picture=what.ravel(),
        group=np.zeros(chance.size, np.int64),
        groups=("generator",),
        beside=beside.ravel(),
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--studies", type=int, default=2000, help="simulated in each setting")
    parser.add_argument("--resamples", type=int, default=1000, help="of each bootstrap")
    parser.add_argument("--seed", type=int, default=6)
    parser.add_argument("--pairs", action="store_true", help="the protocol of pairs")
    parser.add_argument("--margin", action="store_true", help="how often differences are missed")
    parser.add_argument("--few_pictures", action="store_true", help="many people, few pictures")
    parser.add_argument("--counting", action="store_true", help="what whole answers alone allow")
    parser.add_argument(
        "--least_freedom",
        type=float,
        help="with --margin, also at least so many degrees of freedom",
    )
    parser.add_argument("--markdown", action="store_true", help="print a table of Markdown")
    return parser.parse_args()


if __name__ == "__main__":
    raise SystemExit(main())
