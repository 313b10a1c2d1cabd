"""The pages over HTTP: who sees what, what a form does; addresses and the audit name nobody by id."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from adapter.model.decision import Overall
from adapter.store import audit
from adapter.store.chain import Link
from adapter.store.database import reading
from adapter.web.worklist.counter import Counter
from tests.web.browser import Browser, csrf_in
from tests.web.worklist_app import PASSWORD, served
from tests.worklist_case import planted


class Ward:
    """Somebody signed in at the ward's application."""

    def __init__(self, counter: Counter, browser: Browser, csrf: str) -> None:
        self.counter, self.browser, self.csrf = counter, browser, csrf

    def key(self, story: str) -> str:
        return self.counter.board().key_of(planted(story))

    async def page(self, path: str, status: int = 200, language: str = "en") -> str:
        answer = await self.browser.get(path, headers={"Accept-Language": language})
        assert answer.status_code == status, answer.text[:400]
        return answer.text

    async def post(self, path: str, status: int = 303, **fields: str) -> httpx.Response:
        answer = await self.browser.submit(path, csrf=self.csrf, **fields)
        assert answer.status_code == status, answer.text[:400]
        return answer

    def audited(self, action: str) -> list[Link]:
        with reading(self.counter.engine) as connection:
            return [one for one in audit.links(connection) if one.action == action]


@pytest.fixture
async def ward(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Ward]:
    role = getattr(request, "param", "investigator")
    with served(tmp_path) as (app, counter):
        async with Browser(app) as browser:
            assert (await browser.sign_in(role, PASSWORD)).status_code == 303
            yield Ward(counter, browser, csrf_in(await browser.open("/")))


async def test_the_list_counts_and_filters(ward: Ward) -> None:
    funnel = ward.counter.board().summary.funnel
    text = await ward.page("/worklist?state=undetermined")
    assert f"{funnel.undetermined} people" in text
    assert f"{len(ward.counter.board().rows)}人" in await ward.page("/worklist", language="zh")
    attest = await ward.page("/worklist?cause=attest")
    assert planted("ulcer-not-attested") in attest
    assert planted("protein-without-unit") not in attest


async def test_no_address_on_any_page_names_a_person(ward: Ward) -> None:
    ids = {row.subject for row in ward.counter.board().rows}
    key = ward.key("ulcer-not-attested")
    for path in ("/worklist", f"/worklist/patients/{key}", f"/worklist/patients/{key}/attest", "/study"):
        text = await ward.page(path)
        addresses = re.findall(r'(?:href|action|src|hx-get)="([^"]*)"', text)
        assert addresses
        assert not [one for one in addresses for subject in ids if subject in one]


async def test_finding_somebody_posts_the_id_and_leads_to_the_key(ward: Ward) -> None:
    subject = planted("ulcer-not-attested")
    found = await ward.post("/worklist/find", patient=subject)
    assert found.headers["location"] == f"/worklist/patients/{ward.key('ulcer-not-attested')}"
    nobody = await ward.post("/worklist/find", patient="p99999")
    assert nobody.headers["location"] == "/worklist?found=no"


async def test_a_view_is_kept_and_dropped(ward: Ward) -> None:
    await ward.post("/worklist/views", name="to attest", query="cause=attest&state=undetermined&x=1")
    assert 'href="/worklist?state=undetermined&amp;cause=attest">to attest</a>' in await ward.page(
        "/worklist"
    )
    await ward.post("/worklist/views/drop", name="to attest")
    assert "to attest" not in await ward.page("/worklist")
    await ward.post("/worklist/views", 422, name=" ", query="")


async def test_an_answer_changes_the_verdict(ward: Ward) -> None:
    key = ward.key("ulcer-not-attested")
    before = ward.counter.board().row(key)
    assert before is not None
    assert before.overall is Overall.UNDETERMINED
    answer = {"day": "2019-06-03", "q-ulcer": "treated-or-healed"}
    await ward.post(f"/worklist/patients/{key}/attest", **answer)
    ward.counter.runs.wait()
    assert ward.counter.runs.failure == ""
    after = ward.counter.board().row(key)
    assert after is not None
    assert after.overall is Overall.ELIGIBLE
    text = await ward.page(f"/worklist/patients/{key}")
    assert "Treated or healed" in text
    assert "Dr Li" in text
    [planned] = [one for one in ward.counter.outbox_of(after.subject) if one.state == "planned"]
    assert (planned.verdict, planned.proposed) == ("eligible", "candidate")
    [row] = [one for one in ward.audited("screen") if one.actor == "investigator"]
    assert "attestations_sha256" in row.detail


