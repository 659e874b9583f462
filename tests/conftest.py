"""Hypothesis profiles and the places where the real embedded models live."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from xdist.scheduler import LoadFileScheduling

import protocols  # noqa: F401  hides broken torch extras before any test imports transformers

ROOT = Path(__file__).resolve().parent.parent
settings.register_profile(
    "default", max_examples=25, deadline=None, derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)  # fmt: skip
settings.register_profile("long", max_examples=300, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))


TOGETHER = ("tests/engines/", "tests/browser/")


class TogetherScheduling(LoadFileScheduling):  # type: ignore[misc]
    """With several workers a file stays on one of them; so do all of engines and all of browsers.

    Engines are costly to start twice, and two browsers at once make each other late.
    """

    def _split_scope(self, nodeid: str) -> str:
        file = str(super()._split_scope(nodeid))
        return next((part for part in TOGETHER if file.startswith(part)), file)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> TogetherScheduling:
    """What ``pytest -n`` asks for its scheduler."""
    return TogetherScheduling(config, log)


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
