"""Observations, reports, specimens and questionnaire answers as findings, by the way real data goes."""

from __future__ import annotations

import json
from fractions import Fraction

import pytest
from result_words import (
    DEMO_SITE,
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

from adapter.model import wire
from adapter.model.facts import Finding

PROTEIN, ALBUMIN, PLA2R, CREATININE, ALT = "2889-4", "1751-7", "73737-9", "14682-9", "1742-6"
CONCENTRATION, VOLUME, TOTAL_VOLUME, DURATION = "21482-5", "3167-4", "19153-6", "13362-9"


# --- numbers ----------------------------------------------------------------------------------------


def test_digits_survive_from_source_to_finding() -> None:
    row = reading(result(PROTEIN, **amount("8.000000000000000001", "g/d")))
    assert row.value is not None
    assert row.value.point == 8 + Fraction(1, 10**18)
    assert row.original == "8.000000000000000001"
    assert reading(result(PROTEIN, **amount("1.10", "g/d"))).original == "1.10"


@pytest.mark.parametrize(
    ("digits", "expected"),
    [
        ("1e400", "- !UNPARSED_TEXT"),
        ("1E+999999999", "- !UNPARSED_TEXT"),
        ("12345678901234567890123", "12345678901234567890123 g/d !IMPLAUSIBLE"),
        ("9.0E0", "9 g/d"),
        ('"9.0"', "9 g/d"),  # a number sent as text
        ('"NaN"', "- !UNPARSED_TEXT"),
    ],
)
def test_odd_numbers(digits: str, expected: str) -> None:
    assert shown(reading(result(PROTEIN, **amount(digits, "g/d")))) == expected


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (b'{"resourceType":"Observation","id":"x","valueQuantity":{"value":NaN}}', "MALFORMED_JSON"),
        (b'\xef\xbb\xbf{"resourceType":"Observation","id":"x"}', "MALFORMED_JSON"),
        (b'{"resourceType":"Observation","id":"x","status":"\\ud800"}', "MALFORMED_JSON"),
        (b'{"resourceType":"Observation","id":"x","status":"\xff"}', "MALFORMED_JSON"),
        (b'{"resourceType":"Observation","id":"x","status":"fin', "MALFORMED_JSON"),
        (b"", "MALFORMED_JSON"),
        (b"[]", "WRONG_TYPE"),
        (b'{"resourceType":"Observation","id":"x","status":7}', "WRONG_TYPE"),
        (b'{"resourceType":"Observation","id":"x","valueQuantity":{"value":true}}', "WRONG_TYPE"),
        (b'{"resourceType":"Observation","y":' + b"[" * 5000 + b"]" * 5000 + b"}", "TOO_DEEP"),
        (b'{"id":"x"}', "NO_RESOURCE_TYPE"),
        (b'{"resourceType":"Horoscope"}', "UNKNOWN_RESOURCE_TYPE"),
        (b'{"resourceType":"Bundle","entry":[]}', "NOT_UNPACKED"),
        (b'{"resourceType":"Observation","id":"x","modifierExtension":[{"url":"u"}]}', "MODIFIER_EXTENSION"),
        (b'{"resourceType":"Observation","id":"x","implicitRules":"u"}', "IMPLICIT_RULES"),
        (b'{"resourceType":"Observation","id":"x"}', "NO_SUBJECT"),
    ],
)
def test_what_is_no_resource_is_one_issue(line: bytes, code: str) -> None:
    found = facts(line)
    assert [(one.code, one.fatal_for_resource) for one in found.issues] == [(code, True)]
    assert sum(row.issues for row in found.accounts) == 1
    assert found.findings == ()


def test_nulls_count_as_absent() -> None:
    sent = result(PROTEIN, **amount(9, "g/d"), interpretation=[None])
    line = json.dumps(sent | {"note": None}).encode()
    assert shown(readings(line)[0]) == "9 g/d"


# --- value[x] ---------------------------------------------------------------------------------------


def coded(system: str, code: str) -> Json:
    return {"valueCodeableConcept": {"coding": [{"system": system, "code": code}]}}


def grams(value: float) -> Json:
    return {"value": value, "code": "g"}


