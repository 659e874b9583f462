"""How far two raters of the same items agree, and how far that goes beyond saying the same always.

The share of agreement, Cohen's kappa and Gwet's AC1 are given together: where nearly all labels are
the same, kappa can be negative at 94 % agreement, and a judge that always names one arm agrees as
often as that arm wins.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from evals.human.statistics.proportions import clopper_pearson, sign_test
from evals.human.statistics.values import Interval, alpha_of, counted

Weights = Literal["none", "linear", "quadratic"]
Floats = NDArray[np.float64]

NO_PAIRS = "No item was labelled by both."
ONE_LABEL = "Both gave one and the same label throughout, so chance agreement is complete."
CONSTANT = "One of them gave a single label throughout, so kappa is 0 whatever the other said."


@dataclass(frozen=True, slots=True)
class Coefficient:
    """A chance-corrected agreement, at most 1, with its large-sample error and interval."""

    value: float | None
    se: float | None
    interval: Interval | None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class McNemar:
    """Test that both raters use a label equally often: ``only_first`` and ``only_second`` items.

    ``p`` is exact; the chi-squared statistics (one degree of freedom) are for comparison with
    published ones.
    """

    only_first: int
    only_second: int
    p: float | None
    chi2: float | None
    chi2_corrected: float | None


@dataclass(frozen=True, slots=True)
class Agreement:
    """Agreement of two raters; ``table[i][j]`` counts label i by the first and j by the second.

    ``missing`` items lack a label of either. ``constant`` is the label that, given to every item,
    agrees most with the *first* rater, ``constant_share`` how often: a judge (the second) is only
    worth something above it.
    """

    labels: tuple[str, ...]
    table: tuple[tuple[int, ...], ...]
    n: int
    missing: int
    observed: float | None
    interval: Interval | None
    kappa: Coefficient
    linear: Coefficient
    ac1: Coefficient
    constant: str | None
    constant_share: float | None
    reason: str = ""


def agreement(
    first: Sequence[str | None],
    second: Sequence[str | None],
    labels: Sequence[str],
    level: float = 0.95,
) -> Agreement:
    """Compare the labels of the same items by two raters, None where one gave none.

    One rater's first and repeated labels give the consistency of that rater with themselves.
    ``labels`` lists all that were possible, in their order: the linear kappa counts steps in it.
    Raises ValueError for unequal lengths or an unlisted label.
    """
    table = confusion(first, second, labels)
    n = int(table.sum())
    same = int(np.trace(table))
    margin = table.sum(axis=1)
    best = int(margin.argmax())
    return Agreement(
        labels=tuple(labels),
        table=tuple(tuple(int(v) for v in row) for row in table),
        n=n,
        missing=len(first) - n,
        observed=same / n if n else None,
        interval=clopper_pearson(same, n, level),
        kappa=cohen_kappa(table, level=level),
        linear=cohen_kappa(table, "linear", level),
        ac1=gwet_ac1(table, level),
        constant=labels[best] if n else None,
        constant_share=int(margin[best]) / n if n else None,
        reason="" if n else NO_PAIRS,
    )


def confusion(
    first: Sequence[str | None], second: Sequence[str | None], labels: Sequence[str]
) -> NDArray[np.int64]:
    """Return the table of counts, shape (labels, labels), of the items labelled by both."""
    place = {label: i for i, label in enumerate(labels)}
    strange = sorted({*first, *second} - {None} - place.keys(), key=str)
    if strange or not place:
        raise ValueError(f"Labels outside {list(labels)}: {strange}.")
    table = np.zeros((len(place), len(place)), dtype=np.int64)
    for a, b in zip(first, second, strict=True):
        if a is not None and b is not None:
            table[place[a], place[b]] += 1
    return table


def _square(table: object) -> Floats:
    counts = np.asarray(table, dtype=float)
    if counts.ndim != 2 or counts.shape[0] != counts.shape[1] or (counts < 0).any():
        raise ValueError("A table of agreement is square and has no negative counts.")
    return counts


def cohen_kappa(
    table: Sequence[Sequence[int]] | NDArray[np.int64],
    weights: Weights = "none",
    level: float = 0.95,
) -> Coefficient:
    """Return Cohen's (1960, 1968) kappa with the error of Fleiss, Cohen and Everitt (1969)."""
    from statsmodels.stats.inter_rater import cohens_kappa

    counts = _square(table)
    reason = _degenerate(counts)
    if reason:
        return Coefficient(None, None, None, reason)
    if _one_is_constant(counts):
        return Coefficient(0.0, None, None, CONSTANT)
    names = {"none": None, "linear": "linear", "quadratic": "quadratic"}
    # It also computes a test against zero agreement, whose error can be zero; not used here.
    with np.errstate(all="ignore"):
        found = cohens_kappa(counts, wt=names[weights])
    return _coefficient(float(found.kappa), max(0.0, float(found.var_kappa)), level)


