"""The README of an export: what is in it, what it means and how to check it."""

from __future__ import annotations

from evals.human.reporting.model import Report

FILES = (
    ("votes.csv, votes.jsonl, votes.parquet", "one line per counted judgement: `outcome` is the "
     "side the rater saw, `winner` the arm that stood there, `kind` is main, repeat or gold"),
    ("pairs.jsonl", "the questions with both answers, as raters saw them"),
    ("guesses.csv", "whether raters knew the system's answer when asked at the end"),
    ("verdicts.jsonl", "automatic judges, each order of the answers by itself"),
    ("battles.jsonl", "main votes as arena battles: `model_a` stood on the left"),
    ("comparator.json", "for LLM Comparator (pair-code.github.io/llm-comparator): model A is the "
     "system, a preference scores 0.9"),
    ("preferences.jsonl", "decided main votes as preference pairs for TRL: prompt, chosen, "
     "rejected; a rater's choice each, so pairs can repeat and contradict"),
    ("study.json", "the plan as it was frozen at the first vote, with its digest"),
    ("report.html, report.json, forest.svg", "what the votes say"),
    ("SHA256SUMS", "checksums; `sha256sum -c SHA256SUMS` checks them"),
)  # fmt: skip


def readme(report: Report, *, texts: bool) -> str:
    """Return the text of an export's README."""
    record = report.record
    words = (
        "Raters' own words are included because they were asked for: read them before you pass "
        "them on, a person may have written something about themselves."
        if texts
        else "Raters' own words are not included."
    )
    simulated = (
        "\n**The raters of this study are scripts, not people.** It says nothing about any model.\n"
        if record.simulated
        else ""
    )
    files = "\n".join(f"- {names}: {about}" for names, about in FILES)
    title = " ".join(report.title.replace("`", "'").split())
    return f"""# Export of a blinded A/B study

`{title}`
{simulated}
{report.conclusions.headline}

Plan `{record.digest}`, revision {record.plan.revision}. Results opened {record.locked_at}. The
chain of votes ends in `{record.chain_head}`. Ties are {_ties(report)} in the headline.

{files}

Raters are called A1, A2, ... in an order that says nothing about who came when; no file holds their
ids or links. {words} Raters who withdrew are in none of these files; if you hold an older export,
replace it. In CSV files a text that a spreadsheet would take for a formula begins with an
apostrophe. A name that was hidden from raters is hidden here as well: `[model]`.
"""


def _ties(report: Report) -> str:
    return "left out" if report.result.policy == "drop" else "counted as half a win"
