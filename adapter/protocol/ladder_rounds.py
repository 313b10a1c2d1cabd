"""The days on which a ladder's measure was taken, and its value on each.

All usable readings of one local calendar day make one round, and the worst value of the measure decides it.
A day whose readings cannot be relied on is a round without a value: it moves nothing, but it is shown.
"""

from __future__ import annotations

from datetime import date
from fractions import Fraction
from typing import Literal

import msgspec

from adapter.model.decision import Evidence
from adapter.model.facts import Finding
from adapter.model.kept import kept
from adapter.model.kleene import Truth, all_of
from adapter.model.ladder import Baseline, Measure
from adapter.model.quantity import Interval, brief, number_text
from adapter.model.selection import Bound
from adapter.protocol.changes import relative_change, series_of
from adapter.protocol.context import Context
from adapter.protocol.judge import SYMBOLS, fixed, worded
from adapter.protocol.outcome import unique
from adapter.protocol.readings import collect, deciding, evidence_of, wanted
from adapter.protocol.saying import say

ANY = Interval(None, None)
Kind = Literal["level", "fall", "rise", "multiple"]


class Value(msgspec.Struct, frozen=True, dict=True):
    """The measure of one reading; ``value`` is unbounded where it cannot be worked out. ``against`` is what a
    change is counted from, ``limit`` of what a value is a multiple. In words only if they are asked for."""

    row: Finding
    value: Interval
    flags: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    kind: Kind = "level"
    against: Finding | None = None
    limit: Fraction | None = None

    @kept
    def said(self) -> str:
        row = self.row
        if self.against is not None and self.against.value is not None and row.value is not None:
            start, end = brief(self.against.value), brief(row.value)
            return f"{say(self.kind)} {start} -> {end} = {brief(self.value)} %"
        if self.kind != "multiple":
            return f"{row.value} {row.unit}"
        said = f"{row.concept} {brief(row.value or ANY)} {row.unit}"
        return said if self.limit is None else f"{said} / {number_text(self.limit)} = {brief(self.value)} x"


class Round(msgspec.Struct, frozen=True):
    """One day: its values, and the readings that could not be used."""

    day: date
    values: tuple[Value, ...] = ()
    unusable: tuple[tuple[Finding, str], ...] = ()

    @property
    def concepts(self) -> frozenset[str]:
        return frozenset(value.row.concept for value in self.values)

    def of(self, concept: str) -> tuple[Value, ...]:
        return tuple(value for value in self.values if value.row.concept == concept)


class Rounds(msgspec.Struct, frozen=True):
    """All rounds by day; ``flags`` of the baselines in use, ``needs`` if there is none."""

    rounds: tuple[Round, ...] = ()
    flags: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()


class Compared(msgspec.Struct, frozen=True, dict=True):
    """What some bounds say about a round: of all together and of each; in words if they are asked for."""

    truth: Truth
    values: tuple[Value, ...]
    bounds: tuple[tuple[Bound, Truth], ...]
    measure: Measure
    boundary: bool = False

    @kept
    def said(self) -> str:
        shown = worst_of(self.values, self.measure).said if self.values else "no usable reading"
        return " and ".join(
            worded(
                shown,
                SYMBOLS[bound.comparison],
                f"{fixed(bound.amount)} {bound.amount.unit or self.measure.unit}".strip(),
                truth,
            )
            for bound, truth in self.bounds
        )


class _Reference(msgspec.Struct, frozen=True):
    row: Finding
    flags: tuple[str, ...]


def rounds_of(measure: Measure, context: Context) -> Rounds:
    """Every round of the measure up to the as-of day, worked out once for all readings of a ladder's text."""
    return context.once(("rounds", measure), lambda: _rounds_of(measure, context))


def _rounds_of(measure: Measure, context: Context) -> Rounds:
    pool = collect(measure.selection, context)
    if pool.frame is None:
        return Rounds(needs=wanted(measure.selection, measure.selection.period, context))
    references = _references(measure.baselines, context)
    days: dict[date, list[Finding]] = {}
    unusable: dict[date, list[tuple[Finding, str]]] = {}
    for row in pool.valid:
        if row.when is None or row.value is None or row.when.day is None:
            day = row.when.last if row.when else None
            if day is not None and day <= context.as_of.last:
                why = "NO_VALUE" if row.value is None else "DATE_PARTIAL"
                unusable.setdefault(day, []).append((row, why))
        else:
            days.setdefault(row.when.day, []).append(row)
    for row, why in pool.troubled:
        if row.when is not None and row.when.last <= context.as_of.last:
            unusable.setdefault(row.when.last, []).append((row, why))
    found = []
    for day in sorted({*days, *unusable}):
        rows = [row for row in days.get(day, ()) if _later(row, references)]
        rest = tuple(unusable.get(day, ()))
        if rows or rest:
            found.append(Round(day, _values(measure, rows, references), rest))
    if measure.baselines and not references:
        needs = wanted(measure.baselines[0].selection, measure.baselines[0].selection.period, context)
        return Rounds(tuple(found), needs=needs)
    flags = unique(flag for reference in references.values() for flag in reference.flags)
    return Rounds(tuple(found), flags)


def _references(baselines: tuple[Baseline, ...], context: Context) -> dict[str, _Reference]:
    """Per series the reading of the first baseline that has any; later baselines fill no gaps.

    Of readings that nothing puts in order the highest one counts: it hides no fall.
    """
    for baseline in baselines:
        pool = collect(baseline.selection, context)
        groups: dict[str, list[Finding]] = {}
        for row in pool.valid:
            if row.value is not None and row.when is not None and row.when.day is not None:
                groups.setdefault(series_of(row), []).append(row)
        if groups:
            chosen = {
                name: deciding(tuple(rows), baseline.selection, context) for name, rows in groups.items()
            }
            return {
                name: _Reference(max(rows, key=_height), baseline.flags)
                for name, rows in sorted(chosen.items())
                if rows
            }
    return {}


