"""When two texts are the same wording: however wide its letters, whatever their case, whatever blanks.

``Ｎ04.2`` is ``n04.2``, ``PLA₂R`` is ``pla2r``: much is written in full width in East Asia. Source: Unicode
Standard Annex 15 (NFKC) and the Unicode Standard, 5.18 (case folding).
"""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Mapping
from functools import cache

# Where Unicode has characters that fold to others; tests/spec/test_wording.py looks at all there are.
_CHANGING = tuple(
    range(first, end)
    for first, end in (
        (0xA0, 0x600),
        (0x1D00, 0x3400),
        (0xA640, 0xA800),
        (0xF900, 0x10000),
        (0x10780, 0x107C0),
        (0x1D400, 0x1D800),
        (0x1F100, 0x1F300),
        (0x1FBF0, 0x1FC00),
        (0x2F800, 0x2FA20),
    )
)


def folded(text: str) -> str:
    """NFKC (full width to half width, Ⅱ to II), case folded, blanks collapsed.

    >>> folded(" Ⅱ期 （＋） ")
    'ii期 (+)'
    """
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text)
    return " ".join(text.split()).casefold()


def alike(characters: Iterable[str]) -> frozenset[str]:
    """Every other character, ASCII aside, that folds to one of some folded characters, or to a text with one.

    >>> sorted(alike("k"))[:3]
    ['ᴷ', 'ᵏ', 'K']
    """
    known = _alike()
    return frozenset().union(*(known.get(one, frozenset()) for one in characters))


@cache
def _alike() -> Mapping[str, frozenset[str]]:
    found: defaultdict[str, set[str]] = defaultdict(set)
    for number in (number for some in _CHANGING for number in some):
        character = chr(number)
        text = folded(character)
        if text != character:
            for one in text:
                found[one].add(character)
    return {one: frozenset(some) for one, some in found.items()}
