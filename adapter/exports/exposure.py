"""Study drug as taken: constant-dose intervals out of orders, dispenses, statements and administrations.

Which record speaks for a day: an administration before a dispense before a statement before an order
(what was seen being taken, what was handed out, what was said, what was asked for). Of two records of
one kind the one that began later speaks, because a titration replaces what came before; records that
began on the same day speak together (2 mg in the morning and 1 mg in the evening are two rows). A single
administration that agrees with the regimen of its day confirms it and does not cut it in two.
Source: SDTMIG 3.4, section 6.1.3 (EX); the order of preference is ours.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date, timedelta
from fractions import Fraction
from typing import TypeAlias

import msgspec

from adapter.exports.record import Exposure
from adapter.model.facts import Intervention

PREFERENCE = ("administration", "dispense", "statement", "order")

_Dose: TypeAlias = tuple[Fraction | None, str, str, str, str]
_DAY = timedelta(days=1)


class _Span(msgspec.Struct, frozen=True):
    """A record with the days it speaks for; ``last`` None is open."""

    row: Intervention
    first: date
    last: date | None

    @property
    def dose(self) -> _Dose:
        row = self.row
        return (row.dose, row.dose_unit, row.form, row.frequency, row.route)

    def covers(self, day: date) -> bool:
        return self.first <= day and (self.last is None or day <= self.last)


def constant_dose_intervals(rows: Iterable[Intervention]) -> tuple[Exposure, ...]:
    """EX rows of one subject, by drug and start.

    A row whose start is not known to the day takes no part in the joining: it stands alone, at the
    precision of the source. A row without a start is no exposure.
    """
    drugs: dict[str, list[Intervention]] = {}
    for row in rows:
        if row.start is not None:
            drugs.setdefault(row.concept, []).append(row)
    found: list[Exposure] = []
    for concept in sorted(drugs):
        spans = [_span(row) for row in drugs[concept] if row.start and row.start.day]
        found += _joined(concept, spans)
        found += [_alone(row) for row in drugs[concept] if row.start and not row.start.day]
    return tuple(sorted(found, key=_order))


def _order(one: Exposure) -> tuple[str, ...]:
    return (one.concept, one.start, one.end, str(one.dose), one.dose_unit, one.frequency, one.form, one.route)


def _span(row: Intervention) -> _Span:
    first = row.start.first if row.start else date.min
    end = row.exposure_end or row.end
    if row.kind == "administration" and end is None and not row.ongoing:
        return _Span(row, first, first)
    if end is None or row.ongoing:
        return _Span(row, first, None)
    return _Span(row, first, max(first, end.last))


def _joined(concept: str, spans: Sequence[_Span]) -> list[Exposure]:
    """Cut time where anything begins or ends, let the best record speak, join equal neighbours."""
    cuts = sorted({span.first for span in spans} | {span.last + _DAY for span in spans if span.last})
    found: list[Exposure] = []
    running: dict[_Dose, tuple[list[_Span], date]] = {}
    for index, cut in enumerate(cuts):
        doses: dict[_Dose, list[_Span]] = {}
        for span in _speaking([span for span in spans if span.covers(cut)]):
            doses.setdefault(span.dose, []).append(span)
        over = [dose for dose in running if dose not in doses]
        found += [_interval(concept, *running.pop(dose), cut - _DAY) for dose in over]
        for dose, speakers in doses.items():
            so_far, began = running.get(dose, ([], cut))
            running[dose] = (so_far + speakers, began)
        if index == len(cuts) - 1:
            found += [_interval(concept, speakers, began, None) for speakers, began in running.values()]
    return found


def _speaking(spans: Sequence[_Span]) -> list[_Span]:
    """The best records of a day; administrations that say what the next best says leave it the word."""
    if not spans:
        return []
    best = min(PREFERENCE.index(span.row.kind) for span in spans)
    same_kind = [span for span in spans if PREFERENCE.index(span.row.kind) == best]
    latest = max(span.first for span in same_kind)
    found = [span for span in same_kind if span.first == latest]
    if PREFERENCE[best] == "administration":
        regimen = _speaking([span for span in spans if PREFERENCE.index(span.row.kind) != best])
        if regimen and {_amount(span) for span in found} == {_amount(span) for span in regimen}:
            return regimen
    return found


def _amount(span: _Span) -> tuple[Fraction | None, str]:
    return (span.row.dose, span.row.dose_unit)


def _interval(concept: str, spans: Sequence[_Span], first: date, last: date | None) -> Exposure:
    """Times of day are kept where a record of the interval itself begins on its first day."""
    unique = {span.row.source: span.row for span in spans}
    rows = sorted(unique.values(), key=lambda row: (row.start.order if row.start else (), row.source))
    opening = next((row for row in rows if row.start and row.start.first == first), None)
    return Exposure(
        concept=concept,
        dose=rows[0].dose,
        dose_unit=rows[0].dose_unit,
        form=rows[0].form,
        frequency=rows[0].frequency,
        route=rows[0].route,
        start=opening.start.iso if opening and opening.start else first.isoformat(),
        end=last.isoformat() if last else "",
        kind=rows[0].kind,
        sources=tuple(sorted({f"{row.source.reference}#{row.source.path}" for row in rows})),
    )


def _alone(row: Intervention) -> Exposure:
    end = row.exposure_end or row.end
    return Exposure(
        concept=row.concept,
        dose=row.dose,
        dose_unit=row.dose_unit,
        form=row.form,
        frequency=row.frequency,
        route=row.route,
        start=row.start.iso if row.start else "",
        end=end.iso if end and not row.ongoing else "",
        kind=row.kind,
        sources=(f"{row.source.reference}#{row.source.path}",),
    )
