"""Is a strong model a strong collaborator? The paper's Figure 7, with Shapley values."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from evals.analyses.core import (
    Claim,
    Finding,
    by_item,
    difference,
    mean_of,
    nothing,
    of_items,
    of_role,
    row,
)
from evals.names import IDS, Names, protocol_title

TITLE = "Individual against compositional strength"
PAPER = "6 of 6 panels show no significant correlation (p > .05)"
FEWEST_ORDERS = 2
YARDSTICKS = ("random_router", "oracle_router", "single_model", "self_consistency")


@dataclass(frozen=True, slots=True)
class Correlation:
    """Pearson's r with its Fisher interval and two-sided p; Spearman's rho; power at r = .5."""

    n: int
    r: float
    low: float
    high: float
    p: float
    rho: float
    power: float


def strength(frame: pd.DataFrame, seed: int = 0, names: Names = IDS) -> Finding:
    """Each model's own score against what the system loses without it, per protocol and task.

    Needs runs over a pool and over that pool without each of its members. ``table``: protocol,
    task, model, own, value (system with minus system without, paired by item), low, high, items;
    ``more["correlations"]`` has one row per protocol and task, ``more["contributors"]`` each
    model's worth over all panels (mean of each item over protocols) with its interval and
    ``verdict``: adds, harms, or not told apart; ``more["attribution"]`` each model's share where
    sub-pools were run (:func:`attribution`).
    """
    systems = of_role(frame, "system", "baseline")
    systems = systems[~systems["protocol"].isin(YARDSTICKS)]
    panels = _panels(frame, systems)
    rows = [one for panel in panels for one in _left_out(panel, seed)]
    if not rows:
        why = "No pool was run without each of its members in turn (bench --leave-one-out)."
        return nothing("strength", TITLE, why, PAPER)
    table = pd.DataFrame(rows)
    found = pd.DataFrame(_correlations(table))
    pooled = contributors(panels, seed)
    shares = attribution(frame)
    told = f"{_sentence(table, found, names)} {_pooled_sentence(pooled, names)}"
    more = {"correlations": found, "contributors": pooled, "attribution": shares}
    notes = [*_notes(table), *_told_shares(shares, names)]
    return Finding("strength", TITLE, told, table, more, _claims(found), notes)


def _told_shares(shares: pd.DataFrame, names: Names) -> list[str]:
    """Each protocol's shares in a sentence, or which runs would give them."""
    if shares.empty:
        return [
            "Shares of contributors (Shapley values) need a pool of n at every size from 2 to n in "
            "several orders: studio bench --sizes 2,3,4 --orders 8 --models (four of them)."
        ]
    told = []
    for protocol, part in shares.groupby("protocol"):
        first = part.sort_values("share", ascending=False, kind="stable")
        pairs = zip(first["model"], first["share"], strict=True)
        listed = ", ".join(f"{names.model(model)} {share:.0%}" for model, share in pairs)
        orders = int(part["orders"].iloc[0])
        how = f"estimated over {orders} orders of the pool" if orders else "exact"
        told.append(f"Shares by Shapley values ({how}), {protocol_title(str(protocol))}: {listed}.")
    return told


@dataclass(frozen=True)
class Panel:
    """A protocol on a task: each item's value with the whole pool, and without each member."""

    protocol: str
    task: str
    whole: pd.Series
    without: Mapping[str, pd.Series]
    own: Mapping[str, float]


def _panels(frame: pd.DataFrame, systems: pd.DataFrame) -> list[Panel]:
    solo = of_role(frame, "solo")
    own = {key: float(by_item(part).mean()) for key, part in solo.groupby(["task", "pool"])}
    panels = []
    for (protocol, task), part in systems.groupby(["protocol", "task"]):
        sets = part["pool"].map(lambda name: frozenset(name.split(",")))
        whole = whole_pool(list(sets))
        without = {model: by_item(part[sets == whole - {model}]) for model in sorted(whole)}
        alone = {model: own.get((task, model), math.nan) for model in without}
        panels.append(Panel(str(protocol), str(task), by_item(part[sets == whole]), without, alone))
    return panels


