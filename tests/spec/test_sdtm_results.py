"""What a reading looks like in LB, IS, PC and VS: comparators, units, troubles and baselines as tables."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import msgspec
import pytest

from adapter.exports.dataset import Cell
from adapter.model.quantity import Interval
from tests.spec.sdtm_case import Case, drug, enrolled, lab, of

P = "CANARY-p1"


def lb(*findings: Any) -> list[dict[str, Cell]]:
    return enrolled(*findings).rows("LB")


def shown(row: dict[str, Cell], prefix: str = "LB") -> tuple[Cell, ...]:
    number = row[f"{prefix}STRESN"]
    return (
        row[f"{prefix}ORRES"],
        row[f"{prefix}ORRESU"],
        row[f"{prefix}STRESC"],
        None if number is None else float(number),
        row[f"{prefix}STRESU"],
    )


# original, its unit -> canonical value; what LB shows: ORRES, ORRESU, STRESC, STRESN, STRESU
@pytest.mark.parametrize(
    ("concept", "original", "original_unit", "value", "comparator", "unit", "expected"),
    [
        ("albumin", "2.49", "g/dL", "24.9", "", "g/L", ("2.49", "g/dL", "24.9", 24.9, "g/L")),
        ("albumin", "24.90", "g/L", "24.9", "", "g/L", ("24.90", "g/L", "24.9", 24.9, "g/L")),
        ("albumin", "＜20", "克/升", "20", "<", "g/L", ("<20", "g/L", "<20", None, "g/L")),
        ("albumin", "≥ 60", "g/L", "60", ">=", "g/L", (">=60", "g/L", ">=60", None, "g/L")),
        ("creatinine", "1.3", "mg/dL", "114.946", "", "umol/L",
         ("1.3", "mg/dL", "114.946", 114.946, "umol/L")),
        ("creatinine", "115", "µmol/L", "115", "", "umol/L", ("115", "umol/L", "115", 115.0, "umol/L")),
        ("urine_protein_24h", "8500", "mg/24h", "8.5", "", "g/d", ("8500", "mg/day", "8.5", 8.5, "g/day")),
        ("urine_protein_24h", "<0.15", "g/24小时", "0.15", "<", "g/d",
         ("<0.15", "g/day", "<0.15", None, "g/day")),
        ("urine_protein_24h", "8.000000000000000001", "g/d", "8.000000000000000001", "", "g/d",
         ("8.000000000000000001", "g/day", "8.000000000000000001", 8.0, "g/day")),
        ("urine_protein_24h", "≥8 g/24小时", "g/24小时", "8", ">=", "g/d",
         (">=8", "g/day", ">=8", None, "g/day")),
        ("urine_protein_24h", "约2.5", "g/d", "2.5", "", "g/d", ("2.5", "g/day", "2.5", 2.5, "g/day")),
        ("egfr", "62", "mL/min/1.73m2", "62", "", "mL/min/{1.73_m2}",
         ("62", "mL/min/1.73 m2", "62", 62.0, "mL/min/1.73 m2")),
        ("urine_protein_creatinine_ratio", "3500", "mg/g", "3500", "", "mg/g",
         ("3500", "g/kg", "3500", 3500.0, "g/kg")),
        ("alt", "0.5", "ukat/L", "30", "", "U/L", ("0.5", "ukat/L", "30", 30.0, "U/L")),
    ],
)  # fmt: skip
def test_results(
    concept: str, original: str, original_unit: str, value: str, comparator: Any, unit: str, expected: Any
) -> None:
    (row,) = lb(
        lab(
            P, concept, value, unit, "2019-06-01",
            comparator=comparator, original=original, original_unit=original_unit,
        )
    )  # fmt: skip
    assert shown(row) == expected


def test_a_repeating_decimal_is_rounded_the_same_way_in_text_and_number() -> None:
    reading = lab(P, "creatinine", "100", "umol/L", "2019-06-01", original="1.13", original_unit="mg/dL")
    (row,) = lb(msgspec.structs.replace(reading, value=Interval.exactly(Fraction(100, 3))))
    assert row["LBSTRESC"] == "33.333333"
    assert str(row["LBSTRESN"]) == "33.333333"


def test_24_hour_urine_has_a_start_and_an_end() -> None:
    (row,) = lb(
        lab(P, "urine_protein_24h", "9", "g/d", "2019-06-01T07:00:00+08:00", end="2019-06-02T07:00:00+08:00")
    )
    assert (row["LBTESTCD"], row["LBTEST"], row["LBSPEC"]) == ("PROTEXR", "Protein Excretion Rate", "URINE")
    assert (row["LBDTC"], row["LBENDTC"]) == ("2019-06-01T07:00:00", "2019-06-02T07:00:00")
    assert (row["LBDY"], row["LBENDY"]) == (-2, -1)  # the day before 2019-06-03, which is day 1, is -1


def test_times_are_the_sites_own_without_offset() -> None:
    (row,) = lb(lab(P, "albumin", "30", "g/L", "2019-06-01T23:30:00Z"))
    assert (row["LBDTC"], row["LBDY"]) == ("2019-06-02T07:30:00", -1)


@pytest.mark.parametrize(
    ("date", "dtc", "day"),
    [
        ("2019-06", "2019-06", None),
        ("2019", "2019", None),
        ("2019-06-03", "2019-06-03", 1),
        ("2019-06-02", "2019-06-02", -1),
        ("2019-06-04", "2019-06-04", 2),
        ("2019-06-05T08:00:00+08:00", "2019-06-05T08:00:00", 3),
    ],
)
def test_dates_keep_their_precision_and_partial_ones_have_no_study_day(
    date: str, dtc: str, day: int | None
) -> None:
    (row,) = lb(lab(P, "albumin", "30", "g/L", date))
    assert (row["LBDTC"], row["LBDY"]) == (dtc, day)


@pytest.mark.parametrize(
    ("excluded", "rows"),
    [
        ("SUPERSEDED", 0), ("DUPLICATE", 0), ("ENTERED_IN_ERROR", 0), ("CANCELLED", 0), ("NEVER_USE", 0),
        ("WRONG_SUBJECT", 0), ("PRELIMINARY", 0), ("CODE_CONFLICT", 0), ("SPECIMEN_MISMATCH", 0),
        ("UNIT_MISSING", 1), ("UNIT_UNKNOWN", 1), ("IMPLAUSIBLE", 1), ("DURATION_OUTSIDE", 1),
    ],
)  # fmt: skip
def test_what_is_excluded_never_leaves_and_what_is_troubled_leaves_as_it_was(
    excluded: str, rows: int
) -> None:
    case = enrolled(
        lab(P, "albumin", None, "", "2019-06-01", original="30", original_unit="mg", excluded=excluded)
    )
    found = case.rows("LB")
    assert len(found) == rows
    if rows:
        assert shown(found[0]) == ("30", "mg", None, None, None)
    else:
        assert case.build().withheld[f"LB {excluded}"] == 1


@pytest.mark.parametrize(
    ("unit", "shown_unit"),
    [("mg/mL", "mg/mL"), ("kU/L", "kU/L"), ("CANARY", None), ("see note", None), ("张三", None), ("", None)],
)
def test_an_unknown_unit_is_kept_only_if_it_is_made_of_unit_symbols(
    unit: str, shown_unit: str | None
) -> None:
    (row,) = lb(
        lab(P, "albumin", None, "", "2019-06-01", original="30", original_unit=unit, excluded="UNIT_UNKNOWN")
    )
    assert row["LBORRESU"] == shown_unit


def test_text_without_a_number_has_no_result_and_is_counted() -> None:
    case = enrolled(
        lab(P, "albumin", None, "", "2019-06-01", original="CANARY 标本溶血", excluded="UNPARSED_TEXT")
    )
    assert case.rows("LB") == []
    assert case.build().withheld["LB NO_RESULT"] == 1


def test_not_done_says_so_with_a_coded_reason() -> None:
    (row,) = lb(
        lab(
            P,
            "albumin",
            None,
            "",
            "2019-06-01",
            original="",
            excluded="NO_VALUE",
            absent_reason="not-performed",
        )
    )
    assert (row["LBSTAT"], row["LBREASND"]) == ("NOT DONE", "NOT PERFORMED")
    assert shown(row) == (None, None, None, None, None)


def test_an_unverified_code_does_not_become_a_controlled_term() -> None:
    case = enrolled(lab(P, "albumin", "30", "g/L", "2019-06-01", flags=("CODE_UNVERIFIED",)))
    assert case.rows("LB") == []
    assert case.build().withheld["LB CODE_UNVERIFIED"] == 1


@pytest.mark.parametrize(
    ("method", "category", "testcd", "formula", "derived", "text"),
    [
        ("CKD-EPI 2009", "derived", "GFRBSCRT", "CKD-EPI CREATININE FORMULA", "Y", "71.35"),
        ("CKD-EPI 2021", "derived", "GFRBSCRT", "CKD-EPI CREATININE 2021 FORMULA", "Y", "71.35"),
        ("CKD-EPI 2021", "laboratory", "GFRBSCRT", "CKD-EPI CREATININE 2021 FORMULA", None, "71.345678"),
        ("MDRD", "laboratory", "GFRBSCRT", "MDRD FORMULA", None, "71.345678"),
        ("", "laboratory", "GFRE", None, None, "71.345678"),
    ],
)
def test_egfr_names_its_equation(
    method: str, category: str, testcd: str, formula: str | None, derived: str | None, text: str
) -> None:
    (row,) = lb(
        lab(P, "egfr", "71.345678", "mL/min/{1.73_m2}", "2019-06-01", method=method, category=category)
    )
    assert (row["LBTESTCD"], row["LBANMETH"], row["LBDRVFL"]) == (testcd, formula, derived)
    assert row["LBSTRESC"] == text
    assert (row["LBORRES"] is None) == (derived == "Y")  # a computed value has no original result


@pytest.mark.parametrize(
    ("value", "comparator", "interpretation", "indicator"),
    [
        ("30", "", "", "LOW"), ("35", "", "", "NORMAL"), ("55", "", "", "NORMAL"), ("56", "", "", "HIGH"),
        ("30", "", "N", "NORMAL"), ("40", "", "HH", "HIGH"), ("30", "<", "", "LOW"), ("40", "<", "", None),
        ("60", ">", "", "HIGH"),
    ],
)  # fmt: skip
def test_range_indicator(value: str, comparator: Any, interpretation: str, indicator: str | None) -> None:
    (row,) = lb(
        lab(
            P,
            "albumin",
            value,
            "g/L",
            "2019-06-01",
            comparator=comparator,
            interpretation=interpretation,
            limits=("35", "55"),
        )
    )
    assert row["LBNRIND"] == indicator
    assert (row["LBORNRLO"], row["LBORNRHI"]) == ("35", "55")
    assert (row["LBSTNRLO"], row["LBSTNRHI"]) == (35, 55)


def test_limits_in_original_units_are_left_out_when_the_value_was_converted() -> None:
    (row,) = lb(
        lab(P, "albumin", "30", "g/L", "2019-06-01", original="3", original_unit="g/dL", limits=("35", None))
    )
    assert (row["LBORNRLO"], row["LBSTNRLO"], row["LBSTNRHI"]) == (None, 35, None)


def test_pla2r_is_an_autoantibody_in_is_and_tacrolimus_a_concentration_in_pc() -> None:
    case = enrolled(
        lab(
            P,
            "pla2r_antibody",
            "150",
            "{RU}/mL",
            "2019-06-01",
            original_unit="RU/mL",
            method="ELISA",
            limits=(None, "20"),
        ),
        lab(P, "pla2r_antibody", "2", "{RU}/mL", "2019-12-01", comparator="<", original_unit="RU/mL"),
        lab(P, "pla2r_antibody", None, "", "2019-05-30", original="阳性(+)", answer="positive"),
        lab(P, "tacrolimus_trough", "6.5", "ng/mL", "2019-07-01T07:45:00+08:00", original_unit="ug/L"),
        lab(P, "tacrolimus_trough", "9", "ng/mL", "2019-07-02", excluded="NON_TROUGH"),
    )
    assert case.rows("LB") == []
    word, high, low = sorted(case.rows("IS"), key=lambda row: str(row["ISDTC"]))
    assert (high["ISTESTCD"], high["ISTEST"], high["ISBDAGNT"], high["ISTSTOPO"], high["ISMETHOD"]) == (
        "ATIGGAB",
        "IgG Autoantibody",
        "PHOSPHOLIPASE A2 RECEPTOR",
        "QUANTIFY",
        "ELISA",
    )
    assert shown(high, "IS") == ("150", "RELATIVE U/mL", "150", 150.0, "RELATIVE U/mL")
    assert (high["ISNRIND"], high["ISSTNRHI"]) == ("HIGH", 20)
    assert shown(low, "IS") == ("<2", "RELATIVE U/mL", "<2", None, "RELATIVE U/mL")
    assert shown(word, "IS") == ("POSITIVE", None, "POSITIVE", None, None)
    trough, other = sorted(case.rows("PC"), key=lambda row: str(row["PCDTC"]))
    assert shown(trough, "PC") == ("6.5", "ng/mL", "6.5", 6.5, "ng/mL")
    assert (trough["PCTPT"], trough["PCTPTNUM"], trough["PCSPEC"]) == ("PREDOSE", 0, "BLOOD")
    assert (other["PCTPT"], other["PCTPTNUM"]) == (None, None)


def test_vital_signs() -> None:
    case = enrolled(
        lab(P, "systolic_bp", "135", "mm[Hg]", "2019-06-01", category="vital-signs"),
        lab(
            P, "weight", "60", "kg", "2019-06-01", original="120", original_unit="斤", category="vital-signs"
        ),
    )
    pressure, weight = sorted(case.rows("VS"), key=lambda row: str(row["VSTESTCD"]))
    assert shown(pressure, "VS") == ("135", "mmHg", "135", 135.0, "mmHg")
    assert shown(weight, "VS") == ("120", None, "60", 60.0, "kg")  # a jin is no CDISC unit


# first dose 2019-06-03T08:00
@pytest.mark.parametrize(
    ("dates", "flagged"),
    [
        (["2019-05-01", "2019-06-01"], "2019-06-01"),
        (["2019-06-03T07:59:00+08:00", "2019-06-03T08:01:00+08:00"], "2019-06-03T07:59:00"),
        (["2019-06-01", "2019-06-03"], "2019-06-03"),  # no time on one side: the same day counts as before
        (["2019-06-04"], None),
        (["2019-06"], None),
    ],
)
def test_last_observation_before_exposure(dates: list[str], flagged: str | None) -> None:
    rows = lb(*(lab(P, "albumin", "30", "g/L", day) for day in dates))
    assert [row["LBDTC"] for row in rows if row["LBLOBXFL"] == "Y"] == ([flagged] if flagged else [])


def test_baseline_flag_is_one_per_test_and_prefers_the_protocols_equation() -> None:
    rows = lb(
        lab(
            P,
            "egfr",
            "70",
            "mL/min/{1.73_m2}",
            "2019-06-01",
            method="CKD-EPI 2009",
            category="derived",
            source="Observation/a",
        ),
        lab(
            P,
            "egfr",
            "74",
            "mL/min/{1.73_m2}",
            "2019-06-01",
            method="CKD-EPI 2021",
            category="derived",
            source="Observation/a",
        ),
        lab(P, "albumin", None, "", "2019-06-02", original="9", original_unit="g/L", excluded="IMPLAUSIBLE"),
        lab(P, "albumin", "30", "g/L", "2019-06-01"),
    )
    flagged = {(row["LBTESTCD"], row["LBANMETH"], row["LBDTC"]) for row in rows if row["LBLOBXFL"] == "Y"}
    assert flagged == {
        ("GFRBSCRT", "CKD-EPI CREATININE FORMULA", "2019-06-01"),
        ("ALB", None, "2019-06-01"),  # a troubled reading has no standard result and is no baseline
    }


@pytest.mark.parametrize(
    ("date", "visit", "epoch"),
    [
        ("2019-05-01", None, None),  # before consent (2019-05-20) and outside every window
        ("2019-05-20", (1, "SCREENING", -14), "SCREENING"),  # day -14
        ("2019-06-01", (2, "BASELINE", 1), "SCREENING"),  # day -2 is in two windows; day 1 is nearer
        ("2019-06-03", (2, "BASELINE", 1), "TREATMENT"),
        ("2019-06-10", (Fraction(21, 10), "UNSCHEDULED 2.1", None), "TREATMENT"),  # day 8, after BASELINE
        ("2019-07-01", (3, "WEEK 4", 29), "TREATMENT"),  # day 29
        ("2020-05-04", (8, "WEEK 48", 337), "FOLLOW-UP"),  # day 337, after the last dose
    ],
)
def test_visits_and_epochs(
    date: str, visit: tuple[int | Fraction, str, int | None] | None, epoch: str | None
) -> None:
    case = enrolled(
        lab(P, "albumin", "30", "g/L", date),
        drug(P, "tacrolimus", "dispense", "2019-06-03", "2020-01-31", "1.5"),
    )
    (row,) = case.rows("LB")
    assert (row["VISITNUM"], row["VISIT"], row["VISITDY"]) == (visit or (None, None, None))
    assert row["EPOCH"] == epoch


def test_sequence_numbers_are_unique_and_do_not_depend_on_the_order_of_input() -> None:
    findings = [
        lab(P, "albumin", str(30 + i), "g/L", f"2019-06-{1 + i % 5:02d}", source=f"Observation/{i}")
        for i in range(20)
    ]
    forward, backward = lb(*findings), lb(*reversed(findings))
    assert forward == backward
    assert sorted(int(str(row["LBSEQ"])) for row in forward) == list(range(1, 21))


def test_a_concept_without_a_domain_is_counted_not_dropped_silently() -> None:
    case = enrolled(lab(P, "hbv_dna", "20", "[IU]/mL", "2019-06-01", comparator="<"))
    assert case.build().withheld["findings NO_DOMAIN hbv_dna"] == 1


def test_a_reading_in_another_unit_than_the_specifications_is_shown_as_it_was() -> None:
    (row,) = enrolled(
        lab(P, "pla2r_antibody", "3", "as_reported", "2019-06-01", original="3", original_unit="U/mL")
    ).rows("IS")
    assert shown(row, "IS") == ("3", "U/mL", None, None, None)


def test_nothing_of_nobody() -> None:
    """Only the plan of the trial has rows where nobody takes part."""
    found = {dataset.name for dataset in Case(of()).build().datasets if dataset.rows}
    assert found == {"TA", "TE", "TI", "TS", "TV"}
