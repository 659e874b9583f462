"""Simulations with a planted truth: the analyses find what was put in, and nothing where there is
nothing. All numbers here are drawn by a program; none comes from a model."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import pytest

from evals.analyses.core import Finding
from evals.analyses.emergence import emergence
from evals.analyses.scaling import scaling
from evals.analyses.strength import strength
from tests.evals.analyses.frames import frame, members, rows, solos

MODELS = tuple(f"simulated-{name}" for name in "abcdef")
ITEMS, PLANTED = 120, 40
Source = np.random.Generator


def attempts(source: Source, chances: np.ndarray) -> list[float]:
    """One attempt at each item."""
    return (source.random(len(chances)) < chances).astype(float).tolist()


def emergent_world(seed: int, planted: int) -> Finding:
    """Members who solve items by chance but never the planted ones; a system that solves those.

    On all other items the system is one more attempt of one member.
    """
    source = np.random.default_rng(seed)
    ability = source.uniform(0.05, 0.35, ITEMS)
    ability[:planted] = 0.0
    parts = []
    for draw in (0, 1, 2):
        parts.append(solos({m: attempts(source, ability) for m in MODELS}, seed=draw))
        system = attempts(source, ability)
        system[:planted] = [1.0] * planted
        parts.append(rows("system", "p", MODELS, system, seed=draw))
    whole = frame(*parts)
    return emergence(whole, members(whole))


@pytest.mark.parametrize("seed", [0, 1])
def test_a_planted_emergent_item_set_is_recovered(seed: int) -> None:
    found = emergent_world(seed, PLANTED)
    line = found.table.iloc[0]
    assert line["null_tries"] > 0, "with several seeds members are asked again"
    assert line["low"] > 0.15 and line["low"] > line["null"]
    assert found.claims[0].verdict == "confirmed"
    planted = {f"item-{n}" for n in range(PLANTED)}
    examples = found.more["examples"]
    shown = set(examples.loc[examples["kind"] == "emergence", "item"])
    assert len(shown & planted) / len(shown) > 0.8


@pytest.mark.parametrize("seed", range(4))
def test_luck_alone_is_no_emergence(seed: int) -> None:
    """Without a planted set, items that nobody solved are solved as often as by asking again."""
    found = emergent_world(seed, 0)
    line = found.table.iloc[0]
    assert line["solved"] > 0, "a system has luck too: the paper's number alone is not zero"
    assert line["low"] <= line["null"] <= line["high"]
    assert found.claims[0].verdict == "not confirmed"


def test_one_seed_cannot_tell() -> None:
    whole = frame(solos({m: [0.0] * 30 for m in MODELS}), rows("system", "p", MODELS, [1.0] * 30))
    assert emergence(whole, members(whole)).claims[0].verdict == "not testable at this size"


def contributed_world(seed: int) -> pd.DataFrame:
    """Each useful member adds .1 to the system, the fifth nothing, the last takes .25 away.

    The useless one is as good alone as the useful ones; the harmful one is the best of all.
    """
    source = np.random.default_rng(seed)
    worth = dict(zip(MODELS, (0.1, 0.1, 0.1, 0.1, 0.0, -0.25), strict=True))
    own = dict(zip(MODELS, (0.35, 0.3, 0.25, 0.2, 0.3, 0.5), strict=True))
    luck = source.random(400)

    def system(pool: Sequence[str]) -> list[float]:
        return (luck < 0.4 + sum(worth[m] for m in pool)).astype(float).tolist()

    pools = [MODELS, *(tuple(m for m in MODELS if m != out) for out in MODELS)]
    alone = solos({m: attempts(source, np.full(400, own[m])) for m in MODELS})
    return frame(alone, *(rows("system", "p", pool, system(pool)) for pool in pools))


@pytest.mark.parametrize("seed", [0, 1])
def test_useless_and_harmful_contributors_are_recovered(seed: int) -> None:
    found = strength(contributed_world(seed))
    verdicts = found.more["contributors"].set_index("model")["verdict"].to_dict()
    *useful, useless, harmful = MODELS
    assert [verdicts[m] for m in useful] == ["adds"] * 4
    assert verdicts[useless] == "not told apart"
    assert verdicts[harmful] == "harms"
    assert f"{harmful} harms them" in found.sentence
    worth = found.table.set_index("model")["value"]
    assert worth[harmful] == pytest.approx(-0.25, abs=0.06)
    assert worth[useless] == pytest.approx(0.0, abs=1e-9)


def test_the_three_best_protocols_are_told_by_rank() -> None:
    many = [f"model-{number}" for number in range(32)]
    planted = {"sparta": 0.8, "model_swarms": 0.9, "multiagent_finetuning": 0.7, "cascade": 0.2}
    parts = [
        rows("system", name, many[:n], [1.0] * int(40 * share) + [0.0] * int(40 - 40 * share))
        for name, share in planted.items()
        for n in (2, 32)
    ]
    held = solos({m: [0.0] * 40 for m in many})
    claim = scaling(frame(held, *parts)).claims[2]
    assert claim.verdict == "confirmed" and claim.here.endswith(
        "Model swarms (1.0), Sparta (2.0), Multi-agent finetuning (3.0)"
    )
    weaker = [part for part in parts if part[0]["protocol"] != "sparta"]
    missing = scaling(frame(held, *weaker)).claims[2]
    assert missing.verdict == "not testable at this size" and "Sparta" in missing.why
