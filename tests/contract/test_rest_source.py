"""Crawling a real HAPI FHIR server gives back what an independent client put there."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest

from adapter.model.candidates import CandidateQuery
from adapter.model.coverage import is_covered
from adapter.source.client import FhirClient, Refusal, capabilities
from adapter.source.crawl import BY_PATIENT, land_server
from adapter.source.landing import Landing, open_landing
from adapter.source.search import search

NOW = datetime(2026, 3, 1, tzinfo=UTC)


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


@pytest.fixture
def ward(hapi_base_url: str) -> Ward:
    made = Ward()
    entries = [
        {
            "resource": resource,
            "request": {"method": "PUT", "url": f"{resource['resourceType']}/{resource['id']}"},
        }
        for resource in made.resources()
    ]
    bundle = {"resourceType": "Bundle", "type": "transaction", "entry": entries}
    answer = httpx.post(
        hapi_base_url,
        json=bundle,
        headers={"Content-Type": "application/fhir+json"},
        timeout=120,
        trust_env=False,
    )
    assert answer.status_code == 200, answer.text[:500]
    return made


def content(resource: dict[str, Any]) -> dict[str, Any]:
    """Without what a server adds of its own: meta and the generated narrative."""
    return {key: value for key, value in resource.items() if key not in ("meta", "text")}


async def crawled(base: str, made: Ward, target: Path, concurrency: int = 3) -> Landing:
    async with FhirClient(base) as client:
        await land_server(client, made.query(), target, now=NOW, concurrency=concurrency)
    return open_landing(target)


async def test_what_was_put_comes_back(hapi_base_url: str, ward: Ward, tmp_path: Path) -> None:
    landing = await crawled(hapi_base_url, ward, tmp_path / "landing")
    came = {f"{raw.resource_type}/{json.loads(raw.line)['id']}": raw for raw in landing.resources()}
    expected = {
        f"{resource['resourceType']}/{resource['id']}": resource
        for resource in ward.resources()
        if "bystander" not in resource["id"]
    }
    assert came.keys() == expected.keys()
    for name, resource in expected.items():
        assert content(json.loads(came[name].line)) == resource
    assert not [issue for issue in landing.issues if issue.severity == "error"]
    landing.verify()


async def test_landed_bytes_are_the_servers_own(hapi_base_url: str, ward: Ward, tmp_path: Path) -> None:
    landing = await crawled(hapi_base_url, ward, tmp_path / "landing")
    name = ward.id("kept-3")
    landed = next(raw.line for raw in landing.resources() if f'"id":"{name}"'.encode() in raw.line)
    served = httpx.get(f"{hapi_base_url}/Observation/{name}", trust_env=False).content
    assert landed == served


async def test_every_type_of_every_record_is_covered(hapi_base_url: str, ward: Ward, tmp_path: Path) -> None:
    landing = await crawled(hapi_base_url, ward, tmp_path / "landing")
    for record in ("old", "kept", "other"):
        for kind in ("Patient", *BY_PATIENT):
            assert is_covered(landing.coverage, kind, ward.id(record), None, None), kind
    assert not is_covered(landing.coverage, "Observation", ward.id("bystander"), None, None)


async def test_timing_does_not_change_the_landing(hapi_base_url: str, ward: Ward, tmp_path: Path) -> None:
    one = await crawled(hapi_base_url, ward, tmp_path / "one", concurrency=1)
    two = await crawled(hapi_base_url, ward, tmp_path / "two", concurrency=6)
    assert (one.folder / "manifest.json").read_bytes() == (two.folder / "manifest.json").read_bytes()


async def test_paging_reads_every_page_once(hapi_base_url: str, ward: Ward) -> None:
    async with FhirClient(hapi_base_url) as client:
        params = {"patient": f"Patient/{ward.id('kept')}"}
        found = await search(client, "Observation", params, count=7)
    assert found.complete
    assert sorted(entry.id for entry in found.entries) == sorted(ward.id(f"kept-{n}") for n in range(45))
    assert found.entries[7].where == "Observation:2.0"


async def test_an_unknown_parameter_never_passes_for_an_answer(hapi_base_url: str, ward: Ward) -> None:
    async with FhirClient(hapi_base_url) as client:
        with pytest.raises(Refusal, match="HTTP 400"):
            await search(client, "Observation", {"patinet": ward.id("kept")})


async def test_capabilities_are_the_servers(hapi_base_url: str) -> None:
    async with FhirClient(hapi_base_url) as client:
        can = await capabilities(client)
    assert can.has("ResearchSubject")
    assert not can.has("NoSuchType")
    assert can.searches("AdverseEvent", "subject")
    assert not can.searches("AdverseEvent", "nonsense")


async def test_no_patient_id_reaches_a_log(
    hapi_base_url: str, ward: Ward, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        await crawled(hapi_base_url, ward, tmp_path / "landing")
    assert ward.key not in caplog.text
