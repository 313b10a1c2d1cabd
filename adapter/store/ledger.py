"""The ledger: what we meant to write, what we last wrote where, and a receipt for each write.

An intent is stored before a request is sent and removed when its outcome is known. If the process dies or
the answer is lost in between, the next run compares what the server holds with the intent and so can tell
its own write from a person's. Receipts are only ever added. Everything is keyed by ``server`` (a base URL
or ``file``), because one ledger may serve several.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Self, TypeVar

import msgspec
from sqlalchemy import Column, Connection, Engine, Integer, RowMapping, String, Table, delete, insert, select

from adapter.store import audit
from adapter.store.audit import Entry
from adapter.store.database import open_database, reading
from adapter.store.tables import TABLES

Row = TypeVar("Row", bound=msgspec.Struct)

_INTENT = Table(
    "intent",
    TABLES,
    Column("server", String, primary_key=True),
    Column("reference", String, primary_key=True),
    Column("status", String, nullable=False),
    Column("content_sha256", String(64), nullable=False),
    Column("fingerprint", String, nullable=False),
    Column("at", String, nullable=False),
)
_WRITTEN = Table(
    "written",
    TABLES,
    Column("server", String, primary_key=True),
    Column("reference", String, primary_key=True),
    Column("version", String, nullable=False),
    Column("status", String, nullable=False),
    Column("content_sha256", String(64), nullable=False),
    Column("fingerprint", String, nullable=False),
    Column("at", String, nullable=False),
    Column("address", String, nullable=False, server_default=""),
)
_RECEIPT = Table(
    "receipt",
    TABLES,
    Column("number", Integer, primary_key=True, autoincrement=True),
    Column("server", String, nullable=False),
    Column("reference", String, nullable=False, index=True),
    Column("version", String, nullable=False),
    Column("subject", String, nullable=False, index=True),
    Column("fingerprint", String, nullable=False),
    Column("rung", String, nullable=False),
    Column("at", String, nullable=False),
    Column("outbox", Integer, nullable=False, server_default="0"),
    Column("approval", Integer, nullable=False, server_default="0"),
)

OWN = (_INTENT, _WRITTEN, _RECEIPT)


class Intent(msgspec.Struct, frozen=True):
    """A write about to be sent: reference (``Type/id``), its status, a hash of its content."""

    reference: str
    status: str
    content_sha256: str
    fingerprint: str


class Written(msgspec.Struct, frozen=True):
    """The last state of one resource that we know we wrote ourselves; ``address`` is the server's own
    reference where that is another than ours."""

    reference: str
    version: str
    status: str
    content_sha256: str
    fingerprint: str
    address: str = ""


class Receipt(msgspec.Struct, frozen=True):
    """One acknowledged write; ``rung`` names the way it went (``ResearchSubject``, ``file``), ``outbox`` the
    row that carried it and ``approval`` a person's leave for it, 0 where the site wants none."""

    reference: str
    version: str
    subject: str
    fingerprint: str
    rung: str
    at: datetime
    outbox: int = 0
    approval: int = 0


class Memory(msgspec.Struct, frozen=True):
    """What a plan needs to know: last own writes and open intents, by reference."""

    written: Mapping[str, Written] = {}
    intents: Mapping[str, Intent] = {}


