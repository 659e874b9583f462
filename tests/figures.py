"""Artificial artifacts of every kind that has a view, in the shapes that protocols emit."""

from __future__ import annotations

from typing import Any

from protocols.core.events import Artifact, Decision, Event, Phase, Progress
from tests.golden.make import Tape

NAMES = ("alpha", "beta", "gamma", "delta")
EIGHT = (*NAMES, "epsilon", "zeta", "eta", "theta")


def score(value: float, n: int = 8) -> dict[str, float]:
    return {"score": value, "low": max(0.0, value - 0.2), "high": min(1.0, value + 0.2), "n": n}


def ladder(rungs: int = 4) -> dict[str, Any]:
    solo = {name: score(0.5 - 0.1 * i) for i, name in enumerate(NAMES)}
    rows: list[dict[str, Any]] = [
        {"tried": "alpha", "soup": ["alpha"], "accepted": True} | score(0.5),
        {"tried": "beta", "soup": ["alpha", "beta"], "gain": 0.125, "up": 2, "down": 1, "p": 0.5}
        | {"accepted": True} | score(0.625),
        {"tried": "gamma", "soup": ["alpha", "beta", "gamma"], "gain": -0.25, "up": 0, "down": 2}
        | {"p": 1.0, "accepted": False} | score(0.375),
        {"tried": "delta", "soup": ["alpha", "beta", "delta"], "gain": 0.0, "up": 1, "down": 1}
        | {"p": 0.75, "accepted": False} | score(0.625),
    ]  # fmt: skip
    return {"solo": solo, "rows": rows[:rungs]}


def swarm(iterations: int = 5, particles: int = 6) -> dict[str, Any]:
    def point(i: int, at: int) -> list[float]:
        return [(i - 2.5) * 0.8**at + at / 20, ((i * 7) % 5 - 2) * 0.8**at]

    frames = [
        {
            "points": [point(i, at) for i in range(particles)],
            "scores": [score(((i * 3 + at) % 7) / 8) for i in range(particles)],
            "best": 0.75,
            "best_point": [0.1, 0.2],
            "best_row": [0.5, -0.25, 0.75, 0.0],
        }
        for at in range(iterations)
    ]
    landmarks = [[-2.0, 1.5], [2.0, 1.2], [0.4, -2.1], [-1.0, -1.0]]
    return {"members": NAMES, "landmarks": landmarks, "shown": 0.8125, "iterations": frames}


def matrix(count: int) -> list[list[float]]:
    return [[1.0 if i == j else ((i * j) % 5 - 2) / 4 for j in range(count)] for i in range(count)]


def conflict() -> dict[str, Any]:
    layers = [
        {"layer": f"model.layers.{i}.self_attn.{m}", "conflict": ((i * k) % 9) / 20}
        for i in range(12)
        for k, m in enumerate(("q_proj", "k_proj", "v_proj", "o_proj"), start=1)
    ]
    return {"members": NAMES, "layers": layers}


def pairs(cells: int = 4) -> dict[str, Any]:
    rows = [
        {"call": f"c{i}", "models": [n, "theta"][: 1 + (i == 0)], "rank": 4 - i}
        | {"rating": 900.0 + 80 * i, "low": 700.0 + 80 * i, "high": 1100.0 + 80 * i}
        for i, n in enumerate(NAMES)
    ]
    compared = [(0, 1, 0.25), (0, 2, 0.5), (1, 3, 0.125), (2, 3, 0.75)]
    made = [
        {"one": i, "other": j, "probability": p, "consistent": p != 0.5} for i, j, p in compared
    ]
    return {"candidates": rows, "cells": made[:cells]}


def duels() -> dict[str, Any]:
    curves = {
        name: [
            {"rating": 1000.0 + at * 40 * (i - 1.5), "low": 900.0, "high": 1100.0}
            for at in range(4)
        ]
        for i, name in enumerate(NAMES)
    }
    judge = {"judge": "gamma", "probability": 0.625, "consistent": True, "weight": 1.0}
    fought = [
        {"one": "alpha", "other": "beta", "probability": 0.625, "judges": [judge]},
        {"one": "gamma", "other": "delta", "probability": None, "judges": []},
    ]
    return {"duels": fought, "reputations": curves}


