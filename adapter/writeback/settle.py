"""A person's word on a lost answer that nobody but a person can look up: it is there, or it is not.

It closes the row, and what the ledger remembers as under way, in one transaction with the audit.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Engine

from adapter.errors import ConfigError
from adapter.store import audit, outbox
from adapter.store.audit import Entry
from adapter.store.ledger import Intent, Ledger, Receipt, Written
from adapter.store.outbox import Outbox, OutboxRow
from adapter.writeback.drafts import changes_in


def settle(
    engine: Engine, number: int, *, there: str, who: str, reason: str, now: datetime, dry_run: bool = False
) -> OutboxRow:
    """``there`` is the reference under which the person found what was sent (``Communication/17``), "" if it
    is not there: then the next run sends it. Gives the row as it is now; ``dry_run`` changes nothing.

    Raises :class:`~adapter.errors.NotFound`, or :class:`ConfigError` for a row that is not ``unknown`` or a
    reference that cannot be.
    """
    row = Outbox(engine).row(number)
    intents = _under_way(engine, row, there)
    if dry_run:
        return row
    with engine.begin() as connection:
        row = outbox.current(connection, number)
        _only_unknown(row)
        state = "done" if there else "superseded"
        moved = outbox.move(connection, row, "done" if there else "superseded", now, reason, mover="person")
        ledger = Ledger(engine, row.server)
        detail = {"outbox": number, "rung": row.rung, "state": state, "there": there}
        audit.append(connection, Entry(now, who, "settle", (f"outbox/{number}",), detail))
        if there:
            (intent,) = intents
            written = Written(
                intent.reference, "", intent.status, intent.content_sha256, intent.fingerprint, there
            )
            place = (there, "", row.subject, intent.fingerprint, row.rung, now, number, row.approval)
            ledger.acknowledge([written], [Receipt(*place)], now, within=connection)
        else:
            ledger.abandon([intent.reference for intent in intents], within=connection)
    return moved


def _under_way(engine: Engine, row: OutboxRow, there: str) -> list[Intent]:
    _only_unknown(row)
    known = Ledger(engine, row.server).recall().intents
    found = [known[change.reference] for change in changes_in(row) if change.reference in known]
    kind, _, name = there.partition("/")
    if there and (len(found) != 1 or kind != row.rung or not name or "/" in name):
        raise ConfigError(
            f"{there} cannot be what row {row.number} sent",
            where="--there",
            fix=f"a reference such as {row.rung}/17; where several resources were sent, run adapter "
            "writeback: it looks itself",
        )
    return found


def _only_unknown(row: OutboxRow) -> None:
    if row.state != "unknown":
        raise ConfigError(
            f"a row that is {row.state} needs nobody to look",
            where=f"outbox {row.number}",
            fix="adapter outbox list --state unknown; the next writeback looks at a row left in sending",
        )
