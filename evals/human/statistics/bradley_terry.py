"""Bradley-Terry strengths: closed forms for two arms, a solver with Fisher errors for more.

An arm that never loses has no finite strength. Such a comparison is reported as separated, with no
number, instead of a large one that depends on where a solver stopped.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, log, sqrt

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from scipy.sparse.csgraph import connected_components

from evals.human.statistics.values import NO_DECIDED, Interval, Tally, alpha_of

ELO_PER_LOG = 400 / log(10)
NEVER_LOST = "One arm won every decided vote: its strength has no finite estimate."
SPLIT = (
    "The arms fall into groups of which one never lost to another or never met it: "
    "their strengths have no finite estimate."
)
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class TwoArms:
    """Log ratio of two strengths, its error, and the same as an Elo gap; None when separated."""

    log_ratio: float | None
    se: float | None
    interval: Interval | None
    elo: float | None
    elo_interval: Interval | None
    separated: bool
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Davidson:
    """Davidson's (1970) model of ties: ``tie`` is nu, relative to the geometric mean strength.

    The log ratio equals that of Bradley and Terry on the decided votes.
    """

    arms: TwoArms
    tie: float | None
    interval: Interval | None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Strengths:
    """Strengths of several arms with geometric mean 1, errors of their logs, and their groups.

    ``groups[i]`` numbers the group of arm i; with more than one group nothing else is given.
    """

    strengths: tuple[float, ...] | None
    logs: tuple[float, ...] | None
    se: tuple[float, ...] | None
    intervals: tuple[Interval, ...] | None
    elo: tuple[float, ...] | None
    groups: tuple[int, ...]
    reason: str = ""


def two_arms(tally: Tally, level: float = 0.95) -> TwoArms:
    """Return how much stronger the tallied arm is than the other; ties are left out."""
    alpha = alpha_of(level)
    if not tally.decided:
        return TwoArms(None, None, None, None, None, False, NO_DECIDED)
    if not tally.wins or not tally.losses:
        return TwoArms(None, None, None, None, None, True, NEVER_LOST)
    ratio, se = log(tally.wins) - log(tally.losses), sqrt(1 / tally.wins + 1 / tally.losses)
    reach = float(stats.norm.isf(alpha / 2)) * se
    found = Interval(ratio - reach, ratio + reach, level, "Wald, log strength")
    gap = Interval(found.low * ELO_PER_LOG, found.high * ELO_PER_LOG, level, "Wald, Elo")
    return TwoArms(ratio, se, found, ratio * ELO_PER_LOG, gap, False)


def davidson(tally: Tally, level: float = 0.95) -> Davidson:
    """Return the strengths together with the tendency to tie."""
    arms = two_arms(tally, level)
    if arms.log_ratio is None:
        return Davidson(arms, None, None, arms.reason)
    nu = tally.ties / sqrt(tally.wins * tally.losses)
    if not tally.ties:
        return Davidson(arms, 0.0, None, "Without ties there is no interval for their tendency.")
    se = sqrt(1 / tally.ties + 1 / (4 * tally.wins) + 1 / (4 * tally.losses))
    factor = exp(float(stats.norm.isf(alpha_of(level) / 2)) * se)
    return Davidson(arms, nu, Interval(nu / factor, nu * factor, level, "Wald, log nu"))


def strengths(wins: Sequence[Sequence[float]], level: float = 0.95) -> Strengths:
    """Return the strengths of arms from ``wins[i][j]``, how often arm i beat arm j (tie = half).

    Raises ValueError unless the table is square, not negative and empty on its diagonal.
    """
    table = _checked(wins)
    groups = tuple(int(g) for g in connected_components(table > 0, connection="strong")[1])
    if len(table) < 2 or len(set(groups)) > 1:
        reason = SPLIT if len(table) > 1 else "Two arms are the least for a comparison."
        return Strengths(None, None, None, None, None, groups, reason)
    logs = _log_strengths(table)
    se = np.sqrt(np.diag(_covariance(table, logs)))
    reach = float(stats.norm.isf(alpha_of(level) / 2)) * se
    return Strengths(
        strengths=_floats(np.exp(logs)),
        logs=_floats(logs),
        se=_floats(se),
        intervals=tuple(
            Interval(float(x - r), float(x + r), level, "Wald, log strength")
            for x, r in zip(logs, reach, strict=True)
        ),
        elo=_floats(logs * ELO_PER_LOG),
        groups=groups,
    )


def _checked(wins: Sequence[Sequence[float]]) -> Floats:
    table = np.asarray(wins, dtype=float)
    square = table.ndim == 2 and table.shape[0] == table.shape[1]
    if not square or (table < 0).any() or np.diag(table).any():
        raise ValueError("A table of wins is square, not negative and empty on its diagonal.")
    return table


def _floats(values: Floats) -> tuple[float, ...]:
    return tuple(float(v) for v in values)


def _log_strengths(table: Floats) -> Floats:
    from evalica import Winner, bradley_terry

    rows, columns = (index.tolist() for index in np.nonzero(table))
    found = bradley_terry(
        rows,
        columns,
        [Winner.X] * len(rows),
        weights=table[rows, columns].tolist(),
        tolerance=1e-12,
        limit=100_000,
    )
    logs = np.log(found.scores.sort_index().to_numpy())
    return np.asarray(logs - logs.mean(), dtype=float)


def _covariance(table: Floats, logs: Floats) -> Floats:
    """The inverse Fisher information of the logs under a sum of zero."""
    games = table + table.T
    chance = 1 / (1 + np.exp(logs[None, :] - logs[:, None]))
    weights = games * chance * (1 - chance)
    return np.asarray(np.linalg.pinv(np.diag(weights.sum(axis=1)) - weights), dtype=float)
