"""Which of the printed reference limits hold for this person (pitfalls: missing, text only, several).

Limits come from the reading itself (https://hl7.org/fhir/R4/observation-definitions.html#Observation.referenceRange)
and, where it has none, from the site's ``ranges.csv``. Texts such as ``0--40``, ``<14`` and
``男:9-50 女:7-40`` are read; a limit for one sex counts only if the sex is known; several that fit are
no limit.
"""

from __future__ import annotations

import re
from datetime import date
from fractions import Fraction
from typing import Literal

import msgspec

from adapter.mappers import r4
from adapter.mappers.remembered import remembered_as_sent
from adapter.mappers.results.text import comparator_of, normalise, number_of
from adapter.model.dates import PartialDate, completed_years

Sex = Literal["male", "female", "other", "unknown", ""]

_NUMBER = r"[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]{1,2})?"
_SIGN = r"<=|>=|=<|=>|[<>≤≥≦≧]|小于等于|大于等于|小于|大于|不超过|不低于|低于|高于"
_TWO_SIDED = re.compile(
    rf"(?P<low>{_NUMBER})\s*(?:-{{1,2}}|–|—|~|至|到|\bto\b)\s*(?P<high>{_NUMBER})(?P<unit>.*)"
)
_ONE_SIDED = re.compile(rf"(?P<sign>{_SIGN})\s*(?P<limit>{_NUMBER})(?P<unit>.*)")
_BY_SEX = re.compile(
    r"(?P<sex>男性?|女性?|\bfemale\b|\bmale\b|\bwomen\b|\bmen\b|\b[MF](?=\s*[:=]))\s*[:=]?\s*", re.IGNORECASE
)
_LABEL = re.compile(
    r"^(?:参考(?:值|范围|区间)|正常(?:值|范围)?|成人|adults?|(?:normal|ref|reference)(?: range)?)\s*[:=]?\s*",
    re.IGNORECASE,
)
_FEMALE = frozenset({"女", "女性", "female", "women", "f", "248152002"})
_MALE = frozenset({"男", "男性", "male", "men", "m", "248153007"})
_USUAL_TYPES = frozenset({"", "normal"})


class Limits(msgspec.Struct, frozen=True, gc=False, cache_hash=True):
    """One candidate: limits in the unit as printed, and whom they are for.

    ``special`` is a population other than sex (pregnancy, a trimester, a race): never assumed to apply.
    """

    low: Fraction | None
    high: Fraction | None
    unit: str = ""
    sex: Sex = ""
    special: bool = False
    age_low: Fraction | None = None
    age_high: Fraction | None = None
    text: str = ""


class Chosen(msgspec.Struct, frozen=True, gc=False):
    limits: Limits | None = None
    text: str = ""
    flags: tuple[str, ...] = ()


_NOTHING_SENT = Chosen()


def choose(
    ranges: tuple[r4.ObservationReferenceRange, ...],
    *,
    sex: str,
    birth: PartialDate | None,
    on: date | None,
) -> Chosen:
    """The one pair of limits that holds for a person of this sex and age, or none and why.

    Flags: RANGE_SEX_UNKNOWN (only sex-specific limits and no known sex), RANGE_AMBIGUOUS (several fit),
    RANGE_NOT_APPLICABLE (all are for another sex, age or population), RANGE_UNREADABLE (a text that could
    not be read).
    """
    if not ranges:
        return _NOTHING_SENT
    for one in ranges:
        if one.age is not None:
            return _chosen(ranges, sex, birth, on)
    return _at_any_age(ranges, sex)


@remembered_as_sent
def _at_any_age(ranges: tuple[r4.ObservationReferenceRange, ...], sex: str) -> Chosen:
    """Limits without an age are the same for everybody of one sex."""
    return _chosen(ranges, sex, None, None)


def _chosen(
    ranges: tuple[r4.ObservationReferenceRange, ...], sex: str, birth: PartialDate | None, on: date | None
) -> Chosen:
    usual = [one for one in ranges if r4.first_code(one.type).casefold() in _USUAL_TYPES]
    text = "; ".join(one.text for one in usual if one.text)
    candidates = [limits for one in usual for limits in _candidates(one)]
    if not candidates:
        return Chosen(None, text, ("RANGE_UNREADABLE",) if text else ())
    fitting = [one for one in candidates if not one.special and _age_fits(one, birth, on)]
    own_sex = [one for one in fitting if one.sex in ("", sex)]
    if not own_sex:
        unknown_sex = sex not in ("male", "female") and bool(fitting)
        return Chosen(None, text, ("RANGE_SEX_UNKNOWN" if unknown_sex else "RANGE_NOT_APPLICABLE",))
    narrow = [one for one in own_sex if one.sex or one.age_low is not None or one.age_high is not None]
    best = narrow or own_sex
    distinct = {(one.low, one.high, one.unit) for one in best}
    if len(distinct) != 1:
        return Chosen(None, text, ("RANGE_AMBIGUOUS",))
    if not narrow and sex not in ("male", "female") and any(one.sex for one in fitting):
        return Chosen(None, text, ("RANGE_SEX_UNKNOWN",))
    return Chosen(best[0], text or best[0].text)


