"""Do contributors gain on their own domain? The paper's Figure 8, from the reports of studies.

People judge pairs of a contributor's own model against the system blindly; automatic judges judge
the same pairs. The null is one half, tested where the study's plan says so.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pandas as pd

from evals.analyses.core import Claim, Finding, Verdict, nothing
from evals.human.reporting.basics import Counts
from evals.human.reporting.model import Report
from evals.human.statistics.proportions import clopper_pearson
from evals.names import IDS, Names

TITLE = "Participants' own domains"
PAPER = "the system is preferred in the contributors' own domains (people, LLM judge, reward model)"
PEOPLE = "people"
ALL = "all contributors"


@dataclass(frozen=True)
class StudyReport:
    """The report of a study that everybody may read; ``simulated`` raters are no people."""

    slug: str
    report: Report
    simulated: bool

    @property
    def people(self) -> str:
        """What the raters are called."""
        return "simulated raters" if self.simulated else PEOPLE


def participants(studies: Sequence[StudyReport], names: Names = IDS) -> Finding:
    """How often the system wins against each contributor's own model, by who judged.

    ``names`` are for the sentence; the table keeps the judges' ids.

    ``table``: study, judge, model, value (share of wins among decided verdicts), low, high
    (Clopper-Pearson), wins, losses, ties, items (verdicts), p (planned test, only for all of the
    people's votes).
    """
    found = [one for one in studies if one.report.result.counts.n]
    if not found:
        return nothing("participants", TITLE, "No study with votes is published here.", PAPER)
    table = pd.DataFrame([row for study in found for row in _rows(study)])
    return Finding(
        "participants",
        TITLE,
        _sentence(found, names),
        table,
        claims=[_claim(found)],
        notes=_notes(found),
    )


def _rows(study: StudyReport) -> Iterator[dict[str, object]]:
    report = study.report
    for one in report.contributors:
        yield _row(study, study.people, one.label, one.counts)
    together = _row(study, study.people, ALL, report.result.counts)
    yield together | {"p": report.result.p}
    for judge in report.judges.judges:
        for share in judge.shares:
            yield _row(study, judge.name, share.label, share.counts)
        yield _row(study, judge.name, ALL, judge.counts)


def _row(study: StudyReport, judge: str, model: str, counts: Counts) -> dict[str, object]:
    ends = clopper_pearson(counts.wins, counts.decided)
    return {
        "study": study.slug, "judge": judge, "model": model,
        "value": counts.wins / counts.decided if counts.decided else None,
        "low": ends.low if ends else None, "high": ends.high if ends else None,
        "wins": counts.wins, "losses": counts.losses, "ties": counts.ties, "items": counts.n,
        "p": None,
    }  # fmt: skip


def _sentence(studies: Sequence[StudyReport], names: Names) -> str:
    told = []
    for study in studies:
        label = "Simulated raters, no people: " if study.simulated else ""
        told.append(f"{label}{study.report.conclusions.headline}")
        for judge in study.report.judges.judges:
            counts = judge.counts
            told.append(
                f"{names.judge(judge.name)}: {counts.wins} wins, {counts.losses} losses, "
                f"{counts.ties} ties."
            )
    return " ".join(told)


def _claim(studies: Sequence[StudyReport]) -> Claim:
    real = [one.report.result for one in studies if not one.simulated]
    if not real:
        why = "The study that is here was rated by a program to show the way, not by people."
        return Claim(PAPER, "no study with people", "not testable at this size", why)
    won = [one for one in real if one.established and one.direction == "system"]
    verdict: Verdict = "confirmed" if len(won) == len(real) else "not confirmed"
    here = f"preferred, as its plan tests it, in {len(won)} of {len(real)} studies with people"
    return Claim(PAPER, here, verdict, "Studies with few contributors speak of their pairs only.")


def _notes(studies: Sequence[StudyReport]) -> list[str]:
    notes = [
        "Each value is the share of wins among the verdicts that name a side, with the exact "
        "interval; ties are in the table. Votes of one rater are not independent: the report of "
        "the study says what holds beyond its pairs.",
    ]
    if any(judge.circular for one in studies for judge in one.report.judges.judges):
        notes.append("A judge that took part in the system judges itself.")
    return notes
