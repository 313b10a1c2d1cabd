"""Diagnoses and drugs against periods, days without a drug, and daily doses; worked out by hand.

Screening is on 2019-06-03. Silence is absence here (``if_none: absent``), so that no row decides by missing.
"""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest
from msgspec.structs import replace

from adapter.model.coverage import Coverage
from adapter.model.facts import Event, Intervention
from tests.spec.protocol_words import Row, had, lab, said, took, when
from tests.spec.test_thresholds import told
from tests.spec.test_why import COVERED, ruled

SINCE_2019 = "{event: hepatitis_b, presence: any, if_none: absent, from: 2019-01-01}"
TO_MARCH = "{event: hepatitis_b, presence: any, if_none: absent, from: 2019-01-01, to: 2019-03-01}"
ONSET = "{event: hepatitis_b, presence: any, if_none: absent, timing: onset, from: 2019-01-01}"
END = "{event: hepatitis_b, presence: any, if_none: absent, timing: end, from: 2019-01-01}"
EVER = "{event: hepatitis_b, presence: any, if_none: absent}"
NOW = "{event: hepatitis_b, if_none: absent}"


def past(start: str = "", end: str = "") -> Event:
    return had("hepatitis_b", start, end, presence="past")


def present(start: str = "", end: str = "") -> Event:
    return had("hepatitis_b", start, end)


@pytest.mark.parametrize(
    ("condition", "row", "expected"),
    [
        # over before the period, on its first day, or perhaps either
        (SINCE_2019, past("2018-01-01", "2018-12-31"), "not_met"),
        (SINCE_2019, past("2018-01-01", "2019-01-01"), "met"),
        (SINCE_2019, past("2018-01-01", "2018-12"), "not_met"),
        (SINCE_2019, past("2018-01-01", "2019"), "met"),
        # over, nobody knows when; if it began within the period it was there within the period
        (SINCE_2019, past("2018-01-01"), "unknown"),
        (SINCE_2019, past("2019-02-01"), "met"),
        (SINCE_2019, past("2018"), "unknown"),
        (SINCE_2019, past(), "unknown"),
        # what is there goes on; what will begin is not yet there
        (SINCE_2019, present("2018-01-01"), "met"),
        (SINCE_2019, present(), "met"),
        (SINCE_2019, present("2019-06-04"), "not_met"),
        (SINCE_2019, present("2018-01-01", "2018-12-31"), "not_met"),
        # on record by screening, so it began by then, though only the year is known
        (SINCE_2019, present("2019"), "met"),
        # a period that ended earlier: it may have begun after it
        (TO_MARCH, present("2019"), "unknown"),
        (TO_MARCH, present("2019-03-01"), "met"),
        (TO_MARCH, present("2019-03-02"), "not_met"),
        # onset within the period
        (ONSET, present("2018-12-31"), "not_met"),
        (ONSET, present("2019-01-01"), "met"),
        (ONSET, present("2019"), "unknown"),
        (ONSET, present(), "unknown"),
        ("{event: hepatitis_b, if_none: absent, timing: onset}", present(), "met"),
        # end within the period
        (END, past("2018-01-01", "2019-01-01"), "met"),
        (END, past("2018-01-01", "2018-12-31"), "not_met"),
        (END, past("2018-01-01"), "unknown"),
        # which presence is asked for
        (NOW, past("2019-02-01"), "not_met"),
        (EVER, past("2019-02-01"), "met"),
        (NOW, had("hepatitis_b", "2019-02-01", presence="refuted"), "not_met"),
        (EVER, had("hepatitis_b", "2019-02-01", presence="unconfirmed"), "unknown UNCONFIRMED"),
        (
            "{event: hepatitis_b, presence: unconfirmed, if_none: absent}",
            had("hepatitis_b", "2019-02-01", presence="unconfirmed"),
            "met",
        ),
        # rows that do not count
        (EVER, replace(present("2019-02-01"), excluded="ENTERED_IN_ERROR"), "not_met"),
        (EVER, replace(present("2019-02-01"), use="NEVER"), "not_met"),
        (EVER, replace(present("2019-02-01"), use="SUPP"), "not_met"),
        # one category
        ("{event: hepatitis_b, category: diagnosis, if_none: absent}", present("2019-02-01"), "met"),
        ("{event: hepatitis_b, category: allergy, if_none: absent}", present("2019-02-01"), "not_met"),
        # attributes: said so, said otherwise, not said
        (
            "{event: hepatitis_b, having: {type: chronic}, if_none: absent}",
            replace(present("2019-02-01"), attributes=(("type", "chronic active"),)),
            "met",
        ),
        (
            "{event: hepatitis_b, having: {type: chronic}, if_none: absent}",
            replace(present("2019-02-01"), attributes=(("type", "acute"),)),
            "not_met",
        ),
        ("{event: hepatitis_b, having: {type: chronic}, if_none: absent}", present("2019-02-01"), "unknown"),
    ],
)
def test_an_event_and_a_period(tmp_path: Path, condition: str, row: Row, expected: str) -> None:
    assert told(ruled(tmp_path, condition, row)) == expected


