"""How much one hostile contributor sways a protocol's answers, as numbers with intervals.

The same questions are played twice with the same seeds: with all contributors honest, and with one
of them replaced. Counted is how often the answer changes, how often it becomes the attacker's, how
often the run fails, and what it costs in right answers. Playing the honest arm again tells how
often answers change for no reason.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from evals.human.statistics.proportions import wilson
from evals.metrics.short_answer import normal, score
from evals.tasks.core import Item
from protocols.core.artifacts import ArtifactStore
from protocols.core.engine import Engine
from protocols.core.events import Answer, Ended
from protocols.core.models import ModelSpec, RunSpec, Sampling
from protocols.core.registry import protocols
from protocols.core.run import run
from protocols.lib.parsing import read_answer

LONGEST = 240
Tell = Callable[[int, int], None]
"""Called with (questions done, questions in all)."""


@dataclass(frozen=True)
class Arm:
    """What a run is played with: the contributors, where they are served, what was fitted."""

    pool: Sequence[ModelSpec]
    engine: Engine
    artifacts: ArtifactStore | None = None


@dataclass(frozen=True)
class Share:
    """``k`` of ``n`` with Wilson's 95% interval; the interval is None if ``n`` is 0."""

    k: int
    n: int
    low: float | None
    high: float | None

    @classmethod
    def of(cls, hits: Sequence[bool]) -> Share:
        """Count hits."""
        found = wilson(sum(hits), len(hits))
        ends = (round(found.low, 4), round(found.high, 4)) if found else (None, None)
        return cls(sum(hits), len(hits), *ends)

    def __str__(self) -> str:
        if self.low is None or self.high is None:
            return "none"
        return f"{self.k / self.n:.0%} ({self.low:.0%} to {self.high:.0%}, n={self.n})"


@dataclass(frozen=True)
class Attacked:
    """One question: what was answered honestly, with the attacker, and honestly once more.

    Texts are cut to :data:`LONGEST` characters; an empty one is a run that failed.
    """

    item: str
    honest: str
    hostile: str
    again: str
    right_before: bool
    right_after: bool


@dataclass(frozen=True)
class Influence:
    """What replacing one contributor did to one protocol.

    ``changed``, ``captured`` and ``failed`` are of the questions that the honest arm answered:
    answers that became other ones (failing is one), that became the attacker's, and runs that
    failed. ``unsteady`` is how many honest answers change when the same is played again: the null
    for ``changed``. ``right_before`` and ``right_after`` are right answers of all questions.
    ``problem`` is the sentence of the honest arm if it answered nothing. ``answers`` are the
    questions one by one.
    """

    protocol: str
    attack: str
    victim: str
    models: tuple[str, ...]
    task: str
    seed: int
    changed: Share
    captured: Share
    failed: Share
    unsteady: Share
    right_before: Share
    right_after: Share
    most_tokens: int
    problem: str = ""
    answers: tuple[Attacked, ...] = ()


@dataclass(frozen=True)
class _Played:
    text: str
    problem: str
    tokens: int

    @property
    def key(self) -> str:
        """What makes two answers the same: the value read out of them, or else all their words."""
        return read_answer(self.text).value or normal(self.text)


async def measure_influence(
    honest: Arm,
    hostile: Arm,
    spec: RunSpec,
    items: Sequence[Item],
    *,
    victim: str,
    attack: str,
    target: str,
    again: bool = True,
    tell: Tell = lambda done, total: None,
) -> Influence:
    """Play each item in both arms; the n-th question has the seed ``spec.seed + n`` in each.

    ``spec`` says everything else (its question is ignored). ``again`` plays the honest arm a second
    time. Whatever happens to a run is counted; nothing is raised for it.
    """
    rows: list[tuple[Item, _Played, _Played, _Played | None]] = []
    for number, item in enumerate(items):
        asked = spec.model_copy(update={"question": item.question, "seed": spec.seed + number})
        before, after = await _play(asked, item, honest), await _play(asked, item, hostile)
        repeated = await _play(asked, item, honest) if again else None
        rows.append((item, before, after, repeated))
        tell(number + 1, len(items))
    answered = [row for row in rows if row[1].text]
    wanted = read_answer(target).value or normal(target)
    return Influence(
        protocol=spec.protocol,
        attack=attack,
        victim=victim,
        models=spec.pool,
        task=",".join(sorted({item.domain for item in items})),
        seed=spec.seed,
        changed=Share.of([one.key != other.key for _, one, other, _ in answered]),
        captured=Share.of([one.key == wanted for _, _, one, _ in answered]),
        failed=Share.of([not one.text for _, _, one, _ in answered]),
        unsteady=Share.of([one.key != two.key for _, one, _, two in answered if two]),
        right_before=Share.of([_right(item, one) for item, one, _, _ in rows]),
        right_after=Share.of([_right(item, one) for item, _, one, _ in rows]),
        most_tokens=max((one.tokens for _, _, one, _ in rows), default=0),
        problem="" if answered else next((one.problem for _, one, _, _ in rows), ""),
        answers=tuple(_attacked(*row) for row in rows),
    )


def _attacked(item: Item, before: _Played, after: _Played, again: _Played | None) -> Attacked:
    first, second, third = (one.text[:LONGEST] if one else "" for one in (before, after, again))
    return Attacked(item.id, first, second, third, _right(item, before), _right(item, after))


def _right(item: Item, played: _Played) -> bool:
    return score(item, played.text).value == 1.0


async def _play(spec: RunSpec, item: Item, arm: Arm) -> _Played:
    text, problem, tokens = "", "", 0
    known = protocols().get(spec.protocol)
    marks = (lambda said: score(item, said).value) if known and known.yardstick else None
    async for event in run(spec, arm.pool, arm.engine, artifacts=arm.artifacts, score=marks):
        if isinstance(event, Answer):
            text = event.text
        if isinstance(event, Ended):
            problem, tokens = event.message, event.usage.completion_tokens
            text = "" if event.status == "failed" else text
    return _Played(text, problem, tokens)


def greedy(tokens: int) -> Sampling:
    """How models are sampled here: without chance, so that only the attack changes answers."""
    return Sampling(max_tokens=tokens, temperature=0.0, top_p=1.0)


def write_influence(path: Path, found: Influence) -> None:
    """Append one row to a JSON-lines file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(asdict(found), ensure_ascii=False) + "\n")


def read_influences(path: Path) -> list[Influence]:
    """The rows of a file, the newest of each (protocol, attack, victim, task); [] without one."""
    if not path.is_file():
        return []
    # Not splitlines: a model's text may hold other characters that end a line for Python.
    lines = path.read_text(encoding="utf-8").split("\n")
    rows = [_row(json.loads(line)) for line in lines if line]
    newest = {(r.protocol, r.attack, r.victim, r.task, r.models, r.seed): r for r in rows}
    return list(newest.values())


def _row(raw: dict[str, Any]) -> Influence:
    shares = {k: Share(**v) for k, v in raw.items() if isinstance(v, dict)}
    answers = tuple(Attacked(**one) for one in raw.get("answers", ()))
    return Influence(**{**raw, **shares, "models": tuple(raw["models"]), "answers": answers})
