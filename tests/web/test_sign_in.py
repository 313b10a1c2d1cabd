"""Signing in with a local account: what a stranger, a forger and a guesser get."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import Any

import pytest
from fastapi import FastAPI
from sqlalchemy import Engine

from adapter.access import Grant, passwords
from adapter.access.passwords import hash_password
from adapter.config import OpenId, SignIn, Site
from adapter.errors import ConfigError
from adapter.store import audit
from adapter.store.accounts import Accounts, new_token
from adapter.store.database import open_database, reading
from adapter.web.app import create_app, serve
from adapter.web.signin.cookies import csrf_token
from adapter.web.texts import texts
from tests.web.browser import HERE, Browser, Clock, csrf_in

SITE = Site(name="Hospital", site_id="A")
PASSWORD = "four quiet lamps swim"
KEPT = hash_password(PASSWORD)
WRONG = texts("en")["sign-in.wrong"]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def engine(tmp_path: Any) -> Any:
    made = open_database(tmp_path / "adapter.sqlite")
    yield made
    made.dispose()


@pytest.fixture
def accounts(engine: Engine, clock: Clock) -> Accounts:
    made = Accounts(engine)
    made.add("ann", "Ann Example", KEPT, [Grant("coordinator", "S1", "A")], now=clock(), by="r")
    return made


@pytest.fixture
def app(engine: Engine, clock: Clock, accounts: Accounts) -> FastAPI:
    return create_app(engine, clock, SITE, study="S1")


@pytest.fixture
async def browser(app: FastAPI) -> AsyncIterator[Browser]:
    async with Browser(app) as made:
        yield made


def actions(engine: Engine) -> list[tuple[str, str]]:
    with reading(engine) as connection:
        return [(link.actor, link.action) for link in audit.links(connection)]


async def test_sign_in_and_out(browser: Browser, engine: Engine) -> None:
    assert (await browser.open("/")).headers["location"] == "/sign-in"
    answer = await browser.sign_in("ann", PASSWORD)
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    page = await browser.open("/")
    assert page.status_code == 200
    assert "Ann Example" in page.text
    out = await browser.submit("/sign-out", csrf=csrf_in(page))
    assert (out.status_code, out.headers["location"]) == (303, "/sign-in")
    assert (await browser.open("/")).status_code == 303
    assert actions(engine) == [("r", "account-add"), ("ann", "sign-in"), ("ann", "sign-out")]


async def test_the_cookie_is_for_no_script_and_no_other_site(browser: Browser) -> None:
    cookie = (await browser.sign_in("ann", PASSWORD)).headers.get_list("set-cookie")[0]
    assert re.fullmatch(r"session=[A-Za-z0-9_-]{43}; HttpOnly; Path=/; SameSite=lax", cookie)


async def test_over_https_the_cookie_is_secure_and_host_only(
    engine: Engine, clock: Clock, accounts: Accounts
) -> None:
    site = Site(name="Hospital", site_id="A", sign_in=SignIn(public_url="https://adapter.example"))
    async with Browser(create_app(engine, clock, site, study="S1"), "https://adapter.example") as browser:
        answer = await browser.sign_in("ann", PASSWORD)
        assert answer.status_code == 303
        cookie = answer.headers.get_list("set-cookie")[0]
        assert re.fullmatch(r"__Host-session=[\w-]{43}; HttpOnly; Path=/; SameSite=lax; Secure", cookie)
        assert answer.headers["Strict-Transport-Security"]
        assert (await browser.open("/")).status_code == 200


def test_passwords_do_not_travel_in_the_clear(engine: Engine) -> None:
    site = Site(name="h", site_id="A", sign_in=SignIn(public_url="http://adapter.example"))
    with pytest.raises(ConfigError):
        create_app(engine, site=site)
    with pytest.raises(ConfigError):
        serve(engine, "0.0.0.0", site=SITE)  # noqa: S104


@pytest.mark.parametrize(
    ("account", "password"),
    [
        ("ann", "four quiet lamps swam"),
        ("ann", ""),
        ("ann", PASSWORD + " "),
        ("nobody", PASSWORD),
        ("", ""),
        ("ann' OR 1=1 --", PASSWORD),
        ("ehr", PASSWORD),
        ("gone", PASSWORD),
    ],
)
async def test_every_wrong_sign_in_gets_the_same_answer(
    browser: Browser, accounts: Accounts, clock: Clock, account: str, password: str
) -> None:
    accounts.add("ehr", "", new_token("ehr")[1], [Grant("service", "S1", "A")], now=clock(), by="r")
    accounts.add("gone", "", KEPT, [Grant("monitor", "S1", "A")], now=clock(), by="r")
    accounts.disable("gone", now=clock(), by="r")
    answer = await browser.sign_in(account, password)
    assert (answer.status_code, WRONG in answer.text) == (401, True)
    assert browser.number() == ""
    assert account not in answer.text.split("<form")[1] or not account
    token_free = re.sub(r"[0-9a-f]{64}", "", answer.text)
    other = await browser.sign_in("ann", "another wrong password")
    assert re.sub(r"[0-9a-f]{64}", "", other.text) == token_free


async def test_an_unknown_account_costs_the_same_work(
    browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Counted, not timed: each sign-in checks one argon2 hash with the same parameters."""
    seen: list[str] = []
    real = passwords._HASHER.verify

    class Counting:
        def verify(self, kept: str, password: str) -> bool:
            seen.append(kept.rsplit("$", 2)[0])
            return real(kept, password)

        hash = passwords._HASHER.hash

    monkeypatch.setattr(passwords, "_HASHER", Counting())
    for account in ("ann", "nobody"):
        await browser.sign_in(account, "some wrong password")
    await browser.sign_in("ann", PASSWORD)
    assert seen == ["$argon2id$v=19$m=65536,t=3,p=4"] * 3


