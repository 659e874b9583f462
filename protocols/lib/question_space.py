"""The space in which questions are compared: vectors about their mean, in a few main directions.

Raw vectors of language models all point the same way; about their mean they differ by meaning.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
DIRECTIONS = 64


@dataclass(frozen=True)
class Space:
    """``mean`` [size] and ``axes`` [directions, size] of the vectors that it was made from."""

    mean: Floats
    axes: Floats

    @classmethod
    def of(cls, vectors: NDArray[np.floating]) -> Space:
        """The main directions of some vectors [n, size]; fewer than :data:`DIRECTIONS` if n is."""
        rows = np.asarray(vectors, dtype=np.float64)
        mean = rows.mean(axis=0)
        _, sizes, axes = np.linalg.svd(rows - mean, full_matrices=False)
        kept = max(1, int((sizes > sizes[0] * 1e-6).sum())) if sizes[0] > 0 else 1
        axes = axes[: min(DIRECTIONS, kept)]
        # A direction's sign means nothing; fixed here, so that equal inputs give equal files.
        signs = np.sign(axes[np.arange(len(axes)), np.abs(axes).argmax(axis=1)])
        return cls(mean, axes * np.where(signs == 0, 1.0, signs)[:, None])

    def __call__(self, vectors: NDArray[np.floating]) -> Floats:
        """Where vectors [n, size] lie: unit vectors [n, directions], zero for the mean itself."""
        found = (np.asarray(vectors, dtype=np.float64) - self.mean) @ self.axes.T
        lengths = np.linalg.norm(found, axis=1, keepdims=True)
        made: Floats = np.divide(found, lengths, out=np.zeros_like(found), where=lengths > 1e-9)
        return made
