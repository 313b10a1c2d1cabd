"""What no server does on demand: lost answers, wrong answers, refusals. respx stands in for a server.

What a real server does with conflicts is in tests/contract/test_writeback_hapi.py.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import respx
import stamina

from adapter.errors import (
    ConfigError,
    SourceRefused,
    SourceUnavailable,
    SourceUntrustworthy,
    WriteRefused,
)
from adapter.model.decision import Decision
from adapter.store.ledger import Ledger, Memory
from adapter.writeback.file import write_bundle_file
from adapter.writeback.plan import CurrentState, plan_writeback
from adapter.writeback.send import WriteReport, write_back
from tests.writeback_cases import LATER, NOW, STUDY, decision

BASE = "https://hospital.example/fhir"


class Killed(BaseException):
    """Nothing in the program catches this, as nothing catches ``kill -9``."""


class Fake:
    """A FHIR server of a few lines that keeps what it is sent, and can be told to fail."""

    def __init__(self, router: respx.MockRouter) -> None:
        self.held: dict[str, dict[str, Any]] = {}
        self.transactions: list[dict[str, Any]] = []
        self.authorizations: set[str] = set()
        self.answers: list[Any] = []
        router.post(BASE).mock(side_effect=self.transact)
        router.get(re.compile(rf"{BASE}/\w+\?")).mock(side_effect=self.search)
        router.get(re.compile(rf"{BASE}/\w+/.+")).mock(side_effect=self.read)

    def transact(self, request: httpx.Request) -> httpx.Response:
        """The next planned answer: None is success, "lost" success without an answer, else a response."""
        self.authorizations.add(request.headers.get("Authorization", ""))
        bundle = json.loads(request.content)
        self.transactions.append(bundle)
        planned = self.answers.pop(0) if self.answers else None
        if isinstance(planned, BaseException):
            raise planned
        if isinstance(planned, httpx.Response):
            return planned
        entries = []
        for entry in bundle["entry"]:
            url = entry["request"]["url"]
            version = str(int(self.held.get(url, {}).get("meta", {}).get("versionId", 0)) + 1)
            meta = {**entry["resource"].get("meta", {}), "versionId": version}
            self.held[url] = {**entry["resource"], "meta": meta}
            entries.append({"response": {"status": "200 OK", "etag": f'W/"{version}"'}})
        if planned == "lost":
            raise httpx.ReadTimeout("lost")
        return httpx.Response(200, json={"resourceType": "Bundle", "entry": entries})

    def search(self, request: httpx.Request) -> httpx.Response:
        kind = request.url.path.rsplit("/", 1)[1]
        found = [{"resource": one} for url, one in sorted(self.held.items()) if url.startswith(f"{kind}/")]
        return httpx.Response(200, json={"resourceType": "Bundle", "type": "searchset", "entry": found})

    def read(self, request: httpx.Request) -> httpx.Response:
        one = self.held.get(request.url.path.removeprefix("/fhir/"))
        return httpx.Response(200, json=one) if one else httpx.Response(404)


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    async def at_once(_seconds: float) -> None:
        return None

    monkeypatch.setattr(asyncio, "sleep", at_once)
    stamina.set_testing(True, attempts=3)
    yield
    stamina.set_testing(False)


@pytest.fixture
def router() -> Iterator[respx.MockRouter]:
    with respx.mock(assert_all_called=False) as mocked:
        yield mocked


@pytest.fixture
def server(router: respx.MockRouter) -> Fake:
    return Fake(router)


async def write(tmp_path: Path, *decisions: Decision, **options: Any) -> WriteReport:
    now = options.pop("now", NOW)
    ledger = tmp_path / "ledger.sqlite"
    return await write_back(BASE, decisions, study=STUDY, database=ledger, now=now, **options)


def subject_writes(server: Fake) -> list[str]:
    urls = [entry["request"]["url"] for bundle in server.transactions for entry in bundle["entry"]]
    return [url for url in urls if url.startswith("ResearchSubject/")]


async def test_a_lost_answer_is_looked_up_not_repeated(server: Fake, tmp_path: Path) -> None:
    server.answers = [None, "lost"]  # study and device arrive; the subject arrives and the answer is lost
    report = await write(tmp_path, decision("eligible"))
    assert (report.outcomes, len(subject_writes(server))) == ({"created": 1}, 1)
    references = [r.reference.split("/")[0] for r in Ledger(tmp_path / "ledger.sqlite", BASE).receipts()]
    assert references.count("ResearchSubject") == 1


async def test_what_never_arrived_is_sent_again(server: Fake, tmp_path: Path) -> None:
    server.answers = [None, httpx.ConnectError("down"), None]
    report = await write(tmp_path, decision("eligible"))
    assert (report.outcomes, len(subject_writes(server))) == ({"created": 1}, 2)
    assert subject_writes(server)[0] == subject_writes(server)[1]


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
async def test_a_server_that_stays_down_leaves_the_outcome_unknown(
    server: Fake, tmp_path: Path, status: int
) -> None:
    server.answers = [None, *[httpx.Response(status)] * 9]
    report = await write(tmp_path, decision("eligible"))
    assert report.outcomes == {"unknown": 1}
    assert isinstance(report.fault(), SourceUnavailable)
    assert len(subject_writes(server)) == 3
    server.answers = []
    assert (await write(tmp_path, decision("eligible"), now=LATER)).outcomes == {"created": 1}


async def test_killed_after_sending_the_next_run_knows_its_own_hand(server: Fake, tmp_path: Path) -> None:
    """The process dies between the server's commit and ours: the intent is all that is left."""
    server.answers = [None, Killed()]
    plan = plan_writeback([decision("undetermined")], CurrentState(), Memory(), STUDY, NOW)
    with pytest.raises(Killed):
        await write(tmp_path, decision("undetermined"))
    for change in plan.subjects[0].changes:  # it had arrived all the same
        server.held[change.reference] = {**change.resource, "meta": {"versionId": "1"}}
    server.answers = []
    assert (await write(tmp_path, decision("undetermined"))).outcomes == {"unchanged": 1}
    moved = await write(tmp_path, decision("eligible"), now=LATER)
    assert (moved.outcomes, moved.rows[0]["after"]) == ({"updated": 1}, "candidate")


