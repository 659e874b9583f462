"""T-J3: what judges write, and what it means."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evals.judges.reading import read_choice

CORPUS = {
    "A": [
        *("A", "a", "A.", "(A)", "[[A]]", "**A**", "`A`", "Ａ", "Answer A", "Answer: A"),
        "Option A.",
        *("A is better than B", "A is better.", "Answer A is clearly better.", "The winner is A"),
        *("Verdict: A", "Final verdict: A", "The better answer is A.", "I'd pick A"),
        *("My choice: A", "Both sides are equal to 4, so answer A is better."),
        "I draw on it: A is best",
        *("A, because it is right.", "A\n\nAnswer A is right and B is wrong.", "The answer is A"),
        *("Not a tie: A is better.", "Response A is superior to Response B in every way."),
        *("答案A", "A更好", "我认为回答A更好。", "更好的回答是A"),
        *("Réponse A", "Je préfère la réponse A.", "La réponse A est nettement meilleure."),
        *("Respuesta A", "Prefiero la respuesta A", "La respuesta A es claramente mejor."),
        *("الإجابة A أفضل", "الإجابة أ"),
    ],
    "B": [
        *("B", "b", "**B**", "Answer: B", "B is clearly better.", "Option B wins.", "Winner: B"),
        *("I prefer answer B.", "<think>A is better</think>\nB", "The winner is B"),
        *("我选择B", "回答B比A好", "回答B比回答A更好", "B 的回答更好"),
        *("La réponse B est meilleure.", "La réponse B est nettement meilleure que la réponse A"),
        *("La respuesta B es mejor", "A mi juicio, la B es mejor."),
        "الإجابة ب أفضل",
    ],
    "tie": [
        *("T", "It's a tie", "It’s a tie.", "A tie", "Tie", "Neither", "Both", "Both are good."),
        *("A and B are equally good", "Neither A nor B is better."),
        "Both answers are equally good.",
        *("They are equally bad.", "A and B are equal.", "It's a draw."),
        *("平局", "两者一样好", "不分上下"),
        *("Égalité", "C'est une égalité.", "Aucune des deux", "les deux se valent"),
        *("Empate", "Es un empate", "Ninguna", "Son iguales.", "Son igual de buenas."),
        "تعادل",
    ],
    "unparsed": [
        *("", "   ", "C", "AB", "A or B", "Banana", "A good question."),
        *("I'm sorry, but I can't help with that.", "As an AI, I have no opinion."),
        *("I cannot decide whether A is better or B is better.", "I do not think A is better."),
        *("A is not better than B", "A is better. B is better.", "<think>A is better"),
        *("A: The capital is X.\nB: The capital is Y.", "A. Paris\nB. Rome"),
        *("无法判断", "Je ne peux pas répondre.", "A n'est pas meilleure."),
        *("Lo siento, no puedo ayudar con eso.", "لا أستطيع الإجابة"),
    ],
}  # fmt: skip


@pytest.mark.parametrize(
    ("text", "wanted"), [(text, wanted) for wanted, texts in CORPUS.items() for text in texts]
)
def test_the_corpus_is_read_exactly(text: str, wanted: str) -> None:
    assert read_choice(text) == wanted


SWAP = str.maketrans({"A": "B", "B": "A", "Ａ": "Ｂ", "أ": "ب"})


@pytest.mark.parametrize(
    "text",
    [text for text in CORPUS["A"] if not any(word in text for word in ("Answer", "A mi", "أ"))],
)
def test_changing_the_letters_changes_the_reading(text: str) -> None:
    assert read_choice(text.translate(SWAP)) == ("B" if text != "a" else "A")


@given(st.text(alphabet="ABT ab.,:;*\n是better比好tie not", max_size=80))
def test_any_text_has_one_reading(text: str) -> None:
    assert read_choice(text) in ("A", "B", "tie", "unparsed")


HOSTILE = ("A is " + " " * 50_000 + "x", "A " * 30_000, "not " * 20_000, "not a tie " * 20_000)


@pytest.mark.timeout(30)
@pytest.mark.parametrize("text", HOSTILE, ids=["spaces", "letters", "negations", "ties"])
def test_hostile_text_does_not_stop_the_reading(text: str) -> None:
    assert read_choice(text) == "unparsed"