@pytest.mark.parametrize(
    ("code", "value", "expected"),
    [
        (PROTEIN, {"valueString": "9.0 g/24h"}, "9 g/d"),
        (PROTEIN, {"valueInteger": 9}, "- !UNIT_MISSING"),
        (PROTEIN, {"valueRange": {"low": {"value": 3, "unit": "g/d"}, "high": {"value": 4}}}, "[3, 4] g/d"),
        (PROTEIN, {"valueTime": "08:00:00"}, "- !UNPARSED_TEXT"),
        (PROTEIN, {"valueSampledData": {"origin": {"value": 0}}}, "- !UNPARSED_TEXT"),
        (PROTEIN, {}, "- !NO_VALUE"),
        (PROTEIN, {"valueQuantity": {"unit": "g/d"}}, "- !NO_VALUE"),
        ("5196-1", {"valueBoolean": True}, "positive"),
        ("5196-1", coded(SNOMED, "260385009"), "negative"),
        ("5196-1", {"valueCodeableConcept": {"text": "阳性"}}, "positive"),
        ("5196-1", coded("http://x.example", "7"), "7 !UNPARSED_TEXT"),
        ("2890-2", {"valueRatio": {"numerator": grams(9.5), "denominator": grams(1)}}, "9500 mg/g"),
        ("31147-2", {"valueRatio": {"numerator": {"value": 1}, "denominator": {"value": 32}}}, "1:32"),
        ("31147-2", {"valueString": "1:32"}, "1:32"),
    ],
)  # fmt: skip
def test_each_type_of_value(code: str, value: Json, expected: str) -> None:
    assert shown(reading(result(code, **value))) == expected


def test_a_verdict_in_words_stays_beside_its_number() -> None:
    row = reading(result("5196-1", valueString="0.05(阴性)", referenceRange=[{"text": "<1.0"}]))
    assert (str(row.value), row.answer, row.excluded) == ("0.05", "negative", "")


@pytest.mark.parametrize(
    ("value", "extra", "expected"),
    [
        ("0.05(阳性)", {"referenceRange": [{"text": "<1.0"}]}, "CONFLICT"),
        ("3.2(阴性)", {"referenceRange": [{"text": "<1.0"}]}, "CONFLICT"),
        ("阴性", {"interpretation": [{"coding": [{"code": "POS", "system": "http://terminology.hl7.org/CodeSystem/v3-ObservationInterpretation"}]}]}, "CONFLICT"),  # noqa: E501
        ("3.2(阳性)", {"referenceRange": [{"text": "<1.0"}]}, ""),
    ],
)  # fmt: skip
def test_a_number_must_not_contradict_the_words(value: str, extra: Json, expected: str) -> None:
    assert reading(result("5196-1", valueString=value, **extra)).excluded == expected


@pytest.mark.parametrize(
    ("code", "sent", "extra", "expected"),
    [
        ("63557-3", amount(0.05, "[IU]/mL"), {}, ""),  # no limits, no answer
        ("63557-3", amount(0.04, "[IU]/mL"), {"referenceRange": [{"high": {"value": 0.05}}]}, "negative"),
        ("63557-3", amount(0.06, "[IU]/mL"), {"referenceRange": [{"high": {"value": 0.05}}]}, "positive"),
        ("63557-3", amount(0.05, "[IU]/mL"), {"referenceRange": [{"high": {"value": 0.05}}]}, ""),
        ("22316-4", amount(0.1, "{COI}"), {"referenceRange": [{"text": ">1"}]}, "positive"),  # competitive
        ("48159-8", amount(0.9, "{S_CO_ratio}"), {}, "negative"),
        ("48159-8", amount(1.0, "{S_CO_ratio}"), {}, "positive"),
        ("48159-8", amount(1.0, "{S_CO_ratio}"), {"referenceRange": [{"text": "<5"}]}, "negative"),
        ("48159-8", amount(1.0), {}, ""),  # whose cut-off is it?
        ("19080-1", amount(4, "[IU]/L"), {}, "negative"),
        ("19080-1", amount(12, "m[IU]/mL"), {}, "equivocal"),
        ("19080-1", amount(26, "[IU]/L"), {}, "positive"),
        ("42595-9", amount(1500, "[IU]/mL"), {}, "positive"),
        ("42595-9", amount(20, "[IU]/mL", "<"), {}, ""),
        ("42595-9", amount(20, "[IU]/mL", "<"), {"referenceRange": [{"text": "<20"}]}, "negative"),
        ("42595-9", amount(20, "[IU]/mL", "<"), {"referenceRange": [{"text": "<500"}]}, "negative"),
    ],
)  # fmt: skip
def test_answers_from_numbers(code: str, sent: Json, extra: Json, expected: str) -> None:
    assert reading(result(code, **sent, **extra)).answer == expected


