"""From kick-off to the list of files: asking for the export, waiting for it, reading its manifest.

Every page of the manifest is read again after a pause, since its links may have expired. What the server
writes into it is believed as far as it can be checked: types are names, links are judged when they are
followed, local names are ours. Source: Bulk Data Access IG 2.0.0, "Bulk Data Kick-off", "Status" and "Delete
Request"; its continuous build for ``link``, ``outcome`` and ``deleted``.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections import Counter
from collections.abc import Callable
from typing import Any, Literal

import httpx
import msgspec

from adapter.errors import Retriable, SourceRefused, SourceUnavailable, SourceUntrustworthy
from adapter.source.bulk_http import PASSING, Answer, Broken, BulkConnection
from adapter.source.bulk_request import ExportRequest, Method
from adapter.source.client import Refusal

Part = Literal["output", "error", "deleted"]
MAX_PAGES = 10_000
_GONE = frozenset({404, 410})
# Refusals of a GET that may be one of the method: version 4 of the specification knows POST alone.
_OTHER_METHOD = frozenset({400, 404, 405, 501})
_MAYBE_LATER = frozenset({"transient", "lock-error", "no-store", "timeout", "incomplete", "throttled"})


class Pace(msgspec.Struct, frozen=True):
    """How often to ask, in seconds: first pause, longest pause of ours, longest pause a server may ask for.

    ``wait`` is how long to stay; after that the export is left to go on and the run says so (None: to the
    end). ``faults`` is how many failed looks in a row end the run.
    """

    first: float = 1.0
    longest: float = 60.0
    longest_asked: float = 3600.0
    wait: float | None = None
    faults: int = 12


class Step(msgspec.Struct, frozen=True):
    """What is going on, for a person: ``done`` of ``of`` (0: not known), and a remark."""

    phase: Literal["asking", "waiting", "downloading", "landing", "done"]
    done: int = 0
    of: int = 0
    text: str = ""


Told = Callable[[Step], None]


class ExportGone(Exception):
    """The server no longer knows the job."""


class ExportPending(Retriable):
    """The export goes on at the server; the next run picks it up."""


class ListedFile(msgspec.Struct, frozen=True):
    """One file of the manifest; ``key`` is its name here and survives links that are signed anew."""

    key: str
    part: Part
    type: str
    url: str
    count: int | None = None


class Listing(msgspec.Struct, frozen=True):
    """All pages of a manifest."""

    transaction_time: str
    needs_token: bool
    files: tuple[ListedFile, ...]
    unreadable: int = 0


class _Item(msgspec.Struct):
    url: str = ""
    type: str = ""
    count: int | None = None


class _Link(msgspec.Struct):
    relation: str = ""
    url: str = ""


class _Page(msgspec.Struct):
    transactionTime: str = ""
    requiresAccessToken: bool = True
    output: list[_Item] | None = None
    error: list[_Item] = []
    outcome: list[_Item] = []
    deleted: list[_Item] = []
    link: list[_Link] = []


async def kick_off(
    bulk: BulkConnection, request: ExportRequest, *, methods: tuple[Method, ...], told: Told
) -> str:
    """Ask for the export; returns the address of its status.

    Tries ``methods`` in turn. Raises SourceRefused when none is accepted, SourceUnavailable when the server
    is too busy for an export now.
    """
    refused: list[Refusal] = []
    for method in methods:
        told(Step("asking", text=f"{method} {request.path}"))
        # HAPI may otherwise answer with the files of an equal export of an hour ago.
        headers = {
            "Accept": "application/fhir+json",
            "Prefer": "respond-async",
            "Cache-Control": "no-cache",
        }
        body = None
        if method == "POST":
            headers["Content-Type"] = "application/fhir+json"
            body = request.body()
        answer = await bulk.ask(
            method, request.url(bulk.client, method), where="bulk kick-off", headers=headers, content=body
        )
        if answer.status == 202:
            where = answer.headers.get("content-location") or answer.headers.get("location", "")
            if not where:
                raise SourceRefused("the export was accepted but says not where its status is", where="bulk")
            return str(bulk.client.linked(where, answer.url, "bulk kick-off"))
        refused.append(Refusal(answer.status, "bulk kick-off", _why(answer)))
        if answer.status not in _OTHER_METHOD:
            break
    told(Step("asking", text="; ".join(one.reason for one in refused)))
    raise refused[0]


async def manifest(bulk: BulkConnection, status_url: str, *, pace: Pace, told: Told) -> Listing:
    """Wait for the export and read every page of its manifest.

    Raises ExportGone if the server has forgotten it, ExportPending when ``pace.wait`` is over, SourceRefused
    if the export failed, SourceUnavailable if the server does not answer.
    """
    url = httpx.URL(status_url)
    pages: list[_Page] = []
    seen: set[str] = set()
    while True:
        if str(url) in seen or len(pages) >= MAX_PAGES:
            raise SourceUntrustworthy("the manifest's pages never end", where="bulk manifest")
        seen.add(str(url))
        page = _page(await _ready(bulk, url, pace=pace, told=told))
        pages.append(page)
        link = next((one.url for one in page.link if one.relation == "next"), "")
        if not link:
            return _listing(pages)
        url = bulk.client.linked(link, url, "bulk manifest")


async def delete(bulk: BulkConnection, status_url: str) -> str:
    """Tell the server that its files are no longer needed; returns what it answered, "" if it accepted."""
    try:
        answer = await bulk.once("DELETE", httpx.URL(status_url), where="bulk delete")
    except (Broken, SourceUntrustworthy) as fault:
        return str(fault).splitlines()[0]
    return "" if answer.status < 300 or answer.status in _GONE else f"HTTP {answer.status}"


async def _ready(bulk: BulkConnection, url: httpx.URL, *, pace: Pace, told: Told) -> Answer:
    """Ask until the answer is no longer "not yet"."""
    loop = asyncio.get_running_loop()
    started, pause, faults = loop.time(), pace.first, 0
    while True:
        asked: float | None = None
        try:
            answer = await bulk.once("GET", url, where="bulk status")
        except Broken as fault:
            told(Step("waiting", text=str(fault)))
        else:
            if answer.status == 200:
                return answer
            if answer.status in _GONE:
                raise ExportGone
            if answer.status != 202 and not _may_pass(answer):
                raise Refusal(answer.status, "bulk export", _why(answer) or "the export failed")
            faults = -1 if answer.status in (202, 429) else faults
            asked = answer.wait
            told(Step("waiting", *_percent(answer), text=_progress(answer)))
        faults += 1
        if faults >= pace.faults:
            raise SourceUnavailable(
                "the status of the export cannot be read",
                where="bulk status",
                fix="run the same command again",
            )
        wait = pause if asked is None else min(max(asked, pace.first), pace.longest_asked)
        if pace.wait is not None and loop.time() - started + wait > pace.wait:
            raise ExportPending(
                "the export is not ready yet; it goes on at the server",
                where="bulk export",
                fix="run the same command again later: it picks the export up",
            )
        pause = min(pause * 1.5, pace.longest)
        await asyncio.sleep(wait)


def _may_pass(answer: Answer) -> bool:
    """5xx without an outcome may be a gateway's; with one it is the export's unless it says "transient"."""
    if answer.status not in PASSING:
        return False
    return answer.status in (408, 429) or not answer.is_outcome or bool(_codes(answer) & _MAYBE_LATER)


def _page(answer: Answer) -> _Page:
    try:
        page = msgspec.json.decode(answer.body, type=_Page)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise SourceUntrustworthy(
            "the answer is no manifest of an export",
            where="bulk manifest",
            fix="check base_url, token and proxy: this is often a login page",
        ) from None
    if answer.is_outcome and page.output is None:
        raise Refusal(200, "bulk export", _why(answer) or "an OperationOutcome instead of a manifest")
    if page.output is None:
        raise SourceUntrustworthy("a manifest without output", where="bulk manifest")
    return page


def _listing(pages: list[_Page]) -> Listing:
    parts: list[tuple[Part, _Item]] = []
    for page in pages:
        parts += [("output", item) for item in page.output or ()]
        parts += [("error", item) for item in (*page.error, *page.outcome)]
        parts += [("deleted", item) for item in page.deleted]
    shared = Counter(_bare(item.url) for _, item in parts)
    files: dict[str, ListedFile] = {}
    unreadable = 0
    for part, item in parts:
        if not item.url:
            unreadable += 1
            continue
        identity = _bare(item.url) if shared[_bare(item.url)] == 1 else item.url
        kind = item.type if re.fullmatch("[A-Z][A-Za-z]{1,63}", item.type) else "mixed"
        label = {"output": kind, "error": "error", "deleted": "deleted"}[part]
        key = f"{label}.{hashlib.sha256(identity.encode()).hexdigest()[:16]}.ndjson"
        count = item.count if item.count is not None and item.count >= 0 else None
        files.setdefault(key, ListedFile(key, part, item.type, item.url, count))
    return Listing(
        transaction_time=pages[0].transactionTime,
        needs_token=any(page.requiresAccessToken for page in pages),
        files=tuple(files[key] for key in sorted(files)),
        unreadable=unreadable,
    )


def _bare(url: str) -> str:
    """A link without what is signed anew each time."""
    return url.partition("#")[0].partition("?")[0]


def _progress(answer: Answer) -> str:
    """The server's own words (X-Progress), made fit for a terminal; or the status."""
    text = "".join(char for char in answer.headers.get("x-progress", "") if char.isprintable())[:80]
    return text or ("in progress" if answer.status == 202 else f"HTTP {answer.status}")


def _percent(answer: Answer) -> tuple[int, int]:
    found = re.search(r"(\d{1,3})(?:\.\d+)?\s*%", answer.headers.get("x-progress", ""))
    return (min(int(found[1]), 100), 100) if found else (0, 0)


def _codes(answer: Answer) -> set[str]:
    try:
        outcome: dict[str, Any] = msgspec.json.decode(answer.body)
        found = {str(issue.get("code")) for issue in outcome.get("issue", ())}
    except (msgspec.DecodeError, UnicodeDecodeError, AttributeError, TypeError):
        return set()
    return {code for code in found if re.fullmatch("[a-z-]{1,40}", code)}


def _why(answer: Answer) -> str:
    """The codes of an outcome: its texts may repeat what was asked."""
    return ", ".join(sorted(_codes(answer)))
