"""Measure the embedded judges on test pairs with known better answers, and write their cards.

Everything is judged by the very code that judges studies, in both orders, beside judges that know
nothing. The margin below which rewards tie is set on dev pairs; test pairs decide nothing.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from evals.human.records import Verdict
from evals.judges.baselines import FirstJudge, LongerJudge
from evals.judges.core import Judge
from evals.judges.likelihood import LikelihoodJudge
from evals.judges.llm_judge import LlmJudge
from evals.judges.margin import calibrate_tau, margin_verdict
from evals.judges.measure import accuracy_rows, as_pair, finding, margin_row
from evals.judges.preference_data import GoldPair, counts, split_pairs
from evals.judges.prompt import prompt_hash
from evals.judges.registry import BASELINES_CARD
from evals.judges.resolve import resolve, summarise
from evals.judges.reward_model import RewardJudge
from protocols.core.errors import EngineError
from protocols.core.models import ModelSpec, content_hash
from protocols.engines.embedded_base import BASE_ID, ensure_base
from protocols.training.answer_likelihood import load_likelihood
from studio.judge_train import (
    JUDGE,
    REWARD,
    SEED,
    TRAINED_ON,
    base_answers,
)
from studio.pool_cards import CARD, read_card, write_card

log = logging.getLogger(__name__)
Say = Callable[[str], None]

TEST_EACH, DEV_EACH = 24, 12
"""Items of every task that become pairs."""
DEV_TIES = 0.1
"""The share of dev pairs whose rewards are to tie; a study may set its own margin instead."""
CONTRASTS = (0.0, 0.25, 0.5, 0.75, 1.0)
"""Shares of the base's own log-probability among which dev pairs choose."""
UNTRAINED = "untrained-base"
CAUTION = (
    "A judge of 135 million parameters, made so that studies can be tried out without network and "
    "GPU. It is not a good judge; read the numbers beside the baselines and conclude nothing from "
    "its verdicts alone."
)
METHOD = (
    "Pairs of a right and a wrong short answer to test items of this repository's tasks, which no "
    "training has seen; every pair in both orders, an order-dependent verdict is a tie, a tie "
    "counts one half, so chance is 0.5. 95 % Wilson intervals over pairs."
)


@dataclass(frozen=True)
class Exam:
    """The pairs that judges are measured on."""

    dev: Sequence[GoldPair]
    test: Sequence[GoldPair]

    @property
    def mark(self) -> str:
        """What a result depends on besides the judge."""
        return content_hash([asdict(pair) for pair in (*self.dev, *self.test)], prompt_hash())


def exam(said: Mapping[str, str]) -> Exam:
    """Return the dev and test pairs, made from these answers of the base."""
    return Exam(
        split_pairs("dev", DEV_EACH, said, SEED), split_pairs("test", TEST_EACH, said, SEED)
    )


def measure_judges(workspace: Path, out: Path, say: Say = log.info) -> None:
    """Put test results on the cards of the baselines and of the judges that are trained.

    What was measured on the same pairs with the same weights is kept.

    Raises:
        EngineError: the base model cannot be had, the reward model is not trained, or a
            judge could not judge every pair.
    """
    base = ensure_base(workspace, say)
    pairs = exam(base_answers(base, out, say))
    asyncio.run(_measure_all(base, out, pairs, say))


async def _measure_all(base: Path, out: Path, pairs: Exam, say: Say) -> None:
    from protocols.engines.transformers_engine import TransformersEngine

    engine = TransformersEngine()
    try:
        await _measure_baselines(base, out, pairs, engine, say)
        reward = RewardJudge(REWARD, _model(REWARD, base, out / REWARD))
        await _measure_margins(reward, out, pairs, say)
        if read_card(out / JUDGE):
            await _measure_likelihood(_model(JUDGE, base, out / JUDGE), out, pairs, say)
    finally:
        await engine.close()


def _model(name: str, base: Path, adapter: Path | None = None) -> ModelSpec:
    return ModelSpec(id=name, name=name, source=str(base), adapter=str(adapter or ""))


async def _measure_baselines(base: Path, out: Path, pairs: Exam, engine: Any, say: Say) -> None:
    """Measure the judges that every other one has to beat."""
    if read_card(out, BASELINES_CARD).get("tested_on") == pairs.mark:
        return
    judges: list[Judge] = [FirstJudge(), LongerJudge()]
    judges.append(LlmJudge(UNTRAINED, _model(UNTRAINED, base), engine))
    rows = {judge.id: tested(await _judged(judge, pairs.test, say), pairs.test) for judge in judges}
    card = {"method": METHOD, "base": BASE_ID, "tested": rows, "tested_on": pairs.mark}
    write_card(out / BASELINES_CARD, card)


