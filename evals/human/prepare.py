"""From answers to what raters will see: masked pairs, and an account of what was left out.

::

    questions_for(study) -> plan_jobs(...) -> generate(...) -> answers_for(...) -> pairs_from(...)
    import_answers(...)  ---------------------------------------------------------^      |
                                                          review(...), blindability(...) <

Everything that can drop out, drops out here, before the first vote, and is counted by arm: a pair
left out later, because of what a rater saw, would bias the result.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from evals.human.assign import share
from evals.human.mask import Masked, Masker
from evals.human.questions import Question, load_questions
from evals.human.records import Dropped, PairText
from evals.human.responses import Response
from evals.human.study import Arm, ContributorArm, StudySpec

ARMS: tuple[Arm, Arm] = ("contributor", "system")


@dataclass(frozen=True, slots=True)
class Prepared:
    """What a study would show. ``notes`` are sentences for the lab about what is missing."""

    pairs: tuple[PairText, ...]
    dropped: tuple[Dropped, ...] = ()
    prompt_hits: int = 0
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Item:
    """One question with the answers of both arms, masked and raw."""

    id: str
    prompt: Masked
    raw: Mapping[Arm, Response]
    shown: Mapping[Arm, Masked]

    @property
    def stratum(self) -> str:
        return self.raw["contributor"].stratum

    def dropped(self) -> Dropped | None:
        """Why the pair cannot be shown, if it cannot."""
        for why in ("failed", "empty"):
            bad = [arm for arm in ARMS if self._state(arm) == why]
            if bad:
                both = all(self._state(arm) != "ok" for arm in ARMS)
                return Dropped(self.id, self.stratum, why, None if both else bad[0])
        first, second = (_bare(self.shown[arm].text) for arm in ARMS)
        return Dropped(self.id, self.stratum, "identical") if first == second else None

    def _state(self, arm: Arm) -> str:
        outcome = self.raw[arm].outcome
        return "empty" if outcome == "ok" and not self.shown[arm].text.strip() else outcome

    def pair(self) -> PairText:
        """The pair as it is stored."""
        contributor, system = (self.raw[arm] for arm in ARMS)
        return PairText(
            item=self.id,
            stratum=self.stratum,
            prompt=self.prompt.text,
            contributor=self.shown["contributor"].text,
            system=self.shown["system"].text,
            raw_contributor=contributor.text,
            raw_system=system.text,
            hits_contributor=self.shown["contributor"].hits,
            hits_system=self.shown["system"].hits,
            cut_contributor=contributor.cut,
            cut_system=system.cut,
            gold=contributor.gold or system.gold,
            language=contributor.language or system.language,
            run_contributor=contributor.run,
            run_system=system.run,
            category=contributor.category or system.category,
        )


def questions_for(study: StudySpec, folder: Path | None = None) -> dict[str, tuple[Question, ...]]:
    """Return the questions of every contributor, with spare ones for gold pairs at the end.

    Raises :class:`UserError` like :func:`load_questions`.
    """
    return {
        arm.model: load_questions(
            arm, folder=folder, seed=study.seed, spare=gold_needed(study, arm)
        )
        for arm in study.contributors
    }


def gold_needed(study: StudySpec, arm: ContributorArm) -> int:
    """Return how many gold pairs a rater of this contributor's stratum can be given."""
    return share(min(arm.limit, study.pairs_per_rater), study.gold_share)


def pairs_from(study: StudySpec, responses: Iterable[Response], masker: Masker) -> Prepared:
    """Pair the arms' answers by stratum and question, mask them and sort out what cannot be shown.

    Equal answers are left out under either policy of the study: nobody has to rate them. With
    ``identical='tie'`` the report counts them as ties. Spare questions become gold pairs.
    """
    items, alone = _items(study, responses, masker)
    dropped = [found for item in items if (found := item.dropped())]
    gone = {entry.item for entry in dropped}
    left = [item for item in items if item.id not in gone]
    mains = [item.pair() for item in left if not item.raw["contributor"].spare]
    spares = [item.pair() for item in left if item.raw["contributor"].spare]
    golds = gold_pairs(study, spares, mains)
    return Prepared(
        pairs=(*mains, *golds),
        dropped=tuple(dropped),
        prompt_hits=sum(item.prompt.hits for item in left),
        notes=tuple(_notes(study, mains, golds, alone)),
    )


