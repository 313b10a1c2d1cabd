"""A ward of made-up people with new ids for each test, so that tests may share a server."""

from __future__ import annotations

from decimal import Decimal
from typing import Any
from uuid import uuid4

import httpx

from adapter.model.candidates import CandidateQuery


class Ward:
    """Two records of one person, one other candidate, one bystander; ids are new for each test."""

    def __init__(self, readings: int = 45) -> None:
        self.key = uuid4().hex[:10]
        self.code = f"MN-{self.key}"
        self.readings = readings

    def id(self, name: str) -> str:
        return f"{name}-{self.key}"

    def ref(self, kind: str, name: str) -> dict[str, str]:
        return {"reference": f"{kind}/{self.id(name)}"}

    def resources(self) -> list[dict[str, Any]]:
        made: list[dict[str, Any]] = [
            {"resourceType": "Patient", "id": self.id("old")},
            {
                "resourceType": "Patient",
                "id": self.id("kept"),
                "link": [{"other": self.ref("Patient", "old"), "type": "replaces"}],
            },
            {"resourceType": "Patient", "id": self.id("other")},
            {"resourceType": "Patient", "id": self.id("bystander")},
            {"resourceType": "Medication", "id": self.id("tac"), "code": {"text": "他克莫司胶囊"}},
            {
                "resourceType": "ResearchStudy",
                "id": self.id("study"),
                "status": "active",
                "identifier": [{"system": "urn:trial", "value": f"NCT-{self.key}"}],
            },
            {
                "resourceType": "ResearchSubject",
                "id": self.id("enrolled"),
                "status": "on-study",
                "study": self.ref("ResearchStudy", "study"),
                "individual": self.ref("Patient", "other"),
            },
            {
                "resourceType": "Condition",
                "id": self.id("mn"),
                "code": {"coding": [{"system": "urn:local", "code": self.code}], "text": "膜性肾病"},
                "subject": self.ref("Patient", "old"),
            },
            {
                "resourceType": "MedicationRequest",
                "id": self.id("order"),
                "status": "active",
                "intent": "order",
                "medicationReference": self.ref("Medication", "tac"),
                "subject": self.ref("Patient", "kept"),
            },
        ]
        for patient in ("kept", "bystander"):
            for number in range(self.readings):
                value = Decimal("8.10") + number
                made.append(
                    {
                        "resourceType": "Observation",
                        "id": self.id(f"{patient}-{number}"),
                        "status": "final",
                        "code": {"coding": [{"system": "http://loinc.org", "code": "2889-4"}]},
                        "subject": self.ref("Patient", patient),
                        "effectiveDateTime": "2019-05-05T16:30:00Z",
                        "valueQuantity": {"value": float(value), "unit": "g/24h"},
                    }
                )
        return made

    def query(self) -> CandidateQuery:
        return CandidateQuery(codes=frozenset({self.code}), studies=frozenset({f"NCT-{self.key}"}))

    def admit(self, base_url: str, at_once: int) -> None:
        """Put all of it there, ``at_once`` in one transaction."""
        entries = [
            {"resource": one, "request": {"method": "PUT", "url": f"{one['resourceType']}/{one['id']}"}}
            for one in self.resources()
        ]
        for start in range(0, len(entries), at_once):
            bundle = {
                "resourceType": "Bundle",
                "type": "transaction",
                "entry": entries[start : start + at_once],
            }
            answer = httpx.post(
                base_url,
                json=bundle,
                headers={"Content-Type": "application/fhir+json"},
                timeout=120,
                trust_env=False,
            )
            assert answer.status_code == 200, answer.text[:500]
