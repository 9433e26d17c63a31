"""What a study found: numbers only, as ``results.json`` holds them."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from impasto.survey.analysis.agreement import Agreement
from impasto.survey.analysis.exclusions import Excluded, Reason
from impasto.survey.analysis.permutation import PermutationTest
from impasto.survey.protocols import find_protocol
from impasto.survey.rates import Interval

__all__ = [
    "Comparison",
    "Equivalence",
    "Estimate",
    "Exposure",
    "Findings",
    "GeneratorFindings",
    "GroupFindings",
    "PersonFindings",
    "PictureFindings",
    "StageCounts",
    "Times",
]


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A number and where it may lie.

    Attributes:
        value: the number.
        interval: 95 %, for other people and other pictures; None with fewer than two of either.
        people: 95 %, for other people who judge the same pictures (bootstrap, as in HYPE).
        percentiles: 95 %, of the plain two-level bootstrap, which is too wide or too narrow; for
            comparison with studies that used it.
    """

    value: float
    interval: Interval | None = None
    people: Interval | None = None
    percentiles: Interval | None = None


@dataclass(frozen=True, kw_only=True)
class Times:
    """Reaction times in milliseconds.

    Attributes:
        n: answers that have one.
        quartiles: lower quartile, median, upper quartile.
        right: median of right answers; None without any.
        wrong: median of wrong answers; None without any.
        people: median of people's own medians.
    """

    n: int
    quartiles: tuple[float, float, float]
    right: float | None
    wrong: float | None
    people: float


@dataclass(frozen=True, kw_only=True)
class PictureFindings:
    """What people said about one picture.

    Attributes:
        token: of it.
        name: of it in the report.
        group: ``real``, or its generator.
        source: file that it was made of.
        n: answers.
        real: how many called it REAL.
        fake: how many called it FAKE.
        real_share: share of REAL; None without answers, as the rest.
        error_share: share of wrong answers.
        wilson: 95 % interval of ``real_share``.
        clopper_pearson: the conservative one.
        p: exact binomial test of one half.
        p_holm: corrected for the number of pictures.
        median_rt_ms: of its answers.
    """

    token: str
    name: str
    group: str
    source: str
    n: int
    real: int
    fake: int
    real_share: float | None
    error_share: float | None
    wilson: Interval | None
    clopper_pearson: Interval | None
    p: float | None
    p_holm: float | None
    median_rt_ms: float | None


@dataclass(frozen=True, kw_only=True)
class GroupFindings:
    """What people said about the real pictures, or about those of one generator.

    Attributes:
        name: ``real``, or the generator.
        people: who judged some.
        pictures: that were judged.
        answers: about them.
        real: how many called them REAL.
        called_real: share of REAL; of a generator, its fooling rate.
        wilson: 95 % interval as if all answers were independent.
        clopper_pearson: the same, conservative.
        p_half: exact binomial test of one half, as if all answers were independent.
        p_half_two_level: test of one half for other people and pictures.
        person_sd: how much people differ, in log-odds; None where it cannot be told.
        picture_sd: how much pictures differ, in log-odds; None where it cannot be told.
        p_pictures: test whether the pictures differ at all.
        agreement: of people about these pictures.
        times: reaction times.
    """

    name: str
    people: int
    pictures: int
    answers: int
    real: int
    called_real: Estimate
    wilson: Interval | None
    clopper_pearson: Interval | None
    p_half: float | None
    p_half_two_level: float | None
    person_sd: float | None
    picture_sd: float | None
    p_pictures: float | None
    agreement: Agreement
    times: Times | None


@dataclass(frozen=True, kw_only=True)
class Equivalence:
    """Two one-sided tests whether errors are as many as with guessing (Schuirmann 1987).

    Attributes:
        margin: how far from one half the error may be.
        interval: 90 %; inside the margin where ``p`` is below 0.05, up to the resampling's grain.
        p: larger one of the two tests.
        shown: whether the pictures are shown to be indistinguishable within the margin.
    """

    margin: float
    interval: Interval
    p: float
    shown: bool