def contributors(panels: Sequence[Panel], seed: int = 0) -> pd.DataFrame:
    """Each model's worth over all panels: value, low, high, items and a verdict.

    The interval is not corrected for the number of models.
    """
    losses: dict[str, list[pd.Series]] = {}
    for panel in panels:
        for model, without in panel.without.items():
            losses.setdefault(model, []).append((panel.whole - without).dropna())
    rows = []
    for model, found in losses.items():
        losses_of = pd.concat(found)
        per_item = losses_of.groupby(level=list(range(losses_of.index.nlevels))).mean()
        worth = mean_of(per_item.to_numpy(), seed)
        verdict = "adds" if worth.above else "harms" if worth.below else "not told apart"
        rows.append(row(worth, model=model, verdict=verdict))
    return pd.DataFrame(rows).sort_values("value", ascending=False, ignore_index=True)


def _pooled_sentence(pooled: pd.DataFrame, names: Names) -> str:
    """Who helps and who harms over all panels."""
    named = {
        verdict: ", ".join(map(names.model, pooled.loc[pooled["verdict"] == verdict, "model"]))
        for verdict in ("adds", "harms")
    }
    adds, harms = named["adds"] or "nobody", named["harms"] or "nobody"
    return f"Over all panels {adds} adds to the systems and {harms} harms them."


def whole_pool(pools: list[frozenset[str]]) -> frozenset[str]:
    """The largest pool that was also run without each of its members; empty if there is none."""
    known = set(pools)
    for pool in sorted(known, key=lambda one: (-len(one), sorted(one))):
        if len(pool) > 2 and all(pool - {model} in known for model in pool):
            return pool
    return frozenset()


def _left_out(panel: Panel, seed: int) -> list[dict[str, object]]:
    return [
        row(
            difference(panel.whole, without, seed),
            protocol=panel.protocol, task=panel.task, model=model, own=panel.own[model],
        )
        for model, without in panel.without.items()
    ]  # fmt: skip


def correlation(own: np.ndarray, composed: np.ndarray) -> Correlation | None:
    """Correlate two strengths; None where one of them does not vary or there are under 4 models."""
    n = len(own)
    if n < 4 or np.ptp(own) == 0 or np.ptp(composed) == 0:
        return None
    found = stats.pearsonr(own, composed)
    ends = found.confidence_interval(0.95)
    rho = float(stats.spearmanr(own, composed).statistic)
    return Correlation(
        n, float(found.statistic), float(ends.low), float(ends.high), float(found.pvalue), rho,
        power_of(n),
    )  # fmt: skip


def critical_r(n: int, alpha: float = 0.05) -> float:
    """How large |r| must be with ``n`` pairs for a two-sided p below ``alpha``."""
    t = float(stats.t.ppf(1 - alpha / 2, n - 2))
    return t / math.sqrt(n - 2 + t * t)


def power_of(n: int, r: float = 0.5, alpha: float = 0.05) -> float:
    """How likely ``n`` pairs show a true correlation ``r`` (Fisher's z, normal approximation)."""
    if n < 4:
        return 0.0
    z, critical = math.atanh(r), math.atanh(critical_r(n, alpha))
    scale = math.sqrt(n - 3)
    return float(stats.norm.sf((critical - z) * scale) + stats.norm.cdf((-critical - z) * scale))


def _correlations(table: pd.DataFrame) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    for (protocol, task), part in table.groupby(["protocol", "task"]):
        found = correlation(part["own"].to_numpy(float), part["value"].to_numpy(float))
        named = {"protocol": str(protocol), "task": str(task), "models": len(part)}
        empty = dict.fromkeys(("r", "low", "high", "p", "rho", "power"))
        rows.append(
            named | (empty if found is None else {name: getattr(found, name) for name in empty})
        )
    return rows


def shapley(worth: Mapping[frozenset[str], float]) -> dict[str, float]:
    """Exact Shapley values from the worth of every subset (the empty one counts 0 if missing).

    They sum to the worth of the whole. Source: Shapley 1953. Raises ValueError for a missing
    subset.
    """
    whole = max(worth, key=len)
    players = sorted(whole)
    values = dict.fromkeys(players, 0.0)
    for size in range(len(players)):
        weight = 1 / (len(players) * math.comb(len(players) - 1, size))
        for subset in itertools.combinations(players, size):
            before = frozenset(subset)
            for player in whole - before:
                values[player] += weight * (
                    _worth(worth, before | {player}) - _worth(worth, before)
                )
    return values


def _worth(worth: Mapping[frozenset[str], float], subset: frozenset[str]) -> float:
    if subset not in worth and subset:
        raise ValueError(f"The worth of {', '.join(sorted(subset))} is missing.")
    return worth.get(subset, 0.0)