def _degenerate(counts: Floats) -> str:
    if not counts.sum():
        return NO_PAIRS
    both = (counts.sum(axis=0) > 0) | (counts.sum(axis=1) > 0)
    return ONE_LABEL if both.sum() == 1 else ""


def _one_is_constant(counts: Floats) -> bool:
    """Whether a rater used a single label: kappa is then 0 and its null variance as well."""
    return min(int(np.count_nonzero(counts.sum(axis=axis))) for axis in (0, 1)) == 1


def _coefficient(value: float, variance: float, level: float) -> Coefficient:
    """A coefficient with its normal interval cut to -1..1; without one where the error is zero."""
    half = alpha_of(level) / 2
    se = float(np.sqrt(variance))
    if se < 1e-12:
        why = "The large-sample error is zero here, so it gives no interval."
        return Coefficient(value, 0.0, None, why)
    reach = float(stats.norm.isf(half)) * se
    found = Interval(value - reach, value + reach, level, "Wald")
    return Coefficient(value, se, found.clipped(-1, 1))


def gwet_ac1(
    table: Sequence[Sequence[int]] | NDArray[np.int64], level: float = 0.95
) -> Coefficient:
    """Return Gwet's (2008) first-order coefficient of two raters with its error.

    Every row of ``table`` counts as a possible label. Items are taken as a sample of many.
    """
    counts = _square(table)
    n, q = float(counts.sum()), len(counts)
    if not n:
        return Coefficient(None, None, None, NO_PAIRS)
    if q < 2:
        return Coefficient(None, None, None, ONE_LABEL)
    shares = counts / n
    used = (shares.sum(axis=0) + shares.sum(axis=1)) / 2
    observed = float(np.trace(shares))
    chance = float(np.sum(used * (1 - used)) / (q - 1))
    value = (observed - chance) / (1 - chance)
    return _coefficient(value, _ac1_variance(shares, used, value, chance, n), level)


def _ac1_variance(shares: Floats, used: Floats, value: float, chance: float, n: float) -> float:
    """Variance of the mean over items of each item's linearised contribution."""
    if n < 2:
        return 0.0
    q = len(shares)
    same = np.eye(q)
    # An item labelled (i, j) moves the chance term by the mean of 1 - used over its two labels.
    expected = ((1 - used)[:, None] + (1 - used)[None, :]) / 2 / (q - 1)
    items = (same - chance) / (1 - chance) - 2 * (1 - value) * (expected - chance) / (1 - chance)
    return float(np.sum(shares * (items - value) ** 2) / (n - 1))


def mcnemar(only_first: int, only_second: int) -> McNemar:
    """Test the discordant items of two raters (McNemar 1947), exact and two-sided."""
    n = only_first + only_second
    counted(only_first, n)
    p = sign_test(only_first, only_second)
    if not n:
        return McNemar(0, 0, None, None, None)
    gap = abs(only_first - only_second)
    return McNemar(only_first, only_second, p, gap**2 / n, max(0, gap - 1) ** 2 / n)


def label_bias(found: Agreement, label: str) -> McNemar:
    """Test whether the second rater uses ``label`` more or less often than the first."""
    i = found.labels.index(label)
    row, column = sum(found.table[i]), sum(line[i] for line in found.table)
    both = found.table[i][i]
    return mcnemar(row - both, column - both)