@pytest.mark.parametrize("status", [409, 412])
async def test_a_conflict_is_planned_again_once_and_never_forced(
    server: Fake, tmp_path: Path, status: int
) -> None:
    await write(tmp_path, decision("undetermined"))
    before = len(server.transactions)
    server.answers = [httpx.Response(status)] * 9
    report = await write(tmp_path, decision("eligible"), now=LATER)
    assert (report.outcomes, len(server.transactions) - before) == ({"conflict": 1}, 2)
    guards = {
        entry["request"].get("ifMatch")
        for bundle in server.transactions[before:]
        for entry in bundle["entry"]
        if entry["request"]["url"].startswith("ResearchSubject/")
    }
    assert guards == {'W/"1"'}


async def test_a_refused_chunk_is_split_and_only_the_culprit_is_refused(server: Fake, tmp_path: Path) -> None:
    refusal = httpx.Response(
        422,
        json={
            "resourceType": "OperationOutcome",
            "issue": [{"severity": "error", "code": "processing", "diagnostics": "HAPI-1094: Zhang San"}],
        },
    )
    server.answers = [None, refusal, None, refusal, None]  # shared; all three; then one by one
    report = await write(tmp_path, *(decision("eligible", name) for name in ("p1", "p2", "p3")))
    assert report.outcomes == {"created": 2, "refused": 1}
    (row,) = [row for row in report.rows if row["outcome"] == "refused"]
    assert (row["subject"], row["reason"]) == ("p2", "422 refused (processing, HAPI-1094)")


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(200, text="<html>sign in</html>"),
        httpx.Response(200, json={"resourceType": "OperationOutcome", "issue": []}),
        httpx.Response(200, json={"resourceType": "Bundle", "entry": []}),
        httpx.Response(200, json={"resourceType": "Bundle", "entry": [{}] * 3}),
        httpx.Response(
            200, json={"resourceType": "Bundle", "entry": [{"response": {"status": "409 Conflict"}}] * 3}
        ),
    ],
)
async def test_an_answer_that_says_nothing_is_unknown(
    server: Fake, tmp_path: Path, answer: httpx.Response
) -> None:
    server.answers = [None, answer, answer, answer]
    assert (await write(tmp_path, decision("eligible"))).outcomes == {"unknown": 1}


async def test_a_redirect_is_not_followed(server: Fake, tmp_path: Path) -> None:
    server.answers = [None, httpx.Response(307, headers={"Location": "https://evil.example/fhir"})]
    assert (await write(tmp_path, decision("eligible"))).outcomes == {"refused": 1}


