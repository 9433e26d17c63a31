"""The orders of the trials, one for each participant, which tell nothing about the pictures.

Everybody can read all orders of a study. So what they have in common must not follow from what is
real. Two habits would give it away, though each order alone looks harmless:

- Pairing the pictures anew for each participant: every trial says "these two are of different
  kinds", and a few orders part all pictures into two groups. So pairs are made once.
- Rules about kinds in each order (at most four of a kind in a row; as many real ones at the left as
  at the right): few ways of naming the pictures real and fake obey them in all orders. So runs are
  limited only as far as all orders together tell less than a bit, and sides are drawn.

Balance comes without rules about kinds: orders are made in twins, the second of which is the first
backwards, with its sides exchanged. Each picture is in the middle on average, and as often left as
right.
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
    """A picture as the orders need to know it.

    Attributes:
        token: of it.
        fake: what it is.
        scene: what it shows.
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
        shown: pictures to judge, as many real as fake ones if they are shown in pairs.
        attention: trials of attention checks; they are spread over the order, first in none.
        rng: draws.
        count: how many.
        pairs: whether two pictures make a trial, one of each kind.
        max_run: most real, or fake, pictures one after the other; of pairs: most trials with the
            real one at the same side. None: :func:`smallest_max_run`.

    Returns:
        Trials of each order.

    Raises:
        ImpastoError: the pictures cannot be ordered so.
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
    """Return how much orders without longer runs tell about which pictures are real.

    Of all ways of naming the pictures, a share of ``2 ** -bits`` obeys the rule in all orders; an
    order and its twin obey it together.

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
    """Return the smallest limit of runs with which all orders together tell less than a bit."""
    low, high = 1, max(reals, fakes, 1) if not pairs else max(reals, 1)
    while low < high:
        middle = (low + high) // 2
        if bits_told(reals, fakes, count, middle, pairs=pairs) < _BITS:
            high = middle
        else:
            low = middle + 1
    return low


def pair_up(shown: Sequence[Shown], rng: np.random.Generator) -> list[tuple[Shown, Shown]]:
    """Give every real picture a fake one of another scene, by chance.

    Raises:
        ImpastoError: there are not as many of both, or none of another scene.
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
        return not beside and not _too_long([other.fake for other in before], one.fake, max_run)

    return [(one.token,) for one in _mix(shown, rng, fits)]


def _mix(
    items: Sequence[Shown],
    rng: np.random.Generator,
    fits: Callable[[Sequence[Shown], Shown], bool],
) -> list[Shown]:
    """Shuffle until all fit; if that takes too long, take the next that fits where one does not."""
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
        if all(not _too_long(turned[:place], one, max_run) for place, one in enumerate(turned)):
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
