"""Trains generators and critics on what they themselves said in debates.

Each contributed model keeps its own voice: it learns from its own answers only, those that agree
with the majority as a generator and those with which it corrected itself as a critic. After each
iteration the trained models debate again. Debates and adapters are kept, so a killed fit goes on.
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import AsyncIterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from pydantic import JsonValue

from protocols.core.artifacts import Derived
from protocols.core.call import Call, Step
from protocols.core.errors import EngineError, StudioError
from protocols.core.events import Artifact, Phase, Progress
from protocols.core.fit_types import FitContext, FitItem
from protocols.core.models import ModelSpec
from protocols.core.registry import FitEstimate, FitSize, alpha_of
from protocols.core.workers import FitStopped
from protocols.engines.checks import check_model
from protocols.lib.coefficients import interval
from protocols.lib.critique import round_calls
from protocols.lib.debate_examples import (
    Debate,
    Right,
    Row,
    Turn,
    agreed,
    critic_rows,
    diversity,
    generator_rows,
    majority,
    says,
)
from protocols.lib.jsonlines import append_rows, read_rows
from protocols.lib.local_files import local_folder
from protocols.lib.model_cards import agent_card
from protocols.lib.roles import role_of
from protocols.training.distill import TRAINING, controls_of, loss_of, without_controls
from protocols.training.sft import SftConfig, train_sft
from protocols.training.students import role_decision
from protocols.training.trainers import LONGEST

WAVE = 16
"""Questions that are debated together; a kill loses one wave at most."""
BROKEN = (StudioError, ValueError, RuntimeError, OSError)
"""What a training fails with where a model is at fault, or the memory."""


@dataclass
class AgentTraining:
    """Who plays which role by now, and what was said and learned. ``agents`` go by (role, id)."""

    ctx: FitContext
    agents: dict[tuple[str, str], ModelSpec] = field(default_factory=dict)
    log: list[dict[str, Any]] = field(default_factory=list)
    health: list[dict[str, Any]] = field(default_factory=list)
    rolls: list[dict[tuple[str, str], ModelSpec]] = field(default_factory=lambda: [{}])
    """The agents after each iteration; before the first there are none."""

    async def debate(self, name: str, items: Sequence[FitItem], warm: bool) -> AsyncIterator[Step]:
        """Let everybody answer and correct; :meth:`heard` has the transcripts afterwards.

        ``warm`` debates are sampled, so that models say more than one thing.
        """
        file = self._file(name)
        known = _read(file)
        left = [item for item in items if item.id not in known]
        for start in range(0, len(left), WAVE):
            wave = left[start : start + WAVE]
            asked = [self._asked(name, item, warm) for item in wave]
            yield [call for rounds in asked for one in rounds for call in one.values()]
            told = [{m: asdict(turn) for m, turn in _turns(*rounds).items()} for rounds in asked]
            rows = zip(wave, told, strict=True)
            append_rows(file, ({"item": item.id, "turns": turns} for item, turns in rows))
            note = f"{start + len(wave)} of {len(left)} questions debated"
            yield Progress(unit="debate", done=start + len(wave), total=len(left), note=note)

    def heard(self, name: str, items: Sequence[FitItem]) -> list[Debate]:
        """A debate's transcripts, in the order of the items."""
        known = _read(self._file(name))
        return [known[item.id] for item in items]

    def _file(self, name: str) -> Path:
        return self.ctx.state / f"debate-{name}.jsonl"

    def _asked(self, name: str, item: FitItem, warm: bool) -> list[dict[str, Call]]:
        """Both rounds as live runs play them: the very same calls, under names of this fit."""
        context = replace(
            self.ctx.asking(item.question), derived=tuple(self.agents.values()), warn=_hushed
        )
        first = round_calls(context, 0, {})
        rounds = [first, round_calls(context, 1, first)]
        heat = self.ctx.config.temperature if warm else 0.0
        for call in (call for one in rounds for call in one.values()):
            call.id, call.quiet = f"{name}/{item.id}/{call.id}", True
            call.sampling = context.draw(temperature=heat, top_p=0.95 if warm else 1.0)
        return rounds

    def lesson(self, name: str, items: Sequence[FitItem]) -> list[tuple[str, Debate, Right]]:
        """The items from which something can be learned, each with what counts as right."""
        config, found = self.ctx.config, []
        for item, debate in zip(items, self.heard(name, items), strict=True):
            if config.reference == "gold":
                found.append((item.question, debate, self._gold(item)))
            elif (value := agreed(debate, config.agreement)) is not None:
                found.append((item.question, debate, says(value)))
        return found

    def _gold(self, item: FitItem) -> Right:
        return lambda text: (self.ctx.score(item, text) or 0.0) >= 1.0

    async def train(self, number: int, name: str, items: Sequence[FitItem]) -> AsyncIterator[Step]:
        """Train everybody on the lesson of a debate; who has too little to learn stays as is."""
        lesson, jobs = self.lesson(name, items), []
        for model in self.ctx.models:
            chance = self.ctx.rng("critic", number, model.id)
            share = self.ctx.config.corrected
            jobs.append(("generator", model, generator_rows(lesson, model.id)))
            jobs.append(("critic", model, critic_rows(lesson, model.id, share, chance)))
        for done, (role, model, rows) in enumerate(jobs):
            found = await self.ctx.train(self._learn, number, role, model, rows, done, len(jobs))
            entry = {"iteration": number + 1, "role": role, "model": model.id, **found}
            entry["questions"], entry["lessons"] = len(items), len(lesson)
            self.log.append(entry)
            if found["trained"]:
                await self._enrol(role, model, self._place(number, role, model))
            yield Progress(
                unit="schooling",
                done=done + 1,
                total=len(jobs),
                note=training_note(entry),
                level="info" if found["trained"] else "warning",
                values={"rows": float(found["rows"])},
            )
        self.rolls.append(dict(self.agents))
        yield Artifact(name="training", data={"rows": list(self.log)})

    async def _enrol(self, role: str, model: ModelSpec, folder: Path) -> None:
        before = self.agents.get((role, model.id))
        if before:
            await self.ctx.release(before)
        changes = {"id": f"derived.{role_of(role, model.id)}", "adapter": str(folder)}
        self.agents[role, model.id] = model.model_copy(update=changes)
        self.ctx.serve(self.agents[role, model.id])

    def _place(self, number: int, role: str, model: ModelSpec) -> Path:
        return self.ctx.state / "agents" / f"{number}.{role_of(role, model.id)}"

    def _learn(
        self, number: int, role: str, model: ModelSpec, rows: list[Row], done: int, total: int
    ) -> dict[str, Any]:
        """One training, in a thread, and what came of it; a failed one leaves the model as is."""
        place = self._place(number, role, model)
        if (place / TRAINING).is_file():
            return {"trained": True, "rows": len(rows), "loss": loss_of(place), "why": ""}
        found = {"trained": False, "rows": len(rows), "loss": None}
        if len(rows) < self.ctx.config.least:
            return found | {"why": f"{len(rows)} rows are too few to learn from"}
        label = f"{role} of {model.title}, iteration {number + 1}, {len(rows)} rows"
        self.ctx.report("train", done, total, label)
        try:
            base = model.model_copy(update={"adapter": ""})
            check_model(model)
            rows = without_controls(rows, controls_of(base))
            loss = self._fit(role, model, rows, place, label)
        except FitStopped:
            raise
        except BROKEN as error:
            return found | {"why": error.message if isinstance(error, StudioError) else str(error)}
        return {"trained": True, "rows": len(rows), "loss": loss, "why": ""}

    def _fit(self, role: str, model: ModelSpec, rows: list[Row], place: Path, label: str) -> float:
        config, losses = self.ctx.config, list[list[float]]()
        steps = training_steps(config, len(rows))

        def heard(step: int, loss: float) -> None:
            losses.append([step, round(loss, 6)])
            self.ctx.report("train", step, steps, f"{label}: loss {loss:.2f}", loss=loss)

        part = place.with_name(f".{place.name}.part")
        shutil.rmtree(part, ignore_errors=True)
        before = self.agents.get((role, model.id), model).adapter
        trained = train_sft(
            local_folder(model),
            rows,
            part,
            base_id=Path(model.source).name,
            config=sft_settings(config, steps, self.ctx.seed),
            on_step=heard,
            start=Path(before) if before else None,
            template=model.chat_template,
        )
        told = {"loss": round(trained.loss, 6), "losses": losses, "rows": len(rows)}
        (part / TRAINING).write_text(json.dumps(told) + "\n", encoding="utf-8")
        part.rename(place)
        return loss_of(place)

    def examined(self, number: int, name: str, items: Sequence[FitItem]) -> Progress:
        """How right the majority is on dev items, and how unlike the generators still are."""
        debates = self.heard(name, items)
        right = [self._right(item, one) for item, one in zip(items, debates, strict=True)]
        accuracy = sum(right) / len(right)
        low, high = interval(accuracy, len(right))
        values = {"accuracy": round(accuracy, 6), **diversity(debates)}
        self.health.append(
            {"iteration": number, "n": len(right), "low": round(low, 6), "high": round(high, 6)}
            | values
        )
        note = f"After {number} iterations the majority is right on {accuracy:.0%} of {len(right)}"
        total = self.ctx.config.iterations
        return Progress(unit="diversity", done=number, total=total, note=note, values=values)

    def best(self) -> int:
        """The iteration whose agents did best on dev; the last of equals, 0 if none was as good."""
        scores = [row["accuracy"] for row in self.health]
        return max(range(len(scores)), key=lambda number: (scores[number], number))

    def _right(self, item: FitItem, debate: Debate) -> float:
        texts = {model: turn.second or turn.first for model, turn in debate.items()}
        value, _ = majority(texts)
        speakers = [text for text in texts.values() if value is not None and says(value)(text)]
        return self.ctx.score(item, speakers[0]) or 0.0 if speakers else 0.0

    def reliable(self, name: str, items: Sequence[FitItem]) -> float | None:
        """Of the majorities that something was learned from, the part that was right by gold.

        None if nothing was, or if gold itself was the reference.
        """
        if self.ctx.config.reference == "gold":
            return None
        known = {item.question: item for item in items}
        right = [self._right(known[q], debate) for q, debate, _ in self.lesson(name, items)]
        return round(sum(right) / len(right), 6) if right else None


