"""Every error the studio raises on purpose, grouped by who can mend it.

::

    StudioError
    |-- UserError          the person at the page or the shell: shown word for word
    |   `-- NotFittedError    a protocol must be fitted to the models before it answers
    |-- ContributorError   whoever brought the model: its spec, template, adapter or files
    `-- EngineError        the machine or a server: out of memory, a dead process, a time-out
        |-- EngineDied        the process that serves models ended while it was asked
        |-- CapabilityError   the engine cannot do what was asked (for example score labels)
        `-- LostModels        some of the models that write one text together cannot go on

Anything else that escapes is a bug: it is logged with a traceback and the screen shows an id.
A message is one sentence or two: what happened, to which named thing, what to do.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping


class StudioError(Exception):
    """Base of all expected errors. ``owner`` says who can mend it."""

    owner = "bug"

    @property
    def message(self) -> str:
        """The sentence to show."""
        return str(self)


class UserError(StudioError):
    """The request cannot be carried out as given."""

    owner = "user"


class NotFittedError(UserError):
    """A protocol that answers from an artifact has none for these models yet."""


class ContributorError(StudioError):
    """A contributed model cannot be used as it was described."""

    owner = "contributor"


class EngineError(StudioError):
    """A model could not be loaded or a generation failed."""

    owner = "engine"


class EngineDied(EngineError):
    """The process that serves a model, and every other model of its base, has ended."""


class CapabilityError(EngineError):
    """The engine that serves a model lacks a capability the call needs."""


class LostModels(EngineError):
    """Models of a fused text cannot take part; the others could begin again without them.

    ``models`` are their ids; ``owner`` is that of the first one's own error.
    """

    def __init__(self, errors: Mapping[str, StudioError]) -> None:
        """``errors`` says by model id why each of them cannot."""
        super().__init__(" ".join(error.message for error in errors.values()))
        self.errors, self.models = dict(errors), tuple(errors)
        self.owner = next(iter(errors.values())).owner


def unknown(kind: str, name: str, known: Iterable[str]) -> UserError:
    """Build the error for a name that is not in ``known``, with the nearest one as a suggestion."""
    options = sorted(known)
    close = difflib.get_close_matches(name, options, n=1)
    hint = f"Did you mean '{close[0]}'?" if close else f"Known: {', '.join(options) or 'none'}."
    return UserError(f"There is no {kind} '{name}'. {hint}")
