"""DARE and TIES: real densities, reproducible masks, and the numbers that mergekit gets."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file

from protocols.core.errors import ContributorError, UserError
from protocols.lib.full_models import write_changed
from protocols.lib.local_files import local_folder
from protocols.lib.lora_algebra import read_lora
from protocols.lib.ties import TiesSettings, conflict, mask, merged, thinned
from protocols.lib.ties_merge import TieAdapters, TieModels, tie_members
from protocols.lib.weight_space import FullMembers, LoraMembers, members_of, run_mergekit
from tests.protocols.weight.tiny import (
    LAYERS,
    full_pool,
    random_lora,
    save_full,
    tiny_pool,
    weights_of,
)

LAYER = "model.layers.0.self_attn.q_proj"
densities = st.floats(0.1, 0.95)


def quiet(done: int, total: int) -> None:
    assert 0 <= done <= total


@given(density=densities, seed=st.integers(0, 1000))
def test_masks_keep_what_they_should(density: float, seed: int) -> None:
    kept = mask((80, 80), density, seed, "layer").float().mean()
    assert float(kept) == pytest.approx(density, abs=0.035)


def test_masks_depend_on_seed_member_and_tensor() -> None:
    drawn = [
        mask((30, 30), 0.5, *names)
        for names in ((0, 0, "a"), (1, 0, "a"), (0, 1, "a"), (0, 0, "b"))
    ]
    assert torch.equal(drawn[0], mask((30, 30), 0.5, 0, 0, "a"))
    assert not any(torch.equal(drawn[0], other) for other in drawn[1:])


def test_the_mean_over_masks_is_the_change() -> None:
    change = torch.randn(8, 8, generator=torch.Generator().manual_seed(0))
    runs = [thinned(change, TiesSettings(density=0.3, seed=s), "x") for s in range(4000)]
    torch.testing.assert_close(torch.stack(runs).mean(0), change, atol=0.12, rtol=0.05)


def test_the_largest_are_kept() -> None:
    change = torch.tensor([[0.1, -3.0], [2.0, 0.2]])
    settings = TiesSettings(density=0.5, thin="magnitude", rescale="none")
    assert thinned(change, settings, "x").tolist() == [[0.0, -3.0], [2.0, 0.0]]


@given(density=densities, seed=st.integers(0, 50))
def test_rescaling_to_l1_is_mergekits(density: float, seed: int) -> None:
    from mergekit.sparsify import RescaleNorm, rescaled_masked_tensor

    change = torch.randn(16, 16, generator=torch.Generator().manual_seed(seed))
    settings = TiesSettings(density=density, rescale="l1", seed=seed)
    kept = mask(change.shape, density, seed, "x").float()
    theirs = rescaled_masked_tensor(change, kept, RescaleNorm.l1)
    torch.testing.assert_close(thinned(change, settings, "x"), theirs)


def test_an_elected_sign_by_hand() -> None:
    changes = [torch.tensor([1.0, -2.0, 3.0, 0.0]), torch.tensor([2.0, 1.0, -1.0, 0.0])]
    plain = TiesSettings(density=1.0, normalize=False)
    half = [0.5, 0.5]
    assert merged(changes.__getitem__, half, plain, "x").tolist() == [1.5, -1.0, 1.5, 0.0]
    shared = TiesSettings(density=1.0, normalize=True, scale=2.0)
    assert merged(changes.__getitem__, half, shared, "x").tolist() == [3.0, -4.0, 6.0, 0.0]
    assert conflict(changes.__getitem__, 2) == pytest.approx(2 / 3)


def test_members_that_agree_are_averaged_and_one_is_itself() -> None:
    change = torch.randn(4, 4, generator=torch.Generator().manual_seed(1))
    whole = TiesSettings(density=1.0)
    torch.testing.assert_close(merged(lambda _: change, [1 / 3] * 3, whole, "x"), change)
    torch.testing.assert_close(merged(lambda _: change, [1.0], whole, "x"), change)
    assert conflict(lambda _: change, 3) == 0.0 and conflict(lambda _: change * 0, 2) == 0.0


# Parity with mergekit, on models that differ from the base as the adapters say


@pytest.fixture
def worlds(tmp_path: Path) -> tuple[Path, list[Path], TieAdapters]:
    """The base, each adapter's whole model, and the adapters."""
    pool = tiny_pool(tmp_path)
    base = Path(pool[0].source)
    wholes = []
    for model in pool:
        lora = read_lora(Path(model.adapter))
        changes = {layer: lora.change(layer) for layer in LAYERS}
        folder = tmp_path / f"whole-{model.id}"
        wholes.append(save_full(folder, base, {k: v for k, v in changes.items() if v is not None}))
    return base, wholes, TieAdapters(pool, 0)


