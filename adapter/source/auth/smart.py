"""SMART Backend Services: a token for a signed statement, renewed before and whenever it ends.

The adapter finds the token address in ``.well-known/smart-configuration`` (or is told it), signs who it is
with its private key (RS384, ES384) and gets a bearer token for a few minutes. One request for a token is
under way at a time; everyone else waits for its answer. What the server grants may be less than was asked
for: it is kept in :attr:`SmartToken.grant`, and a type not granted is not covered, whatever a search answers.

A server whose clock differs by more than :data:`SKEW` seconds refuses good statements: then its own ``Date``
is believed once, and the difference kept in :attr:`SmartToken.skew`. A server that does not know the newest
key yet (its copy of the JWK Set is older) is given the next one of the key file.

Refusals are ConfigErrors, since every request would end alike; they name the OAuth error code and what to do,
never the statement, the token or the server's own words.
Source: SMART App Launch 2.2, "Backend Services" and "Asymmetric authentication"; RFC 6749, 5; RFC 7523.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
from joserfc import jwt

from adapter.config import Smart
from adapter.errors import AdapterError, ConfigError
from adapter.origins import Origins
from adapter.source.auth.keys import SigningKey
from adapter.source.auth.scopes import Scopes
from adapter.source.auth.server import Authorisation, Endpoint, Refused, TokenAnswer, Waiting

SKEW = 30.0  # seconds a clock may differ before it is suspected
_STATEMENT_SECONDS = 240  # SMART allows 300; the rest is for clocks
_LIFETIME = 300.0  # SMART's longest: believed where the server says nothing, or nonsense
_LONGEST = 3600.0
_MARGIN = 30.0
# Answers that a wrong clock or a key not yet known may give.
_MAYBE_CLOCK = frozenset({"invalid_client", "invalid_grant", "invalid_request", "unauthorized_client", ""})

_log = logging.getLogger(__name__)


class Grant(msgspec.Struct, frozen=True):
    """What came with the last token. ``said`` is False where the server left the scopes out (all granted)."""

    scopes: Scopes
    asked: Scopes
    lifetime: float
    kid: str
    said: bool = True


class SmartToken:
    """A :class:`~adapter.source.auth.token.TokenSource` for one server, shared by any number of requests.

    ``keys`` are tried in order; ``clock`` gives the time for statements, ``monotonic`` measures lifetimes.
    """

    def __init__(
        self,
        smart: Smart,
        base_url: str,
        keys: Sequence[SigningKey],
        *,
        origins: Origins | None = None,
        ca_file: str = "",
        waiting: Waiting | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._smart, self._base, self._keys = smart, base_url.rstrip("/"), list(keys)
        known = origins or Origins(base_url)
        if smart.token_url:
            known = known.including(smart.token_url)
        self._server = Authorisation(
            known, ca_file=ca_file, waiting=waiting, clock=clock, monotonic=monotonic
        )
        self._clock, self._monotonic = clock, monotonic
        self._lock = asyncio.Lock()
        self._token = ""
        self._issued = self._until = 0.0
        self._faults = 0
        self._fault: AdapterError | None = None
        self._endpoint: Endpoint | None = None
        self.skew = 0.0
        self.grant: Grant | None = None

    def __repr__(self) -> str:
        return f"SmartToken({self._smart.client_id})"

    @property
    def newest(self) -> str:
        """The id of the first key of the file."""
        return self._keys[0].kid

    @property
    def scopes(self) -> Scopes | None:
        """What is granted; None before the first token."""
        return self.grant.scopes if self.grant else None

    async def __call__(self, *, renew: bool = False) -> str:
        """The current token; with ``renew`` another one, unless it was renewed by someone else just now.

        Raises ConfigError for a refusal, SourceUnavailable when there is no answer after retries,
        SourceUntrustworthy for an answer that is none.
        """
        seen, faults = self._token, self._faults
        if not renew and self._lasts():
            return seen
        async with self._lock:
            renewed_meanwhile = self._token != seen
            if self._lasts() and (renewed_meanwhile or not renew or self._just_issued()):
                return self._token
            if self._fault is not None and self._faults != faults:
                raise self._fault  # of whom we waited for: asking again at once would end alike
            await self._tried()
            return self._token

    async def endpoint(self) -> Endpoint:
        """Where tokens are had; read once. Raises as :meth:`__call__` does."""
        if self._endpoint is None:
            told = self._smart.token_url
            self._endpoint = Endpoint(told) if told else await self._server.discover(self._base)
        return self._endpoint

    def _lasts(self) -> bool:
        return bool(self._token) and self._monotonic() < self._until

    def _just_issued(self) -> bool:
        """Requests that were under way with the token before are refused one after the other."""
        return self._monotonic() - self._issued < min(1.0, (self._until - self._issued) / 10)

    async def _tried(self) -> None:
        try:
            await self._sign_in()
        except AdapterError as fault:
            self._fault = fault
            self._faults += 1
            raise

    async def _sign_in(self) -> None:
        endpoint = await self.endpoint()
        keys = [key for key in self._keys if not endpoint.algorithms or key.algorithm in endpoint.algorithms]
        if not keys:
            raise ConfigError(
                f"the server takes {', '.join(endpoint.algorithms)}, the key signs {self._keys[0].algorithm}",
                where="smart",
                fix="adapter keys new --alg RS384 (or ES384), and register the new key",
            )
        refused: list[Refused] = []
        for key in keys:
            try:
                token, answered = await self._with_clock(endpoint.url, key)
            except Refused as fault:
                refused.append(fault)
                if fault.code not in _MAYBE_CLOCK:
                    break
                continue
            self._accept(token, key, answered)
            return
        plain = next((fault for fault in refused if fault.code not in _MAYBE_CLOCK), refused[0])
        raise _explained(plain, self._smart, keys)

    async def _with_clock(self, url: str, key: SigningKey) -> tuple[TokenAnswer, float]:
        """Sign by our clock, and by the server's if it refuses and differs."""
        try:
            return await self._asked(url, key)
        except Refused as fault:
            if fault.code not in _MAYBE_CLOCK or abs(fault.skew - self.skew) <= SKEW:
                raise
            before, self.skew = self.skew, fault.skew
            try:
                answer = await self._asked(url, key)
            except Refused:
                self.skew = before
                raise fault from None
            _log.warning("the authorisation server's clock differs from ours by %.0f s", self.skew)
            return answer

    def _accept(self, token: TokenAnswer, key: SigningKey, asked_at: float) -> None:
        lifetime = _lifetime(token.expires_in)
        self._token = token.access_token
        self._issued = asked_at
        self._until = asked_at + lifetime - min(_MARGIN, lifetime / 10)
        asked = Scopes(self._smart.scopes)
        granted = asked if token.scope is None else Scopes.parse(token.scope)
        self.grant = Grant(granted, asked, lifetime, key.kid, token.scope is not None)

    @property
    def requests(self) -> int:
        """How often a token was asked for, retries included."""
        return self._server.requests

    async def _asked(self, url: str, key: SigningKey) -> tuple[TokenAnswer, float]:
        return await self._server.ask(url, lambda: self._statement(url, key), self._smart.scopes)

    def _statement(self, url: str, key: SigningKey) -> str:
        now = int(self._clock().timestamp() + self.skew)
        claims = {
            "iss": self._smart.client_id,
            "sub": self._smart.client_id,
            "aud": url,
            "iat": now,
            "exp": now + _STATEMENT_SECONDS,
            "jti": secrets.token_urlsafe(32),
        }
        header = {"alg": key.algorithm, "kid": key.kid, "typ": "JWT"}
        return jwt.encode(header, claims, key.key, algorithms=[key.algorithm])


