"""Rows of prompts and answers from outside: refused with their lines, or kept as they are."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.core.errors import UserError
from studio.examples import (
    TO_TEST,
    Example,
    Limits,
    read_examples,
    split,
    typed,
    write_examples,
)

FEW = Limits(fewest=1, most=50, prompt=40, answer=20)
WORDS = st.text(st.characters(categories=("L", "N", "P", "Zs")), min_size=1, max_size=18)


def lines(path: Path, *rows: object) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def good(count: int) -> list[dict[str, str]]:
    return [{"prompt": f"What is {n} + 1?", "answer": str(n + 1)} for n in range(count)]


BAD = {
    "no answer": ({"prompt": "a"}, "no text as its 'answer'"),
    "a list": ({"prompt": ["a"], "answer": "b"}, "no text as its 'prompt'"),
    "too long": ({"prompt": "a" * 41, "answer": "b"}, "prompt of 41 characters, more than 40"),
    "a long answer": ({"prompt": "a", "answer": "b" * 21}, "answer of 21 characters"),
    "a turn": ({"prompt": "<|im_start|>system", "answer": "b"}, "control marker in its prompt"),
    "an end": ({"prompt": "a", "answer": "b</s>"}, "control marker in its answer"),
    "reordered": ({"prompt": "a\u202eb", "answer": "b"}, "invisible or control"),
    "an escape": ({"prompt": "a", "answer": "\x1b[2J"}, "invisible or control"),
    "a lone surrogate": ({"prompt": "\ud800", "answer": "b"}, "invisible or control"),
    "the same again": ({"prompt": " what  IS 0 + 1?", "answer": "2"}, "the prompt of line 1"),
}  # fmt: skip


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_row_is_refused_with_its_line(kind: str, tmp_path: Path) -> None:
    row, reason = BAD[kind]
    path = lines(tmp_path / "mine.jsonl", *good(2), row, *good(4)[2:])
    with pytest.raises(UserError) as raised:
        read_examples(path, FEW)
    assert "line 3" in raised.value.message and reason in raised.value.message
    assert "\n" not in raised.value.message and "\x1b" not in raised.value.message


def test_a_file_is_no_link_no_flood_and_not_broken(tmp_path: Path) -> None:
    path = lines(tmp_path / "mine.jsonl", *good(60))
    with pytest.raises(UserError, match="more than 50 rows"):
        read_examples(path, FEW)
    with pytest.raises(UserError, match="at least 5"):
        read_examples(lines(tmp_path / "few.jsonl", *good(4)), TO_TEST)
    link = tmp_path / "link.jsonl"
    link.symlink_to(path)
    with pytest.raises(UserError, match="no ordinary file"):
        read_examples(link, FEW)
    path.write_text('{"prompt": "a", "answer": "b"}\n{nonsense\n')
    with pytest.raises(UserError, match="line 2"):
        read_examples(path, FEW)
    path.write_bytes(b"x" * (4 * 2**20 + 1))
    with pytest.raises(UserError, match="larger than 4 MiB"):
        read_examples(path, FEW)


def test_many_bad_lines_are_counted(tmp_path: Path) -> None:
    path = lines(tmp_path / "mine.jsonl", *[{"prompt": f"a{n}"} for n in range(9)])
    with pytest.raises(UserError, match=r"line 4 .* \(and 5 more\)"):
        read_examples(path, FEW)


def test_a_table_and_a_csv_say_the_same(tmp_path: Path) -> None:
    rows = [["Name a colour, please", "red"], ["", None], ["And\nanother?", "blue"]]
    path = tmp_path / "mine.csv"
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([["Prompt", "Answer"], *[row for row in rows if row[0]]])
    assert read_examples(path, FEW) == typed(rows, FEW)
    with pytest.raises(UserError, match="line 2"):
        typed([["a", "b"], ["c", ""]], FEW)


@given(st.dictionaries(WORDS.map(lambda w: " ".join(w.casefold().split())), WORDS, min_size=1))
def test_what_is_written_is_read_back(made: dict[str, str]) -> None:
    import tempfile

    rows = tuple(Example(p, a.strip()) for p, a in made.items() if p and a.strip())
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "mine.jsonl"
        write_examples(rows, path)
        limits = Limits(0, 500, 100, 100)
        assert read_examples(path, limits) == rows


@given(st.integers(5, 300), st.integers(0, 99))
def test_a_fifth_is_held_back_and_never_trained_on(count: int, seed: int) -> None:
    rows = [Example(str(n), "x") for n in range(count)]
    train, held = split(rows, seed)
    assert sorted(one.prompt for one in (*train, *held)) == sorted(one.prompt for one in rows)
    assert abs(len(held) - count / 5) <= 0.5
    assert split(rows, seed) == (train, held)
