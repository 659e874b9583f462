"""T-D2: fifty raters vote on all their pairs at once, through the pages.

How long a vote takes depends on the machine, so ``python -m tests.bench.web_votes`` measures it;
here is what holds on every machine.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path

import pytest

from evals.human.ledger import verify_chain
from evals.human.raters import invite
from evals.human.store import Store
from tests.bench.web_votes import server, storm
from tests.studio.rating_world import make_pairs, make_spec, open_study

RATERS, PAIRS = 50, 25


@pytest.mark.slow
def test_fifty_raters_at_once_lose_no_vote_and_see_no_error(tmp_path: Path) -> None:
    file = str(tmp_path / "studies.db")
    store = Store.open(file)
    spec = make_spec(pairs_per_rater=PAIRS, overlap=RATERS, stopping={"cap": RATERS * PAIRS})
    open_study(store, spec, make_pairs(PAIRS))
    tokens = invite(store, spec.slug, RATERS)
    with server(file) as (url, process):
        # Any answer but the one that says "saved" ends the storm with its text.
        found = asyncio.run(storm(url, tokens, PAIRS, 0.0, process))
    assert len(found["saved"]) == RATERS * PAIRS
    assert found["grown"][0] < 100
    check = verify_chain(store, spec.slug)
    assert check.ok and check.votes == RATERS * PAIRS
    with store.read() as connection:
        rows = connection.exec_driver_sql(
            "SELECT vote.rater, assignment.rater, assignment.pair FROM vote"
            " JOIN assignment ON assignment.id = vote.assignment"
        ).all()
    store.close()
    assert all(voter == owner for voter, owner, _ in rows)
    assert len({(voter, pair) for voter, _, pair in rows}) == RATERS * PAIRS
    assert set(Counter(voter for voter, *_ in rows).values()) == {PAIRS}