# --- parts of panels (E-15) -------------------------------------------------------------------------


def test_components_inherit_and_the_panel_says_nothing() -> None:
    panel = result(
        "85354-9",
        status="amended",
        component=[
            {"code": {"coding": [{"system": "http://loinc.org", "code": "8480-6"}]}, **amount(150, "mm[Hg]")},
            {"code": {"coding": [{"system": "http://loinc.org", "code": "8462-4"}]}, **amount(95, "mm[Hg]")},
        ],
    )
    rows = readings(panel)
    assert [(row.concept, shown(row), row.source.path) for row in rows] == [
        ("diastolic_bp", "95 mm[Hg]", "component[1]"),
        ("systolic_bp", "150 mm[Hg]", "component[0]"),
    ]
    assert {(row.status, row.when.iso if row.when else "") for row in rows} == {("amended", "2019-05-28")}


def test_a_measured_duration_as_component_leaves_the_value_beside_it() -> None:
    hours = {"code": {"coding": [{"system": "http://loinc.org", "code": DURATION}]}, **amount(24, "h")}
    rows = readings(result(PROTEIN, **amount(9, "g/d"), component=[hours]))
    assert sorted((row.concept, shown(row)) for row in rows) == [
        ("urine_collection_duration", "24 h"),
        ("urine_protein_24h", "9 g/d"),
    ]


def test_a_panel_with_members_elsewhere_is_not_relevant() -> None:
    found = facts(result("83101-6", hasMember=[{"reference": "Observation/m"}]))
    assert [row.not_relevant for row in found.accounts] == [1, 0]


def test_contained_members_are_read() -> None:
    member = result("8480-6", "m", subject=None, effectiveDateTime=None, **amount(150, "mm[Hg]"))
    panel = result("85354-9", contained=[member], hasMember=[{"reference": "#m"}])
    (row,) = readings(panel)
    assert (row.concept, row.source.path, row.when is not None) == ("systolic_bp", "contained[0]", True)


# --- whom it is about -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "reference",
    [
        "Patient/p",
        "https://hospital.example/fhir/Patient/p",
        "https://hospital.example/fhir/Patient/p/_history/3",
        "urn:uuid:p",
        "Patient?identifier=urn:mrn|42",
    ],
)
def test_references_to_the_patient(reference: str) -> None:
    person = patient() | {"identifier": [{"system": "urn:mrn", "value": "42"}]}
    row = readings(person, result(PROTEIN, subject={"reference": reference}, **amount(9, "g/d")))[0]
    assert row.subject == "p"


def test_a_logical_reference_to_the_patient() -> None:
    person = patient() | {"identifier": [{"system": "urn:mrn", "value": "42"}]}
    subject = {"type": "Patient", "identifier": {"system": "urn:mrn", "value": "42"}}
    assert readings(person, result(PROTEIN, subject=subject, **amount(9, "g/d")))[0].subject == "p"


def test_results_follow_a_merged_record() -> None:
    old = {
        "resourceType": "Patient",
        "id": "q",
        "link": [{"other": {"reference": "Patient/p"}, "type": "replaced-by"}],
    }
    rows = readings(patient(), old, result(PROTEIN, subject={"reference": "Patient/q"}, **amount(9, "g/d")))
    assert rows[0].subject == "p"


def test_another_patients_specimen() -> None:
    other = {"resourceType": "Patient", "id": "q"}
    specimen = {"resourceType": "Specimen", "id": "s", "subject": {"reference": "Patient/q"}}
    sent = result(PROTEIN, specimen={"reference": "Specimen/s"}, **amount(9, "g/d"))
    found = facts(patient(), other, specimen, sent)
    assert [row.excluded for row in found.findings] == ["WRONG_SUBJECT"]
    assert [one.code for one in found.issues] == ["WRONG_SUBJECT"]


def test_another_patients_report() -> None:
    other = {"resourceType": "Patient", "id": "q"}
    listed = report(subject={"reference": "Patient/q"}, result=[{"reference": "Observation/o"}])
    (row,) = readings(patient(), other, listed, result(PROTEIN, "o", **amount(9, "g/d")))
    assert row.report == ""


