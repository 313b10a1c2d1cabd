"""Every one of the fifty pitfalls of hospital data is pinned by a test that carries its number.

A pitfall is named in a test as ``E-12`` (a row, a comment, a docstring) or as ``e12`` in a test's name.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
SOURCES = "\n".join(
    path.read_text(encoding="utf-8")
    for path in [*HERE.rglob("test_*.py"), *HERE.parent.joinpath("property").rglob("test_*.py")]
    if path.name != Path(__file__).name
)
NAMED = {
    int(number)
    for number in re.findall(r"\bE-(\d{1,2})\b|(?<=_)e(\d{1,2})(?=_)", SOURCES)
    for number in number
    if number
}


@pytest.mark.parametrize("number", range(1, 51))
def test_pitfall_is_pinned(number: int) -> None:
    assert number in NAMED
