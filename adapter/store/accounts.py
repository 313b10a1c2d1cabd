"""Local accounts: people who sign in with a password, and services that show a token.

Secrets are kept as argon2id (passwords) or as SHA-256 of 256 random bits (tokens). Every change adds a row to
the audit in the same transaction, and ends the account's sessions: whoever was signed in signs in again, with
what the account may do now.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

import msgspec
from sqlalchemy import Column, Connection, Engine, String, Table, delete, insert, select, update

from adapter.access import MATRIX, Grant, is_proper
from adapter.errors import ConfigError, NotFound
from adapter.store import audit
from adapter.store.audit import Entry
from adapter.store.database import only_writer, reading
from adapter.store.sessions import end_all
from adapter.store.tables import TABLES

_ACCOUNT = Table(
    "account",
    TABLES,
    Column("name", String, primary_key=True),
    Column("shown_as", String, nullable=False),
    Column("secret", String, nullable=False),
    Column("created_at", String, nullable=False),
    Column("changed_at", String, nullable=False),
    Column("disabled_at", String, nullable=False),  # "" while it is not
)
_GRANT = Table(
    "account_grant",
    TABLES,
    Column("account", String, primary_key=True),
    Column("role", String, primary_key=True),
    Column("study", String, primary_key=True),
    Column("site", String, primary_key=True),
    Column("until", String, nullable=False),
)
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{1,63}")
_TOKEN = re.compile(r"service_([a-z0-9][a-z0-9._-]{1,63})_([A-Za-z0-9-]{43,})")


class Account(msgspec.Struct, frozen=True):
    """An account as it is kept, without its secret. Times are UTC; ``disabled_at`` None while it works."""

    name: str
    shown_as: str
    created_at: datetime
    changed_at: datetime
    disabled_at: datetime | None
    grants: tuple[Grant, ...]

    @property
    def is_service(self) -> bool:
        return any(grant.role == "service" for grant in self.grants)


class Accounts:
    """The accounts of one database."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def add(
        self, name: str, shown_as: str, secret: str, grants: Iterable[Grant], *, now: datetime, by: str
    ) -> Account:
        """A new account; raises :class:`ConfigError` for a name or grant that cannot be.

        ``secret`` is a hash by :func:`adapter.access.passwords.hash_password` or :func:`new_token`.
        """
        made = Account(name, shown_as.strip() or name, now, now, None, tuple(sorted(set(grants))))
        check(made)
        with self._engine.begin() as connection:
            only_writer(connection, "account")
            if _found(connection, name) is not None:
                raise ConfigError("an account has this name", where=name, fix="choose another name")
            values = {"name": name, "shown_as": made.shown_as, "secret": secret, "disabled_at": ""}
            connection.execute(
                insert(_ACCOUNT).values(**values, created_at=_time(now), changed_at=_time(now))
            )
            _write_grants(connection, made)
            told = {"grants": [msgspec.structs.asdict(one) for one in made.grants], "name": made.shown_as}
            audit.append(connection, Entry(now, by, "account-add", (_what(name),), told))
        return made

    def grant(self, name: str, grants: Iterable[Grant], *, now: datetime, by: str) -> Account:
        """Give the account these grants instead of those it had. Raises as :meth:`add` does."""
        with self._engine.begin() as connection:
            only_writer(connection, "account")
            found = _needed(connection, name)
            made = msgspec.structs.replace(found, grants=tuple(sorted(set(grants))), changed_at=now)
            check(made)
            if made.is_service != found.is_service:
                raise ConfigError(
                    "a service does not become a person, nor a person a service",
                    where=name,
                    fix="add another account",
                )
            connection.execute(delete(_GRANT).where(_GRANT.c.account == name))
            _write_grants(connection, made)
            told = {"grants": [msgspec.structs.asdict(one) for one in made.grants]}
            self._changed(connection, name, now, by, "account-grant", told)
        return made

    def set_secret(self, name: str, secret: str, *, now: datetime, by: str) -> None:
        """Another password or token, from now on. Raises :class:`NotFound`."""
        with self._engine.begin() as connection:
            only_writer(connection, "account")
            _needed(connection, name)
            connection.execute(update(_ACCOUNT).where(_ACCOUNT.c.name == name).values(secret=secret))
            self._changed(connection, name, now, by, "account-secret")

    def disable(self, name: str, *, now: datetime, by: str) -> None:
        """It signs nobody in any more; what it did stays under its name, which nobody gets again."""
        with self._engine.begin() as connection:
            only_writer(connection, "account")
            if _needed(connection, name).disabled_at is None:
                values = {"disabled_at": _time(now)}
                connection.execute(update(_ACCOUNT).where(_ACCOUNT.c.name == name).values(**values))
                self._changed(connection, name, now, by, "account-disable")

    def enable(self, name: str, *, now: datetime, by: str) -> None:
        with self._engine.begin() as connection:
            only_writer(connection, "account")
            if _needed(connection, name).disabled_at is not None:
                connection.execute(update(_ACCOUNT).where(_ACCOUNT.c.name == name).values(disabled_at=""))
                self._changed(connection, name, now, by, "account-enable")

    def listed(self) -> tuple[Account, ...]:
        with reading(self._engine) as connection:
            names = connection.execute(select(_ACCOUNT.c.name).order_by(_ACCOUNT.c.name)).scalars().all()
            return tuple(_needed(connection, name) for name in names)

    def named(self, name: str) -> Account:
        """Raises :class:`NotFound`."""
        with reading(self._engine) as connection:
            return _needed(connection, name)

    def working(self, name: str) -> tuple[Account, str] | None:
        """The account that may sign in and its secret; None for one that is not there or was disabled."""
        with reading(self._engine) as connection:
            found = _found(connection, name)
            if found is None or found.disabled_at is not None:
                return None
            query = select(_ACCOUNT.c.secret).where(_ACCOUNT.c.name == name)
            return found, str(connection.execute(query).scalar_one())

    def shown_token(self, text: str) -> Account | None:
        """The service whose token this is, compared in constant time; None for any other text."""
        match = _TOKEN.fullmatch(text)
        name, secret = (match[1], match[2]) if match else ("", "")
        known = self.working(name)
        kept = known[1] if known is not None else ""
        right = hmac.compare_digest(_token_hash(secret), kept if kept.startswith("sha256:") else "sha256:")
        return known[0] if known is not None and right else None

    def _changed(
        self,
        connection: Connection,
        name: str,
        now: datetime,
        by: str,
        action: str,
        told: Mapping[str, object] | None = None,
    ) -> None:
        connection.execute(update(_ACCOUNT).where(_ACCOUNT.c.name == name).values(changed_at=_time(now)))
        ended = end_all(connection, name)
        audit.append(
            connection, Entry(now, by, action, (_what(name),), {**(told or {}), "sessions_ended": ended})
        )


