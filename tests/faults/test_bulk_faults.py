"""Bulk exports on bad days: a row for each fault, what it costs, and that no part is taken for the whole.

Expected behaviour: Bulk Data Access IG 2.0.0 and its continuous build; RFC 9110 (Retry-After, Range,
redirects); and the rule of this project that a partial answer is marked and never read as absence.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from adapter.errors import (
    AdapterError,
    ConfigError,
    Retriable,
    SourceRefused,
    SourceUnavailable,
    SourceUntrustworthy,
)
from adapter.origins import Origins
from adapter.source.auth.scopes import Scopes
from adapter.source.bulk import BulkExport, Manners
from adapter.source.bulk_download import Care
from adapter.source.bulk_http import BulkConnection
from adapter.source.bulk_request import ExportRequest
from adapter.source.bulk_status import ExportPending, Pace, Step
from adapter.source.client import FhirClient, Patience
from adapter.source.landing import Landing
from adapter.source.ndjson import Limits
from tests.servers.bulk import (
    OBSERVATIONS,
    PATIENTS,
    TOKEN,
    Answer,
    Exports,
    Request,
    Server,
    deletions,
    ndjson,
    observation,
    outcome,
    patient,
    zipped,
)

NOW = datetime(2026, 11, 22, 8, tzinfo=UTC)
TYPES = ("Observation", "Patient", "Procedure")
QUICK = Manners(
    pace=Pace(first=0.001, longest=0.01, longest_asked=0.05, faults=4),
    care=Care(connections=3, attempts=3, first=0.001, longest=0.01, longest_asked=0.05),
    limits=Limits(max_ratio=50, ratio_after=2**16),
)
# long: a machine that is busy must not look like a server that is slow
PATIENCE = Patience(attempts=3, wait_initial=0.001, max_wait=0.05, total=20, read=20, max_bytes=2**20)
SHORT = msgspec.structs.replace(PATIENCE, total=0.5, read=0.5)


class Renewed:
    """A token source that counts how often it was asked for another token."""

    def __init__(self, *tokens: str) -> None:
        self.tokens = list(tokens)
        self.renewals = 0
        self.scopes: Scopes | None = None

    async def __call__(self, *, renew: bool = False) -> str:
        if renew:
            self.renewals += 1
            self.tokens = self.tokens[1:] or self.tokens
        return self.tokens[0]


class Run:
    """One export into one folder, as often as a test likes."""

    def __init__(self, server: Exports, folder: Path) -> None:
        self.server = server
        self.folder = folder
        self.steps: list[Step] = []
        self.token = Renewed(TOKEN)
        self.manners = QUICK
        self.patience = PATIENCE
        self.listed: tuple[str, ...] = ()
        self.request = ExportRequest(TYPES)

    async def __call__(self, *, base: Landing | None = None) -> Landing:
        origins = Origins(self.server.base, self.listed)
        async with (
            FhirClient(self.server.base, self.token, origins=origins) as client,
            BulkConnection(client, self.token, patience=self.patience) as bulk,
        ):
            export = BulkExport(
                bulk, self.request, self.folder / "bulk", manners=self.manners, told=self.steps.append
            )
            return await export.run(self.folder / "landing", now=NOW, base=base)

    @property
    def said(self) -> str:
        return " | ".join(step.text for step in self.steps if step.text)


@pytest.fixture
def server() -> Iterator[Exports]:
    with Exports().running() as running:
        assert isinstance(running, Exports)
        yield running


@pytest.fixture
def run(server: Exports, tmp_path: Path) -> Run:
    return Run(server, tmp_path)


def ids(landing: Landing) -> list[str]:
    return sorted(f"{one.resource_type}/{json.loads(one.line)['id']}" for one in landing.resources())


def silence(landing: Landing) -> dict[str, bool]:
    """Type to whether silence is absence there."""
    return {row.resource_type: row.complete for row in landing.coverage}


def codes(landing: Landing) -> set[str]:
    return {issue.code for issue in landing.issues}


EVERYTHING = ["Observation/o1", "Observation/o2", "Observation/o3", "Patient/p1", "Patient/p2"]
WHOLE = {"Observation": True, "Patient": True, "Procedure": True}
STATUS = "/fhir/status/1"
FILE = "/files/2.ndjson"


async def test_a_good_day(run: Run) -> None:
    """A type that was asked for and has no file is absent; the job is deleted and leaves nothing behind."""
    landing = await run()
    assert ids(landing) == EVERYTHING
    assert silence(landing) == WHOLE
    assert landing.issues == ()
    assert landing.manifest.asked["transaction_time"] == "2026-11-01T08:00:00+08:00"
    assert len(run.server.asked("DELETE", STATUS)) == 1
    assert not (run.folder / "bulk").exists()


# --- kick-off -------------------------------------------------------------------------------------------


async def test_kick_off_by_get_asks_as_the_specification_says(run: Run) -> None:
    run.request = ExportRequest(TYPES, level="Group", group="g1", type_filters=("Observation?status=final",))
    landing = await run()
    asked = run.server.requests[0]
    assert (asked.method, asked.path) == ("GET", "/fhir/Group/g1/$export")
    assert asked.query == {
        "_outputFormat": ["application/fhir+ndjson"],
        "_type": ["Observation,Patient,Procedure"],
        "_typeFilter": ["Observation?status=final"],
    }
    assert asked.headers["prefer"] == "respond-async"
    assert asked.headers["accept"] == "application/fhir+json"
    assert silence(landing) == dict.fromkeys(WHOLE, False), "a filter leaves out what nobody counted"


@pytest.mark.parametrize("status", [400, 404, 405, 501])
async def test_kick_off_by_post_where_get_is_not_known(run: Run, status: int) -> None:
    """Version 4 knows POST alone."""
    run.server.on("GET", "/fhir/Patient/$export", Answer(status))
    assert ids(await run()) == EVERYTHING
    [asked] = run.server.asked("POST", "/fhir/Patient/$export")
    assert asked.headers["content-type"] == "application/fhir+json"
    assert json.loads(asked.body) == {
        "resourceType": "Parameters",
        "parameter": [
            {"name": "_outputFormat", "valueString": "application/fhir+ndjson"},
            {"name": "_type", "valueString": "Observation"},
            {"name": "_type", "valueString": "Patient"},
            {"name": "_type", "valueString": "Procedure"},
        ],
    }


@pytest.mark.parametrize(
    ("answer", "fault"),
    [
        (Answer(403), SourceRefused),
        (Answer(404), SourceRefused),
        (Answer(422, json.dumps(outcome("error", "not-supported")).encode()), SourceRefused),
        (Answer(500, json.dumps(outcome("error", "exception")).encode()), SourceRefused),
        (Answer(202), SourceRefused),  # says not where the status is
        (Answer(429), SourceUnavailable),
        (Answer(503), SourceUnavailable),
        (Answer(401), ConfigError),
        (Answer(202, headers={"Content-Location": "http://169.254.169.254/x"}), SourceUntrustworthy),
        (Answer(307, headers={"Location": "http://elsewhere.example/$export"}), SourceUntrustworthy),
    ],
    ids=lambda one: getattr(one, "__name__", None) or str(one.status),
)
async def test_what_a_refused_kick_off_is(run: Run, answer: Answer, fault: type[AdapterError]) -> None:
    run.server.on("GET", "/fhir/Patient/$export", answer)
    run.server.on("POST", "/fhir/Patient/$export", answer)
    with pytest.raises(fault) as caught:
        await run()
    assert "Zhang San" not in str(caught.value)
    assert TOKEN not in str(caught.value)
    assert not (run.folder / "landing").exists()


async def test_an_export_without_patients_is_none(run: Run) -> None:
    del run.server.files["1.ndjson"]
    with pytest.raises(SourceRefused, match="no patients"):
        await run()
    assert len(run.server.asked("DELETE", STATUS)) == 1


# --- status ---------------------------------------------------------------------------------------------

SOON = format_datetime(datetime.now(UTC), usegmt=True)
NOT_YET: dict[str, Answer] = {
    "seconds": Answer(202, headers={"Retry-After": "0", "X-Progress": "45% done"}),
    "an HTTP date": Answer(202, headers={"Retry-After": SOON}),
    "absurd seconds": Answer(202, headers={"Retry-After": "9" * 300}),
    "an absurd date": Answer(202, headers={"Retry-After": "Fri, 31 Dec 2999 23:59:59 GMT"}),
    "no word of when": Answer(202),
    "a word that is none": Answer(202, headers={"Retry-After": "soon"}),
    "429 with seconds": Answer(429, headers={"Retry-After": "0"}),
    "429 without": Answer(429),
    "500 of a gateway": Answer(500, b"<html>"),
    "502": Answer(502),
    "503 with a date": Answer(503, headers={"Retry-After": SOON}),
    "504": Answer(504),
    "a transient outcome": Answer(503, json.dumps(outcome("error", "transient")).encode()),
    "a connection cut": Answer(202, b"x" * 100, cut=10),
    "no answer in time": Answer(202, b"x" * 100, drip=0.1),
}


@pytest.mark.parametrize("answer", NOT_YET.values(), ids=NOT_YET.keys())
async def test_waiting(run: Run, answer: Answer) -> None:
    run.patience = SHORT if answer.drip else PATIENCE
    run.server.on("GET", STATUS, answer, answer, lambda _: run.server.ready())
    started = time.monotonic()
    assert ids(await run()) == EVERYTHING
    assert time.monotonic() - started < 5
    assert len(run.server.asked("GET", STATUS)) == 3


async def test_progress_is_shown_and_harmless(run: Run) -> None:
    said = "30% \x1b[2Jdone" + "x" * 500
    run.server.on("GET", STATUS, Answer(202, headers={"X-Progress": said}), lambda _: run.server.ready())
    await run()
    [shown] = [step for step in run.steps if step.phase == "waiting"]
    assert (shown.done, shown.of) == (30, 100)
    assert "\x1b" not in shown.text
    assert len(shown.text) <= 80


async def test_an_export_that_takes_days_is_picked_up(run: Run) -> None:
    """The run ends with "try again later"; the next one asks the same job, not for another export."""
    run.server.on("GET", STATUS, Answer(202))
    run.manners = Manners(pace=Pace(first=0.001, longest=0.01, wait=0.05), care=QUICK.care)
    with pytest.raises(ExportPending) as caught:
        await run()
    assert caught.value.exit_code == 75
    run.server.on("GET", STATUS, lambda _: run.server.ready())
    assert ids(await run()) == EVERYTHING
    assert run.server.jobs == 1


FAILED: dict[str, tuple[Answer, type[AdapterError]]] = {
    "an outcome with 500": (Answer(500, json.dumps(outcome("fatal", "exception")).encode()), SourceRefused),
    "an outcome with 200": (Answer(200, json.dumps(outcome("error", "processing")).encode()), SourceRefused),
    "403": (Answer(403), SourceRefused),
    "a login page": (Answer(200, b"<!DOCTYPE html><title>Sign in"), SourceUntrustworthy),
    "something else": (Answer(200, b'{"resourceType": "Patient"}'), SourceUntrustworthy),
    "too many bytes": (Answer(200, b" " * 2**21), SourceUntrustworthy),
    "no answer, again and again": (Answer(503), SourceUnavailable),
}


@pytest.mark.parametrize(("answer", "fault"), FAILED.values(), ids=FAILED.keys())
async def test_an_export_that_fails(run: Run, answer: Answer, fault: type[AdapterError]) -> None:
    run.server.on("GET", STATUS, answer)
    with pytest.raises(fault) as caught:
        await run()
    assert "Zhang" not in str(caught.value)
    assert not (run.folder / "landing").exists()


async def test_a_job_the_server_deleted_is_started_again_and_told(run: Run) -> None:
    run.server.on("GET", STATUS, Answer(202), Answer(404))
    landing = await run()
    assert ids(landing) == EVERYTHING
    assert run.server.jobs == 2
    assert codes(landing) == {"EXPORT_RESTARTED"}
    assert silence(landing) == WHOLE
    assert "forgotten" in run.said


async def test_a_server_that_always_forgets_is_not_asked_for_ever(run: Run) -> None:
    for number in range(1, 9):
        run.server.on("GET", f"/fhir/status/{number}", Answer(404))
    with pytest.raises(SourceUnavailable, match="3 times"):
        await run()
    assert run.server.jobs == 3


# --- manifest -------------------------------------------------------------------------------------------


async def test_a_manifest_of_many_pages(run: Run) -> None:
    server = run.server
    link = [{"relation": "next", "url": f"{server.base}/status/1/page/2"}]
    server.on("GET", STATUS, lambda _: server.ready(names=["1.ndjson"], link=link))
    server.on("GET", "/fhir/status/1/page/2", lambda _: server.ready(names=["2.ndjson"]))
    landing = await run()
    assert ids(landing) == EVERYTHING
    assert silence(landing) == WHOLE


@pytest.mark.parametrize(
    "target", ["/fhir/status/1", "http://169.254.169.254/latest", "http://evil.example/x"]
)
async def test_a_manifest_whose_pages_lead_astray(run: Run, target: str) -> None:
    url = run.server.root + target if target.startswith("/") else target
    run.server.on("GET", STATUS, lambda _: run.server.ready(link=[{"relation": "next", "url": url}]))
    with pytest.raises(SourceUntrustworthy):
        await run()


@pytest.mark.parametrize("key", ["error", "outcome"])
@pytest.mark.parametrize(
    ("severity", "complete"), [("information", True), ("warning", True), ("error", False), ("fatal", False)]
)
async def test_what_the_export_says_of_itself_is_read(
    run: Run, key: str, severity: str, complete: bool
) -> None:
    said = [outcome(severity, "processing"), outcome(severity, "processing")]
    run.server.files["e.ndjson"] = ("OperationOutcome", ndjson(*said))
    item = {"type": "OperationOutcome", "url": f"{run.server.root}/files/e.ndjson"}
    run.server.on("GET", STATUS, lambda _: run.server.ready(names=["1.ndjson", "2.ndjson"], **{key: [item]}))
    landing = await run()
    assert silence(landing) == dict.fromkeys(WHOLE, complete)
    [issue] = [one for one in landing.issues if one.code == "EXPORT_OUTCOME"]
    assert issue.detail == f"2 of severity {severity}: processing"
    assert "Zhang" not in str(landing.manifest)


async def test_an_error_file_that_cannot_be_read_is_an_error(run: Run) -> None:
    item = {"type": "OperationOutcome", "url": f"{run.server.root}/files/none.ndjson"}
    run.server.on("GET", STATUS, lambda _: run.server.ready(error=[item]))
    assert not any(silence(await run()).values())


HOSTILE = [
    "../../../../etc/passwd.ndjson",
    "..%2f..%2fPatient.ndjson",
    "a/../../Patient.ndjson",
    "C:\\Windows\\x.ndjson",
    "manifest.json",
    "con",
]


@pytest.mark.parametrize("name", HOSTILE)
async def test_names_of_the_server_are_never_names_of_ours(run: Run, name: str) -> None:
    """Zip-slip: whatever the link is called, what is written lies in our folder under a name of ours."""
    before = set(run.folder.rglob("*"))
    url = f"{run.server.root}/files/{name}"
    item = {"type": "../../Patient", "url": url}
    run.server.otherwise = _once(run.server.otherwise, "/files/", Answer(200, PATIENTS))
    run.server.on("GET", STATUS, lambda _: run.server.ready(names=["1.ndjson", "2.ndjson"], error=[item]))
    run.manners = QUICK
    try:
        landing = await run()
    except SourceUntrustworthy as fault:
        assert "backslash" in str(fault)  # noqa: PT017 - both ends are right
        return
    written = {path.name for path in set(run.folder.rglob("*")) - before}
    assert not {name for name in written if "passwd" in name or "Windows" in name}
    assert ids(landing) == EVERYTHING


def _once(usual: Callable[[Request], Answer], prefix: str, answer: Answer) -> Callable[[Request], Answer]:
    def reply(request: Request) -> Answer:
        known = request.path in ("/files/1.ndjson", "/files/2.ndjson")
        return answer if request.path.startswith(prefix) and not known else usual(request)

    return reply


SSRF = [
    "http://169.254.169.254/latest/meta-data/",
    "https://169.254.169.254/latest/meta-data/",
    "https://[fd00:ec2::254]/",
    "https://127.0.0.1:1/x",
    "https://localhost:1/x",
    "https://10.0.0.1/x",
    "https://0x7f000001/x",
    "http://files.example/x",
    "file:///etc/passwd",
    "gopher://127.0.0.1/x",
    "https://user:pass@files.example/x",
]


@pytest.mark.parametrize("url", SSRF)
async def test_files_that_lie_where_nobody_may_look(run: Run, url: str) -> None:
    run.server.more = {"requiresAccessToken": False}
    item = {"type": "Patient", "url": url}
    run.server.on("GET", STATUS, lambda _: run.server.ready(error=[item]))
    with pytest.raises(SourceUntrustworthy) as caught:
        await run()
    assert "pass@" not in str(caught.value)
    assert not (run.folder / "landing").exists()


async def test_files_that_need_the_token_lie_with_the_server_or_where_the_site_lists(run: Run) -> None:
    with Server().running() as elsewhere:
        elsewhere.on("GET", "/o.ndjson", Answer(200, OBSERVATIONS))
        item = {"type": "Observation", "url": f"{elsewhere.root}/o.ndjson"}
        run.server.on("GET", STATUS, lambda _: _with(run.server, item))
        with pytest.raises(SourceUntrustworthy, match="another server"):
            await run()
        assert elsewhere.requests == []
        run.listed = (elsewhere.root,)
        assert ids(await run()) == EVERYTHING
        assert elsewhere.requests[0].headers["authorization"] == f"Bearer {TOKEN}"


def _with(server: Exports, item: dict[str, Any], **more: Any) -> Answer:
    manifest = server.manifest(["1.ndjson"], **more)
    manifest["output"].append(item)
    return Answer(200, json.dumps(manifest).encode())


# --- token and redirects --------------------------------------------------------------------------------


async def test_files_that_need_no_token_get_none(run: Run) -> None:
    run.server.more = {"requiresAccessToken": False}
    assert ids(await run()) == EVERYTHING
    assert all("authorization" not in one.headers for one in run.server.asked("GET", FILE))


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("listed", [False, True])
async def test_the_token_does_not_follow_a_redirect(run: Run, status: int, listed: bool) -> None:
    """Oracle Health answers 307 to a signed link of an object store. Loopback passes only if it is listed."""
    with Server().running() as store:
        store.on("GET", "/signed", Answer(200, OBSERVATIONS))
        moved = Answer(status, headers={"Location": f"{store.root}/signed?sig=abc"})
        run.server.on("GET", FILE, moved)
        if not listed:
            with pytest.raises(SourceUntrustworthy):
                await run()
            assert store.requests == []
            return
        run.listed = (store.root,)
        assert ids(await run()) == EVERYTHING
        assert all("authorization" not in one.headers for one in store.requests)


async def test_a_token_that_expires_in_mid_download_is_renewed_once_for_all(run: Run) -> None:
    for number in range(30):
        run.server.files[f"x{number}.ndjson"] = ("Observation", ndjson(observation(f"x{number}", "p1")))

    def expires(request: Request) -> Answer:
        run.server.token = "fresh"
        return Answer(401)

    run.token = Renewed(TOKEN, "fresh")
    run.server.on("GET", "/files/x3.ndjson", expires, run.server.otherwise)
    landing = await run()
    assert len(ids(landing)) == 35
    assert silence(landing) == WHOLE
    assert 1 <= run.token.renewals <= QUICK.care.connections


async def test_a_token_that_stays_refused_ends_the_run_and_the_next_goes_on(run: Run) -> None:
    run.server.on("GET", FILE, Answer(401))
    with pytest.raises(ConfigError) as caught:
        await run()
    assert TOKEN not in str(caught.value)
    del run.server.replies["GET", FILE]
    assert ids(await run()) == EVERYTHING
    assert run.server.jobs == 1


@pytest.mark.parametrize("status", [400, 403, 404, 410])
async def test_links_that_expired_are_asked_for_again(run: Run, status: int) -> None:
    server = run.server
    server.more = {"requiresAccessToken": False}
    signed = iter(range(1, 99))

    def listed(_: Request) -> Answer:
        manifest = server.manifest()
        number = next(signed)
        for item in manifest["output"]:
            item["url"] += f"?sig={number}"
        return Answer(200, json.dumps(manifest).encode())

    def fresh(request: Request) -> Answer:
        return server.file(request, OBSERVATIONS) if request.query["sig"] != ["1"] else Answer(status)

    server.on("GET", STATUS, listed)
    server.on("GET", FILE, fresh)
    landing = await run()
    assert ids(landing) == EVERYTHING
    assert silence(landing) == WHOLE
    assert len(server.asked("GET", STATUS)) == 2
    assert len(server.asked("GET", "/files/1.ndjson")) == 1, "what is here is not downloaded again"


# --- files ----------------------------------------------------------------------------------------------

CUT = OBSERVATIONS[:-20]
LINES = OBSERVATIONS.splitlines(keepends=True)
PASSING: dict[str, Answer] = {
    "500": Answer(500),
    "429 with a wait": Answer(429, headers={"Retry-After": "0"}),
    "503 with a date": Answer(503, headers={"Retry-After": SOON}),
    "cut short of its length": Answer(200, OBSERVATIONS, cut=50),
    "cut within its chunks": Answer(200, OBSERVATIONS, framing="chunked", cut=80),
    "cut without a length": Answer(200, CUT, framing="close"),
    "cut between two lines, without a length": Answer(200, b"".join(LINES[:2]), framing="close"),
    "cut at the last line end": Answer(200, b"".join(LINES[:2]).rstrip(), framing="close"),
    "nothing at all": Answer(200, b"", framing="close"),
    "a length, but of a part": Answer(200, b"".join(LINES[:2])),
    "one byte at a time": Answer(200, OBSERVATIONS, drip=0.05),
    "a login page": Answer(200, b"<html>Sign in</html>\n"),
    "gzip without its end": Answer(200, zipped(OBSERVATIONS)[:-6], {"Content-Encoding": "gzip"}),
    "gzip with a wrong checksum": Answer(200, zipped(OBSERVATIONS)[:-8] + b"12345678"),
    "brotli": Answer(200, OBSERVATIONS, {"Content-Encoding": "br"}),
}


@pytest.mark.parametrize("counts", [True, False], ids=["counted", "not counted"])
@pytest.mark.parametrize("fault", PASSING.values(), ids=PASSING.keys())
async def test_a_file_that_breaks_once(run: Run, fault: Answer, counts: bool) -> None:
    run.server.counts = counts
    run.patience = SHORT if fault.drip else PATIENCE
    run.server.on("GET", FILE, fault, run.server.otherwise)
    landing = await run()
    if fault == PASSING["a length, but of a part"] and not counts:
        assert ids(landing) == [*EVERYTHING[:2], *EVERYTHING[3:]], "a whole file, for all anyone can see"
        return
    assert ids(landing) == EVERYTHING
    assert silence(landing) == WHOLE
    assert landing.issues == ()


FORMS: dict[str, Answer] = {
    "a length": Answer(200, OBSERVATIONS),
    "chunks": Answer(200, OBSERVATIONS, framing="chunked"),
    "an end nobody told": Answer(200, OBSERVATIONS, framing="close"),
    "gzip in transfer": Answer(200, zipped(OBSERVATIONS), {"Content-Encoding": "gzip"}),
    "a gzip file": Answer(200, zipped(OBSERVATIONS), {"Content-Type": "application/gzip"}),
    "no final line end": Answer(200, OBSERVATIONS.rstrip()),
    "CRLF and blank lines": Answer(200, OBSERVATIONS.replace(b"\n", b"\r\n\r\n")),
    "a byte order mark": Answer(200, b"\xef\xbb\xbf" + OBSERVATIONS),
}


@pytest.mark.parametrize("counts", [True, False], ids=["counted", "not counted"])
@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS.keys())
async def test_a_file_in_any_form(run: Run, form: Answer, counts: bool) -> None:
    run.server.counts = counts
    run.server.on("GET", FILE, form)
    landing = await run()
    assert ids(landing) == EVERYTHING
    assert silence(landing) == WHOLE


STAYS: dict[str, tuple[Answer, set[str], int]] = {
    "404": (Answer(404), {"FILE_MISSING", "FILE_UNREAD"}, 0),
    "403": (Answer(403), {"FILE_MISSING", "FILE_UNREAD"}, 0),
    "500": (Answer(500), {"FILE_MISSING", "FILE_UNREAD"}, 0),
    "a login page": (Answer(200, b"<html>"), {"FILE_MISSING", "FILE_UNREAD"}, 0),
    "fewer lines than counted": (
        Answer(200, b"".join(LINES[:2])),
        {"COUNT_MISMATCH", "FILE_DOUBTFUL"},
        2,
    ),
    "the last line cut": (
        Answer(200, CUT),
        {"FILE_DOUBTFUL", "TRUNCATED_LINE"},
        3,
    ),
    "gzip without its data": (
        Answer(200, zipped(OBSERVATIONS)[:20]),
        {"COUNT_MISMATCH", "FILE_DOUBTFUL", "GZIP_DAMAGED"},
        0,
    ),
}


@pytest.mark.parametrize(("fault", "told", "kept"), STAYS.values(), ids=STAYS.keys())
async def test_a_file_that_stays_broken_costs_its_type(
    run: Run, fault: Answer, told: set[str], kept: int
) -> None:
    """What came is landed, the type is not complete, and the other types are."""
    run.server.on("GET", FILE, fault)
    landing = await run()
    assert codes(landing) == told
    assert silence(landing) == {**WHOLE, "Observation": False}
    assert sum(file.lines for file in landing.manifest.files if "Observation" in file.name) == kept


async def test_an_export_none_of_whose_files_came_is_landed_and_says_so(run: Run) -> None:
    """Nothing is there, and nothing of it is absence."""
    for name in run.server.files:
        run.server.on("GET", f"/files/{name}", Answer(403))
    landing = await run()
    assert (ids(landing), silence(landing)) == ([], {**WHOLE, "Observation": False, "Patient": False})
    assert codes(landing) == {"FILE_MISSING", "FILE_UNREAD"}


async def test_a_file_without_an_end_that_differs_each_time_is_doubtful(run: Run) -> None:
    run.server.counts = False
    bodies = iter(b"".join(LINES[: 1 + at % 2]) for at in range(99))
    run.server.on("GET", FILE, lambda _: Answer(200, next(bodies), framing="close"))
    landing = await run()
    assert codes(landing) == {"FILE_DOUBTFUL"}
    assert silence(landing) == {**WHOLE, "Observation": False}


async def test_a_server_that_answers_nobody_ends_the_run(run: Run) -> None:
    for number in range(40):
        run.server.files[f"x{number}.ndjson"] = ("Observation", ndjson(observation(f"x{number}", "p1")))
    usual = run.server.otherwise
    run.server.otherwise = lambda asked: Answer(503) if asked.path.startswith("/files/x") else usual(asked)
    with pytest.raises(SourceUnavailable) as caught:
        await run()
    assert caught.value.exit_code == 75
    run.server.otherwise = usual
    assert len(ids(await run())) == 45
    assert run.server.jobs == 1


async def test_a_gzip_bomb_stops_the_run(run: Run) -> None:
    run.server.on("GET", FILE, Answer(200, zipped(b" " * 2**26), {"Content-Encoding": "gzip"}))
    with pytest.raises(SourceUntrustworthy, match="unpacks to more"):
        await run()


async def test_a_full_disk_ends_the_run_and_the_next_goes_on(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``/dev/full`` stands where the file would be written: "no space left on device"."""

    def full(into: Path) -> None:
        into.unlink(missing_ok=True)
        into.symlink_to("/dev/full")

    with monkeypatch.context() as patched:
        patched.setattr("adapter.source.bulk_http._forget", full)
        with pytest.raises(Retriable, match="the disk is full") as caught:
            await run()
    assert caught.value.exit_code == 75
    assert ids(await run()) == EVERYTHING
    assert run.server.jobs == 1


