"""A protocol that is fitted by looking for the model that answers most dev items right.

Small enough to read, and it uses every part of the contract: quiet calls, a resume file, a worker
thread, a derived model.
"""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import replace

from pydantic import Field

from protocols.core.artifacts import Derived
from protocols.core.call import Call, Step
from protocols.core.events import Answer, Artifact, Progress
from protocols.core.fit import FitContext, FitData, FitItem, FitSpec
from protocols.core.registry import (
    Config,
    Context,
    Estimate,
    ProtocolSpec,
    Reference,
    fit_setting,
    protocols,
)
from protocols.lib.prompts import question_messages

WORDS = ("red", "green", "blue", "grey")


class Toy(Config):
    note: str = Field("", description="Matters to the answer only.")
    scale: int = fit_setting(2, "Matters to the fit.")


async def fit(ctx: FitContext) -> AsyncIterator[Step]:
    path = ctx.state / "scores.json"
    known = json.loads(path.read_text()) if path.exists() else {}
    for number, model in enumerate(ctx.models):
        if model.id not in known:
            calls = [
                Call(f"{model.id}/{i.id}", model.id, question_messages(i.question), quiet=True)
                for i in ctx.items["dev"]
            ]
            yield calls
            found = [
                ctx.score(item, call.text) or 0.0
                for item, call in zip(ctx.items["dev"], calls, strict=True)
                if call.ok
            ]
            known[model.id] = sum(found)
            part = path.with_suffix(".part")
            part.write_text(json.dumps(known))
            part.rename(path)
        yield Progress(unit="search", done=number + 1, values={"score": known[model.id]})
    yield Artifact(name="ladder", data=known)
    total = await ctx.work(multiplied, ctx, sum(known.values()))
    best = max(known, key=lambda name: known[name])
    (ctx.folder / "adapter").mkdir()
    (ctx.folder / "adapter" / "choice.json").write_text(json.dumps(best))
    recipe = {"best": best, "seed": ctx.rng("x").random()}
    yield ctx.fitted({"total": total}, recipe, [Derived(name="toy", base=best)])


def multiplied(ctx: FitContext, value: float) -> float:
    for step in range(3):
        ctx.report("train", step + 1, 3, "working", loss=1 / (step + 1))
    return value * ctx.config.scale


async def answer(ctx: Context) -> AsyncIterator[Step]:
    call = Call("toy", ctx.derived[0].id, question_messages(ctx.question))
    yield call
    yield Answer(text=call.text, sources=("toy",))


PROTOCOL = ProtocolSpec(
    title="Toy",
    summary="Only for tests.",
    paper=Reference("none", "https://example.org"),
    answer=answer,
    estimate=lambda config, n, tokens: Estimate(1, 0, tokens),
    config=Toy,
    fit=fit,
    needs_artifact=True,
)


@contextmanager
def registered(spec: ProtocolSpec = PROTOCOL) -> Iterator[ProtocolSpec]:
    """The registry with one more protocol."""
    named = replace(spec, id="toy", level="weight")
    protocols()["toy"] = named
    try:
        yield named
    finally:
        protocols().pop("toy", None)


def toy_data(count: int = 4, **changes: object) -> FitData:
    """Questions whose answers are colours; beta is the model that knows them."""
    items = tuple(
        FitItem(f"toy-dev-{n}", f"Question {n}?", WORDS[n % 4], "toy") for n in range(count)
    )
    given = {
        "task": "toy",
        "items": {"dev": items, "train": ()},
        "score": lambda item, text: float(item.answer in text) if text.strip() else None,
        "digest": f"digest-{count}",
    }
    return FitData(**{**given, **changes})  # type: ignore[arg-type]


def toy_spec(count: int = 3, **changes: object) -> FitSpec:
    from tests.helpers import NAMES

    return FitSpec.model_validate(
        {"protocol": "toy", "pool": NAMES[:count], "task": "toy", **changes}
    )


def main(root: str) -> None:
    """Fit very slowly, for a test that kills this process."""
    import asyncio
    from pathlib import Path

    from protocols.core.artifacts import ArtifactStore
    from protocols.core.fit import fit as play
    from protocols.engines.scripted import ScriptedEngine
    from tests.helpers import make_pool

    async def go() -> None:
        engine = ScriptedEngine({"alpha": "red", "beta": "red green", "gamma": "blue"}, delay_s=0.1)
        store = ArtifactStore(Path(root))
        async for event in play(toy_spec(), make_pool(3), engine, toy_data(), store):
            sys.stdout.write(event.kind + "\n")
            sys.stdout.flush()

    with registered():
        asyncio.run(go())


if __name__ == "__main__":
    main(sys.argv[1])
