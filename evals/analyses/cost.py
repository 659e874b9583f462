"""What does the quality cost? Every system against a single model at the same number of calls."""

from __future__ import annotations

import pandas as pd

from evals.analyses.core import Finding, by_item, level_of, nothing, of_best, of_role, paired, row

TITLE = "Quality and cost"
YARDSTICKS = ("random_router", "oracle_router")


def cost(frame: pd.DataFrame, seed: int = 0) -> Finding:
    """Score, calls, tokens and seconds of each system, beside the best single model's votes.

    ``table``: protocol, n, value, low, high, items, calls, score_calls, tokens, seconds, samples
    and equal_budget, equal_low, equal_high: the paired difference to the best single model asked
    ``samples`` times (the smallest number of votes that costs at least as many calls).
    ``more["votes"]``: that model by how often it was asked, for the largest pool: samples, tokens,
    value, low, high, items.
    """
    systems = of_role(frame, "system", "baseline")
    systems = systems[(systems["n"] > 1) & (systems["protocol"] != "self_consistency")]
    if not len(systems):
        return nothing("cost", TITLE, "No system was run.")
    votes = of_role(frame, "baseline")
    votes = votes[votes["protocol"] == "self_consistency"]
    rows = [
        _row(frame, votes, str(protocol), str(pool), part, seed)
        for (protocol, pool), part in systems.groupby(["protocol", "pool"], sort=False)
    ]
    table = pd.DataFrame(rows)
    more = {"votes": _votes(frame, votes, seed)}
    return Finding("cost", TITLE, _sentence(table), table, more, notes=[
        "Seconds are the sum of the calls' own durations while other items ran beside them.",
        "A label scoring is one forward pass over the prompt and is counted apart from calls.",
    ])  # fmt: skip


def _row(
    frame: pd.DataFrame,
    votes: pd.DataFrame,
    protocol: str,
    pool: str,
    part: pd.DataFrame,
    seed: int,
) -> dict[str, object]:
    names = pool.split(",")
    # One attempt of the best single model, and its votes, which stand under the system's own pool.
    mine = pd.concat([of_best(frame, names, of_role(frame, "solo")), votes[votes["pool"] == pool]])
    asked = part.groupby("task")["calls"].mean()
    per_task = [
        equal_calls(rows, float(asked[t])) for t, rows in mine.groupby("task") if t in asked
    ]
    same = pd.concat(per_task) if per_task else mine
    costs = part[["calls", "score_calls", "tokens", "busy_seconds"]].mean()
    found: dict[str, object] = row(
        level_of(by_item(part), seed), protocol=protocol, n=len(names), pool=pool
    )
    found |= {name.replace("busy_", ""): float(mean) for name, mean in costs.items()}
    against = paired(part, same, seed) if len(same) else None
    found["samples"] = float(same["calls"].mean()) if len(same) else None
    for name, end in (("equal_budget", "value"), ("equal_low", "low"), ("equal_high", "high")):
        found[name] = getattr(against, end) if against else None
    return found


def _votes(frame: pd.DataFrame, votes: pd.DataFrame, seed: int) -> pd.DataFrame:
    """The best single model of the largest pool by how often it was asked; 1 = without a vote.

    Only numbers of votes that were asked for every task.
    """
    if not len(votes):
        return pd.DataFrame()
    pool = str(votes.sort_values("n", kind="stable")["pool"].iloc[-1])
    once = of_best(frame, pool.split(","), of_role(frame, "solo"))
    mine = votes[votes["pool"] == pool]
    many = mine["setting"].str.extract(r"samples=(\d+)", expand=False).astype(int)
    parts = {1: once, **{int(count): mine[many == count] for count in sorted(many.unique())}}
    rows = [
        row(level_of(by_item(part), seed), samples=samples, tokens=part["tokens"].mean())
        for samples, part in parts.items()
        if part["task"].nunique() == once["task"].nunique()
    ]
    return pd.DataFrame(rows)


def equal_calls(votes: pd.DataFrame, calls: float) -> pd.DataFrame:
    """The rows of the cheapest voting that costs at least ``calls``; empty if none does."""
    asked = votes.groupby("setting")["calls"].mean()
    enough = asked[asked >= calls - 1e-9]
    if not len(enough):
        return votes.iloc[:0]
    return votes[votes["setting"] == enough.idxmin()]


def _sentence(table: pd.DataFrame) -> str:
    known = table[~table["protocol"].isin(YARDSTICKS)].dropna(subset=["equal_low", "equal_high"])
    better, worse = int((known["equal_low"] > 0).sum()), int((known["equal_high"] < 0).sum())
    return (
        f"Against the best single model asked as often, {better} of {len(known)} systems are "
        f"better, {worse} worse and {len(known) - better - worse} not told apart "
        "(95 % intervals, paired by item)."
    )
