"""How much, how often, for how long: FHIR Dosage read exactly, or not at all.

A dose that is not stated is never completed from habit: without a frequency there is no daily dose, and
free text is not read (it is reported). Amounts of substance are in mg, by exact factors; any other unit
(tablets, IU, mg/kg) stays as written. Source: https://hl7.org/fhir/R4/dosage.html and
https://hl7.org/fhir/R4/datatypes.html#Timing.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from math import ceil
from types import MappingProxyType
from typing import NamedTuple

from adapter.mappers import r4
from adapter.mappers.medications.timing import days_of, intakes
from adapter.mappers.remembered import remembered_as_sent
from adapter.model.dates import PartialDate, add_days, on_day


class Amount(NamedTuple):
    """An exact quantity; ``unit`` is ``mg`` for every mass, else the source's own word."""

    value: Fraction
    unit: str


class Regimen(NamedTuple):
    """What the dosage instructions of one resource say together.

    ``dose`` per intake and ``daily`` per calendar day share a unit. ``intakes`` is intakes per day.
    ``flags`` say why something is missing: FREQUENCY_MISSING, DOSE_MISSING, DOSE_RANGE, DOSE_SEQUENCE,
    AS_NEEDED, UNIT_REPAIRED. ``unparsed`` is true if there was only text.
    """

    dose: Amount | None = None
    daily: Amount | None = None
    frequency: str = ""
    flags: tuple[str, ...] = ()
    unparsed: bool = False


_TO_MG: Mapping[str, Fraction] = MappingProxyType(
    {
        "mg": Fraction(1),
        "毫克": Fraction(1),
        "g": Fraction(1000),
        "克": Fraction(1000),
        "gram": Fraction(1000),
        "ug": Fraction(1, 1000),
        "μg": Fraction(1, 1000),
        "mcg": Fraction(1, 1000),
        "微克": Fraction(1, 1000),
        "ng": Fraction(1, 1000000),
    }
)


def amount(quantity: r4.Quantity | None) -> Amount | None:
    """The exact amount, masses in mg; None if absent, with a comparator, or not a usable number."""
    if quantity is None or quantity.comparator:
        return None
    number = r4.usable(quantity.value)
    if number is None or number < 0:
        return None
    written = quantity.code or quantity.unit or ""
    word = unicodedata.normalize("NFKC", written).strip()
    factor = _TO_MG.get(word) or _TO_MG.get(word.casefold())
    return Amount(number * factor, "mg") if factor else Amount(number, word)


@remembered_as_sent
def regimen(dosages: tuple[r4.Dosage, ...]) -> Regimen:
    """Several instructions with one sequence number are taken together, others one after another (R4)."""
    if not dosages:
        return Regimen(flags=("DOSE_MISSING", "FREQUENCY_MISSING"))
    parts = [_one(dosage) for dosage in dosages]
    if len(parts) == 1:
        return parts[0]
    flags = {flag for part in parts for flag in part.flags}
    unparsed = all(part.unparsed for part in parts)
    if not _concurrent(dosages):
        return Regimen(flags=tuple(sorted(flags | {"DOSE_SEQUENCE"})), unparsed=unparsed)
    doses, dailies = [part.dose for part in parts], [part.daily for part in parts]
    frequency = " + ".join(part.frequency for part in parts if part.frequency)
    same = doses[0] if len(set(doses)) == 1 else None
    return Regimen(same, _sum(dailies), frequency, tuple(sorted(flags)), unparsed)


def _concurrent(dosages: Sequence[r4.Dosage]) -> bool:
    """Whether all instructions hold at once: one shared sequence number, or different times of the day."""
    numbers = {dosage.sequence for dosage in dosages}
    if numbers != {None}:
        return len(numbers) == 1
    times = [_times_of_day(dosage) for dosage in dosages]
    return all(times) and len({time for one in times for time in one}) == sum(map(len, times))


def _times_of_day(dosage: r4.Dosage) -> tuple[str, ...]:
    repeat = dosage.timing.repeat if dosage.timing else None
    return (*repeat.timeOfDay, *repeat.when) if repeat else ()


def _sum(amounts: Sequence[Amount | None]) -> Amount | None:
    known = [one for one in amounts if one is not None]
    if len(known) != len(amounts) or len({one.unit for one in known}) != 1:
        return None
    return Amount(sum((one.value for one in known), Fraction(0)), known[0].unit)


