"""One text by several authors: patches, hand-overs at white space, and who wrote how much."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from protocols.core.call import Call
from protocols.core.events import Speaking

LOOP = 3
"""So many equal patches in a row are a loop."""
EMPTY = 2
"""So many empty patches in a row end the text."""


@dataclass
class Draft:
    """The shared text and who wrote which part of it."""

    limit: int
    parts: list[tuple[str, str, str]] = field(default_factory=list)
    """(call id, model id, text) of each committed patch."""
    pending: Call | None = None
    """The newest patch; how much of it is kept depends on who writes next."""
    spent: int = 0
    empty: int = 0
    author: str = ""
    barred: set[str] = field(default_factory=set)

    @property
    def text(self) -> str:
        """The committed text."""
        return "".join(part for _, _, part in self.parts)

    @property
    def whole(self) -> str:
        """The text with the pending patch."""
        return self.text + (self.pending.text if self.pending else "")

    def take(self, patch: Call) -> bool:
        """Accept a patch that was just written; returns whether the text has come to its end."""
        if not patch.ok:
            self.barred.add(patch.model)
            return False
        self.spent += patch.usage.completion_tokens
        self.empty = 0 if patch.text.strip() else self.empty + 1
        self.pending, self.author = patch, patch.model
        return patch.finish == "stop" or self.empty >= EMPTY or self.spent >= self.limit

    def commit(self, next_author: str) -> Iterator[Speaking]:
        """Keep the pending patch: all of it, or up to its last white space at a hand-over."""
        if self.pending:
            call, self.pending = self.pending, None
            text = call.text if next_author in ("", call.model) else back_off(call.text)
            self.parts.append((call.id, call.model, text))
            yield Speaking(call=call.id, model=call.model, text=text, index=len(self.parts) - 1)

    def loops(self) -> bool:
        """Whether the last patches all say the same."""
        last = [part.strip() for _, _, part in self.parts[-LOOP:]]
        return len(last) == LOOP and len(set(last)) == 1

    def shares(self) -> dict[str, float]:
        """Each model's share of the characters."""
        total = len(self.text)
        shares: dict[str, float] = {}
        for _, model, part in self.parts:
            shares[model] = shares.get(model, 0.0) + len(part) / total
        return shares


def back_off(text: str) -> str:
    """A patch up to its last white space, unless it ends in white space or is a single word."""
    cut = max(text.rfind(" "), text.rfind("\n"))
    return text if text[-1:].isspace() or not text[:cut].strip() or cut < 0 else text[:cut]
