"""SMART App Launch from a launcher that the test starts, as a browser goes through it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from sqlalchemy import Engine

from adapter.config import Launch, Site
from adapter.errors import ConfigError
from adapter.store import audit
from adapter.store.casebook import secret
from adapter.store.database import open_database, reading
from adapter.web.app import create_app
from adapter.worklist.board import key_of
from tests.servers.launcher import CLIENT, SECRET, Launcher, serving

NOW = datetime(2026, 3, 2, 9, tzinfo=UTC)
HERE = "http://127.0.0.1"
STUDY = "NCT03864250"


@pytest.fixture
def launcher() -> Iterator[Launcher]:
    with serving(Launcher(NOW)) as running:
        yield running


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    made = open_database(tmp_path / "adapter.sqlite")
    yield made
    made.dispose()


def site(launcher: Launcher, **more: Any) -> Site:
    known = {"ehr": Launch(launcher.iss, CLIENT, **more)}
    return Site(name="demo", site_id="demo", launch=known)


def browser(engine: Engine, place: Site) -> httpx.AsyncClient:
    app = create_app(engine, lambda: NOW, place, study=STUDY)
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=HERE)


@pytest.fixture
async def http(engine: Engine, launcher: Launcher) -> AsyncIterator[httpx.AsyncClient]:
    async with browser(engine, site(launcher)) as client:
        yield client


async def to_the_ehr(http: httpx.AsyncClient, launcher: Launcher, patient: str = "p1") -> httpx.Response:
    """The launch, and what the launcher's authorisation page says to it."""
    sent = await http.get("/launch", params={"iss": launcher.iss, "launch": launcher.open(patient)})
    assert sent.status_code == 303, sent.text
    async with httpx.AsyncClient() as elsewhere:
        return await elsewhere.get(sent.headers["location"])


async def launched(http: httpx.AsyncClient, launcher: Launcher, patient: str = "p1") -> httpx.Response:
    back = await to_the_ehr(http, launcher, patient)
    assert back.status_code == 302, back.text
    return await http.get(back.headers["location"])


async def test_the_button_leads_to_the_patient(
    http: httpx.AsyncClient, launcher: Launcher, engine: Engine
) -> None:
    arrived = await launched(http, launcher)
    key = key_of(secret(engine, "worklist"), "p1")
    assert (arrived.status_code, arrived.headers["location"]) == (303, f"/worklist/patients/{key}")
    assert "session" in arrived.cookies
    (asked,) = launcher.asked
    assert asked["aud"] == launcher.iss
    assert asked["redirect_uri"] == f"{HERE}/launch/answer"
    with reading(engine) as connection:
        (row,) = [one for one in audit.links(connection) if one.action == "sign-in"]
    assert row.actor == f"{launcher.base}#dr-wang"
    assert "p1" not in row.detail + row.what


async def test_a_confidential_client_shows_its_secret(engine: Engine, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(SECRET)
    with serving(Launcher(NOW, confidential=True)) as launcher:
        place = site(launcher, client_secret_file=str(tmp_path / "secret"))
        async with browser(engine, place) as http:
            assert (await launched(http, launcher)).status_code == 303


async def test_the_session_is_for_one_patient(
    http: httpx.AsyncClient, launcher: Launcher, engine: Engine
) -> None:
    await launched(http, launcher)
    other = key_of(secret(engine, "worklist"), "p2")
    for path in ("/", "/audit", "/fhir/ResearchSubject", "/operations", f"/worklist/patients/{other}"):
        answer = await http.get(path, headers={"Accept": "application/json"})
        assert answer.status_code in (403, 404), path


async def test_a_second_launch_ends_the_first(
    http: httpx.AsyncClient, launcher: Launcher, engine: Engine
) -> None:
    first = (await launched(http, launcher)).cookies["session"]
    second = (await launched(http, launcher, "p2")).cookies["session"]
    assert first != second
    answer = await http.get("/", headers={"Accept": "application/json", "Cookie": f"session={first}"})
    assert answer.status_code == 401


@pytest.mark.parametrize("iss", ["https://stranger.example/fhir", "", "http://127.0.0.1/fhir/"])
async def test_only_listed_systems_may_launch(http: httpx.AsyncClient, launcher: Launcher, iss: str) -> None:
    answer = await http.get("/launch", params={"iss": iss, "launch": "x"})
    assert answer.status_code == 403
    assert "location" not in answer.headers
    assert (await http.get("/launch", params={"iss": launcher.iss})).status_code == 403


async def refused(http: httpx.AsyncClient, answer: httpx.Response) -> bool:
    return answer.status_code == 403 and "session" not in answer.cookies


async def test_an_answer_counts_once_and_for_the_browser_that_began(
    http: httpx.AsyncClient, launcher: Launcher, engine: Engine
) -> None:
    back = (await to_the_ehr(http, launcher)).headers["location"]
    async with browser(engine, site(launcher)) as another:
        assert await refused(another, await another.get(back))
    assert (await http.get(back)).status_code == 303
    assert await refused(http, await http.get(back))


@pytest.mark.parametrize("change", ["state", "code"])
async def test_a_forged_answer_opens_nothing(
    http: httpx.AsyncClient, launcher: Launcher, change: str
) -> None:
    back = urlsplit((await to_the_ehr(http, launcher)).headers["location"])
    given = {name: some[0] for name, some in parse_qs(back.query).items()} | {change: "x" * 43}
    assert await refused(http, await http.get("/launch/answer", params=given))


@pytest.mark.parametrize(
    "lie",
    [
        {"token": {"patient": None}},
        {"token": {"patient": "../admin"}},
        {"token": {"patient": ["p1"]}},
        {"token": {"id_token": None}},
        {"token": {"token_type": "mac"}},
        {"claims": {"aud": "another"}},
        {"claims": {"iss": "https://stranger.example"}},
        {"claims": {"nonce": "another"}},
        {"claims": {"exp": 1}},
        {"claims": {"sub": None}},
        {"claims": {"header": {"alg": "none"}}},
        {"claims": {"header": {"alg": "HS256"}}},
    ],
)
async def test_what_the_answer_must_prove(
    http: httpx.AsyncClient, launcher: Launcher, lie: dict[str, Any]
) -> None:
    launcher.lies = lie
    assert await refused(http, await launched(http, launcher))


@pytest.mark.parametrize(
    "lie",
    [
        {"code_challenge_methods_supported": ["plain"]},
        {"code_challenge_methods_supported": []},
        {"authorization_endpoint": "http://169.254.169.254/authorize"},
    ],
)
async def test_a_server_without_pkce_or_with_a_strange_address_is_not_followed(
    http: httpx.AsyncClient, launcher: Launcher, lie: dict[str, Any]
) -> None:
    launcher.lies = {"configuration": lie}
    answer = await http.get("/launch", params={"iss": launcher.iss, "launch": launcher.open("p1")})
    assert answer.status_code >= 400
    assert "location" not in answer.headers


async def test_without_an_id_token_where_the_site_says_so(engine: Engine, launcher: Launcher) -> None:
    launcher.lies = {"token": {"id_token": None}}
    async with browser(engine, site(launcher, id_token=False)) as http:
        assert (await launched(http, launcher)).status_code == 303


def test_a_role_that_does_not_exist_is_refused_at_once(engine: Engine, launcher: Launcher) -> None:
    with pytest.raises(ConfigError):
        browser(engine, site(launcher, role="queen"))
