"""Failed sign-ins, and who has to wait for them. Names that exist and names that do not count alike.

What is counted is known by a hash only: a typed name may be a password in the wrong field.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta

from sqlalchemy import Column, Engine, Integer, String, Table, delete, insert, select, update

from adapter.store.database import only_writer, reading
from adapter.store.tables import TABLES

_ATTEMPT = Table(
    "sign_in_attempt",
    TABLES,
    Column("key_sha256", String(64), primary_key=True),
    Column("failures", Integer, nullable=False),
    Column("last_at", String, nullable=False),
    Column("locked_until", String, nullable=False),  # "" if it is not
)
ALLOWED = {"account": 5, "address": 50}  # failures before the first wait
_FIRST, _LONGEST = timedelta(minutes=1), timedelta(minutes=15)
_FORGOTTEN = timedelta(hours=24)


class Attempts:
    """``kind`` is ``account`` (a name as typed) or ``address`` (where a request comes from)."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def locked(self, kind: str, value: str, now: datetime) -> bool:
        query = select(_ATTEMPT.c.locked_until).where(_ATTEMPT.c.key_sha256 == _key(kind, value))
        with reading(self._engine) as connection:
            until = connection.execute(query).scalar_one_or_none()
        return bool(until) and _text(now) < str(until)

    def failed(self, kind: str, value: str, now: datetime) -> bool:
        """Count one; returns whether it led to a wait. Each further failure doubles that, to 15 minutes."""
        mine = _ATTEMPT.c.key_sha256 == _key(kind, value)
        with self._engine.begin() as connection:
            only_writer(connection, "sign_in_attempt")
            connection.execute(delete(_ATTEMPT).where(_ATTEMPT.c.last_at < _text(now - _FORGOTTEN)))
            before = connection.execute(select(_ATTEMPT.c.failures).where(mine)).scalar_one_or_none()
            failures = (before or 0) + 1
            over = failures - ALLOWED[kind]
            wait = min(_LONGEST, _FIRST * 2 ** min(over, 10)) if over >= 0 else None
            values = {
                "failures": failures,
                "last_at": _text(now),
                "locked_until": "" if wait is None else _text(now + wait),
            }
            if before is None:
                connection.execute(insert(_ATTEMPT).values(key_sha256=_key(kind, value), **values))
            else:
                connection.execute(update(_ATTEMPT).where(mine).values(**values))
        return wait is not None

    def forget(self, kind: str, value: str) -> None:
        """After a sign-in that worked, or when an administrator lets somebody try again."""
        with self._engine.begin() as connection:
            connection.execute(delete(_ATTEMPT).where(_ATTEMPT.c.key_sha256 == _key(kind, value)))


def _key(kind: str, value: str) -> str:
    return hashlib.sha256(f"{kind} {value}".encode()).hexdigest()


def _text(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="microseconds")
