"""What one hostile contributor can do to a pool's answers: attacks, and how they are measured."""

from evals.safety.attacks import ATTACKS, TARGET, Attack, Impostor
from evals.safety.influence import Arm, Attacked, Influence, measure_influence, read_influences

__all__ = [
    "ATTACKS", "TARGET", "Arm", "Attack", "Attacked", "Impostor", "Influence", "measure_influence",
    "read_influences",
]  # fmt: skip
