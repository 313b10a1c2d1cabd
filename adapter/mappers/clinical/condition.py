"""Condition: diagnoses and problems, with what their statuses and wording leave of them.

Source: https://hl7.org/fhir/R4/condition.html. One event per concept: ``M32.102+N16.4*`` is two codes, and
``N04.2`` is both a membranous nephropathy and a nephrotic syndrome. A diagnosis that no table knows is kept
with concept "" (it is medical history), and a resource that only a stage code describes gives the stage as a
finding.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from adapter.mappers import r4
from adapter.mappers.clinical.diagnoses import STAGE, Diagnosis, Presence, Reading, diagnosis_of, stage_of
from adapter.mappers.clinical.onset import Choice, Moment, birth_of, moment, span
from adapter.mappers.context import Context, Mapped, codings_of, issue, refused, shape_of, source_of
from adapter.mappers.flags import flags_of
from adapter.model.dates import PartialDate
from adapter.model.facts import Coding, Event, Finding
from adapter.model.resource import RawResource

_CLINICAL: Mapping[str, Presence] = MappingProxyType(
    {
        **dict.fromkeys(("active", "recurrence", "relapse"), "present"),
        **dict.fromkeys(("inactive", "remission", "resolved"), "past"),
    }
)
_MEMBRANOUS = "membranous_nephropathy"
_UNCONFIRMED = ("provisional", "differential", "unconfirmed")


class ConditionStage(r4.Element, frozen=True, kw_only=True):
    summary: r4.CodeableConcept | None = None
    type: r4.CodeableConcept | None = None


class Condition(r4.Resource, frozen=True, kw_only=True):
    """``assertedDate`` and a bare ``abatementBoolean`` are STU3's; they still arrive."""

    clinicalStatus: r4.CodeableConcept | str | None = None
    verificationStatus: r4.CodeableConcept | str | None = None
    category: tuple[r4.CodeableConcept, ...] = ()
    severity: r4.CodeableConcept | None = None
    code: r4.CodeableConcept | None = None
    bodySite: tuple[r4.CodeableConcept, ...] = ()
    subject: r4.Reference | None = None
    encounter: r4.Reference | None = None
    onsetDateTime: str | None = None
    onsetAge: r4.Quantity | None = None
    onsetPeriod: r4.Period | None = None
    onsetRange: r4.Range | None = None
    onsetString: str | None = None
    abatementDateTime: str | None = None
    abatementAge: r4.Quantity | None = None
    abatementPeriod: r4.Period | None = None
    abatementRange: r4.Range | None = None
    abatementString: str | None = None
    abatementBoolean: bool | None = None
    recordedDate: str | None = None
    assertedDate: str | None = None
    stage: tuple[ConditionStage, ...] = ()


class Course(NamedTuple):
    """What the statuses and dates of one Condition say, before its code is looked at."""

    stated: Presence
    start: PartialDate | None
    end: PartialDate | None
    recorded: PartialDate | None
    status: str
    attributes: tuple[tuple[str, str], ...]
    flags: tuple[str, ...]
    excluded: str


def map_condition(resource: Condition, raw: RawResource, context: Context) -> Mapped:
    """Events per concept, a ``mn_stage`` finding where a stage is coded, and issues for unread parts.

    Attributes: category, clinical, verification, severity, encounter, body_site, stage.
    """
    subject = context.subject(resource.subject)
    if not subject:
        return refused("NO_SUBJECT", resource, raw, path="Condition.subject")
    diagnosis = diagnosis_of((resource.code,), context)
    if diagnosis.empty:
        return refused("NO_CODE", resource, raw, path="Condition.code", subject=subject)
    birth = birth_of(subject, context)
    began, ended = moment(_onset(resource), context, birth), moment(_abatement(resource), context, birth)
    stage = _stage(resource, diagnosis, context)
    course = _course(resource, context, began, ended, stage)
    events = [
        Event(
            subject=subject,
            concept=reading.entry.concept if reading else "",
            source=source_of(resource, raw),
            category="diagnosis",
            code=reading.coding if reading else diagnosis.coding,
            use=reading.use if reading else "AUTO",
            presence=diagnosis.presence(course.stated, reading),
            start=course.start,
            end=course.end,
            recorded=course.recorded,
            status=course.status,
            attributes=course.attributes,
            flags=flags_of(*course.flags, more=reading.entry.flags if reading else ("UNMAPPED_CODE",)),
            excluded=course.excluded or diagnosis.excluded,
        )
        for reading in _told(diagnosis)
    ]
    findings = (_finding(resource, raw, subject, diagnosis, course, stage),) if stage else ()
    problems = [("Condition.onset[x]", began.problem), ("Condition.abatement[x]", ended.problem)]
    problems += [("Condition.code", "CODE_INVALID")] if diagnosis.invalid else []
    issues = tuple(
        issue(
            problem, resource, raw, path=path, detail=_detail(resource, problem, diagnosis), subject=subject
        )
        for path, problem in problems
        if problem
    )
    return Mapped(events=tuple(events), findings=findings, issues=issues)


