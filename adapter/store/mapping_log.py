"""Proposed mappings of a site, who decided on them, and every version of the files that came of it.

Proposals and versions are only added or decided once; a version keeps the whole file, which is small, so that
any of them can be put back.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal

import msgspec
from sqlalchemy import Column, Connection, Engine, Integer, Row, String, Table, Text, insert, select, update

from adapter.errors import ConfigError, NotFound
from adapter.store import audit
from adapter.store.audit import Entry
from adapter.store.database import only_writer, reading
from adapter.store.tables import TABLES

State = Literal["proposed", "approved", "rejected"]

_PROPOSAL = Table(
    "mapping_proposal",
    TABLES,
    Column("number", Integer, primary_key=True, autoincrement=True),
    Column("site", String, nullable=False, index=True),
    Column("file", String, nullable=False),
    Column("cells", Text, nullable=False),
    Column("state", String, nullable=False),
    Column("proposed_by", String, nullable=False),
    Column("proposed_at", String, nullable=False),
    Column("reason", Text, nullable=False),
    Column("decided_by", String, nullable=False),
    Column("decided_at", String, nullable=False),
    Column("decided_why", Text, nullable=False),
)
_VERSION = Table(
    "mapping_version",
    TABLES,
    Column("number", Integer, primary_key=True, autoincrement=True),
    Column("site", String, nullable=False, index=True),
    Column("file", String, nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("content", Text, nullable=False),
    Column("at", String, nullable=False),
    Column("who", String, nullable=False),
    Column("why", Text, nullable=False),
)


class Proposal(msgspec.Struct, frozen=True):
    """One row to be added to a file of ``mappings/sites/<site>``; ``cells`` by column.

    Times are ISO 8601 in UTC; what belongs to a decision is "" while there is none.
    """

    number: int
    site: str
    file: str
    cells: dict[str, str]
    state: State
    proposed_by: str
    proposed_at: str
    reason: str
    decided_by: str = ""
    decided_at: str = ""
    decided_why: str = ""


class Version(msgspec.Struct, frozen=True):
    """A file as it was left by ``who`` at ``at``, and why."""

    number: int
    site: str
    file: str
    sha256: str
    at: str
    who: str
    why: str
    content: str = ""


class MappingLog:
    """The proposals and versions of one database."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def propose(
        self, site: str, file: str, cells: Mapping[str, str], *, by: str, reason: str, now: datetime
    ) -> Proposal:
        with self._engine.begin() as connection:
            values = {
                "site": site,
                "file": file,
                "cells": msgspec.json.encode(dict(cells)).decode(),
                "state": "proposed",
                "proposed_by": by,
                "proposed_at": now.isoformat(),
                "reason": reason,
                **dict.fromkeys(("decided_by", "decided_at", "decided_why"), ""),
            }
            [number] = connection.execute(insert(_PROPOSAL).values(**values)).inserted_primary_key or [0]
            audit.append(
                connection, Entry(now, by, "propose mapping", (f"{site}/{file}",), {"number": number})
            )
        return self.proposal(number)

    def proposal(self, number: int) -> Proposal:
        """Raises :class:`NotFound`."""
        with reading(self._engine) as connection:
            return _proposal(connection, number)

    def proposals(self, site: str, state: str = "") -> tuple[Proposal, ...]:
        """The newest first."""
        query = select(_PROPOSAL).where(_PROPOSAL.c.site == site).order_by(_PROPOSAL.c.number.desc())
        if state:
            query = query.where(_PROPOSAL.c.state == state)
        with reading(self._engine) as connection:
            return tuple(_proposal_of(row) for row in connection.execute(query))

    def versions(self, site: str) -> tuple[Version, ...]:
        """The newest first, without their content."""
        query = select(_VERSION).where(_VERSION.c.site == site).order_by(_VERSION.c.number.desc())
        with reading(self._engine) as connection:
            return tuple(_version_of(row, content=False) for row in connection.execute(query))

    def version(self, number: int) -> Version:
        """With its content; raises :class:`NotFound`."""
        with reading(self._engine) as connection:
            row = connection.execute(select(_VERSION).where(_VERSION.c.number == number)).one_or_none()
        if row is None:
            raise NotFound(f"no version {number}", where="mapping versions", fix="adapter mapping history")
        return _version_of(row, content=True)


def alone(connection: Connection, site: str) -> None:
    """Nobody else decides on this site's mappings until the transaction ends."""
    only_writer(connection, f"mappings of {site}")


def decide(
    connection: Connection,
    number: int,
    state: Literal["approved", "rejected"],
    *,
    by: str,
    why: str,
    now: datetime,
    signed: Mapping[str, Any] | None = None,
) -> Proposal:
    """``signed`` is what the audit's row says beside: a signature. Raises :class:`ConfigError` if it was
    decided before, or if who approves is who proposed it."""
    known = _proposal(connection, number)
    if known.state != "proposed":
        raise ConfigError(
            f"proposal {number} was {known.state} by {known.decided_by}",
            where="mapping",
            fix="propose it again if it is still wanted",
        )
    if state == "approved" and by.casefold() == known.proposed_by.casefold():
        raise ConfigError(
            f"{by} proposed it", where=f"mapping proposal {number}", fix="a second person has to approve"
        )
    values = {"state": state, "decided_by": by, "decided_at": now.isoformat(), "decided_why": why}
    connection.execute(update(_PROPOSAL).where(_PROPOSAL.c.number == number).values(**values))
    told = {"number": number, "why": why, **(signed or {})}
    audit.append(connection, Entry(now, by, f"{state} mapping", (f"{known.site}/{known.file}",), told))
    return msgspec.structs.replace(known, **values)


def add_version(
    connection: Connection,
    version: Version,
    now: datetime,
    *,
    on_record: bool = True,
    signed: Mapping[str, Any] | None = None,
) -> None:
    """Keep a file as it is now; ``on_record`` adds a row of the audit, with what was ``signed``."""
    values = msgspec.structs.asdict(version)
    del values["number"]
    connection.execute(insert(_VERSION).values(**values))
    if on_record:
        detail = {"sha256": version.sha256, "why": version.why, **(signed or {})}
        audit.append(
            connection, Entry(now, version.who, "mapping", (f"{version.site}/{version.file}",), detail)
        )


def last_version(connection: Connection, site: str, file: str) -> Version | None:
    query = (
        select(_VERSION)
        .where(_VERSION.c.site == site, _VERSION.c.file == file)
        .order_by(_VERSION.c.number.desc())
        .limit(1)
    )
    row = connection.execute(query).one_or_none()
    return _version_of(row, content=True) if row is not None else None


def _proposal(connection: Connection, number: int) -> Proposal:
    row = connection.execute(select(_PROPOSAL).where(_PROPOSAL.c.number == number)).one_or_none()
    if row is None:
        raise NotFound(f"no proposal {number}", where="mapping", fix="adapter mapping proposals lists them")
    return _proposal_of(row)


def _proposal_of(row: Row[tuple[object, ...]]) -> Proposal:
    values = dict(row._mapping)
    values["cells"] = msgspec.json.decode(str(values["cells"]), type=dict[str, str])
    return Proposal(**values)


def _version_of(row: Row[tuple[object, ...]], *, content: bool) -> Version:
    values = dict(row._mapping)
    if not content:
        values["content"] = ""
    return Version(**values)
