"""MedicationAdministration: what was given, the only record that proves an intake.

Source: https://hl7.org/fhir/R4/medicationadministration.html. Of a stopped or interrupted infusion some was
given: it counts.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from adapter.mappers import r4
from adapter.mappers.context import Context, Mapped, issue, refused, source_of
from adapter.mappers.medications import dosage, medication
from adapter.mappers.medications.exposure import link
from adapter.model.facts import Intervention
from adapter.model.resource import RawResource

_EXCLUDED: Mapping[str, str] = MappingProxyType(
    {"not-done": "NOT_DONE", "entered-in-error": "ENTERED_IN_ERROR"}
)
_PARTLY: Mapping[str, str] = MappingProxyType(
    {
        "": "STATUS_MISSING",
        "unknown": "STATUS_UNKNOWN",
        "stopped": "PARTLY_GIVEN",
        "on-hold": "PARTLY_GIVEN",
    }
)


class MedicationAdministration(medication.MedicationRecord, frozen=True, kw_only=True):
    effectiveDateTime: str | None = None
    effectivePeriod: r4.Period | None = None
    request: r4.Reference | None = None
    dosage: r4.Dosage | None = None


def map_medication_administration(
    resource: MedicationAdministration, raw: RawResource, context: Context
) -> Mapped:
    """One ``administration`` per substance; the day it was given (or ended) is the last day of exposure.

    ``daily_dose`` stays None: what was given on a day is the sum of that day's administrations.
    """
    subject = context.subject(resource.subject)
    if not subject:
        return refused("NO_SUBJECT", resource, raw, path="MedicationAdministration.subject")
    status = resource.status or ""
    period = resource.effectivePeriod or r4.Period()
    start = context.date(resource.effectiveDateTime) or context.date(period.start)
    end = context.date(period.end) or (None if resource.effectivePeriod else start)
    ongoing = end is None and status == "in-progress"
    dose, flags = dosage.dose_of(resource.dosage)
    text = bool(resource.dosage and resource.dosage.text and dose is None)
    base = Intervention(
        subject=subject,
        concept="",
        source=source_of(resource, raw),
        kind="administration",
        start=start,
        end=end,
        exposure_end=end or (None if ongoing else start),
        ongoing=ongoing,
        status=status,
        flags=(
            _PARTLY.get(status, ""),
            "" if start or end else "NO_DATE",
            *((link(resource.request),) if resource.request else ()),
        ),
        excluded=_EXCLUDED.get(status, ""),
    )
    dosages = (resource.dosage,) if resource.dosage else ()
    found = medication.told(
        resource, raw, context, dosages, base, dosage.Regimen(dose=dose, flags=flags, unparsed=text)
    )
    if start is None and end is None and found.outcome == "facts":
        undated = issue(
            "NO_DATE", resource, raw, path="MedicationAdministration.effective[x]", subject=subject
        )
        return Mapped(interventions=found.interventions, issues=(*found.issues, undated))
    return found
