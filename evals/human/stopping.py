"""When collecting ends. Looked at on the server after each main vote and shown to nobody."""

from __future__ import annotations

from sqlalchemy import Connection, bindparam, case, func, select

from evals.human import schema
from evals.human.rows import Study

_vote, _later, _placed = schema.vote, schema.vote.alias("later"), schema.assignment
_NEWER = (
    select(_later.c.id)
    .where(_later.c.assignment == _vote.c.assignment, _later.c.revision > _vote.c.revision)
    .exists()
)
# Votes of raters who withdrew are freed, so they do not count here either.
_SCORE = (
    select(func.count(), func.count(case((_vote.c.outcome == _placed.c.system_side, 1))))
    .join(_placed, _placed.c.id == _vote.c.assignment)
    .where(
        _vote.c.study == bindparam("study"),
        _vote.c.outcome.in_(("left", "right")),
        _placed.c.kind == "main",
        _placed.c.freed_at == "",
        ~_NEWER,
    )
)


def should_stop(connection: Connection, study: Study) -> bool:
    """Whether the anytime-valid rule has decided: the e-value reached 1/alpha.

    The e-value is computed from the counted main votes, ties left out. With the fixed rule, the
    number of places is what ends collecting, so this is always False.
    """
    if study.spec.stopping.rule != "anytime":
        return False
    from evals.human.statistics.sequential import e_value

    decided, wins = connection.execute(_SCORE, {"study": study.slug}).one()
    return bool(decided) and e_value(wins, decided) >= 1 / study.spec.alpha
