"""The shorthand of ``cases.yaml`` as FHIR R4 resources (see ``docs/cases.md`` for every word).

Numbers keep the digits they were written with: they become JSON numbers through ``msgspec.Raw``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import date
from decimal import Decimal
from typing import Any

import msgspec

Resource = dict[str, Any]
Record = Mapping[str, Any]

SYSTEMS = {
    "loinc": "http://loinc.org",
    "sct": "http://snomed.info/sct",
    "icd-10": "http://hl7.org/fhir/sid/icd-10",
    "icd-10-cm": "http://hl7.org/fhir/sid/icd-10-cm",
    "rxnorm": "http://www.nlm.nih.gov/research/umls/rxnorm",
    "atc": "http://www.whocc.no/atc",
    "local": "https://hospital.example/codes",
}
UCUM = "http://unitsofmeasure.org"
CASE_PATIENT = "case"
SUBJECT = {"reference": f"Patient/{CASE_PATIENT}"}
_QUANTITY = re.compile(r"(<=|>=|<|>)?\s*([+-]?\d+(?:\.\d+)?)")
_ANSWERS = {"positive": "10828004", "negative": "260385009", "weakly positive": "260408008"}


def patient(stated: Record) -> Resource:
    """``patient: {sex, birth, deceased}``."""
    resource: Resource = {"resourceType": "Patient", "id": CASE_PATIENT}
    _put(resource, "gender", stated.get("sex"))
    _put(resource, "birthDate", stated.get("birth"))
    _put(resource, "deceasedDateTime", stated.get("deceased"))
    return resource


def enrolment(study: str, entered: date, arm: str) -> list[Resource]:
    """``randomised: DATE`` and ``arm: CODE`` as a ResearchSubject on the study from that day."""
    record = {"research_subject": "on-study", "study": study, "from": entered.isoformat()}
    known = {"resourceType": "ResearchStudy", "id": study, "status": "active"}
    with_arm = record | ({"arm": arm} if arm else {})
    return [*_research_subject("enrolment", with_arm), {**known, "identifier": [{"value": study}]}]


def attestation(answers: Record, questionnaire: str, authored: date, name: str = "attestation") -> Resource:
    """``attested: {linkId: answer}`` as one completed QuestionnaireResponse."""
    items = [{"linkId": link, "answer": [_answer(text)]} for link, text in answers.items()]
    return {
        "resourceType": "QuestionnaireResponse",
        "id": name,
        "meta": {"versionId": "1"},
        "questionnaire": questionnaire,
        "status": "completed",
        "subject": SUBJECT,
        "authored": authored.isoformat(),
        "item": items,
    }


def _answer(text: str) -> Resource:
    if text in ("true", "false"):
        return {"valueBoolean": text == "true"}
    if re.fullmatch(r"\d{4}(-\d{2}){0,2}", text):
        return {"valueDate": text}
    if re.fullmatch(r"\d{4}-\d{2}-\d{2}T\S+", text):
        return {"valueDateTime": text}
    if re.fullmatch(r"[IVX]+(-[IVX]+)?|[a-z]+(-[a-z]+)*", text) and text not in _FIBROSIS_WORDS:
        return {"valueCoding": {"code": text}}
    return {"valueString": text}


_FIBROSIS_WORDS = ("mild", "moderate", "severe")


def _laboratory(key: str, record: Record) -> list[Resource]:
    """``lab: CODE`` with value/unit, ``text``, ``answer``, range, collection, status and identity."""
    resource = _resource("Observation", key, record)
    resource["status"] = record.get("status", "final")
    resource["category"] = [{"coding": [{"code": record.get("category", "laboratory")}]}]
    resource["code"] = _concept(record["lab"], "loinc", record.get("name"))
    if "from" in record:
        resource["effectivePeriod"] = _period(record, "from", "to")
    elif "on" in record:
        resource["effectiveDateTime"] = record["on"]
    _put(resource, "issued", record.get("issued"))
    if "value" in record:
        resource["valueQuantity"] = _quantity(record)
    elif "text" in record:
        resource["valueString"] = record["text"]
    elif "answer" in record:
        resource["valueCodeableConcept"] = _answer_concept(record["answer"])
    elif "absent" in record:
        resource["dataAbsentReason"] = {"coding": [{"code": record["absent"]}]}
    if limits := _range(record):
        resource["referenceRange"] = [limits]
    if "specimen" in record:
        resource["specimen"] = {"reference": f"Specimen/{record['specimen']}"}
    if "method" in record:
        resource["method"] = {"text": record["method"]}
    if "identifier" in record:
        resource["identifier"] = [{"system": SYSTEMS["local"], "value": record["identifier"]}]
    if "laboratory" in record:
        resource["performer"] = [{"reference": f"Organization/{record['laboratory']}"}]
    return [resource]


def _quantity(record: Record) -> Resource:
    match = _QUANTITY.fullmatch(record["value"].strip())
    if match is None:
        raise ValueError(f"value {record['value']!r} is no number; use text: for text results")
    comparator, digits = match.groups()
    quantity: Resource = {"value": msgspec.Raw(str(Decimal(digits)).encode())}
    _put(quantity, "comparator", comparator)
    if "unit" in record:
        quantity |= {"unit": record["unit"], "system": UCUM, "code": record["unit"]}
    _put(quantity, "unit", record.get("unit_text"))
    return quantity


def _answer_concept(text: str) -> Resource:
    if code := _ANSWERS.get(text):
        return {"coding": [{"system": SYSTEMS["sct"], "code": code}], "text": text}
    return {"text": text}


def _range(record: Record) -> Resource:
    limits: Resource = {}
    unit = record.get("unit") or record.get("unit_text")
    for name in ("low", "high"):
        if f"range_{name}" in record:
            bound: Resource = {"value": msgspec.Raw(str(Decimal(record[f"range_{name}"])).encode())}
            _put(bound, "unit", unit)
            limits[name] = bound
    _put(limits, "text", record.get("range_text"))
    return limits


def _specimen(key: str, record: Record) -> list[Resource]:
    resource = _resource("Specimen", key, record)
    resource["type"] = {"text": record["specimen_type"]}
    return [resource]


def _condition(key: str, record: Record) -> list[Resource]:
    resource = _resource("Condition", key, record)
    _put_statuses(resource, record)
    resource["code"] = _concept(record["condition"], "icd-10", record.get("name"))
    _put(resource, "onsetDateTime", record.get("onset"))
    _put(resource, "abatementDateTime", record.get("abated"))
    _put(resource, "recordedDate", record.get("recorded"))
    return [resource]


def _procedure(key: str, record: Record) -> list[Resource]:
    resource = _resource("Procedure", key, record)
    resource["status"] = record.get("status", "completed")
    resource["code"] = _concept(record["procedure"], "sct", record.get("name"))
    _put(resource, "performedDateTime", record.get("on"))
    return [resource]


def _drug(resource: Resource, record: Record, code: str) -> Resource:
    resource["medicationCodeableConcept"] = _concept(code, "atc", record.get("name"))
    dosage: Resource = {"route": {"text": record["route"]}} if "route" in record else {}
    if "dose" in record:
        amount, _, unit = record["dose"].partition(" ")
        quantity = {"value": msgspec.Raw(str(Decimal(amount)).encode()), "unit": unit, "code": unit}
        dosage["doseAndRate"] = [{"doseQuantity": {**quantity, "system": UCUM}}]
    if "per_day" in record:
        dosage["timing"] = {"repeat": {"frequency": int(record["per_day"]), "period": 1, "periodUnit": "d"}}
    return dosage


def _order(key: str, record: Record) -> list[Resource]:
    """``order: ATC`` on a day, for ``days`` or until ``to``."""
    resource = _resource("MedicationRequest", key, record)
    resource |= {"status": record.get("status", "active"), "intent": record.get("intent", "order")}
    dosage = _drug(resource, record, record["order"])
    resource["authoredOn"] = record["on"]
    if "to" in record or "days" in record:
        repeat = dosage.setdefault("timing", {}).setdefault("repeat", {})
        if "to" in record:
            repeat["boundsPeriod"] = {"start": record["on"], "end": record["to"]}
        else:
            repeat["boundsDuration"] = _days(record)
    if dosage:
        resource["dosageInstruction"] = [dosage]
    return [resource]


def _days(record: Record) -> Resource:
    return {"value": int(record["days"]), "unit": "d", "system": UCUM, "code": "d"}


def _dispense(key: str, record: Record) -> list[Resource]:
    resource = _resource("MedicationDispense", key, record)
    resource["status"] = record.get("status", "completed")
    dosage = _drug(resource, record, record["dispense"])
    resource["whenHandedOver"] = record["on"]
    if "days" in record:
        resource["daysSupply"] = _days(record)
    if dosage:
        resource["dosageInstruction"] = [dosage]
    return [resource]


def _administration(key: str, record: Record) -> list[Resource]:
    resource = _resource("MedicationAdministration", key, record)
    resource["status"] = record.get("status", "completed")
    dosage = _drug(resource, record, record["administration"])
    resource["effectiveDateTime"] = record["on"]
    if rates := dosage.pop("doseAndRate", None):
        dosage["dose"] = rates[0]["doseQuantity"]
    dosage.pop("timing", None)
    if dosage:
        resource["dosage"] = dosage
    return [resource]


def _statement(key: str, record: Record) -> list[Resource]:
    resource = _resource("MedicationStatement", key, record)
    resource["status"] = record.get("status", "completed" if "to" in record else "active")
    dosage = _drug(resource, record, record["statement"])
    if period := _period(record, "from", "to"):
        resource["effectivePeriod"] = period
    if dosage:
        resource["dosage"] = [dosage]
    return [resource]


def _allergy(key: str, record: Record) -> list[Resource]:
    resource = _resource("AllergyIntolerance", key, record)
    _put_statuses(resource, record)
    _put(resource, "type", record.get("type"))
    resource["code"] = _concept(record["allergy"], "sct", record.get("name"))
    resource["patient"] = resource.pop("subject")
    return [resource]


def _consent(key: str, record: Record) -> list[Resource]:
    resource = _resource("Consent", key, record)
    resource["status"] = record["consent"]
    resource["scope"] = {
        "coding": [{"system": "http://terminology.hl7.org/CodeSystem/consentscope", "code": "research"}]
    }
    resource["patient"] = resource.pop("subject")
    _put(resource, "dateTime", record.get("on"))
    return [resource]


def _research_subject(key: str, record: Record) -> list[Resource]:
    resource = _resource("ResearchSubject", key, record)
    resource["status"] = record["research_subject"]
    resource["study"] = {"reference": f"ResearchStudy/{record.get('study', 'other-study')}"}
    resource["individual"] = resource.pop("subject")
    if period := _period(record, "from", "to"):
        resource["period"] = period
    _put(resource, "assignedArm", record.get("arm"))
    return [resource]


def _fhir(key: str, record: Record) -> list[Resource]:
    """``fhir: |`` and then any resource as JSON text, for what the shorthand has no word for."""
    try:
        resource = msgspec.json.decode(record["fhir"], type=dict[str, msgspec.Raw])
    except msgspec.DecodeError as fault:
        raise ValueError(f"fhir: is not a JSON object ({fault})") from fault
    resource.setdefault("id", msgspec.Raw(msgspec.json.encode(key)))
    if "resourceType" not in resource:
        raise ValueError("fhir: has no resourceType")
    return [resource]


_BUILDERS: dict[str, Callable[[str, Record], list[Resource]]] = {
    "lab": _laboratory,
    "specimen_type": _specimen,
    "condition": _condition,
    "procedure": _procedure,
    "order": _order,
    "dispense": _dispense,
    "administration": _administration,
    "statement": _statement,
    "allergy": _allergy,
    "consent": _consent,
    "research_subject": _research_subject,
    "fhir": _fhir,
}
RECORD_KINDS = tuple(_BUILDERS)


def build_record(kind: str, key: str, record: Record) -> list[Resource]:
    """The FHIR resources one shorthand record stands for; raises ``ValueError`` with what is wrong."""
    known = _WORDS | {kind}
    if kind != "fhir" and (unknown := sorted(set(record) - known)):
        raise ValueError(f"unknown word {unknown[0]!r}")
    try:
        return _BUILDERS[kind](key, record)
    except KeyError as fault:
        raise ValueError(f"{fault.args[0]!r} is missing") from fault


# fmt: off
_WORDS = {
    "value", "unit", "unit_text", "text", "answer", "absent", "range_low", "range_high", "range_text",
    "on", "from", "to", "issued", "status", "category", "specimen", "method", "identifier", "laboratory",
    "name", "id", "version", "updated", "clinical", "verification", "onset", "abated", "recorded",
    "route", "dose", "per_day", "days", "intent", "type", "study", "arm",
}
# fmt: on


def _resource(kind: str, key: str, record: Record) -> Resource:
    resource: Resource = {"resourceType": kind, "id": record.get("id", key), "subject": dict(SUBJECT)}
    resource["meta"] = {"versionId": record.get("version", "1")}
    _put(resource["meta"], "lastUpdated", record.get("updated"))
    return resource


def _concept(text: str, default: str, name: Any) -> Resource:
    """``CODE``, ``system|CODE`` or, with ``text|``, free text only."""
    system, bar, code = text.partition("|")
    if not bar:
        system, code = default, text
    if system == "text":
        return {"text": code}
    concept: Resource = {"coding": [{"system": SYSTEMS.get(system, system), "code": code}]}
    _put(concept, "text", name)
    return concept


def _period(record: Record, start: str, end: str) -> Resource:
    period: Resource = {}
    _put(period, "start", record.get(start))
    _put(period, "end", record.get(end))
    return period


def _put_statuses(resource: Resource, record: Record) -> None:
    """The two statuses of a record: active and confirmed unless stated; ``absent`` leaves one out."""
    for name, field, usual in (
        ("clinical", "clinicalStatus", "active"),
        ("verification", "verificationStatus", "confirmed"),
    ):
        if (status := record.get(name, usual)) != "absent":
            resource[field] = {"coding": [{"code": status}]}


def _put(target: Resource, name: str, value: Any) -> None:
    if value is not None:
        target[name] = value
