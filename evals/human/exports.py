"""Everything a locked study can be taken away as, without a way back to its raters.

Raters are A1, A2, ...; their free text stays here unless it is asked for. Texts are those that
raters saw, with names masked. The same data give the same bytes.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from evals.human.records import Judgement, PairText, StudyData
from evals.human.render import render_html
from evals.human.report import build_report, forest_rows, report_json
from evals.human.reporting.forest import forest_svg
from evals.human.reporting.handout import readme
from evals.human.reporting.votes import Votes, grouped, score
from evals.judges.resolve import resolve

FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
"""What a spreadsheet takes for the start of a formula."""
PREFERRED = 0.9
"""The score of a preference for LLM Comparator. Its scale ends at 1.5, but it takes data whose
least score is 1 or more for another scale and would show a study without losses as all ties; and
its bound of a win, 0.25, must lie below the mean of two votes against one."""
Record = dict[str, Any]

__all__ = [
    "battles", "comparator", "export_study", "guess_rows", "neutral", "pair_rows", "preferences",
    "verdict_rows", "vote_rows",
]  # fmt: skip


def export_study(data: StudyData, folder: Path, *, texts: bool = False) -> list[Path]:
    """Write every export into ``folder`` and return the files; ``texts`` adds raters' own words.

    Existing files of the same names are replaced.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files = _files(data, texts)
    files["SHA256SUMS"] = _sums(files)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return [folder / name for name in files]


def _files(data: StudyData, texts: bool) -> dict[str, bytes]:
    report, votes = build_report(data), vote_rows(data, texts=texts)
    fields = vote_fields(data, texts=texts)
    pictures = forest_svg(report.title, forest_rows(report))
    plan = report.record.plan.model_dump(mode="json")
    made = {
        "README.md": readme(report, texts=texts),
        "battles.jsonl": _lines(battles(data)),
        "comparator.json": _json(comparator(data, texts=texts)),
        "forest.svg": pictures,
        "guesses.csv": _csv(guess_rows(data), ("rater", "right")),
        "pairs.jsonl": _lines(pair_rows(data)),
        "preferences.jsonl": _lines(preferences(data)),
        "report.html": render_html(report),
        "report.json": report_json(report),
        "study.json": _json({"digest": report.record.digest, "plan": plan}),
        "verdicts.jsonl": _lines(verdict_rows(data)),
        "votes.csv": _csv(votes, tuple(fields)),
        "votes.jsonl": _lines(votes),
    }
    packed = {name: text.encode("utf-8", "replace") for name, text in made.items()}
    return dict(sorted({**packed, "votes.parquet": _parquet(votes, fields)}.items()))


def vote_fields(data: StudyData, *, texts: bool = False) -> dict[str, str]:
    """Return the columns of the votes with their types: text or whole number."""
    numbers = ("seq", "position", "strength", "visible_ms", "wall_ms", "chars_contributor",
               "chars_system")  # fmt: skip
    names = (
        "seq", "rater", "item", "contributor", "kind", "position", "outcome", "system_side",
        "winner", "first_outcome", "gold", "strength", "visible_ms", "wall_ms",
        "chars_contributor", "chars_system", "gate",
        *(f"criterion: {name}" for name in data.spec.dimensions), *(("reason",) if texts else ()),
    )  # fmt: skip
    return {name: "int" if name in numbers else "text" for name in names}


def vote_rows(data: StudyData, *, texts: bool = False) -> list[Record]:
    """Return every counted judgement: positions as the rater saw them, and arms."""
    votes = Votes(data)
    return [_vote(j, votes, texts=texts) for j in votes.all]


def _vote(j: Judgement, votes: Votes, *, texts: bool) -> Record:
    row: Record = {
        "seq": j.seq,
        "rater": votes.names[j.rater],
        "item": j.item,
        "contributor": j.stratum,
        "kind": j.kind,
        "position": j.position,
        "outcome": j.outcome,
        "system_side": j.system_side,
        "winner": j.winner,
        "first_outcome": j.first,
        "gold": j.gold,
        "strength": j.strength,
        "visible_ms": j.visible_ms,
        "wall_ms": j.wall_ms,
        "chars_contributor": j.chars_contributor,
        "chars_system": j.chars_system,
        "gate": j.gate,
    }
    row |= {f"criterion: {name}": j.dimensions.get(name) for name in votes.spec.dimensions}
    return row | ({"reason": j.reason} if texts else {})


def guess_rows(data: StudyData) -> list[Record]:
    """Return each guess of which answer was the system's: right, wrong or unknown."""
    said = {True: "right", False: "wrong", None: "unknown"}
    names = Votes(data).names
    rows = [{"rater": names[g.rater], "right": said[g.right]} for g in data.guesses]
    return sorted(rows, key=lambda row: (len(row["rater"]), row["rater"], row["right"]))


def pair_rows(data: StudyData) -> list[Record]:
    """Return the pairs as shown. What was masked stays masked."""
    hidden = ("raw_contributor", "raw_system")
    return [
        {name: value for name, value in asdict(pair).items() if name not in hidden}
        for pair in data.pairs
    ]


