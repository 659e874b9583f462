"""How items of outside tasks are put into words: the question, its options and what to answer."""

from __future__ import annotations

from collections.abc import Mapping

BY_KEY = "Answer with the letter of the option that is right."
IN_BOX = r"Give the final answer in \boxed{}."


def choice_prompt(question: str, choices: Mapping[str, str]) -> str:
    """Return the question with its options, one a line, unless it lists them itself."""
    listed = all(words.strip() in question for words in choices.values())
    lines = [] if listed else [f"{key}) {words}" for key, words in choices.items()]
    return "\n".join([question.strip(), *lines, BY_KEY])


def exact_prompt(question: str) -> str:
    """Return the question with where to put its answer."""
    return f"{question.strip()}\n{IN_BOX}"
