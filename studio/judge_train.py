"""Train and measure the embedded judges: ``studio judges train``.

Two are made on the embedded base: a reward model, which learns from pairs of a right and a wrong
answer, and a judge, which learns right answers and then prefers the answer that it finds likelier.
(Trained to say of an answer whether it is right, yes or no, the base learned nothing: it cannot
check what it cannot answer.) Both learn from the tasks' train splits only; what they are worth is
measured by ``studio.judge_measure`` on test splits. Work that is there and was made from the same
data and settings is kept.
"""

from __future__ import annotations

import json
import logging
import random
import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from evals.judges.preference_data import counts, split_items, split_pairs
from evals.tasks import Split
from protocols.engines.embedded_base import BASE_ID, ensure_base
from protocols.training.preferences import Preference, preference_fingerprint
from protocols.training.reward import RewardSettings, train_reward
from protocols.training.sft import SftConfig, Trained, fingerprint, load_base, train_sft
from protocols.training.trainers import device, threads
from studio.pool_cards import CARD, read_card, write_card

log = logging.getLogger(__name__)
Say = Callable[[str], None]

REWARD, JUDGE = "smollm2-reward", "smollm2-judge"
SAID = "base-answers.json"
SEED = 7
TRAINED_ON = (
    *("acronyms", "capitals", "currencies", "elements"),
    *("french", "roman", "spanish", "spelling"),
)
"""Tasks that judges learn from. With all tasks at once nothing was learned in the time there is;
the others are measured as unseen domains."""
REWARD_EACH = 300
"""Items of each of these tasks that become pairs."""
ALL = 10_000
"""More items than any task has."""
JUDGE_DRAWS = 2
"""Right answers, in different words, that the judge may learn of each item of these tasks."""
SAID_EACH: Mapping[Split, int] = {"train": 24, "dev": 4, "test": 10}
"""Items of every task that the untrained base answers, for wrong answers as models give them."""
SAID_TOKENS = 40
REWARD_SETTINGS = RewardSettings()
JUDGE_SETTINGS = SftConfig(steps=160, learning_rate=3e-3, rank=3, alpha=12)


def train_judges(
    workspace: Path, out: Path, say: Say = log.info, *, with_judge: bool = False
) -> None:
    """Train the reward model into ``out`` unless it is there, made from the same data and settings.

    ``with_judge`` trains the judge as well. To use it, name its adapter in ``judges.yaml``.

    Raises:
        EngineError: the base model cannot be had.
    """
    base = ensure_base(workspace, say)
    said = base_answers(base, out, say)
    scratch = workspace / "training"
    train_reward_model(base, out, said, scratch, say)
    if with_judge:
        train_judge(base, out, said, scratch, say)


def base_answers(base: Path, out: Path, say: Say = log.info) -> dict[str, str]:
    """Return the untrained base's answers by item id; kept in ``out``, so training can be redone.

    Greedy answers of at most ``SAID_TOKENS`` tokens to the first items of each split.
    """
    from protocols.training.greedy_decoding import greedy_answers

    kept = read_said(out)
    items = [item for split, each in SAID_EACH.items() for item in split_items(split, each)]
    missing = [item for item in items if item.id not in kept]
    if missing:
        say(f"the base answers {len(missing)} questions")
        model, tokenizer = load_base(base, device())
        texts = greedy_answers(
            model.eval(), tokenizer, [item.question for item in missing], max_tokens=SAID_TOKENS
        )
        kept |= {item.id: text for item, text in zip(missing, texts, strict=True)}
        write_card(out / SAID, kept)
    return {item.id: kept[item.id] for item in items}


def read_said(out: Path) -> dict[str, str]:
    """Return the kept answers of the base, none if there is no file."""
    path = out / SAID
    kept: dict[str, str] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return kept


@dataclass(frozen=True)
class Lesson:
    """What one training is made of, for its card."""

    settings: SftConfig | RewardSettings
    tasks: tuple[str, ...]
    examples: int
    pairs: Mapping[str, int]


