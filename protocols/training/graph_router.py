"""Trains the graph router: small networks that score edges from questions to models.

Every train question is seen as a new one would be: without its own edges to the models. Several
networks from different seeds are averaged; each stops when questions kept aside get worse.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from protocols.lib.graph_net import (
    SHAPES,
    Hood,
    Known,
    Nearness,
    Weights,
    attach,
    begin,
    forward,
    nearest_scores,
)
from protocols.lib.question_space import Space
from protocols.lib.routes import Trust, softmax
from protocols.training.router_evaluation import (
    calibrate_trust,
    cross_entropy,
    halves,
    held_out,
    interval_text,
    scores_with_fallback,
)
from protocols.training.routing_data import AnsweredQuestions, RoutingData

Floats = NDArray[np.float64]
Report = Callable[[int, float], None]
HOW = {"graph": "the graph network", "knn": "plain nearest neighbours"}
"""The two ways of deciding, in words."""
COUNTS = (1, 3, 5, 9, 15)
WIDTHS = (0.05, 0.1, 0.3)
"""Neighbours and widths that are tried for plain nearest neighbours; the graph takes the best."""
STEADY = 0.1
"""The scale on which neighbours' mean scores are read as logits."""
PATIENCE = 4
"""Checks without getting better after which a network stops."""
CHECK = 10
"""Steps between two checks."""


@dataclass(frozen=True)
class GraphSettings:
    """How the networks are trained: ``steps`` passes at most, each in batches (0 = all at once)."""

    hidden: int = 16
    steps: int = 200
    batch: int = 0
    learning_rate: float = 5e-3
    decay: float = 1e-2
    networks: int = 3
    seed: int = 0


@dataclass(frozen=True)
class GraphRouter:
    """The stored graph, how new questions hang on to it, and the networks."""

    space: Space
    known: Known
    near: Nearness
    networks: tuple[Weights, ...]

    def attached(self, vectors: NDArray[np.floating]) -> Hood:
        """The neighbourhoods of new questions, from their raw vectors."""
        return attach(self.known, self.space(vectors), self.near)

    def logits(self, hood: Hood) -> dict[str, Floats]:
        """[questions, models] by method: ``graph`` and ``knn``."""
        import torch

        with torch.inference_mode():
            found = [forward(one, self.known, hood).numpy() for one in self.networks]
        knn = nearest_scores(self.known, hood) / STEADY
        return {"graph": np.mean(found, axis=0), "knn": knn}

    def arrays(self) -> dict[str, NDArray[np.floating]]:
        """What an artifact keeps; in fp32, and the networks side by side."""
        made = {
            "mean": self.space.mean,
            "axes": self.space.axes,
            "points": self.known.points,
            "scores": self.known.scores,
            "tasks": self.known.tasks.astype(np.float64),
            "near": np.array([self.near.count, self.near.width]),
        }
        for name in SHAPES:
            made[f"net.{name}"] = np.stack([one[name].numpy() for one in self.networks])
        return {name: value.astype(np.float32) for name, value in made.items()}


DIMENSIONS = {
    "mean": 1,
    "axes": 2,
    "points": 2,
    "scores": 2,
    "tasks": 1,
    "near": 1,
    **{f"net.{name}": 3 for name in SHAPES},
}
"""The arrays of an artifact by their number of dimensions."""


def router_from(arrays: dict[str, Floats], kinds: int) -> GraphRouter:
    """The router whose :meth:`GraphRouter.arrays` these are, of ``kinds`` tasks.

    Raises ``ValueError`` for arrays that do not fit together.
    """
    import torch

    tasks = arrays["tasks"].astype(np.intp)
    known = Known(arrays["points"], arrays["scores"], tasks, kinds)
    fits = len(known.points) == len(known.scores) == len(tasks) > 0
    if not fits or tasks.min() < 0 or tasks.max() >= kinds:
        raise ValueError("questions, scores and tasks do not fit together")
    count, width = (float(value) for value in arrays["near"])
    networks = [
        {name: torch.tensor(arrays[f"net.{name}"][at]) for name in SHAPES}
        for at in range(len(arrays["net.edge"]))
    ]
    space = Space(arrays["mean"], arrays["axes"])
    return GraphRouter(space, known, Nearness(int(count), width), tuple(networks))


def train_graph(part: AnsweredQuestions, settings: GraphSettings, report: Report) -> GraphRouter:
    """Train on a part; ``report`` is called with (steps done over all networks, loss)."""
    space = Space.of(part.vectors)
    names = sorted(set(part.tasks))
    tasks = np.array([names.index(task) for task in part.tasks], dtype=np.intp)
    known = Known(space(part.vectors), part.judged, tasks, len(names))
    near = nearest(known, part)
    hood = attach(known, known.points, near, inside=True)
    networks = tuple(
        _network(known, hood, part, settings, at, report) for at in range(settings.networks)
    )
    return GraphRouter(space, known, near, networks)


def nearest(known: Known, part: AnsweredQuestions) -> Nearness:
    """How many neighbours, and how near, by regret and then fit of each question without itself."""
    options = [Nearness(count, width) for count in COUNTS for width in WIDTHS]
    return min(options, key=lambda near: _without_itself(known, part, near))


