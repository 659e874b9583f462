"""How a question is put to a model. Training rows and live calls are built by this one function,
so a specialist meets at inference exactly the bytes it was trained on.
"""

from __future__ import annotations

from typing import TypedDict

SYSTEM = "You are a helpful assistant. Answer briefly and exactly."


class Message(TypedDict):
    """One chat turn; ``role`` is ``system``, ``user`` or ``assistant``."""

    role: str
    content: str


def question_messages(question: str, system: str = SYSTEM) -> list[Message]:
    """Return the two turns that ask ``question``: a system turn and a user turn.

    A system turn is always sent: some chat templates add one of their own when it is missing.
    """
    return [{"role": "system", "content": system}, {"role": "user", "content": question}]
