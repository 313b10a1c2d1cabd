"""The cumulative dose in a period, as an interval: at least what is known, at most what is possible.

A day with a known daily dose counts with it. A day on which a record gives no daily dose, or a day without
any record where the medication records were not completely fetched, may hold any amount.
"""

from __future__ import annotations

from datetime import date
from fractions import Fraction
from itertools import pairwise

import msgspec

from adapter.model.dates import add_days
from adapter.model.facts import Intervention
from adapter.model.quantity import Interval
from adapter.protocol.context import Context
from adapter.protocol.days import Frame
from adapter.protocol.doses import dose_on, rows_of
from adapter.protocol.occurrences import MEDICATION_TYPES
from adapter.protocol.outcome import unique


class Total(msgspec.Struct, frozen=True, gc=False):
    """Milligrams in a period, the rows that say so, and whether all records were fetched."""

    value: Interval
    rows: tuple[Intervention, ...]
    flags: tuple[str, ...]
    covered: bool


def total_in(drugs: tuple[str, ...], frame: Frame, context: Context) -> Total:
    """Without a start the period begins with the first record, and before it only coverage says nothing."""
    end = frame.end.last if frame.end else context.as_of.last
    rows = tuple(row for row in rows_of(drugs, context) if row.start and row.start.first <= end)
    opened = frame.start.first if frame.start else None
    covered = all(context.record.covers(name, opened, end) for name in MEDICATION_TYPES)
    begin = opened or min((row.start.first for row in rows if row.start), default=end)
    days = sorted({begin, add_days(end, 1), *(day for day in _turns(rows) if begin < day <= end)})
    known, possible = Fraction(0), covered
    flags: list[str] = []
    for first, after in pairwise(days):
        dose = dose_on(drugs, first, context)
        if dose.value is not None:
            known += dose.value * (after - first).days
            flags += dose.flags
        elif any(_may_count(row, first) for row in rows):
            possible = False
    inside = tuple(row for row in rows if _overlaps(row, begin, end))
    return Total(Interval(known, known if possible else None), inside, unique(flags), covered)


def _turns(rows: tuple[Intervention, ...]) -> set[date]:
    """The days on which the daily dose may change; an administration holds for its day."""
    turns: set[date] = set()
    for row in rows:
        if row.start is not None:
            turns |= {row.start.first, add_days(row.start.first, 1)}
        if (ended := row.exposure_end or row.end) is not None:
            turns.add(add_days(ended.first, 1))
    return turns


def _overlaps(row: Intervention, first: date, last: date) -> bool:
    if row.start is None or row.start.first > last:
        return False
    ended = row.exposure_end or row.end
    if ended is None:
        return row.ongoing or "END_UNKNOWN" in row.flags or row.start.last >= first
    return ended.last >= first


def _may_count(row: Intervention, day: date) -> bool:
    return _overlaps(row, day, day)