BIG = ndjson(*(observation(f"b{number}", "p1") for number in range(9000)))


@pytest.mark.parametrize("ranges", [True, False], ids=["ranges", "no ranges"])
async def test_a_large_file_goes_on_where_it_broke(run: Run, ranges: bool) -> None:
    """Three megabytes, broken at two: with Range the first two come once, without it all comes again."""
    server = run.server
    server.files["2.ndjson"] = ("Observation", BIG)
    server.ranges = ranges
    usual = server.otherwise
    server.on("GET", FILE, lambda asked: _cut(usual(asked), 2_000_000), usual)
    landing = await run()
    assert len(ids(landing)) == 9002
    assert silence(landing) == WHOLE
    first, second = server.asked("GET", FILE)
    assert "range" not in first.headers
    start = int(second.headers["range"].removeprefix("bytes=").rstrip("-"))
    assert 1_900_000 < start <= 2_000_000
    assert second.headers["if-range"].startswith('"')


async def test_a_file_that_changed_meanwhile_starts_again(run: Run) -> None:
    """If-Range: another ETag gives the whole file; a server that sends another part is not believed."""
    server = run.server
    server.files["2.ndjson"] = ("Observation", BIG)
    server.counts = False
    usual = server.otherwise
    wrong = Answer(206, BIG[:1000], {"Content-Range": f"bytes 0-999/{len(BIG)}"})
    server.on("GET", FILE, lambda asked: _cut(usual(asked), 2_000_000), wrong, usual)
    assert len(ids(await run())) == 9002
    assert "range" not in server.asked("GET", FILE)[2].headers


