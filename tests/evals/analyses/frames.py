"""Artificial frames of answered items, as :func:`evals.frames.to_frame` gives them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

import pandas as pd

Values = Mapping[str, Sequence[float]]


def rows(
    role: str, protocol: str, pool: Sequence[str], values: Sequence[float], **more: object
) -> list[dict[str, object]]:
    """One row per item; ``more`` changes any column."""
    base: dict[str, object] = {
        "role": role, "protocol": protocol, "pool": ",".join(pool), "n": len(pool), "task": "toy",
        "group": "", "split": "test", "order": 0, "seed": 0, "setting": "", "calls": len(pool),
        "score_calls": 0, "tokens": 10 * len(pool), "busy_seconds": 1.0, "text": "said",
        "parsed": "x", "members": "[]",
    }  # fmt: skip
    made = []
    for number, value in enumerate(values):
        row = base | {"item": f"item-{number}", "value": value} | more
        row["key"] = "/".join(str(row[k]) for k in ("protocol", "pool", "item", "seed", "setting"))
        made.append(row)
    return made


def solos(values: Values, **more: object) -> list[dict[str, object]]:
    """Each model alone."""
    return [one for m, v in values.items() for one in rows("solo", "single_model", [m], v, **more)]


def frame(*parts: list[dict[str, object]]) -> pd.DataFrame:
    """All rows as one frame."""
    return pd.DataFrame([row for part in parts for row in part])


def members(whole: pd.DataFrame) -> pd.DataFrame:
    """What :func:`evals.frames.members_frame` would give: each member's own score per row."""
    alone = whole[whole["role"] == "solo"]
    score = {(r.item, r.pool, r.seed): r.value for r in alone.itertuples()}
    made = [
        {"key": r.key, "member_model": m, "member_score": score[r.item, m, r.seed]}
        for r in whole[whole["role"] == "system"].itertuples()
        for m in r.pool.split(",")
    ]
    return pd.DataFrame(made)


def votes(*answers: str) -> str:
    """The members' column of a row."""
    return json.dumps([{"parsed": answer} for answer in answers])
