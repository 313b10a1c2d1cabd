"""Tokens by which a sponsor's programs pull snapshots: whose, for which study, site and profile, until when.

A token is shown once, when it is granted, and kept as the SHA-256 of a secret of 256 random bits: nothing is
left to guess, so a slow password hash would only slow the server. Its public half (``id``) finds the row, and
secrets are compared in constant time. What a token was seen to have in full is a receipt; receipts are only
ever added.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from datetime import UTC, datetime
from typing import Any, Literal, NamedTuple

import msgspec
from sqlalchemy import Column, Connection, Engine, Integer, Row, String, Table, insert, select, update

from adapter.errors import ConfigError, NotFound
from adapter.store import audit
from adapter.store.audit import Entry
from adapter.store.database import only_writer, reading
from adapter.store.tables import TABLES

PREFIX = "sponsor"  # by which programs that look for leaked secrets know one
State = Literal["valid", "expired", "revoked"]
Refusal = Literal["", "unknown", "expired", "revoked"]

_TOKEN = Table(
    "sponsor_token",
    TABLES,
    Column("id", String, primary_key=True),
    Column("name", String, nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("study", String, nullable=False),
    Column("site", String, nullable=False),
    Column("profile", String, nullable=False),
    Column("granted_at", String, nullable=False),
    Column("granted_by", String, nullable=False),
    Column("expires_at", String, nullable=False),
    Column("revoked_at", String, nullable=False),  # "" while it is not
)
_RECEIPT = Table(
    "sponsor_receipt",
    TABLES,
    Column("number", Integer, primary_key=True, autoincrement=True),
    Column("token", String, nullable=False, index=True),
    Column("snapshot", String, nullable=False),
    Column("manifest_sha256", String(64), nullable=False),
    Column("at", String, nullable=False),
)
_TEXT = re.compile(rf"{PREFIX}_([0-9a-f]{{16}})_([A-Za-z0-9_-]{{43}})")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")


class Scope(msgspec.Struct, frozen=True):
    """What a token opens: snapshots of one study at one site in one profile, as their manifests say them."""

    study: str
    site: str
    profile: str


class Token(msgspec.Struct, frozen=True):
    """A token as it is kept, without its secret; times are UTC, ``revoked_at`` None while it is not."""

    id: str
    name: str
    scope: Scope
    granted_at: datetime
    granted_by: str
    expires_at: datetime
    revoked_at: datetime | None = None

    def state(self, now: datetime) -> State:
        if self.revoked_at is not None:
            return "revoked"
        return "valid" if now < self.expires_at else "expired"


class Shown(NamedTuple):
    """Whose token somebody showed, and why it does not count ("" if it does).

    ``key`` is the id that was shown, if there is such a token; its secret may still be wrong.
    """

    token: Token | None
    refusal: Refusal
    key: str = ""


class Receipt(msgspec.Struct, frozen=True):
    """A token's holder has all of a snapshot, as its manifest names it."""

    snapshot: str
    manifest_sha256: str
    at: datetime


