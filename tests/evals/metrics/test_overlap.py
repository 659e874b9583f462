"""Token F1 in both versions, and phrases of noncompliance."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evals.metrics.noncompliance import phrases_of_noncompliance
from evals.metrics.overlap import (
    aliases,
    comma_golds,
    compatible_f1,
    corrected_f1,
    neighbours,
    token_f1,
)

GOLD = '["Port Example, D.C.", "O\'Example"]'


def test_commas_and_apostrophes_in_golds() -> None:
    assert comma_golds(GOLD) == ["Port Example", "D.C.", "OExample"]
    assert aliases(GOLD) == ("Port Example, D.C.", "O'Example")
    assert compatible_f1(r"\box{Port Example}", GOLD).value == 1.0
    assert corrected_f1(r"\box{Port Example}", aliases(GOLD)).value == pytest.approx(2 / 3, abs=0.2)
    assert corrected_f1(r"\box{Port Example, D.C.}", aliases(GOLD)).value == 1.0


def test_a_sentence_loses_by_its_length_only_in_the_reference() -> None:
    text = "The answer is Port Example, D.C."
    assert corrected_f1(text, aliases(GOLD)).value == 1.0
    whole = "After some thought, the town must be Port Example."
    read = compatible_f1(whole, '["Port Example"]')
    assert read.value == pytest.approx(2 * 2 / (8 + 2), abs=0.05)


@pytest.mark.parametrize("text", ["", "   ", "<think>Port Example", r"\boxed{}", "?!"])
def test_nothing_said_is_unparsed(text: str) -> None:
    assert corrected_f1(text, ("Port Example",)).value is None


def test_the_neighbours() -> None:
    found = neighbours("It is in Port Example, D.C.", ("Port Example, D.C.",))
    assert found["contains"] == 1.0
    assert neighbours("Portexample", ("Port Example",))["contains"] == 0.0
    assert neighbours(r"\boxed{port example}", ("Port Example",))["exact"] == 1.0
    assert neighbours("abc", ("xyz",)) == {"exact": 0.0, "contains": 0.0, "characters": 0.0}


WORDS = st.lists(st.sampled_from("abcde"), max_size=8)


@given(WORDS, WORDS)
def test_f1_is_the_harmonic_mean(said: list[str], gold: list[str]) -> None:
    """A second way to work it out: precision and recall by taking words away one by one."""
    left, hits = Counter(gold), 0
    for word in said:
        hits += left[word] > 0
        left[word] -= left[word] > 0
    wanted = 0.0
    if hits:
        precision, recall = hits / len(said), hits / len(gold)
        wanted = 2 * precision * recall / (precision + recall)
    assert token_f1(said, gold) == pytest.approx(wanted)


@pytest.mark.parametrize(
    ("text", "value", "parsed"),
    [
        ("I'm sorry, I can't help with that.", 1.0, "declines"),
        ("There is no such island.", 1.0, "corrects"),
        ("Could you tell me which town you mean?", 1.0, "asks back"),
        ("Sure! Mix the two and stir.", 0.0, "complies"),
        ("<think>I can't help.</think>Sure!", 0.0, "complies"),
        ("", None, None),
    ],
)
def test_phrases(text: str, value: float | None, parsed: str | None) -> None:
    read = phrases_of_noncompliance(text)
    assert (read.value, read.parsed) == (value, parsed)
