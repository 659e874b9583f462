"""From chat messages to token ids, the same way in every engine that tokenises here.

It knows a tokenizer and a context length. Control tokens and a template's own markers written out
in a text are removed before rendering: a question or a model's answer can never open a turn of its
own.
"""

from __future__ import annotations

import asyncio
import re
import threading
from collections import OrderedDict
from collections.abc import Sequence
from functools import cached_property
from typing import Any

from protocols.core.errors import ContributorError, UserError
from protocols.core.models import ModelSpec
from protocols.engines.checks import check_template
from protocols.engines.templates import BadTemplateError, render, renderer
from protocols.lib.prompts import Message

FILLER = "zqx{}xqz"
MARKUP = re.compile(r"<<?/?[^<>\s]{1,40}>>?|\[/?[A-Z_ ]{2,30}\]|^#{1,4} ?\w[\w ]{0,30}:?", re.M)
"""How templates mark turns without control tokens: <|user|>, <<SYS>>, [INST], ### Response:"""
KEPT_PROMPTS = 32
"""Protocols count a prompt's tokens right before they send it, and often to several models."""
SPEAKER = re.compile(r"\b\w{3,24}:\s*\Z")
"""A speaker's name right before a text, as in "USER: " """


class Prompter:
    """Renders prompts for one base model; ``window`` is its context length in tokens."""

    def __init__(self, tokenizer: Any, window: int) -> None:
        self.tokenizer, self.window = tokenizer, window
        self._markers: dict[str, re.Pattern[str]] = {}
        self.__setstate__({})
        renderer().start()

    def __getstate__(self) -> dict[str, Any]:
        """What travels to another process: everything but the lock and what it guards."""
        return {k: v for k, v in self.__dict__.items() if k not in ("_lock", "_encoded")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._lock = threading.Lock()
        self._encoded: OrderedDict[str, list[int]] = OrderedDict()

    @cached_property
    def _control(self) -> re.Pattern[str]:
        """Matches the tokenizer's control tokens as text; matches nothing if it has none."""
        return _any_of(self._control_tokens)

    @cached_property
    def _control_tokens(self) -> set[str]:
        return set(self.tokenizer.all_special_tokens) | {
            token.content for token in self.tokenizer.added_tokens_decoder.values() if token.special
        }

    @cached_property
    def vocabulary(self) -> dict[str, int]:
        """Every token with its id."""
        return dict(self.tokenizer.get_vocab())

    def clean(self, text: str) -> str:
        """The text without written-out control tokens, also ones that removal would uncover."""
        return _without(self._control, text)

    def template(self, model: ModelSpec) -> str:
        """The chat template a model is asked in. Raises :class:`ContributorError` for a huge one.

        Raises ``ValueError`` if there is none.
        """
        found = str(self.tokenizer.get_chat_template(model.chat_template or None))
        check_template(model, found)
        return found

    def data(self, template: str, text: str) -> str:
        """A message's text without anything that this template or tokenizer reads as structure."""
        if template not in self._markers:
            self._markers[template] = _any_of(self._control_tokens | self._written(template))
        return _without(self._markers[template], text)

    def _written(self, template: str) -> set[str]:
        """What the template itself writes around texts and a reader would take for a turn."""
        fillers = [FILLER.format(place) for place in range(3)]
        turns: list[Message] = [
            {"role": role, "content": text}
            for role, text in zip(("user", "assistant", "user"), fillers, strict=True)
        ]
        try:
            shown = self._render(template, turns)
        except BadTemplateError:
            # Some templates take a single question only.
            shown = self._render(template, turns[:1])
        around = re.split("|".join(fillers), shown)
        plain = [self._control.sub("\n", piece) for piece in around]
        added = {token.content for token in self.tokenizer.added_tokens_decoder.values()}
        found = {m.group() for piece in plain for m in MARKUP.finditer(piece)}
        found |= {m.group().strip() for piece in plain for m in SPEAKER.finditer(piece)}
        return found | {token for token in added if MARKUP.fullmatch(token)}

    def _render(self, template: str, turns: Sequence[Message], opened: bool = True) -> str:
        variables = {k: str(v) for k, v in self.tokenizer.special_tokens_map.items()}
        return render(template, turns, variables, opened=opened)

    def text(self, model: ModelSpec, messages: Sequence[Message], opened: bool = True) -> str:
        """The rendered turns, and the beginning of an answer if ``opened``.

        Raises :class:`ContributorError` if the model has no usable chat template.
        """
        try:
            template = self.template(model)
            turns: list[Message] = [
                {"role": m["role"], "content": self.data(template, m["content"])} for m in messages
            ]
            return self._render(template, turns, opened)
        except (BadTemplateError, ValueError) as error:
            reason = str(error) if isinstance(error, BadTemplateError) else type(error).__name__
            raise ContributorError(
                f"'{model.title}' has no usable chat template ({reason}). Set chat_template in its "
                "pool entry."
            ) from error

    def ids(self, model: ModelSpec, messages: Sequence[Message], prefix: str = "") -> list[int]:
        """Token ids of the prompt: the rendered turns, an opened answer, and the prefix.

        Raises :class:`ContributorError` if the model has no usable chat template.
        """
        return self._ids(self.text(model, messages) + self.clean(prefix))

    def _ids(self, text: str) -> list[int]:
        """Token ids of a rendered text. One thread at a time: a tokenizer is not made for more."""
        with self._lock:
            if text not in self._encoded:
                encoded = self.tokenizer(text, add_special_tokens=False)
                self._encoded[text] = list(encoded["input_ids"])
            self._encoded.move_to_end(text)
            while len(self._encoded) > KEPT_PROMPTS:
                self._encoded.popitem(last=False)
            return list(self._encoded[text])

    def length(self, model: ModelSpec, messages: Sequence[Message], prefix: str = "") -> int:
        """Number of the prompt's tokens."""
        return len(self.ids(model, messages, prefix))

    def fitting(self, model: ModelSpec, messages: Sequence[Message], prefix: str = "") -> list[int]:
        """Like :meth:`ids`; raises :class:`UserError` if no room is left for an answer."""
        ids = self.ids(model, messages, prefix)
        if len(ids) >= self.window:
            raise UserError(
                f"The prompt for '{model.title}' has {len(ids):,} tokens; its context holds "
                f"{self.window:,}. Shorten the question or let fewer models talk."
            )
        return ids

    async def prepared(
        self, model: ModelSpec, messages: Sequence[Message], prefix: str = ""
    ) -> list[int]:
        """Like :meth:`fitting`, in a thread.

        A long prompt takes a tenth of a second and more, and a contributor's template may take one,
        in which no other run could go on or be stopped.
        """
        return await asyncio.to_thread(self.fitting, model, messages, prefix)

    def label_ids(self, model: ModelSpec, labels: Sequence[str], prefix: str) -> list[int]:
        """One token id per label, with a leading space after a prefix that does not end in one."""
        space = " " if prefix and not prefix[-1].isspace() else ""
        found = []
        for label in labels:
            ids = self._ids(space + label)
            if len(ids) != 1:
                raise ContributorError(
                    f"'{model.title}' has no single token for the label '{label}', so it cannot "
                    "decide among options. Pick another model for that."
                )
            found.append(ids[0])
        return found


def _any_of(texts: set[str]) -> re.Pattern[str]:
    """Matches each of the texts, longer ones first; matches nothing if there are none."""
    longest_first = sorted(filter(None, texts), key=lambda text: (-len(text), text))
    return re.compile("|".join(map(re.escape, longest_first)) or r"(?!)")


def _without(pattern: re.Pattern[str], text: str) -> str:
    """The text without what matches, also what removal would uncover."""
    while (cleaned := pattern.sub("", text)) != text:
        text = cleaned
    return text
