"""What the models' weights say before they are merged: who outweighs the rest, and who is a copy.

In an open pool anybody may contribute a model that is another's twice, or one so large that a mean
of all is that one. Neither is forbidden; both are said.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Sequence
from itertools import combinations
from statistics import median

import numpy as np

from protocols.core.call import Step
from protocols.core.errors import ContributorError
from protocols.core.events import Artifact, Progress
from protocols.core.fit_types import FitContext
from protocols.lib.coefficients import Rows, cosines
from protocols.lib.weight_space import Members

OUTWEIGHS = 10.0
"""Times the others' median size from which a model is said to outweigh them."""
APART = 0.01
"""Distance of two models, as a part of their size, below which one is a copy of the other."""


async def compared(ctx: FitContext, members: Members) -> AsyncIterator[Step]:
    """Show how alike the models' changes are, how large, and what is odd about them.

    Reads every model's weights. Raises :class:`ContributorError` for one with numbers that cannot
    be added up: in a merge they would be everybody's.
    """
    products = await ctx.work(members.products)
    names, found = [model.id for model in members.models], np.diag(products)
    odd = [name for name, size in zip(names, found, strict=True) if not np.isfinite(size)]
    if odd:
        raise ContributorError(
            f"'{odd[0]}' has weights that are not finite, or too large to be added up. A merge "
            "would be spoiled by them: leave it out, or hold it back on the Pool page."
        )
    sizes = [round(float(max(0.0, size)) ** 0.5, 6) for size in found]
    base = members.from_base
    remarks = [*outweighing(names, products, base), *copies(names, products, base)]
    data = {"members": names, "cosine": cosines(products), "norm": sizes, "remarks": remarks}
    yield Artifact(name="deltas", data=data)
    for remark in remarks:
        yield Progress(unit="compare", note=remark, level="warning")


def distances(products: Rows) -> Rows:
    """Between all models, from the inner products of their differences from one point."""
    size = np.diag(products)
    squared = np.clip(size[:, None] + size[None, :] - 2 * products, 0.0, None)
    found: Rows = np.sqrt(squared)
    return found


def outweighing(names: Sequence[str], products: Rows, from_base: bool) -> list[str]:
    """Models whose change is many times that of the others.

    ``from_base`` says that ``products`` are of changes to the base; else no model is the origin,
    and a model's size is its median distance to the others.
    """
    sizes = np.sqrt(np.clip(np.diag(products), 0.0, None)).tolist()
    if not from_base:
        far = distances(products)
        sizes = [median(np.delete(row, i).tolist() or [0.0]) for i, row in enumerate(far)]
    told = []
    for i, (name, size) in enumerate(zip(names, sizes, strict=True)):
        others = [one for j, one in enumerate(sizes) if j != i and one > 0]
        if others and size > OUTWEIGHS * median(others):
            times = f"{size / median(others):,.0f} times"
            told.append(
                f"'{name}' changes {times} as much as the others' median. In a sum it outweighs "
                "them all; leave it out unless you know why."
            )
    return told


def copies(names: Sequence[str], products: Rows, from_base: bool) -> list[str]:
    """Models that are another one again or, where there is a base to look from, its opposite."""
    size, apart = np.sqrt(np.clip(np.diag(products), 0.0, None)), distances(products)
    told = []
    for i, j in combinations(range(len(names)), 2):
        others = [apart[k, m] for k in (i, j) for m in range(len(names)) if m not in (i, j)]
        large = max(size[i], size[j]) if from_base else min(others, default=0.0)
        if apart[i, j] <= APART * large and (large or not from_base):
            told.append(f"'{names[j]}' is a copy of '{names[i]}': together they count twice.")
        elif from_base and large and _sum(products, i, j) <= APART * large:
            told.append(f"'{names[j]}' is the opposite of '{names[i]}': they cancel out.")
    return told


def _sum(products: Rows, i: int, j: int) -> float:
    """Size of the sum of two changes."""
    squared = float(products[i, i] + products[j, j] + 2 * products[i, j])
    return math.sqrt(max(0.0, squared))
