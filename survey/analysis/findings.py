"""Results of the analysis of a study: numbers only, as stored in ``results.json``."""

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
    """A statistic with its intervals.

    Attributes:
        value: value of the statistic.
        interval: 95 % interval for other people and other pictures; None with fewer than two people
            or pictures.
        people: 95 % interval for other people who judge the same pictures (bootstrap, as in HYPE);
            None if not computed.
        percentiles: 95 % percentile interval of the plain two-level bootstrap, which is too wide or
            too narrow; for comparison with studies that used it. None if not computed.
    """

    value: float
    interval: Interval | None = None
    people: Interval | None = None
    percentiles: Interval | None = None


@dataclass(frozen=True, kw_only=True)
class Times:
    """Reaction times in milliseconds.

    Attributes:
        n: number of answers with a reaction time.
        quartiles: lower quartile, median, and upper quartile.
        right: median over correct answers; None without correct answers.
        wrong: median over wrong answers; None without wrong answers.
        people: median of the medians of each person.
    """

    n: int
    quartiles: tuple[float, float, float]
    right: float | None
    wrong: float | None
    people: float


@dataclass(frozen=True, kw_only=True)
class PictureFindings:
    """Results for one picture.

    Attributes:
        token: token that identifies the picture in the study.
        name: name of the picture in the report.
        group: ``real``, or the name of the generator that made the picture.
        source: source file of the picture.
        n: number of answers about the picture.
        real: number of answers REAL.
        fake: number of answers FAKE.
        real_share: share of answers REAL, in [0, 1]; None without answers, as are the fields below.
        error_share: share of wrong answers, in [0, 1].
        wilson: 95 % Wilson interval of ``real_share``.
        clopper_pearson: 95 % Clopper-Pearson interval of ``real_share``, which is conservative.
        p: p-value of the exact binomial test against one half.
        p_holm: the same p-value with Holm's correction for the number of pictures.
        median_rt_ms: median reaction time of its answers, milliseconds; None without reaction
            times.
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
    """Results for the real pictures, or for the pictures of one generator.

    Attributes:
        name: ``real``, or the name of the generator.
        people: number of people who judged at least one of the pictures.
        pictures: number of pictures that were judged.
        answers: number of answers about the pictures.
        real: number of answers REAL.
        called_real: share of answers REAL; for a generator, this is its fooling rate.
        wilson: 95 % Wilson interval, treating all answers as independent.
        clopper_pearson: 95 % Clopper-Pearson interval (conservative), treating all answers as
            independent.
        p_half: p-value of the exact binomial test against one half, treating all answers as
            independent.
        p_half_two_level: p-value of the test against one half for other people and other pictures.
        person_sd: standard deviation between people, in log-odds; None if it cannot be estimated.
        picture_sd: standard deviation between pictures, in log-odds; None if it cannot be
            estimated.
        p_pictures: p-value of the test for any difference between the pictures.
        agreement: inter-rater agreement about these pictures.
        times: reaction times; None if none were measured.
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
    """Equivalence test (two one-sided tests) of the error rate and chance level (Schuirmann 1987).

    Attributes:
        margin: largest difference from an error rate of one half that counts as equivalent.
        interval: 95 % interval of the error rate; inside the margin if ``p`` is below 0.05.
        p: twice the larger p-value of the two one-sided tests, so that 0.05 stands for a level of
            2.5 % of each, as for one-sided claims in clinical trials (ICH E9, 1998, section 5.5).
        shown: True if the pictures are shown to be indistinguishable within the margin; never if
            ``unanimous``.
        unanimous: True if all answers about the fakes, or all about the real pictures, are the
            same. They then do not tell how much people and pictures differ, which an equivalence
            test must know.
    """

    margin: float
    interval: Interval
    p: float
    shown: bool
    unanimous: bool


