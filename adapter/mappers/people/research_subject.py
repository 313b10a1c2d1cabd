"""ResearchSubject and ResearchStudy: who takes part in which study, as the hospital records it.

Read in the R4 shape (``individual``, ``status``) and in R5's (``subject``, ``progress[].subjectState``),
because servers that were upgraded keep old records. Sources: https://hl7.org/fhir/R4/researchsubject.html,
https://hl7.org/fhir/R5/researchsubject.html, https://hl7.org/fhir/R4/researchstudy.html.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Literal

import msgspec

from adapter.mappers import r4
from adapter.mappers.context import Context, Mapped, refused, source_of
from adapter.mappers.flags import flags_of
from adapter.mappers.people.consent import study_reference
from adapter.model.facts import Coding, Event
from adapter.model.resource import RawResource

Presence = Literal["present", "past", "unconfirmed", "refuted"]

# withdrawn, ineligible and not-registered never entered the study; leaving after enrolment is off-study
_PRESENCE: Mapping[str, Presence] = MappingProxyType(
    {
        "on-study": "present",
        "on-study-intervention": "present",
        "on-study-observation": "present",
        "follow-up": "present",
        "pending-on-study": "present",
        "off-study": "past",
        "withdrawn": "refuted",
        "ineligible": "refuted",
        "not-registered": "refuted",
        "candidate": "unconfirmed",
        "potential-candidate": "unconfirmed",
        "eligible": "unconfirmed",
        "screening": "unconfirmed",
    }
)


class Progress(r4.Element, frozen=True, kw_only=True):
    subjectState: r4.CodeableConcept | None = None
    startDate: str | None = None
    endDate: str | None = None


class ResearchSubject(r4.Resource, frozen=True, kw_only=True):
    status: str | None = None
    period: r4.Period | None = None
    study: r4.Reference | None = None
    individual: r4.Reference | None = None
    subject: r4.Reference | None = None
    assignedArm: str | None = None
    actualArm: str | None = None
    assignedComparisonGroup: str | None = None
    actualComparisonGroup: str | None = None
    consent: r4.Reference | tuple[r4.Reference, ...] | None = None
    progress: tuple[Progress, ...] = ()


class ResearchStudy(r4.Resource, frozen=True, kw_only=True):
    """Without investigators and notes; ``category`` in R4 carries interventional or observational."""

    status: str | None = None
    category: tuple[r4.CodeableConcept, ...] = ()
    primaryPurposeType: r4.CodeableConcept | None = None
    period: r4.Period | None = None


def map_research_subject(resource: ResearchSubject, raw: RawResource, context: Context) -> Mapped:
    """One event ``research_subject`` over the period on the study.

    Attributes: status, study, study_identifier, assigned_arm, actual_arm, consent; :func:`with_studies`
    adds what the ResearchStudy resource says.
    """
    subject = context.subject(resource.individual or resource.subject)
    if not subject:
        return refused("NO_SUBJECT", resource, raw, path="ResearchSubject.individual")
    status = _state(resource)
    period = resource.period or r4.Period()
    consents = resource.consent if isinstance(resource.consent, tuple) else (resource.consent,)
    study = resource.study or r4.Reference()
    attributes = {
        "status": status,
        "study": study_reference(study.reference or ""),
        "study_identifier": (study.identifier.value if study.identifier else "") or "",
        "assigned_arm": resource.assignedArm or resource.assignedComparisonGroup or "",
        "actual_arm": resource.actualArm or resource.actualComparisonGroup or "",
        "consent": " ".join(one.reference for one in consents if one and one.reference),
    }
    start, end = context.date(period.start), context.date(period.end)
    flags = flags_of(
        "" if status else "STATUS_MISSING",
        "" if attributes["study"] or attributes["study_identifier"] else "STUDY_UNKNOWN",
        dates=(start, end),
    )
    return Mapped(
        events=(
            Event(
                subject=subject,
                concept="research_subject",
                source=source_of(resource, raw),
                category="research-subject",
                presence=_PRESENCE.get(status, "unconfirmed"),
                start=start,
                end=end,
                status=status,
                attributes=tuple((name, value) for name, value in attributes.items() if value),
                flags=flags,
                excluded="ENTERED_IN_ERROR" if status == "entered-in-error" else "",
            ),
        )
    )


def _state(resource: ResearchSubject) -> str:
    """The R4 status; in R5 ``status`` is the record's own and the state is the latest progress step's."""
    steps = [(step.startDate or "", r4.first_code(step.subjectState)) for step in resource.progress]
    known = [step for step in steps if step[1]]
    if known and resource.status not in _PRESENCE and resource.status != "entered-in-error":
        return max(known)[1]
    return resource.status or ""


def map_research_study(resource: ResearchStudy, raw: RawResource, context: Context) -> Mapped:
    """One event ``research_study`` that belongs to nobody, for :func:`with_studies`."""
    if not resource.id:
        return refused("NO_ID", resource, raw, path="ResearchStudy.id")
    period = resource.period or r4.Period()
    kinds = [
        word
        for one in resource.category
        for word in (*(coding.code or "" for coding in one.coding), one.text or "")
    ]
    attributes = {
        "study_identifier": " ".join(one.value for one in resource.identifiers if one.value),
        "study_type": next((word for word in kinds if word), ""),
        "purpose": r4.first_code(resource.primaryPurposeType),
        "study_status": resource.status or "",
    }
    return Mapped(
        events=(
            Event(
                subject="",
                concept="research_study",
                source=source_of(resource, raw),
                category="research-study",
                code=Coding(code=resource.id),
                start=context.date(period.start),
                end=context.date(period.end),
                status=resource.status or "",
                attributes=tuple((name, value) for name, value in attributes.items() if value),
            ),
        )
    )


def with_studies(events: Iterable[Event]) -> tuple[Event, ...]:
    """Copy identifier, type and purpose of each ResearchStudy to the rows that name it."""
    rows = tuple(events)
    studies = {row.source.reference: row for row in rows if row.concept == "research_study"}
    return tuple(_with_study(row, studies) for row in rows)


def _with_study(row: Event, studies: Mapping[str, Event]) -> Event:
    if row.category not in ("research-subject", "consent", "adverse-event"):
        return row
    named = [studies[one] for one in row.attribute("study").split() if one in studies]
    if not named:
        return row
    own = dict(row.attributes)
    for name in ("study_identifier", "study_type", "purpose"):
        found = " ".join(dict.fromkeys(value for study in named if (value := study.attribute(name))))
        if found and name not in own:
            own[name] = found
    return msgspec.structs.replace(row, attributes=tuple(own.items()))
