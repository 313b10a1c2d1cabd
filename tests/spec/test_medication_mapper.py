"""Drugs, pitfalls E-39 to E-41: what was ordered, handed over, given or stated, and what it proves."""

from __future__ import annotations

import json
from datetime import date
from fractions import Fraction
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from adapter.mappers import index, r4
from adapter.mappers.context import Context, Mapped, Mapper
from adapter.mappers.medications.exposure import settle
from adapter.mappers.medications.medication_administration import (
    MedicationAdministration,
    map_medication_administration,
)
from adapter.mappers.medications.medication_dispense import MedicationDispense, map_medication_dispense
from adapter.mappers.medications.medication_request import MedicationRequest, map_medication_request
from adapter.mappers.medications.medication_statement import MedicationStatement, map_medication_statement
from adapter.mappers.terminology import Terminology
from adapter.model import wire
from adapter.model.facts import Intervention
from adapter.model.resource import RawResource

SHANGHAI = ZoneInfo("Asia/Shanghai")
TERMINOLOGY = Terminology.load(Path(__file__).parents[2] / "mappings")
RXNORM = "http://www.nlm.nih.gov/research/umls/rxnorm"
ATC = "http://www.whocc.no/atc"
SNOMED = "http://snomed.info/sct"
UCUM = "http://unitsofmeasure.org"
KINDS = {
    "MedicationRequest": Mapper(MedicationRequest, map_medication_request),
    "MedicationDispense": Mapper(MedicationDispense, map_medication_dispense),
    "MedicationAdministration": Mapper(MedicationAdministration, map_medication_administration),
    "MedicationStatement": Mapper(MedicationStatement, map_medication_statement),
}


def mapped(kind: str, medications: tuple[dict[str, Any], ...] = (), **elements: Any) -> Mapped:
    stored = [r4.decode(json.dumps(one).encode(), r4.Medication) for one in medications]
    context = Context(terminology=TERMINOLOGY, zone=SHANGHAI, index=index.build((), stored, ()))
    record: dict[str, Any] = {
        "resourceType": kind,
        "id": "m",
        "subject": {"reference": "Patient/p"},
        "status": "completed",
        **elements,
    }
    if "medicationReference" not in record:
        record.setdefault("medicationCodeableConcept", {"text": "他克莫司胶囊"})
    line = json.dumps({key: value for key, value in record.items() if value is not None}).encode()
    mapper = KINDS[kind]
    return mapper.function(
        r4.decode(line, mapper.struct), RawResource(line, f"{kind}.ndjson:1", kind), context
    )


def row(kind: str, medications: tuple[dict[str, Any], ...] = (), **elements: Any) -> Intervention:
    found = mapped(kind, medications, **elements).interventions
    assert len(found) == 1
    return found[0]


def coded(system: str, code: str, text: str = "") -> dict[str, Any]:
    return {"coding": [{"system": system, "code": code}]} | ({"text": text} if text else {})


def dosage(value: Any = 2, unit: str = "mg", frequency: int | None = 2, **more: Any) -> dict[str, Any]:
    found: dict[str, Any] = {"doseAndRate": [{"doseQuantity": {"value": value, "unit": unit}}], **more}
    if frequency:
        found["timing"] = {"repeat": {"frequency": frequency, "period": 1, "periodUnit": "d"}}
    return found