def _height(row: Finding) -> tuple[Fraction, str, str]:
    low = row.value.low if row.value is not None else None
    return (low if low is not None else Fraction(0), row.source.reference, row.source.path)


def _later(row: Finding, references: dict[str, _Reference]) -> bool:
    """Whether a reading was taken after the baseline of its series, or has none."""
    reference = references.get(series_of(row))
    if reference is None or row.when is None or reference.row.when is None:
        return True
    return row.when.first > reference.row.when.last


def _values(measure: Measure, rows: list[Finding], references: dict[str, _Reference]) -> tuple[Value, ...]:
    match measure.kind:
        case "fall" | "rise":
            return _changes(measure, rows, references)
        case "multiple":
            return tuple(_multiple(row, measure) for row in rows)
    return tuple(Value(row, row.value or ANY, row.flags) for row in rows)


def _changes(measure: Measure, rows: list[Finding], references: dict[str, _Reference]) -> tuple[Value, ...]:
    """The changes within the first series that has both a baseline and a reading of this day."""
    groups: dict[str, list[Finding]] = {}
    for row in rows:
        groups.setdefault(series_of(row), []).append(row)
    for name in _preference(groups, measure):
        if name in references:
            return tuple(_change(measure, row, references[name]) for row in groups[name])
    flag = "EQUATION_MIX" if references else "NO_REFERENCE_READING"
    need = "a baseline of the same series"
    return tuple(Value(row, ANY, (flag,), (need,)) for row in rows)


def _preference(groups: dict[str, list[Finding]], measure: Measure) -> list[str]:
    if not measure.series:
        return sorted(groups)
    listed = [name for name in measure.series if name in groups]
    return listed + sorted(name for name in groups if name.startswith("reported "))


def _change(measure: Measure, row: Finding, reference: _Reference) -> Value:
    start, end = reference.row.value, row.value
    assert start is not None and end is not None  # noqa: S101, PT018 - both were chosen for having a value
    direction: Kind = "fall" if measure.kind == "fall" else "rise"
    change = relative_change(start, end, direction).scaled(100)
    flags = unique((*reference.row.flags, *row.flags))
    return Value(row, change, flags, kind=direction, against=reference.row)


def _multiple(row: Finding, measure: Measure) -> Value:
    limits = row.range
    limit = None if limits is None else limits.high if measure.limit == "upper_limit" else limits.low
    if limit is None or limit <= 0 or row.value is None:
        need = f"the laboratory's {measure.limit.replace('_', ' ')} for {row.concept}"
        return Value(row, ANY, unique((*row.flags, "NO_REFERENCE_RANGE")), (need,), "multiple")
    return Value(row, row.value.scaled(1 / limit), row.flags, kind="multiple", limit=limit)


# --- putting a round to a test ---------------------------------------------------------------------------


def highest(values: tuple[Interval, ...]) -> Interval:
    """The interval of the highest of some numbers of which each lies in one of the intervals."""
    if not values:
        return ANY
    if len(values) == 1 and values[0].point is not None:
        return values[0]
    lows = [value for value in values if value.low is not None]
    low = max((value.low for value in lows if value.low is not None), default=None)
    low_closed = all(value.low_closed for value in lows if value.low == low)
    if any(value.high is None for value in values):
        return Interval(low, None, low_closed, True)
    high = max(value.high for value in values if value.high is not None)
    high_closed = any(value.high_closed for value in values if value.high == high)
    return Interval(low, high, low_closed, high_closed)


def worst(values: tuple[Interval, ...], measure: Measure) -> Interval:
    """The worst of some numbers: the highest, or the lowest if the measure says so."""
    if measure.worst == "highest" or (len(values) == 1 and values[0].point is not None):
        return highest(values)
    return highest(tuple(value.scaled(-1) for value in values)).scaled(-1)


def worst_of(values: tuple[Value, ...], measure: Measure) -> Value:
    """The reading that makes the day's value."""
    if len(values) == 1:
        return values[0]

    def height(value: Value) -> tuple[bool, Fraction]:
        edge = value.value.low if measure.worst == "highest" else value.value.high
        number = edge if edge is not None else Fraction(0)
        return (edge is not None, number if measure.worst == "highest" else -number)

    heights = [height(value) for value in values]
    top = max(heights)
    tops = [value for value, own in zip(values, heights, strict=True) if own == top]
    return tops[0] if len(tops) == 1 else max(tops, key=lambda value: value.said)


def compare(
    values: tuple[Value, ...], missing: bool, bounds: tuple[Bound, ...], measure: Measure
) -> Compared:
    """The bounds for the worst of the values; ``missing`` says that one more, unknown, belongs to them."""
    everything = tuple(value.value for value in values) + ((ANY,) if missing else ())
    top = worst(everything, measure)
    each = tuple((bound, top.compare(bound.comparison, bound.amount.value)) for bound in bounds)
    boundary = any(top.point == bound.amount.value for bound in bounds)
    return Compared(all_of(truth for _, truth in each), values, each, measure, boundary)


def evidence_for(value: Value, compared: str) -> tuple[Evidence, ...]:
    used = evidence_of(value.row, "used", compared=compared)
    return (used,) if value.against is None else (used, evidence_of(value.against, "used", compared=compared))
