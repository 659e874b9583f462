"""When a silent call is given up: not while its engine serves others first, but soon if it hangs.

The clock is the loop's own and jumps to the next timer, so these tests take no time.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import AsyncGenerator
from contextlib import aclosing

import pytest

from protocols.core.call import Call
from protocols.core.call_executor import CallExecutor
from protocols.core.control import Control
from protocols.core.engine import Chunk, GenerateRequest, ScoreRequest, Scores
from protocols.core.events import CallEnded, CallFailed, Ended, Event, Progress
from protocols.engines.scripted import ScriptedEngine
from protocols.lib.prompts import question_messages
from tests.helpers import make_pool, make_spec, play

STALL_S = 10.0
WORDS = "one two three four"


class JumpingClock(asyncio.SelectorEventLoop):
    """Time passes only when there is nothing else to do."""

    now = 1000.0

    def time(self) -> float:
        return self.now

    def _run_once(self) -> None:
        timers = [timer for timer in self._scheduled if not timer.cancelled()]
        if timers and not self._ready:
            self.now = max(self.now, min(timer.when() for timer in timers))
        super()._run_once()


class OneByOne(ScriptedEngine):
    """Serves one request of a place at a time, a second a word.

    The model ``stuck`` falls silent after so many words; without ``turns`` all are served at once.
    """

    def __init__(
        self, script: str = WORDS, stuck: str = "", words: int = 0, turns: bool = True
    ) -> None:
        super().__init__(script, delay_s=1.0)
        self.turns: dict[str, asyncio.Semaphore] = defaultdict(
            lambda: asyncio.Semaphore(1 if turns else 100)
        )
        self.stuck, self.words = stuck, words

    async def stream(self, request: GenerateRequest) -> AsyncGenerator[Chunk, None]:
        heard = 0
        async with self.turns[request.model.source], aclosing(super().stream(request)) as chunks:
            async for chunk in chunks:
                if request.model.id == self.stuck and heard == self.words:
                    await asyncio.Event().wait()
                heard += 1
                yield chunk

    async def score(self, request: ScoreRequest) -> Scores:
        async with self.turns[request.model.source]:
            await asyncio.sleep(4)
            return await super().score(request)


def timed(protocol: str, engine: ScriptedEngine, apart: str = "") -> list[tuple[float, Event]]:
    """The run's events with the seconds since its start; ``apart`` is served in another place."""
    with asyncio.Runner(loop_factory=JumpingClock) as runner:
        seen: list[tuple[float, Event]] = []

        def watch(event: Event, control: Control) -> None:
            seen.append((asyncio.get_running_loop().time() - JumpingClock.now, event))

        pool = [
            model.model_copy(update={"source": "another-place"}) if model.id == apart else model
            for model in make_pool(8)
        ]
        spec = make_spec(protocol, 8)
        runner.run(play(spec, engine, watch, pool, STALL_S))
    return seen


@pytest.mark.parametrize("protocol", ["majority_vote", "llm_blender"])
def test_a_wave_of_calls_may_wait_for_its_turn(protocol: str) -> None:
    events = timed(protocol, OneByOne())
    assert events[-1][0] > 3 * STALL_S
    assert [event for _, event in events if isinstance(event, CallFailed)] == []
    assert isinstance(events[-1][1], Ended) and events[-1][1].status == "ok"


def test_a_long_wave_of_quiet_calls_says_how_far_it_is() -> None:
    """Fits ask hundreds of questions that nobody sees; without a word that looks like a hang."""

    async def go() -> list[Event]:
        pool, spec = make_pool(2), make_spec("majority_vote", 2)
        executor = CallExecutor(spec, pool, OneByOne(), Control(), STALL_S)
        calls = [Call(f"c{n}", "alpha", question_messages("Why?"), quiet=True) for n in range(10)]
        deadline = time.monotonic() + 1e6
        return [event async for event in executor.play(calls, deadline)]

    with asyncio.Runner(loop_factory=JumpingClock) as runner:
        told = runner.run(go())
    # Five seconds an answer, fifty in all: a word every ten of them.
    assert all(isinstance(event, Progress) and event.total == 10 for event in told)
    assert [event.done for event in told] == [2, 4, 6, 8, 10]  # type: ignore[union-attr]


def test_an_engine_that_serves_nobody_is_given_up_at_once() -> None:
    events = timed("majority_vote", OneByOne(stuck="alpha"))
    assert isinstance(events[-1][1], Ended) and events[-1][1].status == "failed"
    assert events[-1][0] == pytest.approx(STALL_S, abs=2)


def test_a_text_that_has_begun_must_go_on_whatever_others_do() -> None:
    engine = OneByOne("word " * 60, stuck="beta", words=2, turns=False)
    events = timed("majority_vote", engine)
    failed = [(at, event.model) for at, event in events if isinstance(event, CallFailed)]
    assert failed == [(pytest.approx(2 + STALL_S, abs=2), "beta")]
    assert events[-1][0] > 2 * STALL_S


def test_a_silent_endpoint_is_not_kept_alive_by_other_places() -> None:
    events = timed("majority_vote", OneByOne(stuck="beta"), apart="beta")
    failed = [(at, event.model) for at, event in events if isinstance(event, CallFailed)]
    assert failed == [(pytest.approx(STALL_S, abs=2), "beta")]
    assert sum(isinstance(event, CallEnded) for _, event in events) == 7
