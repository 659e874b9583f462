"""Diversity at a fixed pool size in the paper's four settings: its Figure 4.

From the least to the most diverse pool of a setting the members change too. What their own mean
score gains is the null: only what the system gains beyond it can come from diversity.
"""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from evals.analyses.core import (
    Claim,
    Estimate,
    Finding,
    by_item,
    level_of,
    mean_of,
    nothing,
    of_role,
    row,
)
from evals.analyses.diversity import disagreement

TITLE = "Diversity in four settings"
PAPER = "more diverse pools of 8 are better, by 13.8 % on average over four settings"
SETTINGS = ("distinct", "institutions", "countries", "generations")
HOW = "bench --pools-of distinct,institutions,countries,generations"


def settings(frame: pd.DataFrame, seed: int = 0) -> Finding:
    """Mean score over protocols of the pools that were composed for a setting.

    ``table``: setting, level (0 = least diverse), name, pool, n, value, low, high, items,
    strength (the members' mean score on the same items), diversity (share of pairs with different
    answers). ``more["gains"]``: per setting the most against the least diverse pool, paired by
    item, the same of the members alone (null), the excess with its interval, and relative.
    Random pools are ordered by their members' disagreement.
    """
    systems = of_role(frame, "system")
    systems = systems[systems.get("design", pd.Series("", systems.index)) != ""]
    if not len(systems):
        return nothing("settings", TITLE, f"No pool was composed for this ({HOW}).", PAPER)
    solo = of_role(frame, "solo")
    table = _in_order(pd.DataFrame(_rows(systems, solo, seed)))
    gains = pd.DataFrame(_gains(table, systems, solo, seed))
    return Finding(
        "settings", TITLE, _sentence(gains), table, {"gains": gains}, [_claim(gains)], _notes(gains)
    )


def _rows(systems: pd.DataFrame, solo: pd.DataFrame, seed: int) -> Iterator[dict[str, object]]:
    for (design, pool), part in systems.groupby(["design", "pool"], sort=False):
        alone = _alone(solo, part)
        found = level_of(by_item(part), seed)
        for label in str(design).split(", "):
            setting, level, name = label.split("/", 2)
            yield row(
                found, setting=setting, level=int(level), name=name, pool=str(pool),
                n=int(part["n"].iloc[0]), strength=float(by_item(alone).mean()),
                diversity=_disagreement(alone),
            )  # fmt: skip


def _alone(solo: pd.DataFrame, part: pd.DataFrame) -> pd.DataFrame:
    """What the members of a pool said alone to the items that it answered."""
    names = str(part["pool"].iloc[0]).split(",")
    asked = set(zip(part["task"], part["item"], strict=True))
    mine = solo[solo["pool"].isin(names)]
    return mine[[pair in asked for pair in zip(mine["task"], mine["item"], strict=True)]]


def _disagreement(alone: pd.DataFrame) -> float:
    keys = ["task", "item", "seed"]
    said = alone.pivot_table(
        index=keys, columns="pool", values="parsed", aggfunc="first", dropna=False
    )
    return disagreement(said.fillna("").astype(str).to_numpy().tolist())


def _in_order(table: pd.DataFrame) -> pd.DataFrame:
    """Settings in the paper's order; random pools by their disagreement."""
    parts = []
    for setting in SETTINGS:
        part = table[table["setting"] == setting]
        by = ["diversity", "level"] if setting == "generations" else ["level"]
        part = part.sort_values(by, kind="stable")
        parts.append(part.assign(level=range(len(part))))
    return pd.concat(parts, ignore_index=True)


def _gains(
    table: pd.DataFrame, systems: pd.DataFrame, solo: pd.DataFrame, seed: int
) -> Iterator[dict[str, object]]:
    for setting, part in table.groupby("setting", sort=False):
        if len(part) < 2:
            continue
        few, many = (systems[systems["pool"] == part["pool"].iloc[at]] for at in (0, -1))
        gained = (by_item(many) - by_item(few)).dropna()
        members = (by_item(_alone(solo, many)) - by_item(_alone(solo, few))).dropna()
        excess = mean_of((gained - members).dropna().to_numpy(), seed)
        least = float(by_item(few).mean())
        yield row(mean_of(gained.to_numpy(), seed), setting=str(setting), pools=len(part)) | {
            "relative": gained.mean() / least if least else None,
            "null": float(members.mean()), "excess": excess.value,
            "excess_low": excess.low, "excess_high": excess.high,
        }  # fmt: skip


def _sentence(gains: pd.DataFrame) -> str:
    if not len(gains):
        return "Each setting was run with one pool only, so there is nothing to compare."
    told = []
    for one in gains.itertuples():
        gain = Estimate(one.value, _or_none(one.low), _or_none(one.high), one.items)
        told.append(f"{one.setting} {gain.told()}, the members alone {one.null * 100:+.1f}")
    return f"From the least to the most diverse pool, systems gain: {'; '.join(told)}."


def _or_none(value: float | None) -> float | None:
    return None if value is None or pd.isna(value) else float(value)


def _claim(gains: pd.DataFrame) -> Claim:
    known = gains.dropna(subset=["relative"]) if len(gains) else gains
    missing = [name for name in SETTINGS if not len(known) or name not in set(known["setting"])]
    relative = f"{known['relative'].mean():+.1%}" if len(known) else "none"
    absolute = f"{gains['value'].mean() * 100:+.1f} points" if len(gains) else "no gain"
    here = f"{absolute} on average; relative {relative} over {len(known)} of 4 settings"
    if missing:
        why = f"Not run or without a relative gain: {', '.join(missing)}."
        return Claim(PAPER, here, "not testable at this size", why)
    sure = int((gains["excess_low"] > 0).sum())
    return Claim(
        PAPER,
        f"{here}; beyond the members' own gain in {sure}",
        "confirmed" if sure == len(SETTINGS) else "not confirmed",
        "Confirmed only if each setting's gain beyond that of its members alone is above zero.",
    )


def _notes(gains: pd.DataFrame) -> list[str]:
    return [
        "The null is what the members' own mean score gains between the same two pools; the excess "
        "is the rest.",
        "Scores are means over the protocols that were run; two pools are two draws, however many "
        "items they answer, so an interval over items does not cover other choices of members.",
    ]
