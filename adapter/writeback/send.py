"""Carries a plan to a FHIR server and finds out what became of it.

One subject is one whole: its ResearchSubject, Flags and Provenance are written together or not at all.
Several subjects share a transaction to save round trips; if it fails, each is sent alone, so nobody pays
for a neighbour. A lost answer means "unknown": the server is read again before anything is repeated.
A conflict is read and planned again once, never forced.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Protocol

import httpx
import msgspec
from sqlalchemy import Engine

from adapter.errors import AdapterError, SourceUnavailable, WriteConflict, WriteRefused
from adapter.model.decision import Decision
from adapter.model.monitoring import Monitoring
from adapter.store.ledger import Ledger, Memory, Receipt, Written
from adapter.writeback.current import read_current, read_monitoring_state, subjects_of
from adapter.writeback.monitoring_flag import ProtocolLine
from adapter.writeback.monitoring_plan import plan_monitoring
from adapter.writeback.plan import Change, Plan, SubjectPlan, plan_writeback, transaction
from adapter.writeback.research_study import StudyReference
from adapter.writeback.resources import content_sha256
from adapter.writeback.server import Busy, Server, Stored, Token

RUNG = "ResearchSubject"  # the first of the ladder; lower rungs choose by CapabilityStatement, later
SUBJECTS_IN_ONE_TRANSACTION = 20
ROUNDS = 3  # the first, and two more for what is unknown; a conflict gets one more only
Progress = Callable[[int, int], None]


class WriteReport(msgspec.Struct, frozen=True):
    """What happened, subject by subject. Every decision is in exactly one outcome, so counts add up;
    ``resources_written`` is 0 on a second run."""

    outcomes: Mapping[str, int]
    rows: tuple[dict[str, str], ...]
    resources_written: int = 0
    study: str = ""
    duplicates: tuple[str, ...] = ()
    dry_run: bool = False

    def fault(self) -> AdapterError | None:
        """What the caller should raise after it has shown the report, or None."""
        if self.outcomes.get("conflict"):
            return WriteConflict(
                f"{self.outcomes['conflict']} subjects were changed by others while we wrote",
                fix="run the write-back again: it reads and decides anew",
            )
        if self.outcomes.get("unknown"):
            return SourceUnavailable(
                f"the server did not answer for {self.outcomes['unknown']} subjects",
                fix="run the write-back again: it looks first what arrived",
            )
        return None


def joined(one: WriteReport, other: WriteReport) -> WriteReport:
    """Two runs against one server as one report, rows by subject."""
    return WriteReport(
        Counter(one.outcomes) + Counter(other.outcomes),
        tuple(sorted((*one.rows, *other.rows), key=lambda row: row["subject"])),
        one.resources_written + other.resources_written,
        one.study or other.study,
        tuple(sorted({*one.duplicates, *other.duplicates})),
        one.dry_run,
    )


async def write_back(
    base_url: str,
    decisions: Iterable[Decision],
    *,
    study: StudyReference,
    database: Engine | Path,
    now: datetime,
    token: Token | None = None,
    dry_run: bool = False,
    progress: Progress | None = None,
    aliases: Mapping[str, str] | None = None,
    transport: httpx.AsyncBaseTransport | None = None,
) -> WriteReport:
    """Write the decisions to the FHIR server at ``base_url``; ``now`` must carry a zone.

    ``token`` gives the bearer token, ``progress`` is told (done, total) subjects, ``aliases`` maps merged
    Patient ids to survivors, ``transport`` replaces the network (``httpx.ASGITransport(app)`` writes into an
    embedded endpoint). Raises what reading raises before anything was written: :class:`SourceRefused` where
    the server has no ResearchSubjects (then :func:`adapter.writeback.file.write_bundle_file` is the way),
    :class:`SourceUnavailable` and so on. Later failures are outcomes of their subjects, see
    :meth:`WriteReport.fault`.
    """
    chosen = list(decisions)
    known = aliases or {}

    async def plan(server: Server, memory: Memory, only: Collection[str] | None) -> tuple[Plan, str]:
        some = [one for one in chosen if only is None or one.subject in only]
        state = await read_current(server, study, {one.subject for one in some}, memory, known)
        return plan_writeback(some, state, memory, study, now), state.study or study.own_reference

    with Ledger(database, base_url) as ledger:
        async with Server(base_url, token=token, transport=transport) as server:
            return await _Courier(server, ledger, plan, now, known).run(dry_run, progress)


async def write_flags(
    base_url: str,
    rows: Iterable[Monitoring],
    lines: Mapping[str, ProtocolLine],
    *,
    study: StudyReference,
    database: Engine | Path,
    now: datetime,
    recorded: Mapping[str, str] | None = None,
    token: Token | None = None,
    dry_run: bool = False,
    progress: Progress | None = None,
    aliases: Mapping[str, str] | None = None,
    transport: httpx.AsyncBaseTransport | None = None,
) -> WriteReport:
    """Flags about people on the study, from their monitoring; as :func:`write_back` otherwise.

    ``lines`` is what the protocol says by criterion, ``recorded`` the status of ResearchSubjects that this
    server does not hold.
    """
    chosen = list(rows)
    known = aliases or {}

    async def plan(server: Server, memory: Memory, only: Collection[str] | None) -> tuple[Plan, str]:
        some = [one for one in chosen if only is None or one.subject in only]
        state = await read_monitoring_state(server, study, {one.subject for one in some}, memory, known)
        return plan_monitoring(some, lines, state, memory, now, recorded), state.study

    with Ledger(database, base_url) as ledger:
        async with Server(base_url, token=token, transport=transport) as server:
            return await _Courier(server, ledger, plan, now, known).run(dry_run, progress)


class Planner(Protocol):
    """Reads the server and plans for all subjects or ``only`` some; also gives the study's reference."""

    async def __call__(
        self, server: Server, memory: Memory, only: Collection[str] | None
    ) -> tuple[Plan, str]: ...


