"""The pitfalls of hospital data that concern results, one row or test each, by their number.

E-26 and E-28 (dates of birth, merges), E-35 (albumin infusions), E-37 and E-38 (vaccination, age of serology)
and E-39 to E-46 belong to other mappers or to the protocol and are tested there; E-13 to E-15 (copies, report
text, panels) are in test_observation_mapper.py.
"""

from __future__ import annotations

import shutil
from fractions import Fraction
from pathlib import Path

import pytest
from result_words import (
    DEMO_CODES,
    DEMO_SITE,
    MAPPINGS,
    SNOMED,
    Json,
    amount,
    derived,
    facts,
    patient,
    reading,
    readings,
    result,
    shown,
)

from adapter.mappers.terminology import Terminology

PROTEIN, ALBUMIN, PLA2R, CREATININE, ALT = "2889-4", "1751-7", "73737-9", "14682-9", "1742-6"
HBSAG, HBV_DNA_LOG, TROUGH, LEVEL = "5196-1", "48398-2", "33929-1", "11253-2"


@pytest.mark.parametrize(
    ("pitfall", "code", "sent", "expected", "flags"),
    [
        # E-1 mg/dL under the code of a mass is a concentration; it never becomes a 24 h value by itself
        ("E-1", PROTEIN, amount(412.5, "mg/dL"), "412.5 mg/dL", {"UNIT_SAYS_OTHER"}),
        # E-2 spellings of "per 24 h"
        ("E-2", PROTEIN, amount(8010, "mg/24h"), "8.01 g/d", {"UNIT_REPAIRED"}),
        ("E-2", PROTEIN, amount(9, "g/24h"), "9 g/d", {"UNIT_REPAIRED"}),
        ("E-2", PROTEIN, amount(9, "g/24 h"), "9 g/d", {"UNIT_REPAIRED"}),
        ("E-2", PROTEIN, amount(9, "g/24hr"), "9 g/d", {"UNIT_REPAIRED"}),
        ("E-2", PROTEIN, amount(9, "克/24小时"), "9 g/d", {"UNIT_REPAIRED"}),
        ("E-2", PROTEIN, amount(9, "g/24.h"), "9 g/d", {"UNIT_REPAIRED"}),
        ("E-2", PROTEIN, amount(9, "g/(24.h)"), "9 g/d", set()),
        ("E-2", PROTEIN, amount(9, "g/fortnight"), "- !UNIT_UNKNOWN", {"UNIT_UNKNOWN"}),
        # E-3 a missing unit is not guessed from the size of the number
        ("E-3", PROTEIN, amount(9.0), "- !UNIT_MISSING", {"UNIT_MISSING"}),
        # E-4, E-5 arbitrary units
        ("E-4", PLA2R, amount(40, "RU/ml"), "40 {RU}/mL", set()),
        ("E-4", PLA2R, amount(40, "{RU}/mL"), "40 {RU}/mL", set()),
        ("E-5", PLA2R, amount(40, "U/mL"), "- !UNIT_UNKNOWN", {"UNIT_NEEDS_SITE"}),
        ("E-5", PLA2R, amount(100, "{titer}"), "- !UNIT_UNKNOWN", {"UNIT_NOT_CONVERTIBLE"}),
        # E-6 enzymes
        ("E-6", ALT, amount(61, "u/L"), "61 U/L", {"UNIT_REPAIRED"}),
        ("E-6", ALT, amount(61, "IU/L"), "61 U/L", {"UNIT_REPAIRED"}),
        ("E-6", ALT, amount(61, "[iU]/L"), "61 U/L", set()),
        # E-7 full width and both micro signs
        ("E-7", CREATININE, amount(80, "µmol/L"), "80 umol/L", set()),
        ("E-7", CREATININE, amount(80, "μmol/L"), "80 umol/L", set()),
        ("E-7", ALBUMIN, {"valueString": "３６．１ ｇ／Ｌ"}, "36.1 g/L", set()),
        # E-8 comparators, in their field and in text
        ("E-8", PLA2R, amount(1500, "RU/mL", ">"), ">1500 {RU}/mL", set()),
        ("E-8", PLA2R, {"valueString": "<2 RU/mL"}, "<2 {RU}/mL", set()),
        ("E-8", PROTEIN, {"valueString": "≥8 g/d"}, ">=8 g/d", set()),
        # E-9 decorations
        ("E-9", ALBUMIN, {"valueString": "36.1↓ g/L"}, "36.1 g/L", set()),
        ("E-9", CREATININE, {"valueString": "1,200 umol/L"}, "1200 umol/L", set()),
        ("E-9", PROTEIN, {"valueString": "约9 g/d"}, "9 g/d", {"APPROX_TEXT"}),
        # E-10 words, negative forms first
        ("E-10", HBSAG, {"valueString": "未检出"}, "negative", set()),
        ("E-10", HBSAG, {"valueString": "non-reactive"}, "negative", set()),
        ("E-10", HBSAG, {"valueString": "not detected"}, "negative", set()),
        ("E-10", HBSAG, {"valueString": "非反应性"}, "negative", set()),
        ("E-10", HBSAG, {"valueString": "阳性(+)"}, "positive", set()),
        ("E-10", HBSAG, {"valueString": "请结合临床"}, "- !UNPARSED_TEXT", {"UNPARSED_TEXT"}),
        ("E-10", PLA2R, {"valueString": "阴性"}, "negative", {"QUALITATIVE"}),
        ("E-10", PLA2R, {"valueString": "阳性"}, "positive", {"QUALITATIVE"}),
        ("E-10", PLA2R, {"valueString": "1:32"}, "1:32", {"TITRE"}),
        ("E-10", PLA2R, {"valueString": "<1:10"}, "negative", {"QUALITATIVE", "TITRE"}),
        # E-11 weak positive counts as positive later, and says so
        ("E-11", HBSAG, {"valueString": "弱阳性"}, "weak_positive", {"WEAK_POSITIVE"}),
        ("E-11", HBSAG, {"valueString": "±"}, "weak_positive", {"WEAK_POSITIVE"}),
        # E-19 albumin is not protein, and a ratio is neither
        ("E-19", "1755-8", amount(6, "g/d"), "-NEVER", set()),
        ("E-19", "2890-2", amount(9500, "mg/g"), "9500 mg/g", set()),
        # E-21, E-27 codes that must never feed a variable
        ("E-21", "92727-7", amount(180, "ng*h/mL"), "-NEVER", set()),
        ("E-21", "92729-3", amount(18, "ng/mL"), "-NEVER", set()),
        ("E-27", "50384-7", amount(97, "mL/min/{1.73_m2}"), "-NEVER", set()),
        # E-33 implausible: outside hard limits unusable, outside soft ones to be looked at
        ("E-33", ALBUMIN, amount(2.5, "g/L"), "2.5 g/L !IMPLAUSIBLE", {"IMPLAUSIBLE"}),
        ("E-33", PROTEIN, amount(8010, "g/d"), "8010 g/d !IMPLAUSIBLE", {"IMPLAUSIBLE"}),
        ("E-33", PROTEIN, amount(0.05, "g/d", "<"), "<0.05 g/d", set()),
        ("E-33", PROTEIN, amount(0.01, "g/d", "<"), "<0.01 g/d", set()),  # exempt from the lower limit
        ("E-33", PROTEIN, amount(0.01, "g/d"), "0.01 g/d !IMPLAUSIBLE", {"IMPLAUSIBLE"}),
        ("E-33", PROTEIN, amount(31, "g/d"), "31 g/d", {"CHECK_VALUE"}),
        ("E-33", CREATININE, amount(0.9, "umol/L"), "0.9 umol/L !IMPLAUSIBLE",
         {"IMPLAUSIBLE"}),
        # E-34 the reason for having no value
        ("E-34", ALBUMIN, {"dataAbsentReason": {"coding": [{"code": "error"}]}}, "- !NO_VALUE", set()),
        # E-36 BCG reads high: between 22 and 30 g/L the method matters
        ("E-36", ALBUMIN, amount(26, "g/L"), "26 g/L", {"ALB_METHOD"}),
        ("E-36", "61151-7", amount(26, "g/L"), "26 g/L", {"ALB_METHOD"}),
        ("E-36", "61152-5", amount(26, "g/L"), "26 g/L", set()),
        ("E-36", ALBUMIN, amount(31, "g/L"), "31 g/L", set()),
        # E-45 half a kilogram to the jin, only where the unit says so
        ("E-45", "29463-7", {"valueString": "124斤"}, "62 kg", {"UNIT_REPAIRED"}),
        ("E-45", "29463-7", amount(124, "kg"), "124 kg", set()),
        ("E-45", "3142-7", amount(62, "kg"), "62 kg", {"WEIGHT_STATED", "CODE_FLAGGED"}),
        # E-48 logarithms only where code or unit says log
        ("E-48", HBV_DNA_LOG, amount(4, "{Log_IU}/mL"), "10000 [IU]/mL", {"UNIT_CONVERTED"}),
        ("E-48", "42595-9", amount(4, "[IU]/mL"), "4 [IU]/mL", set()),
        ("E-48", HBV_DNA_LOG, {"valueString": "未检出"}, "negative", {"QUALITATIVE"}),
        # E-50 and the conversions of A.0, exact
        ("E-50", ALBUMIN, amount("2.49", "g/dL"), "24.9 g/L", {"UNIT_CONVERTED", "ALB_METHOD"}),
        ("E-50", "2160-0", amount("0.9", "mg/dL"), "79.56 umol/L", {"UNIT_CONVERTED"}),
        ("A.0", "4548-4", amount(53, "mmol/mol"), "7.00044 %", {"UNIT_CONVERTED"}),  # 0.09148 x 53 + 2.152
        ("A.0", "54347-0", amount(376, "umol/L"), "25.004 g/L", {"UNIT_CONVERTED", "ALB_METHOD"}),
    ],
)  # fmt: skip
def test_pitfall(pitfall: str, code: str, sent: Json, expected: str, flags: set[str]) -> None:
    row = reading(result(code, **sent))
    if expected == "-NEVER":
        assert (row.use, row.excluded) == ("NEVER", "NEVER_USE"), pitfall
        return
    assert (shown(row), set(row.flags)) == (expected, flags), pitfall


