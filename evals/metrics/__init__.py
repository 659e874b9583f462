"""One module a metric: ``(item, answer text) -> Score``.

A score's value is ``None`` when there was nothing to score; it is never a quiet zero.
"""

from evals.metrics.accuracy import Accuracy, accuracy, wilson
from evals.metrics.short_answer import Score, score

__all__ = ["Accuracy", "Score", "accuracy", "score", "wilson"]
