"""AdverseEvent as R4 writes it. Source: https://hl7.org/fhir/R4/adverseevent.html."""

from __future__ import annotations

from adapter.mappers import r4
from adapter.mappers.context import Context, Mapped, codings_of, issue, refused, source_of
from adapter.mappers.flags import flags_of
from adapter.mappers.people.consent import study_reference
from adapter.model.facts import Coding, Event
from adapter.model.resource import RawResource

# R4 has no element for what was done with the study drug; sites that record it use an extension
_ACTION_ENDINGS = ("action-taken", "actionTaken", "adverse-event-action", "mitigating-action")


class Causality(r4.Element, frozen=True, kw_only=True):
    assessment: r4.CodeableConcept | None = None
    productRelatedness: str | None = None


class SuspectEntity(r4.Element, frozen=True, kw_only=True):
    instance: r4.Reference | None = None
    causality: tuple[Causality, ...] = ()


class AdverseEvent(r4.Resource, frozen=True, kw_only=True):
    actuality: str | None = None
    category: tuple[r4.CodeableConcept, ...] = ()
    event: r4.CodeableConcept | None = None
    subject: r4.Reference | None = None
    date: str | None = None
    detected: str | None = None
    recordedDate: str | None = None
    resultingCondition: tuple[r4.Reference, ...] = ()
    seriousness: r4.CodeableConcept | None = None
    severity: r4.CodeableConcept | None = None
    outcome: r4.CodeableConcept | None = None
    suspectEntity: tuple[SuspectEntity, ...] = ()
    study: tuple[r4.Reference, ...] = ()


def map_adverse_event(resource: AdverseEvent, raw: RawResource, context: Context) -> Mapped:
    """One event ``adverse_event``.

    Attributes: actuality (a potential one, a near miss, is ``unconfirmed``), seriousness, severity, outcome,
    causality, suspect, action, study, condition, category. ``date`` is when it happened; if only ``detected``
    is known that is used (flag DATE_IS_DETECTED).
    """
    subject = context.subject(resource.subject)
    if not subject:
        return refused("NO_SUBJECT", resource, raw, path="AdverseEvent.subject")
    happened, detected = context.date(resource.date), context.date(resource.detected)
    start = happened or detected
    dated = "" if happened else "DATE_IS_DETECTED" if detected else "NO_DATE"
    problems = (
        (issue("NO_DATE", resource, raw, path="AdverseEvent.date", subject=subject),) if start is None else ()
    )
    causality = [one for entity in resource.suspectEntity for one in entity.causality]
    attributes = {
        "actuality": resource.actuality or "",
        "seriousness": _word(resource.seriousness),
        "severity": _word(resource.severity),
        "outcome": _word(resource.outcome),
        "causality": " ".join(word for one in causality if (word := _word(one.assessment))),
        "suspect": _references([one.instance for one in resource.suspectEntity]),
        "action": " ".join(_actions(resource)),
        "study": " ".join(found for one in resource.study if (found := study_reference(one.reference or ""))),
        "condition": _references(resource.resultingCondition),
        "category": " ".join(word for one in resource.category if (word := r4.first_code(one))),
    }
    codes = codings_of(resource.event)
    return Mapped(
        events=(
            Event(
                subject=subject,
                concept="adverse_event",
                source=source_of(resource, raw),
                category="adverse-event",
                code=codes[0] if codes else Coding(),
                presence="unconfirmed" if resource.actuality == "potential" else "present",
                start=start,
                recorded=context.date(resource.recordedDate),
                status=resource.actuality or "",
                attributes=tuple((name, value) for name, value in attributes.items() if value),
                flags=flags_of(dated, dates=(start,)),
            ),
        ),
        issues=problems,
    )


def _word(concept: r4.CodeableConcept | None) -> str:
    return r4.first_code(concept) or r4.display(concept)


def _references(references: tuple[r4.Reference, ...] | list[r4.Reference | None]) -> str:
    return " ".join(one.reference for one in references if one and one.reference)


def _actions(resource: AdverseEvent) -> list[str]:
    found = [one for one in resource.extension if (one.url or "").endswith(_ACTION_ENDINGS)]
    return [
        word
        for one in found
        if (word := _word(one.valueCodeableConcept) or one.valueCode or one.valueString or "")
    ]
