"""The picture of a graph route: the question, its neighbours, their tasks, the models, the choice.

The artifact is named ``graph`` like a collaboration graph and has the same core, ``nodes`` with
``id``, ``model`` and ``label``, ``edges`` as pairs of ids, and ``sink``. Besides:

- ``layout`` is ``"route"``; every node has a ``kind``: ``question``, ``query``, ``task`` or
  ``model``. A model's node id is the id of the call that asks it; the others are no calls, and
  their ``model`` is empty. Nodes may have ``mark`` (one letter) and ``info`` (a few words).
- ``links`` says of each edge, in the order of ``edges``, its ``weight`` from 0 to 1, whether it is
  ``chosen`` (leads to the chosen model), and the ``score`` of the model where it starts at a query
  or task.
- ``scores`` are the probabilities by model, ``chosen`` and ``sink`` the chosen model's id and node.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from protocols.core.events import Artifact
from protocols.core.models import ModelSpec
from protocols.core.registry import Context
from protocols.lib.routes import Route

SHOWN = 5
"""Neighbours that are drawn; the others have little weight."""
FAINT = 0.02
"""Edges below this weight are left out."""
LABEL_CHARS = 80


@dataclass(frozen=True)
class Near:
    """A neighbour: its text and task, its cosine, its share of the neighbourhood, who did well."""

    question: str
    task: str
    likeness: float
    weight: float
    scores: Mapping[str, float]


def picture(
    ctx: Context, route: Route, near: Sequence[Near], tasks: Mapping[str, float]
) -> Artifact:
    """See the module's text for its shape."""
    drawn = near[:SHOWN]
    nodes = [_node("question", "question", "", ctx.question, "Q", "asked")]
    nodes += [
        _node(f"query.{at + 1}", "query", "", one.question, "N", f"{one.likeness:.2f} alike")
        for at, one in enumerate(drawn)
    ]
    shown = [task for task in sorted(tasks) if any(one.task == task for one in drawn)]
    nodes += [_node(f"task.{t}", "task", "", t, "T", f"{tasks[t]:.0%}") for t in shown]
    nodes += [_model(model, route) for model in ctx.models]
    links = [*_from_question(drawn), *_to_tasks(drawn), *_to_models(drawn, route)]
    target = f"answer.{route.ranked[0]}"
    return Artifact(
        name="graph",
        data={
            "layout": "route",
            "nodes": nodes,
            "edges": [[one["from"], one["to"]] for one in links],
            "links": [
                {"weight": round(one["weight"], 4), "chosen": one["to"] == target, **one["more"]}
                for one in links
            ],
            "scores": dict(route.scores),
            "chosen": route.ranked[0],
            "sink": target,
        },
    )


def _node(name: str, kind: str, model: str, label: str, mark: str, info: str) -> dict[str, Any]:
    short = " ".join(label.split())[:LABEL_CHARS]
    return {"id": name, "kind": kind, "model": model, "label": short, "mark": mark, "info": info}


def _model(model: ModelSpec, route: Route) -> dict[str, Any]:
    info = f"{route.scores[model.id]:.0%}"
    name = f"answer.{model.id}"
    return {"id": name, "kind": "model", "model": model.id, "label": model.title, "info": info}


def _link(start: str, end: str, weight: float, **more: float) -> dict[str, Any]:
    return {"from": start, "to": end, "weight": weight, "more": more}


def _from_question(near: Sequence[Near]) -> list[dict[str, Any]]:
    return [_link("question", f"query.{at + 1}", one.weight) for at, one in enumerate(near)]


def _to_tasks(near: Sequence[Near]) -> list[dict[str, Any]]:
    return [_link(f"query.{at + 1}", f"task.{one.task}", 1.0) for at, one in enumerate(near)]


def _to_models(near: Sequence[Near], route: Route) -> list[dict[str, Any]]:
    """A neighbour speaks for a model by its own weight times the model's score."""
    found = [
        _link(f"query.{at + 1}", f"answer.{model}", one.weight * score, score=round(score, 4))
        for at, one in enumerate(near)
        for model, score in one.scores.items()
        if model in route.scores and one.weight * score >= FAINT
    ]
    reached = {one["to"] for one in found}
    # Every model hangs on the graph, also one that no neighbour speaks for.
    missing = [m for m in route.scores if f"answer.{m}" not in reached]
    return found + [_link("question", f"answer.{m}", 0.0) for m in missing]
