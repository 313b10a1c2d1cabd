"""What subscriptions told us."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "subscription_channel",
        sa.Column("name", sa.String, primary_key=True),
        sa.Column("highest", sa.BigInteger, nullable=False),
        sa.Column("heard_at", sa.String, nullable=False),
        sa.Column("swept_at", sa.String, nullable=False),
    )
    op.create_table(
        "subscription_gap",
        sa.Column("channel", sa.String, primary_key=True),
        sa.Column("first", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("last", sa.BigInteger, nullable=False),
        sa.Column("noted_at", sa.String, nullable=False),
    )
    op.create_table(
        "subscription_work",
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("channel", sa.String, nullable=False),
        sa.Column("reference", sa.String, nullable=False),
        sa.Column("received_at", sa.String, nullable=False),
        sa.Column("taken_at", sa.String, nullable=False),
    )
    op.create_index("ix_subscription_work_channel", "subscription_work", ["channel"])
