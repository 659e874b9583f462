"""Trains an adapter from examples: ``python -m studio.teach_worker``, started by ``teaching``."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from protocols.core.errors import StudioError
from protocols.core.models import ModelSpec
from protocols.training.sft import SftConfig, conversation, train_sft
from studio.contribution_worker import limit, say

CPU_SECONDS = 3 * 3_600
SPARE = 10 * 2**30
"""Bytes beside three times the base: activations of a batch and the trainer's libraries."""


def too_long(base: Path, rows: list[tuple[str, str]], most: int) -> int:
    """The number (from 1) of the first row that does not fit into ``most`` tokens; 0 if all do."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(base, trust_remote_code=False)
    for number, row in enumerate(rows, start=1):
        turns = conversation(*row)
        text = tokenizer.apply_chat_template(turns["prompt"] + turns["completion"], tokenize=False)
        if len(tokenizer(text)["input_ids"]) > most:
            return number
    return 0


def work(asked: dict[str, Any]) -> None:
    """Train on the rows; tells every step, the loss every few, and expected errors."""
    base, rows = Path(asked["base"]), [(str(q), str(a)) for q, a in asked["rows"]]
    config = SftConfig(**asked["config"])
    if number := too_long(base, rows, config.max_length):
        prompt = rows[number - 1][0][:60]
        say({"problem": f"'{prompt}' and its answer have over {config.max_length} tokens"})
        return
    try:
        trained = train_sft(
            base, rows, Path(asked["out"]), base_id=asked["base_id"], config=config,
            watch=lambda step, numbers: say({"step": step, "loss": numbers.get("loss")}),
        )  # fmt: skip
    except StudioError as error:
        say({"problem": error.message})
        return
    say({"seconds": trained.seconds, "device": trained.device, "loss": trained.loss})


def main() -> None:
    """Read, limit, train."""
    asked = json.loads(sys.stdin.read())
    limit([ModelSpec(id="base", source=asked["base"])], CPU_SECONDS, SPARE)
    work(asked)


if __name__ == "__main__":
    main()
