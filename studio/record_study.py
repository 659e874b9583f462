"""Records the example study that ships with the studio: ``python -m studio.record_study``.

Everything in it is real but the raters: the plan, both arms' answers by the embedded models, the
store, the judges, the lock. The raters are programs that look the right answer up, prefer it
nine times out of ten, and otherwise press a key at random. They see when an answer belongs to
another question, as gold pairs have it. The study is marked as simulated, and every page that shows
it says so. The judges are the embedded ones with the accuracy that their cards state.
"""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

from evals.human import raters, studies
from evals.human.archive import to_json
from evals.human.assign import other
from evals.human.rating_service import RatingService
from evals.human.records import Pair
from evals.human.simulate import Answers, Script, ScriptedRater, sit
from evals.human.study import Outcome, StudySpec
from evals.metrics import score
from evals.tasks.core import Item, load_task, task_names
from protocols.core.engine import Engine
from studio.judging import judge_planned
from studio.lab import Lab, read_plan
from studio.settings import Settings, no_telemetry
from studio.study_work import make_answers

log = logging.getLogger(__name__)
PLAN = Path(__file__).parent.parent / "assets" / "studies" / "embedded-example.yaml"
SLIPS = 0.1


class Grader(ScriptedRater):
    """Prefers the right answer, calls a tie when both or neither are right, and slips at times."""

    def __init__(self, name: str, items: dict[str, Item], answers: Answers, stratum: str) -> None:
        super().__init__(name, Script(recognises=0.6, unsure=0.4), answers, stratum=stratum)
        self._items = items

    def choose(self, pair: Pair) -> Outcome:
        """Grade both answers by the task's own metric."""
        text, side = self._answers.find(pair)
        view = self._seen[text.item]
        self._seen[text.item] += 1
        draw = self._random("slip", text.item, view)
        if draw.random() < SLIPS:
            return draw.choice(("left", "right", "tie_good", "tie_bad"))
        item = self._items[pair.prompt]
        left, right = (score(item, text).value == 1.0 for text in (pair.left, pair.right))
        if left != right:
            return "left" if left else "right"
        if text.gold is not None:  # both wrong, but one is an answer to another question
            return side if text.gold == "system" else other(side)
        return "tie_good" if left else "tie_bad"


def items_by_question() -> dict[str, Item]:
    """Every committed task item by its question."""
    return {item.question: item for name in task_names() for item in load_task(name)}


async def collect(lab: Lab, spec: StudySpec, engine: Engine) -> None:
    """Make the answers, let the judges judge and the graders rate, and lock the study."""
    slug = spec.slug
    studies.create_study(lab.store, spec, simulated=True)
    async for step in make_answers(lab, slug, engine):
        log.info("%s of %s: %s", step.done, step.total, step.note)
    studies.mark_reviewed(lab.store, slug)
    studies.open_study(lab.store, slug)
    if spec.judges:
        async for step in judge_planned(lab.store, slug, engine, lab.settings):
            log.info("judging %s of %s %s", step.done, step.total, step.note)
    service, answers = RatingService(lab.store), Answers(studies.list_pairs(lab.store, slug))
    for number, arm in enumerate(spec.contributors, start=1):
        token = raters.invite(lab.store, slug, stratum=arm.model)[0]
        rater = raters.rater_by_token(lab.store, token)
        grader = Grader(f"grader-{number}", items_by_question(), answers, arm.model)
        log.info("%s cast %s votes", grader.name, sit(service, rater, grader))
    studies.lock_study(lab.store, slug, by="the recording script")


def main(settings: Settings) -> None:
    """Record the study in the settings' workspace and write it to the assets."""
    from protocols.engines.hosting import HostedEngine

    spec = read_plan(PLAN.read_text(encoding="utf-8"))

    async def record() -> None:
        lab, engine = Lab(settings), HostedEngine(prefer=settings.engine)
        try:
            await collect(lab, spec, engine)
            made = to_json(studies.study_data(lab.store, spec.slug))
        finally:
            await engine.close()
            lab.close()
        PLAN.with_suffix(".json").write_text(made, encoding="utf-8")

    asyncio.run(record())


if __name__ == "__main__":
    no_telemetry()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    main(Settings())
