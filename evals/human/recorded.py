"""A locked study as one file that can be shown anywhere: the recorded examples of the repository.

It holds what the report is computed from and nothing else: raters under their labels, no free text,
no raw answers. Reading it back and reporting gives the report of the original, byte for byte.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from evals.human.records import StudyData
from evals.human.reporting.names import rater_names
from protocols.core.errors import UserError

_ADAPTER = TypeAdapter(StudyData)


def publishable(data: StudyData) -> StudyData:
    """Return the data without what leads back to a person or unmasks a text.

    Raises :class:`UserError` for a plan with a completion code: it would be public, and without it
    the plan's digest would be another one.
    """
    if data.spec.completion_code:
        raise UserError("The plan holds a completion code, which a public record would give away.")
    names = rater_names(data)
    return replace(
        data,
        judgements=tuple(replace(j, rater=names[j.rater], reason="") for j in data.judgements),
        guesses=tuple(replace(g, rater=names[g.rater]) for g in data.guesses),
        pairs=tuple(replace(p, raw_contributor="", raw_system="") for p in data.pairs),
    )


def write_recorded(data: StudyData, path: Path) -> None:
    """Write a study without personal data as JSON; the same data give the same bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(_ADAPTER.dump_json(publishable(data), indent=1) + b"\n")


def read_recorded(path: Path) -> StudyData:
    """Return a study from such a file. Raises :class:`UserError` if it is not one."""
    try:
        return _ADAPTER.validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        first = error.errors()[0]["msg"] if isinstance(error, ValidationError) else error.strerror
        raise UserError(f"'{path.name}' holds no recorded study: {first}.") from None
