"""What the audit says of requests that were refused to somebody who is signed in.

Who, which route as it is declared (never the address that was sent, which may name a patient), what it is for
and why not. Who is not signed in leaves no row here: their failed attempts have rows of their own. Equal
refusals within a while are one row, and one account has so many rows at the most: what was left out is
counted in its next row, so that somebody who tries every door fills neither the disk nor the audit.
"""

from __future__ import annotations

import threading
from collections import Counter
from datetime import datetime, timedelta

from fastapi import Request
from sqlalchemy import Engine

from adapter.access import Principal
from adapter.store import audit
from adapter.store.audit import Entry
from adapter.web.access import Clock, Denied
from adapter.web.operations.requests import route_of

ACTION = "access-refused"
WHILE = timedelta(minutes=10)
MOST = 20  # rows of one account in that while
_STATUSES = frozenset({403, 404})


class Refusals:
    """Notes refusals in the audit of ``engine``; may write to the database: not on the event loop."""

    def __init__(self, engine: Engine, clock: Clock) -> None:
        self._engine, self._clock = engine, clock
        self._lock = threading.Lock()
        self._noted: dict[tuple[str, ...], datetime] = {}
        self._unwritten: Counter[str] = Counter()

    def note(self, request: Request, principal: Principal, fault: Denied) -> None:
        """Raises :class:`StoreUnavailable`; then nothing was noted."""
        if fault.status not in _STATUSES:
            return
        now, account = self._clock(), principal.account
        told = {
            "route": f"{request.method} {route_of(request.scope)}",
            "asked": getattr(request.state, "asked", ""),
            "why": fault.text,
        }
        with self._lock:
            key = (account, *told.values())
            self._noted = {one: at for one, at in self._noted.items() if abs(now - at) < WHILE}
            if key in self._noted or sum(one[0] == account for one in self._noted) >= MOST:
                self._unwritten[account] += 1
                return
            self._write(account, now, {**told, "status": fault.status})
            self._noted[key] = now

    def finish(self) -> None:
        """At the end of the program: what was counted and has no row yet."""
        with self._lock:
            for account in sorted(self._unwritten):
                self._write(account, self._clock(), {})

    def _write(self, account: str, now: datetime, told: dict[str, object]) -> None:
        unwritten = self._unwritten[account]
        with self._engine.begin() as connection:
            more = {"unwritten": unwritten} if unwritten else {}
            audit.append(connection, Entry(now, account, ACTION, (), {**told, **more}))
        del self._unwritten[account]
