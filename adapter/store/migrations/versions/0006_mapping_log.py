"""What was proposed for a site's mappings, and every version of its files."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "mapping_proposal",
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("site", sa.String, nullable=False),
        sa.Column("file", sa.String, nullable=False),
        sa.Column("cells", sa.Text, nullable=False),
        sa.Column("state", sa.String, nullable=False),
        sa.Column("proposed_by", sa.String, nullable=False),
        sa.Column("proposed_at", sa.String, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("decided_by", sa.String, nullable=False),
        sa.Column("decided_at", sa.String, nullable=False),
        sa.Column("decided_why", sa.Text, nullable=False),
    )
    op.create_index("ix_mapping_proposal_site", "mapping_proposal", ["site"])
    op.create_table(
        "mapping_version",
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("site", sa.String, nullable=False),
        sa.Column("file", sa.String, nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("content", sa.Text, nullable=False),
        sa.Column("at", sa.String, nullable=False),
        sa.Column("who", sa.String, nullable=False),
        sa.Column("why", sa.Text, nullable=False),
    )
    op.create_index("ix_mapping_version_site", "mapping_version", ["site"])
