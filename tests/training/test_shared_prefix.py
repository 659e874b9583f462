"""Packing is a way to compute, not another training: losses and gradients are the plain ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.core.errors import EngineError
from protocols.core.models import ModelSpec
from protocols.training import labels, shared_prefix
from protocols.training.shared_prefix import SharedPrefixSettings, Tree, train_shared_prefix
from protocols.training.students import Student

Row = dict[str, list[Any]]
TOKENS = st.lists(st.integers(3, 90), min_size=1, max_size=6)


@pytest.fixture(scope="module")
def network() -> Any:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=96,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
    )
    return LlamaForCausalLM(config)


def row(ids: list[int], right: bool) -> Row:
    return {"input_ids": ids, "label_ids": [1, 2], "target": [float(right), float(not right)]}


@st.composite
def lessons(draw: st.DrawFn) -> list[list[Row]]:
    """A few questions, each with a few texts after a shared beginning."""
    groups = draw(st.lists(st.tuples(TOKENS, st.lists(TOKENS, min_size=1, max_size=3)), min_size=1))
    return [[row(start + end, draw(st.booleans())) for end in ends] for start, ends in groups[:3]]


@settings(max_examples=10, deadline=None)
@given(groups=lessons())
def test_packed_loss_and_gradient_are_those_of_the_rows_one_by_one(
    network: Any, groups: list[list[Row]]
) -> None:
    import torch

    rows = [one for group in groups for one in group]
    weights = [p for name, p in network.named_parameters() if "q_proj" in name or "v_proj" in name]
    together = shared_prefix.branch_loss(network, shared_prefix.collated(groups))
    alone = sum(labels.label_loss(network, labels.collated([one], 0)) for one in rows) / len(rows)
    assert together.item() == pytest.approx(alone.item(), abs=1e-5)
    for one, other in zip(
        torch.autograd.grad(together, weights), torch.autograd.grad(alone, weights), strict=True
    ):
        assert torch.allclose(one, other, atol=1e-5)


@given(rows=st.lists(TOKENS, min_size=1, max_size=6))
def test_a_tree_holds_every_row_and_what_they_share_once(rows: list[list[int]]) -> None:
    tree = Tree()
    for one in rows:
        tree.add(one)
    assert len(tree.tokens) == len({tuple(one[: n + 1]) for one in rows for n in range(len(one))})
    seen = tree.seen()
    for one, end in zip(rows, tree.ends, strict=True):
        way = seen[end].nonzero()[:, 0].tolist()
        assert [tree.tokens[node] for node in way] == one
        assert [tree.depths[node] for node in way] == list(range(len(one)))


def test_nothing_to_train_on_is_said(tmp_path: Path) -> None:
    who = Student(ModelSpec(id="m", name="m", source=str(tmp_path)), tmp_path)
    with pytest.raises(EngineError, match="list of groups is empty"):
        train_shared_prefix(who, [], tmp_path / "out", state=tmp_path / "state")
    assert SharedPrefixSettings(epochs=2, batch=4).count(9) == 6
