"""Counting requests: nobody gets more than the limit, and what one does costs no other anything."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evals.human.rate_limit import RateLimit
from evals.human.records import Refused

TIMES = st.lists(st.integers(0, 40), max_size=60).map(
    lambda gaps: [sum(gaps[:n]) for n in range(1, len(gaps) + 1)]
)


@given(times=TIMES, limit=st.integers(1, 5), window=st.sampled_from([1.0, 30.0, 60.0]))
def test_no_window_holds_more_than_the_limit_and_waiting_is_enough(
    times: list[int], limit: int, window: float
) -> None:
    pace, taken = RateLimit(limit, window), []
    for now in times:
        recent = sum(now - window < at <= now for at in taken)
        wait = pace.wait("one", now)
        assert (wait > 0) == (recent >= limit)
        if wait:
            assert sum(now + wait - window < at for at in taken) < limit
        else:
            taken.append(now)
        assert pace.wait(f"other {now}", now) == 0 or limit == 0


def test_one_too_many_is_refused_and_no_limit_is_none() -> None:
    pace, free = RateLimit(1), RateLimit(0)
    pace.check("rater", 10.0)
    with pytest.raises(Refused) as refused:
        pace.check("rater", 11.0)
    assert refused.value.status == 429
    pace.check("rater", 9.0)  # a clock that was put back counts for nothing against the rater
    for _ in range(100):
        free.check("rater", 10.0)
