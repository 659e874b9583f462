"""Reads what prompts need of a model, without its weights: tokenizer and context length."""

from __future__ import annotations

import logging

from protocols.core.errors import EngineError
from protocols.core.models import ModelSpec
from protocols.engines.prompter import Prompter

log = logging.getLogger(__name__)


def read_prompter(model: ModelSpec, most: int) -> Prompter:
    """A model's prompter with at most ``most`` tokens of context. Takes a second.

    Raises :class:`EngineError` if tokenizer or configuration cannot be read.
    """
    from transformers import AutoConfig, AutoTokenizer

    revision = model.revision or None
    try:
        config = AutoConfig.from_pretrained(
            model.source, revision=revision, trust_remote_code=False
        )
        window = min(most, getattr(config, "max_position_embeddings", most))
        tokenizer = AutoTokenizer.from_pretrained(
            model.source, revision=revision, trust_remote_code=False
        )
    except Exception as error:
        raise not_loaded(model, error) from error
    return Prompter(tokenizer, window)


def not_loaded(model: ModelSpec, error: Exception) -> EngineError:
    """The sentence for a model that a library could not load; the log gets the traceback."""
    log.error("loading %s", model.id, exc_info=error)
    return EngineError(
        f"'{model.title}' could not be loaded ({type(error).__name__}). The log has the details; "
        "python -m studio doctor says what is missing."
    )
