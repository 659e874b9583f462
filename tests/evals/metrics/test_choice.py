"""Multiple choice in both versions: the table of response forms, and what goes wrong in it."""

from __future__ import annotations

import string
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evals.metrics.choice import compatible_choice, corrected_choice

OPTIONS = {"A": "oboe", "B": "violin", "C": "snare drum", "D": "trumpet"}
LISTED = "\n".join(f"{key}) {words}" for key, words in OPTIONS.items())
FORMS: list[tuple[str, Callable[[str], str], bool]] = [
    ("letter", lambda k: k, True),
    ("letter and words", lambda k: f"{k}) {OPTIONS[k]}", True),
    ("sentence", lambda k: f"The answer is {k}.", True),
    ("bold", lambda k: f"The correct choice is **{k}**", False),
    ("box", lambda k: rf"\boxed{{{k}}}", False),
    ("box of the reference", lambda k: rf"\box{{{k}}}", False),
    ("maths box", lambda k: rf"$\boxed{{\text{{{k}}}}}$", False),
    ("after a list", lambda k: f"{LISTED}\nTherefore the answer is {k}) {OPTIONS[k]}", False),
    ("reading", lambda k: f"A careful reading suggests the answer is {k}) {OPTIONS[k]}", False),
]
"""A form of response, how it is written, and whether the reference library reads it for every key:
section 3.1 of the research, measured there on the paper's own items."""


@pytest.mark.parametrize(("name", "form", "read"), FORMS, ids=[name for name, *_ in FORMS])
def test_every_form_is_read_and_the_reference_reads_some(
    name: str, form: Callable[[str], str], read: bool
) -> None:
    ours = [corrected_choice(form(key), OPTIONS, key).value for key in OPTIONS]
    theirs = [compatible_choice(form(key), OPTIONS, key).value for key in OPTIONS]
    assert ours == [1.0] * 4
    assert (theirs == [1.0] * 4) is read
    if name in ("after a list", "reading"):
        assert theirs == [1.0, 0.0, 0.0, 0.0]  # whatever was meant is graded as A


def test_an_answer_that_says_another_option_is_wrong_in_every_form() -> None:
    for _, form, _ in FORMS:
        assert corrected_choice(form("B"), OPTIONS, "C").value == 0.0


@pytest.mark.parametrize(
    ("text", "key", "rule"),
    [
        ("A trumpet.", "D", "option text"),  # the article is no letter
        ("I think it is B. No, the answer is C.", "C", "cue"),  # the last mark counts
        (r"The answer is B. \boxed{C}", "C", "boxed"),
        ("<think>The answer is A.</think>\nB", "B", "line"),
        ("thinking aloud: the answer is A.</think>The answer is B", "B", "cue"),
        ("It has valves, so it must be the trumpet.", "D", "option text"),
        ("answer: (c)", "C", "cue"),
        ("The answer is the snare drum.", "C", "cue"),
        ("**Answer:** D", "D", "cue"),
        ("I would go with option B here", "B", "cue"),
    ],
)
def test_what_decides(text: str, key: str, rule: str) -> None:
    read = corrected_choice(text, OPTIONS, key)
    assert (read.value, read.parsed, read.rule) == (1.0, key, rule)
    assert read.span and text[slice(*read.span)].casefold() in (
        key.casefold(),
        OPTIONS[key].casefold(),
    )


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("", "none"),
        ("I like music.", "none"),
        (LISTED, "ambiguous"),
        ("Either the violin or the trumpet.", "ambiguous"),
        ("It is not the trumpet.", "none"),
        ("The answer is a matter of taste.", "none"),
        ("The answer is A matter of taste.", "none"),
        ("<think>The answer is A", "none"),
    ],
)
def test_what_settles_on_nothing_is_unparsed(text: str, rule: str) -> None:
    assert corrected_choice(text, OPTIONS, "A") == (None, None, None, rule)
    assert compatible_choice(text, OPTIONS, "A").value is not None


def test_options_inside_words_numbers_and_each_other() -> None:
    short = {"A": "no", "B": "2", "C": "2 hours", "D": "20"}
    assert compatible_choice("I know it takes 20.", short, "D").parsed == "A"
    assert corrected_choice("I know it takes 20.", short, "D").value == 1.0
    assert compatible_choice("It takes 2 hours.", short, "C").parsed == "B"
    assert corrected_choice("It takes 2 hours.", short, "C").value == 1.0
    assert corrected_choice("It takes 2.5 days.", short, "B").value is None


def test_an_option_that_holds_the_others() -> None:
    """Every item of Value Kaleidoscope whose answer is the third option reads as the first."""
    values = {"A": "Support", "B": "Oppose", "C": "Either support or oppose"}
    said = "The answer is: either support or oppose."
    assert compatible_choice(said, values, "C").parsed == "A"
    assert corrected_choice(said, values, "C").value == 1.0


def test_the_pronoun_and_a_word_that_ends_in_a_letter() -> None:
    many = {key: f"option number {n}" for n, key in enumerate(string.ascii_uppercase[:9])}
    assert compatible_choice("I do not know.", many, "I").value == 1.0
    assert corrected_choice("I do not know.", many, "I").value is None
    for text in ("Use the formula.", "Look at the data."):
        assert compatible_choice(text, OPTIONS, "A").value == 1.0
        assert corrected_choice(text, OPTIONS, "A").value is None


def test_digit_keys_can_be_right_only_when_read_as_keys() -> None:
    digits = {"1": "oboe", "2": "violin", "3": "drum", "4": "trumpet"}
    for key in digits:
        assert compatible_choice(key, digits, key).value == 0.0
        assert corrected_choice(f"The answer is {key}.", digits, key).value == 1.0


@given(st.sampled_from(FORMS), st.sampled_from(list(OPTIONS)))
def test_the_span_holds_what_was_parsed(
    form: tuple[str, Callable[[str], str], bool], key: str
) -> None:
    text = form[1](key)
    read = corrected_choice(text, OPTIONS, key)
    assert read.span and text[slice(*read.span)] == key


@given(st.text(max_size=300))
def test_hostile_text_neither_breaks_nor_invents(text: str) -> None:
    read = corrected_choice(text, OPTIONS, "A")
    assert (read.value is None) == (read.parsed is None) == (read.span is None)
    if read.span:
        assert 0 <= read.span[0] < read.span[1] <= len(text)


@pytest.mark.parametrize(
    "flood", ["**" * 20_000, "(" * 20_000, "answer is " * 4_000, "<think>" * 9_000]
)
def test_floods_end_quickly(flood: str) -> None:
    """A pattern that backtracks would take minutes here; the test run would not end."""
    assert corrected_choice(flood, OPTIONS, "A").value is None
