"""Outbox with approvals, one writer per subject, and receipts that name both."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "outbox",
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("server", sa.String, nullable=False),
        sa.Column("study", sa.String, nullable=False),
        sa.Column("purpose", sa.String, nullable=False),
        sa.Column("subject", sa.String, nullable=False),
        sa.Column("rung", sa.String, nullable=False),
        sa.Column("state", sa.String, nullable=False),
        sa.Column("content_sha256", sa.String(64), nullable=False),
        sa.Column("fingerprint", sa.String, nullable=False),
        sa.Column("verdict", sa.String, nullable=False),
        sa.Column("proposed", sa.String, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sa.Column("reason", sa.String, nullable=False),
        sa.Column("approval", sa.Integer, nullable=False),
        sa.Column("planned_at", sa.String, nullable=False),
        sa.Column("changed_at", sa.String, nullable=False),
    )
    op.create_index("ix_outbox_subject", "outbox", ["subject"])
    op.create_index("ix_outbox_state", "outbox", ["state"])
    op.create_table(
        "approval",
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("outbox", sa.Integer, nullable=False),
        sa.Column("content_sha256", sa.String(64), nullable=False),
        sa.Column("verdict", sa.String, nullable=False),
        sa.Column("who", sa.String, nullable=False),
        sa.Column("reason", sa.String, nullable=False),
        sa.Column("at", sa.String, nullable=False),
    )
    op.create_index("ix_approval_outbox", "approval", ["outbox"])
    op.create_table(
        "lease",
        sa.Column("server", sa.String, primary_key=True),
        sa.Column("study", sa.String, primary_key=True),
        sa.Column("subject", sa.String, primary_key=True),
        sa.Column("holder", sa.String, nullable=False),
        sa.Column("token", sa.Integer, nullable=False),
        sa.Column("until", sa.String, nullable=False),
    )
    op.add_column("written", sa.Column("address", sa.String, nullable=False, server_default=""))
    op.add_column("receipt", sa.Column("outbox", sa.Integer, nullable=False, server_default="0"))
    op.add_column("receipt", sa.Column("approval", sa.Integer, nullable=False, server_default="0"))
