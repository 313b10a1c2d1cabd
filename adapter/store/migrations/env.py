"""Alembic's entry: runs migrations on the connection, and in the transaction, that the caller made."""

from __future__ import annotations

from alembic import context

from adapter.store.tables import TABLES

context.configure(connection=context.config.attributes["connection"], target_metadata=TABLES)
with context.begin_transaction():
    context.run_migrations()