def _without_itself(known: Known, part: AnsweredQuestions, near: Nearness) -> tuple[float, float]:
    found = nearest_scores(known, attach(known, known.points, near, inside=True))
    chosen = part.judged[np.arange(len(found)), found.argmax(axis=1)]
    regret = float((part.judged.max(axis=1) - chosen).mean())
    return round(regret, 6), cross_entropy(found / STEADY, part.labels, part.weights)


def means_without_itself(known: Known) -> Floats:
    """Each task's mean scores as each question sees them, [questions, tasks, models]."""
    member = np.eye(known.kinds)[known.tasks]
    totals = (member.T @ known.scores)[None] - member[:, :, None] * known.scores[:, None]
    counts = member.sum(0)[None] - member
    made: Floats = np.where(counts[..., None] > 0, totals / np.maximum(1.0, counts)[..., None], 0.5)
    return made


def _network(
    known: Known,
    hood: Hood,
    part: AnsweredQuestions,
    settings: GraphSettings,
    number: int,
    report: Report,
) -> Weights:
    """One network: AdamW over the questions, pass by pass, stopped early."""
    import torch

    weights = begin(known, settings.hidden, settings.seed * 1000 + number)
    learn, check = _apart(part, settings.seed + number)
    means, labels = means_without_itself(known), torch.tensor(part.labels)
    weight = torch.tensor(part.weights)
    leaves = [tensor.requires_grad_() for tensor in weights.values()]
    optimiser = torch.optim.AdamW(leaves, lr=settings.learning_rate, weight_decay=settings.decay)
    best: tuple[float, Weights] = float("inf"), {}
    waited, order = 0, np.random.default_rng(settings.seed + number)

    def losses_now() -> Any:
        return _losses(forward(weights, known, hood, means), labels)

    for step in range(settings.steps + 1):
        losses = losses_now()
        if step % CHECK == 0:
            now = float(_mean(losses.detach(), weight, check))
            report(number * settings.steps + step, now)
            waited = 0 if now < best[0] - 1e-6 else waited + 1
            if not waited:
                best = now, {name: one.detach().clone() for name, one in weights.items()}
            if waited > PATIENCE:
                break
        for at, some in enumerate(_batches(learn, settings.batch, order)):
            optimiser.zero_grad()
            _mean(losses_now() if at else losses, weight, some).backward()
            optimiser.step()
    return best[1]


def _batches(places: Sequence[int], size: int, order: np.random.Generator) -> list[list[int]]:
    """Places in batches of ``size``, in another order each time; all in one if it is 0."""
    mixed = order.permutation(places).tolist() if size else list(places)
    step = size or len(mixed)
    return [mixed[at : at + step] for at in range(0, len(mixed), step)]


def _apart(part: AnsweredQuestions, seed: int) -> tuple[list[int], list[int]]:
    """Places to learn from and, a quarter of every task, to check by (the same if too few)."""
    order = np.random.default_rng(seed).permutation(len(part)).tolist()
    _, half = halves([part.tasks[at] for at in order])
    places = [order[at] for at in half]
    _, quarter = halves([part.tasks[at] for at in places])
    check = {places[at] for at in quarter if part.weights[places[at]] > 0}
    learn = [at for at in range(len(part)) if at not in check]
    return (learn, sorted(check)) if check else (learn, learn)


def _losses(logits: Any, labels: Any) -> Any:
    """Soft cross-entropy of each question, [questions]."""
    return -(labels * logits.log_softmax(dim=1)).sum(dim=1)


def _mean(losses: Any, weight: Any, places: Sequence[int]) -> Any:
    """The weighted mean over some questions; those that tell no models apart count nothing."""
    some = weight[list(places)]
    return (losses[list(places)] * some).sum() / some.sum().clamp(min=1e-9)


def compared(
    data: RoutingData, router: GraphRouter, seed: int
) -> tuple[str, dict[str, Trust], dict[str, Any]]:
    """The network against its own neighbours: who decides, how far both can be trusted, metrics.

    The half of dev that calibrates decides, and the network must be better there; the held-out half
    only measures.
    """
    best, tune, held = data.best, data.tune, data.held
    before = router.logits(router.attached(tune.vectors))
    after = router.logits(router.attached(held.vectors))
    known = {m: calibrate_trust(rows, tune.labels, tune.scores, best) for m, rows in before.items()}
    worth = {m: _routed(before[m], tune.scores, known[m], best).mean() for m in known}
    used = "graph" if worth["graph"] > worth["knn"] else "knn"
    found = {
        m: held_out(rows, held.labels, held.scores, known[m], best, seed)
        for m, rows in after.items()
    }
    gaps = [_routed(after[m], held.scores, known[m], best) for m in ("graph", "knn")]
    gap = interval_text(gaps[0] - gaps[1], seed)
    about = {**data.about(), "used": used, "held_out": found, "graph_minus_knn": gap}
    return used, known, about


def _routed(logits: Floats, scores: Floats, known: Trust, best: int) -> Floats:
    """Each question's score under a router with its fallback."""
    return scores_with_fallback(softmax(logits / known.temperature), scores, known.threshold, best)


def verdict(metrics: Mapping[str, Any]) -> str:
    """Which way won, in words."""
    gap, used = metrics["graph_minus_knn"], HOW[metrics["used"]]
    return (
        f"{used.capitalize()} will decide. On {metrics['held']} held-out questions the graph "
        f"scored {gap['mean']:+.1%} against plain nearest neighbours ({gap['low']:+.1%} to "
        f"{gap['high']:+.1%})."
    )