# --- which drug ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("concept", "drug", "role"),
    [
        (coded(RXNORM, "42316"), "tacrolimus", "E5"),
        (coded(ATC, "L04AD02"), "tacrolimus", "E5"),
        (coded(SNOMED, "386975001"), "tacrolimus", "E5"),
        ({"text": "他克莫司胶囊"}, "tacrolimus", "E5"),
        ({"text": "醋酸泼尼松片"}, "prednisone", "E5"),
        ({"text": "泼尼松龙片"}, "prednisolone", "E5"),  # contains 泼尼松 and is another drug
        ({"text": "甲泼尼龙片"}, "methylprednisolone", "E5"),
        (coded(ATC, "L01XC02"), "rituximab", "E5"),  # E-41: the older ATC code
        (coded(ATC, "L01FA01"), "rituximab", "E5"),
        (coded(ATC, "L04AA13"), "leflunomide", "E5"),
        (coded(ATC, "L04AK01"), "leflunomide", "E5"),
        ({"text": "雷公藤多苷片"}, "tripterygium", "E5"),
        (coded(ATC, "P01BA02"), "hydroxychloroquine", "E5_REVIEW"),
        ({"text": "五酯胶囊"}, "wuzhi", "CYP3A4_INHIBITOR"),
        ({"text": "复方甘草酸苷片"}, "", ""),  # no immunosuppressant, and still on the list
        (coded(ATC, "C08CA01", "氨氯地平片"), "", ""),
    ],
)
def test_a_drug_is_known_by_code_or_name(concept: dict[str, Any], drug: str, role: str) -> None:
    found = row("MedicationStatement", medicationCodeableConcept=concept)
    assert (found.concept, found.role) == (drug, role)
    assert bool(found.classes) is bool(drug)
    assert found.code.code or found.code.display


@pytest.mark.parametrize("reference", ["Medication/tac", "https://h.example/fhir/Medication/tac", "#tac"])
def test_a_medication_is_found_wherever_it_lies(reference: str) -> None:
    medication = {"resourceType": "Medication", "id": "tac", "code": coded(ATC, "L04AD02")}
    inside = {"contained": [medication]} if reference.startswith("#") else {}
    stored = () if inside else (medication,)
    found = row("MedicationRequest", stored, medicationReference={"reference": reference}, **inside)
    assert found.concept == "tacrolimus"


def test_a_medication_may_be_known_by_its_ingredients_alone() -> None:
    kit = {
        "resourceType": "Medication",
        "id": "kit",
        "ingredient": [
            {"itemCodeableConcept": coded(RXNORM, "42316")},
            {"itemCodeableConcept": coded(RXNORM, "8640")},
            {"itemCodeableConcept": {"text": "lactose"}, "isActive": False},
        ],
    }
    found = mapped("MedicationStatement", (kit,), medicationReference={"reference": "Medication/kit"})
    assert [one.concept for one in found.interventions] == ["prednisone", "tacrolimus"]


def test_a_medication_that_was_never_sent_is_told_and_kept() -> None:
    found = mapped("MedicationRequest", medicationReference={"reference": "Medication/gone"})
    assert [issue.code for issue in found.issues] == ["MEDICATION_UNRESOLVED"]
    assert ["MEDICATION_UNRESOLVED" in one.flags for one in found.interventions] == [True]
    assert mapped("MedicationRequest", medicationCodeableConcept={}).outcome == "issue"


# --- E-40: does it act on the whole body -----------------------------------------------------------


@pytest.mark.parametrize(
    ("concept", "route", "systemic", "flag"),
    [
        ({"text": "他克莫司软膏"}, None, False, ""),
        (coded(ATC, "D11AH01"), None, False, ""),
        ({"text": "环孢素滴眼液"}, None, False, ""),
        ({"text": "地塞米松滴眼液"}, None, False, ""),
        ({"text": "氢化可的松乳膏"}, None, False, ""),
        ({"text": "布地奈德鼻喷雾剂"}, None, False, ""),
        ({"text": "吸入用布地奈德混悬液"}, None, False, ""),
        ({"text": "他克莫司胶囊"}, None, True, ""),
        ({"text": "他克莫司"}, None, None, "ROUTE_MISSING"),
        ({"text": "他克莫司"}, coded(SNOMED, "26643006"), True, ""),
        ({"text": "他克莫司"}, coded(SNOMED, "6064005"), False, ""),
        (coded(RXNORM, "42316"), {"text": "口服"}, True, ""),
        (coded(ATC, "L04AD02"), None, True, ""),  # ATC L04 is for systemic use
        (coded(ATC, "L04AD02"), {"text": "外用"}, False, ""),
        ({"text": "曲安奈德注射液"}, coded(SNOMED, "12130007"), None, "ROUTE_REVIEW"),  # into a joint
        ({"text": "他克莫司软膏"}, {"text": "口服"}, None, "ROUTE_CONFLICT"),
    ],
)
def test_only_a_systemic_route_is_systemic(
    concept: dict[str, Any], route: dict[str, Any] | None, systemic: bool | None, flag: str
) -> None:
    dosages = [{"route": route}] if route else None
    found = row("MedicationStatement", medicationCodeableConcept=concept, dosage=dosages)
    assert found.systemic is systemic
    assert {one for one in found.flags if one.startswith("ROUTE")} == ({flag} if flag else set())


