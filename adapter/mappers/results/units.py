"""From the unit as written to the canonical unit of the concept, exactly or not at all.

The accepted spellings are those of ``mappings/units.csv`` and the site's; an unknown one is UNIT_UNKNOWN, a
missing one UNIT_MISSING unless a person of the site named a default (UNIT_ASSUMED). Nothing is inferred from
the size of a number. A unit that belongs to a neighbouring quantity moves the reading there: mg/dL under the
code of a 24 h mass is a concentration (pitfall E-1).
"""

from __future__ import annotations

from decimal import Context as DecimalContext
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from adapter.mappers.remembered import remembered
from adapter.mappers.results.values import Question, Value
from adapter.model.quantity import Interval, number_text, order
from adapter.model.terminology import AS_REPORTED, Bounds, CodeEntry, Concept, UnitEntry

if TYPE_CHECKING:
    from adapter.mappers.terminology import Terminology

_POWERS = DecimalContext(prec=50)
_GIVEN = DecimalContext(prec=30)
_LARGEST_POWER = 30
_ELISA_LIMITS = frozenset({Fraction(14), Fraction(20)})


class Canonical(msgspec.Struct, frozen=True, gc=False):
    """The value in ``unit`` and how it got there; ``excluded`` and ``flags`` say why it did not.

    ``concept`` differs from the question's where the unit moved the reading. ``entry`` also converts the
    reference limits that were printed beside the value.
    """

    concept: Concept
    interval: Interval | None = None
    unit: str = ""
    conversion: str = ""
    flags: tuple[str, ...] = ()
    excluded: str = ""
    entry: UnitEntry | None = None
    log10: bool = False


class Scale(NamedTuple):
    """What the units of a reading and its code say, whatever its number is.

    ``unit`` is None where no number can be read in them, and ``flags`` and ``excluded`` say why; ``checked``
    is false where nothing is known of what numbers are plausible.
    """

    concept: Concept
    unit: UnitEntry | None = None
    flags: tuple[str, ...] = ()
    excluded: str = ""
    conversion: str = ""
    log10: bool = False
    checked: bool = True


def canonical(value: Value, question: Question) -> Canonical:
    """The value of a reading in its concept's unit; a reading without a number passes through."""
    if value.interval is None:
        return Canonical(question.concept)
    scale = scale_of(value.units, question.entry, question.terminology)
    concept, unit = scale.concept, scale.unit
    if unit is None:
        return Canonical(concept, flags=scale.flags, excluded=scale.excluded)
    if not scale.checked:
        return Canonical(concept, value.interval, entry=unit)
    interval = converted(value.interval, unit, scale.log10)
    if interval is None:
        moved = _moved(concept, question.concept)
        return Canonical(concept, flags=("IMPLAUSIBLE", *moved), excluded="IMPLAUSIBLE")
    done = Canonical(
        concept, interval, unit.unit, scale.conversion, scale.flags, entry=unit, log10=scale.log10
    )
    return plausible(done, value.comparator)


@remembered
def scale_of(units: tuple[str, ...], test: CodeEntry, terminology: Terminology) -> Scale:
    """How numbers of a test, sent in units spelled so, become numbers in a concept's own unit."""
    concept = terminology.concepts[test.concept]
    if not units:
        entry = terminology.default_unit(concept.key, test.code)
        if entry is None and concept.unit == AS_REPORTED:
            return Scale(concept, UnitEntry(concept.key, "", "", ""), checked=False)
        if entry is None:
            return Scale(concept, flags=("UNIT_MISSING",), excluded="UNIT_MISSING")
        return _scale(concept, entry, test, ())
    for key in (concept.key, concept.by_unit):
        entries = [
            entry
            for text in units
            if key and (entry := terminology.unit_for(key, text, test.code)) is not None
        ]
        if not entries:
            continue
        if len({(one.factor, one.offset, one.scale) for one in entries}) > 1:
            return Scale(concept, flags=("UNIT_CONFLICT",), excluded="UNIT_UNKNOWN")
        target = terminology.concepts[key]
        return _scale(target, entries[0], test, _moved(target, concept))
    known = any(terminology.never_converts(text) for text in units)
    flag = "UNIT_NOT_CONVERTIBLE" if known else "UNIT_UNKNOWN"
    return Scale(concept, flags=(flag,), excluded="UNIT_UNKNOWN")


