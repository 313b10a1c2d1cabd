"""What to write, decided without touching anything.

Decisions, what the server holds and what the ledger remembers go in; creates, updates (with the version they
are based on), respected human decisions and refusals come out. The same inputs give the same plan.

Who owns a status: the system owns one only while the resource is in the very version the system wrote last
(or meant to write, if the answer was lost). Any other version has a person's hand on it, and from then on
only our extension changes beside the status that stands there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Literal

import msgspec

from adapter import __version__
from adapter.errors import ExportError
from adapter.model.decision import Decision, Overall
from adapter.store.ledger import Intent, Memory, Written
from adapter.writeback import flag as flags
from adapter.writeback import status as statuses
from adapter.writeback.identity import client_id
from adapter.writeback.ownership import adopted, owned_status, version_of
from adapter.writeback.provenance import evidence_of, provenance
from adapter.writeback.research_study import SOFTWARE, StudyReference, device, research_study
from adapter.writeback.research_subject import fingerprint_of, new_subject, with_verdict
from adapter.writeback.resources import Json, content_sha256, reference_of

Outcome = Literal[
    "created",
    "updated",
    "unchanged",
    "respected_human",
    "not_needed",
    "awaiting_approval",
    "rejected",
    "held",
    "refused",
    "conflict",
    "unknown",
]


class CurrentState(msgspec.Struct, frozen=True):
    """What the server holds. ``study`` is the reference of its ResearchStudy ("" if it has none),
    ``subjects`` all ResearchSubjects of the study by Patient.id, ``flags`` our Flags by reference, ``gone``
    references that once were there and were deleted."""

    study: str = ""
    has_device: bool = False
    subjects: Mapping[str, tuple[Json, ...]] = {}
    flags: Mapping[str, Json] = {}
    gone: frozenset[str] = frozenset()


class Change(msgspec.Struct, frozen=True):
    """One resource to PUT. ``based_on`` is the version it replaces, "" for a create; ``owned_status`` the
    status if it is the system's, "" where a person's stands; ``address`` the server's own reference where
    that is not ours."""

    resource: Json
    based_on: str = ""
    owned_status: str = ""
    fingerprint: str = ""
    address: str = ""

    @property
    def reference(self) -> str:
        return reference_of(self.resource)

    def intent(self) -> Intent:
        return Intent(self.reference, self.owned_status, content_sha256(self.resource), self.fingerprint)

    def entry(self) -> Json:
        request: Json = {"method": "PUT", "url": self.reference}
        if self.based_on:
            request["ifMatch"] = f'W/"{self.based_on}"'
        elif not self.reference.startswith("Provenance/"):
            request["ifNoneMatch"] = "*"  # HAPI ignores it; servers that honour it refuse a lost race
        return {"resource": self.resource, "request": request}


class SubjectPlan(msgspec.Struct, frozen=True):
    """All that happens to one subject, sent as a whole or not at all.

    ``before`` and ``after`` are ResearchSubject.status; ``reason`` a name from GLOSSARY.md or "";
    ``adopted`` are own writes whose answer was lost and which were found on the server.
    """

    subject: str
    outcome: Outcome
    changes: tuple[Change, ...] = ()
    before: str = ""
    after: str = ""
    verdict: str = ""
    reason: str = ""
    adopted: tuple[Written, ...] = ()

    def row(self) -> dict[str, str]:
        writes = ", ".join(
            f"{'update' if change.based_on else 'create'} {change.reference.split('/')[0]}"
            for change in self.changes
        )
        return {
            "subject": self.subject,
            "outcome": self.outcome,
            "verdict": self.verdict,
            "before": self.before,
            "after": self.after,
            "writes": writes,
            "reason": self.reason,
        }


class Plan(msgspec.Struct, frozen=True):
    """``shared`` (study and device) is written first, then each subject."""

    shared: tuple[Change, ...]
    subjects: tuple[SubjectPlan, ...]

    def describe(self) -> tuple[dict[str, str], ...]:
        """One row a subject, as ``--dry-run`` prints it."""
        return tuple(subject.row() for subject in self.subjects)

    def counts(self) -> Counter[str]:
        return Counter(subject.outcome for subject in self.subjects)


def transaction(changes: Iterable[Change]) -> Json:
    return {
        "resourceType": "Bundle",
        "type": "transaction",
        "entry": [change.entry() for change in changes],
    }


def plan_writeback(
    decisions: Iterable[Decision],
    current: CurrentState,
    memory: Memory,
    study: StudyReference,
    now: datetime,
) -> Plan:
    """Plan all decisions; a subject that cannot be written is refused with a reason and stops nobody else.

    Raises ValueError if ``now`` has no zone: an instant without one is no FHIR instant.
    """
    if now.tzinfo is None:
        raise ValueError("now needs a time zone")
    ordered = sorted(decisions, key=lambda decision: decision.subject)
    times = Counter(decision.subject for decision in ordered)
    device_reference = f"Device/{client_id('device', SOFTWARE, __version__)}"
    desk = _Desk(current, memory, current.study or study.own_reference, device_reference, now)
    subjects = tuple(
        desk.subject(decision)
        if times[decision.subject] == 1
        else SubjectPlan(decision.subject, "refused", reason="SEVERAL_DECISIONS")
        for decision in ordered
    )
    shared: list[Change] = []
    if any(subject.changes for subject in subjects):
        if not current.study:
            shared.append(Change(research_study(study)))
        if not current.has_device:
            shared.append(Change(device(__version__)))
    return Plan(tuple(shared), subjects)


class _Desk:
    """One planning session: what is known, asked subject by subject."""

    def __init__(
        self, current: CurrentState, memory: Memory, study: str, device_reference: str, now: datetime
    ) -> None:
        self._current = current
        self._memory = memory
        self._study = study
        self._device = device_reference
        self._now = now

    def subject(self, decision: Decision) -> SubjectPlan:
        found = self._current.subjects.get(decision.subject, ())
        if reason := _refusal(decision, found):
            return SubjectPlan(decision.subject, "refused", verdict=decision.overall.value, reason=reason)
        try:
            return self._known(decision, found[0]) if found else self._absent(decision)
        except ExportError as fault:
            reason = f"INVALID: {fault.message}"
            return SubjectPlan(decision.subject, "refused", verdict=decision.overall.value, reason=reason)

    def _absent(self, decision: Decision) -> SubjectPlan:
        verdict = decision.overall.value
        proposal = statuses.PROPOSALS[decision.overall]
        reference = f"ResearchSubject/{client_id('subject', decision.protocol, decision.subject)}"
        if reference in self._current.gone:
            reason = "DELETED_BY_PERSON"
            return SubjectPlan(decision.subject, "respected_human", verdict=verdict, reason=reason)
        if not statuses.may("system", statuses.ABSENT, proposal):
            reason = "NEVER_A_CANDIDATE"
            return SubjectPlan(decision.subject, "not_needed", verdict=verdict, reason=reason)
        created = new_subject(decision, proposal, self._study)
        changes = [Change(created, "", proposal, decision.fingerprint)]
        changes += self._flags(decision, flags.concerns(decision, proposal))
        return SubjectPlan(
            decision.subject, "created", self._signed(decision, changes), "", proposal, verdict
        )

    def _known(self, decision: Decision, found: Json) -> SubjectPlan:
        before, proposal = found["status"], statuses.PROPOSALS[decision.overall]
        owned = self._owned_status(found) == before
        arrived = self._adopted(decision, found)
        over = statuses.stage_of(before) in ("registered", "over")
        moves = owned and statuses.may("system", before, proposal)
        after = proposal if moves else before
        contradicted = before if not moves and statuses.contradicts(before, decision.overall) else ""

        changes: list[Change] = []
        if not over and (fingerprint_of(found) != decision.fingerprint or after != before):
            resource = with_verdict(found, decision, after)
            changes.append(Change(resource, version_of(found), after if moves else "", decision.fingerprint))
        outside = self._outside_table(decision, found)
        changes += self._flags(decision, flags.concerns(decision, after, contradicted, outside))

        outcome: Outcome = "updated" if changes else "unchanged"
        reason = ""
        if not moves and before != proposal:
            outcome = "respected_human"
            reason = "SCREENING_OVER" if over else ("CONTRADICTED" if contradicted else "STATUS_OF_A_PERSON")
            reason = flags.OUTSIDE_TABLE if outside else reason
        signed = self._signed(decision, changes)
        verdict = decision.overall.value
        return SubjectPlan(decision.subject, outcome, signed, before, after, verdict, reason, arrived)

    def _flags(self, decision: Decision, wanted: Mapping[flags.FlagKind, flags.Concern]) -> Iterable[Change]:
        for kind in flags.KINDS:
            reference = f"Flag/{flags.flag_id(decision, kind)}"
            found = self._current.flags.get(reference)
            concern = wanted.get(kind)
            if concern is not None and self._raises(concern, reference, found):
                resource = flags.active_flag(decision, concern, self._device, found)
                yield Change(resource, version_of(found), "active", decision.fingerprint)
            elif concern is None and found is not None and self._closes(reference, found):
                resource = flags.closed_flag(found, decision.as_of)
                yield Change(resource, version_of(found), "inactive", decision.fingerprint)

    def _raises(self, concern: flags.Concern, reference: str, found: Json | None) -> bool:
        if found is None:
            return reference not in self._current.gone
        if found["status"] == "entered-in-error":
            return False  # a person said that it should never have been
        closed_by_us = found["status"] == "inactive" and self._owned_status(found) == "inactive"
        return closed_by_us or flags.basis_of(found) != concern.basis

    def _closes(self, reference: str, found: Json) -> bool:
        last = self._memory.written.get(reference)
        reopened_by_person = last is not None and last.status == "inactive"
        return found["status"] == "active" and not reopened_by_person

    def _outside_table(self, decision: Decision, found: Json) -> bool:
        """Whether a person moved the subject past the table; once flagged, until the next move."""
        last, status = self._memory.written.get(reference_of(found)), found["status"]
        if last is not None and last.status:
            return not statuses.may("person", last.status, status) and not self._owned_status(found)
        flag = self._current.flags.get(f"Flag/{flags.flag_id(decision, 'contradiction')}")
        return flag is not None and flags.tells_of_move(flag, status)

    def _owned_status(self, found: Json) -> str:
        return owned_status(found, self._memory)

    def _adopted(self, decision: Decision, found: Json) -> tuple[Written, ...]:
        references = [f"Flag/{flags.flag_id(decision, kind)}" for kind in flags.KINDS]
        held = [self._current.flags[one] for one in references if one in self._current.flags]
        return adopted([found, *held], self._memory)

    def _signed(self, decision: Decision, changes: list[Change]) -> tuple[Change, ...]:
        """The changes with the Provenance that explains them; nothing to explain, no Provenance."""
        if not changes:
            return ()
        activity: Literal["CREATE", "UPDATE"] = (
            "UPDATE" if any(change.based_on for change in changes) else "CREATE"
        )
        explained = provenance(
            decision,
            [change.reference for change in changes],
            device=self._device,
            activity=activity,
            base_version=",".join(f"{change.reference}@{change.based_on}" for change in changes),
            recorded=self._now,
        )
        return (*changes, Change(explained, fingerprint=decision.fingerprint))


def refusal(decision: Decision) -> str:
    """Why a decision must not be written anywhere, "" if it may."""
    if not decision.fingerprint:
        return "NO_FINGERPRINT"
    if decision.overall is not Overall.UNDETERMINED and not evidence_of(decision):
        return "NO_EVIDENCE"
    return ""


def _refusal(decision: Decision, found: tuple[Json, ...]) -> str:
    if reason := refusal(decision):
        return reason
    if len(found) > 1:
        return "DUPLICATE_ON_SERVER"
    if found and not statuses.is_code(found[0].get("status", "")):
        return "UNKNOWN_STATUS"
    if found and not version_of(found[0]):
        return "NO_VERSION"  # without one an update cannot be guarded against a person's change
    return ""
