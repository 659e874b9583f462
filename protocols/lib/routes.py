"""What trained routers share when they answer: a distribution, how far it can be trusted, a route.

A router says how likely each model is the right one. If it is not sure enough, the model that was
best overall answers, or a majority of all; if a model fails, the next likeliest is asked.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, ValidationError

from protocols.core.call import Call, Step
from protocols.core.errors import EngineError
from protocols.core.events import Answer, Decision, Phase, Progress
from protocols.core.models import Frozen, ModelSpec
from protocols.core.registry import Config, Context, Estimate, fit_setting
from protocols.lib.calibration import Level
from protocols.lib.choice import entropy
from protocols.lib.encoders import EncoderSpec
from protocols.lib.prompts import question_messages
from protocols.lib.vote_outcome import vote_answer, vote_decision
from protocols.lib.votes import count, parsed

CARD = "router.json"
LEAST = 1e-9
LEAST_CASES = 4
"""From so few questions on it is said how often a router's confidence was right."""
Floats = NDArray[np.float64]


class RouterConfig(Config):
    """Settings that every trained router has."""

    fallback: Literal["single", "majority"] = Field(
        "single",
        description="Who answers when the router is unsure: the best single model, or a majority.",
    )
    min_confidence: float = Field(
        0.0,
        ge=0.0,
        le=1.0,
        description="Below this confidence the fallback answers; 0 takes what the fit found best.",
    )
    thrift: float = Field(
        0.0,
        ge=0.0,
        le=1.0,
        description="How much likelier the largest model must be than one without any size.",
    )
    encoder: str = fit_setting(
        "auto",
        "How questions become vectors: auto, hidden (states of the base), words, or the name of a "
        "sentence encoder.",
    )
    judge: Literal["task", "reward"] = fit_setting(
        "task", "What says which model was best: the task's metric, or a reward model."
    )
    reward_model: str = fit_setting(
        "", "The reward model's folder or hub id, where the judge is one."
    )
    softness: float = fit_setting(
        0.1, "How near to the best a score must be to count as nearly as good.", gt=0.0, le=10.0
    )


class Trust(Frozen):
    """What is known of one way of routing.

    Logits are divided by ``temperature``. ``level`` says how often a choice of some confidence was
    as good as the best model's (nothing if no questions told models apart). Below ``threshold``
    the best single model did better.
    """

    temperature: float = Field(1.0, gt=0.0)
    threshold: float = Field(0.0, ge=0.0, le=1.0)
    level: Level | None = None


class Card(Frozen):
    """What an artifact says of its router. ``models`` are in the order of its columns."""

    models: tuple[str, ...] = Field(min_length=1)
    best: str
    encoder: EncoderSpec | None = None
    trust: dict[str, Trust]
    used: str


C = TypeVar("C", bound=Card)


def write_card(card: Card, folder: Path) -> None:
    """Keep a router's card in an artifact's folder."""
    text = json.dumps(card.model_dump(mode="json"), indent=1, sort_keys=True)
    (folder / CARD).write_text(text + "\n", encoding="utf-8")


def read_card(ctx: Context, kind: type[C]) -> C:
    """The artifact's card. Raises :class:`EngineError` if it is missing or not of this pool."""
    if ctx.artifact is None:
        raise EngineError("There is no fitted router to answer with. Fit it first.")
    try:
        card = kind.model_validate_json((ctx.artifact / CARD).read_text(encoding="utf-8"))
    except (OSError, ValidationError) as error:
        raise EngineError("The router's card cannot be read. Fit it again.") from error
    if {*card.models, card.best} != {model.id for model in ctx.models}:
        raise EngineError("The router was fitted to other models. Fit it again.")
    return card


def write_arrays(arrays: Mapping[str, NDArray[np.floating]], path: Path) -> None:
    """Keep arrays as an npz file; equal arrays make equal bytes."""
    named: dict[str, Any] = dict(arrays)
    np.savez(path, **named)


def read_arrays(folder: Path, name: str, wanted: Mapping[str, int]) -> dict[str, Floats]:
    """The arrays of a file, by name; ``wanted`` are their numbers of dimensions.

    Raises :class:`EngineError` for arrays that are missing, of another shape, or not finite.
    """
    try:
        with np.load(folder / name, allow_pickle=False) as stored:
            found = {key: np.asarray(stored[key], dtype=np.float64) for key in stored.files}
    except (OSError, ValueError, KeyError) as error:
        raise EngineError(f"'{name}' of the router cannot be read. Fit it again.") from error
    bad = [k for k, n in wanted.items() if k not in found or found[k].ndim != n]
    bad += [key for key, value in found.items() if not np.isfinite(value).all()]
    if bad:
        raise EngineError(f"'{name}' of the router is damaged at '{bad[0]}'. Fit it again.")
    return found


def softmax(logits: Floats) -> Floats:
    """Probabilities along the last axis."""
    raised = np.exp(logits - logits.max(axis=-1, keepdims=True))
    made: Floats = raised / raised.sum(axis=-1, keepdims=True)
    return made