def test_what_silence_about_an_event_means(tmp_path: Path) -> None:
    condition = "{event: hepatitis_b, from: 2019-01-01}"
    whole, since = Coverage("Condition", True), Coverage("Condition", True, start=when("2019-01-01").first)
    assert told(ruled(tmp_path, condition)) == "unknown"
    assert told(ruled(tmp_path, condition, whole)) == "not_met"
    assert told(ruled(tmp_path, condition, since)) == "not_met"
    assert told(ruled(tmp_path, "{event: hepatitis_b, from: 2018-12-31}", since)) == "unknown"


WASH_OUT = "{exposure: {drug: tacrolimus}, if_none: absent, from: screening - 90 days, to: screening}"
SYSTEMIC = "{exposure: {drug: tacrolimus}, if_none: absent, systemic: true, from: screening - 90 days}"
ONE_DAY = "{exposure: {drug: tacrolimus}, if_none: absent, single_day: true, from: screening - 90 days}"
GIVEN = "{exposure: {drug: tacrolimus}, if_none: absent, kind: [administration, dispense]}"


def tacrolimus(start: str, last: str = "", **more: object) -> Intervention:
    return took("tacrolimus", start, last, **more)


@pytest.mark.parametrize(
    ("condition", "row", "expected"),
    [
        # the 90 days begin on 2019-03-05
        (WASH_OUT, tacrolimus("2019-01-01", "2019-03-04"), "not_met"),
        (WASH_OUT, tacrolimus("2019-01-01", "2019-03-05"), "met BOUNDARY"),
        (WASH_OUT, tacrolimus("2019-01-01", "2019-03-06"), "met"),
        (WASH_OUT, tacrolimus("2019-01-01", "2019-03"), "unknown"),
        (WASH_OUT, tacrolimus("2019-01-01"), "met"),
        (WASH_OUT, tacrolimus("2019-06-04"), "not_met"),
        (WASH_OUT, tacrolimus("2019-06-03"), "met"),
        # it ended, nobody knows when
        (WASH_OUT, tacrolimus("2019-01-01", ongoing=False, flags=("END_UNKNOWN",)), "unknown END_UNKNOWN"),
        (WASH_OUT, tacrolimus("2019-03-05", ongoing=False, flags=("END_UNKNOWN",)), "met END_UNKNOWN"),
        # rows that do not count, and those of another drug
        (WASH_OUT, tacrolimus("2019-05-01", excluded="ENTERED_IN_ERROR"), "not_met"),
        (WASH_OUT, tacrolimus("2019-05-01", use="NEVER"), "not_met"),
        (WASH_OUT, took("prednisone", "2019-05-01"), "not_met"),
        # by mouth, on the skin, or not said
        (SYSTEMIC, tacrolimus("2019-05-01", systemic=True), "met"),
        (SYSTEMIC, tacrolimus("2019-05-01", systemic=False), "not_met"),
        (SYSTEMIC, tacrolimus("2019-05-01", systemic=None), "unknown"),
        # on one day only
        (ONE_DAY, tacrolimus("2019-05-01", "2019-05-01"), "met"),
        (ONE_DAY, tacrolimus("2019-05-01", "2019-05-02"), "not_met"),
        (ONE_DAY, tacrolimus("2019-05-01"), "not_met"),
        (ONE_DAY, tacrolimus("2019-05-01", ongoing=False, flags=("END_UNKNOWN",)), "unknown END_UNKNOWN"),
        # an order is no intake
        (GIVEN, tacrolimus("2019-05-01", kind="administration"), "met"),
        (GIVEN, tacrolimus("2019-05-01", kind="order"), "not_met"),
    ],
)
def test_a_drug_and_a_period(tmp_path: Path, condition: str, row: Row, expected: str) -> None:
    assert told(ruled(tmp_path, condition, row)) == expected


