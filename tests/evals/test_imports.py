"""Foreign results: files built by each format's description, our own export, and broken files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evals.analyses.everything import load
from evals.frames import SPENT, to_frame
from evals.imports.everything import keep, read_foreign, told_imported
from evals.lm_eval import write_results
from evals.records import BenchRecord, Reading
from protocols.core.errors import UserError
from tests.evals.bench.test_results import record

DATE = "2026-01-02T03-04-05.678901"


def sample(doc: int, filter_: str = "none", **more: Any) -> dict[str, Any]:
    """A line as ``lm_eval --log_samples`` writes it; ``more`` holds the metrics' own fields."""
    metrics = more or {"exact_match": 1.0}
    return {
        "doc_id": doc, "doc": {"question": f"q{doc}"}, "target": str(doc),
        "arguments": {"gen_args_0": {"arg_0": f"q{doc}", "arg_1": {"until": []}}},
        "resps": [[f"It is {doc}."]], "filtered_resps": [str(doc)], "filter": filter_,
        "metrics": list(metrics), "doc_hash": f"{doc:064d}", **metrics,
    }  # fmt: skip


def harness(folder: Path, task: str, lines: list[Any], results: Any = None) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"samples_{task}_{DATE}.jsonl"
    path.write_text("".join(json.dumps(one) + "\n" for one in lines))
    if results is not None:
        (folder / f"results_{DATE}.json").write_text(json.dumps(results))
    return path


RESULTS = {
    "results": {"gsm8k": {"exact_match,strict-match": 0.5}},
    "config": {"model": "hf", "model_args": "pretrained=toy/model,dtype=float"},
    "configs": {"gsm8k": {"test_split": "test"}, "held": {"validation_split": "validation"}},
    "date": 1767322800.5,
}


def test_samples_of_the_harness_are_answers_of_one_model(tmp_path: Path) -> None:
    lines = [sample(n, "strict-match", exact_match=float(n == 1)) for n in range(3)]
    lines += [sample(n, "flexible-extract", exact_match=1.0) for n in range(3)]
    path = harness(tmp_path, "gsm8k", lines, RESULTS)
    found = read_foreign([path])
    assert [one.outcome for one in found] == ["wrong", "right", "wrong"]
    first = found[0]
    assert (first.role, first.pool, first.split) == ("solo", ("toy/model",), "test")
    assert (first.text, first.corrected.parsed) == ("It is 0.", "0")
    assert first.others == {"exact_match,flexible-extract": 1.0}
    assert first.made.startswith("2026-01-02") and first.imported.startswith("lm-eval: samples_")
    assert first.compatible.score is None, "the harness knows nothing of the reference library"
    other = read_foreign([tmp_path / f"results_{DATE}.json"], metric="exact_match,flexible-extract")
    assert [one.score for one in other] == [1.0] * 3
    assert read_foreign([tmp_path]) == found


def test_compared_options_are_told_by_the_likeliest(tmp_path: Path) -> None:
    line = sample(0, acc=0.0, acc_norm=1.0)
    line["resps"] = [[["-3.5", "False"]], [["-1.25", "True"]], [["-2.0", "False"]]]
    line["filtered_resps"] = [["-3.5", "False"], ["-1.25", "True"], ["-2.0", "False"]]
    line["arguments"] = {
        f"gen_args_{n}": {"arg_0": "q", "arg_1": f" {word}"} for n, word in enumerate("xyz")
    }
    path = harness(tmp_path, "held", [line], RESULTS)
    (found,) = read_foreign([path])
    assert (found.text, found.score, found.split) == ("y", 0.0, "dev")
    assert read_foreign([path], metric="acc_norm")[0].outcome == "right"


def test_what_an_import_cost_is_missing_and_not_zero(tmp_path: Path) -> None:
    path = harness(tmp_path, "gsm8k", [sample(0)])
    found = read_foreign([path], model="toy, too")
    frame = to_frame([*found, record(item="x")])
    assert found[0].pool == ("toy; too",)
    assert frame.loc[0, list(SPENT)].isna().all() and frame.loc[1, list(SPENT)].notna().all()
    assert told_imported(found).startswith("1 of 1 answers were imported (lm-eval)")
    assert told_imported([record(item="x")]) == ""


def own(tmp_path: Path) -> list[BenchRecord]:
    made = []
    for n, value in enumerate((1.0, 0.0, 0.5, None)):
        read = {"corrected": Reading(score=value, parsed=None if value is None else f"p{n}")}
        outcome = {1.0: "right", 0.0: "wrong", 0.5: "partial", None: "unparsed"}[value]
        common = {
            "item": f"i{n}", "text": f"t\u2028{n}", "split": "test", "outcome": outcome, **read,
            "compatible": Reading(score=1.0 - (value or 0.0)),
        }  # fmt: skip
        for seed in (0, 1):
            made.append(record(**common, seed=seed, config={"rounds": 2}, key=f"s{n}/{seed}"))
            for name in ("a", "b"):
                solo = {"role": "solo", "protocol": "single_model", "level": "baselines"}
                key = f"{name}{n}/{seed}"
                made.append(record(**common, **solo, pool=(name,), seed=seed, key=key))
    write_results(made, tmp_path)
    return made


def test_our_own_export_comes_back_as_it_was(tmp_path: Path) -> None:
    def told(one: BenchRecord) -> tuple[object, ...]:
        read, other = one.corrected, one.compatible
        return (
            one.task, one.item, one.split, one.protocol, one.level, one.role, one.pool, one.seed,
            str(one.config), one.text, one.outcome, read.score, read.parsed, other.score,
        )  # fmt: skip

    made = own(tmp_path)
    back = read_foreign([tmp_path / "lm_eval"])
    assert sorted(map(told, back)) == sorted(map(told, made))
    systems = [one for one in back if one.role == "system"]
    assert all([m.model for m in one.members] == ["a", "b"] for one in systems)
    assert all(m.outcome == one.outcome for one in systems for m in one.members)
    assert load([keep(back, tmp_path, "ours.1")]) == back


