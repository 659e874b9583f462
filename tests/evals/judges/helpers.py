"""Plainly artificial pairs, and judges whose answers are scripted by what they are shown."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from evals.human.records import PairText, Verdict
from evals.judges.core import Judge, VerdictKey
from evals.judges.llm_judge import LlmJudge
from evals.judges.run import collect, run_judges
from protocols.core.engine import ScoreRequest
from protocols.core.models import ModelSpec
from protocols.engines.scripted import ScriptedEngine
from protocols.lib.text import FENCE

JUDGE = ModelSpec(id="test-judge", source="artificial-judge")
LIKELY, UNLIKELY = -0.1, -4.0


def make_pairs(count: int, system: str = "good", contributor: str = "bad") -> list[PairText]:
    return [
        PairText(f"item-{n}", "alpha", f"Question {n}?", f"{contributor} {n}", f"{system} {n}")
        for n in range(count)
    ]


def shown(messages: Sequence[Mapping[str, Any]]) -> tuple[str, str, str]:
    """The three fenced texts of a prompt: question, answer A, answer B."""
    parts = messages[-1]["content"].split(FENCE)
    return parts[1].strip(), parts[3].strip(), parts[5].strip()


def labels(best: str) -> dict[str, float]:
    return {label: LIKELY if label == best else UNLIKELY for label in ("A", "B", "T")}


def scoring(choose: Callable[[str, str, str], str]) -> LlmJudge:
    """A judge with label scores; ``choose`` sees question, answer A and answer B."""

    def scores(request: ScoreRequest) -> Mapping[str, float]:
        return labels(choose(*shown(request.messages)))

    return LlmJudge("test-judge", JUDGE, ScriptedEngine(scores=scores))


def writing(text: Any, repeats: int = 1) -> LlmJudge:
    """A judge on an engine that cannot score."""
    engine = ScriptedEngine(script=text, capabilities=("prefill",))
    return LlmJudge("test-judge", JUDGE, engine, repeats=repeats)


def coin(question: str, first: str, second: str) -> str:
    """A label by chance, the same for the same prompt."""
    return random.Random(f"{question}/{first}/{second}").choice("AB")


def judge_all(
    pairs: Sequence[PairText], *judges: Judge, done: Sequence[VerdictKey] = ()
) -> list[Verdict]:
    return asyncio.run(collect(run_judges(pairs, judges, done=done)))
