"""The warm-up pairs in every language of the pages."""

from __future__ import annotations

from typing import get_args

import pytest

from evals.human.practice import ROUNDS, warmup
from evals.human.study import Language


@pytest.mark.parametrize("language", get_args(Language))
def test_each_language_has_its_own_two_with_the_better_answer_on_either_side(
    language: Language,
) -> None:
    items = [warmup(language, number, b"key", "r") for number in range(ROUNDS)]
    assert {item.expected for item in items} == {"left", "right"}
    assert len({item.prompt for item in items}) == ROUNDS
    for number, item in enumerate(items):
        assert item.left and item.right and item.left != item.right
        if language != "en":
            assert item.prompt != warmup("en", number, b"key", "r").prompt


def test_which_side_comes_first_is_a_coin_per_rater() -> None:
    firsts = [warmup("en", 0, b"key", f"r{n}").expected for n in range(200)]
    assert 70 < firsts.count("left") < 130
    for rater in ("r1", "r2"):
        good = [warmup("en", n, b"key", rater) for n in range(2)]
        texts = [item.left if item.expected == "left" else item.right for item in good]
        assert texts == ["Spring, summer, autumn and winter.", "One hour has sixty minutes."]