def moco(folder: Path, name: str, models: list[str], scores: list[Any], **more: Any) -> Path:
    logs = [{"input": f"q{n}", "output": f"a{n}", "score": s} for n, s in enumerate(scores)]
    log = {"task": "toy", "task_type": "exact_match", "model_names": models, "logs": logs, **more}
    path = folder / name
    path.write_text(json.dumps(log))
    return path


def test_logs_of_the_library_are_systems_and_their_members(tmp_path: Path) -> None:
    moco(tmp_path, "toy_m_0.5_single_model.json", ["o/m"], [1, 0])
    moco(tmp_path, "toy_k_0.0_single_model.json", ["o/k"], [False, 0.0])
    moco(tmp_path, "toy_2_1.0_api_cascade.json", ["o/m", "o/k"], [1.0, 1.0])
    (tmp_path / "config.json").write_text("{}")
    found = {(one.protocol, one.pool, one.text): one for one in read_foreign([tmp_path])}
    assert len(found) == 6
    system = found["cascade", ("o/m", "o/k"), "a1"]
    assert (system.role, system.level, system.split) == ("system", "api", "test")
    assert [one.outcome for one in system.members] == ["wrong", "wrong"]
    assert system.compatible.score == system.score == 1.0
    assert system.item == found["single_model", ("o/m",), "a1"].item


def test_a_reward_is_no_score_from_0_to_1(tmp_path: Path) -> None:
    path = moco(tmp_path, "w_3_8.1_sparta.json", ["a", "b"], [8.1], task_type="reward_model")
    (found,) = read_foreign([path])
    assert (found.outcome, found.score, found.others) == ("unscored", None, {"reward": 8.1})


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("x.csv", "", "neither .jsonl nor .json"),
        ("x.json", "{", "not valid JSON"),
        ("x.json", "[1]", "no list 'logs'"),
        ("x.json", '{"logs": []}', "does not say its 'task'"),
        ("x.json", '{"logs": [], "task": "t", "model_names": ["m"]}', "--protocol"),
        ("x_expo.json", '{"logs": [1], "task": "t", "model_names": ["m"]}', "entry 1 of 'logs'"),
        (
            "x_expo.json",
            '{"logs": [{"input": "q", "output": "a", "score": NaN}], "task": "t",'
            ' "model_names": ["m"]}',
            "no number as its 'score'",
        ),
        ("x.jsonl", "{}", "not named like samples_TASK_DATE"),
        ("samples_t_1.jsonl", "", "has no samples"),
        ("samples_t_1.jsonl", "{", "line 1 is not a JSON object"),
        ("samples_t_1.jsonl", '\n{"doc_id": 1}', "line 2 has no 'doc_id' and 'metrics'"),
        ("samples_t_1.jsonl", '{"doc_id": 1, "metrics": ["acc"], "acc": 1}', "--model"),
        ("results_1.json", "{}", "none lie beside it"),
    ],
)
def test_a_bad_file_is_one_sentence(tmp_path: Path, name: str, text: str, says: str) -> None:
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(UserError) as error:
        read_foreign([path])
    assert says in error.value.message and name.partition(".")[0] in error.value.message


def test_what_cannot_be_compared_is_refused(tmp_path: Path) -> None:
    path = harness(tmp_path, "t", [sample(0, word_perplexity=12.5, acc=1.0)], RESULTS)
    with pytest.raises(UserError, match=r"score 12\.5 .* not between 0 and 1.*--metric"):
        read_foreign([path])
    assert read_foreign([path], metric="acc")[0].score == 1.0
    with pytest.raises(UserError, match="accc"):
        read_foreign([path], metric="accc")
    twice = harness(tmp_path, "t", [sample(0), sample(0)], RESULTS)
    with pytest.raises(UserError, match="a second time"):
        read_foreign([twice])
    some = harness(tmp_path, "t", [sample(0), sample(1, acc=1.0)], RESULTS)
    with pytest.raises(UserError, match="line 2 has no number for exact_match,none"):
        read_foreign([some])
    logs = [moco(tmp_path, f"t_m_{n}_single_model.json", ["m"], [n]) for n in (0, 1)]
    with pytest.raises(UserError, match=r"twice, in .*one run at a time"):
        read_foreign(logs)
    (tmp_path / "nothing").mkdir()
    with pytest.raises(UserError, match="no file of results"):
        read_foreign([tmp_path / "nothing"])


def test_an_import_never_takes_another_ones_place(tmp_path: Path) -> None:
    found = read_foreign([harness(tmp_path, "t", [sample(0)], RESULTS)])
    keep(found, tmp_path, "first")
    for name in ("first", "../up", "", "a/b", "x" * 99):
        with pytest.raises(UserError, match="import"):
            keep(found, tmp_path, name)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(sorted(sample(0))), values), values)
def test_whatever_a_line_holds_it_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, broken: dict[str, Any], results: Any
) -> None:
    folder = tmp_path_factory.mktemp("hostile")
    path = harness(folder, "t", [{**sample(0), **broken}], results)
    log = {
        "task": "t",
        "model_names": ["m"],
        "logs": [{"input": "q", "score": 1, **broken}],
        **broken,
    }
    (folder / "t_m_1_expo.json").write_text(json.dumps(log))
    for file in (path, folder / "t_m_1_expo.json"):
        try:
            read_foreign([file], model="m")
        except UserError as error:
            assert len(error.message) < 700
