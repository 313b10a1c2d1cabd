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
from adapter.model.dates import PartialDate, add_days, on_day
from adapter.model.quantity import number_text


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
_DAYS: Mapping[str, Fraction] = MappingProxyType(
    {
        "s": Fraction(1, 86400),
        "min": Fraction(1, 1440),
        "h": Fraction(1, 24),
        "d": Fraction(1),
        "day": Fraction(1),
        "days": Fraction(1),
        "天": Fraction(1),
        "日": Fraction(1),
        "wk": Fraction(7),
        "week": Fraction(7),
        "weeks": Fraction(7),
        "周": Fraction(7),
    }
)
# months and years have no fixed number of days: they give no daily dose and no supply end
_ONCE_A_DAY = frozenset(
    (
        *("MORN", "MORN.early", "MORN.late", "NOON", "AFT", "AFT.early", "AFT.late", "WAKE", "HS", "PHS"),
        *("EVE", "EVE.early", "EVE.late", "NIGHT"),
        *("CM", "CD", "CV", "ACM", "ACD", "ACV", "PCM", "PCD", "PCV"),
    )
)
_ABBREVIATIONS: Mapping[str, Fraction] = MappingProxyType(
    {
        "qd": Fraction(1),
        "bid": Fraction(2),
        "tid": Fraction(3),
        "qid": Fraction(4),
        "qn": Fraction(1),
        "qod": Fraction(1, 2),
        "am": Fraction(1),
        "pm": Fraction(1),
        "bed": Fraction(1),
        "wk": Fraction(1, 7),
        "qw": Fraction(1, 7),
        "q24h": Fraction(1),
        "q12h": Fraction(2),
        "q8h": Fraction(3),
        "q6h": Fraction(4),
        "q4h": Fraction(6),
        "每日一次": Fraction(1),
        "每日1次": Fraction(1),
        "每日两次": Fraction(2),
        "每日二次": Fraction(2),
        "每日2次": Fraction(2),
        "每日三次": Fraction(3),
        "每日3次": Fraction(3),
        "每周一次": Fraction(1, 7),
        "每周1次": Fraction(1, 7),
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


def days_of(quantity: r4.Quantity | None) -> Fraction | None:
    """A duration in days; None if it has no fixed length or its unit is not known."""
    if quantity is None or quantity.comparator:
        return None
    number = r4.usable(quantity.value)
    unit = (quantity.code or quantity.unit or "").strip().casefold()
    factor = _DAYS.get(unit)
    return number * factor if number is not None and number > 0 and factor else None


def regimen(dosages: Sequence[r4.Dosage]) -> Regimen:
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


def _one(dosage: r4.Dosage) -> Regimen:
    flags: set[str] = set()
    dose = _dose(dosage, flags)
    intakes, frequency = _intakes(dosage.timing)
    if dosage.asNeededBoolean or dosage.asNeededCodeableConcept:
        flags.add("AS_NEEDED")
        intakes = None
    elif intakes is None and not frequency:
        flags.add("FREQUENCY_MISSING")
    daily = Amount(dose.value * intakes, dose.unit) if dose and intakes is not None else None
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


def _intakes(timing: r4.Timing | None) -> tuple[Fraction | None, str]:
    """Intakes per day, if that is one exact number, and how the source says it."""
    if timing is None:
        return None, ""
    repeat = timing.repeat
    if repeat is not None:
        found = _repeated(repeat)
        if found[1]:
            return found
    for word in _code_words(timing.code):
        key = "".join(unicodedata.normalize("NFKC", word).casefold().split()).replace(".", "")
        if key in _ABBREVIATIONS:
            return _ABBREVIATIONS[key], key
    if timing.event:
        days = {moment[:10] for moment in timing.event}
        return (Fraction(1) if len(days) == len(timing.event) else None), f"{len(timing.event)} dated intakes"
    return None, ""


def _repeated(repeat: r4.TimingRepeat) -> tuple[Fraction | None, str]:
    if repeat.frequency is not None and repeat.frequency > 0 and repeat.period is not None:
        period, unit = r4.usable(repeat.period), repeat.periodUnit or ""
        if period is None or period <= 0 or not unit:
            return None, ""
        text = f"{repeat.frequency} per {number_text(period)} {unit}"
        if repeat.frequencyMax not in (None, repeat.frequency) or repeat.periodMax not in (
            None,
            repeat.period,
        ):
            return None, f"{text} (range)"
        length = _DAYS.get(unit)
        if length is None:
            return None, text
        per_day = Fraction(repeat.frequency) / (period * length)
        if not repeat.dayOfWeek:
            return per_day, text
        named = f"{text} on {' '.join(repeat.dayOfWeek)}"
        if period * length == 1:
            return per_day * len(set(repeat.dayOfWeek)) / 7, named
        return (per_day if period * length == 7 else None), named
    moments = repeat.timeOfDay or (repeat.when if set(repeat.when) <= _ONCE_A_DAY else ())
    if moments and repeat.frequency is None and repeat.period is None:
        share = Fraction(len(set(repeat.dayOfWeek)), 7) if repeat.dayOfWeek else Fraction(1)
        return len(set(moments)) * share, " ".join(moments)
    if repeat.count == 1 and repeat.frequency is None and repeat.period is None:
        return Fraction(1), "once"
    return None, ""


def _code_words(concept: r4.CodeableConcept | None) -> list[str]:
    if concept is None:
        return []
    return [word for one in concept.coding for word in (one.code, one.display) if word] + (
        [concept.text] if concept.text else []
    )


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