# --- versions, copies, contradictions (E-12, E-13) --------------------------------------------------


def fates(*resources: Json) -> dict[str, str]:
    """Source of each reading and why it may not decide."""
    return {f"{row.source.reference} {row.source.version} {row.source.path}".strip(): row.excluded
            for row in readings(*resources)}  # fmt: skip


def version(number: object, updated: str = "") -> Json:
    meta: Json = {"versionId": str(number)} if number else {}
    return {"meta": meta | ({"lastUpdated": updated} if updated else {})}


def test_the_higher_version_number_stands() -> None:
    """As numbers: 10 comes after 9."""
    old, new = (result(PROTEIN, **amount(value, "g/d"), **version(n)) for value, n in ((9.0, 9), (6.8, 10)))
    assert fates(old, new) == {"Observation/o 9": "SUPERSEDED", "Observation/o 10": ""}


def test_without_version_numbers_the_later_update_stands() -> None:
    old = result(PROTEIN, **amount(9.0, "g/d"), **version("", "2019-05-28T10:00:00+08:00"))
    new = result(PROTEIN, **amount(6.8, "g/d"), **version("", "2019-05-28T03:00:00Z"))
    assert [reason for _, reason in sorted(fates(old, new).items())] == ["", "SUPERSEDED"]


def test_version_numbers_beat_clocks_and_say_so() -> None:
    old = result(PROTEIN, **amount(9.0, "g/d"), **version(1, "2019-06-01T10:00:00Z"))
    new = result(PROTEIN, **amount(6.8, "g/d"), **version(2, "2019-05-01T10:00:00Z"))
    found = facts(old, new)
    assert [one.code for one in found.issues] == ["VERSION_ORDER"]
    assert {row.source.version: row.excluded for row in found.findings} == {"1": "SUPERSEDED", "2": ""}


def test_the_same_bytes_twice_are_one_resource() -> None:
    sent = result(PROTEIN, **amount(9.0, "g/d"), **version(1))
    found = facts(sent, sent)
    assert [one.code for one in found.issues] == ["DUPLICATE_RESOURCE"]
    assert len(found.findings) == 1
    assert all(row.balanced for row in found.accounts)


def report(*contained: Json, **elements: object) -> Json:
    return {
        "resourceType": "DiagnosticReport",
        "id": "r",
        "status": "final",
        "subject": {"reference": "Patient/p"},
        "effectiveDateTime": "2019-05-28",
        "contained": list(contained),
        **elements,
    }


IDENTIFIED = {"identifier": [{"system": "urn:lis", "value": "L77"}]}


@pytest.mark.parametrize("copy", [IDENTIFIED, {}], ids=["same identifier", "same day only"])
def test_v28_a_correction_replaces_every_copy(copy: Json) -> None:
    corrected = result(PROTEIN, status="corrected", **amount(6.8, "g/d"), **IDENTIFIED)
    first = result(PROTEIN, "first", **amount(9.0, "g/d"), **IDENTIFIED)
    inside = result(PROTEIN, "c", **amount(9.0, "g/d"), **copy)
    assert fates(corrected, first, report(inside)) == {
        "Observation/o": "",
        "Observation/first": "SUPERSEDED",
        "DiagnosticReport/r  contained[0]": "SUPERSEDED",
    }


def test_the_newest_of_two_corrections_stands() -> None:
    rows = [
        result(PROTEIN, id, status="corrected", issued=f"2019-05-{day}T10:00:00Z", **amount(value, "g/d"))
        for id, day, value in (("a", 29, 6.8), ("b", 30, 6.9))
    ]
    assert fates(*rows) == {"Observation/a": "SUPERSEDED", "Observation/b": ""}


def test_copies_count_once() -> None:
    one = result(PROTEIN, "a", **amount(9.0, "g/d"))
    again = result(PROTEIN, "b", **amount(9000, "mg/d"))
    assert fates(one, again, report(result(PROTEIN, "c", **amount(9.0, "g/d")))) == {
        "Observation/a": "",
        "Observation/b": "DUPLICATE",
        "DiagnosticReport/r  contained[0]": "DUPLICATE",
    }


