"""From a confidence to a chance of being right, learnt from answers whose scores are known."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from protocols.core.models import Frozen

FILE = "calibration.json"


class Level(Frozen):
    """What is known of one model's confidence.

    ``threshold`` is the quantile of its own confidences above which the wanted share lies.
    ``confidences`` rise, and ``chances`` are the mean scores at these, made to rise as well.
    """

    threshold: float
    confidences: tuple[float, ...]
    chances: tuple[float, ...]
    answers: int

    def chance(self, confidence: float) -> float:
        """How likely an answer of this confidence is right; between known ones, interpolated."""
        import numpy as np

        return float(np.interp(confidence, self.confidences, self.chances))


def calibrated(rated: Sequence[tuple[float, float]], keep: float) -> Level:
    """Learn from (confidence, score) pairs; at least one.

    Scores become an isotonic function of confidence (pool adjacent violators, from scipy), drawn a
    little towards the mean as if two average answers had been seen besides: of few answers none
    makes a chance of exactly 0 or 1.
    """
    import numpy as np
    from scipy.optimize import isotonic_regression

    ordered = sorted(rated)
    confidences = np.array([c for c, _ in ordered])
    scores = np.array([s for _, s in ordered])
    risen = isotonic_regression(scores).x
    chances = (risen * len(scores) + 2 * scores.mean()) / (len(scores) + 2)
    knots = np.unique(confidences)
    means = [float(chances[confidences == knot].mean()) for knot in knots]
    return Level(
        threshold=float(np.quantile(confidences, 1 - keep)),
        confidences=tuple(map(float, knots)),
        chances=tuple(means),
        answers=len(scores),
    )


def write_levels(levels: Mapping[str, Level], folder: Path) -> None:
    """Keep levels by model id in an artifact's folder."""
    rows = {name: level.model_dump(mode="json") for name, level in levels.items()}
    text = json.dumps(rows, indent=1, sort_keys=True)
    (folder / FILE).write_text(text + "\n", encoding="utf-8")


def read_levels(folder: Path | None) -> dict[str, Level]:
    """What :func:`write_levels` wrote; nothing without an artifact."""
    if folder is None:
        return {}
    rows = json.loads((folder / FILE).read_text(encoding="utf-8"))
    return {name: Level.model_validate(row) for name, row in rows.items()}
