"""One writer per subject: who may write about whom, until when, and the number that proves it.

A lease has a holder, an end, and a token that grows with every change of hands. Whoever is about to send
shows the token again in the same transaction that notes the sending, so a process that slept too long finds
that its lease went to another. A dead process on this machine loses its leases at once, one elsewhere when
they end.
"""

from __future__ import annotations

import os
import socket
import uuid
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from typing import NamedTuple

from sqlalchemy import Column, Connection, Engine, Integer, String, Table, insert, select, update

from adapter.store.database import only_writer
from adapter.store.tables import TABLES

Clock = Callable[[], datetime]

SECONDS = 300  # more than the longest request may take
_LEASE = Table(
    "lease",
    TABLES,
    Column("server", String, primary_key=True),
    Column("study", String, primary_key=True),
    Column("subject", String, primary_key=True),
    Column("holder", String, nullable=False),
    Column("token", Integer, nullable=False),
    Column("until", String, nullable=False),
)


class Holder(NamedTuple):
    """A process at work: machine, process id, and a name of its own, because process ids come again."""

    machine: str
    process: int
    name: str

    def __str__(self) -> str:
        return f"{self.machine} {self.process} {self.name}"


def this_process() -> Holder:
    return Holder(socket.gethostname(), os.getpid(), uuid.uuid4().hex)


class Leases:
    """Leases of one process on the subjects of one study at one server."""

    def __init__(self, engine: Engine, server: str, study: str, holder: Holder, clock: Clock) -> None:
        self._engine = engine
        self._server = server
        self._study = study
        self._holder = holder
        self._clock = clock
        self._tokens: dict[str, int] = {}

    def take(self, subjects: Iterable[str]) -> frozenset[str]:
        """Those that are ours now; the others are somebody else's at the moment."""
        wanted = sorted(set(subjects))
        with self._engine.begin() as connection:
            only_writer(connection, "lease")
            now = self._clock()
            held = self._held(connection)
            for subject in wanted:
                found = held.get(subject)
                if found is None:
                    self._tokens[subject] = 1
                    self._insert(connection, subject, now)
                elif (
                    found[0] == str(self._holder)
                    or found[2] <= _text(now)
                    or _is_dead(found[0], self._holder)
                ):
                    self._tokens[subject] = found[1] + 1
                    self._update(connection, subject, now)
        return frozenset(one for one in wanted if one in self._tokens)

    def still_hold(self, connection: Connection, subject: str) -> bool:
        """Whether the lease is still ours; if so it is renewed. Part of the caller's transaction."""
        only_writer(connection, "lease")
        found = self._held(connection, subject).get(subject)
        if found is None or found[:2] != (str(self._holder), self._tokens.get(subject)):
            self._tokens.pop(subject, None)
            return False
        self._update(connection, subject, self._clock())
        return True

    def give_back(self) -> None:
        """End all leases of this process; tokens stay, so that they never come twice."""
        with self._engine.begin() as connection:
            mine = (_LEASE.c.server == self._server, _LEASE.c.holder == str(self._holder))
            connection.execute(update(_LEASE).where(*mine).values(until="", holder=""))
        self._tokens.clear()

    def _held(self, connection: Connection, subject: str | None = None) -> Mapping[str, tuple[str, int, str]]:
        query = select(_LEASE).where(_LEASE.c.server == self._server, _LEASE.c.study == self._study)
        if subject is not None:
            query = query.where(_LEASE.c.subject == subject)
        return {row.subject: (row.holder, row.token, row.until) for row in connection.execute(query)}

    def _insert(self, connection: Connection, subject: str, now: datetime) -> None:
        key = {"server": self._server, "study": self._study, "subject": subject}
        connection.execute(insert(_LEASE).values(**key, **self._values(subject, now)))

    def _update(self, connection: Connection, subject: str, now: datetime) -> None:
        key = (_LEASE.c.server == self._server, _LEASE.c.study == self._study, _LEASE.c.subject == subject)
        connection.execute(update(_LEASE).where(*key).values(**self._values(subject, now)))

    def _values(self, subject: str, now: datetime) -> dict[str, object]:
        until = _text(now + timedelta(seconds=SECONDS))
        return {"holder": str(self._holder), "token": self._tokens[subject], "until": until}


def _text(moment: datetime) -> str:
    """Texts that sort as the moments do: UTC, always with microseconds."""
    return f"{moment.timestamp():020.6f}"


def _is_dead(holder: str, us: Holder) -> bool:
    """Whether a process of this machine is gone; of another machine nobody here can know."""
    machine, _, rest = holder.partition(" ")
    process = rest.partition(" ")[0]
    if machine != us.machine or not process.isdigit():
        return holder == ""
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False
