"""Findings as files: CSV, JSON, HTML, and SVG or PNG where Chromium is. Tables keep the ids."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evals.analyses.core import Finding
from evals.names import IDS, Names
from protocols.core.errors import EngineError
from studio.charts import draw

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

FITTING = (
    "const plot = document.getElementById('{plot_id}'), both = plot.layout.meta; "
    "if (both && plot.clientWidth < 700) Plotly.relayout(plot, both.narrow);"
)
"""A figure in a file of its own takes the layout that fits, too."""


def write(
    finding: Finding, folder: Path, pictures: Sequence[str] = (), names: Names = IDS
) -> list[Path]:
    """Write a finding as files and return them: ``<id>.json``, its tables as CSV, its figure.

    ``pictures`` may name ``svg`` and ``png``. Raises :class:`EngineError` if there is no Chromium
    to draw them with.
    """
    folder.mkdir(parents=True, exist_ok=True)
    made = [folder / f"{finding.id}.json"]
    made[0].write_text(json.dumps(summary(finding), indent=1, ensure_ascii=False), encoding="utf-8")
    for name, table in {"": finding.table, **finding.more}.items():
        made.append(folder / f"{finding.id}{'-' if name else ''}{name}.csv")
        table.to_csv(made[-1], index=False)
    if figure := draw(finding, names):
        made.append(folder / f"{finding.id}.html")
        figure.write_html(made[-1], include_plotlyjs="directory", post_script=FITTING)
        made += [picture(figure, folder / f"{finding.id}.{kind}") for kind in pictures]
    return made


def summary(finding: Finding) -> dict[str, Any]:
    """What a finding says, without its tables."""
    return {
        "id": finding.id,
        "title": finding.title,
        "sentence": finding.sentence,
        "claims": [asdict(claim) for claim in finding.claims],
        "notes": list(finding.notes),
    }


def picture(figure: Figure, path: Path) -> Path:
    """Draw a figure with Chromium. Raises :class:`EngineError` if there is none."""
    try:
        figure.write_image(path, width=1100, height=figure.layout.height)
    except Exception as error:  # noqa: BLE001  kaleido's errors share no base class
        raise EngineError(
            f"{path.name} could not be drawn ({type(error).__name__}). Install Chromium "
            "(apt-get install chromium), or leave --pictures out."
        ) from None
    return path
