"""From answers to pairs: what drops out and why, what is masked, and what the lab sees of it."""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evals.human.imports import import_answers, import_pairs
from evals.human.prepare import gold_needed, item_id, pairs_from, questions_for
from evals.human.records import Dropped, PairText
from evals.human.responses import Outcome, Response
from evals.human.review import review
from evals.human.study import Arm, ContributorArm
from protocols.core.errors import UserError
from tests.evals.human.prepare.worlds import OTHER, OWN, masker, study

MASKER = masker()
STRATA = (
    ContributorArm(model=OWN.id, questions="import:a", limit=5000),
    ContributorArm(model=OTHER.id, questions="import:b", limit=5000),
)


def answer(prompt: str, arm: Arm, text: str, outcome: Outcome = "ok", **more: Any) -> Response:
    fields: dict[str, Any] = {"stratum": OWN.id, "question": prompt, **more}
    key = f"{fields['stratum']}/{prompt}/{arm}"
    return Response(key, arm=arm, prompt=prompt, text=text, outcome=outcome, **fields)


def both(prompt: str, own: str, joint: str, **more: Any) -> list[Response]:
    return [answer(prompt, "contributor", own, **more), answer(prompt, "system", joint, **more)]


def test_pairs_are_masked_on_both_sides_and_in_the_prompt() -> None:
    rows = both(
        "Is Zyntara better than Qwen?", "I am Zyntara-7B-law.", "**Qwen** says: I am majority_vote."
    )
    made = pairs_from(study(), rows, MASKER)
    (pair,) = made.pairs
    assert pair.prompt == "Is [model] better than [model]?"
    assert pair.contributor == "I am [model]."
    assert pair.system == "[model] says: I am [model]."
    assert (pair.hits_contributor, pair.hits_system, made.prompt_hits) == (1, 2, 2)
    assert pair.raw_system.startswith("**Qwen**")


def test_what_identifies_an_arm_stays_in_the_raw_fields() -> None:
    rows = both("Who are you?", "Gemma, by Orsolya Venn.", "A zyntara.", run="r", language="en")
    (pair,) = pairs_from(study(), rows, MASKER).pairs
    shown = json.dumps([pair.item, pair.prompt, pair.contributor, pair.system, pair.language])
    assert not re.search("zyntara|venn|gemma|orsolya", shown, re.IGNORECASE)
    assert pair.run_contributor == pair.run_system == "r"


REASONS: list[tuple[str, Outcome, str, Outcome, tuple[str, Arm | None] | None]] = [
    ("4", "ok", "5", "ok", None),
    ("", "empty", "5", "ok", ("empty", "contributor")),
    ("4", "ok", "", "empty", ("empty", "system")),
    ("", "empty", "", "empty", ("empty", None)),
    ("", "failed", "5", "ok", ("failed", "contributor")),
    ("4", "ok", "", "failed", ("failed", "system")),
    ("", "failed", "", "empty", ("failed", None)),
    ("<think>only this", "ok", "5", "ok", ("empty", "contributor")),
    (" \n", "ok", "5", "ok", ("empty", "contributor")),
    ("4", "ok", "4", "ok", ("identical", None)),
    ("It is  4\n", "ok", "**It** is 4", "ok", ("identical", None)),
    ("I am Qwen.", "ok", "I am Zyntara.", "ok", ("identical", None)),
]


@pytest.mark.parametrize(("own", "first", "joint", "second", "reason"), REASONS)
def test_why_a_pair_is_left_out(
    own: str, first: Outcome, joint: str, second: Outcome, reason: tuple[str, Arm | None] | None
) -> None:
    rows = [answer("q?", "contributor", own, first), answer("q?", "system", joint, second)]
    made = pairs_from(study(), rows, MASKER)
    if reason is None:
        assert len(made.pairs) == 1 and not made.dropped
    else:
        (entry,) = made.dropped
        assert not made.pairs and (entry.why, entry.arm) == reason


@pytest.mark.parametrize("policy", ["drop", "tie"])
def test_equal_answers_are_counted_and_not_rated(policy: str) -> None:
    made = pairs_from(study(identical=policy), both("q?", "4", "4"), MASKER)
    assert [entry.why for entry in made.dropped] == ["identical"] and not made.pairs


def test_cut_answers_are_marked_by_arm() -> None:
    rows = [answer("q?", "contributor", "a", cut=True), answer("q?", "system", "b")]
    (pair,) = pairs_from(study(), rows, MASKER).pairs
    assert pair.cut_contributor and not pair.cut_system


