"""How a dose is worked out in front of the reader: amount, size of the person, limit; and what is missing.

180 cm and 80 kg are exactly 2 m2 (Mosteller, N Engl J Med 1987;317:1098); other areas are to a millionth.
"""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest
from msgspec.structs import replace

from adapter.model.decision import CriterionResult
from adapter.model.facts import Coding, Finding, Intervention
from adapter.model.quantity import Interval
from adapter.protocol.dose_tests import surface
from tests.spec.protocol_words import Row, lab, took
from tests.spec.protocol_words import reported as printed
from tests.spec.test_dose_words import COVERED, TEN_DAYS, TOTAL, given, judged
from tests.spec.test_why import shown

WEIGHT = lab("weight", "80", "2019-05-01", unit="kg")
HEIGHT = lab("height", "180", "2019-05-02", unit="cm")
PER_AREA = "{dose: {drug: rituximab, area: {height: height, weight: weight}}, %s}"
PER_KG = "{dose: {drug: cyclophosphamide, take: total, weight: weight}, %s}"
DAILY = "{dose: {drug: tacrolimus, take: %s, from: 2019-05-01, to: screening}, at_least: 0.5 mg/d}"
CHANGED = "{dose_change: {drug: prednisone, direction: %s, from: 2019-05-01, to: screening}}"
NO_WEIGHT = ("a usable reading of Body weight, collected up to 2019-06-03",)


def ruled(folder: Path, condition: str, *rows: Row) -> CriterionResult:
    return judged(folder, condition, *rows).criterion("RULE")  # type: ignore[no-any-return]


def daily(drug: str, dose: str, start: str, last: str = "", **more: object) -> Intervention:
    return took(drug, start, last, kind="order", daily_dose=Fraction(dose), dose_unit="mg", **more)


@pytest.mark.parametrize(
    ("condition", "rows", "reason", "distance"),
    [
        # ten days of 100 mg are 1000 mg
        (TOTAL % "at_most: 1 g", (TEN_DAYS, *COVERED), "1000 mg <= 1000 mg", "exactly at the threshold"),
        (TOTAL % "above: 1.2 g", (TEN_DAYS, *COVERED), "1000 mg not > 1200 mg", "200 mg below"),
        (PER_KG % "at_least: 12 mg/kg", (TEN_DAYS, WEIGHT),
         ">=1000 mg / 80 kg = >=12.5 mg/kg >= 12 mg/kg", ""),  # how far above, nobody knows
        (PER_AREA % "at_most: 375 mg/m2/d", (given("rituximab", "750", "2019-05-20"), HEIGHT, WEIGHT),
         "750 mg/d / 2 m2 = 375 mg/m2/d <= 375 mg/m2/d", "exactly at the threshold"),
        (PER_AREA % "above: 400 mg/m2/d", (given("rituximab", "750", "2019-05-20"), HEIGHT, WEIGHT),
         "750 mg/d / 2 m2 = 375 mg/m2/d not > 400 mg/m2/d", "25 mg/m2/d below"),
    ],
)  # fmt: skip
def test_the_sum_is_shown(
    tmp_path: Path, condition: str, rows: tuple[Row, ...], reason: str, distance: str
) -> None:
    found = ruled(tmp_path, condition, *rows)
    assert (found.reason, found.distance) == (reason, distance)


def test_the_records_behind_a_cumulative_dose(tmp_path: Path) -> None:
    """The drug, and that all records of drugs were fetched; each with the comparison."""
    drug = replace(TEN_DAYS, code=Coding("http://www.nlm.nih.gov/research/umls/rxnorm", "3002"))
    found = ruled(tmp_path, TOTAL % "at_most: 2 g", drug, *COVERED)
    compared = "1000 mg <= 2000 mg"
    assert [
        (one.source.reference, one.role, one.when, one.original, one.compared) for one in found.evidence
    ] == [
        (drug.source.reference, "used", "2019-03-01", "3002", compared),
        ("coverage/MedicationAdministration", "used", "", "", compared),
        ("coverage/MedicationDispense", "used", "", "", compared),
        ("coverage/MedicationRequest", "used", "", "", compared),
        ("coverage/MedicationStatement", "used", "", "", compared),
    ]
    assert found.settles == ()
    named = replace(drug, code=replace(drug.code, display="Cyclophosphamide"))
    found = ruled(tmp_path, TOTAL % "at_most: 2 g", named)
    assert [(one.source.reference, one.original, one.compared) for one in found.evidence] == [
        (drug.source.reference, "Cyclophosphamide", ">=1000 mg <= 2000 mg undecided")
    ]
    period = "2018-06-03 to 2019-06-03"
    assert found.settles == (f"complete records of cyclophosphamide with their doses, {period}",)


