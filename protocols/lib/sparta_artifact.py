"""What a fit of Sparta leaves: each model's best version, its reputation, and who did best."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from protocols.core.models import Frozen
from protocols.lib.pairwise import Strength

FILE = "sparta.json"


class SpartaArtifact(Frozen):
    """By contributed model: the iteration whose version did best on dev (0 is the model as it

    was), that version's score, the log-strength with its deviation in the end, and the rating
    after every wave of duels.
    """

    best: str
    iterations: Mapping[str, int]
    scores: Mapping[str, float]
    reputations: Mapping[str, tuple[float, float]]
    curves: Mapping[str, list[float]]

    def strength(self, model: str) -> Strength:
        """What a model's word weighs before anything is known of its answer."""
        return Strength(*self.reputations[model])

    def write(self, folder: Path) -> None:
        """Put it into an artifact."""
        (folder / FILE).write_text(self.model_dump_json(indent=1) + "\n", encoding="utf-8")


def read_sparta_artifact(folder: Path | None) -> SpartaArtifact | None:
    """What an artifact holds; none without one."""
    if folder is None:
        return None
    return SpartaArtifact.model_validate_json((folder / FILE).read_text(encoding="utf-8"))
