"""Takes over what early versions kept in files of their own: the ledger and the FHIR resources.

All rows go into the workspace's one database in one transaction, which the audit notes; then the old file is
renamed, never deleted. A process that dies in between leaves the note, so nothing is taken twice.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy import URL, Connection, Engine, create_engine, insert, inspect, select
from sqlalchemy.exc import DBAPIError, IntegrityError

from adapter.errors import ConfigError
from adapter.store import audit, ledger, resources
from adapter.store.audit import Entry
from adapter.store.database import BUSY_SECONDS
from adapter.store.tables import TABLES

ACTION = "adopt"
_EARLY = tuple(table.name for table in (*ledger.OWN, *resources.OWN))
_ADOPTED = ".adopted"


def adopt(engine: Engine, files: Iterable[Path], now: datetime) -> None:
    """Move the rows of each file that exists. Raises :class:`ConfigError` if the database has other rows
    under the same keys: then two ledgers speak of one server, and a person has to choose."""
    for path in files:
        if path.exists():
            rows = _rows(path)
            with engine.begin() as connection:
                _take(connection, path, rows, now)
            path.rename(path.with_name(path.name + _ADOPTED))


def _rows(path: Path) -> dict[str, list[dict[str, Any]]]:
    early = create_engine(URL.create("sqlite", database=str(path)), connect_args={"timeout": BUSY_SECONDS})
    try:
        with early.connect() as connection:
            present = inspect(connection)
            return {
                name: _all(connection, name, {str(one["name"]) for one in present.get_columns(name)})
                for name in _EARLY
                if present.has_table(name)
            }
    except DBAPIError as fault:
        raise ConfigError(
            f"this file of an early version cannot be read ({fault.orig})",
            where=str(path),
            fix="restore it from a copy, or move it away if nothing in it matters",
        ) from None
    finally:
        early.dispose()


def _all(connection: Connection, name: str, held: set[str]) -> list[dict[str, Any]]:
    """Every row of a table, in the columns it had then; later ones take their defaults."""
    columns = [column for column in TABLES.tables[name].c if column.name in held]
    names = [column.name for column in columns]
    return [dict(zip(names, row, strict=True)) for row in connection.execute(select(*columns))]


def _take(connection: Connection, path: Path, rows: dict[str, list[dict[str, Any]]], now: datetime) -> None:
    counts = {name: len(some) for name, some in rows.items()}
    digest = hashlib.sha256(msgspec.json.encode(rows)).hexdigest()
    audit.lock(connection)
    if audit.noted(connection, ACTION, path.name, digest):
        return
    try:
        for name, some in rows.items():
            table = TABLES.tables[name]
            numbered = name == "receipt"  # numbers are the database's own; the order stays
            ordered = sorted(some, key=lambda row: row["number"]) if numbered else some
            values = [{k: v for k, v in row.items() if not (numbered and k == "number")} for row in ordered]
            if values:
                connection.execute(insert(table), values)
    except IntegrityError:
        raise ConfigError(
            "this file and the database both hold what was written to one server",
            where=str(path),
            fix="keep the one that is right; move the other away",
        ) from None
    audit.append(
        connection,
        Entry(now, audit.actor(), ACTION, (path.name,), {"rows_sha256": digest, "rows": counts}),
    )