async def test_a_session_number_that_somebody_planted_is_not_taken_over(
    browser: Browser, app: FastAPI
) -> None:
    planted = "A" * 43
    browser.cookies.set("session", planted, domain="127.0.0.1")
    await browser.sign_in("ann", PASSWORD)
    assert browser.number() != planted
    async with Browser(app) as attacker:
        attacker.cookies.set("session", planted, domain="127.0.0.1")
        assert (await attacker.open("/")).status_code == 303


async def test_signing_in_again_ends_the_session_before(browser: Browser, app: FastAPI) -> None:
    await browser.sign_in("ann", PASSWORD)
    first = browser.number()
    await browser.sign_in("ann", PASSWORD)
    assert browser.number() != first
    async with Browser(app) as other:
        other.cookies.set("session", first, domain="127.0.0.1")
        assert (await other.open("/")).status_code == 303


async def test_a_session_ends_when_it_is_not_used(browser: Browser, clock: Clock) -> None:
    await browser.sign_in("ann", PASSWORD)
    clock.go_on(minutes=14)
    assert (await browser.open("/")).status_code == 200
    clock.go_on(minutes=15)
    assert (await browser.open("/")).status_code == 303


async def test_what_an_account_may_no_longer_do_ends_with_its_grant(
    browser: Browser, accounts: Accounts, clock: Clock
) -> None:
    until = "2026-03-01T12:05:00+00:00"
    accounts.add("mon", "", KEPT, [Grant("monitor", "S1", "A", until)], now=clock(), by="r")
    await browser.sign_in("mon", PASSWORD)
    assert (await browser.open("/")).status_code == 200
    clock.go_on(minutes=5)
    page = await browser.open("/")
    assert page.status_code == 404
    assert (await browser.submit("/sign-out", csrf=csrf_in(page))).status_code == 303


async def test_a_change_of_the_account_ends_its_sessions(
    browser: Browser, accounts: Accounts, clock: Clock
) -> None:
    await browser.sign_in("ann", PASSWORD)
    accounts.grant("ann", [Grant("investigator", "S1", "A")], now=clock(), by="r")
    assert (await browser.open("/")).status_code == 303


@pytest.mark.parametrize(
    ("headers", "fields"),
    [
        ({"Origin": HERE}, {}),
        ({"Origin": HERE}, {"csrf": "0" * 64}),
        ({"Origin": "https://evil.example"}, {"csrf": "right"}),
        ({"Origin": "http://127.0.0.1:9999"}, {"csrf": "right"}),
        ({"Origin": "null"}, {"csrf": "right"}),
        ({}, {"csrf": "right"}),
        ({"Sec-Fetch-Site": "cross-site"}, {"csrf": "right"}),
        ({"Sec-Fetch-Site": "same-site"}, {"csrf": "right"}),
        ({"Origin": HERE, "X-CSRF-Token": "0" * 64}, {"csrf": "right"}),
    ],
)
@pytest.mark.parametrize("path", ["/sign-in", "/sign-out"])
async def test_another_sites_page_cannot_act_for_somebody(
    browser: Browser, path: str, headers: dict[str, str], fields: dict[str, str]
) -> None:
    if path == "/sign-out":
        await browser.sign_in("ann", PASSWORD)
    token = csrf_in(await browser.open("/" if path == "/sign-out" else "/sign-in"))
    before = browser.number()
    data = {"account": "ann", "password": PASSWORD, **fields}
    data = {name: token if value == "right" else value for name, value in data.items()}
    answer = await browser.post(path, data=data, headers=headers)
    assert answer.status_code == 403
    assert browser.number() == before
    assert (await browser.open("/")).status_code == (200 if path == "/sign-out" else 303)


