"""Hypothesis profiles and the places where the real embedded models live."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

import protocols  # noqa: F401  hides broken torch extras before any test imports transformers

ROOT = Path(__file__).resolve().parent.parent
settings.register_profile(
    "default", max_examples=25, deadline=None, derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)  # fmt: skip
settings.register_profile("long", max_examples=300, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))


@pytest.hookimpl(tryfirst=True)  # before xdist reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """With several workers a file stays on one of them, and all tests of engines do.

    Their fixtures start browsers, apps and engines, which nobody wants to pay for twice.
    """
    for item in items:
        file = Path(item.path).relative_to(ROOT / "tests")
        group = "engines" if file.parts[0] == "engines" else file.as_posix()
        item.add_marker(pytest.mark.xdist_group(group))


@pytest.fixture(scope="session")
def workspace() -> Path:
    """The installation's workspace, where set-up put the base model."""
    return Path(os.environ.get("STUDIO_WORKSPACE", ROOT / ".studio"))


@pytest.fixture(scope="session")
def base_model(workspace: Path) -> Path:
    """The real embedded base model."""
    folder = workspace / "models" / "smollm2-135m-instruct"
    if not (folder / "model.safetensors").is_file():
        pytest.skip("the embedded base is not fetched: run make setup")
    return folder
