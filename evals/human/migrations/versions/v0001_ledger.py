"""The first tables, and the triggers that let votes only be added."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

APPEND_ONLY = ("vote", "guess", "judge_vote", "event")


def upgrade() -> None:
    """Make every table, then the guards of those that only grow."""
    for make in (
        _study,
        _dropped,
        _event,
        _judge_vote,
        _pair,
        _rater,
        _assignment,
        _guess,
        _vote,
        _vote_text,
    ):
        make()
    guard = _guard_postgresql if op.get_bind().dialect.name == "postgresql" else _guard_sqlite
    for table in APPEND_ONLY:
        guard(table)


def _guard_sqlite(table: str) -> None:
    for verb in ("UPDATE", "DELETE"):
        op.execute(
            f"CREATE TRIGGER {table}_no_{verb.lower()} BEFORE {verb} ON {table} "
            f"BEGIN SELECT RAISE(ABORT, 'rows of {table} are never changed'); END"
        )


def _guard_postgresql(table: str) -> None:
    op.execute(
        f"CREATE FUNCTION {table}_only_grows() RETURNS trigger LANGUAGE plpgsql AS "
        f"$$ BEGIN RAISE EXCEPTION 'rows of {table} are never changed'; END $$"
    )
    op.execute(
        f"CREATE TRIGGER {table}_only_grows BEFORE UPDATE OR DELETE OR TRUNCATE ON {table} "
        f"FOR EACH STATEMENT EXECUTE FUNCTION {table}_only_grows()"
    )


def _study() -> None:
    op.create_table(
        "study",
        sa.Column("slug", sa.Text(), nullable=False),
        sa.Column("spec", sa.Text(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("simulated", sa.Boolean(), nullable=False),
        sa.Column("reviewed", sa.Boolean(), nullable=False),
        sa.Column("secret", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.Text(), nullable=False),
        sa.Column("frozen_at", sa.Text(), nullable=False),
        sa.Column("stopped_at", sa.Text(), nullable=False),
        sa.Column("locked_at", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("slug", name=op.f("pk_study")),
    )


def _dropped() -> None:
    op.create_table(
        "dropped",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("study", sa.Text(), nullable=False),
        sa.Column("item", sa.Text(), nullable=False),
        sa.Column("stratum", sa.Text(), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column("arm", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["study"], ["study.slug"], name=op.f("fk_dropped_study")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_dropped")),
        sa.UniqueConstraint("study", "item", name=op.f("uq_dropped_study_item")),
    )


def _event() -> None:
    op.create_table(
        "event",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("study", sa.Text(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("rater", sa.Text(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("at", sa.Text(), nullable=False),
        sa.Column("prev_hash", sa.Text(), nullable=False),
        sa.Column("hash", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["study"], ["study.slug"], name=op.f("fk_event_study")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_event")),
        sa.UniqueConstraint("study", "number", name=op.f("uq_event_study_number")),
    )


def _judge_vote() -> None:
    op.create_table(
        "judge_vote",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("study", sa.Text(), nullable=False),
        sa.Column("item", sa.Text(), nullable=False),
        sa.Column("judge", sa.Text(), nullable=False),
        sa.Column("system_first", sa.Boolean(), nullable=False),
        sa.Column("repeat", sa.Integer(), nullable=False),
        sa.Column("parsed", sa.Text(), nullable=False),
        sa.Column("raw", sa.Text(), nullable=False),
        sa.Column("score_contributor", sa.Float(), nullable=True),
        sa.Column("score_system", sa.Float(), nullable=True),
        sa.Column("prompt_hash", sa.Text(), nullable=False),
        sa.Column("model_hash", sa.Text(), nullable=False),
        sa.Column("circular", sa.Boolean(), nullable=False),
        sa.Column("same_family", sa.Boolean(), nullable=False),
        sa.Column("at", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["study"], ["study.slug"], name=op.f("fk_judge_vote_study")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_judge_vote")),
        sa.UniqueConstraint(
            "study",
            "item",
            "judge",
            "system_first",
            "repeat",
            name=op.f("uq_judge_vote_study_item_judge_system_first_repeat"),
        ),
    )


def _pair() -> None:
    op.create_table(
        "pair",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("study", sa.Text(), nullable=False),
        sa.Column("item", sa.Text(), nullable=False),
        sa.Column("stratum", sa.Text(), nullable=False),
        sa.Column("prompt", sa.Text(), nullable=False),
        sa.Column("contributor", sa.Text(), nullable=False),
        sa.Column("system", sa.Text(), nullable=False),
        sa.Column("raw_contributor", sa.Text(), nullable=False),
        sa.Column("raw_system", sa.Text(), nullable=False),
        sa.Column("hits_contributor", sa.Integer(), nullable=False),
        sa.Column("hits_system", sa.Integer(), nullable=False),
        sa.Column("cut_contributor", sa.Boolean(), nullable=False),
        sa.Column("cut_system", sa.Boolean(), nullable=False),
        sa.Column("gold", sa.Text(), nullable=True),
        sa.Column("language", sa.Text(), nullable=False),
        sa.Column("run_contributor", sa.Text(), nullable=False),
        sa.Column("run_system", sa.Text(), nullable=False),
        sa.Column("excluded", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(["study"], ["study.slug"], name=op.f("fk_pair_study")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_pair")),
        sa.UniqueConstraint("study", "item", name=op.f("uq_pair_study_item")),
    )


def _rater() -> None:
    op.create_table(
        "rater",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("study", sa.Text(), nullable=False),
        sa.Column("token_hash", sa.Text(), nullable=True),
        sa.Column("stratum", sa.Text(), nullable=False),
        sa.Column("language", sa.Text(), nullable=False),
        sa.Column("open_link", sa.Boolean(), nullable=False),
        sa.Column("invited_at", sa.Text(), nullable=False),
        sa.Column("consent_version", sa.Text(), nullable=False),
        sa.Column("consent_at", sa.Text(), nullable=False),
        sa.Column("began_at", sa.Text(), nullable=False),
        sa.Column("practised", sa.Integer(), nullable=False),
        sa.Column("reopened", sa.Integer(), nullable=True),
        sa.Column("active_at", sa.Float(), nullable=False),
        sa.Column("finished_at", sa.Text(), nullable=False),
        sa.Column("withdrawn_at", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["study"], ["study.slug"], name=op.f("fk_rater_study")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_rater")),
        sa.UniqueConstraint("token_hash", name=op.f("uq_rater_token_hash")),
    )
    op.create_index(op.f("ix_rater_study"), "rater", ["study"], unique=False)


def _assignment() -> None:
    op.create_table(
        "assignment",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("study", sa.Text(), nullable=False),
        sa.Column("rater", sa.Text(), nullable=False),
        sa.Column("pair", sa.Integer(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("system_side", sa.Text(), nullable=False),
        sa.Column("ref", sa.Text(), nullable=False),
        sa.Column("main", sa.Integer(), nullable=True),
        sa.Column("voted", sa.Boolean(), nullable=False),
        sa.Column("skipped", sa.Boolean(), nullable=False),
        sa.Column("freed_at", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["main"], ["assignment.id"], name=op.f("fk_assignment_main")),
        sa.ForeignKeyConstraint(["pair"], ["pair.id"], name=op.f("fk_assignment_pair")),
        sa.ForeignKeyConstraint(["rater"], ["rater.id"], name=op.f("fk_assignment_rater")),
        sa.ForeignKeyConstraint(["study"], ["study.slug"], name=op.f("fk_assignment_study")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_assignment")),
        sa.UniqueConstraint("ref", name=op.f("uq_assignment_ref")),
    )
    op.create_index(op.f("ix_assignment_pair"), "assignment", ["pair"], unique=False)
    op.create_index(
        op.f("ix_assignment_rater_position"), "assignment", ["rater", "position"], unique=False
    )
    op.create_index(op.f("ix_assignment_study"), "assignment", ["study"], unique=False)


def _guess() -> None:
    op.create_table(
        "guess",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("study", sa.Text(), nullable=False),
        sa.Column("rater", sa.Text(), nullable=False),
        sa.Column("assignment", sa.Integer(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.Column("at", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["assignment"], ["assignment.id"], name=op.f("fk_guess_assignment")
        ),
        sa.ForeignKeyConstraint(["rater"], ["rater.id"], name=op.f("fk_guess_rater")),
        sa.ForeignKeyConstraint(["study"], ["study.slug"], name=op.f("fk_guess_study")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_guess")),
        sa.UniqueConstraint("assignment", name=op.f("uq_guess_assignment")),
    )
    op.create_index(op.f("ix_guess_study"), "guess", ["study"], unique=False)


def _vote() -> None:
    op.create_table(
        "vote",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("study", sa.Text(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("rater", sa.Text(), nullable=False),
        sa.Column("assignment", sa.Integer(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("dimensions", sa.Text(), nullable=False),
        sa.Column("reason_hash", sa.Text(), nullable=False),
        sa.Column("strength", sa.Integer(), nullable=True),
        sa.Column("visible_ms", sa.Integer(), nullable=False),
        sa.Column("wall_ms", sa.Integer(), nullable=False),
        sa.Column("scrolled_left", sa.Boolean(), nullable=False),
        sa.Column("scrolled_right", sa.Boolean(), nullable=False),
        sa.Column("input", sa.Text(), nullable=False),
        sa.Column("layout", sa.Text(), nullable=False),
        sa.Column("nonce", sa.Text(), nullable=False),
        sa.Column("gate", sa.Text(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("seal", sa.Text(), nullable=False),
        sa.Column("at", sa.Text(), nullable=False),
        sa.Column("prev_hash", sa.Text(), nullable=False),
        sa.Column("hash", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["assignment"], ["assignment.id"], name=op.f("fk_vote_assignment")),
        sa.ForeignKeyConstraint(["rater"], ["rater.id"], name=op.f("fk_vote_rater")),
        sa.ForeignKeyConstraint(["study"], ["study.slug"], name=op.f("fk_vote_study")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_vote")),
        sa.UniqueConstraint("assignment", "revision", name=op.f("uq_vote_assignment_revision")),
        sa.UniqueConstraint("rater", "nonce", name=op.f("uq_vote_rater_nonce")),
        sa.UniqueConstraint("study", "number", name=op.f("uq_vote_study_number")),
    )


def _vote_text() -> None:
    op.create_table(
        "vote_text",
        sa.Column("vote", sa.Integer(), nullable=False),
        sa.Column("salt", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["vote"], ["vote.id"], name=op.f("fk_vote_text_vote")),
        sa.PrimaryKeyConstraint("vote", name=op.f("pk_vote_text")),
    )
