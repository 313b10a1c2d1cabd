"""What is shown of the records behind a verdict, which flags travel with them, and what is asked for.

Beside ``test_why.py``, which holds readings: diagnoses, drugs, gaps, doses, silence and guards. Screening is
on 2019-06-03; all expected values are worked out by hand.
"""

from __future__ import annotations

from datetime import date
from fractions import Fraction
from pathlib import Path

import pytest
from msgspec.structs import replace

from adapter.model.coverage import Coverage
from adapter.model.decision import Evidence
from adapter.model.facts import Coding, Event, Intervention, Source
from adapter.protocol.occurrences import MEDICATION_TYPES
from adapter.protocol.outcome import merge_evidence
from tests.spec.protocol_words import Row, egfr, had, lab, said, took
from tests.spec.protocol_words import when as day
from tests.spec.test_thresholds import told
from tests.spec.test_why import COVERED, HIGH, protein, ruled, shown

HEPATITIS = "{event: hepatitis_b, presence: any, if_none: absent}"
SURELY = "{event: hepatitis_b, if_none: absent}"
TACROLIMUS = "{exposure: {drug: tacrolimus}, if_none: absent, from: 2019-03-01, to: 2019-04-30}"
GAP = "{gap: {drug: tacrolimus, from: 2019-03-01, to: 2019-05-31}, above: %d days}"
DOSE = "{dose: {drug: tacrolimus, from: screening}, at_most: 100 mg/d}"
SNOMED = "http://snomed.info/sct"


def hepatitis(start: str = "2019-02-01", **more: object) -> Event:
    return replace(had("hepatitis_b", start), **more)  # type: ignore[arg-type]


def tacrolimus(start: str, last: str = "", **more: object) -> Intervention:
    return took("tacrolimus", start, last, **more)


def dosed(milligrams: int | Fraction, start: str, last: str = "", **more: object) -> Row:
    known = {"kind": "order", "daily_dose": Fraction(milligrams), "dose_unit": "mg"}
    return tacrolimus(start, last, **{**known, **more})


# --- diagnoses ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "original"),
    [
        (Coding(SNOMED, "66071002", "Viral hepatitis B"), "Viral hepatitis B"),
        (Coding(SNOMED, "66071002"), "66071002"),
    ],
)
def test_a_diagnosis_in_the_words_of_its_source(tmp_path: Path, code: Coding, original: str) -> None:
    [item] = ruled(tmp_path, SURELY, hepatitis(code=code)).evidence
    assert (item.role, item.concept, item.when) == ("used", "hepatitis_b", "2019-02-01")
    assert (item.original, item.value, item.why) == (original, "present", "")


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        # what is said of the row that decides is told, of another row not
        ([hepatitis(flags=("CODE_CONFLICT",))], "met CODE_CONFLICT"),
        (
            [hepatitis(), hepatitis("2019-02-02", presence="unconfirmed", flags=("CODE_CONFLICT",))],
            "met",
        ),
        (
            [
                hepatitis(presence="unconfirmed", flags=("CODE_CONFLICT",)),
                hepatitis("2019-02-02", excluded="ENTERED_IN_ERROR", flags=("NO_DATE",)),
            ],
            "unknown CODE_CONFLICT UNCONFIRMED",
        ),
    ],
)
def test_the_flags_of_a_diagnosis(tmp_path: Path, rows: list[Row], expected: str) -> None:
    assert told(ruled(tmp_path, HEPATITIS, *rows)) == expected


def test_rows_that_do_not_fit_are_shown(tmp_path: Path) -> None:
    wrong = hepatitis("2019-02-02", excluded="ENTERED_IN_ERROR")
    result = ruled(tmp_path, SURELY, hepatitis(presence="past"), wrong)
    assert result.verdict.value == "not_met"
    assert shown(result) == [
        "ignored 2019-02-01 past (does not fit (past))",
        "ignored 2019-02-02 present (ENTERED_IN_ERROR)",
    ]


def test_a_diagnosis_without_a_date_shows_none(tmp_path: Path) -> None:
    result = ruled(tmp_path, SURELY, hepatitis(""))
    assert (result.verdict.value, [item.when for item in result.evidence]) == ("met", [""])


