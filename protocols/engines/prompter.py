"""From chat messages to token ids, the same way in every engine that tokenises here.

It knows a tokenizer and a context length. Control tokens written out in a text are removed before
rendering: a question or a model's answer can never open a turn of its own.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cached_property
from typing import Any

from protocols.core.errors import ContributorError, UserError
from protocols.core.models import ModelSpec
from protocols.lib.prompts import Message


class Prompter:
    """Renders prompts for one base model; ``window`` is its context length in tokens."""

    def __init__(self, tokenizer: Any, window: int) -> None:
        self.tokenizer, self.window = tokenizer, window

    @cached_property
    def _control(self) -> re.Pattern[str]:
        """Matches the tokenizer's control tokens as text; matches nothing if it has none."""
        tokens = set(self.tokenizer.all_special_tokens) | {
            token.content for token in self.tokenizer.added_tokens_decoder.values() if token.special
        }
        return re.compile("|".join(map(re.escape, sorted(tokens))) or r"(?!)")

    @cached_property
    def vocabulary(self) -> dict[str, int]:
        """Every token with its id."""
        return dict(self.tokenizer.get_vocab())

    def clean(self, text: str) -> str:
        """The text without written-out control tokens, also ones that removal would uncover."""
        while (cleaned := self._control.sub("", text)) != text:
            text = cleaned
        return text

    def ids(self, model: ModelSpec, messages: Sequence[Message], prefix: str = "") -> list[int]:
        """Token ids of the prompt: the rendered turns, an opened answer, and the prefix.

        Raises :class:`ContributorError` if the model has no usable chat template.
        """
        turns = [{"role": m["role"], "content": self.clean(m["content"])} for m in messages]
        try:
            text = self.tokenizer.apply_chat_template(
                turns,
                chat_template=model.chat_template or None,
                add_generation_prompt=True,
                tokenize=False,
            )
        except Exception as error:
            raise ContributorError(
                f"'{model.title}' has no usable chat template ({type(error).__name__}). Set "
                "chat_template in its pool entry."
            ) from error
        encoded = self.tokenizer(text + self.clean(prefix), add_special_tokens=False)
        return list(encoded["input_ids"])

    def fitting(self, model: ModelSpec, messages: Sequence[Message], prefix: str = "") -> list[int]:
        """Like :meth:`ids`; raises :class:`UserError` if no room is left for an answer."""
        ids = self.ids(model, messages, prefix)
        if len(ids) >= self.window:
            raise UserError(
                f"The prompt for '{model.title}' has {len(ids):,} tokens; its context holds "
                f"{self.window:,}. Shorten the question or let fewer models talk."
            )
        return ids

    def label_ids(self, model: ModelSpec, labels: Sequence[str], prefix: str) -> list[int]:
        """One token id per label, with a leading space after a prefix that does not end in one."""
        space = " " if prefix and not prefix[-1].isspace() else ""
        found = []
        for label in labels:
            ids = self.tokenizer(space + label, add_special_tokens=False)["input_ids"]
            if len(ids) != 1:
                raise ContributorError(
                    f"'{model.title}' has no single token for the label '{label}', so it cannot "
                    "decide among options. Pick another model for that."
                )
            found.append(ids[0])
        return found