def test_an_answer_of_one_arm_only_is_told_of() -> None:
    rows = [*both("q?", "a", "b"), answer("r?", "system", "c")]
    made = pairs_from(study(), rows, MASKER)
    assert len(made.pairs) == 1 and not made.dropped
    assert any("1 questions have the answer of one arm only" in note for note in made.notes)


def test_strata_are_kept_apart() -> None:
    spec = study(contributors=STRATA)
    rows = both("q?", "a", "b") + both("q?", "c", "d", stratum=OTHER.id)
    made = pairs_from(spec, rows, MASKER)
    assert [pair.stratum for pair in made.pairs] == [OWN.id, OTHER.id]
    assert len({pair.item for pair in made.pairs}) == 2


def test_items_are_opaque_and_depend_on_study_and_content() -> None:
    rows = both("q?", "a", "b")
    first = pairs_from(study(), rows, MASKER).pairs[0].item
    assert re.fullmatch(r"[0-9a-f]{16}", first)
    assert first == pairs_from(study(), rows[::-1], MASKER).pairs[0].item
    assert first != pairs_from(study(slug="other"), rows, MASKER).pairs[0].item
    assert first != pairs_from(study(), both("q?", "a", "c"), MASKER).pairs[0].item


@given(st.lists(st.text(max_size=5), max_size=3), st.lists(st.text(max_size=5), max_size=3))
def test_items_of_different_content_differ(first: list[str], second: list[str]) -> None:
    assert (item_id("s", *first) == item_id("s", *second)) == (first == second)


def gold_rows(count: int, spare: int) -> list[Response]:
    return [
        row
        for i in range(count)
        for row in both(f"q{i}?", f"own answer {i}", f"joint answer {i}", spare=i >= count - spare)
    ]


def test_spare_questions_become_pairs_with_a_known_winner() -> None:
    spec = study(gold_share=0.5, repeat_share=0.0, pairs_per_rater=8)
    made = pairs_from(spec, gold_rows(12, 4), MASKER)
    mains = [pair for pair in made.pairs if pair.gold is None]
    golds = [pair for pair in made.pairs if pair.gold is not None]
    assert len(mains) == 8 and Counter(pair.gold for pair in golds) == {
        "contributor": 2,
        "system": 2,
    }
    for pair in golds:
        number = pair.prompt[1:-1]
        texts = {"contributor": pair.contributor, "system": pair.system}
        right = {arm for arm, text in texts.items() if text.endswith(f" {number}")}
        assert right == {pair.gold}
        assert pair.contributor.startswith("own") and pair.system.startswith("joint")
        assert pair.raw_contributor == pair.contributor and pair.raw_system == pair.system
    assert len({pair.item for pair in made.pairs}) == 12


def test_gold_pairs_that_would_be_equal_are_left_out() -> None:
    rows = both("a?", "4", "5", spare=True) + both("b?", "5", "4", spare=True)
    assert not pairs_from(study(gold_share=0.5, repeat_share=0.0), rows, MASKER).pairs


def test_too_few_questions_are_told_of() -> None:
    arms = (ContributorArm(model=OWN.id, questions="import:a", limit=10),)
    spec = study(contributors=arms, gold_share=0.2)
    notes = pairs_from(spec, both("q?", "a", "b"), MASKER).notes
    assert gold_needed(spec, arms[0]) == 2
    assert any("1 of the 10 pairs" in note for note in notes)
    assert any("0 of 2 gold pairs" in note for note in notes)


def test_questions_come_with_spare_ones_for_gold(tmp_path: Path) -> None:
    rows = "\n".join(json.dumps({"prompt": f"q{i}?"}) for i in range(30))
    (tmp_path / "q.jsonl").write_text(rows)
    arms = (ContributorArm(model=OWN.id, questions="q.jsonl", limit=10),)
    found = questions_for(study(contributors=arms, gold_share=0.2), tmp_path)
    assert len(found[OWN.id]) == 12


def write(folder: Path, name: str, rows: list[dict[str, Any]]) -> Path:
    path = folder / name
    path.write_text("\n".join(json.dumps(row) for row in rows))
    return path


def pair_files(
    folder: Path, first: list[dict[str, Any]], second: list[dict[str, Any]]
) -> tuple[Path, Path]:
    return write(folder, "own.jsonl", first), write(folder, "joint.jsonl", second)


def test_import_pairs_by_question_whatever_the_order(tmp_path: Path) -> None:
    first = [{"prompt": "a?", "response": "1"}, {"prompt": "b?", "response": "I am Qwen"}]
    second = [{"question": "b? ", "output": "3"}, {"question": "a?", "output": "4"}]
    made = import_pairs(study(), MASKER, *pair_files(tmp_path, first, second))
    assert [(p.prompt, p.contributor, p.system) for p in made.pairs] == [
        ("a?", "1", "4"),
        ("b?", "I am [model]", "3"),
    ]


