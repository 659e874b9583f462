"""Reads a base model's files for the transformers engine and tests that it can be batched.

Safetensors only, never remote code. It knows architectures as far as their attention matters.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from protocols.core.errors import ContributorError, StudioError
from protocols.core.models import ModelSpec
from protocols.core.torch_setup import ONE_LOAD_AT_A_TIME
from protocols.engines.hub import check_present
from protocols.engines.slots import ATTENTION, SlotCache

log = logging.getLogger(__name__)
WINDOW = 8192
"""Longest context that is served, in tokens."""
CAPPED = "attn_logit_softcapping"
AGREE = 0.99
"""Correlation of logits above which a difference is put down to bf16. Measured with this base and
five random variants of it: 0.998 and more; with two tokens swapped: 0.4 to 0.7."""


@dataclass(frozen=True)
class Loaded:
    """A model in memory. ``ends`` are the token ids that end a text, ``window`` is in tokens."""

    network: Any
    tokenizer: Any
    ends: frozenset[int]
    window: int
    device: str


def load_weights(model: ModelSpec) -> Loaded:
    """Load weights and tokenizer as bf16. Takes seconds.

    Raises :class:`ContributorError` if the files are not a model that can be served here, and
    :class:`EngineError` for one of the hub while the hub is away.
    """
    check_present(model)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    revision: dict[str, Any] = {"revision": model.revision} if model.revision else {}
    try:
        config = AutoConfig.from_pretrained(model.source, trust_remote_code=False, **revision)
        check_attention(model, config)
        tokenizer = AutoTokenizer.from_pretrained(model.source, trust_remote_code=False, **revision)
        with ONE_LOAD_AT_A_TIME:
            network = AutoModelForCausalLM.from_pretrained(
                model.source,
                dtype=torch.bfloat16,
                attn_implementation=ATTENTION,
                use_safetensors=True,
                trust_remote_code=False,
                **revision,
            )
    except StudioError:
        raise
    except Exception as error:
        log.exception("loading %s", model.id)
        raise ContributorError(
            f"'{model.title}' could not be loaded ({type(error).__name__}): its files are not a "
            "model that transformers knows. python -m studio pool check says more."
        ) from error
    network = network.to(device).eval()
    if not agrees(network):
        raise ContributorError(
            f"'{model.title}' is of a kind ({network.config.model_type}) that cannot be batched "
            "here. Serve it elsewhere and give its endpoint as the source."
        )
    return Loaded(
        network, tokenizer, end_ids(network, tokenizer), window_of(network.config), device
    )


def check_attention(model: ModelSpec, config: Any) -> None:
    """Refuse by its configuration what :func:`protocols.engines.slots.attention` does not compute.

    Raises :class:`ContributorError` for scores with a soft cap, as Gemma 2 has.
    """
    cap = getattr(config.get_text_config(), CAPPED, None)
    if cap is not None:
        raise ContributorError(
            f"'{model.title}' ({config.model_type}) caps its attention scores ({CAPPED} = {cap:g} "
            "in config.json), which the transformers engine does not compute. Serve it with vLLM "
            "or elsewhere and give its endpoint as the source."
        )


def window_of(config: Any) -> int:
    """Context length in tokens; layers that see a sliding window are not taken beyond it."""
    window = min(WINDOW, getattr(config, "max_position_embeddings", None) or WINDOW)
    slides = "sliding_attention" in (getattr(config, "layer_types", None) or ["sliding_attention"])
    return min(window, getattr(config, "sliding_window", None) or window) if slides else window


def agrees(network: Any) -> bool:
    """Whether the slot cache computes what the model's own code does, on a short prompt.

    Architectures whose attention does more (soft caps, sinks, recurrent layers) would otherwise
    answer wrongly without an error. Read in two parts, so that the cache is tested as well.
    """
    ids = torch.arange(3, 19, device=network.device)[None] % network.config.vocab_size
    try:
        with torch.inference_mode():
            network.set_attn_implementation("eager")
            wanted = network(input_ids=ids, use_cache=False).logits[0, -1].float()
            network.set_attn_implementation(ATTENTION)
            found = _in_two_parts(network, ids)
    except Exception:
        log.warning("%s does not work with slots", network.config.model_type, exc_info=True)
        return False
    return float(torch.corrcoef(torch.stack([found, wanted]))[0, 1]) >= AGREE


def _in_two_parts(network: Any, ids: torch.Tensor) -> torch.Tensor:
    cache = SlotCache(1, network.dtype, str(network.device))
    half = ids.shape[1] // 2
    logits = torch.empty(0)
    for start in (0, half):
        mask = cache.aim(0, [start], half)
        positions = torch.arange(start, start + half, device=ids.device)[None]
        out = network(
            input_ids=ids[:, start : start + half],
            position_ids=positions,
            attention_mask=mask,
            past_key_values=cache,
            use_cache=True,
        )
        logits = out.logits[0, -1].float()
    return logits


def end_ids(network: Any, tokenizer: Any) -> frozenset[int]:
    """Every token that ends a text, from the generation config and the tokenizer."""
    given = network.generation_config.eos_token_id
    ids = given if isinstance(given, list) else [given]
    return frozenset(i for i in (*ids, tokenizer.eos_token_id) if i is not None)
