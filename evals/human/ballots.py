"""Checking what a rater sent: every value is hostile until it has passed through here."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, get_args

from evals.human.records import Ballot, Input, Layout, Refused
from evals.human.rows import clean
from evals.human.study import Outcome, StudySpec

REASON_CHARS = 2_000
DAY_MS = 86_400_000
STRENGTHS = (1, 3)
_OUTCOMES = frozenset(get_args(Outcome))
_NONCE = re.compile(r"[A-Za-z0-9._~-]{1,64}")


@dataclass(frozen=True, slots=True)
class Checked:
    """A ballot that can be stored: ``answer`` is what the rater said, ``measured`` what the page
    measured about how. A replay must repeat the answer; the measures may differ."""

    nonce: str
    answer: dict[str, Any]
    reason: str
    measured: dict[str, Any]


def check(ballot: Ballot, spec: StudySpec) -> Checked:
    """Return the ballot's values, known, cut and clamped.

    Raises :class:`Refused` (422) for an outcome, a dimension or a nonce that is none of the
    allowed, and for a skip without a reason.
    """
    if not isinstance(ballot.nonce, str) or not _NONCE.fullmatch(ballot.nonce):
        raise Refused("The page sent no usable key with your choice. Reload it.", 422)
    outcome = outcome_of(ballot.outcome)
    reason = clean(ballot.reason, REASON_CHARS)
    if outcome == "skip" and not reason:
        raise Refused("To skip a pair, say why in a few words.", 422)
    answer = {
        "outcome": outcome,
        "dimensions": _dimensions(ballot.dimensions, spec.dimensions),
        "strength": None if ballot.strength is None else _clamp(ballot.strength, *STRENGTHS),
    }
    return Checked(ballot.nonce, answer, reason, _measured(ballot))


def outcome_of(value: object) -> str:
    """Return a known outcome. Raises :class:`Refused` (422) for anything else."""
    if not isinstance(value, str) or value not in _OUTCOMES:
        raise Refused("That is none of the answers that can be given. Choose one of them.", 422)
    return value


def _dimensions(given: object, known: tuple[str, ...]) -> str:
    if not isinstance(given, Mapping):
        raise Refused("The further criteria could not be read. Choose again.", 422)
    said = {name: value for name, value in given.items() if value not in ("", None)}
    if not set(said) <= set(known):
        raise Refused("One of the further criteria is not part of this study.", 422)
    answers = {name: outcome_of(value) for name, value in said.items()}
    return json.dumps(answers, sort_keys=True, ensure_ascii=False)


def _measured(ballot: Ballot) -> dict[str, Any]:
    return {
        "visible_ms": _clamp(ballot.visible_ms, 0, DAY_MS),
        "wall_ms": _clamp(ballot.wall_ms, 0, DAY_MS),
        "scrolled_left": ballot.scrolled_left is True,
        "scrolled_right": ballot.scrolled_right is True,
        "input": ballot.input if ballot.input in get_args(Input) else "unknown",
        "layout": ballot.layout if ballot.layout in get_args(Layout) else "unknown",
    }


def _clamp(value: object, low: int, high: int) -> int:
    if not isinstance(value, int | float) or isinstance(value, bool) or math.isnan(value):
        return low
    return int(min(max(value, low), high))