def test_e1_without_a_volume_the_24_h_value_is_missing_and_says_why() -> None:
    (row,) = [one for one in derived(result(PROTEIN, **amount(412.5, "mg/dL"))) if one.concept != "egfr"]
    assert (row.concept, row.excluded) == ("urine_protein_24h", "NO_VOLUME")


def test_e2_code_and_text_of_a_unit_must_agree() -> None:
    both = {"valueQuantity": {"value": 9, "code": "g/d", "unit": "mg/24h"}}
    row = reading(result(PROTEIN, **both))
    assert (row.excluded, "UNIT_CONFLICT" in row.flags) == ("UNIT_UNKNOWN", True)


def test_e3_a_site_may_name_its_unit() -> None:
    row = reading(result("1920-8", **amount(22)), terminology=DEMO_SITE)
    assert (shown(row), row.flags) == ("22 U/L", ("UNIT_ASSUMED",))


def test_e5_a_site_may_confirm_its_kit() -> None:
    row = reading(result(PLA2R, **amount(40, "U/mL")), terminology=DEMO_SITE)
    assert (shown(row), row.flags) == ("40 {RU}/mL", ("UNIT_REPAIRED",))


def test_a5_an_assumed_elisa_unit_needs_the_limits_of_that_elisa(tmp_path: Path) -> None:
    shutil.copytree(MAPPINGS, tmp_path / "mappings")
    with (tmp_path / "mappings" / "sites" / "demo" / "units.csv").open("a", encoding="utf-8") as table:
        table.write("pla2r_antibody,,RU/mL,default,,laboratory@demo,2019-01-15\n")
    site = Terminology.load(tmp_path / "mappings", "demo")

    def said(limits: str) -> str:
        sent = result(PLA2R, **amount(40), referenceRange=[{"text": limits}] if limits else [])
        return shown(reading(sent, terminology=site))

    assert [said(limits) for limits in ("<20", "0-14", "<10", "")] == [
        "40 {RU}/mL",
        "40 {RU}/mL",
        "- !UNIT_MISSING",
        "- !UNIT_MISSING",
    ]


