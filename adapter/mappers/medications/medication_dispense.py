"""MedicationDispense: what was handed over, and how long it lasts.

Source: https://hl7.org/fhir/R4/medicationdispense.html.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from adapter.mappers import r4
from adapter.mappers.context import Context, Mapped, issue, refused, source_of
from adapter.mappers.medications import dosage, medication
from adapter.mappers.medications.exposure import link
from adapter.mappers.medications.timing import days_of
from adapter.model.facts import Intervention
from adapter.model.resource import RawResource

_EXCLUDED: Mapping[str, str] = MappingProxyType(
    {
        "cancelled": "CANCELLED",
        "declined": "DECLINED",
        "on-hold": "ON_HOLD",
        "entered-in-error": "ENTERED_IN_ERROR",
    }
)
# begun but not certain to have reached the patient, unless a time of hand-over says so
_UNFINISHED: Mapping[str, str] = MappingProxyType(
    {"preparation": "NOT_HANDED_OVER", "in-progress": "NOT_HANDED_OVER", "stopped": "STOPPED"}
)


class MedicationDispense(medication.MedicationRecord, frozen=True, kw_only=True):
    authorizingPrescription: tuple[r4.Reference, ...] = ()
    quantity: r4.Quantity | None = None
    daysSupply: r4.Quantity | None = None
    whenPrepared: str | None = None
    whenHandedOver: str | None = None
    dosageInstruction: tuple[r4.Dosage, ...] = ()


def map_medication_dispense(resource: MedicationDispense, raw: RawResource, context: Context) -> Mapped:
    """One ``dispense`` per substance; exposure ends on hand-over day + supply - 1.

    The supply is ``daysSupply``, else quantity over daily dose; without either the end is not known
    (flag END_UNKNOWN). ``whenPrepared`` stands in for the hand-over (flag DATE_IS_PREPARED).
    """
    subject = context.subject(resource.subject)
    if not subject:
        return refused("NO_SUBJECT", resource, raw, path="MedicationDispense.subject")
    status = resource.status or ""
    handed, prepared = context.date(resource.whenHandedOver), context.date(resource.whenPrepared)
    start = handed or prepared
    regimen = dosage.regimen(resource.dosageInstruction)
    days = days_of(resource.daysSupply)
    days = days or dosage.supply_days(dosage.amount(resource.quantity), regimen.daily)
    end = dosage.last_day(start, days)
    excluded = _EXCLUDED.get(status, "")
    if handed is None and not excluded:
        excluded = _UNFINISHED.get(status, "")
    unclear = "STATUS_MISSING" if not status else "STATUS_UNKNOWN" if status == "unknown" else ""
    base = Intervention(
        subject=subject,
        concept="",
        source=source_of(resource, raw),
        kind="dispense",
        start=start,
        end=end,
        exposure_end=end,
        recorded=prepared or handed,
        status=status,
        flags=(
            unclear,
            "" if handed else "DATE_IS_PREPARED" if prepared else "NO_DATE",
            "" if end else "END_UNKNOWN",
            *(link(one) for one in resource.authorizingPrescription),
        ),
        excluded=excluded,
    )
    found = medication.told(resource, raw, context, resource.dosageInstruction, base, regimen)
    if start is None and found.outcome == "facts":
        undated = issue("NO_DATE", resource, raw, path="MedicationDispense.whenHandedOver", subject=subject)
        return Mapped(interventions=found.interventions, issues=(*found.issues, undated))
    return found