@pytest.mark.parametrize(
    ("method", "settings"),
    [
        ("dare_ties", TiesSettings(density=1.0, normalize=False)),
        ("dare_ties", TiesSettings(density=1.0, normalize=True, scale=0.7)),
        ("ties", TiesSettings(density=0.5, thin="magnitude", rescale="none", normalize=False)),
        ("ties", TiesSettings(density=0.3, thin="magnitude", rescale="none", normalize=True)),
    ],
)
def test_adapters_merge_as_mergekit_merges_models(
    tmp_path: Path,
    worlds: tuple[Path, list[Path], TieAdapters],
    method: str,
    settings: TiesSettings,
) -> None:
    base, wholes, adapters = worlds
    weights = (0.5, 0.2, 0.3)
    listed = [
        {"model": str(whole), "parameters": {"weight": w, "density": settings.density}}
        for whole, w in zip(wholes, weights, strict=True)
    ]
    shared = {"normalize": settings.normalize, "lambda": settings.scale}
    recipe = {
        "merge_method": method,
        "base_model": str(base),
        "models": listed,
        "parameters": shared,
    }
    run_mergekit(recipe, tmp_path / "theirs", "float32")
    assert adapters.make(weights, settings, tmp_path / "ours", quiet) == 0.0
    ours, theirs = (load_file(weights_of(tmp_path / name)) for name in ("ours", "theirs"))
    moved = 0.0
    for layer in LAYERS:
        name = f"{layer}.weight"
        # Elements that the sizes' order leaves open may differ where fp32 rounds: none do here.
        torch.testing.assert_close(ours[name], theirs[name], atol=1e-5, rtol=1e-5)
        moved += float((ours[name] - load_file(weights_of(base))[name]).abs().sum())
    assert moved > 1.0


def test_linear_merges_of_whole_models_do_not_normalise(tmp_path: Path) -> None:
    """mergekit divides by the sum of the weights unless told otherwise; velocities sum to zero."""
    pool = full_pool(tmp_path)
    members = FullMembers(pool)
    members.make([1.5, -0.25, -0.75], tmp_path / "out")
    read = [load_file(weights_of(Path(model.source))) for model in pool]
    made = load_file(weights_of(tmp_path / "out"))
    for name, tensor in made.items():
        expected = 1.5 * read[0][name] - 0.25 * read[1][name] - 0.75 * read[2][name]
        torch.testing.assert_close(tensor, expected, atol=1e-5, rtol=1e-5)
    assert members.spec("x", tmp_path / "out").source == str(tmp_path / "out")


def test_products_of_whole_models_are_of_their_differences(tmp_path: Path) -> None:
    pool = full_pool(tmp_path)
    rows = [
        torch.cat([t.flatten() for _, t in sorted(load_file(weights_of(Path(m.source))).items())])
        for m in pool
    ]
    away = torch.stack([row - rows[0] for row in rows])
    found = torch.tensor(FullMembers(pool).products()).float()
    torch.testing.assert_close(found, away @ away.T, rtol=1e-3, atol=1e-3)


def test_the_same_seed_merges_to_the_same_bytes(
    tmp_path: Path, worlds: tuple[Path, list[Path], TieAdapters]
) -> None:
    made = {}
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        settings = TiesSettings(density=0.5, seed=seed)
        worlds[2].make((0.5, 0.3, 0.2), settings, tmp_path / name, quiet)
        made[name] = weights_of(tmp_path / name).read_bytes()
    assert made["a"] == made["b"] != made["c"]


