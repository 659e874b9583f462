"""The router that reads is really trained, on a tiny random base, and served as a plain adapter."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from protocols.core.artifacts import ArtifactStore
from protocols.core.engine import ScoreRequest
from protocols.core.events import Ended, Progress
from protocols.core.models import ModelSpec
from protocols.engines.checks import check_model
from protocols.engines.scripted import ScriptedEngine
from protocols.lib import encoders
from protocols.training.reward_scorer import squashed
from tests.fitted import TOPICS, fit_topics
from tests.helpers import make_pool
from tests.training.test_reward import trained  # noqa: F401  a tiny reward model
from tests.training.test_sft import tiny  # noqa: F401  a tiny base


def pool_on(base: Path, count: int = 3) -> tuple[ModelSpec, ...]:
    return tuple(model.model_copy(update={"source": str(base)}) for model in make_pool(count))


def experts(pool: tuple[ModelSpec, ...]) -> ScriptedEngine:
    return ScriptedEngine({m.id: t for m, t in zip(pool, TOPICS, strict=False)})


def test_a_reading_router_is_trained_calibrated_and_kept(tiny: Path, tmp_path: Path) -> None:  # noqa: F811
    pool, store = pool_on(tiny), ArtifactStore(tmp_path)
    engine = experts(pool)
    config: dict[str, Any] = {
        "kind": "lora", "epochs": 2, "batch": 4, "rank": 2, "orders": 2, "student": "beta",
    }  # fmt: skip
    events = asyncio.run(fit_topics("trained_router", pool, store, engine, **config))
    assert isinstance(events[-1], Ended) and events[-1].status == "ok", events[-1]
    made = next(store.list("trained_router"))
    router = made.derived(pool)[0]
    assert made.manifest.derived[0].base == "beta", "the one that was named, not the generalist"
    assert router.id == "derived.router" and router.source == str(tiny)
    check_model(router)
    assert sorted(p.name for p in Path(router.adapter).iterdir()) == [
        "adapter_config.json", "adapter_model.safetensors",
    ]  # fmt: skip
    assert json.loads((Path(router.adapter) / "adapter_config.json").read_text())["r"] == 2
    losses = [e.values["loss"] for e in events if isinstance(e, Progress) and e.unit == "train"]
    assert losses and all(np.isfinite(losses))
    asked = [r for r in engine.requests if isinstance(r, ScoreRequest)]
    assert {r.model.id for r in asked} == {"candidate.router"}
    assert len(asked) == 2 * 12, "every dev question, in two orders; no train question"
    found: Any = made.manifest.metrics["held_out"]
    assert found["n"] == 6 and made.manifest.recipe["encoder"] is None  # type: ignore[index, call-overload]


def test_a_reward_model_may_be_the_judge(
    tiny: Path, trained: tuple[Path, list[int]], tmp_path: Path  # noqa: F811
) -> None:  # fmt: skip
    pool, store = pool_on(tiny), ArtifactStore(tmp_path)
    config = {"judge": "reward", "reward_model": str(trained[0])}
    events = asyncio.run(fit_topics("trained_router", pool, store, experts(pool), **config))
    assert isinstance(events[-1], Ended) and events[-1].status == "ok", events[-1]
    judged = [e for e in events if isinstance(e, Progress) and e.unit == "judge"]
    assert judged[-1].done == judged[-1].total == 30
    made = next(store.list("trained_router")).manifest
    assert made.recipe["judge"] == "reward"  # type: ignore[index, call-overload]
    # Rewards of a model that knows nothing of these topics are its own; worth is still the task's.
    assert made.metrics["held_out"]["oracle"]["mean"] == 1.0  # type: ignore[index, call-overload]


def test_without_local_weights_no_reader_is_trained(tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path)
    events = asyncio.run(fit_topics("trained_router", make_pool(2), store, kind="lora"))
    last = events[-1]
    assert isinstance(last, Ended) and last.owner == "user" and last.calls == 0
    assert "not on this machine" in last.message


def test_rewards_become_places_between_0_and_1() -> None:
    found = squashed([[-3.0, 3.0], [None, 0.0]])
    assert found[1].tolist() == [0.0, 0.5], "no text is worth nothing"
    assert found[0, 0] == pytest.approx(1 - found[0, 1]) and found[0, 1] > 0.7
    np.testing.assert_allclose(squashed([[10.0, 70.0]]), squashed([[-0.1, 0.5]]))
    assert squashed([[None, None]]).tolist() == [[0.0, 0.0]]


def test_hidden_states_do_not_depend_on_company(tiny: Path) -> None:  # noqa: F811
    pool = pool_on(tiny, 1)
    spec = encoders.choose("auto", pool)
    assert spec == encoders.EncoderSpec(kind="hidden", name="alpha")
    encode = encoders.encoder(spec, pool)
    texts = ["short", "a rather longer question about rivers and their beds", "", "short"]
    whole = encode(texts)
    assert whole.shape == (4, 32) and whole.dtype == np.float32
    for text, row in zip(texts, whole, strict=True):
        np.testing.assert_allclose(encode([text])[0], row, atol=1e-5)
    assert not np.allclose(whole[0], whole[1])


@pytest.mark.models
@pytest.mark.slow
def test_the_embedded_base_puts_alike_questions_together(base_model: Path) -> None:
    pool = pool_on(base_model, 1)
    encode = encoders.encoder(encoders.choose("hidden", pool), pool)
    sums = [f"What is {a} + {b}?" for a, b in ((3, 4), (17, 25), (60, 8))]
    romans = [f"Write {n} as a Roman numeral." for n in (7, 61, 340)]
    found = encode([*sums, *romans])
    found -= found.mean(axis=0)
    found /= np.linalg.norm(found, axis=1, keepdims=True)
    likeness = found @ found.T
    assert likeness[:3, :3].min() > likeness[:3, 3:].max()


@pytest.mark.slow
def test_a_sentence_encoder_in_a_folder_is_used(tmp_path: Path) -> None:
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.models import Pooling, Transformer
    from transformers import BertConfig, BertModel, BertTokenizerFast

    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "river", "sum", "of", "two"]
    (tmp_path / "vocab.txt").write_text("\n".join(words), encoding="utf-8")
    raw = tmp_path / "raw"
    BertTokenizerFast(str(tmp_path / "vocab.txt")).save_pretrained(raw)
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    BertModel(BertConfig(vocab_size=len(words), intermediate_size=16, **sizes)).save_pretrained(raw)
    part = Transformer(str(raw))
    folder = tmp_path / "encoder"
    SentenceTransformer(modules=[part, Pooling(16)], device="cpu").save(str(folder))
    spec = encoders.choose(str(folder), make_pool(1))
    assert spec.kind == "sentence"
    found = encoders.encoder(spec, ())(["river river", "sum of two"])
    assert found.shape == (2, 16) and not np.allclose(found[0], found[1])
