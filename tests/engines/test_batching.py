"""What the transformers engine is made of: rows, slots, remembered prompts, pieces of text."""

from __future__ import annotations

import asyncio
import gc
import threading
import weakref
from collections.abc import Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.core.engine import ScoreRequest
from protocols.core.errors import ContributorError, EngineError
from protocols.core.models import ModelSpec, Sampling
from protocols.engines.loading import load_weights
from protocols.engines.prefix_memory import WORTH
from protocols.engines.streaming_text import StreamingText
from protocols.engines.transformers_engine import TransformersEngine
from protocols.lib.prompts import question_messages
from tests.engines.conftest import Loop
from tests.engines.worlds import World, ask, complete, eventually, opened, text_of

pytestmark = pytest.mark.models
LABELS = ("A", "B")


class Bytes:
    """A tokenizer with one token per byte: the hardest case for splitting."""

    def decode(self, ids: Sequence[int], **_: Any) -> str:
        return bytes(ids).decode("utf-8", errors="replace")


texts = st.text(st.characters(codec="utf-8", exclude_characters="\ufffd"), max_size=40)


@given(texts, st.lists(st.text("ab🙂", min_size=1, max_size=3), max_size=3))
def test_pieces_make_up_the_text_up_to_the_first_stop_string(text: str, stops: list[str]) -> None:
    text = text + "ab🙂a🙂🙂b" + text
    stream = StreamingText(Bytes(), list(b"prompt: "))
    said, stopped = "", False
    for byte in text.encode():
        piece, stopped = stream.add([byte], stops)
        assert "\ufffd" not in piece
        said += piece
        if stopped:
            break
    if not stopped:
        said += stream.rest(stops)
    cuts = [at for stop in stops if (at := text.find(stop)) >= 0]
    assert stopped == bool(cuts)
    assert said == text[: min(cuts)] if cuts else said == text


@given(texts)
def test_half_a_character_at_the_end_is_dropped(text: str) -> None:
    stream = StreamingText(Bytes(), [])
    said = "".join(stream.add([byte], [])[0] for byte in (text + "🙂").encode()[:-1])
    assert said + stream.rest([]) == text


class FixedRow:
    """A row to draw for."""

    def __init__(self, seed: int, **sampling: float) -> None:
        import torch

        self.sampling = Sampling.model_validate(sampling)
        self.generator = torch.Generator().manual_seed(seed)


def test_the_nucleus_is_the_smallest_set_that_reaches_top_p() -> None:
    import torch

    from protocols.engines.token_sampling import draw

    logits = torch.log(torch.tensor([[0.05, 0.5, 0.15, 0.3]]))
    seen = {draw([FixedRow(s, temperature=1.0, top_p=0.7)], logits)[0] for s in range(300)}
    assert seen == {1, 3}
    assert draw([FixedRow(0, temperature=0.0)], logits) == [1]


def test_draws_follow_the_probabilities_in_a_flat_vocabulary() -> None:
    """So flat that the first tokens do not reach top_p and all of them must be looked at."""
    import torch

    from protocols.engines.token_sampling import draw

    logits = torch.zeros(1, 4000)
    seen = {draw([FixedRow(s, temperature=1.0, top_p=0.95)], logits)[0] for s in range(400)}
    assert len(seen) > 350


def test_a_prompt_read_before_is_not_read_again(transformers: World, loop: Loop) -> None:
    worker = next(iter(transformers.engine._bases.values())).worker  # type: ignore[attr-defined]
    read: list[int] = []
    original = worker._read

    def counting(ids: list[int], adapter: str) -> Any:
        logits, tokens = original(ids, adapter)
        read.append(tokens)
        return logits, tokens

    worker._read = counting
    long = "Remember this sentence about the harbour. " * 10
    try:
        for model in (transformers.base, transformers.base, transformers.adapters[0]):
            loop.run(complete(transformers, ask(model, long, max_tokens=2)))
        same = [ask(transformers.base, long, max_tokens=12, seed=n) for n in range(4)]

        async def together() -> None:
            await asyncio.gather(*(complete(transformers, r) for r in same))

        loop.run(together())
    finally:
        worker._read = original
    first, again, other, *rest = read
    assert first > 50 and other > 50, "an adapter's keys are its own"
    assert again < WORTH and max(rest) < WORTH


