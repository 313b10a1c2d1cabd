"""The outbox: what is to be written about whom, on which rung, how far it came, and who allowed it.

A row is changed together with the ledger's intents and receipts and with the audit, in one transaction, so
that no two of them ever tell different stories. Moves are those of :mod:`adapter.store.outbox_state`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext
from datetime import datetime
from typing import Literal

import msgspec
from sqlalchemy import (
    Column,
    Connection,
    Engine,
    Integer,
    LargeBinary,
    Select,
    String,
    Table,
    func,
    insert,
    select,
    update,
)

from adapter.errors import ConfigError, NotFound
from adapter.store import audit
from adapter.store.audit import Entry
from adapter.store.database import only_writer, reading
from adapter.store.outbox_state import FINAL, Mover, State, may
from adapter.store.tables import TABLES

Leave = Literal["approved", "rejected"]

_OUTBOX = Table(
    "outbox",
    TABLES,
    Column("number", Integer, primary_key=True, autoincrement=True),
    Column("server", String, nullable=False),
    Column("study", String, nullable=False),
    Column("purpose", String, nullable=False),
    Column("subject", String, nullable=False, index=True),
    Column("rung", String, nullable=False),
    Column("state", String, nullable=False, index=True),
    Column("content_sha256", String(64), nullable=False),
    Column("fingerprint", String, nullable=False),
    Column("verdict", String, nullable=False),
    Column("proposed", String, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("reason", String, nullable=False),
    Column("approval", Integer, nullable=False),
    Column("planned_at", String, nullable=False),
    Column("changed_at", String, nullable=False),
)
_APPROVAL = Table(
    "approval",
    TABLES,
    Column("number", Integer, primary_key=True, autoincrement=True),
    Column("outbox", Integer, nullable=False, index=True),
    Column("content_sha256", String(64), nullable=False),
    Column("verdict", String, nullable=False),
    Column("who", String, nullable=False),
    Column("reason", String, nullable=False),
    Column("at", String, nullable=False),
)


class Draft(msgspec.Struct, frozen=True):
    """What would be written about one person on one rung; ``body`` is the JSON of the resources,
    ``content_sha256`` a hash of what they say."""

    study: str
    purpose: str
    subject: str
    rung: str
    content_sha256: str
    fingerprint: str
    verdict: str
    proposed: str
    body: bytes


class OutboxRow(msgspec.Struct, frozen=True):
    """``approval`` is the number of a person's leave for this content, 0 if there is none."""

    number: int
    server: str
    study: str
    purpose: str
    subject: str
    rung: str
    state: State
    content_sha256: str
    fingerprint: str
    verdict: str
    proposed: str
    reason: str
    approval: int
    planned_at: str
    changed_at: str
    body: bytes = b""


class Approval(msgspec.Struct, frozen=True):
    number: int
    outbox: int
    content_sha256: str
    verdict: Leave
    who: str
    reason: str
    at: str


