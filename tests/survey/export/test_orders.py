"""Orders mix and balance, and all of them together do not tell what is real."""

import itertools
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from impasto.options.errors import ImpastoError
from impasto.survey.audit.orders import find_habits, partners_of
from impasto.survey.audit.statistics import Finding
from impasto.survey.export.orders import Shown, bits_told, make_orders, pair_up, smallest_max_run
from impasto.survey.study import Order, Study


def pictures(reals: int, fakes: int, *, scenes: int | None = None) -> list[Shown]:
    return [
        Shown(
            token=f"{'f' if place >= reals else 'r'}{place:03d}",
            fake=place >= reals,
            scene=str(place % scenes if scenes else place),
        )
        for place in range(reals + fakes)
    ]


def longest(kinds: str) -> int:
    return max(len(list(group)) for _, group in itertools.groupby(kinds))


def kinds_of(order: Order) -> str:
    return "".join(trial[0][0] for trial in order)


@pytest.mark.parametrize(("reals", "fakes"), [(3, 3), (4, 2), (1, 5), (5, 5)])
@pytest.mark.parametrize("max_run", [1, 2, 3, 5])
def test_bits_of_single_pictures_equal_a_count_of_all_namings(
    reals: int, fakes: int, max_run: int
) -> None:
    total = reals + fakes
    namings = [
        "".join("r" if place in chosen else "f" for place in range(total))
        for chosen in itertools.combinations(range(total), reals)
    ]
    allowed = sum(longest(naming) <= max_run for naming in namings)
    bits = bits_told(reals, fakes, 2, max_run, pairs=False)
    assert 2**-bits == pytest.approx(allowed / len(namings))


@pytest.mark.parametrize("count", [1, 4, 7])
@pytest.mark.parametrize("max_run", [1, 2, 3])
def test_bits_of_pairs_equal_a_count_of_all_sides(count: int, max_run: int) -> None:
    sides = list(itertools.product("lr", repeat=count))
    allowed = sum(longest("".join(one)) <= max_run for one in sides)
    bits = bits_told(count, count, 1, max_run, pairs=True)
    assert 2**-bits == pytest.approx(allowed / len(sides))


def test_the_default_limit_leaves_most_namings_possible() -> None:
    """All 924 namings of 6 + 6 pictures are tried: half of them and more obey all orders."""
    shown = pictures(6, 6)
    orders = make_orders(shown, [], np.random.default_rng(3), count=30, pairs=False)
    limit = smallest_max_run(6, 6, 30, pairs=False)
    assert max(longest(kinds_of(order)) for order in orders) <= limit < 6
    tokens = [one.token for one in shown]
    obey = 0
    for chosen in itertools.combinations(tokens, 6):
        named = set(chosen)
        obey += all(
            longest("".join("r" if trial[0] in named else "f" for trial in order)) <= limit
            for order in orders
        )
    assert obey > 924 / 2
    # What the rule of thumb, four in a row, would leave of 184,756 namings: the truth.
    assert bits_told(10, 10, 100, 4, pairs=False) > np.log2(184_756)


def test_twins_put_every_picture_into_the_middle_and_at_both_sides() -> None:
    rng = np.random.default_rng(0)
    attention = [("ca", "cb"), ("cc", "cd")]
    for pairs in (False, True):
        checks = attention if pairs else [("ca",), ("cb",)]
        orders = make_orders(pictures(5, 5), checks, rng, count=8, pairs=pairs)
        places: Counter[str] = Counter()
        sides: Counter[str] = Counter()
        for order in orders:
            assert order[0][0][0] != "c"
            assert order[-1][0][0] != "c"
            for place, trial in enumerate(order):
                for side, token in enumerate(trial):
                    places[token] += place
                    sides[token] += side
        middle = 8 * (len(orders[0]) - 1) / 2
        assert set(places.values()) == {middle}
        if pairs:
            assert set(sides.values()) == {4}


def test_pairs_are_the_same_for_everybody() -> None:
    rng = np.random.default_rng(0)
    orders = make_orders(pictures(8, 8), [], rng, count=20, pairs=True)
    pairs = {frozenset(trial) for order in orders for trial in order}
    assert len(pairs) == 8
    assert all({token[0] for token in pair} == {"r", "f"} for pair in pairs)
    assert len({tuple(order) for order in orders}) == 20


