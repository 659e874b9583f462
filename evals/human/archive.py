"""A locked study as one JSON file, from which its report can be made again, byte for byte."""

from __future__ import annotations

from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from evals.human.records import StudyData
from protocols.core.errors import UserError

_DATA = TypeAdapter(StudyData)


def to_json(data: StudyData) -> str:
    """Return everything the analysis needs as JSON text."""
    return _DATA.dump_json(data, indent=1).decode() + "\n"


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
