"""Carries one rung's plan to its end and finds out what became of it.

One subject is one whole: its resources are written together or not at all, or, where the server knows no
transactions, one by one in an order in which each stands for itself and the rest follows on the next run.
Several subjects share a transaction to save round trips; if it fails, each is sent alone, so nobody pays
for a neighbour. A lost answer means "unknown": the server is read again before anything is repeated.
A conflict is read and planned again once, never forced.

``at`` is told the name of every step as it is reached (:data:`STEPS`); a process may die at any of them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence
from typing import Protocol

import msgspec

from adapter.errors import AdapterError, SourceUnavailable, WriteConflict, WriteRefused
from adapter.store.ledger import Memory
from adapter.store.outbox_state import State
from adapter.writeback.carry import At, Part
from adapter.writeback.journal import Journal
from adapter.writeback.plan import Change, Outcome, Plan, SubjectPlan
from adapter.writeback.rungs import Way, leads_on
from adapter.writeback.server import Busy, Stored

STEPS = (
    "leased",
    "planned",
    "shared sending",
    "shared sent",
    "shared done",
    "sending",
    "part ResearchSubject",
    "part Flag",
    "part Provenance",
    "sent",
    "done",
    "failed",
    "checked",
    "released",
)
ROUNDS = 3  # the first, and two more for what is unknown; a conflict gets one more only
Progress = Callable[[int, int], None]


class Planner(Protocol):
    """Reads what is there and plans for ``only`` some; also gives the study's reference there."""

    async def __call__(self, memory: Memory, only: Collection[str]) -> tuple[Plan, str]: ...


class Carrier(Protocol):
    """Sends changes once, as :func:`adapter.writeback.carry.carry` does. ``shared`` (study and device) goes
    first and alone unless ``encloses_shared``; ``holds`` says whether a resource is there; ``check`` looks
    for duplicates among the people written and gives those it found and what it took back."""

    encloses_shared: bool
    subjects_at_once: int

    async def __call__(self, changes: Sequence[Change], at: At) -> list[Stored]: ...
    async def holds(self, reference: str) -> bool: ...
    async def check(
        self, study: str, written: Collection[str]
    ) -> tuple[tuple[str, ...], tuple[str, ...]]: ...


class Delivery(msgspec.Struct, frozen=True):
    """What one rung did; ``left`` are those that it could not serve and the next one should;
    ``unchecked`` says why nobody could look for duplicates afterwards."""

    settled: tuple[SubjectPlan, ...]
    resources_written: int = 0
    study: str = ""
    duplicates: tuple[str, ...] = ()
    left: frozenset[str] = frozenset()
    unchecked: str = ""


