"""One line per rater, contributor and criterion: what the forest plot shows."""

from __future__ import annotations

from collections.abc import Sequence

from evals.human.records import Judgement
from evals.human.reporting.basics import Estimate
from evals.human.reporting.model import Differences, Row
from evals.human.reporting.votes import (
    Votes,
    counts,
    grouped,
    median_seconds,
    rate,
    share,
    tally,
    tally_of,
    winner_of,
)
from evals.human.statistics.clusters import heterogeneity
from evals.human.statistics.multiplicity import holm

ROUGH = 5
"""Expected counts below this make the chi-squared test rough."""


def rater_rows(votes: Votes) -> tuple[Row, ...]:
    """Return a row for each rater with a main judgement, A1 first."""
    return tuple(
        _row(label, ", ".join(sorted({j.stratum for j in mine})), mine, votes.level)
        for label, mine in votes.by_rater(votes.main).items()
    )


def contributor_rows(votes: Votes) -> tuple[Row, ...]:
    """Return a row for each contributor's pairs, in the order of the plan."""
    found = grouped(votes.main, lambda j: j.stratum)
    planned = [arm.model for arm in votes.spec.contributors]
    names = [*planned, *sorted(found.keys() - set(planned))]
    return tuple(_row(name, "", found.get(name, []), votes.level) for name in names)


def _row(label: str, group: str, mine: Sequence[Judgement], level: float) -> Row:
    found = tally(mine)
    return Row(
        label=label,
        group=group,
        counts=counts(found),
        skips=sum(j.winner is None for j in mine),
        estimate=rate(found, level),
        left=left_share(mine, level),
        median_seconds=median_seconds(mine),
        changed=sum(j.first != j.outcome for j in mine),
    )


def left_share(judgements: Sequence[Judgement], level: float) -> Estimate:
    """Return how often the answer on the left was chosen, whoever stood there."""
    sides = [j.outcome for j in judgements if j.outcome in ("left", "right")]
    return share(sides.count("left"), len(sides), level, note="No vote names a side.")


def criterion_rows(votes: Votes) -> tuple[Row, ...]:
    """Return a row for each further criterion; p-values are adjusted for their number (Holm)."""
    tallies = [
        tally_of(winner_of(j, j.dimensions.get(name)) for j in votes.main)
        for name in votes.spec.dimensions
    ]
    rows = [rate(found, votes.level) for found in tallies]
    adjusted = holm([row.p for row in rows])
    return tuple(
        Row(label=name, counts=counts(found), skips=0, estimate=row, adjusted_p=p)
        for name, found, row, p in zip(votes.spec.dimensions, tallies, rows, adjusted, strict=True)
    )


def differences(votes: Votes) -> Differences:
    """Return the test that all raters share one win rate."""
    found = heterogeneity(votes.rater_tallies(votes.main))
    rough = found.least_expected is not None and found.least_expected < ROUGH
    return Differences(chi2=found.chi2, df=found.df, p=found.p, rough=rough, note=found.reason)
