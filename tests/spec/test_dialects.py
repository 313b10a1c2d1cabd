"""Each make of server, recognised and spoken to: exchanges replayed from what its maker documents.

Expected behaviour is that of the page each quirk links to. Statements: ``tests/recorded/`` (recorded for
HAPI, Medplum and sekmet-fhir, written out from documentation for the others).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
import respx

from adapter.errors import ConfigError, SourceRefused
from adapter.model.candidates import CandidateQuery
from adapter.model.coverage import is_covered
from adapter.source.client import FhirClient, Patience, Refusal, capabilities
from adapter.source.crawl import crawl
from adapter.source.dialects import DIALECTS, STANDARD, Dialect, codes_in, named, recognised
from adapter.source.search import Found, search

RECORDED = Path(__file__).parents[1] / "recorded"
MAKES = ["azure", "epic", "gcp", "hapi", "medplum", "oracle", "sekmet"]
BASE = "https://ehr.example/fhir"
QUICK = Patience(attempts=2, wait_initial=0.001, max_wait=0.05, total=2.0)


def statement(make: str) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((RECORDED / f"{make}.json").read_text(encoding="utf-8"))
    return loaded["statement"]


def observation(name: str, version: str = "1") -> dict[str, Any]:
    return {
        "resourceType": "Observation",
        "id": name,
        "meta": {"versionId": version},
        "subject": {"reference": "Patient/p1"},
    }


def outcome(*numbers: str, severity: str = "warning") -> dict[str, Any]:
    """As Epic documents it: the number is a coding in ``details``, the diagnostics a text."""
    issues = [
        {
            "severity": severity,
            "code": "processing",
            "details": {"coding": [{"system": "urn:oid:1.2.840.114350.1.13.0.1.7.2.657369", "code": number}]},
            "diagnostics": "Zhang San",
        }
        for number in numbers
    ]
    return {"resourceType": "OperationOutcome", "issue": issues}


def page(*resources: dict[str, Any], asked: httpx.URL, next_: str = "", **more: Any) -> httpx.Response:
    links = [{"relation": "self", "url": str(asked)}]
    links += [{"relation": "next", "url": next_}] if next_ else []
    mode = {"OperationOutcome": "outcome"}
    entries = [
        {"resource": one, "search": {"mode": mode.get(one["resourceType"], "match")}} for one in resources
    ]
    bundle = {"resourceType": "Bundle", "type": "searchset", "link": links, "entry": entries, **more}
    return httpx.Response(200, json=bundle, headers={"Content-Type": "application/fhir+json"})


class Replay:
    """A server of one make: its statement, and one function that answers everything else."""

    def __init__(self, make: str, answer: Callable[[httpx.Request], httpx.Response]) -> None:
        self.make = make
        self.answer = answer
        self.asked: list[httpx.URL] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/metadata"):
            return httpx.Response(200, json=statement(self.make))
        self.asked.append(request.url)
        return self.answer(request)

    async def search(self, kind: str = "Observation", **params: str) -> Found:
        with respx.mock() as server:
            server.route(url__startswith=BASE).mock(side_effect=self)
            async with FhirClient(BASE, patience=QUICK) as client:
                await capabilities(client)
                assert client.dialect.name == self.make
                return await search(client, kind, params or {"patient": "Patient/p1"})


# --- recognised -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", MAKES)
def test_each_make_is_recognised_by_its_statement(make: str) -> None:
    assert recognised(statement(make)).name == make


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("fhir.epic.com", "epic"),
        ("fhir-ehr.cerner.com", "oracle"),
        ("ward.fhir.azurehealthcareapis.com", "azure"),
        ("healthcare.googleapis.com", "gcp"),
        ("api.medplum.com", "medplum"),
        ("fhir.epic.com.evil.example", "standard"),
        ("notcerner.com", "standard"),
    ],
)
def test_a_host_tells_the_make(host: str, name: str) -> None:
    assert recognised({}, host).name == name


STRANGE: list[dict[str, Any]] = [
    {},
    {"software": "HAPI"},
    {"software": {"name": 1}},
    {"software": None, "publisher": ["Epic"]},
    {"name": "HumanFHIR", "publisher": "An epicentre of care"},
]


@pytest.mark.parametrize("said", STRANGE)
def test_what_is_not_known_is_spoken_to_by_the_specification(said: dict[str, Any]) -> None:
    assert recognised(said) is STANDARD


def test_the_software_outweighs_who_runs_it() -> None:
    assert recognised({"publisher": "Microsoft", "software": {"name": "HAPI FHIR Server"}}).name == "hapi"


def test_a_site_may_name_its_dialect() -> None:
    assert named("") is None
    epic = named("epic")
    assert epic is not None
    assert epic.name == "epic"
    with pytest.raises(ConfigError, match="epik"):
        named("epik")


async def test_what_the_site_names_outweighs_what_the_server_says() -> None:
    with respx.mock() as server:
        server.get(f"{BASE}/metadata").respond(json=statement("hapi"))
        async with FhirClient(BASE, dialect=named("epic")) as client:
            await capabilities(client)
            assert client.dialect.name == "epic"


@pytest.fixture(params=DIALECTS, ids=lambda one: one.name)
def dialect(request: pytest.FixtureRequest) -> Dialect:
    found: Dialect = request.param
    return found


def test_each_quirk_has_a_sentence_and_a_public_link(dialect: Dialect) -> None:
    assert dialect.name in MAKES
    assert dialect.quirks
    for quirk in dialect.quirks:
        assert quirk.sentence.endswith(".")
        assert urlsplit(quirk.link).scheme == "https"


def test_each_statement_says_where_it_is_from() -> None:
    for make in MAKES:
        about = json.loads((RECORDED / f"{make}.json").read_text(encoding="utf-8"))["about"]
        assert about["source"]
        assert about["kind"] in ("recorded", "written")
        assert about["kind"] == "recorded" or "not recorded" in about["note"]


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"null", b"<html>", b'{"issue": [1, {"details": 2}]}', b"[" * 100_000]
)
def test_numbers_are_read_from_anything(body: bytes) -> None:
    assert codes_in(body) == frozenset()


# --- Epic -----------------------------------------------------------------------------------------------


async def test_epic_wants_a_category_and_gets_each() -> None:
    """The same Observation in two categories is taken once; the type is not called complete."""

    def answer(request: httpx.Request) -> httpx.Response:
        category = request.url.params.get("category")
        if category is None:
            return httpx.Response(400, json=outcome("4103", severity="error"))
        found = {"laboratory": ["o1", "o2"], "vital-signs": ["o2"]}.get(category, [])
        return page(*map(observation, found), asked=request.url)

    replay = Replay("epic", answer)
    found = await replay.search()
    assert [entry.id for entry in found.entries] == ["o1", "o2"]
    assert found.reason.startswith("searched by category only: laboratory, vital-signs")
    assert len(replay.asked) == len(DIALECTS[0].categories["Observation"])
    assert all(url.params["_count"] == "100" for url in replay.asked)


async def test_epic_is_searched_by_code_without_a_category() -> None:
    replay = Replay("epic", lambda request: page(observation("o1"), asked=request.url))
    assert (await replay.search(code="1751-7")).complete
    assert len(replay.asked) == 1


@pytest.mark.parametrize(("kind", "number"), [("Patient", "4127"), ("Condition", "59133")])
async def test_epic_caps_a_search(kind: str, number: str) -> None:
    one = {"resourceType": kind, "id": "x", "subject": {"reference": "Patient/p1"}}
    replay = Replay("epic", lambda request: page(one, outcome(number), asked=request.url))
    found = await replay.search(kind)
    assert [entry.id for entry in found.entries] == ["x"]
    assert found.reason == "SEARCH_CAPPED"
    assert "Zhang" not in str(found.issues)


async def test_epic_forgets_a_page_and_the_search_starts_again() -> None:
    answers = ["next", "expired", "next", "last"]

    def answer(request: httpx.Request) -> httpx.Response:
        now = answers.pop(0)
        if now == "expired":
            return httpx.Response(400, json=outcome("4113", severity="fatal"))
        following = f"{BASE}/Condition?sessionID=1" if now == "next" else ""
        name = "c1" if now == "next" else "c2"
        return page({"resourceType": "Condition", "id": name}, asked=request.url, next_=following)

    found = await Replay("epic", answer).search("Condition", patient="p1")
    assert [entry.id for entry in found.entries] == ["c1", "c2"]
    assert found.complete


@pytest.mark.parametrize("number", ["4130", "4131", "4134"])
async def test_epic_break_the_glass_is_never_asked_again(number: str) -> None:
    replay = Replay("epic", lambda request: httpx.Response(403, json=outcome(number, severity="fatal")))
    with pytest.raises(Refusal, match="break-the-glass") as caught:
        await replay.search("Condition")
    assert len(replay.asked) == 1
    assert "Zhang" not in str(caught.value)


@pytest.mark.parametrize("number", ["4130", "4131", "4134"])
async def test_epic_break_the_glass_between_pages_does_not_start_again(number: str) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        if "page" in request.url.params:
            return httpx.Response(403, json=outcome(number, severity="fatal"))
        one = {"resourceType": "Condition", "id": "c1"}
        return page(one, asked=request.url, next_=f"{BASE}/Condition?page=2")

    replay = Replay("epic", answer)
    found = await replay.search("Condition", patient="p1")
    assert found.reason == "BREAK_THE_GLASS"
    assert len(replay.asked) == 2


async def test_epic_break_the_glass_within_a_page_is_a_gap() -> None:
    replay = Replay("epic", lambda request: page(outcome("4130"), asked=request.url))
    assert (await replay.search("Condition")).reason == "BREAK_THE_GLASS"


async def test_epic_charts_are_never_complete_for_observation() -> None:
    """Through the crawl: what is found is given, and silence about Observation proves nothing."""

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/Patient/p1"):
            return httpx.Response(200, json={"resourceType": "Patient", "id": "p1"})
        found = [observation("o1")] if request.url.params.get("category") == "laboratory" else []
        return page(*found, asked=request.url)

    replay = Replay("epic", answer)
    given: list[str] = []
    with respx.mock() as server:
        server.route(url__startswith=BASE).mock(side_effect=replay)
        async with FhirClient(BASE, patience=QUICK) as client:
            report = await crawl(
                client, CandidateQuery(), lambda kind, raw: given.append(kind), patients=["p1"]
            )
    assert sorted(given) == ["Observation", "Patient"]
    assert not is_covered(report.coverage, "Observation", "p1", None, None)


# --- Oracle Health --------------------------------------------------------------------------------------


async def test_oracle_repeats_entries_across_pages() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        if "page" in request.url.params:
            return page(observation("o2"), observation("o3"), asked=request.url)
        following = f"{BASE}/Observation?page=2"
        return page(observation("o1"), observation("o2"), asked=request.url, next_=following)

    found = await Replay("oracle", answer).search()
    assert [entry.id for entry in found.entries] == ["o1", "o2", "o3"]
    assert found.complete


async def test_oracle_takes_json_alone_and_says_nothing_otherwise() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        if request.headers["accept"] != "application/fhir+json":
            return httpx.Response(406)
        return page(observation("o1"), asked=request.url)

    assert (await Replay("oracle", answer).search()).complete
    with pytest.raises(SourceRefused, match="HTTP 406"):
        await Replay("oracle", lambda request: httpx.Response(406)).search()


def test_oracle_is_told_apart_by_those_who_write() -> None:
    oracle = named("oracle")
    assert oracle is not None
    assert not oracle.modifier_extension
    assert oracle.exports == ("Group",)


# --- Azure, GCP, Medplum, HAPI, sekmet ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "count"), [("azure", 1000), ("medplum", 1000), ("hapi", 200), ("oracle", 200)]
)
async def test_pages_are_as_large_as_the_make_allows(make: str, count: int) -> None:
    """Azure answers at most 1000 a page; Medplum 20 unless asked, at most 1000."""
    replay = Replay(make, lambda request: page(observation("o1"), asked=request.url))
    await replay.search()
    assert replay.asked[0].params["_count"] == str(count)


def test_azure_bundles_hold_500() -> None:
    azure = named("azure")
    assert azure is not None
    assert azure.entries == 500


@pytest.mark.parametrize(("make", "reason"), [("gcp", ""), ("hapi", "TOTAL_CHANGED")])
async def test_a_total_that_changes_is_an_estimate_on_gcp_alone(make: str, reason: str) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        if "page" in request.url.params:
            return page(observation("o2"), asked=request.url, total=2)
        return page(observation("o1"), asked=request.url, next_=f"{BASE}/Observation?page=2", total=17)

    assert (await Replay(make, answer).search()).reason == reason


async def test_the_last_total_of_gcp_is_exact() -> None:
    found = await Replay("gcp", lambda request: page(observation("o1"), asked=request.url, total=3)).search()
    assert found.reason == "COUNT_MISMATCH"


async def test_medplum_asks_to_wait_and_is_waited_for() -> None:
    answers = [httpx.Response(429, headers={"Retry-After": "0", "RateLimit": '"requests";r=0;t=1'})]

    def answer(request: httpx.Request) -> httpx.Response:
        return answers.pop() if answers else page(observation("o1"), asked=request.url)

    assert (await Replay("medplum", answer).search()).complete


async def test_hapi_forgets_a_page_and_the_search_starts_again() -> None:
    answers = ["next", "gone", "next", "last"]

    def answer(request: httpx.Request) -> httpx.Response:
        now = answers.pop(0)
        if now == "gone":
            return httpx.Response(410, json=outcome(severity="error"))
        following = f"{BASE}?_getpages=1" if now == "next" else ""
        return page(observation("o1" if now == "next" else "o2"), asked=request.url, next_=following)

    found = await Replay("hapi", answer).search()
    assert [entry.id for entry in found.entries] == ["o1", "o2"]
    assert found.complete


async def test_sekmet_answers_an_unknown_parameter_with_everything() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        remark = {"severity": "warning", "code": "not-supported"}
        said = {"resourceType": "OperationOutcome", "issue": [remark]}
        return page(observation("o1"), observation("o2"), said, asked=httpx.URL(f"{BASE}/Observation"))

    found = await Replay("sekmet", answer).search()
    assert found.reason == "IGNORED_PARAMETER"
