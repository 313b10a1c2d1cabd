"""What to write about people on the study: Flags and their Provenance, and nothing else.

Their ResearchSubject is read (has a person recorded that the subject left?) and never written.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from adapter import __version__
from adapter.errors import ExportError
from adapter.model.facts import Source
from adapter.model.monitoring import Monitoring
from adapter.store.ledger import Memory
from adapter.writeback import status as statuses
from adapter.writeback.identity import client_id
from adapter.writeback.monitoring_flag import (
    STATUS_PLACE,
    Alert,
    Place,
    ProtocolLine,
    alerts,
    basis_of,
    evidence_on,
    monitoring_flag_id,
    place_of,
    raised_flag,
    resolved_flag,
    settled,
    status_conflict,
)
from adapter.writeback.ownership import adopted, owned_status, version_of
from adapter.writeback.plan import Change, CurrentState, Outcome, Plan, SubjectPlan
from adapter.writeback.provenance import provenance
from adapter.writeback.research_study import SOFTWARE, device
from adapter.writeback.resources import Json, reference_of


def plan_monitoring(
    rows: Iterable[Monitoring],
    lines: Mapping[str, ProtocolLine],
    current: CurrentState,
    memory: Memory,
    now: datetime,
    recorded: Mapping[str, str] | None = None,
) -> Plan:
    """``lines`` are by criterion; ``recorded`` the statuses of ResearchSubjects in the landed data, for
    subjects whom this server does not have. Raises ValueError if ``now`` has no zone."""
    if now.tzinfo is None:
        raise ValueError("now needs a time zone")
    desk = _Desk(lines, current, memory, now, recorded or {})
    subjects = tuple(desk.subject(row) for row in sorted(rows, key=lambda row: row.subject))
    shared: tuple[Change, ...] = ()
    if any(subject.changes for subject in subjects) and not current.has_device:
        shared = (Change(device(__version__)),)
    return Plan(shared, subjects)


@dataclass
class _Findings:
    """What came of one subject: ``standing`` alerts are flagged now, ``records`` explain the changes."""

    changes: list[Change] = field(default_factory=list)
    standing: list[Alert] = field(default_factory=list)
    records: set[Source] = field(default_factory=set)
    kept_closed: bool = False
    unfounded: bool = False

    @property
    def outcome(self) -> Outcome:
        if self.changes:
            return "updated" if any(change.based_on for change in self.changes) else "created"
        if self.unfounded:
            return "refused"
        return "respected_human" if self.kept_closed else "unchanged"

    @property
    def reason(self) -> str:
        if self.unfounded:
            return "NO_EVIDENCE"
        return "CLOSED_BY_PERSON" if self.kept_closed else ""


class _Desk:
    def __init__(
        self,
        lines: Mapping[str, ProtocolLine],
        current: CurrentState,
        memory: Memory,
        now: datetime,
        recorded: Mapping[str, str],
    ) -> None:
        self._lines = lines
        self._current = current
        self._memory = memory
        self._now = now
        self._recorded = recorded
        self._device = f"Device/{client_id('device', SOFTWARE, __version__)}"
        self._flags: dict[str, list[Json]] = {}
        for _, flag in sorted(current.flags.items()):
            subject = str(flag.get("subject", {}).get("reference", "")).rpartition("/")[2]
            self._flags.setdefault(subject, []).append(flag)

    def subject(self, row: Monitoring) -> SubjectPlan:
        status = self._status(row)
        if not row.fingerprint:
            return SubjectPlan(row.subject, "refused", before=status, reason="NO_FINGERPRINT")
        held: dict[Place, list[Json]] = {}
        for flag in self._flags.get(row.subject, ()):
            if (place := place_of(flag, row.protocol)) is not None:
                held.setdefault(place, []).append(flag)
        try:
            found = self._look(row, status, held)
            signed = self._signed(row, found)
        except ExportError as fault:
            reason = f"INVALID: {fault.message}"
            return SubjectPlan(row.subject, "refused", before=status, after=status, reason=reason)
        verdict = ", ".join(sorted(alert.criterion for alert in found.standing))
        arrived = adopted((flag for several in held.values() for flag in several), self._memory)
        return SubjectPlan(row.subject, found.outcome, signed, status, status, verdict, found.reason, arrived)

    def _status(self, row: Monitoring) -> str:
        found = self._current.subjects.get(row.subject, ())
        if len(found) == 1 and statuses.is_code(found[0].get("status", "")):
            return str(found[0]["status"])
        status = self._recorded.get(row.subject, "")
        return status if statuses.is_code(status) else ""

    def _look(self, row: Monitoring, status: str, held: Mapping[Place, Sequence[Json]]) -> _Findings:
        found = _Findings()
        wanted = alerts(row, self._lines, status)
        over = settled(row, status)
        conflict = status_conflict(row, status, self._last_owned(row))
        if conflict is not None:
            wanted[STATUS_PLACE] = conflict
        elif status:
            over[STATUS_PLACE] = ()
        for where, alert in sorted(wanted.items()):
            if not alert.evidence:
                found.unfounded = True
                continue
            change, stands = self._raise(row, alert, held.get(where, ()))
            found.changes += [change] if change is not None else []
            found.standing += [alert] if stands else []
            found.kept_closed = found.kept_closed or not stands
            found.records.update(alert.records if stands else ())
        for where in sorted(set(over) & set(held)):
            closing = list(self._close(row, held[where]))
            found.changes += closing
            found.records.update(over[where] if closing else ())
        return found

    def _raise(self, row: Monitoring, alert: Alert, held: Sequence[Json]) -> tuple[Change | None, bool]:
        """The change that makes the alert stand, if one is needed, and whether it stands then."""
        active = [flag for flag in held if flag["status"] == "active"]
        if active:
            found = active[0]
            if basis_of(found) == alert.basis:
                return None, True
            resource = raised_flag(row, alert, self._device, found)
            return Change(resource, version_of(found), "active", row.fingerprint), True
        by_person = [flag for flag in held if owned_status(flag, self._memory) != "inactive"]
        if by_person and set(alert.evidence) <= evidence_on(by_person):
            return None, False
        reference = f"Flag/{monitoring_flag_id(row, alert)}"
        if reference in self._current.gone:
            return None, False
        again = self._current.flags.get(reference)
        if again is not None and again in by_person:
            return None, False
        resource = raised_flag(row, alert, self._device, again)
        return Change(resource, version_of(again), "active", row.fingerprint), True

    def _close(self, row: Monitoring, held: Iterable[Json]) -> Iterator[Change]:
        for flag in held:
            last = self._memory.written.get(reference_of(flag))
            reopened_by_person = last is not None and last.status == "inactive"
            if flag["status"] == "active" and not reopened_by_person:
                resource = resolved_flag(flag, row.as_of)
                yield Change(resource, version_of(flag), "inactive", row.fingerprint)

    def _last_owned(self, row: Monitoring) -> str:
        reference = f"ResearchSubject/{client_id('subject', row.protocol, row.subject)}"
        last = self._memory.written.get(reference)
        return last.status if last is not None else ""

    def _signed(self, row: Monitoring, found: _Findings) -> tuple[Change, ...]:
        changes = found.changes
        if not changes:
            return ()
        explained = provenance(
            row,
            [change.reference for change in changes],
            device=self._device,
            activity="UPDATE" if any(change.based_on for change in changes) else "CREATE",
            base_version=",".join(f"{change.reference}@{change.based_on}" for change in changes),
            recorded=self._now,
            records=sorted(found.records),
        )
        return (*changes, Change(explained, fingerprint=row.fingerprint))