@dataclass(frozen=True)
class Route:
    """What a router says of one question: probabilities by model id, and how it came to them.

    ``price`` is taken off a model's probability where it is ranked.
    """

    scores: Mapping[str, float]
    best: str
    trust: Trust
    how: str
    by: str = ""
    sources: tuple[str, ...] = ()
    price: Mapping[str, float] = field(default_factory=dict)
    ranked: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        worth = {name: score - self.price.get(name, 0.0) for name, score in self.scores.items()}
        order = sorted(worth, key=lambda name: (-worth[name], name))
        object.__setattr__(self, "ranked", tuple(order))

    @property
    def confidence(self) -> float:
        """The likeliest model's probability."""
        return max(self.scores.values())

    def bound(self, config: RouterConfig) -> float:
        """The confidence that is enough."""
        return config.min_confidence or self.trust.threshold

    def why(self, bound: float) -> str:
        """The reasons, for people."""
        enough = f"enough is {bound:.0%}" if bound else "which is enough: it is always followed"
        told = [self.how, f"{self.confidence:.0%} sure, {enough}"]
        level, chosen = self.trust.level, self.scores[self.ranked[0]]
        if chosen < self.confidence:
            told.append(f"{self.ranked[0]}, smaller, is {chosen:.0%} likely")
        elif level and level.answers < LEAST_CASES:
            told.append(f"how often that is right is not known from {level.answers} questions")
        elif level:
            told.append(
                f"as good as the best model in {level.chance(self.confidence):.0%} of such cases "
                f"(calibrated on {level.answers})"
            )
        return "; ".join([*told, f"uncertainty {entropy(self.scores):.0%}"])

    def decision(self, bound: float) -> Decision:
        """The router's own choice."""
        return Decision(
            what="route",
            title="The router’s choice",
            options=tuple(self.scores),
            scores=dict(self.scores),
            chosen=self.ranked[0],
            why=self.why(bound),
            by=self.by,
            sources=self.sources,
        )


def route_of(
    logits: Sequence[float] | Floats,
    card: Card,
    method: str,
    how: str,
    by: str = "",
    sources: tuple[str, ...] = (),
) -> Route:
    """A route from one question's logits, in the order of the card's models."""
    trust = card.trust[method]
    shares = softmax(np.asarray(logits, dtype=np.float64) / trust.temperature)
    scores = dict(zip(card.models, shares.tolist(), strict=True))
    return Route(scores, card.best, trust, how, by, sources)


def without_router(card: Card, why: str) -> Route:
    """All models alike, so that the fallback answers: the router itself failed."""
    scores = dict.fromkeys(card.models, 1 / len(card.models))
    return Route(scores, card.best, Trust(threshold=1.0), why)


async def follow(ctx: Context, route: Route) -> AsyncIterator[Step]:
    """Show the choice, take the fallback if it is not sure enough, and let somebody answer."""
    config: RouterConfig = ctx.config
    route = replace(route, price=prices(ctx.models, config.thrift))
    bound = route.bound(config)
    yield route.decision(bound)
    unsure = route.confidence < bound - LEAST
    if unsure:
        yield fallen(route, config.fallback, bound)
        if config.fallback == "majority":
            async for step in by_majority(ctx):
                yield step
            return
    first = [route.best] if unsure else []
    order = [*first, *(name for name in route.ranked if name not in first)]
    async for step in in_turn(ctx, order):
        yield step


def prices(models: Sequence[ModelSpec], thrift: float) -> dict[str, float]:
    """What models cost by their size, in probability: the largest ``thrift``.

    One of unknown size counts as the largest.
    """
    largest = max(model.parameters for model in models) or 1
    return {model.id: thrift * (model.parameters or largest) / largest for model in models}


def fallen(route: Route, fallback: str, bound: float) -> Decision:
    """That the router is not followed, and who answers instead."""
    instead = "majority" if fallback == "majority" else f"best single: {route.best}"
    sure = route.confidence
    return Decision(
        what="fallback",
        title="Follow the router or the fallback",
        options=(route.ranked[0], instead),
        scores={route.ranked[0]: sure, instead: 1 - sure},
        chosen=instead,
        why=f"the router is {sure:.0%} sure, which is less than {bound:.0%}",
        by=route.by,
        sources=route.sources,
    )


def ask(ctx: Context, model: str) -> Call:
    """Put the question to a model; graphs name their nodes by this call's id."""
    return Call(f"answer.{model}", model, question_messages(ctx.question))


async def in_turn(ctx: Context, order: Sequence[str]) -> AsyncIterator[Step]:
    """The first of ``order`` answers; if it fails, the next."""
    for place, model in enumerate(order):
        yield Phase(name="answer", title=f"{model} answers", index=place)
        call = ask(ctx, model)
        yield call
        if call.ok:
            yield parsed([call], place)
            shares = {model: 1.0}
            yield Answer(text=call.text, sources=(call.id,), contributors=shares)
            return
        if place + 1 < len(order):
            note = f"'{model}' failed; '{order[place + 1]}', the next likeliest, is asked."
            yield Progress(unit="route", note=note, level="warning")
    raise EngineError("None of the models answered. Pick other models and run again.")


async def by_majority(ctx: Context) -> AsyncIterator[Step]:
    """All answer and vote."""
    yield Phase(name="answer", title="All models answer and vote")
    calls = [ask(ctx, model.id) for model in ctx.models]
    yield calls
    alive = [call for call in calls if call.ok]
    if not alive:
        raise EngineError("None of the models answered. Pick other models and run again.")
    yield parsed(alive)
    tally = count(alive)
    yield tally.artifact()
    if tally.winner is not None:
        yield vote_decision(tally, alive)
    yield vote_answer(tally, alive)


def estimate(_config: object, models: int, tokens: int) -> Estimate:
    """Every model is asked once at most."""
    return Estimate(models, 0, models * tokens)
