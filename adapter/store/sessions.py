"""Who is signed in: a browser knows its session by a random number, of which only the hash is kept here.

Whoever reads the database cannot take a session over. A session ends when it is not used for a while, at the
latest some hours after sign-in, at sign-out, and when its account changes.
"""

from __future__ import annotations

import hashlib
import secrets
from datetime import UTC, datetime, timedelta

import msgspec
from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    Engine,
    String,
    Table,
    delete,
    insert,
    or_,
    select,
    update,
)

from adapter.access import Grant
from adapter.store import audit
from adapter.store.audit import Entry
from adapter.store.database import reading
from adapter.store.tables import TABLES

_SESSION = Table(
    "session",
    TABLES,
    Column("id_sha256", String(64), primary_key=True),
    Column("account", String, nullable=False, index=True),
    Column("shown_as", String, nullable=False),
    Column("how", String, nullable=False),
    Column("grants", String, nullable=False),  # JSON; "" where the account's own count
    Column("started_at", String, nullable=False),
    Column("seen_at", String, nullable=False),
    Column("ends_at", String, nullable=False),
    Column(
        "proven_for", String, nullable=False
    ),  # the SHA-256 of a record that its holder signed in again for
    Column("proven_at", String, nullable=False),
)
_SEEN_EVERY = timedelta(seconds=60)  # a row is not written at each request


class Session(msgspec.Struct, frozen=True):
    """``grants`` is None where the account's own count at every request; times are UTC."""

    id_sha256: str
    account: str
    shown_as: str
    how: str
    grants: tuple[Grant, ...] | None
    started_at: datetime
    seen_at: datetime
    ends_at: datetime
    proven_for: str = ""
    proven_at: str = ""


class Sessions:
    """The sessions of one database. ``idle`` and ``longest`` say how long one lasts unused, and at all."""

    def __init__(self, engine: Engine, *, idle: timedelta, longest: timedelta) -> None:
        self._engine = engine
        self.idle, self.longest = idle, longest

    def start(
        self, account: str, shown_as: str, how: str, now: datetime, grants: tuple[Grant, ...] | None = None
    ) -> str:
        """A new session with the audit's row; returns its number, which is never one the browser had."""
        number = secrets.token_urlsafe(32)
        with self._engine.begin() as connection:
            connection.execute(delete(_SESSION).where(_over(now, self.idle)))
            connection.execute(
                insert(_SESSION).values(
                    id_sha256=_hash(number),
                    account=account,
                    shown_as=shown_as,
                    how=how,
                    grants="" if grants is None else msgspec.json.encode(grants).decode(),
                    started_at=_text(now),
                    seen_at=_text(now),
                    ends_at=_text(now + self.longest),
                    proven_for="",
                    proven_at="",
                )
            )
            audit.append(connection, Entry(now, account, "sign-in", (), {"how": how, "name": shown_as}))
        return number

    def of(self, number: str, now: datetime) -> Session | None:
        """The session of a number, if it is still on; being asked for keeps it on."""
        mine = _SESSION.c.id_sha256 == _hash(number)
        with reading(self._engine) as connection:
            found = _read(connection, number)
        if found is None or now >= found.ends_at or now - found.seen_at >= self.idle:
            return None
        if now - found.seen_at >= _SEEN_EVERY:
            with self._engine.begin() as connection:
                connection.execute(update(_SESSION).where(mine).values(seen_at=_text(now)))
        return found

    def prove(self, number: str, record_sha256: str, now: datetime) -> str:
        """Its holder signed in again, for this record: the session goes on under a new number."""
        fresh = secrets.token_urlsafe(32)
        values = {
            "id_sha256": _hash(fresh),
            "proven_for": record_sha256,
            "proven_at": _text(now),
            "seen_at": _text(now),
        }
        with self._engine.begin() as connection:
            connection.execute(update(_SESSION).where(_SESSION.c.id_sha256 == _hash(number)).values(**values))
        return fresh

    def use_proof(self, number: str, record_sha256: str, now: datetime, within: timedelta) -> bool:
        """Whether its holder signed in again for this very record a moment ago; counts once."""
        with self._engine.begin() as connection:
            found = _read(connection, number)
            if found is None or not found.proven_for or found.proven_for != record_sha256:
                return False
            values = {"proven_for": "", "proven_at": ""}
            connection.execute(update(_SESSION).where(_SESSION.c.id_sha256 == _hash(number)).values(**values))
            return timedelta(0) <= now - _moment(found.proven_at) < within

    def end(self, number: str, now: datetime) -> None:
        """Sign-out; nothing happens for a number that is none."""
        with self._engine.begin() as connection:
            found = _read(connection, number)
            if found is not None:
                connection.execute(delete(_SESSION).where(_SESSION.c.id_sha256 == found.id_sha256))
                audit.append(connection, Entry(now, found.account, "sign-out"))


def end_all(connection: Connection, account: str) -> int:
    """End every session of an account, in the caller's transaction; returns how many."""
    return connection.execute(delete(_SESSION).where(_SESSION.c.account == account)).rowcount


def _read(connection: Connection, number: str) -> Session | None:
    row = connection.execute(select(_SESSION).where(_SESSION.c.id_sha256 == _hash(number))).one_or_none()
    if row is None:
        return None
    grants = msgspec.json.decode(row.grants, type=tuple[Grant, ...]) if row.grants else None
    return Session(
        row.id_sha256,
        row.account,
        row.shown_as,
        row.how,
        grants,
        _moment(row.started_at),
        _moment(row.seen_at),
        _moment(row.ends_at),
        row.proven_for,
        row.proven_at,
    )


def _over(now: datetime, idle: timedelta) -> ColumnElement[bool]:
    return or_(_SESSION.c.ends_at <= _text(now), _SESSION.c.seen_at <= _text(now - idle))


def _hash(number: str) -> str:
    return hashlib.sha256(number.encode()).hexdigest()


def _text(moment: datetime) -> str:
    """Texts that sort as the moments do."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds")


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)
