from __future__ import annotations

import time
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evals.metrics import Score, accuracy, score, wilson
from evals.metrics.short_answer import normal, number_form
from evals.tasks import Item, Kind

CITIES = ("Paris", "Porto-Novo", "Mexico City", "Washington")
DAYS = ("Monday", "Tuesday", "Friday")
FRENCH = ("vingt-deux", "cent vingt-deux", "vingt et un", "deux")


def item(
    kind: Kind, question: str, answer: str, *aliases: str, among: tuple[str, ...] = ()
) -> Item:
    return Item("x", question, answer, aliases, "domain", "test", kind, among)


@pytest.mark.parametrize(
    ("answer", "value", "parsed"),
    [
        ("81", 1.0, "81"),
        ("45 + 36 = 81", 1.0, "81"),
        ("The sum of 45 and 36 is 81.", 1.0, "81"),
        ("81 is the sum of 45 and 36.", 1.0, "81"),
        ("First add 40 and 30. The answer is 81, because 5 + 6 is 11.", 0.0, "11"),
        ("**81**", 1.0, "81"),
        ("\\boxed{81}", 1.0, "81"),
        ("1. 81", 1.0, "81"),
        ("81.0", 1.0, "81"),
        ("-81", 0.0, "-81"),
        ("\u221281", 0.0, "-81"),
        ("810", 0.0, "810"),
        ("8,100", 0.0, "8100"),
        ("45", 0.0, "45"),
        ("", None, None),
        ("I do not know.", None, None),
    ],
)
def test_a_number_is_found_in_what_a_model_writes(
    answer: str, value: float | None, parsed: str | None
) -> None:
    found = score(item("number", "What is 45 + 36?", "81"), answer)
    assert (found.value, found.parsed) == (value, parsed)


def test_a_difference_may_be_one_of_the_numbers_asked_about() -> None:
    asked = item("number", "What is 90 - 45?", "45")
    assert score(asked, "90 - 45 = 45").value == 1.0
    assert score(asked, "45").value == 1.0
    assert score(asked, "90").value == 0.0


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("5-3", ["5", "3"]),
        ("x=-7", ["-7"]),
        ("1,200 and 1,2,3", ["1200", "1", "2", "3"]),
        ("0.50", ["0.5"]),
        ("v1.2.3 a12", []),
        ("700 cm, 7cm", ["700", "7"]),
    ],
)
def test_numbers_are_read_as_people_write_them(text: str, numbers: list[str]) -> None:
    from evals.metrics.short_answer import NUMBER

    assert [number_form(match.group()) for match in NUMBER.finditer(text)] == numbers


@pytest.mark.parametrize(
    ("answer", "value"),
    [
        ("JPY", 1.0),
        ("The code is JPY.", 1.0),
        ("It is JPY (Japanese yen).", 1.0),
        ("USD", 0.0),
        ("In Japan one pays with yen.", None),
        ("jpy", None),
    ],
)
def test_a_code_is_upper_case(answer: str, value: float | None) -> None:
    assert score(item("code", "Which code has Japan?", "JPY"), answer).value == value


def test_english_words_are_not_codes_unless_they_are_the_answer() -> None:
    assert score(item("code", "Which?", "XLII"), "As a Roman numeral: XLII").value == 1.0
    assert score(item("code", "Which symbol?", "At"), "At").value == 1.0


@pytest.mark.parametrize(
    ("answer", "value"),
    [("5:45 PM", 1.0), ("05:45 p.m.", 1.0), ("17:45 is 5:45pm.", 1.0), ("5:45 AM", 0.0)],
)
def test_times_of_day(answer: str, value: float) -> None:
    assert score(item("time", "Write 17:45 in 12-hour time.", "5:45 PM"), answer).value == value


