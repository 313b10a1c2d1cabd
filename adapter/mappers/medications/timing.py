"""How often, and for how long: FHIR Timing as intakes per day, if that is one exact number.

Months and years have no fixed number of days and give none. Free text is not read; abbreviations are, where
a code or a whole text is one of them. Source: https://hl7.org/fhir/R4/datatypes.html#Timing.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from fractions import Fraction
from types import MappingProxyType

from adapter.mappers import r4
from adapter.model.quantity import number_text

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


def days_of(quantity: r4.Quantity | None) -> Fraction | None:
    """A duration in days; None if it has no fixed length or its unit is not known."""
    if quantity is None or quantity.comparator:
        return None
    number = r4.usable(quantity.value)
    unit = (quantity.code or quantity.unit or "").strip().casefold()
    factor = _DAYS.get(unit)
    return number * factor if number is not None and number > 0 and factor else None


def intakes(timing: r4.Timing | None) -> tuple[Fraction | None, str]:
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
