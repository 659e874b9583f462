"""Which models of a run can be asked no more because the process that serves them has ended."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from protocols.core.errors import EngineDied, LostModels, StudioError
from protocols.core.models import ModelSpec


def place_of(model: ModelSpec) -> str:
    """Names the base or endpoint that serves a model, and others with it."""
    return f"{model.source}@{model.revision}"


class LostEngines:
    """Models of one base live and die together; one that answers again is back."""

    def __init__(self, models: Mapping[str, ModelSpec]) -> None:
        """``models`` by id are all that may be asked; they may become more."""
        self._models = models
        self._dead: set[str] = set()
        self.nobody_left: EngineDied | None = None
        """Why nothing more can be asked: there is no model whose engine runs."""

    def _places(self, names: Iterable[str]) -> set[str]:
        return {place_of(self._models[name]) for name in names}

    def failed(self, names: Iterable[str], error: StudioError) -> None:
        """A call to these models ended with an error."""
        errors = error.errors if isinstance(error, LostModels) else dict.fromkeys(names, error)
        for name, one in errors.items():
            if isinstance(one, EngineDied):
                self._dead |= self._places([name])
                self.nobody_left = None if self._places(self._models) - self._dead else one

    def answered(self, names: Iterable[str]) -> None:
        """A call to these models ended well."""
        if self._dead:
            self._dead -= self._places(names)