@pytest.mark.parametrize(
    ("status", "expected", "flag"),
    [
        ("final", "", ""),
        ("amended", "", "AMENDED"),
        ("corrected", "", "AMENDED"),
        ("preliminary", "PRELIMINARY", "PRELIMINARY"),
        ("registered", "IN_PROGRESS", ""),
        ("cancelled", "CANCELLED", ""),
        ("entered-in-error", "ENTERED_IN_ERROR", ""),
        ("unknown", "STATUS_UNKNOWN", ""),
        ("banana", "STATUS_UNKNOWN", ""),
        (None, "", "STATUS_MISSING"),
    ],
)
def test_e12_status(status: str | None, expected: str, flag: str) -> None:
    row = reading(result(PROTEIN, status=status, **amount(9, "g/d")))
    assert (row.excluded, row.flags) == (expected, (flag,) if flag else ())


def test_e16_a_local_code_counts_only_where_the_site_mapped_it() -> None:
    sent = result(PROTEIN, **amount(9, "g/d"), code={"coding": [{"system": DEMO_CODES, "code": "UPRO24"}]})
    assert reading(sent, terminology=DEMO_SITE).concept == "urine_protein_24h"
    unmapped = reading(sent)
    assert (unmapped.concept, unmapped.excluded, unmapped.code.code) == ("", "UNMAPPED", "UPRO24")


