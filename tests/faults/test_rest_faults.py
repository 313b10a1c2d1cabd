"""Faults a real server will not give on demand: what each one costs, and that nobody else gets the token.

Expected behaviour: FHIR R4 http.html and search.html, RFC 9110 (Retry-After, redirects), and the rule of this
project that a partial answer is marked and never read as absence.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import respx

from adapter.errors import AdapterError, ConfigError, SourceRefused, SourceUnavailable, SourceUntrustworthy
from adapter.model.candidates import CandidateQuery
from adapter.model.coverage import is_covered
from adapter.source.auth.token import FileToken, FixedToken
from adapter.source.client import FhirClient, Patience, capabilities
from adapter.source.crawl import BY_PATIENT, CrawlReport, crawl
from adapter.source.search import Found, search

BASE = "https://ehr.example/fhir"
QUICK = Patience(attempts=3, wait_initial=0.001, max_wait=0.05, total=2.0, max_bytes=200_000)
TOKEN = "s3cret-token"


def observation(number: int, patient: str = "p1", version: str = "1") -> dict[str, Any]:
    return {
        "resourceType": "Observation",
        "id": f"o{number}",
        "meta": {"versionId": version},
        "subject": {"reference": f"Patient/{patient}"},
    }


def page(
    *resources: dict[str, Any], self_: str = f"{BASE}/Observation?patient=Patient/p1", **more: Any
) -> dict[str, Any]:
    links = [{"relation": "self", "url": self_}] if self_ else []
    links += [{"relation": "next", "url": more.pop("next")}] if "next" in more else []
    entries = [{"resource": resource, "search": {"mode": "match"}} for resource in resources]
    return {"resourceType": "Bundle", "type": "searchset", "link": links, "entry": entries, **more}


def outcome(severity: str, code: str = "not-supported") -> dict[str, Any]:
    issue = {"severity": severity, "code": code, "diagnostics": "Zhang San p1"}
    return {"resourceType": "OperationOutcome", "issue": [issue]}


def ok(body: dict[str, Any]) -> httpx.Response:
    return httpx.Response(200, json=body, headers={"Content-Type": "application/fhir+json"})


async def found(*answers: httpx.Response | Exception, patience: Patience = QUICK) -> Found:
    """The result of searching p1's Observations on a server that gives these answers in turn."""
    with respx.mock() as server:
        server.get(url__startswith=BASE).mock(side_effect=list(answers))
        async with FhirClient(BASE, FixedToken(TOKEN.encode()), patience=patience) as client:
            result = await search(client, "Observation", {"patient": "Patient/p1"})
        assert len(server.calls) == len(answers)
        return result


GOOD = ok(page(observation(1)))


@pytest.mark.parametrize(
    "fault",
    [
        httpx.Response(500),
        httpx.Response(502, text="<html>"),
        httpx.Response(503, headers={"Retry-After": "0"}),
        httpx.Response(504),
        httpx.Response(429),
        httpx.Response(429, headers={"Retry-After": "Thu, 01 Jan 2015 00:00:00 GMT"}),
        httpx.Response(429, headers={"Retry-After": "soon"}),
        httpx.ConnectError("refused"),
        httpx.ConnectTimeout("slow"),
        httpx.ReadTimeout("slow"),
        httpx.ReadError("reset"),
        httpx.RemoteProtocolError("closed"),
        httpx.Response(200, content=json.dumps(page(observation(1))).encode()[:-9]),
        httpx.Response(200, content=b""),
    ],
    ids=lambda fault: f"{type(fault).__name__} {getattr(fault, 'status_code', '')}",
)
async def test_passing_faults_are_retried(fault: httpx.Response | Exception) -> None:
    result = await found(fault, fault, GOOD)
    assert [entry.id for entry in result.entries] == ["o1"]
    assert result.complete


async def test_a_fault_that_stays_is_unavailable_and_names_no_patient() -> None:
    with pytest.raises(SourceUnavailable) as caught:
        await found(httpx.Response(503), httpx.Response(503), httpx.Response(503))
    assert caught.value.exit_code == 75
    assert "p1" not in str(caught.value)
    assert str(caught.value).startswith("Observation search, page 1: HTTP 503")


