"""Recognising words in hospital text: normalisation, and longest phrase first.

``未检出`` contains ``检出``, ``non-reactive`` contains ``reactive``, ``泼尼松龙`` contains
``泼尼松``. So at each place the longest phrase wins and what it covers
is used up; phrases in Latin letters match whole words.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Generic, NamedTuple, TypeVar

from adapter.model.wording import folded

T = TypeVar("T")

_REMEMBERED = 10000
_SPACES = re.compile(r"\s+")
_LITRE = re.compile(r"(?<![A-Za-z])([munpfdck]?)l(?![A-Za-z])")
_ICD_EXTENSION = re.compile(r"X\d+$")
_ICD_WITHOUT_DOT = re.compile(r"([A-Z]\d[0-9A-Z])([0-9A-Z]+)")


@lru_cache(maxsize=_REMEMBERED)
def normalise_unit(spelling: str) -> str:
    """A unit as the tables spell it: NFKC, both micro signs to ``u``, no spaces, litre as ``L``.

    ``l`` and ``L`` are both litre in UCUM, so this changes no meaning; the case of all else does and stays.

    >>> [normalise_unit(text) for text in ("µmol/l", "μmol/L", "g/24 h", "RU/ml", "mol/l")]
    ['umol/L', 'umol/L', 'g/24h', 'RU/mL', 'mol/L']
    """
    text = unicodedata.normalize("NFKC", spelling).replace("\u03bc", "u")
    return _LITRE.sub(r"\1L", _SPACES.sub("", text))


def split_icd(code: str, *, extensions: bool = True) -> tuple[str, ...]:
    """The codes in one ICD-10 field, upper case with a dot, dagger and asterisk parts apart.

    Chinese versions append digits or ``x###`` to the WHO code; ``x###`` is cut here, and the caller
    compares only the standardised first four characters. ICD-10-CM has no such extensions and uses ``X`` as a
    placeholder (T38.0X5A): there ``extensions`` is False.

    >>> split_icd("M32.102+N16.4*"), split_icd("n04.200x001"), split_icd("I26.x00"), split_icd("N042")
    (('M32.102', 'N16.4'), ('N04.200',), ('I26',), ('N04.2',))
    """
    text = unicodedata.normalize("NFKC", code).strip().upper()
    return tuple(part for raw in re.split(r"[+*]", text) if (part := _icd_part(raw.strip(), extensions)))


def _icd_part(text: str, extensions: bool) -> str:
    text = (_ICD_EXTENSION.sub("", text) if extensions else text).rstrip(".")
    undotted = _ICD_WITHOUT_DOT.fullmatch(text)
    return f"{undotted[1]}.{undotted[2]}" if undotted else text


class Found(NamedTuple, Generic[T]):
    value: T
    phrase: str
    start: int


class Phrases(Generic[T]):
    """A set of phrases with values, found longest first; a value of None is a decoy that uses up its text."""

    def __init__(self, phrases: Mapping[str, T | None] | Iterable[tuple[str, T | None]]) -> None:
        pairs = phrases.items() if isinstance(phrases, Mapping) else phrases
        self._values: dict[str, T | None] = {}
        for phrase, value in pairs:
            self._values.setdefault(folded(phrase), value)
        ordered = sorted(self._values, key=lambda phrase: (-len(phrase), phrase))
        self._pattern = re.compile("|".join(_bounded(phrase) for phrase in ordered)) if ordered else None
        self._known: dict[str, tuple[tuple[Found[T], ...], str]] = {}

    def exactly(self, text: str) -> T | None:
        return self._values.get(folded(text))

    def within(self, text: str) -> tuple[list[Found[T]], str]:
        """The phrases found in order of place, and the text that no phrase covered."""
        # a hospital writes few different names very often: searching each once halves the time of mapping
        known = self._known.get(text)
        if known is None:
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            known = self._known[text] = self._search(folded(text))
        return list(known[0]), known[1]

    def _search(self, normal: str) -> tuple[tuple[Found[T], ...], str]:
        if self._pattern is None:
            return (), normal
        found: list[Found[T]] = []
        for match in self._pattern.finditer(normal):
            value = self._values[match.group()]
            if value is not None:
                found.append(Found(value, match.group(), match.start()))
        return tuple(found), self._pattern.sub(" ", normal)


def _bounded(phrase: str) -> str:
    left = r"(?<![a-z0-9])" if re.match(r"[a-z0-9]", phrase) else ""
    right = r"(?![a-z0-9])" if re.search(r"[a-z0-9]$", phrase) else ""
    return left + re.escape(phrase) + right
