"""MedicationStatement: what somebody says was taken.

Source: https://hl7.org/fhir/R4/medicationstatement.html.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from adapter.mappers import r4
from adapter.mappers.context import Context, Mapped, refused, source_of
from adapter.mappers.medications import dosage, medication
from adapter.model.facts import Intervention
from adapter.model.resource import RawResource

_EXCLUDED: Mapping[str, str] = MappingProxyType(
    {"not-taken": "NOT_TAKEN", "intended": "INTENDED", "entered-in-error": "ENTERED_IN_ERROR"}
)


class MedicationStatement(medication.MedicationRecord, frozen=True, kw_only=True):
    effectiveDateTime: str | None = None
    effectivePeriod: r4.Period | None = None
    dateAsserted: str | None = None
    dosage: tuple[r4.Dosage, ...] = ()


def map_medication_statement(resource: MedicationStatement, raw: RawResource, context: Context) -> Mapped:
    """One ``statement`` per substance; exposure ends when the statement says so.

    Active without an end is still being taken (``ongoing``); completed or stopped without an end ended on
    a day nobody wrote down (flag END_UNKNOWN). A bare date is when it was taken.
    """
    subject = context.subject(resource.subject)
    if not subject:
        return refused("NO_SUBJECT", resource, raw, path="MedicationStatement.subject")
    status = resource.status or ""
    period = resource.effectivePeriod or r4.Period()
    single = context.date(resource.effectiveDateTime)
    start, end = single or context.date(period.start), context.date(period.end)
    ongoing = end is None and status == "active"
    if end is None and not ongoing:
        end = single
    unclear = "STATUS_MISSING" if not status else "STATUS_UNKNOWN" if status == "unknown" else ""
    base = Intervention(
        subject=subject,
        concept="",
        source=source_of(resource, raw),
        kind="statement",
        start=start,
        end=end,
        exposure_end=end,
        ongoing=ongoing,
        recorded=context.date(resource.dateAsserted),
        status=status,
        flags=(
            unclear,
            "ON_HOLD" if status == "on-hold" else "",
            "" if start or end else "NO_DATE",
            "" if end or ongoing else "END_UNKNOWN",
        ),
        excluded=_EXCLUDED.get(status, ""),
    )
    return medication.told(resource, raw, context, resource.dosage, base, dosage.regimen(resource.dosage))