class Outbox:
    """The outbox of one server; ``server`` "" is for reading and deciding over all of them."""

    def __init__(self, engine: Engine, server: str = "") -> None:
        self._engine = engine
        self._server = server.rstrip("/")

    def rows(
        self, states: Sequence[str] = (), subject: str = "", purpose: str = "", rung: str = ""
    ) -> tuple[OutboxRow, ...]:
        """Oldest first."""
        query = select(_OUTBOX).order_by(_OUTBOX.c.number)
        wanted = {"server": self._server, "subject": subject, "purpose": purpose, "rung": rung}
        for name, value in wanted.items():
            if value:
                query = query.where(_OUTBOX.c[name] == value)
        if states:
            query = query.where(_OUTBOX.c.state.in_(states))
        with reading(self._engine) as connection:
            return _rows(connection, query)

    def counts(self) -> dict[str, int]:
        """How many rows there are in each state that has any."""
        query = select(_OUTBOX.c.state, func.count()).group_by(_OUTBOX.c.state)
        with reading(self._engine) as connection:
            return {str(state): int(times) for state, times in connection.execute(query)}

    def verdicts(self, states: Sequence[str], study: str) -> tuple[tuple[str, str], ...]:
        """(subject, verdict) of every row in these states, each pair once; without the resources."""
        query = select(_OUTBOX.c.subject, _OUTBOX.c.verdict).distinct()
        query = query.where(_OUTBOX.c.state.in_(states), _OUTBOX.c.study == study)
        with reading(self._engine) as connection:
            return tuple(sorted((row.subject, row.verdict) for row in connection.execute(query)))

    def row(self, number: int) -> OutboxRow:
        """Raises :class:`NotFound`."""
        with reading(self._engine) as connection:
            return _row(connection, number)

    def approvals(self, number: int) -> tuple[Approval, ...]:
        """What people said to a row, oldest first."""
        query = select(_APPROVAL).where(_APPROVAL.c.outbox == number).order_by(_APPROVAL.c.number)
        with reading(self._engine) as connection:
            found = connection.execute(query).mappings()
            return tuple(msgspec.convert({str(k): v for k, v in row.items()}, Approval) for row in found)

    def plan(self, drafts: Iterable[Draft], now: datetime, *, approval: bool = False) -> dict[str, OutboxRow]:
        """A row for every draft, by subject: the open one with this very content, or a new one; open rows
        with other content are superseded. With ``approval`` a row that was sent without leave does not
        count: a person has to see it first."""
        found: dict[str, OutboxRow] = {}
        with self._engine.begin() as connection:
            lock(connection)
            moved: list[OutboxRow] = []
            for draft in drafts:
                open_rows = self._open(connection, draft.study, draft.purpose, draft.subject, draft.rung)
                same = [row for row in open_rows if row.content_sha256 == draft.content_sha256]
                same = [
                    row
                    for row in same
                    if not approval or row.approval or may("person", row.state, "approved")
                ]
                for row in open_rows:
                    if row not in same[-1:]:
                        moved += self._aside(connection, row, now)
                found[draft.subject] = same[-1] if same else self._insert(connection, draft, now)
                if not same:
                    moved.append(found[draft.subject])
            self._audit(connection, "plan", moved, now)
        return found

    def settle(
        self,
        subject: str,
        study: str,
        purpose: str,
        rung: str,
        now: datetime,
        *,
        done: bool,
        within: Connection | None = None,
    ) -> None:
        """Close what is open about someone of whom nothing is left to write: ``done`` if a lost answer was
        found on the server, else superseded. ``within`` is the transaction of a caller that writes more."""
        with self._engine.begin() if within is None else nullcontext(within) as connection:
            lock(connection)
            moved: list[OutboxRow] = []
            for row in self._open(connection, study, purpose, subject, rung):
                if done and row.state in ("sending", "unknown"):
                    moved.append(move(connection, row, "done", now, "found on the server"))
                else:
                    moved += self._aside(connection, row, now)
            self._audit(connection, "settle", moved, now)

    def decide(
        self,
        number: int,
        verdict: Leave,
        who: str,
        reason: str,
        now: datetime,
        signature: Mapping[str, object] | None = None,
    ) -> OutboxRow:
        """A person's word on a row; ``signature`` is kept in the audit's row. Raises :class:`NotFound`, or
        :class:`ConfigError` in a state where nobody is asked."""
        with self._engine.begin() as connection:
            lock(connection)
            row = _row(connection, number)
            if not may("person", row.state, verdict):
                raise ConfigError(
                    f"a row that is {row.state} cannot be {verdict}",
                    where=f"outbox {number}",
                    fix="see docs/write-back.md for who decides when",
                )
            values = {"outbox": number, "content_sha256": row.content_sha256, "verdict": verdict}
            words = {"who": who, "reason": reason, "at": now.isoformat()}
            made = connection.execute(insert(_APPROVAL).values(**values, **words))
            key = made.inserted_primary_key[0] if made.inserted_primary_key else 0
            moved = move(connection, row, verdict, now, reason, mover="person", approval=key)
            detail = {
                "approval": key,
                "content_sha256": row.content_sha256,
                "outbox": number,
                "rung": row.rung,
                **(signature or {}),
            }
            audit.append(connection, Entry(now, who, verdict, (f"outbox/{number}",), detail))
        return moved

    def _open(
        self, connection: Connection, study: str, purpose: str, subject: str, rung: str
    ) -> tuple[OutboxRow, ...]:
        wanted = {
            "server": self._server,
            "study": study,
            "purpose": purpose,
            "subject": subject,
            "rung": rung,
        }
        query = select(_OUTBOX).where(*(_OUTBOX.c[name] == value for name, value in wanted.items()))
        return _rows(connection, query.where(_OUTBOX.c.state.not_in(FINAL)).order_by(_OUTBOX.c.number))

    def _aside(self, connection: Connection, row: OutboxRow, now: datetime) -> list[OutboxRow]:
        if row.state == "sending":  # left behind by a process that died
            row = move(connection, row, "unknown", now)
        return [move(connection, row, "superseded", now)]

    def _insert(self, connection: Connection, draft: Draft, now: datetime) -> OutboxRow:
        values = {
            **msgspec.structs.asdict(draft),
            "server": self._server,
            "state": "planned",
            "reason": "",
            "approval": 0,
            "planned_at": now.isoformat(),
            "changed_at": now.isoformat(),
        }
        made = connection.execute(insert(_OUTBOX).values(**values))
        return _row(connection, made.inserted_primary_key[0] if made.inserted_primary_key else 0)

    def _audit(self, connection: Connection, action: str, rows: Sequence[OutboxRow], now: datetime) -> None:
        if rows:
            audit.append(connection, Entry(now, audit.actor(), action, named(rows), told(self._server, rows)))


