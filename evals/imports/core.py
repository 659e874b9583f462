"""What every format of foreign results is read into, and how that becomes records.

What a file does not say (calls, tokens, seconds, how an answer was sampled) is not made up: frames
show it as missing. An imported record says in ``imported`` which file it is from.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import JsonValue

from evals.bench_plan import SOLO, member
from evals.names import protocol_title
from evals.records import BenchRecord, Member, Outcome, Reading
from evals.tasks.core import Split
from protocols.core.errors import UserError
from protocols.core.models import content_hash
from protocols.core.registry import protocols

FAMILY = "outside"
MOST = 500_000
"""Lines or entries of a file."""


@dataclass(frozen=True)
class Source:
    """Who answered, as a file says it. ``pool``: one model alone, or the members of a system."""

    format: str
    file: str
    task: str
    protocol: str
    pool: tuple[str, ...]
    split: Split = "test"
    config: Mapping[str, JsonValue] = field(default_factory=dict)
    made: str = ""


@dataclass(frozen=True)
class Answer:
    """One answered item. ``score`` None: nothing in the file scores it from 0 to 1."""

    item: str
    text: str
    score: float | None
    rule: str
    parsed: str | None = None
    seed: int = 0
    outcome: Outcome | None = None
    compatible: Reading = field(default_factory=Reading)
    others: Mapping[str, float] = field(default_factory=dict)


def as_record(source: Source, one: Answer) -> BenchRecord:
    """An answer as a record. Raises :class:`UserError` for a score that is not from 0 to 1."""
    if one.score is not None and not 0 <= one.score <= 1:
        raise UserError(
            f"'{source.file}': the score {one.score:g} of {one.item} is not between 0 and 1. Name "
            "a metric that is, with --metric."
        )
    known = protocols().get(source.protocol)
    named = (source.task, one.item, source.protocol, source.pool, dict(source.config), one.seed)
    return BenchRecord(
        key=content_hash("imported", source.format, *named),
        role=_role(source),
        task=source.task,
        family=FAMILY,
        item=one.item,
        split=source.split,
        protocol=source.protocol,
        level=known.level if known else "",
        config=dict(source.config),
        pool=source.pool,
        seed=one.seed,
        status="ok",
        outcome=one.outcome or _outcome(one.score),
        text=one.text,
        corrected=Reading(score=one.score, parsed=one.parsed, rule=one.rule),
        compatible=one.compatible,
        others=dict(one.others),
        imported=f"{source.format}: {source.file}",
        made=source.made,
    )


def _role(source: Source) -> Any:
    if source.protocol == SOLO:
        return "solo"
    known = protocols().get(source.protocol)
    return "baseline" if known and known.level == "baselines" else "system"


def _outcome(score: float | None) -> Outcome:
    if score is None:
        return "unscored"
    return "right" if score >= 1 else "wrong" if score <= 0 else "partial"


def joined(records: Iterable[BenchRecord]) -> list[BenchRecord]:
    """Records with what their members said alone, where every member's own answer is there.

    Raises :class:`UserError` if one item was answered twice and not in the same way.
    """
    book: dict[str, BenchRecord] = {}
    for one in records:
        before = book.setdefault(one.key, one)
        if (before.text, before.corrected) != (one.text, one.corrected):
            raise UserError(
                f"{protocol_title(one.protocol)} of {', '.join(one.pool)[:80]} answers item "
                f"{one.item} of {one.task} twice, in {before.imported} and {one.imported}. Import "
                "one run at a time."
            )
    alone = {(r.task, r.item, r.seed, r.pool[0]): r for r in book.values() if r.role == "solo"}
    return [one.model_copy(update={"members": _members(one, alone)}) for one in book.values()]


def _members(
    one: BenchRecord, alone: Mapping[tuple[str, str, int, str], BenchRecord]
) -> tuple[Member, ...]:
    if one.role == "solo":
        return ()
    own = [alone.get((one.task, one.item, one.seed, model)) for model in one.pool]
    found = [record for record in own if record]
    if len(found) < len(one.pool):
        return ()
    return tuple(member(r.pool[0], r.key, r) for r in found)


def model_id(name: object) -> str:
    """A model's name as an id: without the comma that joins the models of a pool."""
    return " ".join(str(name).replace(",", ";").split())[:200]


def read_json(path: Path) -> Any:
    """What a file holds. Raises :class:`UserError` for one that is not JSON."""
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise UserError(f"'{path.name}' cannot be read: {error.strerror}.") from None
    except (ValueError, RecursionError):
        raise UserError(f"'{path.name}' is not valid JSON in UTF-8; copy it anew.") from None


def read_lines(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """The objects of a JSON-lines file, each with the words for where it stands.

    Raises :class:`UserError` for a line that is none, and for a file that is too long.
    """
    try:
        with path.open(encoding="utf-8-sig") as file:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    where = f"'{path.name}', line {number}"
                    if number > MOST:
                        raise UserError(f"'{path.name}' has more than {MOST:,} lines; cut it.")
                    yield where, _object(where, line)
    except OSError as error:
        raise UserError(f"'{path.name}' cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise UserError(f"'{path.name}' is not UTF-8; copy it anew.") from None


def _object(where: str, line: str) -> dict[str, Any]:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise UserError(f"{where} is not a JSON object; copy the file anew.")
    return found


def number(value: object) -> float | None:
    """A score as a number, true as 1; None for anything else, NaN and infinity among it."""
    if isinstance(value, bool | int | float) and abs(value) < float("inf"):
        return float(value)
    return None