def _moved(concept: Concept, asked: Concept) -> tuple[str, ...]:
    return () if concept.key == asked.key else ("UNIT_SAYS_OTHER",)


def _scale(concept: Concept, entry: UnitEntry, test: CodeEntry, moved: tuple[str, ...]) -> Scale:
    if not entry.usable:
        return Scale(concept, flags=("UNIT_NEEDS_SITE", *moved), excluded="UNIT_UNKNOWN")
    code_is_log = test.method == "log10"
    log10 = entry.scale == "log10" or code_is_log
    repaired = ("UNIT_REPAIRED",) if code_is_log and entry.scale != "log10" else ()
    return Scale(
        concept, entry, (*entry.flags, *repaired, *moved), conversion=_shown(entry, log10), log10=log10
    )


def converted(interval: Interval, entry: UnitEntry, log10: bool) -> Interval | None:
    """The interval in the entry's canonical unit; None if a logarithm is past any viral load."""
    if log10:
        low, high = (
            None if bound is None else power_of_ten(bound) for bound in (interval.low, interval.high)
        )
        if (low is None) != (interval.low is None) or (high is None) != (interval.high is None):
            return None
        interval = Interval(low, high, interval.low_closed, interval.high_closed)
    return interval.scaled(entry.factor, entry.offset)


def power_of_ten(exponent: Fraction) -> Fraction | None:
    """10 to a rational power: exact for whole ones, else 30 significant digits; None past 10^30.

    >>> power_of_ten(Fraction(3))
    Fraction(1000, 1)
    """
    if abs(exponent) > _LARGEST_POWER:
        return None
    if exponent.denominator == 1:
        return Fraction(10) ** exponent.numerator
    power = _POWERS.divide(Decimal(exponent.numerator), Decimal(exponent.denominator))
    return Fraction(_GIVEN.plus(_POWERS.power(Decimal(10), power)))


def plausible(done: Canonical, comparator: str) -> Canonical:
    """Apply the concept's hard and soft limits; ``<0.05`` is exempt from the lower ones where it says so."""
    if done.interval is None:
        return done
    exempt = comparator in done.concept.exempt_lower_bound if comparator else False
    if outside(done.interval, done.concept.hard, exempt):
        return msgspec.structs.replace(
            done, flags=(*done.flags, "IMPLAUSIBLE"), excluded=done.excluded or "IMPLAUSIBLE"
        )
    if outside(done.interval, done.concept.soft, exempt):
        return msgspec.structs.replace(done, flags=(*done.flags, "CHECK_VALUE"))
    return done


def outside(interval: Interval, bounds: Bounds | None, exempt_lower: bool = False) -> bool:
    """Whether no number of the interval is within the bounds."""
    if bounds is None:
        return False
    low, high = interval.low, interval.high
    if high is not None and not exempt_lower and order(high, bounds.low) < 0:
        return True
    return low is not None and order(low, bounds.high) > 0


def elisa_default_fits(high: Fraction | None) -> bool:
    """Whether an upper limit is one of the Euroimmun anti-PLA2R ELISA's (14 or 20 RU/mL).

    Mayo, ARUP, U-Michigan and Fairview print these; a result without unit is taken for that kit only beside
    one of them and by the site's own statement.
    """
    return high in _ELISA_LIMITS


def _shown(entry: UnitEntry, log10: bool) -> str:
    parts = ["10^x"] if log10 else []
    if entry.factor != 1:
        parts.append(f"x {number_text(entry.factor)}")
    if entry.offset:
        parts.append(f"{'+' if entry.offset > 0 else '-'} {number_text(abs(entry.offset))}")
    return f"{' '.join(parts)} ({entry.where})" if parts else ""