SPECIMEN = {"specimen": {"reference": "Specimen/s"}}


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        (SPECIMEN, SPECIMEN, "CONFLICT"),
        ({"effectiveDateTime": "2019-05-28T08:00:00+08:00"}, {"effectiveDateTime": "2019-05-28T00:00:00Z"},
         "CONFLICT"),
        ({}, {}, ""),  # the same day is not the same specimen
        (SPECIMEN, {"specimen": {"reference": "Specimen/t"}}, ""),
        (SPECIMEN, SPECIMEN | {"status": "preliminary"}, "SUPERSEDED"),
    ],
)  # fmt: skip
def test_two_values_of_one_specimen(first: Json, second: Json, expected: str) -> None:
    rows = fates(
        result(ALBUMIN, "a", **amount(26, "g/L"), **first),
        result(ALBUMIN, "b", **amount(24, "g/L"), **second),
    )
    assert rows["Observation/b"] == expected
    assert rows["Observation/a"] == ("" if expected == "SUPERSEDED" else expected)


def test_a_contained_copy_of_an_error_is_an_error() -> None:
    wrong = result(PROTEIN, status="entered-in-error", **amount(9.0, "g/d"), **IDENTIFIED)
    assert set(fates(wrong, report(result(PROTEIN, "c", **amount(9.0, "g/d"), **IDENTIFIED))).values()) == {
        "ENTERED_IN_ERROR"
    }


# --- 24 h protein (A.2) -----------------------------------------------------------------------------


def protein(*resources: Json) -> Finding:
    (row,) = [row for row in facts(*resources).findings if row.concept == "urine_protein_24h"]
    return row


def test_v3a_concentration_times_volume() -> None:
    row = protein(
        result(CONCENTRATION, "c", **amount(412.5, "mg/dL"), **SPECIMEN),
        result(VOLUME, "v", **amount(1940, "mL"), **SPECIMEN),
    )
    assert (shown(row), row.category, row.method) == ("8.0025 g/d", "derived", "concentration x volume")
    assert [source.reference for source in row.derived_from] == ["Observation/c", "Observation/v"]


@pytest.mark.parametrize(
    ("concentration", "volume", "expected"),
    [
        ({}, None, "- g/d !NO_VOLUME"),
        (SPECIMEN, SPECIMEN, "8.0025 g/d"),
        ({}, {}, "- g/d !NO_VOLUME"),  # the same day pairs nothing
        (SPECIMEN, {"specimen": {"reference": "Specimen/t"}}, "- g/d !NO_VOLUME"),
    ],
)
def test_what_pairs_a_concentration_with_a_volume(
    concentration: Json, volume: Json | None, expected: str
) -> None:
    sent = [result(CONCENTRATION, "c", **amount(412.5, "mg/dL"), **concentration)]
    if volume is not None:
        sent.append(result(VOLUME, "v", **amount(1.94, "L"), **volume))
    row = protein(*sent)
    assert shown(row).replace("- !", "- g/d !") == expected


def test_the_report_or_the_period_pairs_too() -> None:
    pair = (
        result(CONCENTRATION, "c", **amount(412.5, "mg/dL")),
        result(VOLUME, "v", **amount(1940, "mL")),
    )
    listed = report(result=[{"reference": "Observation/c"}, {"reference": "Observation/v"}])
    assert shown(protein(*pair, listed)) == "8.0025 g/d"
    period = {
        "effectiveDateTime": None,
        "effectivePeriod": {"start": "2019-05-27T07:00:00+08:00", "end": "2019-05-28T07:00:00+08:00"},
    }
    timed = [{name: value for name, value in (one | period).items() if value is not None} for one in pair]
    assert shown(protein(*timed)) == "8.0025 g/d"


@pytest.mark.parametrize(
    ("hours", "expected"),
    [
        (24, "9 g/d"),
        (22, "~9.818182 g/d"),  # 9 x 24 / 22 = 108/11
        (26, "~8.307692 g/d"),  # 9 x 24 / 26 = 108/13
        (20, "9 g/d !DURATION_OUTSIDE"),
        (21.99, "9 g/d !DURATION_OUTSIDE"),
    ],
)
def test_v3e_duration(hours: float, expected: str) -> None:
    row = protein(
        result(PROTEIN, "p", **amount(9, "g/d"), **SPECIMEN),
        result(DURATION, "d", **amount(hours, "h"), **SPECIMEN),
    )
    assert shown(row) == expected
    assert ("DURATION_NORMALISED" in row.flags) is (hours in (22, 26))


