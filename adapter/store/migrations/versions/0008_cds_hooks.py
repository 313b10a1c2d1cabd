"""CDS Hooks: tokens seen, cards given, feedback."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "hook_token",
        sa.Column("iss", sa.String, primary_key=True),
        sa.Column("jti", sa.String, primary_key=True),
        sa.Column("until", sa.String, nullable=False),
    )
    op.create_table(
        "hook_card",
        sa.Column("uuid", sa.String, primary_key=True),
        sa.Column("service", sa.String, nullable=False),
        sa.Column("caller", sa.String, nullable=False),
        sa.Column("subject", sa.String, nullable=False),
        sa.Column("about", sa.String, nullable=False),
        sa.Column("given_at", sa.String, nullable=False),
    )
    op.create_table(
        "hook_feedback",
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("card", sa.String, nullable=False),
        sa.Column("outcome", sa.String, nullable=False),
        sa.Column("at", sa.String, nullable=False),
        sa.Column("reason", sa.String, nullable=False),
        sa.Column("comment", sa.String, nullable=False),
        sa.Column("received_at", sa.String, nullable=False),
    )
    op.create_index("ix_hook_feedback_card", "hook_feedback", ["card"])
