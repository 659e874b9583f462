"""Answers that were made elsewhere: two files, one an arm, paired by id or by question.

A file is JSON Lines (or CSV) with a question and an answer in every row, or the log of a run of the
model-collaboration library that the paper uses: a JSON object whose ``logs`` is a list of
``input``, ``output`` and ``score``. The score is not read.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from evals.human.mask import Masker
from evals.human.prepare import ARMS, Prepared, gold_needed, pairs_from
from evals.human.questions import (
    MAX_ROWS,
    PROMPT_FIELDS,
    Row,
    category_of,
    field_text,
    language_of,
    read_bytes,
    read_rows,
)
from evals.human.responses import Response
from evals.human.study import Arm, StudySpec
from protocols.core.errors import UserError, unknown
from protocols.core.models import content_hash

TEXT_FIELDS = ("response", "output", "answer", "text", "completion")
FINISH_FIELDS = ("finish", "finish_reason")
MAX_ANSWER_CHARS = 200_000
_SHORT = 60


@dataclass(frozen=True, slots=True)
class _Answer:
    """One row of a file of answers."""

    where: str
    id: str
    prompt: str
    text: str
    cut: bool
    language: str
    gold: Arm | None
    category: str


def import_pairs(
    study: StudySpec, masker: Masker, contributor: Path, system: Path, stratum: str = ""
) -> Prepared:
    """Read both arms' answers and prepare them like generated ones.

    ``stratum`` is the contributor whose model wrote the first file; it may be left out when the
    study has one. Raises :class:`UserError` naming file and line for whatever does not fit.
    """
    return pairs_from(study, import_answers(study, contributor, system, stratum), masker)


def import_answers(
    study: StudySpec, contributor: Path, system: Path, stratum: str = ""
) -> list[Response]:
    """Return the answers of both files. The first ``limit`` questions are main pairs, the next
    ones spare; what is beyond both is left out."""
    models = {arm.model: arm for arm in study.contributors}
    chosen = stratum or next(iter(models))
    if chosen not in models:
        raise unknown("contributor of this study", chosen, models)
    if not stratum and len(models) > 1:
        raise UserError(f"Say whose answers these are: {', '.join(models)}.")
    arm = models[chosen]
    matched = _matched(_read(contributor), _read(system))
    wanted = matched[: arm.limit + gold_needed(study, arm)]
    return [
        _response(chosen, name, answer, number >= arm.limit)
        for number, row in enumerate(wanted)
        for name, answer in zip(ARMS, row, strict=True)
    ]


def _response(stratum: str, arm: Arm, answer: _Answer, spare: bool) -> Response:
    return Response(
        key=content_hash([stratum, arm, answer.prompt, answer.text]),
        stratum=stratum,
        arm=arm,
        question=answer.id,
        prompt=answer.prompt,
        text=answer.text,
        outcome="ok" if answer.text.strip() else "empty",
        finish="length" if answer.cut else "",
        cut=answer.cut,
        language=answer.language,
        category=answer.category,
        spare=spare,
        gold=answer.gold,
    )


def _matched(first: list[_Answer], second: list[_Answer]) -> list[tuple[_Answer, _Answer]]:
    """Pair the rows by id, if every row has one, else by question."""
    by_id = all(answer.id for answer in (*first, *second))
    ours, theirs = _keyed(first, by_id), _keyed(second, by_id)
    for one, other in ((ours, theirs), (theirs, ours)):
        for key, answer in one.items():
            if key not in other:
                name = next(iter(other.values())).where.partition(",")[0]
                raise UserError(
                    f"{answer.where}: '{_short(key)}' has no answer in {name}; give both files "
                    "the same questions."
                )
    return [_same_question(answer, theirs[key]) for key, answer in ours.items()]


def _keyed(answers: list[_Answer], by_id: bool) -> dict[str, _Answer]:
    keyed: dict[str, _Answer] = {}
    for answer in answers:
        key = answer.id if by_id else " ".join(answer.prompt.split())
        if not key:
            raise UserError(f"{answer.where} has neither a question nor an id; add one.")
        if key in keyed:
            advice = "make the ids unique" if by_id else "remove one or give every row an id"
            raise UserError(
                f"{answer.where} repeats '{_short(key)}' of {keyed[key].where}; {advice}."
            )
        keyed[key] = answer
    return keyed


def _same_question(first: _Answer, second: _Answer) -> tuple[_Answer, _Answer]:
    if not first.prompt or not second.prompt:
        prompt = first.prompt or second.prompt
        if not prompt:
            raise UserError(f"{first.where} has no question in either file; add a 'prompt'.")
    elif " ".join(first.prompt.split()) != " ".join(second.prompt.split()):
        raise UserError(
            f"{first.where} answers '{_short(first.prompt)}' and {second.where} answers "
            f"'{_short(second.prompt)}'; give both files the same questions."
        )
    else:
        prompt = first.prompt
    language = first.language or second.language
    category = first.category or second.category
    if first.gold and second.gold and first.gold != second.gold:
        raise UserError(f"{first.where} and {second.where} name different gold winners.")
    gold = first.gold or second.gold
    return (
        replace(first, prompt=prompt, language=language, gold=gold, category=category),
        replace(second, prompt=prompt, language=language, gold=gold, category=category),
    )


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= _SHORT else text[: _SHORT - 1] + "…"


def _read(path: Path) -> list[_Answer]:
    rows = _log_rows(path) if path.suffix.lower() == ".json" else read_rows(path)
    answers = [_answer(f"'{path.name}', line {number}", row) for number, row in rows]
    if not answers:
        raise UserError(f"'{path.name}' has no answers; put one in each line.")
    if len(answers) > MAX_ROWS:
        raise UserError(f"'{path.name}' has more than {MAX_ROWS:,} answers; shorten it.")
    return answers


def _log_rows(path: Path) -> Iterator[Row]:
    """The entries of a library log, numbered from 1."""
    try:
        log = json.loads(read_bytes(path).decode("utf-8-sig"))
    except (ValueError, RecursionError):
        raise UserError(f"'{path.name}' is not valid JSON in UTF-8; save it anew.") from None
    rows = log.get("logs") if isinstance(log, dict) else None
    if not isinstance(rows, list):
        raise UserError(f"'{path.name}' has no list 'logs'; save the answers as .jsonl instead.")
    for number, row in enumerate(rows, start=1):
        if not isinstance(row, dict):
            raise UserError(f"'{path.name}', entry {number} of 'logs' is not a JSON object.")
        yield number, row


def _answer(where: str, row: Mapping[str, Any]) -> _Answer:
    field = next((name for name in TEXT_FIELDS if name in row), "")
    if not field:
        raise UserError(f"{where} has no 'response' or 'output'; name the answer like that.")
    text = field_text(where, row, field)
    if len(text) > MAX_ANSWER_CHARS:
        raise UserError(f"{where}: the answer is longer than {MAX_ANSWER_CHARS:,} characters.")
    prompt = next((field_text(where, row, name) for name in PROMPT_FIELDS if name in row), "")
    finish = next((field_text(where, row, name) for name in FINISH_FIELDS if name in row), "")
    return _Answer(
        where=where,
        id=field_text(where, row, "id").strip(),
        prompt=prompt,
        text=text,
        cut=finish == "length",
        language=language_of(where, row),
        category=category_of(where, row),
        gold=_winner(where, row),
    )


def _winner(where: str, row: Mapping[str, Any]) -> Arm | None:
    gold = field_text(where, row, "gold").strip()
    found = next((arm for arm in ARMS if arm == gold), None)
    if gold and found is None:
        raise UserError(f"{where}: 'gold' is '{_short(gold)}'; it says contributor or system.")
    return found