def gap(days: int, comparison: str = "above") -> str:
    return f"{{gap: {{drug: tacrolimus, from: 2019-03-01, to: 2019-05-31}}, {comparison}: {days} days}}"


@pytest.mark.parametrize(
    ("rows", "longest"),
    [
        # 1 to 15 May
        ([tacrolimus("2019-03-01", "2019-04-30"), tacrolimus("2019-05-16")], 15),
        # at the beginning, 1 to 10 March; at the end, 22 to 31 May
        ([tacrolimus("2019-03-11")], 10),
        ([tacrolimus("2019-03-01", "2019-05-21")], 10),
        # rows that overlap, and one within another
        (
            [
                tacrolimus("2019-03-01", "2019-04-30"),
                tacrolimus("2019-04-01", "2019-05-10"),
                tacrolimus("2019-05-20"),
            ],
            9,
        ),
        (
            [
                tacrolimus("2019-03-01", "2019-05-10"),
                tacrolimus("2019-03-20", "2019-04-01"),
                tacrolimus("2019-05-20"),
            ],
            9,
        ),
        # the longest of two
        (
            [
                tacrolimus("2019-03-01", "2019-03-31"),
                tacrolimus("2019-04-05", "2019-05-01"),
                tacrolimus("2019-05-12"),
            ],
            10,
        ),
        # what lies outside the period does not count
        ([tacrolimus("2018-01-01", "2018-06-30"), tacrolimus("2019-03-01")], 0),
        ([tacrolimus("2019-03-01"), tacrolimus("2019-06-02", "2019-06-02")], 0),
        # rows that do not count
        ([tacrolimus("2019-03-11"), tacrolimus("2019-03-01", "2019-03-10", excluded="ENTERED_IN_ERROR")], 10),
        ([tacrolimus("2019-03-11"), tacrolimus("2019-03-01", "2019-03-10", use="NEVER")], 10),
        ([tacrolimus("2019-03-11"), took("prednisone", "2019-03-01", "2019-03-10")], 10),
    ],
)
def test_the_longest_run_of_days_without_the_drug(tmp_path: Path, rows: list[Row], longest: int) -> None:
    assert told(ruled(tmp_path, gap(longest), *COVERED, *rows)) == "not_met BOUNDARY GAP_FROM_SUPPLY"
    if longest:
        assert told(ruled(tmp_path, gap(longest - 1), *COVERED, *rows)) == "met GAP_FROM_SUPPLY"
    assert told(ruled(tmp_path, gap(longest + 1), *COVERED, *rows)) == "not_met GAP_FROM_SUPPLY"


@pytest.mark.parametrize(
    ("rows", "days", "expected"),
    [
        # it ended some day in April: 1 to 15 May are sure, 1 April to 15 May are possible (45 days)
        ([tacrolimus("2019-03-01", "2019-04"), tacrolimus("2019-05-16")], 14, "met"),
        ([tacrolimus("2019-03-01", "2019-04"), tacrolimus("2019-05-16")], 15, "unknown"),
        ([tacrolimus("2019-03-01", "2019-04"), tacrolimus("2019-05-16")], 43, "unknown"),
        ([tacrolimus("2019-03-01", "2019-04"), tacrolimus("2019-05-16")], 44, "not_met"),
        # it may have gone on to the end
        ([tacrolimus("2019-03-01", ongoing=False, flags=("END_UNKNOWN",))], 14, "unknown"),
        # single intakes: the days between are days without
        (
            [tacrolimus(day, day, kind="administration") for day in ("2019-03-01", "2019-05-31")],
            89,
            "met",
        ),
    ],
)
def test_a_gap_is_an_interval(tmp_path: Path, rows: list[Row], days: int, expected: str) -> None:
    found = ruled(tmp_path, gap(days), *COVERED, *rows)
    assert found.verdict.value == expected
    supplied = any(isinstance(row, Intervention) and row.kind != "administration" for row in rows)
    assert ("GAP_FROM_SUPPLY" in found.flags) is supplied


