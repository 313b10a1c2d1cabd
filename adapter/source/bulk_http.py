"""The connection of a bulk export: short exchanges, and files that may be any size.

The rules are the client's: the token goes to the configured server alone, request by request, and never along
a redirect to elsewhere or to a file that needs none; nothing secret stands in an error. What differs:
statuses are the protocol here, so they are handed back; a file is written to disk as it comes, undecoded, so
that it can go on where it stopped.

Source: Bulk Data Access IG 2.0.0; RFC 9110, 13.1.5 (If-Range), 14 (Range); RFC 9112, 6.3 (length of a body).
"""

from __future__ import annotations

import asyncio
import errno
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx
import msgspec
import stamina

from adapter.errors import ConfigError, Retriable, SourceUnavailable, SourceUntrustworthy
from adapter.source.auth.token import TokenSource
from adapter.source.client import FhirClient, Patience, Refusal, retry_after

PASSING = frozenset({408, 429, 500, 502, 503, 504})
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_SIDECAR_FROM = 2**20  # bytes: below this a broken download starts again instead of going on


class Answer(msgspec.Struct, frozen=True):
    """A short answer as it came; header names are lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    url: httpx.URL

    @property
    def wait(self) -> float | None:
        """Seconds that Retry-After asks for."""
        return retry_after(self.headers.get("retry-after"), datetime.now(UTC))

    @property
    def is_outcome(self) -> bool:
        return b'"OperationOutcome"' in self.body[:4096]


class Received(msgspec.Struct, frozen=True):
    """A file as far as it came: ``framed`` says whether its end was told (length or chunks) or just came."""

    size: int
    framed: bool


class Broken(Exception):
    """A fault that may not happen again; the text is safe to show."""

    def __init__(self, what: str, wait: float | None = None) -> None:
        super().__init__(what)
        self.wait = wait


class BulkConnection:
    """Use as ``async with BulkConnection(client, token) as bulk``; the client's origins judge every URL."""

    def __init__(
        self,
        client: FhirClient,
        token: TokenSource | None = None,
        *,
        patience: Patience | None = None,
        connections: int = 8,
        stall_bytes: int = 2048,
        ca_file: str = "",
    ) -> None:
        self.client = client
        self._token = token
        self._patience = patience or Patience()
        self._stall_bytes = stall_bytes
        self._http = httpx.AsyncClient(
            timeout=httpx.Timeout(self._patience.read, connect=self._patience.connect, pool=None),
            transport=client.origins.transport(connections=connections, ca_file=ca_file),
            follow_redirects=False,
            trust_env=False,
        )
        self.requests = 0
        self._renewal = asyncio.Lock()
        self._generation = 0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.aclose()

    async def ask(
        self,
        method: str,
        url: httpx.URL,
        *,
        where: str,
        headers: Mapping[str, str] | None = None,
        content: bytes | None = None,
    ) -> Answer:
        """One exchange, tried again over passing faults; raises SourceUnavailable when they stay."""

        def wait_for(fault: Exception) -> bool | float:
            if not isinstance(fault, Broken):
                return False
            if fault.wait is None:
                return True
            return fault.wait if fault.wait <= self._patience.max_wait else False

        try:
            async for attempt in stamina.retry_context(
                on=wait_for,
                attempts=self._patience.attempts,
                timeout=None,
                wait_initial=self._patience.wait_initial,
                wait_max=self._patience.max_wait,
                wait_jitter=self._patience.wait_initial,
            ):
                with attempt:
                    answer = await self.once(method, url, where=where, headers=headers, content=content)
                    if answer.status in PASSING and not (answer.status == 500 and answer.is_outcome):
                        raise Broken(f"HTTP {answer.status}", answer.wait)
                    return answer
        except Broken as fault:
            raise SourceUnavailable(
                str(fault), where=where, fix="run the same command again later: it goes on from here"
            ) from None
        raise AssertionError("stamina ends by returning or raising")

    async def once(
        self,
        method: str,
        url: httpx.URL,
        *,
        where: str,
        headers: Mapping[str, str] | None = None,
        content: bytes | None = None,
    ) -> Answer:
        """One exchange with the configured server, whatever its status; raises Broken if none came whole."""
        asked = {"Accept": "application/json, application/fhir+json;q=0.9", **(headers or {})}
        for renew in (False, True):
            async with (
                self._bounded(self._patience.total),
                self._opened(method, url, where, asked, content, token=True, renew=renew) as response,
            ):
                if response.status_code == 401 and self._token is not None and not renew:
                    continue
                if response.status_code == 401:
                    raise _unauthorised(where, has_token=self._token is not None)
                body = bytearray()
                async for chunk in response.aiter_bytes():
                    body += chunk
                    if len(body) > self._patience.max_bytes:
                        raise SourceUntrustworthy(
                            f"an answer of more than {self._patience.max_bytes} bytes", where=where
                        )
                return Answer(response.status_code, dict(response.headers), bytes(body), response.url)
        raise AssertionError("the second answer is returned or raised")

    async def download(self, url: httpx.URL, into: Path, *, token: bool, where: str) -> Received:
        """Write a file to ``into`` as it comes, going on where an earlier attempt ended if that is safe.

        ``token=False`` never sends the token (``requiresAccessToken``). Raises Broken for what may pass,
        :class:`~adapter.source.client.Refusal` for a refusal, SourceUntrustworthy for a forbidden address.
        """
        for renew in (False, True):
            start, validator = _resumable(into)
            asked = {"Accept": "application/fhir+ndjson, application/ndjson;q=0.9, */*;q=0.1"}
            asked["Accept-Encoding"] = "gzip"
            if start:
                asked |= {"Range": f"bytes={start}-", "If-Range": validator}
            async with (
                self._bounded(self._patience.total) as deadline,
                self._opened(
                    "GET", url, where, asked, None, token=token, renew=renew, is_file=True
                ) as response,
            ):
                if response.status_code == 401 and token and self._token is not None and not renew:
                    continue
                if not _fits(response, start):
                    _forget(into)
                    raise Broken("the file changed while it was downloaded")
                if response.status_code in PASSING:
                    wait = retry_after(response.headers.get("retry-after"), datetime.now(UTC))
                    raise Broken(f"HTTP {response.status_code}", wait)
                if response.status_code not in (200, 206):
                    raise Refusal(response.status_code, where)
                if response.headers.get("content-encoding", "identity") not in ("identity", "gzip", "x-gzip"):
                    raise Broken("a content encoding nobody asked for")
                return await self._store(response, into, start, deadline)
        raise AssertionError("the second answer is stored or raised")

    async def _store(
        self, response: httpx.Response, into: Path, start: int, deadline: asyncio.Timeout
    ) -> Received:
        goes_on = response.status_code == 206
        size, mark, noted = (start if goes_on else 0), 0, goes_on
        if not goes_on:
            _forget(into)
        try:
            with into.open("ab" if goes_on else "wb") as out:
                async for chunk in response.aiter_raw():
                    out.write(chunk)
                    size += len(chunk)
                    mark += len(chunk)
                    if mark >= self._stall_bytes:
                        mark = 0
                        deadline.reschedule(asyncio.get_running_loop().time() + self._patience.total)
                    if not noted and size >= _SIDECAR_FROM:
                        noted = True
                        _sidecar(into).write_text(_validator(response.headers), encoding="ascii")
        except OSError as fault:
            if fault.errno == errno.ENOSPC:
                raise Retriable(
                    "the disk is full",
                    where=str(into.parent),
                    fix="free some space and run the same command again: it goes on from here",
                ) from None
            raise
        framed = "content-length" in response.headers or "chunked" in response.headers.get(
            "transfer-encoding", ""
        )
        return Received(size, framed)

    @asynccontextmanager
    async def _bounded(self, seconds: float) -> AsyncIterator[asyncio.Timeout]:
        """Faults of the transport as Broken, and no waiting without end for one byte after the other."""
        try:
            async with asyncio.timeout(seconds) as deadline:
                yield deadline
        except TimeoutError:
            raise Broken(f"no progress within {seconds:g} s") from None
        except (httpx.TransportError, httpx.DecodingError) as fault:
            raise Broken(type(fault).__name__) from None

    @asynccontextmanager
    async def _opened(
        self,
        method: str,
        url: httpx.URL,
        where: str,
        headers: Mapping[str, str],
        content: bytes | None,
        *,
        token: bool,
        renew: bool,
        is_file: bool = False,
    ) -> AsyncIterator[httpx.Response]:
        """The answer after redirects; each hop is judged, and gets the token only where it may go.

        What needs no token may lie anywhere public, and so may what a server redirects a file to.
        """
        origins = self.client.origins
        bearer = await self._bearer(renew=renew) if token else {}
        asked = url
        for hop in range(self._patience.redirects + 1):
            url = origins.followed(url, where=where, strangers=is_file and (hop > 0 or not token))
            own = {**headers, **(bearer if origins.may_carry_token(url, asked=asked) else {})}
            self.requests += 1
            async with self._http.stream(method, url, headers=own, content=content) as response:
                if response.status_code not in _REDIRECTS:
                    yield response
                    return
                target = response.headers.get("location", "")
            asked, url = url, self.client.linked(target, url, where)
            if response.status_code == 303:
                method, content = "GET", None
        raise SourceUntrustworthy("too many redirects", where=where, fix="check base_url")

    async def _bearer(self, *, renew: bool) -> dict[str, str]:
        """The header with the token; many downloads that find it expired renew it once."""
        if self._token is None:
            return {}
        if not renew:
            return {"Authorization": f"Bearer {await self._token()}"}
        seen = self._generation
        async with self._renewal:
            fresh = seen != self._generation
            text = await self._token(renew=not fresh)
            self._generation += not fresh
            return {"Authorization": f"Bearer {text}"}


