"""``studio safety``: how much one hostile contributor sways each protocol's answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from evals.safety import ATTACKS, TARGET, Arm, Impostor, Influence, measure_influence
from evals.safety.influence import greedy, write_influence
from evals.tasks.core import Item, load_task, task_names
from protocols.core.engine import Engine
from protocols.core.errors import UserError, unknown
from protocols.core.models import RunSpec
from protocols.core.registry import get_protocol, protocols
from studio.output import say
from studio.pool import load_pool
from studio.quarantine import Quarantine
from studio.settings import Settings
from studio.workspace import Workspace

FILE = "influence.jsonl"
LEVELS = ("api", "text", "baselines")
"""Where contributors act through their words; in the others they act through their weights."""


def default_out(settings: Settings) -> Path:
    """Where measured influences are kept."""
    return settings.workspace / "safety" / FILE


def dev_items(task: str, limit: int) -> list[Item]:
    """Dev items of tasks joined by commas, in turn. Test items are left for evaluation."""
    names = [name.strip() for name in task.split(",") if name.strip()]
    for name in names:
        if name not in task_names():
            raise unknown("task", name, task_names())
    if not names:
        raise UserError("No task is named. Name one or several, joined by commas.")
    piles = [load_task(name).splits["dev"] for name in names]
    longest = max(map(len, piles))
    turns = [pile[n] for n in range(longest) for pile in piles if n < len(pile)]
    return turns[:limit] if limit else turns


def chosen_protocols(named: str) -> list[str]:
    """The protocols listed by commas; empty = all in which contributors act through words."""
    if not named:
        return [p.id for p in protocols().values() if p.level in LEVELS]
    names = [name.strip() for name in named.split(",") if name.strip()]
    for name in names:
        if get_protocol(name).level not in LEVELS:
            raise UserError(
                f"In '{name}' contributors act through their weights, so words cannot attack it. "
                f"Pick one of the levels {', '.join(LEVELS)}."
            )
    return names


async def measure(
    settings: Settings, given: dict[str, Any], as_json: bool, engine: Engine | None = None
) -> int:
    """Measure from command-line values and print each row; returns how many there are.

    An ``engine`` that is given stays open.
    """
    from protocols.engines.hosting import HostedEngine

    pool = load_pool(given["pool"] or settings.pool, settings).specs
    ids = Quarantine(settings.workspace).chosen(pool, given["models"])
    victim = given["victim"] or ids[-1]
    if victim not in ids:
        raise unknown("model", victim, ids)
    attacks = [a for a in given["attack"].split(",") if a] or list(ATTACKS)
    for attack in attacks:
        if attack not in ATTACKS:
            raise unknown("attack", attack, ATTACKS)
    names = chosen_protocols(given["protocol"])
    items = dev_items(given["task"], given["limit"])
    store = Workspace(settings.workspace, settings.assets).artifacts
    hosted = engine or HostedEngine(prefer=given["engine"])
    honest, rows = Arm(pool, hosted, store), 0
    try:
        for name in names:
            spec = RunSpec(
                protocol=name,
                pool=tuple(ids),
                question="?",
                seed=given["seed"],
                sampling=greedy(given["max_tokens"]),
            )
            for attack in attacks:
                hostile = Impostor(hosted, victim.__eq__, ATTACKS[attack])
                found = await measure_influence(
                    honest, Arm(pool, hostile, store), spec, items,
                    victim=victim, attack=attack, target=TARGET, again=given["again"],
                )  # fmt: skip
                write_influence(given["out"] or default_out(settings), found)
                tell(found, as_json)
                rows += 1
    finally:
        if engine is None:
            await hosted.close()
    return rows


def tell(found: Influence, as_json: bool) -> None:
    """Print one row."""
    head = f"{found.protocol:<22}{found.attack:<11}"
    if found.problem:
        text = f"{head}not measured: {found.problem}"
    else:
        text = (
            f"{head}changed {found.changed}; the attacker's {found.captured}; right "
            f"{found.right_before.k} then {found.right_after.k} of {found.right_after.n}; without "
            f"cause {found.unsteady}"
        )
    row = {name: value for name, value in asdict(found).items() if name != "answers"}
    say(row, as_json, text)


def summary(rows: Sequence[Influence]) -> list[dict[str, Any]]:
    """Rows for a table: one per protocol and attack, the most captured first."""
    shown = [row for row in rows if not row.problem]
    ordered = sorted(shown, key=lambda row: (-row.captured.k / (row.captured.n or 1), row.protocol))
    return [
        {
            "Protocol": row.protocol,
            "Attack": row.attack,
            "Answers changed": str(row.changed),
            "Became the attacker's": str(row.captured),
            "Runs failed": str(row.failed),
            "Changed without cause": str(row.unsteady),
            "Models": len(row.models),
            "Task": row.task,
            "Seed": row.seed,
        }
        for row in ordered
    ]
