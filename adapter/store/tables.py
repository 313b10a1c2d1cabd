"""The one description of our tables. Each module of the store keeps its own tables on it.

A table here and the migrations have to say the same; ``tests/spec/test_migrations.py`` compares them on both
databases. Types are those that SQLite and PostgreSQL share: text, integers, bytes.
"""

from __future__ import annotations

from sqlalchemy import MetaData

TABLES = MetaData(
    naming_convention={
        "ix": "ix_%(column_0_label)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
    }
)
