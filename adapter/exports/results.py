"""How a reading becomes --ORRES, --STRESC and their company (SDTMIG 3.4, section 4.5.1).

What the source said stays what it said: the comparator is kept in --ORRES and --STRESC, --STRESN is
null when there is one, and a numeric --STRESC is the same number as --STRESN. A computed value has no
original result: --DRVFL is Y and --ORRES is null.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import ROUND_HALF_EVEN, Context, Decimal
from fractions import Fraction
from typing import Any

from adapter.exports.codelists import folded
from adapter.exports.dataset import Cell
from adapter.exports.record import Record
from adapter.model.facts import Finding
from adapter.model.kleene import Truth
from adapter.model.quantity import Comparison, number_text

_NUMBER = r"\d+(?:\.\d+)?(?:[eE][+-]?\d+)?"
_RESULT = re.compile(rf"(?:[<>]=?)?[+-]?{_NUMBER}|{_NUMBER}-{_NUMBER}|1:\d+")
_INSIDE = re.compile(rf"(?:[<>]=?\s*)?(?<![\w.]){_NUMBER}(?![\w.])", re.ASCII)
_ANSWERS = {
    "positive": ("POSITIVE", "POSITIVE"),
    "weak_positive": ("WEAKLY POSITIVE", "WEAKLY POSITIVE"),
    "negative": ("NEGATIVE", "NEGATIVE"),
    "equivocal": ("INDETERMINATE", "INDETERMINATE"),
    "invalid": ("INVALID", ""),
}
_HIGH, _LOW = {"H", "HH", "HU", ">"}, {"L", "LL", "LU", "<"}
_LONGEST_EXACT = 40


def original_result(record: Record, _: dict[str, Any]) -> Cell:
    """The source's own result: number with comparator, range or titre; a coded answer as its CT term.

    The unit behind the number and words around one number ("about 2.5 g") are dropped, and text
    without a number has no result here: free text never leaves.
    """
    finding = _finding(record)
    if record.treatment == "not done" or is_derived(finding):
        return None
    written = folded(finding.original).removesuffix(folded(finding.original_unit)).strip()
    text = re.sub(r"\s+", "", written)
    if _RESULT.fullmatch(text):
        return text
    if finding.value is not None:
        inside = _INSIDE.findall(written)
        if len(inside) == 1:
            return re.sub(r"\s+", "", inside[0])
    return _ANSWERS[finding.answer][0] if finding.answer else None


def worded_result(record: Record, parameters: dict[str, Any]) -> Cell:
    """The words the specification has for what was found (``term``), else the result itself."""
    worded = record.term.get(parameters["term"])
    if worded:
        return worded
    return original_result(record, {}) if parameters["term"].endswith("ORRES") else standard_text(record, {})


def original_unit(record: Record, parameters: dict[str, Any]) -> Cell:
    """The unit of a numeric --ORRES in controlled terms; spelled as in the source if CT has no such unit."""
    if not re.search(r"\d", str(original_result(record, {}) or "")):
        return None
    finding = _finding(record)
    return record.units.shown(parameters["list"], finding.original_unit) or None


def standard_text(record: Record, _: dict[str, Any]) -> Cell:
    """--STRESC: the canonical value as text with its comparator, or the answer in controlled terms."""
    finding = _finding(record)
    if record.treatment:
        return None
    if finding.value is not None and _has_standard_unit(record):
        value = finding.value
        point = value.point
        if point is not None:
            return _text(standard_value(record, point))
        low, high = (
            None if bound is None else _text(standard_value(record, bound))
            for bound in (value.low, value.high)
        )
        if low is None:
            return f"{'<=' if value.high_closed else '<'}{high}"
        return f"{'>=' if value.low_closed else '>'}{low}" if high is None else f"{low}-{high}"
    if finding.answer:
        return _ANSWERS[finding.answer][1] or None
    return original_result(record, {}) if "ucum" not in record.term else None


def standard_number(record: Record, _: dict[str, Any]) -> Cell:
    """--STRESN: the number of --STRESC; None when there is a comparator, a range or no number."""
    finding = _finding(record)
    if record.treatment or finding.value is None or not _has_standard_unit(record):
        return None
    point = finding.value.point
    return None if point is None else standard_value(record, point)


def standard_unit(record: Record, _: dict[str, Any]) -> Cell:
    """--STRESU: the unit of --STRESC in controlled terms; none where there is no number in it."""
    finding = _finding(record)
    numeric = finding.value is not None and _has_standard_unit(record) and not record.treatment
    return record.term["unit"] if numeric else None


def limit(record: Record, parameters: dict[str, Any]) -> Cell:
    """A reference limit, ``side`` low or high, ``unit`` original (text) or standard (number).

    The printed limits were converted with the value; in original units they are known here only when
    nothing was converted, and are left out otherwise.
    """
    finding = _finding(record)
    if finding.range is None or record.treatment:
        return None
    bound = finding.range.low if parameters["side"] == "low" else finding.range.high
    if bound is None or not _has_standard_unit(record) or finding.value is None:
        return None
    if parameters["unit"] == "standard":
        return standard_value(record, bound)
    if original_result(record, {}) is None:
        return None
    same = record.units.term(parameters["list"], finding.original_unit) == record.term["unit"]
    return _text(standard_value(record, bound)) if same else None


def range_indicator(record: Record, _: dict[str, Any]) -> Cell:
    """--NRIND: the laboratory's own mark, else what value and limits show beyond doubt."""
    finding = _finding(record)
    if record.treatment:
        return None
    mark = finding.interpretation.strip().upper()
    for marks, term in ((_HIGH, "HIGH"), (_LOW, "LOW"), ({"N"}, "NORMAL"), ({"A", "AA"}, "ABNORMAL")):
        if mark in marks:
            return term
    limits = finding.range
    if mark or limits is None or finding.value is None or (limits.low is None and limits.high is None):
        return None

    def surely(comparison: Comparison, bound: Fraction | None) -> bool:
        value = finding.value
        return bound is not None and value is not None and value.compare(comparison, bound) is Truth.TRUE

    if surely("above", limits.high):
        return "HIGH"
    if surely("below", limits.low):
        return "LOW"
    inside_low = limits.low is None or surely("at_least", limits.low)
    inside_high = limits.high is None or surely("at_most", limits.high)
    return "NORMAL" if inside_low and inside_high else None


