"""Imported results on the Results page: a table of their own, told apart from what was measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

import pandas as pd

from evals.analyses.core import by_item, level_of
from evals.bench_plan import SOLO
from evals.frames import to_frame
from evals.imports.everything import told_imported
from evals.names import Names, protocol_title
from evals.records import BenchRecord
from studio.results_tables import score

IMPORTED = "imported"
HEAD = ("Task", "Who", "models", "answers", "score (95 % interval)", "not read or scored", "from")


def imports_html(imports: Mapping[str, Sequence[BenchRecord]], names: Names) -> str:
    """A table for each import, under a title that says what these are; nothing without any."""
    tables = "".join(_table(name, found, names) for name, found in imports.items() if found)
    if not tables:
        return ""
    return (
        f"<h2 id='{IMPORTED}'>Measured elsewhere</h2><p>Imported with <code>studio results import"
        "</code>. None of it is in the figures and tables above.</p>" + tables
    )


def _table(name: str, found: Sequence[BenchRecord], names: Names) -> str:
    frame = to_frame(found)
    parts = frame.groupby(["task", "protocol", "setting", "pool"], sort=True)
    rows = "".join(_row(part, names) for _, part in parts)
    head = "".join(f"<th scope='col'>{title}</th>" for title in HEAD)
    label = escape(f"Imported: {name}")
    return (
        f"<section class='studio-standings'><p><strong>{escape(name)}</strong>: "
        f"{escape(told_imported(found))}</p><div class='studio-scroll' role='region' "
        f"aria-label='{label}' tabindex='0'><table class='studio-table'><thead><tr>{head}</tr>"
        f"</thead><tbody>{rows}</tbody></table></div></section>"
    )


def _row(part: pd.DataFrame, names: Names) -> str:
    first = part.iloc[0]
    pool = names.pool(first["pool"])
    who = pool if first["protocol"] == SOLO else f"{protocol_title(first['protocol'])} of {pool}"
    scored = part[part["outcome"] != "unscored"]
    told = score(level_of(by_item(scored))) if len(scored) else ""
    unread = int(part["outcome"].isin(["unparsed", "unscored", "failed"]).sum())
    origins = ", ".join(sorted({str(one).partition(":")[0] for one in part["imported"]}))
    cells = (who, first["n"], len(part), told or "–", unread, origins)
    body = "".join(f"<td>{escape(str(cell))}</td>" for cell in cells)
    return f"<tr><th scope='row'>{escape(str(first['task']))}</th>{body}</tr>"