def test_a_duration_on_the_specimen_counts_as_stated() -> None:
    specimen = {
        "resourceType": "Specimen",
        "id": "s",
        "subject": {"reference": "Patient/p"},
        "collection": {"duration": {"value": 22, "unit": "h", "code": "h"}},
    }
    assert shown(protein(specimen, result(PROTEIN, "p", **amount(9, "g/d"), **SPECIMEN))) == "~9.818182 g/d"


def test_a_volume_of_any_urine_needs_a_duration() -> None:
    pair = [
        result(CONCENTRATION, "c", **amount(412.5, "mg/dL"), **SPECIMEN),
        result(TOTAL_VOLUME, "v", **amount(1940, "mL"), **SPECIMEN),
    ]
    assert protein(*pair).excluded == "NO_VOLUME"
    assert shown(protein(*pair, result(DURATION, "d", **amount(24, "h"), **SPECIMEN))) == "8.0025 g/d"


def test_a_measured_excretion_is_not_computed_again() -> None:
    rows = facts(
        result(PROTEIN, "p", **amount(9, "g/d"), **SPECIMEN),
        result(CONCENTRATION, "c", **amount(412.5, "mg/dL"), **SPECIMEN),
        result(VOLUME, "v", **amount(1940, "mL"), **SPECIMEN),
    ).findings
    assert [row.source.reference for row in rows if row.concept == "urine_protein_24h"] == ["Observation/p"]


# --- eGFR -------------------------------------------------------------------------------------------


def test_each_valid_creatinine_gives_both_equations() -> None:
    rows = derived(
        patient(born="1966-06-20"),
        result(CREATININE, effectiveDateTime="2019-05-20", **amount(107, "umol/L")),
    )
    values = {row.method: f"{float(row.value.point or 0):.3f}" for row in rows if row.value}
    assert values["CKD-EPI 2009"] == "68.390"
    assert set(values) == {"CKD-EPI 2009", "CKD-EPI 2021"}
    assert {row.derived_from[0].reference for row in rows} == {"Observation/o"}


@pytest.mark.parametrize(
    ("person", "sent"),
    [
        (patient("unknown"), amount(80, "umol/L")),
        (patient(), amount(80)),
        (patient(), amount(0.9, "umol/L")),
    ],
    ids=["sex unknown", "unit missing", "implausible"],
)
def test_no_equation_without_its_inputs(person: Json, sent: Json) -> None:
    assert derived(person, result(CREATININE, **sent)) == []


@pytest.mark.parametrize(
    ("born", "expected"),
    [
        ("2000-06-21", "AGE_NOT_ADULT"),  # 17 on the day of the sample, 2018-06-20
        ("2000-06-20", ""),
        ("2000", "AGE_NOT_ADULT"),  # 17 or 18
        ("1999", ""),
    ],
)
def test_an_equation_for_adults_gives_a_child_no_number_and_says_why(born: str, expected: str) -> None:
    sent = result(CREATININE, effectiveDateTime="2018-06-20", **amount(80, "umol/L"))
    rows = derived(patient(born=born), sent)
    assert {row.excluded for row in rows} == {expected}
    assert all((row.value is None) is bool(expected) for row in rows)


def test_age_is_counted_on_the_day_of_the_sample() -> None:
    on_birthday, before = (
        derived(
            patient(born="1966-06-20"), result(CREATININE, effectiveDateTime=day, **amount(80, "umol/L"))
        )[0]
        for day in ("2018-06-20", "2018-06-19")
    )
    assert "52 years" in on_birthday.original
    assert "51 years" in before.original


def test_a_birth_year_gives_an_interval() -> None:
    row = derived(patient(born="1966"), result(CREATININE, **amount(80, "umol/L")))[0]
    assert row.value is not None
    assert row.value.low is not None
    assert row.value.high is not None
    assert row.value.low < row.value.high
    assert "AGE_APPROXIMATE" in row.flags


# --- reports and answers ----------------------------------------------------------------------------


def test_report_text_is_for_a_person_to_read() -> None:
    """E-14."""
    (event,) = facts(report(conclusion="膜性肾病", presentedForm=[{"contentType": "application/pdf"}])).events
    assert (event.category, event.flags, event.concept) == ("report", ("REVIEW",), "")
    assert "膜性肾病" not in wire.encode(event).decode()


QUESTIONNAIRE = "https://trial-fhir-adapter.org/fhir/Questionnaire/NCT03864250-attestation"


