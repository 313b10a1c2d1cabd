"""The daily dose of a drug, day by day, from what was ordered, stated, dispensed and given.

The order, statement or dispense that began last says what the dose is from then on; two of one kind that
began on the same day (a morning and an evening dose) add up. Only where none states a daily dose, the
intakes of the day add up. A dose whose frequency or unit is not known is no dose: it is never assumed.
"""

from __future__ import annotations

from datetime import date
from fractions import Fraction
from typing import NamedTuple

import msgspec

from adapter.model.dates import add_days
from adapter.model.facts import Intervention
from adapter.protocol.context import Context
from adapter.protocol.days import Frame
from adapter.protocol.outcome import unique

_MILLIGRAMS = {"mg": Fraction(1), "g": Fraction(1000), "ug": Fraction(1, 1000), "ng": Fraction(1, 1000000)}
_STATING = ("order", "statement", "dispense")


class Dose(msgspec.Struct, frozen=True, gc=False):
    """The daily dose on one day in mg, or None; with the rows that say so."""

    day: date
    value: Fraction | None
    rows: tuple[Intervention, ...] = ()
    flags: tuple[str, ...] = ()


def rows_of(drugs: tuple[str, ...], context: Context) -> tuple[Intervention, ...]:
    """Usable rows; an order that was filled is no exposure of its own but still says the dose."""
    return context.once(
        ("rows of drugs", drugs),
        lambda: tuple(
            row
            for row in context.record.interventions
            if row.concept in drugs and row.excluded in ("", "FILLED") and row.use not in ("SUPP", "NEVER")
            if row.start is not None and row.start.first <= context.as_of.last
        ),
    )


def dose_on(drugs: tuple[str, ...], day: date, context: Context) -> Dose:
    return context.once(("dose", drugs, day), lambda: _dose_on(drugs, day, context))


def _dose_on(drugs: tuple[str, ...], day: date, context: Context) -> Dose:
    stating = [one for one in _stating(drugs, context) if _active(one.row, day)]
    if stating:
        newest = max(one.began for one in stating)
        latest = [one for one in stating if one.began == newest]
        kind = next(kind for kind in _STATING if any(one.row.kind == kind for one in latest))
        chosen = [one for one in latest if one.row.kind == kind]
        flags = unique(flag for one in chosen for flag in one.row.flags)
        amount = chosen[0].daily if len(chosen) == 1 else sum((one.daily for one in chosen), Fraction(0))
        return Dose(day, amount, tuple(one.row for one in chosen), flags)
    given = tuple(
        row
        for row in rows_of(drugs, context)
        if row.kind == "administration" and row.start and row.start.day == day
    )
    amounts = [_milligrams(row.dose, row) for row in given]
    if not given or None in amounts:
        return Dose(day, None)
    return Dose(day, sum((one for one in amounts if one), Fraction(0)), given, ("DOSE_FROM_INTAKES",))


def doses_in(drugs: tuple[str, ...], frame: Frame, context: Context) -> tuple[Dose, ...]:
    """The known dose on the first day of the frame and on every later day on which it may have changed."""
    end = frame.end.last if frame.end else context.as_of.last
    start = frame.start.first if frame.start else None
    rows = rows_of(drugs, context)
    days = {row.start.first for row in rows if row.start is not None}
    days |= {add_days(ended.first, 1) for row in rows if (ended := row.exposure_end or row.end)}
    days = {day for day in days if (start is None or day >= start) and day <= end}
    if start is not None and start <= end:
        days.add(start)
    found = (dose_on(drugs, day, context) for day in sorted(days))
    return tuple(dose for dose in found if dose.value is not None)


class _Stating(NamedTuple):
    """A row that names a daily dose: the day it began, and mg a day."""

    row: Intervention
    began: date
    daily: Fraction


def _stating(drugs: tuple[str, ...], context: Context) -> tuple[_Stating, ...]:
    return context.once(
        ("rows with a daily dose", drugs),
        lambda: tuple(
            _Stating(row, row.start.first, daily)
            for row in rows_of(drugs, context)
            if row.kind in _STATING and row.start is not None
            if (daily := daily_milligrams(row)) is not None
        ),
    )


def _active(row: Intervention, day: date) -> bool:
    if row.start is None or row.start.last > day:
        return False
    end = row.exposure_end or row.end
    if end is not None:
        return day <= end.first
    return row.ongoing or "END_UNKNOWN" in row.flags or row.start.day == day


def daily_milligrams(row: Intervention) -> Fraction | None:
    """What is taken a day in mg; None where frequency or amount is not known, or the unit is no mass."""
    return _milligrams(row.daily_dose, row)


def _milligrams(dose: Fraction | None, row: Intervention) -> Fraction | None:
    scale = _MILLIGRAMS.get(row.dose_unit)
    return dose * scale if dose is not None and scale is not None else None
