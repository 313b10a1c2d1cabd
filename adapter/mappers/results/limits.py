"""The reference limits of one reading, in its canonical unit: its own, else the site's (flag SITE_RANGE)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec

from adapter.mappers import r4
from adapter.mappers.context import Context
from adapter.mappers.dates import Moment
from adapter.mappers.remembered import remembered
from adapter.mappers.results.ranges import Limits, choose
from adapter.mappers.results.text import normalise
from adapter.mappers.results.units import Canonical, converted
from adapter.mappers.results.values import Question
from adapter.model.dates import PartialDate
from adapter.model.facts import ReferenceRange
from adapter.model.quantity import Interval
from adapter.model.terminology import AS_REPORTED, CodeEntry, Concept, UnitEntry

if TYPE_CHECKING:
    from adapter.mappers.terminology import Terminology

_DEPARTMENT = re.compile(
    r"检验|实验室|化验|中心|医院|科$|室$|laborator|\blab\b|hospital|department|clinic", re.IGNORECASE
)


class Limited(msgspec.Struct, frozen=True, gc=False):
    """``range`` is None where no single pair of limits holds for this person, and ``flags`` say why."""

    range: ReferenceRange | None = None
    flags: tuple[str, ...] = ()


_NO_LIMITS = Limited()


def limits_of(
    reading: r4.Observation,
    question: Question,
    done: Canonical,
    subject: str,
    moment: Moment,
    context: Context,
) -> Limited:
    """Choose by sex and by age on the day of the sample; convert as the value was converted."""
    person = context.people.get(subject)
    sex = person.sex if person else "unknown"
    birth: PartialDate | None = person.birth if person else None
    when = moment.end or moment.start
    chosen = choose(reading.referenceRange, sex=sex, birth=birth, on=when.first if when else None)
    if chosen.limits is not None:
        own = _converted(
            chosen.limits,
            chosen.text,
            question.entry,
            question.terminology,
            done.concept,
            done.entry,
            done.log10,
        )
        unusable = own is None and done.entry is not None
        return Limited(own, (*chosen.flags, "RANGE_UNIT") if unusable else chosen.flags)
    if "RANGE_AMBIGUOUS" in chosen.flags:
        return Limited(ReferenceRange(text=chosen.text), chosen.flags)
    day = when.day if when else None
    site = context.terminology.range_for(question.concept.key, sex, laboratory_of(reading), day)
    if site is not None and done.concept is question.concept:
        return Limited(
            ReferenceRange(site.low, site.high, chosen.text, "site"), (*chosen.flags, "SITE_RANGE")
        )
    if not chosen.text and not chosen.flags:
        return _NO_LIMITS
    return Limited(ReferenceRange(text=chosen.text) if chosen.text else None, chosen.flags)


@remembered
def _converted(
    limits: Limits,
    text: str,
    test: CodeEntry,
    terminology: Terminology,
    concept: Concept,
    unit: UnitEntry | None,
    log10: bool,
) -> ReferenceRange | None:
    """The limits in the canonical unit; None if their unit is not the value's and not on the list either.

    ``concept`` and ``unit`` are what the value itself was found to be in; ``log10`` if as a logarithm.
    """
    interval = Interval(limits.low, limits.high)
    if unit is None:
        # No unit could be read beside the value, so these limits hold in the value's own, unknown unit.
        as_reported = terminology.concepts[test.concept].unit == AS_REPORTED
        return ReferenceRange(limits.low, limits.high, text) if as_reported else None
    own_unit = normalise(limits.unit)
    if own_unit and concept.unit != AS_REPORTED:
        entry = terminology.unit_for(concept.key, own_unit, test.code)
        if entry is None or not entry.usable:
            return None
        result = converted(interval, entry, log10 or entry.scale == "log10")
    else:
        result = converted(interval, unit, log10)
    return ReferenceRange(result.low, result.high, text) if result else None


def laboratory_of(reading: r4.Observation) -> str:
    """The performing organisation: its name if the server sent it, else its reference; never a person.

    A performer given by words alone counts only if the words are those of a department.
    """
    for performer in reading.performer:
        reference = performer.reference or ""
        name = performer.display or ""
        if performer.type == "Organization" or "Organization/" in reference:
            return (name or reference)[:80]
        if not reference and not performer.type and _DEPARTMENT.search(name):
            return name[:80]
    return ""