def new_token(name: str) -> tuple[str, str]:
    """A service's token, shown once, and what is kept of it."""
    secret = secrets.token_urlsafe(32).replace("_", "-")
    return f"service_{name}_{secret}", _token_hash(secret)


def check(account: Account) -> None:
    """Raises :class:`ConfigError` for a name that the audit could not show, or grants that cannot be."""
    if not _NAME.fullmatch(account.name):
        raise ConfigError(
            "an account's name stands in the audit for who did it",
            where="account",
            fix="2 to 64 of a-z, 0-9 and . _ -, such as li.wei",
        )
    if not account.shown_as.isprintable() or len(account.shown_as) > 100:
        raise ConfigError(
            "this cannot be shown on a signature", where="account", fix="the person's printed name"
        )
    if not account.grants:
        raise ConfigError("an account without a role may do nothing", where=account.name, fix="name a role")
    if account.is_service and len({grant.role for grant in account.grants}) > 1:
        raise ConfigError("a service has no role of a person", where=account.name, fix="make two accounts")
    for grant in account.grants:
        if grant != Grant(grant.role, grant.study, grant.site, grant.until):
            raise ConfigError(
                "an account's grant is about everybody at its place",
                where=account.name,
                fix="leave out what narrows it",
            )
        if not is_proper(grant):
            raise ConfigError(
                f"the role {grant.role!r} cannot be granted for study {grant.study!r} at site {grant.site!r}",
                where=account.name,
                fix=f"roles are {', '.join(MATRIX.roles)}; * stands for any only where matrix.yaml says so",
            )


def _write_grants(connection: Connection, account: Account) -> None:
    for grant in account.grants:
        values = {"role": grant.role, "study": grant.study, "site": grant.site, "until": grant.until}
        connection.execute(insert(_GRANT).values(account=account.name, **values))


def _found(connection: Connection, name: str) -> Account | None:
    row = connection.execute(select(_ACCOUNT).where(_ACCOUNT.c.name == name)).one_or_none()
    if row is None:
        return None
    query = (
        select(_GRANT).where(_GRANT.c.account == name).order_by(_GRANT.c.role, _GRANT.c.study, _GRANT.c.site)
    )
    return Account(
        name=row.name,
        shown_as=row.shown_as,
        created_at=datetime.fromisoformat(row.created_at),
        changed_at=datetime.fromisoformat(row.changed_at),
        disabled_at=datetime.fromisoformat(row.disabled_at) if row.disabled_at else None,
        grants=tuple(Grant(one.role, one.study, one.site, one.until) for one in connection.execute(query)),
    )


def _needed(connection: Connection, name: str) -> Account:
    found = _found(connection, name)
    if found is None:
        raise NotFound("no account of this name", where=name, fix="adapter account list")
    return found


def _what(name: str) -> str:
    return f"account/{name}"


def _token_hash(secret: str) -> str:
    return "sha256:" + hashlib.sha256(secret.encode()).hexdigest()


def _time(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat()
