"""The inbox of subscriptions: what a hospital told us, kept before it is acknowledged.

Notifications name work; doing it twice does no harm, losing it does. So a message is on disk before its 2xx,
work taken by a process that died is given out again, an event known already is looked at again rather than
dropped (its number proves nothing if the hospital has started counting anew), and whatever numbering reveals
as missing becomes a sweep: a look at everything instead of at what was named. Numbers and gaps follow
https://hl7.org/fhir/uv/subscriptions-backport/STU1.1/notifications.html (eventsSinceSubscriptionStart).
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

import msgspec
from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Engine,
    Integer,
    String,
    Table,
    delete,
    func,
    insert,
    select,
    update,
)

from adapter.model.notification import Event, Notification
from adapter.store.database import only_writer, reading
from adapter.store.tables import TABLES

SWEEP = ""  # the reference of work that names nothing
TAKEN_FOR = timedelta(minutes=15)  # then whoever took it is taken for dead

_CHANNEL = Table(
    "subscription_channel",
    TABLES,
    Column("name", String, primary_key=True),
    Column("highest", BigInteger, nullable=False),
    Column("heard_at", String, nullable=False),
    Column("swept_at", String, nullable=False),
)
_GAP = Table(
    "subscription_gap",
    TABLES,
    Column("channel", String, primary_key=True),
    Column("first", BigInteger, primary_key=True),
    Column("last", BigInteger, nullable=False),
    Column("noted_at", String, nullable=False),
)
_WORK = Table(
    "subscription_work",
    TABLES,
    Column("number", Integer, primary_key=True, autoincrement=True),
    Column("channel", String, nullable=False, index=True),
    Column("reference", String, nullable=False),
    Column("received_at", String, nullable=False),
    Column("taken_at", String, nullable=False),  # "" while it waits
)


class Reception(msgspec.Struct, frozen=True):
    """What one message came to: work added; of its events, how many were known already, how many came late
    into a gap, how many are now known to be missing."""

    queued: int = 0
    duplicates: int = 0
    late: int = 0
    missing: int = 0


class Work(msgspec.Struct, frozen=True):
    """Something to look at again: ``reference`` is ``Type/id``, or "" for everything."""

    number: int
    channel: str
    reference: str
    received_at: datetime
    taken_at: datetime


class ChannelState(msgspec.Struct, frozen=True):
    """How a channel stands: highest event number, when it was last heard, when everything was last looked at
    ("" never), how many events are known to be missing, how much work waits."""

    name: str
    highest: int
    heard_at: str
    swept_at: str
    missing: int
    waiting: int


class Inbox:
    """The inbox in the one database. Every method is one transaction; every ``now`` carries a zone."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def receive(self, channel: str, message: Notification, now: datetime) -> Reception:
        """Keep a message."""
        with self._engine.begin() as at:
            desk = _Desk(at, channel, _utc(now))
            if message.kind == "handshake":
                desk.starts(message.since_start or 0)
            for event in message.events:
                desk.takes_in(event)
            if message.foreign:
                desk.queue(SWEEP)
            if message.kind != "handshake" and message.since_start is not None:
                desk.has_sent(message.since_start)
            return desk.close()

    def sweep(self, channel: str, now: datetime) -> Reception:
        """Ask for a look at everything: a message could not be read, or enough time has passed."""
        with self._engine.begin() as at:
            desk = _Desk(at, channel, _utc(now), heard=False)
            desk.queue(SWEEP)
            return desk.close()

    def waits(self, now: datetime) -> bool:
        """Whether :meth:`take` would find anything; cheap enough to be asked many times a second."""
        with reading(self._engine) as at:
            free = _WORK.c.taken_at <= _utc(now - TAKEN_FOR)
            return at.execute(select(_WORK.c.number).where(free).limit(1)).first() is not None

    def take(self, now: datetime, limit: int = 1000) -> tuple[Work, ...]:
        """Waiting work of all channels, oldest first; the caller's alone until :data:`TAKEN_FOR` is over."""
        with self._engine.begin() as at:
            only_writer(at, "subscription_work")
            free = _WORK.c.taken_at <= _utc(now - TAKEN_FOR)
            rows = at.execute(select(_WORK).where(free).order_by(_WORK.c.number).limit(limit)).all()
            numbers = [row.number for row in rows]
            at.execute(update(_WORK).where(_WORK.c.number.in_(numbers)).values(taken_at=_utc(now)))
        return tuple(
            Work(row.number, row.channel, row.reference, datetime.fromisoformat(row.received_at), now)
            for row in rows
        )

    def done(self, work: Iterable[Work], now: datetime) -> None:
        """The work was done. A sweep also settles the gaps that were known when it was taken."""
        with self._engine.begin() as at:
            for one in work:
                at.execute(delete(_WORK).where(_WORK.c.number == one.number))
                if one.reference != SWEEP:
                    continue
                known = _GAP.c.noted_at <= _utc(one.taken_at)
                at.execute(delete(_GAP).where(_GAP.c.channel == one.channel, known))
                own = _CHANNEL.c.name == one.channel
                at.execute(update(_CHANNEL).where(own).values(swept_at=_utc(now)))

    def give_back(self, work: Iterable[Work]) -> None:
        """The work could not be done; it waits again."""
        with self._engine.begin() as at:
            numbers = [one.number for one in work]
            at.execute(update(_WORK).where(_WORK.c.number.in_(numbers)).values(taken_at=""))

    def channels(self) -> tuple[ChannelState, ...]:
        """Every channel ever heard of, by name."""
        with reading(self._engine) as at:
            missing = _by_channel(at, _GAP, func.sum(_GAP.c.last - _GAP.c.first + 1))
            waiting = _by_channel(at, _WORK, func.count())
            return tuple(
                ChannelState(
                    row.name,
                    row.highest,
                    row.heard_at,
                    row.swept_at,
                    missing.get(row.name, 0),
                    waiting.get(row.name, 0),
                )
                for row in at.execute(select(_CHANNEL).order_by(_CHANNEL.c.name))
            )