def test_no_pair_shows_one_scene_twice() -> None:
    for seed in range(20):
        pairs = pair_up(pictures(4, 4, scenes=4), np.random.default_rng(seed))
        assert all(real.scene != fake.scene for real, fake in pairs)
    with pytest.raises(ImpastoError, match="no pairs"):
        pair_up(pictures(2, 2, scenes=1), np.random.default_rng(0))


def test_no_scene_follows_itself() -> None:
    rng = np.random.default_rng(0)
    shown = pictures(6, 6, scenes=6)
    scenes = {one.token: one.scene for one in shown}
    for order in make_orders(shown, [], rng, count=20, pairs=False):
        shown_scenes = [scenes[trial[0]] for trial in order]
        assert all(one != other for one, other in itertools.pairwise(shown_scenes))


@pytest.mark.parametrize(("reals", "fakes", "max_run"), [(1, 9, 4), (2, 0, 1)])
def test_what_cannot_be_ordered_is_refused(reals: int, fakes: int, max_run: int) -> None:
    with pytest.raises(ImpastoError, match="raise --max_run"):
        make_orders(
            pictures(reals, fakes),
            [],
            np.random.default_rng(0),
            count=1,
            pairs=False,
            max_run=max_run,
        )


def test_a_tight_limit_is_kept_where_shuffling_alone_would_not_find_it() -> None:
    rng = np.random.default_rng(0)
    orders = make_orders(pictures(40, 40), [], rng, count=4, pairs=False, max_run=1)
    assert {longest(kinds_of(order)) for order in orders} == {1}


@pytest.mark.parametrize("count", [1, 2, 3])
def test_very_small_studies_have_orders(count: int) -> None:
    rng = np.random.default_rng(0)
    for pairs in (False, True):
        check = [("ca", "cb")] if pairs else [("ca",)]
        orders = make_orders(pictures(count, count), check, rng, count=3, pairs=pairs)
        assert {len(order) for order in orders} == {1 + (count if pairs else 2 * count)}


# What the audit measures.


def study_of(orders: list[Order], protocol: str) -> Study:
    tokens = sorted({token for order in orders for trial in order for token in trial})
    return Study(
        survey_id="s",
        version="0",
        protocol=protocol,
        question="fake",
        pictures={token: f"images/{token}.png" for token in tokens},
        width=8,
        height=8,
        practice=[],
        orders=orders,
        real_share=0.5,
    )


def habits(orders: list[Order], protocol: str = "single") -> dict[str, Finding]:
    study = study_of(orders, protocol)
    fake = {token: token.startswith("f") for token in study.pictures}
    rng = np.random.default_rng(0)
    found = find_habits(study, fake, rng, permutations=1999)
    return {one.name.removeprefix("orders: "): one for one in found}


@pytest.mark.parametrize("pairs", [False, True])
def test_orders_without_rules_show_no_habit(pairs: bool) -> None:
    """At 0.05, of 40 studies 2 are expected to fail; 8 or more has a chance of 1e-3."""
    failed = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        orders: list[Order] = [*make_orders(pictures(10, 10), [], rng, count=20, pairs=pairs)]
        found = habits(orders, "pair" if pairs else "single")
        assert len(found) == (5 if pairs else 4)
        failed += min(one.p for one in found.values()) <= 0.05
    assert failed < 8


def test_a_limit_of_runs_is_found() -> None:
    rng = np.random.default_rng(0)
    orders: list[Order] = [
        *make_orders(pictures(10, 10), [], rng, count=100, pairs=False, max_run=3)
    ]
    assert min(one.p for one in habits(orders).values()) < 0.005


def test_sides_that_are_balanced_in_each_order_are_found() -> None:
    rng = np.random.default_rng(0)
    paired = pair_up(pictures(16, 16), rng)
    orders: list[Order] = []
    for _ in range(40):
        turned = rng.permutation([True, False] * 8)
        orders.append(
            [
                (fake.token, real.token) if turn else (real.token, fake.token)
                for (real, fake), turn in zip(paired, turned, strict=True)
            ]
        )
    assert habits(orders, "pair")["balance of sides"].p == 1 / 2000


def test_partners_are_found_and_changing_ones_too() -> None:
    order = [("r1", "f1"), ("f2", "r2")]
    study = study_of([order, [trial[::-1] for trial in order]], "pair")
    assert partners_of(study) == {"r1": "f1", "f1": "r1", "r2": "f2", "f2": "r2"}
    assert partners_of(replace(study, orders=[*study.orders, [("r1", "f2")]])) is None
    assert partners_of(study_of([[("r1",), ("f1",)]], "single")) == {}
