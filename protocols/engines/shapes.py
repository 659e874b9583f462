"""The sizes of a decoder-only transformer, as far as its memory depends on them.

Pure arithmetic, checked against published parameter counts. A model's sizes come from its own
``config.json``, from a well-known family that it names, or, marked as a guess, from its number of
parameters alone.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from protocols.core.errors import ContributorError
from protocols.core.models import ModelSpec

MAX_CONFIG = 2**20


@dataclass(frozen=True)
class Shape:
    """Sizes of a network with rotary attention and a gated feed-forward part (Llama's layout)."""

    layers: int
    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    inner: int
    vocabulary: int
    tied: bool = False
    dtype_bytes: int = 2
    window: int = 8192
    guessed: bool = False

    @property
    def parameters(self) -> int:
        """Weights of the matrices; norms and biases, well below a thousandth, are left out."""
        attention = self.hidden * self.head_dim * (2 * self.heads + 2 * self.kv_heads)
        layer = attention + 3 * self.hidden * self.inner
        return self.layers * layer + self.vocabulary * self.hidden * (1 if self.tied else 2)

    @property
    def kv_bytes(self) -> int:
        """Bytes of keys and values that one token of context takes."""
        return 2 * self.layers * self.kv_heads * self.head_dim * self.dtype_bytes

    def adapter_bytes(self, rank: int) -> int:
        """Bytes of a LoRA slot of this rank on all seven projections of every layer.

        vLLM reserves slots at the highest rank whatever an adapter's own is.
        """
        wide, narrow = self.heads * self.head_dim, self.kv_heads * self.head_dim
        ends = (
            2 * (self.hidden + wide) + 2 * (self.hidden + narrow) + 3 * (self.hidden + self.inner)
        )
        return self.layers * rank * ends * self.dtype_bytes


FAMILIES: Mapping[str, tuple[Shape, int]] = {
    "qwen2.5-7b": (Shape(28, 3584, 28, 4, 128, 18944, 152064), 7_615_616_512),
    "qwen2.5-3b": (Shape(36, 2048, 16, 2, 128, 11008, 151936, tied=True), 3_085_938_688),
    "qwen2.5-1.5b": (Shape(28, 1536, 12, 2, 128, 8960, 151936, tied=True), 1_543_714_304),
    "qwen3-4b": (Shape(36, 2560, 32, 8, 128, 9728, 151936, tied=True), 4_022_468_096),
    "qwen3-8b": (Shape(36, 4096, 32, 8, 128, 12288, 151936), 8_190_735_360),
    "qwen3-14b": (Shape(40, 5120, 40, 8, 128, 17408, 151936), 14_768_307_200),
    "llama-3.1-8b": (Shape(32, 4096, 32, 8, 128, 14336, 128256), 8_030_261_248),
    "llama-3.2-3b": (Shape(28, 3072, 24, 8, 128, 8192, 128256, tied=True), 3_212_749_824),
    "llama-2-7b": (Shape(32, 4096, 32, 32, 128, 11008, 32000, window=4096), 6_738_415_616),
    "mistral-7b": (Shape(32, 4096, 32, 8, 128, 14336, 32000), 7_241_732_096),
    "gemma-2-9b": (Shape(42, 3584, 16, 8, 256, 14336, 256000, tied=True), 9_241_705_984),
    "smollm2-135m": (Shape(30, 576, 9, 3, 64, 1536, 49152, tied=True), 134_515_008),
}
"""Well-known bases with the number of parameters that their publishers state."""
ALIASES = {
    "qwen2-7b": "qwen2.5-7b",
    "qwen2-1.5b": "qwen2.5-1.5b",
    "qwen2.5-math-1.5b": "qwen2.5-1.5b",
    "qwen2.5-math-7b": "qwen2.5-7b",
    "llama3.1-8b": "llama-3.1-8b",
    "llama-3-8b": "llama-3.1-8b",
    "llama3-8b": "llama-3.1-8b",
    "llama2-7b": "llama-2-7b",
    "gemma2-9b": "gemma-2-9b",
}


def family(name: str) -> Shape | None:
    """The sizes of the well-known base that a name spells out, if it does."""
    flat = name.lower().replace("_", "-")
    known = {alias: FAMILIES[of][0] for alias, of in ALIASES.items()}
    known |= {label: shape for label, (shape, _) in FAMILIES.items()}
    # The longest first: "llama-3.1-8b" must not be taken for a shorter name inside of it.
    return next((known[label] for label in sorted(known, key=len)[::-1] if label in flat), None)


def from_config(config: Mapping[str, Any]) -> Shape:
    """Sizes from a model's ``config.json``; engines load everything as bf16, however it is stored.

    Raises ``KeyError``, ``ValueError``, ``TypeError`` or ``ZeroDivisionError`` for what is missing.
    """
    heads, hidden = int(config["num_attention_heads"]), int(config["hidden_size"])
    return Shape(
        layers=int(config["num_hidden_layers"]),
        hidden=hidden,
        heads=heads,
        kv_heads=int(config.get("num_key_value_heads") or heads),
        head_dim=int(config.get("head_dim") or hidden // heads),
        inner=int(config["intermediate_size"]),
        vocabulary=int(config["vocab_size"]),
        tied=bool(config.get("tie_word_embeddings", False)),
        window=int(config.get("max_position_embeddings") or Shape.window),
    )


def guessed(parameters: int) -> Shape:
    """Sizes of a usual network with so many parameters: Llama 3.1's proportions, scaled.

    Its 32 layers of width 4096 have 8.03e9; parameters grow with layers times width squared, so
    both are scaled by the third root. Meant to be near, and marked.
    """
    scale = (max(parameters, 1) / 8.03e9) ** (1 / 3)
    heads = max(1, round(32 * scale))
    kv_heads = max(1, round(8 * scale))
    return Shape(
        layers=max(1, round(32 * scale)), hidden=128 * heads, heads=heads, kv_heads=kv_heads,
        head_dim=128, inner=448 * heads, vocabulary=128256, guessed=True,
    )  # fmt: skip


def shape_of(model: ModelSpec, base: str = "") -> Shape:
    """A model's sizes: from its files, from the hub's cache, from the family it or ``base`` names.

    Raises :class:`ContributorError` if nothing at all is known about its size.
    """
    stored = _stored_config(model)
    if stored is not None:
        try:
            return from_config(stored)
        except (KeyError, ValueError, TypeError, ZeroDivisionError):
            pass
    named = family(base) or family(model.source) or family(model.id)
    if named:
        return named
    if model.parameters:
        return guessed(model.parameters)
    raise ContributorError(
        f"The size of '{model.id}' is not known: state 'parameters' in its pool entry, or fetch it "
        "(hf download), then its own config.json is read."
    )


def _stored_config(model: ModelSpec) -> dict[str, Any] | None:
    path = Path(model.source) / "config.json"
    if not path.is_file():
        from huggingface_hub import try_to_load_from_cache

        if "/" not in model.source or model.source.startswith(("/", ".")):
            return None
        found = try_to_load_from_cache(model.source, "config.json", revision=model.revision or None)
        if not isinstance(found, str):
            return None
        path = Path(found)
    try:
        if path.stat().st_size > MAX_CONFIG:
            return None
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) else None
