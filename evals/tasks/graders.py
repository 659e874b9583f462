"""A task's metric as a function of a text: both versions side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from evals.metrics.choice import compatible_choice, corrected_choice
from evals.metrics.exact_match import compatible_exact, corrected_exact
from evals.metrics.grade import UNSCORED, Graded
from evals.metrics.noncompliance import phrases_of_noncompliance
from evals.metrics.overlap import aliases, compatible_f1, corrected_f1, neighbours
from evals.tasks.paper import Metric
from evals.tasks.suite import Grader


def grader(
    metric: Metric, gold: str, choices: Mapping[str, str], labels: Sequence[str] = ()
) -> Grader:
    """Return what scores a text; where a model or other texts are needed, it is unscored here."""
    match metric:
        case "choice":
            return lambda text: Graded(
                corrected_choice(text, choices, gold), compatible_choice(text, choices, gold)
            )
        case "exact":
            return lambda text: Graded(
                corrected_exact(text, gold, labels), compatible_exact(text, gold)
            )
        case "f1":
            golds = aliases(gold)
            return lambda text: Graded(
                corrected_f1(text, golds), compatible_f1(text, gold), neighbours(text, golds)
            )
        case "noncompliance":
            return lambda text: Graded(phrases_of_noncompliance(text))
        case _:
            return lambda text: Graded(UNSCORED)