class _Courier:
    def __init__(
        self, server: Server, ledger: Ledger, planner: Planner, now: datetime, aliases: Mapping[str, str]
    ) -> None:
        self._server = server
        self._ledger = ledger
        self._planner = planner
        self._now = now
        self._aliases = aliases
        self._done: dict[str, SubjectPlan] = {}
        self._written = 0
        self._on_server = ""
        self._wait = 0.0

    async def run(self, dry_run: bool, progress: Progress | None) -> WriteReport:
        plan = await self._plan()
        if dry_run:
            return WriteReport(plan.counts(), plan.describe(), dry_run=True)
        return await self._deliver(plan, progress or (lambda done, total: None))

    async def _plan(self, only: Collection[str] | None = None) -> Plan:
        plan, self._on_server = await self._planner(self._server, self._ledger.recall(), only)
        return plan

    async def _deliver(self, plan: Plan, progress: Progress) -> WriteReport:
        total = len(plan.subjects)
        if plan.shared:
            await self._send_shared(plan.shared)
        first = {one.subject: one for one in plan.subjects}
        size = SUBJECTS_IN_ONE_TRANSACTION
        for round_number in range(ROUNDS):
            waiting = [one for one in plan.subjects if self._needs_sending(one, first[one.subject])]
            for start in range(0, len(waiting), size):
                await self._send(waiting[start : start + size])
                progress(total - len(waiting) + start + len(waiting[start : start + size]), total)
            again = self._unsettled(round_number)
            if not again or round_number == ROUNDS - 1:
                break
            await asyncio.sleep(
                max(self._wait, round_number)
            )  # at once the first time, unless told otherwise
            try:
                plan = await self._plan(again)
            except AdapterError:
                break  # still unknown; the report says so and the ledger keeps the intents
            size = 1
        return await self._report([self._done[one] for one in first])

    def _needs_sending(self, planned: SubjectPlan, first: SubjectPlan) -> bool:
        """Settle what needs no request; a lost answer found on the server counts as the first plan."""
        if planned.adopted:
            self._acknowledge_adopted(planned)
        if planned.changes:
            return True
        arrived = bool(planned.adopted) and bool(first.changes)
        self._done[planned.subject] = first if arrived else planned
        if arrived:
            self._written += len(first.changes)
        return False

    def _unsettled(self, round_number: int) -> set[str]:
        retried = {"unknown", "conflict"} if round_number == 0 else {"unknown"}
        return {subject for subject, one in self._done.items() if one.outcome in retried}

    async def _send_shared(self, changes: tuple[Change, ...]) -> None:
        """Study and device; without them no subject can be written, so a fault ends the run."""
        self._ledger.intend([change.intent() for change in changes], self._now)
        stored = await self._server.transact(transaction(changes))
        self._acknowledge(list(zip(changes, stored, strict=True)), "")

    async def _send(self, subjects: Sequence[SubjectPlan]) -> None:
        changes = [change for one in subjects for change in one.changes]
        self._ledger.intend([change.intent() for change in changes], self._now)
        try:
            stored = await self._server.transact(transaction(changes))
        except (WriteRefused, WriteConflict) as fault:
            self._ledger.abandon(change.reference for change in changes)
            if len(subjects) > 1:
                for one in subjects:
                    await self._send([one])
            else:
                self._fail(subjects[0], fault)
            return
        except SourceUnavailable as fault:
            self._wait = fault.wait if isinstance(fault, Busy) else 0.0
            for one in subjects:
                self._fail(one, fault)
            return
        answers = iter(stored)
        for one in subjects:
            pairs = [(change, next(answers)) for change in one.changes]
            self._acknowledge(pairs, one.subject)
            raced = any(not change.based_on and _was_there(answer) for change, answer in pairs)
            reason = "WRITTEN_MEANWHILE" if raced and not one.reason else one.reason
            self._done[one.subject] = msgspec.structs.replace(one, reason=reason)

    def _fail(self, one: SubjectPlan, fault: AdapterError) -> None:
        outcome = (
            "refused"
            if isinstance(fault, WriteRefused)
            else "conflict"
            if isinstance(fault, WriteConflict)
            else "unknown"
        )
        reason = f"{fault.where} {fault.message}".strip()
        self._done[one.subject] = msgspec.structs.replace(one, outcome=outcome, reason=reason)

    def _acknowledge(self, pairs: list[tuple[Change, Stored]], subject: str) -> None:
        self._written += len(pairs)
        self._remember(
            [
                Written(
                    change.reference,
                    answer.version,
                    change.owned_status,
                    content_sha256(change.resource),
                    change.fingerprint,
                )
                for change, answer in pairs
            ],
            subject,
        )

    def _acknowledge_adopted(self, planned: SubjectPlan) -> None:
        self._remember(list(planned.adopted), planned.subject)

    def _remember(self, written: list[Written], subject: str) -> None:
        receipts = [
            Receipt(one.reference, one.version, subject, one.fingerprint, RUNG, self._now) for one in written
        ]
        self._ledger.acknowledge(written, receipts, self._now)

    async def _report(self, settled: list[SubjectPlan]) -> WriteReport:
        duplicates: tuple[str, ...] = ()
        if self._written:
            people = await subjects_of(self._server, self._on_server, self._aliases)
            duplicates = tuple(sorted(subject for subject, several in people.items() if len(several) > 1))
        outcomes: Counter[str] = Counter(one.outcome for one in settled)
        rows = tuple(one.row() for one in settled)
        return WriteReport(outcomes, rows, self._written, self._on_server, duplicates)


def _was_there(answer: Stored) -> bool:
    """Whether what we meant to create existed: 200 and a later version; some servers say 200 for both."""
    return answer.status == 200 and answer.version.isdecimal() and int(answer.version) > 1
