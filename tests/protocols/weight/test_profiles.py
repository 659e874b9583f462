"""Profiles for large machines: accepted, priced, and played to the end on tiny models."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from protocols.core.artifacts import ArtifactStore
from protocols.core.events import Artifact, Ended
from protocols.core.registry import FitSize, ProtocolSpec, protocols
from protocols.lib.ties import TiesSettings, merged
from protocols.weight.dare_ties import settings_of
from tests.protocols.weight.tiny import World, full_pool, play_fit, tiny_pool

WEIGHT = ("dare_ties", "expo", "greedy_soup", "lorahub", "model_swarms")
FULL = tuple(name for name in WEIGHT if name != "lorahub")
PROFILES = [(name, which) for name, spec in protocols().items() for which in spec.profiles]


def configured(name: str, which: str) -> tuple[ProtocolSpec, Any]:
    spec = protocols()[name]
    return spec, spec.configure(dict(spec.profiles[which]))


@pytest.mark.parametrize(("name", "which"), PROFILES)
def test_every_profile_is_accepted_and_priced(name: str, which: str) -> None:
    spec, config = configured(name, which)
    assert config.model_dump() != spec.config().model_dump() or name == "greedy_soup"
    for count in (max(2, spec.min_models), 8, 32):
        cost = spec.estimate(config, count, 512)
        assert cost.calls > 0 and cost.tokens > 0
        if spec.fit_estimate:
            assert spec.fit_estimate(config, FitSize(count, 1000, 1000, 512)).calls >= 1000


def test_the_papers_numbers() -> None:
    """Appendix B, and what the reference library does where the paper is silent."""
    assert {name for name, which in PROFILES if which == "paper"} >= set(WEIGHT)
    swarm = configured("model_swarms", "paper")[1]
    pulls = (swarm.inertia, swarm.cognitive, swarm.social, swarm.repel, swarm.step)
    assert pulls == (0.2, 0.3, 0.4, 0.05, 0.5)
    assert (swarm.iterations, swarm.patience, swarm.particles, swarm.fresh) == (10, 5, 0, 0.0)
    assert configured("greedy_soup", "paper")[1].max_p == 1.0
    assert configured("expo", "paper")[1].k == 0, "1, 2 or 4 by the size of the pool"
    assert configured("dare_ties", "paper")[1].search == 0, "equal weights"


def test_the_papers_merge_drops_nothing_and_adds_equal_parts() -> None:
    """mergekit's own defaults, as the reference library leaves them: only signs are elected."""
    import torch

    config = configured("dare_ties", "paper")[1]
    its = settings_of(config, 0)
    assert its == TiesSettings(density=1.0, normalize=False)
    rows = torch.tensor([[1.0, -2.0, 3.0], [1.0, 1.0, 3.0], [1.0, -2.0, -1.0]])
    found = merged(lambda member: rows[member], [1 / 3] * 3, its, "x")
    torch.testing.assert_close(found, torch.tensor([1.0, -4 / 3, 2.0]))


@pytest.mark.parametrize("name", WEIGHT)
def test_the_papers_profile_is_played_on_adapters(name: str, tmp_path: Path) -> None:
    pool = tiny_pool(tmp_path, 3)
    finished(name, pool, World(pool, [0.6, 0.4, 0.0]), tmp_path)


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[pytest.mark.slow] * (n == "model_swarms")) for n in FULL]
)
def test_the_papers_profile_is_played_on_whole_models(name: str, tmp_path: Path) -> None:
    """Different checkpoints of one architecture, merged by mergekit."""
    pool = full_pool(tmp_path, 2)
    finished(name, pool, World(pool, [0.6, 0.4]), tmp_path)


def finished(name: str, pool: list[Any], world: World, root: Path) -> None:
    spec, config = configured(name, "paper")
    store = ArtifactStore(root / "store")
    given = dict(spec.profiles["paper"])
    events = asyncio.run(play_fit(name, pool, world, store, config=given))
    last = events[-1]
    assert isinstance(last, Ended) and last.status == "ok", last
    about = next(e.data for e in events if isinstance(e, Artifact) and e.name == "fitted")
    assert 0 <= about["metrics"]["dev"] <= 1
    assert spec.fit_estimate is not None
    most = spec.fit_estimate(config, FitSize(len(pool), 0, 8, 24))
    assert len(world.asked) <= most.calls, "as many as were announced"
