"""What a router is worth on questions it has not seen, and how far its confidence can be trusted.

Regret is how much better the best model of each question would have been (the oracle). Everything
is paired by question, and intervals are bootstrapped over questions.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from protocols.core.events import Artifact
from protocols.lib.calibration import calibrated
from protocols.lib.routes import LEAST, Trust, softmax

Floats = NDArray[np.float64]
DRAWS = 2000
BINS = (0.0, 0.25, 0.5, 0.7, 0.85, 0.95, 1.0)
"""Edges of the bins in which confidence is compared with how often it was right."""
IGNORANT = 2
COLDEST, HOTTEST = 0.05, 20.0
"""Limits of the temperature: on a few questions, the best fit may be infinite."""


def soft_labels(scores: Floats, softness: float) -> Floats:
    """How much each model was the right one, [items, models], each row a distribution.

    The softmax of scores over ``softness``: equal scores share evenly, whatever their order, and a
    model that is ten times ``softness`` behind has next to nothing.
    """
    return softmax(np.asarray(scores, dtype=np.float64) / softness)


def spread(scores: Floats) -> Floats:
    """How far the models of each item lie apart, [items]; 0 where any choice is as good."""
    found: Floats = scores.max(axis=1) - scores.min(axis=1)
    return found


def cross_entropy(logits: Floats, labels: Floats, weights: Floats) -> float:
    """Mean soft cross-entropy in nats over items, by weight; 0 without weight."""
    if not weights.sum():
        return 0.0
    each = -(labels * np.log(softmax(logits) + 1e-12)).sum(axis=1)
    return float((each * weights).sum() / weights.sum())


def temperature(logits: Floats, labels: Floats, weights: Floats) -> float:
    """The number to divide logits by so that they fit the labels best (Guo et al. 2017, "On
    Calibration of Modern Neural Networks", arXiv 1706.04599); 1 where nothing tells models apart.

    The labels are drawn a little towards ignorance, as if :data:`IGNORANT` questions had been seen
    besides that say nothing: a few questions in a row that went well make nobody certain.
    """
    from scipy.optimize import minimize_scalar

    count = int((weights > 0).sum())
    if not count:
        return 1.0
    known = count / (count + IGNORANT)
    drawn = known * labels + (1 - known) / labels.shape[1]
    found = minimize_scalar(
        lambda log: cross_entropy(logits / math.exp(log), drawn, weights),
        bounds=(math.log(COLDEST), math.log(HOTTEST)),
        method="bounded",
    )
    return math.exp(float(found.x))


def threshold(shares: Floats, scores: Floats, best: int) -> float:
    """The confidence below which the best single model does better, by mean score on these items.

    The lowest of several that are as good, so 0 unless the fallback helps.
    """
    chosen = shares.argmax(axis=1)
    sure = shares.max(axis=1)
    routed, single = scores[np.arange(len(scores)), chosen], scores[:, best]
    bounds = [0.0, *sorted({math.ceil(float(c) * 1e4) / 1e4 for c in sure})]
    values = [float(np.where(sure >= b - LEAST, routed, single).mean()) for b in bounds]
    top = max(values)
    return min(1.0, next(b for b, v in zip(bounds, values, strict=True) if v >= top - 1e-12))


def calibrate_trust(logits: Floats, labels: Floats, scores: Floats, best: int) -> Trust:
    """Calibrate a router on items that it was not trained on (at least one)."""
    weights = spread(scores)
    heat = temperature(logits, labels, weights)
    shares = softmax(logits / heat)
    hits, sure = as_good(shares, scores), shares.max(axis=1)
    telling = [(float(c), float(h)) for c, h, w in zip(sure, hits, weights, strict=True) if w]
    return Trust(
        temperature=heat,
        threshold=threshold(shares, scores, best),
        level=calibrated(telling, 0.5) if telling else None,
    )


def as_good(shares: Floats, scores: Floats) -> Floats:
    """Whether each choice was as good as the best model, 0 or 1, [items]."""
    chosen = scores[np.arange(len(scores)), shares.argmax(axis=1)]
    found: Floats = (chosen >= scores.max(axis=1) - LEAST).astype(np.float64)
    return found


def reliability(shares: Floats, labels: Floats, weights: Floats) -> dict[str, Any]:
    """Confidence against outcome in bins, and their mean distance (expected calibration error).

    The outcome is the choice's soft label, so that a tie of two counts half. Items on which all
    models score alike say nothing about confidence and are left out; ``n`` counts the others.
    """
    telling = weights > 0
    sure, chosen = shares.max(axis=1)[telling], shares.argmax(axis=1)[telling]
    right = labels[telling][np.arange(len(chosen)), chosen]
    places = np.clip(np.searchsorted(BINS, sure, side="left") - 1, 0, len(BINS) - 2)
    rows = [
        {
            "from": BINS[at],
            "to": BINS[at + 1],
            "n": int((places == at).sum()),
            "predicted": round(float(sure[places == at].mean()), 4),
            "observed": round(float(right[places == at].mean()), 4),
        }
        for at in sorted(set(places.tolist()))
    ]
    gaps = [row["n"] * abs(row["predicted"] - row["observed"]) for row in rows]
    error = round(sum(gaps) / len(sure), 4) if len(sure) else None
    return {"n": len(sure), "error": error, "bins": rows}


def bootstrap(values: Floats, seed: int) -> tuple[float, float]:
    """The 95 % percentile interval of a mean over items, from :data:`DRAWS` resamples."""
    rng = np.random.default_rng(seed)
    means = values[rng.integers(0, len(values), (DRAWS, len(values)))].mean(axis=1)
    low, high = np.quantile(means, (0.025, 0.975))
    return float(low), float(high)


def interval_text(values: Floats, seed: int) -> dict[str, float]:
    """A mean with its interval."""
    low, high = bootstrap(values, seed)
    return {
        "mean": round(float(values.mean()), 4),
        "low": round(low, 4),
        "high": round(high, 4),
    }


def held_out(
    logits: Floats, labels: Floats, scores: Floats, known: Trust, best: int, seed: int
) -> dict[str, Any]:
    """What a router is worth on held-out items, with its threshold and the best single model.

    ``gain_over_best_single`` and ``regret_to_oracle`` are means of paired differences;
    ``ece_raw`` is the calibration error that there would be without the temperature.
    """
    shares = softmax(logits / known.temperature)
    routed = scores_with_fallback(shares, scores, known.threshold, best)
    weights = spread(scores)
    calibration = reliability(shares, labels, weights)
    return {
        "n": len(scores),
        "seed": seed,
        "interval": f"95 % paired bootstrap over items, {DRAWS} draws",
        "router": interval_text(routed, seed),
        "best_single": interval_text(scores[:, best], seed),
        "oracle": interval_text(scores.max(axis=1), seed),
        "random": interval_text(scores.mean(axis=1), seed),
        "gain_over_best_single": interval_text(routed - scores[:, best], seed),
        "regret_to_oracle": interval_text(scores.max(axis=1) - routed, seed),
        "fallback_share": round(float((shares.max(axis=1) < known.threshold - LEAST).mean()), 4),
        "calibration": calibration,
        "ece": calibration["error"],
        "ece_raw": reliability(softmax(logits), labels, weights)["error"],
    }


def evaluation_artifacts(measured: Mapping[str, Mapping[str, Any]], used: str) -> list[Artifact]:
    """What :func:`held_out` says of some ways of routing, for a page.

    ``regret``: ``{"rows": [{"name", "score", "low", "high", "n"}], "note"}``, every way beside the
    best single model, a random one and the oracle. ``calibration``: ``{"bins": [{"predicted",
    "observed", "n"}]}`` of the way that is ``used``.
    """
    one = measured[used]
    beside = {name: one[name] for name in ("best_single", "random", "oracle")}
    found = {**{way: each["router"] for way, each in measured.items()}, **beside}
    rows = [
        {
            "name": name.replace("_", " "),
            "score": row["mean"],
            "low": row["low"],
            "high": row["high"],
            "n": one["n"],
        }
        for name, row in found.items()
    ]
    note = f"{one['n']} held-out items, seed {one['seed']}; {one['interval']}."
    bins = one["calibration"]["bins"]
    return [
        Artifact(name="regret", data={"rows": rows, "note": note}),
        Artifact(name="calibration", data={"bins": bins}),
    ]


def scores_with_fallback(shares: Floats, scores: Floats, bound: float, best: int) -> Floats:
    """Each item's score under the router with its fallback to the best single model."""
    sure = shares.max(axis=1) >= bound - LEAST
    choice = np.where(sure, shares.argmax(axis=1), best)
    made: Floats = scores[np.arange(len(scores)), choice]
    return made


def halves(tasks: Sequence[str]) -> tuple[list[int], list[int]]:
    """Places of two halves, each with every second item of every task; the second is not larger."""
    seen: dict[str, int] = {}
    first: list[int] = []
    second: list[int] = []
    for place, task in enumerate(tasks):
        seen[task] = seen.get(task, -1) + 1
        (second if seen[task] % 2 else first).append(place)
    if not second:
        return first[::2], first[1::2]
    return first, second
