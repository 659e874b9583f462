"""The light router: a regularised linear classifier over questions as vectors.

Each question counts once for every model, by how much that model was the right one, so ties teach
that either would do. How strongly it is regularised is chosen by cross-validated regret.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from protocols.lib.question_space import Space
from protocols.training.router_evaluation import cross_entropy, halves
from protocols.training.routing_data import AnsweredQuestions

Floats = NDArray[np.float64]
STRENGTHS = (0.01, 0.1, 1.0, 10.0, 100.0)
"""Inverse strengths of regularisation that are tried."""
FOLDS = 4
STEPS = 500


@dataclass(frozen=True)
class Linear:
    """Logits are ``vectors @ coef.T + intercept``; coef [models, directions]."""

    coef: Floats
    intercept: Floats

    def logits(self, points: Floats) -> Floats:
        """[questions, models]."""
        made: Floats = points @ self.coef.T + self.intercept
        return made


@dataclass(frozen=True)
class EmbeddingRouter:
    """A space and a classifier in it; ``strength`` won the cross-validation."""

    space: Space
    linear: Linear
    strength: float

    def logits(self, vectors: NDArray[np.floating]) -> Floats:
        """[questions, models], from raw vectors."""
        return self.linear.logits(self.space(vectors))

    def arrays(self) -> dict[str, NDArray[np.float32]]:
        """What an artifact keeps."""
        made = {
            "mean": self.space.mean,
            "axes": self.space.axes,
            "coef": self.linear.coef,
            "intercept": self.linear.intercept,
        }
        return {name: value.astype(np.float32) for name, value in made.items()}


DIMENSIONS = {"mean": 1, "axes": 2, "coef": 2, "intercept": 1}
"""The arrays of an artifact by their number of dimensions."""


def router_from(arrays: dict[str, Floats]) -> EmbeddingRouter:
    """The router whose :meth:`EmbeddingRouter.arrays` these are."""
    linear = Linear(arrays["coef"], arrays["intercept"])
    return EmbeddingRouter(Space(arrays["mean"], arrays["axes"]), linear, 0.0)


def train_embedding(part: AnsweredQuestions, seed: int) -> EmbeddingRouter:
    """Train on a part; without a question that tells models apart, all models are alike."""
    space = Space.of(part.vectors)
    points = space(part.vectors)
    telling = [at for at, weight in enumerate(part.weights) if weight > 0]
    if not telling:
        count = part.labels.shape[1]
        return EmbeddingRouter(
            space, Linear(np.zeros((count, points.shape[1])), np.zeros(count)), 1
        )
    strength = chosen_strength(points[telling], part.rows(telling), seed)
    linear = fit_linear(points[telling], part.labels[telling], part.weights[telling], strength)
    return EmbeddingRouter(space, linear, strength)


def chosen_strength(points: Floats, part: AnsweredQuestions, seed: int) -> float:
    """The strength whose choices lose least against the best model; then the surest of these."""
    if len(points) < 2 * FOLDS:
        return 1.0
    folds = _folds(part.tasks, seed)
    found = {s: _cross_validated(points, part, folds, s) for s in STRENGTHS}
    return min(STRENGTHS, key=lambda s: (round(found[s][0], 6), found[s][1], s))


def _folds(tasks: Sequence[str], seed: int) -> list[int]:
    """A fold for every question, even over tasks."""
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(tasks)).tolist()
    folds = [0] * len(tasks)
    quarters = [order]
    while len(quarters) < FOLDS:
        quarters = [
            [part[at] for at in half]
            for part in quarters
            for half in halves([tasks[i] for i in part])
        ]
    for fold, places in enumerate(quarters):
        for place in places:
            folds[place] = fold
    return folds


def _cross_validated(
    points: Floats, part: AnsweredQuestions, folds: Sequence[int], strength: float
) -> tuple[float, float]:
    """Mean regret and mean cross-entropy of questions whose fold was left out."""
    logits = np.zeros_like(part.labels)
    for fold in sorted(set(folds)):
        out = np.array([one == fold for one in folds])
        linear = fit_linear(points[~out], part.labels[~out], part.weights[~out], strength)
        logits[out] = linear.logits(points[out])
    chosen = part.judged[np.arange(len(logits)), logits.argmax(axis=1)]
    regret = float((part.judged.max(axis=1) - chosen).mean())
    return regret, cross_entropy(logits, part.labels, part.weights)


def fit_linear(points: Floats, labels: Floats, weights: Floats, strength: float) -> Linear:
    """Multinomial logistic regression on soft labels, which sum to one by row.

    A row is given to scikit-learn once for each model, weighted by the label: its log-loss is then
    exactly the soft cross-entropy.
    """
    from sklearn.linear_model import LogisticRegression

    count = labels.shape[1]
    rows = np.repeat(points, count, axis=0)
    names = np.tile(np.arange(count), len(points))
    shares = (labels * weights[:, None]).ravel()
    model = LogisticRegression(C=strength, max_iter=STEPS).fit(rows, names, sample_weight=shares)
    coef, intercept = model.coef_, model.intercept_
    if count == 2:  # one row of differences for two classes
        coef, intercept = np.vstack([-coef, coef]) / 2, np.array([-1, 1]) * intercept / 2
    return Linear(np.asarray(coef, dtype=np.float64), np.asarray(intercept, dtype=np.float64))
