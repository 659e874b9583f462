"""How far any number of raters of the same items agree: Krippendorff's alpha and Fleiss' kappa."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from evals.human.statistics.agreement import NO_PAIRS, ONE_LABEL
from evals.human.statistics.values import Interval, alpha_of

Level = Literal["nominal", "ordinal", "interval", "ratio"]
Ratings = Sequence[Sequence[float | None]]
Floats = NDArray[np.float64]
RESAMPLES = 2_000


@dataclass(frozen=True, slots=True)
class Alpha:
    """Krippendorff's alpha over ``units`` items that at least two raters labelled.

    ``interval`` is the percentile interval when units are drawn again with replacement;
    ``undefined`` of ``resamples`` draws had a single label only and are left out of it.
    """

    value: float | None
    interval: Interval | None
    units: int
    resamples: int
    undefined: int
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Fleiss:
    """Fleiss' kappa of items that all have the same number of ratings."""

    value: float | None
    reason: str = ""


def krippendorff_alpha(
    ratings: Ratings,
    measure: Level = "nominal",
    level: float = 0.95,
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Alpha:
    """Return alpha (Krippendorff 2011) of ``ratings[rater][item]``, None where one is missing.

    ``measure`` says how far two labels differ: not at all or wholly, by their ranks, by their
    difference, or by their ratio. The order of raters and of items does not matter. Raises
    ValueError for lines of unequal length.
    """
    counts, values = _units(ratings)
    if not len(counts):
        return Alpha(None, None, 0, 0, 0, NO_PAIRS)
    own = _coincidences(counts)
    point = _alpha(own.sum(axis=0)[None], values, measure)[0]
    if np.isnan(point):
        return Alpha(None, None, len(counts), 0, 0, ONE_LABEL)
    drawn = _drawn(own, values, measure, resamples, seed)
    kept = drawn[~np.isnan(drawn)]
    interval = None
    if len(counts) > 1 and len(kept):
        tail = alpha_of(level) / 2
        low, high = (float(q) for q in np.quantile(kept, [tail, 1 - tail]))
        interval = Interval(low, high, level, "bootstrap over items")
    reason = "" if interval else "One item has no spread to judge an interval by."
    return Alpha(float(point), interval, len(counts), resamples, len(drawn) - len(kept), reason)


def _units(ratings: Ratings) -> tuple[Floats, Floats]:
    """Counts of each value in each unit with two or more ratings, (units, values), sorted."""
    columns = list(zip(*ratings, strict=True))
    units = [[float(v) for v in column if v is not None] for column in columns]
    units = sorted(sorted(unit) for unit in units if len(unit) > 1)
    values = sorted({v for unit in units for v in unit})
    counts = np.asarray([[unit.count(v) for v in values] for unit in units], dtype=float)
    return counts.reshape(len(units), len(values)), np.asarray(values)


def _coincidences(counts: Floats) -> Floats:
    """What each unit adds to the table of coincidences, shape (units, values, values)."""
    pairs = counts[:, :, None] * counts[:, None, :]
    pairs -= np.einsum("uv,vw->uvw", counts, np.eye(counts.shape[1]))
    return np.asarray(pairs / (counts.sum(axis=1) - 1)[:, None, None], dtype=float)


def _drawn(own: Floats, values: Floats, measure: Level, resamples: int, seed: int) -> Floats:
    n = len(own)
    picks = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=resamples)
    tables = np.tensordot(picks.astype(float), own, axes=1)
    return _alpha(tables, values, measure)


def _alpha(tables: Floats, values: Floats, measure: Level) -> Floats:
    """Alpha of each table of coincidences, shape (tables, values, values); NaN where undefined."""
    margins = tables.sum(axis=2)
    distance = _distance(margins, values, measure)
    observed = (tables * distance).sum(axis=(1, 2))
    expected = np.einsum("ta,tb,tab->t", margins, margins, distance) / (margins.sum(axis=1) - 1)
    out = np.full(len(tables), np.nan)
    defined = expected > 1e-12
    out[defined] = 1 - observed[defined] / expected[defined]
    return out


def _distance(margins: Floats, values: Floats, measure: Level) -> Floats:
    """Squared distance of two values, shape (tables or 1, values, values)."""
    if measure == "nominal":
        return (1 - np.eye(len(values)))[None]
    if measure == "ordinal":
        middle = np.cumsum(margins, axis=1) - margins / 2
        return np.asarray((middle[:, :, None] - middle[:, None, :]) ** 2, dtype=float)
    gap = values[:, None] - values[None, :]
    if measure == "interval":
        return np.asarray(gap[None] ** 2, dtype=float)
    total = values[:, None] + values[None, :]
    return np.asarray((gap / np.where(total == 0, 1, total))[None] ** 2, dtype=float)


def fleiss(table: Sequence[Sequence[int]]) -> Fleiss:
    """Return Fleiss' (1971) kappa of ``table[item][label]`` counts.

    Raises ValueError if items have different numbers of ratings: use Krippendorff's alpha then.
    """
    from statsmodels.stats.inter_rater import fleiss_kappa

    counts = np.asarray(table, dtype=float)
    if not counts.size or not counts.sum():
        return Fleiss(None, NO_PAIRS)
    totals = counts.sum(axis=1)
    if totals.min() != totals.max() or counts.min() < 0:
        raise ValueError("Fleiss' kappa needs the same number of ratings for every item.")
    if totals[0] < 2:
        return Fleiss(None, "Each item has one rating only.")
    if (counts.sum(axis=0) > 0).sum() == 1:
        return Fleiss(None, ONE_LABEL)
    return Fleiss(float(fleiss_kappa(counts)))
