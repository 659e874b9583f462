"""One contract for every engine; see ``protocols.core.engine.Engine``.

Texts are never compared across batch sizes: bf16 sums differ with the company a row keeps.
"""

from __future__ import annotations

import asyncio
import math
import re

import pytest

from protocols.core.engine import Engine, GenerateRequest, ScoreRequest
from protocols.core.errors import EngineError, StudioError, UserError
from protocols.lib.prompts import question_messages
from tests.engines.conftest import Loop
from tests.engines.worlds import World, ask, complete, eventually, opened, text_of

LABELS = ("A", "B", "C", "D")


def asks_for_a_label(model: str = "") -> list[dict[str, str]]:
    return question_messages(f"Pick one letter, A, B, C or D. {model}")  # type: ignore[return-value]


def test_it_is_an_engine(world: World) -> None:
    assert isinstance(world.engine, Engine)
    assert {"prefill", "score"} <= world.engine.capabilities(world.base)


def test_the_last_chunk_says_why_it_ended_and_what_it_cost(world: World, loop: Loop) -> None:
    chunks = loop.run(complete(world, ask(world.base, prefix="1, 2, 3,", max_tokens=12)))
    assert [c.finish for c in chunks[:-1]] == [None] * (len(chunks) - 1)
    assert chunks[-1].finish == "length"
    assert sum(c.tokens for c in chunks) == 12
    assert chunks[-1].prompt_tokens > 10
    assert len(chunks) > 4, "streamed, not sent at once"


def test_a_text_that_ends_by_itself_stops(world: World, loop: Loop) -> None:
    request = ask(world.base, "What is the capital of France?", max_tokens=120)
    chunks = loop.run(complete(world, request))
    assert chunks[-1].finish == "stop"
    assert "Paris" in text_of(chunks)


def test_prefill_is_continued_and_not_repeated(world: World, loop: Loop) -> None:
    text = text_of(loop.run(complete(world, ask(world.base, prefix="7, 8, 9,"))))
    assert re.match(r"\s*10,\s*11", text), text


def test_stop_strings_end_the_text_and_are_not_part_of_it(world: World, loop: Loop) -> None:
    request = ask(world.base, prefix="1, 2, 3,", stop=("8, 7", ", 9"), max_tokens=60)
    chunks = loop.run(complete(world, request))
    assert text_of(chunks).replace(" ", "") == "4,5,6,7,8"
    assert chunks[-1].finish == "stop"


def test_a_stop_string_that_only_begins_loses_nothing(world: World, loop: Loop) -> None:
    request = ask(world.base, prefix="1, 2, 3,", stop=(" 5, 7", "6, 7, 9"), max_tokens=12)
    chunks = loop.run(complete(world, request))
    assert text_of(chunks).replace(" ", "").startswith("4,5,6,7")
    assert chunks[-1].finish == "length"


@pytest.mark.parametrize("tokens", [1, 2, 3, 4, 24])
@pytest.mark.parametrize("line", ["🙂", "東京"])
def test_characters_are_never_split(world: World, loop: Loop, line: str, tokens: int) -> None:
    """Each character is several tokens long; the text may end inside one."""
    request = ask(world.base, f"Repeat this: {line}", prefix=line * 12, max_tokens=tokens)
    text = text_of(loop.run(complete(world, request)))
    assert "\ufffd" not in text
    if tokens == 24:
        assert text.count(line[0]) >= 3, text


def test_the_same_seed_repeats(world: World, loop: Loop) -> None:
    def text(seed: int) -> str:
        request = ask(world.base, "Tell a story.", temperature=1.2, seed=seed, max_tokens=12)
        return text_of(loop.run(complete(world, request)))

    text(10)  # The first finds the prompt not yet remembered, which may change a last bit.
    seen = [(text(seed), text(seed)) for seed in (11, 12, 13)]
    assert all(first == second for first, second in seen)
    assert len(set(seen)) > 1


def test_closing_early_frees_the_request(world: World, loop: Loop) -> None:
    async def go() -> None:
        async with opened(world, ask(world.base, prefix="1,", max_tokens=1500)) as stream:
            async for _ in stream:
                break
            assert world.engine.open_streams == 1
        assert world.engine.open_streams == 0
        assert await eventually(lambda: not world.busy())

    loop.run(go())


def test_cancelling_the_task_frees_the_request(world: World, loop: Loop) -> None:
    async def go() -> None:
        requests = [ask(m, "Tell a story.", max_tokens=1500) for m in world.adapters[:3]]
        tasks = [asyncio.create_task(complete(world, r)) for r in requests]
        # The scripted engine may be done before a poll from another thread sees it busy.
        if world.exact:
            await asyncio.sleep(0)
            assert world.engine.open_streams == 3
        else:
            assert await eventually(lambda: world.engine.open_streams == 3)
            await asyncio.sleep(0.3)
        for task in tasks:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(r, asyncio.CancelledError) for r in results) or world.exact
        assert world.engine.open_streams == 0
        assert await eventually(lambda: not world.busy())

    loop.run(go())