def test_more_rows_than_slots_wait_their_turn(transformers: World, loop: Loop) -> None:
    from protocols.engines.batch_worker import SLOTS

    async def go() -> None:
        starts = [10 * n for n in range(1, SLOTS + 6)]
        rows = [
            ask(transformers.base, prefix=f"{n}, {n + 1}, {n + 2},", max_tokens=8) for n in starts
        ]
        tasks = [asyncio.create_task(complete(transformers, r)) for r in rows]
        await asyncio.sleep(0.05)
        for number in range(4):
            request = ScoreRequest(
                f"full{number}", transformers.base, question_messages("A or B?"), LABELS
            )
            await transformers.engine.score(request)
        for start, chunks in zip(starts, await asyncio.gather(*tasks), strict=True):
            assert str(start + 3) in text_of(chunks)

    loop.run(go())


def test_unloading_an_adapter_gives_up_its_rows_only(transformers: World, loop: Loop) -> None:
    gone, stays = transformers.adapters[3], transformers.adapters[4]

    async def go() -> None:
        kept = asyncio.create_task(
            complete(transformers, ask(stays, "Tell a story.", max_tokens=30, temperature=1.0))
        )
        async with opened(transformers, ask(gone, max_tokens=400)) as lost:
            await anext(lost)  # A request without a row yet would load its adapter again.
            await transformers.engine.unload(gone)
            with pytest.raises(EngineError, match=r"adapter-3"):
                [chunk async for chunk in lost]
        assert (await kept)[-1].finish
        await transformers.engine.load([gone])

    loop.run(go())


