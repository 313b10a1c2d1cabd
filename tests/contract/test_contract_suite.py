"""One contract, three real servers of different make: what the adapter needs of a server, and does with it.

Each test runs on HAPI FHIR, sekmet-fhir and Medplum. Where they differ, the difference is a row of
``tests/servers/behaviour.py``, proved here by plain HTTP first; no test asks which server it talks to.
"""

from __future__ import annotations

import asyncio
import json
import logging
import shutil
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import msgspec
import pytest

from adapter import pipeline
from adapter.errors import WriteConflict
from adapter.model.coverage import is_covered
from adapter.model.decision import Decision, Overall
from adapter.source.client import FhirClient, Refusal, capabilities
from adapter.source.crawl import BY_PATIENT, land_server
from adapter.source.landing import Landing, open_landing
from adapter.source.search import search
from adapter.writeback.capabilities import capabilities_of
from adapter.writeback.rungs import choose
from tests.conftest import RealServer
from tests.contract import planted
from tests.contract.ward import Ward

AS_OF = date(2019, 6, 3)
NOW = datetime(2019, 6, 3, 12, tzinfo=UTC)
READINGS = 16
LATER = datetime(2019, 6, 4, 12, tzinfo=UTC)
JSON = {"Content-Type": "application/fhir+json", "Cache-Control": "no-cache"}


@pytest.fixture(scope="session")
def http(server: RealServer) -> Iterator[httpx.Client]:
    """Plain HTTP to the server, sharing no code with the adapter."""
    with httpx.Client(base_url=server.base_url, headers=JSON, timeout=120, trust_env=False) as client:
        yield client


def put(http: httpx.Client, resource: dict[str, Any], **headers: str) -> int:
    url = f"/{resource['resourceType']}/{resource['id']}"
    return http.put(url, json=resource, headers=headers).status_code


def everything(http: httpx.Client, kind: str) -> list[dict[str, Any]]:
    """All resources of a type, by following ``next``."""
    found: list[dict[str, Any]] = []
    url = f"/{kind}?_count=500"
    while url:
        page = http.get(url).json()
        found += [entry["resource"] for entry in page.get("entry", [])]
        url = next((link["url"] for link in page["link"] if link["relation"] == "next"), "")
    return found


# ---- the table is true ------------------------------------------------------------------------------


@pytest.fixture
def ward(server: RealServer) -> Ward:
    made = Ward(readings=READINGS)
    made.admit(server.base_url, server.does.at_once)
    return made


def test_unknown_search_parameters(server: RealServer, http: httpx.Client, ward: Ward) -> None:
    answer = http.get("/Observation?patinet=nobody")
    modes = [entry["search"]["mode"] for entry in answer.json().get("entry", [])]
    said = {"refused": (400, False), "ignored": (200, True)}
    assert (answer.status_code, "outcome" in modes and "match" in modes) == said[
        server.does.unknown_parameter
    ]


def test_deletion_and_concurrency(server: RealServer, http: httpx.Client, ward: Ward) -> None:
    patient = {"resourceType": "Patient", "id": ward.id("passing")}
    url = f"/Patient/{patient['id']}"
    assert put(http, patient) in (200, 201)
    stale = http.get(url).headers["ETag"]
    assert put(http, {**patient, "gender": "male"}, **{"If-Match": stale}) == 200
    assert put(http, {**patient, "gender": "female"}, **{"If-Match": stale}) == server.does.stale
    assert http.get(url).json()["gender"] == "male"
    assert http.delete(url).status_code in (200, 204)
    assert http.get(url).status_code == server.does.deleted
    assert http.get(f"/Patient/{ward.id('never')}").status_code == 404


def test_a_transaction_that_fails_leaves_nothing(server: RealServer, http: httpx.Client, ward: Ward) -> None:
    flag = {
        "resourceType": "Flag",
        "id": ward.id("half"),
        "status": "active",
        "code": {"text": "half"},
        "subject": ward.ref("Patient", "kept"),
    }
    stale = {"resourceType": "Patient", "id": ward.id("kept")}
    entries = [
        {"resource": flag, "request": {"method": "PUT", "url": f"Flag/{flag['id']}"}},
        {
            "resource": stale,
            "request": {"method": "PUT", "url": f"Patient/{stale['id']}", "ifMatch": 'W/"77"'},
        },
    ]
    answer = http.post("", json={"resourceType": "Bundle", "type": "transaction", "entry": entries})
    assert answer.status_code == server.does.stale
    assert http.get(f"/Flag/{flag['id']}").status_code == 404


