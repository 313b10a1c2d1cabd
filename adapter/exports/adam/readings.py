"""ADLB: results of SDTM findings by parameter and visit, with baseline, peak and criteria."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, timedelta
from fractions import Fraction

import msgspec

from adapter.exports.adam.spec import AdamSpec, Parameter
from adapter.exports.adam.subject import Row, SdtmRow, SourceRow, Subject, assessed
from adapter.exports.adam.thresholds import (
    Threshold,
    baseline_days,
    endpoint_threshold,
    response_threshold,
    window_of,
)
from adapter.exports.dataset import Cell
from adapter.model.kleene import Truth
from adapter.model.protocol import Protocol
from adapter.model.quantity import Comparator, Interval

MAXIMUM = "MAXIMUM"
_REPORTED = re.compile(r"(?P<comparator>[<>]=?)?(?P<number>[+-]?\d+(?:\.\d+)?)")
_FLAGS = {Truth.TRUE: "Y", Truth.FALSE: "N", Truth.UNKNOWN: ""}


class Criterion(msgspec.Struct, frozen=True):
    """CRITy of one parameter, with its threshold."""

    number: int
    parameter: str
    told: str
    threshold: Threshold


def criteria_of(spec: AdamSpec, protocol: Protocol) -> tuple[Criterion, ...]:
    """The criteria of a specification with the protocol's own thresholds."""
    found = []
    for number, one in enumerate(spec.criteria, start=1):
        threshold = (
            response_threshold(protocol, one.response)
            if one.response
            else endpoint_threshold(protocol, one.endpoint)
        )
        name = next(parameter.name for parameter in spec.parameters if parameter.code == one.parameter)
        unit = name[name.rfind("(") + 1 : -1] if name.endswith(")") else ""
        found.append(Criterion(number, one.parameter, threshold.told(one.parameter, unit), threshold))
    return tuple(found)


def reading_rows(subject: Subject, spec: AdamSpec, protocol: Protocol) -> list[Row]:
    """Every result of the subject's parameters, then the rows derived from them."""
    rows: list[Row] = []
    criteria = criteria_of(spec, protocol)
    for parameter in spec.parameters:
        if parameter.maximum_of:
            rows += _maxima(parameter, [row for row in rows if row.parameter.code == parameter.maximum_of])
            continue
        own = [
            _row(subject, parameter, record, spec.decimals)
            for record in subject.records.get(parameter.dataset, ())
            if _fits(parameter, record) and record.get(parameter.text)
        ]
        own.sort(key=_order)
        _place(subject, own, baseline_days(protocol, parameter.baseline) if parameter.baseline else None)
        _compare(own)
        for row in own:
            row.flags = dict(_flags(row, [one for one in criteria if one.parameter == parameter.code]))
        rows += own
    return rows


def _row(subject: Subject, parameter: Parameter, record: SdtmRow, decimals: int) -> Row:
    value = record.get(parameter.value)
    number = record[f"{parameter.dataset}SEQ"]
    exact = None if value is None or isinstance(value, str) else Fraction(value)
    return Row(
        subject,
        parameter,
        value=exact,
        text=str(record.get(parameter.text) or ""),
        day=_day(parameter, record),
        record=record,
        source=SourceRow(parameter.dataset, number) if isinstance(number, int) else None,
        source_variable=parameter.text if exact is None else parameter.value,
        decimals=decimals,
    )


def _fits(parameter: Parameter, record: SdtmRow) -> bool:
    return all(
        record.get(name) in ([wanted] if isinstance(wanted, str) else wanted)
        for name, wanted in parameter.where.items()
    )


def _day(parameter: Parameter, record: SdtmRow) -> date | None:
    ends = record.get(f"{parameter.dataset}ENDTC")
    text = str(ends or record.get(parameter.date) or "")
    return date.fromisoformat(text[:10]) if len(text) >= 10 else None


def _order(row: Row) -> tuple[date, str, int]:
    time = str(row.record.get(row.parameter.date) or "")
    return (row.day or date.min, time, row.source.number if row.source else 0)


