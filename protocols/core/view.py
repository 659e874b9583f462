"""What a watcher of a run knows at a point in time: a fold over the run's events.

The same table exists in ``studio/static/fold.js``, and tests keep the twins equal. Nothing here
depends on how text was cut into deltas: a finished run folds to the same view without them, and so
does a run whose neighbouring deltas were merged on their way to a page.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, assert_never

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
from protocols.core.progress_curves import Curve, extend_curves

HEADER = {
    *("protocol", "level", "title", "views", "config", "question", "seed", "budget"),
    *("purpose", "artifact"),
}
"""What a view keeps of the first event."""
COLOURS = 12
"""Steps of the author palette; further models reuse colours with another underline."""
CallState = Literal["waiting", "running", "ok", "failed", "stopped"]
CallEvent = CallStarted | Delta | CallEnded | CallFailed
Said = Decision | Speaking | Artifact | Answer


@dataclass
class ModelView:
    """A model of the run: how it is drawn and what it has spent."""

    id: str
    name: str
    domain: str
    colour: int
    mark: str
    """Two letters that tell it from the run's other models without colour."""
    calls: int = 0
    failed: int = 0
    tokens: int = 0
    prompt_tokens: int = 0
    seconds: float = 0.0


@dataclass
class CallView:
    """A call and what has been heard of it."""

    id: str
    model: str
    role: str = ""
    round: int = 0
    mode: str = "generate"
    state: CallState = "running"
    text: str = ""
    prefix: str = ""
    tokens: int = 0
    prompt_tokens: int = 0
    max_tokens: int = 0
    seconds: float = 0.0
    first_token: float | None = None
    finish: str = ""
    error: str = ""
    owner: str = ""
    sees: list[str] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    messages: list[dict[str, str]] = field(default_factory=list)
    """What the model was sent, by role."""
    models: list[str] = field(default_factory=list)
    """All models that write it together, if it is not ``model`` alone."""
    parts: list[list[str]] = field(default_factory=list)
    """While they write: [most likely author, text] in a row."""
    scores: dict[str, float] = field(default_factory=dict)
    phase: int = -1
    """The phase it belongs to, as an index into the view's phases."""
    started: float = 0.0


@dataclass
class SegmentView:
    """A committed piece of a shared text; ``decision`` is the choice that gave it its author."""

    call: str
    model: str
    text: str
    index: int
    tokens: int
    decision: int | None


@dataclass
class Totals:
    """What the run has spent so far."""

    calls: int = 0
    failed: int = 0
    tokens: int = 0
    prompt_tokens: int = 0
    seconds: float = 0.0


@dataclass
class View:
    """Everything a screen, a terminal or a static page shows of a run."""

    run: str = ""
    seq: int = -1
    t: float = 0.0
    status: str = "waiting"
    header: dict[str, Any] | None = None
    models: dict[str, ModelView] = field(default_factory=dict)
    phases: list[dict[str, Any]] = field(default_factory=list)
    calls: dict[str, CallView] = field(default_factory=dict)
    decisions: list[dict[str, Any]] = field(default_factory=list)
    segments: list[SegmentView] = field(default_factory=list)
    graph: dict[str, Any] | None = None
    parsed: dict[str, Any] = field(default_factory=dict)
    agreement: list[dict[str, Any]] = field(default_factory=list)
    tally: dict[str, Any] | None = None
    artifacts: dict[str, Any] = field(default_factory=dict)
    progress: dict[str, dict[str, Any]] = field(default_factory=dict)
    curves: list[Curve] = field(default_factory=list)
    busy: str = ""
    """The unit of work that moves on while no model speaks: load, queue, train, ..."""
    warnings: list[dict[str, Any]] = field(default_factory=list)
    answer: dict[str, Any] | None = None
    totals: Totals = field(default_factory=Totals)
    error: dict[str, Any] | None = None

    @property
    def ended(self) -> bool:
        """Whether the run's last event has been seen."""
        return self.status not in ("waiting", "running")

    def node_state(self, node: str) -> CallState:
        """The state of a graph node: that of the call with its id; what is no call is there."""
        call = self.calls.get(node)
        if call:
            return call.state
        nodes = (self.graph or {}).get("nodes", ())
        still = any(n["id"] == node and n.get("kind", "model") != "model" for n in nodes)
        return "ok" if still else "waiting"

    def to_json(self) -> dict[str, Any]:
        """Plain JSON. Models and calls become lists, because their order matters."""
        plain = {key: _plain(value) for key, value in self.__dict__.items()}
        plain["models"] = [_plain(model) for model in self.models.values()]
        plain["calls"] = [_plain(call) for call in self.calls.values()]
        return plain