@pytest.mark.parametrize("asked", ["86400", "9" * 400, "Fri, 31 Dec 2999 23:59:59 GMT"])
async def test_an_absurd_retry_after_is_not_waited_for(asked: str) -> None:
    with pytest.raises(SourceUnavailable):
        await asyncio.wait_for(found(httpx.Response(429, headers={"Retry-After": asked})), 5)


async def test_a_retry_after_within_bounds_is_waited_for() -> None:
    patient = Patience(attempts=2, wait_initial=0.001, max_wait=2.0)
    started = asyncio.get_running_loop().time()
    await found(httpx.Response(429, headers={"Retry-After": "1"}), GOOD, patience=patient)
    assert asyncio.get_running_loop().time() - started >= 1.0


@pytest.mark.parametrize("status", [400, 403, 404, 410, 422])
async def test_a_refusal_is_not_retried(status: int) -> None:
    with pytest.raises(SourceRefused, match=f"HTTP {status}"):
        await found(httpx.Response(status, json=outcome("error")))


HTML = "<!DOCTYPE html><title>Sign in</title>"


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(200, text=HTML, headers={"Content-Type": "text/html"}),
        httpx.Response(200, text=HTML, headers={"Content-Type": "application/fhir+json"}),
        httpx.Response(200, text="<Bundle xmlns='http://hl7.org/fhir'/>"),
        httpx.Response(200, json={"resourceType": "Patient"}),
        httpx.Response(200, json=[1]),
        httpx.Response(200, content=b"[" * 100_000),
        httpx.Response(200, content=gzip.compress(b" " * 30_000_000), headers={"Content-Encoding": "gzip"}),
    ],
    ids=["HTML", "HTML said to be FHIR", "XML", "no Bundle", "no object", "nested", "gzip bomb"],
)
async def test_an_answer_that_cannot_be_right_stops_the_read(answer: httpx.Response) -> None:
    with pytest.raises(SourceUntrustworthy):
        await found(answer)


async def test_an_operation_outcome_at_200_is_a_refusal_without_its_text() -> None:
    with pytest.raises(SourceRefused, match=r"OperationOutcome \(forbidden\)") as caught:
        await found(ok(outcome("error", "forbidden")))
    assert "Zhang" not in str(caught.value)


NEXT = f"{BASE}?_getpages=abc"


@pytest.mark.parametrize(
    ("answers", "ids", "codes"),
    [
        ([page(observation(1), next=NEXT), page(observation(2))], ["o1", "o2"], []),
        ([page(observation(1), next="?page=2"), page(observation(2))], ["o1", "o2"], []),
        ([page(observation(1), next=NEXT), page(observation(1), observation(2))], ["o1", "o2"], []),
        (
            [page(observation(1), next=NEXT), page(observation(1, version="2"))],
            ["o1", "o1"],
            [],
        ),
        ([page(observation(1), next=NEXT), page(observation(2), next=NEXT)], ["o1", "o2"], ["PAGING_LOOP"]),
        (
            [page(observation(1), total=3, next=NEXT), page(observation(2), total=3)],
            ["o1", "o2"],
            ["COUNT_MISMATCH"],
        ),
        (
            [page(observation(1), total=2, next=NEXT), page(observation(2), total=5)],
            ["o1", "o2"],
            ["TOTAL_CHANGED"],
        ),
        ([page(total=0)], [], []),
        ([page(observation(1), outcome("warning"))], ["o1"], ["SEARCH_OUTCOME"]),
        ([page(observation(1), outcome("error"))], ["o1"], ["SEARCH_OUTCOME"]),
        ([page(observation(1), {"id": 7})], ["o1"], ["MALFORMED_ENTRY"]),
        ([page(observation(1), self_="")], ["o1"], ["SELF_LINK_MISSING"]),
        (
            [page(observation(1), self_=f"{BASE}/Observation?_count=200", next=NEXT)],
            ["o1"],
            ["IGNORED_PARAMETER"],
        ),
        (
            [page(observation(1), self_=f"{BASE}/Observation?patient=p2")],
            ["o1"],
            ["IGNORED_PARAMETER"],
        ),
        ([page(observation(1), self_=f"{BASE}/Observation?patient=p1&_count=20")], ["o1"], []),
    ],
    ids=[
        "two pages",
        "relative next",
        "a page repeated in part",
        "two versions",
        "paging loop",
        "fewer than the total",
        "the total changes",
        "nothing",
        "a remark",
        "an error among the entries",
        "an entry that is no resource",
        "no self link",
        "parameter ignored: no further page is read",
        "parameter changed",
        "parameter normalised",
    ],
)
async def test_pages(answers: list[dict[str, Any]], ids: list[str], codes: list[str]) -> None:
    result = await found(*map(ok, answers))
    assert [entry.id for entry in result.entries] == ids
    assert [issue.code for issue in result.issues] == codes
    assert result.complete == all(issue.severity != "error" for issue in result.issues)
    assert "Zhang" not in str(result.issues)