# --- dose ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("instruction", "dose", "unit", "daily"),
    [
        (dosage(2, "mg", 2), "2", "mg", "4"),
        (dosage(0.5, "g", 3), "500", "mg", "1500"),
        (dosage(500, "ug", 2), "1/2", "mg", "1"),
        (dosage(500, "μg", 2), "1/2", "mg", "1"),
        (dosage(500, "mcg", 2), "1/2", "mg", "1"),
        (dosage(2, "毫克", 1), "2", "mg", "2"),
        (dosage(2, "片", 2), "2", "片", "4"),
        (dosage(2, "mg", None), "2", "mg", None),  # never assume twice a day
        (dosage(2, "mg", None, timing={"code": {"coding": [{"code": "BID"}]}}), "2", "mg", "4"),
        (dosage(2, "mg", None, timing={"code": {"text": "q12h"}}), "2", "mg", "4"),
        (dosage(2, "mg", None, timing={"code": {"text": "每日2次"}}), "2", "mg", "4"),
        (
            dosage(2, "mg", None, timing={"repeat": {"frequency": 1, "period": 12, "periodUnit": "h"}}),
            "2",
            "mg",
            "4",
        ),
        (
            dosage(10, "mg", None, timing={"repeat": {"frequency": 1, "period": 1, "periodUnit": "wk"}}),
            "10",
            "mg",
            "10/7",
        ),
        (
            dosage(1, "mg", None, timing={"repeat": {"frequency": 1, "period": 1, "periodUnit": "mo"}}),
            "1",
            "mg",
            None,
        ),
        (
            dosage(
                1,
                "mg",
                None,
                timing={
                    "repeat": {"frequency": 1, "frequencyMax": 2, "period": 1, "periodUnit": "d"},
                },
            ),
            "1",
            "mg",
            None,
        ),
        (
            dosage(
                7,
                "mg",
                None,
                timing={
                    "repeat": {
                        "frequency": 1,
                        "period": 1,
                        "periodUnit": "d",
                        "dayOfWeek": ["mon", "thu"],
                    },
                },
            ),
            "7",
            "mg",
            "2",
        ),
        (
            dosage(1, "mg", None, timing={"repeat": {"timeOfDay": ["08:00:00", "20:00:00"]}}),
            "1",
            "mg",
            "2",
        ),
        (dosage(2, "mg", 2, asNeededBoolean=True), "2", "mg", None),
    ],
)
def test_dose_and_daily_dose_are_exact_or_absent(
    instruction: dict[str, Any], dose: str, unit: str, daily: str | None
) -> None:
    found = row("MedicationRequest", dosageInstruction=[instruction])
    assert (found.dose, found.dose_unit) == (Fraction(dose), unit)
    assert found.daily_dose == (Fraction(daily) if daily else None)


