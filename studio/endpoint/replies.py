"""What a client gets: completions, stream chunks and errors in OpenAI's format.

Beside the standard fields each answer carries ``participation``: the contributors' shares, whether
the answer is only the best so far, and the link to the run, where every step can be seen.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from protocols.core.events import (
    Answer,
    CallEnded,
    CallFailed,
    Decision,
    Ended,
    Event,
    Phase,
    Progress,
)

Json = dict[str, Any]
DONE = "data: [DONE]\n\n"
ALIVE = ": still working\n\n"
"""An SSE comment: proxies close connections on which nothing is sent."""


@dataclass(frozen=True)
class Reply:
    """What stays the same in all parts of one reply. ``created`` is in seconds since 1970."""

    id: str
    model: str
    created: int
    link: str

    def head(self, kind: str) -> Json:
        """The fields that every part begins with."""
        return {
            "id": f"chatcmpl-{self.id}",
            "object": kind,
            "created": self.created,
            "model": self.model,
        }

    def whole(self, answer: Answer, ended: Ended, why: str) -> Json:
        """A completion in one piece; ``why`` is what :func:`finish` says."""
        message = {"role": "assistant", "content": answer.text, "refusal": None}
        choice = {"index": 0, "message": message, "finish_reason": why}
        return {
            **self.head("chat.completion"),
            "choices": [choice | {"logprobs": None}],
            "usage": usage(ended),
            "participation": self.participation(answer, ended),
        }

    def chunk(self, delta: Json, finish_reason: str | None = None, **more: Any) -> str:
        """A part of a stream, as a server-sent event."""
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        return sse({**self.head("chat.completion.chunk"), "choices": [choice], **more})

    def used(self, ended: Ended) -> str:
        """The last part of a stream that was asked to include usage."""
        return sse({**self.head("chat.completion.chunk"), "choices": [], "usage": usage(ended)})

    def participation(self, answer: Answer, ended: Ended) -> Json:
        """Who contributed how much, and where the run can be seen."""
        return {
            "run": self.id,
            "trace": self.link,
            "contributors": answer.contributors,
            "best_so_far": answer.partial,
            "note": answer.note,
            "calls": ended.calls,
            "failed_calls": ended.failed,
            "seconds": round(ended.t, 3),
        }


def finish(answer: Answer, events: Sequence[Event]) -> str:
    """``length`` for an answer that was cut: by a stop, a spent budget, or its number of tokens."""
    cut = (e for e in events if isinstance(e, CallEnded) and e.finish == "length")
    spoken = any(e.call in answer.sources and e.text.strip() == answer.text.strip() for e in cut)
    return "length" if answer.partial or spoken else "stop"


def usage(ended: Ended) -> Json:
    """Tokens over all models of the run, not only of the text that came back."""
    spent = ended.usage
    return {
        "prompt_tokens": spent.prompt_tokens,
        "completion_tokens": spent.completion_tokens,
        "total_tokens": spent.prompt_tokens + spent.completion_tokens,
    }


def thought(event: Event) -> str:
    """An event as a line about how the answer came to be; empty for those not worth a line."""
    match event:
        case Phase():
            return event.title
        case Decision():
            return f"{event.title or event.what}: {event.chosen}. {event.why}".rstrip(" .") + "."
        case CallFailed():
            return f"{event.call} failed: {event.message}"
        case Progress() if event.level == "warning" and event.note:
            return event.note
        case _:
            return ""


def error_body(message: str, kind: str, code: str | None = None, param: str | None = None) -> Json:
    """An error in OpenAI's format."""
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def sse(body: Json) -> str:
    """One server-sent event."""
    return f"data: {json.dumps(body, ensure_ascii=False)}\n\n"


def listed(name: str, created: int) -> Json:
    """A system as a model."""
    return {"id": name, "object": "model", "created": created, "owned_by": "participants"}


def listing(names: Sequence[str], created: int) -> Json:
    """The systems on offer, as a list of models."""
    return {"object": "list", "data": [listed(name, created) for name in names]}
