"""The orders of the trials, one per participant, which reveal nothing about the pictures.

Everybody can read all orders of a study. So what they have in common must not depend on which
pictures are real. Two habits would reveal it, though each order alone looks harmless:

- Pairing the pictures anew for each participant: every trial reveals "these two are of different
  kinds", and a few orders separate all pictures into two groups. So pairs are made only once.
- Rules about kinds in each order (at most four of a kind in a row; as many real ones on the left
  as on the right): few labelings of the pictures as real and fake obey them in all orders. So runs
  are limited only so far that all orders together reveal less than a bit; sides are random.

Balance needs no rules about kinds: orders are made in twins, the second of which is the first
reversed, with its sides exchanged. Each picture is in the middle on average, and equally often on
the left and on the right.
"""

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from impasto.options.errors import ImpastoError
from impasto.survey.study import Trial

__all__ = ["Shown", "bits_told", "make_orders", "pair_up", "smallest_max_run"]

_ATTEMPTS = 2000
_DRAWS = 300
_BITS = 1.0


@dataclass(frozen=True, kw_only=True)
class Shown:
    """Properties of a picture on which the orders depend.

    Attributes:
        token: token of the picture.
        fake: True if the picture is fake.
        scene: scene that the picture shows.
    """

    token: str
    fake: bool
    scene: str


def make_orders(
    shown: Sequence[Shown],
    attention: Sequence[Trial],
    rng: np.random.Generator,
    *,
    count: int,
    pairs: bool,
    max_run: int | None = None,
) -> list[list[Trial]]:
    """Make the orders of a study.

    Args:
        shown: pictures to judge; in paired protocols, equal numbers of real and fake ones.
        attention: attention check trials, which are spread over each order; no order begins with
            one.
        rng: random number generator that draws the orders.
        count: number of orders.
        pairs: True if each trial shows two pictures, one real and one fake.
        max_run: maximum number of consecutive real, or fake, pictures; in pairs, maximum number of
            consecutive trials with the real picture on the same side. None: use
            :func:`smallest_max_run`.

    Returns:
        The trials of each order.

    Raises:
        ImpastoError: the pictures cannot be ordered under these constraints.
    """
    paired = pair_up(shown, rng) if pairs else []
    if max_run is None:
        fakes = sum(picture.fake for picture in shown)
        max_run = smallest_max_run(len(shown) - fakes, fakes, count, pairs=pairs)
    orders: list[list[Trial]] = []
    while len(orders) < count:
        trials = _sides(paired, rng, max_run) if pairs else _singles(shown, rng, max_run)
        first = _spread(trials, attention, rng)
        orders += [first, [trial[::-1] for trial in reversed(first)]]
    return orders[:count]


def bits_told(reals: int, fakes: int, count: int, max_run: int, *, pairs: bool) -> float:
    """Return the information, in bits, that limited runs reveal about which pictures are real.

    Of all labelings of the pictures as real and fake, a fraction of ``2 ** -bits`` obeys the limit
    in all orders; an order and its twin always obey it together.

    >>> bits_told(10, 10, 100, 20, pairs=False)
    0.0
    """
    if pairs:
        every, allowed = float(reals), _log2(_flips(reals, max_run))
    else:
        every = _log2(math.comb(reals + fakes, fakes))
        allowed = _log2(_arrangements(reals, fakes, max_run))
    return max(0.0, math.ceil(count / 2) * (every - allowed))


def smallest_max_run(reals: int, fakes: int, count: int, *, pairs: bool) -> int:
    """Return the smallest limit on runs with which all orders together reveal under one bit."""
    low, high = 1, max(reals, fakes, 1) if not pairs else max(reals, 1)
    while low < high:
        middle = (low + high) // 2
        if bits_told(reals, fakes, count, middle, pairs=pairs) < _BITS:
            high = middle
        else:
            low = middle + 1
    return low


def pair_up(shown: Sequence[Shown], rng: np.random.Generator) -> list[tuple[Shown, Shown]]:
    """Pair every real picture with a random fake picture of another scene.

    Raises:
        ImpastoError: the numbers of real and fake pictures differ, or no such pairing exists.
    """
    reals = [picture for picture in shown if not picture.fake]
    fakes = [picture for picture in shown if picture.fake]
    if len(reals) != len(fakes):
        raise ImpastoError(f"{len(reals)} real and {len(fakes)} fake pictures make no pairs")
    order = rng.permutation(len(fakes)).tolist()
    for place, real in enumerate(reals):
        if fakes[order[place]].scene != real.scene:
            continue
        swaps = [
            other
            for other in range(len(reals))
            if fakes[order[other]].scene != real.scene
            and fakes[order[place]].scene != reals[other].scene
        ]
        if not swaps:
            raise ImpastoError(
                f"no pairs: {real.scene!r} is the scene of too many pictures; take more pictures"
            )
        other = swaps[rng.integers(len(swaps))]
        order[place], order[other] = order[other], order[place]
    return [(real, fakes[place]) for real, place in zip(reals, order, strict=True)]