class SponsorTokens:
    """The tokens of one database."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def grant(
        self, name: str, scope: Scope, expires_at: datetime, *, now: datetime, by: str
    ) -> tuple[Token, str]:
        """A new token and its text, which nobody can show again; both it and the audit's row, or neither.

        Raises :class:`ConfigError` for a name that a valid token has, or that says nothing, and for an end
        that is not ahead.
        """
        made = Token(secrets.token_hex(8), name, scope, now, by, expires_at)
        secret = secrets.token_urlsafe(32)
        with self._engine.begin() as connection:
            self._check(connection, made, now)
            values = {
                "id": made.id,
                "name": name,
                "sha256": _digest(secret),
                **msgspec.structs.asdict(scope),
                "granted_at": _time(now),
                "granted_by": by,
                "expires_at": _time(expires_at),
                "revoked_at": "",
            }
            connection.execute(insert(_TOKEN).values(**values))
            told = {"token": made.id, "expires_at": _time(expires_at), **msgspec.structs.asdict(scope)}
            audit.append(connection, Entry(now, by, "grant", (name,), told))
        return made, f"{PREFIX}_{made.id}_{secret}"

    def would_grant(self, name: str, scope: Scope, expires_at: datetime, *, now: datetime, by: str) -> None:
        """Raises what :meth:`grant` would; changes nothing."""
        with reading(self._engine) as connection:
            self._check(connection, Token("", name, scope, now, by, expires_at), now, alone=False)

    def listed(self) -> tuple[Token, ...]:
        """All that were ever granted, oldest first."""
        with reading(self._engine) as connection:
            rows = connection.execute(select(_TOKEN).order_by(_TOKEN.c.granted_at, _TOKEN.c.id))
            return tuple(_token(row) for row in rows)

    def named(self, name: str, now: datetime) -> Token:
        """The one with this id, or the valid one with this name; raises :class:`NotFound`."""
        found = [
            one for one in self.listed() if one.id == name or (one.name == name and one.state(now) == "valid")
        ]
        if not found:
            raise NotFound("no valid token of this name or id", where=name, fix="adapter sponsor list")
        return found[-1]

    def revoke(self, name: str, *, now: datetime, by: str) -> Token:
        """End a token now, by id or name; one that is revoked stays as it is. Raises :class:`NotFound`."""
        found = self.named(name, now)
        with self._engine.begin() as connection:
            mine = (_TOKEN.c.id == found.id, _TOKEN.c.revoked_at == "")
            done = connection.execute(update(_TOKEN).where(*mine).values(revoked_at=_time(now)))
            if done.rowcount:
                audit.append(connection, Entry(now, by, "revoke", (found.name,), {"token": found.id}))
                found = msgspec.structs.replace(found, revoked_at=now)
        return found

    def shown(self, text: str, now: datetime) -> Shown:
        """Whose token a text is; the answer takes as long for a wrong secret as for an unknown id."""
        match = _TEXT.fullmatch(text)
        key, secret = (match[1], match[2]) if match else ("", "")
        with reading(self._engine) as connection:
            row = connection.execute(select(_TOKEN).where(_TOKEN.c.id == key)).one_or_none()
        kept = row.sha256 if row is not None else "0" * 64
        if not hmac.compare_digest(_digest(secret), kept) or row is None:
            return Shown(None, "unknown", key if row is not None else "")
        found = _token(row)
        state = found.state(now)
        return Shown(found, "" if state == "valid" else state, key)

    def received(self, token: Token, receipt: Receipt) -> None:
        """Remember that a token's holder has a snapshot, with the audit's row; said twice it is kept once."""
        with self._engine.begin() as connection:
            only_writer(connection, _RECEIPT.name)
            last = _last(connection, token.id)
            if last is not None and last.snapshot == receipt.snapshot:
                return
            values = {**msgspec.structs.asdict(receipt), "at": _time(receipt.at), "token": token.id}
            connection.execute(insert(_RECEIPT).values(**values))
            told = {"token": token.id, "manifest_sha256": receipt.manifest_sha256}
            audit.append(connection, Entry(receipt.at, token.name, "pulled", (receipt.snapshot,), told))

    def last_receipt(self, token: Token) -> Receipt | None:
        """What a token's holder had in full last; None if never anything."""
        with reading(self._engine) as connection:
            return _last(connection, token.id)

    def had(self, token: Token, snapshot: str) -> bool:
        """Whether a token's holder ever had all of this snapshot."""
        mine = (_RECEIPT.c.token == token.id, _RECEIPT.c.snapshot == snapshot)
        with reading(self._engine) as connection:
            return connection.execute(select(_RECEIPT.c.number).where(*mine).limit(1)).first() is not None

    def _check(self, connection: Connection, made: Token, now: datetime, *, alone: bool = True) -> None:
        if not _NAME.fullmatch(made.name):
            raise ConfigError(
                "a token's name stands in the audit for who pulled",
                where="sponsor token",
                fix="up to 64 letters, digits and . _ @ -, such as statistics@sponsor.example",
            )
        if made.expires_at <= now:
            raise ConfigError("it would have ended already", where="sponsor token", fix="name a later day")
        if alone:
            only_writer(connection, _TOKEN.name)
        rows = connection.execute(select(_TOKEN).where(_TOKEN.c.name == made.name))
        if any(_token(row).state(now) == "valid" for row in rows):
            raise ConfigError(
                "a valid token has this name",
                where=made.name,
                fix=f"adapter sponsor revoke {made.name}, or choose another name",
            )


def _last(connection: Connection, token: str) -> Receipt | None:
    query = select(_RECEIPT).where(_RECEIPT.c.token == token).order_by(_RECEIPT.c.number.desc()).limit(1)
    row = connection.execute(query).one_or_none()
    if row is None:
        return None
    return Receipt(row.snapshot, row.manifest_sha256, datetime.fromisoformat(row.at))


def _token(row: Row[Any]) -> Token:
    return Token(
        row.id,
        row.name,
        Scope(row.study, row.site, row.profile),
        datetime.fromisoformat(row.granted_at),
        row.granted_by,
        datetime.fromisoformat(row.expires_at),
        datetime.fromisoformat(row.revoked_at) if row.revoked_at else None,
    )


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def _time(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat()
