"""Greedy answers in batches, straight from transformers: for checking what training did.

Live runs go through the engines; this is only for evaluating a model that is already in hand.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from protocols.lib.prompts import question_messages

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def prompt_text(tokenizer: PreTrainedTokenizerBase, question: str) -> str:
    """Return the text a model sees when it is asked ``question``, up to where it answers."""
    messages = [dict(turn) for turn in question_messages(question)]
    text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    return str(text)


def greedy_answers(
    model: Any,
    tokenizer: PreTrainedTokenizerBase,
    questions: Sequence[str],
    *,
    max_tokens: int = 40,
    batch: int = 50,
) -> list[str]:
    """Answer every question with the likeliest token each time, at most ``max_tokens`` of them.

    Questions of similar length share a batch, so little is spent on padding; answers come back in
    the order asked.
    """
    prompts = [prompt_text(tokenizer, question) for question in questions]
    order = sorted(range(len(prompts)), key=lambda place: len(prompts[place]))
    answers = [""] * len(prompts)
    for start in range(0, len(order), batch):
        places = order[start : start + batch]
        texts = _batch(model, tokenizer, [prompts[place] for place in places], max_tokens)
        for place, text in zip(places, texts, strict=True):
            answers[place] = text
    return answers


def _batch(
    model: Any, tokenizer: PreTrainedTokenizerBase, prompts: list[str], max_tokens: int
) -> list[str]:
    import torch

    inputs = tokenizer(prompts, return_tensors="pt", padding=True, add_special_tokens=False)
    inputs = inputs.to(model.device)
    # As an index and not as the number 1: of a slice, torch makes one product a row and copies the
    # vocabulary's matrix for each, seconds for a batch.
    last = torch.tensor([-1], device=model.device)
    with torch.inference_mode():
        output = model.generate(
            **inputs, max_new_tokens=max_tokens, do_sample=False, logits_to_keep=last
        )
    fresh = output[:, inputs["input_ids"].shape[1] :]
    return [str(text).strip() for text in tokenizer.batch_decode(fresh, skip_special_tokens=True)]
