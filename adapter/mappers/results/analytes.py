"""What single analytes need beyond the common path: method, category and the flags of appendix A.

Every rule here names a concept and cites why; limits are those of the specification's sections A.4, A.6, A.7.
"""

from __future__ import annotations

import re
from datetime import date
from fractions import Fraction
from typing import Literal

from adapter.mappers import r4
from adapter.model.facts import Finding
from adapter.model.terminology import CodeEntry

Category = Literal["laboratory", "vital-signs", "questionnaire", "pathology", "derived", "other"]

_VITALS = frozenset({"weight", "height", "bmi", "systolic_bp", "diastolic_bp"})
_PATHOLOGY = frozenset({"interstitial_fibrosis_percent", "mn_stage", "pathology_report"})
_CATEGORIES: dict[str, Category] = {
    "laboratory": "laboratory",
    "LAB": "laboratory",
    "vital-signs": "vital-signs",
    "PAT": "pathology",
    "SP": "pathology",
}

_BCG = re.compile(r"BCG|bromocresol green|溴甲酚绿", re.IGNORECASE)
_BCP = re.compile(r"BCP|bromocresol purple|溴甲酚紫", re.IGNORECASE)
_EQUATION = re.compile(r"(?P<mdrd>MDRD)|(?P<epi>CKD[- ]?EPI)", re.IGNORECASE)
_YEAR = re.compile(r"20(?:09|12|21)")

# Between these BCG and BCP may fall on different sides of 25 g/L (ASN abstract SA-PO097).
_ALBUMIN_UNSURE = (Fraction(22), Fraction(30))
# 0.804 (anhydrous) and 0.822 (monohydrate) ng/mL per nmol/L differ by 2.2 %, which matters around 10.
_TACROLIMUS_UNSURE = (Fraction("9.7"), Fraction("10.3"))
# Laboratories changed to the race-free equation after it was published; some kept the old code.
_EQUATION_2021_PUBLISHED = date(2021, 9, 23)


def category_of(reading: r4.Observation, concept: str) -> Category:
    """By the concept where it settles the matter, else by Observation.category."""
    if concept in _VITALS:
        return "vital-signs"
    if concept in _PATHOLOGY:
        return "pathology"
    codes = [coding.code for one in reading.category for coding in one.coding if coding.code]
    for code in codes:
        if code in _CATEGORIES:
            return _CATEGORIES[code]
    return "laboratory" if concept and not codes else "other"


def method_of(reading: r4.Observation, entry: CodeEntry) -> str:
    """What the laboratory stated, in the words of the tables where it is one of them, else the code's own."""
    stated = r4.display(reading.method)
    if not stated or entry.method in ("log10", "trough"):
        return entry.method
    if entry.concept == "albumin":
        return "BCG" if _BCG.search(stated) else "BCP" if _BCP.search(stated) else entry.method or stated[:60]
    if entry.concept == "egfr":
        return _equation(stated) or entry.method
    return entry.method or stated[:60]


def analyte_flags(row: Finding) -> tuple[str, ...]:
    """ALB_METHOD, TAC_NMOL and EQUATION_UNSURE."""
    flags: list[str] = []
    if row.concept == "albumin" and row.method in ("", "BCG") and _within(row, *_ALBUMIN_UNSURE):
        flags.append("ALB_METHOD")
    if row.concept.startswith("tacrolimus_") and "nmol" in row.original_unit.replace(" ", ""):
        flags += ["TAC_NMOL"] if _within(row, *_TACROLIMUS_UNSURE) else []
    yearless = row.concept == "egfr" and row.code.code == "62238-1" and row.method == "CKD-EPI 2009"
    if yearless and row.when is not None and row.when.last >= _EQUATION_2021_PUBLISHED:
        flags.append("EQUATION_UNSURE")
    return tuple(flags)


def _equation(stated: str) -> str:
    """``CKD-EPI 2009``, ``CKD-EPI 2021`` or ``MDRD`` from a method text; "" if it names none."""
    found = _EQUATION.search(stated)
    if found is None:
        return ""
    if found["mdrd"]:
        return "MDRD"
    year = _YEAR.search(stated)
    return f"CKD-EPI {year[0]}" if year else ""


def _within(row: Finding, low: Fraction, high: Fraction) -> bool:
    """Whether any number the reading may stand for lies in the band, ends included."""
    if row.value is None:
        return False
    above = row.value.high is None or row.value.high >= low
    return above and (row.value.low is None or row.value.low <= high)
