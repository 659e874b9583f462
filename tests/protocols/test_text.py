"""Texts in prompts: fences hold, shortening is even, loops are noticed."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.lib.prompts import Message, question_messages
from protocols.lib.text import FENCE, LEAST, clip_middle, fence, repeats, shortened


@given(st.text(alphabet='"a \n', max_size=40))
def test_a_text_cannot_close_its_fence(text: str) -> None:
    inside = fence(text).removeprefix(FENCE + "\n").removesuffix("\n" + FENCE)
    assert FENCE not in inside


@given(st.lists(st.text(max_size=400), min_size=1, max_size=6), st.integers(50, 900))
def test_shortening_keeps_instructions_and_fits_where_it_can(texts: list[str], room: int) -> None:
    def build(parts: Sequence[str]) -> list[Message]:
        return question_messages("Read: " + "|".join(parts) + " Question: why?")

    def fits(messages: Sequence[Message]) -> bool:
        return len(messages[-1]["content"]) <= room

    prompt = shortened(texts, build, fits)[-1]["content"]
    assert prompt.startswith("Read: ") and prompt.endswith(" Question: why?")
    least = len(build([clip_middle(t, LEAST) for t in texts])[-1]["content"])
    assert fits([{"role": "user", "content": prompt}]) or least > room


@given(st.text(alphabet="abc d", min_size=1, max_size=30), st.integers(0, 30))
def test_a_loop_is_noticed_wherever_it_breaks_off(piece: str, extra: int) -> None:
    looping = piece * (4 + 12 // len(piece))
    assert repeats("Once upon a time " + looping + piece[: extra % len(piece)])


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no no no",
        "The answer is 1000.",
        "It was a very very very long day",
        "one two three four five six seven eight nine ten",
        "I came, I saw, I won.",
    ],
)
def test_ordinary_prose_is_no_loop(text: str) -> None:
    assert not repeats(text)
