"""What scoring one answer comes to: a value, and what was understood, where and by which rule."""

from __future__ import annotations

from typing import NamedTuple


class Grade(NamedTuple):
    """``value`` is 0 to 1, or None: nothing could be read (``unparsed``) or nothing scores it here.

    ``parsed`` is the answer as understood and ``span`` its (start, end) in the answer's text, both
    None where there is none. ``rule`` says how it was found.
    """

    value: float | None
    parsed: str | None = None
    span: tuple[int, int] | None = None
    rule: str = ""


UNSCORED = Grade(None, rule="unscored")
"""Nothing scores this answer here, for example because a judge has to."""


class Graded(NamedTuple):
    """An answer's two scores side by side.

    ``corrected`` reads the answer as a careful person would; ``compatible`` gives what the paper's
    reference library gives, with its defects, so that its numbers can be compared with ours.
    """

    corrected: Grade
    compatible: Grade = UNSCORED
    others: dict[str, float] = {}
    """More that is reported of such tasks, by name."""
