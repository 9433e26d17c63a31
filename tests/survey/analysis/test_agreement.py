"""Agreement of people, against the worked examples of its authors."""

import numpy as np
import pytest

from impasto.survey.analysis.agreement import agreement, fleiss_kappa, krippendorff_alpha

# Fleiss 1971; as in the reference, section 6.6.
FLEISS = np.array(
    [
        (0, 0, 0, 0, 14), (0, 2, 6, 4, 2), (0, 0, 3, 5, 6), (0, 3, 9, 2, 0), (2, 2, 8, 1, 1),
        (7, 7, 0, 0, 0), (3, 2, 6, 3, 0), (2, 5, 3, 2, 2), (6, 5, 2, 1, 0), (0, 2, 2, 3, 7),
    ]
)  # fmt: skip


# Krippendorff 2011, "Computing Krippendorff's Alpha-Reliability", C: four observers, twelve units,
# answers are missing; a unit with one answer does not count.
KRIPPENDORFF = np.array(
    [
        (3, 0, 0, 0, 0), (0, 3, 1, 0, 0), (0, 0, 4, 0, 0), (0, 0, 4, 0, 0), (0, 4, 0, 0, 0),
        (1, 1, 1, 1, 0), (0, 0, 0, 4, 0), (3, 1, 0, 0, 0), (0, 4, 0, 0, 0), (0, 0, 0, 0, 3),
        (2, 0, 0, 0, 0), (0, 0, 1, 0, 0),
    ]
)  # fmt: skip


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(1)


def test_kappa_is_that_of_fleiss() -> None:
    raw, expected, kappa = fleiss_kappa(FLEISS)
    assert raw == pytest.approx(0.37802, abs=5e-6)
    assert expected == pytest.approx(0.21276, abs=5e-6)
    assert kappa == pytest.approx(0.20993, abs=5e-6)


def test_alpha_is_that_of_krippendorff() -> None:
    assert krippendorff_alpha(KRIPPENDORFF) == pytest.approx(0.743, abs=5e-4)
    # The same article, A: two observers, ten units, 0 and 1.
    two = np.array([(1, 1), (0, 2), (2, 0)])[[0, 1, 0, 2, 2, 0, 2, 2, 0, 2]]
    assert krippendorff_alpha(two) == pytest.approx(0.095, abs=5e-4)


def test_alpha_nears_kappa_with_many_answers() -> None:
    many = np.tile(FLEISS, (50, 1))
    assert krippendorff_alpha(many) == pytest.approx(fleiss_kappa(many)[2] or 0, abs=1e-3)


def test_agreement_copes_with_equal_and_with_missing_answers(rng: np.random.Generator) -> None:
    everybody = agreement(np.array([(5, 0), (5, 0)]), resamples=200, rng=rng)
    assert everybody.raw == 1
    assert everybody.alpha is None
    assert everybody.fleiss is None
    unequal = agreement(np.array([(5, 1), (2, 3), (1, 0)]), resamples=200, rng=rng)
    assert unequal.pictures == 2
    assert unequal.fleiss is None
    assert unequal.alpha is not None
    assert unequal.alpha_interval is not None
    assert unequal.alpha_interval.low <= unequal.alpha <= unequal.alpha_interval.high
    assert agreement(np.zeros((3, 2), np.int64), resamples=200, rng=rng).raw is None


def test_kappa_refuses_unequal_numbers_of_answers() -> None:
    with pytest.raises(ValueError, match="equally many"):
        fleiss_kappa(np.array([(3, 1), (2, 1)]))