@pytest.mark.parametrize(
    ("rows", "verdict", "distance"),
    [
        ([tacrolimus("2019-02-01", "2019-03-11")], "met", "last exposure 10 days after 2019-03-01"),
        # a record of one day, without an end: that day
        ([tacrolimus("2019-03-11", ongoing=False)], "met", "last exposure 10 days after 2019-03-01"),
        # known to the month, still taken, over before: no number of days can be told
        ([tacrolimus("2019-02-01", "2019-03")], "met", ""),
        ([tacrolimus("2019-02-01")], "met", ""),
        ([tacrolimus("2019-01-01", "2019-02-28")], "not_met", ""),
        # what only supports another record, or may never be used
        ([tacrolimus("2019-02-01", "2019-03-11", use="SUPP")], "not_met", ""),
        ([tacrolimus("2019-02-01", "2019-03-11", use="NEVER")], "not_met", ""),
    ],
)
def test_how_long_after_the_beginning_of_the_period_a_drug_was_taken(
    tmp_path: Path, rows: list[Row], verdict: str, distance: str
) -> None:
    result = ruled(tmp_path, TACROLIMUS, *rows)
    assert (result.verdict.value, result.distance) == (verdict, distance)


@pytest.mark.parametrize(
    ("row", "last"),
    [
        (tacrolimus("2019-03-11"), "still taken"),
        (tacrolimus("2019-03-11", "2019-03-20"), "last exposure 2019-03-20"),
        (tacrolimus("2019-03-11", ongoing=False), "last exposure 2019-03-11"),
        (tacrolimus("2019-03-11", ongoing=False, flags=("END_UNKNOWN",)), "end not known"),
    ],
)
def test_the_last_exposure_is_shown(tmp_path: Path, row: Row, last: str) -> None:
    [item] = ruled(tmp_path, TACROLIMUS, row).evidence
    assert (item.role, item.compared) == ("used", f"{last}; period 2019-03-01 to 2019-04-30")


@pytest.mark.parametrize(("person", "expected"), [("p", "not_met"), ("", "not_met"), ("q", "unknown")])
def test_silence_counts_where_the_records_of_this_person_came(
    tmp_path: Path, person: str, expected: str
) -> None:
    rule = "{exposure: {drug: tacrolimus}, if_none: absent_if_covered, from: 2019-03-01, to: 2019-04-30}"
    covered = [Coverage(name, True, subject=person) for name in MEDICATION_TYPES]
    assert ruled(tmp_path, rule, *covered).verdict.value == expected


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ((("type", "chronic"),), "not_met"),
        ((("type", "acute"),), "met"),
        ((), "unknown"),  # not sent: perhaps it is chronic
    ],
)
def test_an_attribute_that_must_be_lacking(
    tmp_path: Path, attributes: tuple[tuple[str, str], ...], expected: str
) -> None:
    condition = "{event: hepatitis_b, lacking: {type: chronic}, if_none: absent}"
    assert told(ruled(tmp_path, condition, hepatitis(attributes=attributes))) == expected


@pytest.mark.parametrize(
    ("first", "last", "expected"),
    [
        # the period asked about is 2019-01-01 to 2019-03-01, both included
        (None, None, "not_met"),
        (date(2019, 1, 1), date(2019, 3, 1), "not_met"),
        (date(2019, 1, 2), None, "unknown"),
        (None, date(2019, 2, 28), "unknown"),
    ],
)
def test_how_much_must_be_covered_for_silence_to_be_a_no(
    tmp_path: Path, first: date | None, last: date | None, expected: str
) -> None:
    condition = "{event: hepatitis_b, from: 2019-01-01, to: 2019-03-01}"
    covered = Coverage("Condition", True, start=first, end=last)
    result = ruled(tmp_path, condition, covered)
    assert result.verdict.value == expected
    if expected == "not_met":
        assert result.reason == "no record of Hepatitis B, 2019-01-01 to 2019-03-01"


def test_a_period_after_the_day_asked_about_is_covered_up_to_that_day(tmp_path: Path) -> None:
    covered = Coverage("Condition", True, end=date(2019, 6, 3))
    assert told(ruled(tmp_path, "{event: hepatitis_b, to: screening + 90 days}", covered)) == "not_met"


# --- periods whose days nobody knows --------------------------------------------------------------------