def _place(subject: Subject, rows: Sequence[Row], looked_for: tuple[int, int] | None) -> None:
    """Baseline and visits; which record of a visit is analysed."""
    zero = subject.zero
    if zero is None:
        return
    for row in rows:
        row.window = window_of(subject.windows, row.day)
        if looked_for is not None and row.day is not None:
            first, last = (zero + timedelta(days=days) for days in looked_for)
            row.at_baseline = first <= row.day <= last
            row.window = None if row.at_baseline else row.window
    at_baseline = [row for row in rows if row.at_baseline]
    if at_baseline:
        at_baseline[-1].is_baseline = at_baseline[-1].used = True
        for row in rows:
            row.baseline = at_baseline[-1]
    resting = _resting(subject)
    for number in {row.window.number for row in rows if row.window}:
        inside = [row for row in rows if row.window and row.window.number == number]
        named = [row for row in inside if row.source in resting]
        (named[-1] if named else _nearest(inside)).used = True


def _resting(subject: Subject) -> set[SourceRow | None]:
    """The SDTM records that responses and endpoints of the subject rest on, visit by visit."""
    followed = subject.followed
    found = {subject.source(one) for visit in followed.visits if (one := assessed(visit))}
    for endpoint in followed.endpoints:
        for one in endpoint.evidence:
            if one.role == "used":
                found.add(subject.source(one))
    return found - {None}


def _nearest(rows: Sequence[Row]) -> Row:
    def distance(row: Row) -> tuple[int, date]:
        if row.window is None or row.day is None:
            raise TypeError("a row without a window")
        return (abs((row.day - row.window.target).days), row.day)

    best = min(distance(row) for row in rows)
    return [row for row in rows if distance(row) == best][-1]


def _compare(rows: Sequence[Row]) -> None:
    """The peak of a record is the highest number of any day before it, of equals the first."""
    for row in rows:
        earlier = [one for one in rows if one.day and row.day and one.day < row.day and one.value is not None]
        row.peak = max(earlier, key=lambda one: one.value or 0, default=None)


def _flags(row: Row, criteria: Iterable[Criterion]) -> Iterator[tuple[int, tuple[str, str]]]:
    zero = row.subject.zero
    after = zero is not None and row.day is not None and row.day > zero
    for one in criteria:
        value = interval(row)
        if one.threshold.of_fall:
            if not after or value is None or row.peak is None or not row.peak.value:
                continue
            top = row.peak.value
            value = value.scaled(Fraction(-100) / top, 100)
        if value is not None:
            yield one.number, (one.told, _FLAGS[one.threshold.holds(value)])


def interval(row: Row) -> Interval | None:
    """The number of a row, or what its text says of it: ``<0.15`` is everything below 0.15."""
    if row.value is not None:
        return Interval.exactly(row.value)
    match = _REPORTED.fullmatch(row.text)
    if match is None:
        return None
    comparators: Mapping[str, Comparator] = {"": "", "<": "<", "<=": "<=", ">": ">", ">=": ">="}
    return Interval.reported(Fraction(match["number"]), comparators[match["comparator"] or ""])


def _maxima(parameter: Parameter, rows: Sequence[Row]) -> Iterator[Row]:
    """For each visit the peak that its analysed record is compared with; the source is that of the peak."""
    for row in rows:
        top = row.peak
        if not row.used or row.at_baseline or row.window is None or top is None:
            continue
        yield Row(
            row.subject,
            parameter,
            value=top.value,
            text=top.text,
            day=top.day,
            window=row.window,
            used=True,
            derivation=MAXIMUM,
            record=top.record,
            source=top.source,
            source_variable=top.source_variable,
            decimals=row.decimals,
        )


def cell_day(cell: Cell) -> date | None:
    """The day of an ISO 8601 text."""
    return date.fromisoformat(cell[:10]) if isinstance(cell, str) and len(cell) >= 10 else None
