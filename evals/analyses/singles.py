"""The best single model of any pool, ranked once for a whole frame.

Many systems are compared with the best of their own members. Which that is, and which rows are its
own, is looked up here: cutting a frame anew for each system would take most of an analysis' time.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from evals.analyses.core import by_item, of_role

NO_ROWS = np.array([], dtype=np.intp)


class Singles:
    """What each model of a frame did alone, to be asked for the best member of a pool."""

    def __init__(self, frame: pd.DataFrame) -> None:
        solo = frame[frame["role"] == "solo"]
        self.reported = of_role(solo, "solo")
        """The rows of single models on the split that is reported."""
        self.tasks: list[str] = sorted(self.reported["task"].unique())
        means = solo.groupby(["task", "split", "pool"])["value"].mean()
        self._means: dict[tuple[str, str, str], float] = means.to_dict()
        self._places = self.reported.groupby(["task", "pool"]).indices
        self._rows: dict[tuple[str, ...], pd.DataFrame] = {}
        self._items: dict[tuple[str, ...], pd.Series] = {}

    def best(self, task: str, pool: Sequence[str]) -> str:
        """The member that is best at a task, as :func:`~evals.analyses.core.best_alone` has it.

        That is by the mean on held-out items, or on dev where there are none.
        """
        for split in ("heldout", "dev"):
            keys = {name: (task, split, name) for name in pool}
            ranked = {n: self._means[key] for n, key in keys.items() if key in self._means}
            if ranked:
                return max(ranked, key=lambda name: ranked[name])
        return pool[0]

    def rows(self, pool: Sequence[str]) -> pd.DataFrame:
        """The reported rows of the best member of a pool, which is chosen for each task apart."""
        name = tuple(pool)
        if name not in self._rows:
            found = [
                self._places.get((task, self.best(task, pool)), NO_ROWS) for task in self.tasks
            ]
            self._rows[name] = self.reported.iloc[np.concatenate([NO_ROWS, *found])]
        return self._rows[name]

    def items(self, pool: Sequence[str]) -> pd.Series:
        """The mean value of each item of :meth:`rows`."""
        name = tuple(pool)
        if name not in self._items:
            self._items[name] = by_item(self.rows(pool))
        return self._items[name]
