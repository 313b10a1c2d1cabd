"""One patient from resources at hand to a verdict, and what an order would break.

Records are made here by hand; what is right follows from the record of NCT03864250: tacrolimus never above
0.1 mg/kg/d, other immunosuppressants than the assigned ones end the study (exit 4), three months without any
before screening (exclusion 5).
"""

from __future__ import annotations

from datetime import UTC, date, datetime
from functools import cache
from typing import Any

import msgspec
import pytest

from adapter.consult import TYPES, UNMAPPED, Counsel, Record, advise, consult, counsel, in_force
from adapter.model.coverage import Coverage
from adapter.model.resource import RawResource
from adapter.pipeline import open_trial

DAY = date(2026, 3, 2)
NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
WHO = {"reference": "Patient/p1"}
UCUM = "http://unitsofmeasure.org"


@cache
def ready() -> Counsel:
    return counsel(open_trial())


def patient(key: str = "p1") -> dict[str, Any]:
    return {"resourceType": "Patient", "id": key, "gender": "male", "birthDate": "1980-01-01"}


def diagnosis(key: str = "c1") -> dict[str, Any]:
    return {
        "resourceType": "Condition",
        "id": key,
        "subject": WHO,
        "clinicalStatus": {"coding": [{"code": "active"}]},
        "verificationStatus": {"coding": [{"code": "confirmed"}]},
        "code": {"coding": [{"system": "http://snomed.info/sct", "code": "77182004"}]},
        "onsetDateTime": "2025-06-01",
    }


def on_study(since: str = "2026-01-05", arm: str = "TAC") -> list[dict[str, Any]]:
    study = {
        "resourceType": "ResearchStudy",
        "id": "st",
        "status": "active",
        "identifier": [{"system": "https://clinicaltrials.gov", "value": "NCT03864250"}],
    }
    subject = {
        "resourceType": "ResearchSubject",
        "id": "rs1",
        "status": "on-study",
        "period": {"start": since},
        "study": {"reference": "ResearchStudy/st"},
        "individual": WHO,
        "assignedArm": arm,
    }
    return [study, subject]


def weight(kilograms: int) -> dict[str, Any]:
    return {
        "resourceType": "Observation",
        "id": "w1",
        "status": "final",
        "subject": WHO,
        "effectiveDateTime": "2026-01-05",
        "code": {"coding": [{"system": "http://loinc.org", "code": "29463-7"}]},
        "valueQuantity": {"value": kilograms, "unit": "kg", "system": UCUM, "code": "kg"},
    }


def order(words: str, milligrams: float | None = None, times: int = 2, **more: Any) -> dict[str, Any]:
    made: dict[str, Any] = {
        "resourceType": "MedicationRequest",
        "id": "draft-1",
        "status": "draft",
        "intent": "order",
        "subject": WHO,
        "medicationCodeableConcept": {"text": words},
        **more,
    }
    if milligrams is not None:
        quantity = {"value": milligrams, "unit": "mg", "system": UCUM, "code": "mg"}
        repeat = {"frequency": times, "period": 1, "periodUnit": "d"}
        made["dosageInstruction"] = [
            {
                "route": {"text": "口服"},
                "timing": {"repeat": repeat},
                "doseAndRate": [{"doseQuantity": quantity}],
            }
        ]
    return made


def record(*resources: dict[str, Any], lacking: tuple[str, ...] = ()) -> Record:
    lines = (
        RawResource(msgspec.json.encode(one), f"x:{n}", one["resourceType"])
        for n, one in enumerate(resources)
    )
    rows = (Coverage(kind, kind not in lacking, "p1", None, DAY, "not sent") for kind in TYPES)
    return Record("p1", tuple(lines), tuple(rows))


def test_who_has_none_of_the_codes_is_no_candidate() -> None:
    assert consult(ready(), record(patient(), weight(70)), as_of=DAY).standing == "no candidate"


@pytest.mark.parametrize("kind", ["Condition", "Observation", "ResearchSubject"])
def test_without_the_types_that_could_tell_nobody_is_said_not_to_be_one(kind: str) -> None:
    found = consult(ready(), record(patient(), weight(70), lacking=(kind,)), as_of=DAY)
    assert (found.standing, found.lacking) == ("unknown", ((kind, "not sent"),))


def test_a_candidate_gets_a_decision_with_evidence() -> None:
    found = consult(ready(), record(patient(), diagnosis()), as_of=DAY)
    assert (found.standing, found.monitoring) == ("candidate", None)
    assert found.decision is not None
    references = {item.source.reference for one in found.decision.criteria for item in one.evidence}
    assert "Condition/c1" in references


def test_without_the_patient_record_nobody_is_judged() -> None:
    found = consult(ready(), record(diagnosis()), as_of=DAY)
    assert (found.standing, found.lacking) == ("unknown", (("Patient", "no readable record"),))


def test_people_on_the_study_are_monitored_and_on_request_judged_as_they_entered() -> None:
    own = record(patient(), diagnosis(), *on_study())
    found = consult(ready(), own, as_of=DAY)
    assert (found.standing, found.decision) == ("on study", None)
    assert found.monitoring is not None
    assert found.monitoring.randomised == date(2026, 1, 5)
    both = consult(ready(), own, as_of=DAY, entry=True)
    assert both.decision is not None
    assert both.decision.as_of == date(2026, 1, 4)


