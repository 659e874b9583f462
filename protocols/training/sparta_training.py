"""Sparta's alignment: contests on train items, judged by the pool, and DPO on who won.

In every iteration models meet opponents near them in reputation, the others judge with the weight
of their own, and all learn from the same winners and losers. What they were before stays a
candidate: training that does harm is undone.
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

from pydantic import JsonValue

from protocols.core.artifacts import Derived
from protocols.core.call import Call, Step
from protocols.core.errors import UserError
from protocols.core.events import Artifact, Decision, Phase, Progress
from protocols.core.fit_types import FitContext, FitItem
from protocols.core.models import ModelSpec
from protocols.core.registry import FitEstimate, FitSize, alpha_of
from protocols.lib.coefficients import interval
from protocols.lib.duels import Duel, weight
from protocols.lib.pairwise import (
    Outcome,
    Strength,
    compare_calls,
    estimate_strengths,
    preference,
)
from protocols.lib.sparta_artifact import SpartaArtifact
from protocols.lib.text import repeats
from protocols.training.call_cache import HEAT, CallCache, answer_call, answer_score
from protocols.training.checkpoints import Watch
from protocols.training.dpo import DpoSettings, train_dpo
from protocols.training.preferences import Preference
from protocols.training.students import Student, show_rows, store_adapter, student, train_adapter

DRIFT = 0.5
"""How much a training may have changed a model: deviation added to its log-strength."""


@dataclass
class Bout:
    """A duel on an item: the two answers, and what the judges are asked and said."""

    item: FitItem
    duel: Duel
    calls: tuple[Call, Call]


@dataclass
class Camp:
    """The pool's versions, their duels and reputations, and how they score on dev items."""

    ctx: FitContext
    memory: CallCache
    students: list[Student]
    versions: list[ModelSpec]
    history: list[list[Strength]] = field(default_factory=list)
    scores: list[list[float]] = field(default_factory=list)
    adapters: list[list[Path]] = field(default_factory=list)
    bouts: list[Bout] = field(default_factory=list)
    pairs: list[int] = field(default_factory=list)

    @property
    def reputations(self) -> list[Strength]:
        """After the last wave."""
        return self.history[-1]


async def fit_sparta(ctx: FitContext) -> AsyncIterator[Step]:
    """Iterations of duels and training, and the best versions as they score on dev items."""
    if not ctx.items["train"]:
        raise UserError(f"The task '{ctx.task}' has no train items. Fit to another task.")
    students = [student(model) for model in ctx.models]
    start = estimate_strengths(len(students), ())
    camp = Camp(ctx, CallCache(ctx), students, list(ctx.models), [start])
    count = ctx.config.iterations
    async for step in scored(camp):
        yield step
    for number in range(1, count + 1):
        yield Phase(name="duels", title=f"Duels {number}", index=2 * number - 2, total=2 * count)
        bouts: list[Bout] = []
        async for step in contests(camp, number, bouts):
            yield step
        camp.bouts += bouts
        title = f"Everybody learns from them, {number}"
        yield Phase(name="align", title=title, index=2 * number - 1, total=2 * count)
        async for step in aligned(camp, number, preferences(bouts, ctx.config.margin)):
            yield step
        async for step in scored(camp):
            yield step
    async for step in concluded(camp):
        yield step


def fit_estimate(config: Any, size: FitSize) -> FitEstimate:
    """Everybody's dev answers before and after each iteration; its duels, their judges; DPO."""
    duels = min(config.instructions, size.train)
    steps = training_steps(config, duels)
    return FitEstimate(
        calls=(config.iterations + 1) * size.models * size.dev + 2 * config.iterations * duels,
        scores=2 * config.iterations * duels * min(config.panel, size.models - 2),
        steps=config.iterations * size.models * steps,
    )