@dataclass(frozen=True, kw_only=True)
class GeneratorFindings:
    """Results on how well people distinguished one generator's pictures from real ones.

    Attributes:
        name: name of the generator.
        error: error rate: mean of the shares of fakes called REAL and real pictures called FAKE,
            which equals HYPE-infinity if half of the pictures are real; for pairs, share of wrong
            answers.
        p_chance: p-value of the test of an error rate of one half, for other people and other
            pictures.
        equivalence: test of equivalence of the error rate and chance level.
        d_prime: sensitivity d', pooled over all answers, with the log-linear correction.
        criterion: response bias c: below 0 toward FAKE, above 0 toward REAL; for pairs, toward the
            left and toward the right.
        d_prime_people: mean of d' over people; its interval is that of a t-test.
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
    """Comparison of two generators.

    Attributes:
        first: name of the first generator.
        second: name of the second generator.
        difference: fooling rate of the first generator less that of the second.
        p_two_level: p-value of the test of no difference, for other people and other pictures.
        p_two_level_holm: the same p-value with Holm's correction for the number of comparisons.
        permutation: permutation test for other people who judge the same pictures.
        p_permutation_holm: its p-value with Holm's correction for the number of comparisons.
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
    """Results of a staircase, in which the exposure depends on earlier answers.

    Attributes:
        score_ms: HYPE-time in milliseconds: mean over people and blocks of the most frequent
            exposure.
        people: 95 % interval of the score, by bootstrap over people.
        blocks: number of blocks in a session, each with a staircase of its own.
        errors: mapping from exposure in milliseconds to the numbers of answers and of wrong
            answers.
    """

    score_ms: float
    people: Interval
    blocks: int
    errors: Mapping[str, tuple[int, int]]


@dataclass(frozen=True, kw_only=True)
class PersonFindings:
    """Results for one person, anonymous.

    Attributes:
        number: index of the person among those not excluded.
        answers: number of scored answers.
        error_share: share of scored answers that are wrong, in [0, 1].
        called_real: mapping from group to the share of its answers that are REAL.
        d_prime: sensitivity d' over all generators, with the log-linear correction; None if it
            cannot be computed.
        median_rt_ms: median reaction time in milliseconds, or None if not measured.
    """

    number: int
    answers: int
    error_share: float
    called_real: Mapping[str, float]
    d_prime: float | None
    median_rt_ms: float | None


@dataclass(frozen=True, kw_only=True)
class StageCounts:
    """People, answers and rates before or after exclusion.

    Attributes:
        people: number of people included.
        answers: number of answers included.
        called_real: mapping from group to the share of answers REAL with the two-level interval.
    """

    people: int
    answers: int
    called_real: Mapping[str, Estimate]


@dataclass(frozen=True, kw_only=True)
class Findings:
    """All numbers of a report.

    Attributes:
        survey_id: identifier of the study.
        protocol: name of the study's protocol.
        seed: random seed of all resampling.
        resamples: number of bootstrap resamples and permutations.
        versions: versions of Impasto and of the numerical libraries, by name.
        sessions: numbers of answers and sessions left out before the exclusion criteria, by
            description.
        before: counts and rates before exclusion.
        after: counts and rates after exclusion, to which all fields below refer.
        reasons: exclusion criteria and the number of sessions that each excluded.
        excluded: sessions that were excluded.
        notes: remarks on the quality of the answers.
        generators: results of each generator.
        groups: results of each group, real pictures first.
        pictures: results of each picture, by group, then in descending order of the share of REAL.
        comparisons: comparisons of all pairs of generators.
        agreement: inter-rater agreement about all pictures.
        people: results of each person who was not excluded.
        exposure: results of the staircase; None if the exposure did not depend on the answers.
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
        """Return the content of ``results.json``."""
        return asdict(self)

    @property
    def in_pairs(self) -> bool:
        """True if each answer is a decision within a pair, so error rates are fooling rates."""
        return find_protocol(self.protocol).unit == "pairs"

    def group(self, name: str) -> GroupFindings | None:
        """Return the findings of a group; None if it was not judged."""
        return next((group for group in self.groups if group.name == name), None)