def move(
    connection: Connection,
    row: OutboxRow,
    target: State,
    now: datetime,
    reason: str | None = None,
    *,
    mover: Mover = "system",
    approval: int | None = None,
) -> OutboxRow:
    """Part of the caller's transaction. Raises ValueError for a move that the table does not have."""
    if not may(mover, row.state, target):
        raise ValueError(f"outbox {row.number}: no move from {row.state} to {target} by {mover}")
    changed = msgspec.structs.replace(
        row,
        state=target,
        changed_at=now.isoformat(),
        reason=row.reason if reason is None else reason,
        approval=row.approval if approval is None else approval,
    )
    values = {
        "state": changed.state,
        "changed_at": changed.changed_at,
        "reason": changed.reason,
        "approval": changed.approval,
    }
    connection.execute(update(_OUTBOX).where(_OUTBOX.c.number == row.number).values(**values))
    return changed


def lock(connection: Connection) -> None:
    """Nobody else moves rows until this transaction ends. Taken after a lease's lock and before the
    audit's, so that no two transactions wait for each other."""
    only_writer(connection, "outbox")


def current(connection: Connection, number: int) -> OutboxRow:
    """The row, which stays as it is until this transaction moves it. Raises :class:`NotFound`."""
    lock(connection)
    return _row(connection, number)


def named(rows: Iterable[OutboxRow]) -> tuple[str, ...]:
    return tuple(f"outbox/{row.number}" for row in rows)


def told(server: str, rows: Iterable[OutboxRow]) -> Mapping[str, object]:
    """The detail of an audit row: states, rungs and hashes, in the order of :func:`named`."""
    facts = [
        {
            "approval": row.approval,
            "content_sha256": row.content_sha256,
            "fingerprint": row.fingerprint,
            "rung": row.rung,
            "state": row.state,
        }
        for row in rows
    ]
    return {"server": server, "rows": facts}


def _row(connection: Connection, number: int) -> OutboxRow:
    found = _rows(connection, select(_OUTBOX).where(_OUTBOX.c.number == number))
    if not found:
        raise NotFound(f"no row {number} in the outbox", where="outbox", fix="see adapter outbox list")
    return found[0]


def _rows(connection: Connection, query: Select[tuple[object, ...]]) -> tuple[OutboxRow, ...]:
    found = connection.execute(query).mappings()
    return tuple(msgspec.convert({str(k): v for k, v in row.items()}, OutboxRow) for row in found)
