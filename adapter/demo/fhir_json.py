"""Builders of the demo hospital's FHIR R4 JSON, and the chart they fill.

Nothing here knows the protocol: a chart is one person's records in the order in which the hospital
wrote them. Resources are plain dicts with numbers as Decimal, so that the digits planned are the
digits written.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from random import Random
from typing import Any

from adapter.demo.catalogue import CATALOGUE, Item

Resource = dict[str, Any]

BASE_URL = "https://fhir.demo-hospital.example/fhir"
LIS = "https://fhir.demo-hospital.example/codes/lis-item"
PHARMACY = "https://fhir.demo-hospital.example/codes/pharmacy"
RECORD_NUMBER = "https://fhir.demo-hospital.example/id/record-number"
SAMPLE_NUMBER = "https://fhir.demo-hospital.example/id/result"
ICD10 = "http://hl7.org/fhir/sid/icd-10"
SNOMED = "http://snomed.info/sct"
LOINC = "http://loinc.org"
ATC = "http://www.whocc.no/atc"
UCUM = "http://unitsofmeasure.org"
TERMINOLOGY = "http://terminology.hl7.org/CodeSystem"
SHANGHAI = timezone(timedelta(hours=8))
QUALITATIVE = {
    "阳性": ("10828004", "positive"),
    "阴性": ("260385009", "negative"),
    "未检出": ("260415000", "not detected"),
}


def at(day: date, hour: int = 8, minute: int = 0) -> str:
    """An instant of the hospital's own clock, as FHIR dateTime with offset."""
    return datetime(day.year, day.month, day.day, hour, minute, tzinfo=SHANGHAI).isoformat()


def in_utc(stamp: str) -> str:
    """The same instant as a server that keeps UTC writes it."""
    return datetime.fromisoformat(stamp).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def concept(text: str, *codings: tuple[str, str, str]) -> Resource:
    """A CodeableConcept; codings are (system, code, display), an empty text is left out."""
    found: Resource = {}
    if codings:
        found["coding"] = [
            {"system": system, "code": code} | ({"display": display} if display else {})
            for system, code, display in codings
        ]
    if text:
        found["text"] = text
    return found


def status_code(system: str, code: str) -> Resource:
    return {"coding": [{"system": f"{TERMINOLOGY}/{system}", "code": code}]}


def lab_code(item: Item, style: str = "loinc") -> Resource:
    """How the laboratory names an item: ``loinc`` (with its own code), ``local``, or ``text`` only."""
    local = (LIS, item.local, item.name)
    if style == "loinc" and item.loinc:
        return concept(item.name, (LOINC, item.loinc, item.display), local)
    return concept(item.name, local) if style in ("loinc", "local") else concept(item.name)


def quantity(value: str, unit: str, code: str = "", comparator: str = "") -> Resource:
    found: Resource = {"value": Decimal(value)}
    if comparator:
        found["comparator"] = comparator
    if unit:
        found["unit"] = unit
    if code:
        found |= {"system": UCUM, "code": code}
    return found


def reference_range(low: str, high: str, unit: str, code: str = "") -> Resource:
    found: Resource = {}
    if low:
        found["low"] = quantity(low, unit, code)
    if high:
        found["high"] = quantity(high, unit, code)
    return found


