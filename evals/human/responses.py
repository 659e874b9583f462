"""Answers on disk: one JSON object a line, appended and made durable one by one."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from pydantic import TypeAdapter

from evals.append_only import AppendOnly
from evals.human.study import Arm

Outcome = Literal["ok", "empty", "failed"]
FILE = "responses.jsonl"


@dataclass(frozen=True, slots=True)
class Response:
    """One arm's answer to one question, raw: it may name its model and must not reach a rater.

    ``key`` names the run and its weights, ``run`` the run alone. ``cut``: the length limit ended
    it. ``error`` and ``owner`` say what went wrong and who can mend it.
    """

    key: str
    stratum: str
    arm: Arm
    question: str
    prompt: str
    text: str = ""
    outcome: Outcome = "ok"
    finish: str = ""
    cut: bool = False
    run: str = ""
    error: str = ""
    owner: str = ""
    language: str = ""
    spare: bool = False
    gold: Arm | None = None
    category: str = ""

    @property
    def again(self) -> bool:
        """Whether it failed for a reason of the machine, so that another try is fair."""
        return self.outcome != "ok" and self.owner in ("engine", "bug")


_WIRE = TypeAdapter(Response)


def last_by_key(responses: Iterable[Response]) -> dict[str, Response]:
    """Return the newest answer of every key."""
    return {response.key: response for response in responses}


def response_file(folder: Path) -> AppendOnly[Response]:
    """The answers of one study's folder, to read or to open for writing."""
    return AppendOnly(folder / FILE, _WIRE.validate_json, _line)


def _line(response: Response) -> str:
    return json.dumps(asdict(response), ensure_ascii=False)
