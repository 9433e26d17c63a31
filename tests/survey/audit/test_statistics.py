"""The tests of the audit: what tells two kinds apart, and how often chance does."""

import numpy as np
import pytest

from impasto.survey.audit.statistics import auc_of, examine


def test_auc_is_the_share_of_pairs_in_order() -> None:
    rng = np.random.default_rng(0)
    values, fake = rng.integers(0, 5, 40), rng.random(40) < 0.4
    pairs = [(f > r) + (f == r) / 2 for f in values[fake] for r in values[~fake]]
    assert auc_of(values.tolist(), fake) == pytest.approx(np.mean(pairs))


def test_observables_without_a_leak_rarely_fail_together() -> None:
    """Of 200 studies with 12 observables each, at alpha 0.05: 10 expected, 22 has chance 2e-4."""
    rng = np.random.default_rng(1)
    failed = 0
    for _ in range(200):
        fake = np.arange(60) % 2 == 0
        values = {f"n{place}": [rng.random(60).tolist()] for place in range(8)}
        values |= {f"k{place}": [rng.choice(list("abc"), 60).tolist()] for place in range(3)}
        values["m"] = [rng.random((60, 5))]
        findings = examine(values, fake, rng, permutations=199)
        failed += min(finding.p for finding in findings) <= 0.05
    assert 2 <= failed <= 22


def test_a_weak_leak_among_many_observables_is_found() -> None:
    rng = np.random.default_rng(2)
    fake = np.arange(200) < 100
    values = {f"n{place}": [rng.random(200).tolist()] for place in range(30)}
    values["leak"] = [(rng.normal(size=200) + 1.0 * fake).tolist()]
    findings = {one.name: one for one in examine(values, fake, rng, permutations=2999)}
    assert findings["leak"].p < 0.001
    assert findings["leak"].auc == pytest.approx(0.76, abs=0.07)  # Phi(1 / sqrt(2)) = 0.760


def test_kinds_in_the_middle_are_found_though_their_ranks_tell_nothing() -> None:
    fake = np.arange(100) < 50
    values = [float(2 if one else 1 + 2 * (place % 2)) for place, one in enumerate(fake)]
    (finding,) = examine({"k": [values]}, fake, np.random.default_rng(0), permutations=999)
    assert finding.p == 0.001
    assert finding.auc == 1.0


def test_what_is_the_same_for_all_tells_nothing() -> None:
    fake = np.arange(10) < 5
    (finding,) = examine({"k": [[1.0] * 10]}, fake, np.random.default_rng(0), permutations=99)
    assert (finding.auc, finding.p, finding.values) == (0.5, 1.0, 1)
