"""Does an observable distinguish real from fake? AUCs and permutation tests.

All observables are tested together: their labels are permuted in the same way, and the p-value of
each is the fraction of permutations in which the strongest of all observables is at least as strong
(Westfall and Young 1993, section 2.3: single-step maxT). So the probability that a study without a
leak fails is ``alpha`` in total, for any number of observables and any dependence between them.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

__all__ = ["Finding", "Observable", "auc_of", "draw_labels", "examine"]

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
Observable = Sequence[float] | Sequence[str] | Floats

_FEW_KINDS = 12
_MOST_KINDS = 50
_BATCH_NUMBERS = 2**23


@dataclass(frozen=True, kw_only=True)
class Finding:
    """Test result of one observable.

    Attributes:
        name: name of the observable.
        auc: area under the ROC curve: probability that a fake has a larger value than a real
            picture, ties counted half, in [0, 1]; for categories, ordered by their shares of fakes,
            in [0.5, 1].
        p: adjusted p-value: probability that a study without a leak has any observable as strong as
            this.
        values: number of distinct values of the observable.
        example: the value of a real picture and the value of a fake picture.
    """

    name: str
    auc: float
    p: float
    values: int
    example: tuple[str, str]


def auc_of(values: Observable, fake: Flags) -> float:
    """Return the area under the ROC curve (Mann and Whitney's U over the number of pairs).

    Args:
        values: numeric values of an observable, (N,).
        fake: label of each picture, (N,), True for fake.

    >>> auc_of([1, 2, 3, 4], np.array([False, False, True, True]))
    1.0
    """
    ranks = rankdata(values)
    fakes = int(fake.sum())
    pairs = fakes * (len(ranks) - fakes)
    return float((ranks[fake].sum() - fakes * (fakes + 1) / 2) / pairs)


def examine(
    observables: Mapping[str, Sequence[Observable]],
    fake: Flags,
    rng: np.random.Generator,
    *,
    permutations: int,
    pairs: NDArray[np.intp] | None = None,
) -> list[Finding]:
    """Test all observables together; a constant observable carries no information.

    Args:
        observables: mapping from name to one or more forms of an observable, of which the strongest
            counts. A form has a value for each picture: numbers, which are compared by size;
            categories, as strings; or several numbers, (N, M), such as its positions in M orders.
            Numbers with few distinct values are also tested as categories.
        fake: label of each picture, (N,), True for fake; both labels must occur.
        rng: random number generator that draws the permutations.
        permutations: number of random labelings.
        pairs: indices of the pictures of each pair, (P, 2), if it is public that one picture of
            each pair is real; they cover all pictures, and labels are only permuted within pairs.
            None if there are no pairs.

    Returns:
        One finding for each observable, in the order of ``observables``.
    """
    tests = {
        name: [test for form in forms for test in _tests(form)]
        for name, forms in observables.items()
    }
    flat = [test for group in tests.values() for test in group]
    adjusted = _adjusted(flat, fake, rng, permutations, pairs).tolist() if flat else []
    place, findings = 0, []
    for name, group in tests.items():
        p_values = adjusted[place : place + len(group)]
        place += len(group)
        best = min(range(len(group)), key=p_values.__getitem__, default=None)
        form = group[best].form if best is not None else next(iter(observables[name]), [""])
        first = np.flatnonzero(~fake)[0], np.flatnonzero(fake)[0]
        findings.append(
            Finding(
                name=name,
                auc=0.5 if best is None else group[best].auc(fake),
                p=1.0 if best is None else p_values[best],
                values=_values(form),
                example=(_shown(form, first[0]), _shown(form, first[1])),
            )
        )
    return findings


def draw_labels(
    fake: Flags, pairs: NDArray[np.intp] | None, count: int, rng: np.random.Generator
) -> Flags:
    """Draw random labelings, (B, N), with the same number of fakes as the true one.

    Args:
        fake: true label of each picture, (N,), True for fake.
        pairs: indices of the pictures of each pair, as in :func:`examine`.
        count: number of labelings, B.
        rng: random number generator that draws the labelings.
    """
    if pairs is None:
        return rng.permuted(np.tile(fake, (count, 1)), axis=1)
    labels = np.empty((count, len(fake)), bool)
    flips = rng.integers(2, size=(count, len(pairs))).astype(bool)
    labels[:, pairs[:, 0]] = flips
    labels[:, pairs[:, 1]] = ~flips
    return labels


class _Test(Protocol):
    """Test statistic of one observable; large if it depends on the labels."""

    form: Observable

    def auc(self, fake: Flags) -> float: ...

    def strengths(self, labels: NDArray[np.float32]) -> Floats:
        """Return |AUC - 0.5| or a similar strength for labelings, (B, N) of 0 and 1."""
        ...


class _Ranks:
    """Numbers compared by size, in one column or several."""

    def __init__(self, form: Observable) -> None:
        self.form = form
        values = np.asarray(form, np.float64)
        self._ranks = rankdata(values.reshape(len(values), -1), axis=0).astype(np.float32)

    def auc(self, fake: Flags) -> float:
        if self._ranks.shape[1] == 1:
            return auc_of(self._ranks[:, 0], fake)
        return 0.5 + float(self.strengths(fake[None].astype(np.float32))[0])

    def strengths(self, labels: NDArray[np.float32]) -> Floats:
        fakes = labels[0].sum(dtype=np.float64)
        sums = (labels @ self._ranks).astype(np.float64)
        pairs = fakes * (len(self._ranks) - fakes)
        differences = (sums - fakes * (fakes + 1) / 2) / pairs - 0.5
        strengths: Floats = np.sqrt(np.square(differences).mean(1))
        return strengths


class _Kinds:
    """Categories ordered by their shares of fakes: the best that a guesser could do."""

    def __init__(self, form: Observable) -> None:
        self.form = form
        texts = [str(value) for value in form]
        common = [kind for kind, _ in Counter(texts).most_common(_MOST_KINDS)]
        places = {kind: place for place, kind in enumerate(common)}
        columns = [places.get(text, len(common)) for text in texts]
        self._members = np.zeros((len(texts), 1 + max(columns)), np.float32)
        self._members[np.arange(len(texts)), columns] = 1

    def auc(self, fake: Flags) -> float:
        return 0.5 + float(self.strengths(fake[None].astype(np.float32))[0])

    def strengths(self, labels: NDArray[np.float32]) -> Floats:
        fakes = (labels @ self._members).astype(np.float64)
        reals = self._members.sum(0) - fakes
        order = np.argsort(fakes / (fakes + reals), axis=1)
        fakes = np.take_along_axis(fakes, order, 1)
        reals = np.take_along_axis(reals, order, 1)
        below = np.cumsum(reals, axis=1) - reals / 2
        pairs = fakes.sum(1) * reals.sum(1)
        strengths: Floats = (fakes * below).sum(1) / pairs - 0.5
        return strengths


def _tests(form: Observable) -> list[_Test]:
    if isinstance(form, np.ndarray) and form.ndim == 2:
        return [_Ranks(form)] if form.size and (form != form[0]).any() else []
    kinds = _values(form)
    if kinds == 1:
        return []
    if isinstance(form[0], str):
        return [_Kinds(form)]
    return [_Ranks(form), _Kinds(form)] if kinds <= _FEW_KINDS else [_Ranks(form)]


def _values(form: Observable) -> int:
    if isinstance(form, np.ndarray):
        return len(np.unique(form, axis=0)) if form.size else 1
    return len(set(form))


def _shown(form: Observable, place: Any) -> str:
    value = form[place] if len(form) > place else ""
    text = str(value[0]) if isinstance(value, np.ndarray) else str(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _adjusted(
    tests: Sequence[_Test],
    fake: Flags,
    rng: np.random.Generator,
    permutations: int,
    pairs: NDArray[np.intp] | None,
) -> Floats:
    """Return a p-value for each test, adjusted for all of them."""
    seen = np.array([test.strengths(fake[None].astype(np.float32))[0] for test in tests])
    drawn = np.empty((len(tests), permutations))
    rows = max(1, min(permutations, _BATCH_NUMBERS // len(fake)))
    for start in range(0, permutations, rows):
        count = min(rows, permutations - start)
        labels = draw_labels(fake, pairs, count, rng).astype(np.float32)
        for place, test in enumerate(tests):
            drawn[place, start : start + count] = test.strengths(labels)
    # In units of their spread, so that none is the strongest merely by its kind.
    middle = drawn.mean(1, keepdims=True)
    spread = drawn.std(1, keepdims=True)
    spread = np.where(spread > 1e-6, spread, np.inf)
    strongest = ((drawn - middle) / spread).max(0)
    found = (seen - middle[:, 0]) / spread[:, 0]
    # A permutation as strong as what was found counts; rounding must not hide that it is.
    exceeded = (strongest[None] >= found[:, None] - 1e-6).sum(1)
    result: Floats = (1.0 + exceeded) / (1 + permutations)
    return result