def things() -> dict[str, Any]:
    """Every artifact with a view, by name, and two that nobody knows."""
    tokens = [
        {"text": "4", "by": "alpha", "probability": 0.75, "divergence": 0.25}
        | {"instead": {"beta": "5"}},
        {"text": "2", "by": "beta", "probability": 0.875, "divergence": 0.0, "instead": {}},
    ]
    generations = [
        {"points": [[0.1, 0.2], [0.4, -0.2]], "scores": [0.25, 0.5], "best_row": [0.5, 0.0, 0, 1]},
        {"points": [[0.3, 0.1]], "scores": [0.375], "best_row": [0.5, 0.0, 0, 1]},
    ]
    finding = {"about": "vocabulary", "state": "ok", "told": "All members share one."}
    recipe = {"method": "greedy_soup", "members": NAMES, "weights": [0.5, -0.25, 0.0, 0.25]}
    student = {"teacher": "alpha", "teacher_score": 0.75, "student_score": 0.5, "base_score": 0.25}
    details = {"alpha": 0.5, "base": "", "students": [student | {"agreement": 0.625, "n": 8}]}
    return {
        "preflight": {"sentence": "These models can be merged.", "findings": [finding]},
        "deltas": {"members": EIGHT, "cosine": matrix(8), "norm": [i / 4 for i in range(1, 9)]},
        "conflict": conflict(),
        "ladder": ladder(),
        "alpha": {
            "k": 1, "top": ["alpha"], "bottom": ["delta"],
            "solo": {name: score(0.25 * i) for i, name in enumerate(NAMES)},
            "points": [
                {"alpha": a, "norm": 1 + a} | score(0.5 + a / 4) for a in (0.0, 0.25, 0.5, 1.0)
            ],
        },
        "swarm": swarm(),
        "evolution": {
            "members": NAMES, "landmarks": swarm()["landmarks"], "box": 1.5,
            "generations": generations,
        },
        "weights": {
            "members": NAMES, "round": 1,
            "points": [
                {"weights": [0.25] * 4, "score": 0.5}, {"weights": [1, 0, 0, 0], "score": 0.75},
            ],
        },
        "pairs": pairs(),
        "duels": duels(),
        "cost_curve": [
            {"keep": share, "accuracy": 0.5 + share / 8, "calls": 2 - share}
            for share in (1.0, 0.5, 0.25)
        ],
        "champions": {
            "best": "beta", "iterations": {"alpha": 0, "beta": 2},
            "scores": {"alpha": 0.25, "beta": 0.5},
            "reputations": {"alpha": [0.1, 0.5], "beta": [0.3, 0.5]},
            "curves": {"alpha": [1000.0, 980.0], "beta": [1000.0, 1020.0]},
        },
        "calibration": {
            "bins": [{"predicted": p, "observed": p * 0.75, "n": 4} for p in (0.25, 0.5, 1.0)]
        },
        "regret": {"rows": [{"name": "alpha"} | score(0.5), {"name": "oracle"} | score(0.75)]},
        "recipe": recipe | {"seed": 0, "lost": 0.0625, "details": details, "dtype": ""},
        "teacher_agreement": {"share": 0.5, "n": 2, "rows": {"alpha": True, "beta": False}},
        "fusion": {"weights": {"alpha": 1.0}, "rule": "mean", "tokens": tokens},
        "fitted": {
            "key": "0123456789abcdef", "task": "addition,roman", "cached": False, "derived": [],
            "recipe": recipe, "metrics": {"dev": 0.625, "best_single": 0.5, "n": 8},
        },
        "rounds_of_thought": {
            "agents": 3, "share": 0.123456, "done": True, "left": None, "tags": ["a", "b"],
            "inner": {"x": 1, "y": -0.00001},
            "rows": [{"id": 1, "big": 1234567}, {"id": 2, "odd": []}],
        },
        "list_of_numbers": [1, 2.5, [3, 4]],
    }  # fmt: skip


def fit_run(names: tuple[str, ...] = ()) -> list[Event]:
    """A fit that shows the named artifacts (all of them if none is named), and its curves."""
    tape = Tape("Greedy soup", "greedy_soup", ("lanes",), 8, "Fit to addition, roman")
    opening = tape.events[0].model_copy(update={"purpose": "fit"})
    tape.events[0] = opening
    tape.add(Phase(name="solo", title="Every model alone", index=0, total=2), after=0.2)
    for step in range(1, 7):
        values = {"loss": 3.0 / step, "best": min(0.75, step / 8)}
        progress = Progress(unit="train", done=step, total=6, note=f"Step {step}", values=values)
        tape.add(progress, after=0.3)
    tape.add(Phase(name="again", title="Once more", index=1, total=2), after=0.2)
    for step in (1, 2):
        tape.add(Progress(unit="train", done=step, total=6, values={"loss": 2.0 / step}), after=0.3)
    for name, data in things().items():
        if not names or name in names:
            tape.add(Artifact(name=name, data=data), after=0.1)
    tape.add(decided("side"), decided("cascade"))
    return tape.events


def decided(what: str) -> Decision:
    if what == "cascade":
        return Decision(
            what=what, options=("alpha", "beta"), scores={"alpha": 0.25, "beta": 0.75},
            chosen="beta", why="confidence 0.25, enough is 0.60",
        )  # fmt: skip
    return Decision(what=what, options=("majority", "minority"), chosen="minority", why="4 ×3")
