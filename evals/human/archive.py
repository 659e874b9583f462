"""A locked study as one JSON file, from which its report can be made again, byte for byte.

It holds what the report is computed from and nothing else: raters under their labels, no free text,
no answers before masking. So it can be published, as the recorded examples are.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from evals.human.records import StudyData
from evals.human.reporting.names import rater_names
from protocols.core.errors import UserError

_DATA = TypeAdapter(StudyData)


def publishable(data: StudyData) -> StudyData:
    """Return the data without what leads back to a person or unmasks a text.

    Raises :class:`UserError` for a plan with a completion code: it would be public, and without it
    the plan's digest would be another one.
    """
    if data.spec.completion_code:
        raise UserError("The plan holds a completion code, which a public file would give away.")
    names = rater_names(data)
    return replace(
        data,
        judgements=tuple(replace(j, rater=names[j.rater], reason="") for j in data.judgements),
        guesses=tuple(replace(g, rater=names[g.rater]) for g in data.guesses),
        pairs=tuple(replace(p, raw_contributor="", raw_system="") for p in data.pairs),
    )


def to_json(data: StudyData) -> str:
    """Return everything the analysis needs as JSON text, without personal data.

    Raises :class:`UserError` as :func:`publishable` does.
    """
    return _DATA.dump_json(publishable(data), indent=1).decode() + "\n"


def from_file(path: Path) -> StudyData:
    """Read what :func:`to_json` wrote. Raises :class:`UserError` if the file is something else."""
    try:
        return _DATA.validate_json(path.read_bytes())
    except OSError as error:
        raise UserError(f"'{path.name}' cannot be read: {error.strerror}.") from None
    except ValidationError as error:
        raise UserError(
            f"'{path.name}' is no archived study: {error.errors()[0]['msg']}."
        ) from None
