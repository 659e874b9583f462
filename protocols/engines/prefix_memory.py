"""Prompts that were read before are not read again.

Rounds of a debate, samples of one question and the steps of a switched text begin with the same
tokens. What a row left in the cache is kept in spare slots; a new row with the same adapter copies
the longest common beginning, which costs a fraction of computing it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from protocols.engines.slots import SlotCache

WORTH = 16
"""Fewer common tokens than this are read anew."""
LONGEST = 1024
"""Tokens of a prompt that are remembered at most; more would cost memory for little."""


@dataclass(eq=False)
class Known:
    """Token ids whose keys and values lie in ``slot`` under ``adapter``."""

    slot: int
    adapter: str
    ids: Sequence[int]


class PrefixMemory:
    """Remembers the contents of ``slots`` spare slots from slot ``first`` on, oldest out first."""

    def __init__(self, cache: SlotCache, first: int, slots: int) -> None:
        self._cache = cache
        self._free = list(range(first, first + slots))
        self._known: list[Known] = []

    def keep(self, slot: int, adapter: str, ids: Sequence[int]) -> None:
        """Remember what ``slot`` holds: ``ids``, read under ``adapter``."""
        ids = ids[:LONGEST]
        if len(ids) < WORTH or any(_covers(known, adapter, ids) for known in self._known):
            return
        for known in [
            k for k in self._known if _covers(Known(slot, adapter, ids), k.adapter, k.ids)
        ]:
            self._drop(known)
        if not self._free:
            self._drop(self._known[0])
        known = Known(self._free.pop(), adapter, tuple(ids))
        self._cache.move(slot, known.slot, len(ids))
        self._known.append(known)

    def recall(
        self, slot: int, adapter: str, ids: Sequence[int], active: Iterable[Known] = ()
    ) -> int:
        """Copy the longest known beginning of ``ids`` into ``slot``; returns its length in tokens.

        At least the last token is left to be read: its output is what the caller wants. ``active``
        are rows that are being decoded, whose beginnings serve as well.
        """
        best, length = None, WORTH - 1
        for known in (*self._known, *active):
            common = _common(known.ids, ids[:-1]) if known.adapter == adapter else 0
            if common > length:
                best, length = known, common
        if best is None:
            return 0
        if best in self._known:
            self._known.remove(best)
            self._known.append(best)
        self._cache.move(best.slot, slot, length)
        return length

    def forget(self, adapter: str) -> None:
        """Drop everything read under an adapter, because its weights leave."""
        for known in [k for k in self._known if k.adapter == adapter]:
            self._drop(known)

    def _drop(self, known: Known) -> None:
        self._known.remove(known)
        self._free.append(known.slot)


def _covers(known: Known, adapter: str, ids: Sequence[int]) -> bool:
    return known.adapter == adapter and tuple(known.ids[: len(ids)]) == tuple(ids)


def _common(left: Sequence[int], right: Sequence[int]) -> int:
    """Number of equal tokens at the beginning of both."""
    for at, (one, other) in enumerate(zip(left, right, strict=False)):
        if one != other:
            return at
    return min(len(left), len(right))
