"""The audit: who did what, when, to which resources. Rows are only ever added, each chained to the last.

A row is added in the transaction of the act it records, so there is never one without the other. It names
references, versions and counts, nothing about a person but opaque ids.
"""

from __future__ import annotations

import getpass
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import (
    Column,
    Connection,
    Engine,
    Integer,
    String,
    Table,
    UniqueConstraint,
    insert,
    inspect,
    select,
    text,
)
from sqlalchemy.exc import DBAPIError

from adapter.store.chain import GENESIS, Checkpoint, Flaw, Link, Verdict, examine, sealed
from adapter.store.database import only_writer, reading
from adapter.store.tables import TABLES

_AUDIT = Table(
    "audit",
    TABLES,
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("at", String, nullable=False),
    Column("actor", String, nullable=False),
    Column("action", String, nullable=False),
    Column("what", String, nullable=False),
    Column("detail", String, nullable=False),
    Column("previous", String(64), nullable=False),
    Column("hash", String(64), nullable=False),
    UniqueConstraint("previous", name="uq_audit_previous"),  # a chain that forks cannot even be stored
)
# Triggers that refuse to change or remove rows, or to add one out of order; migration 0001 makes them.
GUARDS = {
    "sqlite": ("audit_delete", "audit_insert", "audit_update"),
    "postgresql": ("audit_changed", "audit_emptied", "audit_inserted"),
}
_SQLITE_GUARDS = "SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name = 'audit'"
_POSTGRESQL_GUARDS = (
    "SELECT tgname FROM pg_trigger WHERE tgrelid = 'audit'::regclass AND tgenabled IN ('O', 'A')"
)
_COLUMNS = tuple(Link.__struct_fields__)


class Entry(msgspec.Struct, frozen=True):
    """Something done: ``at`` carries a zone, ``action`` is one word (``fetch``, ``write``), ``what`` names
    resources (``Flag/x/_history/2``), ``detail`` holds counts, versions and hashes (JSON, no floats)."""

    at: datetime
    actor: str
    action: str
    what: tuple[str, ...] = ()
    detail: Mapping[str, Any] = {}


class Sought(msgspec.Struct, frozen=True):
    """Which rows: of an ``actor``, an ``action``, that name ``what`` (exactly), from ``since`` and before
    ``until`` (instants with zone), with numbers below ``before``. ``actors`` and ``actions`` limit what may
    be found at all: a row has to be by one of the former or about one of the latter; None for both: any
    row."""

    actor: str = ""
    action: str = ""
    what: str = ""
    since: datetime | None = None
    until: datetime | None = None
    before: int = 0
    actors: frozenset[str] | None = None
    actions: frozenset[str] | None = None

    def has(self, link: Link) -> bool:
        limited = self.actors is not None or self.actions is not None
        open_to = link.actor in (self.actors or ()) or link.action in (self.actions or ())
        wanted = self.actor in ("", link.actor) and self.action in ("", link.action)
        if not wanted or (limited and not open_to):
            return False
        if self.what and self.what not in msgspec.json.decode(link.what):
            return False
        at = datetime.fromisoformat(link.at) if self.since or self.until else None
        return at is None or not ((self.since and at < self.since) or (self.until and at >= self.until))


def lock(connection: Connection) -> None:
    """Nobody else appends until this transaction ends; for who looks before it appends."""
    only_writer(connection, "audit")


def noted(connection: Connection, action: str, what: str, digest: str) -> bool:
    """Whether a row says that ``action`` was done to ``what`` with rows of this hash."""
    query = select(_AUDIT.c.detail).where(_AUDIT.c.action == action, _AUDIT.c.what == _list((what,)))
    details = connection.execute(query).scalars()
    return any(msgspec.json.decode(one).get("rows_sha256") == digest for one in details)


def append(connection: Connection, entry: Entry) -> Link:
    """Add a row in the caller's transaction; returns it as stored.

    From here to the end of the transaction nobody else can append, so append last.
    """
    lock(connection)
    number, previous = head(connection)
    link = sealed(
        Link(
            number=number + 1,
            at=entry.at.isoformat(),
            actor=_text(entry.actor),
            action=_text(entry.action),
            what=_list(entry.what),
            detail=msgspec.json.encode(entry.detail, order="deterministic").decode(),
            previous=previous,
            hash="",
        )
    )
    connection.execute(insert(_AUDIT).values(**msgspec.structs.asdict(link)))
    return link


