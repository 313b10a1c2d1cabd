"""Exact values as intervals: what a printed number says about a threshold."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import pytest

from adapter.model.kleene import Truth
from adapter.model.quantity import Interval, number_text, parse_number
from adapter.protocol.judge import read_range
from tests.spec.protocol_words import reported

LETTERS = {"T": Truth.TRUE, "F": Truth.FALSE, "?": Truth.UNKNOWN}

AGAINST_8 = """
printed | above at_least below at_most equal
8       |   F      T       F      T      T
8.01    |   T      T       F      F      F
7.99    |   F      F       T      T      F
>8      |   T      T       F      F      F
>=8     |   ?      T       F      ?      ?
<8      |   F      F       T      T      F
<=8     |   F      ?       ?      T      ?
>5      |   ?      ?       ?      ?      ?
<10     |   ?      ?       ?      ?      ?
>9      |   T      T       F      F      F
<7      |   F      F       T      T      F
"""
HEADER, *LINES = [line.replace("|", " ").split() for line in AGAINST_8.strip().splitlines()]


@pytest.mark.parametrize("line", LINES, ids=lambda line: line[0])
def test_a_printed_number_against_eight(line: list[str]) -> None:
    interval = reported(line[0])
    for comparison, letter in zip(HEADER[1:], line[1:], strict=True):
        assert interval.compare(comparison, Fraction(8)) is LETTERS[letter], comparison  # type: ignore[arg-type]


def test_nothing_is_rounded_and_no_float_takes_part() -> None:
    assert Interval.exactly(Decimal("2.49")).scaled(10) == Interval.exactly(Decimal("24.9"))
    assert Interval.exactly(Decimal("8.000000000000000001")).compare("above", Fraction(8)) is Truth.TRUE
    # V3a: mg/dL x mL / 100000 = g
    assert Fraction("412.5") * 1940 / 100000 == Fraction("8.0025")


def test_a_negative_factor_turns_the_interval_round() -> None:
    assert reported(">8").scaled(-1) == Interval(None, Fraction(-8), high_closed=False)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("8.0", Fraction(8)),
        ("-1.5", Fraction(-3, 2)),
        ("1e3", Fraction(1000)),
        ("8,0", None),
        ("", None),
    ],
)
def test_what_is_a_number(text: str, expected: Fraction | None) -> None:
    assert parse_number(text) == expected


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (Fraction(8), "8"),
        (Fraction("24.9"), "24.9"),
        (Fraction("-0.05"), "-0.05"),
        (Fraction(1, 3), "~0.333333"),
        (Fraction(-2, 3), "~-0.666667"),
    ],
)
def test_how_a_number_is_shown(number: Fraction, text: str) -> None:
    assert number_text(number) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("25-50%", "[25, 50]"),
        ("25 – 50 %", "[25, 50]"),
        ("<25%", "<25"),
        ("≥ 30", ">=30"),
        ("10", "10"),
        ("50-25", "None"),
        ("mild", "None"),
        ("", "None"),
    ],
)
def test_ranges_in_a_pathologists_words(text: str, shown: str) -> None:
    assert str(read_range(text)) == shown
