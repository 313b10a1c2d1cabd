"""Properties of reading results: exactness, no crash on any text, and a parse that never invents."""

from __future__ import annotations

import json
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from adapter.mappers import r4
from adapter.mappers.results.equations import EQUATIONS, estimate
from adapter.mappers.results.ranges import read_range_text
from adapter.mappers.results.text import number_of, read_text
from adapter.mappers.results.units import converted
from adapter.mappers.terminology import Terminology

TERMINOLOGY = Terminology.load(Path(__file__).parents[2] / "mappings")
UNITS = sorted(
    {
        (key, unit)
        for key in ("urine_protein_24h", "albumin", "creatinine", "pla2r_antibody", "alt", "weight")
        for unit in ("g/d", "mg/24h", "g/dL", "g/L", "mg/dL", "umol/L", "RU/mL", "ukat/L", "U/L", "斤", "kg")
        if TERMINOLOGY.unit_for(key, unit) is not None
    }
)
decimals = st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**9), max_value=10**9, places=12)


def answer(text: str) -> str:
    found = TERMINOLOGY.answer_for((), text, ordinal=True, concept="hbsag")
    return found.meaning if found else ""


@given(decimals)
def test_a_json_number_is_read_digit_by_digit(value: Decimal) -> None:
    line = f'{{"resourceType":"Observation","valueQuantity":{{"value":{value}}}}}'.encode()
    sent = r4.decode(line, r4.Observation).valueQuantity
    assert sent is not None
    assert str(sent.value) == str(value)
    assert r4.usable(sent.value) == Fraction(value)


@given(st.text(max_size=60))
def test_any_text_is_read_or_left_alone(text: str) -> None:
    read = read_text(text, answer=answer, is_unit=lambda word: word in ("g/L", "%"))
    if read.interval is not None:
        bounds = [bound for bound in (read.interval.low, read.interval.high) if bound is not None]
        assert bounds
        assert any(character.isdigit() for character in text)


@given(st.text(max_size=60))
def test_any_range_text_is_read_or_left_alone(text: str) -> None:
    for limits in read_range_text(text):
        assert limits.low is None or limits.high is None or limits.low <= limits.high


@given(
    st.decimals(min_value=0, max_value=10**6, places=3, allow_nan=False),
    st.sampled_from(["", "↑", " H", "↓"]),
)
def test_decorations_change_no_number(value: Decimal, decoration: str) -> None:
    read = read_text(f"{value}{decoration}", answer=answer, is_unit=lambda _: False)
    assert read.interval is not None
    assert read.interval.point == Fraction(value)


@given(st.integers(min_value=1000, max_value=10**12))
def test_thousands_separators(value: int) -> None:
    assert number_of(f"{value:,}") == value


@given(decimals, st.sampled_from(UNITS))
def test_conversion_is_exact_and_can_be_undone(value: Decimal, unit: tuple[str, str]) -> None:
    entry = TERMINOLOGY.unit_for(*unit)
    assert entry is not None
    there = converted(r4_interval(value), entry, log10=False)
    assert there is not None
    assert there.point is not None
    assert (there.point - entry.offset) / entry.factor == Fraction(value)


def r4_interval(value: Decimal):  # type: ignore[no-untyped-def]
    from adapter.model.quantity import Interval

    return Interval.exactly(value)


@given(
    st.sampled_from(sorted(EQUATIONS)),
    st.integers(15, 2999),
    st.sampled_from(["male", "female"]),
    st.integers(18, 89),
)
def test_filtration_falls_with_creatinine_and_with_age(name: str, umol: int, sex: str, age: int) -> None:
    here = estimate(EQUATIONS[name], Fraction(umol), sex, age)  # type: ignore[arg-type]
    assert here > estimate(EQUATIONS[name], Fraction(umol + 1), sex, age)  # type: ignore[arg-type]
    assert here > estimate(EQUATIONS[name], Fraction(umol), sex, age + 1)  # type: ignore[arg-type]


@given(
    st.recursive(st.none() | st.booleans() | st.text(max_size=5), lambda inner: st.lists(inner, max_size=3))
)
def test_nulls_never_stop_a_resource(noise: object) -> None:
    line = json.dumps({"resourceType": "Observation", "id": None, "noise": noise, "status": "final"}).encode()
    assert r4.decode(line, r4.Observation).status == "final"
