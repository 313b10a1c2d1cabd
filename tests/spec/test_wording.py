"""Which characters are the same wording: held to all that Unicode has."""

from __future__ import annotations

import sys
import unicodedata

import pytest

from adapter.model.wording import alike, folded


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("\uff2e\uff10\uff14\uff0e\uff12", "n04.2"),
        ("PLA\u2082R", "pla2r"),
        ("Membranous\u00a0 nephropathy", "membranous nephropathy"),
        ("\u8089\u2f81", "\u8089\u8089"),  # a Kangxi radical
        (" \u2161期 （＋） ", "ii期 (+)"),
    ],
)
def test_a_wording_is_the_same_however_it_is_written(written: str, meant: str) -> None:
    assert folded(written) == meant


def test_every_character_that_folds_to_ascii_or_an_ideograph_is_known() -> None:
    missed = set()
    for number in range(0x80, sys.maxunicode + 1):
        character = chr(number)
        text = " ".join(unicodedata.normalize("NFKC", character).split()).casefold()
        sought = {one for one in text if one.isascii() or 0x3400 <= ord(one) < 0xA000 or ord(one) >= 0x20000}
        if text != character and any(character not in alike(one) for one in sought - {" "}):
            missed.add(hex(number))
    assert not missed
