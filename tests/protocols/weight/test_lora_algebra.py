"""Adding adapters up is exact, and averaging their factors is not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from protocols.core.errors import ContributorError
from protocols.engines.checks import check_adapter
from protocols.engines.stacked_lora import AdapterStack
from protocols.lib.lora_algebra import (
    Lora,
    combine,
    from_changes,
    gram,
    read_lora,
    save_lora,
    truncate,
)
from protocols.lib.weight_space import LoraMembers
from tests.protocols.weight.tiny import LAYERS, random_lora, tiny_model, tiny_pool, weights_of

numbers = st.lists(st.floats(-2, 2), min_size=3, max_size=3)
ranks = st.lists(st.integers(1, 4), min_size=3, max_size=3)


def dense(lora: Lora, layer: str) -> torch.Tensor:
    change = lora.change(layer)
    return torch.zeros(LAYERS[layer]) if change is None else change


def summed(loras: list[Lora], coefficients: list[float], layer: str) -> torch.Tensor:
    return torch.stack(
        [c * dense(one, layer) for one, c in zip(loras, coefficients, strict=True)]
    ).sum(0)


@given(coefficients=numbers, rank=ranks)
def test_a_weighted_sum_is_exact(coefficients: list[float], rank: list[int]) -> None:
    loras = [random_lora(k, r) for k, r in enumerate(rank)]
    loras[1] = replace(loras[1], factors=dict(list(loras[1].factors.items())[:1]))
    made = combine(loras, coefficients)
    for layer in LAYERS:
        torch.testing.assert_close(
            dense(made, layer), summed(loras, coefficients, layer), atol=1e-5, rtol=1e-5
        )
    shapes = {(a.shape[0], b.shape[1]) for a, b in made.factors.values()}
    assert shapes == {(made.rank, made.rank)}, "an adapter has one rank for all layers"


def test_averaging_factors_would_not_be() -> None:
    loras = [random_lora(k) for k in (1, 2)]
    layer = next(iter(LAYERS))
    (a, b), (c, d) = (one.factors[layer] for one in loras)
    factors = ((b + d) / 2) @ ((a + c) / 2)
    assert torch.dist(factors, summed(loras, [0.5, 0.5], layer)) > 0.1
    torch.testing.assert_close(
        dense(combine(loras, [0.5, 0.5]), layer), summed(loras, [0.5, 0.5], layer)
    )


def test_the_sign_of_factors_means_nothing() -> None:
    one, other = random_lora(1), random_lora(2)
    flipped = Lora(2, {layer: (-a, -b) for layer, (a, b) in other.factors.items()}, "float32")
    for layer in LAYERS:
        ours = dense(combine([one, other], [0.3, 0.7]), layer)
        torch.testing.assert_close(ours, dense(combine([one, flipped], [0.3, 0.7]), layer))


def test_nothing_left_is_an_adapter_that_changes_nothing(tmp_path: Path) -> None:
    made = combine([random_lora(1), random_lora(2)], [0.0, 0.0])
    assert made.rank == 1 and not any(float(dense(made, layer).abs().sum()) for layer in LAYERS)
    save_lora(made, tmp_path, "tiny-base")
    check_adapter(tiny_pool(tmp_path / "pool")[0], tmp_path)


@given(rank=st.integers(1, 7), seed=st.integers(0, 30))
def test_shortening_says_what_it_loses(rank: int, seed: int) -> None:
    whole = combine([random_lora(seed + k) for k in range(3)], [1.0, -0.5, 0.7])
    short, lost = truncate(whole, rank)
    gap = sum(float(((dense(short, n) - dense(whole, n)) ** 2).sum()) for n in LAYERS)
    size = sum(float((dense(whole, n) ** 2).sum()) for n in LAYERS)
    assert lost == pytest.approx((gap / size) ** 0.5, abs=1e-4)
    assert lost == 0.0 if rank >= whole.rank else lost > 0
    # The nearest adapter there is: as near as a full singular value decomposition comes.
    _, best = from_changes({layer: dense(whole, layer) for layer in LAYERS}, rank)
    assert lost == pytest.approx(best, abs=1e-4)


def test_inner_products_are_those_of_the_changes() -> None:
    loras = [random_lora(1), random_lora(2, 3), Lora(1, {})]
    rows = [torch.cat([dense(one, layer).flatten() for layer in LAYERS]) for one in loras]
    expected = torch.stack(rows) @ torch.stack(rows).T
    np.testing.assert_allclose(gram(loras), expected.numpy(), rtol=1e-4, atol=1e-4)


def test_scales_are_read_as_peft_means_them(tmp_path: Path) -> None:
    from tests.protocols.weight.tiny import edit_json

    save_lora(random_lora(1, 4), tmp_path, "tiny-base")
    layer = next(iter(LAYERS))
    plain = dense(read_lora(tmp_path), layer)
    edit_json(tmp_path / "adapter_config.json", lora_alpha=8)
    torch.testing.assert_close(dense(read_lora(tmp_path), layer), plain * 2)
    edit_json(tmp_path / "adapter_config.json", use_rslora=True)
    torch.testing.assert_close(dense(read_lora(tmp_path), layer), plain * 4)


def test_foreign_weights_are_refused(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    save_lora(random_lora(1), tmp_path, "tiny-base")
    save_file({"base_model.model.x.lora_magnitude": torch.ones(1)}, weights_of(tmp_path))
    with pytest.raises(ContributorError, match="no LoRA"):
        read_lora(tmp_path)


# Whoever loads a merged adapter computes the sum


def logits(model: torch.nn.Module) -> torch.Tensor:
    ids = torch.arange(1, 13)[None]
    with torch.inference_mode():
        return model(input_ids=ids).logits  # type: ignore[no-any-return]


@pytest.fixture
def merged(tmp_path: Path) -> tuple[Path, torch.Tensor]:
    """A merged adapter, and what the base with the members' summed changes computes."""
    from transformers import LlamaForCausalLM

    members = LoraMembers(tiny_pool(tmp_path))
    row = [0.5, -0.25, 0.75]
    members.make(row, tmp_path / "merged")
    model = LlamaForCausalLM.from_pretrained(tmp_path / "tiny-base")
    for layer in LAYERS:
        model.get_submodule(layer).weight.data += summed(members.loras, row, layer)
    return tmp_path / "merged", logits(model)


def test_peft_loads_the_sum(tmp_path: Path, merged: tuple[Path, torch.Tensor]) -> None:
    from peft import PeftModel
    from transformers import LlamaForCausalLM

    base = LlamaForCausalLM.from_pretrained(tmp_path / "tiny-base")
    tuned = PeftModel.from_pretrained(base, merged[0]).eval()
    torch.testing.assert_close(logits(tuned), merged[1], atol=1e-4, rtol=1e-4)


def test_the_engine_loads_the_sum(tmp_path: Path, merged: tuple[Path, torch.Tensor]) -> None:
    from transformers import LlamaForCausalLM

    base = LlamaForCausalLM.from_pretrained(tmp_path / "tiny-base").eval()
    spec = LoraMembers(tiny_pool(tmp_path)).spec("m", merged[0])
    check_adapter(spec, merged[0])
    stack = AdapterStack.install(base)
    stack.add("m", merged[0])
    stack.use(["m"], torch.float32, "cpu")
    torch.testing.assert_close(logits(base), merged[1], atol=1e-4, rtol=1e-4)


def test_a_tiny_model_is_what_its_files_say(tmp_path: Path) -> None:
    assert (tiny_model(tmp_path / "m") / "config.json").is_file()
