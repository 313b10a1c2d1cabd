"""What the courier writes down at each step: outbox, ledger and audit, always in one transaction.

``written`` rows and receipts name references under which we know a resource; its address on the server stands
beside where that is another.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from sqlalchemy import Connection

from adapter.store import audit, outbox
from adapter.store.audit import Entry
from adapter.store.lease import Leases
from adapter.store.ledger import Ledger, Memory, Receipt, Written
from adapter.store.outbox import Outbox, OutboxRow
from adapter.store.outbox_state import STATES, State
from adapter.writeback.drafts import changes_in, draft_of, is_explanation
from adapter.writeback.plan import Change, SubjectPlan
from adapter.writeback.resources import content_sha256
from adapter.writeback.rungs import Way
from adapter.writeback.server import Stored

OPEN: tuple[State, ...] = tuple(state for state in STATES if state not in ("done", "superseded"))
Pair = tuple[Change, Stored]


class Journal:
    """The journal of one rung for one study and purpose. ``approval`` says that a person has to allow each
    content before it is sent."""

    def __init__(
        self,
        ledger: Ledger,
        leases: Leases,
        *,
        study: str,
        purpose: str,
        way: Way,
        approval: bool,
        now: datetime,
    ) -> None:
        self._ledger = ledger
        self._outbox = Outbox(ledger.engine, ledger.server)
        self._leases = leases
        self._study = study
        self._purpose = purpose
        self._way = way
        self.approval = approval
        self._now = now
        self._rows: dict[str, OutboxRow] = {}

    def recall(self) -> Memory:
        return self._ledger.recall()

    def told(self) -> tuple[OutboxRow, ...]:
        """Everything that was written on this rung, oldest first."""
        return self._outbox.rows(("done",), purpose=self._purpose, rung=self._way.rung)

    def unexplained(self, memory: Memory) -> Mapping[str, Change]:
        """Provenance of earlier writes that was never acknowledged, by subject: where resources are sent one
        by one, a process may die before the last."""
        found: dict[str, Change] = {}
        for row in self._outbox.rows(OPEN, purpose=self._purpose, rung=self._way.rung):
            for change in changes_in(row):
                if is_explanation(change) and change.reference in memory.intents:
                    found[row.subject] = change
        return found

    def plan(self, subjects: Iterable[SubjectPlan]) -> dict[str, State]:
        """An outbox row for everyone with changes; the states the rows are in, by subject."""
        drafts = [
            draft_of(one, self._study, self._purpose, self._way.rung) for one in subjects if one.changes
        ]
        rows = self._outbox.plan(drafts, self._now, approval=self.approval) if drafts else {}
        self._rows |= rows
        return {subject: row.state for subject, row in rows.items()}

    def nothing_left(self, one: SubjectPlan) -> None:
        """Close what is open about someone of whom nothing is left to write: it arrived, or is no news."""
        known = self._outbox.rows(OPEN, one.subject, self._purpose, self._way.rung)
        if known or one.adopted:
            place = (one.subject, self._study, self._purpose, self._way.rung)
            with self._ledger.engine.begin() as connection:
                outbox.lock(connection)
                self._adopt(connection, one, known)
                self._outbox.settle(*place, self._now, done=bool(one.adopted), within=connection)

    def lost(self, one: SubjectPlan) -> None:
        """What a process left in sending when it died, and nobody can look up."""
        known = self._outbox.rows(("sending",), one.subject, self._purpose, self._way.rung)
        if known:
            with self._ledger.engine.begin() as connection:
                rows = [outbox.current(connection, row.number) for row in known]
                moved = [
                    outbox.move(connection, row, "unknown", self._now, one.reason)
                    for row in rows
                    if row.state == "sending"
                ]
                self._audit(connection, "fail", moved)

    def adopt(self, one: SubjectPlan) -> None:
        """Note own writes whose answer was lost and which are on the server; more is still to be written."""
        if one.adopted:
            known = self._outbox.rows(OPEN, one.subject, self._purpose, self._way.rung)
            with self._ledger.engine.begin() as connection:
                self._adopt(connection, one, known)

    def sending_shared(self, changes: Sequence[Change]) -> None:
        self._ledger.intend([change.intent() for change in changes], self._now)

    def shared_done(self, pairs: Sequence[Pair]) -> None:
        written = [_written(change, stored) for change, stored in pairs]
        self._ledger.acknowledge(written, [self._receipt(one, "", None) for one in written], self._now)

    def shared_there(self, changes: Sequence[Change]) -> None:
        self._ledger.abandon(change.reference for change in changes)

    def sending(self, subjects: Sequence[SubjectPlan]) -> list[SubjectPlan]:
        """Those that may be sent now: their lease is still ours, and where a person has to allow it, someone
        did. The others are left alone."""
        going: list[SubjectPlan] = []
        with self._ledger.engine.begin() as connection:
            moved: list[OutboxRow] = []
            for one in subjects:
                row = self._ready(connection, one.subject)
                if row is not None:
                    self._rows[one.subject] = outbox.move(connection, row, "sending", self._now)
                    moved.append(self._rows[one.subject])
                    intents = [change.intent() for change in one.changes]
                    self._ledger.intend(intents, self._now, within=connection)
                    going.append(one)
            self._audit(connection, "send", moved)
        return going

    def done(self, several: Sequence[tuple[SubjectPlan, Sequence[Pair]]]) -> None:
        with self._ledger.engine.begin() as connection:
            written, receipts = self._acknowledged(several)
            for one, _ in several:
                self._rows[one.subject] = outbox.move(connection, self._row(one), "done", self._now, "")
            self._ledger.acknowledge(written, receipts, self._now, within=connection)

    def failed(
        self, several: Sequence[SubjectPlan], state: State, reason: str, arrived: Sequence[Pair] = ()
    ) -> None:
        """``arrived`` is the part of one subject that was written. A lost answer leaves its intents."""
        with self._ledger.engine.begin() as connection:
            for one in several:
                row = outbox.move(connection, self._row(one), state, self._now, reason)
                self._rows[one.subject] = row
                if state != "unknown":
                    stored = {change.reference for change, _ in arrived}
                    left = [c.reference for c in one.changes if c.reference not in stored]
                    kept = {c.reference for c in one.changes if is_explanation(c)} if arrived else set()
                    self._ledger.abandon(set(left) - kept, within=connection)
            if arrived:
                written, receipts = self._acknowledged([(several[0], arrived)])
                self._ledger.acknowledge(written, receipts, self._now, within=connection)
            self._audit(connection, "fail", [self._row(one) for one in several])

    def closed(self, several: Sequence[SubjectPlan], reason: str) -> None:
        """What these wait for (study, device) was refused, so nothing about them was sent here."""
        with self._ledger.engine.begin() as connection:
            outbox.lock(connection)
            moved: list[OutboxRow] = []
            for one in several:
                if self._row(one).state in ("planned", "approved"):
                    row = outbox.move(connection, self._row(one), "refused", self._now, reason)
                    self._rows[one.subject] = row
                    moved.append(row)
            self._audit(connection, "fail", moved)

    def retracted(self, references: Sequence[str]) -> None:
        """Duplicates of ours that were marked as entered in error."""
        with self._ledger.engine.begin() as connection:
            detail = {"rung": self._way.rung, "server": self._ledger.server}
            audit.append(connection, Entry(self._now, audit.actor(), "retract", tuple(references), detail))

    def unchecked(self, subjects: Iterable[str], why: str) -> None:
        """These were written, and nobody could look whether they are there twice."""
        rows = [self._rows[one] for one in sorted(subjects)]
        with self._ledger.engine.begin() as connection:
            detail = {"rung": self._way.rung, "server": self._ledger.server, "why": why}
            audit.append(connection, Entry(self._now, audit.actor(), "unchecked", outbox.named(rows), detail))

    def _adopt(self, connection: Connection, one: SubjectPlan, known: Sequence[OutboxRow]) -> None:
        carried = [row for row in known if row.state in ("sending", "unknown")]
        receipts = [
            self._receipt(each, one.subject, carried[-1] if carried else None) for each in one.adopted
        ]
        if one.adopted:
            self._ledger.acknowledge(one.adopted, receipts, self._now, within=connection)

    def _ready(self, connection: Connection, subject: str) -> OutboxRow | None:
        if not self._leases.still_hold(connection, subject):
            return None
        row = outbox.current(connection, self._rows[subject].number)
        if row.state == "sending":  # a process died here
            row = outbox.move(connection, row, "unknown", self._now)
        if self.approval and row.state != "approved" and not row.approval:
            return None
        return None if row.state in ("rejected", "done", "superseded") else row

    def _row(self, one: SubjectPlan) -> OutboxRow:
        return self._rows[one.subject]

    def _acknowledged(
        self, several: Sequence[tuple[SubjectPlan, Sequence[Pair]]]
    ) -> tuple[list[Written], list[Receipt]]:
        written: list[Written] = []
        receipts: list[Receipt] = []
        for one, pairs in several:
            own = [_written(change, stored) for change, stored in pairs]
            written += own
            receipts += [self._receipt(each, one.subject, self._row(one)) for each in own]
        return written, receipts

    def _receipt(self, one: Written, subject: str, row: OutboxRow | None) -> Receipt:
        links = (row.number, row.approval) if row else (0, 0)
        place = (one.address or one.reference, one.version, subject, one.fingerprint)
        return Receipt(*place, self._way.rung, self._now, *links)

    def _audit(self, connection: Connection, action: str, rows: Sequence[OutboxRow]) -> None:
        if rows:
            detail = outbox.told(self._ledger.server, rows)
            audit.append(connection, Entry(self._now, audit.actor(), action, outbox.named(rows), detail))


def _written(change: Change, stored: Stored) -> Written:
    address = stored.address or change.address
    return Written(
        change.reference,
        stored.version,
        change.owned_status,
        content_sha256(change.resource),
        change.fingerprint,
        "" if address == change.reference else address,
    )
