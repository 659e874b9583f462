"""Putting other models' words into a prompt: fenced as data, shortened evenly when they do not fit.

Contributed models may be hostile, so their text is always set apart and never reads as an
instruction of ours.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from protocols.lib.prompts import Message

FENCE = '"""'
GAP = " [...] "
LEAST = 40
"""Characters of a text that are always kept."""
LOOP = 3
"""So many times the same piece in a row are a loop, if they make up ..."""
SHORTEST_LOOP = 12
"""... so many characters."""
LONGEST_PIECE = 240


def fence(text: str) -> str:
    """Set a text apart as data; a fence inside it is taken out."""
    return f"{FENCE}\n{text.replace(FENCE, '').strip()}\n{FENCE}"


def fenced(texts: Sequence[str], label: str) -> str:
    """Number the texts and fence each one."""
    return "\n\n".join(
        f"{label} {number}:\n{fence(text)}" for number, text in enumerate(texts, start=1)
    )


def repeats(text: str) -> bool:
    """Whether a text ends in a loop: one piece again and again, wherever it breaks off."""
    for size in range(1, min(LONGEST_PIECE, len(text) // LOOP) + 1):
        times = max(LOOP, -(-SHORTEST_LOOP // size))
        if text.endswith(text[-size:] * times):
            return True
    return False


def clip_middle(text: str, limit: int) -> str:
    """Keep the beginning and the end of a text of more than ``limit`` characters."""
    if len(text) <= limit:
        return text
    half = max(1, (limit - len(GAP)) // 2)
    return text[:half] + GAP + text[-half:]


def shortened(
    texts: Sequence[str],
    build: Callable[[Sequence[str]], list[Message]],
    fits: Callable[[Sequence[Message]], bool],
    warn: Callable[[str], None] = lambda _: None,
) -> list[Message]:
    """Build messages from texts, cutting the longest ones in the middle until they fit.

    Instructions are never cut; if even the shortest texts do not fit, the messages are returned as
    they are and the engine says that the prompt is too long.
    """
    limit = max((len(text) for text in texts), default=0)
    messages = build(texts)
    while limit > LEAST and not fits(messages):
        limit = max(LEAST, limit * 3 // 4)
        messages = build([clip_middle(text, limit) for text in texts])
    cut = sum(len(text) > limit for text in texts)
    if cut:
        warn(f"{cut} of {len(texts)} answers were shortened to {limit} characters to fit.")
    return messages