@pytest.mark.parametrize("other", ["2161-8", "1746-7"], ids=["another concept", "never this concept"])
def test_e17_codings_that_disagree(other: str) -> None:
    first = CREATININE if other == "2161-8" else ALBUMIN
    codings = [{"system": "http://loinc.org", "code": code} for code in (first, other)]
    rows = readings(result(first, code={"coding": codings}, **amount(60, "umol/L")))
    assert {row.excluded for row in rows} == {"CODE_CONFLICT"}
    assert {"creatinine", "albumin"} & {row.concept for row in rows}


def test_e17_an_unknown_coding_beside_a_known_one_is_no_conflict() -> None:
    codings = [{"system": "urn:x", "code": "1"}, {"system": "http://loinc.org", "code": PROTEIN}]
    assert reading(result(PROTEIN, code={"coding": codings}, **amount(9, "g/d"))).excluded == ""


@pytest.mark.parametrize(
    ("code", "specimen", "expected"),
    [
        (ALBUMIN, "309201001", ""),  # a kind the table does not know says nothing
        (ALBUMIN, "168139001", "SPECIMEN_MISMATCH"),
        (CREATININE, "258574006", "SPECIMEN_MISMATCH"),
        (CREATININE, "119364003", ""),
        ("20507-0", "258450006", "SPECIMEN_MISMATCH"),
    ],
    ids=["unknown", "albumin in ascites", "creatinine in urine", "creatinine in serum", "RPR in CSF"],
)
def test_e18_specimen(code: str, specimen: str, expected: str) -> None:
    sample = {"resourceType": "Specimen", "id": "s", "subject": {"reference": "Patient/p"},
              "type": {"coding": [{"system": SNOMED, "code": specimen}]}}  # fmt: skip
    value = (
        {"valueString": "阴性"}
        if code == "20507-0"
        else amount(60, "umol/L" if code == CREATININE else "g/L")
    )
    assert reading(result(code, **value, specimen={"reference": "Specimen/s"}), sample).excluded == expected


def test_e20_the_code_decides_between_trough_and_level_and_the_time_is_kept() -> None:
    at = {"effectiveDateTime": "2019-07-01T07:45:00+08:00"}
    trough, level = (reading(result(code, **amount(9.8, "ng/mL"), **at)) for code in (TROUGH, LEVEL))
    assert (trough.concept, level.concept) == ("tacrolimus_trough", "tacrolimus_level")
    assert trough.start is not None
    assert trough.start.iso == "2019-07-01T07:45:00"


