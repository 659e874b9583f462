"""A hostile contributor beside the real embedded base: runs end, prompts keep their turns."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from evals.safety import ATTACKS, Impostor
from protocols.core.events import Answer, CallStarted, Ended, Event
from protocols.core.models import Budget, ModelSpec, RunSpec, Sampling
from protocols.core.run import run
from protocols.engines.transformers_engine import TransformersEngine

pytestmark = [pytest.mark.slow, pytest.mark.models]
PROTOCOLS = ("multiagent_refine", "prompt_routing", "switch_generation")
VICTIM = "culprit"
BUDGET = Budget(tokens=3_000, calls=80)


def test_hostile_messages_reach_the_real_base_as_data(base_model: Path) -> None:
    pool = [ModelSpec(id=name, source=str(base_model)) for name in ("one", "two", VICTIM)]
    engine = TransformersEngine()

    async def played(protocol: str, attack: str) -> list[Event]:
        spec = RunSpec(
            protocol=protocol, pool=tuple(m.id for m in pool), question="What is 12 + 30?",
            sampling=Sampling(max_tokens=16, temperature=0.0), budget=BUDGET,
        )  # fmt: skip
        hostile = Impostor(engine, VICTIM.__eq__, ATTACKS[attack])
        return [event async for event in run(spec, pool, hostile)]

    async def go() -> None:
        try:
            await engine.load(pool)
            for protocol in PROTOCOLS:
                for attack in ("control", "flood"):
                    check(await played(protocol, attack))
            assert engine.open_streams == 0
        finally:
            await engine.close()

    def check(events: list[Event]) -> None:
        last = events[-1]
        assert isinstance(last, Ended) and last.status in ("ok", "failed"), last
        assert last.owner != "bug", last.message
        assert last.usage.completion_tokens <= BUDGET.tokens
        if last.status == "ok":
            assert any(isinstance(e, Answer) and e.text.strip() for e in events)
        prompter = engine.prompter(pool[0])
        special = set(prompter.tokenizer.all_special_ids)
        for event in events:
            if isinstance(event, CallStarted) and event.messages:
                ids = prompter.ids(pool[0], event.messages, event.prefix)  # type: ignore[arg-type]
                starts = 2 * len(event.messages) + 1  # each turn opens and closes, one answer opens
                missing_system = event.messages[0]["role"] != "system"
                assert sum(i in special for i in ids) == starts + 2 * missing_system

    asyncio.run(go())
