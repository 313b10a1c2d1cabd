"""A page may name somebody; whatever is kept, logged or put into an address may not."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest

from adapter.store import audit
from adapter.store.database import reading
from tests.web.browser import Browser, csrf_in
from tests.web.worklist_app import PASSWORD, served
from tests.worklist_case import planted


def test_the_worklist_names_people_on_pages_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """Nothing that is kept or logged names somebody whom a page has shown to a role that may see it."""
    caplog.set_level(logging.DEBUG)

    async def visit() -> tuple[str, str, str]:
        with served(tmp_path) as (app, counter):
            async with Browser(app) as browser:
                await browser.sign_in("coordinator", PASSWORD)
                key = counter.board().key_of(planted("ulcer-not-attested"))
                page = await browser.open(f"/worklist/patients/{key}")
                listed = await browser.open("/worklist")
                await browser.open(f"/worklist/patients/{key}/attest")
                answer = {"day": "2019-06-03", "q-ulcer": "none"}
                await browser.submit(f"/worklist/patients/{key}/attest", csrf=csrf_in(page), **answer)
                counter.runs.wait()
            with reading(counter.engine) as connection:
                told = "".join(f"{one.what} {one.detail}" for one in audit.links(connection))
            return page.text, listed.text, told

    page, listed, told = asyncio.run(visit())
    assert "CANARY-NAME" in page, "the role may see it"
    kept = b"".join(
        path.read_bytes()
        for path in (tmp_path / "workspace").rglob("*")
        if path.is_file() and "landing" not in path.parts
    )
    printed = "".join(capfd.readouterr())
    for said in (listed, told, caplog.text, printed, kept.decode("utf-8", "replace")):
        assert "CANARY-NAME" not in said
        assert "CANARY-MRN" not in said
    assert planted("ulcer-not-attested") not in caplog.text + printed
