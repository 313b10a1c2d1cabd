"""The FHIR API as a reader meets it: search, paging, conditional reads, history, errors, who sees what.

Expected answers are those of https://hl7.org/fhir/R4/http.html and search.html; dates are counted by hand.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import Engine, text

from adapter.access import Grant, Principal
from adapter.consult import TYPES
from adapter.store import audit
from adapter.store.audit import Entry
from adapter.store.database import open_database
from adapter.trial import open_trial
from adapter.web.access import Inside, Premises
from adapter.web.app import create_app
from adapter.writeback.resources import r4_faults
from tests.spec.test_consult import NOW, diagnosis, patient

START = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
STUDY, SITE = "NCT03864250", "demo"


class Ticking:
    """A clock that goes on by a minute at each look."""

    def __init__(self) -> None:
        self.now = START - timedelta(minutes=1)

    def __call__(self) -> datetime:
        self.now += timedelta(minutes=1)
        return self.now


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    made = open_database(tmp_path / "adapter.sqlite")
    yield made
    made.dispose()


@asynccontextmanager
async def spoken(
    engine: Engine, role: str = "service", account: str = "ehr"
) -> AsyncIterator[httpx.AsyncClient]:
    grants = tuple(Grant(one, STUDY, SITE) for one in role.split())
    inside = Inside(Principal(account, grants, account))
    app = create_app(engine, Ticking(), premises=Premises(STUDY, SITE, inside))
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1/fhir/") as client:
        yield client


@pytest.fixture
async def fhir(engine: Engine) -> AsyncIterator[httpx.AsyncClient]:
    async with spoken(engine) as client:
        yield client


def subject(key: str, status: str = "candidate", **more: Any) -> dict[str, Any]:
    return {
        "resourceType": "ResearchSubject",
        "id": key,
        "identifier": [{"system": "urn:x", "value": f"id-{key}"}],
        "status": status,
        "study": {"reference": "ResearchStudy/st"},
        "individual": {"reference": f"Patient/p-{key}"},
        **more,
    }


STUDY_RESOURCE = {
    "resourceType": "ResearchStudy",
    "id": "st",
    "status": "active",
    "title": "Membranous nephropathy",
    "identifier": [{"system": "https://clinicaltrials.gov", "value": STUDY}],
}


async def put(fhir: httpx.AsyncClient, *resources: dict[str, Any]) -> None:
    for one in resources:
        answer = await fhir.put(f"{one['resourceType']}/{one['id']}", json=one)
        assert answer.status_code in (200, 201), answer.text


async def ids(fhir: httpx.AsyncClient, query: str) -> list[str]:
    answer = await fhir.get(query)
    assert answer.status_code == 200, answer.text
    assert r4_faults(answer.json()) == []
    return [entry["resource"]["id"] for entry in answer.json().get("entry", [])]


# R4: ResearchSubject.date is the period; Flag has no status; a whole day is from midnight to midnight.
@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("date=2026-02-10", ["a"]),
        ("date=2026-02", ["a"]),
        ("date=ge2026-02-10", ["a", "b"]),
        ("date=gt2026-02-10", ["b"]),
        ("date=sa2026-02-10", ["b"]),
        ("date=eb2026-02-11", ["a"]),
        ("date=lt2026-03-01", ["a", "b"]),
        ("date=ge2026-02-01&date=le2026-02-28", ["a", "b"]),
        ("date=ne2026-02-10", ["b"]),
        ("date=2027,2026-02-10", ["a"]),
        ("status=candidate,screening&identifier=id-b", ["b"]),
        ("status=http://hl7.org/fhir/research-subject-status|screening", ["b"]),
        ("status=urn:other|screening", []),
        ("identifier=urn:x|", ["a", "b", "c"]),
        ("identifier=|id-a", []),
        ("individual:Patient=p-a", ["a"]),
        ("_id=a&_id=b", []),
        ("_lastUpdated=2026-03-01T12:01", ["b"]),
        ("_lastUpdated=gt2026-03-01T12:01:30Z", ["c"]),
        ("_lastUpdated=ge2026-03-01T20:01:00%2B08:00", ["b", "c"]),
        ("_sort=-_lastUpdated", ["c", "b", "a"]),
        ("_sort=_lastUpdated", ["a", "b", "c"]),
    ],
)
async def test_search(fhir: httpx.AsyncClient, query: str, found: list[str]) -> None:
    await put(
        fhir,
        subject("a", period={"start": "2026-02-10", "end": "2026-02-10"}),
        subject("b", "screening", period={"start": "2026-02-20"}),
        subject("c"),
    )
    assert await ids(fhir, f"ResearchSubject?{query}") == found


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("ResearchSubject?status:not=candidate", "modifier"),
        ("ResearchSubject?identifier:of-type=x", "modifier"),
        ("ResearchSubject?individual:missing=true", "modifier"),
        ("ResearchSubject?individual.name=x", "chained"),
        ("ResearchSubject?_has:Flag:subject:status=active", "chained"),
        ("ResearchSubject?_include=ResearchSubject:study", "_include"),
        ("ResearchSubject?_summary=true", "_summary"),
        ("ResearchSubject?colour=red", "identifier"),
        ("ResearchSubject?date=yesterday", "date"),
        ("ResearchSubject?date=ap2026-01-01", "ap"),
        ("ResearchSubject?date=2026-02-30", "date"),
        ("ResearchSubject?_count=-1", "_count"),
        ("ResearchSubject?_sort=status", "_sort"),
        ("ResearchSubject?_total=some", "_total"),
        ("ResearchSubject?status=", "value"),
        ("Provenance?target=x", "Type/id"),
        ("ResearchSubject/a/_history?_since=2026", "_count"),
    ],
)
async def test_what_is_not_understood_is_refused_with_words(
    fhir: httpx.AsyncClient, query: str, words: str
) -> None:
    await put(fhir, subject("a"))
    answer = await fhir.get(query)
    assert answer.status_code == 400
    assert words in answer.json()["issue"][0]["diagnostics"]
    assert r4_faults(answer.json()) == []


async def test_pages_do_not_shift_when_something_is_written_between_them(fhir: httpx.AsyncClient) -> None:
    await put(fhir, *(subject(f"s{n}") for n in (1, 3, 5, 7, 9)))
    seen, url = [], "ResearchSubject?status=candidate&_count=2"
    for number in range(9):
        page = (await fhir.get(url)).json()
        seen += [entry["resource"]["id"] for entry in page["entry"]]
        links = {one["relation"]: one["url"] for one in page["link"]}
        assert "status=candidate" in links["self"]
        if number == 0:
            assert page["total"] == 5
            await put(fhir, subject("s0"), subject("s4"))
        if "next" not in links:
            break
        url = links["next"]
    assert seen == ["s1", "s3", "s4", "s5", "s7", "s9"]


async def test_a_total_may_be_left_out_and_a_count_of_none_gives_only_that(fhir: httpx.AsyncClient) -> None:
    await put(fhir, subject("a"), subject("b"))
    assert "total" not in (await fhir.get("ResearchSubject?_total=none")).json()
    counted = (await fhir.get("ResearchSubject?_count=0")).json()
    assert (counted["total"], "entry" in counted) == (2, False)


async def test_a_search_may_be_a_form(fhir: httpx.AsyncClient) -> None:
    await put(fhir, subject("a"), subject("b"))
    answer = await fhir.post("ResearchSubject/_search", data={"patient": "p-b"})
    assert [entry["resource"]["id"] for entry in answer.json()["entry"]] == ["b"]
    assert (await fhir.post("ResearchSubject/_search", json={})).status_code == 415


async def test_a_read_says_when_nothing_is_new(fhir: httpx.AsyncClient) -> None:
    await put(fhir, subject("a"))
    first = await fhir.get("ResearchSubject/a")
    assert (first.headers["ETag"], first.headers["Last-Modified"]) == (
        'W/"1"',
        "Sun, 01 Mar 2026 12:00:00 GMT",
    )
    for headers in (
        {"If-None-Match": 'W/"1"'},
        {"If-None-Match": 'W/"7", W/"1"'},
        {"If-Modified-Since": "Sun, 01 Mar 2026 12:00:00 GMT"},
    ):
        same = await fhir.get("ResearchSubject/a", headers=headers)
        assert (same.status_code, same.content, same.headers["ETag"]) == (304, b"", 'W/"1"')
    for headers in (
        {"If-None-Match": 'W/"2"'},
        {"If-Modified-Since": "Sun, 01 Mar 2026 11:59:59 GMT"},
        {"If-Modified-Since": "nonsense"},
        {"If-None-Match": 'W/"2"', "If-Modified-Since": "Sun, 01 Mar 2026 12:00:00 GMT"},
    ):
        assert (await fhir.get("ResearchSubject/a", headers=headers)).status_code == 200


async def test_history_is_newest_first_and_paged(fhir: httpx.AsyncClient) -> None:
    for status in ("candidate", "screening", "eligible"):
        await put(fhir, subject("a", status))
    whole = (await fhir.get("ResearchSubject/a/_history")).json()
    assert r4_faults(whole) == []
    assert [one["resource"]["status"] for one in whole["entry"]] == ["eligible", "screening", "candidate"]
    assert [one["response"]["status"] for one in whole["entry"]] == ["200", "200", "201"]
    page = (await fhir.get("ResearchSubject/a/_history?_count=2")).json()
    following = next(one["url"] for one in page["link"] if one["relation"] == "next")
    last = (await fhir.get(following)).json()
    assert [one["resource"]["meta"]["versionId"] for one in last["entry"]] == ["1"]
    assert [one["relation"] for one in last["link"]] == ["self"]
    assert (await fhir.get("ResearchSubject/b/_history")).status_code == 404


@pytest.mark.parametrize(
    ("method", "path", "headers", "status"),
    [
        ("GET", "Observation", {}, 404),
        ("GET", "ResearchSubject/none", {}, 404),
        ("GET", "a/b/c/d/e", {}, 404),
        ("GET", "ResearchSubject?_after=x", {}, 410),
        ("DELETE", "ResearchSubject/a", {}, 405),
        ("PATCH", "ResearchSubject/a", {}, 405),
        ("PUT", "ResearchSubject?identifier=x", {}, 405),
        ("POST", "Group", {}, 405),
        ("PUT", "AuditEvent/1", {}, 405),
        ("GET", "ResearchSubject/a", {"Accept": "application/fhir+xml"}, 406),
        ("GET", "ResearchSubject/a", {"Accept": "application/fhir+json; fhirVersion=5.0"}, 406),
        ("GET", "ResearchSubject?_format=xml", {}, 406),
        ("GET", "metadata?_format=turtle", {}, 406),
        ("PUT", "ResearchSubject/a", {"Content-Type": "application/fhir+xml"}, 415),
        ("PUT", "ResearchSubject/a", {"Content-Type": "application/json-patch+json"}, 415),
        ("POST", "ResearchSubject", {"If-None-Exist": "identifier=x"}, 400),
        ("PUT", "ResearchSubject/a", {"If-Match": 'W/"8"'}, 412),
    ],
)
async def test_every_refusal_is_an_operation_outcome(
    fhir: httpx.AsyncClient, method: str, path: str, headers: dict[str, str], status: int
) -> None:
    await put(fhir, subject("a"))
    sent = {"Content-Type": "application/fhir+json", **headers}
    kind = path.split("/")[0].split("?")[0]
    body = httpx.Request("PUT", "http://x", json={**subject("a"), "resourceType": kind}).content
    answer = await fhir.request(method, path, headers=sent, content=body if method != "GET" else None)
    assert answer.status_code == status, answer.text
    assert answer.headers["Content-Type"].startswith("application/fhir+json")
    assert r4_faults(answer.json()) == []
    if status == 405 and path.startswith("ResearchSubject/"):
        assert answer.headers["Allow"] == "GET, PUT"


@pytest.mark.parametrize(
    "accept", ["", "*/*", "application/json", "text/html, application/fhir+json;fhirVersion=4.0;q=0.9"]
)
async def test_json_by_any_of_its_names(fhir: httpx.AsyncClient, accept: str) -> None:
    await put(fhir, subject("a"))
    assert (await fhir.get("ResearchSubject/a", headers={"Accept": accept})).status_code == 200
    assert "\n" in (await fhir.get("ResearchSubject/a?_format=json&_pretty=true")).text


async def test_a_group_follows_the_subjects(fhir: httpx.AsyncClient) -> None:
    await put(fhir, STUDY_RESOURCE, subject("a"), subject("b", "screening"), subject("c", "on-study"))
    assert await ids(fhir, "Group") == ["st-candidates", "st-on-study"]
    group = (await fhir.get("Group/st-candidates")).json()
    assert r4_faults(group) == []
    assert [one["entity"]["reference"] for one in group["member"]] == ["Patient/p-a", "Patient/p-b"]
    assert await ids(fhir, "Group?member=Patient/p-c") == ["st-on-study"]
    assert await ids(fhir, f"Group?identifier={STUDY}-candidates") == ["st-candidates"]
    before = (await fhir.get("Group/st-candidates")).headers["ETag"]
    await put(fhir, subject("b", "ineligible"))
    after = await fhir.get("Group/st-candidates")
    assert (after.json()["quantity"], after.headers["ETag"] != before) == (1, True)


async def test_the_statement_promises_what_is_served(engine: Engine) -> None:
    async with spoken(engine, "service monitor") as fhir:
        await promises(fhir)


async def promises(fhir: httpx.AsyncClient) -> None:
    statement = (await fhir.get("metadata")).json()
    assert r4_faults(statement) == []
    for one in statement["rest"][0]["resource"]:
        for parameter in one.get("searchParam", []):
            value = {"date": "2026-01-01", "reference": "Patient/x"}.get(parameter["type"], "x")
            answer = await fhir.get(one["type"], params={parameter["name"]: value})
            assert answer.status_code == 200, (one["type"], parameter)
        can = {code["code"] for code in one.get("interaction", [])}
        answer = await fhir.post(one["type"], json={"resourceType": one["type"]})
        assert (answer.status_code == 405) == ("create" not in can), one["type"]


async def test_what_was_indexed_by_an_earlier_version_is_found_by_new_parameters(
    engine: Engine, fhir: httpx.AsyncClient
) -> None:
    await put(fhir, subject("a", period={"start": "2026-02-10"}))
    with engine.begin() as connection:
        connection.execute(text("DELETE FROM resource_key"))
        connection.execute(
            text("INSERT INTO resource_key VALUES ('ResearchSubject', 'a', 'patient', 'Patient/p-a')")
        )
    async with spoken(engine) as again:
        assert await ids(again, "ResearchSubject?date=ge2026-02-10&_lastUpdated=ge2026-03-01") == ["a"]


@pytest.fixture
def acts(engine: Engine) -> None:
    for minute, (who, action) in enumerate((("anna", "screen"), ("bert", "export"), ("anna", "show"))):
        with engine.begin() as connection:
            at = START + timedelta(minutes=minute)
            audit.append(connection, Entry(at, who, action, ("ResearchSubject/a",), {"people": minute}))


async def test_the_audit_as_audit_events(engine: Engine, acts: None) -> None:
    async with spoken(engine, "monitor", "carl") as fhir:
        found = (await fhir.get("AuditEvent")).json()
        assert r4_faults(found) == []
        assert [one["resource"]["agent"][0]["name"] for one in found["entry"]] == ["anna", "bert", "anna"]
        assert len(await ids(fhir, "AuditEvent?agent-name=anna")) == 2
        assert len(await ids(fhir, "AuditEvent?date=ge2026-03-01T12:01:00Z&entity=ResearchSubject/a")) == 2
        assert len(await ids(fhir, "AuditEvent?subtype=export")) == 1
        assert (await fhir.get("AuditEvent/000000000002")).json()["agent"][0]["name"] == "bert"


async def test_a_coordinator_sees_what_she_did_herself(engine: Engine, acts: None) -> None:
    async with spoken(engine, "coordinator", "anna") as fhir:
        assert await ids(fhir, "AuditEvent") == ["000000000001", "000000000003"]
        assert await ids(fhir, "AuditEvent?agent-name=bert") == []
        assert (await fhir.get("AuditEvent/000000000002")).status_code == 404
        links = (await fhir.get("AuditEvent?_count=1")).json()["link"]
        assert "anna" not in str(links)


@pytest.mark.parametrize(
    ("role", "path", "status"),
    [
        ("service", "AuditEvent", 403),
        ("sponsor", "ResearchSubject", 403),
        ("admin", "ResearchSubject", 403),
        ("coordinator", "ResearchSubject", 200),
    ],
)
async def test_who_may_read(engine: Engine, role: str, path: str, status: int) -> None:
    async with spoken(engine, role) as fhir:
        answer = await fhir.get(path)
        assert answer.status_code == status
        assert r4_faults(answer.json()) == []


async def test_only_a_service_may_write(engine: Engine) -> None:
    async with spoken(engine, "coordinator") as fhir:
        assert (await fhir.put("ResearchSubject/a", json=subject("a"))).status_code == 403
        assert (await fhir.get("ResearchSubject/a")).status_code == 404


@asynccontextmanager
async def judging(engine: Engine, role: str = "coordinator") -> AsyncIterator[httpx.AsyncClient]:
    inside = Inside(Principal("anna", (Grant(role, STUDY, SITE), Grant("service", STUDY, SITE)), "anna"))
    app = create_app(engine, lambda: NOW, premises=Premises(STUDY, SITE, inside), trial=open_trial())
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1/fhir/") as client:
        yield client


def given(*resources: dict[str, Any], complete: tuple[str, ...] = ()) -> dict[str, Any]:
    bundle = {
        "resourceType": "Bundle",
        "type": "collection",
        "entry": [{"resource": one} for one in resources],
    }
    whole = [{"name": "complete", "valueCode": kind} for kind in complete]
    return {"resourceType": "Parameters", "parameter": [{"name": "record", "resource": bundle}, *whole]}


def said(answer: httpx.Response, name: str) -> list[Any]:
    return [one for one in answer.json()["parameter"] if one["name"] == name]


async def test_evaluate_gives_verdicts_with_evidence(engine: Engine) -> None:
    async with judging(engine) as fhir:
        answer = await fhir.post("Patient/p1/$evaluate", json=given(patient(), diagnosis(), complete=TYPES))
        assert answer.status_code == 200, answer.text
        assert r4_faults(answer.json()) == []
        assert said(answer, "standing")[0]["valueCode"] == "candidate"
        assert said(answer, "verdict")[0]["valueCode"] == "undetermined"
        assert said(answer, "lacking") == [
            {
                "name": "lacking",
                "part": [
                    {"name": "type", "valueCode": "ResearchStudy"},
                    {"name": "reason", "valueString": "not said to be complete"},
                ],
            }
        ]
        assert "Condition/c1" in answer.text
        await put(fhir, subject("rs", individual={"reference": "Patient/p1"}))
        same = await fhir.post(
            "ResearchSubject/rs/$evaluate", json=given(patient(), diagnosis(), complete=TYPES)
        )
        assert same.json() == answer.json()
        statement = (await fhir.get("metadata")).json()
        offered = {
            one["type"]: one["operation"][0]["definition"].rpartition("/")[2]
            for one in statement["rest"][0]["resource"]
            if "operation" in one
        }
        assert offered == {"Patient": "Patient-evaluate", "ResearchSubject": "ResearchSubject-evaluate"}


async def test_what_is_not_said_to_be_complete_is_unknown(engine: Engine) -> None:
    async with judging(engine) as fhir:
        answer = await fhir.post("Patient/p1/$evaluate", json=given(patient()))
        assert said(answer, "standing")[0]["valueCode"] == "unknown"
        assert said(answer, "verdict") == []


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({}, 404),
        ({"resourceType": "Bundle"}, 400),
        ({"resourceType": "Parameters", "parameter": [{"name": "colour"}]}, 400),
        ({"resourceType": "Parameters", "parameter": [{"name": "record", "resource": {}}]}, 400),
        ({"resourceType": "Parameters", "parameter": 7}, 400),
    ],
)
async def test_evaluate_refuses(engine: Engine, body: Any, status: int) -> None:
    async with judging(engine) as fhir:
        answer = await fhir.post("Patient/p1/$evaluate", json=body)
        assert answer.status_code == status
        assert r4_faults(answer.json()) == []
        assert (await fhir.post("ResearchSubject/none/$evaluate", json=body)).status_code in (400, 404)
    async with judging(engine, "sponsor") as fhir:
        assert (await fhir.get("Patient/p1/$evaluate")).status_code == 405
