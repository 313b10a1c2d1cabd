"""Procedure: biopsies, transplants, infusions recorded as procedures.

Source: https://hl7.org/fhir/R4/procedure.html. A procedure that says a drug of the tables was given
(``利妥昔单抗输注``) is an administration of that drug: that is how some wards record it. Naming the drug is
not enough: ``他克莫司血药浓度测定`` measures it.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal

from adapter.mappers import r4
from adapter.mappers.clinical.diagnoses import Diagnosis, Reading, diagnosis_of
from adapter.mappers.clinical.onset import Choice, Moment, birth_of, moment
from adapter.mappers.context import Context, Mapped, issue, refused, shape_of, source_of
from adapter.mappers.flags import flags_of
from adapter.mappers.medications.medication import Named, product_of, systemic
from adapter.model.facts import Event, Intervention
from adapter.model.resource import RawResource

_EXCLUDED: Mapping[str, str] = MappingProxyType(
    {
        "not-done": "NOT_DONE",
        "preparation": "PLANNED",
        "on-hold": "ON_HOLD",
        "stopped": "STOPPED",
        "entered-in-error": "ENTERED_IN_ERROR",
    }
)
_FLAGS: Mapping[str, str] = MappingProxyType(
    {"": "STATUS_MISSING", "unknown": "STATUS_UNKNOWN", "in-progress": "UNFINISHED"}
)
_NAMED_PROCEDURES = ("kidney_biopsy", "kidney_transplant")
_GIVING = ("输注", "注射", "滴注", "静滴", "静推", "给药", "冲击", "infusion", "injection", "administration")


class Procedure(r4.Resource, frozen=True, kw_only=True):
    status: str | None = None
    category: r4.CodeableConcept | None = None
    code: r4.CodeableConcept | None = None
    subject: r4.Reference | None = None
    performedDateTime: str | None = None
    performedPeriod: r4.Period | None = None
    performedString: str | None = None
    performedAge: r4.Quantity | None = None
    performedRange: r4.Range | None = None
    bodySite: tuple[r4.CodeableConcept, ...] = ()
    reasonCode: tuple[r4.CodeableConcept, ...] = ()


def map_procedure(resource: Procedure, raw: RawResource, context: Context) -> Mapped:
    """An event per concept, an administration per drug named, or an event with concept ""."""
    subject = context.subject(resource.subject)
    if not subject:
        return refused("NO_SUBJECT", resource, raw, path="Procedure.subject")
    diagnosis = _done(diagnosis_of((resource.code,), context))
    if diagnosis.empty:
        return refused("NO_CODE", resource, raw, path="Procedure.code", subject=subject)
    performed = moment(
        Choice(
            resource.performedDateTime,
            resource.performedPeriod,
            resource.performedAge,
            resource.performedRange,
            resource.performedString,
        ),
        context,
        birth_of(subject, context),
    )
    issues = []
    if performed.problem:
        path = "Procedure.performed[x]"
        detail = shape_of(resource.performedString) if resource.performedString else ""
        issues.append(issue(performed.problem, resource, raw, path=path, detail=detail, subject=subject))
    if not diagnosis.readings:
        given = _given(resource, raw, context, subject, performed, diagnosis)
        if given:
            return Mapped(interventions=given, issues=tuple(issues))
    status = resource.status or ""
    attributes = {
        "category": r4.first_code(resource.category) or r4.display(resource.category),
        "body_site": " ".join(code for one in resource.bodySite if (code := r4.first_code(one))),
    }
    told: list[Reading | None] = list(diagnosis.readings)
    events = tuple(
        Event(
            subject=subject,
            concept=reading.entry.concept if reading else "",
            source=source_of(resource, raw),
            category="procedure",
            code=reading.coding if reading else diagnosis.coding,
            use=reading.use if reading else "AUTO",
            presence=_presence(diagnosis, reading),
            start=performed.start,
            end=performed.end or performed.start,
            status=status,
            attributes=tuple((name, value) for name, value in attributes.items() if value),
            flags=flags_of(
                _FLAGS.get(status, ""),
                "" if performed.start or performed.end else "NO_DATE",
                more=reading.entry.flags if reading else ("UNMAPPED_CODE",),
                dates=(performed.start, performed.end),
            ),
            excluded=_EXCLUDED.get(status, ""),
        )
        for reading in told or [None]
    )
    return Mapped(events=events, issues=tuple(issues))


def _done(diagnosis: Diagnosis) -> Diagnosis:
    """Without diseases that only the wording names: ``Hepatitis C screening`` is not hepatitis C."""
    kept = [
        one
        for one in diagnosis.readings
        if one.entry.system != "text"
        or one.entry.verification == "SITE"
        or one.entry.concept in _NAMED_PROCEDURES
    ]
    return diagnosis._replace(readings=tuple(kept))


def _words(concept: r4.CodeableConcept | None) -> list[str]:
    return [concept.text or "", *(one.display or "" for one in concept.coding)] if concept else []


def _presence(
    diagnosis: Diagnosis, reading: Reading | None = None
) -> Literal["present", "unconfirmed", "refuted"]:
    """A procedure that was done is done: only doubt and denial in its wording matter, not "history of"."""
    stated = diagnosis.presence("present", reading)
    return "present" if stated == "past" else stated


def _given(
    resource: Procedure,
    raw: RawResource,
    context: Context,
    subject: str,
    performed: Moment,
    diagnosis: Diagnosis,
) -> tuple[Intervention, ...]:
    """The drugs that an otherwise unknown procedure names, as given on the day it was performed."""
    words = " ".join(dict.fromkeys(_words(resource.code)))
    if not any(word in words.casefold() for word in _GIVING):
        return ()
    products = [one for one in product_of(resource.code, context) if one.match is not None]
    doubt = "" if _presence(diagnosis) == "present" else "UNCONFIRMED"
    rows = []
    for product in products:
        match = product.match
        assert match is not None  # noqa: S101 - filtered above
        acts = systemic(Named((product,), words=words), match, None, context)
        rows.append(
            Intervention(
                subject=subject,
                concept=match.entry.drug,
                source=source_of(resource, raw),
                kind="administration",
                code=product.coding,
                classes=match.entry.classes,
                role=match.entry.role,
                use=match.use,
                systemic=acts.value,
                route=acts.route,
                start=performed.start,
                end=performed.end or performed.start,
                exposure_end=performed.end or performed.start,
                status=resource.status or "",
                flags=flags_of(
                    "FROM_PROCEDURE",
                    _FLAGS.get(resource.status or "", ""),
                    acts.flag,
                    doubt,
                    more=match.flags,
                    dates=(performed.start, performed.end),
                ),
                excluded=_EXCLUDED.get(resource.status or "", "") or doubt,
            )
        )
    return tuple(rows)
