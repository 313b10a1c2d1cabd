"""MedicationRequest: what was ordered. An order is not an intake (E-39).

Source: https://hl7.org/fhir/R4/medicationrequest.html. Orders that were never in force are kept and excluded;
whether an order is all there is, :mod:`adapter.mappers.medications.exposure` settles when everything is read.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from types import MappingProxyType

from adapter.mappers import r4
from adapter.mappers.context import Context, Mapped, refused, source_of
from adapter.mappers.medications import dosage, medication
from adapter.mappers.medications.timing import days_of
from adapter.model.dates import PartialDate
from adapter.model.facts import Intervention
from adapter.model.resource import RawResource

_EXCLUDED: Mapping[str, str] = MappingProxyType(
    {
        "draft": "DRAFT",
        "cancelled": "CANCELLED",
        "stopped": "STOPPED",
        "on-hold": "ON_HOLD",
        "entered-in-error": "ENTERED_IN_ERROR",
    }
)
_NOT_AN_ORDER = ("proposal", "plan", "option")


class DispenseRequest(r4.Element, frozen=True, kw_only=True):
    validityPeriod: r4.Period | None = None
    numberOfRepeatsAllowed: int | None = None
    quantity: r4.Quantity | None = None
    expectedSupplyDuration: r4.Quantity | None = None


class MedicationRequest(medication.MedicationRecord, frozen=True, kw_only=True):
    intent: str | None = None
    doNotPerform: bool | None = None
    authoredOn: str | None = None
    dosageInstruction: tuple[r4.Dosage, ...] = ()
    dispenseRequest: DispenseRequest | None = None


def map_medication_request(resource: MedicationRequest, raw: RawResource, context: Context) -> Mapped:
    """One ``order`` per substance; ``exposure_end`` is the last day for which the order was meant to last.

    That is, in this order: the bounds of the dosage, the expected supply, the quantity over the daily dose
    (both times the repeats allowed), the end of the prescription's validity.
    """
    subject = context.subject(resource.subject)
    if not subject:
        return refused("NO_SUBJECT", resource, raw, path="MedicationRequest.subject")
    status = resource.status or ""
    authored = context.date(resource.authoredOn)
    start = _start(resource, context) or authored
    regimen = dosage.regimen(resource.dosageInstruction)
    end = _end(resource, start, regimen, context)
    excluded = _EXCLUDED.get(status, "")
    if resource.doNotPerform:
        excluded = excluded or "DO_NOT_PERFORM"
    elif resource.intent in _NOT_AN_ORDER:
        excluded = excluded or "NOT_AN_ORDER"
    ongoing = end is None and status == "active"
    unclear = "STATUS_MISSING" if not status else "STATUS_UNKNOWN" if status == "unknown" else ""
    base = Intervention(
        subject=subject,
        concept="",
        source=source_of(resource, raw),
        kind="order",
        start=start,
        end=end,
        exposure_end=end,
        ongoing=ongoing,
        recorded=authored,
        status=status,
        flags=(unclear, "" if end or ongoing else "END_UNKNOWN"),
        excluded=excluded,
    )
    return medication.told(resource, raw, context, resource.dosageInstruction, base, regimen)


def _start(resource: MedicationRequest, context: Context) -> PartialDate | None:
    repeats = [one.timing.repeat for one in resource.dosageInstruction if one.timing and one.timing.repeat]
    starts = [context.date(one.boundsPeriod.start) for one in repeats if one.boundsPeriod]
    return min((one for one in starts if one), key=lambda one: one.order, default=None)


def _end(
    resource: MedicationRequest, start: PartialDate | None, regimen: dosage.Regimen, context: Context
) -> PartialDate | None:
    if bound := dosage.bounds_end(resource.dosageInstruction, start, context.date):
        return bound
    supply = resource.dispenseRequest or DispenseRequest()
    days = days_of(supply.expectedSupplyDuration)
    days = days or dosage.supply_days(dosage.amount(supply.quantity), regimen.daily)
    if days is not None:
        fills = 1 + max(supply.numberOfRepeatsAllowed or 0, 0)
        return dosage.last_day(start, days * Fraction(fills))
    return context.date(supply.validityPeriod.end) if supply.validityPeriod else None