def derived_flag(record: Record, _: dict[str, Any]) -> Cell:
    """Y for a value that was computed here or in the laboratory from others."""
    return "Y" if is_derived(_finding(record)) else None


def completion(record: Record, _: dict[str, Any]) -> Cell:
    """NOT DONE where the source gives a reason instead of a result."""
    return "NOT DONE" if record.treatment == "not done" else None


def reason(record: Record, parameters: dict[str, Any]) -> Cell:
    """Why it was not done, for the FHIR data-absent-reason codes that ``names`` lists."""
    names: dict[str, str] = parameters["names"]
    return names.get(_finding(record).absent_reason) if record.treatment == "not done" else None


def loinc(record: Record, _: dict[str, Any]) -> Cell:
    """The LOINC code if that is what the source used and it is shaped like one."""
    code = _finding(record).code
    matches = code.system == "http://loinc.org" and re.fullmatch(r"\d{1,5}-\d", code.code)
    return code.code if matches and not is_derived(_finding(record)) else None


def laboratory(record: Record, _: dict[str, Any]) -> Cell:
    """The laboratory's alias from the site's configuration; its own name never leaves."""
    return record.study.laboratories.get(_finding(record).laboratory) or None


def specimen_token(record: Record, _: dict[str, Any]) -> Cell:
    """A keyed hash of the specimen's id: the same specimen, the same hash, and no way back outside."""
    return record.pseudonyms.token("specimen", _finding(record).specimen_id) or None


def is_derived(finding: Finding) -> bool:
    return finding.category == "derived" or bool(finding.derived_from)


def has_result(record: Record) -> bool:
    """Whether there is anything to report: a result, or that it was not done."""
    return (
        record.treatment == "not done"
        or any(name.endswith("STRESC") for name in record.term)
        or original_result(record, {}) is not None
        or standard_text(record, {}) is not None
    )


def standard_value(record: Record, number: Fraction) -> Decimal:
    """The number that is reported: exact where a decimal of up to 40 characters can say it.

    A computed value (CKD-EPI has irrational powers) is rounded half-even to the term's ``decimals``.
    """
    computed = is_derived(_finding(record))
    exact = number_text(number)
    if not computed and not exact.startswith("~") and len(exact) <= _LONGEST_EXACT:
        return Decimal(exact)
    places = int(record.term.get("decimals", "6"))
    wide = Context(prec=80, rounding=ROUND_HALF_EVEN)
    quotient = wide.divide(Decimal(number.numerator), Decimal(number.denominator))
    return wide.quantize(quotient, Decimal(1).scaleb(-places))


def _has_standard_unit(record: Record) -> bool:
    return "ucum" in record.term and _finding(record).unit == record.term["ucum"]


def _text(number: Decimal) -> str:
    return number_text(Fraction(number))


def _finding(record: Record) -> Finding:
    if not isinstance(record.fact, Finding):
        raise TypeError("a result belongs to a finding")
    return record.fact


METHODS: dict[str, tuple[Callable[[Record, dict[str, Any]], Cell], frozenset[str]]] = {
    "original_result": (original_result, frozenset()),
    "worded_result": (worded_result, frozenset({"term"})),
    "original_unit": (original_unit, frozenset({"list"})),
    "standard_text": (standard_text, frozenset()),
    "standard_number": (standard_number, frozenset()),
    "standard_unit": (standard_unit, frozenset()),
    "limit": (limit, frozenset({"side", "unit", "list"})),
    "range_indicator": (range_indicator, frozenset()),
    "derived_flag": (derived_flag, frozenset()),
    "completion": (completion, frozenset()),
    "reason": (reason, frozenset({"names"})),
    "loinc": (loinc, frozenset()),
    "laboratory": (laboratory, frozenset()),
    "specimen_token": (specimen_token, frozenset()),
}