def test_a_gap_from_orders_alone_says_so(tmp_path: Path) -> None:
    row = tacrolimus("2019-03-11", kind="order", flags=("REQUEST_ONLY", "OTHER"))
    assert told(ruled(tmp_path, gap(9), *COVERED, row)) == "met GAP_FROM_SUPPLY REQUEST_ONLY"


def dosed(amount: int | Fraction, unit: str, start: str, last: str = "", kind: str = "order") -> Row:
    return tacrolimus(start, last, kind=kind, daily_dose=Fraction(amount), dose_unit=unit)


def intake(amount: int, at: str) -> Row:
    return tacrolimus(at, at, kind="administration", dose=Fraction(amount), dose_unit="mg")


@pytest.mark.parametrize(
    ("rows", "milligrams"),
    [
        ([dosed(3, "mg", "2019-05-01")], "3"),
        ([dosed(3000, "ug", "2019-05-01")], "3"),
        ([dosed(Fraction(3, 1000), "g", "2019-05-01")], "3"),
        ([dosed(3000000, "ng", "2019-05-01")], "3"),
        # the newest says what the dose is; a morning and an evening dose of one day add up
        ([dosed(3, "mg", "2019-05-01"), dosed(2, "mg", "2019-05-20")], "2"),
        ([dosed(3, "mg", "2019-05-01"), dosed(2, "mg", "2019-05-01")], "5"),
        # of one day, what was ordered goes before what was stated and dispensed
        ([dosed(3, "mg", "2019-05-01"), dosed(4, "mg", "2019-05-01", kind="statement")], "3"),
        (
            [dosed(3, "mg", "2019-05-01", kind="dispense"), dosed(4, "mg", "2019-05-01", kind="statement")],
            "4",
        ),
        # intakes count where nothing states a dose
        ([intake(1, "2019-06-03T08:00:00+08:00"), intake(2, "2019-06-03T20:00:00+08:00")], "3"),
        # an order that was filled still says the dose
        ([replace(dosed(3, "mg", "2019-05-01"), excluded="FILLED")], "3"),  # type: ignore[type-var]
        # a unit that nobody can convert is no dose
        ([dosed(3, "tablet", "2019-05-01")], None),
        ([replace(dosed(3, "mg", "2019-05-01"), excluded="ENTERED_IN_ERROR")], None),  # type: ignore[type-var]
        ([dosed(3, "mg", "2019-06-04")], None),
        # it ended before
        ([dosed(3, "mg", "2019-05-01", "2019-06-02")], None),
        ([dosed(3, "mg", "2019-05-01", "2019-06-03")], "3"),
    ],
)
def test_the_daily_dose_at_screening(tmp_path: Path, rows: list[Row], milligrams: str | None) -> None:
    condition = "{dose: {drug: tacrolimus, from: screening}, at_most: 100 mg/d}"
    found = ruled(tmp_path, condition, *rows)
    assert found.verdict.value == ("unknown" if milligrams is None else "met")
    assert milligrams is None or found.reason == f"{milligrams} mg/d <= 100 mg/d"


STEPS = [dosed(4, "mg", "2019-05-01"), dosed(8, "mg", "2019-05-10"), dosed(2, "mg", "2019-05-20")]


@pytest.mark.parametrize(
    ("take", "milligrams"), [("first", "4"), ("highest", "8"), ("lowest", "2"), ("latest", "2")]
)
def test_which_dose_of_a_period(tmp_path: Path, take: str, milligrams: str) -> None:
    condition = f"{{dose: {{drug: tacrolimus, take: {take}, from: 2019-05-01}}, at_most: 100 mg/d}}"
    assert ruled(tmp_path, condition, *STEPS).reason == f"{milligrams} mg/d <= 100 mg/d"


