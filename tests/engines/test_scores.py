"""Label log-probabilities: right, the same in every engine, and the same in any company.

Tolerance: 0.25 in natural-log probability. bf16 has 8 bits of mantissa; thirty layers of it put
logits of this base within about 0.1 of each other between kernels (measured here: up to 0.13 to the
plain transformers and PEFT code, up to 0.07 alone against in company). A wrong adapter moves them
by far more, which the first test makes sure of.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

from protocols.core.engine import ScoreRequest
from protocols.core.models import ModelSpec
from protocols.lib.prompts import question_messages
from protocols.lib.weight_space import LoraMembers
from tests.engines.conftest import Loop
from tests.engines.worlds import World, ask, complete

pytestmark = pytest.mark.models
TOLERANCE = 0.25
QUESTION = "Which letter fits best: A, B, C or D?"
LABELS = ("A", "B", "C", "D")
Logprobs = dict[str, float]


async def scores(world: World, model: ModelSpec, number: int = 0, prefix: str = "") -> Logprobs:
    messages = question_messages(QUESTION)
    request = ScoreRequest(f"{model.id}/{number}{prefix}", model, messages, LABELS, prefix)
    return (await world.engine.score(request)).logprobs


def distance(one: Logprobs, other: Logprobs) -> float:
    return max(abs(one[label] - other[label]) for label in LABELS)


def computed(base_model: Path, models: Sequence[ModelSpec | None]) -> dict[str, Logprobs]:
    """What plain transformers and PEFT compute, without any engine."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(base_model)
    ids = tokenizer.apply_chat_template(
        question_messages(QUESTION), add_generation_prompt=True, return_tensors="pt"
    )["input_ids"]
    wanted = [tokenizer.convert_tokens_to_ids(label) for label in LABELS]
    found = {}
    for model in models:
        network = AutoModelForCausalLM.from_pretrained(base_model, dtype=torch.bfloat16)
        if model:
            network = PeftModel.from_pretrained(network, model.adapter)
        with torch.inference_mode():
            logprobs = torch.log_softmax(network(ids).logits[0, -1].float(), dim=-1)
        values = [float(logprobs[i]) for i in wanted]
        found[model.id if model else "base"] = dict(zip(LABELS, values, strict=True))
    return found


@pytest.fixture(scope="module")
def reference(base_model: Path, adapters: list[ModelSpec]) -> dict[str, Logprobs]:
    """The base and two adapters."""
    return computed(base_model, (None, *adapters[:2]))


def test_the_adapters_differ_enough_to_notice(reference: dict[str, Logprobs]) -> None:
    base, first, second = reference.values()
    assert distance(base, first) > 2 * TOLERANCE
    assert distance(base, second) > 2 * TOLERANCE
    assert distance(first, second) > 2 * TOLERANCE


def test_scores_agree_with_plain_transformers(
    real_world: World, loop: Loop, reference: dict[str, Logprobs]
) -> None:
    for model in (real_world.base, *real_world.adapters[:2]):
        found = loop.run(scores(real_world, model))
        assert distance(found, reference[model.id]) <= TOLERANCE, model.id


@pytest.mark.slow
def test_a_merge_of_contributors_is_served_like_any_adapter(
    real_world: World, loop: Loop, base_model: Path, adapters: list[ModelSpec], tmp_path: Path
) -> None:
    if real_world.name == "openai":
        pytest.skip("adapters belong to the server")
    LoraMembers(adapters[:3]).make([0.6, 0.7, -0.3], tmp_path / "merged")
    merged = adapters[0].model_copy(update={"id": "merged", "adapter": str(tmp_path / "merged")})
    reference = computed(base_model, (None, merged))
    assert distance(reference["base"], reference["merged"]) > 2 * TOLERANCE
    found = loop.run(scores(real_world, merged))
    assert distance(found, reference["merged"]) <= TOLERANCE
    loop.run(real_world.engine.unload(merged))


def test_scores_are_the_same_alone_and_among_seven_others(real_world: World, loop: Loop) -> None:
    models = [real_world.base, *real_world.adapters]
    alone = {m.id: loop.run(scores(real_world, m)) for m in models}

    async def together() -> list[Logprobs]:
        return await asyncio.gather(*(scores(real_world, m, 1) for m in models))

    for model, found in zip(models, loop.run(together()), strict=True):
        assert distance(found, alone[model.id]) <= TOLERANCE, model.id


def test_scores_are_the_same_while_seven_others_generate(real_world: World, loop: Loop) -> None:
    models = [real_world.base, *real_world.adapters]
    alone = {m.id: loop.run(scores(real_world, m)) for m in models}

    async def beside(model: ModelSpec, number: int) -> Logprobs:
        others = [
            ask(m, "Tell a story.", max_tokens=200, temperature=1.0) for m in models if m != model
        ]
        tasks = [asyncio.create_task(complete(real_world, request)) for request in others]
        await asyncio.sleep(0.5)
        try:
            return await scores(real_world, model, number)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    for number, model in enumerate(models[:2], 2):
        found = loop.run(beside(model, number))
        assert distance(found, alone[model.id]) <= TOLERANCE, model.id


def test_a_label_after_a_prefix_gets_its_space(real_world: World, loop: Loop) -> None:
    """After "The letter is" the model expects " A", not "A": the labels take most of the mass."""
    bare = loop.run(scores(real_world, real_world.base, prefix="I choose option"))
    assert max(bare.values()) > -3.0, bare
