"""Weights that several threads load at once: engines, trainings and encoders share a process."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from protocols.core.models import ModelSpec
from tests.training.tiny_base import tiny_base

pytestmark = pytest.mark.models


def test_loads_at_once_keep_their_tied_weights(base_model: Path, tmp_path: Path) -> None:
    """Overlapping loads would leave transformers unable to tie weights for good."""
    from protocols.engines.loading import load_weights
    from protocols.training.sft import load_base

    folder = tiny_base(base_model, tmp_path / "tiny")
    model = ModelSpec(id="tiny", source=str(folder))

    def load(turn: int) -> Any:
        return load_weights(model).network if turn % 2 else load_base(folder, "cpu")[0]

    with ThreadPoolExecutor(4) as threads:
        for network in threads.map(load, range(16)):
            assert network.lm_head.weight.data_ptr() == network.model.embed_tokens.weight.data_ptr()