@pytest.mark.parametrize(
    ("instruction", "flag"),
    [
        (dosage(2, "mg", None), "FREQUENCY_MISSING"),
        (
            {"text": "2mg bid", "timing": {"repeat": {"frequency": 2, "period": 1, "periodUnit": "d"}}},
            "DOSE_MISSING",
        ),
        ({"doseAndRate": [{"doseRange": {"low": {"value": 1}, "high": {"value": 2}}}]}, "DOSE_RANGE"),
        (dosage(2, "mg", 1, asNeededBoolean=True), "AS_NEEDED"),
        (dosage(2, "MG", 1), "UNIT_REPAIRED"),
    ],
)
def test_what_is_missing_from_a_dosage_is_said(instruction: dict[str, Any], flag: str) -> None:
    assert flag in row("MedicationRequest", dosageInstruction=[instruction]).flags


def test_two_instructions_at_once_add_up_and_one_after_the_other_do_not() -> None:
    both = [dosage(2, "mg", 1, sequence=1), dosage(1, "mg", 1, sequence=1)]
    taper = [dosage(2, "mg", 1, sequence=1), dosage(1, "mg", 1, sequence=2)]
    assert row("MedicationRequest", dosageInstruction=both).daily_dose == 3
    found = row("MedicationRequest", dosageInstruction=taper)
    assert (found.daily_dose, "DOSE_SEQUENCE" in found.flags) == (None, True)


def test_tablets_become_milligrams_by_the_strength_on_record() -> None:
    tablet = {
        "resourceType": "Medication",
        "id": "t",
        "code": coded(ATC, "H02AB07"),
        "ingredient": [
            {
                "itemCodeableConcept": {"text": "prednisone"},
                "strength": {
                    "numerator": {"value": 5, "unit": "mg"},
                    "denominator": {"value": 1, "unit": "片"},
                },
            }
        ],
    }
    found = row(
        "MedicationRequest",
        (tablet,),
        medicationReference={"reference": "Medication/t"},
        dosageInstruction=[dosage(6, "片", 1)],
    )
    assert (found.dose, found.dose_unit, found.daily_dose) == (Fraction(30), "mg", Fraction(30))


def test_a_dosage_in_words_alone_is_an_issue_and_no_dose() -> None:
    found = mapped("MedicationRequest", dosageInstruction=[{"text": "CANARY 每晚适量"}])
    assert [issue.code for issue in found.issues] == ["DOSAGE_UNPARSED"]
    assert found.interventions[0].dose is None
    assert b"CANARY" not in wire.encode(found)


# --- status and kind -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "status", "excluded"),
    [
        ("MedicationRequest", "active", ""),
        ("MedicationRequest", "completed", ""),
        ("MedicationRequest", "draft", "DRAFT"),
        ("MedicationRequest", "cancelled", "CANCELLED"),
        ("MedicationRequest", "stopped", "STOPPED"),
        ("MedicationRequest", "on-hold", "ON_HOLD"),
        ("MedicationRequest", "entered-in-error", "ENTERED_IN_ERROR"),
        ("MedicationDispense", "completed", ""),
        ("MedicationDispense", "declined", "DECLINED"),
        ("MedicationDispense", "cancelled", "CANCELLED"),
        ("MedicationDispense", "preparation", "NOT_HANDED_OVER"),
        ("MedicationDispense", "entered-in-error", "ENTERED_IN_ERROR"),
        ("MedicationAdministration", "completed", ""),
        ("MedicationAdministration", "stopped", ""),  # some of it was given
        ("MedicationAdministration", "not-done", "NOT_DONE"),
        ("MedicationAdministration", "entered-in-error", "ENTERED_IN_ERROR"),
        ("MedicationStatement", "active", ""),
        ("MedicationStatement", "stopped", ""),  # it was taken until then
        ("MedicationStatement", "not-taken", "NOT_TAKEN"),
        ("MedicationStatement", "intended", "INTENDED"),
        ("MedicationStatement", "entered-in-error", "ENTERED_IN_ERROR"),
    ],
)
def test_statuses_that_prove_nothing_are_excluded(kind: str, status: str, excluded: str) -> None:
    assert row(kind, status=status).excluded == excluded