@pytest.mark.parametrize(
    "wrong",
    [
        {"day": "2019-06-03"},
        {"day": "2019-06-04", "q-ulcer": "none"},
        {"day": "yesterday", "q-ulcer": "none"},
        {"day": "2019-06-03", "q-ulcer": "something else"},
        {"day": "2019-06-03", "q-onset-date": "spring of 2018"},
    ],
)
async def test_a_form_that_cannot_be_read_is_shown_again_and_nothing_is_kept(
    ward: Ward, wrong: dict[str, str]
) -> None:
    key = ward.key("ulcer-not-attested")
    answer = await ward.post(f"/worklist/patients/{key}/attest", 422, **wrong)
    assert 'role="alert"' in answer.text
    assert ward.counter.attested(planted("ulcer-not-attested")) == ()


async def test_leave_to_write_back_needs_a_reason_and_is_carried_out(ward: Ward) -> None:
    key, subject = ward.key("ulcer-not-attested"), planted("ulcer-not-attested")
    ward.counter.runs.ask("write", "investigator")
    ward.counter.runs.wait()
    [planned] = ward.counter.outbox_of(subject)
    where = f"/worklist/patients/{key}/outbox/{planned.number}"
    signed = {"signature-record": planned.content_sha256, "signature-password": PASSWORD}
    await ward.post(where, 422, verdict="approved", reason=" ", **signed)
    await ward.post(where, 422, verdict="perhaps", reason="x", **signed)
    await ward.post(where, 403, verdict="approved", reason="x", **{**signed, "signature-password": "wrong"})
    other = ward.key("protein-without-unit")
    elsewhere = f"/worklist/patients/{other}/outbox/{planned.number}"
    await ward.post(elsewhere, 404, verdict="approved", reason="x", **signed)
    await ward.post(where, verdict="approved", reason="seen with the patient", **signed)
    ward.counter.runs.wait()
    [done] = ward.counter.outbox_of(subject)
    assert done.state == "done"
    text = await ward.page(f"/worklist/patients/{key}")
    assert "the hospital holds it" in text
    assert "seen with the patient" in text
    await ward.post(where, 409, verdict="rejected", reason="too late", **signed)


async def test_notes_and_decisions_are_shown_with_author_and_correction(ward: Ward) -> None:
    key = ward.key("ulcer-not-attested")
    where = f"/worklist/patients/{key}/notes"
    await ward.post(where, words="<b>called</b>", stand="approach")
    await ward.post(where, words="on 2 June", corrects="1")
    text = await ward.page(f"/worklist/patients/{key}")
    assert "&lt;b&gt;called&lt;/b&gt;" in text
    assert "corrects note 1" in text
    assert "Approach the patient" in await ward.page("/worklist?cause=attest")
    await ward.post(where, 422, words="")
    await ward.post(where, 404, words="x", corrects="77")


async def test_who_looked_at_whom_is_audited_without_words_about_anybody(ward: Ward) -> None:
    key, subject = ward.key("ulcer-not-attested"), planted("ulcer-not-attested")
    await ward.page(f"/worklist/patients/{key}")
    await ward.page("/worklist")
    seen = ward.audited("see")
    assert [one.what for one in seen] == [f'["Patient/{subject}"]', "[]"]
    assert all(one.actor == "investigator" for one in seen)
    assert "CANARY-NAME" not in "".join(one.detail for one in seen)


async def test_an_unknown_key_is_nothing(ward: Ward) -> None:
    for path in ("/worklist/patients/00000000000000000000", f"/worklist/patients/{planted('base')}"):
        await ward.page(path, 404)


@pytest.mark.parametrize(
    ("ward", "statuses"),
    [
        ("coordinator", {"list": 200, "attest": 200, "approve": 403, "note": 303}),
        ("investigator", {"list": 200, "attest": 200, "approve": 404, "note": 303}),
        ("monitor", {"list": 200, "attest": 403, "approve": 403, "note": 403}),
        ("sponsor", {"list": 403, "attest": 403, "approve": 403, "note": 403}),
        ("admin", {"list": 403, "attest": 403, "approve": 403, "note": 403}),
    ],
    indirect=["ward"],
)
async def test_each_role_does_what_the_matrix_says(ward: Ward, statuses: dict[str, int]) -> None:
    key = ward.key("ulcer-not-attested")
    page = f"/worklist/patients/{key}"
    await ward.page("/worklist", statuses["list"])
    await ward.page(f"{page}/attest", statuses["attest"])
    await ward.post(f"{page}/outbox/9999", statuses["approve"], verdict="approved", reason="x")
    await ward.post(f"{page}/notes", statuses["note"], words="x")


@pytest.mark.parametrize("ward", ["monitor"], indirect=True)
async def test_a_monitor_without_an_end_sees_results_and_no_name(ward: Ward) -> None:
    text = await ward.page(f"/worklist/patients/{ward.key('ulcer-not-attested')}")
    assert "CANARY-NAME" not in text
    assert "CANARY-MRN" not in text