@pytest.mark.parametrize(
    "what",
    [
        "{event: hepatitis_b, %s}",
        "{exposure: {drug: tacrolimus}, %s}",
        "{gap: {drug: tacrolimus, %s}, above: 14 days}",
        "{dose: {drug: tacrolimus, %s}, above: 1 mg/d}",
        "{dose_change: {drug: tacrolimus, direction: reduction, %s}}",
        "{finding: albumin, above: 30 g/L, %s}",
    ],
)
def test_the_days_that_a_period_lacks_are_asked_for(tmp_path: Path, what: str) -> None:
    result = ruled(tmp_path, what % "from: visit, to: first_visit", hepatitis(), dosed(3, "2019-05-01"))
    assert result.verdict.value == "unknown"
    assert result.settles == ("the date of visit", "the date of first visit")


# --- drugs ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        # only an end is known: by then it had begun
        (replace(tacrolimus("2019-03-10", "2019-04-01"), start=None), "met"),
        (replace(tacrolimus("2019-03-10", "2019-04-30"), start=None), "met"),
        (replace(tacrolimus("2019-03-10", "2019-05-01"), start=None), "unknown"),
        (replace(tacrolimus("2019-01-10", "2019-02-28"), start=None), "not_met"),
        # nothing is known but that it was taken
        (replace(tacrolimus("2019-03-10"), start=None, ongoing=False), "unknown"),
        # the day it was written down stands for a start that is not known
        (replace(tacrolimus("2019-03-10", "2019-05-01"), start=None, recorded=day("2019-04-30")), "met"),
        (replace(tacrolimus("2019-03-10", "2019-05-01"), start=None, recorded=day("2019-05-01")), "not_met"),
    ],
)
def test_a_drug_whose_start_is_not_known(tmp_path: Path, row: Row, expected: str) -> None:
    result = ruled(tmp_path, TACROLIMUS, row)
    assert result.verdict.value == expected
    assert result.evidence[0].when == ""


def test_a_drug_in_the_words_of_its_source(tmp_path: Path) -> None:
    row = tacrolimus("2019-03-10", code=Coding(SNOMED, "386975001", "Prograf 1 mg"))
    for condition in (TACROLIMUS, GAP % 1, DOSE):
        [item] = ruled(tmp_path, condition, replace(row, daily_dose=Fraction(3), dose_unit="mg")).evidence
        assert (item.role, item.concept, item.when) == ("used", "tacrolimus", "2019-03-10")
        assert item.original == "Prograf 1 mg"
    [item] = ruled(tmp_path, TACROLIMUS, replace(row, code=Coding(SNOMED, "386975001"))).evidence
    assert item.original == "386975001"


# --- days without a drug ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rows", "days", "reason"),
    [
        # none at all; of two that are as long the first is named; both ends of the period count
        ([tacrolimus("2019-03-01")], 14, "longest gap 0 days not > 14 days"),
        (
            [tacrolimus("2019-03-11", "2019-05-21")],
            9,
            "longest gap 10 days (2019-03-01 to 2019-03-10) > 9 days",
        ),
        # a row without an end that is not still taken covers the day it began, no more: 2 to 31 March
        (
            [tacrolimus("2019-03-01", ongoing=False), tacrolimus("2019-04-01")],
            29,
            "longest gap 30 days (2019-03-02 to 2019-03-31) > 29 days",
        ),
    ],
)
def test_the_longest_gap_is_named(tmp_path: Path, rows: list[Row], days: int, reason: str) -> None:
    assert ruled(tmp_path, GAP % days, *COVERED, *rows).reason == reason


def test_records_that_cover_just_the_period_of_a_gap(tmp_path: Path) -> None:
    def covered(first: date, last: date) -> list[Coverage]:
        return [Coverage(name, True, start=first, end=last) for name in MEDICATION_TYPES]

    rows = [tacrolimus("2019-03-01", "2019-04-30"), tacrolimus("2019-05-16")]
    whole = covered(date(2019, 3, 1), date(2019, 5, 31))
    assert ruled(tmp_path, GAP % 14, *whole, *rows).verdict.value == "met"
    for part in (
        covered(date(2019, 3, 2), date(2019, 5, 31)),
        covered(date(2019, 3, 1), date(2019, 5, 30)),
    ):
        result = ruled(tmp_path, GAP % 14, *part, *rows)
        assert result.verdict.value == "unknown"
        assert result.settles == ("complete records of tacrolimus, 2019-03-01 to 2019-05-31",)


