"""What was refused to somebody who is signed in stands in the audit: once, with no address, never endless."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from fhir.resources.R4B.auditevent import AuditEvent
from sqlalchemy import Engine

from adapter.access import Grant
from adapter.access.passwords import hash_password
from adapter.config import Site
from adapter.errors import StoreUnavailable
from adapter.store import audit
from adapter.store.accounts import Accounts
from adapter.store.chain import Link
from adapter.store.database import open_database, reading
from adapter.web import refusals
from adapter.web.app import create_app
from adapter.writeback.audit_event import audit_event
from tests.web.browser import HERE, Browser, Clock, csrf_in

PASSWORD = "four quiet lamps swim"
KEPT = hash_password(PASSWORD)
FHIR = {"Accept": "application/fhir+json"}


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def engine(tmp_path: Path, clock: Clock) -> Iterator[Engine]:
    made = open_database(tmp_path / "adapter.sqlite")
    for name, role, study in (
        ("dm", "sponsor", "S1"),
        ("far", "coordinator", "S9"),
        ("ann", "coordinator", "S1"),
    ):
        Accounts(made).add(name, "", KEPT, [Grant(role, study, "A")], now=clock(), by="root")
    yield made
    made.dispose()


@pytest.fixture
async def browser(engine: Engine, clock: Clock) -> AsyncIterator[Browser]:
    async with Browser(create_app(engine, clock, Site(name="Hospital", site_id="A"), study="S1")) as made:
        yield made


def refused(engine: Engine) -> list[Link]:
    with reading(engine) as connection:
        return [row for row in audit.links(connection) if row.action == "access-refused"]


def told(row: Link) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(row.detail)
    return found


async def test_a_refusal_says_who_what_for_and_why_but_not_whom_it_was_about(
    browser: Browser, engine: Engine
) -> None:
    await browser.sign_in("dm", PASSWORD)
    assert (await browser.get("/fhir/ResearchSubject/CANARY-1", headers=FHIR)).status_code == 403
    (row,) = refused(engine)
    assert (row.actor, row.what) == ("dm", "[]")
    assert told(row) == {
        "asked": "read-fhir",
        "route": "GET /fhir/{kind}/{key}",
        "status": 403,
        "why": "your role does not allow this",
    }


async def test_no_role_here_and_not_of_ours_are_refusals_too(browser: Browser, engine: Engine) -> None:
    await browser.sign_in("far", PASSWORD)
    assert (await browser.get("/audit", headers=FHIR)).status_code == 404
    await browser.post("/audit", headers={"Origin": "https://evil.example"}, data={"what": "CANARY-2"})
    assert [(told(row)["status"], told(row)["why"]) for row in refused(engine)] == [
        (404, "you have no role at this place"),
        (403, "this request did not come from a page of this application"),
    ]
    assert not any("CANARY" in f"{row.what}{row.detail}" for row in refused(engine))


async def test_the_record_of_somebody_else_is_a_refusal(browser: Browser, engine: Engine) -> None:
    """A coordinator sees own actions only: the first row is the installation's."""
    await browser.sign_in("ann", PASSWORD)
    answer = await browser.get("/fhir/AuditEvent/000000000001", headers=FHIR)
    assert (answer.status_code, answer.json()["issue"][0]["code"]) == (404, "not-found")
    assert [told(row)["status"] for row in refused(engine)] == [404]


async def test_strangers_and_mistakes_leave_no_row(browser: Browser, engine: Engine) -> None:
    assert (await browser.get("/fhir/Flag", headers=FHIR)).status_code == 401
    await browser.sign_in("ann", PASSWORD)
    assert (await browser.get("/fhir/Flag/none", headers=FHIR)).status_code == 404  # there is none
    assert (await browser.open("/no-such-page")).status_code == 404
    page = await browser.open("/audit")
    assert (await browser.submit("/audit", csrf=csrf_in(page), since="yesterday")).status_code == 422
    assert refused(engine) == []


async def test_equal_refusals_are_one_row_and_the_rest_is_counted(
    browser: Browser, engine: Engine, clock: Clock
) -> None:
    await browser.sign_in("dm", PASSWORD)
    for number in range(7):
        assert (await browser.get(f"/fhir/Flag/{number}", headers=FHIR)).status_code == 403
    assert len(refused(engine)) == 1
    clock.go_on(minutes=10)
    assert (await browser.get("/fhir/Flag/x", headers=FHIR)).status_code == 403
    assert [told(row).get("unwritten") for row in refused(engine)] == [None, 6]


async def test_somebody_who_tries_every_door_cannot_fill_the_audit(
    browser: Browser, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(refusals, "MOST", 3)
    await browser.sign_in("dm", PASSWORD)
    doors = ["/fhir/Flag", "/fhir/Flag/1", "/fhir/Flag/1/_history", "/fhir/Flag/1/_history/1", "/operations"]
    for door in doors:
        assert (await browser.get(door, headers=FHIR)).status_code == 403
    assert len(refused(engine)) == 3
    async with Browser(browser._transport.app) as other:  # type: ignore[attr-defined]
        await other.sign_in("far", PASSWORD)
        await other.get("/fhir/Flag", headers=FHIR)
    assert [row.actor for row in refused(engine)] == ["dm", "dm", "dm", "far"]


async def test_what_was_only_counted_is_written_at_the_end(engine: Engine, clock: Clock) -> None:
    app = create_app(engine, clock, Site(name="Hospital", site_id="A"), study="S1")
    async with app.router.lifespan_context(app), Browser(app) as browser:
        await browser.sign_in("dm", PASSWORD)
        for _ in range(3):
            await browser.get("/fhir/Flag", headers=FHIR)
    assert [told(row).get("unwritten") for row in refused(engine)] == [None, 2]


async def test_a_refusal_that_cannot_be_noted_is_a_refusal_all_the_same(
    browser: Browser, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(*_: object) -> None:
        raise StoreUnavailable("gone")

    await browser.sign_in("dm", PASSWORD)
    monkeypatch.setattr(audit, "append", gone)
    assert (await browser.get("/fhir/Flag", headers=FHIR)).status_code == 503
    assert (await browser.open("/fhir/Flag")).status_code == 503


async def test_it_leaves_as_an_audit_event_that_failed(browser: Browser, engine: Engine) -> None:
    """RFC 3881, 5.1.4: outcome 4 is a minor failure; DICOM CID 400: 110113 is a security alert."""
    await browser.sign_in("dm", PASSWORD)
    await browser.get("/fhir/Flag", headers=FHIR)
    event = audit_event(refused(engine)[0])
    assert (event["outcome"], event["type"]["code"], event["subtype"][0]["code"]) == (
        "4", "110113", "access-refused",
    )  # fmt: skip
    AuditEvent.model_validate(event)
    assert HERE not in json.dumps(event)