def _cut(answer: Answer, at: int) -> Answer:
    return Answer(answer.status, answer.body, answer.headers, cut=at)


async def test_files_of_types_nobody_asked_for_are_left(run: Run) -> None:
    run.server.files["c.ndjson"] = ("Coverage", ndjson({"resourceType": "Coverage", "id": "c1"}))
    assert ids(await run()) == EVERYTHING
    assert run.server.asked("GET", "/files/c.ndjson") == []


async def test_the_same_file_listed_twice_is_downloaded_once(run: Run) -> None:
    run.server.on("GET", STATUS, lambda _: run.server.ready(names=["1.ndjson", "2.ndjson", "2.ndjson"]))
    assert ids(await run()) == EVERYTHING
    assert len(run.server.asked("GET", FILE)) == 1


@pytest.mark.parametrize(
    "answer", [Answer(500), Answer(405), Answer(202, b"x" * 9, cut=2)], ids=["500", "405", "cut"]
)
async def test_a_server_that_keeps_its_files_is_told_of(run: Run, answer: Answer) -> None:
    run.server.on("DELETE", STATUS, answer)
    assert ids(await run()) == EVERYTHING
    assert "keeps its files" in run.said


# --- what is asked and what is proven -------------------------------------------------------------------


async def test_absence_of_what_no_patient_compartment_holds_proves_nothing(run: Run) -> None:
    run.request = ExportRequest((*TYPES, "Medication"))
    assert "Medication" not in silence(await run())
    run.request = ExportRequest((*TYPES, "Medication"), level="system")
    assert silence(await run())["Medication"]


