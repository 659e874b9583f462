"""A small network over a graph of questions, tasks and models, in plain torch.

A question that is to be routed hangs on to its nearest train questions; these carry edges to the
models, with their scores, and to their tasks. Everything a question's scores depend on is in its
own neighbourhood, so new questions need no retraining and cannot influence each other. The
architecture follows GraphRouter (Feng et al. 2024, arXiv 2410.03834) in its kinds of nodes and in
scoring edges from query to model; evidence reaches new queries through kept train edges.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch

Floats = NDArray[np.float64]
Places = NDArray[np.intp]
SELF = 2.0
"""More than any likeness: a question is never its own neighbour."""


@dataclass(frozen=True)
class Known:
    """The stored part of the graph: ``points`` [questions, directions] (unit vectors), ``scores``
    [questions, models], ``tasks`` [questions] as numbers below ``kinds``.
    """

    points: Floats
    scores: Floats
    tasks: Places
    kinds: int

    @property
    def means(self) -> Floats:
        """Each task's mean scores, [tasks, models]: the edges between tasks and models."""
        member = np.eye(self.kinds)[self.tasks]
        made: Floats = (member.T @ self.scores) / np.maximum(1.0, member.sum(0))[:, None]
        return made


@dataclass(frozen=True)
class Nearness:
    """How questions hang on to others: the ``count`` nearest, by likeness over ``width``."""

    count: int
    width: float


@dataclass(frozen=True)
class Hood:
    """The neighbourhoods of some questions: ``places`` [questions, k] of stored ones, and
    ``weights`` [questions, k] that sum to one; ``likeness`` is the cosine.
    """

    points: Floats
    places: Places
    weights: Floats
    likeness: Floats


def attach(known: Known, points: Floats, near: Nearness, inside: bool = False) -> Hood:
    """Hang questions [n, directions] on to the graph.

    ``inside`` says that they are the stored questions themselves, in order: none is then its own
    neighbour, so that it is seen as a new one would be.
    """
    likeness = points @ known.points.T
    if inside:
        likeness[np.arange(len(points)), np.arange(len(points))] -= SELF
    count = max(1, min(near.count, len(known.points) - inside))
    places = np.argsort(-likeness, axis=1, kind="stable")[:, :count]
    found = np.take_along_axis(likeness, places, axis=1)
    raised = np.exp((found - found.max(axis=1, keepdims=True)) / near.width)
    return Hood(points, places, raised / raised.sum(axis=1, keepdims=True), found)


def nearest_scores(known: Known, hood: Hood) -> Floats:
    """Plain nearest neighbours: the weighted mean of their scores, [questions, models]."""
    made: Floats = np.einsum("ik,ikm->im", hood.weights, known.scores[hood.places])
    return made


def membership(known: Known, hood: Hood) -> Floats:
    """How much each question belongs to each task, by its neighbours, [questions, tasks]."""
    made: Floats = np.einsum(
        "ik,ikt->it", hood.weights, np.eye(known.kinds)[known.tasks][hood.places]
    )
    return made


Weights = dict[str, "torch.Tensor"]
SHAPES: dict[str, tuple[str, str]] = {
    "query": ("directions", "hidden"),
    "task": ("kinds", "hidden"),
    "model": ("models", "hidden"),
    "query_to_query": ("hidden", "hidden"),
    "task_to_query": ("hidden", "hidden"),
    "query_to_model": ("hidden", "hidden"),
    "task_to_model": ("hidden", "hidden"),
    "model_to_query": ("hidden", "hidden"),
    "query_again": ("hidden", "hidden"),
    "query_to_model_again": ("hidden", "hidden"),
    "model_again": ("hidden", "hidden"),
    "edge": ("hidden", "one"),
    "evidence": ("one", "one"),
}
"""The network's weights by name, with what their sizes are."""
EVIDENCE = 5.0
"""Where the weight of the neighbours' scores starts: the network begins as nearest neighbours."""


def sizes(known: Known, hidden: int) -> dict[str, int]:
    """What the names in :data:`SHAPES` stand for."""
    return {
        "directions": known.points.shape[1],
        "kinds": known.kinds,
        "models": known.scores.shape[1],
        "hidden": hidden,
        "one": 1,
    }


def begin(known: Known, hidden: int, seed: int) -> Weights:
    """Small random weights; the last layer is zero, so that the first scores are the evidence."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    size = sizes(known, hidden)
    made = {}
    for name, (rows, columns) in SHAPES.items():
        shape = (size[rows], size[columns])
        scale = (2.0 / sum(shape)) ** 0.5
        made[name] = torch.randn(shape, generator=generator, dtype=torch.float64) * scale
    made["edge"].zero_()
    made["evidence"].fill_(EVIDENCE)
    return made


def forward(
    weights: Weights, known: Known, hood: Hood, means: Floats | None = None
) -> torch.Tensor:
    """Logits [questions, models]; every row depends on its own neighbourhood only.

    ``means`` [questions, tasks, models] replaces the tasks' mean scores where a question must not
    see its own.
    """
    import torch

    w = weights
    own, theirs = torch.tensor(hood.weights), torch.tensor(membership(known, hood))
    scored = torch.tensor(known.scores[hood.places]) - 0.5
    average = torch.tensor(known.means[None] if means is None else means) - 0.5
    query = torch.relu(torch.tensor(hood.points) @ w["query"])
    beside = torch.relu(torch.tensor(known.points[hood.places]) @ w["query"])
    # First layer: neighbours and tasks tell models (with the score on the edge) and the question.
    heard = torch.einsum("ik,ikm,ikh->imh", own, scored, beside @ w["query_to_model"])
    taught = theirs[:, :, None] * average
    heard = heard + torch.einsum("itm,th->imh", taught, w["task"] @ w["task_to_model"])
    model = torch.relu(w["model"] + heard)
    around = torch.einsum("ik,ikh->ih", own, beside) @ w["query_to_query"]
    query = torch.relu(query + around + theirs @ (w["task"] @ w["task_to_query"]))
    # Second layer: the models tell the question, and the question tells the models.
    again = torch.relu(query @ w["query_again"] + model.mean(1) @ w["model_to_query"])
    edge = model @ w["model_again"] + (again @ w["query_to_model_again"])[:, None]
    learnt = (torch.relu(edge) @ w["edge"])[..., 0]
    evidence = torch.einsum("ik,ikm->im", own, scored)
    return learnt + w["evidence"][0, 0] * evidence