def marginals(
    worth: Mapping[frozenset[str], float], orders: Sequence[Sequence[str]]
) -> dict[str, list[float]]:
    """What each player adds to those before it, once for each order whose every beginning is known.

    Over orders drawn by lot their mean is an unbiased estimate of the Shapley value. Source:
    Castro, Gomez and Tejada 2009.
    """
    found: dict[str, list[float]] = {}
    for order in orders:
        begun = [frozenset(order[:size]) for size in range(len(order) + 1)]
        if any(one not in worth for one in begun[1:]):
            continue
        for player, before, after in zip(order, begun, begun[1:], strict=False):
            found.setdefault(player, []).append(_worth(worth, after) - _worth(worth, before))
    return found


def attribution(frame: pd.DataFrame) -> pd.DataFrame:
    """Shapley values: protocol, model, value, share, and ``orders``.

    They are exact where a protocol was run over every sub-pool (``orders`` is 0 then), else means
    over that many orders of the pool, each run at every size. A single model is its own sub-pool of
    one. ``share`` divides positive values only.
    """
    systems, solo = of_role(frame, "system"), of_role(frame, "solo")
    rows: list[dict[str, object]] = []
    for protocol, part in systems[~systems["protocol"].isin(YARDSTICKS)].groupby("protocol"):
        values, orders = _values(part, of_items(solo, part))
        positive = sum(v for v in values.values() if v > 0) or 1.0
        rows += [
            {
                "protocol": protocol, "model": m, "value": v, "share": max(0.0, v) / positive,
                "orders": orders,
            }
            for m, v in values.items()
        ]  # fmt: skip
    return pd.DataFrame(rows)


def _values(part: pd.DataFrame, solo: pd.DataFrame) -> tuple[dict[str, float], int]:
    """One protocol's Shapley values, and from how many orders; none from fewer than two."""
    pools = part["pool"].map(lambda name: tuple(name.split(",")))
    sets = pools.map(frozenset)
    worth = {s: float(by_item(part[sets == s]).mean()) for s in set(sets)}
    whole = max(worth, key=len)
    alone = {frozenset([str(m)]): float(by_item(p).mean()) for m, p in solo.groupby("pool")}
    worth |= {one: v for one, v in alone.items() if one <= whole and one not in worth}
    try:
        return shapley(worth), 0
    except ValueError:
        found = marginals(worth, sorted({pool for pool in pools if frozenset(pool) == whole}))
    orders = min(map(len, found.values()), default=0)
    if orders < FEWEST_ORDERS:
        return {}, 0
    return {player: sum(many) / len(many) for player, many in found.items()}, orders


def _sentence(table: pd.DataFrame, found: pd.DataFrame, names: Names) -> str:
    tested = found.dropna(subset=["p"])
    sure = int((tested["p"] < 0.05).sum())
    ranks = table.groupby("model")[["own", "value"]].mean().rank(pct=True)
    under = str((ranks["value"] - ranks["own"]).idxmax())
    models = int(found["models"].max())
    return (
        f"In {sure} of {len(tested)} panels a model's own score and its worth to the system are "
        f"correlated (p < .05); with {models} models |r| must exceed {critical_r(models):.3f} for "
        f"that, and a true r of .5 would be found in {power_of(models):.0%} of cases. The most "
        f"underrated collaborator is {names.model(under)}."
    )


def _claims(found: pd.DataFrame) -> list[Claim]:
    tested = found.dropna(subset=["p"])
    sure = int((tested["p"] < 0.05).sum())
    here = f"{len(tested) - sure} of {len(tested)} panels have p > .05"
    return [
        Claim(
            PAPER,
            here,
            "not testable at this size" if not len(tested) or not sure else "not confirmed",
            "That nothing is detected with so few models does not show that nothing is there.",
        )
    ]


def _notes(table: pd.DataFrame) -> list[str]:
    spans = (table["high"] - table["low"]).dropna()
    width = f"is {spans.median() * 100:.1f} points wide (median)" if len(spans) else "is not known"
    return [
        f"A model's worth is the difference of two runs; its interval {width}.",
        "Intervals of single contributors are not corrected for their number.",
        "Leave-one-out undervalues models that can stand in for one another; Shapley values share "
        "their worth.",
    ]
