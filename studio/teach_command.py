"""``studio pool train --examples FILE``: a model from a table of prompts and good answers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from studio.contributed import Offer
from studio.contribution_checks import Finding
from studio.examples import TO_TRAIN, read_examples
from studio.output import say
from studio.settings import Settings
from studio.teaching import Lesson, teach

WORDS = ("name", "contributor", "domain", "priorities", "description", "licence", "paper")


def offer_of(given: Mapping[str, Any], settings: Settings) -> Offer:
    """What was said on the command line about a contribution."""
    said = {word: str(given[word]).strip() for word in (*WORDS, "id", "contact")}
    return Offer(pool=given["into"] or settings.pool, base=str(given.get("base") or ""), **said)


def teach_from_file(
    settings: Settings, examples: Path, given: Mapping[str, Any], as_json: bool
) -> None:
    """Train, check, measure and add; every step is told.

    Raises :class:`UserError` for rows or words that cannot be used.
    """
    rows, offer = read_examples(examples, TO_TRAIN), offer_of(given, settings)

    def step(number: int, steps: int, loss: float | None) -> None:
        row = {"step": number, "of": steps, "loss": loss}
        if loss is not None:
            say(row, as_json, f"step {number} of {steps}, loss {loss:.3f}")

    def point(found: Finding) -> None:
        row = {"point": found.point, "state": found.state, "text": found.text}
        say(row, as_json, found.line())

    done = teach(
        offer, rows, settings, who=given["by"], wait=given["wait"], steps=given["steps"],
        lesson=Lesson(step, point),
    )  # fmt: skip
    row = {"added": done.model, "pool": offer.pool, "examples": len(rows)}
    say(row, as_json, f"'{done.model}' is in the pool '{offer.pool}'.")
