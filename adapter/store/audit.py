"""The audit: who did what, when, to which resources. Rows are only ever added, each chained to the last.

A row is added in the transaction of the act it records, so there is never one without the other. It names
references, versions and counts, nothing about a person but opaque ids.
"""

from __future__ import annotations

import getpass
import os
from collections.abc import Iterable, Iterator, Mapping
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
    select,
)

from adapter.store.chain import GENESIS, Link, sealed
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
_COLUMNS = tuple(Link.__struct_fields__)


class Entry(msgspec.Struct, frozen=True):
    """Something done: ``at`` carries a zone, ``action`` is one word (``fetch``, ``write``), ``what`` names
    resources (``Flag/x/_history/2``), ``detail`` holds counts, versions and hashes (JSON, no floats)."""

    at: datetime
    actor: str
    action: str
    what: tuple[str, ...] = ()
    detail: Mapping[str, Any] = {}


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
    query = select(_AUDIT.c.number, _AUDIT.c.hash).order_by(_AUDIT.c.number.desc()).limit(1)
    last = connection.execute(query).one_or_none()
    number, previous = (last.number, last.hash) if last else (0, GENESIS)
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


def head(engine: Engine) -> tuple[int, str]:
    """Number and hash of the last row; (0, zeros) if there is none."""
    with reading(engine) as connection:
        query = select(_AUDIT.c.number, _AUDIT.c.hash).order_by(_AUDIT.c.number.desc()).limit(1)
        last = connection.execute(query).one_or_none()
    return (last.number, last.hash) if last else (0, GENESIS)


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
