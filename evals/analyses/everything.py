"""All analyses over the records of one or several folders."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from evals.analyses.core import Finding, ordinary
from evals.analyses.cost import cost
from evals.analyses.diversity import diversity
from evals.analyses.emergence import emergence
from evals.analyses.humans import humans
from evals.analyses.scaling import scaling
from evals.analyses.settings import settings
from evals.analyses.strength import strength
from evals.frames import members_frame, slim, to_frame
from evals.names import IDS, Names
from evals.records import BenchRecord, newest, read_records
from evals.results_file import kept_records
from protocols.core.errors import UserError

ANALYSES = (
    *("scaling", "emergence", "cost", "strength", "diversity", "settings"),
    *("humans", "participants", "harm"),
)
"""All analyses in the order in which they are shown; the last two are not made of records."""


def load(sources: Sequence[Path]) -> list[BenchRecord]:
    """The newest record of every key in bench folders and files of kept records.

    Raises :class:`UserError` if there is none.
    """
    records = list(newest(r for source in sources for r in _read(source)).values())
    if not records:
        names = ", ".join(map(str, sources)) or "the folders given"
        raise UserError(f"There are no records in {names}. Make some with: python -m studio bench.")
    return records


def _read(source: Path) -> list[BenchRecord]:
    return read_records(source) if source.is_dir() else kept_records(source)


def analyse(
    records: Sequence[BenchRecord],
    seed: int = 0,
    names: Names = IDS,
) -> list[Finding]:
    """Every analysis, each with what it could find in these records."""
    frame = to_frame(records)
    plain, members = ordinary(frame), members_frame(records)
    numbers = slim(plain)
    return [
        scaling(numbers, seed),
        emergence(plain, members),
        cost(numbers, seed),
        strength(numbers, seed, names),
        diversity(numbers),
        settings(frame, seed),
        humans(plain, seed),
    ]


def claims_table(findings: Sequence[Finding]) -> pd.DataFrame:
    """The paper's claims beside what was found here: analysis, paper, here, verdict, why."""
    rows = [
        {
            "analysis": finding.title,
            "paper": claim.paper,
            "here": claim.here,
            "verdict": claim.verdict,
            "why": claim.why,
        }
        for finding in findings
        for claim in finding.claims
    ]
    rows += [
        {
            "analysis": finding.title,
            "paper": "",
            "here": finding.sentence,
            "verdict": "not testable at this size",
            "why": "",
        }
        for finding in findings
        if finding.table.empty and not finding.claims
    ]
    return pd.DataFrame(rows, columns=["analysis", "paper", "here", "verdict", "why"])