async def test_an_expired_paging_session_starts_again_once() -> None:
    first, gone = ok(page(observation(1), next=NEXT)), httpx.Response(410)
    result = await found(first, gone, first, ok(page(observation(2))))
    assert [entry.id for entry in result.entries] == ["o1", "o2"]
    assert result.complete
    result = await found(first, gone, first, gone)
    assert (result.reason, [entry.id for entry in result.entries]) == ("PAGING_EXPIRED", ["o1"])


FOREIGN = [
    "https://ehr.example.evil.test/fhir?page=2",
    "https://ehr.example@evil.test/fhir?page=2",
    "https://evil.test/https://ehr.example/fhir",
    "http://ehr.example/fhir?page=2",
    "https://ehr.example:8443/fhir?page=2",
    "//evil.test/fhir",
    "http://169.254.169.254/latest/meta-data",
    "http://localhost/fhir",
    "file:///etc/passwd",
    "https://user:pw@ehr.example/fhir?page=2",
]


@pytest.mark.parametrize("link", FOREIGN)
@pytest.mark.parametrize("how", ["next", "redirect"])
async def test_no_link_leads_elsewhere(link: str, how: str) -> None:
    redirect = httpx.Response(307, headers={"Location": link})
    first = redirect if how == "redirect" else ok(page(observation(1), next=link))
    with respx.mock(assert_all_called=False) as server:
        ours = server.get(url__startswith=f"{BASE}/Observation").mock(return_value=first)
        theirs = server.route().mock(return_value=ok(page(observation(2))))
        async with FhirClient(BASE, FixedToken(TOKEN.encode()), patience=QUICK) as client:
            with pytest.raises(SourceUntrustworthy) as caught:
                await search(client, "Observation", {"patient": "Patient/p1"})
        assert ours.called
        assert not theirs.called
    assert link not in str(caught.value)


async def test_a_next_link_that_is_no_url_stops_the_read() -> None:
    with pytest.raises(SourceUntrustworthy, match="no URL"):
        await found(ok(page(observation(1), next="https://[::1")))


async def test_the_token_goes_with_each_request_and_is_renewed_once() -> None:
    asked: list[bool] = []

    async def token(*, renew: bool = False) -> str:
        asked.append(renew)
        return f"{TOKEN}-{len(asked)}"

    with respx.mock() as server:
        route = server.get(url__startswith=BASE).mock(
            side_effect=[
                ok(page(observation(1), next=NEXT)),
                httpx.Response(401),
                httpx.Response(302, headers={"Location": f"{BASE}/here"}),
                ok(page(observation(2))),
            ]
        )
        async with FhirClient(BASE, token, patience=QUICK) as client:
            result = await search(client, "Observation", {"patient": "Patient/p1"})
        sent = [call.request.headers["Authorization"] for call in route.calls]
    assert result.complete
    assert asked == [False, False, True, False]  # the redirect after it is not another refusal
    assert sent == [f"Bearer {TOKEN}-{number}" for number in (1, 2, 3, 4)]


@pytest.mark.parametrize("token", [FixedToken(TOKEN.encode()), None])
async def test_a_token_not_accepted_ends_the_run(token: FixedToken | None) -> None:
    with respx.mock() as server:
        server.get(url__startswith=BASE).mock(return_value=httpx.Response(401))
        async with FhirClient(BASE, token, patience=QUICK) as client:
            with pytest.raises(ConfigError, match="ADAPTER_TOKEN_FILE"):
                await crawl(client, QUERY, lambda kind, raw: None)


async def test_a_token_file_is_read_at_every_use(tmp_path: Path) -> None:
    path = tmp_path / "token"
    source = FileToken(path)
    for content in ("one\n", "two"):
        path.write_text(content)
        assert await source() == content.strip()
    path.write_text("two words")
    with pytest.raises(ConfigError, match="not one token"):
        await source()
    assert TOKEN not in repr(FixedToken(TOKEN.encode()))


