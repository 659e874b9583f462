"""Analyses of stored results, for the command line and the Results page."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from evals.analyses.core import Finding
from evals.analyses.everything import ANALYSES, OF_RECORDS, claims_table, load
from evals.imports.everything import told_imported
from evals.names import IDS, Names
from evals.results_file import Kept
from studio.chart_files import write
from studio.charts import draw
from studio.lab import Lab
from studio.output import say
from studio.safety_command import FILE
from studio.settings import Settings
from studio.stored_results import (
    INFLUENCES,
    Stored,
    attacks,
    current,
    influence_files,
    names_of,
    participants_of,
    result_files,
)

PAGE = "index.html"
STYLE = (
    "body{font:16px/1.5 system-ui;max-width:60rem;margin:2rem auto;padding:0 1rem}"
    "iframe{width:100%;border:0}table{border-collapse:collapse}"
    "td,th{border:1px solid #bbb;padding:.3rem .6rem;text-align:start;vertical-align:top}"
)


def write_figures(
    settings: Settings,
    runs: Sequence[Path],
    out: Path,
    seed: int,
    pictures: Sequence[str],
    as_json: bool,
) -> None:
    """Analyse folders of records and write every figure and table, and a page of all.

    Raises :class:`UserError` if there are no records.
    """
    names = names_of(settings)
    findings = everything(settings, runs, seed, names)
    for finding in findings:
        files = [path.name for path in write(finding, out, pictures, names)]
        row = {"analysis": finding.id, "sentence": finding.sentence, "files": files}
        say(row, as_json, f"{finding.title}: {finding.sentence}")
    claims_table(findings).to_csv(out / "claims.csv", index=False)
    (out / PAGE).write_text(document(findings), encoding="utf-8")
    say({"page": str(out / PAGE)}, as_json, f"All of it is in {out / PAGE}.")


def everything(
    settings: Settings, runs: Sequence[Path], seed: int, names: Names = IDS
) -> list[Finding]:
    """All findings in order: over the records given, else over those that ship with the studio."""
    stored = _stored(settings, runs, seed, names)
    found = stored.findings
    if note := told_imported(stored.records):
        noted = {
            name: replace(found[name], notes=[note, *found[name].notes]) for name in OF_RECORDS
        }
        found = {**found, **noted}
    lab = Lab(settings)
    try:
        made = {**found, "participants": participants_of(lab, names)}
    finally:
        lab.close()
    return [made[name] for name in ANALYSES]


def _stored(settings: Settings, runs: Sequence[Path], seed: int, names: Names) -> Stored:
    """The records given; else those that ship, of which most is known already."""
    if not runs and seed == Stored.seed and (found := current(settings)).answers:
        return found
    records = load(runs or result_files(settings.assets))
    here = [path for run in runs for path in run.glob(INFLUENCES) if path.name == FILE]
    shipped = influence_files(settings.assets, settings.workspace)
    return Stored({"": Kept(records)}, attacks(here or shipped), seed, names)


def document(findings: Sequence[Finding]) -> str:
    """All findings as one page that shows the figures beside it."""
    body = "".join(_section(finding) for finding in findings)
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Figures</title>'
        f"<style>{STYLE}</style></head><body><h1>What the stored results show</h1>"
        f"<h2>The paper and here</h2>{claims_html(findings)}{body}</body></html>"
    )


def _section(finding: Finding) -> str:
    title = html.escape(finding.title)
    drawn = draw(finding)
    height = 20 + (drawn.layout.height if drawn else 0)
    figure = (
        f'<iframe src="{finding.id}.html" title="{title}" style="height:{height}px"></iframe>'
        if drawn
        else ""
    )
    return f"<h2>{title}</h2>{described(finding)}{figure}"


def described(finding: Finding) -> str:
    """The sentence of a finding and what must be known to believe it."""
    notes = "".join(f"<li>{html.escape(note)}</li>" for note in finding.notes)
    listed = f"<ul class='studio-notes'>{notes}</ul>" if notes else ""
    return f"<p>{html.escape(finding.sentence)}</p>{listed}"


def claims_html(findings: Sequence[Finding]) -> str:
    """The paper's claims beside what was found here; nothing as long as no analysis is done."""
    if not findings:
        return ""
    head = "".join(f"<th scope='col'>{name}</th>" for name in ("Question", "Paper", "Here", "So"))
    rows = []
    for one in claims_table(findings).itertuples():
        here = html.escape(one.here) + (
            f" <small>{html.escape(one.why)}</small>" if one.why else ""
        )
        cells = (html.escape(one.analysis), html.escape(one.paper or "–"), here, one.verdict)
        rows.append("<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>")
    return (
        "<div class='studio-scroll' role='region' aria-label='The paper and here' tabindex='0'>"
        f"<table class='studio-table'><thead><tr>{head}</tr></thead>"
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )
