"""The daily dose a ladder starts from and what a step makes of it, both exact."""

from __future__ import annotations

from datetime import date
from fractions import Fraction

import msgspec

from adapter.model.decision import Evidence
from adapter.model.facts import Intervention
from adapter.model.ladder import DoseStep, Dosing
from adapter.model.quantity import number_text
from adapter.protocol.context import Context


class Dose(msgspec.Struct, frozen=True):
    """A daily dose; ``amount`` None is not known. ``on`` is the day it is known from."""

    amount: Fraction | None
    on: date | None = None
    flags: tuple[str, ...] = ()
    evidence: tuple[Evidence, ...] = ()

    def text(self, unit: str) -> str:
        return "" if self.amount is None else f"{number_text(self.amount)} {unit}/d"


def dose_before(dosing: Dosing, day: date, after: Dose | None, context: Context) -> Dose:
    """The dose in use before ``day``: the newest on record, or what the ladder last asked for.

    An order of the step's own day may already answer it, so it does not count. If nothing newer than the last
    step (``after``) is on record, the dose that step asked for stands, with DOSE_NOT_RECORDED.
    """
    rows = [row for row in context.record.interventions if _counts(row, dosing, day)]
    since = after.on if after is not None else None
    rows = [row for row in rows if since is None or (row.start is not None and row.start.first >= since)]
    if not rows:
        if after is not None:
            return msgspec.structs.replace(after, flags=("DOSE_NOT_RECORDED",), evidence=())
        return Dose(None, flags=("DOSE_UNKNOWN",))
    newest = max(row.start.first for row in rows if row.start is not None)
    current = [row for row in rows if row.start is not None and row.start.first == newest]
    amounts = {row.daily_dose for row in current}
    evidence = tuple(_evidence(row) for row in current)
    if len(amounts) != 1:
        return Dose(None, newest, ("DOSE_UNKNOWN", "CONFLICT"), evidence)
    return Dose(amounts.pop(), newest, (), evidence)


def _counts(row: Intervention, dosing: Dosing, day: date) -> bool:
    return (
        row.concept in dosing.drugs
        and not row.excluded
        and row.use in ("AUTO", "FLAG")
        and row.daily_dose is not None
        and row.dose_unit == dosing.unit
        and row.start is not None
        and row.start.day is not None
        and row.start.first < day
    )


def _evidence(row: Intervention) -> Evidence:
    assert row.daily_dose is not None  # noqa: S101 - chosen for having one
    return Evidence(
        source=row.source,
        role="used",
        concept=row.concept,
        when=row.start.iso if row.start else "",
        original=row.code.display or row.code.code,
        value=f"{number_text(row.daily_dose)} {row.dose_unit}/d",
    )


def dose_after(step: DoseStep, dosing: Dosing, before: Dose, day: date) -> Dose:
    """The dose that the step asks for, within the limits; AT_MINIMUM_DOSE where the minimum stops it."""
    if step.change in ("hold", "stop"):
        return Dose(Fraction(0), day, (), before.evidence)
    if step.daily is not None:
        return Dose(step.daily, day, (), before.evidence)
    if before.amount is None or step.factor is None:
        return Dose(None, day, before.flags, before.evidence)
    amount, flags = before.amount * step.factor, before.flags
    if dosing.minimum is not None and amount < dosing.minimum and step.factor < 1:
        # A dose that is already below the minimum is not raised by a step down.
        amount, flags = min(before.amount, dosing.minimum), (*flags, "AT_MINIMUM_DOSE")
    if dosing.maximum is not None and amount > dosing.maximum and step.factor > 1:
        amount, flags = max(before.amount, dosing.maximum), (*flags, "AT_MAXIMUM_DOSE")
    return Dose(amount, day, flags, before.evidence)
