"""One text from several models: the contract of fused streams, with real and artificial models."""

from __future__ import annotations

import asyncio
import json
import math
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from protocols.core.engine import Chunk, FusedRequest, FusedToken
from protocols.core.errors import CapabilityError, ContributorError, LostModels, UserError
from protocols.core.models import ModelSpec, Sampling
from protocols.engines.openai_engine import OpenAIEngine
from protocols.engines.transformers_engine import TransformersEngine
from protocols.engines.vllm_engine import VllmEngine
from protocols.lib.prompts import question_messages
from tests.engines.conftest import Loop
from tests.engines.worlds import COUNT, World, ask, complete, eventually, text_of

TOLERANCE = 0.25
"""In natural-log probability; see ``test_scores.py``."""
_serial = iter(range(10**9))


def fused(
    models: Sequence[ModelSpec],
    question: str = COUNT,
    weights: Sequence[float] = (),
    prefix: str = "",
    plausible: float = 0.0,
    **sampling: Any,
) -> FusedRequest:
    given = tuple(weights) or (1 / len(models),) * len(models)
    settings = Sampling.model_validate({"max_tokens": 12, "temperature": 0.0, **sampling})
    messages, name = question_messages(question), f"f{next(_serial)}"
    return FusedRequest(
        name, tuple(models), given, messages, settings, "geometric", plausible, prefix
    )


async def heard(engine: Any, request: FusedRequest) -> list[Chunk]:
    async with aclosing(engine.stream_fused(request)) as stream:
        return [chunk async for chunk in stream]


def tokens_of(chunks: Sequence[Chunk]) -> list[FusedToken]:
    return [token for chunk in chunks for token in chunk.fused]


@pytest.fixture(
    params=[
        "scripted",
        "ray",
        pytest.param("transformers", marks=pytest.mark.models),
        pytest.param("ray_real", marks=[pytest.mark.models, pytest.mark.slow]),
    ]
)
def fusing(request: pytest.FixtureRequest) -> World:
    found: World = request.getfixturevalue(request.param)
    assert "logits" in found.engine.capabilities(found.base)
    return found


def test_a_fusion_of_one_is_the_model_itself(fusing: World, loop: Loop) -> None:
    alone = text_of(loop.run(complete(fusing, ask(fusing.base, prefix="1, 2, 3,", max_tokens=12))))
    chunks = loop.run(heard(fusing.engine, fused([fusing.base], prefix="1, 2, 3,")))
    assert text_of(chunks) == alone
    assert all(token.shares == {"base": 1.0} for token in tokens_of(chunks))


def test_every_token_costs_each_model_one(fusing: World, loop: Loop) -> None:
    models = [fusing.base, *fusing.adapters[:2]]
    chunks = loop.run(heard(fusing.engine, fused(models, prefix="1, 2, 3,", max_tokens=6)))
    assert [c.finish for c in chunks] == [None] * (len(chunks) - 1) + ["length"]
    assert sum(c.tokens for c in chunks) == 18 and len(chunks) > 4
    assert len(tokens_of(chunks)) == 6
    single = loop.run(complete(fusing, ask(fusing.base, prefix="1, 2, 3,", max_tokens=2)))
    assert chunks[-1].prompt_tokens == 3 * single[-1].prompt_tokens


def test_every_token_says_who_was_behind_it(fusing: World, loop: Loop) -> None:
    models = [fusing.base, *fusing.adapters[:2]]
    for token in tokens_of(loop.run(heard(fusing.engine, fused(models)))):
        assert set(token.shares) == set(token.preferred) == {m.id for m in models}
        assert sum(token.shares.values()) == pytest.approx(1, abs=1e-5)
        assert 0 < token.probability <= 1 + 1e-6 and token.divergence >= 0


def test_a_fused_text_ends_at_a_stop_string(fusing: World, loop: Loop) -> None:
    request = fused([fusing.base] * 1, prefix="1, 2, 3,", stop=("8, 7", ", 9"), max_tokens=60)
    chunks = loop.run(heard(fusing.engine, request))
    assert text_of(chunks).replace(" ", "") == "4,5,6,7,8"
    assert chunks[-1].finish == "stop"


def test_equal_seeds_fuse_equally(fusing: World, loop: Loop) -> None:
    models = [fusing.base, *fusing.adapters[:2]]

    def text(seed: int) -> str:
        request = fused(models, "Tell a story.", temperature=1.2, seed=seed, max_tokens=8)
        return text_of(loop.run(heard(fusing.engine, request)))

    text(0)  # The first finds prompts that are not remembered, which may change a last bit.
    seen = [(text(seed), text(seed)) for seed in (1, 2, 3)]
    assert all(first == second for first, second in seen)
    assert len(set(seen)) > 1