def test_records_of_this_person_cover_a_gap(tmp_path: Path) -> None:
    rows = [tacrolimus("2019-03-01", "2019-04-30"), tacrolimus("2019-05-16")]  # 15 days without
    for person, expected in (("p", "met"), ("q", "unknown")):
        covered = [Coverage(name, True, subject=person) for name in MEDICATION_TYPES]
        assert ruled(tmp_path, GAP % 14, *covered, *rows).verdict.value == expected


@pytest.mark.parametrize(
    ("rows", "period", "days", "reason"),
    [
        # 18 to 31 May are 14 days; that it was taken up again two days after the period adds none
        ([tacrolimus("2019-03-01", "2019-05-17"), tacrolimus("2019-06-02")],
         "from: 2019-03-01, to: 2019-05-31", 14,
         "longest gap 14 days (2019-05-18 to 2019-05-31) not > 14 days"),
        # a period of one day, with and without the drug
        ([tacrolimus("2019-05-01", "2019-05-30")], "from: 2019-05-31, to: 2019-05-31", 0,
         "longest gap 1 day (2019-05-31 to 2019-05-31) > 0 days"),
        ([tacrolimus("2019-05-01", "2019-05-31")], "from: 2019-05-31, to: 2019-05-31", 0,
         "longest gap 0 days not > 0 days"),
        # what supports only, or may never be used, is no exposure
        ([tacrolimus("2019-03-01"), tacrolimus("2019-04-01", use="SUPP")],
         "from: 2019-02-01, to: 2019-02-28", 27, "longest gap 28 days (2019-02-01 to 2019-02-28) > 27 days"),
    ],
)  # fmt: skip
def test_the_edges_of_a_gap(tmp_path: Path, rows: list[Row], period: str, days: int, reason: str) -> None:
    gap = f"{{gap: {{drug: tacrolimus, {period}}}, above: {days} days}}"
    assert ruled(tmp_path, gap, *COVERED, *rows).reason == reason


@pytest.mark.parametrize(
    ("rows", "days", "expected"),
    [
        # taken some day in April, perhaps all of it: up to 30 days without
        ([tacrolimus("2019-03-01", "2019-03-31"), tacrolimus("2019-04", "2019-04"), tacrolimus("2019-05-01")],
         29, "unknown"),
        ([tacrolimus("2019-03-01", "2019-03-31"), tacrolimus("2019-04", "2019-04"), tacrolimus("2019-05-01")],
         30, "not_met"),
        ([tacrolimus("2019-03-01", use="SUPP")], 14, "unknown"),
        ([tacrolimus("2019-03-01", use="NEVER")], 14, "unknown"),
        ([replace(tacrolimus("2019-03-01"), start=None)], 14, "unknown"),
    ],
)  # fmt: skip
def test_what_may_be_a_gap(tmp_path: Path, rows: list[Row], days: int, expected: str) -> None:
    assert ruled(tmp_path, GAP % days, *COVERED, *rows).verdict.value == expected


def test_without_complete_records_any_gap_may_be_none(tmp_path: Path) -> None:
    rows = [tacrolimus("2019-03-01", "2019-05-17")]
    assert ruled(tmp_path, GAP % 0, *rows).verdict.value == "unknown"
    assert ruled(tmp_path, GAP % 0, *COVERED, *rows).verdict.value == "met"


def test_a_gap_is_counted_from_a_day_that_is_known(tmp_path: Path) -> None:
    rows = [tacrolimus("2019-03-01", "2019-05-17"), *COVERED]
    since_visit = "{gap: {drug: tacrolimus, from: visit}, above: 1 days}"
    result = ruled(tmp_path, since_visit, *rows)
    assert (result.verdict.value, result.settles) == ("unknown", ("the date of visit",))
    assert ruled(tmp_path, since_visit, said("visit-date", "2019-03"), *rows).verdict.value == "unknown"
    assert ruled(tmp_path, since_visit, said("visit-date", "2019-03-02"), *rows).verdict.value == "met"


