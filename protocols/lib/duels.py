"""Duels between answers, judged by the other models, and the reputations that come of them.

A reputation is a Bradley-Terry strength over all duels so far. It is the weight of a model's word
when it judges others, so that winners of duels are believed more.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from protocols.core.call import Call, ScoreCall
from protocols.core.events import Answer, Artifact, Decision
from protocols.core.registry import Context
from protocols.lib.pairwise import (
    Outcome,
    Preference,
    Strength,
    compare_calls,
    estimate_strengths,
    preference,
    swiss_round,
)

MOST_WEIGHT = 8.0
"""A judge counts at most so many times as much as one of no reputation, and at least one over it.
Otherwise one model that wins early, or is made to, would judge alone."""


@dataclass
class Duel:
    """Two contestants (places in the arena) and what each judge was asked."""

    one: int
    other: int
    asked: dict[int, list[ScoreCall]]
    verdicts: dict[int, Preference] = field(default_factory=dict)
    weights: dict[int, float] = field(default_factory=dict)

    @property
    def probability(self) -> float | None:
        """How likely ``one`` is better: the judges' mean, by reputation; None if all abstained."""
        total = math.fsum(self.weights[judge] for judge in self.verdicts)
        said = (self.weights[j] * told.probability for j, told in self.verdicts.items())
        return math.fsum(said) / total if self.verdicts else None


@dataclass
class Arena:
    """Contestants by place, their duels, and how their reputations moved.

    ``before`` are the reputations that contestants come with, by place; ``owners`` names the
    contributed model behind one that was made from it.
    """

    ctx: Context
    contestants: list[Call]
    owners: Mapping[str, str] = field(default_factory=dict)
    before: Mapping[int, Strength] = field(default_factory=dict)
    duels: list[Duel] = field(default_factory=list)
    history: list[list[Strength]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.history.append(estimate_strengths(len(self.contestants), (), self.before))

    def name(self, place: int) -> str:
        """Whose contestant it is."""
        model = self.contestants[place].model
        return self.owners.get(model, model)

    @property
    def reputations(self) -> list[Strength]:
        """Reputations after the last round."""
        return self.history[-1]

    def draw(self, number: int, judges: int) -> list[Duel]:
        """The next round: neighbours in reputation who have not met, with judges drawn by lot."""
        rng = self.ctx.rng("duels", number)
        met = {(duel.one, duel.other) for duel in self.duels}
        made = []
        for one, other in swiss_round(self.reputations, met, rng):
            others = [i for i in range(len(self.contestants)) if i not in (one, other)]
            chosen = sorted(rng.sample(others, min(judges, len(others))))
            made.append(Duel(one, other, {j: self._ask(one, other, j, number) for j in chosen}))
        return made

    def _ask(self, one: int, other: int, judge: int, number: int) -> list[ScoreCall]:
        first, second, by = (self.contestants[i] for i in (one, other, judge))
        name = f"duel.{number}.{first.model}.{second.model}.{by.model}"
        return compare_calls(self.ctx, name, by.model, first, second, number=number)

    def settle(self, duels: Sequence[Duel]) -> None:
        """Count a finished round; all of its verdicts weigh by the reputations before it."""
        for duel in duels:
            told = {judge: preference(calls) for judge, calls in duel.asked.items()}
            duel.verdicts = {judge: said for judge, said in told.items() if said}
            duel.weights = {judge: weight(self.reputations[judge]) for judge in duel.verdicts}
        self.duels.extend(duels)
        found = [(duel, duel.probability) for duel in self.duels]
        outcomes = [Outcome(duel.one, duel.other, p) for duel, p in found if p is not None]
        self.history.append(estimate_strengths(len(self.contestants), outcomes, self.before))

    def decision(self, duel: Duel) -> Decision | None:
        """A duel's verdict as an event; none if all judges abstained."""
        probability = duel.probability
        if probability is None:
            return None
        names = self.name(duel.one), self.name(duel.other)
        torn = sum(not said.consistent for said in duel.verdicts.values())
        loser = names[probability >= 0.5]
        won = f"{max(probability, 1 - probability):.0%} against {loser}"
        if probability == 0.5:
            won = f"neither is better than the other, {loser}"
        return Decision(
            what="duel",
            title="The latest duel",
            options=names,
            scores=dict(zip(names, (probability, 1 - probability), strict=True)),
            chosen=names[probability < 0.5],
            why=f"{won}; {len(duel.verdicts)} judges by reputation, {torn} torn between the orders",
            sources=tuple(c.id for j in duel.verdicts for c in duel.asked[j]),
        )

    def artifact(self) -> Artifact:
        """Every duel with its judges, and the curve of each reputation, for viewers."""
        names = [self.name(place) for place in range(len(self.contestants))]
        duels = [
            {
                "one": names[duel.one],
                "other": names[duel.other],
                "probability": duel.probability,
                "judges": [
                    {"judge": names[j], "probability": round(said.probability, 4)}
                    | {"consistent": said.consistent, "weight": round(duel.weights[j], 4)}
                    for j, said in duel.verdicts.items()
                ],
            }
            for duel in self.duels
        ]
        curves = {name: [s[i].row() for s in self.history] for i, name in enumerate(names)}
        calls = tuple(call.id for call in self.contestants)
        return Artifact(name="duels", data={"duels": duels, "reputations": curves}, sources=calls)

    def answer(self, note: str, partial: bool = False) -> Answer:
        """The text of the contestant of best repute."""
        places = range(len(self.contestants))
        best = min(places, key=lambda i: (-round(self.reputations[i].mean, 9), self.name(i)))
        return Answer(
            text=self.contestants[best].text,
            sources=(self.contestants[best].id,),
            contributors={self.name(best): 1.0},
            note=note,
            partial=partial,
        )


def weight(reputation: Strength) -> float:
    """How much a judge's word counts."""
    return min(MOST_WEIGHT, max(1 / MOST_WEIGHT, math.exp(reputation.mean)))