@asynccontextmanager
async def raw_server(
    answer: Callable[[asyncio.StreamWriter], Any],
) -> AsyncIterator[str]:
    """A TCP server that reads a request head and answers as told; for faults below HTTP."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            await answer(writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            return
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/fhir"
    finally:
        server.close()


async def _drip(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/fhir+json\r\n\r\n{")
    while True:
        writer.write(b" ")
        await writer.drain()
        await asyncio.sleep(0.02)


async def _reset(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{")
    await writer.drain()
    writer.transport.abort()


async def _cut(writer: asyncio.StreamWriter) -> None:
    writer.write(b'HTTP/1.1 200 OK\r\n\r\n{"resourceType":"Bundle","entry":[{"resource":{"resou')
    await writer.drain()


@pytest.mark.parametrize("answer", [_drip, _reset, _cut], ids=["slow-loris", "reset", "cut without length"])
async def test_faults_below_http_end_in_time(answer: Callable[[asyncio.StreamWriter], Any]) -> None:
    patience = Patience(attempts=2, wait_initial=0.001, max_wait=0.01, total=0.3)
    async with raw_server(answer) as base, FhirClient(base, patience=patience) as client:
        with pytest.raises(SourceUnavailable):
            await asyncio.wait_for(search(client, "Observation", {"patient": "Patient/p1"}), 5)


# --- one patient, one server, one thing wrong -------------------------------------------------------------

QUERY = CandidateQuery(codes=frozenset({"77182004"}), resource_types=frozenset({"Condition"}))
MN = {
    "resourceType": "Condition",
    "id": "c1",
    "code": {"coding": [{"code": "77182004"}]},
    "subject": {"reference": "Patient/p1"},
}


class Hospital:
    """A small server: p1 has membranous nephropathy; ``wrong`` answers some searches in its own way."""

    def __init__(self, **wrong: Callable[[httpx.Request], httpx.Response]) -> None:
        self.wrong = wrong

    def __call__(self, request: httpx.Request) -> httpx.Response:
        kind, _, name = request.url.path.removeprefix("/fhir/").partition("/")
        if kind in self.wrong:
            return self.wrong[kind](request)
        if kind == "metadata":
            return ok({"resourceType": "CapabilityStatement", "rest": []})
        if name:
            return ok({"resourceType": kind, "id": name})
        rows = {"Condition": [MN], "Observation": [observation(1)]}.get(kind, [])
        return ok(page(*rows, self_=str(request.url)))


async def crawled(hospital: Hospital) -> tuple[CrawlReport, list[tuple[str, str]]]:
    came: list[tuple[str, str]] = []
    with respx.mock() as server:
        server.get(url__startswith=BASE).mock(side_effect=hospital)
        async with FhirClient(BASE, patience=QUICK) as client:
            report = await crawl(client, QUERY, lambda kind, raw: came.append((kind, json.loads(raw)["id"])))
    return report, came


async def test_a_whole_crawl_covers_every_type() -> None:
    report, came = await crawled(Hospital(metadata=lambda request: httpx.Response(404)))
    assert report.candidates == ("p1",)
    assert came == [("Patient", "p1"), ("Condition", "c1"), ("Observation", "o1")]
    assert all(is_covered(report.coverage, kind, "p1", None, None) for kind in ("Patient", *BY_PATIENT))
    assert report.issues == ()


def ignoring(request: httpx.Request) -> httpx.Response:
    everyone = [observation(1), observation(2, "p2"), observation(3, "p3")]
    return ok(page(*everyone, self_=f"{BASE}/Observation", next=NEXT))


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (lambda request: httpx.Response(403), "HTTP 403"),
        (lambda request: httpx.Response(404), "HTTP 404"),
        (lambda request: httpx.Response(503), "HTTP 503"),
        (
            lambda request: ok(outcome("error")),
            "HTTP 200, OperationOutcome (not-supported) instead of a Bundle",
        ),
        (ignoring, "IGNORED_PARAMETER"),
    ],
    ids=["forbidden", "not found", "down", "OperationOutcome", "parameter ignored"],
)
async def test_one_type_costs_its_coverage_and_not_the_run(
    answer: Callable[[httpx.Request], httpx.Response], reason: str
) -> None:
    report, came = await crawled(Hospital(Observation=answer))
    rows = {row.resource_type: row for row in report.coverage if row.subject == "p1"}
    assert (rows["Observation"].complete, rows["Observation"].reason) == (False, reason)
    assert all(row.complete for kind, row in rows.items() if kind != "Observation")
    assert rows.keys() == {"Patient", *BY_PATIENT}
    assert ("Condition", "c1") in came
    assert not {name for _, name in came} & {"o2", "o3"}
    assert report.issues


async def test_an_unsupported_type_is_not_asked_for_and_not_covered() -> None:
    kinds = [{"type": kind} for kind in BY_PATIENT if kind != "Consent"]
    statement = {"resourceType": "CapabilityStatement", "rest": [{"mode": "server", "resource": kinds}]}

    def never(request: httpx.Request) -> httpx.Response:
        raise AssertionError("asked for a type the server does not have")

    report, _ = await crawled(Hospital(metadata=lambda request: ok(statement), Consent=never))
    assert not is_covered(report.coverage, "Consent", "p1", None, None)


async def test_what_is_missing_of_a_merged_record_is_missing_of_the_person() -> None:
    patient = {"resourceType": "Patient", "id": "p1", "link": [{"other": {"reference": "Patient/p0"}}]}

    def people(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/p0"):
            return httpx.Response(404)
        return ok(patient) if request.url.path.endswith("/p1") else ok(page(self_=str(request.url)))

    report, _ = await crawled(Hospital(Patient=people))
    assert report.candidates == ("p0", "p1")
    assert not is_covered(report.coverage, "Patient", "p1", None, None)
    assert is_covered(report.coverage, "Observation", "p1", None, None)


async def test_nobody_found_because_nobody_could_search_is_no_answer() -> None:
    with pytest.raises(SourceRefused, match="nobody found is not nobody there"):
        await crawled(Hospital(Condition=lambda request: httpx.Response(403)))


async def test_a_server_that_goes_down_ends_the_crawl() -> None:
    down = dict.fromkeys(BY_PATIENT.keys() - {"Condition"}, lambda request: httpx.Response(503))
    with pytest.raises(SourceUnavailable):
        await crawled(Hospital(**down))


async def test_medications_are_read_once_and_only_from_this_server() -> None:
    def orders(request: httpx.Request) -> httpx.Response:
        references = ["Medication/m1", "Medication/m1", "https://evil.test/Medication/m2", "Medication/m3"]
        made = [
            {
                "resourceType": "MedicationRequest",
                "id": f"r{number}",
                "subject": {"reference": "Patient/p1"},
                "medicationReference": {"reference": reference},
            }
            for number, reference in enumerate(references)
        ]
        return ok(page(*made, self_=str(request.url)))

    def medication(request: httpx.Request) -> httpx.Response:
        name = request.url.path.rpartition("/")[2]
        return ok({"resourceType": "Medication", "id": name}) if name == "m1" else httpx.Response(404)

    report, came = await crawled(Hospital(MedicationRequest=orders, Medication=medication))
    assert [name for kind, name in came if kind == "Medication"] == ["m1"]
    assert [(issue.code, issue.reference) for issue in report.issues] == [
        ("REFERENCE_UNREAD", "Medication/m3")
    ]
    (row,) = [one for one in report.coverage if one.resource_type == "Medication"]
    assert (row.complete, row.subject, row.reason[:21]) == (False, "", "of those referred to:")


async def test_no_capability_statement_is_no_fhir_server() -> None:
    with respx.mock() as server:
        server.get(f"{BASE}/metadata").mock(return_value=ok({"resourceType": "Basic"}))
        async with FhirClient(BASE, patience=QUICK) as client:
            with pytest.raises(SourceUntrustworthy, match="CapabilityStatement"):
                await capabilities(client)


@pytest.mark.parametrize(
    "base", ["ehr.example/fhir", "ftp://ehr.example", "https://u:p@ehr.example/fhir", "https://"]
)
def test_a_base_url_that_is_none_is_a_mistake(base: str) -> None:
    with pytest.raises(ConfigError, match="base URL"):
        FhirClient(base)


async def test_retries_do_not_log_what_was_asked(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        await found(httpx.Response(503), httpx.ReadTimeout("Patient/p1"), GOOD)
        with pytest.raises(AdapterError):
            await found(*[httpx.ReadTimeout("Patient/p1")] * 3)
    assert "p1" not in caplog.text
    assert TOKEN not in caplog.text