def test_the_ends_that_a_gap_was_made_from(tmp_path: Path) -> None:
    rows = [
        tacrolimus("2019-03-01", "2019-03-31"),
        tacrolimus("2019-04-01", ongoing=False, flags=("END_UNKNOWN",)),
        tacrolimus("2019-05-01"),
    ]
    values = [item.value for item in ruled(tmp_path, GAP % 14, *COVERED, *rows).evidence]
    assert values == ["statement to 2019-03-31", "statement to end not known", "statement to still taken"]


# --- doses ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        ([dosed(3, "2019-05-01", ongoing=False, flags=("END_UNKNOWN",))], "3 mg/d <= 100 mg/d"),
        # no end, not said to go on: the dose of its first day only
        ([dosed(3, "2019-05-01", ongoing=False)], "not known: the daily dose of tacrolimus, "),
        ([dosed(3, "2019-05-01"), dosed(5, "2019-05-02", use="SUPP")], "3 mg/d <= 100 mg/d"),
        ([dosed(3, "2019-05-01"), dosed(5, "2019-05-02", use="NEVER")], "3 mg/d <= 100 mg/d"),
    ],
)
def test_which_rows_say_the_dose(tmp_path: Path, rows: list[Row], reason: str) -> None:
    assert ruled(tmp_path, DOSE, *rows).reason.startswith(reason)


@pytest.mark.parametrize(
    ("take", "milligrams"), [("first", "4"), ("highest", "8"), ("lowest", "0"), ("latest", "1")]
)
def test_a_dose_of_nothing_is_the_lowest(tmp_path: Path, take: str, milligrams: str) -> None:
    steps = zip((4, 8, 0, 1), ("2019-05-01", "2019-05-10", "2019-05-20", "2019-05-30"), strict=True)
    condition = f"{{dose: {{drug: tacrolimus, take: {take}, from: 2019-05-01}}, at_most: 100 mg/d}}"
    result = ruled(tmp_path, condition, *(dosed(amount, on) for amount, on in steps))
    assert result.reason == f"{milligrams} mg/d <= 100 mg/d"


PER_KG = "{dose: {drug: tacrolimus, weight: weight}, at_most: 0.1 mg/kg/d}"


def test_the_weight_that_a_dose_goes_by_is_shown(tmp_path: Path) -> None:
    rows = [
        dosed(3, "2019-05-01"),
        lab("weight", "50", "2019-05-02", unit="kg", flags=("CODE_CONFLICT",)),
        lab("weight", "70", "2019-05-03", unit="kg", excluded="IMPLAUSIBLE"),
    ]
    result = ruled(tmp_path, PER_KG, *rows)
    assert told(result) == "met CODE_CONFLICT"
    assert shown(result) == [
        "used 2019-05-01 3 mg/d on 2019-05-01: 3 mg/d / 50 kg = 0.06 mg/kg/d <= 0.1 mg/kg/d",
        "used 2019-05-02 50 kg: size that the dose goes by",
        "ignored 2019-05-03 70 kg (IMPLAUSIBLE)",
    ]


@pytest.mark.parametrize(
    ("weights", "expected", "evidence"),
    [
        (
            [("50", ""), ("60", "")],
            "unknown CONFLICT",
            ["used 2019-05-01 3 mg/d on 2019-05-01"],
        ),
        (
            [("50", "IMPLAUSIBLE")],
            "unknown IMPLAUSIBLE",
            ["used 2019-05-01 3 mg/d on 2019-05-01", "ignored 2019-05-02 50 kg (IMPLAUSIBLE)"],
        ),
    ],
)
def test_a_dose_whose_weight_is_not_known(
    tmp_path: Path, weights: list[tuple[str, str]], expected: str, evidence: list[str]
) -> None:
    rows = [lab("weight", value, "2019-05-02", unit="kg", excluded=why) for value, why in weights]
    result = ruled(tmp_path, PER_KG, dosed(3, "2019-05-01"), *rows)
    assert told(result) == expected
    assert shown(result) == evidence
    assert result.settles == ("a usable reading of Body weight, collected up to 2019-06-03",)