def _unauthorised(where: str, *, has_token: bool) -> ConfigError:
    return ConfigError(
        "the server does not accept the token" if has_token else "the server asks for a token",
        where=where,
        fix="check the site's credentials and scopes (system/*.rs)",
    )


def _fits(response: httpx.Response, start: int) -> bool:
    """Whether a partial answer goes on exactly where we stopped; a whole one always fits."""
    if response.status_code != 206:
        return response.status_code != 416
    found = re.match(r"bytes (\d+)-", response.headers.get("content-range", ""))
    return found is not None and start > 0 and int(found[1]) == start


def _sidecar(into: Path) -> Path:
    return into.with_name(into.name + ".etag")


def _validator(headers: httpx.Headers) -> str:
    """What says later that the file is still the same one: a strong ETag, or Last-Modified."""
    etag = headers.get("etag", "")
    found = etag if etag.startswith('"') else headers.get("last-modified", "")
    return found if found.isascii() and found.isprintable() else ""


def _resumable(into: Path) -> tuple[int, str]:
    """How much of the file is here and what it is known by; (0, "") if it has to start again."""
    try:
        validator = _sidecar(into).read_text(encoding="ascii")
        return (into.stat().st_size, validator) if validator else (0, "")
    except (OSError, UnicodeDecodeError):
        return 0, ""


def _forget(into: Path) -> None:
    _sidecar(into).unlink(missing_ok=True)
    into.unlink(missing_ok=True)
