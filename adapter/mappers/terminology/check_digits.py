"""Check digits: what tells a mistyped or spreadsheet-mangled code from a real one."""

from __future__ import annotations

import re

_LOINC = re.compile(r"\d{1,7}-\d")
_SNOMED = re.compile(r"[1-9]\d{5,17}")

# Verhoeff's dihedral group D5 and permutation, as in the SNOMED CT release file specification, section 5.4.
_D5 = (
    "0123456789",
    "1234067895",
    "2340178956",
    "3401289567",
    "4012395678",
    "5987604321",
    "6598710432",
    "7659821043",
    "8765932104",
    "9876543210",
)
_P1 = "1576283094"


def loinc_problem(code: str) -> str:
    """Why ``code`` cannot be a LOINC code (mod 10 check digit), or "".

    >>> loinc_problem("2889-4"), loinc_problem("14467-0")
    ('', 'the LOINC check digit should be 5')
    """
    if not _LOINC.fullmatch(code):
        return "a LOINC code is digits, a hyphen and one check digit"
    number, given = code.split("-")
    total = 0
    for place, digit in enumerate(reversed(number)):
        doubled = int(digit) * (2 if place % 2 == 0 else 1)
        total += doubled - 9 if doubled > 9 else doubled
    right = (10 - total % 10) % 10
    return "" if right == int(given) else f"the LOINC check digit should be {right}"


def snomed_problem(code: str) -> str:
    """Why ``code`` cannot be a SNOMED CT identifier (6 to 18 digits, Verhoeff), or "".

    >>> snomed_problem("1.07E+16")
    'a SNOMED CT id is 6 to 18 digits; a spreadsheet may have rounded it'
    """
    if not _SNOMED.fullmatch(code):
        return "a SNOMED CT id is 6 to 18 digits; a spreadsheet may have rounded it"
    check = 0
    for place, digit in enumerate(reversed(code)):
        value = int(digit)
        for _ in range(place % 8):
            value = int(_P1[value])
        check = int(_D5[check][value])
    return "" if check == 0 else "the SNOMED CT check digit (Verhoeff) is wrong"
