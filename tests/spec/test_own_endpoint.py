"""The adapter's own FHIR endpoint, spoken to over HTTP; expected answers are those of FHIR R4's http page."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import Engine

from adapter.errors import ConfigError
from adapter.store.database import only_writer, open_database
from adapter.web.app import own_endpoint, serve
from adapter.writeback.send import write_back
from tests.writeback_cases import LATER, NOW, STUDY, decision

CLOCK = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
PATIENT = {"reference": "Patient/p1"}


@pytest.fixture
async def fhir(database: Engine) -> AsyncIterator[httpx.AsyncClient]:
    """On SQLite and on PostgreSQL."""
    app = own_endpoint(database, lambda: CLOCK)
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app), base_url="http://127.0.0.1/fhir/"
    ) as client:
        yield client


def subject(key: str = "s1", status: str = "candidate", **more: Any) -> dict[str, Any]:
    return {
        "resourceType": "ResearchSubject",
        "id": key,
        "identifier": [{"system": "urn:x", "value": f"id-{key}"}],
        "status": status,
        "study": {"reference": "ResearchStudy/st"},
        "individual": PATIENT,
        **more,
    }


def flag(key: str = "f1") -> dict[str, Any]:
    return {
        "resourceType": "Flag",
        "id": key,
        "status": "active",
        "code": {"text": "look"},
        "subject": PATIENT,
    }


def put(resource: dict[str, Any], **request: str) -> dict[str, Any]:
    url = f"{resource['resourceType']}/{resource['id']}"
    return {"resource": resource, "request": {"method": "PUT", "url": url, **request}}


def transaction(*entries: dict[str, Any]) -> dict[str, Any]:
    return {"resourceType": "Bundle", "type": "transaction", "entry": list(entries)}


async def test_metadata_says_what_is_supported(fhir: httpx.AsyncClient) -> None:
    statement = (await fhir.get("metadata")).json()
    assert (statement["resourceType"], statement["fhirVersion"]) == ("CapabilityStatement", "4.0.1")
    served = {resource["type"] for resource in statement["rest"][0]["resource"]}
    assert served == {
        "AuditEvent",
        "Group",
        "List",
        "ResearchStudy",
        "ResearchSubject",
        "Flag",
        "Provenance",
        "Questionnaire",
        "QuestionnaireResponse",
        "Device",
    }


async def test_the_first_put_creates_and_the_next_updates(fhir: httpx.AsyncClient) -> None:
    first = await fhir.put("ResearchSubject/s1", json=subject())
    assert (first.status_code, first.headers["ETag"]) == (201, 'W/"1"')
    assert first.headers["Location"] == "/fhir/ResearchSubject/s1/_history/1"
    assert first.headers["Content-Type"].startswith("application/fhir+json")
    second = await fhir.put("ResearchSubject/s1", json=subject(status="screening"))
    assert (second.status_code, second.headers["ETag"]) == (200, 'W/"2"')
    now = (await fhir.get("ResearchSubject/s1")).json()
    assert (now["status"], now["meta"]["lastUpdated"]) == ("screening", "2026-03-01T12:00:00.000+00:00")
    assert (await fhir.get("ResearchSubject/s1/_history/1")).json()["status"] == "candidate"


async def test_the_same_content_makes_no_new_version(fhir: httpx.AsyncClient) -> None:
    await fhir.put("ResearchSubject/s1", json=subject())
    again = await fhir.put("ResearchSubject/s1", json=(await fhir.get("ResearchSubject/s1")).json())
    assert again.headers["ETag"] == 'W/"1"'


@pytest.mark.parametrize("stale", ['W/"1"', 'W/"9"', '"1"', "nonsense"])
async def test_a_stale_version_is_412_and_changes_nothing(fhir: httpx.AsyncClient, stale: str) -> None:
    await fhir.put("ResearchSubject/s1", json=subject())
    await fhir.put("ResearchSubject/s1", json=subject(status="screening"), headers={"If-Match": 'W/"1"'})
    answer = await fhir.put("ResearchSubject/s1", json=subject(), headers={"If-Match": stale})
    assert (answer.status_code, answer.json()["resourceType"]) == (412, "OperationOutcome")
    assert (await fhir.get("ResearchSubject/s1")).json()["status"] == "screening"


async def test_a_create_may_insist_on_being_one(fhir: httpx.AsyncClient) -> None:
    guard = {"If-None-Match": "*"}
    assert (await fhir.put("ResearchSubject/s1", json=subject(), headers=guard)).status_code == 201
    answer = await fhir.put("ResearchSubject/s1", json=subject(status="eligible"), headers=guard)
    assert answer.status_code == 412


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("identifier=id-s1", ["s1"]),
        ("identifier=urn:x|id-s1", ["s1"]),
        ("identifier=urn:y|id-s1", []),
        ("identifier=id-s1,id-s2", ["s1", "s2"]),
        ("_id=s2,s3", ["s2"]),
        ("study=ResearchStudy/st&status=screening", ["s2"]),
        ("study=st", ["s1", "s2"]),
        ("patient=Patient/p1", ["s1", "s2"]),
        ("individual=http://127.0.0.1/fhir/Patient/p1", ["s1", "s2"]),
        ("patient=p2", []),
    ],
)
async def test_search(fhir: httpx.AsyncClient, query: str, found: list[str]) -> None:
    await fhir.put("ResearchSubject/s1", json=subject())
    await fhir.put("ResearchSubject/s2", json=subject("s2", "screening"))
    bundle = (await fhir.get(f"ResearchSubject?{query}")).json()
    assert [entry["resource"]["id"] for entry in bundle.get("entry", [])] == found
    assert (bundle["type"], bundle["total"]) == ("searchset", len(found))


async def test_an_unknown_parameter_is_refused_not_ignored(fhir: httpx.AsyncClient) -> None:
    assert (await fhir.get("Flag?status=active")).status_code == 400


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("Patient/p1", {"resourceType": "Patient", "id": "p1"}, 404),
        ("ResearchSubject/s1", subject("s2"), 400),
        ("ResearchSubject/s1", flag("s1"), 400),
        ("ResearchSubject/s1", subject(status="banana"), 422),
        ("ResearchSubject/s1", {**subject(), "individual": None}, 422),
        ("ResearchSubject/s1", {**subject(), "colour": "red"}, 422),
        ("ResearchSubject/s%20", subject("s "), 400),
        ("ResearchSubject/s1", "text", 400),
    ],
)
async def test_what_is_refused(fhir: httpx.AsyncClient, path: str, body: Any, status: int) -> None:
    answer = await fhir.put(path, json=body)
    assert (answer.status_code, answer.json()["resourceType"]) == (status, "OperationOutcome")


@pytest.mark.parametrize("body", [b"{", b"", b"[" * 200_000, b'{"resourceType": NaN}'])
async def test_what_is_no_json_is_refused(fhir: httpx.AsyncClient, body: bytes) -> None:
    assert (await fhir.put("ResearchSubject/s1", content=body)).status_code == 400


async def test_what_is_not_there_is_404(fhir: httpx.AsyncClient) -> None:
    await fhir.put("Flag/f1", json=flag())
    for path in ("Flag/f2", "Flag/f1/_history/2", "Flag/f1/_history/x", "Observation/o1"):
        assert (await fhir.get(path)).status_code == 404


async def test_a_transaction_writes_all(fhir: httpx.AsyncClient) -> None:
    answer = await fhir.post("", json=transaction(put(subject()), put(flag())))
    assert [entry["response"]["status"] for entry in answer.json()["entry"]] == ["201 Created"] * 2
    assert answer.json()["entry"][0]["response"]["etag"] == 'W/"1"'
    assert (await fhir.get("Flag/f1")).status_code == 200


@pytest.mark.parametrize(
    "bad",
    [
        put(subject(), ifMatch='W/"7"'),
        put(subject(status="banana")),
        {"resource": subject(), "request": {"method": "POST", "url": "ResearchSubject"}},
        {"resource": subject(), "request": {"method": "DELETE", "url": "ResearchSubject/s1"}},
        put(flag("f1")),
        {},
    ],
)
async def test_a_transaction_writes_nothing_if_one_entry_fails(fhir: httpx.AsyncClient, bad: Any) -> None:
    answer = await fhir.post("", json=transaction(put(flag("f1")), put(flag("f2")), bad))
    assert answer.status_code in (400, 412, 422)
    assert (await fhir.get("Flag?patient=p1")).json()["total"] == 0


async def test_numbers_keep_their_digits(fhir: httpx.AsyncClient) -> None:
    extension = {"url": "https://example.org/x", "valueDecimal": 0}
    body = httpx.Request("PUT", "http://x", json=subject(extension=[extension])).content
    exact = body.replace(b'"valueDecimal":0', b'"valueDecimal":8.000000000000000010')
    assert b"8.000000000000000010" in exact
    await fhir.put("ResearchSubject/s1", content=exact)
    assert "8.000000000000000010" in (await fhir.get("ResearchSubject/s1")).text


async def test_a_person_may_answer_the_questionnaire_here(fhir: httpx.AsyncClient) -> None:
    canonical = "https://trial-fhir-adapter.org/fhir/Questionnaire/NCT03864250-attestation"
    answers = {
        "resourceType": "QuestionnaireResponse",
        "questionnaire": canonical,
        "status": "completed",
        "subject": PATIENT,
    }
    created = await fhir.post("QuestionnaireResponse", json=answers)
    assert created.status_code == 201
    found = (await fhir.get(f"QuestionnaireResponse?questionnaire={canonical}&patient=p1")).json()
    assert found["total"] == 1


async def test_the_write_back_speaks_to_it_without_a_socket(database: Engine) -> None:
    """Ledger and endpoint in one database, as in a workspace."""
    app = own_endpoint(database, lambda: CLOCK)
    verdicts = [decision("eligible", f"p{n}") for n in range(45)] + [decision("ineligible", "q")]

    async def write(now: datetime, *decisions: Any) -> Any:
        return await write_back(
            "http://127.0.0.1/fhir",
            decisions,
            study=STUDY,
            database=database,
            now=now,
            transport=httpx.ASGITransport(app),
        )

    first = await write(NOW, *verdicts)
    assert first.outcomes == {"created": 45, "not_needed": 1}
    assert (await write(LATER, *verdicts)).resources_written == 0
    changed = await write(LATER, decision("undetermined", "p0"))
    assert changed.outcomes == {"updated": 1}


async def test_a_database_held_by_another_is_a_503_and_nothing_is_stored(where: Path | str) -> None:
    holder, engine = open_database(where), open_database(where, busy_seconds=0.2)
    transport = httpx.ASGITransport(own_endpoint(engine, lambda: CLOCK))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1/fhir/") as fhir:
        with holder.begin() as held:
            only_writer(held, "resources")
            answer = await fhir.put("ResearchSubject/s1", json=subject())
        assert (answer.status_code, answer.json()["issue"][0]["code"]) == (503, "transient")
        assert answer.headers["Retry-After"] == "30"
        assert (await fhir.get("ResearchSubject/s1")).status_code == 404
        assert (await fhir.put("ResearchSubject/s1", json=subject())).status_code == 201
    holder.dispose()
    engine.dispose()


def test_it_listens_on_this_machine_only(tmp_path: Path) -> None:
    for host in ("0.0.0.0", "192.168.1.4", "hospital.example"):  # noqa: S104
        with pytest.raises(ConfigError):
            serve(tmp_path / "resources.sqlite", host)


async def test_healthz(fhir: httpx.AsyncClient) -> None:
    assert (await fhir.get("http://127.0.0.1/healthz")).json()["status"] == "ok"
