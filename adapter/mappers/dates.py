"""When a reading was taken: the collection decides, the report's date only stands in.

Order (https://hl7.org/fhir/R4/observation.html, effective[x] and issued): effectivePeriod, effectiveDateTime,
effectiveInstant, effectiveTiming with one event, the specimen's collection, ``issued`` (flag
DATE_IS_ISSUED). A time without offset is read in the site's zone (flag TZ_ASSUMED).
"""

from __future__ import annotations

from typing import Protocol

import msgspec

from adapter.mappers import r4
from adapter.mappers.context import Context
from adapter.model.dates import PartialDate


class Effective(Protocol):
    """The elements of Observation (or what it is contained in) that say when."""

    @property
    def effectiveDateTime(self) -> str | None: ...
    @property
    def effectivePeriod(self) -> r4.Period | None: ...
    @property
    def effectiveInstant(self) -> str | None: ...
    @property
    def effectiveTiming(self) -> r4.Timing | None: ...
    @property
    def issued(self) -> str | None: ...


class Moment(msgspec.Struct, frozen=True, gc=False):
    """``start`` and, for a timed collection, ``end``; ``period`` is the text both were read from.

    ``unreadable`` is true when there was a date text and it is no date that exists.
    """

    start: PartialDate | None = None
    end: PartialDate | None = None
    flags: tuple[str, ...] = ()
    unreadable: bool = False

    @property
    def known(self) -> bool:
        return self.start is not None or self.end is not None


_NOT_SAID = Moment()


def moment_of(resource: Effective, specimen: r4.Specimen | None, context: Context) -> Moment:
    """When the reading was taken, by the first source in the order above that says anything."""
    collection = specimen.collection if specimen else None
    candidates = (
        _period(resource.effectivePeriod, context),
        _single(resource.effectiveDateTime, context),
        _single(resource.effectiveInstant, context),
        _timing(resource.effectiveTiming, context),
        _period(collection.collectedPeriod if collection else None, context, "DATE_FROM_SPECIMEN"),
        _single(collection.collectedDateTime if collection else None, context, "DATE_FROM_SPECIMEN"),
        _single(resource.issued, context, "DATE_IS_ISSUED"),
    )
    found = next((moment for moment in candidates if moment.known), _NOT_SAID)
    if any(moment.unreadable for moment in candidates):
        return msgspec.structs.replace(found, unreadable=True, flags=(*found.flags, "DATE_UNREADABLE"))
    return found


def _single(text: str | None, context: Context, flag: str = "") -> Moment:
    if not text:
        return _NOT_SAID
    day = context.date(text)
    if day is None:
        return Moment(unreadable=True)
    return Moment(day, None, _flags(flag, day))


def _period(period: r4.Period | None, context: Context, flag: str = "") -> Moment:
    if period is None or not (period.start or period.end):
        return _NOT_SAID
    start, end = context.date(period.start), context.date(period.end)
    unreadable = bool(period.start and not start) or bool(period.end and not end)
    if start and end and end.last < start.first:
        return Moment(unreadable=True)
    return Moment(start, end, _flags(flag, start, end), unreadable)


def _timing(timing: r4.Timing | None, context: Context) -> Moment:
    if timing is None:
        return _NOT_SAID
    if len(timing.event) == 1:
        return _single(timing.event[0], context)
    return _period(timing.repeat.boundsPeriod if timing.repeat else None, context)


def _flags(flag: str, *days: PartialDate | None) -> tuple[str, ...]:
    assumed = any(day is not None and day.zone_assumed for day in days)
    return (*((flag,) if flag else ()), *(("TZ_ASSUMED",) if assumed else ()))
