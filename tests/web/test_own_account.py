"""Changing one's own password: who may, what is asked, and who is still signed in afterwards."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from fastapi import FastAPI
from sqlalchemy import Engine

from adapter.access import Grant, Principal
from adapter.access.passwords import hash_password, is_password
from adapter.config import Site
from adapter.store import audit
from adapter.store.accounts import Accounts
from adapter.store.database import open_database, reading
from adapter.web.access import Inside, Premises
from adapter.web.app import create_app
from adapter.web.texts import texts
from tests.web.browser import HERE, Browser, Clock, csrf_in

OLD, NEW = "four quiet lamps swim", "nine loud candles walk"
KEPT = hash_password(OLD)
ANN = Grant("coordinator", "S1", "A")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def engine(tmp_path: Path, clock: Clock) -> Iterator[Engine]:
    made = open_database(tmp_path / "adapter.sqlite")
    for name in ("ann", "bob"):
        Accounts(made).add(name, "Ann Example", KEPT, [ANN], now=clock(), by="root")
    yield made
    made.dispose()


@pytest.fixture
def app(engine: Engine, clock: Clock) -> FastAPI:
    return create_app(engine, clock, Site(name="Hospital", site_id="A"), study="S1")


@pytest.fixture
async def browser(app: FastAPI) -> AsyncIterator[Browser]:
    async with Browser(app) as made:
        await made.sign_in("ann", OLD)
        yield made


def kept(engine: Engine, name: str = "ann") -> str:
    found = Accounts(engine).working(name)
    assert found is not None
    return found[1]


def rows(engine: Engine) -> list[tuple[str, str, str]]:
    with reading(engine) as connection:
        return [(link.actor, link.action, link.detail) for link in audit.links(connection)][2:]


async def ask(browser: Browser, present: str = OLD, new: str = NEW, again: str = NEW) -> tuple[int, str]:
    page = await browser.open("/account")
    answer = await browser.submit(
        "/account/password", csrf=csrf_in(page), present=present, new=new, again=again
    )
    return answer.status_code, answer.headers.get("location", answer.text)


async def test_the_page_says_who_one_is_and_is_found_from_every_page(browser: Browser) -> None:
    assert '<a href="/account">Ann Example</a>' in (await browser.open("/")).text
    page = (await browser.open("/account")).text
    assert [one for one in ("Trial coordinator", "S1", "A") if f"<td>{one}</td>" not in page] == []


async def test_another_password_ends_all_sessions_and_gives_this_browser_a_new_one(
    app: FastAPI, browser: Browser, engine: Engine
) -> None:
    before = browser.number()
    async with Browser(app) as elsewhere, Browser(app) as bob:
        await elsewhere.sign_in("ann", OLD)
        await bob.sign_in("bob", OLD)
        assert await ask(browser) == (303, "/account?changed=1")
        assert texts("en")["account.changed"] in (await browser.open("/account?changed=1")).text
        assert (await elsewhere.open("/account")).status_code == 303
        assert (await bob.open("/account")).status_code == 200
        assert browser.number() != before
        browser.cookies.set("session", before, domain="127.0.0.1")
    async with Browser(app) as old:
        old.cookies.set("session", before)
        assert (await old.open("/account")).status_code == 303
        assert (await old.sign_in("ann", OLD)).status_code == 401
        assert (await old.sign_in("ann", NEW)).status_code == 303
    assert is_password(NEW, kept(engine))
    assert is_password(OLD, kept(engine, "bob"))
    told = [(actor, action) for actor, action, _ in rows(engine)]
    assert ("ann", "account-secret") in told
    secret = next(json.loads(detail) for _, action, detail in rows(engine) if action == "account-secret")
    assert secret == {"sessions_ended": 2}
    assert not any(word in detail for _, _, detail in rows(engine) for word in (OLD, NEW))


@pytest.mark.parametrize(
    ("typed", "status", "why"),
    [
        ({"present": "four quiet lamps sank"}, 403, "wrong"),
        ({"present": ""}, 403, "wrong"),
        ({"again": "nine loud candles run"}, 422, "differ"),
        ({"new": "too short", "again": "too short"}, 422, "weak"),
        ({"new": "ann example ann example", "again": "ann example ann example"}, 422, "weak"),
        ({"new": OLD, "again": OLD}, 422, "same"),
    ],
)
async def test_what_changes_nothing(
    browser: Browser, engine: Engine, typed: dict[str, str], status: int, why: str
) -> None:
    before = browser.number()
    answered, page = await ask(browser, **typed)
    assert (answered, texts("en")[f"account.{why}"].format(n=15) in page) == (status, True)
    assert (kept(engine), browser.number()) == (KEPT, before)
    assert (await browser.open("/account")).status_code == 200


async def test_guessing_the_present_one_waits_as_at_sign_in(browser: Browser, engine: Engine) -> None:
    for number in range(5):
        assert (await ask(browser, present=f"a guess of a thief {number}"))[0] == 403
    assert (await ask(browser))[0] == 403
    assert kept(engine) == KEPT
    failed = [json.loads(detail) for _, action, detail in rows(engine) if action == "password-change-failed"]
    assert [one["locked"] for one in failed] == [False, False, False, False, True]


async def test_a_page_of_another_site_changes_nothing(browser: Browser, engine: Engine) -> None:
    token = csrf_in(await browser.open("/account"))
    fields = {"present": OLD, "new": NEW, "again": NEW}
    for headers, form in (
        ({"Origin": "https://evil.example"}, {**fields, "csrf": token}),
        ({"Origin": HERE}, fields),
        ({}, {**fields, "csrf": token}),
    ):
        answer = await browser.post("/account/password", data=form, headers=headers)
        assert answer.status_code == 403
    assert kept(engine) == KEPT


async def test_who_signs_in_elsewhere_changes_it_there(app: FastAPI, engine: Engine, clock: Clock) -> None:
    somebody = Principal("https://login.example#ann", (ANN,), "Ann", "openid")
    app.state.premises = Premises("S1", "A", Inside(somebody), clock)
    async with Browser(app) as browser:
        page = (await browser.open("/account")).text
        assert texts("en")["account.elsewhere"] in page
        assert "<form" not in page.partition("<main")[2]
        answer = await browser.submit("/account/password", present=OLD, new=NEW, again=NEW)
        assert answer.status_code == 403
    assert kept(engine) == KEPT