@pytest.mark.parametrize(
    ("kilograms", "milligrams", "expected"),
    [
        # 0.05 to 0.10 mg/kg/d; both ends belong to it
        ("60", 3, "met BOUNDARY"),
        ("60", 6, "met BOUNDARY"),
        ("60", 4, "met"),
        ("59", 6, "not_met"),
        ("61", 3, "not_met"),
        # a weight above 50 kg: 5 mg is less than 0.1 mg/kg, and perhaps less than 0.05
        (">50", 5, "unknown"),
        (">50", 2, "not_met"),
    ],
)
def test_a_dose_for_a_weight(tmp_path: Path, kilograms: str, milligrams: int, expected: str) -> None:
    condition = "{dose: {drug: tacrolimus, weight: weight}, between: [0.05 mg/kg/d, 0.10 mg/kg/d]}"
    rows = (dosed(milligrams, "mg", "2019-05-01"), lab("weight", kilograms, "2019-05-01"))
    assert told(ruled(tmp_path, condition, *rows)) == expected


@pytest.mark.parametrize(
    ("kilograms", "milligrams", "expected"),
    [
        # 0.5 mg/kg/d, at most 40 mg/d, half a 5 mg tablet is tolerated: 60 kg are 30 mg
        ("60", 30, "met"),
        ("60", Fraction(65, 2), "met BOUNDARY"),
        ("60", Fraction(55, 2), "met BOUNDARY"),
        ("60", 33, "not_met"),
        ("60", 27, "not_met"),
        # 90 kg would be 45 mg: 40 are asked for
        ("90", 40, "met"),
        ("90", 45, "not_met"),
    ],
)
def test_a_dose_aimed_at(tmp_path: Path, kilograms: str, milligrams: int | Fraction, expected: str) -> None:
    target = "target: {per_kg: 0.5 mg/kg/d, at_most: 40 mg/d, tolerance: 2.5 mg/d}"
    row = took("prednisone", "2019-05-01", kind="order", daily_dose=Fraction(milligrams), dose_unit="mg")
    found = ruled(
        tmp_path,
        f"{{dose: {{drug: prednisone, weight: weight}}, {target}}}",
        row,
        lab("weight", kilograms, "2019-05-01"),
    )
    assert found.verdict.value == expected.split()[0]


CHANGED = "dose_change: {{drug: tacrolimus, direction: {}, from: 2019-05-10, to: 2019-05-20}}"


@pytest.mark.parametrize(
    ("direction", "rows", "expected"),
    [
        ("reduction", [dosed(4, "mg", "2019-05-01"), dosed(2, "mg", "2019-05-10")], "met"),
        ("reduction", [dosed(4, "mg", "2019-05-01"), dosed(2, "mg", "2019-05-20")], "met"),
        ("reduction", [dosed(4, "mg", "2019-05-01"), dosed(2, "mg", "2019-05-21")], "not_met"),
        ("reduction", [dosed(4, "mg", "2019-05-01"), dosed(2, "mg", "2019-05-09")], "not_met"),
        ("reduction", [dosed(4, "mg", "2019-05-01"), dosed(8, "mg", "2019-05-10")], "not_met"),
        ("reduction", [dosed(4, "mg", "2019-05-01"), dosed(4, "mg", "2019-05-10")], "not_met"),
        ("any", [dosed(4, "mg", "2019-05-01"), dosed(8, "mg", "2019-05-10")], "met"),
        # the dose at the beginning is not known
        ("reduction", [dosed(4, "mg", "2019-05-11")], "unknown"),
    ],
)
def test_a_change_of_dose(tmp_path: Path, direction: str, rows: list[Row], expected: str) -> None:
    assert ruled(tmp_path, f"{{{CHANGED.format(direction)}}}", *rows).verdict.value == expected


def test_an_unanswered_question_is_no_day(tmp_path: Path) -> None:
    assert (
        told(ruled(tmp_path, "{date: visit, before: screening}", said("visit-date", "2019-06-02"))) == "met"
    )
    assert (
        told(ruled(tmp_path, "{date: visit, before: screening}", said("visit-date", "2019-06-03")))
        == "not_met"
    )
    assert (
        told(ruled(tmp_path, "{date: visit, before: screening}", said("visit-date", "2019-06"))) == "unknown"
    )