def attestation(*items: Json, status: str = "completed") -> Json:
    return {
        "resourceType": "QuestionnaireResponse",
        "id": "a",
        "questionnaire": f"{QUESTIONNAIRE}|1.0",
        "status": status,
        "subject": {"reference": "Patient/p"},
        "authored": "2019-06-03",
        "item": list(items),
    }


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ({"valueBoolean": False}, "false"),
        ({"valueCoding": {"code": "membranous"}}, "membranous"),
        ({"valueString": "25-50%"}, "[25, 50] %"),
        ({"valueString": "<25%"}, "<25 %"),
        ({"valueString": "mild"}, "mild"),
        ({"valueDecimal": 10.5}, "10.5"),
        ({"valueQuantity": {"value": 10, "unit": "%"}}, "10 %"),
    ],
)
def test_attested_answers(answer: Json, expected: str) -> None:
    (row,) = readings(attestation({"linkId": "x", "answer": [answer]}))
    assert shown(row) == expected
    assert (row.code.system, row.code.code, row.category) == (QUESTIONNAIRE, "x", "questionnaire")


def test_attested_dates_keep_their_precision_and_nested_items_are_read() -> None:
    inner = {"linkId": "onset-date", "answer": [{"valueDate": "2018-12"}]}
    (row,) = readings(attestation({"linkId": "group", "item": [inner]}))
    assert row.value_date is not None
    assert (row.value_date.text, row.value_date.precision) == ("2018-12", "month")


def test_nothing_answered_says_nothing() -> None:
    found = facts(attestation({"linkId": "x"}, {"linkId": "y", "answer": [{"valueString": " "}]}))
    assert found.findings == ()
    assert [row.not_relevant for row in found.accounts if row.resource_type == "QuestionnaireResponse"] == [1]


@pytest.mark.parametrize(
    ("status", "expected"),
    [("amended", ""), ("in-progress", "IN_PROGRESS"), ("entered-in-error", "ENTERED_IN_ERROR")],
)
def test_only_finished_responses_decide(status: str, expected: str) -> None:
    (row,) = readings(attestation({"linkId": "x", "answer": [{"valueBoolean": True}]}, status=status))
    assert row.excluded == expected


def test_a_long_text_is_not_kept() -> None:
    (row,) = readings(attestation({"linkId": "x", "answer": [{"valueString": "張三" * 60}]}))
    assert (row.original, row.value_code, row.flags) == ("", "", ("TEXT_OMITTED",))


# --- what may be told -------------------------------------------------------------------------------


def test_issues_repeat_no_text_of_a_person() -> None:
    """Canary: a name in every free-text place of bad resources appears in no issue."""
    name = "王小明"
    sent = [
        patient() | {"name": [{"text": name}], "birthDate": name},
        result(PROTEIN, "a", valueString=name, note=[{"text": name}]),
        result(PROTEIN, "b", valueQuantity={"value": 9, "unit": "g/d"}, effectiveDateTime=name),
        result("5196-1", "c", valueCodeableConcept={"text": name}, status=name),
        report({"resourceType": "Observation", "status": 7, "note": name}, conclusion=name),
        attestation({"linkId": "x", "answer": [{"valueDate": name}]}),
    ]
    found = facts(*sent)
    assert len(found.issues) >= 5
    assert name not in "".join(wire.encode(one).decode() for one in found.issues)


def test_the_account_balances_on_a_mixed_bag() -> None:
    found = facts(
        patient(),
        result(PROTEIN, **amount(9, "g/d")),
        b"{",
        {"resourceType": "Practitioner", "id": "d"},
        {"resourceType": "Observation", "id": "n"},
    )
    assert {
        row.resource_type: (row.read, row.facts, row.issues, row.not_relevant) for row in found.accounts
    } == {
        "Observation": (2, 1, 1, 0),
        "Patient": (1, 1, 0, 0),
        "Practitioner": (1, 0, 0, 1),
        "unknown": (1, 0, 1, 0),
    }


def test_a_site_range_stands_in_for_a_missing_one() -> None:
    sent = result(ALT, **amount(25, "U/L"), performer=[{"display": "检验科"}])
    row = reading(sent, terminology=DEMO_SITE)
    assert row.range is not None
    assert (row.range.high, row.range.origin, "SITE_RANGE" in row.flags) == (40, "site", True)
    assert reading(sent).range is None
