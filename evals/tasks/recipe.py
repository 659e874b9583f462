"""How a family says what its task is made of, and how that is cut into splits.

A recipe lists *seeds*: the underlying things asked about (an operand pair, an element). A seed is
put into one split by a hash, so adding a wording never moves it. This module knows no domain.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from evals.tasks.core import Kind, Split

SEED = 20260
SIZES: dict[Split, int] = {"test": 100, "dev": 60, "heldout": 60}
TRAIN_ROWS = 1280


@dataclass(frozen=True, slots=True)
class Variant:
    """One way to ask about a seed, with the answer wanted for that way of asking."""

    question: str
    answer: str
    kind: Kind
    group: str = ""
    aliases: tuple[str, ...] = ()
    domain: str = ""


@dataclass(frozen=True, slots=True)
class Seed:
    """One underlying thing. ``unseen`` holds the wordings that training never sees (facts only)."""

    key: str
    variants: tuple[Variant, ...]
    unseen: tuple[Variant, ...] = ()


@dataclass(frozen=True, slots=True)
class Recipe:
    """A task before it is built; ``sources`` names packages with their licences."""

    name: str
    title: str
    description: str
    make: Callable[[], list[Seed]]
    facts: bool = False
    sources: tuple[str, ...] = ()
    sizes: tuple[tuple[Split, int], ...] = tuple(SIZES.items())
    metric: str = "short_answer"


Row = dict[str, object]


def order(salt: str, key: str) -> str:
    """Return a sortable digest: the same for the same words on every machine, else random."""
    return hashlib.sha256(f"{SEED}:{salt}:{key}".encode()).hexdigest()


def shuffled(salt: str, keys: Iterable[str]) -> list[str]:
    """Return ``keys`` in an order that depends on nothing but the words themselves."""
    return sorted(keys, key=lambda key: order(salt, key))


def asks(
    wordings: Sequence[str], kind: Kind, answer: str, group: str = "", **slots: object
) -> list[Variant]:
    """Fill ``slots`` into every wording; all of them want the same ``answer``."""
    return [Variant(wording.format(**slots), answer, kind, group) for wording in wordings]


def build_rows(recipe: Recipe) -> list[Row]:
    """Cut a recipe into rows of all splits, train last."""
    seeds = recipe.make()
    keys = [seed.key for seed in seeds]
    if len(set(keys)) != len(keys):
        raise ValueError(f"The recipe {recipe.name} lists a seed twice.")
    cut = _cut_facts if recipe.facts else _cut_skill
    chosen = cut(recipe, seeds)
    rows: list[Row] = []
    for split, variants in chosen.items():
        rows += [_row(recipe, split, number, one) for number, one in enumerate(variants)]
    return rows


def _cut_skill(recipe: Recipe, seeds: list[Seed]) -> dict[Split, list[Variant]]:
    """Give each seed to one split: what is tested has other operands than what was trained on."""
    by_key = {seed.key: seed for seed in seeds}
    keys = shuffled(recipe.name, by_key)
    chosen: dict[Split, list[Variant]] = {}
    for split, size in recipe.sizes:
        taken, keys = keys[:size], keys[size:]
        chosen[split] = [_one_of(by_key[key]) for key in taken]
    if "train" not in chosen:
        rest = [one for key in keys for one in by_key[key].variants]
        chosen["train"] = _pick(rest, TRAIN_ROWS)
    return chosen


def _cut_facts(recipe: Recipe, seeds: list[Seed]) -> dict[Split, list[Variant]]:
    """Train on every fact, test on wordings that training never saw."""
    pool = _pick([one for seed in seeds for one in seed.unseen], len(seeds) * 9)
    chosen: dict[Split, list[Variant]] = {}
    for split, size in recipe.sizes:
        chosen[split], pool = pool[:size], pool[size:]
    chosen["train"] = _pick([one for seed in seeds for one in seed.variants], TRAIN_ROWS)
    return chosen


def _one_of(seed: Seed) -> Variant:
    return min(seed.variants, key=lambda one: order(seed.key, one.question))


def _pick(variants: Sequence[Variant], size: int) -> list[Variant]:
    return sorted(variants, key=lambda one: order("pick", one.question))[:size]


def _row(recipe: Recipe, split: Split, number: int, one: Variant) -> Row:
    row: Row = {"id": f"{recipe.name}-{split}-{number:04d}", "question": one.question}
    row |= {"answer": one.answer, "domain": one.domain or recipe.name}
    row |= {"split": split, "kind": one.kind}
    if one.aliases:
        row["aliases"] = list(one.aliases)
    if one.group:
        row["group"] = one.group
    return row
