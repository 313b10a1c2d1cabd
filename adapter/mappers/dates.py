"""When a reading was taken: the collection decides, the report's date only stands in.

Order (https://hl7.org/fhir/R4/observation.html, effective[x] and issued): effectivePeriod, effectiveDateTime,
effectiveInstant, effectiveTiming with one event, the specimen's collection, ``issued`` (flag
DATE_IS_ISSUED). A time without offset is read in the site's zone (flag TZ_ASSUMED).
"""

from __future__ import annotations

from collections.abc import Iterator
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
    found, unreadable = _NOT_SAID, False
    for said in _said(resource, specimen, context):
        unreadable = unreadable or said.unreadable
        if said.known and not found.known:
            found = said
    if unreadable:
        return msgspec.structs.replace(found, unreadable=True, flags=(*found.flags, "DATE_UNREADABLE"))
    return found


def _said(resource: Effective, specimen: r4.Specimen | None, context: Context) -> Iterator[Moment]:
    """Each source that is there, in order. All are read: one that cannot be is told, if it decides or not."""
    if resource.effectivePeriod is not None:
        yield _period(resource.effectivePeriod, context)
    if resource.effectiveDateTime:
        yield _single(resource.effectiveDateTime, context)
    if resource.effectiveInstant:
        yield _single(resource.effectiveInstant, context)
    if resource.effectiveTiming is not None:
        yield _timing(resource.effectiveTiming, context)
    if specimen is not None and specimen.collection is not None:
        yield _period(specimen.collection.collectedPeriod, context, "DATE_FROM_SPECIMEN")
        yield _single(specimen.collection.collectedDateTime, context, "DATE_FROM_SPECIMEN")
    if resource.issued:
        yield _single(resource.issued, context, "DATE_IS_ISSUED")


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
    named = (flag,) if flag else ()
    for day in days:
        if day is not None and day.zone_assumed:
            return (*named, "TZ_ASSUMED")
    return named