# 70 kg: 0.1 mg/kg/d is 7 mg/d, that is 3.5 mg twice a day.
@pytest.mark.parametrize(
    ("drafted", "breaks", "unknown"),
    [
        (order("他克莫司胶囊", 3.5), set(), set()),
        (order("他克莫司胶囊", 3.6), {"A5"}, set()),
        (order("他克莫司胶囊"), set(), {"its daily dose cannot be read"}),
        (order("环磷酰胺片", 50), {"X4"}, set()),
        (order("阿莫西林胶囊", 500), set(), {"no table of this site knows the drug"}),
        (order(""), set(), {"the medication of this order is not recognised"}),
        (
            order("", medicationReference={"reference": "Medication/far"}),
            set(),
            {"the medication of this order"},
        ),
        (order("环磷酰胺片", 50, subject={"reference": "Patient/p2"}), set(), set()),
        (order("环磷酰胺片", 50, doNotPerform=True), set(), set()),
    ],
)
def test_an_order_for_somebody_on_the_study(
    drafted: dict[str, Any], breaks: set[str], unknown: set[str]
) -> None:
    if drafted.get("medicationReference"):
        del drafted["medicationCodeableConcept"]
    own = record(patient(), diagnosis(), weight(70), *on_study())
    found = advise(ready(), own, in_force([drafted], "p1", now=NOW), as_of=DAY)
    broken = {one.criterion.id for one in found.concerns if one.verdict == "breaks" and one.criterion}
    open_ = [one.why for one in found.concerns if one.verdict == "unknown"]
    assert broken == breaks
    assert len(open_) == len(unknown), open_
    assert all(any(why.startswith(words) for why in open_) for words in unknown)


def dosed(value: float, unit: str, system: str = "", code: str = "") -> dict[str, Any]:
    made = order("他克莫司胶囊", 1)
    quantity = {"value": value, "unit": unit, "system": system, "code": code}
    made["dosageInstruction"][0]["doseAndRate"][0]["doseQuantity"] = {k: v for k, v in quantity.items() if v}
    return made


@pytest.mark.parametrize(
    "drafted",
    [dosed(2, "粒"), dosed(2, "squirts"), dosed(5000, "IU", UCUM, "[iU]"), dosed(2, "mL", UCUM, "mL")],
)
def test_a_dose_in_a_unit_that_is_no_mass_is_unknown_not_fine(drafted: dict[str, Any]) -> None:
    own = record(patient(), diagnosis(), weight(70), *on_study())
    found = advise(ready(), own, in_force([drafted], "p1", now=NOW), as_of=DAY)
    assert [one for one in found.concerns if one.verdict == "breaks"] == []
    assert [one for one in found.concerns if one.verdict == "unknown"]


def test_a_drug_that_no_table_knows_is_said_to_be_unchecked_with_its_code() -> None:
    coded = {"coding": [{"system": "https://his.example/drugs", "code": "X77", "display": "某药"}]}
    drafted = order("", 10, medicationCodeableConcept=coded)
    own = record(patient(), diagnosis(), weight(70), *on_study())
    (one,) = advise(ready(), own, in_force([drafted], "p1", now=NOW), as_of=DAY).concerns
    assert (one.verdict, one.why, one.code) == ("unknown", UNMAPPED, "https://his.example/drugs|X77")


def test_a_drug_that_no_table_knows_costs_a_candidate_nothing() -> None:
    own = record(patient(), diagnosis())
    found = advise(ready(), own, in_force([order("阿莫西林胶囊", 500)], "p1", now=NOW), as_of=DAY)
    assert found.concerns == ()


def test_without_a_weight_a_dose_per_kilogram_is_unknown_not_fine() -> None:
    own = record(patient(), diagnosis(), *on_study())
    found = advise(ready(), own, in_force([order("他克莫司胶囊", 3)], "p1", now=NOW), as_of=DAY)
    assert {(one.verdict, one.criterion.id) for one in found.concerns if one.criterion} >= {("unknown", "A5")}
    assert not [one for one in found.concerns if one.verdict == "breaks"]


def test_a_gap_before_the_order_is_not_the_fault_of_the_order() -> None:
    own = record(patient(), diagnosis(), weight(70), *on_study("2025-10-01"))
    found = advise(ready(), own, in_force([order("他克莫司胶囊", 3)], "p1", now=NOW), as_of=DAY)
    assert [one for one in found.concerns if one.verdict == "breaks"] == []


def test_an_order_may_cost_a_candidate_the_eligibility() -> None:
    own = record(patient(), diagnosis())
    found = advise(ready(), own, in_force([order("泼尼松片", 30, 1)], "p1", now=NOW), as_of=DAY)
    assert {(one.verdict, one.criterion.id) for one in found.concerns if one.criterion} == {
        ("breaks", "EXCL05")
    }


def test_an_order_for_somebody_else_than_a_candidate_is_no_concern() -> None:
    found = advise(ready(), record(patient()), in_force([order("泼尼松片", 30)], "p1", now=NOW), as_of=DAY)
    assert (found.consultation.standing, found.concerns) == ("no candidate", ())


def test_an_order_that_is_changed_takes_the_place_of_the_one_on_record() -> None:
    standing = order("他克莫司胶囊", 5, id="mr1", status="active", authoredOn="2026-03-01")
    own = record(patient(), diagnosis(), weight(70), *on_study(), standing)
    lower = order("他克莫司胶囊", 3, id="mr1")
    assert advise(ready(), own, in_force([lower], "p1", now=NOW), as_of=DAY).concerns == ()