async def fit_agents(ctx: FitContext) -> AsyncIterator[Step]:
    """Debate, learn, debate again; the artifact holds the agents that did best on dev.

    Where the untrained models did better than all that came after, it holds none.

    Raises :class:`EngineError` if there is nothing to debate.
    """
    school, config = AgentTraining(ctx), ctx.config
    (ctx.state / "agents").mkdir(parents=True, exist_ok=True)
    questions, dev = ctx.items.get("train", ())[: config.questions], ctx.items["dev"]
    if not questions:
        raise EngineError(f"The task '{ctx.task}' has no train items to debate. Pick another.")
    async for step in school.debate("dev-0", dev, warm=False):
        yield step
    yield school.examined(0, "dev-0", dev)
    for number in range(config.iterations):
        title = f"Iteration {number + 1}"
        yield Phase(name="school", title=title, index=number, total=config.iterations)
        name = f"train-{number}"
        async for step in school.debate(name, questions, warm=True):
            yield step
        async for step in school.train(number, name, questions):
            yield step
        async for step in school.debate(f"dev-{number + 1}", dev, warm=False):
            yield step
        yield school.examined(number + 1, f"dev-{number + 1}", dev)
        yield Artifact(name="diversity", data={"rows": list(school.health)})
    kept = school.best()
    first, last = school.health[0], school.health[kept]
    yield role_decision("debaters", kept > 0, school.health[-1]["accuracy"], first["accuracy"])
    metrics = {
        "dev_before": first["accuracy"], "dev": last["accuracy"], "low": last["low"],
        "high": last["high"], "n": last["n"], "iteration": kept,
        "trained": len(school.rolls[kept]), "distinct_before": first["distinct"],
        "distinct": last["distinct"], "disagreement_before": first["disagreement"],
        "disagreement": last["disagreement"],
        "lessons_right": school.reliable("train-0", questions),
    }  # fmt: skip
    recipe: JsonValue = {"training": [*school.log], "health": [*school.health]}
    yield ctx.fitted(metrics, recipe, store_agents(ctx, school, kept))


