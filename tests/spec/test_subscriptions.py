"""Subscriptions end to end on our side: proof, the inbox, duplicates, gaps, late events, a dead worker."""

from __future__ import annotations

import hmac
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine

from adapter.config import Channel, Site
from adapter.errors import ConfigError
from adapter.model.notification import Event, Notification
from adapter.store.database import open_database
from adapter.store.inbox import SWEEP, TAKEN_FOR, Inbox, Reception
from adapter.web.app import create_app
from tests.spec.test_notifications import event, r4b_backport

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
HEADER = b"Bearer the-channel-secret-of-lab"
KEY = b"signing-key-of-the-ward"


@pytest.fixture
def engine(database: Engine) -> Engine:
    """On SQLite and on PostgreSQL."""
    return database


def numbered(*numbers: int, since: int | None = None) -> Notification:
    return Notification("event", tuple(Event(n, (f"Observation/{n}",)) for n in numbers), since)


def waiting(inbox: Inbox) -> list[str]:
    taken = inbox.take(NOON)
    inbox.give_back(taken)
    return [work.reference for work in taken]


def test_an_event_is_work_once(engine: Engine) -> None:
    inbox = Inbox(engine)
    assert inbox.receive("lab", numbered(1), NOON) == Reception(queued=1)
    assert inbox.receive("lab", numbered(1), NOON) == Reception(duplicates=1)
    assert waiting(inbox) == ["Observation/1"]


def test_numbers_left_out_are_a_gap_and_a_look_at_everything(engine: Engine) -> None:
    inbox = Inbox(engine)
    inbox.receive("lab", numbered(1), NOON)
    assert inbox.receive("lab", numbered(5), NOON) == Reception(queued=2, missing=3)
    assert sorted(waiting(inbox)) == [SWEEP, "Observation/1", "Observation/5"]
    (lab,) = inbox.channels()
    assert (lab.highest, lab.missing, lab.waiting) == (5, 3, 3)


def test_a_late_event_fills_its_gap(engine: Engine) -> None:
    inbox = Inbox(engine)
    inbox.receive("lab", numbered(5), NOON)
    assert inbox.receive("lab", numbered(3), NOON) == Reception(queued=1, late=1)
    assert inbox.channels()[0].missing == 3  # 1, 2 and 4
    assert inbox.receive("lab", numbered(3), NOON) == Reception(duplicates=1)


def test_a_heartbeat_tells_what_did_not_come(engine: Engine) -> None:
    inbox = Inbox(engine)
    inbox.receive("lab", numbered(1), NOON)
    beat = Notification("heartbeat", since_start=3)
    assert inbox.receive("lab", beat, NOON) == Reception(queued=1, missing=2)
    assert inbox.receive("lab", beat, NOON) == Reception()


def test_a_handshake_begins_anew_and_looks_at_everything(engine: Engine) -> None:
    inbox = Inbox(engine)
    inbox.receive("lab", numbered(9), NOON)
    inbox.receive("lab", Notification("handshake", since_start=0), NOON)
    assert inbox.receive("lab", numbered(1), NOON) == Reception(queued=1)
    assert SWEEP in waiting(inbox)
    assert inbox.channels()[0].missing == 0


def test_a_server_that_counts_anew_without_a_handshake_loses_nothing(engine: Engine) -> None:
    inbox = Inbox(engine)
    inbox.receive("lab", numbered(400), NOON)
    inbox.receive("lab", Notification("event", (Event(1, ("Condition/new",)),)), NOON)
    assert "Condition/new" in waiting(inbox)


def test_work_of_a_dead_worker_is_given_out_again(engine: Engine) -> None:
    inbox = Inbox(engine)
    inbox.receive("lab", numbered(1), NOON)
    assert len(inbox.take(NOON)) == 1
    assert inbox.take(NOON + TAKEN_FOR - timedelta(seconds=1)) == ()
    (again,) = inbox.take(NOON + TAKEN_FOR)
    inbox.done([again], NOON)
    assert inbox.take(NOON + 2 * TAKEN_FOR) == ()


def test_a_change_during_the_work_is_new_work(engine: Engine) -> None:
    inbox = Inbox(engine)
    inbox.receive("lab", numbered(1), NOON)
    taken = inbox.take(NOON)
    inbox.receive("lab", Notification("event", (Event(2, ("Observation/1",)),)), NOON)
    inbox.done(taken, NOON)
    assert waiting(inbox) == ["Observation/1"]


