"""Sign-in at a real Keycloak with the realm and the ``site.toml`` of docker-compose.yml: one role a person.

What each person may do stands in ``docs/sign-in-and-roles.md``; who is who in ``deploy/realm.json``. Only the
address of the provider is another here: a port that is free, under the name that every machine knows.
"""

from __future__ import annotations

import json
import os
import re
import ssl
import tomllib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import msgspec
import pytest
from sqlalchemy import Engine

from adapter.config import Site
from adapter.store import audit
from adapter.store.database import open_database, reading
from adapter.web.app import create_app
from adapter.web.signin.signing import sha256_of
from tests.servers import keycloak
from tests.servers.keycloak import DEPLOY
from tests.servers.process import ServerUnavailable
from tests.web.browser import Browser, csrf_in

pytestmark = pytest.mark.xdist_group("keycloak")
STUDY = "NCT03864250"
ANSWERS = "http://localhost:8765/sign-in/openid/answer?"
ROLES = {
    "lin.xia": "coordinator",
    "zhao.ming": "investigator",
    "sun.hua": "sponsor",
    "wu.jing": "monitor",
    "he.qiang": "admin",
}


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("secrets")
    try:
        keycloak.draw_secrets(folder)
    except ServerUnavailable as reason:
        _unavailable(reason)
    return folder


@pytest.fixture(scope="module")
def issuer(drawn: Path) -> Iterator[str]:
    try:
        keycloak.prefetch()
    except ServerUnavailable as reason:
        _unavailable(reason)
    with keycloak.running(drawn) as found:
        yield found


def _unavailable(reason: ServerUnavailable) -> None:
    if os.environ.get("CI") == "true":
        pytest.fail(f"CI requires Keycloak: {reason}", pytrace=False)
    pytest.skip(f"no Keycloak: {reason}")


@pytest.fixture(scope="module")
def people(drawn: Path) -> dict[str, str]:
    return dict(line.split("\t") for line in (drawn / "demo_people").read_text().splitlines())


@pytest.fixture
def site(issuer: str, drawn: Path) -> Site:
    text = (DEPLOY / "site.toml").read_text(encoding="utf-8")
    text = text.replace("https://login.localhost:8443/realms/hospital", issuer)
    text = text.replace("/run/secrets/openid_client", str(drawn / "openid_client"))
    text = text.replace("/run/secrets/tls_certificate", str(drawn / "tls_certificate.pem"))
    return msgspec.convert(tomllib.loads(text), Site)


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    made = open_database(tmp_path / "adapter.sqlite")
    yield made
    made.dispose()


@pytest.fixture
async def browser(engine: Engine, site: Site) -> AsyncIterator[Browser]:
    async with Browser(create_app(engine, site=site, study=STUDY), "http://localhost:8765") as made:
        yield made


@pytest.fixture
async def pages(drawn: Path) -> AsyncIterator[httpx.AsyncClient]:
    """A browser's windows at Keycloak; it keeps that login between sign-ins, as browsers do."""
    context = ssl.create_default_context(cafile=str(drawn / "tls_certificate.pem"))
    async with httpx.AsyncClient(verify=context, trust_env=False) as made:
        yield made


async def _through(pages: httpx.AsyncClient, asked: str, name: str, password: str) -> httpx.Response | str:
    """From where the adapter sends a browser to where Keycloak sends it back; else Keycloak's last page."""
    answer = await pages.get(asked)
    for asks in (True, False):
        while answer.is_redirect:
            to = str(answer.url.join(answer.headers["location"]))
            if to.startswith(ANSWERS):
                return to
            answer = await pages.get(to)
        if asks:
            action = re.search(r'<form[^>]* action="([^"]+)"', answer.text)
            assert action is not None, answer.text[:3000]
            form = {"username": name, "password": password, "credentialId": ""}
            answer = await pages.post(action[1].replace("&amp;", "&"), data=form)
    return answer


async def _enter(browser: Browser, pages: httpx.AsyncClient, name: str, password: str) -> httpx.Response:
    asked = (await browser.open("/sign-in/openid")).headers["location"]
    back = await _through(pages, asked, name, password)
    assert isinstance(back, str), back.text[:3000]
    return await browser.get(back)


