"""Notes, decisions and views of the worklist."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "worklist_note",
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("study", sa.String, nullable=False),
        sa.Column("subject", sa.String, nullable=False),
        sa.Column("stand", sa.String, nullable=False),
        sa.Column("words", sa.String, nullable=False),
        sa.Column("corrects", sa.Integer, nullable=False),
        sa.Column("who", sa.String, nullable=False),
        sa.Column("at", sa.String, nullable=False),
    )
    op.create_index("ix_worklist_note_subject", "worklist_note", ["subject"])
    op.create_table(
        "worklist_view",
        sa.Column("account", sa.String, primary_key=True),
        sa.Column("study", sa.String, primary_key=True),
        sa.Column("name", sa.String, primary_key=True),
        sa.Column("query", sa.String, nullable=False),
    )
    op.create_table(
        "worklist_secret",
        sa.Column("name", sa.String, primary_key=True),
        sa.Column("value", sa.String, nullable=False),
    )
