"""Hypothesis strategies for whole runs as event streams, hostile names and texts included."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st

from protocols.core.events import (
    Answer,
    Artifact,
    CallEnded,
    CallFailed,
    CallStarted,
    Decision,
    Delta,
    Ended,
    Event,
    ModelCard,
    Phase,
    Progress,
    RunStarted,
    Speaking,
    Usage,
)

MODELS = ("alpha", "beta", "__proto__", "7", "constructor")
texts = st.text(st.characters(codec="utf-8"), max_size=12)
answers = st.sampled_from(["4", "5", "__proto__", "toString"])
shares = st.floats(0, 1, allow_nan=False)
Draw = Callable[[st.SearchStrategy[Any]], Any]


@st.composite
def streams(draw: Draw) -> list[Event]:
    """A finished run: calls that interleave, fail, are cut short or never start."""
    cards = tuple(ModelCard(id=name, name=draw(texts)) for name in MODELS)
    events: list[Event] = [
        RunStarted(
            protocol="p", level="text", title="Made up", views=("lanes",), config={"rounds": 2},
            models=cards, question=draw(texts), seed=1, budget={"calls": 9.0},
        )
    ]  # fmt: skip
    open_calls: dict[str, list[str]] = {}
    for number in range(draw(st.integers(0, 25))):
        events.extend(_step(draw, number, open_calls))
    for call, heard in open_calls.items():
        events.append(CallEnded(call=call, text="".join(heard), finish="abort"))
    status = draw(st.sampled_from(["ok", "failed", "cancelled"]))
    usage = Usage(completion_tokens=draw(st.integers(0, 9)))
    events.append(Ended(status=status, message=draw(texts), calls=3, usage=usage))
    stamps = [{"run": "made-up", "seq": i, "t": i / 8} for i in range(len(events))]
    return [e.model_copy(update=s) for e, s in zip(events, stamps, strict=True)]


def _step(draw: Draw, number: int, open_calls: dict[str, list[str]]) -> list[Event]:
    kind = draw(st.sampled_from(["start", "delta", "delta", "delta", "end", "fail", "other"]))
    if kind == "start":
        return [_start(draw, number, open_calls)]
    if kind == "fail" and not open_calls:
        return [CallFailed(call=f"unborn{number}", model="alpha", owner="user", message="No.")]
    if kind == "other" or not open_calls:
        return [_other(draw)]
    call = draw(st.sampled_from(sorted(open_calls)))
    if kind == "delta":
        open_calls[call].append(draw(texts))
        return [Delta(call=call, text=open_calls[call][-1], tokens=draw(st.integers(0, 3)))]
    heard = "".join(open_calls.pop(call))
    if kind == "fail":
        return [CallFailed(call=call, model="alpha", owner="engine", message=draw(texts))]
    tokens, seconds = draw(st.integers(0, 9)), draw(shares)
    usage = Usage(completion_tokens=tokens, seconds=seconds, first_token_s=draw(shares))
    return [CallEnded(call=call, text=heard, usage=usage, scores={"A": -draw(shares)})]


def _start(draw: Draw, number: int, open_calls: dict[str, list[str]]) -> CallStarted:
    call = draw(st.sampled_from([f"c{number}", str(number), f"__proto__{number}"]))
    open_calls[call] = []
    model = draw(st.sampled_from([*MODELS, "stranger"]))
    return CallStarted(call=call, model=model, role="answer", round=draw(st.integers(0, 2)))


def _other(draw: Draw) -> Event:
    model = draw(st.sampled_from(MODELS))
    return draw(
        st.sampled_from(
            [
                Phase(name="p", title="A phase", index=1, total=2),
                Decision(what="switch", options=MODELS, scores={model: 1.0}, chosen=model),
                Speaking(call="c1", model=model, text=draw(texts), index=1),
                Artifact(name="parsed", data={"round": 0, "answers": {"c1": draw(answers)}}),
                Artifact(name="tally", data={"counts": {draw(answers): 1}, "unparsed": 1}),
                Artifact(name="agreement", data={"round": draw(st.integers(0, 1)), "share": 0.5}),
                Artifact(name="graph", data={"nodes": [], "edges": [], "sink": "x"}),
                Artifact(name="other", data=[1, {"two": None}]),
                Progress(unit="load", done=draw(shares), total=2.0, note=draw(texts)),
                Progress(unit="load", note=draw(texts), level="warning"),
                Progress(
                    unit=draw(st.sampled_from(["train", "search"])),
                    done=draw(st.integers(0, 3)),
                    values={draw(st.sampled_from(["loss", "__proto__"])): draw(shares)},
                ),
                Answer(text=draw(texts), contributors={model: 1.0}, partial=True),
            ]
        )
    )
