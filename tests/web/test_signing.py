"""An electronic signature by password: proven once more, for what was shown, and kept in the audit."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Annotated

import pytest
from fastapi import Depends, FastAPI, Request
from sqlalchemy import Engine

from adapter.access import Grant, Principal
from adapter.access.passwords import hash_password
from adapter.config import Site
from adapter.store import audit
from adapter.store.accounts import Accounts
from adapter.store.database import open_database, reading
from adapter.web.access import allowed
from adapter.web.app import create_app
from adapter.web.signin import sha256_of, sign
from tests.web.browser import Browser, Clock, csrf_in

PASSWORD = "four quiet lamps swim"
KEPT = hash_password(PASSWORD)
RECORD = sha256_of(b"what would be written")
Signer = Annotated[Principal, Depends(allowed("sign"))]


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    made = open_database(tmp_path / "adapter.sqlite")
    yield made
    made.dispose()


@pytest.fixture
def app(engine: Engine) -> FastAPI:
    clock = Clock()
    accounts = Accounts(engine)
    for name, role in (("pi", "investigator"), ("mon", "monitor"), ("ann", "coordinator")):
        accounts.add(name, f"Dr {name}", KEPT, [Grant(role, "S1", "A")], now=clock(), by="r")
    made = create_app(engine, clock, Site(name="Hospital", site_id="A"), study="S1")

    @made.post("/signed")
    async def signed(request: Request, principal: Signer) -> dict[str, object]:
        meaning = str((await request.form()).get("meaning", "approval"))
        made = await sign(request, principal, record="outbox/1", record_sha256=RECORD, meaning=meaning)
        return made.detail()

    return made


@pytest.fixture
async def pi(app: FastAPI) -> AsyncIterator[Browser]:
    async with Browser(app) as made:
        await made.sign_in("pi", PASSWORD)
        yield made


async def ask(browser: Browser, **fields: str) -> tuple[int, str]:
    token = csrf_in(await browser.open("/"))
    given = {"signature-record": RECORD, "signature-password": PASSWORD, "csrf": token, **fields}
    answer = await browser.submit("/signed", **given)
    return answer.status_code, answer.text


async def test_a_signature_says_who_when_what_and_with_which_meaning(pi: Browser) -> None:
    status, text = await ask(pi)
    assert status == 200
    for said in (
        "Dr pi",
        '"account":"pi"',
        '"meaning":"approval"',
        "2026-03-01T12:00:00+00:00",
        RECORD,
        "password",
    ):
        assert said in text, said


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"signature-password": "four quiet lamps swam"}, 403),
        ({"signature-password": ""}, 403),
        ({"signature-record": "0" * 64}, 409),
        ({"signature-record": ""}, 409),
        ({"meaning": "whatever"}, 422),
        ({"csrf": "0" * 64}, 403),
    ],
)
async def test_what_is_not_proven_or_not_shown_is_not_signed(
    pi: Browser, fields: dict[str, str], status: int
) -> None:
    assert (await ask(pi, **fields))[0] == status


async def test_who_may_not_sign_cannot(app: FastAPI) -> None:
    async with Browser(app) as monitor:
        await monitor.sign_in("mon", PASSWORD)
        assert (await ask(monitor))[0] == 403


async def test_guessing_at_a_signature_makes_the_account_wait(pi: Browser, engine: Engine) -> None:
    for _ in range(5):
        assert (await ask(pi, **{"signature-password": "some wrong password"}))[0] == 403
    assert (await ask(pi))[0] == 403
    with reading(engine) as connection:
        found = [(link.actor, link.action) for link in audit.links(connection)]
    assert found.count(("pi", "signature-failed")) == 5
