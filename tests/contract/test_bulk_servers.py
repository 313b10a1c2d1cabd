"""Bulk export against real servers: sekmet-fhir, and HAPI's batch export.

HAPI asks to wait 120 seconds and moves a job on once a minute, so it is asked for one export alone, and more
often than it likes.

What is landed is compared with what plain HTTP put there.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from adapter.source.bulk import BulkExport, Manners
from adapter.source.bulk_http import BulkConnection
from adapter.source.bulk_request import ExportRequest
from adapter.source.bulk_status import Pace, Step
from adapter.source.client import FhirClient
from adapter.source.landing import Landing

NOW = datetime(2026, 11, 22, 8, tzinfo=UTC)
TYPES = ("Condition", "Observation", "Patient")
QUICK = Manners(pace=Pace(first=0.5, longest=5.0, longest_asked=5.0, wait=540.0))
JSON = {"Content-Type": "application/fhir+json"}


def resources(prefix: str) -> list[dict[str, Any]]:
    """Two patients with a result each, and a Group of the first."""
    people = [f"{prefix}-p{number}" for number in (1, 2)]
    made: list[dict[str, Any]] = [
        {"resourceType": "Patient", "id": name, "gender": "female", "birthDate": "1970-01-01"}
        for name in people
    ]
    made += [result(name) for name in people]
    member = [{"entity": {"reference": f"Patient/{people[0]}"}}]
    made.append(
        {
            "resourceType": "Group",
            "id": f"{prefix}-group",
            "type": "person",
            "actual": True,
            "member": member,
        }
    )
    return made


def result(patient: str) -> dict[str, Any]:
    albumin = {"value": 2.50, "unit": "g/dL", "system": "http://unitsofmeasure.org", "code": "g/dL"}
    return {
        "resourceType": "Observation",
        "id": f"{patient}-albumin",
        "status": "final",
        "code": {"coding": [{"system": "http://loinc.org", "code": "1751-7"}]},
        "subject": {"reference": f"Patient/{patient}"},
        "effectiveDateTime": "2026-10-01T08:00:00+08:00",
        "valueQuantity": albumin,
    }


def plant(base_url: str, prefix: str) -> None:
    with httpx.Client(base_url=base_url, headers=JSON, timeout=120, trust_env=False) as http:
        for one in resources(prefix):
            answer = http.put(f"/{one['resourceType']}/{one['id']}", json=one)
            assert answer.status_code in (200, 201), answer.text


async def export(base_url: str, folder: Path, request: ExportRequest, steps: list[Step]) -> Landing:
    async with FhirClient(base_url) as client, BulkConnection(client) as bulk:
        run = BulkExport(bulk, request, folder / "bulk", manners=QUICK, told=steps.append)
        return await run.run(folder / "landing", now=NOW)


def planted(landing: Landing, prefix: str) -> list[str]:
    found = ((one.resource_type, json.loads(one.line)["id"]) for one in landing.resources())
    return sorted(f"{kind}/{name}" for kind, name in found if name.startswith(prefix))


def mine(prefix: str, *numbers: int) -> list[str]:
    people = [f"{prefix}-p{number}" for number in numbers]
    return sorted([f"Patient/{name}" for name in people] + [f"Observation/{name}-albumin" for name in people])


@pytest.fixture(params=["sekmet", "hapi"])
def base_url(request: pytest.FixtureRequest) -> str:
    found = request.getfixturevalue(f"{request.param}_base_url")
    assert isinstance(found, str)
    return found


async def test_a_group_is_exported(base_url: str, tmp_path: Path) -> None:
    """The members and nobody else; types without data are absent, and nothing is in doubt."""
    plant(base_url, "bulkg")
    steps: list[Step] = []
    request = ExportRequest(TYPES, level="Group", group="bulkg-group")
    landing = await export(base_url, tmp_path, request, steps)
    assert planted(landing, "bulkg") == mine("bulkg", 1)
    assert {row.resource_type: row.complete for row in landing.coverage} == dict.fromkeys(TYPES, True)
    assert landing.issues == ()
    assert landing.manifest.asked["transaction_time"]
    assert any(step.phase == "waiting" for step in steps), "both servers need a moment"


async def test_all_patients_are_exported(sekmet_base_url: str, tmp_path: Path) -> None:
    plant(sekmet_base_url, "bulka")
    landing = await export(sekmet_base_url, tmp_path, ExportRequest(TYPES), [])
    assert planted(landing, "bulka") == mine("bulka", 1, 2)
    assert all(row.complete for row in landing.coverage)


async def test_what_changed_since_is_landed_onto_the_rest(sekmet_base_url: str, tmp_path: Path) -> None:
    plant(sekmet_base_url, "bulks")
    full = await export(sekmet_base_url, tmp_path, ExportRequest(TYPES, "Group", "bulks-group"), [])
    changed = resources("bulks")[2]
    changed["valueQuantity"]["value"] = 3.75
    with httpx.Client(base_url=sekmet_base_url, headers=JSON, timeout=120, trust_env=False) as http:
        assert http.put(f"/Observation/{changed['id']}", json=changed).status_code == 200
    since = full.manifest.asked["transaction_time"]
    request = ExportRequest(TYPES, "Group", "bulks-group", since=since)
    async with FhirClient(sekmet_base_url) as client, BulkConnection(client) as bulk:
        run = BulkExport(bulk, request, tmp_path / "bulk", manners=QUICK)
        landing = await run.run(tmp_path / "landing", now=NOW, base=full)
    assert planted(landing, "bulks") == mine("bulks", 1)
    [result] = [json.loads(one.line) for one in landing.resources() if one.resource_type == "Observation"]
    assert result["valueQuantity"]["value"] == 3.75