def fit_estimate(config: Any, size: FitSize) -> FitEstimate:
    """Debates of two rounds on train items and, before and after, on dev; two roles to train."""
    asked, rounds = min(config.questions, size.train), config.iterations
    return FitEstimate(
        calls=2 * size.models * (rounds * asked + (rounds + 1) * size.dev),
        steps=2 * size.models * rounds * training_steps(config, asked),
    )


def training_steps(config: Any, rows: int) -> int:
    """Steps of one training on so many rows."""
    steps = math.ceil(config.epochs * rows / config.batch)
    return max(1, int(steps))


def store_agents(ctx: FitContext, school: AgentTraining, kept: int) -> list[Derived]:
    """Put an iteration's agents into the artifact, each with its card."""
    found = []
    for (role, owner), agent in school.rolls[kept].items():
        name = role_of(role, owner)
        shutil.copytree(agent.adapter, ctx.folder / name)
        mine = [e for e in school.log if (e["role"], e["model"]) == (role, owner)]
        rows = [e for e in mine if e["trained"] and e["iteration"] <= kept]
        model = next(m for m in ctx.models if m.id == owner)
        agent_card(ctx.folder / name, model, role, rows, ctx.task)
        title = f"{model.title} as {role}"
        found.append(Derived(name=name, base=owner, folder=name, title=title))
    return found


