"""Artificial models small enough to write in a millisecond, and a world in which mixing them pays.

In that world a model answers with a number that says how near its change to the base is to a wanted
one, so a search has something to find and every score can be computed by hand.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from protocols.core.artifacts import ArtifactStore
from protocols.core.engine import GenerateRequest
from protocols.core.events import Event
from protocols.core.fit import FitData, FitItem, FitSpec, fit
from protocols.core.models import Contributor, ModelSpec
from protocols.engines.scripted import ScriptedEngine
from protocols.lib.lora_algebra import Lora, read_lora, save_lora

LAYERS = {
    "model.layers.0.self_attn.q_proj": (16, 16),
    "model.layers.0.self_attn.v_proj": (8, 16),
    "model.layers.1.mlp.up_proj": (32, 16),
}
"""(out, in) of the layers that adapters change."""
CONFIG: dict[str, Any] = {
    "vocab_size": 64,
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "tie_word_embeddings": True,
}


def tiny_model(folder: Path, seed: int = 0, **changes: Any) -> Path:
    """A Llama of a few thousand random numbers, in fp32."""
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(seed)
    LlamaForCausalLM(LlamaConfig(**{**CONFIG, **changes})).float().save_pretrained(folder)
    return folder


def random_lora(seed: int, rank: int = 2, layers: Sequence[str] = tuple(LAYERS)) -> Lora:
    made = torch.Generator().manual_seed(seed)
    factors = {}
    for layer in layers:
        out, into = LAYERS[layer]
        a = torch.randn(rank, into, generator=made)
        factors[layer] = (a, torch.randn(out, rank, generator=made) / 4)
    return Lora(rank, factors, "float32")


def tiny_pool(root: Path, count: int = 3, base: bool = False, rank: int = 2) -> list[ModelSpec]:
    """Adapters of one tiny base; with ``base`` the base itself comes first."""
    source = root / "tiny-base"
    if not source.exists():
        tiny_model(source)
    pool = [model_of("base", source)] if base else []
    for number in range(count):
        folder = root / f"adapter-{number}"
        if not folder.exists():
            save_lora(random_lora(number + 1, rank), folder, "tiny-base")
        pool.append(model_of(f"member{number}", source, folder))
    return pool


def model_of(name: str, source: Path, adapter: Path | None = None) -> ModelSpec:
    told = Contributor(name=f"Tester of {name}", licence="CC0-1.0")
    return ModelSpec(
        id=name, source=str(source), adapter=str(adapter) if adapter else "", contributor=told
    )


def full_pool(root: Path, count: int = 3, **changes: Any) -> list[ModelSpec]:
    """Whole models of one architecture."""
    pool = []
    for number in range(count):
        folder = root / f"full-{number}"
        if not folder.exists():
            tiny_model(folder, number, **changes)
        pool.append(model_of(f"whole{number}", folder))
    return pool


def flat(folder: Path) -> torch.Tensor:
    """All weights of an adapter's changes or of a whole model, as one row."""
    if (folder / "adapter_config.json").exists():
        lora = read_lora(folder)
        parts = [lora.change(layer) for layer in LAYERS]
        return torch.cat([part.flatten() for part in parts if part is not None])
    return torch.cat([t.flatten() for _, t in sorted(load_file(weights_of(folder)).items())])


def weights_of(folder: Path) -> Path:
    return next(iter(sorted(folder.glob("*.safetensors"))))


class World:
    """Answers how near a model is to ``wanted`` coefficients over the pool, item by item.

    Item k is answered right when the distance is below its own bound, so scores rise step by step
    on the way to what is wanted.
    """

    def __init__(self, pool: Sequence[ModelSpec], wanted: Sequence[float], items: int = 8) -> None:
        self.base = next((Path(model.source) for model in pool if model.adapter), None)
        self.points = [self.point(model) for model in pool]
        pairs = zip(wanted, self.points, strict=True)
        self.goal = torch.stack([c * point for c, point in pairs]).sum(0)
        self.scale = float(max(torch.linalg.norm(p - self.goal) for p in self.points)) or 1.0
        self.count = items
        self.asked: list[tuple[str, str]] = []

    def point(self, model: ModelSpec) -> torch.Tensor:
        if model.adapter:
            return flat(Path(model.adapter))
        if self.base is None:
            return flat(Path(model.source))
        # A whole model in a pool of adapters counts by what it changes in their base.
        read = [load_file(weights_of(folder)) for folder in (Path(model.source), self.base)]
        parts = [read[0][f"{layer}.weight"] - read[1][f"{layer}.weight"] for layer in LAYERS]
        return torch.cat([part.flatten() for part in parts])

    def quality(self, model: ModelSpec) -> float:
        return 1 - float(torch.linalg.norm(self.point(model) - self.goal)) / self.scale

    def engine(self, **changes: Any) -> ScriptedEngine:
        def say(request: GenerateRequest) -> str:
            self.asked.append((request.model.id, request.messages[-1]["content"]))
            return f"{self.quality(request.model):.9f}"

        return ScriptedEngine(say, **changes)

    def data(self) -> FitData:
        bounds = [k / self.count for k in range(self.count)]
        items = tuple(FitItem(f"i{k}", f"Is it {b}?", str(b), "t") for k, b in enumerate(bounds))
        return FitData(
            task="t",
            items={"dev": items, "train": ()},
            score=lambda item, text: float(float(text) > float(item.answer)),
            digest=f"world-{self.count}",
        )


def spec_of(protocol: str, pool: Sequence[ModelSpec], **changes: Any) -> FitSpec:
    ids = tuple(model.id for model in pool)
    return FitSpec.model_validate({"protocol": protocol, "pool": ids, "task": "t", **changes})


async def play_fit(
    protocol: str,
    pool: Sequence[ModelSpec],
    world: World,
    store: ArtifactStore,
    leave_at: int | None = None,
    **changes: Any,
) -> list[Event]:
    """The events of a fit in a world; with ``leave_at`` the stream is dropped after so many."""
    made: list[Event] = []
    spec = spec_of(protocol, pool, **changes)
    stream = fit(spec, pool, world.engine(), world.data(), store)
    async for event in stream:
        made.append(event)
        if leave_at is not None and len(made) > leave_at:
            break
    await stream.aclose()
    return made


def content(store: ArtifactStore) -> dict[str, bytes]:
    """Every file of every artifact but the one that says when it was made."""
    files = (p for p in sorted(store.root.rglob("*")) if p.is_file() and p.suffix != ".lock")
    return {str(p.relative_to(store.root)): p.read_bytes() for p in files if p.name != "made.json"}


def save_full(folder: Path, base: Path, changes: Mapping[str, torch.Tensor]) -> Path:
    """A whole model: the base with changes added by layer, written without our own code."""
    folder.mkdir(parents=True)
    tensors = load_file(weights_of(base))
    for layer, change in changes.items():
        tensors[f"{layer}.weight"] = tensors[f"{layer}.weight"] + change
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "config.json").write_text((base / "config.json").read_text())
    return folder


def edit_json(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