def test_a_dead_worker_fails_its_requests_and_is_replaced(
    loop: Loop, base_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.engines.worlds import transformers_world

    world = transformers_world(base_model, [])

    async def go() -> None:
        await world.engine.load([world.base])
        worker = next(iter(world.engine._bases.values())).worker  # type: ignore[attr-defined]
        running = asyncio.create_task(complete(world, ask(world.base, prefix="1,", max_tokens=900)))
        await eventually(world.busy)
        await asyncio.to_thread(worker.stop)
        with pytest.raises(EngineError, match="could not go on"):
            await running
        chunks = await complete(world, ask(world.base, prefix="1, 2, 3,", max_tokens=6))
        assert "4" in text_of(chunks)
        await world.engine.close()

    loop.run(go())


def tiny(folder: Path, base_model: Path, kind: str) -> ModelSpec:
    """A random tiny model of another architecture with the base's tokenizer."""
    import torch
    from transformers import (
        AutoModelForCausalLM,
        AutoTokenizer,
        Gemma2Config,
        GPT2Config,
        MambaConfig,
        Qwen2Config,
    )

    tokenizer = AutoTokenizer.from_pretrained(base_model)
    common = {
        "vocab_size": len(tokenizer),
        "hidden_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 128,
    }
    configs = {
        "qwen2": lambda: Qwen2Config(**common, num_key_value_heads=2),
        "gpt2": lambda: GPT2Config(vocab_size=len(tokenizer), n_embd=64, n_layer=2, n_head=4),
        "gemma2": lambda: Gemma2Config(
            **common, num_key_value_heads=2, head_dim=16, attn_logit_softcapping=50.0
        ),
        "uncapped": lambda: Gemma2Config(
            **common, num_key_value_heads=2, head_dim=16, attn_logit_softcapping=None
        ),
        "mamba": lambda: MambaConfig(**{**common, "num_hidden_layers": 1}),
    }
    torch.manual_seed(7)
    AutoModelForCausalLM.from_config(configs[kind](), dtype=torch.bfloat16).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return ModelSpec(id=kind, source=str(folder))


@pytest.mark.parametrize("kind", ["qwen2", "gpt2", "uncapped"])
def test_another_architecture_joins_the_pool(
    kind: str, transformers: World, loop: Loop, base_model: Path, tmp_path: Path
) -> None:
    other = tiny(tmp_path / kind, base_model, kind)

    async def go() -> None:
        await transformers.engine.load([transformers.base, other])
        models = [transformers.base, other, transformers.adapters[0], other]
        requests = [ask(m, "Tell a story.", temperature=1.0, max_tokens=8) for m in models]
        results = await asyncio.gather(*(complete(transformers, r) for r in requests))
        assert all(r[-1].finish for r in results)
        score = ScoreRequest("tiny", other, question_messages("A or B?"), LABELS)
        assert set((await transformers.engine.score(score)).logprobs) == set(LABELS)
        await transformers.engine.unload(other)

    loop.run(go())


def test_a_close_waits_for_a_load_and_leaves_nothing_running(
    loop: Loop, base_model: Path, tmp_path: Path
) -> None:
    other = tiny(tmp_path / "qwen2", base_model, "qwen2")
    before = set(threading.enumerate())

    async def go() -> None:
        engine = TransformersEngine()
        loading = asyncio.create_task(engine.load([other]))
        await asyncio.sleep(0.02)
        loading.cancel()  # whoever waited has left; the thread that loads cannot be ended
        await engine.close()
        assert not engine._bases
        with pytest.raises(EngineError, match="closed"):
            await engine.load([other])

    loop.run(go())
    assert not [t for t in threading.enumerate() if t.name == "batch" and t not in before]


def test_an_unloaded_base_leaves_no_weights_behind(
    loop: Loop, base_model: Path, tmp_path: Path
) -> None:
    other = tiny(tmp_path / "qwen2", base_model, "qwen2")

    async def go() -> None:
        engine = TransformersEngine()
        await engine.load([other])
        weights = weakref.ref(engine._bases[f"{other.source}@"].worker.model)
        await engine.unload(other)
        assert weights() is None, "what another process may need now is still held"
        await engine.close()

    gc.disable()
    try:
        loop.run(go())
    finally:
        gc.enable()


@pytest.mark.parametrize("kind", ["score", "task"])
def test_nobody_who_leaves_keeps_the_others_from_hearing_the_end(kind: str) -> None:
    from protocols.engines.batch_jobs import ScoreJob, Task

    class Leaving(Future[Any]):
        """Its owner leaves in the very moment that he is told."""

        def set_exception(self, exception: BaseException | None) -> None:
            self.cancel()
            super().set_exception(exception)

    left: Future[Any] = Leaving()
    job = ScoreJob([1], "", [1], done=left) if kind == "score" else Task(lambda: None, done=left)
    job.give_up()
    assert left.cancelled()


def test_an_architecture_that_cannot_be_batched_is_refused(
    loop: Loop, base_model: Path, tmp_path: Path
) -> None:
    engine = TransformersEngine()
    with pytest.raises(ContributorError, match="mamba"):
        loop.run(engine.load([tiny(tmp_path / "mamba", base_model, "mamba")]))


def test_capped_attention_is_one_clear_sentence_before_the_weights_are_read(
    loop: Loop, base_model: Path, tmp_path: Path
) -> None:
    capped = tiny(tmp_path / "gemma2", base_model, "gemma2")
    (tmp_path / "gemma2" / "model.safetensors").unlink()
    with pytest.raises(ContributorError) as raised:
        load_weights(capped)
    told = raised.value.message
    assert told.startswith("'gemma2' (gemma2) caps its attention scores (attn_logit_softcapping")
    assert "50" in told and "vLLM" in told and "endpoint" in told


def test_attention_that_slots_do_not_compute_is_found_out_at_the_load(
    loop: Loop, base_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever no configuration says: the model's own code is compared when it is loaded."""
    monkeypatch.setattr("protocols.engines.loading.check_attention", lambda *_: None)
    with pytest.raises(ContributorError, match="gemma2"):
        loop.run(TransformersEngine().load([tiny(tmp_path / "g", base_model, "gemma2")]))