async def test_what_the_token_does_not_cover_is_not_complete(run: Run) -> None:
    """A server leaves out silently what was not granted (SMART App Launch 2.2, scopes)."""
    run.token.scopes = Scopes(("system/Patient.rs", "system/Observation.rs?category=laboratory"))
    landing = await run()
    assert silence(landing) == {"Observation": False, "Patient": True, "Procedure": False}
    assert codes(landing) == {"TYPE_WITHHELD"}


async def test_another_request_does_not_go_on_with_the_old_one(run: Run) -> None:
    run.server.on("GET", STATUS, Answer(202))
    run.manners = Manners(pace=Pace(first=0.001, longest=0.01, wait=0.02), care=QUICK.care)
    with pytest.raises(ExportPending):
        await run()
    run.request = ExportRequest(TYPES, level="Group", group="g1")
    assert ids(await run()) == EVERYTHING
    assert run.server.jobs == 2
    assert len(run.server.asked("DELETE", STATUS)) == 1, "the old export is given up at the server too"


async def test_nothing_secret_is_kept(run: Run) -> None:
    run.server.more = {"requiresAccessToken": False}
    url = f"{run.server.root}/files/2.ndjson?sig=s3cr3t"
    run.server.on("GET", STATUS, lambda _: _with(run.server, {"type": "Observation", "url": url}))
    run.manners = Manners(pace=QUICK.pace, care=QUICK.care, keep_job=True)
    await run()
    for path in run.folder.rglob("*"):
        if path.is_file():
            kept = path.read_bytes()
            assert TOKEN.encode() not in kept, path
            assert b"s3cr3t" not in kept, path
    assert (run.folder / "bulk" / "job.json").stat().st_mode & 0o077 == 0
    assert (run.folder / "bulk").stat().st_mode & 0o077 == 0


