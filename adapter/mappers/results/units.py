"""From the unit as written to the canonical unit of the concept, exactly or not at all.

The accepted spellings are those of ``mappings/units.csv`` and the site's; an unknown one is UNIT_UNKNOWN, a
missing one UNIT_MISSING unless a person of the site named a default (UNIT_ASSUMED). Nothing is inferred from
the size of a number. A unit that belongs to a neighbouring quantity moves the reading there: mg/dL under the
code of a 24 h mass is a concentration (pitfall E-1).
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Context as DecimalContext
from decimal import Decimal
from fractions import Fraction

import msgspec

from adapter.mappers.results.values import Question, Value
from adapter.model.quantity import Interval, number_text
from adapter.model.terminology import AS_REPORTED, Bounds, Concept, UnitEntry

_POWERS = DecimalContext(prec=50)
_GIVEN = DecimalContext(prec=30)
_LARGEST_POWER = 30
_ELISA_LIMITS = frozenset({Fraction(14), Fraction(20)})

Convert = Callable[[Interval], Interval]


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

    def convert(self, interval: Interval) -> Interval | None:
        """The same conversion for another interval in the same unit (reference limits)."""
        return converted(interval, self.entry, self.log10) if self.entry else None


def canonical(value: Value, question: Question) -> Canonical:
    """The value of a reading in its concept's unit; a reading without a number passes through."""
    concept, code = question.concept, question.entry.code
    if value.interval is None:
        return Canonical(concept, flags=())
    terminology = question.terminology
    if not value.units:
        entry = terminology.default_unit(concept.key, code)
        if entry is None and concept.unit == AS_REPORTED:
            return Canonical(concept, value.interval, entry=UnitEntry(concept.key, "", "", ""))
        if entry is None:
            return Canonical(concept, flags=("UNIT_MISSING",), excluded="UNIT_MISSING")
        return _apply(value, entry, concept, question)
    for key in (concept.key, concept.by_unit):
        entries = [
            entry
            for text in value.units
            if key and (entry := terminology.unit_for(key, text, code)) is not None
        ]
        if not entries:
            continue
        if len({(one.factor, one.offset, one.scale) for one in entries}) > 1:
            return Canonical(concept, flags=("UNIT_CONFLICT",), excluded="UNIT_UNKNOWN")
        target = terminology.concepts[key]
        moved = ("UNIT_SAYS_OTHER",) if key != concept.key else ()
        done = _apply(value, entries[0], target, question)
        return msgspec.structs.replace(done, flags=(*done.flags, *moved)) if moved else done
    known = any(terminology.never_converts(text) for text in value.units)
    flag = "UNIT_NOT_CONVERTIBLE" if known else "UNIT_UNKNOWN"
    return Canonical(concept, flags=(flag,), excluded="UNIT_UNKNOWN")


def _apply(value: Value, entry: UnitEntry, concept: Concept, question: Question) -> Canonical:
    assert value.interval is not None  # noqa: S101 - callers look first
    if not entry.usable:
        return Canonical(concept, flags=("UNIT_NEEDS_SITE",), excluded="UNIT_UNKNOWN")
    code_is_log = question.entry.method == "log10"
    log10 = entry.scale == "log10" or code_is_log
    interval = converted(value.interval, entry, log10)
    if interval is None:
        return Canonical(concept, flags=("IMPLAUSIBLE",), excluded="IMPLAUSIBLE")
    flags = list(entry.flags)
    if code_is_log and entry.scale != "log10":
        flags.append("UNIT_REPAIRED")
    done = Canonical(
        concept, interval, entry.unit, _shown(entry, log10), tuple(flags), entry=entry, log10=log10
    )
    return plausible(done, value.comparator)


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
    too_low = interval.high is not None and interval.high < bounds.low and not exempt_lower
    return too_low or (interval.low is not None and interval.low > bounds.high)


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
