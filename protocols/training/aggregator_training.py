"""Trains AggLM's aggregator: it reads sets of answers and is rewarded by the task's own score.

Sets in which the majority is wrong are the hard ones; all of them are practised on, with as many
easy ones as the settings want. Training on hard ones alone would teach it never to follow a
majority.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from pydantic import JsonValue

from protocols.core.call import Call, Step
from protocols.core.errors import UserError
from protocols.core.events import Phase, Progress
from protocols.core.fit_types import FitContext, FitItem, Part
from protocols.core.registry import Context, FitEstimate, FitSize, alpha_of
from protocols.lib.aggregator_outcome import is_usable
from protocols.lib.coefficients import interval
from protocols.lib.ranking import Candidate, candidates
from protocols.lib.vote_outcome import vote_answer
from protocols.lib.votes import Tally, count
from protocols.training.call_cache import HEAT, PASSING, CallCache, answer_call, answer_score
from protocols.training.checkpoints import Watch
from protocols.training.grpo import Exercise, GrpoSettings, train_grpo
from protocols.training.students import (
    Student,
    adapter_changed,
    role_decision,
    show_rows,
    store_adapter,
    student_for_role,
    train_adapter,
)

Aggregate = Callable[[Context, str, Sequence[Candidate], int], Call]
"""How the live protocol asks the aggregator, in an order of the given number."""

NOTHING = "No exercise told better answers from worse ones, so nothing was learnt."


@dataclass(frozen=True)
class Case:
    """One answer of every model to an item; ``number`` decides the order in which they are read."""

    item: FitItem
    number: int
    calls: list[Call]

    @property
    def key(self) -> str:
        """Tells the sets of an item apart."""
        return f"{self.item.id}/{self.number}"

    @property
    def alive(self) -> list[Call]:
        """The answers that are there."""
        return [call for call in self.calls if call.ok]

    @property
    def tally(self) -> Tally:
        """What was answered how often."""
        return count(self.alive)

    def right(self, ctx: FitContext, text: str) -> bool:
        """Whether a text answers the item."""
        return (ctx.score(self.item, text) or 0.0) >= PASSING

    def easy(self, ctx: FitContext) -> bool:
        """Whether the majority is right."""
        return self.right(ctx, vote_answer(self.tally, self.alive).text)

    def found(self, ctx: FitContext) -> bool:
        """Whether anybody is right."""
        return any(answer_score(ctx, self.item, call) >= PASSING for call in self.alive)


async def fit_aggregator(ctx: FitContext, aggregate: Aggregate) -> AsyncIterator[Step]:
    """Sets of answers, exercises of both kinds, training, and what it is worth on dev items."""
    if not ctx.items["train"]:
        raise UserError(f"The task '{ctx.task}' has no train items. Fit to another task.")
    who, memory = student_for_role(ctx.models, ctx.config.student), CallCache(ctx)
    cases = {
        "train": answer_sets(ctx, "train", ctx.config.samples),
        "dev": answer_sets(ctx, "dev", 1),
    }
    calls = list(chain(*(case.calls for part in cases.values() for case in part)))
    yield Phase(name="solve", title="The pool answers", index=0, total=3)
    async for step in memory.play(calls, "answers to aggregate"):
        yield step
    hard, easy = balanced(ctx, [case for case in cases["train"] if case.alive])
    if note := lacking(hard, easy):
        yield Progress(unit="train", note=note, level="warning")
    yield Phase(name="train", title="The aggregator practises", index=1, total=3)
    prompts = [exercise(ctx, aggregate, who.model.id, case) for case in hard + easy]
    adapter = await train(ctx, who, prompts, {case.key: case for case in hard + easy})
    yield Phase(name="dev", title="Before and after on dev items", index=2, total=3)
    ctx.serve(who.trained("fit.aggregator", adapter))
    metrics: dict[str, JsonValue] = {"n": len(ctx.items["dev"])}
    metrics |= baseline_scores(ctx, cases["dev"])
    asked = {"untrained": who.model.id, "trained": "fit.aggregator"}
    async for step in tried(ctx, memory, aggregate, asked, cases["dev"], metrics):
        yield step
    await ctx.release(who.trained("fit.aggregator", adapter))
    changed = await ctx.work(adapter_changed, adapter)
    if not changed:
        yield Progress(unit="train", note=NOTHING, level="warning")
    after, before = (float(str(metrics[f"final.{name}"])) for name in ("trained", "untrained"))
    better = changed and after >= before
    yield role_decision("aggregator", better, after, before)
    title = "Trained aggregator"
    derived = [store_adapter(ctx, who, "aggregator", adapter, title)] if better else []
    recipe: dict[str, JsonValue] = {
        "student": who.model.id,
        "exercises": {"hard": len(hard), "easy": len(easy)},
        "kept": better,
        "learnt": changed,
        "seed": ctx.seed,
    }
    yield ctx.fitted(metrics, recipe, derived)


def fit_estimate(config: Any, size: FitSize) -> FitEstimate:
    """Sets of answers, two aggregators on dev items, and what the training itself draws."""
    asked = size.models * (config.samples * size.train + size.dev) + 2 * size.dev
    steps = config.steps or config.samples * size.train
    return FitEstimate(asked, steps=steps, drawn=steps * config.draws)


async def tried(
    ctx: FitContext,
    memory: CallCache,
    aggregate: Aggregate,
    asked: Mapping[str, str],
    cases: Sequence[Case],
    metrics: dict[str, JsonValue],
) -> AsyncIterator[Step]:
    """What each of the aggregators ``asked`` makes of the cases; ``metrics`` gets its scores."""
    answered = [case for case in cases if case.alive]
    for name, model in asked.items():
        finals = [asking(ctx, aggregate, model, case) for case in answered]
        async for step in memory.play(finals, f"what the {name} aggregator makes of them"):
            yield step
        told = measured(ctx, answered, finals)
        metrics |= {f"{key}.{name}": value for key, value in told.items()}


def lacking(hard: Sequence[Case], easy: Sequence[Case]) -> str:
    """What the exercises lack, as a sentence. Raises :class:`UserError` if there are none."""
    if not hard and not easy:
        raise UserError("No model answered any train item, so there is nothing to practise on.")
    if hard:
        return ""
    return "The majority was right on every train item: there is no hard one to learn from."


def answer_sets(ctx: FitContext, part: Part, samples: int) -> list[Case]:
    """Sets of answers: every model answers every item so many times."""
    heat = ctx.context.draw(**HEAT)
    return [
        Case(
            item, n * samples + s, [answer_call(f"solve.{s}", m.id, item, heat) for m in ctx.models]
        )
        for n, item in enumerate(ctx.items[part])
        for s in range(samples)
    ]


def balanced(ctx: FitContext, cases: Sequence[Case]) -> tuple[list[Case], list[Case]]:
    """All hard cases, and easy ones drawn by lot up to their share; without hard ones all easy."""
    kinds: dict[bool, list[Case]] = {True: [], False: []}
    for case in cases:
        kinds[case.easy(ctx)].append(case)
    hard, easy = kinds[False], kinds[True]
    share = ctx.config.easy
    wanted = round(len(hard) * share / (1 - share)) if hard else len(easy)
    return hard, ctx.rng("easy").sample(easy, min(wanted, len(easy)))


def asking(ctx: FitContext, aggregate: Aggregate, model: str, case: Case) -> Call:
    """The aggregator asked about a case as live."""
    options = candidates(case.alive)
    call = aggregate(ctx.asking(case.item.question), model, options, case.number)
    call.id = f"aggregate/{model}/{case.key}"
    return call


def exercise(ctx: FitContext, aggregate: Aggregate, model: str, case: Case) -> Exercise:
    """A case as a prompt to practise on."""
    return Exercise(case.key, tuple(asking(ctx, aggregate, model, case).render()))


async def train(
    ctx: FitContext, who: Student, prompts: Sequence[Exercise], cases: Mapping[str, Case]
) -> Path:
    """The aggregator's adapter."""
    config = ctx.config
    rows: list[dict[str, JsonValue]] = [
        {"key": p.key, "prompt": p.messages[-1]["content"], "easy": cases[p.key].easy(ctx)}
        for p in prompts
    ]
    show_rows(ctx, "aggregator", rows)
    settings = GrpoSettings(
        steps=config.steps,
        draws=config.draws,
        learning_rate=config.learning_rate,
        max_tokens=ctx.sampling.max_tokens,
        rank=config.lora,
        alpha=alpha_of(config, config.lora),
        seed=ctx.seed,
    )

    def reward(key: str, text: str) -> float:
        return ctx.score(cases[key].item, text) or 0.0

    def work(out: Path, state: Path, watch: Watch) -> object:
        return train_grpo(who, prompts, reward, out, state=state, config=settings, watch=watch)

    return await train_adapter(ctx, "aggregator", config.steps or len(prompts), work)


