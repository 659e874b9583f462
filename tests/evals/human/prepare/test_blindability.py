"""How blind the arms are: nothing to see gives one half, a plain sign gives nearly one."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from evals.human.blindability import LEAST_ITEMS, blindability, weighted_auc
from evals.human.records import PairText

WORDS = [
    *("the", "river", "carries", "small", "stones", "past", "old", "mills", "and", "quiet"),
    *("gardens", "while", "seven", "birds", "argue", "about", "rain", "bread", "maps", "numbers"),
    *("before", "every", "answer", "ends", "somewhere"),
]


def sentence(rng: random.Random) -> str:
    return " ".join(rng.choices(WORDS, k=rng.randint(8, 30))) + "."


def pairs(count: int, seed: int, prefix: str = "") -> list[PairText]:
    """Both arms draw from one distribution, but for a prefix of the system's answers."""
    rng = random.Random(seed)
    return [
        PairText(f"{i:04}", "s", "q?", sentence(rng), prefix + sentence(rng)) for i in range(count)
    ]


@pytest.mark.parametrize("seed", [1, 2])
def test_arms_that_are_alike_cannot_be_told_apart(seed: int) -> None:
    found = blindability(pairs(40, seed))
    assert found.low is not None and found.high is not None and found.auc is not None
    assert found.low <= 0.5 <= found.high and found.low <= found.auc <= found.high
    assert not found.warning and not found.note


def test_a_planted_prefix_gives_the_arms_away() -> None:
    found = blindability(pairs(30, 0, "Certainly! "))
    assert found.auc is not None and found.auc > 0.95
    assert found.warning and "told apart" in found.note
    planted = [f for f in found.features if f.text.strip(" ⟨") in "Certainly!"]
    assert planted and {feature.arm for feature in planted} == {"system"}


def test_length_alone_gives_the_arms_away() -> None:
    rng = random.Random(0)
    short_and_long = [replace(p, system=p.system + " " + sentence(rng) * 3) for p in pairs(25, 0)]
    found = blindability(short_and_long)
    assert found.warning
    assert any(feature.text.startswith("length in ") for feature in found.features)


def test_swapping_the_arms_changes_their_names_only() -> None:
    given_pairs = pairs(12, 4, "Certainly! ")
    swapped = [replace(p, contributor=p.system, system=p.contributor) for p in given_pairs]
    first, second = blindability(given_pairs), blindability(swapped)
    assert first.auc == pytest.approx(second.auc, abs=1e-9)
    assert {f.text for f in first.features} == {f.text for f in second.features}
    assert all(
        f.arm == "contributor" for f in second.features if f.text.strip(" ⟨") in "Certainly!"
    )


def test_the_same_pairs_in_any_order_give_the_same_result() -> None:
    given_pairs = pairs(12, 5)
    assert blindability(given_pairs) == blindability(given_pairs[::-1])


def test_too_few_pairs_and_gold_pairs_say_nothing() -> None:
    found = blindability(pairs(LEAST_ITEMS - 1, 0))
    assert found.auc is None and "too few" in found.note and not found.warning
    golden = [replace(pair, gold="system") for pair in pairs(40, 0, "Certainly! ")]
    assert blindability(golden).items == 0


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=12))
def test_the_area_agrees_with_scikit_learns(rows: list[tuple[int, int]]) -> None:
    """With all items in one fold, each counted once, it is the usual area."""
    scores = np.asarray(rows, dtype=float)
    wins = (np.sign(scores[:, 1][:, None] - scores[:, 0][None, :]) + 1) / 2
    ours = weighted_auc(wins, np.ones_like(wins), np.ones((1, len(rows))))[0]
    theirs = roc_auc_score([0, 1] * len(rows), scores.ravel())
    assert ours == pytest.approx(theirs, abs=1e-12)


def test_a_weight_counts_an_item_as_often() -> None:
    scores = np.asarray([[0.0, 1.0], [2.0, 1.5], [0.5, 0.5]])
    again = scores[[0, 0, 0, 2]]

    def wins(s: np.ndarray) -> np.ndarray:
        return (np.sign(s[:, 1][:, None] - s[:, 0][None, :]) + 1) / 2

    weighted = weighted_auc(wins(scores), np.ones((3, 3)), np.asarray([[3.0, 0.0, 1.0]]))
    assert weighted[0] == pytest.approx(roc_auc_score([0, 1] * 4, again.ravel()))
