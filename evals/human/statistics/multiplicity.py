"""Corrections for several tests at once, as when each criterion of a rubric has its own p-value."""

from __future__ import annotations

from collections.abc import Sequence


def holm(p_values: Sequence[float | None]) -> tuple[float | None, ...]:
    """Return Holm's (1979) adjusted p-values in the given order.

    Compared with alpha they keep the chance of any false finding at alpha. None (not tested) stays
    None and does not count. Raises ValueError outside 0..1.
    """
    return _adjusted(p_values, "holm")


def benjamini_hochberg(p_values: Sequence[float | None]) -> tuple[float | None, ...]:
    """Return Benjamini and Hochberg's (1995) adjusted p-values in the given order.

    Compared with alpha they keep the expected share of false findings at alpha if the tests are
    independent or positively dependent. None and errors as in :func:`holm`.
    """
    return _adjusted(p_values, "fdr_bh")


def _adjusted(p_values: Sequence[float | None], method: str) -> tuple[float | None, ...]:
    from statsmodels.stats.multitest import multipletests

    tested = [p for p in p_values if p is not None]
    if any(not 0 <= p <= 1 for p in tested):
        raise ValueError(f"A p-value lies between 0 and 1: {tested}.")
    found = iter(multipletests(tested, method=method)[1].tolist() if tested else [])
    return tuple(None if p is None else float(next(found)) for p in p_values)