def training_steps(config: Any, pairs: int) -> int:
    """Steps of one training on so many pairs."""
    return int(config.steps or -(-pairs // config.batch))


async def contests(camp: Camp, number: int, made: list[Bout]) -> AsyncIterator[Step]:
    """The duels of an iteration, in waves: each wave is matched by what the last one showed."""
    ctx, count = camp.ctx, len(camp.versions)
    train = ctx.items["train"]
    items = ctx.rng("items", number).sample(train, min(ctx.config.instructions, len(train)))
    before = dict(enumerate(drifted(camp.reputations) if number > 1 else camp.reputations))
    for wave, start in enumerate(range(0, len(items), count)):
        rng = ctx.rng("wave", number, wave)
        drawn = matches(camp.reputations, ctx.config.opponents, ctx.config.luck, rng)
        some = items[start : start + count]
        bouts = [
            Bout(item, Duel(*pair, {}), answers(camp, f"{number}.{wave}", item, pair))
            for item, pair in zip(some, drawn, strict=False)
        ]
        calls = list(chain(*(one.calls for one in bouts)))
        async for step in camp.memory.play(calls, "contestants' answers"):
            yield step
        for one in bouts:
            ask(camp, f"{number}.{wave}", one, rng)
        verdicts = chain(*(calls for one in bouts for calls in one.duel.asked.values()))
        async for step in camp.memory.play(list(verdicts), "judges' verdicts"):
            yield step
        settle(camp, bouts)
        made += bouts
        told = [(b.duel, b.duel.probability) for b in made]
        outcomes = [Outcome(duel.one, duel.other, p) for duel, p in told if p is not None]
        camp.history.append(estimate_strengths(count, outcomes, before))
        yield standing(camp, number, min(start + count, len(items)), len(items))


def matches(
    strengths: Sequence[Strength], opponents: int, luck: float, rng: random.Random
) -> Iterator[tuple[int, int]]:
    """Everybody once, drawn by lot, with an opponent: with chance ``luck`` anybody, else one of the
    ``opponents`` nearest in reputation.
    """
    places = range(len(strengths))
    for one in rng.sample(places, len(places)):
        others = sorted(
            (place for place in places if place != one),
            key=lambda o: (abs(strengths[o].mean - strengths[one].mean), o),
        )
        yield one, rng.choice(others if rng.random() < luck else others[:opponents])


def answers(camp: Camp, name: str, item: FitItem, pair: tuple[int, int]) -> tuple[Call, Call]:
    """What both are asked: the item, as live."""
    heat = camp.ctx.context.draw(**HEAT)
    one, other = (answer_call(f"duel/{name}", camp.versions[at].id, item, heat) for at in pair)
    return one, other


def ask(camp: Camp, name: str, bout: Bout, rng: random.Random) -> None:
    """Ask some of the others which answer is better; one that did not answer forfeits."""
    duel, (one, other) = bout.duel, bout.calls
    rest = [i for i in range(len(camp.versions)) if i not in (duel.one, duel.other)]
    panel = sorted(rng.sample(rest, min(camp.ctx.config.panel, len(rest))))
    if not (one.ok and other.ok):
        return
    for judge in panel:
        by = camp.versions[judge].id
        key = f"judge/{name}/{by}/{bout.item.id}"
        asking = camp.ctx.asking(bout.item.question)
        duel.asked[judge] = compare_calls(asking, key, by, one, other)


def settle(camp: Camp, bouts: Sequence[Bout]) -> None:
    """Count a wave's verdicts by the reputations before it; who could not judge abstains."""
    for duel in (bout.duel for bout in bouts):
        told = {judge: preference(calls) for judge, calls in duel.asked.items()}
        duel.verdicts = {judge: said for judge, said in told.items() if said}
        duel.weights = {judge: weight(camp.reputations[judge]) for judge in duel.verdicts}


def drifted(strengths: Sequence[Strength]) -> list[Strength]:
    """Reputations of models that have learnt since: as strong as far as is known, less surely."""
    return [Strength(one.mean, (one.sd**2 + DRIFT**2) ** 0.5) for one in strengths]


def standing(camp: Camp, number: int, done: int, total: int) -> Progress:
    """The ratings as they stand."""
    ratings = zip(camp.ctx.models, camp.reputations, strict=True)
    return Progress(
        unit="duels",
        done=done,
        total=total,
        note=f"iteration {number}",
        values={f"reputation.{model.id}": round(one.rating, 1) for model, one in ratings},
    )


def preferences(bouts: Sequence[Bout], margin: float) -> list[Preference]:
    """Winners and losers, where the judges are clear enough.

    Equal answers and winners that run in circles teach nothing and are left out.
    """
    made = []
    for bout in bouts:
        probability = bout.duel.probability
        if probability is None or abs(probability - 0.5) < margin:
            continue
        texts = [call.text for call in bout.calls]
        better, worse = texts if probability > 0.5 else reversed(texts)
        if better.strip() != worse.strip() and not repeats(better):
            made.append(Preference(bout.item.question, better, worse))
    return made


async def aligned(camp: Camp, number: int, pairs: list[Preference]) -> AsyncIterator[Step]:
    """Train everybody on the same pairs, each from its own last version."""
    camp.pairs.append(len(pairs))
    if not pairs:
        note = "No duel was clear enough to learn from; everybody stays as they are."
        yield Progress(unit="train", note=note, level="warning")
        return
    rows = [{"question": p.question, "chosen": p.chosen, "rejected": p.rejected} for p in pairs]
    show_rows(camp.ctx, f"contestants.{number}", rows)
    before, made = camp.versions, []
    for at, who in enumerate(camp.students):
        name = f"{number}.{who.model.id}"
        adapter = await train(camp.ctx, who, name, pairs)
        made.append(who.trained(f"fit.{name}", adapter))
        camp.ctx.serve(made[-1])
        camp.students[at] = Student(who.model, who.base, adapter)
    camp.versions = made
    for old in before:
        if old.id.startswith("fit."):
            await camp.ctx.release(old)


async def train(ctx: FitContext, who: Student, name: str, pairs: Sequence[Preference]) -> Path:
    """A version's next adapter."""
    config = ctx.config
    settings = DpoSettings(
        steps=config.steps,
        batch=config.batch,
        learning_rate=config.learning_rate,
        beta=config.beta,
        rank=config.lora,
        alpha=alpha_of(config, config.lora),
        seed=ctx.seed,
    )

    def work(out: Path, state: Path, watch: Watch) -> object:
        return train_dpo(who, pairs, out, state=state, config=settings, watch=watch)

    return await train_adapter(ctx, name, training_steps(config, len(pairs)), work)


async def scored(camp: Camp) -> AsyncIterator[Step]:
    """How every version does on the dev items, alone."""
    dev = camp.ctx.items["dev"]
    if camp.scores and camp.pairs[-1] == 0:
        camp.scores.append(camp.scores[-1])
    else:
        calls = [[answer_call("dev", model.id, item) for item in dev] for model in camp.versions]
        async for step in camp.memory.play(list(chain(*calls)), "dev answers of every version"):
            yield step
        found = [
            sum(answer_score(camp.ctx, item, call) for item, call in zip(dev, row, strict=True))
            for row in calls
        ]
        camp.scores.append([total / len(dev) for total in found])
    camp.adapters.append([who.adapter or who.base for who in camp.students])
    values = {m.id: s for m, s in zip(camp.ctx.models, camp.scores[-1], strict=True)}
    done, total = len(camp.scores) - 1, camp.ctx.config.iterations
    yield Progress(unit="dev", done=done, total=total, note="accuracy on dev", values=values)


async def concluded(camp: Camp) -> AsyncIterator[Step]:
    """Keep each model's best version; among equals the earlier one."""
    for model in camp.versions:
        if model.id.startswith("fit."):
            await camp.ctx.release(model)
    ctx, names = camp.ctx, [model.id for model in camp.ctx.models]
    columns = zip(names, zip(*camp.scores, strict=True), strict=True)
    best = {name: column.index(max(column)) for name, column in columns}
    scores = {name: camp.scores[best[name]][at] for at, name in enumerate(names)}
    champion = max(names, key=lambda name: (scores[name], -names.index(name)))
    found = SpartaArtifact(
        best=champion,
        iterations=best,
        scores=scores,
        reputations={n: (s.mean, s.sd) for n, s in zip(names, camp.reputations, strict=True)},
        curves={n: [round(w[at].rating, 1) for w in camp.history] for at, n in enumerate(names)},
    )
    found.write(ctx.folder)
    yield Artifact(name="champions", data=found.model_dump(mode="json"))
    derived = [kept(camp, at, name, best[name]) for at, name in enumerate(names) if best[name]]
    why = f"{scores[champion]:.1%} of {len(ctx.items['dev'])} dev items, version {best[champion]}"
    yield Decision(what="champion", options=tuple(names), scores={}, chosen=champion, why=why)
    recipe: JsonValue = {"best": champion, "iterations": dict(best), "pairs": list(camp.pairs)}
    yield ctx.fitted(measured(camp, scores), recipe, derived)


def kept(camp: Camp, at: int, name: str, iteration: int) -> Derived:
    """A version that did better than the model as it was."""
    adapter, title = camp.adapters[iteration][at], f"{name} after {iteration} of Sparta"
    return store_adapter(camp.ctx, camp.students[at], f"contestant.{name}", adapter, title)


def measured(camp: Camp, scores: dict[str, float]) -> dict[str, JsonValue]:
    """What is worth telling: scores on dev, and how often the judges were right.

    The best of several versions was chosen on these items, so its score flatters it.
    """
    ctx, best = camp.ctx, max(scores.values())
    low, high = interval(best, len(ctx.items["dev"]))
    right = [r for r in (judged_right(ctx, bout) for bout in camp.bouts) if r is not None]
    return {
        "n": len(ctx.items["dev"]),
        "best_single": max(camp.scores[0]),
        "dev": best,
        "dev.low": round(low, 6),
        "dev.high": round(high, 6),
        "mean.before": sum(camp.scores[0]) / len(scores),
        "mean.after": sum(scores.values()) / len(scores),
        "duels": len(camp.bouts),
        "pairs": sum(camp.pairs),
        "judged_unlike": len(right),
        "judged_right": sum(right) / len(right) if right else 0.5,
    }


def judged_right(ctx: FitContext, bout: Bout) -> bool | None:
    """Whether the judges preferred the answer that scores higher; none where that says nothing."""
    probability, (one, other) = bout.duel.probability, bout.calls
    gap = answer_score(ctx, bout.item, one) - answer_score(ctx, bout.item, other)
    return None if probability in (None, 0.5) or not gap else (probability > 0.5) == (gap > 0)