def test_references_and_numbers(server: RealServer, http: httpx.Client, ward: Ward) -> None:
    observation = {
        "resourceType": "Observation",
        "id": ward.id("digits"),
        "status": "final",
        "code": {"text": "a number"},
        "subject": {"reference": f"Patient/{ward.id('kept')}/_history/1"},
    }
    body = json.dumps({**observation, "valueQuantity": {"value": 0}}).replace(": 0}", ": 8.10}")
    assert http.put(f"/Observation/{observation['id']}", content=body).status_code in (200, 201)
    assert ("8.10" in http.get(f"/Observation/{observation['id']}").text) == server.does.digits
    found = http.get(f"/Observation?patient=Patient/{ward.id('kept')}&_count=200").json()
    ids = {entry["resource"]["id"] for entry in found["entry"]}
    assert (observation["id"] in ids) == server.does.versioned
    dangling = {**observation, "id": ward.id("lost"), "subject": {"reference": f"Patient/{ward.id('x')}"}}
    assert (put(http, dangling) in (200, 201)) == server.does.dangling


# ---- reading ----------------------------------------------------------------------------------------


async def test_capabilities_are_the_servers(server: RealServer) -> None:
    async with FhirClient(server.base_url) as client:
        can = await capabilities(client)
    assert {kind for kind in BY_PATIENT if not can.has(kind)} == server.does.lacks - {"ResearchStudy"}
    assert can.has("ResearchStudy") == ("ResearchStudy" not in server.does.lacks)
    assert not can.has("NoSuchType")
    assert can.searches("Condition", "code")
    assert not can.searches("Condition", "nonsense")


async def test_paging_reads_every_page_once(server: RealServer, ward: Ward) -> None:
    async with FhirClient(server.base_url) as client:
        params = {"patient": f"Patient/{ward.id('kept')}"}
        found = await search(client, "Observation", params, count=5)
    assert found.complete
    assert sorted(entry.id for entry in found.entries) == sorted(
        ward.id(f"kept-{n}") for n in range(READINGS)
    )
    assert [entry.where for entry in found.entries[::5]] == [f"Observation:{page}.0" for page in range(1, 5)]


async def test_an_unknown_parameter_never_passes_for_an_answer(server: RealServer, ward: Ward) -> None:
    async with FhirClient(server.base_url) as client:
        if server.does.unknown_parameter == "refused":
            with pytest.raises(Refusal, match="HTTP 400"):
                await search(client, "Observation", {"patinet": ward.id("kept")})
            return
        found = await search(client, "Observation", {"patinet": ward.id("kept")})
    assert not found.complete
    assert {"IGNORED_PARAMETER", "SEARCH_OUTCOME"} <= {one.code for one in found.issues}
    assert "OperationOutcome" not in {entry.resource_type for entry in found.entries}


async def crawled(server: RealServer, made: Ward, target: Path, concurrency: int = 3) -> Landing:
    async with FhirClient(server.base_url) as client:
        await land_server(client, made.query(), target, now=NOW, concurrency=concurrency)
    return open_landing(target)


async def test_candidates_are_found_by_code_and_their_records_whole(
    server: RealServer, ward: Ward, tmp_path: Path
) -> None:
    """Two linked records of one person by a code; of another by the study, where the server knows studies."""
    landing = await crawled(server, ward, tmp_path / "landing")
    came = {f"{raw.resource_type}/{json.loads(raw.line)['id']}": raw for raw in landing.resources()}
    enrolled = set() if "ResearchSubject" in server.does.lacks else {"other"}
    unreachable = {"bystander"} | ({"other", "enrolled", "study"} - enrolled if not enrolled else set())
    expected = {
        f"{one['resourceType']}/{one['id']}": one
        for one in ward.resources()
        if not any(one["id"].startswith(name) for name in unreachable)
    }
    assert came.keys() == expected.keys()
    for name, resource in expected.items():
        sent = json.loads(came[name].line)
        assert {key: value for key, value in sent.items() if key not in ("meta", "text")} == resource
    assert not [issue for issue in landing.issues if issue.severity == "error"]
    landing.verify()
    for record in {"old", "kept"} | enrolled:
        for kind in ("Patient", *BY_PATIENT):
            asked = kind not in server.does.lacks
            assert is_covered(landing.coverage, kind, ward.id(record), None, NOW.date()) == asked, kind
    assert not is_covered(landing.coverage, "Observation", ward.id("bystander"), None, NOW.date())


async def test_landed_bytes_are_the_servers_own(
    server: RealServer, http: httpx.Client, ward: Ward, tmp_path: Path
) -> None:
    landing = await crawled(server, ward, tmp_path / "landing")
    name = ward.id("kept-3")
    landed = next(raw.line for raw in landing.resources() if f'"id":"{name}"'.encode() in raw.line)
    assert landed == http.get(f"/Observation/{name}").content


