"""Readings by their method, code, number or partner: which count and which are set aside; by hand."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from adapter.model.facts import Source
from tests.spec.protocol_words import Row, egfr, lab, said
from tests.spec.test_thresholds import told
from tests.spec.test_which_readings import LATE, NINE, doubtful, troughs
from tests.spec.test_why import HIGH, protein, ruled, shown


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        ("CKD-EPI 2009", "not_met"),
        ("CKD-EPI 2021", "met"),
        ("[CKD-EPI 2009, CKD-EPI 2021]", "met READINGS_DISAGREE"),
    ],
)
def test_only_readings_by_the_method_asked_for_decide(tmp_path: Path, method: str, expected: str) -> None:
    rows = [egfr("70", NINE), egfr("50", LATE, "CKD-EPI 2021")]
    found = ruled(tmp_path, f"{{finding: egfr, method: {method}, below: '60 mL/min/{{1.73_m2}}'}}", *rows)
    assert told(found) == expected
    if method == "CKD-EPI 2009":
        assert f"ignored {LATE} 50 mL/min/{{1.73_m2}} (other method)" in shown(found)


def test_a_reading_that_is_never_used_says_so(tmp_path: Path) -> None:
    found = ruled(tmp_path, HIGH, replace(protein("9", NINE), use="NEVER"))
    assert (told(found), shown(found)) == ("unknown", [f"ignored {NINE} 9 g/d (NEVER_USE)"])


def test_a_code_or_an_answer_is_what_a_code_is_asked_of(tmp_path: Path) -> None:
    condition = "{finding: mn_stage, code: [II, positive]}"
    stage = replace(lab("mn_stage", "", NINE), value_code="II")
    assert told(ruled(tmp_path, condition, stage)) == "met"
    assert told(ruled(tmp_path, condition, replace(stage, value_code="", answer="positive"))) == "met"
    assert told(ruled(tmp_path, condition, replace(stage, value_code=""))) == "unknown"


LAST = (
    "{share: {finding: tacrolimus_trough, at_most: 10 ng/mL, last: 3, of_at_least: 3,"
    " passing: {at_least: 90 %}}}"
)


def test_a_reading_without_a_date_may_be_among_the_last(tmp_path: Path) -> None:
    """3 of 3 are 100 %; with one more that may be of any day 75 to 100 %."""
    levels = troughs("11", "9", "9", "9")
    found = ruled(tmp_path, LAST, *levels)
    assert told(found) == "met"
    assert "ignored 2019-05-01 11 (not among the last 3)" in shown(found)
    undated = replace(lab("tacrolimus_trough", "9", LATE), start=None)
    open_ = ruled(tmp_path, LAST, *levels, undated)
    assert told(open_) == "unknown"
    assert [item.when for item in open_.evidence if item.why == "NO_DATE"] == [""]


def test_what_is_set_aside_before_and_what_is_too_old_are_both_shown(tmp_path: Path) -> None:
    replaced = doubtful(lab("tacrolimus_trough", "20", "2019-05-02", id="old"), "SUPERSEDED")
    found = ruled(tmp_path, LAST, *troughs("11", "9", "9", "9"), replaced)
    assert sorted(item.why for item in found.evidence if item.role == "ignored") == [
        "SUPERSEDED",
        "not among the last 3",
    ]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        # "<9" may be above 7 or not: either may be the highest; "<6" is surely lower
        (("<9", "7"), "unknown"),
        (("<6", "7"), "met"),
        ((">9", "7"), "met"),
        (("7", "5"), "met"),
    ],
)
def test_the_highest_of_ranges(tmp_path: Path, values: tuple[str, ...], expected: str) -> None:
    rows = [protein(value, f"2019-05-1{number}") for number, value in enumerate(values)]
    condition = "{finding: urine_protein_24h, take: highest, above: 6.5 g/d}"
    assert ruled(tmp_path, condition, *rows).verdict.value == expected


def test_a_reading_without_a_number_is_not_higher_or_lower(tmp_path: Path) -> None:
    rows = [protein("9", NINE), replace(protein("8", LATE), value=None)]
    condition = "{finding: urine_protein_24h, take: highest, exists: true}"
    assert told(ruled(tmp_path, condition, *rows)) == "met"


def test_no_reading_at_all_for_a_mean_of_one(tmp_path: Path) -> None:
    condition = "{finding: urine_protein_24h, take: mean, of_at_least: 1, above: 8 g/d}"
    assert ruled(tmp_path, condition).settles == (
        "a usable reading of Protein in 24-hour urine, collected up to 2019-06-03",
    )


PRESSURE = (
    '{share: {finding: systolic_bp, below: "140 mm[Hg]", beside: {finding: diastolic_bp, below: "80 mm[Hg]"},'
    " of_at_least: 1, passing: {above: 75 %}}}"
)
TIME, OTHER_TIME = "2019-05-10T08:00:00+08:00", "2019-05-10T08:05:00+08:00"


def pressure(concept: str, value: str, on: str, record: str = "one", why: str = "") -> Row:
    row = lab(concept, value, on, unit="mm[Hg]", excluded=why)
    return replace(row, source=Source(f"Observation/{record}", "1", concept))


@pytest.mark.parametrize(
    ("beside", "expected"),
    [
        ([pressure("diastolic_bp", "70", TIME)], "met"),
        ([pressure("diastolic_bp", "90", TIME)], "not_met"),
        ([], "unknown"),
        # of another record: only at the very same time
        ([pressure("diastolic_bp", "70", TIME, "two")], "met"),
        ([pressure("diastolic_bp", "70", OTHER_TIME, "two")], "unknown"),
        ([pressure("diastolic_bp", "70", "2019-05-10", "two")], "unknown"),
        # one more of the same record that cannot be relied on
        (
            [pressure("diastolic_bp", "70", TIME), pressure("diastolic_bp", "700", TIME, why="IMPLAUSIBLE")],
            "unknown",
        ),
        # one without a date belongs to nothing
        (
            [
                pressure("diastolic_bp", "70", TIME, "two"),
                replace(pressure("diastolic_bp", "70", TIME, "three"), start=None),
            ],
            "met",
        ),
    ],
)
def test_the_reading_that_belongs_beside_another(tmp_path: Path, beside: list[Row], expected: str) -> None:
    rows = [pressure("systolic_bp", "120", TIME), *beside]
    assert ruled(tmp_path, PRESSURE, *rows).verdict.value == expected


VISIT = "{finding: urine_protein_24h, to: visit, above: 8 g/d}"


@pytest.mark.parametrize("visit", ["2019-06", "2019-06-03", "2019-07", ""])
@pytest.mark.parametrize(
    ("on", "expected"),
    [("2019-05-31", "met"), ("2019-06-03", "met"), ("2019-06-04", "unknown"), ("2019-06-20", "unknown")],
)
def test_nothing_from_after_the_day_of_assessment_is_seen(
    tmp_path: Path, visit: str, on: str, expected: str
) -> None:
    """Screening is on 2019-06-03; the visit up to which readings count is on some later day, or some day of
    June."""
    rows = [said("visit-date", visit, "2019-05-01")] if visit else []
    found = ruled(tmp_path, VISIT if visit else HIGH, *rows, protein("9", on))
    if (visit, on) == ("2019-06", "2019-06-03"):
        assert told(found) == "unknown DATE_PARTIAL", "the visit may have been on the 1st or 2nd"
    else:
        assert told(found) == expected


def test_where_one_reading_is_asked_for_none_is_none(tmp_path: Path) -> None:
    condition = "{repeated: {finding: glucose, above: 11.1 mmol/L, readings: 1, apart: {at_least: 1 day}}}"
    assert ruled(tmp_path, condition).verdict.value == "unknown"
    assert ruled(tmp_path, condition, lab("glucose", "12", NINE)).verdict.value == "met"
