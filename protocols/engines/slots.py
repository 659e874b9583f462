"""A key/value cache of slots: rows join and leave the batch between steps.

Row ``i`` of a batch lives in slot ``i``. When a row leaves, the last row moves into its slot, so
the active rows are always the first ones and no step copies the cache. It knows transformers'
cache and attention interfaces, and nothing about adapters or text.
"""

from __future__ import annotations

import math
import mmap
from collections.abc import Iterable
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812  the field's name for it
from transformers import AttentionInterface

from protocols.core.errors import ContributorError

ATTENTION = "studio_slots"
FIRST_LENGTH = 512
"""Tokens per slot at the beginning; doubled when a longer row comes."""


def attention(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    **more: Any,
) -> tuple[torch.Tensor, None]:
    """Grouped-query attention that never repeats keys and values.

    query [rows, heads, tokens, size], key and value [rows, groups, context, size], additive mask
    [rows, 1, tokens, context]; returns [rows, tokens, heads, size]. Raises
    :class:`ContributorError` for what it does not compute; a model is tried when it is loaded.
    """
    if more.get("softcap") is not None or more.get("s_aux") is not None:
        raise ContributorError(
            "The model's attention has soft caps or sinks, which the transformers engine does not "
            "compute. Serve it with vLLM or elsewhere and give its endpoint as the source."
        )
    rows, heads, tokens, size = query.shape
    groups = key.shape[1]
    if tokens == 1 and heads != groups:
        shared = query.reshape(rows, groups, heads // groups, size)
        out = F.scaled_dot_product_attention(
            shared, key, value, attn_mask=attention_mask, scale=scaling
        )
        return out.reshape(rows, 1, heads, size), None
    out = F.scaled_dot_product_attention(
        query,
        key,
        value,
        attn_mask=attention_mask,
        is_causal=attention_mask is None and tokens > 1,
        scale=scaling,
        enable_gqa=heads != groups,
    )
    return out.transpose(1, 2).contiguous(), None


AttentionInterface.register(ATTENTION, attention)


class SlotCache:
    """Keys and values of up to ``slots`` rows, grown on demand. Passed as ``past_key_values``.

    Before each forward pass :meth:`aim` says where the new tokens go.
    """

    is_compileable = False

    def __init__(self, slots: int, dtype: torch.dtype, device: str) -> None:
        self.slots, self.length = slots, FIRST_LENGTH
        self._dtype, self._device = dtype, device
        self._keys: list[torch.Tensor] = []
        self._values: list[torch.Tensor] = []
        self._rows = torch.zeros(1, dtype=torch.long)
        self._places = torch.zeros(1, 1, dtype=torch.long)
        self._end = 0
        self._first = self._last = 0
        self._used = [0] * slots
        """How much of each slot was ever written, in tokens."""

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """Transformers asks for this to make positions; ours are always given."""
        return 0

    def fit(self, length: int) -> None:
        """Make every slot hold at least ``length`` tokens."""
        while self.length < length:
            self.length *= 2
            self._copy()

    def widen(self, slots: int) -> None:
        """Hold ``slots`` rows from now on; what the present ones hold stays."""
        self._used += [0] * (slots - self.slots)
        self.slots = slots
        self._copy()

    def _copy(self) -> None:
        self._keys = [self._widened(k) for k in self._keys]
        self._values = [self._widened(v) for v in self._values]

    def aim(self, first: int, starts: list[int], tokens: int) -> torch.Tensor | None:
        """The next pass writes ``tokens`` tokens per row, for rows in slots ``first`` and on.

        ``starts`` are their positions in each row. Returns the additive mask
        [rows, 1, tokens, context] under which each token sees its row up to itself; none for whole
        prompts, where plain causal attention is the same and cheaper.
        """
        count = len(starts)
        self._first, self._last = first, first + count
        begin = torch.tensor(starts, device=self._device)
        self._places = begin[:, None] + torch.arange(tokens, device=self._device)
        self._rows = torch.arange(first, first + count, device=self._device)[:, None]
        self._end = max(starts) + tokens
        self._wrote(range(first, first + count), self._end)
        if not any(starts):
            return None
        seen = torch.arange(self._end, device=self._device) <= self._places[..., None]
        mask = torch.zeros(seen.shape, dtype=self._dtype, device=self._device)
        return mask.masked_fill_(~seen, float("-inf"))[:, None]

    def update(
        self, key: torch.Tensor, value: torch.Tensor, layer_idx: int, *_: Any, **__: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Store new keys and values [rows, groups, tokens, size]; return the whole context."""
        if layer_idx == len(self._keys):
            shape = (self.slots, self.length, key.shape[1], key.shape[3])
            self._keys.append(empty_room(shape, key))
            self._values.append(empty_room(shape, value))
        found = []
        for store, new in ((self._keys[layer_idx], key), (self._values[layer_idx], value)):
            store[self._rows, self._places] = new.transpose(1, 2)
            found.append(store[self._first : self._last, : self._end].transpose(1, 2))
        return found[0], found[1]

    def move(self, source: int, target: int, length: int) -> None:
        """Copy the first ``length`` tokens of a slot into another."""
        for store in (*self._keys, *self._values):
            store[target, :length] = store[source, :length]
        self._wrote([target], length)

    def clear(self, slot: int) -> None:
        """Zero a slot again, as if nothing had been written."""
        for store in (*self._keys, *self._values):
            store[slot, : self._used[slot]] = 0
        self._used[slot] = 0

    def _wrote(self, slots: Iterable[int], length: int) -> None:
        for slot in slots:
            self._used[slot] = max(self._used[slot], length)

    def _widened(self, store: torch.Tensor) -> torch.Tensor:
        """A larger copy; only what was written is touched."""
        wider = empty_room((self.slots, self.length, *store.shape[2:]), store)
        for slot, used in enumerate(self._used[: store.shape[0]]):
            wider[slot, :used] = store[slot, :used]
        return wider


def empty_room(shape: tuple[int, ...], like: torch.Tensor) -> torch.Tensor:
    """Zeros that take memory only where they are written, on a CPU.

    They must be zeros: attention multiplies masked values by 0, which leaves a stray NaN a NaN.
    ``torch.zeros`` writes every page; fresh pages of the system read as zero by themselves.
    """
    if like.device.type != "cpu":
        return torch.zeros(shape, dtype=like.dtype, device=like.device)
    pages = mmap.mmap(-1, math.prod(shape) * like.element_size())
    if hasattr(mmap, "MADV_NOHUGEPAGE"):  # one written byte would take 2 MiB otherwise
        pages.madvise(mmap.MADV_NOHUGEPAGE)
    return torch.frombuffer(pages, dtype=torch.uint8).view(like.dtype).view(shape)
