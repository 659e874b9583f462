"""What a contributed model is, how it is sampled, and what a run is asked to do.

These are the values that cross a boundary (files, forms, the command line), so they are frozen
pydantic models that refuse unknown fields.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any, Literal, Protocol

from pydantic import BaseModel, ConfigDict, Field, JsonValue, field_validator

Capability = Literal["prefill", "score", "logits", "adapters"]
MAX_QUESTION_CHARS = 8_000


class Frozen(BaseModel):
    """A value: cannot be changed, refuses fields it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Contributor(Frozen):
    """Who brought a model and what for. Unknown facts stay empty; nothing is invented."""

    name: str = Field("", description="The person, group or project that contributed the model.")
    institution: str = Field("", description="Where the contributor works, if they say so.")
    country: str = Field("", description="The contributor's country, if they say so.")
    domain: str = Field("", description="What the model is meant to be good at, in a few words.")
    description: str = Field("", description="One or two sentences for people who pick models.")
    paper: str = Field("", description="Link to a paper or report about the model.")
    licence: str = Field("", description="Licence of the weights.")


class Endpoint(Frozen):
    """How a model that is served elsewhere is asked. A key is never here, only where it stands."""

    key_variable: str = Field(
        "STUDIO_ENDPOINT_KEY",
        # No other variable: a pool file must not be able to send a different secret somewhere.
        pattern=r"^STUDIO_ENDPOINT_KEY(_[A-Z0-9_]{1,40})?$",
        description="Environment variable with the key: STUDIO_ENDPOINT_KEY or one beginning so.",
    )
    timeout_s: float = Field(120.0, gt=0, le=3600, description="Seconds without a sign of life.")
    retries: int = Field(2, ge=0, le=10, description="Further tries before the first token.")
    parallel: int = Field(16, ge=1, le=1024, description="Requests at a time; others wait here.")
    window: int = Field(
        0, ge=0, le=2**24, description="Context length in tokens; 0 = as the server says, or 8192."
    )


class ModelSpec(Frozen):
    """One contributed model.

    ``source`` is a hub id, a local folder, or an ``http(s)://`` endpoint. A LoRA contributor has an
    ``adapter`` folder and names in ``source`` the base it belongs to.
    """

    id: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")
    name: str = ""
    source: str
    revision: str = ""
    adapter: str = ""
    served_name: str = Field("", description="The model's name at an endpoint, if it differs.")
    endpoint: Endpoint = Field(Endpoint(), description="For a model served elsewhere.")
    contributor: Contributor = Contributor()
    parameters: int = Field(0, ge=0, description="Number of weights of base and adapter together.")
    chat_template: str = ""
    tags: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """The name to show."""
        return self.name or self.id

    @property
    def is_endpoint(self) -> bool:
        """Whether the model is served elsewhere over HTTP."""
        return self.source.startswith(("http://", "https://"))


class Sampling(Frozen):
    """How tokens are drawn: the one place where defaults live."""

    max_tokens: int = Field(160, ge=1, le=32_768)
    temperature: float = Field(0.7, ge=0.0, le=2.0)
    top_p: float = Field(0.95, gt=0.0, le=1.0)
    seed: int = 0
    stop: tuple[str, ...] = ()

    def seeded(self, run_seed: int, call_id: str) -> Sampling:
        """The same settings with a seed that depends only on the run's seed and the call's id."""
        digest = hashlib.sha256(f"{run_seed}/{call_id}".encode()).digest()
        return self.model_copy(update={"seed": int.from_bytes(digest[:4], "big") & 0x7FFFFFFF})


class Budget(Frozen):
    """What a run may spend at most; reaching it ends the run with its best answer so far."""

    calls: int = Field(200, ge=1, description="Model calls, scoring included.")
    tokens: int = Field(20_000, ge=1, description="Generated tokens over all models.")
    seconds: float = Field(600.0, gt=0, description="Wall-clock seconds.")


class CallSettings(Protocol):
    """What a run spec and a fit spec say about calls."""

    @property
    def seed(self) -> int:
        """What every call's own seed derives from."""

    @property
    def sampling(self) -> Sampling:
        """How calls are sampled that say nothing else."""

    @property
    def budget(self) -> Budget:
        """What may be spent."""


class RunSpec(Frozen):
    """Everything that decides what a run does; its content hash names the run."""

    protocol: str
    config: dict[str, JsonValue] = {}
    pool: tuple[str, ...] = Field(min_length=1, description="Model ids, in order.")
    question: str
    seed: int = Field(0, ge=0, le=2**31 - 1)
    sampling: Sampling = Sampling()
    budget: Budget = Budget()
    artifact: str = Field("", description="Key of a fitted artifact; empty = the newest that fits.")

    @field_validator("question")
    @classmethod
    def _asks_something(cls, value: str) -> str:
        if not value.strip():
            raise ValueError("The question is empty. Type a question and run again.")
        if len(value) > MAX_QUESTION_CHARS:
            raise ValueError(
                f"The question has {len(value):,} characters; at most {MAX_QUESTION_CHARS:,} fit. "
                "Shorten it and run again."
            )
        return value

    @field_validator("pool")
    @classmethod
    def _no_repeats(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        repeated = sorted({m for m in value if value.count(m) > 1})
        if repeated:
            raise ValueError(f"Each model can be picked once; picked twice: {', '.join(repeated)}.")
        return value

    @property
    def digest(self) -> str:
        """A hash of the content: equal specs have equal digests on every machine."""
        unnamed = {"artifact"} if not self.artifact else set()
        return content_hash(self.model_dump(mode="json", exclude=unnamed))


def content_hash(value: Any, *more: Any) -> str:
    """Return 16 hex digits that name JSON-serialisable values by their content."""
    text = json.dumps([value, *more], sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def pick(pool: Sequence[ModelSpec], ids: Sequence[str]) -> tuple[ModelSpec, ...]:
    """Return the models of ``pool`` named by ``ids``, in the order of ``ids``.

    Raises :class:`UserError` for an id that the pool does not have.
    """
    from protocols.core.errors import unknown

    by_id = {model.id: model for model in pool}
    for wanted in ids:
        if wanted not in by_id:
            raise unknown("model", wanted, by_id)
    return tuple(by_id[wanted] for wanted in ids)
