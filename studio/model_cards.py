"""What is known about a model for its card: stated facts, and results with n and interval.

It reads what was measured elsewhere (a pool entry, an adapter's card) and measures nothing.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

from protocols.core.errors import StudioError
from protocols.engines.hub import is_hub_id
from studio.pool import REGISTRY, Entry, Pool, load_pool
from studio.pool_cards import BASE_CARD, read_card
from studio.settings import Settings
from studio.task_words import title_of

UNKNOWN = "unknown"
NEEDS = "needs the hub and a GPU"


def details(entry: Entry, pool: Pool, assets: Path) -> dict[str, Any]:
    """What a browsable card says beyond the picker's, every value a text, a number or rows."""
    spec = entry.spec
    return {
        "pool": pool.title,
        "base": base_name(entry),
        "kind": kind(entry),
        "parameters": spec.parameters,
        "paper": spec.contributor.paper,
        "needs": NEEDS if on_hub(entry) else "",
        "contributed": "contributed" in spec.tags,
        "facts": facts(entry),
        "bars": bars(entry),
        "tested": [
            {"title": _titles(row["domain"]), "told": _result(row)} for row in tested(entry, assets)
        ],
    }


def on_hub(entry: Entry) -> bool:
    """Whether the model has to be fetched before it can answer."""
    source = entry.spec.source
    return is_hub_id(source) and not Path(source).is_dir()


def base_name(entry: Entry) -> str:
    """The base or family a model comes from."""
    stated = entry.card.get("base") or entry.card.get("family")
    if stated or on_hub(entry):
        return str(stated or UNKNOWN)
    return UNKNOWN if entry.spec.is_endpoint else entry.spec.source.rstrip("/").rpartition("/")[2]


def kind(entry: Entry) -> str:
    """What sort of model it is, in a word or two."""
    if stated := entry.card.get("kind"):
        return str(stated)
    if entry.spec.is_endpoint:
        return "endpoint"
    return "LoRA adapter" if entry.spec.adapter else "generator"


MEASURED = {"own_domain": "Own domain", "base": "Base model there", "others": "Other domains"}


def bars(entry: Entry) -> list[dict[str, Any]]:
    """Measured accuracies of a card to be drawn, with their intervals and numbers of items."""
    results = entry.card.get("results", {})
    found = [(name, results.get(key)) for key, name in MEASURED.items()]
    return [
        {"name": name, "told": told, "value": result["accuracy"], "interval": result.get("ci95")}
        for name, result in found
        if (told := measured(result))
    ]


def facts(entry: Entry) -> list[tuple[str, str]]:
    """The measured and stated facts of a card, as (name, value) rows."""
    who = entry.spec.contributor
    training, results = entry.card.get("training", {}), entry.card.get("results", {})
    rows = [
        ("Contributed by", who.name),
        ("Institution", who.institution),
        ("Country", who.country),
        ("Base", base_name(entry)),
        ("Licence", who.licence),
        ("Priorities", str(entry.card.get("priorities", ""))),
        ("Tried out", str(entry.card.get("tried", ""))),
        *((name, measured(results.get(key))) for key, name in MEASURED.items()),
        ("Training examples", str(training.get("examples", ""))),
        ("Training", _trained(training)),
        *_of_paper(entry.card),
    ]
    return [(name, value) for name, value in rows if value]


def _of_paper(card: dict[str, Any]) -> list[tuple[str, str]]:
    if "table" not in card:
        return []
    said = {"id": "as its name says", "description": "as the paper's table says"}
    number = f"number {card['number']} of Table {card['table']}"
    return [
        ("In the paper", number),
        ("Size", said.get(str(card.get("size_from")), UNKNOWN)),
        ("Kind", str(card.get("kind", UNKNOWN))),
    ]


def tested(entry: Entry, assets: Path) -> list[dict[str, Any]]:
    """Every stored result by domain: domain, accuracy, n, low and high (95% Wilson interval).

    An adapter of the embedded pool has them on the card beside its weights; its base on the base's.
    """
    rows = entry.card.get("tested")
    if rows is None and entry.spec.adapter:
        rows = read_card(Path(entry.spec.adapter)).get("tested")
    elif rows is None and "generalist" in entry.spec.tags:
        rows = read_card(assets / "adapters", BASE_CARD)
    rows = _own_domain(entry) | (rows if isinstance(rows, dict) else {})
    names = ("accuracy", "n", "low", "high")
    found = [(d, r) for d, r in sorted(rows.items()) if isinstance(r, dict) and {*names} <= {*r}]
    return [{"domain": domain, **{name: row[name] for name in names}} for domain, row in found]


def _own_domain(entry: Entry) -> dict[str, Any]:
    """The result on its own domain, under a name that no other model's data has."""
    own = entry.card.get("results", {}).get("own_domain") or {}
    if "ci95" not in own:
        return {}
    low, high = own["ci95"]
    return {own_name(entry): {**own, "low": low, "high": high}}


def own_name(entry: Entry) -> str:
    """Under which domain its result on its own is listed: its tasks, or its contributor's data."""
    return str(entry.card.get("task") or f"own data of {entry.spec.id}")


def measured(result: Any) -> str:
    """An accuracy with its sample size and interval."""
    if not isinstance(result, dict) or "accuracy" not in result:
        return ""
    interval = result.get("ci95")
    between = f", 95% interval {interval[0]:.0%} to {interval[1]:.0%}" if interval else ""
    return f"{result['accuracy']:.0%} (n={result.get('n', '?')}{between})"


def _titles(tasks: str) -> str:
    return ", ".join(title_of(one) for one in tasks.split(","))


def _result(row: dict[str, Any]) -> str:
    return f"{row['accuracy']:.0%} (n={row['n']}, {row['low']:.0%} to {row['high']:.0%})"


def _trained(training: dict[str, Any]) -> str:
    if "steps" not in training:
        return ""
    minutes = training.get("seconds", 0) / 60
    return f"{training['steps']} steps, seed {training.get('seed')}, {minutes:.1f} min"


def paper_pool(settings: Settings) -> Pool | None:
    """The paper's models, read when somebody looks at them; None where there is no such file."""
    path = settings.assets / "pool" / f"{REGISTRY}.yaml"
    try:
        return _paper(settings, path.stat().st_mtime_ns)
    except (OSError, StudioError):
        return None


@lru_cache(maxsize=2)
def _paper(settings: Settings, changed: int) -> Pool:
    return load_pool(REGISTRY, settings)
