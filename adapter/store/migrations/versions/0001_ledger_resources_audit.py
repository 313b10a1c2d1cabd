"""Ledger, own FHIR resources, audit.

Early versions made the first six tables without Alembic. Such a database has no ``alembic_version``; its
tables are the ones below and stay as they are, with their rows.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

GENESIS = "0" * 64
_UNFIT = (
    "NEW.number <> (SELECT coalesce(max(number), 0) + 1 FROM audit)"  # noqa: S608 - no input in it
    " OR NEW.previous <> coalesce((SELECT hash FROM audit ORDER BY number DESC LIMIT 1),"
    f" '{GENESIS}')"
)


def upgrade() -> None:
    present = set(sa.inspect(op.get_bind()).get_table_names())
    for name, columns, indexed in EARLY:
        if name not in present:
            op.create_table(name, *columns)
            for column in indexed:
                op.create_index(f"ix_{name}_{column}", name, [column])
    op.create_table(
        "audit",
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("at", sa.String, nullable=False),
        sa.Column("actor", sa.String, nullable=False),
        sa.Column("action", sa.String, nullable=False),
        sa.Column("what", sa.String, nullable=False),
        sa.Column("detail", sa.String, nullable=False),
        sa.Column("previous", sa.String(64), nullable=False),
        sa.Column("hash", sa.String(64), nullable=False),
        sa.UniqueConstraint("previous", name="uq_audit_previous"),
    )
    for statement in GUARDS[op.get_bind().dialect.name]:
        op.execute(statement)


def text(name: str, length: int | None = None) -> sa.Column[str]:
    return sa.Column(name, sa.String(length), nullable=False)


def key(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.String, primary_key=True)


EARLY: tuple[tuple[str, tuple[sa.Column[Any], ...], tuple[str, ...]], ...] = (
    (
        "intent",
        (
            key("server"),
            key("reference"),
            text("status"),
            text("content_sha256", 64),
            text("fingerprint"),
            text("at"),
        ),
        (),
    ),
    (
        "written",
        (
            key("server"),
            key("reference"),
            text("version"),
            text("status"),
            text("content_sha256", 64),
            text("fingerprint"),
            text("at"),
        ),
        (),
    ),
    (
        "receipt",
        (
            sa.Column("number", sa.Integer, primary_key=True, autoincrement=True),
            text("server"),
            text("reference"),
            text("version"),
            text("subject"),
            text("fingerprint"),
            text("rung"),
            text("at"),
        ),
        ("reference", "subject"),
    ),
    (
        "resource_version",
        (
            key("type"),
            key("id"),
            sa.Column("version", sa.Integer, primary_key=True, autoincrement=False),
            sa.Column("body", sa.LargeBinary, nullable=False),
        ),
        (),
    ),
    ("resource_current", (key("type"), key("id"), sa.Column("version", sa.Integer, nullable=False)), ()),
    ("resource_key", (key("type"), key("id"), key("name"), key("value")), ("value",)),
)

# Rows are added at the end and in order, and nothing else happens to them. SQLite's REPLACE deletes without
# asking a DELETE trigger, so the insertion is asked as well.
GUARDS = {
    "sqlite": (
        "CREATE TRIGGER audit_update BEFORE UPDATE ON audit"
        " BEGIN SELECT RAISE(ABORT, 'audit rows are only ever added'); END",
        "CREATE TRIGGER audit_delete BEFORE DELETE ON audit"
        " BEGIN SELECT RAISE(ABORT, 'audit rows are only ever added'); END",
        "CREATE TRIGGER audit_insert BEFORE INSERT ON audit"
        f" WHEN {_UNFIT}"
        " BEGIN SELECT RAISE(ABORT, 'audit rows are only ever added'); END",
    ),
    "postgresql": (
        "CREATE FUNCTION audit_kept() RETURNS trigger LANGUAGE plpgsql AS $$"
        " BEGIN RAISE EXCEPTION 'audit rows are only ever added'; END $$",
        "CREATE TRIGGER audit_changed BEFORE UPDATE OR DELETE ON audit"
        " FOR EACH ROW EXECUTE FUNCTION audit_kept()",
        "CREATE TRIGGER audit_emptied BEFORE TRUNCATE ON audit"
        " FOR EACH STATEMENT EXECUTE FUNCTION audit_kept()",
        "CREATE FUNCTION audit_next() RETURNS trigger LANGUAGE plpgsql AS $$"
        f" BEGIN IF {_UNFIT}"
        " THEN RAISE EXCEPTION 'audit rows are only ever added'; END IF;"
        " RETURN NEW;"
        " END $$",
        "CREATE TRIGGER audit_inserted BEFORE INSERT ON audit FOR EACH ROW EXECUTE FUNCTION audit_next()",
    ),
}
