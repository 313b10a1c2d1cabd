"""The audit in the browser and as FHIR: who may see which rows, what the chain shows, what leaves."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from fhir.resources.R4B.auditevent import AuditEvent
from sqlalchemy import Engine, text
from typer.testing import CliRunner

from adapter.access import Grant
from adapter.access.passwords import hash_password
from adapter.cli.audit import app as command
from adapter.config import Site
from adapter.store import audit
from adapter.store.accounts import Accounts
from adapter.store.audit import Entry, Sought
from adapter.store.database import open_database, reading
from adapter.web.app import create_app
from adapter.writeback.audit_event import audit_event
from tests.web.browser import Browser, Clock, csrf_in

PASSWORD = "four quiet lamps swim"
KEPT = hash_password(PASSWORD)
START = datetime(2026, 2, 1, 8, tzinfo=UTC)
ROLES = {"ann": "coordinator", "pi": "investigator", "dm": "sponsor", "mon": "monitor", "root": "admin"}
DONE = (
    ("cron", "fetch", (), {"resources": 12}),
    ("ann", "see", ("Patient/p1",), {"page": "patient"}),
    ("pi", "see", ("Patient/p2",), {"page": "patient"}),
    ("pi", "approved", ("outbox/1",), {"signature": {"meaning": "approval", "name": "Dr pi"}}),
    ("cron", "export", ("NCT03864250",), {"phase": "done"}),
    ("stats@sponsor", "pulled", ("sdtm-1",), {"token": "t"}),
)
Enter = Callable[[str], AbstractAsyncContextManager[Browser]]


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    made = open_database(tmp_path / "workspace" / "adapter.sqlite")
    with made.begin() as connection:
        for day, (who, action, what, detail) in enumerate(DONE):
            audit.append(connection, Entry(START + timedelta(days=day), who, action, what, detail))
    yield made
    made.dispose()


@pytest.fixture
def enter(engine: Engine) -> Enter:
    clock = Clock()
    for name, role in ROLES.items():
        Accounts(engine).add(name, name, KEPT, [Grant(role, "S1", "A")], now=clock(), by="installer")
    app = create_app(engine, clock, Site(name="Hospital", site_id="A"), study="S1")

    @asynccontextmanager
    async def entered(name: str) -> AsyncIterator[Browser]:
        async with Browser(app) as browser:
            await browser.sign_in(name, PASSWORD)
            yield browser

    return entered


async def seek(browser: Browser, **fields: str) -> str:
    page = await browser.open("/audit")
    answer = await browser.submit("/audit", csrf=csrf_in(page), **fields)
    assert answer.status_code == 200
    return answer.text


@pytest.mark.parametrize(
    ("name", "seen", "hidden"),
    [
        ("ann", ["Patient/p1"], ["Patient/p2", "outbox/1", "sdtm-1", "account/pi"]),
        ("pi", ["Patient/p1", "Patient/p2", "outbox/1", "sdtm-1"], []),
        ("dm", ["sdtm-1", "NCT03864250"], ["Patient/p1", "Patient/p2", "outbox/1", "account/pi"]),
        ("mon", ["Patient/p1", "Patient/p2", "outbox/1", "sdtm-1"], []),
        ("root", ["account/pi", "sdtm-1"], []),
    ],
)
async def test_each_role_sees_its_part_of_the_audit(
    enter: Enter, name: str, seen: list[str], hidden: list[str]
) -> None:
    async with enter(name) as browser:
        page = (await browser.open("/audit")).text.partition("<main")[2]
        assert [one for one in seen if one not in page] == []
        assert [one for one in hidden if one in page] == []
        opened = {n for n in range(1, 7) if (await browser.open(f"/audit/{n}")).status_code == 200}
        assert opened == {"ann": {2}, "dm": {5, 6}}.get(name, {1, 2, 3, 4, 5, 6})
        assert (await browser.open("/audit/99999")).status_code == 404


async def test_the_audit_is_filtered_without_a_patient_in_any_address(enter: Enter) -> None:
    async with enter("mon") as browser:
        text = await seek(browser, what="Patient/p2")
        assert text.count('<a href="/audit/') == 1
        assert "Patient/p1" not in text
        assert (await seek(browser, actor="cron")).count('<a href="/audit/') == 2
        assert (await seek(browser, since="2026-02-05", until="2026-02-05")).count('<a href="/audit/') == 1
        assert "No rows" in await seek(browser, action="nothing")
        page = await browser.open("/audit?what=Patient/p2")
        assert "Patient/p1" in page.text  # an address filters nothing


async def test_looking_at_the_audit_is_in_the_audit(enter: Enter, engine: Engine) -> None:
    async with enter("mon") as browser:
        await browser.open("/audit")
        await browser.open("/audit/2")
    with reading(engine) as connection:
        last = audit.newest(connection, Sought(action="audit-see"), 5)
    assert [(one.actor, one.what) for one in last] == [("mon", '["audit/2"]'), ("mon", "[]")]


async def test_a_page_holds_fifty_rows_and_leads_to_the_older_ones(enter: Enter, engine: Engine) -> None:
    with engine.begin() as connection:
        for number in range(120):
            audit.append(connection, Entry(START, "many", "see", (f"Patient/m{number}",)))
    async with enter("pi") as browser:
        first = await seek(browser, actor="many")
        assert first.count("Patient/m") == 50
        older = first.partition('name="before" value="')[2].partition('"')[0]
        second = await seek(browser, actor="many", before=older)
        assert second.count("Patient/m") == 50
        assert set(first.split("Patient/")[1:]).isdisjoint(second.split("Patient/")[1:])


async def test_the_chain_is_shown_and_verified(enter: Enter, engine: Engine) -> None:
    async with enter("pi") as browser:
        row = (await browser.open("/audit/4")).text
        with reading(engine) as connection:
            link = list(audit.links(connection))[3]
        assert link.hash in row
        assert link.previous in row
        assert "The hash fits the row" in row
        assert "approval" in row
        token = csrf_in(await browser.open("/audit"))
        assert "The chain is sound" in (await browser.submit("/audit/verify", csrf=token)).text
        with engine.begin() as connection:
            for trigger in ("audit_update", "audit_delete", "audit_insert"):
                connection.execute(text(f"DROP TRIGGER {trigger}"))
            connection.execute(text("UPDATE audit SET actor = 'nobody' WHERE number = 4"))
        assert "does not fit" in (await browser.open("/audit/4")).text
        told = (await browser.submit("/audit/verify", csrf=token)).text
        assert "not sound" in told
        assert "changed" in told
    async with enter("ann") as coordinator:
        token = csrf_in(await coordinator.open("/"))
        assert (await coordinator.submit("/audit/verify", csrf=token)).status_code == 403


def test_every_row_is_a_valid_audit_event(engine: Engine) -> None:
    with reading(engine) as connection:
        links = list(audit.links(connection))
    for link in links:
        event = audit_event(link)
        AuditEvent.model_validate(event)
        assert event["subtype"][0]["code"] == link.action
    patient = audit_event(links[1])["entity"][0]
    assert patient["what"] == {"reference": "Patient/p1"}
    assert patient["type"]["code"] == "1"  # http://terminology.hl7.org/CodeSystem/audit-entity-type: Person
    assert audit_event(links[1])["action"] == "R"


def test_a_failed_sign_in_is_a_minor_failure(engine: Engine) -> None:
    """Outcome 4 of RFC 3881, 5.1.4; type 110114 User Authentication of DICOM PS3.16, CID 400."""
    with engine.begin() as connection:
        link = audit.append(connection, Entry(START, "ann", "sign-in-failed"))
    event = audit_event(link)
    assert (event["type"]["code"], event["outcome"]) == ("110114", "4")


def test_the_audit_is_exported_as_ndjson_and_that_is_a_row(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ADAPTER_ACTOR", "auditor")
    run = CliRunner().invoke
    assert "6 rows" in run(command, ["export", "--dry-run"], catch_exceptions=False).output
    printed = run(command, ["export", "--since", "2026-02-05"], catch_exceptions=False).stdout
    assert [json.loads(line)["subtype"][0]["code"] for line in printed.splitlines()] == ["export", "pulled"]
    run(command, ["export", "--out", "events.ndjson"], catch_exceptions=False)
    lines = Path("events.ndjson").read_text().splitlines()
    assert [json.loads(line)["id"] for line in lines] == [f"{n:012d}" for n in range(1, 8)]
    assert Path("events.ndjson").stat().st_mode & 0o777 == 0o600
    with reading(engine) as connection:
        rows = audit.newest(connection, Sought(action="audit-export"), 5)
    assert [(one.actor, json.loads(one.detail)["rows"]) for one in rows] == [("auditor", 7), ("auditor", 2)]
    assert audit.verify(engine, ()).sound
