"""The longest run of days without a drug.

Days from the first to the last exposure of each row are days on the drug. A day that no row covers is a day
without it only if the medication records were completely fetched; where an end is not known the drug may
have gone on. So the longest gap is an interval: at least what is sure, at most what is possible.
"""

from __future__ import annotations

from datetime import date, timedelta
from fractions import Fraction

from adapter.model.course import GapIs
from adapter.model.decision import Evidence
from adapter.model.facts import Intervention
from adapter.model.kleene import Truth
from adapter.model.quantity import Interval
from adapter.protocol.context import Context
from adapter.protocol.judge import SYMBOLS, compare_intervals, distance, worded
from adapter.protocol.occurrences import MEDICATION_TYPES
from adapter.protocol.outcome import Outcome, unique
from adapter.protocol.saying import length, say

Run = tuple[date, date]


def gap_outcome(test: GapIs, context: Context, held: tuple[Run, ...]) -> Outcome:
    frame = context.frame(test.period)
    if frame is None or frame.start is None or frame.start.day is None:
        return Outcome(Truth.UNKNOWN, needs=context.missing(test.period.start, test.period.end))
    start, end = frame.start.day, frame.end.last if frame.end else context.as_of.last
    rows = [row for row in context.record.interventions if row.concept in test.drugs and _counts(row)]
    if not rows or start > end:
        return Outcome(Truth.UNKNOWN, needs=(say("records of {what}, {when}", what=test.label, when=frame),))
    sure = [run for row in rows if (run := _sure(row, context.as_of.last))]
    possible = [run for row in rows if (run := _possible(row, context.as_of.last))]
    longest = _longest(sorted((*sure, *held)), start, end)
    surely = _longest(sorted((*possible, *held)), start, end)
    low = surely[0] if _covered(start, end, context) else 0
    value = Interval(Fraction(low), Fraction(longest[0]))
    limit = Interval.exactly(test.days)
    truth = compare_intervals(value, test.comparison, limit)
    unit = "day" if value.point == 1 else "days"
    shown = say(f"longest gap {{value}} {unit}", value=value)
    if longest[0]:
        shown += say(" ({first} to {last})", first=longest[1], last=longest[2])
    compared = worded(shown, SYMBOLS[test.comparison], length(test.days, "days"), truth)
    flags = list(unique(flag for row in rows for flag in row.flags if flag == "REQUEST_ONLY"))
    if all(row.kind != "administration" for row in rows):
        flags.append("GAP_FROM_SUPPLY")
    if value.point == test.days:
        flags.append("BOUNDARY")
    needs = (
        (say("complete records of {what}, {when}", what=test.label, when=frame),)
        if truth is Truth.UNKNOWN
        else ()
    )
    evidence = tuple(_evidence(row, compared) for row in rows)
    return Outcome(truth, evidence, tuple(flags), needs, distance(value, limit, "days"))


def _counts(row: Intervention) -> bool:
    return not row.excluded and row.use not in ("SUPP", "NEVER") and row.start is not None


def _sure(row: Intervention, as_of: date) -> Run | None:
    assert row.start is not None  # noqa: S101 - rows without a start do not count
    end = row.exposure_end or row.end
    if end is not None:
        return (row.start.last, end.first) if row.start.last <= end.first else None
    return row.start.last, as_of if row.ongoing else row.start.last


def _possible(row: Intervention, as_of: date) -> Run | None:
    assert row.start is not None  # noqa: S101 - rows without a start do not count
    end = row.exposure_end or row.end
    if end is not None:
        return row.start.first, end.last
    return row.start.first, as_of if row.ongoing or "END_UNKNOWN" in row.flags else row.start.last


def _longest(runs: list[Run], start: date, end: date) -> tuple[int, date, date]:
    """Days of the longest stretch from ``start`` to ``end`` that no run covers, and its ends."""
    best, best_first, best_last = 0, start, start
    free = start
    for first, last in [*runs, (end + timedelta(days=1), end + timedelta(days=1))]:
        days = (min(first, end + timedelta(days=1)) - free).days
        if days > best:
            best, best_first, best_last = days, free, min(first, end + timedelta(days=1)) - timedelta(days=1)
        free = max(free, last + timedelta(days=1))
    return best, best_first, best_last


def _covered(start: date, end: date, context: Context) -> bool:
    return all(context.record.covers(name, start, end) for name in MEDICATION_TYPES)


def _evidence(row: Intervention, compared: str) -> Evidence:
    end = row.exposure_end or row.end
    last = "still taken" if row.ongoing and end is None else end.iso if end else "end not known"
    return Evidence(
        source=row.source,
        role="used",
        concept=row.concept,
        when=row.start.iso if row.start else "",
        original=row.code.display or row.code.code,
        value=f"{row.kind} to {last}",
        compared=compared,
    )