def read_range_text(text: str) -> tuple[Limits, ...]:
    """The limits in a text, one per sex where it names sexes; empty if it cannot be read whole.

    >>> [(one.sex, int(one.low), int(one.high)) for one in read_range_text("男:9-50 女:7-40")]
    [('male', 9, 50), ('female', 7, 40)]
    """
    clean = _LABEL.sub("", normalise(text)).strip(" ()[]")
    marks = list(_BY_SEX.finditer(clean))
    if not marks:
        one = _plain(clean, "")
        return (one,) if one else ()
    if clean[: marks[0].start()].strip(" ,;"):
        return ()
    ends = [mark.start() for mark in marks[1:]] + [len(clean)]
    parts = [
        _plain(clean[mark.end() : end].strip(" ,;/"), _sex_of(mark["sex"]))
        for mark, end in zip(marks, ends, strict=True)
    ]
    return tuple(one for one in parts if one) if all(parts) else ()


def _plain(text: str, sex: Sex) -> Limits | None:
    if two := _TWO_SIDED.fullmatch(text):
        low, high = number_of(two["low"]), number_of(two["high"])
        unit = two["unit"].strip()
        if low is None or high is None or low > high or re.search("[0-9].*[-~<>]", unit):
            return None
        return Limits(low, high, unit, sex, text=text)
    if one := _ONE_SIDED.fullmatch(text):
        limit, sign = number_of(one["limit"]), comparator_of(one["sign"])
        unit = one["unit"].strip()
        if limit is None or not sign or re.search("[0-9].*[-~<>]", unit):
            return None
        return (
            Limits(None, limit, unit, sex, text=text)
            if sign.startswith("<")
            else Limits(limit, None, unit, sex, text=text)
        )
    return None


def _candidates(one: r4.ObservationReferenceRange) -> list[Limits]:
    low, high = (r4.usable(end.value) if end else None for end in (one.low, one.high))
    stated = {_sex_of(word) for concept in one.appliesTo for word in _words(concept)}
    sexes = stated - {""}
    special = any(not any(_sex_of(word) for word in _words(concept)) for concept in one.appliesTo)
    sex: Sex = next(iter(sexes)) if len(sexes) == 1 else ""
    ages = {"age_low": _years(one.age, "low"), "age_high": _years(one.age, "high")}
    if low is None and high is None:
        read = read_range_text(one.text or "")
        return [
            msgspec.structs.replace(limits, sex=limits.sex or sex, special=special, **ages) for limits in read
        ]
    if low is not None and high is not None and low > high:
        return []
    unit = next((end.code or end.unit or "" for end in (one.high, one.low) if end), "")
    return [Limits(low, high, unit, sex, special, text=one.text or "", **ages)]


def _words(concept: r4.CodeableConcept) -> list[str]:
    codes = [word for coding in concept.coding for word in (coding.code, coding.display) if word]
    return [*codes, *([concept.text] if concept.text else [])]


def _sex_of(word: str) -> Sex:
    folded = word.strip().casefold()
    if folded in _FEMALE:
        return "female"
    return "male" if folded in _MALE else ""


_YEARS = {
    "a": Fraction(1),
    "year": Fraction(1),
    "years": Fraction(1),
    "岁": Fraction(1),
    "mo": Fraction(1, 12),
}


def _years(age: r4.Range | None, end: str) -> Fraction | None:
    limit: r4.Quantity | None = getattr(age, end) if age else None
    number = r4.usable(limit.value) if limit else None
    if limit is None or number is None:
        return None
    scale = _YEARS.get((limit.code or limit.unit or "a").casefold(), Fraction(1, 365))
    return number * scale


def _age_fits(limits: Limits, birth: PartialDate | None, on: date | None) -> bool:
    if limits.age_low is None and limits.age_high is None:
        return True
    if birth is None or on is None:
        return False
    youngest, oldest = completed_years(birth.last, on), completed_years(birth.first, on)
    above = limits.age_low is None or youngest >= limits.age_low
    below = limits.age_high is None or oldest <= limits.age_high
    return above and below