@pytest.mark.parametrize(
    ("milligrams", "expected", "reason", "distance"),
    [
        # 0.5 mg/kg/d for 60 kg are 30 mg
        (30, "met", "30 mg/d within 30 +- 2.5 mg/d", "exactly at the threshold"),
        (Fraction(65, 2), "met BOUNDARY", "32.5 mg/d within 30 +- 2.5 mg/d", "2.5 mg/d above"),
        (27, "not_met", "27 mg/d not within 30 +- 2.5 mg/d", "3 mg/d below"),
    ],
)
def test_a_dose_aimed_at_is_named(
    tmp_path: Path, milligrams: int | Fraction, expected: str, reason: str, distance: str
) -> None:
    target = "target: {per_kg: 0.5 mg/kg/d, at_most: 40 mg/d, tolerance: 2.5 mg/d}"
    condition = f"{{dose: {{drug: tacrolimus, weight: weight}}, {target}}}"
    weight = lab("weight", "60", "2019-05-01", unit="kg")
    result = ruled(tmp_path, condition, dosed(milligrams, "2019-05-01"), weight)
    assert (told(result), result.reason, result.distance) == (expected, reason, distance)


def test_a_dose_aimed_at_by_a_weight_that_is_a_range(tmp_path: Path) -> None:
    target = "target: {per_kg: 0.5 mg/kg/d, tolerance: 2.5 mg/d}"
    condition = f"{{dose: {{drug: tacrolimus, weight: weight}}, {target}}}"
    result = ruled(tmp_path, condition, dosed(30, "2019-05-01"), lab("weight", ">50", "2019-05-01"))
    assert result.verdict.value == "unknown"
    assert result.evidence[0].compared == "30 mg/d, weight >50 kg"


# --- readings: guards, support, days known to the month, averages ------------------------------------------

AWAY = (
    "{finding: egfr, above: 60 mL/min/1.73m2,"
    " not_during: {event: acute_kidney_injury, presence: any, timing: %s, margin: 7 days}}"
)


@pytest.mark.parametrize(
    ("timing", "start", "end", "counts"),
    [
        # the reading is of 2019-05-10: 7 days before and after it are 3 and 17 May
        ("onset", "2019-05-02", "2019-05-02", True),
        ("onset", "2019-05-03", "2019-05-30", False),
        ("onset", "2019-05-17", "2019-05-30", False),
        ("onset", "2019-05-18", "2019-05-30", True),
        ("end", "2019-04-01", "2019-05-02", True),
        ("end", "2019-04-01", "2019-05-03", False),
        ("end", "2019-04-01", "2019-05-17", False),
        ("end", "2019-04-01", "2019-05-18", True),
    ],
)
def test_a_reading_near_an_event_is_set_aside(
    tmp_path: Path, timing: str, start: str, end: str, counts: bool
) -> None:
    event = had("acute_kidney_injury", start, end, presence="past")
    result = ruled(tmp_path, AWAY % timing, egfr("90", "2019-05-10"), event)
    assert result.verdict.value == ("met" if counts else "unknown")
    if not counts:
        assert result.evidence[0].why == "set aside by not_during"


def test_what_supports_is_shown_and_decides_nothing(tmp_path: Path) -> None:
    ratio = lab("urine_protein_creatinine_ratio", "9", "2019-05-10")
    condition = (
        "{finding: urine_protein_24h, support: [urine_protein_creatinine_ratio],"
        " from: 2019-05-01, above: 8 g/d}"
    )
    result = ruled(tmp_path, condition, ratio)
    assert told(result) == "unknown SUPPORT_ONLY"
    assert shown(result) == ["support 2019-05-10 9 (support only)"]
    for row in (
        replace(ratio, start=day("2019-04-30")),
        replace(ratio, excluded="UNIT_MISSING"),
        replace(ratio, start=None),
    ):
        assert told(ruled(tmp_path, condition, row)) == "unknown"


def test_a_reading_of_a_month_on_the_edge_of_its_period(tmp_path: Path) -> None:
    condition = "{finding: urine_protein_24h, from: 2019-04-15, above: 8 g/d}"
    result = ruled(tmp_path, condition, protein("9", "2019-04"))
    assert told(result) == "unknown DATE_PARTIAL"
    assert shown(result) == ["ignored 2019-04 9 g/d (DATE_PARTIAL)"]


MEAN = "{finding: urine_protein_24h, take: %s, of_at_least: %d, above: 4 g/d}"


