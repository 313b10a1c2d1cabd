"""The two passes over a set of resources; :func:`adapter.mappers.map_resources` is the way in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import tzinfo
from types import MappingProxyType
from typing import TYPE_CHECKING, TypeVar

import msgspec

from adapter.mappers import index, r4
from adapter.mappers.accounts import Ledger
from adapter.mappers.arrival import Arrival, Arrivals, receive, unreadable
from adapter.mappers.context import NOT_RELEVANT, UNMODIFIED, Context, Mapped, Mapper, refused
from adapter.mappers.gaps import Unread, gaps
from adapter.mappers.medications import exposure
from adapter.mappers.people import identity
from adapter.mappers.people.research_subject import with_studies
from adapter.mappers.results.corrections import settle
from adapter.mappers.results.derive import derive
from adapter.mappers.soundness import unsound
from adapter.model.coverage import Coverage
from adapter.model.coverage import order as coverage_order
from adapter.model.dates import PartialDate
from adapter.model.facts import Event, Facts, Finding, Intervention, Source, Subject
from adapter.model.issue import Issue
from adapter.model.resource import RawResource

if TYPE_CHECKING:
    from adapter.mappers.terminology import Terminology

R = TypeVar("R", bound=r4.Resource)
_UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
_REFERRED_TO: Mapping[str, type[r4.Resource]] = MappingProxyType(
    {one.__name__: one for one in (r4.Patient, r4.Medication, r4.Specimen, r4.DiagnosticReport)}
)


class _Rows:
    """What the second pass collects."""

    def __init__(self, arrivals: Arrivals) -> None:
        self.findings: list[Finding] = []
        self.events: list[Event] = []
        self.interventions: list[Intervention] = []
        self.subjects: list[Subject] = []
        self.issues: list[Issue] = [*arrivals.refused, *arrivals.notes]
        self.identifiers: dict[Source, tuple[str, ...]] = {}
        self.ledger = Ledger()
        self.unread: list[Unread] = list(arrivals.unread)
        for issue in arrivals.refused:
            self.ledger.enter(issue.resource_type, "issue")

    def add(self, arrival: Arrival, mapped: Mapped) -> None:
        outcome = mapped.outcome
        self.ledger.enter(arrival.resource_type, outcome)
        if mapped.issues:
            self.issues += mapped.issues
            lost = [one.code for one in mapped.issues if one.fatal_for_resource]
            self.unread += [Unread(arrival.raw.line, code) for code in lost]
        if outcome != "facts":
            return
        if arrival.superseded:
            mapped = _superseded(mapped)
        self.findings += mapped.findings
        self.events += mapped.events
        self.interventions += mapped.interventions
        self.subjects += mapped.subjects
        self.identifiers.update(mapped.identifiers)


def run(
    resources: Iterable[RawResource],
    mappers: Mapping[str, Mapper],
    *,
    terminology: Terminology,
    zone: tzinfo,
    coverage: Iterable[Coverage] = (),
    options: Mapping[str, bool] = MappingProxyType({}),
) -> Facts:
    """Receive, index, map patients and then everything else, settle, derive, sort."""
    arrivals = receive(resources)
    rows = _Rows(arrivals)
    read = [
        _read(one, _REFERRED_TO[one.resource_type]) if one.resource_type in _REFERRED_TO else None
        for one in arrivals.resources
    ]
    believed = [
        one
        for one, arrival in zip(read, arrivals.resources, strict=True)
        if one is not None and not arrival.superseded
    ]
    patients = _of(r4.Patient, believed)
    merges = identity.resolve(patients)
    found = index.build(
        patients,
        _of(r4.Medication, believed),
        _of(r4.Specimen, believed),
        merges.survivors,
        _of(r4.DiagnosticReport, believed),
    )
    alone = Context(terminology=terminology, zone=zone, index=found, options=options)
    for arrival, resource in zip(arrivals.resources, read, strict=True):
        if arrival.resource_type == "Patient":
            rows.add(arrival, _map_patient(arrival, resource, mappers, alone))
    people, merge_issues = identity.fold(rows.subjects, merges)
    context = msgspec.structs.replace(
        alone, people=MappingProxyType({person.id: person for person in people})
    )
    for arrival, resource in zip(arrivals.resources, read, strict=True):
        if arrival.resource_type != "Patient":
            rows.add(arrival, _map(arrival, resource, mappers, context))
    settled = settle(rows.findings, rows.identifiers)
    findings = derive(settled.findings, context)
    issues = [*rows.issues, *merge_issues, *settled.issues, *_strangers(rows, people)]
    types = mappers.keys() - {"Patient"}
    lost = gaps(rows.unread, types, {person.id for person in people}, merges)
    return Facts(
        subjects=tuple(sorted(people, key=lambda row: row.id)),
        findings=tuple(sorted(findings, key=_finding_order)),
        events=tuple(sorted(with_studies(rows.events), key=_event_order)),
        interventions=tuple(sorted(exposure.settle(rows.interventions), key=_intervention_order)),
        issues=tuple(sorted(issues, key=_issue_order)),
        accounts=rows.ledger.accounts(),
        coverage=tuple(sorted((*coverage, *lost), key=coverage_order)),
    )


def _read(arrival: Arrival, wanted: type[R]) -> R | Mapped:
    """The resource; or, where it cannot be read or must not be believed, the issue that says why."""
    raw = arrival.raw
    try:
        resource = r4.decode(raw.line, wanted)
    except _UNREADABLE as error:
        reference = f"{arrival.resource_type}/{arrival.id}" if arrival.id else raw.where
        return Mapped(issues=(unreadable(error, arrival.resource_type, reference),))
    if resource.modifierExtension:
        return refused("MODIFIER_EXTENSION", resource, raw, detail=UNMODIFIED)
    if wrong := unsound(raw.line):
        path = f"{arrival.resource_type}.{wrong.path}" if wrong.path else ""
        return refused(wrong.code, resource, raw, path=path, detail=wrong.detail)
    return resource


def _of(wanted: type[R], read: Iterable[r4.Resource | Mapped]) -> list[R]:
    return [one for one in read if isinstance(one, wanted)]


def _map_patient(
    arrival: Arrival, read: r4.Resource | Mapped | None, mappers: Mapping[str, Mapper], context: Context
) -> Mapped:
    if not arrival.superseded:
        return _map(arrival, read, mappers, context)
    older = Issue(
        "SUPERSEDED",
        "information",
        "Patient",
        f"Patient/{arrival.id}",
        "meta",
        "a newer version of this record was read",
        context.index.survivors.get(arrival.id, arrival.id),
        fatal_for_resource=True,
    )
    return Mapped(issues=(older,))


def _map(
    arrival: Arrival, read: r4.Resource | Mapped | None, mappers: Mapping[str, Mapper], context: Context
) -> Mapped:
    """What a resource became; ``read`` is what the first pass has of it, if it looked at it."""
    mapper = mappers.get(arrival.resource_type)
    if mapper is None:
        return NOT_RELEVANT
    resource = _read(arrival, mapper.struct) if read is None else read
    if isinstance(resource, Mapped):
        return resource
    if resource.implicitRules:
        # https://hl7.org/fhir/R4/resource.html#implicitRules: rules that are not known forbid processing.
        return refused("IMPLICIT_RULES", resource, arrival.raw, detail="rules that are not known here")
    return mapper.function(resource, arrival.raw, context)


def _superseded(mapped: Mapped) -> Mapped:
    """The rows of an older version: kept for the audit, deciding nothing."""

    def mark(row: Finding | Event | Intervention) -> Finding | Event | Intervention:
        return msgspec.structs.replace(row, excluded="SUPERSEDED")

    return msgspec.structs.replace(
        mapped,
        findings=tuple(mark(row) for row in mapped.findings),
        events=tuple(mark(row) for row in mapped.events),
        interventions=tuple(mark(row) for row in mapped.interventions),
    )


def _strangers(rows: _Rows, people: tuple[Subject, ...]) -> list[Issue]:
    """Facts about patients whose own record was not among the resources."""
    known = {person.id for person in people}
    named = {row.subject for table in (rows.findings, rows.events, rows.interventions) for row in table}
    return [
        Issue(
            "PATIENT_NOT_SENT",
            "warning",
            "Patient",
            f"Patient/{subject}",
            "",
            "facts were read, the patient was not",
            subject,
        )
        for subject in sorted(named - known - {""})
    ]


def _when(day: PartialDate | None) -> tuple[object, ...]:
    return (day is not None, *(day.order if day else ()))


def _finding_order(row: Finding) -> tuple[object, ...]:
    return (row.subject, row.concept, _when(row.when), row.source, row.method, row.code, row.excluded)


def _event_order(row: Event) -> tuple[object, ...]:
    return (row.subject, row.concept, _when(row.start), row.source, row.category, row.code, row.attributes)


def _intervention_order(row: Intervention) -> tuple[object, ...]:
    return (row.subject, row.concept, _when(row.start), row.source, row.kind, row.code, row.frequency)


def _issue_order(row: Issue) -> tuple[str, ...]:
    return (row.subject, row.resource_type, row.reference, row.path, row.code, row.detail)
