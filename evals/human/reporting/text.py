"""The report as plain text, for a terminal and for mail."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence

from evals.human.reporting import words
from evals.human.reporting.judge_model import Judge
from evals.human.reporting.model import Report, Row

WIDTH = 96
BAR = 41
MARK = {"bad": "SERIOUS", "warn": "CAUTION", "note": "NOTE"}


def text(report: Report, forest: Sequence[Row]) -> str:
    """Return the findings, the forest plot and the checks of a report."""
    parts = [
        _title(report), _paragraphs(_findings(report)), _forest(forest), _variants(report),
        _judges(report.judges.judges), _paragraphs(_record(report)),
    ]  # fmt: skip
    return "\n\n".join(part for part in parts if part) + "\n"


def _title(report: Report) -> str:
    flow, result = report.flow, report.result
    facts = (
        f"{words.count(flow.voted, 'rater')}, {words.count(result.counts.n, 'vote')} on "
        f"{words.count(result.pairs, 'pair')}, plan {report.record.digest}, "
        f"locked {report.record.locked_at[:10]}"
    )
    title = _plain(report.title)
    return f"{title}\n{'=' * min(len(title), WIDTH)}\n{facts}"


def _plain(value: str) -> str:
    """Text without line breaks or control characters, which a terminal would obey."""
    return "".join(c if c.isprintable() else " " for c in value)


def _paragraphs(lines: Iterator[str]) -> str:
    return "\n".join(
        textwrap.fill(_plain(line), WIDTH, subsequent_indent="  " if line[:2] == "- " else "")
        for line in lines
    )


def _findings(report: Report) -> Iterator[str]:
    yield report.conclusions.headline
    for flag in report.conclusions.flags:
        yield f"- {MARK[flag.level]}: {flag.text}"
    for sentence in report.conclusions.sentences:
        yield f"- {sentence}"


def _forest(rows: Sequence[Row]) -> str:
    width = min(24, max(len(_plain(_name(row))) for row in rows))
    lines = [f"{'Win rate of the system':<{width}}  0%{'50%':^{BAR - 6}}100%"]
    for row in rows:
        name = _plain(_name(row))[:width]
        counts = f"{row.counts.wins}-{row.counts.ties}-{row.counts.losses}"
        rate = words.percent(row.estimate.value)
        interval = f"[{words.spread(row.estimate.interval)}]" if row.estimate.interval else ""
        lines.append(f"{name:<{width}}  {_drawn(row)}  {counts:>9}  {rate:>6} {interval}".rstrip())
    return "\n".join(lines)


def _name(row: Row) -> str:
    return f"{row.label} {row.group}".strip()


def _drawn(row: Row) -> str:
    """A line with the interval, the rate and one half."""
    cells = [" "] * BAR
    cells[BAR // 2] = "|"
    interval, value = row.estimate.interval, row.estimate.value
    if interval is not None:
        for place in range(_column(interval.low), _column(interval.high) + 1):
            cells[place] = "-" if cells[place] == " " else "+"
    if value is not None:
        cells[_column(value)] = "#"
    return "".join(cells)


def _column(value: float) -> int:
    return round(min(max(value, 0.0), 1.0) * (BAR - 1))


def _variants(report: Report) -> str:
    lines = ["The same question, asked in other ways"]
    for variant in report.variants:
        estimate = variant.estimate
        interval = f"[{words.spread(estimate.interval)}]" if estimate.interval else ""
        units = f"{estimate.n} {estimate.unit}"
        about = f"{variant.name}: {variant.about}"
        lines.append(f"  {about[:58]:<58} {words.percent(estimate.value):>6} {interval}, {units}")
    return "\n".join(lines)


def _judges(judges: Sequence[Judge]) -> str:
    if not judges:
        return ""
    lines = ["Judges against people"]
    for judge in judges:
        found, share = judge.agreement, words.percent(judge.constant_share.value)
        marks = "".join(f"; {name}" for name, on in _suspicions(judge) if on)
        same, kappa = words.percent(found.observed.value), words.number(found.kappa.value)
        lines.append(
            f"  {_plain(judge.name)[:24]:<24} same label {same} (one label always: {share}), "
            f"kappa {kappa}, n = {found.observed.n}{marks}"
        )
        if judge.worth:
            lines.append(textwrap.indent(textwrap.fill(_plain(judge.worth), WIDTH - 4), "    "))
    return "\n".join(lines)


def _suspicions(judge: Judge) -> tuple[tuple[str, bool], ...]:
    biased = judge.swap is not None and judge.swap.biased
    return (
        ("CIRCULAR", judge.circular), ("same family", judge.same_family),
        ("position-biased", biased),
        (f"{judge.unparsed_verdicts} unreadable", judge.unparsed_verdicts > 0),
    )  # fmt: skip


def _record(report: Report) -> Iterator[str]:
    record = report.record
    for text_of in record.deviations:
        yield f"- Deviation: {text_of}"
    yield f"Vote chain ends at {record.chain_head or 'nothing'}."
