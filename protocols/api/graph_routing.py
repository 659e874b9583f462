"""Graph routing: a question hangs on to its neighbours, and they know which models did well.

Train questions, their tasks and the models are nodes; scores are edges. A small network scores the
edges from a new question to the models through its neighbourhood. Plain nearest neighbours are the
yardstick: whichever did better on questions kept aside decides, and both are measured.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from typing import Literal, NamedTuple

from pydantic import Field

from protocols.core.call import Step
from protocols.core.errors import EngineError
from protocols.core.events import Phase, Progress
from protocols.core.fit_types import FitContext
from protocols.core.registry import Context, ProtocolSpec, Reference, fit_setting
from protocols.lib import routes
from protocols.lib.encoders import encoder
from protocols.lib.graph_net import membership
from protocols.lib.graph_picture import Near, picture
from protocols.lib.routes import Card, Route, RouterConfig, route_of, without_router
from protocols.training.graph_router import (
    DIMENSIONS,
    HOW,
    GraphRouter,
    GraphSettings,
    compared,
    router_from,
    train_graph,
    verdict,
)
from protocols.training.router_evaluation import evaluation_artifacts
from protocols.training.routing_data import RoutingDataCollector, gather_estimate

ARRAYS, QUERIES = "graph.npz", "queries.json"


class GraphRouting(RouterConfig):
    """Settings of graph routing."""

    method: Literal["auto", "graph", "knn"] = Field(
        "auto", description="What decides: the network, its neighbours alone, or the better one."
    )
    hidden: int = fit_setting(16, "Width of the network's layers.", ge=1, le=512)
    steps: int = fit_setting(200, "Passes over the questions at most.", ge=1, le=100_000)
    batch: int = fit_setting(0, "Questions in a training step; 0 = all.", ge=0, le=100_000)
    learning_rate: float = fit_setting(5e-3, "Learning rate of the network.", gt=0.0, le=1.0)
    networks: int = fit_setting(3, "Networks from different seeds, averaged.", ge=1, le=16)


class GraphCard(Card):
    """What the artifact says of its graph."""

    tasks: tuple[str, ...] = Field(min_length=1)


async def fit(ctx: FitContext) -> AsyncIterator[Step]:
    """Gather answers, train, choose by one half of dev, measure both ways on the other."""
    collector = RoutingDataCollector(ctx)
    async for step in collector.gather():
        yield step
    data, config = collector.data, ctx.config
    told = config.model_dump(include={"hidden", "steps", "batch", "learning_rate", "networks"})
    settings = GraphSettings(**told, seed=ctx.seed)

    def report(done: int, loss: float) -> None:
        ctx.report("train", done, settings.steps * settings.networks, "The graph learns", loss=loss)

    router = await ctx.work(train_graph, data.train, settings, report)
    routes.write_arrays(router.arrays(), ctx.folder / ARRAYS)
    shown = [{"question": i.question, "id": i.id} for i in data.train.table.items]
    (ctx.folder / QUERIES).write_text(json.dumps(shown, ensure_ascii=False), encoding="utf-8")
    used, known, metrics = compared(data, router, ctx.seed)
    card = GraphCard(
        models=data.models,
        best=data.models[data.best],
        encoder=data.encoder,
        trust=known,
        used=used,
        tasks=tuple(sorted(set(data.train.tasks))),
    )
    routes.write_card(card, ctx.folder)
    for figure in evaluation_artifacts(metrics["held_out"], used):
        yield figure
    yield Progress(unit="route", note=verdict(metrics))
    recipe = {"used": used, "encoder": card.model_dump()["encoder"], "judge": config.judge}
    yield ctx.fitted(metrics, {**recipe, "neighbours": router.near.count})


class Seen(NamedTuple):
    """What the graph says of one question."""

    route: Route
    near: list[Near]
    tasks: dict[str, float]


def look(ctx: Context, card: GraphCard) -> Seen:
    """Attach the question and score the models. Blocks.

    Raises :class:`EngineError` for an artifact that cannot be read.
    """
    assert ctx.artifact and card.encoder
    try:
        router = router_from(routes.read_arrays(ctx.artifact, ARRAYS, DIMENSIONS), len(card.tasks))
        shown = json.loads((ctx.artifact / QUERIES).read_text(encoding="utf-8"))
        hood = router.attached(encoder(card.encoder, ctx.models)([ctx.question]))
        logits = {method: rows[0] for method, rows in router.logits(hood).items()}
        near = nearest_of(card, router, hood.places[0], hood.weights[0], hood.likeness[0], shown)
        belongs = membership(router.known, hood)[0]
    except (OSError, ValueError, KeyError, IndexError, TypeError, RuntimeError) as error:
        raise EngineError("The router's graph cannot be read. Fit it again.") from error
    method = card.used if ctx.config.method == "auto" else ctx.config.method
    other = "knn" if method == "graph" else "graph"
    second = route_of(logits[other], card, other, "")
    better = {"graph": "it did better", "knn": "the network did not do better"}
    why = f"{better[method]} on questions kept aside" if method == card.used else "as asked"
    how = f"{HOW[method]} ({why}; {HOW[other]} would say {second.ranked[0]})"
    return Seen(
        route_of(logits[method], card, method, how),
        near,
        {task: float(share) for task, share in zip(card.tasks, belongs, strict=True) if share > 0},
    )


def nearest_of(
    card: GraphCard,
    router: GraphRouter,
    places: Sequence[int],
    weights: Sequence[float],
    likeness: Sequence[float],
    shown: Sequence[dict[str, str]],
) -> list[Near]:
    """The neighbours as a page shows them, the nearest first."""
    return [
        Near(
            question=str(shown[at]["question"]),
            task=card.tasks[router.known.tasks[at]],
            likeness=float(like),
            weight=float(weight),
            scores=dict(zip(card.models, map(float, router.known.scores[at]), strict=True)),
        )
        for at, weight, like in zip(places, weights, likeness, strict=True)
    ]


async def answer(ctx: Context) -> AsyncIterator[Step]:
    """Attach the question, show the graph, route, and let somebody answer."""
    card = routes.read_card(ctx, GraphCard)
    yield Phase(name="route", title="The question finds its neighbours")
    try:
        seen = await ctx.work(look, ctx, card)
    except EngineError as error:
        yield Progress(unit="route", note=error.message, level="warning")
        route = without_router(card, "the graph failed, so all models are alike to it")
    else:
        route = seen.route
        yield picture(ctx, route, seen.near, seen.tasks)
    async for step in routes.follow(ctx, route):
        yield step


PROTOCOL = ProtocolSpec(
    title="Graph routing",
    summary=(
        "Train questions, tasks and models form a graph whose edges say who answered what well; a "
        "new question hangs on to its nearest neighbours, and a small network says through them "
        "which model suits it. You see the neighbours, their scores and the choice, beside what "
        "plain nearest neighbours would say."
    ),
    paper=Reference("Feng et al. 2024, GraphRouter", "https://arxiv.org/abs/2410.03834"),
    answer=answer,
    estimate=routes.estimate,
    config=GraphRouting,
    views=("routing", "dag", "lanes"),
    min_models=2,
    needs_artifact=True,
    fit=fit,
    fit_estimate=gather_estimate,
    profiles={
        "paper": {
            "encoder": "sentence-transformers/all-MiniLM-L6-v2",
            "hidden": 8,
            "learning_rate": 1e-4,
            "steps": 10,
            "batch": 32,
            "networks": 1,
        }
    },
    credit="All of it goes to the model that was chosen and answered.",
    examples=(
        "What is 47 + 38?",
        "Write 1987 in Roman numerals.",
        "What is the chemical symbol of iron?",
    ),
)
