"""By which tokens a sponsor pulls, and what each is known to have."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "sponsor_token",
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("name", sa.String, nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("study", sa.String, nullable=False),
        sa.Column("site", sa.String, nullable=False),
        sa.Column("profile", sa.String, nullable=False),
        sa.Column("granted_at", sa.String, nullable=False),
        sa.Column("granted_by", sa.String, nullable=False),
        sa.Column("expires_at", sa.String, nullable=False),
        sa.Column("revoked_at", sa.String, nullable=False),
    )
    op.create_table(
        "sponsor_receipt",
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("token", sa.String, nullable=False),
        sa.Column("snapshot", sa.String, nullable=False),
        sa.Column("manifest_sha256", sa.String(64), nullable=False),
        sa.Column("at", sa.String, nullable=False),
    )
    op.create_index("ix_sponsor_receipt_token", "sponsor_receipt", ["token"])