def test_e22_filtration_is_computed_from_creatinine_and_equations_stay_apart() -> None:
    rows = derived(result(CREATININE, **amount(80, "umol/L")))
    assert [row.method for row in rows if row.concept == "egfr"] == ["CKD-EPI 2009", "CKD-EPI 2021"]
    old, new = (
        reading(result(code, **amount(90, "mL/min/{1.73_m2}", ">"))) for code in ("62238-1", "98979-8")
    )
    assert (old.method, new.method, shown(old)) == ("CKD-EPI 2009", "CKD-EPI 2021", ">90 mL/min/{1.73_m2}")


def test_e23_a_date_is_the_whole_local_day() -> None:
    row = reading(result(PROTEIN, effectiveDateTime="2019-05-06", **amount(9, "g/d")))
    assert row.when is not None
    assert (row.when.day, row.when.at, row.when.precision) == (row.when.first, None, "day")


@pytest.mark.parametrize(
    ("text", "day", "flags"),
    [
        ("2019-05-05T16:30:00Z", "2019-05-06", ()),
        ("2019-05-05T16:30:00", "2019-05-05", ("TZ_ASSUMED",)),
        ("2019-05", None, ()),
    ],
)
def test_e24_time_zones(text: str, day: str | None, flags: tuple[str, ...]) -> None:
    row = reading(result(PROTEIN, effectiveDateTime=text, **amount(9, "g/d")))
    assert row.when is not None
    assert (str(row.when.day) if row.when.day else None, row.flags) == (day, flags)


@pytest.mark.parametrize(
    ("elements", "day", "flags", "excluded"),
    [
        ({"effectiveDateTime": "2019-05-25", "issued": "2019-05-28T10:00:00+08:00"}, "2019-05-25", (), ""),
        ({"effectiveDateTime": None, "issued": "2019-05-28T10:00:00+08:00"}, "2019-05-28",
         ("DATE_IS_ISSUED",), ""),
        ({"effectiveDateTime": None}, None, (), "NO_DATE"),
        ({"effectiveDateTime": "2024-13-01"}, None, ("DATE_UNREADABLE",), "NO_DATE"),
        ({"effectiveDateTime": None, "effectivePeriod": {"start": "2019-05-27", "end": "2019-05-28"}},
         "2019-05-28", (), ""),
        ({"effectiveDateTime": None, "effectiveInstant": "2019-05-28T10:00:00+08:00"}, "2019-05-28", (), ""),
        ({"effectiveDateTime": None, "effectiveTiming": {"event": ["2019-05-28"]}}, "2019-05-28", (), ""),
    ],
)  # fmt: skip
def test_e25_collection_decides(
    elements: Json, day: str | None, flags: tuple[str, ...], excluded: str
) -> None:
    row = reading(result(ALBUMIN, **amount(40, "g/L"), **elements))
    assert (str(row.when.day) if row.when else None, row.flags, row.excluded) == (day, flags, excluded)


def test_e25_the_specimens_collection_comes_before_the_report() -> None:
    sample = {"resourceType": "Specimen", "id": "s", "subject": {"reference": "Patient/p"},
              "collection": {"collectedDateTime": "2019-05-25"}}  # fmt: skip
    sent = result(ALBUMIN, **amount(40, "g/L"), effectiveDateTime=None, issued="2019-05-28T10:00:00+08:00",
                  specimen={"reference": "Specimen/s"})  # fmt: skip
    row = reading(sent, sample)
    assert row.when is not None
    assert (str(row.when.day), row.flags) == ("2019-05-25", ("DATE_FROM_SPECIMEN",))


@pytest.mark.parametrize(
    ("code", "really"),
    [("5195-3", "hbsag"), ("38379-4", "mtb_naa"), ("46248-1", ""), ("35283-1", ""), ("33634-7", "")],
)
def test_e29_codes_mislabelled_in_public_lists(code: str, really: str) -> None:
    label = "Helicobacter pylori IgG"
    coding = {"system": "http://loinc.org", "code": code, "display": label}
    assert reading(result(code, code={"coding": [coding]}, valueString="阴性")).concept == really


