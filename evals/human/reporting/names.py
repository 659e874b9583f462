"""Names for raters that lead back to nobody: A1, A2, ... in an order that only their ids decide."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping

from evals.human.records import StudyData

_LABEL = re.compile(r"A[1-9][0-9]*")


def rater_names(data: StudyData) -> Mapping[str, str]:
    """Return a label for each rater with a vote or a guess.

    The order follows a hash of the rater's id with the plan and the head of the vote chain: it says
    nothing about who came first, and it is the same in every report and export of a study. Raters
    of a recorded study, who have such labels already, keep them.
    """
    raters = {j.rater for j in data.judgements} | {g.rater for g in data.guesses}
    if all(_LABEL.fullmatch(rater) for rater in raters):
        return {rater: rater for rater in in_order(raters)}
    key = f"{data.spec.digest}/{data.chain_head}"
    ordered = sorted(raters, key=lambda rater: (_hash(key, rater), rater))
    return {rater: f"A{number}" for number, rater in enumerate(ordered, 1)}


def in_order(labels: Iterable[str]) -> list[str]:
    """Return labels by their number: A2 before A10."""
    return sorted(labels, key=lambda label: (len(label), label))


def _hash(key: str, rater: str) -> str:
    return hashlib.sha256(f"{key}/{rater}".encode()).hexdigest()
