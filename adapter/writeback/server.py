"""The few FHIR interactions write-back needs: search, read, transaction.

The token is attached per request and only for the server's own scheme, host and port; redirects are not
followed, the environment's proxies are not used. Searches ask HAPI not to answer from its cache of the last
minute. Sources: https://hl7.org/fhir/R4/http.html; HAPI's ``reuseCachedSearchResultsForMillis``.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Sequence
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple, Self

import httpx
import msgspec
import stamina

from adapter.errors import (
    SourceRefused,
    SourceUnavailable,
    SourceUntrustworthy,
    WriteConflict,
    WriteRefused,
)
from adapter.writeback.resources import Json, decode, encode

Token = Callable[[], str]

LONGEST_WAIT = 60.0
REQUEST_SECONDS = 120  # the whole of one request; httpx's own timeouts never stop a trickle of bytes
_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})
_CONFLICT = frozenset({409, 412})
_ETAG = re.compile(r'(?:W/)?"?(?P<version>[A-Za-z0-9\-.]{1,64})"?')
_VENDOR_CODE = re.compile(r"HAPI-\d{4}")


class Busy(SourceUnavailable):
    """Passing fault of a server that said when to come back; ``wait`` in seconds, 0 if it did not say."""

    def __init__(self, message: str, *, where: str, wait: float) -> None:
        super().__init__(message, where=where)
        self.wait = wait


class Stored(NamedTuple):
    """How the server answered for one entry: HTTP status and the version it holds now ("" if not said)."""

    status: int
    version: str


class Server:
    """One FHIR server. ``token`` is asked before every request, so that it may be renewed in between."""

    def __init__(
        self, base_url: str, *, token: Token | None = None, transport: httpx.AsyncBaseTransport | None = None
    ) -> None:
        self.base_url = base_url.rstrip("/")
        self._origin = _origin(httpx.URL(self.base_url))
        self._token = token
        self._http = httpx.AsyncClient(
            transport=transport,
            trust_env=False,
            follow_redirects=False,
            timeout=httpx.Timeout(60, connect=10),
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()

    async def search(self, resource_type: str, **parameters: str) -> list[Json]:
        """All matches over all pages, each once. Raises SourceRefused, SourceUnavailable (after retries) or
        SourceUntrustworthy."""
        url: str | None = str(httpx.URL(f"{self.base_url}/{resource_type}", params=parameters))
        found: dict[str, Json] = {}
        seen: set[str] = set()
        while url is not None:
            if url in seen:
                raise SourceUntrustworthy("the pages of a search go round in a circle", where=resource_type)
            seen.add(url)
            page = _resource(await self._read(url, resource_type), "Bundle", resource_type)
            for entry in page.get("entry", []):
                resource = entry.get("resource", {})
                if resource.get("resourceType") == resource_type and "id" in resource:
                    found[resource["id"]] = resource
            url = next((link["url"] for link in page.get("link", []) if link.get("relation") == "next"), None)
        return list(found.values())

    async def read(self, reference: str) -> Json | None:
        """The current version, or None if there is none (404)."""
        answer = await self._read(f"{self.base_url}/{reference}", reference, allowed=(404, 410))
        kind = reference.split("/")[0]
        return None if answer.status_code in (404, 410) else _resource(answer, kind, kind)

    async def is_gone(self, reference: str) -> bool:
        """Whether the server says that this was deleted (410), not that it never was (404)."""
        answer = await self._read(f"{self.base_url}/{reference}", reference, allowed=(404, 410))
        return answer.status_code == 410

    async def transact(self, bundle: Json) -> list[Stored]:
        """Send one transaction once. Raises WriteConflict (409, 412), WriteRefused (any other 4xx), or
        SourceUnavailable: then nobody knows whether it was done, and the caller has to look."""
        answer = await self._once("POST", self.base_url, "transaction", content=encode(bundle))
        if answer.status_code in _CONFLICT:
            raise WriteConflict("someone changed a resource in between", where=str(answer.status_code))
        if answer.is_redirect or answer.status_code in range(400, 500):
            raise WriteRefused(_codes(answer), where=str(answer.status_code))
        try:
            entries = _resource(answer, "Bundle", "transaction").get("entry", [])
            if len(entries) != len(bundle["entry"]):
                raise ValueError("entries are missing")
            return [_stored(entry["response"]) for entry in entries]
        except (SourceUntrustworthy, ValueError, KeyError) as fault:
            raise SourceUnavailable("the answer to a transaction cannot be read") from fault

    async def _read(self, url: str, what: str, allowed: Sequence[int] = ()) -> httpx.Response:
        async for attempt in stamina.retry_context(on=_again, attempts=3, wait_initial=0.5):
            with attempt:
                answer = await self._once("GET", url, what)
        if answer.status_code != 200 and answer.status_code not in allowed:
            raise SourceRefused(_codes(answer), where=f"{what}: {answer.status_code}")
        return answer

    async def _once(self, method: str, url: str, what: str, content: bytes | None = None) -> httpx.Response:
        headers = {"Accept": "application/fhir+json", "Cache-Control": "no-cache"}
        if content is not None:
            headers["Content-Type"] = "application/fhir+json"
        if _origin(httpx.URL(url)) != self._origin:
            raise SourceUntrustworthy("a link leads to another server", where=what)
        if self._token is not None:
            headers["Authorization"] = f"Bearer {self._token()}"
        try:
            async with asyncio.timeout(REQUEST_SECONDS):
                answer = await self._http.request(method, url, headers=headers, content=content)
        except (httpx.TransportError, TimeoutError) as fault:
            kind = type(fault).__name__  # its text may hold the URL
            raise SourceUnavailable(f"no answer ({kind})", where=what) from None
        if answer.status_code in _PASSING:
            wait = _retry_after(answer.headers.get("Retry-After", ""), answer.headers.get("Date", ""))
            raise Busy(f"the server answered {answer.status_code}", where=what, wait=wait)
        return answer


def _again(fault: Exception) -> bool | float:
    """Retry passing faults, after the time the server named if it named one."""
    return fault.wait or True if isinstance(fault, Busy) else isinstance(fault, SourceUnavailable)


def _retry_after(text: str, server_now: str) -> float:
    """Seconds from ``Retry-After`` (seconds or an HTTP date, by the server's own clock); 0 if it says nothing
    usable. Never more than LONGEST_WAIT: a person may run the command again."""
    if text.isdigit():
        return min(float(text), LONGEST_WAIT)
    try:
        wait = (parsedate_to_datetime(text) - parsedate_to_datetime(server_now)).total_seconds()
    except (ValueError, TypeError):
        return 0.0
    return min(max(wait, 0.0), LONGEST_WAIT)


def _origin(url: httpx.URL) -> tuple[str, str, int | None]:
    return url.scheme, url.host, url.port or {"http": 80, "https": 443}.get(url.scheme)


def _resource(answer: httpx.Response, wanted: str, what: str) -> Json:
    try:
        body: Any = decode(answer.content)
    except (msgspec.DecodeError, RecursionError):
        body = None
    if not isinstance(body, dict) or body.get("resourceType") != wanted:
        raise SourceUntrustworthy(f"the answer is no {wanted}", where=what)
    return body


def _stored(response: Json) -> Stored:
    status = int(str(response["status"])[:3])
    if status >= 300:
        raise ValueError("an entry of a transaction failed")
    etag = _ETAG.fullmatch(str(response.get("etag", "")))
    version = etag["version"] if etag else str(response.get("location", "")).partition("/_history/")[2]
    return Stored(status, version)


def _codes(answer: httpx.Response) -> str:
    """Issue codes of an OperationOutcome; never its diagnostics, which may quote the resource."""
    try:
        issues = decode(answer.content)["issue"]
        codes = sorted({str(issue.get("code", "")) for issue in issues})
    except (msgspec.DecodeError, KeyError, TypeError, AttributeError):
        codes = []
    vendor = sorted(set(_VENDOR_CODE.findall(answer.text)))
    return f"refused ({', '.join([*codes, *vendor]) or 'no reason given'})"
