"""Pools of one size that differ in diversity: the four settings of the paper's Figure 4.

``distinct``: a models, each b times. ``institutions`` and ``countries``: more and more contributors
from outside the commonest one. ``generations``: random pools, to be ordered by how alike their
members' texts are once those are known. Models are taken in the order of the pool, which should be
their rank: walking down it changes quality as well as diversity, so the analysis shows both.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from protocols.core.errors import UserError, unknown
from protocols.core.models import ModelSpec

DRAWS = 4
"""Random pools of the setting ``generations``, as many as in the paper."""


@dataclass(frozen=True, slots=True)
class Design:
    """One pool of a setting. ``level`` grows with diversity; ``name`` says what it is made of."""

    setting: str
    level: int
    name: str
    pool: tuple[ModelSpec, ...]

    @property
    def label(self) -> str:
        """What records keep of it."""
        return f"{self.setting}/{self.level}/{self.name}"


def designs(settings: Sequence[str], models: Sequence[ModelSpec], size: int) -> list[Design]:
    """Every pool of the settings named, least diverse first.

    Raises :class:`UserError` for an unknown setting and for one that these models cannot give.
    """
    found: list[Design] = []
    for setting in dict.fromkeys(settings):
        if setting not in SETTINGS:
            raise unknown("setting of diversity", setting, SETTINGS)
        if len(models) < size:
            raise UserError(f"Pools of {size} need {size} models; {len(models)} are picked.")
        found += SETTINGS[setting](models, size)
    return found


def distinct(models: Sequence[ModelSpec], size: int) -> list[Design]:
    """The first a models, each b times, for every a x b that gives the size."""
    return [
        Design(
            "distinct", level, f"{a}x{size // a}",
            tuple(copy_of(m, n) for n in range(size // a) for m in models[:a]),
        )
        for level, a in enumerate(a for a in range(1, size + 1) if size % a == 0)
    ]  # fmt: skip


def copy_of(model: ModelSpec, number: int) -> ModelSpec:
    """The same model under another id, for pools that hold it several times; copy 0 is itself."""
    if not number:
        return model
    return model.model_copy(update={"id": f"{model.id[:58]}.copy{number}"})


def institutions(models: Sequence[ModelSpec], size: int) -> list[Design]:
    """All from the commonest institution, a quarter and half from others, each from its own."""
    home, others = _sides("institutions", models, lambda m: m.contributor.institution)
    each = {m.contributor.institution: m for m in [*reversed(others), *reversed(home)]}
    apart = [m for m in models if each.get(m.contributor.institution) is m][:size]
    mixed = _mixed("institutions", home, others, size, (0, size // 4, size // 2))
    if len(apart) < size:
        raise UserError(
            f"Setting 'institutions' needs {size} institutions; these models have {len(apart)}."
        )
    return [*mixed, Design("institutions", len(mixed), f"{size} institutions", tuple(apart))]


def countries(models: Sequence[ModelSpec], size: int) -> list[Design]:
    """All from the commonest country, then a quarter, half and three quarters from others."""
    home, others = _sides("countries", models, lambda m: m.contributor.country)
    return _mixed("countries", home, others, size, (0, size // 4, size // 2, 3 * size // 4))


def generations(models: Sequence[ModelSpec], size: int) -> list[Design]:
    """Random pools; the analysis orders them."""
    if len(models) == size:
        raise UserError(f"Setting 'generations' draws {size} of more models; name more.")
    drawn = [
        tuple(random.Random(f"generations/{n}").sample(list(models), size)) for n in range(DRAWS)
    ]
    return [Design("generations", n, f"draw {n + 1}", pool) for n, pool in enumerate(drawn)]


def _sides(
    setting: str, models: Sequence[ModelSpec], where: Callable[[ModelSpec], str]
) -> tuple[list[ModelSpec], list[ModelSpec]]:
    """Models of the commonest place and of the others; those without one are left out."""
    counted = Counter(place for m in models if (place := where(m)))
    if len(counted) < 2:
        raise UserError(
            f"Setting '{setting}' needs models of several {setting}; these have {len(counted)}."
        )
    common = counted.most_common(1)[0][0]
    known = [m for m in models if where(m)]
    return [m for m in known if where(m) == common], [m for m in known if where(m) != common]


def _mixed(
    setting: str,
    home: Sequence[ModelSpec],
    others: Sequence[ModelSpec],
    size: int,
    outside: Sequence[int],
) -> list[Design]:
    if len(home) < size or len(others) < max(outside):
        raise UserError(
            f"Setting '{setting}' with pools of {size} needs {size} models of one place and "
            f"{max(outside)} of others; these are {len(home)} and {len(others)}."
        )
    return [
        Design(setting, level, f"{size - n}+{n}", (*home[: size - n], *others[:n]))
        for level, n in enumerate(outside)
    ]


SETTINGS: dict[str, Callable[[Sequence[ModelSpec], int], list[Design]]] = {
    "distinct": distinct,
    "institutions": institutions,
    "countries": countries,
    "generations": generations,
}
"""The paper's settings 1 to 4."""
