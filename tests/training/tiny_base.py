"""A random model of the base's kind with the base's tokenizer: seconds instead of minutes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from protocols.core.models import ModelSpec
from protocols.training import dpo, sft


def tiny_base(tokenizer: Path, folder: Path) -> Path:
    """Write it into ``folder``; ``tokenizer`` is the folder of the real base."""
    import torch
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=49152,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        tie_word_embeddings=True,
        pad_token_id=2,
        eos_token_id=2,
        bos_token_id=1,
    )
    LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(folder)
    AutoTokenizer.from_pretrained(tokenizer).save_pretrained(folder)
    return folder


def tiny_adapters(tokenizer: Path, root: Path, names: Sequence[str]) -> list[ModelSpec]:
    """A pool to train: a tiny base by the first name, adapters of it by the others."""
    base = tiny_base(tokenizer, root / "tiny-base")
    adapters = {names[0]: ""}
    for seed, name in enumerate(names[1:]):
        model, _ = sft.load_base(base, "cpu")
        settings = dpo.DpoSettings(rank=2, seed=seed)
        made = dpo.with_adapter(model, dpo.Student(ModelSpec(id="x", source="x"), base), settings)
        sft.save_adapter(made, root / name, base.name)
        adapters[name] = str(root / name)
    return [ModelSpec(id=n, source=str(base), adapter=a) for n, a in adapters.items()]
