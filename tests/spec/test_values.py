"""Texts, units and limits of results, as tables. Expected values are computed by hand."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from fractions import Fraction

import pytest

from adapter.mappers import r4
from adapter.mappers.results.equations import (
    CKD_EPI_2009,
    CKD_EPI_2021,
    Equation,
    estimate,
    estimate_interval,
)
from adapter.mappers.results.ranges import choose, read_range_text
from adapter.mappers.results.text import comparator_of, normalise, number_of, read_text
from adapter.mappers.results.units import power_of_ten
from adapter.model.dates import on_day
from adapter.model.quantity import Interval

WORDS = {"阴性": "negative", "阳性": "positive", "弱阳性": "weak_positive", "+1": "positive", "-": "negative"}
UNITS = {"g/L", "g/24h", "L", "kg", "斤", "RU/mL", "%"}


def said(text: str) -> str:
    read = read_text(text, answer=lambda word: WORDS.get(word, ""), is_unit=UNITS.__contains__)
    parts = [
        str(read.interval) if read.interval else "",
        read.unit,
        f"{read.comparator}1:{read.dilution}" if read.dilution else "",
        read.answer,
        *read.flags,
    ]
    return " ".join(part for part in parts if part)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # full width, both micro signs and decorations (E-7, E-9)
        ("３.５ ｇ／Ｌ", "3.5 g/L"),
        ("8．0", "8"),
        ("９．０↑", "9"),
        ("26.1↓", "26.1"),
        ("8.2 H", "8.2"),
        ("8.2H", "8.2"),
        ("20 (H)", "20"),
        ("9 g/24h H", "9 g/24h"),
        ("1.94 L", "1.94 L"),  # litres, because L is a unit of this test
        ("124斤", "124 斤"),
        # thousands only in groups of three; a decimal comma is not guessed at
        ("1,200", "1200"),
        ("1,234,567.8", "1234567.8"),
        ("1,20", ""),
        ("0,150", ""),
        ("9,0", ""),
        ("1.2E+3", "1200"),
        ("1.2×10⁵", "120000"),
        ("1.2x10^5", "120000"),
        ("10⁵", ""),  # NFKC alone would make it 105
        ("约9", "9 APPROX_TEXT"),
        ("~9", "9 APPROX_TEXT"),
        ("ca. 9", "9 APPROX_TEXT"),
        # comparators (E-8)
        (">1500", ">1500"),
        ("≥8", ">=8"),
        ("＜0.15", "<0.15"),
        ("小于5", "<5"),
        (">= 90", ">=90"),
        ("25-50%", "[25, 50] %"),
        ("25~50", "[25, 50]"),
        ("<25%", "<25 %"),
        # words, and words beside numbers (E-10)
        ("阴性", "negative"),
        ("弱阳性", "weak_positive"),
        ("0.05(阴性)", "0.05 negative"),
        ("0.05 阴性", "0.05 negative"),
        ("阴性(0.05)", "0.05 negative"),
        ("+1", "positive"),
        ("-", "negative"),
        ("1:32", "1:32"),
        ("1：80 阳性", "1:80 positive"),
        ("<1:10", "<1:10"),
        # what cannot be read whole is not read in part
        ("", ""),
        ("see comment 5", ""),
        ("12 34", ""),
        ("2019-05-06", ""),
        ("5-3", ""),
        ("0.05 (words nobody knows)", ""),
        ("NaN", ""),
        ("1e400", ""),
        ("٣", ""),  # other digits than ASCII after NFKC
    ],
)
def test_result_texts(text: str, expected: str) -> None:
    assert said(text) == expected


def test_an_unknown_unit_stays_a_unit_so_that_it_can_be_refused_by_name() -> None:
    assert said("12 furlong") == "12 furlong"


@pytest.mark.parametrize("text", ["µmol/L", "μmol/L", "ｕｍｏｌ／Ｌ"])
def test_one_micro(text: str) -> None:
    assert normalise(text) == "umol/L"


@pytest.mark.parametrize(
    ("sign", "expected"),
    [(None, ""), ("<", "<"), ("≤", "<="), ("＞", ">"), ("大于等于", ">="), ("ad", None), ("about", None)],
)
def test_comparators(sign: str | None, expected: str | None) -> None:
    assert comparator_of(sign) == expected


def test_numbers_are_exact() -> None:
    assert number_of("8.000000000000000001") == Fraction(8000000000000000001, 10**18)
    assert number_of("0.1") == Fraction(1, 10)


# --- reference limits (E-31, E-32) ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0--40", [("", 0, 40)]),
        ("0-40", [("", 0, 40)]),
        ("9～50", [("", 9, 50)]),
        ("(9-50)", [("", 9, 50)]),
        ("9-50 U/L", [("", 9, 50)]),
        ("参考范围：9-50", [("", 9, 50)]),
        ("<14", [("", None, 14)]),
        ("≤20", [("", None, 20)]),
        (">60", [("", 60, None)]),
        ("男:9-50 女:7-40", [("male", 9, 50), ("female", 7, 40)]),
        ("男性9-50；女性7-40", [("male", 9, 50), ("female", 7, 40)]),
        ("M: <50, F: <40", [("male", None, 50), ("female", None, 40)]),
        ("50-9", []),
        ("阴性", []),
        ("9-50 或 60-80", []),
        ("", []),
    ],
)
def test_range_texts(text: str, expected: list[tuple[str, int | None, int | None]]) -> None:
    assert [(one.sex, one.low, one.high) for one in read_range_text(text)] == expected


def limit(high: int, **elements: object) -> r4.ObservationReferenceRange:
    return r4.ObservationReferenceRange(high=r4.Quantity(value=Decimal(high)), **elements)  # type: ignore[arg-type]


def population(text: str) -> tuple[r4.CodeableConcept, ...]:
    return (r4.CodeableConcept(text=text),)


ADULT = r4.Range(low=r4.Quantity(value=Decimal(18), code="a"))
CHILD = r4.Range(low=r4.Quantity(value=Decimal(0), code="a"), high=r4.Quantity(value=Decimal(17), code="a"))
BY_SEX = (limit(50, appliesTo=population("male")), limit(40, appliesTo=population("female")))
CRITICAL = r4.CodeableConcept(coding=(r4.Coding(code="critical"),))


@pytest.mark.parametrize(
    ("ranges", "sex", "high", "flags"),
    [
        ((limit(40),), "male", 40, ()),
        (BY_SEX, "male", 50, ()),
        (BY_SEX, "female", 40, ()),
        (BY_SEX, "unknown", None, ("RANGE_SEX_UNKNOWN",)),
        ((limit(40), *BY_SEX), "male", 50, ()),  # the narrower one
        ((limit(40, age=ADULT), limit(30, age=CHILD)), "male", 40, ()),
        ((limit(40, age=ADULT), limit(20, appliesTo=population("pregnant"))), "female", 40, ()),
        ((limit(40), limit(45)), "male", None, ("RANGE_AMBIGUOUS",)),
        ((limit(40), limit(40)), "male", 40, ()),
        ((limit(40), limit(400, type=CRITICAL)), "male", 40, ()),
        ((limit(30, age=CHILD),), "male", None, ("RANGE_NOT_APPLICABLE",)),
        ((r4.ObservationReferenceRange(text="阴性"),), "male", None, ("RANGE_UNREADABLE",)),
        ((), "male", None, ()),
    ],
)
def test_which_limits_hold(
    ranges: tuple[r4.ObservationReferenceRange, ...], sex: str, high: int | None, flags: tuple[str, ...]
) -> None:
    chosen = choose(ranges, sex=sex, birth=on_day(date(1967, 3, 14)), on=date(2019, 5, 28))
    assert (chosen.limits.high if chosen.limits else None, chosen.flags) == (high, flags)


# --- equations and logarithms -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("equation", "umol", "expected"),
    [  # vignettes V15a and V15b: a man of 52
        (CKD_EPI_2009, 80, "97.204"),
        (CKD_EPI_2009, 107, "68.390"),
        (CKD_EPI_2009, 108, "67.626"),
    ],
)
def test_ckd_epi(equation: Equation, umol: int, expected: str) -> None:
    assert f"{float(estimate(equation, Fraction(umol), 'male', 52)):.3f}" == expected


@pytest.mark.parametrize(
    ("equation", "later", "fall"),
    [
        (CKD_EPI_2009, 107, "29.64"),
        (CKD_EPI_2021, 107, "29.46"),
        (CKD_EPI_2009, 108, "30.43"),
        (CKD_EPI_2021, 108, "30.24"),
    ],
)
def test_decline_of_the_vignettes(equation: Equation, later: int, fall: str) -> None:
    first, last = (estimate(equation, Fraction(umol), "male", 52) for umol in (80, later))
    assert f"{float((first - last) / first * 100):.2f}" == fall


def test_at_the_knee_only_age_and_sex_are_left() -> None:
    """At Scr = k both powers are 1: 141 x 0.993^60 x 1.018 = 94.1797 by hand calculator."""
    knee = Fraction("0.7") * Fraction("88.4")
    assert abs(float(estimate(CKD_EPI_2009, knee, "female", 60)) - 141 * 0.993**60 * 1.018) < 1e-9


def test_a_bound_on_creatinine_is_the_other_bound_on_filtration() -> None:
    below = estimate_interval(CKD_EPI_2009, Interval.reported(80, "<"), "male", 52, 52)
    assert (f"{float(below.low or 0):.3f}", below.high, below.low_closed) == ("97.204", None, False)


def test_children_are_refused() -> None:
    with pytest.raises(ValueError, match="adults"):
        estimate(CKD_EPI_2009, Fraction(80), "male", 17)


def test_powers_of_ten() -> None:
    assert power_of_ten(Fraction(4)) == 10_000
    assert f"{float(power_of_ten(Fraction('4.3')) or 0):.4f}" == "19952.6231"  # 10^0.3 = 1.99526231
    assert power_of_ten(Fraction(400)) is None
