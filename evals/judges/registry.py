"""The judges a study can name, read from ``assets/judges/judges.yaml``.

An entry has an id, a kind and the fields of a model. ``source: embedded:NAME`` is the base model of
the workspace; an adapter path is relative to the assets folder. Cards lie beside the adapters.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import Field, ValidationError

from evals.judges.baselines import FirstJudge, LongerJudge
from evals.judges.core import Judge
from evals.judges.likelihood import LikelihoodJudge
from evals.judges.llm_judge import LlmJudge
from evals.judges.measure import finding
from evals.judges.pointwise import PointwiseJudge
from evals.judges.reward_model import RewardJudge
from protocols.core.engine import Engine
from protocols.core.errors import ContributorError, UserError, unknown
from protocols.core.models import Frozen, ModelSpec

FOLDER, FILE, CARD = "judges", "judges.yaml", "card.json"
BASELINES_CARD = "baselines-card.json"
EMBEDDED = "embedded:"
BASELINES: dict[str, Judge] = {judge.id: judge for judge in (FirstJudge(), LongerJudge())}
"""Judges that need no model; every study may name them."""
UNMEASURED = "Not measured against known answers here."


class JudgeSpec(Frozen):
    """One judge as the file describes it."""

    id: str
    kind: Literal["llm", "pointwise", "likelihood", "reward"] = Field(
        description="Compares two answers, or says yes or no to each, or which one it finds "
        "likelier, or gives each a number."
    )
    note: str = Field("", description="A sentence for people who pick judges.")
    source: str
    revision: str = ""
    adapter: str = ""
    name: str = ""
    repeats: int = Field(1, ge=1, le=20, description="Judgements per order in words.")
    tau: float | None = Field(
        None,
        ge=0,
        description="Margin of rewards or log-odds below which answers tie; empty = the card's.",
    )
    own_words: bool = Field(
        False, description="Keep the question it was trained with instead of a study's."
    )
    licence: str = ""
    measured: str = Field("", description="Its name on the card of the baselines, if it is one.")


@dataclass(frozen=True)
class JudgeEntry:
    """A judge of the file with its model on this machine and its card (empty if it has none)."""

    spec: JudgeSpec
    model: ModelSpec
    card: dict[str, Any] = field(default_factory=dict)

    @property
    def tau(self) -> float:
        """The margin below which answers tie: the file's, else the card's, else none."""
        return float(self.card.get("tau", 0.0) if self.spec.tau is None else self.spec.tau)

    @property
    def worth(self) -> str:
        """What was found against known answers, with n and interval, or that nothing was."""
        return str(self.card.get("finding") or UNMEASURED)

    @property
    def title(self) -> str:
        """The judge in a list: its name, and how often it was right."""
        row = self.card.get("tested", {}).get("all")
        if not row:
            return f"{self.model.title}: not measured here"
        interval = f"{row['low']:.0%} to {row['high']:.0%}"
        return f"{self.model.title}: right on {row['accuracy']:.0%} of {row['n']} ({interval})"


def judge_entries(assets: Path, workspace: Path) -> dict[str, JudgeEntry]:
    """Return every judge of the file by id, none without a file.

    Raises :class:`ContributorError` if it is malformed.
    """
    path = assets / FOLDER / FILE
    if not path.is_file():
        return {}
    raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    try:
        specs = [JudgeSpec.model_validate(one) for one in raw["judges"]]
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise ContributorError(f"{FILE}: field '{where}': {first['msg']}.") from None
    return {spec.id: _entry(spec, assets, workspace) for spec in specs}


def _entry(spec: JudgeSpec, assets: Path, workspace: Path) -> JudgeEntry:
    source = spec.source
    if source.startswith(EMBEDDED):
        source = str(workspace / "models" / source.removeprefix(EMBEDDED))
    adapter = str(assets / spec.adapter) if spec.adapter else ""
    model = ModelSpec(
        id=spec.id, name=spec.name, source=source, revision=spec.revision, adapter=adapter
    )
    return JudgeEntry(spec, model, _card(spec, assets))


def _card(spec: JudgeSpec, assets: Path) -> dict[str, Any]:
    """What was measured of a judge: the card beside its adapter, or its part of the baselines'."""
    path = assets / spec.adapter / CARD if spec.adapter else assets / FOLDER / BASELINES_CARD
    if not path.is_file() or not (spec.adapter or spec.measured):
        return {}
    card: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    if spec.adapter:
        return card
    rows = card["tested"][spec.measured]
    return {"tested": rows, "finding": finding(rows)}


def make_judges(
    ids: Sequence[str],
    entries: dict[str, JudgeEntry],
    engine: Engine,
    *,
    rubric: str = "",
    seed: int = 0,
) -> list[Judge]:
    """Return the judges that a study names, not yet loaded; ``rubric`` is the study's question.

    Raises :class:`UserError` for a name that is neither in ``entries`` nor a baseline.
    """
    known = [*entries, *BASELINES]
    made: list[Judge] = []
    for name in dict.fromkeys(ids):
        if name not in known:
            raise unknown("judge", name, known)
        made.append(
            BASELINES[name]
            if name in BASELINES
            else _made(entries[name], engine, rubric=rubric, seed=seed)
        )
    return made


def _made(entry: JudgeEntry, engine: Engine, *, rubric: str, seed: int) -> Judge:
    if entry.spec.kind == "reward":
        if entry.model.is_endpoint:
            raise UserError(f"The reward model '{entry.spec.id}' cannot be an endpoint.")
        return RewardJudge(entry.spec.id, entry.model, tau=entry.tau)
    if entry.spec.kind == "pointwise":
        return PointwiseJudge(entry.spec.id, entry.model, engine, tau=entry.tau)
    if entry.spec.kind == "likelihood":
        contrast = float(entry.card.get("contrast", 0.0))
        return LikelihoodJudge(entry.spec.id, entry.model, tau=entry.tau, contrast=contrast)
    judge = LlmJudge(entry.spec.id, entry.model, engine, repeats=entry.spec.repeats, seed=seed)
    if rubric and not entry.spec.own_words:
        judge.rubric = rubric
    return judge


def worth_of(ids: Sequence[str], entries: dict[str, JudgeEntry]) -> dict[str, str]:
    """Return what is known of the judges named, by name: what reports show beside their verdicts.

    Raises :class:`UserError` for a name that is neither in ``entries`` nor a baseline.
    """
    found = {}
    for name in dict.fromkeys(ids):
        if name not in entries and name not in BASELINES:
            raise unknown("judge", name, [*entries, *BASELINES])
        found[name] = entries[name].worth if name in entries else about(BASELINES[name])
    return found


def about(baseline: Judge) -> str:
    """Return what a judge without a model does, in a sentence."""
    return (type(baseline).__doc__ or "").splitlines()[0]


def judge_models(ids: Sequence[str], entries: dict[str, JudgeEntry]) -> list[ModelSpec]:
    """Return the models of the judges named, baselines left out: for the flags."""
    return [entries[name].model for name in dict.fromkeys(ids) if name in entries]
