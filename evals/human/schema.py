"""The tables of the study store, the same on SQLite and PostgreSQL.

``vote``, ``guess``, ``judge_vote`` and ``event`` only grow: triggers of the database refuse to
change or remove a row (see ``migrations``). A vote stores a *position*; which arm stood there is in
``assignment`` alone. Free text of raters lives in ``vote_text``, the one table whose rows may be
removed: the vote keeps a salted hash of the text, so the hash chain still verifies afterwards.
Times are ISO-8601 text in UTC ('' = not yet); order is by number, never by clock.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
)
from sqlalchemy.types import TypeEngine

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)
APPEND_ONLY = ("vote", "guess", "judge_vote", "event")


def _text(name: str, default: str | None = None) -> Column[str]:
    return Column(name, Text, nullable=False, default=default)


def _flag(name: str) -> Column[bool]:
    return Column(name, Boolean, nullable=False, default=False)


def _number(name: str, default: int | None = None) -> Column[int]:
    return Column(name, Integer, nullable=False, default=default)


def _of(table: str, key: str) -> Column[Any]:
    kind: TypeEngine[Any] = Integer() if key == "id" and table != "rater" else Text()
    return Column(table, kind, ForeignKey(f"{table}.{key}"), nullable=False)


study = Table(
    "study",
    metadata,
    Column("slug", Text, primary_key=True),
    _text("spec"),
    _text("digest"),
    _text("state"),
    _flag("simulated"),
    _flag("reviewed"),
    Column("secret", LargeBinary, nullable=False),
    _text("created_at"),
    _text("frozen_at", ""),
    _text("stopped_at", ""),
    _text("locked_at", ""),
)
pair = Table(
    "pair",
    metadata,
    Column("id", Integer, primary_key=True),
    _of("study", "slug"),
    _text("item"),
    _text("stratum"),
    _text("prompt"),
    _text("contributor"),
    _text("system"),
    _text("raw_contributor", ""),
    _text("raw_system", ""),
    _number("hits_contributor", 0),
    _number("hits_system", 0),
    _flag("cut_contributor"),
    _flag("cut_system"),
    Column("gold", Text),
    _text("language", ""),
    _text("run_contributor", ""),
    _text("run_system", ""),
    _text("category", ""),
    _flag("excluded"),
    UniqueConstraint("study", "item"),
)
dropped = Table(
    "dropped",
    metadata,
    Column("id", Integer, primary_key=True),
    _of("study", "slug"),
    _text("item"),
    _text("stratum"),
    _text("why"),
    Column("arm", Text),
    UniqueConstraint("study", "item"),
)
rater = Table(
    "rater",
    metadata,
    Column("id", Text, primary_key=True),
    _of("study", "slug"),
    Column("token_hash", Text, unique=True),
    _text("stratum", ""),
    _text("language"),
    _flag("open_link"),
    _text("invited_at"),
    _text("consent_version", ""),
    _text("consent_at", ""),
    _text("began_at", ""),
    _number("practised", 0),
    Column("reopened", Integer),
    Column("active_at", Float, nullable=False, default=0.0),
    _text("finished_at", ""),
    _text("withdrawn_at", ""),
    Index(None, "study"),
)
assignment = Table(
    "assignment",
    metadata,
    Column("id", Integer, primary_key=True),
    _of("study", "slug"),
    _of("rater", "id"),
    _of("pair", "id"),
    _text("kind"),
    _number("position"),
    _text("system_side"),
    Column("ref", Text, nullable=False, unique=True),
    Column("main", Integer, ForeignKey("assignment.id")),
    _flag("voted"),
    _flag("skipped"),
    _text("freed_at", ""),
    Index(None, "rater", "position"),
    Index(None, "pair"),
    Index(None, "study"),
)
vote = Table(
    "vote",
    metadata,
    Column("id", Integer, primary_key=True),
    _of("study", "slug"),
    _number("number"),
    _of("rater", "id"),
    _of("assignment", "id"),
    _number("revision"),
    _text("outcome"),
    _text("dimensions"),
    _text("reason_hash"),
    Column("strength", Integer),
    _number("visible_ms"),
    _number("wall_ms"),
    _flag("scrolled_left"),
    _flag("scrolled_right"),
    _text("input"),
    _text("layout"),
    _text("nonce"),
    _text("gate"),
    _text("digest"),
    _text("seal"),
    _text("at"),
    _text("prev_hash"),
    _text("hash"),
    UniqueConstraint("study", "number"),
    UniqueConstraint("assignment", "revision"),
    UniqueConstraint("rater", "nonce"),
)
vote_text = Table(
    "vote_text",
    metadata,
    Column("vote", Integer, ForeignKey("vote.id"), primary_key=True),
    _text("salt"),
    _text("reason"),
)
guess = Table(
    "guess",
    metadata,
    Column("id", Integer, primary_key=True),
    _of("study", "slug"),
    _of("rater", "id"),
    Column("assignment", Integer, ForeignKey("assignment.id"), nullable=False, unique=True),
    _text("value"),
    _text("at"),
    Index(None, "study"),
)
judge_vote = Table(
    "judge_vote",
    metadata,
    Column("id", Integer, primary_key=True),
    _of("study", "slug"),
    _text("item"),
    _text("judge"),
    _flag("system_first"),
    _number("repeat"),
    _text("parsed"),
    _text("raw"),
    Column("score_contributor", Float),
    Column("score_system", Float),
    _text("prompt_hash"),
    _text("model_hash"),
    _flag("circular"),
    _flag("same_family"),
    _text("at"),
    UniqueConstraint("study", "item", "judge", "system_first", "repeat"),
)
event = Table(
    "event",
    metadata,
    Column("id", Integer, primary_key=True),
    _of("study", "slug"),
    _number("number"),
    _text("kind"),
    _text("rater", ""),
    _text("body"),
    _text("at"),
    _text("prev_hash"),
    _text("hash"),
    UniqueConstraint("study", "number"),
)
