"""What a debate teaches: whose words agreed with the majority, who was corrected, who says what.

Pure functions over transcripts; nothing here asks a model or trains one.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from protocols.lib.parsing import read_answer
from protocols.lib.text import repeats
from protocols.lib.votes import lot

Row = tuple[str, str]
"""What a model is asked, as one user turn, and what it shall answer."""
Right = Callable[[str], bool]


@dataclass(frozen=True)
class Turn:
    """What a contributor's generator and critic said about an item; empty texts have failed.

    ``prompt`` is what the critic was asked. A text that is not ``whole`` was cut off.
    """

    first: str = ""
    prompt: str = ""
    second: str = ""
    first_whole: bool = True
    second_whole: bool = True


Debate = Mapping[str, Turn]
"""One item's turns by contributor."""


def majority(texts: Mapping[str, str]) -> tuple[str | None, float]:
    """The answer that most texts give and the part of all texts that give it.

    Ties go as in :class:`~protocols.lib.votes.Tally`: by lot.
    """
    values = (read_answer(text).value for text in texts.values())
    votes = Counter(value for value in values if value is not None)
    if not votes:
        return None, 0.0
    best = min(votes, key=lambda value: (-votes[value], lot(value, votes)))
    return best, votes[best] / len(texts)


def agreed(debate: Debate, least: float) -> str | None:
    """The answer of the critics' majority; none if too few agree or two answers are level."""
    texts = [turn.second or turn.first for turn in debate.values()]
    tally = Counter(value for text in texts if (value := read_answer(text).value) is not None)
    leading = tally.most_common(2)
    if not leading or leading[0][1] < least * len(texts):
        return None
    level = len(leading) > 1 and leading[1][1] == leading[0][1]
    return None if level else leading[0][0]


def says(value: str) -> Right:
    """Whether a text gives this answer."""
    return lambda text: read_answer(text).value == value


def usable(text: str, whole: bool) -> bool:
    """Whether a text may be learned: it came to an end and does not go in circles."""
    return bool(text.strip()) and whole and not repeats(text)


def generator_rows(debates: Sequence[tuple[str, Debate, Right]], model: str) -> list[Row]:
    """A generator's own first answers that are right, by question."""
    found = []
    for question, debate, right in debates:
        turn = debate.get(model, Turn())
        if usable(turn.first, turn.first_whole) and right(turn.first):
            found.append((question, turn.first))
    return found


def critic_rows(
    debates: Sequence[tuple[str, Debate, Right]],
    model: str,
    corrected: float,
    chance: random.Random,
) -> list[Row]:
    """A critic's own right answers: those that corrected a wrong one and those that kept a right.

    ``corrected`` is the part that corrections make up. What there is too much of is drawn from;
    where one kind is missing, all of the other are taken.
    """
    fixed: list[Row] = []
    kept: list[Row] = []
    for _, debate, right in debates:
        turn = debate.get(model, Turn())
        if turn.prompt and usable(turn.second, turn.second_whole) and right(turn.second):
            pile = kept if turn.first and right(turn.first) else fixed
            pile.append((turn.prompt, turn.second))
    if not (fixed and kept) or not 0.0 < corrected < 1.0:
        return fixed or kept if corrected > 0.0 else kept
    total = min(len(fixed) / corrected, len(kept) / (1 - corrected))
    return drawn(fixed, total * corrected, chance) + drawn(kept, total * (1 - corrected), chance)


def drawn(rows: Sequence[Row], count: float, chance: random.Random) -> list[Row]:
    """So many of the rows (at least one), in their order."""
    places = chance.sample(range(len(rows)), min(len(rows), max(1, round(count))))
    return [rows[place] for place in sorted(places)]


def diversity(debates: Sequence[Debate]) -> dict[str, float]:
    """How unlike generators are, from 0 (all the same) to 1, as means over items.

    ``distinct``: different answers among those given; ``disagreement``: pairs that give different
    answers; ``spread``: one minus the words that two texts share of all their words (Jaccard).
    """
    rows = [[turn.first for turn in debate.values() if turn.first.strip()] for debate in debates]
    heard = [texts for texts in rows if len(texts) > 1]
    if not heard:
        return {"distinct": 0.0, "disagreement": 0.0, "spread": 0.0}
    parts = [_unlike(texts) for texts in heard]
    return {
        name: round(sum(part[at] for part in parts) / len(parts), 6)
        for at, name in enumerate(("distinct", "disagreement", "spread"))
    }


def _unlike(texts: Sequence[str]) -> tuple[float, float, float]:
    # A text without a readable answer is an answer of its own kind.
    values = [read_answer(text).value or f"text: {' '.join(text.split())}" for text in texts]
    words = [set(text.casefold().split()) for text in texts]
    pairs = list(combinations(range(len(texts)), 2))
    differ = sum(values[i] != values[j] for i, j in pairs) / len(pairs)
    shared = [len(words[i] & words[j]) / max(1, len(words[i] | words[j])) for i, j in pairs]
    distinct = (len(set(values)) - 1) / (len(values) - 1)
    return distinct, differ, 1 - sum(shared) / len(pairs)