def reward_rows(said: Mapping[str, str]) -> tuple[list[Preference], dict[str, int]]:
    """Return what the reward model is trained on and how many pairs each source gave."""
    pairs = split_pairs("train", REWARD_EACH, said, SEED, TRAINED_ON)
    rows = [Preference(pair.question, pair.good, pair.bad) for pair in pairs]
    return rows, counts(pairs)


def judge_rows(said: Mapping[str, str]) -> tuple[list[tuple[str, str]], dict[str, int]]:
    """Return the questions with right answers that the judge learns, as many as its steps take,
    and the sources of the pairs they are from.

    The answers are worded as in the pairs, so that no wording is new to the judge.
    """
    drawn = [
        split_pairs("train", ALL, said, SEED + draw, TRAINED_ON) for draw in range(JUDGE_DRAWS)
    ]
    found = {(pair.question, pair.good): pair for pairs in drawn for pair in pairs}
    kept = list(found.items())
    random.Random(SEED).shuffle(kept)
    kept = kept[: JUDGE_SETTINGS.steps * JUDGE_SETTINGS.batch]
    return [row for row, _ in kept], counts(pair for _, pair in kept)


def train_reward_model(
    base: Path, out: Path, said: Mapping[str, str], scratch: Path, say: Say
) -> None:
    """Train the reward model unless its card says that it was made from the same rows."""
    rows, sources = reward_rows(said)
    made_from = preference_fingerprint(rows, REWARD_SETTINGS)

    def train(partial: Path) -> Trained:
        return train_reward(
            base,
            rows,
            partial,
            base_id=BASE_ID,
            config=REWARD_SETTINGS,
            on_step=lambda step, loss: say(f"{REWARD}: step {step}, loss {loss:.3f}"),
        )

    lesson = Lesson(REWARD_SETTINGS, TRAINED_ON, len(rows), sources)
    _made(REWARD, out, made_from, lesson, train, scratch, say)


def train_judge(base: Path, out: Path, said: Mapping[str, str], scratch: Path, say: Say) -> None:
    """Train the judge unless its card says that it was made from the same rows; resumes."""
    rows, sources = judge_rows(said)
    made_from = fingerprint(rows, JUDGE_SETTINGS)

    def train(partial: Path) -> Trained:
        return train_sft(
            base,
            rows,
            partial,
            base_id=BASE_ID,
            config=JUDGE_SETTINGS,
            on_step=lambda step, loss: say(f"{JUDGE}: step {step}, loss {loss:.3f}"),
            state=scratch / f"{JUDGE}-{made_from}",
        )

    lesson = Lesson(JUDGE_SETTINGS, TRAINED_ON, len(rows), sources)
    _made(JUDGE, out, made_from, lesson, train, scratch, say)


def _made(
    name: str,
    out: Path,
    made_from: str,
    lesson: Lesson,
    train: Callable[[Path], Trained],
    scratch: Path,
    say: Say,
) -> None:
    """Train into ``scratch`` and move the whole folder to ``out`` with its card."""
    folder, partial = out / name, scratch / name
    if read_card(folder).get("made_from") == made_from:
        say(f"{name}: kept, nothing changed")
        return
    shutil.rmtree(partial, ignore_errors=True)
    trained = train(partial)
    write_card(partial / CARD, {"made_from": made_from, "training": _training(trained, lesson)})
    shutil.rmtree(folder, ignore_errors=True)
    out.mkdir(parents=True, exist_ok=True)
    shutil.move(partial, folder)
    say(f"{name}: trained in {trained.seconds:.0f} s")


def _training(trained: Trained, lesson: Lesson) -> dict[str, Any]:
    kept = ("steps", "epochs", "batch", "learning_rate", "rank", "alpha", "seed")
    settings = asdict(lesson.settings)
    return {name: settings[name] for name in kept if name in settings} | {
        "tasks": list(lesson.tasks),
        "examples": lesson.examples,
        "pairs": dict(lesson.pairs),
        "split": "train",
        "loss": round(trained.loss, 4),
        "seconds": round(trained.seconds),
        "device": trained.device,
        "threads": threads(),
    }