@pytest.mark.parametrize(
    ("condition", "drug"),
    [
        (PER_KG % "at_least: 12 mg/kg", TEN_DAYS),
        (PER_AREA % "at_least: 12 mg/m2/d", given("rituximab", "750", "2019-05-20")),
    ],
)
def test_a_size_that_is_not_known_is_asked_for(tmp_path: Path, condition: str, drug: Row) -> None:
    wrong = replace(WEIGHT, flags=(), excluded="UNIT_MISSING")
    found = ruled(tmp_path, condition, drug, HEIGHT, wrong)
    assert (found.verdict.value, found.settles, found.flags) == ("unknown", NO_WEIGHT, ("UNIT_MISSING",))
    assert (wrong.source.reference, "ignored") in [(one.source.reference, one.role) for one in found.evidence]


def test_what_is_said_of_the_size_is_said_of_the_dose(tmp_path: Path) -> None:
    def flagged(row: Finding, *flags: str) -> Finding:
        return replace(row, flags=flags)

    rows = (
        given("rituximab", "700", "2019-05-20"),
        flagged(HEIGHT, "NO_DATE"),
        flagged(WEIGHT, "CODE_CONFLICT"),
    )
    found = ruled(tmp_path, PER_AREA % "at_most: 375 mg/m2/d", *rows)
    assert found.flags == ("CODE_CONFLICT", "DOSE_FROM_INTAKES", "NO_DATE")
    size = ": size that the dose goes by"
    assert shown(found)[1:] == [f"used 2019-05-01 80 kg{size}", f"used 2019-05-02 180 cm{size}"]


@pytest.mark.parametrize(
    ("height", "weight", "low", "high"),
    [
        ("180", "80", "2", "2"),
        # 170 x 70 / 3600 = 3.30556; 1.818118 squared is 3.305553, 1.818119 squared 3.305557
        ("170", "70", "1.818118", "1.818119"),
        # 150 x 80 / 3600 = 3.33333; 1.825742 squared is 3.333334
        ("<150", "80", None, "1.825742"),
        (">180", "80", "2", None),
        ("180", ">80", "2", None),
        ("180", "<80", None, "2"),
    ],
)
def test_body_surface_area(height: str, weight: str, low: str | None, high: str | None) -> None:
    found = surface(printed(height), printed(weight))
    assert found == Interval(low and Fraction(low), high and Fraction(high))


@pytest.mark.parametrize(
    ("take", "doses", "expected"),
    [
        # a dose of nothing is a dose: 0 mg/d is less than 0.5 mg/d
        ("highest", ("0", "0.5"), "met"),
        ("highest", ("0.5", "0"), "met"),
        ("lowest", ("0", "0.5"), "not_met"),
        ("lowest", ("0.5", "0"), "not_met"),
        ("first", ("0", "0.5"), "not_met"),
        ("latest", ("0", "0.5"), "met"),
    ],
)
def test_a_dose_of_nothing(tmp_path: Path, take: str, doses: tuple[str, str], expected: str) -> None:
    first, second = doses
    rows = (
        daily("tacrolimus", first, "2019-05-01", "2019-05-10"),
        daily("tacrolimus", second, "2019-05-11", "2019-05-20"),
    )
    assert ruled(tmp_path, DAILY % take, *rows).verdict.value == expected


@pytest.mark.parametrize(
    ("direction", "start", "expected"),
    [
        # the same dose from the first day on: nothing was changed
        ("reduction", "2019-05-01", "not_met"),
        ("reduction", "2019-04-01", "not_met"),
        # nobody knows what was taken on the first day
        ("reduction", "2019-05-02", "unknown"),
    ],
)
def test_a_dose_that_was_not_changed(tmp_path: Path, direction: str, start: str, expected: str) -> None:
    found = ruled(tmp_path, CHANGED % direction, daily("prednisone", "30", start))
    assert found.verdict.value == expected
    asked = ("the daily dose of prednisone, 2019-05-01 to 2019-06-03",)
    assert found.settles == (asked if expected == "unknown" else ())