def dose_of(dosage: r4.Dosage | None) -> tuple[Amount | None, tuple[str, ...]]:
    """The amount of one intake and its flags; for administrations, which have no frequency."""
    flags: set[str] = set()
    dose = _dose(dosage or r4.Dosage(), flags)
    return dose, tuple(sorted(flags))


def _one(dosage: r4.Dosage) -> Regimen:
    flags: set[str] = set()
    dose = _dose(dosage, flags)
    per_day, frequency = intakes(dosage.timing)
    if dosage.asNeededBoolean or dosage.asNeededCodeableConcept:
        flags.add("AS_NEEDED")
        per_day = None
    elif per_day is None and not frequency:
        flags.add("FREQUENCY_MISSING")
    daily = Amount(dose.value * per_day, dose.unit) if dose and per_day is not None else None
    text_only = bool(dosage.text or dosage.patientInstruction) and dose is None and not frequency
    return Regimen(dose, daily, frequency, tuple(sorted(flags)), text_only)


def _dose(dosage: r4.Dosage, flags: set[str]) -> Amount | None:
    given = [one for one in dosage.doseAndRate if one.doseQuantity or one.doseRange]
    ordered = [one for one in given if r4.first_code(one.type) == "ordered"]
    choices = ordered or given
    if any(one.doseRange for one in choices):
        flags.add("DOSE_RANGE")
        return None
    quantities = [one.doseQuantity for one in choices] or [dosage.dose]
    amounts = {amount(one) for one in quantities}
    found = amounts.pop() if len(amounts) == 1 else None
    if found is None:
        flags.add("DOSE_MISSING")
        return None
    if found.unit == "mg" and any(_repaired(one) for one in quantities if one):
        flags.add("UNIT_REPAIRED")
    return found


def _repaired(quantity: r4.Quantity) -> bool:
    """Whether a mass unit was written in a spelling that UCUM does not know (``MG``, ``mcg``, 毫克)."""
    return (quantity.code or quantity.unit or "") not in ("mg", "g", "ug", "ng")


_COUNTED = frozenset(
    (
        "",
        "1",
        "tab",
        "tablet",
        "tablets",
        "{tablet}",
        "片",
        "cap",
        "capsule",
        "capsules",
        "{capsule}",
        "粒",
        "{tbl}",
    )
)


def in_mg(found: Amount | None, strength: r4.Ratio | None) -> Amount | None:
    """A count of tablets or capsules as mass, by the strength of one; anything else as it is."""
    if found is None or found.unit == "mg" or strength is None:
        return found
    each, of = amount(strength.numerator), amount(strength.denominator)
    if each is None or each.unit != "mg" or of is None or of.value != 1:
        return found
    units = {found.unit.casefold(), of.unit.casefold()}
    if len(units) == 1 or units <= _COUNTED:
        return Amount(found.value * each.value, "mg")
    return found


def supply_days(quantity: Amount | None, daily: Amount | None) -> Fraction | None:
    """How long a quantity lasts; None unless both are known, in one unit, and the daily dose is not 0."""
    if (
        quantity is None
        or daily is None
        or quantity.unit != daily.unit
        or not quantity.unit
        or daily.value <= 0
    ):
        return None
    return quantity.value / daily.value


def last_day(start: PartialDate | None, days: Fraction | None) -> PartialDate | None:
    """The last of ``days`` days of which ``start`` is the first; a partial start gives a partial end.

    A supply of 10.5 days touches 11 calendar days.
    """
    if start is None or days is None or not 0 < days < 36525:
        return None
    more = ceil(days) - 1
    try:
        first, last = add_days(start.first, more), add_days(start.last, more)
    except OverflowError:
        return None
    if first == last:
        return on_day(last)
    return PartialDate(f"{start.text} + {more} d", start.precision, first, last)


def bounds_end(
    dosages: Sequence[r4.Dosage],
    start: PartialDate | None,
    parse: Callable[[str | None], PartialDate | None],
) -> PartialDate | None:
    """When the ordered intake ends: the latest boundsPeriod.end, else start + boundsDuration."""
    repeats = [one.timing.repeat for one in dosages if one.timing and one.timing.repeat]
    ends = [parse(one.boundsPeriod.end) for one in repeats if one.boundsPeriod]
    stated = [one for one in ends if one is not None]
    if stated:
        return max(stated, key=lambda one: one.order)
    durations = [days_of(one.boundsDuration) for one in repeats]
    known = [one for one in durations if one is not None]
    if not known or len(known) != len(dosages):
        return None
    total = max(known) if len(known) == 1 or _concurrent(dosages) else sum(known, Fraction(0))
    return last_day(start, total)