@pytest.mark.parametrize(
    ("headers", "waited"),
    [
        ({"Retry-After": "7"}, 7),
        ({"Retry-After": "Sun, 01 Mar 2026 09:30:09 GMT", "Date": "Sun, 01 Mar 2026 09:30:00 GMT"}, 9),
        ({"Retry-After": "86400"}, 60),
        ({"Retry-After": "soon"}, 0),
        ({"Retry-After": "Sun, 01 Mar 2026 09:30:09 GMT"}, 0),
        ({}, 0),
    ],
)
async def test_a_busy_server_is_given_the_time_it_asks_for(
    server: Fake, tmp_path: Path, headers: dict[str, str], waited: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []

    async def note(seconds: float) -> None:
        waits.append(seconds)

    monkeypatch.setattr(asyncio, "sleep", note)
    server.answers = [None, httpx.Response(429, headers=headers), None]
    assert (await write(tmp_path, decision("eligible"))).outcomes == {"created": 1}
    assert waits == [waited]


async def test_pages_are_followed(router: respx.MockRouter, tmp_path: Path) -> None:
    """The subject is on the second page; whoever stops at the first writes it again."""
    more = f"{BASE}/ResearchSubject?page=2"
    first_page = {"resourceType": "Bundle", "link": [{"relation": "next", "url": more}]}
    first = router.get(url__startswith=f"{BASE}/ResearchSubject?study=").respond(json=first_page)
    second = router.get(more).mock(side_effect=lambda request: server.search(request))
    server = Fake(router)
    await write(tmp_path, decision("eligible"))
    assert (await write(tmp_path, decision("eligible"), now=LATER)).outcomes == {"unchanged": 1}
    assert first.called
    assert second.called


class Tokens:
    """A token source that gives another token each time and notes what it was asked."""

    def __init__(self) -> None:
        self.asked: list[bool] = []

    async def __call__(self, *, renew: bool = False) -> str:
        self.asked.append(renew)
        return f"t{len(self.asked)}"


@pytest.mark.parametrize(
    "link",
    [
        "https://evil.example/fhir/ResearchStudy?page=2",
        "https://hospital.example.evil.example/fhir?page=2",
        "http://hospital.example/fhir?page=2",
        "https://hospital.example:8443/fhir?page=2",
        "https://hospital.example@evil.example/fhir?page=2",
    ],
)
async def test_the_token_follows_no_foreign_link(router: respx.MockRouter, tmp_path: Path, link: str) -> None:
    page = {"resourceType": "Bundle", "link": [{"relation": "next", "url": link}]}
    router.get(re.compile(rf"{BASE}/.*")).mock(return_value=httpx.Response(200, json=page))
    elsewhere = router.get(url__startswith="http").mock(return_value=httpx.Response(200, json=page))
    with pytest.raises(SourceUntrustworthy):
        await write(tmp_path, decision("eligible"), token=Tokens())
    assert not elsewhere.called


async def test_the_token_is_asked_for_each_request(server: Fake, tmp_path: Path) -> None:
    tokens = Tokens()
    await write(tmp_path, decision("eligible"), token=tokens)
    assert len(server.authorizations) == 2
    assert all(re.fullmatch(r"Bearer t\d+", one) for one in server.authorizations)
    assert not any(tokens.asked)


async def test_a_transaction_refused_for_its_token_is_sent_again_with_another(
    server: Fake, tmp_path: Path
) -> None:
    tokens = Tokens()
    server.answers = [httpx.Response(401), None]
    report = await write(tmp_path, decision("eligible"), token=tokens)
    assert sum(tokens.asked) == 1
    assert sum(report.outcomes.values()) == report.outcomes.get("created") == 1


async def test_a_token_that_is_never_accepted_is_asked_for_twice_and_no_more(
    router: respx.MockRouter, tmp_path: Path
) -> None:
    tokens = Tokens()
    route = router.get(re.compile(rf"{BASE}/.*")).mock(return_value=httpx.Response(401))
    with pytest.raises(ConfigError):
        await write(tmp_path, decision("eligible"), token=tokens)
    assert tokens.asked == [False, True]
    assert route.call_count == 2


async def test_pages_that_go_round_in_a_circle_end(router: respx.MockRouter, tmp_path: Path) -> None:
    url = f"{BASE}/ResearchStudy?identifier=NCT03864250"
    page = {"resourceType": "Bundle", "link": [{"relation": "next", "url": url}]}
    router.get(re.compile(rf"{BASE}/.*")).mock(return_value=httpx.Response(200, json=page))
    with pytest.raises(SourceUntrustworthy, match="circle"):
        await write(tmp_path, decision("eligible"))


@pytest.mark.parametrize(
    ("answer", "fault"),
    [
        (httpx.Response(503), SourceUnavailable),
        (httpx.Response(403), SourceRefused),
        (httpx.Response(200, text="<html>"), SourceUntrustworthy),
    ],
)
async def test_what_cannot_be_read_is_not_written(
    router: respx.MockRouter, tmp_path: Path, answer: httpx.Response, fault: type[Exception]
) -> None:
    router.get(re.compile(rf"{BASE}/.*")).mock(return_value=answer)
    posted = router.post(BASE)
    with pytest.raises(fault):
        await write(tmp_path, decision("eligible"))
    assert not posted.called


async def test_a_lenient_server_that_ignores_what_was_asked_does_not_mislead(
    server: Fake, tmp_path: Path
) -> None:
    """The fake returns everything of a type, as servers may that ignore a parameter they do not know: the
    subject of another study, and another study's flag, are not ours."""
    server.held["ResearchSubject/elsewhere"] = {
        "resourceType": "ResearchSubject",
        "id": "elsewhere",
        "meta": {"versionId": "1"},
        "status": "screening",
        "study": {"reference": "ResearchStudy/another"},
        "individual": {"reference": "Patient/p1"},
    }
    server.held["ResearchStudy/another"] = {
        "resourceType": "ResearchStudy",
        "id": "another",
        "identifier": [{"value": "NCT00000000"}],
    }
    before = dict(server.held)
    assert (await write(tmp_path, decision("eligible"))).outcomes == {"created": 1}
    assert (await write(tmp_path, decision("eligible"))).outcomes == {"unchanged": 1}
    assert {url: server.held[url] for url in before} == before


async def test_two_studies_with_the_number_are_for_a_person_to_sort_out(server: Fake, tmp_path: Path) -> None:
    for key in ("a", "b"):
        server.held[f"ResearchStudy/{key}"] = {
            "resourceType": "ResearchStudy",
            "id": key,
            "identifier": [{"value": STUDY.id}],
        }
    with pytest.raises(WriteRefused, match="2 ResearchStudy"):
        await write(tmp_path, decision("eligible"))


async def test_two_subjects_for_one_patient_are_reported(server: Fake, tmp_path: Path) -> None:
    await write(tmp_path, decision("eligible"))
    (url,) = [url for url in server.held if url.startswith("ResearchSubject/")]
    server.held["ResearchSubject/twin"] = {**server.held[url], "id": "twin"}
    report = await write(tmp_path, decision("eligible"), decision("eligible", "p2"), now=LATER)
    assert report.outcomes == {"refused": 1, "created": 1}
    assert (report.rows[0]["reason"], report.duplicates) == ("DUPLICATE_ON_SERVER", ("p1",))


async def test_a_merged_patients_subject_is_found_under_the_survivor(server: Fake, tmp_path: Path) -> None:
    await write(tmp_path, decision("eligible", "old"))
    report = await write(tmp_path, decision("eligible", "new"), aliases={"old": "new"}, now=LATER)
    assert report.outcomes == {"updated": 1}
    assert len([url for url in server.held if url.startswith("ResearchSubject/")]) == 1


class TestFile:
    def test_the_same_decisions_give_the_same_file(self, tmp_path: Path) -> None:
        verdicts = [decision("eligible", "p1"), decision("ineligible", "p2")]
        first = write_bundle_file(tmp_path, verdicts, study=STUDY, now=NOW)
        assert first is not None
        content = first.read_bytes()
        assert write_bundle_file(tmp_path, verdicts[::-1], study=STUDY, now=LATER) == first
        assert first.read_bytes() == content
        assert [path.name for path in tmp_path.iterdir()] == [first.name]

    def test_it_is_the_transaction_that_would_have_been_sent(self, tmp_path: Path) -> None:
        path = write_bundle_file(tmp_path, [decision("eligible")], study=STUDY, now=NOW)
        assert path is not None
        bundle = json.loads(path.read_bytes())
        kinds = [entry["resource"]["resourceType"] for entry in bundle["entry"]]
        assert (bundle["type"], kinds) == (
            "transaction",
            ["ResearchStudy", "Device", "ResearchSubject", "Flag", "Provenance"],
        )
        guards = {entry["request"].get("ifNoneMatch") for entry in bundle["entry"][:4]}
        assert guards == {"*"}

    def test_nothing_to_say_makes_no_file(self, tmp_path: Path) -> None:
        assert write_bundle_file(tmp_path, [decision("ineligible")], study=STUDY, now=NOW) is None
        assert list(tmp_path.iterdir()) == []
