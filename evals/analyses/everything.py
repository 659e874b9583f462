"""All analyses over the records of one or several folders."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from evals.analyses.core import Finding
from evals.analyses.cost import cost
from evals.analyses.diversity import diversity
from evals.analyses.emergence import emergence
from evals.analyses.scaling import scaling
from evals.analyses.strength import strength
from evals.frames import members_frame, to_frame
from evals.records import BenchRecord, newest, read_records
from protocols.core.errors import UserError


def load(folders: Sequence[Path]) -> list[BenchRecord]:
    """The newest record of every key in the folders. Raises :class:`UserError` if there is none."""
    records = list(newest(r for folder in folders for r in read_records(folder)).values())
    if not records:
        names = ", ".join(map(str, folders)) or "the folders given"
        raise UserError(f"There are no records in {names}. Make some with: python -m studio bench.")
    return records


def analyse(records: Sequence[BenchRecord], seed: int = 0) -> list[Finding]:
    """Every analysis, each with what it could find in these records."""
    frame = to_frame(records)
    members = members_frame(records)
    return [
        scaling(frame, seed),
        emergence(frame, members),
        cost(frame, seed),
        strength(frame, seed),
        diversity(frame),
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
        if finding.table.empty
    ]
    return pd.DataFrame(rows, columns=["analysis", "paper", "here", "verdict", "why"])