def test_a_sweep_settles_the_gaps_known_when_it_began(engine: Engine) -> None:
    inbox = Inbox(engine)
    inbox.receive("lab", numbered(3), NOON)
    taken = inbox.take(NOON + timedelta(minutes=1))
    inbox.receive("lab", numbered(6), NOON + timedelta(minutes=2))
    inbox.done(taken, NOON + timedelta(minutes=3))
    assert inbox.channels()[0].missing == 2  # 4 and 5 were noted after the sweep began
    assert SWEEP in waiting(inbox)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_nothing_is_lost_whatever_happens_on_the_way(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Events 1..n are lost, doubled and reordered; a last heartbeat tells n. Each is looked at after it
    happened: by name, or by a sweep that was asked for after the message before it."""
    count = data.draw(st.integers(1, 8))
    arrivals = data.draw(st.lists(st.integers(1, count), max_size=16))
    engine = open_database(tmp_path_factory.mktemp("inbox") / "adapter.sqlite")
    try:
        inbox = Inbox(engine)
        looked_at: set[str] = set()
        for number in arrivals:
            inbox.receive("lab", numbered(number, since=data.draw(st.integers(number, count))), NOON)
            if data.draw(st.booleans()):
                taken = inbox.take(NOON)
                looked_at |= {work.reference for work in taken}
                inbox.done(taken, NOON)
        inbox.receive("lab", Notification("heartbeat", since_start=count), NOON)
        looked_at |= {work.reference for work in inbox.take(NOON)}
    finally:
        engine.dispose()
    lost = {f"Observation/{n}" for n in range(1, count + 1)} - looked_at
    assert not lost or SWEEP in looked_at
    assert {f"Observation/{n}" for n in arrivals} <= looked_at


@pytest.fixture
def client(engine: Engine, tmp_path: Path) -> httpx.AsyncClient:
    (tmp_path / "header").write_bytes(HEADER + b"\n")
    (tmp_path / "key").write_bytes(KEY)
    site = Site(
        name="hospital",
        site_id="h1",
        base_url="https://fhir.hospital.example/r4",
        subscriptions={
            "lab": Channel(header_file=str(tmp_path / "header")),
            "ward": Channel(hmac_file=str(tmp_path / "key")),
        },
    )
    app = create_app(engine, clock=lambda: NOON, site=site)
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://adapter")


def proof(body: bytes) -> dict[str, str]:
    return {"X-Signature": hmac.new(KEY, body, "sha256").hexdigest()}


AUTHORIZED = {"Authorization": HEADER.decode()}


async def test_a_message_with_proof_is_kept(client: httpx.AsyncClient, engine: Engine) -> None:
    body = r4b_backport("event-notification", "1", event("1", "Observation/a"))
    answer = await client.post("/subscriptions/lab", content=body, headers=AUTHORIZED)
    assert (answer.status_code, answer.content) == (200, b"")
    assert waiting(Inbox(engine)) == ["Observation/a"]


async def test_hapi_puts_and_deletes_by_address(client: httpx.AsyncClient, engine: Engine) -> None:
    await client.put("/subscriptions/lab/Observation/a", content=b"{}", headers=AUTHORIZED)
    await client.delete("/subscriptions/lab/Observation/b", headers=AUTHORIZED)
    assert waiting(Inbox(engine)) == ["Observation/a", "Observation/b"]


async def test_medplum_signs_and_names_what_was_deleted(client: httpx.AsyncClient, engine: Engine) -> None:
    body = b'{"resourceType": "Observation", "id": "a"}'
    assert (await client.post("/subscriptions/ward", content=body, headers=proof(body))).status_code == 200
    gone = {**proof(b"{}"), "X-Medplum-Deleted-Resource": "Observation/b"}
    assert (await client.post("/subscriptions/ward", content=b"{}", headers=gone)).status_code == 200
    assert waiting(Inbox(engine)) == ["Observation/a", "Observation/b"]


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/subscriptions/lab", {}),
        ("/subscriptions/lab", {"Authorization": "Bearer another"}),
        ("/subscriptions/lab", {"Authorization": HEADER.decode() + "x"}),
        ("/subscriptions/lab", proof(b"")),
        ("/subscriptions/ward", AUTHORIZED),
        ("/subscriptions/ward", proof(b"another body")),
        ("/subscriptions/nobody", AUTHORIZED),
    ],
)
async def test_a_stranger_changes_nothing_and_learns_nothing(
    client: httpx.AsyncClient, engine: Engine, path: str, headers: dict[str, str]
) -> None:
    answer = await client.post(path, content=b"", headers=headers)
    assert answer.status_code == 401
    assert answer.json()["issue"][0]["diagnostics"] == "this message does not prove where it comes from"
    assert Inbox(engine).channels() == ()


async def test_what_cannot_be_read_makes_us_look_for_ourselves(
    client: httpx.AsyncClient, engine: Engine
) -> None:
    answer = await client.post("/subscriptions/lab", content=b"<xml/>", headers=AUTHORIZED)
    assert answer.status_code == 202
    assert waiting(Inbox(engine)) == [SWEEP]


async def test_a_message_that_cannot_be_kept_is_not_acknowledged(tmp_path: Path) -> None:
    database = open_database(tmp_path / "adapter.sqlite", busy_seconds=0.2)
    (tmp_path / "header").write_bytes(HEADER)
    site = Site(name="h", site_id="h", subscriptions={"lab": Channel(header_file=str(tmp_path / "header"))})
    app = create_app(database, site=site)
    with database.begin():  # somebody else writes, for longer than we wait
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://adapter") as client:
            answer = await client.post("/subscriptions/lab", headers=AUTHORIZED)
    assert answer.status_code == 503
    assert Inbox(database).channels() == ()
    database.dispose()


@pytest.mark.parametrize("secret", [None, b"short"])
def test_a_channel_that_proves_nothing_is_refused_at_the_start(
    engine: Engine, tmp_path: Path, secret: bytes | None
) -> None:
    if secret:
        (tmp_path / "key").write_bytes(secret)
    channel = Channel(hmac_file=str(tmp_path / "key") if secret else "")
    with pytest.raises(ConfigError):
        create_app(engine, site=Site(name="h", site_id="h", subscriptions={"lab": channel}))
