"""Train and measure the embedded specialists, and write their cards: ``studio pool train``.

Every number on a card comes from here: trained on a task's train split, measured on test splits.
Work that is already there and was made from the same data and settings is kept, so an interrupted
run goes on where it stopped. It knows nothing about protocols or pages.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from evals.metrics import Accuracy, accuracy, score
from evals.metrics.short_answer import RULES
from evals.tasks import Item, load_task, task_names
from protocols.core.errors import unknown
from protocols.core.models import content_hash
from protocols.engines.embedded_base import BASE_ID, ensure_base
from protocols.training.sft import Trained, fingerprint, load_base, train_sft
from protocols.training.trainers import device, threads
from studio.pool_cards import (
    BASE_CARD,
    BASE_MODEL,
    CARD,
    own_domain,
    read_card,
    write_card,
    write_pools,
)
from studio.pool_recipes import SPECIALISTS, Specialist
from studio.settings import REPOSITORY, Settings

COMPOSITE = "composite"
OTHERS = 8
BASE_TOKENS = 48
SPECIALIST_TOKENS = 24
log = logging.getLogger(__name__)

Say = Callable[[str], None]
Results = dict[str, dict[str, float | int]]


def train_pool(
    workspace: Path,
    out: Path = REPOSITORY / "assets" / "adapters",
    only: Sequence[str] = (),
    progress: Say | None = None,
) -> None:
    """Train, measure and describe the specialists; ``only`` restricts it to some ids.

    Writes ``out/<id>`` for each, and the presets' files into the ``pool`` folder beside ``out``.

    Raises:
        UserError: ``only`` has an id that is not in the pool.
        EngineError: the base model cannot be had.
    """
    say = progress or log.info
    ids = [one.id for one in SPECIALISTS]
    for wanted in only:
        if wanted not in ids:
            raise unknown("model", wanted, ids)
    base = ensure_base(workspace, say)
    measure_base(base, out, say)
    chosen = [one for one in SPECIALISTS if not only or one.id in only]
    for place, specialist in enumerate(chosen, 1):
        say(f"{specialist.id} ({place} of {len(chosen)})")
        train_specialist(specialist, base, out, workspace / "training", say)
        measure_specialist(specialist, base, out, say)
        write_pools(out)
    for preset, left in write_pools(out).items():
        for one in left:
            say(f"{one}: not in '{preset}' (untrained, unmeasured or too small a gain)")


def train_specialist(
    specialist: Specialist, base: Path, out: Path, scratch: Path, say: Say
) -> None:
    """Train one specialist unless its card says that it was made from the same rows.

    It is made in ``scratch`` and moved to ``out`` when it is whole.
    """
    rows = specialist.rows()
    made_from = fingerprint(rows, specialist.config)
    folder = out / specialist.id
    if read_card(folder).get("made_from") == made_from:
        say(f"{specialist.id}: kept, nothing changed")
        return
    partial = scratch / specialist.id
    shutil.rmtree(partial, ignore_errors=True)
    trained = train_sft(
        base,
        rows,
        partial,
        base_id=BASE_ID,
        config=specialist.config,
        on_step=lambda step, loss: say(f"{specialist.id}: step {step}, loss {loss:.3f}"),
    )
    card = {"made_from": made_from, "training": _training(specialist, trained, len(rows))}
    write_card(partial / CARD, card)
    shutil.rmtree(folder, ignore_errors=True)
    out.mkdir(parents=True, exist_ok=True)
    shutil.move(partial, folder)
    say(f"{specialist.id}: trained in {trained.seconds:.0f} s")


def measure_specialist(specialist: Specialist, base: Path, out: Path, say: Say) -> None:
    """Put test results on a specialist's card: all its own items, a few of each other task."""
    from peft import PeftModel

    card = read_card(out / specialist.id)
    own = [item for task in specialist.tasks for item in _test(task)]
    others = [task for task in single_tasks() if task not in specialist.tasks]
    items = [*own, *(item for task in others for item in _test(task)[:OTHERS])]
    if card.get("tested_on") == (mark := _mark(items)):
        return
    model, tokenizer = load_base(base, device())
    tuned = PeftModel.from_pretrained(model, out / specialist.id).eval()
    tested = _by_task(tuned, tokenizer, items, max_tokens=SPECIALIST_TOKENS)
    write_card(out / specialist.id / CARD, card | {"tested": tested, "tested_on": mark})
    found = own_domain(tested, specialist.tasks)
    say(f"{specialist.id}: {found['accuracy']:.0%} of {found['n']} on its own domain")


def measure_base(base: Path, out: Path, say: Say) -> None:
    """Put the base's results on its card, for the test items of every task of one skill."""
    kept = read_card(out, BASE_CARD)
    results: dict[str, Any] = {}
    for task in single_tasks():
        mark = _mark(_test(task))
        if kept.get(task, {}).get("tested_on") == mark:
            results[task] = kept[task]
            continue
        say(f"{BASE_MODEL}: {task}")
        model, tokenizer = load_base(base, device())
        found = _by_task(model.eval(), tokenizer, _test(task), max_tokens=BASE_TOKENS)
        results[task] = found[task] | {"tested_on": mark}
        write_card(out / BASE_CARD, results)
    write_card(out / BASE_CARD, results)


def single_tasks() -> list[str]:
    """Return the tasks of one skill, whether or not the pool has a specialist for each."""
    return [name for name in task_names() if name != COMPOSITE]


def _mark(items: Sequence[Item]) -> str:
    """Return what a result depends on besides the model: the items and how they are scored."""
    return content_hash(RULES, [[item.id, item.question, item.answer] for item in items])


def _test(task: str) -> tuple[Item, ...]:
    return load_task(task).splits["test"]


def _by_task(model: Any, tokenizer: Any, items: Sequence[Item], max_tokens: int) -> Results:
    from protocols.training.greedy_decoding import greedy_answers

    answers = greedy_answers(
        model, tokenizer, [item.question for item in items], max_tokens=max_tokens
    )
    scores: dict[str, list[Any]] = {}
    for item, answer in zip(items, answers, strict=True):
        scores.setdefault(item.domain, []).append(score(item, answer))
    return {domain: _numbers(accuracy(found)) for domain, found in scores.items()}


def _numbers(found: Accuracy) -> dict[str, float | int]:
    return {
        "n": found.n,
        "accuracy": round(found.value, 4),
        "low": round(found.low, 4),
        "high": round(found.high, 4),
        "unparsed": found.unparsed,
    }


def _training(specialist: Specialist, trained: Trained, examples: int) -> dict[str, Any]:
    config = specialist.config
    return {
        "examples": examples,
        "steps": config.steps,
        "batch": config.batch,
        "learning_rate": config.learning_rate,
        "rank": config.rank,
        "alpha": config.alpha,
        "seed": config.seed,
        "seconds": round(trained.seconds),
        "device": trained.device,
        "threads": threads(),
    }


def train_command(
    settings: Settings,
    only: str = "",
    out: Path | None = None,
    report: Callable[[dict[str, Any], str], None] | None = None,
) -> None:
    """Train the pool for the command line; ``only`` holds ids separated by commas.

    ``report`` gets each message twice: as a row for machines and as a line for people.
    """
    tell = report or (lambda _row, text: log.info(text))
    ids = [one.strip() for one in only.split(",") if one.strip()]
    train_pool(
        settings.workspace,
        out or settings.assets / "adapters",
        ids,
        lambda text: tell({"message": text}, text),
    )
