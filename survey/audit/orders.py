"""Do the orders of a study, taken together, reveal which pictures are real?

Somebody who compares all orders can look for a labeling of the pictures as real and fake under
which the orders look unlike chance: too few long runs, balance in every half of a session, equal
numbers of real pictures on the left and on the right. Each of these habits is measured for the true
labels and for random ones.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from impasto.survey.audit.statistics import Finding, draw_labels
from impasto.survey.study import Study

__all__ = ["find_habits", "pairs_among", "partners_of"]

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

# Labelings that are measured together: so many, however many pictures there are, that the steps of
# NumPy are few.
_BATCH = 2048


def find_habits(
    study: Study,
    fake: Mapping[str, bool],
    rng: np.random.Generator,
    *,
    permutations: int,
) -> list[Finding]:
    """Test all habits together, as :func:`impasto.survey.audit.statistics.examine` does.

    Args:
        study: public side of the study.
        fake: mapping from the token of each judged picture to True if it is fake.
        rng: random number generator that draws the labelings.
        permutations: number of random labelings.

    Returns:
        A finding for each habit; its AUC is always 0.5 and has no meaning. None if there are too
        few pictures or orders, or if the orders do not have the same pictures.
    """
    rows = _rows(study, fake)
    if rows is None:
        return []
    names, orders = rows
    truth = np.array([fake[name] for name in names])
    pairs = pairs_among(names, partners_of(study) or {})
    seen = _measure(truth[None], orders, is_pair=pairs is not None)
    drawn: dict[str, list[Floats]] = {name: [] for name in seen}
    for start in range(0, permutations, _BATCH):
        count = min(_BATCH, permutations - start)
        labels = draw_labels(truth, pairs, count, rng)
        for name, values in _measure(labels, orders, is_pair=pairs is not None).items():
            drawn[name].append(values)
    return _findings(seen, {name: np.concatenate(parts) for name, parts in drawn.items()})


def partners_of(study: Study) -> dict[str, str] | None:
    """Return the partner of each picture, practice included; empty if there are no pairs.

    None if a picture has several partners. Then each trial reveals that two pictures are of
    different kinds, and a few trials separate all pictures into two groups.
    """
    partners: dict[str, str] = {}
    practice = [example.trial for example in study.practice]
    for trial in (trial for order in (practice, *study.orders) for trial in order):
        for token, other in zip(trial, reversed(trial), strict=True):
            if len(trial) > 1 and partners.setdefault(token, other) != other:
                return None
    return partners


def pairs_among(tokens: Sequence[str], partners: Mapping[str, str]) -> NDArray[np.intp] | None:
    """Return the indices of the pairs, (P, 2), or None if a picture's partner is not among them."""
    places = {token: place for place, token in enumerate(tokens)}
    if not partners or any(partners.get(token) not in places for token in tokens):
        return None
    pairs = [
        (place, places[partners[token]])
        for token, place in places.items()
        if place < places[partners[token]]
    ]
    return np.array(pairs, np.intp)


def _rows(study: Study, fake: Mapping[str, bool]) -> tuple[list[str], NDArray[np.intp]] | None:
    """Return the pictures, and for each order the indices of the judged ones, (O, M).

    In pairs, only the left picture is included; the right one is of the other kind.
    """
    orders = [[trial[0] for trial in order if trial[0] in fake] for order in study.orders]
    names = sorted({name for trial in study.orders for one in trial for name in one} & fake.keys())
    if len({len(order) for order in orders}) != 1 or len(names) < 4 or len(orders[0]) < 3:
        return None
    places = {name: place for place, name in enumerate(names)}
    return names, np.array([[places[name] for name in order] for order in orders])


def _measure(labels: Flags, orders: NDArray[np.intp], *, is_pair: bool) -> dict[str, Floats]:
    """Measure the habits under each labeling, (B, N): each (B,)."""
    # One row for each picture, so that the labelings, which are many, lie beside each other.
    signs = np.where(labels.T, np.int8(1), np.int8(-1))
    count, length = orders.shape
    same = np.zeros(len(labels))
    longest = np.zeros(len(labels))
    sum_of_longest = np.zeros(len(labels))
    halves = np.zeros(len(labels))
    totals = np.zeros(len(labels))
    for order in orders:
        kinds = signs[order]
        again = kinds[1:] == kinds[:-1]
        same += again.sum(0, dtype=np.int32)
        run = np.ones(len(labels), np.int16)
        most = np.ones(len(labels), np.int16)
        for goes_on in again:
            run *= goes_on
            run += 1
            np.maximum(most, run, out=most)
        longest = np.maximum(longest, most)
        sum_of_longest += most
        halves += np.square(kinds[: length // 2].sum(0, dtype=np.int32))
        totals += np.square(kinds.sum(0, dtype=np.int32))
    habits = {
        "like neighbors": same / (count * (length - 1)),
        "longest runs": sum_of_longest / count,
        "longest run of all": longest,
        "balance of halves": halves / count,
    }
    return {**habits, "balance of sides": totals / count} if is_pair else habits


def _findings(seen: Mapping[str, Floats], drawn: Mapping[str, Floats]) -> list[Finding]:
    """Compare in units of standard deviation, two-sided, all habits together."""
    names = list(seen)
    values = np.array([_straight(name, drawn[name]) for name in names])
    middle = values.mean(1, keepdims=True)
    spread = values.std(1, keepdims=True)
    spread = np.where(spread > 1e-9, spread, np.inf)
    deviations = (values - middle) / spread
    strongest = np.array([_strength(*one) for one in zip(names, deviations, strict=True)]).max(0)
    findings = []
    for k, name in enumerate(names):
        found = _strength(name, (_straight(name, seen[name]) - middle[k]) / spread[k])[0]
        findings.append(
            Finding(
                name=f"orders: {name}",
                auc=0.5,
                p=float((1 + (strongest >= found - 1e-9).sum()) / (1 + values.shape[1])),
                values=2,
                example=(f"{seen[name][0]:.3g}", f"{drawn[name].mean():.3g}"),
            )
        )
    return findings


def _straight(name: str, values: Floats) -> Floats:
    """Transform to an approximately normal distribution, so that spreads can be compared."""
    if name.startswith("balance"):
        return np.cbrt(values)  # a sum of squares (Wilson and Hilferty 1931)
    return np.log(values) if name.startswith("longest") else values


def _strength(name: str, deviations: Floats) -> Floats:
    # A single long run is no rule; that none is long is.
    return -deviations if name == "longest run of all" else np.abs(deviations)
