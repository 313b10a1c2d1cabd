"""Cumulative doses and doses by body surface; 180 cm and 80 kg are exactly 2 m2 (Mosteller)."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest
from msgspec.structs import replace

from adapter.errors import ProtocolError
from adapter.model.coverage import Coverage
from adapter.protocol import evaluate, load
from adapter.protocol.occurrences import MEDICATION_TYPES
from tests.spec.protocol_words import SCREENING, ZONE, Row, facts, lab, told, took, vocabulary

HEAD = """\
id: TRIAL-1
version: "1"
title: A trial
anchors: {screening: {as_of: true}}
readings:
  weight: {finding: weight}
  height: {finding: height}
criteria:
  - id: RULE
    kind: inclusion
    text: a sentence
    source: a page
    met_when: """
COVERED = tuple(Coverage(name, True) for name in MEDICATION_TYPES)
SIZE = (lab("weight", "80", "2019-05-01", unit="kg"), lab("height", "180", "2019-05-01", unit="cm"))


def judged(folder: Path, condition: str, *rows: Row):  # type: ignore[no-untyped-def]
    (folder / "protocol.yaml").write_text(HEAD + condition + "\n", encoding="utf-8")
    return evaluate(load(folder, vocabulary()), facts(*rows), as_of=SCREENING, zone=ZONE)


def ordered(daily: str | None, start: str, last: str) -> Row:
    amount = None if daily is None else Fraction(daily)
    return took("cyclophosphamide", start, last, daily_dose=amount, dose_unit="mg")


def given(drug: str, dose: str, on: str) -> Row:
    return took(drug, on, on, kind="administration", dose=Fraction(dose), dose_unit="mg")


TOTAL = "{dose: {drug: cyclophosphamide, take: total, from: screening - 365 days, to: screening}, %s}"
TEN_DAYS = ordered("100", "2019-03-01", "2019-03-10")  # 10 days of 100 mg: 1 g


@pytest.mark.parametrize(
    ("bound", "rows", "expected"),
    [
        ("at_most: 1 g", (TEN_DAYS, *COVERED), "met [BOUNDARY]"),
        ("above: 1 g", (TEN_DAYS, *COVERED), "not_met [BOUNDARY]"),
        ("above: 999 mg", (TEN_DAYS,), "met"),  # more may have been taken, less was not
        ("at_most: 1 g", (TEN_DAYS,), "unknown [BOUNDARY]"),
        ("above: 1 g", (TEN_DAYS,), "unknown [BOUNDARY]"),
        ("at_most: 36 g", COVERED, "met"),  # nothing on record, and the records are complete
        ("at_most: 36 g", (), "unknown"),
        ("above: 1 g", (TEN_DAYS, ordered(None, "2019-04-01", "2019-04-02"), *COVERED), "unknown [BOUNDARY]"),
        # two infusions of 750 mg
        ("at_least: 1500 mg", (given("cyclophosphamide", "750", "2019-02-01"),
                               given("cyclophosphamide", "750", "2019-03-01"), *COVERED),
         "met [BOUNDARY, DOSE_FROM_INTAKES]"),
        # 5 of the 10 days lie in the period: 2018-06-03 is the first day of it
        ("at_most: 500 mg", (ordered("100", "2018-05-29", "2018-06-07"), *COVERED), "met [BOUNDARY]"),
    ],
)  # fmt: skip
def test_the_cumulative_dose(tmp_path: Path, bound: str, rows: tuple[Row, ...], expected: str) -> None:
    decision = judged(tmp_path, TOTAL % bound, *rows)
    assert told(decision, "RULE") == expected
    result = decision.criterion("RULE")
    assert result.verdict.value == "unknown" or any(row.role == "used" for row in result.evidence)


@pytest.mark.parametrize(
    ("condition", "rows", "expected"),
    [
        ("{dose: {drug: rituximab, area: {height: height, weight: weight}}, at_most: 375 mg/m2/d}",
         (given("rituximab", "750", "2019-05-20"), *SIZE), "met [BOUNDARY, DOSE_FROM_INTAKES]"),
        ("{dose: {drug: rituximab, area: {height: height, weight: weight}}, above: 375 mg/m2/d}",
         (given("rituximab", "751", "2019-05-20"), *SIZE), "met [DOSE_FROM_INTAKES]"),
        ("{dose: {drug: rituximab, area: {height: height, weight: weight}}, above: 375 mg/m2/d}",
         (given("rituximab", "751", "2019-05-20"), SIZE[0]), "unknown"),
        # 10 days of 100 mg on 80 kg are 12.5 mg/kg
        ("{dose: {drug: cyclophosphamide, take: total, weight: weight}, at_least: 12.5 mg/kg}",
         (TEN_DAYS, *SIZE), "met [BOUNDARY]"),
    ],
)  # fmt: skip
def test_doses_by_size(tmp_path: Path, condition: str, rows: tuple[Row, ...], expected: str) -> None:
    assert told(judged(tmp_path, condition, *rows), "RULE") == expected


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        ("{dose: {drug: rituximab, take: total}, above: 3 mg/d}", "a dose is given in mg here"),
        ("{dose: {drug: rituximab, area: {height: weight, weight: weight}}, above: 3 mg/m2/d}",
         "is no height"),
        ("{dose: {drug: rituximab, weight: weight, area: {height: height, weight: weight}}, above: 3 mg}",
         "either by weight: or by area:"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused(tmp_path: Path, condition: str, message: str) -> None:
    with pytest.raises(ProtocolError, match=message):
        judged(tmp_path, condition)


# Cyclophosphamide from 2018-06-03 to 2019-06-03, of which all medication records were fetched.
IN_THE_YEAR = [
    # the last day of the period counts
    ("at_least: 100 mg", (ordered("100", "2019-06-03", "2019-06-03"),), "met [BOUNDARY]"),
    # an infusion of 750 mg and ten days of 100 mg: what was worked out of the one is shown of all
    (
        "at_least: 1750 mg",
        (given("cyclophosphamide", "750", "2019-02-01"), TEN_DAYS),
        "met [BOUNDARY, DOSE_FROM_INTAKES]",
    ),
    # a record that says no dose may hold any amount, on each of its days that lies in the period
    ("at_most: 36 g", (ordered(None, "2018-05-01", "2018-06-02"),), "met"),
    ("at_most: 36 g", (ordered(None, "2018-05-01", "2018-06-03"),), "unknown"),
    ("at_most: 36 g", (ordered(None, "2018-05-01", "2018-07-01"),), "unknown"),
    ("at_most: 36 g", (ordered(None, "2019-06-03", "2019-06-10"),), "unknown"),
    ("at_most: 36 g", (ordered(None, "2018-05-01", ""),), "unknown"),  # still taken
    (
        "at_most: 36 g",
        (replace(ordered(None, "2018-05-01", ""), ongoing=False, flags=("END_UNKNOWN",)),),
        "unknown",
    ),
    # neither an end nor a word that it goes on: its first day only
    ("at_most: 36 g", (replace(ordered(None, "2018-05-01", ""), ongoing=False),), "met"),
    ("at_most: 36 g", (replace(ordered(None, "2018-06-03", ""), ongoing=False),), "unknown"),
]


@pytest.mark.parametrize(("bound", "rows", "expected"), IN_THE_YEAR)
def test_which_days_count_for_a_cumulative_dose(
    tmp_path: Path, bound: str, rows: tuple[Row, ...], expected: str
) -> None:
    assert told(judged(tmp_path, TOTAL % bound, *rows, *COVERED), "RULE") == expected
