"""Exact match in both versions: the reference library's bug list, and values that are the same."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evals.metrics.exact_match import compatible_exact, corrected_exact, gold_kind, normalised
from evals.metrics.latex import same_maths, value

BUGS: list[tuple[str, str, str, float, float | None]] = [
    ("nested braces are cut", r"\boxed{\frac{1}{2}}", r"\frac{1}{2}", 0.0, 1.0),
    ("an empty text is the letter A", "", "A", 1.0, None),
    ("an empty box is the letter A", r"\box{}", "A", 1.0, None),
    ("an article is the letter A", "the", "A", 1.0, None),
    ("all brackets are alike", r"\box{( (}", ") )", 1.0, 0.0),
    ("the minus sign is punctuation", r"\box{5}", "-5", 1.0, 0.0),
    ("the decimal point is punctuation", r"\box{15}", "1.5", 1.0, 0.0),
    ("the slash is punctuation", r"\box{12}", "1/2", 1.0, 0.0),
    ("another form of the same value", r"\box{0.5}", r"\frac{1}{2}", 0.0, 1.0),
    ("the first cue counts", "The answer is 4.\nNo, the answer is 5.", "5", 0.0, 1.0),
    ("commas in numbers", r"\box{1,000}", "1000", 1.0, 1.0),
    ("a sentence without a box", "So there are 7 of them, and the total is 7.", "7", 0.0, 1.0),
    ("a box without braces", r"So the total is \box 7", "7", 1.0, 1.0),
    ("more boxes without braces", "\\boxed 6\nNo: $\\boxed 7$.", "7", 1.0, 1.0),
    ("a gold that is nothing", r"\box{}", "", 1.0, None),
    ("units", r"\box{5 \text{ cm}}", "5", 0.0, 1.0),
]
"""What happens, the text, the gold, the reference's score and the corrected one: section 3.2."""


@pytest.mark.parametrize(
    ("text", "gold", "theirs", "ours"), [bug[1:] for bug in BUGS], ids=[bug[0] for bug in BUGS]
)
def test_the_bug_list(text: str, gold: str, theirs: float, ours: float | None) -> None:
    assert compatible_exact(text, gold).value == theirs
    assert corrected_exact(text, gold).value == ours


def test_a_third_of_letters_and_brackets_vanish_in_the_reference() -> None:
    assert normalised("A") == normalised(") ] }") == normalised("The") == ""
    assert normalised("The  Answer, is: B!") == "answer is b"


@pytest.mark.parametrize(
    ("gold", "kind"),
    [
        ("(B)", "letter"),
        ("-52", "number"),
        ("1,250", "number"),
        (") ] }", "brackets"),
        (r"\frac{3}{4}", "number"),
        (r"\frac{\pi}{4}", "maths"),
        ("x^2+1", "maths"),
        ("Uses", "label"),
        ("two words", "text"),
    ],
)
def test_a_gold_is_compared_by_its_kind(gold: str, kind: str) -> None:
    assert gold_kind(gold, ("Uses", "Extends")) == kind


@pytest.mark.parametrize("gold", ["Yes", "No"])
def test_labels_are_read_like_choices(gold: str) -> None:
    labels = ("Yes", "No")
    for text in (f"\\boxed{{{gold}}}", f"The answer is {gold.lower()}.", gold, f"**{gold}**"):
        assert corrected_exact(text, gold, labels).value == 1.0
    other = labels[gold == "Yes"]
    assert corrected_exact(f"The answer is {other}.", gold, labels).value == 0.0
    assert corrected_exact("Perhaps.", gold, labels).value is None


SAME = [
    (r"\dfrac12", "1/2"),
    ("2x+1", "1 + 2x"),
    ("x = 3", "3"),
    (r"\{1, 2\}", r"\{2, 1\}"),
    ("1, 2", "2,1"),
    (r"\frac{\sqrt{3}}{2}", r"\sqrt{3}/2"),
    (r"2\sqrt5", r"\sqrt{20}"),
    (r"x \in [-2,7]", "[-2,7]"),
    (r"90^\circ", "90"),
    ("(x+1)^2", "x^2+2x+1"),
    (r"\left(3, \frac{\pi}{2}\right)", r"(3,\frac{\pi}{2})"),
    (r"\text{even}", "even"),
    (r"10\%", "10"),
    (r"\$1,250.00", "1250"),
    (r"\sqrt[3]{8}", "2"),
    ("-x", "-1x"),
    ("2^{-1}", "0.5"),
    (r"3\cdot 4", "12"),
]
DIFFERENT = [
    ("(1,2)", "(2,1)"),
    ("[-2,7)", "[-2,7]"),
    ("x^2", "2x"),
    ("-5", "5"),
    ("1.5", "15"),
    ("9^9^9^9", "3"),
    (r"\frac{1}{0}", "0"),
    ("", "0"),
    ("3", ""),
    ("1,2", "1,2,3"),
    ("__import__('os')", "0"),
]


@pytest.mark.parametrize(("one", "other"), SAME)
def test_same_maths(one: str, other: str) -> None:
    assert same_maths(one, other) and same_maths(other, one)


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_different_maths(one: str, other: str) -> None:
    assert not same_maths(one, other) and not same_maths(other, one)


NUMBERS = st.integers(-50, 50)


@given(NUMBERS, NUMBERS, st.integers(1, 30))
def test_values_agree_with_fractions(a: int, b: int, c: int) -> None:
    text = rf"\frac{{{a}}}{{{c}}} + {b} * ({a} - {c}) - {c}^2"
    wanted = Fraction(a, c) + b * (a - c) - c**2
    assert value(text.replace(" ", "")) == pytest.approx(complex(float(wanted)))


@given(NUMBERS, st.integers(1, 40))
def test_a_fraction_equals_only_its_own_value(a: int, b: int) -> None:
    form = rf"\frac{{{a}}}{{{b}}}"
    assert same_maths(form, str(Fraction(a, b)))
    assert not same_maths(form, str(Fraction(a, b) + 1))


@given(
    st.text(max_size=200), st.sampled_from(["12", "A", ") ]", r"\frac{1}{2}", "Yes", "some words"])
)
def test_hostile_text_is_never_right(text: str, gold: str) -> None:
    read = corrected_exact("zzz " + text.replace(gold, ""), gold)
    assert read.value in (0.0, 1.0, None)
    if read.span:
        assert 0 <= read.span[0] <= read.span[1] <= len(text) + 4


@pytest.mark.parametrize("flood", ["(" * 50_000, "\\boxed{" * 9_000, "2^" * 9_000, "-" * 50_000])
def test_floods_end_quickly(flood: str) -> None:
    assert corrected_exact(flood, "12").value in (0.0, None)
    assert not same_maths(flood, "12")
