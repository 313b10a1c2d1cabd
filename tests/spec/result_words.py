"""Short ways to write results as a hospital sends them, and to map them by the way real data goes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from adapter.mappers import map_resources
from adapter.mappers.terminology import Terminology
from adapter.model.facts import Facts, Finding
from adapter.model.resource import RawResource

SHANGHAI = ZoneInfo("Asia/Shanghai")
MAPPINGS = Path(__file__).parents[2] / "mappings"
TERMINOLOGY = Terminology.load(MAPPINGS)
DEMO_SITE = Terminology.load(MAPPINGS, "demo")
LOINC = "http://loinc.org"
UCUM = "http://unitsofmeasure.org"
SNOMED = "http://snomed.info/sct"
DEMO_CODES = "https://fhir.demo-hospital.example/codes/lis-item"

Json = dict[str, Any]


def patient(gender: str = "male", born: str = "1967-03-14") -> Json:
    return {"resourceType": "Patient", "id": "p", "gender": gender, "birthDate": born}


def result(loinc: str, id: str = "o", **elements: Any) -> Json:
    """A final LOINC-coded Observation of patient p on 2019-05-28; None takes an element away."""
    sent = {
        "resourceType": "Observation",
        "id": id,
        "status": "final",
        "code": {"coding": [{"system": LOINC, "code": loinc}]},
        "subject": {"reference": "Patient/p"},
        "effectiveDateTime": "2019-05-28",
        **elements,
    }
    return {name: value for name, value in sent.items() if value is not None}


def amount(value: float | str, unit: str = "", comparator: str = "") -> Json:
    """``valueQuantity``; a value given as text is written into the JSON digit by digit."""
    sent: Json = {"value": Digits(value) if isinstance(value, str) else value}
    if unit:
        sent |= {"unit": unit, "code": unit, "system": UCUM}
    if comparator:
        sent["comparator"] = comparator
    return {"valueQuantity": sent}


class Digits(NamedTuple):
    """A JSON number with exactly these characters."""

    text: str


def raw(resource: Json | bytes, where: str = "t.ndjson:1") -> RawResource:
    if isinstance(resource, bytes):
        return RawResource(resource, where)
    # json writes numbers in its own way, so exact digits go in by a mark.
    marks: dict[str, str] = {}

    def mark(value: Any) -> Any:
        if isinstance(value, Digits):
            token = f"@@{len(marks)}@@"
            marks[token] = value.text
            return token
        if isinstance(value, dict):
            return {key: mark(item) for key, item in value.items()}
        return [mark(item) for item in value] if isinstance(value, list) else value

    text = json.dumps(mark(resource), ensure_ascii=False)
    for token, digits in marks.items():
        text = text.replace(f'"{token}"', digits)
    return RawResource(text.encode(), where)


def facts(*resources: Json | bytes, terminology: Terminology = TERMINOLOGY) -> Facts:
    people = any(isinstance(one, dict) and one.get("resourceType") == "Patient" for one in resources)
    everything: list[Json | bytes] = [*([] if people else [patient()]), *resources]
    rows = [raw(one, f"t.ndjson:{number}") for number, one in enumerate(everything, 1)]
    return map_resources(rows, terminology=terminology, zone=SHANGHAI)


def readings(*resources: Json | bytes, terminology: Terminology = TERMINOLOGY) -> list[Finding]:
    """Reported findings; derived ones have their own tests."""
    found = facts(*resources, terminology=terminology).findings
    return [row for row in found if row.category != "derived"]


def reading(resource: Json, *others: Json, terminology: Terminology = TERMINOLOGY) -> Finding:
    """The one reported finding of one resource."""
    (row,) = [
        row
        for row in readings(resource, *others, terminology=terminology)
        if row.source.reference == f"{resource['resourceType']}/{resource['id']}"
    ]
    return row


def derived(*resources: Json, terminology: Terminology = TERMINOLOGY) -> list[Finding]:
    return [row for row in facts(*resources, terminology=terminology).findings if row.category == "derived"]


def shown(row: Finding) -> str:
    """Value with unit, or the answer, or "-"; then the reason it may not decide."""
    said = f"{row.value} {row.unit}".strip() if row.value is not None else row.answer or row.value_code or "-"
    return f"{said} !{row.excluded}" if row.excluded else said