@pytest.mark.parametrize(
    ("take", "least", "values", "expected", "settles"),
    [
        # the mean of 1, 2 and 12 is 5, their median 2
        ("mean", 3, ("1", "2", "12"), "met", ()),
        ("median", 3, ("1", "2", "12"), "not_met", ()),
        ("mean", 1, ("5",), "met", ()),
        (
            "mean",
            2,
            ("5",),
            "unknown",
            ("at least 2 usable readings of Protein in 24-hour urine, collected up to 2019-06-03",),
        ),
    ],
)
def test_an_average(
    tmp_path: Path, take: str, least: int, values: tuple[str, ...], expected: str, settles: tuple[str, ...]
) -> None:
    rows = [protein(value, f"2019-05-0{number}") for number, value in enumerate(values, 1)]
    result = ruled(tmp_path, MEAN % (take, least), *rows)
    assert (told(result), result.settles) == (expected, settles)
    if expected == "unknown":
        assert shown(result) == ["ignored 2019-05-01 5 g/d (fewer than 2 readings)"]


@pytest.mark.parametrize(
    ("limits", "expected"), [((40, 40), "met"), ((40, 50), "unknown NO_REFERENCE_RANGE")]
)
def test_the_limit_of_an_average_is_that_of_all_its_readings(
    tmp_path: Path, limits: tuple[int, int], expected: str
) -> None:
    rows = [lab("alt", "70", f"2019-05-0{number}", limit=limit) for number, limit in enumerate(limits, 1)]
    condition = "{finding: alt, take: mean, of_at_least: 2, above: 1.5 x upper_limit}"
    result = ruled(tmp_path, condition, *rows)
    assert (told(result), result.distance) == (expected, "10 U/L above" if expected == "met" else "")


# --- answers, methods and how the parts of one verdict go together ------------------------------------------


@pytest.mark.parametrize(
    ("method", "expected"), [("BCP", "method BCP"), ("BCG", "method BCG"), ("", "method not stated")]
)
def test_a_method_is_named(tmp_path: Path, method: str, expected: str) -> None:
    row = lab("albumin", "30", "2019-05-10", method=method)
    result = ruled(tmp_path, "{finding: albumin, measured_by: BCP}", row)
    assert (result.verdict.value, result.reason) == ("met" if method == "BCP" else "not_met", expected)


def test_an_answer_is_named_whatever_it_is(tmp_path: Path) -> None:
    answers = {"-": "answer negative", "?": "answer equivocal, not negative"}
    for answer, expected in answers.items():
        result = ruled(tmp_path, "{finding: hbsag, is: negative}", lab("hbsag", answer, "2019-05-10"))
        assert result.evidence[0].compared == expected


def test_one_record_in_two_comparisons_is_shown_once_with_both(tmp_path: Path) -> None:
    low = "{finding: urine_protein_24h, at_most: 20 g/d}"
    condition = f"{{all: [{HIGH}, {HIGH}, {low}]}}"
    result = ruled(tmp_path, condition, protein("9", "2019-05-10"))
    assert shown(result) == ["used 2019-05-10 9 g/d: 9 g/d > 8 g/d; 9 g/d <= 20 g/d"]


def test_a_record_used_by_one_part_and_not_by_another_was_used(tmp_path: Path) -> None:
    early = "{finding: urine_protein_24h, take: earliest, above: 3 g/d}"
    for condition in (f"{{all: [{HIGH}, {early}]}}", f"{{all: [{early}, {HIGH}]}}"):
        result = ruled(tmp_path, condition, protein("4", "2019-01-10"), protein("9", "2019-05-10"))
        assert sorted(shown(result)) == [
            "used 2019-01-10 4 g/d: 4 g/d > 3 g/d",
            "used 2019-05-10 9 g/d: 9 g/d > 8 g/d",
        ]


def test_what_an_open_part_asks_for_is_asked(tmp_path: Path) -> None:
    condition = f"{{all: [{HIGH}, {{attested: can-comply, is: true}}]}}"
    result = ruled(tmp_path, condition, said("can-comply", "true"))
    assert result.settles == ("a usable reading of Protein in 24-hour urine, collected up to 2019-06-03",)
    assert result.reason == f"not known: {result.settles[0]}"


