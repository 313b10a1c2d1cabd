"""CDS Hooks without a prefetch: what is fetched, with whose token, from where; and callers' keys."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
import respx

from adapter.config import HookClient, Hooks
from adapter.store.database import open_database
from adapter.web.app import create_app
from tests.fhir_server import BASE, FhirServer
from tests.servers.ehr import Ehr
from tests.spec.test_cds_hooks import HERE, VIEW, bundle, call
from tests.spec.test_cds_hooks import plain as demo
from tests.spec.test_consult import NOW, diagnosis, on_study, patient

EHR = Ehr("https://ehr.example")
JWKS = "https://ehr.example/jwks"
TOKEN = {"access_token": "patient-token", "token_type": "Bearer", "expires_in": 300, "scope": "patient/*.rs"}


class Moving:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> Any:
        return self.now


@pytest.fixture
def clock() -> Moving:
    return Moving()


@pytest.fixture
async def http(tmp_path: Path, clock: Moving) -> AsyncIterator[httpx.AsyncClient]:
    plain = demo()
    hooks = Hooks(HERE, {"ehr": HookClient(EHR.iss, jwks_url=JWKS)}, language="en")
    trial = plain._replace(site=msgspec.structs.replace(plain.site, hooks=hooks, base_url=BASE))
    engine = open_database(tmp_path / "adapter.sqlite")
    app = create_app(engine, clock, trial.site, study=trial.protocol.id, trial=trial)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=HERE) as client:
        yield client
    engine.dispose()


async def view(
    http: httpx.AsyncClient, body: Any, by: Ehr = EHR, clock: Moving | None = None
) -> httpx.Response:
    token = by.token(HERE + VIEW, clock.now if clock else NOW)
    return await http.post(VIEW, json=body, headers={"Authorization": f"Bearer {token}"})


def with_access(server: str = BASE, **token: Any) -> dict[str, Any]:
    return call(fhirServer=server, fhirAuthorization={**TOKEN, **token})


@pytest.fixture
def hospital() -> FhirServer:
    server = FhirServer(NOW)
    for one in (patient(), diagnosis(), on_study()[0]):
        server.put(one)
    return server


@contextmanager
def answering(hospital: FhirServer) -> Iterator[respx.Route]:
    """The hospital's server, and where its keys are."""
    with respx.mock(assert_all_called=False) as mock:
        mock.route(url__startswith=BASE).mock(side_effect=hospital._answer)
        yield mock.get(JWKS).mock(return_value=httpx.Response(200, json=EHR.jwks()))


async def test_what_was_not_sent_is_fetched(http: httpx.AsyncClient, hospital: FhirServer) -> None:
    with answering(hospital):
        (card,) = (await view(http, with_access())).json()["cards"]
    assert "may be eligible" in card["summary"]
    assert "did not come" not in card["detail"]
    assert len(hospital.requests) == 18  # Patient, 16 types by patient, ResearchStudy
    assert "metadata?" not in hospital.requests


async def test_only_what_is_missing_is_fetched(http: httpx.AsyncClient, hospital: FhirServer) -> None:
    body = {**with_access(), "prefetch": {"patient": patient(), "condition": bundle(diagnosis())}}
    with answering(hospital):
        await view(http, body)
    assert not [one for one in hospital.requests if one.startswith(("Patient/", "Condition"))]


async def test_a_type_the_server_refuses_is_said(http: httpx.AsyncClient, hospital: FhirServer) -> None:
    hospital.refused.add("Observation")
    with answering(hospital):
        (card,) = (await view(http, with_access())).json()["cards"]
    assert "Observation: the hospital's server did not answer" in card["detail"]


async def test_a_type_outside_of_the_scopes_is_not_taken_for_empty(
    http: httpx.AsyncClient, hospital: FhirServer
) -> None:
    scope = "patient/Patient.rs patient/Observation.rs?category=laboratory patient/ResearchSubject.rs launch"
    with answering(hospital):
        (card,) = (await view(http, with_access(scope=scope))).json()["cards"]
    assert "could not be checked" in card["summary"]
    assert sorted({one.partition("?")[0] for one in hospital.requests}) == ["Patient/p1", "ResearchSubject"]


@pytest.mark.parametrize(
    "server",
    [
        "https://stranger.example/fhir",
        "https://ehr.example.stranger.example/fhir",
        "http://ehr.example/fhir",
        "https://ehr.example:8443/fhir",
        "https://ehr.example@stranger.example/fhir",
        "http://169.254.169.254/latest",
        "http://127.0.0.1:1/fhir",
        "file:///etc/passwd",
        "nonsense",
    ],
)
async def test_the_token_goes_to_the_hospital_and_nowhere_else(http: httpx.AsyncClient, server: str) -> None:
    with respx.mock(assert_all_called=False) as mock:
        mock.get(JWKS).mock(return_value=httpx.Response(200, json=EHR.jwks()))
        elsewhere = mock.route().mock(return_value=httpx.Response(200, json={}))
        assert (await view(http, with_access(server))).status_code == 400
    assert not elsewhere.called


async def test_a_token_for_another_patient_is_refused(http: httpx.AsyncClient, hospital: FhirServer) -> None:
    with answering(hospital):
        assert (await view(http, with_access(patient="p2"))).status_code == 400
    assert hospital.requests == []


async def test_keys_are_read_once_and_again_when_they_change(
    http: httpx.AsyncClient, hospital: FhirServer, clock: Moving
) -> None:
    fresh = Ehr(EHR.iss, kid="k2")
    body = call(prefetch={"patient": patient()})
    with answering(hospital) as route:
        for _ in range(3):
            assert (await view(http, body)).status_code == 200
        assert route.call_count == 1
        route.mock(return_value=httpx.Response(200, json=fresh.jwks()))
        assert (await view(http, body, fresh)).status_code == 401  # not looked for again so soon
        clock.now += timedelta(seconds=31)
        assert (await view(http, body, fresh, clock)).status_code == 200
        assert (await view(http, body, EHR, clock)).status_code == 401


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(500),
        httpx.Response(302, headers={"Location": "https://stranger.example/jwks"}),
        httpx.Response(200, text="<html>"),
        httpx.Response(200, json={"keys": [{"kty": "oct", "k": "c2VjcmV0", "kid": "k1"}]}),
        httpx.Response(200, json=[]),
    ],
)
async def test_without_keys_nobody_is_believed(http: httpx.AsyncClient, answer: httpx.Response) -> None:
    with respx.mock(assert_all_called=False) as mock:
        mock.get(JWKS).mock(return_value=answer)
        refused = await view(http, call(prefetch={"patient": patient()}))
    assert refused.status_code == 401
