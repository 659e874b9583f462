"""A model from examples: an adapter trained on a contributor's rows, measured on rows held back.

For people who have good answers and do not train models. One training at a time on a machine, in a
process of its own with limits; what comes out takes the same way in as every other contribution.
"""

from __future__ import annotations

import fcntl
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from threading import Event
from typing import Any

from protocols.core.errors import ContributorError, UserError
from protocols.engines.embedded_base import BASE_ID
from protocols.training.sft import SftConfig, fingerprint
from studio.contributed import Added, Offer, OwnData, add, check_id
from studio.contribution import staged
from studio.contribution_checks import Finding
from studio.contribution_worker import ask_worker
from studio.examples import Example, rows_of, split
from studio.pool import load_pool
from studio.settings import Settings

MAX_STEPS = 300
SEED = 7
PASSES = 6
"""How often each row is seen, unless that takes more than the steps asked for."""
DEFAULT_STEPS = 80
LENGTH = 384
LOCK = "teaching.lock"
OnStep = Callable[[int, int, float | None], None]
"""Is told the step, of how many, and the loss where it was just taken."""


@dataclass(frozen=True)
class Lesson:
    """What is told while it goes on: steps with their loss, points, answers of the held-back."""

    step: OnStep = lambda step, steps, loss: None
    point: Callable[[Finding], None] = lambda finding: None
    answered: Callable[[int, int], None] = lambda done, total: None
    stop: Event | None = None


@contextmanager
def one_at_a_time(workspace: Path) -> Iterator[None]:
    """Hold the machine's one place for training. Raises :class:`UserError` while it is taken."""
    workspace.mkdir(parents=True, exist_ok=True)
    with (workspace / LOCK).open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise UserError(
                "Another model is being trained from examples here. Try again in a few minutes."
            ) from None
        yield


def config_for(rows: int, most_steps: int = DEFAULT_STEPS, seed: int = SEED) -> SftConfig:
    """As many steps as six passes over the rows need, up to ``most_steps``.

    Raises :class:`UserError` for a number of steps that is not allowed.
    """
    if not 1 <= most_steps <= MAX_STEPS:
        raise UserError(f"Between 1 and {MAX_STEPS} steps can be asked for, not {most_steps}.")
    usual = SftConfig()
    wanted = max(10, math.ceil(rows * PASSES / usual.batch))
    steps = min(most_steps, wanted)
    warmup = min(usual.warmup, max(1, steps // 8))
    return replace(usual, steps=steps, warmup=warmup, seed=seed, max_length=LENGTH)


def teach(
    offer: Offer,
    examples: Sequence[Example],
    settings: Settings,
    *,
    who: str,
    wait: bool,
    steps: int = DEFAULT_STEPS,
    lesson: Lesson | None = None,
    try_out: bool = True,
) -> Added:
    """Train an adapter on four fifths of the examples and hand it in with the rest as own data.

    Raises :class:`UserError` for an id that is used, while another training runs or when it is
    stopped, and :class:`ContributorError` for a training or a check that fails. Then nothing stays.
    """
    told = lesson or Lesson()
    if not offer.licence:
        raise UserError("State the licence that the examples' adapter is given under.")
    base = settings.workspace / "models" / BASE_ID
    if not base.is_dir():
        raise UserError("The embedded base model is not here yet. Fetch it with: make setup")
    train, held = split(examples, SEED)
    config = config_for(len(train), steps)
    check_id(offer, load_pool(offer.pool, settings), settings, wait)
    with one_at_a_time(settings.workspace), staged(settings.workspace) as folder:
        made = _train(base, train, config, folder / "adapter", told)
        own = OwnData(held, examples, told.answered, told.stop, _card(train, config, made))
        return add(
            offer, [folder / "adapter"], settings, who=who, wait=wait, base_here=True,
            try_out=try_out, tell=told.point, own=own,
        )  # fmt: skip


def _train(
    base: Path, rows: Sequence[Example], config: SftConfig, out: Path, told: Lesson
) -> dict[str, Any]:
    asked = {
        "base": str(base),
        "base_id": BASE_ID,
        "rows": list(rows_of(rows)),
        "config": asdict(config),
        "out": str(out),
    }
    made: dict[str, Any] = {}
    for line in ask_worker("studio.teach_worker", asked, told.stop):
        if line.get("problem"):
            raise ContributorError(f"The examples could not be learned: {line['problem']}.")
        if "step" in line:
            told.step(int(line["step"]), config.steps, line.get("loss"))
        else:
            made = line
    if not made:
        raise ContributorError("The training ended before its last step.")
    return made


def _card(rows: Sequence[Example], config: SftConfig, made: dict[str, Any]) -> dict[str, Any]:
    """What the model's card says of its training; every number is of this training."""
    pairs = list(rows_of(rows))
    training = {
        "examples": len(pairs),
        "steps": config.steps,
        "seed": config.seed,
        "seconds": round(float(made["seconds"])),
        "device": str(made["device"]),
        "loss": round(float(made["loss"]), 4),
    }
    return {"training": training, "made_from": fingerprint(pairs, config)}