class Ledger:
    """The ledger of one server, in a database already open or at a path. Every method is one transaction."""

    def __init__(self, database: Engine | Path, server: str) -> None:
        self._own = not isinstance(database, Engine)
        self._engine = database if isinstance(database, Engine) else open_database(database)
        self._server = server.rstrip("/")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._own:
            self._engine.dispose()

    def recall(self) -> Memory:
        with reading(self._engine) as at:
            return Memory(
                {row.reference: row for row in self._rows(at, _WRITTEN, Written)},
                {row.reference: row for row in self._rows(at, _INTENT, Intent)},
            )

    @property
    def server(self) -> str:
        return self._server

    @property
    def engine(self) -> Engine:
        return self._engine

    def intend(self, intents: Iterable[Intent], at: datetime, *, within: Connection | None = None) -> None:
        """Remember what is about to be sent, replacing older intents for the same resources. ``within`` is
        the transaction of a caller that writes more than this, here and below."""
        with self._transaction(within) as connection:
            for intent in intents:
                self._forget(connection, _INTENT, intent.reference)
                connection.execute(insert(_INTENT).values(**self._fields(intent), at=at.isoformat()))

    def acknowledge(
        self,
        written: Iterable[Written],
        receipts: Iterable[Receipt],
        at: datetime,
        *,
        within: Connection | None = None,
    ) -> None:
        """Note what the server holds of ours now, add receipts and their row in the audit, and close the
        intents, all at once."""
        acknowledged = tuple(receipts)
        with self._transaction(within) as connection:
            for row in written:
                self._forget(connection, _WRITTEN, row.reference)
                self._forget(connection, _INTENT, row.reference)
                connection.execute(insert(_WRITTEN).values(**self._fields(row), at=at.isoformat()))
            for receipt in acknowledged:
                values = {**self._fields(receipt), "at": receipt.at.isoformat()}
                connection.execute(insert(_RECEIPT).values(**values))
            if acknowledged:
                audit.append(connection, self._entry(acknowledged, at))

    def abandon(self, references: Iterable[str], *, within: Connection | None = None) -> None:
        """Drop intents that the server definitely refused."""
        with self._transaction(within) as connection:
            for reference in references:
                self._forget(connection, _INTENT, reference)

    def receipts(self) -> tuple[Receipt, ...]:
        """All receipts of this server, oldest first."""
        with reading(self._engine) as connection:
            query = select(_RECEIPT).where(_RECEIPT.c.server == self._server).order_by(_RECEIPT.c.number)
            rows = connection.execute(query).mappings()
            return tuple(msgspec.convert(_named(row), Receipt) for row in rows)

    @contextmanager
    def _transaction(self, within: Connection | None) -> Iterator[Connection]:
        if within is not None:
            yield within
            return
        with self._engine.begin() as connection:
            yield connection

    def _entry(self, receipts: tuple[Receipt, ...], at: datetime) -> Entry:
        told = [
            {
                "approval": r.approval,
                "fingerprint": r.fingerprint,
                "outbox": r.outbox,
                "rung": r.rung,
                "subject": r.subject,
            }
            for r in receipts
        ]
        what = tuple(f"{r.reference}/_history/{r.version}" for r in receipts)
        return Entry(at, audit.actor(), "write", what, {"server": self._server, "receipts": told})

    def _rows(self, connection: Connection, table: Table, wanted: type[Row]) -> list[Row]:
        query = select(table).where(table.c.server == self._server)
        return [msgspec.convert(_named(row), wanted) for row in connection.execute(query).mappings()]

    def _forget(self, connection: Connection, table: Table, reference: str) -> None:
        connection.execute(
            delete(table).where(table.c.server == self._server, table.c.reference == reference)
        )

    def _fields(self, row: msgspec.Struct) -> dict[str, object]:
        return {"server": self._server, **msgspec.structs.asdict(row)}


def receipts_of(engine: Engine, outbox: int) -> tuple[Receipt, ...]:
    """What a server acknowledged of one row of the outbox, oldest first."""
    query = select(_RECEIPT).where(_RECEIPT.c.outbox == outbox).order_by(_RECEIPT.c.number)
    with reading(engine) as connection:
        found = connection.execute(query).mappings()
        return tuple(msgspec.convert(_named(row), Receipt) for row in found)


def _named(row: RowMapping) -> dict[str, object]:
    """Column names as plain strings; SQLAlchemy's own are a subclass that msgspec does not take."""
    return {str(name): value for name, value in row.items()}
