"""Alembic's entry: runs the changes on the connection that the store hands over."""

from __future__ import annotations

from alembic import context

from evals.human.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transactional_ddl=False,  # the store's own transaction holds all changes together
)
context.run_migrations()
