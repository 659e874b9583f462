"""Prompts with good answers that a contributor hands over, as data: read, checked, split.

Every way in which a row can be wrong ends in one sentence that names its line. What could pose as
a turn of a chat, hide text or reorder it is refused: these rows become prompts and training data.
"""

from __future__ import annotations

import json
import random
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from evals.human.questions import Row, read_rows
from protocols.core.errors import UserError

PROMPTS = ("prompt", "question", "input")
ANSWERS = ("answer", "gold", "output", "completion", "response")
MARKERS = ("<|", "|>", "[INST]", "[/INST]", "<<SYS>>", "</s>", "<start_of_turn>", "<end_of_turn>")
HELD_SHARE = 0.2
MAX_FILE = 4 * 2**20
TOLD = 4
"""Lines that one refusal names."""


@dataclass(frozen=True)
class Example:
    """A prompt and the answer that would be good."""

    prompt: str
    answer: str


@dataclass(frozen=True)
class Limits:
    """How many rows there may be, and how many characters a prompt and an answer may have."""

    fewest: int
    most: int
    prompt: int
    answer: int


TO_TEST = Limits(fewest=5, most=2_000, prompt=8_000, answer=1_000)
TO_TRAIN = Limits(fewest=30, most=2_000, prompt=1_000, answer=400)


def read_examples(path: Path, limits: Limits) -> tuple[Example, ...]:
    """Read a ``.jsonl`` or ``.csv`` file whose rows have a ``prompt`` and an ``answer``.

    Raises :class:`UserError` with one sentence that names the lines that are wrong.
    """
    if path.is_symlink() or not path.is_file():
        raise UserError(f"'{path.name}' is no ordinary file.")
    if path.stat().st_size > MAX_FILE:
        raise UserError(f"'{path.name}' is larger than {MAX_FILE >> 20} MiB; hand in fewer rows.")
    return examples_from(path.name, read_rows(path), limits)


def typed(rows: Sequence[Sequence[Any]], limits: Limits) -> tuple[Example, ...]:
    """The rows of a table that was filled in by hand; rows left empty are passed over."""
    filled = [
        (number, dict(zip(("prompt", "answer"), row, strict=False)))
        for number, row in enumerate(rows, start=1)
        if any(str(cell or "").strip() for cell in row)
    ]
    return examples_from("The table", filled, limits)


def examples_from(name: str, rows: Iterable[Row], limits: Limits) -> tuple[Example, ...]:
    """Check rows and return them. Raises :class:`UserError` like :func:`read_examples`."""
    found: list[Example] = []
    problems: list[str] = []
    seen: dict[str, int] = {}
    for number, row in rows:
        prompt, answer = _field(row, PROMPTS), _field(row, ANSWERS)
        key = " ".join(prompt.casefold().split())
        problem = _wrong(prompt, answer, limits)
        if not problem and key in seen:
            problem = f"repeats the prompt of line {seen[key]}"
        if problem:
            problems.append(f"line {number} {problem}")
        seen.setdefault(key, number)
        found.append(Example(prompt, answer))
        if len(found) > limits.most:
            raise UserError(f"'{name}' has more than {limits.most:,} rows; hand in fewer.")
    if problems:
        more = f" (and {len(problems) - TOLD} more)" if len(problems) > TOLD else ""
        raise UserError(f"'{name}': {'; '.join(problems[:TOLD])}{more}. Mend them and try again.")
    if len(found) < limits.fewest:
        raise UserError(f"'{name}' has {len(found)} rows; at least {limits.fewest} are needed.")
    return tuple(found)


def _field(row: Mapping[str, Any], names: Sequence[str]) -> str:
    value = next((row[name] for name in names if row.get(name) is not None), "")
    return value.strip() if isinstance(value, str) else _number(value)


def _number(value: Any) -> str:
    """A number is an answer like any other; lists and objects are none."""
    plain = isinstance(value, int | float) and not isinstance(value, bool)
    return str(value) if plain else ""


def _wrong(prompt: str, answer: str, limits: Limits) -> str:
    """What is wrong with a row, as the end of a sentence that begins with its line; or nothing."""
    for name, text, most in (("prompt", prompt, limits.prompt), ("answer", answer, limits.answer)):
        if not text:
            return f"has no text as its '{name}'"
        if len(text) > most:
            return f"has a {name} of {len(text):,} characters, more than {most:,}"
        if any(marker in text for marker in MARKERS):
            return f"has a chat's control marker in its {name}"
        if any(_hidden(c) for c in text):
            return f"has invisible or control characters in its {name}"
    return ""


def _hidden(character: str) -> bool:
    """Controls, lone surrogates and what reorders text; joiners that scripts need are not."""
    if character in "\n\r\t\u200c\u200d\u200e\u200f\u00ad":
        return False
    return unicodedata.category(character) in ("Cc", "Cf", "Cs", "Co", "Cn")


def split(examples: Sequence[Example], seed: int) -> tuple[list[Example], list[Example]]:
    """To train on, and a fifth held back, which no training sees; the same for the same seed."""
    mixed = list(examples)
    random.Random(seed).shuffle(mixed)
    held = max(1, round(len(mixed) * HELD_SHARE))
    return mixed[held:], mixed[:held]


def write_examples(examples: Iterable[Example], path: Path) -> None:
    """Write rows as JSON Lines that :func:`read_examples` reads back."""
    lines = "".join(json.dumps(asdict(one), ensure_ascii=False) + "\n" for one in examples)
    path.write_text(lines, encoding="utf-8")


def rows_of(examples: Iterable[Example]) -> Iterator[tuple[str, str]]:
    """The rows as training takes them."""
    return ((one.prompt, one.answer) for one in examples)