def test_whole_models_are_merged_by_mergekit(tmp_path: Path) -> None:
    pool = full_pool(tmp_path, 3)
    ties = tie_members(pool, base="whole1")
    assert isinstance(ties, TieModels) and [m.id for m in ties.members] == ["whole0", "whole2"]
    ties.make((0.5, 0.5), TiesSettings(density=0.4, seed=3), tmp_path / "a", quiet)
    ties.make((0.5, 0.5), TiesSettings(density=0.4, seed=3), tmp_path / "b", quiet)
    assert weights_of(tmp_path / "a").read_bytes() == weights_of(tmp_path / "b").read_bytes()
    base = load_file(weights_of(local_folder(pool[1])))
    kept = load_file(weights_of(tmp_path / "a"))
    name = "model.layers.0.mlp.up_proj.weight"
    untouched = float((kept[name] == base[name]).float().mean())
    assert untouched == pytest.approx(0.6**2, abs=0.1), "both drop 60 % of their changes"
    rows = ties.conflicts(quiet)
    assert {row["layer"] for row in rows} >= set(LAYERS)
    assert all(0.0 <= row["conflict"] <= 1.0 for row in rows)


def test_an_adapter_of_a_merge_says_what_it_lost(tmp_path: Path) -> None:
    pool = tiny_pool(tmp_path)
    settings = TiesSettings(density=0.5)
    lost = [
        TieAdapters(pool, r).make((1, 1, 1), settings, tmp_path / f"r{r}", quiet)
        for r in (1, 4, 16)
    ]
    assert lost[0] > lost[1] > lost[2] == pytest.approx(0.0, abs=1e-4)
    lora = read_lora(tmp_path / "r16")
    change = lora.change(LAYER)
    assert change is not None
    exact = merged(partial(TieAdapters(pool, 0).change, LAYER), (1, 1, 1), settings, LAYER)
    torch.testing.assert_close(change, exact, atol=1e-4, rtol=1e-4)


def test_layers_that_the_base_lacks_are_named(tmp_path: Path) -> None:
    base = Path(tiny_pool(tmp_path)[0].source)
    with pytest.raises(ContributorError, match=r"no layer 'x\.y'"):
        write_changed(base, ["x.y"], lambda _: torch.zeros(1), tmp_path / "out")


def test_a_pool_of_bases_has_nothing_to_merge(tmp_path: Path) -> None:
    base = tiny_pool(tmp_path, base=True)[0]
    with pytest.raises(UserError, match="differ from it"):
        TieAdapters([base], 0)


# The same model from the same row


def test_a_base_that_is_not_picked_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no picked model 'whole9'"):
        TieModels(full_pool(tmp_path, 2), "whole9")


def test_equal_models_make_an_equal_soup(tmp_path: Path) -> None:
    pool = tiny_pool(tmp_path, 2)
    twins = [pool[0], pool[0].model_copy(update={"id": "twin"})]
    LoraMembers(twins).make([0.5, 0.5], tmp_path / "soup")
    for layer in LAYERS:
        ours, own = read_lora(tmp_path / "soup").change(layer), random_lora(1).change(layer)
        assert ours is not None and own is not None
        torch.testing.assert_close(ours, own, atol=1e-6, rtol=1e-5)


def test_rows_that_make_the_same_have_the_same_key(tmp_path: Path) -> None:
    pool = tiny_pool(tmp_path, 2, base=True)
    members = members_of(pool)
    assert members.key([0.5, 0.5, 0.0]) == members.key([-3.0, 0.5, 0.0])
    assert members.key([0.0, 0.5, 0.0]) != members.key([0.0, 0.0, 0.5])
    assert members.single([7.0, 0.0, 0.0]) == pool[0], "the base's own coefficient changes nothing"
    assert members.single([0.0, 0.0, 1.0]) == pool[2]
    assert members.single([0.0, 0.5, 0.5]) is None