def verdict_rows(data: StudyData) -> list[Record]:
    """Return the judges' verdicts, each order by itself, with the words they came from."""
    return [asdict(verdict) for verdict in data.verdicts]


def battles(data: StudyData) -> list[Record]:
    """Return main votes as arena battles (FastChat's fields): model_a stood on the left."""
    votes, made = Votes(data), []
    system = f"system:{data.spec.system.protocol}"
    labels = {"left": "model_a", "right": "model_b", "tie_good": "tie", "tie_bad": "tie (bothbad)"}
    for j in votes.main:
        if j.outcome in labels:
            left, right = (system, j.stratum)[:: 1 if j.system_side == "left" else -1]
            pair = votes.pairs.get(j.item)
            made.append({
                "question_id": j.item, "model_a": left, "model_b": right,
                "winner": labels[j.outcome], "judge": votes.names[j.rater], "turn": 1,
                "anony": True, "language": pair.language if pair else "",
            })  # fmt: skip
    return made


def preferences(data: StudyData) -> list[Record]:
    """Return decided main votes as preference pairs for TRL, in its conversational form."""
    votes, made = Votes(data), []
    for j in votes.decided:
        pair = votes.pairs.get(j.item)
        if pair is not None:
            chosen, rejected = pair.system, pair.contributor
            if j.winner == "contributor":
                chosen, rejected = rejected, chosen
            made.append({
                "prompt": [{"role": "user", "content": pair.prompt}],
                "chosen": [{"role": "assistant", "content": chosen}],
                "rejected": [{"role": "assistant", "content": rejected}],
            })  # fmt: skip
    return made


def comparator(data: StudyData, *, texts: bool = False) -> Record:
    """Return the study for LLM Comparator (PAIR-code/llm-comparator, "JSON Data Format").

    Model A is the system. A pair's score is the mean over its votes, positive where the system was
    preferred; without a vote it is null.
    """
    votes = Votes(data)
    by_item = grouped(votes.main, lambda j: j.item)
    judges = sorted({verdict.judge for verdict in data.verdicts})
    said = {(r.judge, r.item): r.outcome for r in resolve(data.verdicts)}
    schema = [
        {"name": "item", "type": "string"},
        {"name": "characters", "type": "per_model_number"},
        {"name": "hidden_names", "type": "per_model_number"},
        {"name": "cut", "type": "per_model_boolean"},
        *({"name": f"judge {judge}", "type": "category"} for judge in judges),
    ]
    return {
        "metadata": {
            "source_path": f"study {data.spec.slug}, plan {data.spec.digest}",
            "custom_fields_schema": schema,
        },
        "models": [{"name": f"system: {data.spec.system.protocol}"}, {"name": "contributors"}],
        "examples": [
            _example(
                pair,
                [j for j in by_item.get(pair.item, ()) if j.winner],
                {judge: said.get((judge, pair.item), "none") for judge in judges},
                texts,
            )
            for pair in data.pairs
            if pair.gold is None
        ],
    }


def _example(
    pair: PairText, mine: Sequence[Judgement], judges: Mapping[str, str], texts: bool
) -> Record:
    scores = [PREFERRED * (2 * (score(j) or 0.0) - 1) for j in mine]
    return {
        "input_text": pair.prompt,
        "tags": [pair.stratum, *filter(None, (pair.category, pair.language))],
        "output_text_a": pair.system,
        "output_text_b": pair.contributor,
        "score": sum(scores) / len(scores) if scores else None,
        "individual_rater_scores": [
            {
                "score": value,
                "rating_label": j.winner,
                "is_flipped": j.system_side == "right",
                "rationale": j.reason if texts else "",
                "custom_fields": {},
            }
            for j, value in zip(mine, scores, strict=True)
        ],
        "custom_fields": {
            "item": pair.item,
            "characters": [len(pair.system), len(pair.contributor)],
            "hidden_names": [pair.hits_system, pair.hits_contributor],
            "cut": [pair.cut_system, pair.cut_contributor],
            **{f"judge {judge}": outcome for judge, outcome in judges.items()},
        },
    }


def neutral(value: object) -> object:
    """Return a cell that no spreadsheet takes for a formula: text that looks like one gets a '."""
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA) else value


def _csv(rows: Iterable[Mapping[str, object]], fields: Sequence[str]) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([neutral(name) for name in fields])
    writer.writerows([neutral(row[name]) for name in fields] for row in rows)
    return out.getvalue()


def _lines(rows: Iterable[Mapping[str, object]]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n" for row in rows)


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, indent=1) + "\n"


def _parquet(rows: Sequence[Record], fields: Mapping[str, str]) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    kinds = {"int": pa.int64(), "text": pa.string()}
    table = pa.Table.from_pylist(
        list(rows), schema=pa.schema([(name, kinds[kind]) for name, kind in fields.items()])
    )
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    return bytes(sink.getvalue())


def _sums(files: Mapping[str, bytes]) -> bytes:
    rows = (f"{hashlib.sha256(content).hexdigest()}  {name}\n" for name, content in files.items())
    return "".join(rows).encode()
