"""A report for eyes: a page of its own, or a text for the terminal."""

from __future__ import annotations

from evals.human.report import forest_rows
from evals.human.reporting.model import Report
from evals.human.reporting.page import page
from evals.human.reporting.text import text

__all__ = ["render_html", "to_text"]


def render_html(report: Report) -> str:
    """Return the report as one HTML file that asks nothing of any server and runs no script.

    It reads on a phone, in the dark and on paper. The same report gives the same bytes.
    """
    return page(report, forest_rows(report))


def to_text(report: Report) -> str:
    """Return the report as plain text of at most 100 columns."""
    return text(report, forest_rows(report))
