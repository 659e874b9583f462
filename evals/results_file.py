"""Results that ship with the studio: the records of a bench in one small file.

The first line says where they were made. What a member said alone stands in its own record, so its
summary in the records of systems is left out where it can be made again from there: the records
that are read back are equal to those that were kept.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from evals.bench_plan import member
from evals.records import BenchRecord, Member, record_line
from protocols.core.errors import UserError

KEPT = ".jsonl.gz"
"""How files of stored results end, in ``assets/results``."""
ABOUT, ALONE = "about", "alone"
"""What the first line holds; what marks a record whose members' summaries are left out."""
Alone = dict[tuple[str, str, str, int, str, str], Member]


@dataclass(frozen=True)
class Kept:
    """Stored records and where they were made: ``machines`` and ``versions``."""

    records: list[BenchRecord]
    about: Mapping[str, Any] = field(default_factory=dict)


def keep_records(
    records: Iterable[BenchRecord], path: Path, about: Mapping[str, Any] | None = None
) -> None:
    """Store records in one small file that can be committed; equal records give equal bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    ordered = sorted(records, key=lambda record: record.key)
    alone = _alone(ordered)
    head = json.dumps({ABOUT: dict(about or {})}, ensure_ascii=False, sort_keys=True)
    text = "".join(f"{line}\n" for line in (head, *(_short(one, alone) for one in ordered)))
    path.write_bytes(gzip.compress(text.encode("utf-8", "replace"), mtime=0))


def kept(path: Path) -> Kept:
    """Read what :func:`keep_records` stored. Raises :class:`UserError` for a damaged file."""
    try:
        lines = [json.loads(line) for line in gzip.decompress(path.read_bytes()).splitlines()]
        about = lines.pop(0)[ABOUT] if lines and ABOUT in lines[0] else {}
        short = [bool(line.pop(ALONE, False)) for line in lines]
        records = [BenchRecord.model_validate(line) for line in lines]
        alone = _alone(records)
        whole = [
            _whole(one, alone) if cut else one for one, cut in zip(records, short, strict=True)
        ]
    except (OSError, EOFError, zlib.error, ValidationError, ValueError, TypeError, KeyError):
        raise UserError(f"The stored results '{path.name}' cannot be read. Restore it.") from None
    return Kept(whole, about)


def kept_records(path: Path) -> list[BenchRecord]:
    """The records of a kept file. Raises :class:`UserError` for a damaged file."""
    return kept(path).records


def _alone(records: Iterable[BenchRecord]) -> Alone:
    found = {next(_places(one)): one for one in records if one.role == "solo"}
    return {place: member(one.pool[0], one.key, one) for place, one in found.items()}


def _places(record: BenchRecord) -> Iterator[tuple[str, str, str, int, str, str]]:
    """Where each member's own answer to the same question is found."""
    sampling = json.dumps(record.sampling, sort_keys=True)
    for model in record.pool:
        yield record.task, record.item, record.split, record.seed, sampling, model


def _whole(record: BenchRecord, alone: Alone) -> BenchRecord:
    """The record with its members' summaries made again. Raises ``KeyError`` if one is missing."""
    members = tuple(alone[place] for place in _places(record))
    return record.model_copy(update={"members": members})


def _short(record: BenchRecord, alone: Alone) -> str:
    if not record.members or any(place not in alone for place in _places(record)):
        return record_line(record)
    bare = record.model_copy(update={"members": ()})
    if _whole(bare, alone).members != record.members:
        return record_line(record)
    return json.dumps({**json.loads(record_line(bare)), ALONE: True}, ensure_ascii=False)
