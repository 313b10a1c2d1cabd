"""One hospital FHIR server over HTTP: the only module that opens a connection to it.

The token goes to the configured server (and those the site lists) and nowhere else: it is attached request by
request as :mod:`adapter.origins` says, because links inside answers (``next``, redirects) are chosen by the
other side.
Passing faults (429, 5xx, resets, timeouts, bodies cut short) are retried within bounds; refusals are raised
at once. URLs with a query hold patient ids: they are in no error, log or metric.

Source: FHIR R4 http.html and search.html; RFC 9110, 10.2.3 (Retry-After); RFC 6585 (429).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx
import msgspec
import stamina

from adapter.errors import ConfigError, SourceRefused, SourceUnavailable, SourceUntrustworthy
from adapter.origins import Origins
from adapter.source import dialects
from adapter.source.auth.scopes import Scopes
from adapter.source.auth.token import TokenSource

# httpx logs every URL at INFO and httpcore every answer's headers at DEBUG; both hold patient ids.
for _name in ("httpx", "httpcore"):
    logging.getLogger(_name).setLevel(logging.WARNING)

T = TypeVar("T")
ANNOUNCED_FOR = timedelta(minutes=10)
_PASSING = frozenset({408, 429, 500, 502, 503, 504})
_REDIRECTS = frozenset({301, 302, 303, 307, 308})


class Patience(msgspec.Struct, frozen=True):
    """How long to wait for what: seconds, attempts, bytes.

    ``total`` bounds one attempt from first byte out to last byte in: read timeouts alone never stop a server
    that sends one byte at a time. ``max_wait`` is the longest Retry-After that is honoured; a server that
    asks for more is reported as unavailable instead of being pestered.
    """

    attempts: int = 6
    connect: float = 10.0
    read: float = 60.0
    total: float = 180.0
    wait_initial: float = 0.5
    max_wait: float = 120.0
    max_bytes: int = 128 * 2**20
    redirects: int = 3


class Refusal(SourceRefused):
    """A refusal with its HTTP status, so that the caller can tell "no such type" from "not allowed"."""

    def __init__(self, status: int, where: str, detail: str = "", meaning: dialects.Meaning = "") -> None:
        self.status = status
        self.meaning = meaning
        detail = detail or _MEANINGS.get(meaning, "")
        self.reason = f"HTTP {status}{detail and ', ' + detail}"
        super().__init__(f"the server refused: {self.reason}", where=where, fix=_FIXES.get(status, ""))


_MEANINGS = {
    "glass": "break-the-glass: a person has to state a reason",
    "expired": "the paging session expired",
    "capped": "the search was cut off at a limit",
}
_FIXES = {
    400: "the server does not know this search; see its CapabilityStatement",
    403: "ask the hospital to grant this scope",
}


class _Passing(Exception):
    """A fault that may not happen again; ``wait`` is what the server asked for, in seconds."""

    def __init__(self, what: str, wait: float | None = None) -> None:
        super().__init__(what)
        self.wait = wait


class _Answer(msgspec.Struct, frozen=True):
    status: int
    location: str
    media: str
    body: bytes


class FhirClient:
    """Reads from one server. Use as ``async with FhirClient(base_url, token) as fhir``."""

    def __init__(
        self,
        base_url: str,
        token: TokenSource | None = None,
        *,
        patience: Patience | None = None,
        connections: int = 8,
        origins: Origins | None = None,
        ca_file: str = "",
        dialect: dialects.Dialect | None = None,
    ) -> None:
        self.named_dialect = dialect
        self.dialect = dialect or dialects.STANDARD
        self.origins = origins or Origins(base_url)
        self.base = httpx.URL(base_url.rstrip("/") + "/")
        self._token = token
        self._patience = patience or Patience()
        self._http = httpx.AsyncClient(
            timeout=httpx.Timeout(self._patience.read, connect=self._patience.connect),
            transport=self.origins.transport(connections=connections, ca_file=ca_file),
            headers={
                "Accept": "application/fhir+json",
                "Accept-Encoding": "gzip",
                "Cache-Control": "no-cache",  # HAPI answers a search from a minute ago otherwise
            },
            follow_redirects=False,
            trust_env=False,
        )
        self.requests = 0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.aclose()

    def url(self, path: str, params: Mapping[str, str] | None = None) -> httpx.URL:
        """Absolute URL of a path below the base (``Observation``, ``Patient/1``) with search parameters."""
        return self.base.join(path).copy_merge_params(dict(params or {}))

    def linked(self, link: str, base: httpx.URL, where: str) -> httpx.URL:
        """A link out of an answer, made absolute; raises SourceUntrustworthy if it is no URL."""
        try:
            return base.join(link)
        except httpx.InvalidURL:
            raise SourceUntrustworthy("a link in the answer is no URL", where=where) from None

    def is_ours(self, url: httpx.URL) -> bool:
        """Whether a URL leads to the configured server: same scheme, host and port."""
        return self.origins.is_base(url)

    def scopes(self) -> dict[str, str]:
        """The scopes asked for and granted, as written; empty where nobody said."""
        grant = getattr(self._token, "grant", None)
        if grant is None:
            return {}
        asked, granted = " ".join(grant.asked.written), " ".join(grant.scopes.written)
        return {"scopes_asked": asked, "scopes_granted": granted}

    def withheld(self, resource_type: str) -> str:
        """Why nothing that is said of a type proves absence: the token's scopes leave (some of) it out. "" if
        they do not, or if nobody said what they are."""
        scopes = getattr(self._token, "scopes", None)
        if not isinstance(scopes, Scopes) or scopes.reads(resource_type):
            return ""
        part = "a part of " if scopes.in_part(resource_type) else "no "
        return f"the token's scopes grant {part}{resource_type}"

    async def get(self, url: httpx.URL, wanted: type[T], *, where: str) -> T:
        """GET one JSON answer and decode it.

        ``where`` names the request in errors without its query. Raises ConfigError for 401 (after asking for
        another token once), :class:`Refusal` for any other 4xx, SourceUnavailable when retries are used up,
        SourceUntrustworthy for a foreign host, a page that is no FHIR, or one over the size limit.
        """
        try:
            async for attempt in stamina.retry_context(
                on=self._wait_for,
                attempts=self._patience.attempts,
                timeout=None,
                wait_initial=self._patience.wait_initial,
                wait_max=self._patience.max_wait,
                wait_jitter=self._patience.wait_initial,
            ):
                with attempt:
                    return self._decode(await self._authorised(url, where), wanted, where)
        except _Passing as fault:
            raise SourceUnavailable(str(fault), where=where, fix="try again later") from None
        raise AssertionError("stamina ends by returning or raising")

    def _wait_for(self, fault: Exception) -> bool | float:
        """Whether and how long to wait: as the server asked if it asked, with backoff otherwise."""
        if not isinstance(fault, _Passing):
            return False
        if fault.wait is None:
            return True
        return fault.wait if fault.wait <= self._patience.max_wait else False

    async def _authorised(self, url: httpx.URL, where: str) -> _Answer:
        answer = await self._followed(url, where, renew=False)
        if answer.status == 401 and self._token is not None:
            answer = await self._followed(url, where, renew=True)
        if answer.status == 401:
            # Every further request would end like this one: no type is at fault, so none is skipped.
            raise ConfigError(
                "the server does not accept the token" if self._token else "the server asks for a token",
                where=where,
                fix="adapter doctor shows more; smart, token_file or ADAPTER_TOKEN_FILE say how it is had",
            )
        if answer.status != 200:
            meaning = self.dialect.meaning(dialects.codes_in(answer.body))
            raise Refusal(answer.status, where, meaning=meaning)
        return answer

    async def _followed(self, url: httpx.URL, where: str, *, renew: bool) -> _Answer:
        asked, with_token = url, True
        for _ in range(self._patience.redirects + 1):
            url = self.origins.followed(url, where=where)
            with_token = with_token and self.origins.may_carry_token(url, asked=asked)
            answer = await self._bounded(url, where, with_token=with_token, renew=renew)
            renew = False
            if answer.status not in _REDIRECTS:
                return answer
            url = self.linked(answer.location, url, where)
        raise SourceUntrustworthy("too many redirects", where=where, fix="check base_url")

    async def _bounded(self, url: httpx.URL, where: str, *, with_token: bool, renew: bool) -> _Answer:
        headers = {}
        if self._token is not None and with_token:
            headers["Authorization"] = f"Bearer {await self._token(renew=renew)}"
        self.requests += 1
        try:
            async with asyncio.timeout(self._patience.total):
                return await self._read(url, where, headers)
        except TimeoutError:
            raise _Passing(f"no whole answer within {self._patience.total:g} s") from None
        except (httpx.TransportError, httpx.DecodingError) as fault:
            raise _Passing(type(fault).__name__) from None

    async def _read(self, url: httpx.URL, where: str, headers: dict[str, str]) -> _Answer:
        async with self._http.stream("GET", url, headers=headers) as response:
            if response.status_code in _PASSING:
                wait = retry_after(response.headers.get("Retry-After"), datetime.now(UTC))
                raise _Passing(f"HTTP {response.status_code}", wait)
            body = bytearray()
            async for chunk in response.aiter_bytes(2**16):
                body += chunk
                if len(body) > self._patience.max_bytes:
                    raise SourceUntrustworthy(
                        f"an answer of more than {self._patience.max_bytes} bytes",
                        fix="ask for smaller pages",
                    )
            return _Answer(
                response.status_code,
                response.headers.get("Location", ""),
                response.headers.get("Content-Type", ""),
                bytes(body),
            )

    def _decode(self, answer: _Answer, wanted: type[T], where: str) -> T:
        if "html" in answer.media.lower() or answer.body.lstrip()[:1] == b"<":
            raise SourceUntrustworthy(
                "the answer is a web page or XML, not FHIR JSON",
                where=where,
                fix="check base_url, token and proxy: this is often a login page",
            )
        try:
            return msgspec.json.decode(answer.body, type=wanted)
        except msgspec.ValidationError:
            raise SourceUntrustworthy("the answer is JSON, but not FHIR", where=where) from None
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise _Passing("the answer was cut short or is no JSON") from None
        except RecursionError:
            raise SourceUntrustworthy("the answer is nested too deeply", where=where) from None


def retry_after(text: str | None, now: datetime) -> float | None:
    """Seconds a Retry-After header asks to wait; None if it is absent, past or unreadable.

    >>> retry_after("120", datetime(2026, 1, 1, tzinfo=UTC))
    120.0
    >>> retry_after("Thu, 01 Jan 2026 00:00:30 GMT", datetime(2026, 1, 1, tzinfo=UTC))
    30.0
    """
    if text is None:
        return None
    text = text.strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, IndexError):
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    wait = (moment - now) / timedelta(seconds=1)
    return wait if wait > 0 else None


class Capabilities:
    """What a server says it can do (CapabilityStatement); one that lists no types rules nothing out."""

    def __init__(self, statement: Mapping[str, Any] | None) -> None:
        rests = [rest for rest in (statement or {}).get("rest", ()) if rest.get("mode") == "server"]
        listed = [resource for rest in rests for resource in rest.get("resource", ()) if "type" in resource]
        self._types: dict[str, Mapping[str, Any]] | None = {one["type"]: one for one in listed} or None

    def has(self, resource_type: str) -> bool:
        return self._types is None or resource_type in self._types

    def searches(self, resource_type: str, parameter: str) -> bool:
        """Whether the type can be searched by the parameter; a type that lists none is given a try."""
        if self._types is None:
            return True
        listed = self._types.get(resource_type, {}).get("searchParam", ())
        return not listed or any(item.get("name") == parameter for item in listed)

    def includes(self, resource_type: str, path: str) -> bool:
        """Whether ``_include=path`` is announced."""
        return path in (self._types or {}).get(resource_type, {}).get("searchInclude", ())


class Announced:
    """What servers said they can do, kept by whoever asks them again and again.

    Kept for :data:`ANNOUNCED_FOR` and no longer than until :meth:`forget`, which is called when anything went
    otherwise than announced: a server that was restarted, changed or replaced is then asked again.
    """

    def __init__(self) -> None:
        self._known: dict[str, tuple[datetime, Capabilities, dialects.Dialect]] = {}

    def forget(self) -> None:
        self._known.clear()

    async def by(self, client: FhirClient, now: datetime) -> Capabilities:
        """:func:`capabilities`, if need be."""
        known = self._known.get(str(client.base))
        if known is not None and timedelta() <= now - known[0] < ANNOUNCED_FOR:
            client.dialect = known[2]
            return known[1]
        found = await capabilities(client)
        self._known[str(client.base)] = now, found, client.dialect
        return found


async def capabilities(client: FhirClient) -> Capabilities:
    """Read ``/metadata``; a server that refuses it is taken at its answers instead.

    From then on the client speaks the dialect of the server's make, unless it was told one.
    """
    try:
        statement = await client.get(client.url("metadata"), dict[str, Any], where="metadata")
    except SourceRefused:
        return Capabilities(None)
    if statement.get("resourceType") != "CapabilityStatement":
        raise SourceUntrustworthy(
            "no CapabilityStatement at /metadata",
            where="metadata",
            fix="check that base_url is a FHIR R4 base",
        )
    client.dialect = client.named_dialect or dialects.recognised(statement, client.base.host)
    return Capabilities(statement)