@pytest.mark.parametrize(
    ("answer", "value", "rule"),
    [
        ("Paris", 1.0, "only"),
        ("The capital of France is Paris.", 1.0, "only"),
        ("PARIS!", 1.0, "only"),
        ("Paris, Washington or Mexico City", 0.0, "listing"),
        ("Washington", 0.0, "only"),
        ("Parisian", None, "no candidate"),
        ("A lovely town.", None, "no candidate"),
    ],
)
def test_a_choice_must_be_made(answer: str, value: float | None, rule: str) -> None:
    found = score(item("choice", "Capital of France?", "Paris", among=CITIES), answer)
    assert (found.value, found.rule) == (value, rule)


def test_naming_what_the_question_named_is_no_listing() -> None:
    asked = item("choice", "Which day comes 3 days after Tuesday?", "Friday", among=DAYS)
    assert score(asked, "3 days after Tuesday comes Friday.").value == 1.0
    assert score(asked, "Tuesday").value == 0.0


@pytest.mark.parametrize(
    ("answer", "value"),
    [
        ("vingt-deux", 1.0),
        ("Vingt deux.", 1.0),
        ("22 en français est vingt-deux", 1.0),
        ("cent vingt-deux", 0.0),
        ("deux", 0.0),
        ("twenty-two", None),
    ],
)
def test_a_run_of_words_is_taken_whole(answer: str, value: float | None) -> None:
    asked = item("run", "Write 22 in French words.", "vingt-deux", among=FRENCH)
    assert score(asked, answer).value == value


def test_accents_count_and_composition_does_not() -> None:
    asked = item("choice", "Capital?", "Bogotá", among=("Bogotá", "Lima"))
    assert score(asked, "Bogota\u0301").value == 1.0
    assert score(asked, "Bogota").value is None


def test_an_alias_is_as_good_as_the_answer() -> None:
    assert score(item("choice", "Capital of Ukraine?", "Kyiv", "Kiev"), "Kiev").value == 1.0


@given(st.decimals(-10_000, 10_000, places=2), st.sampled_from(["{}", "{}.", "It is {}.", "= {}"]))
def test_any_number_is_right_in_any_spelling(number: Decimal, frame: str) -> None:
    asked = item("number", "What is it?", number_form(str(number)))
    for spelled in (f"{number}", f"{number:,}", f"{number}0"):
        assert score(asked, frame.format(spelled)).value == 1.0


@given(st.text(max_size=80), st.sampled_from(["number", "code", "time", "choice", "run"]))
def test_no_text_breaks_the_metric(text: str, kind: Kind) -> None:
    gold = {"number": "7", "code": "EUR", "time": "9:05"}.get(kind, "Paris")
    found = score(item(kind, "Which one?", gold, among=CITIES), text)
    assert found.value in (None, 0.0, 1.0)
    assert (found.value is None) == (found.rule in ("empty", "no candidate"))


@given(st.text())
def test_normal_form_is_stable(text: str) -> None:
    assert normal(normal(text)) == normal(text)


def test_accuracy_counts_the_unparsed_as_not_correct() -> None:
    found = accuracy([Score(1.0, "a", "only"), Score(0.0, "b", "only"), Score(None, None, "empty")])
    assert (found.n, found.correct, found.unparsed) == (3, 1, 1)
    assert found.value == pytest.approx(1 / 3)


def test_wilson_matches_published_values() -> None:
    assert wilson(8, 10) == pytest.approx((0.4902, 0.9433), abs=1e-4)
    assert wilson(0, 10) == pytest.approx((0.0, 0.2775), abs=1e-4)
    assert wilson(0, 0) == (0.0, 1.0)


@given(st.integers(0, 200), st.integers(0, 200))
def test_wilson_holds_the_share(correct: int, wrong: int) -> None:
    n = correct + wrong
    low, high = wilson(correct, n)
    assert 0.0 <= low <= high <= 1.0
    assert n == 0 or low <= correct / n <= high


@pytest.mark.parametrize("piece", ["\n", " ", "1,", "**", "\\boxed{", "a\n", "1. ", "("])
def test_a_flood_is_read_in_bounded_time(piece: str) -> None:
    """Processor time, not a clock: one pattern once took more than a minute for line breaks."""
    asked = item("number", "What is 2 + 2?", "4")
    began = time.process_time()
    score(asked, piece * (60_000 // len(piece)))
    assert time.process_time() - began < 10.0