def test_import_pairs_by_id_when_every_row_has_one(tmp_path: Path) -> None:
    first = [{"id": 1, "prompt": "a?", "text": "1", "finish": "length"}]
    second = [{"id": "1", "answer": "2", "gold": "system", "language": "fr"}]
    (pair,) = import_pairs(study(), MASKER, *pair_files(tmp_path, first, second)).pairs
    assert (pair.prompt, pair.cut_contributor, pair.cut_system) == ("a?", True, False)
    assert (pair.gold, pair.language) == ("system", "fr")


def test_import_reads_the_librarys_logs(tmp_path: Path) -> None:
    """The library of the paper writes one JSON object with the runs' entries in ``logs``."""

    def log(name: str, output: str) -> Path:
        rows = [{"input": "a?", "output": output, "score": 1.0}]
        path = tmp_path / name
        path.write_text(json.dumps({"task": "x", "avg_test_score": 1.0, "logs": rows}))
        return path

    (pair,) = import_pairs(study(), MASKER, log("x.json", "1"), log("y.json", "2")).pairs
    assert (pair.prompt, pair.contributor, pair.system) == ("a?", "1", "2")


MISFITS: list[tuple[list[dict[str, Any]], list[dict[str, Any]], str]] = [
    (
        [{"prompt": "a?", "response": "1"}, {"prompt": "b?", "response": "1"}],
        [{"prompt": "a?", "response": "2"}],
        r"'own.jsonl', line 2: 'b\?' has no answer in 'joint.jsonl'",
    ),
    (
        [{"prompt": "a?", "response": "1"}],
        [{"prompt": "a?", "response": "2"}, {"prompt": "c?", "response": "2"}],
        r"'joint.jsonl', line 2: 'c\?' has no answer in 'own.jsonl'",
    ),
    (
        [{"id": 1, "prompt": "a?", "response": "1"}, {"id": 2, "prompt": "b?", "response": "1"}],
        [{"id": 1, "prompt": "a?", "response": "2"}, {"id": 2, "prompt": "x?", "response": "2"}],
        r"line 2 answers 'b\?' and 'joint.jsonl', line 2 answers 'x\?'",
    ),
    (
        [{"prompt": "a?", "response": "1"}, {"prompt": "a? ", "response": "1"}],
        [{"prompt": "a?", "response": "2"}],
        r"line 2 repeats 'a\?' of 'own.jsonl', line 1; remove one or give every row an id",
    ),
    ([{"prompt": "a?"}], [{"prompt": "a?", "response": "2"}], "line 1 has no 'response'"),
    ([{"response": "1"}], [{"prompt": "a?", "response": "2"}], "neither a question nor an id"),
    ([{"id": 1, "response": "1"}], [{"id": 1, "response": "2"}], "no question in either file"),
    ([{"prompt": "a?", "response": ["1"]}], [], "'response' is no text"),
    ([], [{"prompt": "a?", "response": "2"}], "'own.jsonl' has no answers"),
    (
        [{"prompt": "a?", "response": "1", "gold": "mine"}],
        [{"prompt": "a?", "response": "2"}],
        "'gold' is 'mine'; it says contributor or system",
    ),
    (
        [{"prompt": "a?", "response": "1", "gold": "system"}],
        [{"prompt": "a?", "response": "2", "gold": "contributor"}],
        "different gold winners",
    ),
    ([{"prompt": "a?", "response": "x" * 200_001}], [], "longer than 200,000"),
]


@pytest.mark.parametrize(("first", "second", "says"), MISFITS, ids=range(len(MISFITS)))
def test_files_that_do_not_fit_are_refused_with_the_first_place(
    first: list[dict[str, Any]], second: list[dict[str, Any]], says: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=says):
        import_answers(study(), *pair_files(tmp_path, first, second))