def test_closing_early_frees_every_model(fusing: World, loop: Loop) -> None:
    async def go() -> None:
        request = fused([fusing.base, *fusing.adapters], "Tell a story.", max_tokens=1000)
        async with aclosing(fusing.engine.stream_fused(request)) as stream:
            await anext(stream)
            assert fusing.engine.open_streams == 1
        assert fusing.engine.open_streams == 0
        assert await eventually(lambda: not fusing.busy())

    loop.run(go())


def test_cancelling_frees_every_model(fusing: World, loop: Loop) -> None:
    async def go() -> None:
        for pause in (0.0, 0.02, 0.3):
            request = fused([fusing.base, *fusing.adapters], "Tell a story.", max_tokens=1000)
            task = asyncio.create_task(heard(fusing.engine, request))
            await asyncio.sleep(pause)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            assert fusing.engine.open_streams == 0
            assert await eventually(lambda: not fusing.busy())

    loop.run(go())


@pytest.mark.models
def test_characters_are_not_split_by_fusing(transformers: World, loop: Loop) -> None:
    for tokens in (1, 2, 3, 24):
        request = fused([transformers.base] * 1, "Repeat this: 東京", prefix="東京" * 12,
                        max_tokens=tokens)  # fmt: skip
        text = text_of(loop.run(heard(transformers.engine, request)))
        assert "\ufffd" not in text
    assert text.count("東") >= 3