def baseline_scores(ctx: FitContext, dev: Sequence[Case]) -> dict[str, float]:
    """What there is without an aggregator: the best single model, the majority, and anybody."""
    models = range(len(ctx.models))
    single = [sum(answer_score(ctx, case.item, case.calls[at]) for case in dev) for at in models]
    heard = [case for case in dev if case.alive]
    return {
        "best_single": max(single) / len(dev),
        "majority": sum(case.easy(ctx) for case in heard) / len(dev),
        "oracle": sum(case.found(ctx) for case in heard) / len(dev),
    }


def measured(ctx: FitContext, dev: Sequence[Case], finals: Sequence[Call]) -> dict[str, float]:
    """How often the answer in the end is right, with an interval.

    ``rescued`` is the share among cases in which only a minority was right, ``kept`` the share
    among those in which the majority was.
    """
    rows = [
        (
            case.easy(ctx),
            case.found(ctx),
            case.right(
                ctx,
                final.text
                if is_usable(final, case.tally)
                else vote_answer(case.tally, case.alive).text,
            ),
        )
        for case, final in zip(dev, finals, strict=True)
    ]
    kept = [right for easy, _, right in rows if easy]
    rescued = [right for easy, found, right in rows if found and not easy]
    total = len(ctx.items["dev"])
    final = sum(right for *_, right in rows) / total
    low, high = interval(final, total)
    told: dict[str, float] = {"final": final, "low": round(low, 6), "high": round(high, 6)}
    told |= {"minorities": len(rescued), "majorities": len(kept)}
    told["rescued"] = sum(rescued) / len(rescued) if rescued else 0.0
    told["kept"] = sum(kept) / len(kept) if kept else 0.0
    return told