def sft_settings(config: Any, steps: int, seed: int) -> SftConfig:
    """The form's settings as the trainer's."""
    return SftConfig(
        steps=steps,
        batch=config.batch,
        learning_rate=config.learning_rate,
        warmup=max(1, steps // 10),
        rank=config.rank,
        alpha=alpha_of(config, config.rank),
        seed=seed,
        max_length=LONGEST,
    )


def training_note(entry: dict[str, Any]) -> str:
    """What came of a training, as a sentence."""
    who = f"{entry['model']} as {entry['role']}"
    if entry["trained"]:
        return f"{who}: learned from {entry['rows']} answers of its own, loss {entry['loss']:.2f}"
    return f"{who} stays as it was: {entry['why']}"


def _hushed(_: str) -> None:
    """Prompts that were shortened in a debate of the fit are no news."""


def _turns(first: dict[str, Call], second: dict[str, Call]) -> dict[str, Turn]:
    """What was said. Raises :class:`EngineError` if the machine failed, not a model."""
    for call in [*first.values(), *second.values()]:
        if isinstance(call.error, EngineError):
            raise EngineError(f"The debate cannot go on: {call.error.message}")
    return {model: _turn(one, second[model]) for model, one in first.items()}


def _turn(one: Call, other: Call) -> Turn:
    return Turn(
        first=one.text if one.ok else "",
        prompt=other.render()[-1]["content"] if other.ok else "",
        second=other.text if other.ok else "",
        first_whole=one.finish != "length",
        second_whole=other.finish != "length",
    )


def _read(file: Path) -> dict[str, dict[str, Turn]]:
    rows = read_rows(file)
    return {row["item"]: {m: Turn(**turn) for m, turn in row["turns"].items()} for row in rows}
