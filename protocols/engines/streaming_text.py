"""Token ids to text, piece by piece: characters are never split and stop strings never shown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

BROKEN = "\ufffd"
CONTEXT = 6
"""Tokens before the new ones that are decoded with them, since spacing depends on neighbours."""


class StreamingText:
    """Decodes one growing text. ``prompt`` gives the first tokens their context."""

    def __init__(self, tokenizer: Any, prompt: Sequence[int]) -> None:
        self._tokenizer = tokenizer
        self._ids = list(prompt[-CONTEXT:])
        self._shown = self._start = len(self._ids)
        self._from = 0
        self._held = ""
        self._uncounted = 0

    def add(self, ids: Sequence[int], stops: Sequence[str]) -> tuple[str, bool]:
        """Take new ids; returns the text that may be shown now and whether a stop string came.

        A text that could be the beginning of a stop string, or that ends inside a character, is
        held back.
        """
        self._ids.extend(ids)
        self._uncounted += 1
        text = self._held + self._decoded()
        cut = min((at for stop in stops if (at := text.find(stop)) >= 0), default=-1)
        if cut >= 0:
            self._held = ""
            return text[:cut], True
        keep = _beginning(text, stops)
        self._held = text[len(text) - keep :] if keep else ""
        return text[: len(text) - keep] if keep else text, False

    def rest(self, stops: Sequence[str]) -> str:
        """What was held back, once no more can come; half a character is dropped."""
        text = self._held + self._decoded(final=True)
        self._held = ""
        return text.rstrip(BROKEN)

    def counted(self) -> int:
        """Tokens taken since the last time this was asked."""
        count, self._uncounted = self._uncounted, 0
        return count

    def _decoded(self, final: bool = False) -> str:
        """The text of ids not shown yet, as far as it consists of whole characters."""
        before = self._decode(self._ids[self._from : self._shown])
        whole = self._decode(self._ids[self._from :])
        if whole.endswith(BROKEN) and not final:
            return ""
        self._from, self._shown = max(0, self._shown - CONTEXT), len(self._ids)
        return whole[len(before) :]

    def _decode(self, ids: list[int]) -> str:
        text: str = self._tokenizer.decode(
            ids, skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        return text


def _beginning(text: str, stops: Sequence[str]) -> int:
    """Length of the longest end of ``text`` that begins a stop string."""
    longest = 0
    for stop in stops:
        for size in range(min(len(stop) - 1, len(text)), longest, -1):
            if stop.startswith(text[-size:]):
                longest = size
                break
    return longest
