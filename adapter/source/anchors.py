"""Which lines of a block may hold one of many words, whatever the case of their letters.

Searching for all words at once is slow when they are many, and case has the whole block copied. So of each
word a short part is searched for, its anchor, in every spelling of upper and lower case: so few and short
patterns are searched with vector instructions (Teddy), at the speed of memory. A line without any anchor
holds no word, unless it hides a character of one behind ``\\u``: such escapes are looked up too.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Collection, Iterable
from itertools import product

import numpy as np

from adapter.model.wording import alike, folded
from adapter.source.places import Marks, Places, places

# Teddy takes at most 64 patterns; with more the search is ten times as slow.
_AT_ONCE = 60
_SEARCHES = 4
_SPELLINGS = 16
_LONGEST = 6
_SHORTEST = 3
# Anchors avoid what stands in nearly every resource.
_USUAL = (
    "resourcetype observation condition encounter diagnosticreport procedure adverseevent careplan "
    "patient researchsubject researchstudy meta versionid lastupdated profile identifier system value "
    "code coding display text status final category laboratory subject reference effectivedatetime issued "
    "performer organization practitioner valuequantity unit referencerange low high interpretation "
    "clinicalstatus verificationstatus onsetdatetime recordeddate "
    "condition-clinical condition-ver-status condition-category allergyintolerance-verification "
    "http://terminology.hl7.org/codesystem/observation-category http://loinc.org http://snomed.info/sct "
    "http://unitsofmeasure.org http://hl7.org/fhir/structuredefinition urn:oid:2.16.840.1 div xmlns "
    "http://www.w3.org/1999/xhtml generated extension url period start end individual active clinical "
    "glucose haemoglobin hemoglobin creatinine urea sodium potassium calcium chloride phosphate albumin "
    "protein cholesterol triglyceride bilirubin leukocytes erythrocytes platelets lymphocytes neutrophils "
    "monocytes alanine aspartate aminotransferase alkaline phosphatase volume mass moles presence ratio mean "
    "corpuscular body weight height temperature heart rate respiratory blood pressure systolic diastolic "
    "serum or plasma in urine by per tablet oral capsule mg mL "
)


class Anchors:
    """The anchors of some folded words; not ``usable`` where a word has none, or they are too many."""

    def __init__(self, words: Iterable[str]) -> None:
        chosen: list[str] = []
        self.usable = True
        words = sorted(words, key=lambda word: (len(word), word))
        for word in words:
            if any(anchor in word for anchor in chosen):
                continue
            anchor = _anchor(word, words)
            self.usable = self.usable and bool(anchor)
            chosen.append(anchor)
        spellings = {spelling for anchor in chosen for spelling in _spellings(anchor)}
        self.usable = self.usable and len(spellings) <= _SEARCHES * _AT_ONCE
        others = alike({char for anchor in chosen for char in anchor}) if self.usable else frozenset()
        self._searches = _searches({spelling.encode() for spelling in spellings} if self.usable else ())
        self._others = frozenset(other.encode() for other in others)
        self._beginnings = _searches({other[:2] for other in self._others})
        self._units = np.array(
            sorted({unit for text in (*spellings, *others) for unit in _units(text)}), np.uint32
        )

    def lines(self, block: bytes) -> Iterable[tuple[int, bytes]]:
        """Number (0-based) and bytes of each line that may hold a word, in order."""
        found = [start for one in self._searches for _, start in one.found(block)]
        if block.find(b"\\") >= 0:
            found += self._escaped(block).tolist()
        if not block.isascii():
            found += self._alike(block)
        if not found:
            return
        ends = places(block, b"\n")
        for number in np.unique(np.searchsorted(ends, np.array(found))).tolist():
            start = int(ends[number - 1]) + 1 if number else 0
            yield number, block[start : int(ends[number]) if number < len(ends) else len(block)]

    def _escaped(self, block: bytes) -> Places:
        """Where a character of an anchor, or one that folds to it, is written as four hexadecimal digits."""
        at = places(block, b"\\u")
        at = at[at <= len(block) - 6]
        if not len(at):
            return at
        digits = np.ndarray((len(block) - 3,), "<u4", buffer=block, strides=(1,))[at + 2]
        # Setting this bit makes a letter lower case and leaves a digit as it is.
        return at[np.isin(digits | np.uint32(0x20202020), self._units)]

    def _alike(self, block: bytes) -> list[int]:
        """Where a character stands that folds to one of an anchor."""
        found = (start for one in self._beginnings for _, start in one.found(block))
        return [start for start in found if block[start : start + _size(block[start])] in self._others]


def _searches(patterns: Collection[bytes]) -> list[Marks]:
    ordered = sorted(patterns)
    return [Marks(ordered[at : at + _AT_ONCE]) for at in range(0, len(ordered), _AT_ONCE)]


def _size(first: int) -> int:
    """How many bytes a character has in UTF-8 that begins with this one."""
    return 2 if first < 0xE0 else 3 if first < 0xF0 else 4


def _anchor(word: str, words: list[str]) -> str:
    """The part of a word that is searched for: seldom met and with few spellings; "" if there is none."""

    def burden(part: str) -> tuple[bool, bool, int, int, int, int, str]:
        size = min(len(part.encode()), 5)
        shared = sum(part in other for other in words)
        spellings = max(4, len(_spellings(part)))
        return part in _USUAL, size < _SHORTEST, spellings, -size, -shared, -len(set(part)), part

    parts = {
        word[start : start + length]
        for length in range(1, _LONGEST + 1)
        for start in range(len(word) - length + 1)
    }
    usable = [part for part in parts if _is_plain(part) and len(_spellings(part)) <= _SPELLINGS]
    return min(usable, key=burden, default="")


def _is_plain(part: str) -> bool:
    """Written the same in JSON whoever writes it, case and :func:`alike` characters aside: no escapes but as
    four digits (RFC 8259, section 7), no blanks, which fold, and nothing that may be composed of several."""
    return all(
        char not in '"\\/' and not char.isspace() and char >= " " if char.isascii() else _is_alone(char)
        for char in part
    )


def _is_alone(char: str) -> bool:
    return char.upper() == char and folded(char) == char and not unicodedata.decomposition(char)


def _spellings(part: str) -> list[str]:
    cases = [(char, char.upper()) if char.isascii() and char.isalpha() else (char,) for char in part]
    return ["".join(one) for one in product(*cases)]


def _units(text: str) -> list[int]:
    """Of each UTF-16 unit, its four hexadecimal digits in lower case as one little-endian number."""
    units = text.encode("utf-16-be", "surrogatepass")
    return [int.from_bytes(units[at : at + 2].hex().encode(), "little") for at in range(0, len(units), 2)]
