"""The report as one HTML file: no script, no request to anywhere, the same data the same bytes."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from evals.human.reporting import words
from evals.human.reporting.basics import Counts
from evals.human.reporting.model import Evidence, Report

PACKAGE = "evals.human.reporting"
NAMES = {"system": "system", "tie": "tie", "contributor": "own model"}
CONTENTS = (
    ("raters", "Who preferred what"),
    ("evidence", "Evidence, vote by vote"),
    ("judges", "People and judges"),
    ("variants", "Other ways to ask"),
    ("blinding", "Was it blind?"),
    ("checks", "Sides, length, consistency"),
    ("flow", "People, pairs, answers"),
    ("power", "Power"),
    ("record", "Plan and record"),
)
Line = tuple[str, Counts, int, bool]


@cache
def environment() -> Environment:
    """The templates; every text is escaped and a missing value is an error."""
    made = Environment(
        loader=PackageLoader(PACKAGE, "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    made.globals.update(
        percent=words.percent,
        p_value=words.p_value,
        brief=words.brief,
        number=words.number,
        count=words.count,
        spread=words.spread,
        level=words.level,
        told=words.estimate,
        at=at,
        mirrored_at=mirrored_at,
        names=NAMES,
    )
    return made


@cache
def style(name: str) -> str:
    """The text of a style sheet of ours."""
    return files(PACKAGE).joinpath("templates", name).read_text(encoding="utf-8")


def at(value: float) -> str:
    """Return where a share stands on an axis from 0 to 100 %, as SVG takes it."""
    return f"{100 * min(max(value, 0.0), 1.0):.3f}%"


def mirrored_at(value: float) -> str:
    """Return where a share stands on an axis that runs from right to left."""
    return at(1 - value)


def render(template: str, **values: Any) -> str:
    """Return a page from a template and what it shows."""
    from markupsafe import Markup

    css = Markup(style("report.css"))  # ours, and as text it would be escaped wrongly
    return environment().get_template(template).render(css=css, **values)


def page(report: Report, forest: tuple[Any, ...]) -> str:
    """Return the page of a report; ``forest`` are the rows of its forest plot."""
    return render(
        "report.html",
        r=report,
        forest=forest,
        shares=shares(report),
        people=people(report),
        worth=[(judge.name, judge.worth) for judge in report.judges.judges if judge.worth],
        path=path(report.evidence),
        contents=[one for one in CONTENTS if one[0] != "evidence" or report.evidence],
        grave=[flag for flag in report.conclusions.flags if flag.level == "bad"],
        milder=[flag for flag in report.conclusions.flags if flag.level != "bad"],
    )


def people(report: Report) -> str:
    """Return what the raters are called beside the judges: scripts are no people."""
    return "People (simulated)" if report.record.simulated else "People"


def shares(report: Report) -> list[tuple[str, list[Line]]]:
    """Return the bars of people and judges: all pairs first, then by contributor."""
    found = report.judges
    lines = [("All pairs", found.human, [(j, j.counts, j.unparsed) for j in found.judges])]
    for number, row in enumerate(report.contributors):
        made = [
            (j, j.shares[number].counts, j.shares[number].unparsed)
            for j in found.judges
            if number < len(j.shares)
        ]
        lines.append((row.label, row.counts, made))
    if len(lines) == 2:
        lines.pop()
    return [
        (
            label,
            [(people(report), human, 0, False), *((j.name, c, u, j.circular) for j, c, u in made)],
        )
        for label, human, made in lines
    ]


def path(evidence: Evidence | None) -> dict[str, str] | None:
    """Return the line of the evidence in a square of 100 by 100; None without votes."""
    if evidence is None or not evidence.path:
        return None
    from math import log10

    bound = log10(evidence.bound)
    low, high = min(0.0, *evidence.path), max(bound, *evidence.path)
    step = 100 / max(1, len(evidence.path) - 1)

    def height(value: float) -> str:
        return f"{95 - 90 * (value - low) / (high - low):.2f}"

    points = " ".join(f"{i * step:.2f},{height(v)}" for i, v in enumerate(evidence.path))
    return {"points": points, "bound": height(bound)}
