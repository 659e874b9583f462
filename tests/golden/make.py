# ruff: noqa: E501  the artificial models talk in long lines
"""Writes the fixtures: ``python -m tests.golden.make``. Every model and text here is made up."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

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
    dump,
)
from protocols.core.models import RunSpec
from protocols.core.trace import TraceHeader

FIXTURES = Path(__file__).parent / "fixtures"
NAMES = (
    *("Alpha Arithmetic", "Beta Geography", "Gamma Chemistry", "Delta Calendar"),
    *("Epsilon Units", "Zeta Numerals", "Eta Time Zones", "Theta Letters"),
)


class Tape:
    """Collects events with a clock and keeps the books that an ``ended`` event needs."""

    def __init__(
        self, title: str, protocol: str, views: tuple[str, ...], models: int, question: str
    ):
        self.events: list[Event] = []
        self.t, self.tokens, self.calls, self.failed = 0.0, 0, 0, 0
        self.said: dict[str, list[Any]] = {}
        cards = tuple(
            ModelCard(id=name.split()[0].lower(), name=name, domain=name.split(" ", 1)[1].lower())
            for name in NAMES[:models]
        )
        self.spec = RunSpec(protocol=protocol, pool=tuple(c.id for c in cards), question=question)
        self.add(
            RunStarted(
                protocol=protocol, level="text", title=title, views=views, config={}, models=cards,
                question=question, seed=0, budget={"calls": 200.0, "tokens": 20000.0},
            )
        )  # fmt: skip

    def add(self, *events: Event, after: float = 0.0) -> None:
        for event in events:
            self.t = round(self.t + after, 3)
            stamp = {"run": "artificial", "seq": len(self.events), "t": self.t}
            self.events.append(event.model_copy(update=stamp))

    def call(
        self, call: str, text: str | None, role: str = "answer", step: int = 0, sees: Any = ()
    ):
        """Start a call by ``model/...``; ``text`` None lets it fail half-way."""
        model = call.split("/")[-1].split("-")[0]
        self.calls += 1
        self.add(
            CallStarted(
                call=call, model=model, role=role, round=step, sees=tuple(sees), max_tokens=96
            )
        )
        self.said[call] = [
            model,
            text,
            re.findall(r"\s*\S+", text or "I am not quite sure"),
            self.t,
        ]

    def speak(self, *calls: str, pace: float = 0.05) -> None:
        """Let calls stream together, token by token, until all have ended."""
        waiting = {call: list(self.said[call][2]) for call in calls}
        while waiting:
            self.t = round(self.t + pace, 3)
            for call in list(waiting):
                if waiting[call]:
                    self.tokens += 1
                    self.add(Delta(call=call, text=waiting[call].pop(0)))
                else:
                    del waiting[call]
                    self.end(call)

    def end(self, call: str) -> None:
        model, text, tokens, since = self.said[call]
        if text is None:
            self.failed += 1
            words = f"'{model.title()}' was silent for 20 seconds; its call was given up."
            self.add(CallFailed(call=call, model=model, owner="engine", message=words))
            return
        took = round(self.t - since, 3)
        usage = Usage(
            prompt_tokens=120, completion_tokens=len(tokens), seconds=took, first_token_s=0.05
        )
        self.add(CallEnded(call=call, text="".join(tokens), usage=usage))

    def score(self, call: str, model: str, scores: dict[str, float]) -> None:
        logs = {label: round(math.log(p), 4) for label, p in scores.items()}
        labels = tuple(scores)
        self.calls += 1
        self.add(CallStarted(call=call, model=model, role="score", mode="score", labels=labels))
        self.add(
            CallEnded(call=call, scores=logs, usage=Usage(prompt_tokens=60, seconds=0.04)),
            after=0.04,
        )

    def parsed(self, step: int, **answers: str | None) -> None:
        self.add(Artifact(name="parsed", data={"round": step, "answers": {
            call.replace("__", "/"): answer for call, answer in answers.items()}}))  # fmt: skip

    def finish(
        self,
        text: str,
        shares: dict[str, float],
        status: str = "ok",
        message: str = "",
        **more: Any,
    ):
        if text:
            self.add(Answer(text=text, contributors=shares, **more), after=0.02)
        usage = Usage(
            prompt_tokens=120 * self.calls,
            completion_tokens=self.tokens,
            seconds=round(self.t * 2, 3),
        )
        owner = "engine" if status == "failed" else None
        self.add(
            Ended(
                status=status,
                owner=owner,
                message=message,
                calls=self.calls,
                failed=self.failed,
                usage=usage,
            )
        )

    def save(self, name: str) -> None:
        header = TraceHeader(run="artificial", spec=self.spec, created="2026-11-21T06:00:00+00:00",
                             engine="none", label=f"Artificial fixture: {name}")  # fmt: skip
        lines = [header.model_dump_json(), *map(dump, self.events)]
        (FIXTURES / f"{name}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


def loading(tape: Tape, models: int) -> None:
    for done in range(models):
        note = f"Loading {NAMES[done]}"
        tape.add(Progress(unit="load", done=done, total=models, note=note), after=0.3)


def debate() -> Tape:
    tape = Tape("Multi-agent refine", "multiagent_refine", ("lanes",), 5,
                "A train leaves at 14:50 and arrives at 17:05. How many minutes does the trip take?")  # fmt: skip
    loading(tape, 5)
    first = {
        "alpha": "From 14:50 to 17:05 is two hours and fifteen minutes. Two hours are 120 minutes, and 120 + 15 = 135. The answer is 135.",
        "beta": "Leaving at 14:50 and arriving at 17:05 makes three hours less five minutes, so the trip takes 175 minutes. The answer is 175.",
        "gamma": "17:05 minus 14:50 gives 2:15 after borrowing an hour, which is 2 × 60 + 15 = 135 minutes. The answer is 135.",
        "delta": None,
        "epsilon": "I would say that it is a little more than two hours, but the exact number depends on the time table.",
    }
    tape.add(Phase(name="answer", title="First answers", index=0, total=3))
    for name, text in first.items():
        tape.call(f"r0/{name}", text)
    tape.speak(*tape.said)
    tape.parsed(0, r0__alpha="135", r0__beta="175", r0__gamma="135", r0__epsilon=None)
    tape.add(Artifact(name="agreement", data={"round": 0, "share": 0.5, "majority": "135",
                                              "counts": {"135": 2, "175": 1}, "changes": []}))  # fmt: skip
    names = ["alpha", "beta", "gamma", "epsilon"]
    second = {
        "alpha": "The others' working does not change mine: 15:00 to 17:00 is 120 minutes, plus 10 before and 5 after. The answer is 135.",
        "beta": "I miscounted the hours. 14:50 to 16:50 is two hours, and 16:50 to 17:05 is 15 minutes, so 135 minutes. The answer is 135.",
        "gamma": "I keep my result, 2 h 15 min. The answer is 135.",
        "epsilon": "Counting in minutes after midnight, 1025 − 890 = 135. The answer is 135.",
    }
    tape.add(Phase(name="refine", title="Refine, round 1", index=1, total=3))
    for name in names:
        tape.call(f"r1/{name}", second[name], "refine", 1, [f"r0/{n}" for n in names if n != name])
    tape.speak(*(f"r1/{name}" for name in names))
    tape.parsed(1, **{f"r1__{name}": "135" for name in names})
    changes = [
        {"model": "beta", "from": "175", "to": "135", "toward": ["alpha", "gamma"]},
        {"model": "epsilon", "from": None, "to": "135", "toward": ["alpha", "gamma"]},
    ]
    tape.add(Artifact(name="agreement", data={"round": 1, "share": 1.0, "majority": "135",
                                              "counts": {"135": 4}, "changes": changes}))  # fmt: skip
    tape.add(Phase(name="summary", title="Summary", index=2, total=3))
    tape.call("sum/alpha", "The trip takes 135 minutes (2 hours and 15 minutes).", "summarise", 2,
              [f"r1/{n}" for n in names])  # fmt: skip
    tape.speak("sum/alpha")
    tape.add(
        Progress(unit="context", note="Peers' answers were shortened to fit.", level="warning")
    )
    tape.finish("The trip takes 135 minutes (2 hours and 15 minutes).",
                {"alpha": 0.4, "gamma": 0.3, "beta": 0.15, "epsilon": 0.15}, sources=("sum/alpha",))  # fmt: skip
    return tape


def switch() -> Tape:
    tape = Tape("Switch generation", "switch_generation", ("segments",), 4,
                "What is the chemical symbol of gold, and how much does 2.5 kg of it weigh in grams?")  # fmt: skip
    pieces = [
        ("gamma", "Gold is the element with atomic number 79. Its symbol, Au, comes from the Latin word aurum, and one"),
        ("gamma", " mole of it has a mass of about 196.97 grams."),
        ("alpha", " One kilogram has 1,000 grams, so we multiply 2.5 by 1,000, and the product is"),
        ("alpha", " 2,500 grams."),
        ("beta", " Most of the gold that is mined today comes from China, Australia and Russia,"),
        ("delta", " which together delivered about a third of the world's supply last year."),
    ]  # fmt: skip
    rows = [(0.1, 0.1, 0.7, 0.1), (0.15, 0.1, 0.6, 0.15), (0.62, 0.08, 0.2, 0.1),
            (0.55, 0.15, 0.2, 0.1), (0.2, 0.5, 0.1, 0.2), (0.1, 0.35, 0.1, 0.45)]  # fmt: skip
    text = ""
    names = ("alpha", "beta", "gamma", "delta")
    for index, ((model, piece), row) in enumerate(zip(pieces, rows, strict=True)):
        scores = dict(zip(names, row, strict=True))
        tape.score(f"switch/{index}", "alpha", dict(zip("ABCD", row, strict=True)))
        why = (
            "kept: ahead by less than the margin"
            if index in (1, 3)
            else "most likely to go on well"
        )
        tape.add(Decision(what="switch", options=names, scores=scores, chosen=model, why=why, by="alpha",
                          sources=(f"switch/{index}",)))  # fmt: skip
        call = f"seg{index}/{model}"
        tape.call(call, piece, "segment", index)
        tape.speak(call)
        tape.add(Speaking(call=call, model=model, text=piece, index=index))
        text += piece
    tape.finish(text, {"gamma": 0.41, "alpha": 0.29, "beta": 0.18, "delta": 0.12},
                sources=tuple(f"seg{i}/{m}" for i, (m, _) in enumerate(pieces)))  # fmt: skip
    return tape


SWARM = {
    "n0/alpha": [], "n1/beta": [], "n2/gamma": [], "n3/delta": ["n0/alpha", "n1/beta"],
    "n4/epsilon": ["n1/beta", "n2/gamma"], "n5/zeta": ["n2/gamma"],
    "n6/eta": ["n3/delta", "n4/epsilon", "n0/alpha"], "n7/theta": ["n6/eta", "n5/zeta"],
}  # fmt: skip


def swarm() -> Tape:
    tape = Tape("Heterogeneous swarm", "heterogeneous_swarms", ("dag",), 8,
                "If it is 09:00 in Tokyo, what time is it in Paris in winter, written in Roman numerals?")  # fmt: skip
    nodes = [{"id": n, "model": n.split("/")[1], "label": n.split("/")[1].title()} for n in SWARM]
    edges = [[a, b] for b, parents in SWARM.items() for a in parents]
    tape.add(Artifact(name="graph", data={"nodes": nodes, "edges": edges, "sink": "n7/theta"}))
    layers = [
        ["n0/alpha", "n1/beta", "n2/gamma"],
        ["n3/delta", "n4/epsilon", "n5/zeta"],
        ["n6/eta"],
        ["n7/theta"],
    ]
    said = iter([
        "Tokyo is nine hours ahead of universal time.", "Paris lies in the central European zone.",
        "No chemistry is needed here.", None, "Nine hours less one hour is a difference of eight hours.",
        "One is written I in Roman numerals.", "09:00 less eight hours is 01:00 in Paris.",
        "It is I o'clock at night (01:00) in Paris.",
    ])  # fmt: skip
    for layer in layers:
        for call in layer:
            alive = [p for p in SWARM[call] if p != "n3/delta"]
            tape.call(call, next(said), "node", 0, alive)
        tape.speak(*layer, pace=0.08)
    tape.finish("It is I o'clock at night (01:00) in Paris.",
                {n.split("/")[1]: 1 / 7 for n in SWARM if n != "n3/delta"}, sources=("n7/theta",))  # fmt: skip
    return tape


def routing() -> Tape:
    tape = Tape(
        "Prompt routing", "prompt_routing", ("routing", "lanes"), 6, "What is the capital of Chad?"
    )
    names = tape.spec.pool
    row = (0.04, 0.71, 0.05, 0.02, 0.03, 0.15)
    tape.score("route", "alpha", dict(zip("ABCDEF", row, strict=True)))
    tape.add(Decision(what="route", options=names, scores=dict(zip(names, row, strict=True)), chosen="beta",
                      why="The description 'geography' fits the question best.", by="alpha", sources=("route",)))  # fmt: skip
    tape.call(
        "answer/beta",
        "The capital of Chad is N'Djamena, a city on the Chari river at the border with Cameroon.",
    )
    tape.speak("answer/beta")
    tape.finish("The capital of Chad is N'Djamena, a city on the Chari river at the border with Cameroon.",
                {"beta": 1.0}, sources=("answer/beta",))  # fmt: skip
    return tape


def votes() -> Tape:
    tape = Tape(
        "Majority vote",
        "majority_vote",
        ("votes", "lanes"),
        8,
        "Which month has 28 days in most years?",
    )
    said = {"alpha": "February", "beta": "February", "gamma": "All of them", "delta": "February",
            "epsilon": "February", "zeta": "All of them", "eta": "It is hard to say", "theta": "March"}  # fmt: skip
    for name, text in said.items():
        tape.call(f"v/{name}", f"My answer: {text}.")
    tape.speak(*tape.said)
    answers = {f"v__{n}": (None if n == "eta" else a) for n, a in said.items()}
    tape.parsed(0, **answers)
    voters: dict[str, list[str]] = {}
    for name, answer in said.items():
        if name != "eta":
            voters.setdefault(answer, []).append(name)
    tape.add(Artifact(name="tally", data={"counts": {a: len(v) for a, v in voters.items()}, "unparsed": 1,
                                          "winner": "February", "voters": voters}))  # fmt: skip
    tape.finish(
        "February",
        dict.fromkeys(voters["February"], 0.25),
        sources=tuple(f"v/{n}" for n in voters["February"]),
    )
    return tape


def failed() -> Tape:
    tape = Tape("Multi-agent refine", "multiagent_refine", ("lanes",), 2, "What is 2 + 2?")
    tape.add(
        Progress(
            unit="load",
            note="'Beta Geography' cannot be loaded: its adapter is missing.",
            level="warning",
        )
    )
    for name in ("alpha", "beta"):
        tape.call(f"r0/{name}", None)
    tape.speak("r0/alpha", "r0/beta")
    tape.finish("", {}, "failed", "All models failed. Check the pool and run again.")
    return tape


def main() -> None:
    """Write all fixtures."""
    FIXTURES.mkdir(exist_ok=True)
    for make in (debate, switch, swarm, routing, votes, failed):
        make().save(make.__name__)


if __name__ == "__main__":
    main()
