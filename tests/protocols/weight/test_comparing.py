"""Odd contributions are met with a sentence: not finite, far too large, copies and opposites."""

from __future__ import annotations

import asyncio
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from protocols.core.artifacts import ArtifactStore
from protocols.core.events import Artifact, Ended, Event, Progress
from protocols.core.models import ModelSpec
from protocols.lib.comparing import copies, distances, outweighing
from protocols.lib.lora_algebra import Lora, save_lora
from protocols.lib.weight_space import FullMembers, LoraMembers, members_of, pieces
from tests.protocols.weight.tiny import World, full_pool, model_of, play_fit, random_lora, tiny_pool

WEIGHT = ("dare_ties", "expo", "greedy_soup", "lorahub", "model_swarms")


def also(pool: list[ModelSpec], root: Path, name: str, lora: Lora) -> ModelSpec:
    save_lora(lora, root / name, "tiny-base")
    return model_of(name, Path(pool[0].source), root / name)


def scaled(seed: int, by: float) -> Lora:
    lora = random_lora(seed)
    return Lora(lora.rank, {k: (a, by * b) for k, (a, b) in lora.factors.items()}, lora.kind)


def spoil(file: Path, number: float) -> None:
    tensors = load_file(file)
    next(iter(tensors.values()))[1, 1] = number
    save_file(tensors, file, metadata={"format": "pt"})


def fitted(protocol: str, pool: list[ModelSpec], world: World, root: Path) -> list[Event]:
    return asyncio.run(play_fit(protocol, pool, world, ArtifactStore(root)))


def said(pool: list[ModelSpec]) -> list[str]:
    members = members_of(pool)
    names, products = [model.id for model in pool], members.products()
    base = members.from_base
    return [*outweighing(names, products, base), *copies(names, products, base)]


@pytest.mark.parametrize("protocol", WEIGHT)
def test_an_adapter_with_nan_ends_the_fit_with_its_name(protocol: str, tmp_path: Path) -> None:
    pool = tiny_pool(tmp_path, 3)
    world = World(pool, [0.5, 0.5, 0.0])
    spoil(Path(pool[1].adapter, "adapter_model.safetensors"), math.nan)
    events = fitted(protocol, pool, world, tmp_path / "store")
    last = events[-1]
    assert isinstance(last, Ended) and last.status == "failed" and last.owner != "bug"
    assert "'member1'" in last.message and "not finite" in last.message
    assert not world.asked and not list((tmp_path / "store").rglob("merged"))


@pytest.mark.parametrize(("protocol", "number"), [("greedy_soup", math.nan), ("expo", math.inf)])
@pytest.mark.parametrize("place", [0, 2])
def test_a_whole_model_with_nan_is_named(
    protocol: str, number: float, place: int, tmp_path: Path
) -> None:
    pool = full_pool(tmp_path, 3)
    world = World(pool, [0.5, 0.5, 0.0])
    spoil(Path(pool[place].source, "model.safetensors"), number)
    last = fitted(protocol, pool, world, tmp_path / "store")[-1]
    assert isinstance(last, Ended) and last.owner == "contributor"
    assert f"'whole{place}'" in last.message and not world.asked


def test_honest_pools_are_not_accused(tmp_path: Path) -> None:
    assert said(tiny_pool(tmp_path, 4, base=True)) == []
    assert said(full_pool(tmp_path, 3)) == []


def test_an_adapter_that_outweighs_the_rest_is_named(tmp_path: Path) -> None:
    pool = tiny_pool(tmp_path, 3, base=True)
    loud = also(pool, tmp_path, "loud", scaled(9, 40.0))
    told = said([*pool, loud])
    assert len(told) == 1 and "'loud' changes" in told[0]
    events = fitted("greedy_soup", [*pool, loud], World([*pool, loud], [0, 1, 0, 0, 0]), tmp_path)
    warned = [e.note for e in events if isinstance(e, Progress) and e.level == "warning"]
    assert told[0] in warned
    shown = next(e for e in events if isinstance(e, Artifact) and e.name == "deltas")
    assert shown.data["remarks"] == told


def test_a_whole_model_far_from_the_others_is_named_wherever_it_stands(tmp_path: Path) -> None:
    pool = full_pool(tmp_path, 4)
    file = Path(pool[0].source, "model.safetensors")
    save_file({k: 50 * t for k, t in load_file(file).items()}, file, metadata={"format": "pt"})
    for turned in (pool, pool[::-1]):
        assert [one for one in said(turned) if "'whole0' changes" in one]
        assert len(said(turned)) == 1


def test_copies_and_opposites_are_named(tmp_path: Path) -> None:
    pool = tiny_pool(tmp_path, 2)
    twin = also(pool, tmp_path, "twin", random_lora(1))
    # The same change through other factors is a copy all the same.
    turned = scaled(2, -1.0)
    hidden = Lora(2, {k: (-a, b) for k, (a, b) in turned.factors.items()}, "float32")
    other, against = also(pool, tmp_path, "hidden", hidden), also(pool, tmp_path, "anti", turned)
    told = said([*pool, twin, other, against])
    assert "'twin' is a copy of 'member0': together they count twice." in told
    assert "'hidden' is a copy of 'member1': together they count twice." in told
    assert "'anti' is the opposite of 'member1': they cancel out." in told
    assert len(told) == 4, "and the last two of each other"
    whole = full_pool(tmp_path, 2)
    again = model_of("again", Path(whole[0].source))
    assert [one for one in said([*whole, again]) if "'again' is a copy of 'whole0'" in one]


@given(st.integers(0, 10_000), st.integers(2, 6))
@settings(max_examples=20)
def test_distances_are_those_of_the_points(seed: int, count: int) -> None:
    points = np.random.Generator(np.random.PCG64(seed)).normal(size=(count, 7))
    found = distances(points @ points.T)
    wanted = np.linalg.norm(points[:, None] - points[None, :], axis=-1)
    assert found == pytest.approx(wanted, abs=1e-6)


@given(st.lists(st.integers(1, 50), min_size=1, max_size=3), st.integers(1, 400))
def test_pieces_cover_every_row_once(shape: list[int], most: int) -> None:
    rows = np.arange(shape[0])
    found = np.concatenate([rows[piece] for piece in pieces(shape, most)])
    assert found.tolist() == rows.tolist()
    width = math.prod(shape[1:])
    assert all((p.stop - p.start) * width <= max(most, width) for p in pieces(shape, most))


def test_products_are_read_once(tmp_path: Path) -> None:
    pool = tiny_pool(tmp_path, 2)
    members: Any = LoraMembers(pool)
    assert members.products() is members.products()


def test_a_tied_output_layer_may_be_stored_or_not(tmp_path: Path) -> None:
    pool = full_pool(tmp_path, 2)
    file = Path(pool[1].source, "model.safetensors")
    tensors = load_file(file)
    tied = {**tensors, "lm_head.weight": tensors["model.embed_tokens.weight"].clone()}
    save_file(tied, file, metadata={"format": "pt"})
    found = FullMembers(pool).products()
    assert np.isfinite(found).all() and found[1, 1] > 0