def fold(view: View, event: Event) -> View:
    """Take in the next event. Changes ``view`` and returns it."""
    view.seq, view.t = max(view.seq, event.seq), max(view.t, event.t)
    match event:
        case RunStarted():
            _begin(view, event)
        case CallStarted() | Delta() | CallEnded() | CallFailed():
            _fold_call(view, event)
        case Decision() | Speaking() | Artifact() | Answer():
            _fold_said(view, event)
        case Phase():
            kept = event.model_dump(include={"name", "title", "index", "total", "t"})
            view.phases.append(kept)
        case Progress():
            _move(view, event)
        case Ended():
            _end(view, event)
        case _:
            assert_never(event)
    return view


def fold_all(events: Iterable[Event]) -> View:
    """The view after ``events``."""
    view = View()
    for event in events:
        fold(view, event)
    return view


def _begin(view: View, event: RunStarted) -> None:
    view.run, view.status = event.run, "running"
    view.header = event.model_dump(mode="json", include=HEADER)
    for index, (card, mark) in enumerate(zip(event.models, marks(event.models), strict=True)):
        view.models[card.id] = ModelView(card.id, card.name, card.domain, index % COLOURS, mark)


def marks(cards: Iterable[ModelCard]) -> list[str]:
    """Two letters for each model, different from each other wherever the names allow it."""
    taken: list[str] = []
    for card in cards:
        options = _mark_options(card.name or card.id)
        free = [option for option in options if option not in taken]
        taken.append(free[0] if free else options[0])
    return taken


def _mark_options(name: str) -> list[str]:
    words = re.findall(r"[A-Za-z0-9]+", name.upper())
    letters = "".join(words)
    if not letters:
        return ["?"]
    firsts = [words[0][0] + words[1][0]] if len(words) > 1 else []
    numbered = [letters[0] + str(n) for n in range(2, 10)]
    return [*firsts, letters[:2], *(letters[0] + letter for letter in letters[2:]), *numbered]


def _fold_call(view: View, event: CallEvent) -> None:
    match event:
        case CallStarted():
            _start_call(view, event)
        case CallFailed():
            _fail_call(view, event)
        case Delta() | CallEnded():
            call = view.calls.get(event.call)
            if call is None or call.state != "running":
                return
            if isinstance(event, Delta):
                call.text += event.text
                _attribute(call, event)
                _charge(view, call, Usage(completion_tokens=call.tokens + event.tokens))
            else:
                _end_call(view, call, event)
        case _:
            assert_never(event)


def _start_call(view: View, event: CallStarted) -> None:
    call = view.calls[event.call] = CallView(event.call, event.model, event.role, event.round)
    call.mode, call.prefix, call.max_tokens = event.mode, event.prefix, event.max_tokens
    call.sees, call.labels = list(event.sees), list(event.labels)
    call.messages, call.models = list(event.messages), list(event.models)
    call.started, call.phase = event.t, len(view.phases) - 1
    view.busy = ""
    view.totals.calls += 1
    for name in call.models or [call.model]:
        if model := view.models.get(name):
            model.calls += 1


def _attribute(call: CallView, event: Delta) -> None:
    if call.parts and call.parts[-1][0] == event.by:
        call.parts[-1][1] += event.text
    elif event.by:
        call.parts.append([event.by, event.text])


def _end_call(view: View, call: CallView, event: CallEnded) -> None:
    call.state, call.parts = "stopped" if event.finish == "abort" else "ok", []
    call.text, call.finish, call.scores = event.text, event.finish, dict(event.scores)
    _charge(view, call, event.usage)