def _items(
    study: StudySpec, responses: Iterable[Response], masker: Masker
) -> tuple[list[_Item], int]:
    """The questions that both arms have been asked, and how many only one has."""
    asked: dict[tuple[str, str], dict[Arm, Response]] = {}
    for response in responses:
        asked.setdefault((response.stratum, response.prompt), {})[response.arm] = response
    items = [
        _item(study, prompt, arms, masker)
        for (_, prompt), arms in asked.items()
        if len(arms) == len(ARMS)
    ]
    return items, len(asked) - len(items)


def _item(study: StudySpec, prompt: str, arms: Mapping[Arm, Response], masker: Masker) -> _Item:
    first, second = (arms[arm] for arm in ARMS)
    masked = masker.mask(prompt)
    return _Item(
        id=item_id(study.slug, first.stratum, prompt, first.text, second.text),
        prompt=masked,
        raw=arms,
        shown={arm: masker.shown(arms[arm].text, masked.text) for arm in ARMS},
    )


def item_id(slug: str, *content: str) -> str:
    """Return an opaque name: equal content in one study has equal names, and nothing shows in it.

    It is a keyed hash (HMAC-SHA256, 64 bits). The key is public, the content is not.
    """
    message = json.dumps(content, ensure_ascii=False).encode("utf-8", "surrogatepass")
    return hmac.new(slug.encode(), message, hashlib.sha256).hexdigest()[:16]


def _bare(text: str) -> str:
    return " ".join(text.split())


def gold_pairs(
    study: StudySpec, spares: Sequence[PairText], mains: Sequence[PairText]
) -> list[PairText]:
    """Make pairs with a known winner of the questions that are not used otherwise.

    One arm's answer is exchanged for the same arm's answer to another question, so it is off the
    point whatever its quality; the arms take turns as winners. A rater who misses these does not
    read. A spare whose answers would come out equal is left out.
    """
    golds: list[PairText] = []
    for stratum in dict.fromkeys(pair.stratum for pair in spares):
        own = [pair for pair in spares if pair.stratum == stratum]
        donors = own + [pair for pair in mains if pair.stratum == stratum]
        for number, pair in enumerate(own):
            donor = donors[(number + 1) % len(donors)]
            winner = ARMS[len(golds) % 2]
            made = _exchanged(study, pair, donor, winner)
            if donor is not pair and _bare(made.contributor) != _bare(made.system):
                golds.append(made)
    return golds


def _exchanged(study: StudySpec, pair: PairText, donor: PairText, winner: Arm) -> PairText:
    """The pair with the loser's answer taken from ``donor``, and all that belongs to it."""
    loser = ARMS[winner == "contributor"]
    fields = [f"{part}{loser}" for part in ("", "raw_", "hits_", "cut_", "run_")]
    taken = {name: getattr(donor, name) for name in fields}
    changed = replace(pair, gold=winner, **taken)
    content = (pair.stratum, pair.prompt, changed.raw_contributor, changed.raw_system, "gold")
    return replace(changed, item=item_id(study.slug, *content))


def _notes(
    study: StudySpec, mains: Sequence[PairText], golds: Sequence[PairText], alone: int
) -> Iterable[str]:
    if alone:
        yield (
            f"{alone} questions have the answer of one arm only; make the missing answers or "
            "leave them out on purpose."
        )
    for arm in study.contributors:
        have = sum(pair.stratum == arm.model for pair in mains)
        if have < arm.limit:
            yield f"'{arm.model}' has {have} of the {arm.limit} pairs that are planned."
        gold = sum(pair.stratum == arm.model for pair in golds)
        if gold < gold_needed(study, arm):
            yield (
                f"'{arm.model}' has {gold} of {gold_needed(study, arm)} gold pairs; give it more "
                "questions than pairs or lower the share of gold pairs."
            )
