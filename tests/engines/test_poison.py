"""One contributor's numbers never reach another's text: NaN is refused, and overflow stays its own.

Adapters of one base are computed in one pass, and rows take each other's places in one cache.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from protocols.core.engine import FusedRequest, ScoreRequest
from protocols.core.errors import ContributorError, LostModels
from protocols.core.models import ModelSpec, Sampling
from protocols.engines.adapter_checks import LARGEST
from protocols.engines.transformers_engine import TransformersEngine
from protocols.lib.prompts import question_messages
from tests.engines.conftest import Loop
from tests.engines.worlds import ask, text_of
from tests.protocols.weight.tiny import edit_json
from tests.training.small import small_base

LAYERS = ("mlp.gate_proj", "mlp.up_proj", "mlp.down_proj")
RANK = 32


def adapter(base: Path, folder: Path, size: float, scale: float = 1.0) -> ModelSpec:
    """An adapter of the first layer; the keys of the next one are computed of it."""
    import torch
    from safetensors.torch import load_file

    from protocols.lib.lora_algebra import Lora, save_lora

    weights = load_file(base / "model.safetensors")
    factors = {}
    for part in LAYERS:
        layer = f"model.layers.0.{part}"
        out, into = weights[f"{layer}.weight"].shape
        signs = torch.ones(out, RANK)
        signs[::2] = -1.0
        factors[layer] = (torch.full((RANK, into), size), size * signs)
    save_lora(Lora(RANK, factors, "float32"), folder, base.name)
    edit_json(folder / "adapter_config.json", lora_alpha=scale * RANK)
    return ModelSpec(id=folder.name, source=str(base), adapter=str(folder))


@dataclass
class Pool:
    """An honest adapter, one that overflows though each of its numbers is allowed, and the base."""

    engine: TransformersEngine
    honest: ModelSpec
    poison: ModelSpec
    base: ModelSpec

    async def said(self, model: ModelSpec, question: str = "What is 2 + 2?") -> str:
        request = ask(model, question, max_tokens=6)
        return text_of([chunk async for chunk in self.engine.stream(request)])


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory, loop: Loop) -> Iterator[Pool]:
    root = tmp_path_factory.mktemp("poison")
    base = small_base(root / "small")
    honest, poison = (
        adapter(base, root / "honest", 0.05),
        adapter(base, root / "poison", LARGEST, 1e3),
    )
    engine = TransformersEngine()
    made = Pool(engine, honest, poison, ModelSpec(id="base", source=str(base)))
    loop.run(engine.load([made.base, honest, poison]))
    yield made
    loop.run(engine.close())


def test_overflow_ends_its_own_text_only(pool: Pool, loop: Loop) -> None:
    async def go() -> None:
        wanted = [await pool.said(pool.honest), await pool.said(pool.base)]
        long = "A much longer question than all the others. " * 4
        beside = await pool.said(pool.base, long)
        told = (pool.said(pool.poison, long),)
        found = await asyncio.gather(
            *told, pool.said(pool.honest), pool.said(pool.base), return_exceptions=True
        )
        assert isinstance(found[0], ContributorError) and "'poison'" in found[0].message
        assert found[1:] == wanted
        # Its slot and what was remembered of it are everybody's again.
        again = await asyncio.gather(*(pool.said(m) for m in (pool.honest, pool.base) * 4))
        assert again == wanted * 4
        # A short row in its slot is masked where the poison was, up to the length of a long one.
        await asyncio.gather(pool.said(pool.poison, long), return_exceptions=True)
        rows = (pool.said(pool.honest), pool.said(pool.base, long))
        assert await asyncio.gather(*rows) == [wanted[0], beside]

    loop.run(go())


def test_overflow_in_a_score_stays_there(pool: Pool, loop: Loop) -> None:
    async def scores(model: ModelSpec) -> list[float]:
        request = ScoreRequest("s", model, question_messages("A or B? " * 9), ("A", "B"))
        return list((await pool.engine.score(request)).logprobs.values())

    async def go() -> None:
        wanted = await scores(pool.honest)
        assert all(map(math.isnan, await scores(pool.poison)))
        assert await scores(pool.honest) == pytest.approx(wanted, abs=1e-3)
        assert await pool.said(pool.base)

    loop.run(go())


def test_a_fusion_loses_the_one_that_overflows(pool: Pool, loop: Loop) -> None:
    """The runner is told whom to leave out."""

    async def go() -> None:
        models, sampling = (pool.honest, pool.poison), Sampling(max_tokens=4, temperature=0.0)
        asked = question_messages("What is 2 + 2?")
        request = FusedRequest("f", models, (0.5, 0.5), asked, sampling, "geometric", 0.0, "")
        with pytest.raises(LostModels) as lost:
            [chunk async for chunk in pool.engine.stream_fused(request)]
        assert lost.value.models == ("poison",) and lost.value.owner == "contributor"
        assert await pool.said(pool.honest)

    loop.run(go())


@pytest.mark.parametrize(("number", "told"), [(math.nan, "not finite"), (2e4, "as large as 2e+04")])
def test_such_numbers_are_refused_and_the_others_go_on(
    pool: Pool, loop: Loop, tmp_path: Path, number: float, told: str
) -> None:
    bad = adapter(Path(pool.base.source), tmp_path / "bad", number)

    async def go() -> None:
        wanted = await pool.said(pool.honest)
        with pytest.raises(ContributorError, match=f"'bad'.*{told}".replace("+", r"\+")):
            await pool.engine.load([bad, pool.honest])
        assert await pool.said(pool.honest) == wanted

    loop.run(go())