def _fail_call(view: View, event: CallFailed) -> None:
    """Mark the call as failed. What it had said is no result, so it is not kept."""
    call = view.calls.setdefault(
        event.call, CallView(event.call, event.model, phase=len(view.phases) - 1, started=event.t)
    )
    _charge(view, call, Usage())
    call.state, call.text, call.parts = "failed", "", []
    call.error, call.owner = event.message, event.owner
    view.totals.failed += 1
    if model := view.models.get(event.model):
        model.failed += 1


def _charge(view: View, call: CallView, usage: Usage) -> None:
    """Replace what a call has cost so far, and with it the sums; its authors share it evenly."""
    names = call.models or [call.model]
    tokens = usage.completion_tokens - call.tokens
    prompt = usage.prompt_tokens - call.prompt_tokens
    seconds = usage.seconds - call.seconds
    _book(view.totals, tokens, prompt, seconds)
    for place, name in enumerate(names):
        if model := view.models.get(name):
            own = _share(tokens, place, len(names))
            _book(model, own, _share(prompt, place, len(names)), seconds / len(names))
    call.tokens, call.prompt_tokens = usage.completion_tokens, usage.prompt_tokens
    call.seconds, call.first_token = usage.seconds, usage.first_token_s


def _share(amount: int, place: int, count: int) -> int:
    """A whole part of an amount: what is left over goes to the first ones."""
    even, over = divmod(amount, count)
    return even + (place < over)


def _book(book: ModelView | Totals, tokens: int, prompt: int, seconds: float) -> None:
    book.tokens += tokens
    book.prompt_tokens += prompt
    book.seconds += seconds


def _fold_said(view: View, event: Said) -> None:
    match event:
        case Decision():
            kept = event.model_dump(mode="json", exclude={"run", "seq", "kind"})
            view.decisions.append({**kept, "segment": len(view.segments)})
        case Speaking():
            view.segments.append(_segment(view, event))
        case Artifact():
            _fold_artifact(view, event)
        case Answer():
            view.answer = event.model_dump(mode="json", exclude={"run", "seq", "t", "kind"})
            view.busy = ""
        case _:
            assert_never(event)


def _segment(view: View, event: Speaking) -> SegmentView:
    """The piece with the last choice of its author since the piece before it, if there was one."""
    here = len(view.segments)
    chosen = [
        index
        for index, decision in enumerate(view.decisions)
        if decision["segment"] == here and decision["chosen"] == event.model
    ]
    call = view.calls.get(event.call)
    return SegmentView(
        event.call,
        event.model,
        event.text,
        event.index,
        event.tokens or (call.tokens if call else 0),
        chosen[-1] if chosen else None,
    )


def _fold_artifact(view: View, event: Artifact) -> None:
    match event.name:
        case "graph":
            view.graph = event.data
        case "parsed":
            view.parsed.update(event.data.get("answers", {}))
        case "agreement":
            others = [a for a in view.agreement if a.get("round") != event.data.get("round")]
            view.agreement = [*others, event.data]
        case "tally":
            view.tally = event.data
        case _:
            view.artifacts[event.name] = event.data


def _move(view: View, event: Progress) -> None:
    if event.level == "warning":
        view.warnings.append({"unit": event.unit, "note": event.note, "t": event.t})
        return
    view.progress[event.unit] = event.model_dump(include={"done", "total", "note"})
    extend_curves(view.curves, event, len(view.phases) - 1)
    view.busy = event.unit


def _end(view: View, event: Ended) -> None:
    view.status, view.busy = event.status, ""
    for call in view.calls.values():
        if call.state == "running":
            call.state = "stopped"
    usage = event.usage
    view.totals = Totals(
        event.calls, event.failed, usage.completion_tokens, usage.prompt_tokens, usage.seconds
    )
    if event.message or event.owner:
        view.error = {"owner": event.owner, "message": event.message}


def _plain(value: Any) -> Any:
    """The value as JSON would give it back: lists for tuples, text for keys."""
    if isinstance(value, dict):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if hasattr(value, "__dataclass_fields__"):
        return _plain(asdict(value))
    return value