async def test_timing_does_not_change_the_landing(server: RealServer, ward: Ward, tmp_path: Path) -> None:
    one = await crawled(server, ward, tmp_path / "one", concurrency=1)
    two = await crawled(server, ward, tmp_path / "two", concurrency=6)
    assert (one.folder / "manifest.json").read_bytes() == (two.folder / "manifest.json").read_bytes()


async def test_no_patient_id_reaches_a_log(
    server: RealServer, ward: Ward, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        await crawled(server, ward, tmp_path / "landing")
    assert ward.key not in caplog.text


# ---- the whole line: load, fetch, screen, write back, read back -------------------------------------


@pytest.fixture(scope="session")
def trial() -> pipeline.Trial:
    return pipeline.open_trial()


class Line(NamedTuple):
    """What was planted, what files say about it, and a workspace screened over REST."""

    lines: list[planted.Line]
    from_files: tuple[Decision, ...]
    workspace: pipeline.Workspace


@pytest.fixture(scope="session")
def line(server: RealServer, trial: pipeline.Trial, tmp_path_factory: pytest.TempPathFactory) -> Line:
    """The planted stories loaded on the server; files hold what that server can give of them."""
    root = tmp_path_factory.mktemp(server.name)
    lines = planted.slice_of_hospital(root)
    planted.load(server.base_url, lines, server.does.at_once)
    given = [one for one in lines if planted.reachable(one, server.does.lacks, server.does.versioned)]
    bulk, rest = pipeline.Workspace(root / "bulk"), pipeline.Workspace(root / "rest")
    pipeline.land(planted.write(given, root / "export"), bulk, now=NOW)
    from_files = pipeline.screen(trial, bulk, as_of=AS_OF)
    asyncio.run(pipeline.land_server(trial, rest, server.base_url, now=NOW))
    pipeline.screen(trial, rest, as_of=AS_OF)
    return Line(lines, from_files.decisions, rest)


def verdicts(decisions: tuple[Decision, ...]) -> dict[str, Any]:
    return {
        one.subject: (
            one.overall.value,
            {found.id: found.verdict.value for top in one.criteria for found in top.walk()},
        )
        for one in decisions
    }


def decisions_of(line: Line) -> tuple[Decision, ...]:
    """Over REST, of those who were planted: other tests have people on the server too."""
    ours = {one.subject for one in line.from_files}
    return tuple(one for one in pipeline.read_screening(line.workspace).decisions if one.subject in ours)


def test_the_way_data_arrives_changes_no_verdict(line: Line) -> None:
    assert len(line.from_files) == sum(planted.STORIES.values())
    assert verdicts(decisions_of(line)) == verdicts(line.from_files)


def written_back(server: RealServer, trial: pipeline.Trial, line: Line, **more: Any) -> Any:
    return asyncio.run(pipeline.write_back(trial, line.workspace, server.base_url, **{"now": NOW, **more}))


@pytest.fixture(scope="session")
def first(server: RealServer, trial: pipeline.Trial, line: Line) -> Any:
    """The report of the first write-back."""
    return written_back(server, trial, line)


def subject_of(http: httpx.Client, patient: str) -> dict[str, Any] | None:
    """The ResearchSubject of a patient, or None."""
    about = [one for one in everything(http, "ResearchSubject") if patient in json.dumps(one["individual"])]
    assert len(about) <= 1
    return about[0] if about else None


def test_each_decision_is_on_the_server_once_with_its_reasons(
    first: Any, line: Line, http: httpx.Client
) -> None:
    assert (first.fault(), first.duplicates) == (None, ())
    proposals = {Overall.ELIGIBLE: "candidate", Overall.UNDETERMINED: "potential-candidate"}
    provenances = everything(http, "Provenance")
    for decision in decisions_of(line):
        subject = subject_of(http, decision.subject)
        assert (subject and subject["status"]) == proposals.get(decision.overall), decision.subject
        if subject is None:
            continue
        (why,) = [one for one in provenances if f"ResearchSubject/{subject['id']}" in json.dumps(one)]
        cited = json.dumps(why["entity"])
        assert used(decision)
        assert [reference for reference in used(decision) if f'"{reference}' not in cited] == []


def used(decision: Decision) -> list[str]:
    """The records a verdict rests on; that a type was wholly fetched (``coverage/...``) is no record."""
    found = [one for top in decision.criteria for one in top.evidence if one.role == "used"]
    return [one.source.reference for one in found if not one.source.reference.startswith("coverage/")]


def test_written_twice_is_written_once(
    server: RealServer, trial: pipeline.Trial, line: Line, first: Any
) -> None:
    assert first.resources_written >= 2 * 6  # ResearchSubject and Provenance of those who are not ineligible
    again = written_back(server, trial, line, now=LATER)
    assert (again.resources_written, again.fault()) == (0, None)


def test_the_rung_is_what_metadata_offers(server: RealServer, http: httpx.Client) -> None:
    ways = choose(capabilities_of(http.get("/metadata").json()))
    assert ways[0].rung == server.does.rung
    assert ways[-1].rung == "file"


def test_another_rung_tells_everyone_once_too(
    server: RealServer, trial: pipeline.Trial, line: Line, http: httpx.Client, tmp_path: Path
) -> None:
    """A site that wants Tasks gets one for each person, and the same ones the second time."""
    tasks = trial._replace(site=msgspec.structs.replace(trial.site, rungs=("Task",)))
    workspace = pipeline.Workspace(tmp_path / "tasks")
    shutil.copytree(line.workspace.screening, workspace.screening)
    reports = [
        asyncio.run(pipeline.write_back(tasks, workspace, server.base_url, now=day)) for day in (NOW, LATER)
    ]
    assert [one.fault() for one in reports] == [None, None]
    assert reports[1].resources_written == 0
    about = [task.get("for", {}).get("reference", "") for task in everything(http, "Task")]
    told = [one.subject for one in decisions_of(line) if one.overall is not Overall.INELIGIBLE]
    assert len(told) >= 6
    assert [about.count(f"Patient/{one}") for one in told] == [1] * len(told)


def test_what_a_person_changed_or_deleted_stays(
    server: RealServer, trial: pipeline.Trial, line: Line, first: Any, http: httpx.Client
) -> None:
    candidates = [one.subject for one in decisions_of(line) if one.overall is not Overall.INELIGIBLE]
    called, deleted = candidates[-1], candidates[-2]
    there = subject_of(http, called)
    assert there is not None
    assert put(http, {**there, "status": "screening"}) == 200
    removed = subject_of(http, deleted)
    assert removed is not None
    for kind in ("Provenance", "ResearchSubject"):
        for one in everything(http, kind):
            if f'"ResearchSubject/{removed["id"]}' in json.dumps(one) or one["id"] == removed["id"]:
                assert http.delete(f"/{kind}/{one['id']}").status_code in (200, 204)

    report = written_back(server, trial, line, now=LATER)
    about = {row["subject"]: (row["outcome"], row["reason"]) for row in report.rows}
    assert about[called][0] == "respected_human"
    assert about[deleted] == ("respected_human", "DELETED_BY_PERSON")
    after = subject_of(http, called)
    assert after is not None
    assert after["status"] == "screening"
    assert subject_of(http, deleted) is None


class Meddling(httpx.AsyncBaseTransport):
    """Lets a person change something after we have read and before what we write arrives."""

    def __init__(self, meddle: Callable[[], None], times: int) -> None:
        self._network = httpx.AsyncHTTPTransport()
        self._meddle = meddle
        self._times = times

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if request.method != "GET" and self._times > 0:
            self._times -= 1
            await asyncio.to_thread(self._meddle)
        return await self._network.handle_async_request(request)


def test_a_change_between_reading_and_writing_is_never_overwritten(
    server: RealServer, trial: pipeline.Trial, line: Line, first: Any, http: httpx.Client
) -> None:
    """p00007's protein is corrected, and a nurse writes on the same ResearchSubject again and again."""
    patient = "p00007"
    before = subject_of(http, patient)
    assert before is not None
    corrected = http.get(f"/Observation/{patient}-11").json()
    corrected["status"], corrected["valueQuantity"]["value"] = "corrected", 2.0
    assert put(http, corrected) == 200
    asyncio.run(pipeline.land_server(trial, line.workspace, server.base_url, now=LATER))
    decisions = pipeline.screen(trial, line.workspace, as_of=AS_OF).decisions
    (decision,) = [one for one in decisions if one.subject == patient]
    assert decision.fingerprint not in json.dumps(before)
    days: list[str] = []

    def nurse() -> None:
        found = subject_of(http, patient)
        assert found is not None
        days.append(f"2019-05-{len(days) + 1:02}")
        assert put(http, {**found, "period": {"start": days[-1]}}) == 200

    report = written_back(server, trial, line, now=LATER, transport=Meddling(nurse, times=99))
    assert {row["outcome"] for row in report.rows if row["subject"] == patient} == {"conflict"}
    assert type(report.fault()) is WriteConflict
    after = subject_of(http, patient)
    assert after is not None
    assert after["period"]["start"] == days[-1]
    assert (after["status"], after["extension"]) == (before["status"], before["extension"])

    report = written_back(server, trial, line, now=LATER, transport=Meddling(nurse, times=1))
    assert report.fault() is None
    after = subject_of(http, patient)
    assert after is not None
    assert after["period"]["start"] == days[-1]
    assert after["status"] == before["status"]  # a person's now: contradicted visibly, never overwritten
    assert decision.fingerprint in json.dumps(after["extension"])
