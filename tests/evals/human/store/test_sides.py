"""T-B1, T-B2, T-B4, T-B5, T-B6: sides and order, as pure functions of a secret."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import comb, sqrt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evals.human.assign import Candidate, Slot, choose, dice, lean, plan, sides
from evals.human.study import Side

KEY = b"a secret of the tests"


def candidates(count: int, strata: int = 1, start: int = 0) -> list[Candidate]:
    return [Candidate(start + n, f"s{n % strata}") for n in range(count)]


def made(
    count: int, *, strata: int = 1, golds: int = 0, repeats: int = 0, rater: str = "r"
) -> list[Slot]:
    return plan(candidates(count, strata), candidates(golds, start=10_000), repeats, KEY, rater)


def side_lean(slots: Sequence[Slot]) -> int:
    return lean([slot.side for slot in slots])


@pytest.mark.parametrize("strata", [1, 2, 3, 5])
def test_left_and_right_differ_by_at_most_one_overall_and_per_stratum(strata: int) -> None:
    for count in range(1, 51):
        for rater in ("r1", "r2", "r3"):
            slots = made(count, strata=strata, rater=rater)
            assert abs(side_lean(slots)) <= 1
            for stratum in {slot.stratum for slot in slots}:
                assert abs(side_lean([s for s in slots if s.stratum == stratum])) <= 1


@given(count=st.integers(1, 50), strata=st.integers(1, 4), golds=st.integers(0, 9), rater=st.text())
def test_gold_and_repeats_keep_everything_shown_balanced(
    count: int, strata: int, golds: int, rater: str
) -> None:
    assert abs(side_lean(made(count, strata=strata, golds=golds, rater=rater))) <= 1
    slots = made(count, strata=strata, golds=golds, repeats=count // 5, rater=rater)
    mains = [slot for slot in slots if slot.kind == "main"]
    assert abs(side_lean(mains)) <= 1
    # In a short plan the distance of repeats comes before the balance of everything shown.
    assert abs(side_lean(slots)) <= (1 if count >= 20 else 2)
    assert sum(slot.kind == "gold" for slot in slots) == golds
    for stratum in {slot.stratum for slot in mains}:
        assert abs(side_lean([s for s in mains if s.stratum == stratum])) <= 1


@given(st.integers(1, 60), st.integers(1, 30), st.text())
def test_repeats_stand_opposite_and_far_from_their_main_pair(
    count: int, repeats: int, rater: str
) -> None:
    repeats = min(repeats, count // 2)
    slots = made(count, repeats=repeats, rater=rater)
    places = [(at, slot) for at, slot in enumerate(slots) if slot.kind == "repeat"]
    assert len(places) == repeats and len({slot.pair for _, slot in places}) == repeats
    for at, slot in places:
        assert slot.main is not None
        main = slots[slot.main]
        assert main.kind == "main" and main.pair == slot.pair and main.side != slot.side
        # Among n pairs, r of them can have ten others behind them as long as n >= r + 9.
        assert at - slot.main >= min(10, count - repeats + 1)


def test_everybody_starts_left_or_right_by_a_fair_coin() -> None:
    lefts = [made(25, rater=f"r{n}")[0].side == "left" for n in range(400)]
    assert binomial_p(sum(lefts), 400) > 0.05
    runs = 1 + sum(a != b for a, b in pairwise(lefts))
    expected = 2 * sum(lefts) * (400 - sum(lefts)) / 400 + 1
    assert abs(runs - expected) / sqrt((expected - 1) * (expected - 2) / 399) < 3.29  # p > .001


def test_no_position_has_a_side_of_its_own() -> None:
    from scipy.stats import chi2

    plans = [made(25, rater=f"r{n}") for n in range(400)]
    lefts = [sum(slots[at].side == "left" for slots in plans) for at in range(25)]
    # 13 coins in each plan: the first of each block, the second follows from it.
    statistic = sum((k - 200) ** 2 / 100 for k in lefts[::2])
    assert chi2.sf(statistic, 13) > 0.001


def test_two_raters_sides_of_the_same_items_are_unrelated() -> None:
    def by_item(rater: str) -> list[bool]:
        ordered = sorted(made(1000, rater=rater), key=lambda slot: slot.pair)
        return [slot.side == "left" for slot in ordered]

    for pair in (("r1", "r2"), ("r1", "r3"), ("r8", "r9")):
        first, second = (by_item(rater) for rater in pair)
        agree = sum(a == b for a, b in zip(first, second, strict=True))
        assert abs(2 * agree / 1000 - 1) < 0.1  # phi of two balanced halves


def test_what_a_block_of_two_gives_away() -> None:
    """The second side of a block follows from the first (documented); starts cannot be told."""
    hits_start = hits_second = 0
    for n in range(400):
        shown = [slot.side for slot in made(24, rater=f"r{n}")]
        for at in range(2, 24, 2):  # the obvious guess: the opposite of the last one
            hits_start += shown[at] != shown[at - 1]
            hits_second += shown[at + 1] != shown[at]
    assert hits_second == 400 * 11
    assert binomial_p(hits_start, 400 * 11) > 0.01


def test_another_secret_or_rater_gives_other_sides_and_order() -> None:
    base = made(25)
    assert base == made(25)
    other_key = plan(candidates(25), [], 0, b"another secret", "r")
    for different in (made(25, rater="q"), other_key):
        assert [s.pair for s in different] != [s.pair for s in base]
        assert {s.pair: s.side for s in different} != {s.pair: s.side for s in base}


@given(
    st.lists(st.sampled_from("abc"), min_size=1, max_size=40),
    st.data(),
)
def test_fixed_sides_stay_and_the_rest_evens_them_out(
    strata: list[str], data: st.DataObject
) -> None:
    places = st.dictionaries(st.integers(0, len(strata) - 1), st.sampled_from(["left", "right"]))
    fixed: dict[int, Side] = data.draw(places)
    dealt = sides(strata, KEY, "r", fixed=fixed)
    assert all(dealt[place] == side for place, side in fixed.items())
    for stratum in set(strata):
        mine = [place for place, s in enumerate(strata) if s == stratum]
        before = abs(lean([fixed[p] for p in mine if p in fixed]))
        open_places = sum(p not in fixed for p in mine)
        assert abs(lean([dealt[p] for p in mine])) <= max(1, before - open_places)


@given(st.lists(st.tuples(st.integers(0, 4), st.sampled_from("abcd")), max_size=40), st.data())
def test_the_fewest_taken_come_first_and_strata_share_evenly(
    entries: list[tuple[int, str]], data: st.DataObject
) -> None:
    pool = [Candidate(n, stratum, taken) for n, (taken, stratum) in enumerate(entries)]
    wanted = data.draw(st.integers(0, len(pool)))
    picked = choose(pool, wanted, dice(KEY, "t"))
    assert len(picked) == len({c.pair for c in picked}) == wanted
    left = [c for c in pool if c not in picked]
    if picked and left:
        edge = max(c.taken for c in picked)
        assert edge <= min(c.taken for c in left)
        shares = {
            s: sum(c.stratum == s and c.taken == edge for c in picked)
            for s in {c.stratum for c in left if c.taken == edge}
        }
        assert not shares or max(shares.values()) - min(shares.values()) <= 1


def binomial_p(hits: int, of: int) -> float:
    """Two-sided exact p of ``hits`` heads in ``of`` fair tosses."""
    tail = min(hits, of - hits)
    return min(1.0, 2 * sum(comb(of, k) for k in range(tail + 1)) / 2**of)
