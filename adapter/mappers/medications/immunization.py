"""Immunization: vaccines given. A dose against hepatitis B explains a positive HBsAg for three weeks (E-37).

Source: https://hl7.org/fhir/R4/immunization.html.
"""

from __future__ import annotations

from adapter.mappers import r4
from adapter.mappers.context import Context, Mapped, issue, refused, source_of
from adapter.mappers.flags import flags_of
from adapter.mappers.medications.medication import product_of
from adapter.model.facts import Intervention
from adapter.model.resource import RawResource


class Immunization(r4.Resource, frozen=True, kw_only=True):
    status: str | None = None
    vaccineCode: r4.CodeableConcept | None = None
    patient: r4.Reference | None = None
    occurrenceDateTime: str | None = None
    occurrenceString: str | None = None
    recorded: str | None = None


def map_immunization(resource: Immunization, raw: RawResource, context: Context) -> Mapped:
    """One ``administration`` of the vaccine; one that was not given is kept and excluded."""
    subject = context.subject(resource.patient)
    if not subject:
        return refused("NO_SUBJECT", resource, raw, path="Immunization.patient")
    products = product_of(resource.vaccineCode, context)
    if not products:
        return refused("NO_CODE", resource, raw, path="Immunization.vaccineCode", subject=subject)
    given, recorded = context.date(resource.occurrenceDateTime), context.date(resource.recorded)
    status = resource.status or ""
    excluded = {"not-done": "NOT_DONE", "entered-in-error": "ENTERED_IN_ERROR"}.get(status, "")
    rows = tuple(
        Intervention(
            subject=subject,
            concept=one.match.entry.drug if one.match else "",
            source=source_of(resource, raw),
            kind="administration",
            code=one.coding,
            classes=one.match.entry.classes if one.match else (),
            role=one.match.entry.role if one.match else "",
            use=one.match.use if one.match else "AUTO",
            start=given,
            end=given,
            exposure_end=given,
            recorded=recorded,
            status=status,
            flags=flags_of(
                "" if status else "STATUS_MISSING",
                "" if given else "NO_DATE",
                "" if one.match else "UNMAPPED_CODE",
                more=one.match.flags if one.match else (),
                dates=(given, recorded),
            ),
            excluded=excluded,
        )
        for one in products
    )
    if given is None:
        code = "UNPARSED_TEXT" if resource.occurrenceString else "NO_DATE"
        undated = issue(code, resource, raw, path="Immunization.occurrence[x]", subject=subject)
        return Mapped(interventions=rows, issues=(undated,))
    return Mapped(interventions=rows)
