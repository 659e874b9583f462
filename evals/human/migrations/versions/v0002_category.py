"""What a question is about, for the report's slices."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column; the pairs that are there have no category."""
    op.add_column("pair", sa.Column("category", sa.Text(), nullable=False, server_default=""))
