"""Each rung in turn on a real HAPI server: written, read back by plain HTTP, judged by ``$validate``, and
written again to no effect; and a run that is killed at each step."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from adapter.model.decision import Decision
from adapter.store import audit
from adapter.store.database import open_database
from adapter.store.ledger import Ledger
from adapter.store.outbox import Outbox
from adapter.store.outbox_state import FINAL
from adapter.writeback.courier import STEPS
from adapter.writeback.send import Ladder, WriteReport, ways_of, write_back
from adapter.writeback.server import Server
from tests.contract.test_writeback_hapi import Hospital, errors
from tests.killing import At, killed_at
from tests.writeback_cases import LATER, NOW

PROFILES = Path(__file__).resolve().parents[2] / "fhir_profiles"
NOTES = ("List", "Task", "Basic", "Communication", "DocumentReference")


@pytest.fixture
def hospital(hapi_base_url: str, tmp_path: Path) -> Iterator[Hospital]:
    one = Hospital(hapi_base_url, tmp_path / "adapter.sqlite")
    entries = [
        {"resource": body, "request": {"method": "PUT", "url": f"{body['resourceType']}/{body['id']}"}}
        for body in (json.loads(path.read_bytes()) for path in sorted(PROFILES.glob("*.json")))
    ]
    bundle = {"resourceType": "Bundle", "type": "transaction", "entry": entries}
    assert one.http.post(one.base_url, json=bundle).status_code == 200
    one.admit("anna", "bao")
    yield one
    one.http.close()


async def tell(
    hospital: Hospital, *decisions: Decision, rungs: tuple[str, ...] = (), **more: Any
) -> WriteReport:
    ladder = Ladder(rungs, folder=hospital.ledger_path.parent / "files", at=more.pop("at", lambda step: None))
    return await write_back(
        hospital.base_url,
        decisions,
        study=hospital.study,
        database=hospital.ledger_path,
        now=more.pop("now", NOW),
        ladder=ladder,
        **more,
    )


def settled(hospital: Hospital) -> None:
    engine = open_database(hospital.ledger_path)
    assert {row.state for row in Outbox(engine).rows()} <= FINAL
    assert audit.verify(engine, ()).sound
    engine.dispose()


async def test_hapi_offers_the_whole_ladder(hapi_base_url: str, tmp_path: Path) -> None:
    async with Server(hapi_base_url) as server:
        ways = await ways_of(server, Ladder((), folder=tmp_path))
    assert [way.rung for way in ways] == ["ResearchSubject", *NOTES, "file"]
    assert ways[0].whole
    assert {way.look for way in ways if way.rung in NOTES} == {"patient"}


@pytest.mark.parametrize("rung", NOTES)
async def test_a_note_is_written_read_back_and_written_once(rung: str, hospital: Hospital) -> None:
    report = await tell(hospital, hospital.verdict("eligible", "anna"), rungs=(rung,))
    assert (report.outcomes, report.rungs, report.resources_written) == ({"created": 1}, {rung: 1}, 1)
    found = hospital.found(f"{rung}?patient=Patient/{hospital.patient('anna')}")
    (note,) = found
    assert errors(hospital, note) == []
    parts = {part["url"]: part for part in note["extension"][0]["extension"]}
    assert parts["study"]["valueString"] == hospital.study.id
    assert parts["proposedStatus"]["valueCode"] == "candidate"
    assert parts["evidence"]["valueString"] == f"{hospital.protein('anna').reference}/_history/1"
    text = json.dumps(note)
    if rung == "DocumentReference":
        text = base64.b64decode(note["content"][0]["attachment"]["data"]).decode()
    assert "not the decision of a person" in text

    again = await tell(hospital, hospital.verdict("eligible", "anna"), rungs=(rung,), now=LATER)
    assert (again.outcomes, again.resources_written) == ({"unchanged": 1}, 0)
    hospital.measure("anna", "2.0")
    changed = await tell(
        hospital, hospital.verdict("ineligible", "anna", version="2"), rungs=(rung,), now=LATER
    )
    assert changed.outcomes == {"updated": 1}
    after = hospital.found(f"{rung}?patient=Patient/{hospital.patient('anna')}")
    assert len(after) == (1 if rung in ("List", "Task", "Basic") else 2)
    assert all(errors(hospital, one) == [] for one in after)
    assert (
        await tell(hospital, hospital.verdict("ineligible", "anna", version="2"), rungs=(rung,))
    ).resources_written == 0
    with Ledger(hospital.ledger_path, hospital.base_url) as ledger:
        assert {receipt.rung for receipt in ledger.receipts()} == {rung}
    settled(hospital)


class Refusing(httpx.AsyncBaseTransport):
    """HAPI behind a gateway that lets nobody write ResearchSubjects or Lists."""

    def __init__(self) -> None:
        self._network = httpx.AsyncHTTPTransport()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        body = await request.aread()
        closed = b'"ResearchSubject"' in body or request.url.path.rpartition("/List")[1]
        if request.method != "GET" and closed:
            return httpx.Response(
                403, json={"resourceType": "OperationOutcome", "issue": []}, request=request
            )
        return await self._network.handle_async_request(request)


async def test_who_is_refused_is_told_by_the_next_rung(hospital: Hospital) -> None:
    verdicts = [hospital.verdict("eligible", "anna"), hospital.verdict("undetermined", "bao")]
    report = await tell(hospital, *verdicts, transport=Refusing())
    assert (report.outcomes, report.rungs) == ({"created": 2}, {"Task": 2})
    assert len(hospital.found(f"Task?patient=Patient/{hospital.patient('anna')}")) == 1
    assert (await tell(hospital, *verdicts, transport=Refusing())).outcomes == {"unchanged": 2}


@pytest.mark.parametrize("step", [step for step in STEPS if step[:5] not in ("part ", "faile")])
def test_killed_at_a_step_the_next_run_makes_it_whole(step: str, hospital: Hospital) -> None:
    verdicts = [hospital.verdict("eligible", "anna"), hospital.verdict("undetermined", "bao")]

    async def run(at: At = lambda step: None) -> WriteReport:
        return await tell(hospital, *verdicts, at=at)

    assert killed_at(step, run)
    asyncio.run(run())
    for name, status in (("anna", "candidate"), ("bao", "potential-candidate")):
        subject = hospital.subject(name)
        assert (subject["status"], subject["meta"]["versionId"]) == (status, "1")
        assert len(hospital.provenances(name)) == 1
    assert hospital.flags("anna") == {"candidate": "active"}
    assert asyncio.run(run()).resources_written == 0
    settled(hospital)