class Chart:
    """One person's records.

    ``rows`` are written in order, ``late`` after everybody's rows (so that a correction lies in another
    file than what it corrects), ``raw`` as they stand. ``labs`` finds observations by catalogue key.
    """

    def __init__(self, number: int, seed: int, sex: str, birth: str, suffix: str = "") -> None:
        self.id = f"p{number:05d}{suffix}"
        self.rng = Random(f"{seed}/{self.id}")  # noqa: S311  # reproducible data, not a secret
        self.sex = sex
        self.birth = birth
        self.rows: list[Resource] = []
        self.late: list[Resource] = []
        self.raw: list[tuple[str, bytes]] = []
        self.labs: dict[str, list[Resource]] = {}
        self.escaped: set[str] = set()
        self._made = 0

    @property
    def me(self) -> Resource:
        return {"reference": f"Patient/{self.id}"}

    def add(self, kind: str, recorded: str, late: bool = False, **fields: Any) -> Resource:
        """File a resource; ``recorded`` becomes meta.lastUpdated (a day is read as that evening)."""
        self._made += 1
        stamp = recorded if "T" in recorded else f"{recorded}T20:00:00+08:00"
        made: Resource = {
            "resourceType": kind,
            "id": f"{self.id}-{self._made}",
            "meta": {"versionId": "1", "lastUpdated": stamp},
            **fields,
        }
        (self.late if late else self.rows).append(made)
        return made

    def patient(self, **more: Any) -> Resource:
        name = f"CANARY-NAME-{self.id}"
        made = self.add("Patient", "2019-01-02")
        made |= {
            "id": self.id,
            "active": True,
            "identifier": [
                {"use": "official", "system": RECORD_NUMBER, "value": f"CANARY-MRN-{self.id}"},
                {"system": "urn:oid:2.16.156.112635.1.2.6", "value": f"CANARY-IDCARD-{self.id}"},
            ],
            "name": [{"use": "official", "text": f"{name} 测试", "family": name, "given": ["测试"]}],
            "telecom": [{"system": "phone", "value": f"CANARY-TEL-{self.id}", "use": "mobile"}],
            "gender": self.sex,
            "birthDate": self.birth,
            "address": [{"use": "home", "text": f"CANARY-ADDRESS-{self.id}", "country": "CN"}],
        }
        made |= more
        return made

    def observation(self, key: str, day: date, value: Resource, **options: Any) -> Resource:
        """One laboratory or vital-sign result; ``value`` carries the value[x] element itself.

        Options: style, status, ref (list), when (dateTime), specimen (reference), lab (performer), late,
        and any further FHIR element by its own name.
        """
        item = CATALOGUE[key]
        when = options.pop("when", "") or at(day, 8, self.rng.randrange(60))
        late, lab = options.pop("late", False), options.pop("lab", "检验科")
        made = self.add("Observation", at(day, 18), late=late)
        made |= {
            "identifier": [{"system": SAMPLE_NUMBER, "value": f"{made['id']}.{item.local}"}],
            "status": options.pop("status", "final"),
            "category": [status_code("observation-category", item.category)],
            "code": lab_code(item, options.pop("style", "loinc")),
            "subject": self.me,
            "effectiveDateTime": when,
        }
        if item.category == "laboratory":
            made["performer"] = [{"display": lab}]
        made |= value
        ranges = options.pop("ref", None)
        if ranges is None and (item.low or item.high):
            ranges = [reference_range(item.low, item.high, item.unit, item.ucum)]
        if ranges:
            made["referenceRange"] = ranges
        made |= options
        self.labs.setdefault(key, []).append(made)
        return made

    def measured(self, key: str, day: date, value: str, **options: Any) -> Resource:
        """A plain number in the catalogue's own unit."""
        item = CATALOGUE[key]
        return self.observation(key, day, {"valueQuantity": quantity(value, item.unit, item.ucum)}, **options)

    def answered(self, key: str, day: date, text: str, **options: Any) -> Resource:
        """A qualitative result: coded where the hospital has a code for the word, else text."""
        coded = QUALITATIVE.get(text)
        value = concept(text, (SNOMED, *coded)) if coded else concept(text)
        return self.observation(key, day, {"valueCodeableConcept": value}, **options)

    def condition(self, day: str, text: str, *codings: tuple[str, str, str], **options: Any) -> Resource:
        """A diagnosis; options: clinical, verification ("" leaves the element out), onset, recorded."""
        clinical, verification = options.pop("clinical", "active"), options.pop("verification", "confirmed")
        recorded = options.pop("recorded", day)
        made = self.add("Condition", recorded if len(recorded) >= 10 else "2019-05-20")
        if clinical:
            made["clinicalStatus"] = status_code("condition-clinical", clinical)
        if verification:
            made["verificationStatus"] = status_code("condition-ver-status", verification)
        made |= {
            "category": [status_code("condition-category", "encounter-diagnosis")],
            "code": concept(text, *codings),
            "subject": self.me,
        }
        if day:
            made["onsetDateTime"] = day
        made |= options
        return made

    def procedure(self, day: date, text: str, *codings: tuple[str, str, str]) -> Resource:
        return self.add(
            "Procedure",
            at(day, 17),
            status="completed",
            code=concept(text, *codings),
            subject=self.me,
            performedDateTime=at(day, 10),
        )

    def encounter(self, first: date, last: date, kind: str = "AMB") -> Resource:
        made = self.add("Encounter", at(last, 18), status="finished")
        made |= {
            "class": {"system": f"{TERMINOLOGY}/v3-ActCode", "code": kind},
            "subject": self.me,
            "period": {"start": at(first, 8), "end": at(last, 17)},
        }
        return made

    def panel(self, day: date, name: str, members: list[Resource], **options: Any) -> Resource:
        made = self.add("DiagnosticReport", at(day, 18), status="final")
        made |= {
            "category": [status_code("v2-0074", "LAB")],
            "code": concept(name),
            "subject": self.me,
            "effectiveDateTime": at(day, 8),
            "issued": at(day, 18),
        }
        if members:
            made["result"] = [ref(member) for member in members]
        made |= options
        return made

    def specimen(self, day: date, text: str, code: str = "", **options: Any) -> Resource:
        return self.add(
            "Specimen",
            at(day, 12),
            type=concept(text, *([(SNOMED, code, "")] if code else [])),
            subject=self.me,
            collection={"collectedDateTime": at(day, 8)},
            **options,
        )

    def pressure(self, day: date, systolic: int, diastolic: int) -> Resource:
        parts = (("8480-6", "收缩压", systolic), ("8462-4", "舒张压", diastolic))
        return self.add(
            "Observation",
            at(day, 18),
            status="final",
            category=[status_code("observation-category", "vital-signs")],
            code=concept("血压", (LOINC, "85354-9", "Blood pressure panel with all children optional")),
            subject=self.me,
            effectiveDateTime=at(day, 9),
            component=[
                {
                    "code": concept(text, (LOINC, code, "")),
                    "valueQuantity": quantity(str(value), "mmHg", "mm[Hg]"),
                }
                for code, text, value in parts
            ],
        )


def ref(resource: Resource) -> Resource:
    return {"reference": f"{resource['resourceType']}/{resource['id']}"}