# --- increments -----------------------------------------------------------------------------------------


async def test_an_increment_changes_what_was_landed(run: Run) -> None:
    """Corrected, deleted, new; what is not mentioned stays. Expected by hand."""
    base = await run()
    server = run.server
    server.files = {
        "2.ndjson": ("Observation", ndjson(observation("o1", "p1", 9, "2"), observation("o4", "p3"))),
        "3.ndjson": ("Patient", ndjson(patient("p3"))),
        "d.ndjson": ("Bundle", deletions("Observation/o2", f"{server.base}/Observation/o9")),
    }
    item = {"type": "Bundle", "url": f"{server.root}/files/d.ndjson", "count": 1}
    server.on("GET", "/fhir/status/2", lambda _: server.ready(names=["2.ndjson", "3.ndjson"], deleted=[item]))
    run.request = ExportRequest(TYPES, since="2026-11-01T08:00:00+08:00")
    landing = await run(base=base)
    assert ids(landing) == [
        *("Observation/o1", "Observation/o3", "Observation/o4"),
        *("Patient/p1", "Patient/p2", "Patient/p3"),
    ]
    [corrected] = [one for one in landing.resources() if b'"o1"' in one.line]
    assert json.loads(corrected.line)["valueQuantity"]["value"] == 9
    assert silence(landing) == WHOLE
    assert server.asked("GET", "/fhir/Patient/$export")[1].query["_since"] == ["2026-11-01T08:00:00+08:00"]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b'{"resourceType": "Bundle", "entry": 1}\n', "DELETION_UNREAD"),
        (b"not json\n", "FILE_UNREAD"),
        (deletions("Observation?status=final"), "DELETION_UNREAD"),
        (deletions("../../x"), "DELETION_UNREAD"),
        (None, "FILE_UNREAD"),
        (deletions("Observation/o4"), "DELETED_AND_SENT"),
    ],
)
async def test_deletions_that_cannot_be_read_cost_completeness(
    run: Run, body: bytes | None, code: str
) -> None:
    base = await run()
    server = run.server
    server.files = {"2.ndjson": ("Observation", ndjson(observation("o4", "p1")))}
    if body is not None:
        server.files["d.ndjson"] = ("Bundle", body)
    item = {"type": "Bundle", "url": f"{server.root}/files/d.ndjson"}
    server.on("GET", "/fhir/status/2", lambda _: server.ready(names=["2.ndjson"], deleted=[item]))
    run.request = ExportRequest(TYPES, since="2026-11-01T08:00:00+08:00")
    landing = await run(base=base)
    assert code in codes(landing)
    assert "Observation/o4" in ids(landing)
    assert silence(landing) == dict.fromkeys(WHOLE, code == "DELETED_AND_SENT")


async def test_an_increment_onto_something_incomplete_stays_incomplete(run: Run) -> None:
    run.server.on("GET", FILE, Answer(404))
    base = await run()
    assert silence(base) == {**WHOLE, "Observation": False}
    del run.server.replies["GET", FILE]
    run.request = ExportRequest(TYPES, since="2026-11-01T08:00:00+08:00")
    assert silence(await run(base=base)) == {**WHOLE, "Observation": False}