def test_cancelling_a_score_leaves_the_engine_alive(world: World, loop: Loop) -> None:
    async def go() -> None:
        for pause in (0.0, 0.005, 0.05):
            request = ScoreRequest(f"c{pause}", world.base, asks_for_a_label(), LABELS)
            task = asyncio.create_task(world.engine.score(request))
            await asyncio.sleep(pause)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        chunks = await complete(world, ask(world.base, prefix="1, 2,", max_tokens=4))
        assert chunks[-1].finish == "length"
        assert world.engine.open_streams == 0

    loop.run(go())


def test_concurrent_calls_do_not_mix(world: World, loop: Loop) -> None:
    """Eight base rows each count from their own number while adapters talk beside them."""

    async def go() -> None:
        starts = [100 * n + 10 for n in range(1, 9)]
        counting = [
            ask(world.base, prefix=f"{n}, {n + 1}, {n + 2},", max_tokens=14) for n in starts
        ]
        beside = [ask(m, "Tell a story.", max_tokens=14, temperature=1.0) for m in world.adapters]
        results = await asyncio.gather(*(complete(world, r) for r in [*counting, *beside]))
        for start, chunks in zip(starts, results, strict=False):
            assert re.match(rf"\s*{start + 3},\s*{start + 4}", text_of(chunks)), text_of(chunks)
        assert all(chunks[-1].finish for chunks in results)

    loop.run(go())


def test_scores_are_log_probabilities(world: World, loop: Loop) -> None:
    scores = loop.run(
        world.engine.score(ScoreRequest("s", world.base, asks_for_a_label(), LABELS, "I pick"))
    )
    assert tuple(scores.logprobs) == LABELS
    assert all(value <= 0.0 for value in scores.logprobs.values())
    if not world.exact:
        assert sum(map(math.exp, scores.logprobs.values())) <= 1.01
    assert scores.prompt_tokens > 10


@pytest.mark.parametrize("words", [2500, 20_000])
def test_a_prompt_over_the_window_is_a_clear_error(world: World, loop: Loop, words: int) -> None:
    long = "alpha beta gamma delta " * words

    async def go() -> None:
        with pytest.raises((UserError, EngineError), match=r"tokens|context|refused"):
            await complete(world, ask(world.base, long))
        with pytest.raises((UserError, EngineError), match=r"tokens|context|refused"):
            messages = question_messages(long)
            await world.engine.score(ScoreRequest("long", world.base, messages, LABELS))
        assert world.engine.open_streams == 0
        chunks = await complete(world, ask(world.base, prefix="1, 2,", max_tokens=3))
        assert chunks[-1].finish == "length"

    loop.run(go())


def test_a_long_prompt_within_the_window_is_served(world: World, loop: Loop) -> None:
    request = ask(world.base, "alpha beta gamma delta " * 150, prefix="1, 2, 3,", max_tokens=4)
    chunks = loop.run(complete(world, request))
    assert chunks[-1].prompt_tokens > 600
    assert "4" in text_of(chunks)


def test_prompts_are_counted(world: World) -> None:
    few = world.engine.count_tokens(world.base, question_messages("Why?"))
    many = world.engine.count_tokens(world.base, question_messages("Why? " * 50), "Because")
    assert 0 < few < many < world.engine.window(world.base)


def test_loading_again_costs_nothing(world: World, loop: Loop) -> None:
    said: list[str] = []
    models = [world.base, *world.adapters]
    loop.run(world.engine.load(models))
    loop.run(world.engine.load(models, lambda done, total, note: said.append(note)))
    assert said == []


def test_unknown_models_can_be_unloaded(world: World, loop: Loop) -> None:
    stranger = world.base.model_copy(update={"id": "x", "source": "/nowhere/at/all"})
    loop.run(world.engine.unload(stranger))


def test_a_missing_model_is_a_clear_error(world: World, loop: Loop) -> None:
    if world.exact:
        pytest.skip("any model exists for the scripted engine")
    missing = world.base.model_copy(update={"id": "nobody"})
    if world.name != "openai":
        missing = missing.model_copy(update={"source": "/nowhere/at/all"})

    async def go(request: GenerateRequest) -> None:
        with pytest.raises(StudioError, match="nobody"):
            await world.engine.load([missing])
        with pytest.raises(StudioError, match="nobody"):
            await complete(world, request)
        assert world.engine.open_streams == 0

    loop.run(go(ask(missing)))
