"""Which time a date in a search means, and whether a resource's own date satisfies it.

Source: https://hl7.org/fhir/R4/search.html#date and #prefix.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, tzinfo
from typing import NamedTuple

from dateutil.relativedelta import relativedelta

_DATE = re.compile(
    r"(\d{4})(?:-(\d{2})(?:-(\d{2})(?:T(\d{2}):(\d{2})(?::(\d{2})(?:\.(\d{1,9}))?)?(Z|[+-]\d{2}:\d{2})?)?)?)?"
)
_FIRST, _LAST = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)


class Span(NamedTuple):
    """From ``first`` up to, and without, ``end``."""

    first: datetime
    end: datetime


def span_of(text: str, zone: tzinfo) -> Span | None:
    """The time a date may mean, at its own precision; None if it is no date. Without an offset it is read in
    ``zone`` (https://hl7.org/fhir/R4/search.html#date)."""
    found = _DATE.fullmatch(text)
    if found is None:
        return None
    year, month, day, hour, minute, second, fraction, offset = found.groups()
    try:
        microseconds = int(((fraction or "") + "000000")[:6])
        at = (int(hour or 0), int(minute or 0), int(second or 0), microseconds)
        first = datetime(int(year), int(month or 1), int(day or 1), *at, tzinfo=_zone(offset, zone))
        return Span(first.astimezone(UTC), (first + _width(found.groups())).astimezone(UTC))
    except (ValueError, OverflowError):
        return None


def kept(text: str, zone: tzinfo) -> Span | None:
    """The time of a resource as :func:`adapter.store.parameters.keys` keeps it; open ends are open."""
    if "/" not in text:
        return span_of(text, zone)
    start, end = (span_of(one, zone) for one in text.split("/", 1))
    if start is None and end is None:
        return None
    return Span(start.first if start else _FIRST, end.end if end else _LAST)


def holds(prefix: str, asked: Span, target: Span) -> bool:
    """Whether a target satisfies a date with a prefix (https://hl7.org/fhir/R4/search.html#prefix)."""
    within = asked.first <= target.first and target.end <= asked.end
    return {
        "eq": within,
        "ne": not within,
        "gt": target.end > asked.end,
        "ge": target.end > asked.end or within,
        "lt": target.first < asked.first,
        "le": target.first < asked.first or within,
        "sa": target.first >= asked.end,
        "eb": target.end <= asked.first,
    }[prefix]


def _zone(offset: str | None, zone: tzinfo) -> tzinfo:
    if offset is None:
        return zone
    return datetime.fromisoformat(f"2000-01-01T00:00:00{offset.replace('Z', '+00:00')}").tzinfo or UTC


def _width(parts: tuple[str | None, ...]) -> timedelta | relativedelta:
    _, month, day, hour, _, second, fraction, _ = parts
    if fraction:
        return timedelta(microseconds=10 ** max(0, 6 - len(fraction)))
    for part, width in ((second, timedelta(seconds=1)), (hour, timedelta(minutes=1))):
        if part:
            return width
    return relativedelta(days=1) if day else relativedelta(months=1) if month else relativedelta(years=1)
