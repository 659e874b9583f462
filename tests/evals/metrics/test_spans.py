"""Where a short answer stands in the text that it was read from."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evals.metrics.short_answer import score
from evals.tasks.core import Item, Kind


def item(kind: Kind, answer: str, *candidates: str) -> Item:
    return Item("one", "What is it?", answer, (), "toy", "dev", kind, candidates)


@pytest.mark.parametrize(
    ("kind", "answer", "text", "spot"),
    [
        ("number", "1200", "First 3, so the total is 1,200 in all.", "1,200"),
        ("number", "-5", "It is \u2212 no, it is -5.", "-5"),
        ("code", "XIV", "In Roman numerals this is **XIV**.", "XIV"),
        ("time", "5:30 pm", "That would be 5:30 PM", "5:30 PM"),
        ("run", "twenty-two", "In words: Twenty-Two!", "Twenty-Two"),
        ("choice", "Port Example", "It is PORT EXAMPLE, I think.", "PORT EXAMPLE"),
    ],
)
def test_the_span_holds_the_answer(kind: Kind, answer: str, text: str, spot: str) -> None:
    found = score(item(kind, answer, answer, "Other Place"), text)
    assert found.value == 1.0 and found.span and text[slice(*found.span)] == spot


@given(st.integers(-999, 999), st.text("abc .,\n*", max_size=40))
def test_a_number_is_found_where_it_stands(number: int, around: str) -> None:
    text = f"{around} {number} {around}"
    found = score(item("number", str(number)), text)
    assert found.value == 1.0 and found.span
    assert text[slice(*found.span)].replace("-", "") == str(abs(number))


def test_nothing_read_has_no_span_and_floods_end() -> None:
    assert score(item("number", "5"), "no idea").span is None
    assert score(item("number", "5"), "9" * 20_000).span is None
