"""SQLite as we use it: write-ahead log, every commit on disk before it is acknowledged.

Tables are plain SQLAlchemy and hold no SQLite types, so the same definitions serve PostgreSQL. There are no
migrations yet: a table is created if it is missing and never altered; the first change of a table brings
Alembic with it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, MetaData, create_engine, event


def open_database(path: Path, tables: MetaData) -> Engine:
    """An engine on ``path``; the file, its folder and missing tables are created."""
    path.parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(f"sqlite:///{path}", connect_args={"timeout": 30})
    event.listen(engine, "connect", _configure)
    event.listen(engine, "begin", _begin)
    tables.create_all(engine)
    return engine


def _configure(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # the driver's own implicit BEGIN is deferred; see _begin
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin(connection: Connection) -> None:
    # A deferred transaction that reads first cannot always become a writer (SQLITE_BUSY_SNAPSHOT).
    connection.exec_driver_sql("BEGIN IMMEDIATE")
