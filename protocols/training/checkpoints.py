"""Trainings that can be watched, stopped within a step, and gone on with after a kill.

The trainer's own checkpoints are used. A file written last says that one is whole; they hold
tensors and are read back as nothing else. They go when the fit is over: artifacts are safetensors.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

WHOLE = "whole"
PREFIX = "checkpoint-"
Watch = Callable[[int, Mapping[str, float]], None]
"""Is told the step and its numbers, also where a step begins (without numbers); may raise."""


def newest_checkpoint(folder: Path) -> str | None:
    """The last whole checkpoint in ``folder``; one that a kill left half-written does not count."""
    whole = [path.parent for path in folder.glob(f"{PREFIX}*/{WHOLE}")]
    found = max(whole, key=lambda path: int(path.name.removeprefix(PREFIX)), default=None)
    return str(found) if found else None


def checkpoint_arguments(folder: Path, every: int) -> dict[str, Any]:
    """The trainer's arguments that make checkpoints in ``folder``."""
    return {
        "output_dir": str(folder),
        "save_strategy": "steps",
        "save_steps": every,
        "save_total_limit": 2,
        "logging_steps": 1,
    }


def resume_training(trainer: Any, folder: Path) -> float:
    """Train on from the newest checkpoint in ``folder``; returns the loss.

    One of the last step is taken as it is: the trainer itself would take another step from it.
    """
    found = newest_checkpoint(folder)
    if found:
        state = json.loads(Path(found, "trainer_state.json").read_text(encoding="utf-8"))
        if state["global_step"] >= state["max_steps"]:
            trainer._load_from_checkpoint(found)
            losses = [row["loss"] for row in state["log_history"] if "loss" in row]
            return float(losses[-1]) if losses else math.nan
    return float(trainer.train(resume_from_checkpoint=found).training_loss)


class Resuming:
    """For trainers of one adapter: take up exactly the trained adapter of a checkpoint.

    transformers would take up only the adapters in a checkpoint's subfolders where there are any,
    and with DPO that is the reference; peft would turn a bf16 adapter into fp32.
    """

    model: Any

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        (model or self.model).load_adapter(
            resume_from_checkpoint, "default", is_trainable=True, autocast_adapter_dtype=False
        )


def progress_callback(watch: Watch | None) -> Any:
    """A trainer callback that passes on every step's numbers and marks whole checkpoints."""
    from transformers import TrainerCallback

    class Watched(TrainerCallback):  # type: ignore[misc]
        """Tell what happens."""

        def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if watch:
                watch(int(state.global_step), {})

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
            if watch and logs and "loss" in logs:
                numbers = {k: float(v) for k, v in logs.items() if isinstance(v, int | float)}
                watch(int(state.global_step), numbers)

        def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            Path(args.output_dir, f"{PREFIX}{state.global_step}", WHOLE).touch()

    return Watched()
