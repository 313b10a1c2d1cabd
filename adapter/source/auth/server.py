"""Talking to a hospital's authorisation server: where tokens are had, and asking for one.

Every answer is bounded in time and size; passing faults are tried again within bounds, each time with a new
statement (unique ``jti``); redirects are not followed, since a statement is for the address it names.
Source: SMART App Launch 2.2, "Conformance" and "Backend Services"; RFC 6749, 5.1 and 5.2.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar

import httpx
import msgspec
import stamina

from adapter.errors import ConfigError, SourceUnavailable, SourceUntrustworthy
from adapter.origins import Origins
from adapter.source.client import retry_after

T = TypeVar("T")
_MAX_BYTES = 2**20
_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})
_OAUTH = frozenset(
    {
        "invalid_request",
        "invalid_client",
        "invalid_grant",
        "unauthorized_client",
        "unsupported_grant_type",
        "invalid_scope",
    }
)
_TOKEN = re.compile(r"[\x21-\x7e]+")


class Endpoint(msgspec.Struct, frozen=True):
    """Where tokens are had, and what the server says of itself (empty where it says nothing)."""

    url: str
    algorithms: tuple[str, ...] = ()
    scopes: tuple[str, ...] = ()
    discovered: bool = False


class Waiting(msgspec.Struct, frozen=True):
    """How long to wait for the authorisation server: attempts, seconds."""

    attempts: int = 4
    connect: float = 10.0
    total: float = 30.0
    wait_initial: float = 0.5
    max_wait: float = 60.0


class Refused(Exception):
    """A refusal: OAuth error code ("" if none of RFC 6749's), HTTP status, seconds its clock is ahead."""

    def __init__(self, code: str, status: int, skew: float) -> None:
        super().__init__(code)
        self.code, self.status, self.skew = code, status, skew


class _Passing(Exception):
    def __init__(self, what: str, wait: float | None = None) -> None:
        super().__init__(what)
        self.wait = wait


class _Configuration(msgspec.Struct):
    token_endpoint: str = ""
    token_endpoint_auth_signing_alg_values_supported: tuple[str, ...] = ()
    scopes_supported: tuple[str, ...] = ()
    grant_types_supported: tuple[str, ...] = ()


class TokenAnswer(msgspec.Struct):
    """What came with a token, as the server wrote it."""

    access_token: str
    token_type: str = "bearer"  # noqa: S105 - the kind of token, not one
    expires_in: Any = None
    scope: str | None = None


class Authorisation:
    """One authorisation server. ``clock`` tells the time, ``monotonic`` measures it."""

    def __init__(
        self,
        origins: Origins,
        *,
        ca_file: str = "",
        waiting: Waiting | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._origins, self._ca_file = origins, ca_file
        self._waiting = waiting or Waiting()
        self._clock, self._monotonic = clock, monotonic
        self.requests = 0

    async def ask(
        self, url: str, statement: Callable[[], str], scopes: tuple[str, ...]
    ) -> tuple[TokenAnswer, float]:
        """Sign in once: the answer and the (monotonic) moment it was sent.

        Raises :class:`Refused`; SourceUnavailable and SourceUntrustworthy for no answer and for none that is
        one; ConfigError for a redirect.
        """

        async def attempt() -> tuple[TokenAnswer, float]:
            self.requests += 1
            sent = self._monotonic()
            form = {
                "grant_type": "client_credentials",
                "scope": " ".join(scopes),
                "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
                "client_assertion": statement(),
            }
            answer, body = await self._exchange("POST", url, "token", form)
            if answer.status_code not in (200, 201):
                raise Refused(_code(body), answer.status_code, self._skew_of(answer))
            return _token(body), sent

        return await self._patiently(attempt, "token")

    async def discover(self, base_url: str) -> Endpoint:
        """Read ``.well-known/smart-configuration`` of a FHIR server; raises ConfigError if it has none."""
        url, where = f"{base_url.rstrip('/')}/.well-known/smart-configuration", "smart-configuration"
        fix = "ask the hospital for the token address and put it into smart.token_url"

        async def attempt() -> tuple[httpx.Response, bytes]:
            return await self._exchange("GET", url, where)

        answer, body = await self._patiently(attempt, where)
        if answer.status_code != 200:
            raise ConfigError(
                f"the server does not say where tokens are had (HTTP {answer.status_code})",
                where=where,
                fix=fix,
            )
        try:
            found = msgspec.json.decode(body, type=_Configuration)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            raise SourceUntrustworthy("the answer is no SMART configuration", where=where, fix=fix) from None
        if found.grant_types_supported and "client_credentials" not in found.grant_types_supported:
            raise ConfigError(
                "the server has no sign-in for backend services (client_credentials)", where=where, fix=fix
            )
        self._origins.followed(found.token_endpoint, where=where, strangers=True)
        return Endpoint(
            found.token_endpoint,  # as written: it is the audience of the statement
            found.token_endpoint_auth_signing_alg_values_supported,
            found.scopes_supported,
            discovered=True,
        )

    async def _patiently(self, attempt: Callable[[], Awaitable[T]], where: str) -> T:
        def wait_for(fault: Exception) -> bool | float:
            if not isinstance(fault, _Passing):
                return False
            return fault.wait is None or (fault.wait if fault.wait <= self._waiting.max_wait else False)

        try:
            async for trial in stamina.retry_context(
                on=wait_for,
                attempts=self._waiting.attempts,
                timeout=None,
                wait_initial=self._waiting.wait_initial,
                wait_max=self._waiting.max_wait,
                wait_jitter=self._waiting.wait_initial,
            ):
                with trial:
                    return await attempt()
        except _Passing as fault:
            raise SourceUnavailable(
                f"the authorisation server does not answer ({fault})", where=where, fix="try again later"
            ) from None
        raise AssertionError("stamina ends by returning or raising")

    async def _exchange(
        self, method: str, url: str, where: str, form: dict[str, str] | None = None
    ) -> tuple[httpx.Response, bytes]:
        """One request. Redirects are not followed: a statement is for the address it names."""
        self._origins.followed(url, where=where, strangers=True)
        body = bytearray()
        try:
            async with (
                asyncio.timeout(self._waiting.total),
                httpx.AsyncClient(
                    transport=self._origins.transport(connections=1, ca_file=self._ca_file),
                    headers={"Accept": "application/json"},
                    timeout=httpx.Timeout(self._waiting.total, connect=self._waiting.connect),
                    trust_env=False,
                    follow_redirects=False,
                ) as http,
                http.stream(method, url, data=form) as answer,
            ):
                async for chunk in answer.aiter_bytes():
                    body += chunk
                    if len(body) > _MAX_BYTES:
                        raise SourceUntrustworthy(
                            "the answer is far too long", where=where, fix="check the address"
                        )
        except TimeoutError:
            raise _Passing(f"no whole answer within {self._waiting.total:g} s") from None
        except (httpx.TransportError, httpx.DecodingError) as fault:
            raise _Passing(type(fault).__name__) from None
        if answer.status_code in _PASSING:
            wait = retry_after(answer.headers.get("Retry-After"), self._clock())
            raise _Passing(f"HTTP {answer.status_code}", wait)
        if answer.is_redirect:
            raise ConfigError(
                "the server sends elsewhere for this; it was not followed",
                where=where,
                fix="put the address that the hospital names into smart.token_url",
            )
        return answer, bytes(body)

    def _skew_of(self, answer: httpx.Response) -> float:
        """How far the server's clock is ahead of ours, in seconds; 0 if it does not say."""
        try:
            theirs = parsedate_to_datetime(answer.headers["Date"])
        except (KeyError, ValueError, TypeError):
            return 0.0
        theirs = theirs if theirs.tzinfo else theirs.replace(tzinfo=UTC)
        return (theirs - self._clock()).total_seconds()


def _token(body: bytes) -> TokenAnswer:
    fix = "check smart.token_url: this is often a login page or a proxy"
    try:
        token = msgspec.json.decode(body, type=TokenAnswer)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise SourceUntrustworthy("the answer holds no token", where="token", fix=fix) from None
    if token.token_type.lower() != "bearer" or not _TOKEN.fullmatch(token.access_token):
        raise SourceUntrustworthy("the answer holds no bearer token", where="token", fix=fix)
    return token


def _code(body: bytes) -> str:
    """The OAuth error code of an answer, if it is one of RFC 6749's; "" otherwise."""
    try:
        code = msgspec.json.decode(body)["error"]
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, KeyError, TypeError):
        return ""
    return code if isinstance(code, str) and code in _OAUTH else ""
