"""Real servers tell the adapter of a change: what they send is kept and names what to read again."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import msgspec
import pytest
import uvicorn
from sqlalchemy import Engine

from adapter import following, pipeline
from adapter.config import Channel, Site
from adapter.pipeline import Workspace
from adapter.store.database import open_database
from adapter.store.inbox import SWEEP, Inbox
from adapter.trial import open_store
from adapter.web.app import create_app

SECRET = "Bearer the-secret-of-this-channel"
BACKPORT = "http://hl7.org/fhir/uv/subscriptions-backport/StructureDefinition"
JSON = {"Content-Type": "application/fhir+json"}
Json = dict[str, Any]


@contextmanager
def listening(engine: Engine, site: Site) -> Iterator[str]:
    """Our receiver on a port of its own."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        server = uvicorn.Server(uvicorn.Config(create_app(engine, site=site), log_level="error"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [taken]}, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{taken.getsockname()[1]}/subscriptions/lab"
        finally:
            server.should_exit = True
            thread.join(20)


def site_of(base_url: str, folder: Path) -> Site:
    (folder / "header").write_text(SECRET)
    return Site(
        name="hospital",
        site_id="h",
        base_url=base_url,
        subscriptions={"lab": Channel(header_file=str(folder / "header"))},
    )


def until(seen: Callable[[], bool], seconds: float = 60) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if seen():
            return True
        time.sleep(0.1)
    return False


class Hospital:
    """Plain HTTP to the server; what it makes has ids of its own."""

    def __init__(self, base_url: str) -> None:
        self.key = uuid4().hex[:10]
        self.base_url = base_url
        self._http = httpx.Client(base_url=base_url, headers=JSON, timeout=120, trust_env=False)

    def put(self, kind: str, **content: Any) -> str:
        name = f"{content.pop('id')}-{self.key}"
        body = {"resourceType": kind, "id": name, **content}
        self._http.put(f"/{kind}/{name}", json=body).raise_for_status()
        return f"{kind}/{name}"

    def admit(self) -> str:
        return self.put("Patient", id="anna", birthDate="1980-01-01")

    def albumin(self, patient: str, value: float, code: str = "1751-7") -> str:
        return self.put(
            "Observation",
            id="albumin",
            status="final",
            subject={"reference": patient},
            code={"coding": [{"system": "http://loinc.org", "code": code}]},
            effectiveDateTime="2026-03-01T08:00:00+00:00",
            valueQuantity={
                "value": value,
                "unit": "g/L",
                "system": "http://unitsofmeasure.org",
                "code": "g/L",
            },
        )

    def subscribe(self, criteria: str, channel: Json, **more: Any) -> str:
        body = {
            "resourceType": "Subscription",
            "status": "requested",
            "reason": "to hear of changes",
            "criteria": criteria,
            "channel": {"type": "rest-hook", "header": [f"Authorization: {SECRET}"], **channel},
            **more,
        }
        answer = self._http.post("/Subscription", json=body)
        answer.raise_for_status()
        return f"Subscription/{answer.json()['id']}"

    def status(self, subscription: str) -> str:
        return str(self._http.get(f"/{subscription}").json()["status"])

    def end(self, subscription: str) -> None:
        self._http.delete(f"/{subscription}")


@pytest.fixture(params=["hapi", "sekmet"])
def hospital(request: pytest.FixtureRequest) -> Hospital:
    return Hospital(request.getfixturevalue(f"{request.param}_base_url"))


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    opened = open_database(tmp_path / "adapter.sqlite")
    yield opened
    opened.dispose()


def waiting(engine: Engine) -> set[str]:
    inbox = Inbox(engine)
    taken = inbox.take(datetime.now(UTC))
    inbox.give_back(taken)
    return {work.reference for work in taken}


