"""Diagnoses, pitfalls E-26, E-30 and E-42 to E-44: code, wording and status decide together."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from adapter.mappers import index, r4
from adapter.mappers.clinical.condition import Condition, map_condition
from adapter.mappers.context import Context, Mapped
from adapter.mappers.terminology import Terminology
from adapter.model import wire
from adapter.model.dates import parse_date
from adapter.model.facts import Source, Subject
from adapter.model.resource import RawResource

SHANGHAI = ZoneInfo("Asia/Shanghai")
TERMINOLOGY = Terminology.load(Path(__file__).parents[2] / "mappings")
ICD10 = "http://hl7.org/fhir/sid/icd-10"
ICD10CM = "http://hl7.org/fhir/sid/icd-10-cm"
SNOMED = "http://snomed.info/sct"


def mapped(birth: str | None = "1967-03-14", **elements: Any) -> Mapped:
    person = Subject("p", Source("Patient/p"), birth=parse_date(birth, SHANGHAI) if birth else None)
    context = Context(
        terminology=TERMINOLOGY, zone=SHANGHAI, index=index.build((), (), ()), people={"p": person}
    )
    record = {
        "resourceType": "Condition",
        "id": "c",
        "meta": {"versionId": "2"},
        "subject": {"reference": "Patient/p"},
        "clinicalStatus": {"coding": [{"code": "active"}]},
        "verificationStatus": {"coding": [{"code": "confirmed"}]},
        **elements,
    }
    line = json.dumps({key: value for key, value in record.items() if value is not None}).encode()
    return map_condition(r4.decode(line, Condition), RawResource(line, "Condition.ndjson:1"), context)


def coded(*codings: tuple[str, str], text: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {"coding": [{"system": system, "code": code} for system, code in codings]}
    return found | ({"text": text} if text else {})


def concepts(**elements: Any) -> list[str]:
    return [row.concept for row in mapped(**elements).events]


# --- codes -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("system", "code", "expected"),
    [
        (ICD10, "I26.900", ["pulmonary_embolism"]),  # E-42: Chinese six-digit extension
        (ICD10, "N04.200x001", ["membranous_nephropathy", "nephrotic_syndrome"]),
        (ICD10, "n04.2", ["membranous_nephropathy", "nephrotic_syndrome"]),
        (ICD10, "N08.501", ["secondary_membranous_nephropathy"]),
        # both halves are read
        (ICD10, "M32.102+N08.5*", ["secondary_membranous_nephropathy", "systemic_lupus_erythematosus"]),
        (ICD10, "M32.102+N16.4*", ["systemic_lupus_erythematosus"]),
        (ICD10, "M35.002+N16.4*", [""]),  # known to nobody here: kept as history
        (ICD10CM, "N04.21", ["nephrotic_syndrome", "primary_membranous_nephropathy"]),
        (SNOMED, "722119002", ["primary_membranous_nephropathy"]),
        (SNOMED, "59282003", ["pulmonary_embolism"]),
        ("http://example.org/local", "XX1", [""]),
    ],
)
def test_a_code_names_its_concepts(system: str, code: str, expected: list[str]) -> None:
    assert concepts(code=coded((system, code))) == expected


def test_several_codings_of_one_diagnosis_are_one_event_per_concept() -> None:
    code = coded((ICD10, "I26.9"), (SNOMED, "59282003"), text="肺栓塞")
    assert concepts(code=code) == ["pulmonary_embolism"]


def test_a_corrupted_snomed_id_is_not_read() -> None:
    found = mapped(code=coded((SNOMED, "1.07E+16"), text="肺栓塞"))  # E-30
    assert [issue.code for issue in found.issues] == ["CODE_INVALID"]
    assert [(row.concept, row.use) for row in found.events] == [("pulmonary_embolism", "SUPP")]


def test_a_diagnosis_in_words_alone_is_found_in_words() -> None:
    found = mapped(code={"text": "特发性膜性肾病 Ⅱ期"})
    assert [(row.concept, row.presence, row.use) for row in found.events] == [
        ("primary_membranous_nephropathy", "present", "AUTO")
    ]
    assert concepts(code={"text": "原发性高血压"}) == [""]  # "primary" of something else


def test_words_add_to_the_code_what_the_code_cannot_say() -> None:
    code = coded((ICD10, "N05.200"), text="特发性膜性肾病")
    assert concepts(code=code) == ["membranous_nephropathy", "primary_membranous_nephropathy"]


def test_an_unknown_diagnosis_stays_as_history_and_a_nameless_one_is_an_issue() -> None:
    found = mapped(code=coded((ICD10, "J06.900"), text="急性上呼吸道感染"))
    assert [(row.concept, row.code.code, row.flags) for row in found.events] == [
        ("", "J06.900", ("ONSET_MISSING", "UNMAPPED_CODE"))
    ]
    assert found.outcome == "facts"
    for empty in (None, {}, {"coding": [{"system": ICD10}]}):
        assert mapped(code=empty).outcome == "issue"


# --- status and wording ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("clinical", "verification", "presence", "excluded"),
    [
        ("active", "confirmed", "present", ""),
        ("recurrence", "confirmed", "present", ""),
        ("relapse", "confirmed", "present", ""),
        ("inactive", "confirmed", "past", ""),
        ("remission", "confirmed", "past", ""),
        ("resolved", "confirmed", "past", ""),
        ("active", "provisional", "unconfirmed", ""),
        ("active", "differential", "unconfirmed", ""),
        ("active", "unconfirmed", "unconfirmed", ""),
        ("active", "refuted", "refuted", ""),
        ("active", "entered-in-error", "present", "ENTERED_IN_ERROR"),
    ],
)
def test_statuses_decide_presence(clinical: str, verification: str, presence: str, excluded: str) -> None:
    found = mapped(
        code=coded((ICD10, "I26.9")),
        clinicalStatus={"coding": [{"code": clinical}]},
        verificationStatus={"coding": [{"code": verification}]},
    )
    assert [(row.presence, row.excluded) for row in found.events] == [(presence, excluded)]


def test_missing_statuses_are_usable_with_a_flag() -> None:
    found = mapped(code=coded((ICD10, "I26.9")), clinicalStatus=None, verificationStatus=None)
    assert [row.presence for row in found.events] == ["present"]
    assert "STATUS_MISSING" in found.events[0].flags


def test_an_abated_diagnosis_without_status_is_past_and_with_active_contradicts_itself() -> None:
    abated: dict[str, Any] = {"code": coded((ICD10, "I26.9")), "abatementDateTime": "2019-01-31"}
    silent = mapped(clinicalStatus=None, **abated).events[0]
    assert (silent.presence, silent.end.day if silent.end else None) == ("past", date(2019, 1, 31))
    assert "STATUS_CONFLICT" in mapped(**abated).events[0].flags


@pytest.mark.parametrize(
    ("text", "presence", "excluded"),
    [
        ("肺栓塞", "present", ""),
        ("肺栓塞?", "unconfirmed", ""),
        ("肺栓塞？", "unconfirmed", ""),
        ("肺栓塞待查", "unconfirmed", ""),
        ("疑似肺栓塞", "unconfirmed", ""),
        ("suspected pulmonary embolism", "unconfirmed", ""),
        ("肺栓塞不除外", "unconfirmed", ""),
        ("除外肺栓塞", "refuted", ""),
        ("排除肺栓塞", "refuted", ""),
        ("既往肺栓塞", "past", ""),
        ("history of pulmonary embolism", "past", ""),
        ("肺栓塞家族史", "present", "FAMILY_HISTORY"),
    ],
)
def test_wording_takes_back_what_the_code_says(text: str, presence: str, excluded: str) -> None:
    found = mapped(code=coded((ICD10, "I26.9"), text=text)).events
    assert [(row.concept, row.presence, row.excluded) for row in found] == [
        ("pulmonary_embolism", presence, excluded)
    ]


@pytest.mark.parametrize(
    ("code", "concept", "presence", "use"),
    [
        ("Z85.100", "history_of_malignancy", "past", "AUTO"),  # E-43: history is never active
        ("Z80.000", "family_history_of_malignancy", "present", "NEVER"),
        ("I82.300", "renal_vein_thrombosis", "present", "AUTO"),  # sure; the protocol asks a person
        ("I80.300", "leg_deep_vein_thrombosis", "unconfirmed", "AUTO"),  # which vein is not said
        ("R75.x00", "hiv", "unconfirmed", "AUTO"),  # inconclusive
        ("B90.900", "tuberculosis_latent", "present", "AUTO"),
        ("Z86.700", "pulmonary_embolism", "present", "NEVER"),
    ],
)
def test_codes_that_are_no_present_diagnosis(code: str, concept: str, presence: str, use: str) -> None:
    found = mapped(code=coded((ICD10, code))).events
    assert [(row.concept, row.presence, row.use) for row in found] == [(concept, presence, use)]


# --- dates -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("elements", "first", "last"),
    [
        ({"onsetDateTime": "2018-12"}, date(2018, 12, 1), date(2018, 12, 31)),  # E-26
        ({"onsetDateTime": "2019-05-05T16:30:00Z"}, date(2019, 5, 6), date(2019, 5, 6)),  # E-24
        ({"onsetPeriod": {"start": "2018-12-20", "end": "2019-01-05"}}, date(2018, 12, 20), date(2019, 1, 5)),
        ({"onsetPeriod": {"start": "2018-12-20"}}, date(2018, 12, 20), date(2018, 12, 20)),
        (  # 51 years old: from the 51st birthday to the day before the 52nd
            {"onsetAge": {"value": 51, "code": "a"}},
            date(2018, 3, 14),
            date(2019, 3, 13),
        ),
        (
            {"onsetRange": {"low": {"value": 50, "code": "a"}, "high": {"value": 51, "code": "a"}}},
            date(2017, 3, 14),
            date(2019, 3, 13),
        ),
    ],
)
def test_onset_in_all_its_shapes(elements: dict[str, Any], first: date, last: date) -> None:
    start = mapped(code=coded((ICD10, "I26.9")), **elements).events[0].start
    assert start is not None
    assert (start.first, start.last) == (first, last)


@pytest.mark.parametrize(
    ("birth", "elements", "problem"),
    [
        (None, {"onsetAge": {"value": 51, "code": "a"}}, "AGE_WITHOUT_BIRTH"),
        ("1967-03-14", {"onsetAge": {"value": 51, "code": "mg"}}, "BAD_DATE"),
        ("1967-03-14", {"onsetString": "去年冬天 CANARY"}, "UNPARSED_TEXT"),
        ("1967-03-14", {"onsetDateTime": "2018-13-01"}, "BAD_DATE"),
        ("1967-03-14", {"abatementString": "CANARY"}, "UNPARSED_TEXT"),
    ],
)
def test_an_onset_that_cannot_be_read_is_told_and_not_guessed(
    birth: str | None, elements: dict[str, Any], problem: str
) -> None:
    found = mapped(birth, code=coded((ICD10, "I26.9")), **elements)
    assert found.events[0].start is None
    assert [issue.code for issue in found.issues] == [problem]
    assert b"CANARY" not in wire.encode(found)


def test_recorded_date_and_category_are_kept_beside_the_onset() -> None:
    found = mapped(
        code=coded((ICD10, "I26.9")),
        recordedDate="2019-05-20",
        category=[{"coding": [{"code": "encounter-diagnosis"}]}],
    ).events[0]
    assert (found.start, found.recorded.day if found.recorded else None) == (None, date(2019, 5, 20))
    assert found.attribute("category") == "encounter-diagnosis"


# --- stage -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "stage"),
    [
        ("236413007", "I"),
        ("236414001", "II"),
        ("236415000", "III"),
        ("236416004", "IV"),
        ("236417008", "V"),
    ],
)
def test_a_stage_code_is_a_finding_and_a_diagnosis(code: str, stage: str) -> None:
    found = mapped(code=coded((SNOMED, code)), onsetDateTime="2019-04-15")
    assert [(row.concept, row.value_code, row.category, row.excluded) for row in found.findings] == [
        ("mn_stage", stage, "pathology", "")
    ]
    assert [(row.concept, row.attribute("stage")) for row in found.events] == [
        ("membranous_nephropathy", stage)
    ]


def test_condition_stage_is_read_for_the_disease_it_stages() -> None:
    stage = [{"summary": {"text": "Ⅱ期"}}]
    assert [row.value_code for row in mapped(code=coded((ICD10, "N04.2")), stage=stage).findings] == ["II"]
    assert mapped(code=coded((ICD10, "C16.9")), stage=stage).findings == ()


def test_a_stage_of_a_doubtful_diagnosis_decides_nothing() -> None:
    found = mapped(code=coded((SNOMED, "236414001"), text="膜性肾病II期?"))
    assert [row.excluded for row in found.findings] == ["PRELIMINARY"]


def test_a_condition_of_nobody_is_an_issue() -> None:
    found = mapped(code=coded((ICD10, "I26.9")), subject={"display": "CANARY"})
    assert [issue.code for issue in found.issues] == ["NO_SUBJECT"]
    assert found.outcome == "issue"
    assert b"CANARY" not in wire.encode(found)