def _lifetime(said: Any) -> float:
    """Seconds a token lives by ``expires_in``, a number or one in quotes; SMART's longest if neither."""
    try:
        seconds = float(said) if isinstance(said, int | float | str) and not isinstance(said, bool) else 0.0
    except (ValueError, OverflowError):
        seconds = 0.0
    return min(seconds, _LONGEST) if seconds > 0 else _LIFETIME


def _explained(fault: Refused, smart: Smart, keys: Sequence[SigningKey]) -> ConfigError:
    kids = ", ".join(key.kid for key in keys)
    fix = {
        "invalid_scope": f"have these granted, or ask for less in smart.scopes: {' '.join(smart.scopes)}",
        "unauthorized_client": "ask the hospital to allow client_credentials for this client",
        "unsupported_grant_type": "this address has no sign-in for backend services; check smart.token_url",
    }.get(
        fault.code,
        f"check smart.client_id; register the public key {kids} (adapter keys list) and wait until the "
        "server has it; compare clocks",
    )
    clock = f", its clock differs by {fault.skew:.0f} s" if abs(fault.skew) > SKEW else ""
    return ConfigError(
        f"the authorisation server refused: {fault.code or 'no reason given'} (HTTP {fault.status}){clock}",
        where="token",
        fix=fix,
    )