def _told(diagnosis: Diagnosis) -> list[Reading | None]:
    """Every concept but the stage, which is a finding; at least one row, so that no diagnosis is lost."""
    told: list[Reading | None] = [one for one in diagnosis.readings if one.entry.concept != STAGE]
    return told or [None]


def _onset(resource: Condition) -> Choice:
    return Choice(
        resource.onsetDateTime,
        resource.onsetPeriod,
        resource.onsetAge,
        resource.onsetRange,
        resource.onsetString,
    )


def _abatement(resource: Condition) -> Choice:
    return Choice(
        resource.abatementDateTime,
        resource.abatementPeriod,
        resource.abatementAge,
        resource.abatementRange,
        resource.abatementString,
    )


def _course(
    resource: Condition, context: Context, began: Moment, ended: Moment, stage: tuple[Coding, str] | None
) -> Course:
    clinical, verification = _status(resource.clinicalStatus), _status(resource.verificationStatus)
    abated = bool(ended.end or ended.start or ended.problem or resource.abatementBoolean)
    stated: Presence = _CLINICAL.get(clinical, "past" if abated else "present")
    if verification in _UNCONFIRMED:
        stated = "unconfirmed"
    elif verification == "refuted":
        stated = "refuted"
    # an onset that took a while began somewhere in that while; an abatement ends when its period ends
    start = began.start
    if began.start and began.end:
        text = f"{began.start.text}/{began.end.text}"
        start = span(began.start.first, began.end.last, text) or began.start
    end = ended.end or ended.start
    recorded = context.date(resource.recordedDate or resource.assertedDate)
    attributes = {
        "category": " ".join(code for one in resource.category if (code := r4.first_code(one))),
        "clinical": clinical,
        "verification": verification,
        "severity": r4.first_code(resource.severity),
        "encounter": (resource.encounter.reference if resource.encounter else "") or "",
        "body_site": " ".join(code for one in resource.bodySite if (code := r4.first_code(one))),
        "stage": stage[1] if stage else "",
    }
    flags = flags_of(
        "" if clinical and verification else "STATUS_MISSING",
        "STATUS_CONFLICT" if stated == "present" and abated else "",
        "" if start else "ONSET_MISSING",
        dates=(start, end, recorded),
    )
    wrong = "entered-in-error" in (clinical, verification)
    return Course(
        stated,
        start,
        end,
        recorded,
        clinical or verification,
        tuple((name, value) for name, value in attributes.items() if value),
        flags,
        "ENTERED_IN_ERROR" if wrong else "",
    )


def _status(status: r4.CodeableConcept | str | None) -> str:
    """The code of a status: a concept in R4, a bare code in STU3."""
    return (status if isinstance(status, str) else r4.first_code(status)).strip().lower()


def _stage(resource: Condition, diagnosis: Diagnosis, context: Context) -> tuple[Coding, str] | None:
    """The stage by the diagnosis code itself, else by Condition.stage if the diagnosis has stages."""
    if named := stage_of(diagnosis.readings, context):
        return named[0].coding, named[1]
    if not any(_MEMBRANOUS in one.entry.concept for one in diagnosis.readings):
        return None
    for one in resource.stage:
        codings = codings_of(one.summary)
        answer = context.terminology.answer_for(codings, r4.display(one.summary), ordinal=True, concept=STAGE)
        if answer is not None and answer.concept == STAGE:
            return (codings[0] if codings else Coding()), answer.meaning
    return None


def _finding(
    resource: Condition,
    raw: RawResource,
    subject: str,
    diagnosis: Diagnosis,
    course: Course,
    stage: tuple[Coding, str],
) -> Finding:
    """The coded stage as a finding of pathology; not of a diagnosis that is refuted or not confirmed."""
    presence = diagnosis.presence(course.stated)
    doubtful = {"refuted": "CANCELLED", "unconfirmed": "PRELIMINARY"}.get(presence, "")
    return Finding(
        subject=subject,
        concept=STAGE,
        source=source_of(resource, raw),
        category="pathology",
        code=stage[0],
        value_code=stage[1],
        original=stage[1],
        start=course.start or course.recorded,
        status=course.status,
        flags=course.flags,
        excluded=course.excluded or diagnosis.excluded or doubtful,
    )


def _detail(resource: Condition, problem: str, diagnosis: Diagnosis) -> str:
    """What was found, by shape and system only."""
    if problem == "CODE_INVALID":
        return f"not a code of {', '.join(diagnosis.invalid)}: wrong form or check digit"
    if problem == "UNPARSED_TEXT":
        return shape_of(resource.onsetString or resource.abatementString or "")
    return ""