class Courier:
    def __init__(self, journal: Journal, planner: Planner, carrier: Carrier, way: Way, at: At) -> None:
        self._journal = journal
        self._planner = planner
        self._carrier = carrier
        self._way = way
        self._at = at
        self._done: dict[str, SubjectPlan] = {}
        self._left: set[str] = set()
        self._touched: set[str] = set()
        self._shared: tuple[Change, ...] = ()
        self._written = 0
        self._on_server = ""
        self._wait = 0.0

    async def preview(self, subjects: Collection[str]) -> Delivery:
        """The plan alone; nothing is noted or sent."""
        plan = await self._plan(subjects)
        return Delivery(plan.subjects, study=self._on_server)

    async def run(self, subjects: Collection[str], progress: Progress) -> Delivery:
        plan = await self._plan(subjects)
        first = {one.subject: one for one in plan.subjects}
        for round_number in range(ROUNDS):
            waiting = self._ready(plan.subjects, first)
            self._at("planned")
            if waiting and plan.shared:
                try:
                    await self._send_shared(plan.shared)
                except WriteRefused as fault:
                    self._journal.closed(waiting, _words(fault))
                    raise
            await self._send_all(waiting, len(first), 1 if round_number else 0, progress)
            again = self._unsettled(round_number)
            if not again or round_number == ROUNDS - 1:
                break
            # at once the first time, unless told otherwise
            await asyncio.sleep(max(self._wait, round_number))
            try:
                plan = await self._plan(again)
            except AdapterError:
                break  # still unknown; the report says so and the outbox keeps it
        duplicates, unchecked = await self._check()
        settled = tuple(self._done[one] for one in first)
        return Delivery(settled, self._written, self._on_server, duplicates, frozenset(self._left), unchecked)

    async def _plan(self, only: Collection[str]) -> Plan:
        memory = self._journal.recall()
        plan, self._on_server = await self._planner(memory, only)
        if self._way.whole:
            return plan
        left_out = self._journal.unexplained(memory)
        subjects = [await self._explained(one, left_out.get(one.subject)) for one in plan.subjects]
        return Plan(plan.shared, tuple(subjects))

    async def _explained(self, one: SubjectPlan, left_out: Change | None) -> SubjectPlan:
        """With the Provenance of an earlier write that was cut short before it."""
        if left_out is None or left_out.reference in {change.reference for change in one.changes}:
            return one
        targets = {str(target.get("reference", "")) for target in left_out.resource["target"]}
        if await self._carrier.holds(left_out.reference):
            return one
        for reference in sorted(targets - {change.reference for change in one.changes}):
            if not await self._carrier.holds(reference):
                return one
        outcome: Outcome = one.outcome if one.changes else "updated"
        return msgspec.structs.replace(one, outcome=outcome, changes=(*one.changes, left_out))

    def _ready(self, planned: Sequence[SubjectPlan], first: dict[str, SubjectPlan]) -> list[SubjectPlan]:
        """Settle what needs no request; a lost answer found on the server counts as the first plan."""
        for one in planned:
            if one.changes:
                self._journal.adopt(one)
        states = self._journal.plan(planned)
        waiting: list[SubjectPlan] = []
        for one in planned:
            if not one.changes:
                if one.outcome == "unknown":  # nobody can look, and a person has to settle it
                    self._journal.lost(one)
                else:
                    self._journal.nothing_left(one)
                arrived = bool(one.adopted) and bool(first[one.subject].changes)
                self._done[one.subject] = first[one.subject] if arrived else one
                self._written += len(first[one.subject].changes) if arrived else 0
                continue
            state = states[one.subject]
            if state == "rejected" or (state == "planned" and self._journal.approval):
                outcome: Outcome = "rejected" if state == "rejected" else "awaiting_approval"
                self._done[one.subject] = msgspec.structs.replace(one, outcome=outcome)
            else:
                waiting.append(one)
        return waiting

    async def _send_all(
        self, waiting: Sequence[SubjectPlan], total: int, size: int, progress: Progress
    ) -> None:
        size = size or (self._carrier.subjects_at_once if self._way.whole else 1)
        for start in range(0, len(waiting), size):
            await self._send(waiting[start : start + size])
            progress(total - len(waiting) + min(start + size, len(waiting)), total)

    def _unsettled(self, round_number: int) -> set[str]:
        retried = {"unknown", "conflict"} if round_number == 0 else {"unknown"}
        return {subject for subject, one in self._done.items() if one.outcome in retried}

    async def _send_shared(self, changes: tuple[Change, ...]) -> None:
        """Study and device; without them no subject can be written, so a fault ends the rung."""
        if self._carrier.encloses_shared:
            self._shared = changes
            return
        self._journal.sending_shared(changes)
        self._at("shared sending")
        try:
            stored = await self._carrier(changes, self._at)
        except (WriteConflict, SourceUnavailable, Part) as fault:
            # another process may have been first, or only the answer was lost
            if not all([await self._carrier.holds(change.reference) for change in changes]):
                raise (fault.fault if isinstance(fault, Part) else fault) from None
            self._journal.shared_there(changes)
            return
        self._at("shared sent")
        self._journal.shared_done(list(zip(changes, stored, strict=True)))
        self._written += len(changes)
        self._at("shared done")

    async def _send(self, subjects: Sequence[SubjectPlan]) -> None:
        going = self._journal.sending(subjects)
        for one in subjects:
            if one not in going:
                self._done[one.subject] = msgspec.structs.replace(
                    one, outcome="held", reason="HELD_BY_ANOTHER"
                )
        if not going:
            return
        self._at("sending")
        changes = [change for one in going for change in one.changes]
        try:
            stored = await self._carrier([*self._shared, *changes], self._at)
        except Part as part:
            self._fail(going, part.fault, list(zip(changes, part.stored, strict=False)))
        except (WriteRefused, WriteConflict) as fault:
            if len(going) == 1:
                self._fail(going, fault)
                return
            self._journal.failed(going, _state(fault), _words(fault))
            self._at("failed")
            for one in going:
                await self._send([one])
        except SourceUnavailable as fault:
            self._fail(going, fault)
        else:
            self._at("sent")
            self._succeed(going, stored[len(self._shared) :])

    def _succeed(self, going: Sequence[SubjectPlan], stored: Sequence[Stored]) -> None:
        answers = iter(stored)
        several = [(one, [(change, next(answers)) for change in one.changes]) for one in going]
        self._journal.done(several)
        for one, pairs in several:
            self._written += len(pairs)
            self._touched.add(one.subject)
            raced = any(not change.based_on and _was_there(answer) for change, answer in pairs)
            reason = "WRITTEN_MEANWHILE" if raced and not one.reason else one.reason
            self._done[one.subject] = msgspec.structs.replace(one, reason=reason)
        self._at("done")

    def _fail(
        self,
        going: Sequence[SubjectPlan],
        fault: AdapterError,
        arrived: Sequence[tuple[Change, Stored]] = (),
    ) -> None:
        self._wait = fault.wait if isinstance(fault, Busy) else 0.0
        state, reason = _state(fault), _words(fault)
        self._journal.failed(going, state, reason, arrived)
        self._written += len(arrived)
        for one in going:
            outcome: Outcome = (
                "unknown" if state == "unknown" else "conflict" if state == "conflict" else "refused"
            )
            self._done[one.subject] = msgspec.structs.replace(one, outcome=outcome, reason=reason)
            if state == "refused" and not arrived and closes(fault):
                self._left.add(one.subject)
        self._at("failed")

    async def _check(self) -> tuple[tuple[str, ...], str]:
        """Duplicates, and why nobody could look for them: what was written is told of all the same."""
        if not self._touched:
            return (), ""
        try:
            duplicates, taken_back = await self._carrier.check(self._on_server, self._touched)
        except AdapterError as fault:
            self._journal.unchecked(self._touched, _words(fault))
            return (), _words(fault)
        if taken_back:
            self._journal.retracted(taken_back)
        self._at("checked")
        return duplicates, ""


def closes(fault: AdapterError) -> bool:
    """Whether this refusal closes the rung for a person, so that the next should be tried."""
    return fault.where.isdigit() and leads_on(int(fault.where), fault.message)


def _state(fault: AdapterError) -> State:
    if isinstance(fault, WriteRefused):
        return "refused"
    return "conflict" if isinstance(fault, WriteConflict) else "unknown"


def _words(fault: AdapterError) -> str:
    return f"{fault.where} {fault.message}".strip()


def _was_there(answer: Stored) -> bool:
    """Whether what we meant to create existed: 200 and a later version; some servers say 200 for both."""
    return answer.status == 200 and answer.version.isdecimal() and int(answer.version) > 1