def test_a_missing_status_is_usable_with_a_flag_and_a_plan_is_no_order() -> None:
    for kind in KINDS:
        found = row(kind, status=None)
        assert (found.excluded, "STATUS_MISSING" in found.flags) == ("", True)
    assert row("MedicationRequest", intent="plan").excluded == "NOT_AN_ORDER"
    assert row("MedicationRequest", doNotPerform=True).excluded == "DO_NOT_PERFORM"


# --- when exposure ends ----------------------------------------------------------------------------


def end_of(found: Intervention) -> str:
    return found.exposure_end.iso if found.exposure_end else "ongoing" if found.ongoing else ""


@pytest.mark.parametrize(
    ("kind", "elements", "end"),
    [
        # given: the day itself, in the hospital's time zone (E-24)
        ("MedicationAdministration", {"effectiveDateTime": "2019-04-24"}, "2019-04-24"),
        ("MedicationAdministration", {"effectiveDateTime": "2019-04-23T16:30:00Z"}, "2019-04-24T00:30:00"),
        (
            "MedicationAdministration",
            {"effectivePeriod": {"start": "2019-04-24", "end": "2019-04-25"}},
            "2019-04-25",
        ),
        # handed over on the 1st for 14 days: last day the 14th
        (
            "MedicationDispense",
            {"whenHandedOver": "2019-05-01", "daysSupply": {"value": 14, "unit": "d"}},
            "2019-05-14",
        ),
        (
            "MedicationDispense",
            {"whenHandedOver": "2019-05-01", "daysSupply": {"value": 2, "unit": "wk"}},
            "2019-05-14",
        ),
        # 50 x 1 mg at 4 mg a day: 12.5 days, so the 13th is a day of intake
        (
            "MedicationDispense",
            {
                "whenHandedOver": "2019-05-01",
                "quantity": {"value": 50, "unit": "mg"},
                "dosageInstruction": [dosage(2, "mg", 2)],
            },
            "2019-05-13",
        ),
        ("MedicationDispense", {"whenHandedOver": "2019-05-01"}, ""),
        ("MedicationDispense", {"whenHandedOver": "2019-05", "daysSupply": {"value": 14}}, ""),
        # ordered
        (
            "MedicationRequest",
            {
                "authoredOn": "2019-05-01",
                "dispenseRequest": {"expectedSupplyDuration": {"value": 14, "code": "d"}},
            },
            "2019-05-14",
        ),
        (
            "MedicationRequest",
            {
                "authoredOn": "2019-05-01",
                "dispenseRequest": {
                    "numberOfRepeatsAllowed": 1,
                    "expectedSupplyDuration": {"value": 14, "code": "d"},
                },
            },
            "2019-05-28",
        ),
        (
            "MedicationRequest",
            {
                "authoredOn": "2019-05-01",
                "dispenseRequest": {"validityPeriod": {"start": "2019-05-01", "end": "2019-05-14"}},
            },
            "2019-05-14",
        ),
        (
            "MedicationRequest",
            {
                "authoredOn": "2019-05-01",
                "dosageInstruction": [
                    {"timing": {"repeat": {"boundsPeriod": {"start": "2019-05-03", "end": "2019-05-20"}}}}
                ],
                "dispenseRequest": {"validityPeriod": {"end": "2019-12-31"}},
            },
            "2019-05-20",
        ),
        (
            "MedicationRequest",
            {
                "authoredOn": "2019-05-01",
                "dosageInstruction": [{"timing": {"repeat": {"boundsDuration": {"value": 10, "code": "d"}}}}],
            },
            "2019-05-10",
        ),
        ("MedicationRequest", {"authoredOn": "2019-05-01", "status": "active"}, "ongoing"),
        ("MedicationRequest", {"authoredOn": "2019-05-01"}, ""),
        # stated
        ("MedicationStatement", {"effectivePeriod": {"start": "2019-01", "end": "2019-03"}}, "2019-03"),
        ("MedicationStatement", {"effectiveDateTime": "2019-03"}, "2019-03"),  # E-26
        (
            "MedicationStatement",
            {"effectivePeriod": {"start": "2019-01-05"}, "status": "active"},
            "ongoing",
        ),
        ("MedicationStatement", {"effectivePeriod": {"start": "2019-01-05"}}, ""),
    ],
)
def test_exposure_ends_where_the_record_says(kind: str, elements: dict[str, Any], end: str) -> None:
    found = row(kind, **elements)
    assert end_of(found) == end
    assert ("END_UNKNOWN" in found.flags) is (not end)