@pytest.mark.parametrize(("name", "role"), ROLES.items())
async def test_each_person_signs_in_with_their_role_and_no_other(
    name: str, role: str, browser: Browser, pages: httpx.AsyncClient, engine: Engine, people: dict[str, str]
) -> None:
    answer = await _enter(browser, pages, name, people[name])
    assert (answer.status_code, answer.headers.get("location")) == (303, "/"), answer.text
    with engine.connect() as connection:
        grants = json.loads(connection.exec_driver_sql("SELECT grants FROM session").scalar_one())
    assert [(one["role"], one["study"], one["site"]) for one in grants] == [(role, STUDY, "demo")]
    may_read = (await browser.get("/fhir/Flag", headers={"Accept": "application/fhir+json"})).status_code
    assert may_read == (200 if role in ("coordinator", "investigator", "monitor") else 403)


async def test_somebody_of_the_hospital_without_a_role_is_not_let_in(
    browser: Browser, pages: httpx.AsyncClient, people: dict[str, str]
) -> None:
    answer = await _enter(browser, pages, "guest", people["guest"])
    assert answer.status_code == 403
    assert (await browser.open("/")).headers["location"] == "/sign-in"


async def test_a_wrong_password_leads_nowhere(
    browser: Browser, pages: httpx.AsyncClient, people: dict[str, str]
) -> None:
    asked = (await browser.open("/sign-in/openid")).headers["location"]
    answer = await _through(pages, asked, "lin.xia", people["sun.hua"])
    assert isinstance(answer, httpx.Response)
    assert "Invalid username or password" in answer.text


async def test_keycloak_answers_only_who_proves_to_have_asked(
    issuer: str, browser: Browser, pages: httpx.AsyncClient
) -> None:
    """The client of the realm asks for PKCE (RFC 7636) and knows one address to send answers to."""
    asked = httpx.URL((await browser.open("/sign-in/openid")).headers["location"])
    assert str(asked).startswith(issuer)
    plain = asked.copy_remove_param("code_challenge").copy_remove_param("code_challenge_method")
    refused = await pages.get(plain)
    assert refused.headers["location"].startswith(f"{ANSWERS}error=invalid_request")
    elsewhere = asked.copy_set_param("redirect_uri", "http://localhost:8765/elsewhere")
    assert (await pages.get(elsewhere)).status_code == 400


async def test_a_signature_asks_for_the_password_again_at_keycloak(
    browser: Browser, pages: httpx.AsyncClient, engine: Engine, people: dict[str, str]
) -> None:
    """Keycloak still knows the person; ``prompt=login`` and ``max_age=0`` make it ask all the same."""
    await _enter(browser, pages, "zhao.ming", people["zhao.ming"])
    before, record = browser.number(), sha256_of(b"what is signed")
    asked = (await browser.open("/sign-in/again", params={"record": record})).headers["location"]
    assert 'type="password"' in (await pages.get(asked, follow_redirects=True)).text
    back = await _through(pages, asked, "zhao.ming", people["zhao.ming"])
    assert isinstance(back, str)
    assert (await browser.get(back)).status_code == 303
    assert browser.number() != before
    with engine.connect() as connection:
        proven = connection.exec_driver_sql("SELECT proven_for FROM session").scalar_one()
    assert proven == record


async def test_the_audit_says_who_and_how(
    browser: Browser, pages: httpx.AsyncClient, engine: Engine, issuer: str, people: dict[str, str]
) -> None:
    await _enter(browser, pages, "wu.jing", people["wu.jing"])
    assert (await browser.submit("/sign-out", csrf=csrf_in(await browser.open("/")))).status_code == 303
    with reading(engine) as connection:
        rows = list(audit.links(connection))
    assert [row.action for row in rows] == ["sign-in", "sign-out"]
    assert rows[0].actor.startswith(f"{issuer}#")
    assert json.loads(rows[0].detail) == {"how": "openid", "name": "Jing Wu"}