class _Desk:
    """One transaction about one channel."""

    def __init__(self, at: Connection, channel: str, now: str, *, heard: bool = True) -> None:
        only_writer(at, f"subscription_channel {channel}")
        self._at = at
        self._channel = channel
        self._now = now
        row = at.execute(select(_CHANNEL).where(_CHANNEL.c.name == channel)).one_or_none()
        if row is None:
            at.execute(insert(_CHANNEL).values(name=channel, highest=0, heard_at="", swept_at=""))
        self._highest = row.highest if row else 0
        self._heard_at = now if heard or row is None else row.heard_at
        self._counts = dict.fromkeys(Reception.__struct_fields__, 0)

    def starts(self, since: int) -> None:
        """The subscription begins, or begins again: nobody knows what happened in between."""
        self._at.execute(delete(_GAP).where(_GAP.c.channel == self._channel))
        self._highest = since
        self.queue(SWEEP)

    def takes_in(self, event: Event) -> None:
        if event.number and event.number <= self._highest:
            self._counts["late" if self._fills(event.number) else "duplicates"] += 1
        elif event.number:
            self._misses(self._highest + 1, event.number - 1)
            self._highest = event.number
        for reference in event.references or (SWEEP,):
            self.queue(reference)

    def has_sent(self, since: int) -> None:
        """The server has sent this many; those that did not come are missing."""
        if since > self._highest:
            self._misses(self._highest + 1, since)
            self._highest = since

    def queue(self, reference: str) -> None:
        """Work that waits already is not added again; work under way is, it may have read too early."""
        same = (_WORK.c.channel == self._channel) & (_WORK.c.reference == reference)
        if self._at.execute(select(_WORK.c.number).where(same, _WORK.c.taken_at == "")).first():
            return
        values = {"channel": self._channel, "reference": reference, "received_at": self._now, "taken_at": ""}
        self._at.execute(insert(_WORK).values(**values))
        self._counts["queued"] += 1

    def close(self) -> Reception:
        own = _CHANNEL.c.name == self._channel
        self._at.execute(update(_CHANNEL).where(own).values(highest=self._highest, heard_at=self._heard_at))
        return Reception(**self._counts)

    def _misses(self, first: int, last: int) -> None:
        if first > last:
            return
        self._gap(first, last, self._now)
        self._counts["missing"] += last - first + 1
        self.queue(SWEEP)

    def _fills(self, number: int) -> bool:
        holds = (_GAP.c.channel == self._channel) & (_GAP.c.first <= number) & (_GAP.c.last >= number)
        gap = self._at.execute(select(_GAP).where(holds)).one_or_none()
        if gap is None:
            return False
        self._at.execute(delete(_GAP).where(holds))
        self._gap(gap.first, number - 1, gap.noted_at)
        self._gap(number + 1, gap.last, gap.noted_at)
        return True

    def _gap(self, first: int, last: int, noted_at: str) -> None:
        if first <= last:
            values = {"channel": self._channel, "first": first, "last": last, "noted_at": noted_at}
            self._at.execute(insert(_GAP).values(**values))


def _by_channel(at: Connection, table: Table, counted: object) -> dict[str, int]:
    query = select(table.c.channel, counted).group_by(table.c.channel)  # type: ignore[call-overload]
    return {name: int(count) for name, count in at.execute(query)}


def _utc(moment: datetime) -> str:
    """Texts that sort as the moments do."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds")