def test_a_partial_hand_over_gives_a_partial_end() -> None:
    end = row(
        "MedicationDispense", whenHandedOver="2019-05", daysSupply={"value": 14, "unit": "d"}
    ).exposure_end
    assert end is not None
    assert (end.first, end.last) == (date(2019, 5, 14), date(2019, 6, 13))


# --- E-39: an order is not an intake ---------------------------------------------------------------


def order(**elements: Any) -> Intervention:
    validity = {"validityPeriod": {"start": "2019-05-01", "end": "2019-05-14"}}
    return row("MedicationRequest", **{"authoredOn": "2019-05-01", "dispenseRequest": validity, **elements})


def dispense(handed: str, **elements: Any) -> Intervention:
    return row(
        "MedicationDispense",
        **{"whenHandedOver": handed, "daysSupply": {"value": 7, "unit": "d"}, **elements},
    )


@pytest.mark.parametrize(
    ("fills", "excluded", "flagged"),
    [
        ([], "", True),
        ([dispense("2019-05-02")], "FILLED", False),
        ([dispense("2019-07-01")], "", True),  # another supply, long after
        (
            [dispense("2019-07-01", authorizingPrescription=[{"reference": "MedicationRequest/m"}])],
            "FILLED",
            False,
        ),
        ([dispense("2019-05-02", status="declined")], "", True),
        ([dispense("2019-05-02", medicationCodeableConcept={"text": "缬沙坦胶囊"})], "", True),
        ([row("MedicationAdministration", effectiveDateTime="2019-05-03T08:00:00+08:00")], "FILLED", False),
        ([row("MedicationStatement", effectiveDateTime="2019-05-03")], "", True),
    ],
)
def test_an_order_nobody_answers_is_presumed_taken_and_says_so(
    fills: list[Intervention], excluded: str, flagged: bool
) -> None:
    settled = settle([order(), *fills])
    assert (settled[0].excluded, "REQUEST_ONLY" in settled[0].flags) == (excluded, flagged)
    assert not [flag for one in settled for flag in one.flags if flag.startswith("FILLS")]


def test_the_order_of_rows_does_not_matter_and_excluded_orders_stay_as_they_are() -> None:
    rows = [order(), dispense("2019-05-02"), order(status="cancelled")]
    assert set(settle(rows)) == set(settle(rows[::-1]))
    assert settle(rows)[2].excluded == "CANCELLED"
    assert "REQUEST_ONLY" not in settle(rows)[2].flags


def test_a_supply_of_unknown_length_lasts_as_long_as_its_order() -> None:
    found = settle([order(), dispense("2019-05-02", daysSupply=None)])[1]
    assert end_of(found) == "2019-05-14"
    assert "END_FROM_ORDER" in found.flags


def test_unknown_drugs_are_told_apart_by_code_or_name() -> None:
    amlodipine = {"medicationCodeableConcept": {"text": "氨氯地平片"}}
    metformin = {"medicationCodeableConcept": {"text": "二甲双胍片"}}
    assert settle([order(**amlodipine), dispense("2019-05-02", **amlodipine)])[0].excluded == "FILLED"
    assert settle([order(**amlodipine), dispense("2019-05-02", **metformin)])[0].excluded == ""
