"""Allergies, procedures, vaccines, consents, visits, studies and adverse events (E-24, E-37, E-43, E-44)."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from adapter.mappers import map_resources
from adapter.mappers.terminology import Terminology
from adapter.model import wire
from adapter.model.facts import Event, Facts, Intervention
from adapter.model.resource import RawResource

SHANGHAI = ZoneInfo("Asia/Shanghai")
TERMINOLOGY = Terminology.load(Path(__file__).parents[2] / "mappings")
SNOMED = "http://snomed.info/sct"
RXNORM = "http://www.nlm.nih.gov/research/umls/rxnorm"
ATC = "http://www.whocc.no/atc"
SCOPE = "http://terminology.hl7.org/CodeSystem/consentscope"
PATIENT = {"resourceType": "Patient", "id": "p", "gender": "male", "birthDate": "1967-03-14"}
SUBJECT_ELEMENT = {
    "Consent": "patient",
    "AllergyIntolerance": "patient",
    "Immunization": "patient",
    "ResearchSubject": "individual",
}


def facts(*records: dict[str, Any]) -> Facts:
    lines = [json.dumps(record, ensure_ascii=False).encode() for record in (PATIENT, *records)]
    return map_resources(
        [RawResource(line, f"file:{number}") for number, line in enumerate(lines, 1)],
        terminology=TERMINOLOGY,
        zone=SHANGHAI,
    )


def record(kind: str, /, **elements: Any) -> dict[str, Any]:
    subject = {SUBJECT_ELEMENT.get(kind, "subject"): {"reference": "Patient/p"}}
    found: dict[str, Any] = {"resourceType": kind, "id": "r", **subject, **elements}
    return {key: value for key, value in found.items() if value is not None}


def event(kind: str, **elements: Any) -> Event:
    found = facts(record(kind, **elements))
    assert len(found.events) == 1
    assert all(account.balanced for account in found.accounts)
    return found.events[0]


def coded(system: str, code: str, text: str = "") -> dict[str, Any]:
    return {"coding": [{"system": system, "code": code}]} | ({"text": text} if text else {})


# --- AllergyIntolerance ----------------------------------------------------------------------------

CONFIRMED = {
    "clinicalStatus": {"coding": [{"code": "active"}]},
    "verificationStatus": {"coding": [{"code": "confirmed"}]},
}


@pytest.mark.parametrize(
    ("code", "concept", "substance"),
    [
        (coded(RXNORM, "42316"), "tacrolimus", "tacrolimus"),
        (coded(SNOMED, "116602009"), "prednisone", "prednisone"),
        (coded(ATC, "H02AB06"), "prednisolone", "prednisolone"),
        ({"text": "他克莫司过敏"}, "tacrolimus", "tacrolimus"),
        ({"text": "他克莫司软膏"}, "tacrolimus_topical", "tacrolimus"),  # a related product
        (coded(SNOMED, "716186003"), "no_known_allergy", ""),
        (coded(SNOMED, "409137002"), "no_known_allergy", ""),
        (coded(SNOMED, "428787002"), "macrolide_allergy", ""),
        ({"text": "青霉素"}, "", ""),
    ],
)
def test_an_allergy_is_to_a_substance_or_to_none(code: dict[str, Any], concept: str, substance: str) -> None:
    found = event("AllergyIntolerance", code=code, **CONFIRMED)
    assert (found.concept, found.attribute("substance"), found.category) == (concept, substance, "allergy")
    assert found.presence == "present"


@pytest.mark.parametrize(
    ("clinical", "verification", "presence", "excluded", "flags"),
    [
        ("active", "confirmed", "present", "", ()),
        ("inactive", "confirmed", "past", "", ()),
        ("resolved", "confirmed", "past", "", ()),
        ("active", "unconfirmed", "unconfirmed", "", ()),
        ("active", "refuted", "refuted", "", ()),
        ("", "entered-in-error", "present", "ENTERED_IN_ERROR", ("STATUS_MISSING",)),
        ("", "", "present", "", ("STATUS_MISSING",)),
    ],
)
def test_an_allergy_is_as_sure_as_its_statuses(
    clinical: str, verification: str, presence: str, excluded: str, flags: tuple[str, ...]
) -> None:
    statuses = {"clinicalStatus": clinical, "verificationStatus": verification}
    found = event(
        "AllergyIntolerance",
        code=coded(RXNORM, "42316"),
        **{name: {"coding": [{"code": code}]} if code else None for name, code in statuses.items()},
    )
    assert (found.presence, found.excluded, found.flags) == (presence, excluded, flags)


def test_type_and_criticality_keep_an_intolerance_from_being_an_allergy() -> None:
    found = event(
        "AllergyIntolerance",
        code=coded(RXNORM, "42316"),
        type="intolerance",
        criticality="low",
        recordedDate="2019-05-20",
        **CONFIRMED,
    )
    assert (found.attribute("type"), found.attribute("criticality")) == ("intolerance", "low")
    assert "calcineurin_inhibitor" in found.attribute("classes").split()
    assert found.recorded is not None
    assert found.recorded.day == date(2019, 5, 20)


def test_related_allergies_can_be_asked_about() -> None:
    found = event("AllergyIntolerance", code=coded(SNOMED, "428787002", "红霉素过敏"), **CONFIRMED)
    assert (found.concept, found.use, found.flags) == ("macrolide_allergy", "AUTO", ("REVIEW",))


def test_the_substance_of_the_reaction_counts_where_the_code_names_none() -> None:
    found = event(
        "AllergyIntolerance",
        code={"text": "药物"},
        reaction=[{"substance": coded(RXNORM, "42316")}],
        **CONFIRMED,
    )
    assert found.concept == "tacrolimus"


# --- Procedure -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("elements", "expected"),
    [
        ({"status": "completed"}, ("kidney_biopsy", "present", "", "2019-04-15")),
        ({"status": "not-done"}, ("kidney_biopsy", "present", "NOT_DONE", "2019-04-15")),
        ({"status": "preparation"}, ("kidney_biopsy", "present", "PLANNED", "2019-04-15")),
        ({"status": "stopped"}, ("kidney_biopsy", "present", "STOPPED", "2019-04-15")),
        ({"status": "entered-in-error"}, ("kidney_biopsy", "present", "ENTERED_IN_ERROR", "2019-04-15")),
        (
            {"status": "completed", "performedDateTime": "2019-04"},
            ("kidney_biopsy", "present", "", "2019-04"),
        ),
    ],
)
def test_a_biopsy_counts_if_it_was_done(elements: dict[str, Any], expected: tuple[str, ...]) -> None:
    found = event(
        "Procedure", **{"code": coded(SNOMED, "7246002"), "performedDateTime": "2019-04-15", **elements}
    )
    assert found.start is not None
    assert (found.concept, found.presence, found.excluded, found.start.iso) == expected


@pytest.mark.parametrize(
    ("text", "drugs"),
    [
        ("利妥昔单抗输注", ["rituximab"]),
        ("Cyclophosphamide infusion", ["cyclophosphamide"]),
        ("他克莫司血药浓度测定", []),  # measured, not given
        ("换药", []),
        ("Hepatitis C screening", []),  # nor is the disease it looks for a diagnosis
    ],
)
def test_a_procedure_that_gives_a_drug_is_an_administration(text: str, drugs: list[str]) -> None:
    found = facts(
        record("Procedure", status="completed", code={"text": text}, performedDateTime="2019-04-15")
    )
    assert [row.concept for row in found.interventions] == drugs
    assert [row.concept for row in found.events] == ([] if drugs else [""])
    for row in found.interventions:
        assert (row.kind, row.systemic) == ("administration", True)
        assert row.exposure_end is not None
        assert row.exposure_end.day == date(2019, 4, 15)


# --- Immunization: E-37 ----------------------------------------------------------------------------


def vaccine(**elements: Any) -> Intervention:
    rows = facts(record("Immunization", **elements)).interventions
    assert len(rows) == 1
    return rows[0]


def test_a_hepatitis_b_vaccine_is_found_with_its_day() -> None:
    found = vaccine(status="completed", vaccineCode={"text": "乙肝疫苗"}, occurrenceDateTime="2019-05-20")
    assert (found.concept, found.excluded) == ("hepatitis_b_vaccine", "")
    assert found.start is not None
    assert found.start.day == date(2019, 5, 20)
    refused = vaccine(status="not-done", vaccineCode={"text": "乙肝疫苗"}, occurrenceDateTime="2019-05-20")
    assert refused.excluded == "NOT_DONE"
    other = vaccine(status="completed", vaccineCode={"text": "流感疫苗"}, occurrenceDateTime="2019-05-20")
    assert (other.concept, other.code.display) == ("", "流感疫苗")


# --- Consent ---------------------------------------------------------------------------------------


def consent(**elements: Any) -> dict[str, Any]:
    return record(
        "Consent",
        **{
            "status": "active",
            "scope": coded(SCOPE, "research"),
            "dateTime": "2019-06-03T01:00:00Z",
            **elements,
        },
    )


@pytest.mark.parametrize(
    ("status", "presence", "excluded"),
    [
        ("active", "present", ""),
        ("inactive", "past", ""),
        ("rejected", "refuted", ""),
        ("draft", "unconfirmed", ""),
        ("proposed", "unconfirmed", ""),
        ("entered-in-error", "unconfirmed", "ENTERED_IN_ERROR"),
    ],
)
def test_a_research_consent_is_as_good_as_its_status(status: str, presence: str, excluded: str) -> None:
    (found,) = facts(consent(status=status)).events
    assert (found.concept, found.presence, found.excluded) == ("research_consent", presence, excluded)
    assert found.attribute("status") == status
    assert found.start is not None
    assert found.start.iso == "2019-06-03T09:00:00"  # E-24: the hospital's own clock


@pytest.mark.parametrize(
    ("elements", "relevant"),
    [
        ({}, True),
        ({"scope": coded(SCOPE, "treatment")}, False),
        ({"scope": coded(SCOPE, "patient-privacy"), "category": [{"text": "research"}]}, False),
        ({"scope": None, "category": [{"coding": [{"code": "research"}]}]}, True),
        ({"scope": None, "category": [{"text": "临床试验知情同意书"}]}, True),
        ({"scope": None, "category": [{"text": "手术知情同意书"}]}, False),
    ],
)
def test_only_consents_to_research_are_relevant(elements: dict[str, Any], relevant: bool) -> None:
    found = facts(consent(**elements))
    assert bool(found.events) is relevant
    (account,) = [one for one in found.accounts if one.resource_type == "Consent"]
    assert (account.read, account.facts, account.not_relevant) == (1, int(relevant), int(not relevant))


@pytest.mark.parametrize(
    "elements",
    [
        {"provision": {"data": [{"meaning": "related", "reference": {"reference": "ResearchStudy/tac"}}]}},
        {
            "extension": [
                {
                    "url": "http://hl7.org/fhir/StructureDefinition/workflow-researchStudy",
                    "valueReference": {"reference": "https://h.example/fhir/ResearchStudy/tac"},
                }
            ]
        },
    ],
)
def test_a_consent_names_its_study(elements: dict[str, Any]) -> None:
    (found,) = facts(consent(provision={"type": "permit"}) | elements).events
    assert found.attribute("study") == "ResearchStudy/tac"


def test_a_consent_without_a_date_is_told() -> None:
    found = facts(consent(dateTime=None))
    assert ("NO_DATE", "Consent/r") in [(issue.code, issue.reference) for issue in found.issues]
    assert "NO_DATE" in found.events[0].flags


# --- ResearchSubject and ResearchStudy -------------------------------------------------------------

STUDY = {
    "resourceType": "ResearchStudy",
    "id": "other",
    "status": "active",
    "identifier": [{"system": "https://clinicaltrials.gov", "value": "NCT00000001"}],
    "category": [{"text": "interventional"}],
}


@pytest.mark.parametrize(
    ("status", "presence"),
    [
        ("on-study", "present"),
        ("on-study-intervention", "present"),
        ("follow-up", "present"),
        ("off-study", "past"),
        ("withdrawn", "refuted"),  # before registration: never took part
        ("ineligible", "refuted"),
        ("candidate", "unconfirmed"),
        ("screening", "unconfirmed"),
    ],
)
def test_taking_part_is_not_the_same_as_being_considered(status: str, presence: str) -> None:
    study = {"reference": "ResearchStudy/other"}
    assert event("ResearchSubject", status=status, study=study).presence == presence


def test_a_research_subject_knows_arm_consent_and_what_the_study_is() -> None:
    taking_part = record(
        "ResearchSubject",
        status="off-study",
        study={"reference": "ResearchStudy/other/_history/3"},
        period={"start": "2018-11-02", "end": "2019-04-30"},
        assignedArm="A",
        actualArm="B",
        consent={"reference": "Consent/c"},
    )
    for order in ((STUDY, taking_part), (taking_part, STUDY)):
        (found,) = [row for row in facts(*order).events if row.concept == "research_subject"]
        assert dict(found.attributes) == {
            "status": "off-study",
            "study": "ResearchStudy/other",
            "assigned_arm": "A",
            "actual_arm": "B",
            "consent": "Consent/c",
            "study_identifier": "NCT00000001",
            "study_type": "interventional",
        }
        assert found.start is not None
        assert found.end is not None
        assert (found.start.day, found.end.day) == (date(2018, 11, 2), date(2019, 4, 30))


def test_the_r5_shape_is_read_too() -> None:
    (found,) = facts(
        {
            "resourceType": "ResearchSubject",
            "id": "r",
            "status": "active",
            "subject": {"reference": "Patient/p"},
            "study": {"reference": "ResearchStudy/other"},
            "progress": [
                {"subjectState": {"coding": [{"code": "on-study"}]}, "startDate": "2019-01-01"},
                {"subjectState": {"coding": [{"code": "off-study"}]}, "startDate": "2019-03-01"},
            ],
        }
    ).events
    assert (found.status, found.presence) == ("off-study", "past")


# --- AdverseEvent and Encounter --------------------------------------------------------------------


def test_an_adverse_event_carries_what_a_safety_report_needs() -> None:
    found = event(
        "AdverseEvent",
        actuality="actual",
        event={"text": "腹泻"},
        date="2019-07-01",
        recordedDate="2019-07-02",
        seriousness=coded("", "non-serious"),
        severity=coded("", "mild"),
        outcome=coded("", "resolved"),
        suspectEntity=[
            {
                "instance": {"reference": "MedicationRequest/m"},
                "causality": [{"assessment": coded("", "Probably-likely")}],
            }
        ],
        extension=[{"url": "https://h.example/action-taken", "valueCode": "dose-reduced"}],
        study=[{"reference": "ResearchStudy/other"}],
    )
    assert dict(found.attributes) == {
        "actuality": "actual",
        "seriousness": "non-serious",
        "severity": "mild",
        "outcome": "resolved",
        "causality": "Probably-likely",
        "suspect": "MedicationRequest/m",
        "action": "dose-reduced",
        "study": "ResearchStudy/other",
    }
    assert (found.concept, found.presence, found.code.display) == ("adverse_event", "present", "腹泻")
    assert event("AdverseEvent", actuality="potential", event={"text": "x"}).presence == "unconfirmed"


@pytest.mark.parametrize(
    ("status", "excluded"),
    [
        ("finished", ""),
        ("in-progress", ""),
        ("planned", "PLANNED"),
        ("cancelled", "CANCELLED"),
        ("entered-in-error", "ENTERED_IN_ERROR"),
    ],
)
def test_a_visit_is_one_that_took_place(status: str, excluded: str) -> None:
    found = event(
        "Encounter",
        status=status,
        period={"start": "2019-05-28T08:00:00", "end": "2019-05-28T17:00:00"},
        **{"class": {"code": "AMB"}},
    )
    assert (found.concept, found.excluded, found.attribute("class")) == ("encounter", excluded, "AMB")
    assert "TZ_ASSUMED" in found.flags  # E-24: no offset was sent


# --- all of them -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "kind",
    [
        "AdverseEvent",
        "AllergyIntolerance",
        "Condition",
        "Consent",
        "Encounter",
        "Immunization",
        "MedicationAdministration",
        "MedicationDispense",
        "MedicationRequest",
        "MedicationStatement",
        "Procedure",
        "ResearchSubject",
    ],
)
def test_a_record_of_nobody_is_one_issue_and_says_nothing_personal(kind: str) -> None:
    elements: dict[str, Any] = {
        "scope": coded(SCOPE, "research") if kind == "Consent" else None,
        SUBJECT_ELEMENT.get(kind, "subject"): {"display": "CANARY", "identifier": {"value": "CANARY"}},
    }
    found = facts(record(kind, **elements))
    assert [issue.code for issue in found.issues] == ["NO_SUBJECT"]
    assert (found.events, found.interventions) == ((), ())
    assert all(account.balanced for account in found.accounts)
    assert b"CANARY" not in wire.encode(found)


def test_facts_follow_the_person_through_a_merge() -> None:
    old = {
        "resourceType": "Patient",
        "id": "old",
        "link": [{"type": "replaced-by", "other": {"reference": "Patient/p"}}],
    }
    moved = record("AllergyIntolerance", code=coded(RXNORM, "42316"), **CONFIRMED) | {
        "patient": {"reference": "Patient/old"}
    }
    found = facts(old, moved)
    assert [row.subject for row in found.events] == ["p"]
    assert [row.id for row in found.subjects] == ["p"]
