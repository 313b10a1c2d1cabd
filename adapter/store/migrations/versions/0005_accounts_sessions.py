"""Who may sign in, who is signed in, and who tried."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "account",
        sa.Column("name", sa.String, primary_key=True),
        sa.Column("shown_as", sa.String, nullable=False),
        sa.Column("secret", sa.String, nullable=False),
        sa.Column("created_at", sa.String, nullable=False),
        sa.Column("changed_at", sa.String, nullable=False),
        sa.Column("disabled_at", sa.String, nullable=False),
    )
    op.create_table(
        "account_grant",
        sa.Column("account", sa.String, primary_key=True),
        sa.Column("role", sa.String, primary_key=True),
        sa.Column("study", sa.String, primary_key=True),
        sa.Column("site", sa.String, primary_key=True),
        sa.Column("until", sa.String, nullable=False),
    )
    op.create_table(
        "session",
        sa.Column("id_sha256", sa.String(64), primary_key=True),
        sa.Column("account", sa.String, nullable=False),
        sa.Column("shown_as", sa.String, nullable=False),
        sa.Column("how", sa.String, nullable=False),
        sa.Column("grants", sa.String, nullable=False),
        sa.Column("started_at", sa.String, nullable=False),
        sa.Column("seen_at", sa.String, nullable=False),
        sa.Column("ends_at", sa.String, nullable=False),
        sa.Column("proven_for", sa.String, nullable=False),
        sa.Column("proven_at", sa.String, nullable=False),
    )
    op.create_index("ix_session_account", "session", ["account"])
    op.create_table(
        "sign_in_attempt",
        sa.Column("key_sha256", sa.String(64), primary_key=True),
        sa.Column("failures", sa.Integer, nullable=False),
        sa.Column("last_at", sa.String, nullable=False),
        sa.Column("locked_until", sa.String, nullable=False),
    )
    op.create_table(
        "sign_in_handshake",
        sa.Column("state_sha256", sa.String(64), primary_key=True),
        sa.Column("browser_sha256", sa.String(64), nullable=False),
        sa.Column("kind", sa.String, nullable=False),
        sa.Column("kept", sa.String, nullable=False),
        sa.Column("began_at", sa.String, nullable=False),
    )