def _singles(shown: Sequence[Shown], rng: np.random.Generator, max_run: int) -> list[Trial]:
    def fits(before: Sequence[Shown], one: Shown) -> bool:
        beside = before and before[-1].scene == one.scene
        last = [other.fake for other in before[-max_run:]]
        return not beside and not _too_long(last, one.fake, max_run)

    return [(one.token,) for one in _mix(shown, rng, fits)]


def _mix(
    items: Sequence[Shown],
    rng: np.random.Generator,
    fits: Callable[[Sequence[Shown], Shown], bool],
) -> list[Shown]:
    """Shuffle until all fit; if that takes too long, replace misfits by the next item that fits."""
    for attempt in range(_ATTEMPTS):
        waiting = [items[place] for place in rng.permutation(len(items))]
        ordered: list[Shown] = []
        while waiting:
            ahead = waiting if attempt >= _DRAWS else waiting[:1]
            place = next((n for n, one in enumerate(ahead) if fits(ordered, one)), None)
            if place is None:
                break
            ordered.append(waiting.pop(place))
        else:
            return ordered
    raise ImpastoError(
        f"found no order of {len(items)} pictures without long runs and without the same scene "
        "twice in a row; raise --max_run, or take more pictures"
    )


def _sides(
    paired: Sequence[tuple[Shown, Shown]], rng: np.random.Generator, max_run: int
) -> list[Trial]:
    for _ in range(_ATTEMPTS):
        turned = rng.integers(2, size=len(paired)).astype(bool).tolist()
        if all(
            not _too_long(turned[max(0, place - max_run) : place], one, max_run)
            for place, one in enumerate(turned)
        ):
            break
    else:
        turned = [place % 2 == 1 for place in range(len(paired))]  # which any limit allows
    mixed = [paired[place] for place in rng.permutation(len(paired))]
    return [
        (fake.token, real.token) if turn else (real.token, fake.token)
        for (real, fake), turn in zip(mixed, turned, strict=True)
    ]


def _too_long(before: Sequence[bool], one: bool, max_run: int) -> bool:
    run = before[-max_run:]
    return len(run) == max_run and all(other == one for other in run)


def _spread(
    trials: Sequence[Trial], attention: Sequence[Trial], rng: np.random.Generator
) -> list[Trial]:
    """Put the attention checks into parts of equal length, one into each, at random places."""
    checks = [attention[place] for place in rng.permutation(len(attention))]
    bounds = np.linspace(1, len(trials), len(checks) + 1).round().astype(int).tolist()
    places: Mapping[int, list[Trial]] = {place: [] for place in range(len(trials) + 1)}
    for check, low, high in zip(checks, bounds, bounds[1:], strict=False):
        places[int(rng.integers(low, max(high, low + 1)))].append(check)
    order: list[Trial] = []
    for place, trial in enumerate(trials):
        order += [*places[place], trial]
    return order + places[len(trials)]


def _arrangements(reals: int, fakes: int, max_run: int) -> int:
    """Count the orders of two kinds without longer runs, by the number of runs of each kind."""
    runs = [
        (_compositions(reals, count, max_run), _compositions(fakes, count, max_run))
        for count in range(max(reals, fakes) + 2)
    ]
    total = 0
    for (real, fake), (real_next, fake_next) in itertools.pairwise(runs):
        total += 2 * real * fake + real * fake_next + real_next * fake
    # The empty arrangement of nothing was counted twice.
    return total if reals + fakes else 1


def _flips(count: int, max_run: int) -> int:
    """Count the rows of flipped coins without longer runs."""
    if count == 0:
        return 1
    return 2 * sum(_compositions(count, runs, max_run) for runs in range(1, count + 1))


@lru_cache(maxsize=2**16)
def _compositions(total: int, parts: int, largest: int) -> int:
    """Count the ways to write a number as an ordered sum of parts of 1 to ``largest``."""
    if parts == 0:
        return int(total == 0)
    return sum(
        (-1) ** over * math.comb(parts, over) * math.comb(total - largest * over - 1, parts - 1)
        for over in range(parts + 1)
        if total - largest * over >= parts
    )


def _log2(count: int) -> float:
    return math.log2(count) if count else -math.inf
