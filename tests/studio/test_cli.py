"""The command line's words, exit codes and sentences."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from protocols.core.registry import protocols
from studio.cli import main
from studio.pool import check_pool, load_pool
from studio.settings import Settings
from tests.conftest import ROOT


def studio(*words: str) -> Result:
    return CliRunner().invoke(main, list(words), catch_exceptions=False)


def rows(result: Result) -> list[dict[str, object]]:
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_lists_are_json_lines() -> None:
    listed = rows(studio("protocols", "--json"))
    assert [row["id"] for row in listed] == list(protocols())
    models = rows(studio("models", "--json"))
    assert len(models) >= 11 and all(row["contributor"] for row in models)
    listed = {row["id"]: row for row in rows(studio("tasks", "--json"))}
    assert {"composite", "addition", "gsm8k", "human_interest"} <= set(listed)
    assert (
        "openai/gsm8k" in listed["gsm8k"]["where"] and "file" in listed["human_interest"]["where"]
    )


@pytest.mark.parametrize("command", [[], ["run"], ["pool"], ["serve"], ["doctor"], ["replay"]])
def test_every_command_explains_itself(command: list[str]) -> None:
    assert studio(*command, "--help").exit_code == 0


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["run", "--protocol", "majority", "--question", "x"], "majority_vote"),
        (["run", "--protocol", "majority_vote", "--question", " "], "empty"),
        (["run", "--protocol", "majority_vote", "--question", "x" * 9000], "9,000 characters"),
        (["run", "--protocol", "single_model", "--question", "x", "--models", "nobody"], "nobody"),
        (["run", "--protocol", "single_model", "--question", "x", "--set", "a"], "K=V"),
        (["run", "--protocol", "single_model", "--question", "x", "--set", "modell=1"], "'model'"),
        (["run", "--protocol", "single_model", "--question", "x", "--pool", "embeded"], "embedded"),
        (["replay", "no-such-run"], "no run"),
        (["replay", "README.md"], "not a trace"),
        (["models", "--pool", "missing.yaml"], "missing.yaml"),
        (["pool", "check", "./no-such-folder"], "no folder"),
    ],
)
def test_unusable_arguments_end_with_2_and_a_sentence(words: list[str], says: str) -> None:
    result = studio(*words)
    assert result.exit_code == 2, result.output
    assert says in result.stderr and "Traceback" not in result.output
    assert len(result.stderr.strip().splitlines()) == 1


def test_a_recording_is_replayed_as_text_and_as_events() -> None:
    recording = sorted((ROOT / "assets" / "traces").glob("single_model-*.jsonl"))[0]
    assert "== " in studio("replay", str(recording)).stdout
    events = rows(studio("replay", recording.stem, "--json"))
    assert events[0]["kind"] == "run_started" and events[-1]["kind"] == "ended"


def test_a_corrupt_trace_is_named(tmp_path: Path) -> None:
    recording = sorted((ROOT / "assets" / "traces").glob("single_model-*.jsonl"))[0]
    lines = recording.read_text().splitlines()
    broken = tmp_path / "broken.jsonl"
    broken.write_text("\n".join([lines[0], "{}", *lines[1:]]))
    result = studio("replay", str(broken))
    assert result.exit_code == 2 and "damaged at line 2" in result.stderr


@pytest.mark.parametrize(
    ("name", "value"), [("PORT", "99999"), ("PORT", "seven"), ("ENGINE", "steam"), ("GRACE_S", "0")]
)
def test_an_unusable_setting_is_named(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(f"STUDIO_{name}", value)
    result = studio("replay", "no-such-run")
    assert result.exit_code == 2 and len(result.stderr.strip().splitlines()) == 1
    assert f"STUDIO_{name} is '{value}': it should be" in result.stderr


def test_a_port_in_use_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        result = studio("serve", "--port", str(port))
    assert result.exit_code == 2 and f"Port {port}" in result.stderr


POOL = """
title: Ours
models:
  - id: ours
    source: {source}
    adapter: {adapter}
"""


def write_pool(folder: Path, source: str = "x/y", adapter: str = "''") -> Path:
    path = folder / "ours.yaml"
    path.write_text(POOL.format(source=source, adapter=adapter))
    return path


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("title: x", "no list of models"),
        ("models: [{id: a}]", "'a': field 'source'"),
        ("models: [{id: a, source: x, colour: red}]", "colour"),
        ("models: [{id: a b, source: x}]", "field 'id'"),
        ("models: [{id: a, source: x}, {id: a, source: y}]", "names a twice"),
        ("models: [", "not valid YAML"),
        ("!!python/object/apply:os.system ['true']", "not valid YAML"),
    ],
)
def test_a_bad_pool_file_is_explained(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    result = studio("models", "--pool", str(path))
    assert result.exit_code in (1, 2) and says in result.stderr


def test_contributed_files_are_checked_before_they_are_loaded(tmp_path: Path) -> None:
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    config = {"peft_type": "LORA", "r": 8, "lora_alpha": 8}
    config["base_model_name_or_path"] = "group/y"
    weights = adapter / "adapter_model.safetensors"

    def problem(source: str = "x/y", **changes: object) -> str:
        (adapter / "adapter_config.json").write_text(json.dumps({**config, **changes}))
        path = write_pool(tmp_path, source, str(adapter))
        return dict(check_pool(str(path), Settings()))["ours"]

    (adapter / "adapter_model.bin").write_bytes(b"pickled")
    assert "may hold code" in problem()
    weights.write_bytes(b"\xff" * 64)
    assert "damaged" in problem()
    header = json.dumps({"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
    weights.write_bytes(len(header).to_bytes(8, "little") + header + b"\0" * 4)
    assert "no LoRA matrix" in problem()
    assert "made for 'y'" in problem(source="x/other")
    assert "rank" in problem(r=0)
    assert "no LoRA" in problem(peft_type="PREFIX_TUNING")
    weights.write_bytes(len(header).to_bytes(8, "little") + header + b"\0" * 40)
    assert "not fully covered" in problem()
    (adapter / "adapter_config.json").unlink()
    path = write_pool(tmp_path, "x/y", str(adapter))
    assert "missing" in dict(check_pool(str(path), Settings()))["ours"]


def test_the_embedded_pool_passes_its_own_check(base_model: Path) -> None:
    assert not [problem for _, problem in check_pool("embedded", Settings()) if problem]
    assert all(
        entry.spec.contributor.licence for entry in load_pool("embedded", Settings()).entries
    )


@pytest.mark.models
def test_a_real_run_in_a_terminal(base_model: Path, tmp_path: Path) -> None:
    out = tmp_path / "run.jsonl"
    words = ["run", "--protocol", "majority_vote", "--question", "What is 47 + 38?", "--json"]
    models = "smollm2-base,smollm2-addition"
    result = studio(*words, "--models", models, "--max-tokens", "12", "--out", str(out))
    assert result.exit_code == 0, result.stderr
    events = rows(result)
    assert events[-1]["kind"] == "ended" and events[-1]["status"] == "ok"
    assert rows(studio("replay", str(out), "--json")) == events
