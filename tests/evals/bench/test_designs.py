"""Pools composed for diversity: what they are made of, and that a bench runs and labels them."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from evals.analyses.settings import settings
from evals.bench import Runner, bench
from evals.bench_plan import Planner
from evals.frames import to_frame
from evals.pool_designs import copy_of, designs
from evals.records import BenchRecord
from protocols.core.errors import UserError
from protocols.core.models import Contributor, ModelSpec
from tests.evals.bench.helpers import engine, spec, task
from tests.helpers import make_pool


def models(*places: tuple[str, str]) -> list[ModelSpec]:
    return [
        ModelSpec(
            id=f"m{n}", source="artificial",
            contributor=Contributor(institution=institution, country=country),
        )
        for n, (institution, country) in enumerate(places)
    ]  # fmt: skip


SAME = models(*[("Lab A", "Country A")] * 8)
MANY = models(
    *[("Lab A", "Country A")] * 8, *[(f"Lab {n}", "Country B") for n in "BCDEFGHI"]
)  # fmt: skip


def ids(setting: str, pool: list[ModelSpec], size: int = 8) -> list[list[str]]:
    return [[model.id for model in one.pool] for one in designs([setting], pool, size)]


def test_distinct_models_are_repeated_as_in_the_paper() -> None:
    found = designs(["distinct"], SAME, 8)
    assert [one.label for one in found] == [
        "distinct/0/1x8", "distinct/1/2x4", "distinct/2/4x2", "distinct/3/8x1",
    ]  # fmt: skip
    for one, a in zip(found, (1, 2, 4, 8), strict=True):
        names = [model.id for model in one.pool]
        assert len(set(names)) == 8, "a pool holds each id once"
        assert {name.partition(".")[0] for name in names} == {f"m{n}" for n in range(a)}


def test_a_copy_is_the_same_model_under_another_id() -> None:
    long = SAME[0].model_copy(update={"id": "x" * 64})
    copy = copy_of(long, 7)
    assert ModelSpec.model_validate(copy.model_dump()).source == "artificial"
    assert copy_of(long, 0) is long


def test_places_are_mixed_in_the_papers_steps() -> None:
    home, away = [f"m{n}" for n in range(8)], [f"m{n}" for n in range(8, 16)]
    assert ids("countries", MANY) == [
        home, [*home[:6], *away[:2]], [*home[:4], *away[:4]], [*home[:2], *away[:6]],
    ]  # fmt: skip
    *mixed, apart = ids("institutions", MANY)
    assert mixed == ids("countries", MANY)[:3]
    assert apart == ["m0", *away[:7]]


def test_random_pools_are_the_same_each_time() -> None:
    drawn = ids("generations", MANY)
    assert len(drawn) == 4 and drawn == ids("generations", MANY)
    assert len({tuple(sorted(pool)) for pool in drawn}) == 4


@pytest.mark.parametrize(
    ("setting", "pool", "says"),
    [
        ("distnct", SAME, "Did you mean 'distinct'"),
        ("institutions", SAME, "several institutions; these have 1"),
        ("countries", MANY[:10], "6 of others; these are 8 and 2"),
        ("institutions", MANY[:13], "needs 8 institutions; these models have 6"),
        ("generations", SAME, "draws 8 of more"),
        ("distinct", SAME[:3], "need 8 models; 3 are picked"),
    ],
)
def test_what_a_pool_cannot_give_is_one_sentence(
    setting: str, pool: list[ModelSpec], says: str
) -> None:
    with pytest.raises(UserError, match=says):
        designs([setting], pool, 8)


def test_a_bench_runs_composed_pools_only_and_labels_them(tmp_path: Path) -> None:
    pool = make_pool(4)
    found = designs(["distinct", "generations"], pool, 2)
    everybody = list({m.id: m for one in found for m in one.pool}.values())
    asked = spec(
        sizes=(), pool=[m.id for m in pool], baselines=False, rank_items=0,
        designed={one.label: [m.id for m in one.pool] for one in found},
    )  # fmt: skip
    planner = Planner(asked, [task()], everybody)

    async def collect() -> list[BenchRecord]:
        steps = bench(planner, Runner(everybody, engine()), tmp_path)
        return [one async for one in steps if isinstance(one, BenchRecord)]

    records = asyncio.run(collect())
    systems = [one for one in records if one.role == "system"]
    assert {one.pool for one in systems} == {tuple(pool) for pool in asked.designed.values()}
    assert all(one.design for one in systems) and len({one.key for one in records}) == len(records)
    table = settings(to_frame(records)).table
    assert set(table["setting"]) == {"distinct", "generations"}
    assert len(table) == len(found)
