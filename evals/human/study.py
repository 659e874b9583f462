"""What a blinded A/B study is: a frozen, hashed description written before the first vote.

A study compares, pair by pair, the answer of a *contributor's* model with the answer of the
participatory *system*. Which of the two is on the left is decided on the server and never leaves it
before the study is locked. Following Feng et al. (2026), "Getting Back to Participants": one study
may hold several contributors, each with questions of their own; each is a stratum.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, JsonValue, field_validator, model_validator

from protocols.core.models import Frozen, content_hash

Arm = Literal["contributor", "system"]
Side = Literal["left", "right"]
Outcome = Literal["left", "right", "tie_good", "tie_bad", "skip"]
Language = Literal["en", "zh", "es", "fr", "ar"]
SLUG = r"^[a-z0-9][a-z0-9-]{1,47}$"


class ContributorArm(Frozen):
    """One contributor's model and the questions it is compared on: a stratum of the study."""

    model: str = Field(description="Id of the contributor's model in the pool.")
    questions: str = Field(
        description="task:NAME/SPLIT, hub:DATASET/SPLIT, a .jsonl or .csv file, or import:NAME."
    )
    limit: int = Field(25, ge=1, le=5000, description="Number of pairs to make.")


class SystemArm(Frozen):
    """The participatory system: a protocol over models of the pool."""

    protocol: str
    models: tuple[str, ...] = Field((), description="Model ids; empty = the whole pool.")
    config: dict[str, JsonValue] = {}


class Stopping(Frozen):
    """When collecting ends: a fixed number of votes, or an anytime-valid rule with a cap."""

    rule: Literal["fixed", "anytime"] = "fixed"
    cap: int = Field(100, ge=1, le=100_000, description="Main votes after which collecting ends.")


class StudySpec(Frozen):
    """The plan of a study. Its hash is stamped on every vote; it cannot change after the first."""

    slug: str = Field(pattern=SLUG, description="Short name in links: small letters, digits, '-'.")
    title: str = Field(min_length=1, max_length=120, description="Title that raters see.")
    pool: str = Field("embedded", description="Pool preset or file.")
    contributors: tuple[ContributorArm, ...] = Field(min_length=1, max_length=64)
    system: SystemArm
    rubric: str = Field(
        "Which answer would you rather have received?",
        min_length=1,
        max_length=600,
        description="The question that raters answer about each pair.",
    )
    dimensions: tuple[str, ...] = Field((), max_length=6, description="Extra criteria, optional.")
    max_tokens: int = Field(96, ge=1, le=32_768, description="Length limit, the same for each arm.")
    pairs_per_rater: int = Field(25, ge=1, le=500, description="Main pairs per rater.")
    overlap: int = Field(1, ge=1, le=100, description="Raters per pair.")
    repeat_share: float = Field(0.1, ge=0, le=0.5, description="Share shown twice, sides swapped.")
    gold_share: float = Field(0.0, ge=0, le=0.5, description="Share of pairs with a known winner.")
    tie_policy: Literal["drop", "half"] = Field("drop", description="How ties enter the headline.")
    identical: Literal["drop", "tie"] = Field("drop", description="What equal answers become.")
    alpha: float = Field(0.05, gt=0, lt=0.5)
    stopping: Stopping = Stopping()
    masks: tuple[str, ...] = Field((), description="More names to hide, beside the arms' own.")
    plain: bool = Field(True, description="Show both answers as plain text, thinking removed.")
    languages: tuple[Language, ...] = Field(("en",), min_length=1)
    consent: str = Field("", max_length=8000, description="Consent text; empty = the standard one.")
    consent_version: str = Field("1", max_length=20)
    open_link: bool = Field(False, description="Let anyone with the study's link rate.")
    completion_code: str = Field("", max_length=64, description="Code shown at the end, if any.")
    certificate: bool = Field(True, description="Show raters their own result once it is locked.")
    lease_minutes: int = Field(1440, ge=1, le=100_000, description="Idle time that frees pairs.")
    judges: tuple[str, ...] = Field((), description="Automatic judges of the same pairs.")
    seed: int = Field(0, ge=0, le=2**31 - 1)
    revision: int = Field(1, ge=1, description="Raised by a change after the first vote.")

    @field_validator("contributors")
    @classmethod
    def _one_stratum_each(cls, value: tuple[ContributorArm, ...]) -> tuple[ContributorArm, ...]:
        models = [arm.model for arm in value]
        repeated = sorted({m for m in models if models.count(m) > 1})
        if repeated:
            raise ValueError(f"Each contributor can appear once; twice: {', '.join(repeated)}.")
        return value

    @model_validator(mode="after")
    def _shares_leave_room(self) -> StudySpec:
        if self.repeat_share + self.gold_share > 0.5:
            raise ValueError("Repeats and gold pairs together may be at most half of the pairs.")
        return self

    @property
    def digest(self) -> str:
        """The hash that names this plan: equal plans have equal digests everywhere."""
        return content_hash(self.model_dump(mode="json"))


def spec_from(data: dict[str, Any], titles: Mapping[str, str] | None = None) -> StudySpec:
    """Build a spec from outside data. Raises :class:`UserError` with the first thing to mend.

    ``titles`` are what a form calls the fields.
    """
    from pydantic import ValidationError

    from protocols.core.errors import UserError

    try:
        return StudySpec.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "study"
        if place == "slug":
            raise UserError(
                "The study needs a short name of 2 to 48 small letters, digits or '-', beginning "
                "with a letter or digit."
            ) from None
        known = [titles[str(part)] for part in first["loc"] if titles and str(part) in titles]
        named = f"'{known[-1]}' ({place})" if known else place
        why = first["msg"].removeprefix("Value error, ").rstrip(".")
        raise UserError(f"The study cannot be used: {named}: {why}.") from None