LEVEL = (
    "{finding: [tacrolimus_trough, tacrolimus_level], above: 5 ng/mL, timed: {after: tacrolimus,"
    " between: [11 hours, 13 hours], approximately: [10 hours, 14 hours], look_back: 24 hours,"
    " named: tacrolimus_trough}}"
)


@pytest.mark.parametrize(
    ("sampled", "concept", "expected", "why"),
    [
        # taken at 08:00: 11 and 13 hours later belong to a trough, 10 and 14 nearly
        ("19:00", "tacrolimus_level", "met", ""),
        ("21:00", "tacrolimus_level", "met", ""),
        ("18:59", "tacrolimus_level", "met APPROX", ""),
        ("21:01", "tacrolimus_level", "met APPROX", ""),
        ("18:00", "tacrolimus_level", "met APPROX", ""),
        ("22:00", "tacrolimus_level", "met APPROX", ""),
        ("17:59", "tacrolimus_level", "unknown", "NON_TROUGH"),
        ("22:01", "tacrolimus_level", "unknown", "NON_TROUGH"),
        ("17:59", "tacrolimus_trough", "unknown", "NON_TROUGH"),
        # the intake of the same minute came after the sample; that of the day before is too far
        ("08:00", "tacrolimus_level", "unknown UNTIMED", "UNTIMED"),
        ("08:00", "tacrolimus_trough", "met TROUGH_BY_NAME", ""),
        ("07:00", "tacrolimus_level", "unknown UNTIMED", "UNTIMED"),
    ],
)
def test_how_long_after_the_intake_a_level_was_taken(
    tmp_path: Path, sampled: str, concept: str, expected: str, why: str
) -> None:
    intake = tacrolimus("2019-05-10T08:00:00+08:00", kind="administration", ongoing=False)
    level = lab(concept, "7", f"2019-05-10T{sampled}:00+08:00", unit="ng/mL")
    result = ruled(tmp_path, LEVEL, intake, level)
    assert (told(result), result.evidence[0].why) == (expected, why)


RUN = "{repeated: {finding: glucose, above: 11.1 mmol/L, readings: 2, apart: {%s}}}"


@pytest.mark.parametrize(
    ("apart", "days", "expected"),
    [
        ("at_least: 0 days", (1, 1), "met"),
        ("at_least: 1 day", (1, 1), "unknown"),
        ("at_least: 1 day", (1, 2), "met"),
        ("at_least: 1 day, at_most: 3 days", (1, 4), "met"),
        ("at_least: 1 day, at_most: 3 days", (1, 5), "unknown"),
        ("at_least: 1 day", (), "unknown"),
        ("at_least: 1 day", (1,), "unknown"),
    ],
)
def test_how_far_apart_repeated_readings_are(
    tmp_path: Path, apart: str, days: tuple[int, ...], expected: str
) -> None:
    rows = [lab("glucose", str(12 + number), f"2019-05-0{on}") for number, on in enumerate(days)]
    assert ruled(tmp_path, RUN % apart, *rows).verdict.value == expected


# --- one record, looked at more than once -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("groups", "role", "compared"),
    [
        (["used 9 > 8", "used 9 > 7"], "used", "9 > 8; 9 > 7"),
        (["used 9 > 8", "used 9 > 8; 9 > 7"], "used", "9 > 8; 9 > 7"),
        (["used ", "used 9 > 8"], "used", "9 > 8"),
        (["used 9 > 8", "used "], "used", "9 > 8"),
        # what it was used for is told, not what it was only looked at for
        (["ignored 9 > 8", "used 9 > 7"], "used", "9 > 7"),
        (["used 9 > 8", "ignored 9 > 7"], "used", "9 > 8"),
        (["ignored 9 > 8", "support 9 > 7"], "support", "9 > 7"),
    ],
)
def test_a_record_is_shown_once_with_every_comparison(groups: list[str], role: str, compared: str) -> None:
    record = Source("Observation/1", "1")
    looked = [Evidence(record, one.split(" ")[0], "alt", compared=one.partition(" ")[2]) for one in groups]  # type: ignore[arg-type]
    [found] = merge_evidence((item,) for item in looked)
    assert (found.role, found.compared) == (role, compared)