async def _measure_likelihood(model: ModelSpec, out: Path, pairs: Exam, say: Say) -> None:
    """Choose the contrast with the base on dev pairs, then measure with it."""
    card = _trained(out, JUDGE)
    if card.get("tested_on") == content_hash(pairs.mark, card["made_from"]):
        return
    say(f"{JUDGE}: choosing its contrast on {len(pairs.dev)} dev pairs")
    scorer = await asyncio.to_thread(load_likelihood, model)
    parts = [scorer.parts(pair.question, [pair.good, pair.bad]) for pair in pairs.dev]
    contrast = choose_contrast(parts)
    write_card(out / JUDGE / CARD, {**card, "contrast": contrast})
    judge = LikelihoodJudge(JUDGE, model, contrast=contrast)
    await _measure_margins(judge, out, pairs, say)


def choose_contrast(parts: Sequence[Sequence[tuple[float, float]]]) -> float:
    """Return the contrast with most dev pairs right, the smallest of equals.

    ``parts`` holds for each pair the log-probabilities with and without the adapter, of the better
    answer first.
    """

    def right(contrast: float) -> int:
        return sum(
            good - contrast * plain_good > bad - contrast * plain_bad
            for (good, plain_good), (bad, plain_bad) in parts
        )

    return max(CONTRASTS, key=lambda contrast: (right(contrast), -contrast))


async def _measure_margins(judge: Judge, out: Path, pairs: Exam, say: Say) -> None:
    """Set the margin on dev pairs, then measure without and with it.

    The judge gives each answer a number, so no order of the answers can matter.
    """
    name, card = judge.id, _trained(out, judge.id)
    mark = content_hash(pairs.mark, card["made_from"])
    if card.get("tested_on") == mark:
        return
    dev = resolve(await _judged(judge, pairs.dev, say))
    tau = round(calibrate_tau([one.margin for one in dev if one.margin is not None], DEV_TIES), 4)
    verdicts = await _judged(judge, pairs.test, say)
    plain, with_ties = tested(verdicts, pairs.test), tested(at_margin(verdicts, tau), pairs.test)
    results = {"tau": tau, "tested": plain, "tested_at_tau": with_ties["all"]}
    _write(out, name, card | results | {"tested_on": mark})
    say(f"{name}: right on {plain['all']['accuracy']:.0%} of {plain['all']['n']} pairs")


def at_margin(verdicts: Sequence[Verdict], tau: float) -> list[Verdict]:
    """Return the verdicts of a judge of margins as they are with another margin."""
    nan = float("nan")
    return [
        replace(
            one,
            parsed=margin_verdict(
                nan if one.score_contributor is None else one.score_contributor,
                nan if one.score_system is None else one.score_system,
                tau,
            ),
        )
        for one in verdicts
    ]


def _trained(out: Path, name: str) -> dict[str, Any]:
    """The card of a trained judge. Raises :class:`EngineError` if there is none."""
    card = read_card(out / name)
    if "made_from" not in card:
        raise EngineError(f"The judge '{name}' is not trained. Train it: studio judges train.")
    return card


def _write(out: Path, name: str, card: Mapping[str, Any]) -> None:
    told = {"caution": CAUTION, "finding": finding(card["tested"]), "method": METHOD}
    baselines = read_card(out, BASELINES_CARD)["tested"]
    rows = {judge: found["all"] for judge, found in baselines.items()}
    write_card(out / name / CARD, {**card, **told, "base": BASE_ID, "baselines": rows})


async def _judged(judge: Judge, pairs: Sequence[GoldPair], say: Say) -> list[Verdict]:
    """Judge every pair. Raises :class:`EngineError` if a judgement failed."""
    from evals.judges.run import collect, run_judges

    say(f"{judge.id}: judging {len(pairs)} pairs")
    verdicts = await collect(run_judges([as_pair(pair) for pair in pairs], [judge]), say)
    if len(verdicts) < len(pairs) * len(judge.asks()):
        raise EngineError(f"The judge '{judge.id}' did not judge every pair; the log says why.")
    return verdicts


def tested(
    verdicts: Sequence[Verdict], pairs: Sequence[GoldPair], trained_on: Sequence[str] = TRAINED_ON
) -> dict[str, Any]:
    """Return everything a card says about a judge's verdicts on gold pairs."""
    resolved = resolve(verdicts)
    swap = summarise(resolved)[0].swap
    rows = accuracy_rows(resolved, pairs, trained_on) | {"pairs": counts(pairs)}
    if any(one.margin is not None for one in resolved):
        rows["by_mean_margin"] = margin_row(resolved)
    if swap.pairs:
        kept = {"consistent": swap.consistent, "first_share": swap.first_share, "p": swap.p}
        rows["swap"] = {name: _rounded(value) for name, value in kept.items()}
    return rows


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