@pytest.mark.parametrize("payload", [False, True], ids=["no payload", "with the resource"])
def test_classic(hospital: Hospital, engine: Engine, tmp_path: Path, payload: bool) -> None:
    with listening(engine, site_of(hospital.base_url, tmp_path)) as endpoint:
        patient = hospital.admit()
        channel = {"endpoint": endpoint, **({"payload": "application/fhir+json"} if payload else {})}
        ours = hospital.subscribe(f"Observation?patient={patient}", channel)
        assert until(lambda: hospital.status(ours) == "active")
        observation = hospital.albumin(patient, 27)
        assert until(lambda: bool(waiting(engine)))
        assert waiting(engine) == {observation if payload else SWEEP}
        hospital.end(ours)


@pytest.mark.parametrize("content", ["empty", "id-only", "full-resource"])
def test_backport(sekmet_base_url: str, engine: Engine, tmp_path: Path, content: str) -> None:
    hospital = Hospital(sekmet_base_url)
    with listening(engine, site_of(hospital.base_url, tmp_path)) as endpoint:
        patient = hospital.admit()
        channel = {
            "endpoint": endpoint,
            "payload": "application/fhir+json",
            "_payload": {
                "extension": [{"url": f"{BACKPORT}/backport-payload-content", "valueCode": content}]
            },
            "extension": [{"url": f"{BACKPORT}/backport-heartbeat-period", "valueUnsignedInt": 1}],
        }
        ours = hospital.subscribe(
            "http://sekmet.dev/fhir/SubscriptionTopic/patient-change",
            channel,
            meta={"profile": [f"{BACKPORT}/backport-subscription"]},
            _criteria={
                "extension": [
                    {
                        "url": f"{BACKPORT}/backport-filter-criteria",
                        "valueString": f"Patient?_id={patient.removeprefix('Patient/')}",
                    }
                ]
            },
        )
        assert until(lambda: hospital.status(ours) == "active")
        assert waiting(engine) == {SWEEP}  # the handshake
        hospital.admit()
        expected = {SWEEP} if content == "empty" else {SWEEP, patient}
        assert until(lambda: Inbox(engine).channels()[0].highest == 1)
        assert expected <= waiting(engine)
        (lab,) = Inbox(engine).channels()
        assert until(lambda: Inbox(engine).channels()[0].heard_at > lab.heard_at), "no heartbeat came"
        assert Inbox(engine).channels()[0].missing == 0
        hospital.end(ours)


def test_a_correction_reaches_the_facts(sekmet_base_url: str, engine: Engine, tmp_path: Path) -> None:
    hospital, workspace = Hospital(sekmet_base_url), Workspace(tmp_path / "workspace")
    trial = pipeline.open_trial()
    site = site_of(hospital.base_url, tmp_path)
    trial = trial._replace(site=msgspec.structs.replace(trial.site, subscriptions=site.subscriptions))
    patient = hospital.admit()
    hospital.put(
        "Condition",
        id="mn",
        subject={"reference": patient},
        code={"coding": [{"system": "http://hl7.org/fhir/sid/icd-10", "code": "N04.2"}]},
    )
    hospital.albumin(patient, 27)
    now = datetime.now(UTC)
    asyncio.run(pipeline.land_server(trial, workspace, hospital.base_url, now=now))
    pipeline.screen(trial, workspace, as_of=now.date())
    with open_store(workspace, now) as engine, listening(engine, site) as endpoint:
        channel = {"endpoint": endpoint, "payload": "application/fhir+json"}
        ours = hospital.subscribe(f"Observation?patient={patient}", channel)
        assert until(lambda: hospital.status(ours) == "active")
        hospital.albumin(patient, 22)
        assert until(lambda: any(lab.waiting for lab in Inbox(engine).channels()))
        hospital.end(ours)
    done = asyncio.run(following.answer(trial, workspace, hospital.base_url, now=datetime.now(UTC)))
    assert done is not None
    assert done.sync.changes == {"corrected": 1}
    facts = pipeline.read_screening(workspace).facts
    own = patient.removeprefix("Patient/")
    assert [str(row.value.low) for row in facts.findings if row.subject == own] == ["22"]