@pytest.fixture(scope="module")
def plain(base_model: Path, adapters: list[ModelSpec]) -> Iterator[Any]:
    """Log-probabilities of the next token by plain transformers and PEFT: no cache, no batch."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(base_model)
    networks = {}
    for model in (None, *adapters[:2]):
        network = AutoModelForCausalLM.from_pretrained(base_model, dtype=torch.bfloat16)
        if model:
            network = PeftModel.from_pretrained(network, model.adapter)
        networks[model.id if model else "base"] = network

    def logprobs(name: str, question: str, written: str) -> Any:
        prompt = tokenizer.apply_chat_template(
            question_messages(question), add_generation_prompt=True, tokenize=False
        )
        ids = tokenizer(prompt + written, add_special_tokens=False, return_tensors="pt")
        with torch.inference_mode():
            logits = networks[name](**ids).logits[0, -1].float()
        return torch.log_softmax(logits, dim=-1)

    yield logprobs, tokenizer


@pytest.mark.models
def test_the_fused_tokens_are_those_of_plain_transformers(
    transformers: World, loop: Loop, plain: Any
) -> None:
    """Keys and values are kept in the engine and not in the reference; both say the same."""
    import torch

    logprobs, tokenizer = plain
    models, weights = [transformers.base, *transformers.adapters[:2]], (0.5, 0.3, 0.2)
    chunks = loop.run(heard(transformers.engine, fused(models, weights=weights, prefix="1, 2,")))
    written = "1, 2,"
    for token in tokens_of(chunks)[:6]:
        rows = torch.stack([logprobs(m.id, COUNT, written) for m in models])
        mixed = torch.log_softmax((torch.tensor(weights)[:, None] * rows).sum(0), dim=-1)
        (chosen,) = tokenizer(token.text, add_special_tokens=False)["input_ids"]
        assert float(mixed.max() - mixed[chosen]) <= TOLERANCE, "the likeliest, but for rounding"
        assert float(mixed[chosen].exp()) == pytest.approx(token.probability, abs=0.12)
        behind = torch.softmax(torch.tensor(weights).log() + rows[:, chosen], dim=0).tolist()
        assert list(token.shares.values()) == pytest.approx(behind, abs=0.12)
        written += token.text


@pytest.mark.models
def test_company_does_not_change_a_fusion(transformers: World, loop: Loop) -> None:
    models = [transformers.base, *transformers.adapters[:3]]

    async def first(beside: int) -> FusedToken:
        others = [
            asyncio.create_task(complete(transformers, ask(m, "Tell a story.", max_tokens=40)))
            for m in transformers.adapters[:beside]
        ]
        await asyncio.sleep(0.3 * bool(others))
        request = fused(models, prefix="10, 11,", max_tokens=1)
        chunks = await heard(transformers.engine, request)
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        return tokens_of(chunks)[0]

    alone, beside = loop.run(first(0)), loop.run(first(5))
    assert alone.text == beside.text
    assert alone.probability == pytest.approx(beside.probability, abs=0.1)


@pytest.mark.models
def test_fusions_that_do_not_fit_together_take_turns(transformers: World, loop: Loop) -> None:
    """Five fusions of eight for thirty-two slots, and plain rows: halves would wait for ever."""
    models = [transformers.base, *transformers.adapters]

    async def go() -> None:
        jobs: list[Any] = [
            heard(transformers.engine, fused(models, f"Count from {n}.", max_tokens=4))
            for n in range(5)
        ]
        jobs += [
            complete(transformers, ask(m, f"Tell story {n}.", max_tokens=6))
            for n, m in enumerate(transformers.adapters)
        ]
        for chunks in await asyncio.gather(*jobs):
            assert chunks[-1].finish
        assert await eventually(lambda: not transformers.busy())

    loop.run(go())


@pytest.mark.models
def test_a_missing_model_is_named_and_the_others_can_go_on(
    transformers: World, loop: Loop, tmp_path: Path
) -> None:
    gone = transformers.adapters[0].model_copy(
        update={"id": "gone", "adapter": str(tmp_path / "gone")}
    )
    models = [transformers.base, gone, transformers.adapters[1]]
    with pytest.raises(LostModels, match="'gone'") as raised:
        loop.run(heard(transformers.engine, fused(models)))
    assert raised.value.models == ("gone",) and raised.value.owner == "contributor"
    rest = [m for m in models if m.id not in raised.value.models]
    assert loop.run(heard(transformers.engine, fused(rest)))[-1].finish
    assert transformers.engine.open_streams == 0


@pytest.mark.models
def test_more_models_than_slots_write_what_few_do(transformers: World, loop: Loop) -> None:
    """Sixteen copies of each of two models are those two; a plain row beside them keeps its place.

    The cache is widened for them while that row is being decoded.
    """
    few = [transformers.base, transformers.adapters[0]]
    crowd = [m.model_copy(update={"id": f"{m.id}.{n}"}) for n in range(16) for m in few]

    async def go() -> tuple[list[Chunk], list[Chunk]]:
        wanted = await heard(transformers.engine, fused(few, prefix="1, 2,", max_tokens=8))
        story = ask(transformers.base, prefix="10, 11, 12,", max_tokens=24)
        alone = await complete(transformers, story)
        beside = asyncio.create_task(complete(transformers, story))
        await asyncio.sleep(0.2)
        found = await heard(transformers.engine, fused(crowd, prefix="1, 2,", max_tokens=8))
        assert text_of(await beside) == text_of(alone)
        return wanted, found

    wanted, found = loop.run(go())
    assert text_of(found) == text_of(wanted)
    for one, many in zip(tokens_of(wanted), tokens_of(found), strict=True):
        assert many.probability == pytest.approx(one.probability, abs=0.1)
        assert math.fsum(many.shares.values()) == pytest.approx(1.0)
    assert transformers.engine.open_streams == 0


@pytest.mark.models
def test_too_many_models_of_one_base_are_refused(transformers: World, loop: Loop) -> None:
    crowd = [transformers.base.model_copy(update={"id": f"m{n}"}) for n in range(33)]
    with pytest.raises(UserError, match="at most 32"):
        loop.run(heard(transformers.engine, fused(crowd)))


def test_engines_without_distributions_say_so_in_a_sentence(loop: Loop) -> None:
    model = ModelSpec(id="far", source="http://127.0.0.1:9/v1")
    for engine in (VllmEngine(), OpenAIEngine()):
        assert "logits" not in engine.capabilities(model)
        with pytest.raises(CapabilityError, match=f"{engine.name} engine that serves 'far'"):
            loop.run(heard(engine, fused([model])))
        with pytest.raises(CapabilityError, match="cannot be fused"):
            loop.run(engine.load_fused([model]))


# Several bases, each with a worker of its own


def small_model(folder: Path, tokenizer: Path, seed: int) -> ModelSpec:
    """A random network, sharp enough to have opinions, with the tokenizer of another folder."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(seed)
    size = len(json.loads((tokenizer / "tokenizer.json").read_text())["model"]["vocab"])
    config = LlamaConfig(
        vocab_size=size, hidden_size=32, intermediate_size=32, num_hidden_layers=2,
        num_attention_heads=2, num_key_value_heads=1, initializer_range=0.4,
        tie_word_embeddings=False, bos_token_id=1, eos_token_id=2,
    )  # fmt: skip
    LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(folder)
    for path in tokenizer.glob("*token*"):
        shutil.copy(path, folder / path.name)
    for path in tokenizer.glob("*.jinja"):
        shutil.copy(path, folder / path.name)
    return ModelSpec(id=folder.name, source=str(folder))