@pytest.mark.parametrize(
    ("text", "says"),
    [("{", "not valid JSON"), ("[1]", "no list 'logs'"), ('{"logs": [1]}', "entry 1 of 'logs'")],
)
def test_damaged_logs_are_refused(text: str, says: str, tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text(text)
    with pytest.raises(UserError, match=says):
        import_answers(study(), path, path)


def test_an_import_belongs_to_one_contributor(tmp_path: Path) -> None:
    files = pair_files(
        tmp_path, [{"prompt": "a?", "response": "1"}], [{"prompt": "a?", "response": "2"}]
    )
    spec = study(contributors=STRATA)
    with pytest.raises(UserError, match="Say whose answers"):
        import_answers(spec, *files)
    with pytest.raises(UserError, match="Did you mean 'lex-helper-9'"):
        import_answers(spec, *files, stratum="lex-helper-8")
    assert {row.stratum for row in import_answers(spec, *files, stratum=OTHER.id)} == {OTHER.id}


def test_an_import_keeps_to_the_limit_and_takes_gold_from_the_rest(tmp_path: Path) -> None:
    arms = (ContributorArm(model=OWN.id, questions="import:a", limit=10),)
    spec = study(contributors=arms, gold_share=0.2)
    rows = [{"prompt": f"q{i}?", "response": f"own {i}"} for i in range(30)]
    other = [{"prompt": f"q{i}?", "response": f"joint {i}"} for i in range(30)]
    made = import_pairs(spec, MASKER, *pair_files(tmp_path, rows, other))
    assert sum(pair.gold is None for pair in made.pairs) == 10
    assert sum(pair.gold is not None for pair in made.pairs) == 2 and not made.notes


def reviewed() -> tuple[list[PairText], list[Dropped]]:
    rows = [
        *both("a?", "I am Qwen and Zyntara.", "**four**"),
        *both("Ask Qwen?", "two", "<think>x</think>It is three"),
        *both("c?", "", "x", outcome="empty"),
        answer("d?", "contributor", "cut", cut=True),
        answer("d?", "system", "whole sentence"),
        answer("e?", "contributor", "", "failed"),
        answer("e?", "system", "y"),
    ]
    made = pairs_from(study(), rows, MASKER)
    return list(made.pairs), list(made.dropped)


def test_the_review_shows_before_and_after() -> None:
    pairs, dropped = reviewed()
    screen = review(pairs, MASKER, dropped)
    pane = screen.rows[0].contributor
    assert list(pane.segments("before")) == [
        ("I am ", False), ("Qwen", True), (" and ", False), ("Zyntara", True), (".", False),
    ]  # fmt: skip
    assert list(pane.segments("after")) == [
        ("I am ", False), ("[model]", True), (" and ", False), ("[model]", True), (".", False),
    ]  # fmt: skip
    assert "".join(text for text, _ in pane.segments("after")) == pairs[0].contributor
    assert screen.rows[0].system.before == screen.rows[0].system.after == "four"
    assert screen.rows[1].prompt_hits == 1


def test_the_review_counts_by_arm() -> None:
    pairs, dropped = reviewed()
    screen = review(pairs, MASKER, dropped)
    assert (screen.contributor.hits, screen.contributor.answers_with_hits) == (2, 1)
    assert (screen.system.hits, screen.contributor.answers) == (0, 3)
    assert (screen.contributor.cut, screen.system.cut) == (1, 0)
    assert screen.contributor.dropped == {"failed": 1} and not screen.system.dropped
    assert screen.dropped == {"empty": 1, "failed": 1}
    assert (screen.contributor.shortest, screen.contributor.longest) == (3, 25)
    assert (screen.system_longer, screen.prompt_hits, screen.stale) == (2, 1, 0)


def test_the_review_notices_that_the_masks_have_changed() -> None:
    pairs, _ = reviewed()
    assert review(pairs, masker(masks=("four",))).stale == 1
    assert review([replace(pairs[0], contributor="I am Qwen.")], MASKER).stale == 1


def test_the_review_of_nothing_and_of_gold_pairs_has_counts() -> None:
    assert review([], MASKER).contributor.median == 0
    pairs, _ = reviewed()
    golden = review([replace(pair, gold="system") for pair in pairs], MASKER)
    assert len(golden.rows) == 3 and golden.contributor.answers == 0


ANSWERS = st.sampled_from(["4", "", "I am Qwen.", "**4**", "<think>", "zyntara", "five\n"])
STATES: st.SearchStrategy[Outcome] = st.sampled_from(["ok", "ok", "ok", "failed"])


@given(st.lists(st.tuples(ANSWERS, STATES, ANSWERS, STATES), max_size=8))
def test_every_question_is_a_pair_or_is_accounted_for(
    rows: list[tuple[str, Outcome, str, Outcome]],
) -> None:
    responses = [
        row
        for number, (own, first, joint, second) in enumerate(rows)
        for row in (
            answer(f"q{number}", "contributor", own, first),
            answer(f"q{number}", "system", joint, second),
        )
    ]
    made = pairs_from(study(), responses, MASKER)
    items = [pair.item for pair in made.pairs] + [entry.item for entry in made.dropped]
    assert len(items) == len(set(items)) == len(rows)
    for pair in made.pairs:
        assert pair.contributor.strip() and pair.system.strip()
        assert pair.contributor.split() != pair.system.split()
        shown = {k: v for k, v in asdict(pair).items() if k in ("contributor", "system", "prompt")}
        assert not re.search("qwen|zyntara|<think>", str(shown), re.IGNORECASE)
