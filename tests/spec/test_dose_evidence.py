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
from adapter.protocol import evaluate, load
from adapter.protocol.dose_tests import surface
from tests.spec.protocol_words import SCREENING, ZONE, Row, facts, lab, took, vocabulary
from tests.spec.protocol_words import reported as printed
from tests.spec.test_dose_words import COVERED, HEAD, TEN_DAYS, TOTAL, given, judged
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
    assert [one.concept for one in found.evidence] == ["cyclophosphamide", "", "", "", ""]
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
        ("150", "54", "1.5", "1.5"),
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
        ("any", "2019-04-01", "not_met"),
    ],
)
def test_a_dose_that_was_not_changed(tmp_path: Path, direction: str, start: str, expected: str) -> None:
    found = ruled(tmp_path, CHANGED % direction, daily("prednisone", "30", start))
    assert found.verdict.value == expected
    asked = ("the daily dose of prednisone, 2019-05-01 to 2019-06-03",)
    assert found.settles == (asked if expected == "unknown" else ())


@pytest.mark.parametrize(
    ("direction", "doses", "expected"),
    [
        ("reduction", ("30", "20"), "met"),
        ("increase", ("30", "20"), "not_met"),
        ("any", ("30", "20"), "met"),
        ("reduction", ("20", "30"), "not_met"),
        ("increase", ("20", "30"), "met"),
        ("any", ("20", "30"), "met"),
        ("any", ("30", "30"), "not_met"),
    ],
)
def test_which_way_a_dose_was_changed(
    tmp_path: Path, direction: str, doses: tuple[str, str], expected: str
) -> None:
    before, after = doses
    rows = (daily("prednisone", before, "2019-04-01"), daily("prednisone", after, "2019-05-10"))
    found = ruled(tmp_path, CHANGED % direction, *rows)
    assert found.verdict.value == expected
    if expected == "met":
        [item] = found.evidence
        assert (item.value, item.compared) == (
            f"{after} mg/d on 2019-05-10", f"{before} -> {after} mg/d on 2019-05-10",
        )  # fmt: skip


def test_an_older_dose_goes_on_when_a_newer_one_has_ended(tmp_path: Path) -> None:
    """1 mg/d without end; 0.2 mg/d from 1 to 10 May supersedes it; on 11 May the older one counts again."""
    rows = (daily("tacrolimus", "1", "2019-04-01"), daily("tacrolimus", "0.2", "2019-05-01", "2019-05-10"))
    for last, expected in (("2019-05-10", "not_met"), ("2019-05-11", "met")):
        rule = f"{{dose: {{drug: tacrolimus, from: 2019-05-01, to: {last}}}, at_least: 0.5 mg/d}}"
        found = ruled(tmp_path, rule, *rows)
        assert found.verdict.value == expected
        assert f"on {last}" in found.evidence[0].value or expected == "not_met"


def test_the_day_of_a_dose_that_was_given(tmp_path: Path) -> None:
    found = ruled(
        tmp_path, PER_AREA % "at_most: 400 mg/m2/d", given("rituximab", "750", "2019-05-20"), HEIGHT, WEIGHT
    )
    assert (found.evidence[0].value, found.evidence[0].when) == ("750 mg/d on 2019-05-20", "2019-05-20")


def test_what_is_said_of_an_order_is_said_of_its_dose(tmp_path: Path) -> None:
    first = daily("tacrolimus", "1", "2019-05-01", "2019-05-09", flags=("REQUEST_ONLY",))
    second = daily("tacrolimus", "1", "2019-05-10", flags=("CODE_CONFLICT",))
    undated = replace(daily("tacrolimus", "9", "2019-05-11", flags=("NO_DATE",)), start=None)
    assert ruled(tmp_path, DAILY % "latest", first, second, undated).flags == ("CODE_CONFLICT",)
    assert ruled(tmp_path, DAILY % "first", first, second, undated).flags == ("REQUEST_ONLY",)


BETWEEN = "{dose: {drug: tacrolimus, weight: weight}, between: [0.05 mg/kg/d, 0.10 mg/kg/d]}"
HALF = "{per_kg: 0.5 mg/kg/d, at_most: 40 mg/d, tolerance: 2.5 mg/d}"
TARGET = f"{{dose: {{drug: prednisone, weight: weight}}, target: {HALF}}}"


@pytest.mark.parametrize(
    ("rule", "dose", "weight", "verdict", "distance"),
    [
        # of 80 kg: 16 mg/d are 0.2 mg/kg/d, above the upper limit; 2 mg/d are 0.025, below the lower
        (BETWEEN, "16", "80", "not_met", "0.1 mg/kg/d above"),
        (BETWEEN, "2", "80", "not_met", "0.025 mg/kg/d below"),
        # half a milligram per kilogram are 40 mg/d
        (TARGET, "40", "80", "met", "exactly at the threshold"),
        (TARGET, "42.5", "80", "met", "2.5 mg/d above"),
        (TARGET, "37.4", "80", "not_met", "2.6 mg/d below"),
        (TARGET, "40", "100", "met", "exactly at the threshold"),  # capped
        (TARGET, "40", ">50", "unknown", ""),
    ],
)
def test_how_far_a_dose_is_from_its_limit(
    tmp_path: Path, rule: str, dose: str, weight: str, verdict: str, distance: str
) -> None:
    drug = "tacrolimus" if rule == BETWEEN else "prednisone"
    size = lab("weight", weight, "2019-05-01", unit="kg")
    found = ruled(tmp_path, rule, daily(drug, dose, "2019-05-10"), size)
    assert (found.verdict.value, found.distance) == (verdict, distance)


def test_the_weight_nearest_a_day(tmp_path: Path) -> None:
    """The dose goes by the weight of 8 May, a day from 9 May, not by the later one."""
    near = HEAD.replace(
        "{finding: weight}",
        "{finding: weight, take: nearest, near: 2019-05-09, from: 2019-05-01, to: 2019-05-31}",
    )
    rows = (
        daily("tacrolimus", "8", "2019-05-09"),
        lab("weight", "80", "2019-05-08", unit="kg"),
        lab("weight", "90", "2019-05-12", unit="kg"),
    )
    (tmp_path / "protocol.yaml").write_text(near + BETWEEN + "\n", encoding="utf-8")
    found = evaluate(load(tmp_path, vocabulary()), facts(*rows), as_of=SCREENING, zone=ZONE).criterion("RULE")
    assert found.reason.startswith("8 mg/d / 80 kg = 0.1 mg/kg/d")