async def test_anothers_token_is_no_token(app: FastAPI, browser: Browser) -> None:
    async with Browser(app) as attacker:
        theirs = csrf_in(await attacker.open("/sign-in"))
    await browser.open("/sign-in")
    answer = await browser.submit("/sign-in", csrf=theirs, account="ann", password=PASSWORD)
    assert answer.status_code == 403


async def test_after_five_wrong_ones_the_right_one_waits_too(
    browser: Browser, clock: Clock, engine: Engine
) -> None:
    for _ in range(5):
        assert (await browser.sign_in("ann", "some wrong password")).status_code == 401
    locked = await browser.sign_in("ann", PASSWORD)
    assert (locked.status_code, WRONG in locked.text) == (401, True)
    clock.go_on(seconds=59)
    assert (await browser.sign_in("ann", PASSWORD)).status_code == 401
    clock.go_on(seconds=1)
    assert (await browser.sign_in("ann", PASSWORD)).status_code == 303
    assert actions(engine).count(("ann", "sign-in-failed")) == 5


async def test_one_address_cannot_try_for_ever(app: FastAPI, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("adapter.web.signin.desk.is_password", lambda _password, _kept: False)
    async with Browser(app) as guesser:
        answers = [(await guesser.sign_in(f"name{n}", PASSWORD)).status_code for n in range(51)]
    assert (answers[:50], answers[50]) == ([401] * 50, 429)
    async with Browser(app, address="192.0.2.2") as other:
        assert (await other.sign_in("ann", PASSWORD)).status_code == 401


@pytest.mark.parametrize("next", ["https://evil.example/", "//evil.example", "/\\evil.example"])
async def test_the_way_on_leads_nowhere_else(browser: Browser, next: str) -> None:
    assert (await browser.sign_in("ann", PASSWORD, next)).headers["location"] == "/"
    assert (await browser.sign_in("ann", PASSWORD, "/audit?page=2")).headers["location"] == "/audit?page=2"


async def test_a_service_shows_its_token_and_needs_no_cookie(
    app: FastAPI, accounts: Accounts, clock: Clock
) -> None:
    token, kept = new_token("ehr")
    accounts.add("ehr", "", kept, [Grant("service", "S1", "A")], now=clock(), by="r")
    async with Browser(app) as service:
        service.headers["Accept"] = "application/fhir+json"
        good = {"Authorization": f"Bearer {token}"}
        assert (await service.get("/fhir/Flag", headers=good)).status_code == 200
        for wrong in (f"Bearer {token}x", f"Basic {token}", "Bearer", "Bearer service_ehr_", token):
            assert (await service.get("/fhir/Flag", headers={"Authorization": wrong})).status_code == 401
        service.headers["Accept"] = "text/html"
        await service.sign_in("ann", PASSWORD)
        service.headers["Accept"] = "application/fhir+json"
        assert (await service.get("/fhir/Flag")).status_code == 200
        assert (await service.get("/fhir/Flag", headers={"Authorization": "Bearer x"})).status_code == 401


async def test_without_accounts_the_page_says_what_to_do(tmp_path: Any) -> None:
    engine = open_database(tmp_path / "empty.sqlite")
    async with Browser(create_app(engine, site=SITE, study="S1")) as browser:
        page = await browser.open("/sign-in")
        assert "adapter account add" in page.text
        assert 'name="password"' not in page.text
        assert (await browser.open("/")).headers["location"] == "/sign-in"
    engine.dispose()


async def test_what_is_typed_is_in_no_answer_and_no_table(browser: Browser, engine: Engine) -> None:
    typed = "CANARY-typed-in-the-wrong-field"
    answer = await browser.sign_in(typed, "CANARY-password-typed")
    assert "CANARY" not in answer.text
    with engine.connect() as connection:
        dump = "\n".join(connection.connection.iterdump())  # type: ignore[attr-defined]
    assert "sign-in-failed" in dump
    assert "CANARY" not in dump
    assert "canary" not in dump


async def test_pages_that_do_not_exist_say_so_in_the_frame(browser: Browser) -> None:
    page = await browser.open("/nowhere")
    assert (page.status_code, texts("en")["denied.404"] in page.text) == (404, True)
    assert (await browser.post("/healthz")).status_code == 405


async def test_where_only_the_provider_lets_people_in_no_password_works(
    engine: Engine, clock: Clock, accounts: Accounts
) -> None:
    settings = SignIn(local_accounts=False, openid=OpenId("https://login.hospital.example", "adapter"))
    app = create_app(engine, clock, Site(name="Hospital", site_id="A", sign_in=settings), study="S1")
    async with Browser(app) as browser:
        page = await browser.open("/sign-in")
        assert 'name="password"' not in page.text
        visit = browser.number("visit")
        answer = await browser.submit("/sign-in", csrf=csrf_token(visit), account="ann", password=PASSWORD)
        assert (answer.status_code, browser.number()) == (401, "")