def links(connection: Connection, after: int = 0) -> Iterator[Link]:
    """The rows after a number, in order, cell by cell as they are stored."""
    query = select(*(_AUDIT.c[name] for name in _COLUMNS)).where(_AUDIT.c.number > after)
    ordered = query.order_by(_AUDIT.c.number).execution_options(yield_per=1000)
    for row in connection.execute(ordered):
        yield Link(*row)


def newest(connection: Connection, sought: Sought, limit: int) -> list[Link]:
    """The rows sought, newest first. Rows that were tampered with so that they cannot be read are left out:
    :func:`verify` names them."""
    query = select(*(_AUDIT.c[name] for name in _COLUMNS)).order_by(_AUDIT.c.number.desc())
    if sought.before:
        query = query.where(_AUDIT.c.number < sought.before)
    if sought.actor:
        query = query.where(_AUDIT.c.actor == sought.actor)
    if sought.action:
        query = query.where(_AUDIT.c.action == sought.action)
    found: list[Link] = []
    for row in connection.execute(query.execution_options(yield_per=1000)):
        with suppress(ValueError, TypeError, msgspec.DecodeError):
            if sought.has(Link(*row)):
                found.append(Link(*row))
        if len(found) == limit:
            break
    return found


def head(connection: Connection) -> tuple[int, str]:
    """Number and hash of the last row; (0, zeros) if there is none."""
    query = select(_AUDIT.c.number, _AUDIT.c.hash).order_by(_AUDIT.c.number.desc()).limit(1)
    last = connection.execute(query).one_or_none()
    return (last.number, last.hash) if last else (0, GENESIS)


def verify(engine: Engine, checkpoints: Iterable[Checkpoint]) -> Verdict:
    """Follow the whole chain as one consistent view shows it, and see that its guards stand."""
    with reading(engine) as connection:
        known = tuple(checkpoints)
        if not inspect(connection).has_table(_AUDIT.name):
            gone = Flaw(1, "cut", "the table of the audit is gone")
            return Verdict(0, 0, GENESIS, len(known), max((one.number for one in known), default=0), (gone,))
        open_gates = [
            Flaw(1, "unguarded", f"the trigger {name} is gone or switched off")
            for name in _unguarded(connection)
        ]
        unreadable: list[Flaw] = []
        verdict = examine(_while_readable(links(connection), unreadable), known)
    flaws = sorted((*verdict.flaws, *unreadable, *open_gates), key=lambda flaw: flaw.number)
    return msgspec.structs.replace(verdict, flaws=tuple(flaws))


def _while_readable(rows: Iterator[Link], flaws: list[Flaw]) -> Iterator[Link]:
    """Some cells cannot even be fetched (text that is no UTF-8); what comes after them is not seen."""
    number = 0
    try:
        for row in rows:
            number = row.number
            yield row
    except DBAPIError:
        flaws.append(
            Flaw(number + 1, "unreadable", "the database cannot give out this row or one soon after")
        )


def _unguarded(connection: Connection) -> list[str]:
    sqlite = connection.dialect.name == "sqlite"
    names = connection.execute(text(_SQLITE_GUARDS if sqlite else _POSTGRESQL_GUARDS)).scalars()
    return sorted(set(GUARDS["sqlite" if sqlite else "postgresql"]) - set(names))


def actor() -> str:
    """Who is at work: ``ADAPTER_ACTOR``, else the user of the operating system."""
    named = os.environ.get("ADAPTER_ACTOR", "").strip()
    if named:
        return named
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        return f"uid {os.getuid()}"


def _list(references: Iterable[str]) -> str:
    return msgspec.json.encode(list(references)).decode()


def _text(words: str) -> str:
    """What both databases can keep: no NUL, no half characters."""
    return words.encode("utf-8", "replace").decode().replace("\0", "?")