def other_tokenizer(folder: Path) -> Path:
    """A tokenizer that knows two hundred words."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = {f"w{n}": n for n in range(200)} | {"<unk>": 200}
    made = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    fast = PreTrainedTokenizerFast(tokenizer_object=made, unk_token="<unk>", eos_token="w2")
    fast.chat_template = "{% for m in messages %}{{ m['content'] }} {% endfor %}"
    fast.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def several(
    tmp_path_factory: pytest.TempPathFactory, base_model: Path, loop: Loop
) -> Iterator[tuple[TransformersEngine, list[ModelSpec]]]:
    root = tmp_path_factory.mktemp("several")
    specs = [small_model(root / f"small-{n}", base_model, n) for n in range(3)]
    specs.append(small_model(root / "other", other_tokenizer(root / "tokenizer"), 9))
    engine = TransformersEngine()
    loop.run(engine.load(specs))
    yield engine, specs
    loop.run(engine.close())


def idle(engine: TransformersEngine) -> bool:
    return not any(b.worker._rows or b.worker._waiting for b in engine._bases.values())


@pytest.mark.models
def test_models_of_several_bases_write_in_lock_step(several: Any, loop: Loop) -> None:
    engine, (one, two, three, _) = several
    weights = (0.2, 0.5, 0.3)
    chunks = loop.run(heard(engine, fused([one, two, three], weights=weights)))
    assert len(tokens_of(chunks)) == 12 or chunks[-1].finish == "stop"
    order = loop.run(heard(engine, fused([three, one, two], weights=(0.3, 0.2, 0.5))))
    assert text_of(order) == text_of(chunks), "the order of the models does not matter"
    whole = loop.run(heard(engine, fused([one, two], weights=(1.0, 0.0))))
    alone = loop.run(heard(engine, fused([one])))
    assert text_of(whole) == text_of(alone), "a model without weight has no say"


@pytest.mark.models
def test_fusions_over_several_bases_never_wait_for_each_other(several: Any, loop: Loop) -> None:
    engine, specs = several

    def crowd(order: Sequence[int]) -> list[ModelSpec]:
        return [
            specs[base].model_copy(update={"id": f"{base}-{n}"}) for base in order for n in range(9)
        ]

    async def go() -> None:
        jobs = [heard(engine, fused(crowd(o), f"{o}", max_tokens=3)) for o in
                ((0, 1), (1, 0), (2, 1), (0, 2))]  # fmt: skip
        beside = [complete(World(engine, m, [], bool), ask(m, max_tokens=8)) for m in specs[:3]]
        for chunks in await asyncio.gather(*jobs, *beside):
            assert chunks[-1].finish
        assert await eventually(lambda: idle(engine))

    loop.run(go())


@pytest.mark.models
def test_leaving_a_fusion_over_several_bases_frees_them_all(several: Any, loop: Loop) -> None:
    engine, specs = several

    async def go() -> None:
        request = fused(specs[:3], max_tokens=2000)
        async with aclosing(engine.stream_fused(request)) as stream:
            await anext(stream)
        assert engine.open_streams == 0
        assert await eventually(lambda: idle(engine))

    loop.run(go())


@pytest.mark.models
def test_mixed_vocabularies_are_refused_in_a_sentence(several: Any, loop: Loop) -> None:
    engine, (one, _, _, other) = several
    with pytest.raises(UserError, match="different vocabularies") as raised:
        loop.run(heard(engine, fused([one, other])))
    assert re.search(r"'small-0' \([\d,]+ tokens\) and 'other' \(201 tokens\)", str(raised.value))
    assert engine.open_streams == 0 and idle(engine)


@pytest.mark.models
def test_a_model_that_fails_in_the_middle_ends_its_fusion_only(several: Any, loop: Loop) -> None:
    engine, (one, two, three, _) = several
    worker = engine._bases[f"{two.source}@"].worker
    original, steps = worker._forward, iter(range(10**9))

    def breaking(*args: Any) -> Any:
        if next(steps) > 4:
            raise RuntimeError("artificial")
        return original(*args)

    async def go() -> None:
        beside = asyncio.create_task(
            complete(World(engine, three, [], bool), ask(three, max_tokens=40))
        )
        worker._forward = breaking
        try:
            with pytest.raises(Exception, match="could not go on"):
                await heard(engine, fused([one, two], max_tokens=40))
        finally:
            worker._forward = original
        assert (await beside)[-1].finish
        assert await eventually(lambda: idle(engine))
        assert (await heard(engine, fused([one, two])))[-1].finish

    loop.run(go())


def test_a_lost_model_keeps_its_owner() -> None:
    lost = LostModels({"a": ContributorError("A is broken."), "b": UserError("B was stopped.")})
    assert lost.models == ("a", "b") and lost.owner == "contributor"
    assert lost.message == "A is broken. B was stopped."
