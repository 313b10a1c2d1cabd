"""The few FHIR interactions write-back needs: search, read, transaction.

The token is attached per request and only for origins that :mod:`adapter.origins` allows; after a 401 another
one is asked for, once (what was refused so was not done). Redirects are not followed, proxies
of the environment are not used. Searches ask HAPI not to answer from its cache of the last minute.
Sources: https://hl7.org/fhir/R4/http.html; HAPI's ``reuseCachedSearchResultsForMillis``.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple, Protocol, Self

import httpx
import msgspec
import stamina

from adapter.errors import (
    ConfigError,
    SourceRefused,
    SourceUnavailable,
    SourceUntrustworthy,
    WriteConflict,
    WriteRefused,
)
from adapter.origins import Origins
from adapter.writeback.resources import Json, decode, encode, reference_of

_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})
_CONFLICT = frozenset({409, 412})
_ETAG = re.compile(r'(?:W/)?"?(?P<version>[A-Za-z0-9\-.]{1,64})"?')
_LOCATION = re.compile(
    r"(?P<reference>[A-Z][A-Za-z]+/[A-Za-z0-9\-.]{1,64})(?:/_history/(?P<version>[^/]+))?$"
)
_VENDOR_CODE = re.compile(r"HAPI-\d{4}")


class Patience(NamedTuple):
    """How long to wait for what: seconds, attempts at reading, bytes.

    ``total`` bounds one request, because httpx's own timeouts never stop a trickle of bytes. ``max_wait`` is
    the longest Retry-After that is honoured: a person may run the command again.
    """

    attempts: int = 3
    connect: float = 10.0
    read: float = 60.0
    total: float = 120.0
    wait_initial: float = 0.5
    max_wait: float = 60.0
    max_bytes: int = 128 * 2**20


PATIENCE = Patience()


class Token(Protocol):
    """Gives the bearer token; ``renew`` asks for another one than last time, if there can be one."""

    async def __call__(self, *, renew: bool = False) -> str: ...


class Busy(SourceUnavailable):
    """Passing fault of a server that said when to come back; ``wait`` in seconds, 0 if it did not say."""

    def __init__(self, message: str, *, where: str, wait: float) -> None:
        super().__init__(message, where=where)
        self.wait = wait


class Stored(NamedTuple):
    """How the server answered for one resource: HTTP status, the version it holds now and the reference it
    gave it ("" where it did not say)."""

    status: int
    version: str
    address: str = ""


class Server:
    """One FHIR server. ``token`` is asked before every request, so that it may be renewed in between."""

    def __init__(
        self,
        base_url: str,
        *,
        token: Token | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
        patience: Patience = PATIENCE,
    ) -> None:
        self.base_url = base_url.rstrip("/")
        self._origins = Origins(base_url)
        self._token = token
        self._patience = patience
        self._http = httpx.AsyncClient(
            transport=transport or self._origins.transport(),
            trust_env=False,
            follow_redirects=False,
            timeout=httpx.Timeout(self._patience.read, connect=self._patience.connect),
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()

    async def search(self, resource_type: str, **parameters: str) -> list[Json]:
        """All matches over all pages, each once. Raises ConfigError (401), SourceRefused (any other refusal),
        SourceUnavailable (after retries) or SourceUntrustworthy."""
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
        """Whether a resource that the server once acknowledged is there no more: 410, or 404 on servers that
        keep no trace of what was deleted (https://hl7.org/fhir/R4/http.html#delete allows both)."""
        answer = await self._read(f"{self.base_url}/{reference}", reference, allowed=(404, 410))
        return answer.status_code in (404, 410)

    async def transact(self, bundle: Json) -> list[Stored]:
        """Send one transaction once. Raises WriteConflict (409, 412), WriteRefused (any other 4xx), or
        SourceUnavailable: then nobody knows whether it was done, and the caller has to look."""
        answer = await self._once("POST", self.base_url, "transaction", content=encode(bundle))
        _refuse(answer)
        try:
            entries = _resource(answer, "Bundle", "transaction").get("entry", [])
            if len(entries) != len(bundle["entry"]):
                raise ValueError("entries are missing")
            return [_stored(entry) for entry in entries]
        except (SourceUntrustworthy, ValueError, KeyError) as fault:
            raise SourceUnavailable("the answer to a transaction cannot be read") from fault

    async def put(self, resource: Json, based_on: str | None) -> Stored:
        """Update under the resource's own id: what stands in version ``based_on``, with "" only if there is
        nothing yet, with None whatever there is. Raises as :meth:`transact`."""
        guard = {"If-Match": f'W/"{based_on}"'} if based_on else {"If-None-Match": "*"}
        guard = {} if based_on is None else guard
        reference = reference_of(resource)
        return await self._single("PUT", f"{self.base_url}/{reference}", reference, encode(resource), guard)

    async def create(self, resource: Json) -> Stored:
        """Create under an id that the server chooses. Raises as :meth:`transact`."""
        kind = str(resource["resourceType"])
        content = encode({key: value for key, value in resource.items() if key != "id"})
        return await self._single("POST", f"{self.base_url}/{kind}", kind, content, {})

    async def metadata(self) -> Json:
        """The CapabilityStatement. Raises as :meth:`search`."""
        answer = await self._read(f"{self.base_url}/metadata", "metadata")
        return _resource(answer, "CapabilityStatement", "metadata")

    async def _single(
        self, method: str, url: str, what: str, content: bytes, guard: Mapping[str, str]
    ) -> Stored:
        answer = await self._once(method, url, what, content=content, guard=guard)
        _refuse(answer)
        if answer.status_code not in (200, 201, 204):
            raise SourceUnavailable(f"an answer nobody expects ({answer.status_code})", where=what)
        location = _LOCATION.search(
            answer.headers.get("Location") or answer.headers.get("Content-Location", "")
        )
        address, version = (location["reference"], location["version"] or "") if location else ("", "")
        etag = _ETAG.fullmatch(answer.headers.get("ETag", ""))
        try:
            body = decode(answer.content)
            address = address or (reference_of(body) if body["resourceType"] == what.split("/")[0] else "")
            version = (
                (etag["version"] if etag else "") or str(body.get("meta", {}).get("versionId", "")) or version
            )
            named = body["resourceType"] == what.split("/")[0]
        except (msgspec.DecodeError, KeyError, TypeError, AttributeError):
            version = etag["version"] if etag else version
            named = not answer.content
        if not (named or etag or location):  # a login page, an outcome: it may not have been the server
            raise SourceUnavailable("an answer that does not say that it was written", where=what)
        return Stored(answer.status_code, version, address)

    async def _read(self, url: str, what: str, allowed: Sequence[int] = ()) -> httpx.Response:
        async for attempt in stamina.retry_context(
            on=_again,
            attempts=self._patience.attempts,
            wait_initial=self._patience.wait_initial,
            wait_jitter=self._patience.wait_initial,
        ):
            with attempt:
                answer = await self._once("GET", url, what)
        if answer.status_code == 401:
            # Every request would end like this one: no rung is closed and nobody was looked up.
            raise ConfigError(
                "the server does not accept the token" if self._token else "the server asks for a token",
                where=what,
                fix="adapter doctor shows more; smart, token_file or ADAPTER_TOKEN_FILE say how it is had",
            )
        if answer.status_code != 200 and answer.status_code not in allowed:
            raise SourceRefused(_codes(answer), where=f"{what}: {answer.status_code}")
        return answer

    async def _once(
        self,
        method: str,
        url: str,
        what: str,
        content: bytes | None = None,
        guard: Mapping[str, str] | None = None,
    ) -> httpx.Response:
        """One exchange, and one more with another token where the first was not accepted."""
        answer = await self._sent(method, url, what, content, guard, renew=False)
        if answer.status_code == 401 and self._token is not None:
            answer = await self._sent(method, url, what, content, guard, renew=True)
        return answer

    async def _sent(
        self,
        method: str,
        url: str,
        what: str,
        content: bytes | None,
        guard: Mapping[str, str] | None,
        *,
        renew: bool,
    ) -> httpx.Response:
        headers = {"Accept": "application/fhir+json", "Cache-Control": "no-cache", **(guard or {})}
        if content is not None:
            headers["Content-Type"] = "application/fhir+json"
        self._origins.followed(url, where=what)
        if self._token is not None and self._origins.may_carry_token(url):
            headers["Authorization"] = f"Bearer {await self._token(renew=renew)}"
        try:
            async with (
                asyncio.timeout(self._patience.total),
                self._http.stream(method, url, headers=headers, content=content) as coming,
            ):
                answer = await self._whole(coming, method, what)
        except (httpx.TransportError, httpx.DecodingError, TimeoutError) as fault:
            kind = type(fault).__name__  # its text may hold the URL
            raise SourceUnavailable(f"no answer ({kind})", where=what) from None
        if answer.status_code in _PASSING:
            wait = _retry_after(answer.headers.get("Retry-After", ""), answer.headers.get("Date", ""))
            wait = min(wait, self._patience.max_wait)
            raise Busy(f"the server answered {answer.status_code}", where=what, wait=wait)
        return answer

    async def _whole(self, coming: httpx.Response, method: str, what: str) -> httpx.Response:
        """The answer with its body, up to a limit: 200 kB of gzip can be 200 MB."""
        body = bytearray()
        async for chunk in coming.aiter_bytes(2**16):
            body += chunk
            if len(body) > self._patience.max_bytes:
                many = f"an answer of more than {self._patience.max_bytes} bytes"
                raise (SourceUntrustworthy if method == "GET" else SourceUnavailable)(many, where=what)
        framing = {"content-encoding", "content-length", "transfer-encoding"}
        headers = [(name, value) for name, value in coming.headers.multi_items() if name not in framing]
        return httpx.Response(coming.status_code, headers=headers, content=bytes(body))


def _refuse(answer: httpx.Response) -> None:
    if answer.status_code in _CONFLICT:
        raise WriteConflict("someone changed a resource in between", where=str(answer.status_code))
    if answer.is_redirect or answer.status_code in range(400, 500) or answer.status_code == 501:
        raise WriteRefused(_codes(answer), where=str(answer.status_code))


def _again(fault: Exception) -> bool | float:
    """Retry passing faults, after the time the server named if it named one."""
    return fault.wait or True if isinstance(fault, Busy) else isinstance(fault, SourceUnavailable)


def _retry_after(text: str, server_now: str) -> float:
    """Seconds from ``Retry-After`` (seconds or an HTTP date, by the server's own clock); 0 if it says nothing
    usable."""
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        wait = (parsedate_to_datetime(text) - parsedate_to_datetime(server_now)).total_seconds()
    except (ValueError, TypeError):
        return 0.0
    return max(wait, 0.0)


def _resource(answer: httpx.Response, wanted: str, what: str) -> Json:
    try:
        body: Any = decode(answer.content)
    except (msgspec.DecodeError, RecursionError):
        body = None
    if not isinstance(body, dict) or body.get("resourceType") != wanted:
        raise SourceUntrustworthy(f"the answer is no {wanted}", where=what)
    return body


def _stored(entry: Json) -> Stored:
    """Medplum names the version in the resource it gives back, others in ``etag`` or ``location``."""
    response = entry["response"]
    status = int(str(response["status"])[:3])
    if status >= 300:
        raise ValueError("an entry of a transaction failed")
    etag = _ETAG.fullmatch(str(response.get("etag", "")))
    version = etag["version"] if etag else str(response.get("location", "")).partition("/_history/")[2]
    body = entry.get("resource", {}).get("meta", {})
    return Stored(status, version or str(body.get("versionId", "")))


def _codes(answer: httpx.Response) -> str:
    """Issue codes of an OperationOutcome; never its diagnostics, which may quote the resource."""
    try:
        issues = decode(answer.content)["issue"]
        codes = sorted({str(issue.get("code", "")) for issue in issues})
    except (msgspec.DecodeError, KeyError, TypeError, AttributeError):
        codes = []
    vendor = sorted(set(_VENDOR_CODE.findall(answer.text)))
    return f"refused ({', '.join([*codes, *vendor]) or 'no reason given'})"