@dataclass(frozen=True, kw_only=True)
class GeneratorFindings:
    """How well people told the pictures of one generator from real ones.

    Attributes:
        name: of the generator.
        error: mean of the shares of fakes called REAL and real pictures called FAKE, which is
            HYPE-infinity where half of the pictures are real; of pairs, share of wrong answers.
        p_chance: test of an error of one half, for other people and pictures.
        equivalence: test whether people are shown to guess.
        d_prime: sensitivity, of all answers together, log-linear.
        criterion: leaning: below 0 to FAKE, above to REAL; of pairs, to the left and to the right.
        d_prime_people: mean of people's own d'; its interval is that of a t-test.
    """

    name: str
    error: Estimate | None
    p_chance: float | None
    equivalence: Equivalence | None
    d_prime: Estimate | None
    criterion: Estimate | None
    d_prime_people: Estimate | None


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Two generators against each other.

    Attributes:
        first: name.
        second: name.
        difference: fooling rate of the first less that of the second.
        p_two_level: test of no difference, for other people and other pictures.
        p_two_level_holm: corrected for the number of comparisons.
        permutation: test for other people who judge the same pictures.
        p_permutation_holm: corrected for the number of comparisons.
    """

    first: str
    second: str
    difference: Estimate
    p_two_level: float | None
    p_two_level_holm: float | None
    permutation: PermutationTest | None
    p_permutation_holm: float | None


@dataclass(frozen=True, kw_only=True)
class Exposure:
    """Exposures that followed the answers (a staircase).

    Attributes:
        score_ms: HYPE-time: mean over people and blocks of the commonest exposure.
        people: 95 % interval of it, by drawing people anew.
        blocks: parts of a session, each with a staircase of its own.
        errors: exposure in milliseconds to answers and wrong answers.
    """

    score_ms: float
    people: Interval
    blocks: int
    errors: Mapping[str, tuple[int, int]]


@dataclass(frozen=True, kw_only=True)
class PersonFindings:
    """One person, without a name.

    Attributes:
        number: place among those that count.
        answers: scored ones.
        error_share: of them.
        called_real: group to share of REAL.
        d_prime: of all generators together, log-linear; None where it cannot be told.
        median_rt_ms: or None.
    """

    number: int
    answers: int
    error_share: float
    called_real: Mapping[str, float]
    d_prime: float | None
    median_rt_ms: float | None


@dataclass(frozen=True, kw_only=True)
class StageCounts:
    """People, answers and rates at one stage.

    Attributes:
        people: that count.
        answers: that count.
        called_real: group to share of REAL with the two-level interval.
    """

    people: int
    answers: int
    called_real: Mapping[str, Estimate]


@dataclass(frozen=True, kw_only=True)
class Findings:
    """All numbers of a report.

    Attributes:
        survey_id: of the study.
        protocol: of the study.
        seed: of all resampling.
        resamples: how many.
        versions: of Impasto and the libraries that computed.
        sessions: what was left out before anybody was excluded, by name.
        before: exclusions.
        after: exclusions; everything below is of these.
        reasons: criteria and their toll.
        excluded: sessions that do not count.
        notes: what else to know about the answers.
        generators: by name.
        groups: real pictures first.
        pictures: by group, then from most to least REAL.
        comparisons: of all generators.
        agreement: about all pictures.
        people: that count.
        exposure: if it followed the answers.
    """

    survey_id: str
    protocol: str
    seed: int
    resamples: int
    versions: Mapping[str, str]
    sessions: Mapping[str, int]
    before: StageCounts
    after: StageCounts
    reasons: Sequence[Reason]
    excluded: Sequence[Excluded]
    notes: Sequence[str]
    groups: Sequence[GroupFindings]
    generators: Sequence[GeneratorFindings]
    pictures: Sequence[PictureFindings]
    comparisons: Sequence[Comparison]
    agreement: Agreement
    people: Sequence[PersonFindings]
    exposure: Exposure | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return what ``results.json`` holds."""
        return asdict(self)

    @property
    def in_pairs(self) -> bool:
        """Whether an answer is a decision within a pair, so that errors are fooling rates."""
        return find_protocol(self.protocol).unit == "pairs"

    def group(self, name: str) -> GroupFindings | None:
        """Return the findings of a group, if it was judged."""
        return next((group for group in self.groups if group.name == name), None)
