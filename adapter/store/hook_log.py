"""CDS Hooks: tokens seen, cards given, and what became of them.

A token counts once. A card is known by its uuid, which callers name again in feedback; beside it stand the
patient and the rules it spoke of, not its words. Feedback may come twice and is kept once. Source: CDS Hooks
2.0, "Trusting CDS Clients", "Card attributes", "Feedback".
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

import msgspec
from sqlalchemy import Column, Engine, Integer, String, Table, delete, insert, select

from adapter.store import audit
from adapter.store.audit import Entry
from adapter.store.database import only_writer, reading
from adapter.store.tables import TABLES

_TOKEN = Table(
    "hook_token",
    TABLES,
    Column("iss", String, primary_key=True),
    Column("jti", String, primary_key=True),
    Column("until", String, nullable=False),
)
_CARD = Table(
    "hook_card",
    TABLES,
    Column("uuid", String, primary_key=True),
    Column("service", String, nullable=False),
    Column("caller", String, nullable=False),
    Column("subject", String, nullable=False),
    Column("about", String, nullable=False),
    Column("given_at", String, nullable=False),
)
_FEEDBACK = Table(
    "hook_feedback",
    TABLES,
    Column("number", Integer, primary_key=True, autoincrement=True),
    Column("card", String, nullable=False, index=True),
    Column("outcome", String, nullable=False),
    Column("at", String, nullable=False),
    Column("reason", String, nullable=False),
    Column("comment", String, nullable=False),
    Column("received_at", String, nullable=False),
)


class GivenCard(msgspec.Struct, frozen=True):
    """``about`` names rules and what was said of them (``A5 breaks``)."""

    uuid: str
    subject: str
    about: tuple[str, ...]


class Feedback(msgspec.Struct, frozen=True):
    """``at`` is the caller's own time as it wrote it, ``reason`` a code, ``comment`` a person's words."""

    card: str
    outcome: str
    at: str
    reason: str = ""
    comment: str = ""


class HookLog:
    """The tables of one database. Every method is one transaction; every ``now`` carries a zone."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def first_uses(self, tokens: Sequence[tuple[str, str, datetime]], now: datetime) -> list[bool]:
        """Of each (iss, jti, until) whether it comes for the first time; it is remembered ``until`` then,
        when it would not count anyway."""
        with self._engine.begin() as connection:
            only_writer(connection, "hook_token")
            some = [jti for _, jti, _ in tokens]
            query = select(_TOKEN.c.iss, _TOKEN.c.jti).where(_TOKEN.c.jti.in_(some))
            seen = {(row.iss, row.jti) for row in connection.execute(query)}
            found, new = [], []
            for iss, jti, until in tokens:
                found.append((iss, jti) not in seen)
                if found[-1]:
                    new.append({"iss": iss, "jti": jti, "until": _text(until)})
                    seen.add((iss, jti))
            connection.execute(delete(_TOKEN).where(_TOKEN.c.until <= _text(now)))
            if new:
                connection.execute(insert(_TOKEN), new)
            return found

    def given(self, service: str, caller: str, cards: Iterable[GivenCard], now: datetime) -> None:
        """Cards that an answer holds, with a row of the audit. Asked the same again, the same uuids come."""
        kept = list(cards)
        with self._engine.begin() as connection:
            only_writer(connection, "hook_card")
            for one in kept:
                if connection.execute(select(_CARD.c.uuid).where(_CARD.c.uuid == one.uuid)).first() is None:
                    values = {"uuid": one.uuid, "subject": one.subject, "about": "; ".join(one.about)}
                    more = {"service": service, "caller": caller, "given_at": _text(now)}
                    connection.execute(insert(_CARD).values(**values, **more))
            what = sorted({f"Patient/{one.subject}" for one in kept})
            detail = {"service": service, "cards": [one.uuid for one in kept]}
            audit.append(connection, Entry(now, caller, "advise", tuple(what), detail))

    def keep(self, service: str, caller: str, feedback: Iterable[Feedback], now: datetime) -> tuple[int, int]:
        """Feedback on cards of a service given to this caller: how much was new, and how much was of cards
        that nobody here gave."""
        new: list[Feedback] = []
        unknown = 0
        with self._engine.begin() as connection:
            only_writer(connection, "hook_feedback")
            for one in feedback:
                card = (_CARD.c.uuid == one.card, _CARD.c.service == service, _CARD.c.caller == caller)
                if connection.execute(select(_CARD.c.uuid).where(*card)).first() is None:
                    unknown += 1
                    continue
                same = (_FEEDBACK.c.outcome == one.outcome) & (_FEEDBACK.c.at == one.at)
                query = select(_FEEDBACK.c.number).where(_FEEDBACK.c.card == one.card, same)
                if connection.execute(query).first() is None:
                    values = msgspec.structs.asdict(one)
                    connection.execute(insert(_FEEDBACK).values(**values, received_at=_text(now)))
                    new.append(one)
            if new:
                outcomes = [{"card": one.card, "outcome": one.outcome, "reason": one.reason} for one in new]
                detail = {"service": service, "of": outcomes}
                audit.append(connection, Entry(now, caller, "feedback", (), detail))
        return len(new), unknown

    def feedback(self, card: str) -> tuple[Feedback, ...]:
        """What was said of a card, in the order it came."""
        with reading(self._engine) as connection:
            query = select(_FEEDBACK).where(_FEEDBACK.c.card == card).order_by(_FEEDBACK.c.number)
            return tuple(
                Feedback(row.card, row.outcome, row.at, row.reason, row.comment)
                for row in connection.execute(query)
            )


def _text(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="microseconds")