def test_e29_a_wrong_check_digit_is_no_code() -> None:
    found = facts(result("14467-0", valueString="阴性"))
    assert [(one.code, one.detail) for one in found.issues] == [("CODE_CORRUPT", "loinc|14467-0")]


def test_e30_a_code_corrupted_by_a_spreadsheet() -> None:
    code = {"coding": [{"system": SNOMED, "code": "1.07E+16"}]}
    found = facts(result(PROTEIN, code=code, valueString="阴性"))
    assert [row.excluded for row in found.findings] == ["UNMAPPED"]
    assert [one.code for one in found.issues] == ["CODE_CORRUPT"]


@pytest.mark.parametrize(
    ("gender", "ranges", "high"),
    [
        ("male", [{"text": "男:9-50 女:7-40"}], 50),
        ("female", [{"text": "男:9-50 女:7-40"}], 40),
        ("unknown", [{"text": "男:9-50 女:7-40"}], None),
        ("male", [{"text": "0--40"}], 40),
        ("male", [{"high": {"value": 40, "unit": "U/L"}}], 40),
        ("male", [{"high": {"value": "0.667", "unit": "ukat/L"}}], Fraction("40.02")),
        ("male", [{"high": {"value": 40}}, {"high": {"value": 50}}], None),
        ("male", [], None),
    ],
)
def test_e31_e32_limits(gender: str, ranges: list[Json], high: int | Fraction | None) -> None:
    row = reading(result(ALT, **amount(60, "U/L"), referenceRange=ranges), patient(gender))
    assert (row.range.high if row.range else None) == high


def test_limits_follow_the_unit_of_the_value() -> None:
    ranges = [{"low": {"value": "3.5"}, "high": {"value": "5.5"}}]
    row = reading(result(ALBUMIN, **amount(4, "g/dL"), referenceRange=ranges))
    assert row.range is not None
    assert (row.range.low, row.range.high) == (35, 55)


def test_e36_the_stated_method_counts() -> None:
    row = reading(result(ALBUMIN, **amount(26, "g/L"), method={"text": "溴甲酚紫法"}))
    assert (row.method, row.flags) == ("BCP", ())


@pytest.mark.parametrize(("excreted", "expected"), [(599, True), (600, False)])
def test_e47_an_incomplete_collection_is_flagged_and_still_counts(excreted: int, expected: bool) -> None:
    """60 kg: less than 600 mg of creatinine a day is less than 10 mg/kg/d."""
    same = {"specimen": {"reference": "Specimen/s"}}
    row = reading(
        result(PROTEIN, **amount(9, "g/d"), **same),
        result("2162-6", "c", **amount(excreted, "mg/d"), **same),
        result("29463-7", "w", **amount(60, "kg"), effectiveDateTime="2019-05-20"),
    )
    assert ("COLLECTION_INCOMPLETE" in row.flags, shown(row)) == (expected, "9 g/d")


def test_tacrolimus_in_moles_near_the_target_is_flagged() -> None:
    """12.44 nmol/L x 0.804 = 10.00176 ng/mL; with the monohydrate's 0.822 it would be 10.22568."""
    row = reading(result(TROUGH, **amount("12.44", "nmol/L")))
    assert (shown(row), "TAC_NMOL" in row.flags) == ("10.00176 ng/mL", True)


def test_a_year_less_code_after_2021_is_unsure_of_its_equation() -> None:
    sent = result("62238-1", **amount(90, "mL/min/{1.73_m2}"), effectiveDateTime="2023-01-05")
    assert "EQUATION_UNSURE" in reading(sent).flags
    stated = reading(sent | {"method": {"text": "CKD-EPI 2021"}})
    assert (stated.method, stated.flags) == ("CKD-EPI 2021", ())


def test_unverified_codes_never_decide() -> None:
    row = reading(result("81201-6", **amount(150, "RU/mL")))
    assert (row.use, "CODE_UNVERIFIED" in row.flags) == ("SUPP", True)
