"""When something began or ended, in the five ways FHIR R4 may say it.

``dateTime`` and ``Period`` are dates; ``Age`` and ``Range`` of ages become the days they may mean, if the
birth date is known; a string is not read (issue UNPARSED_TEXT). Source: https://hl7.org/fhir/R4/condition.html,
onset[x] and abatement[x]; the same choice stands in Procedure and AllergyIntolerance.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from math import floor
from types import MappingProxyType
from typing import NamedTuple

from dateutil.relativedelta import relativedelta

from adapter.mappers import r4
from adapter.mappers.context import Context
from adapter.model.dates import PartialDate, Precision, add_days

_AGE_UNITS: Mapping[str, str] = MappingProxyType(
    {
        **dict.fromkeys(("a", "year", "years", "岁"), "years"),
        **dict.fromkeys(("mo", "month", "months", "月"), "months"),
        **dict.fromkeys(("wk", "week", "weeks", "周"), "weeks"),
        **dict.fromkeys(("d", "day", "days", "天"), "days"),
    }
)


class Choice(NamedTuple):
    """One ``onset[x]``, ``abatement[x]`` or ``performed[x]`` as sent."""

    dateTime: str | None = None
    period: r4.Period | None = None
    age: r4.Quantity | None = None
    range: r4.Range | None = None
    string: str | None = None


class Moment(NamedTuple):
    """``start`` and ``end`` if known; ``problem`` is BAD_DATE, UNPARSED_TEXT or AGE_WITHOUT_BIRTH."""

    start: PartialDate | None = None
    end: PartialDate | None = None
    problem: str = ""


def moment(choice: Choice, context: Context, birth: PartialDate | None) -> Moment:
    """What the choice says, as days in the site's zone."""
    if choice.dateTime:
        found = context.date(choice.dateTime)
        return Moment(found, None, "" if found else "BAD_DATE")
    if choice.period and (choice.period.start or choice.period.end):
        start, end = context.date(choice.period.start), context.date(choice.period.end)
        unread = (choice.period.start and not start) or (choice.period.end and not end)
        return Moment(start, end, "BAD_DATE" if unread else "")
    if choice.age or choice.range:
        if birth is None:
            return Moment(problem="AGE_WITHOUT_BIRTH")
        low = choice.age or (choice.range.low if choice.range else None)
        high = choice.age or (choice.range.high if choice.range else None)
        at_age = _at_age(birth, low, high)
        return Moment(at_age, None, "" if at_age else "BAD_DATE")
    return Moment(problem="UNPARSED_TEXT" if choice.string else "")


def _at_age(birth: PartialDate, low: r4.Quantity | None, high: r4.Quantity | None) -> PartialDate | None:
    """From the day the lower age may be reached to the last day before one unit above the higher age."""
    from_age, to_age = _age(low), _age(high)
    if from_age is None or to_age is None:
        return None
    try:
        first = birth.first + relativedelta(**{from_age[1]: from_age[0]})  # type: ignore[arg-type]
        last = birth.last + relativedelta(**{to_age[1]: to_age[0] + 1})  # type: ignore[arg-type]
        return span(first, add_days(last, -1), f"age {from_age[0]} {from_age[1]}")
    except (OverflowError, ValueError):
        return None


def _age(quantity: r4.Quantity | None) -> tuple[int, str] | None:
    """Completed units; None with a comparator or a unit that is no age."""
    number = r4.usable(quantity.value) if quantity and not quantity.comparator else None
    unit = _AGE_UNITS.get(((quantity.code or quantity.unit or "") if quantity else "").strip().lower())
    return (floor(number), unit) if number is not None and 0 <= number < 50000 and unit else None


def span(first: date, last: date, text: str) -> PartialDate | None:
    """Any day from first to last; the precision is what both have in common. None if turned round."""
    if first > last:
        return None
    precision: Precision = "year"
    if first == last:
        precision = "day"
    elif (first.year, first.month) == (last.year, last.month):
        precision = "month"
    return PartialDate(text, precision, first, last)


def birth_of(subject: str, context: Context) -> PartialDate | None:
    """The birth date of a person after merges; None if merged records disagree."""
    person = context.people.get(subject)
    return person.birth if person else None
