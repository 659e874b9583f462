"""Raters vote through the pages: ``python -m tests.bench.web_votes [THINK] [RATERS] [PAIRS]``.

The pages are served by a process of their own; this one is the raters, so that their share of the
processors can be told from the server's. THINK is the mean time in seconds that a rater reads
before choosing, drawn from an exponential distribution; without it 0 and 2 are measured. People
take longer than 2 s for two answers, so that is still a harder load than people are.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path

import httpx
import psutil

from evals.human.ledger import verify_chain
from evals.human.raters import invite
from evals.human.store import Store
from tests.bench.common import say
from tests.studio.rating_world import SECRET, Page, make_pairs, make_spec, open_study

RATERS, PAIRS, SEED = 50, 25, 7
THINKS = (0.0, 2.0)
Times = dict[str, list[float]]


def serve(file: str, port: Connection) -> None:
    """The server's process: the pages on a free port, with the settings the app runs them with."""
    import socket

    import uvicorn
    from starlette.applications import Starlette

    from studio.rating import RatingOptions, build_routes

    store = Store.open(file)
    options = RatingOptions(SECRET, posts_per_minute=6000, pages_per_minute=6000)
    app = Starlette(routes=build_routes(lambda: store, options))
    listener = socket.create_server(("127.0.0.1", 0), backlog=256)
    port.send(listener.getsockname()[1])
    # Raters of a program come back later than a browser would: their connections are kept longer.
    config = uvicorn.Config(app, log_level="warning", lifespan="off", timeout_keep_alive=75)
    uvicorn.Server(config).run([listener])


@contextmanager
def server(file: str) -> Iterator[tuple[str, psutil.Process]]:
    """A server's address and process; it is stopped in the end."""
    context = multiprocessing.get_context("spawn")
    mine, other = context.Pipe()
    process = context.Process(target=serve, args=(file, other), daemon=True)
    process.start()
    try:
        if not mine.poll(120):
            raise RuntimeError("the server did not start within two minutes")
        yield f"http://127.0.0.1:{mine.recv()}", psutil.Process(process.pid)
    finally:
        process.terminate()
        process.join()


async def arrive(client: httpx.AsyncClient, token: str) -> None:
    """Everything up to the first pair that counts."""
    await client.get(f"/rate/{token}")
    await post(client, "/consent", agree="1")
    await post(client, "/begin")
    for _ in range(2):
        await post(client, "/practice", outcome="left")
        await client.get("/rate")  # what most people would have chosen


async def post(client: httpx.AsyncClient, action: str, **values: str) -> None:
    """Send the form of the page that comes next. Raises ``AssertionError`` if it is not taken."""
    form = Page((await client.get("/rate")).text).form(action)
    answer = await client.post(form.action, data={**form.fields, **values})
    assert answer.status_code == 303, answer.text


async def rate(client: httpx.AsyncClient, number: int, pairs: int, think: float) -> Times:
    """One rater's votes: seconds until a vote was saved, and until the next pair was there."""
    rng, times = random.Random(f"{SEED}/{number}"), Times(saved=[], shown=[])
    await asyncio.sleep(rng.random() * think)
    for _ in range(pairs):
        began = time.perf_counter()
        page = await client.get("/rate")
        times["shown"].append(time.perf_counter() - began)
        form = Page(page.text).form("/vote", having="comment")
        await asyncio.sleep(rng.expovariate(1 / think) if think else 0)
        values = {**form.fields, "outcome": rng.choice(("left", "right"))}
        began = time.perf_counter()
        answer = await client.post(form.action, data=values)
        times["saved"].append(time.perf_counter() - began)
        assert answer.status_code == 303, answer.text
    return times


async def storm(url: str, tokens: list[str], pairs: int, think: float, at: psutil.Process) -> Times:
    """Every rater at once; also what the server and the raters took of the processors."""
    limits = httpx.Limits(keepalive_expiry=30.0)  # before the server closes them
    clients = [httpx.AsyncClient(base_url=url, timeout=60, limits=limits) for _ in tokens]
    for client, token in zip(clients, tokens, strict=True):
        await arrive(client, token)
    before = (at.cpu_times(), time.process_time(), at.memory_info().rss, time.perf_counter())
    rated = await asyncio.gather(
        *(rate(client, n, pairs, think) for n, client in enumerate(clients))
    )
    used = at.cpu_times()
    found = {name: [t for times in rated for t in times[name]] for name in ("saved", "shown")}
    found["server"] = [used.user + used.system - before[0].user - before[0].system]
    found["raters"] = [time.process_time() - before[1]]
    found["grown"] = [(at.memory_info().rss - before[2]) / 2**20]
    found["seconds"] = [time.perf_counter() - before[3]]
    for client in clients:
        await client.aclose()
    return found


def measure(think: float, raters: int = RATERS, pairs: int = PAIRS) -> None:
    """Measure and print: how many votes are there, latencies, and whose processor time it was."""
    with tempfile.TemporaryDirectory() as folder:
        file = str(Path(folder) / "studies.db")
        store = Store.open(file)
        spec = make_spec(pairs_per_rater=pairs, overlap=raters, stopping={"cap": raters * pairs})
        open_study(store, spec, make_pairs(pairs))
        tokens = invite(store, spec.slug, raters)
        with server(file) as (url, process):
            found = asyncio.run(storm(url, tokens, pairs, think, process))
        check = verify_chain(store, spec.slug)
        store.close()
    state = "intact" if check.ok else "BROKEN"
    say(f"think {think:g} s: {check.votes} of {raters * pairs} votes by {raters} raters in "
        f"{found['seconds'][0]:.1f} s, chain {state}, memory +{found['grown'][0]:.0f} MiB, load "
        f"{psutil.getloadavg()[0]:.1f}, processor time: server {found['server'][0]:.1f} s, "
        f"raters {found['raters'][0]:.1f} s")  # fmt: skip
    for name, told in (("shown", "show a pair"), ("saved", "save a vote")):
        cuts = statistics.quantiles(found[name], n=100)
        p50, p95, p99 = (cuts[at - 1] * 1000 for at in (50, 95, 99))
        say(f"  {told}: median {p50:.0f} ms, p95 {p95:.0f} ms, p99 {p99:.0f} ms")


if __name__ == "__main__":
    given = sys.argv[1:]
    for think in [float(given[0])] if given else THINKS:
        measure(think, *map(int, given[1:]))
