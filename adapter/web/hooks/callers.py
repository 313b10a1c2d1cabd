"""Who calls a CDS service: a signed statement, made for exactly this address, for a few minutes, once.

Only configured callers count, by ``iss`` and their own keys; an address of keys inside the token (``jku``) is
never looked at, and neither are ``none`` and shared secrets. Source: CDS Hooks 2.0, "Trusting CDS Clients";
RFC 7519; RFC 8725.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import httpx
from joserfc import jws, jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from adapter.config import HookClient
from adapter.errors import AdapterError, ConfigError
from adapter.origins import Origins
from adapter.web.interactions import Clock

ALGORITHMS = ["ES384", "RS384"]
SKEW = timedelta(seconds=60)
LONGEST = timedelta(minutes=5)
_KEYS_LAST = timedelta(hours=1)
_KEYS_ANEW = timedelta(seconds=30)
_LARGEST = 2**20
_SECONDS = 5.0


class NotTrusted(Exception):
    """The statement proves nothing; ``reason`` is one word, and quotes nothing of it."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Caller(NamedTuple):
    """``until`` is when the statement would not count anyway."""

    name: str
    iss: str
    jti: str
    until: datetime


class Callers:
    """The configured callers. Raises :class:`ConfigError` for one without keys, or two of one name."""

    def __init__(
        self,
        clients: Mapping[str, HookClient],
        origins: Callable[[str], Origins],
        *,
        clock: Clock,
        ca_file: str = "",
    ) -> None:
        self._clock = clock
        self._names = {client.iss: name for name, client in clients.items()}
        if len(self._names) != len(clients):
            raise ConfigError("two callers share an iss", where="[hooks.clients]", fix="one of each")
        self._keys = {
            client.iss: _Keys(name, client, origins, clock, ca_file) for name, client in clients.items()
        }

    async def proven(self, header: str, address: str) -> Caller:
        """The caller whose ``Authorization`` this is, for the address called; raises :class:`NotTrusted`."""
        scheme, _, token = header.partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise NotTrusted("missing")
        said = _unproven(token)
        iss = said.claims.get("iss")
        keys = self._keys.get(iss) if isinstance(iss, str) else None
        if keys is None or not isinstance(iss, str):
            raise NotTrusted("iss")
        if said.header.get("alg") not in ALGORITHMS:
            raise NotTrusted("alg")
        claims = await self._verified(token, said.header.get("kid"), keys)
        until = self._in_time(claims)
        audience = claims.get("aud")
        if address not in (audience if isinstance(audience, list) else [audience]):
            raise NotTrusted("aud")
        jti = claims.get("jti")
        if not isinstance(jti, str) or not 0 < len(jti) <= 200:
            raise NotTrusted("jti")
        return Caller(self._names[iss], iss, jti, until)

    async def _verified(self, token: str, kid: object, keys: _Keys) -> dict[str, Any]:
        for anew in (False, True):
            found = await keys.get(kid, anew=anew)
            try:
                return dict(jwt.decode(token, found, algorithms=ALGORITHMS).claims)
            except (JoseError, ValueError, TypeError, KeyError):
                continue
        raise NotTrusted("signature")

    def _in_time(self, claims: Mapping[str, Any]) -> datetime:
        now = self._clock()
        exp, iat, nbf = (_time(claims.get(name)) for name in ("exp", "iat", "nbf"))
        if exp is None or iat is None:
            raise NotTrusted("exp" if exp is None else "iat")
        if now >= exp + SKEW or exp > now + LONGEST + SKEW:
            raise NotTrusted("exp")
        if iat > now + SKEW or (nbf is not None and nbf > now + SKEW):
            raise NotTrusted("iat")
        return exp + SKEW


class _Keys:
    """The public keys of one caller, kept for an hour; an unknown one is looked for again, not too often."""

    def __init__(
        self,
        name: str,
        client: HookClient,
        origins: Callable[[str], Origins],
        clock: Clock,
        ca_file: str,
    ) -> None:
        where = f"[hooks.clients.{name}]"
        if bool(client.jwks_url) == bool(client.jwks_file):
            raise ConfigError("a caller needs its keys", where=where, fix="name jwks_url or jwks_file")
        self._clock, self._ca_file = clock, ca_file
        self._url, self._lock = client.jwks_url, asyncio.Lock()
        self._origins = origins(client.jwks_url) if client.jwks_url else None
        self._set: KeySet | None = None
        self._read_at = datetime.min.replace(tzinfo=UTC)
        if client.jwks_file:
            self._set = _from_file(Path(client.jwks_file), where)

    async def get(self, kid: object, *, anew: bool) -> KeySet:
        if self._url:
            await self._refresh(_KEYS_ANEW if anew or not self._has(kid) else _KEYS_LAST)
        if self._set is None:
            raise NotTrusted("keys")
        return self._set

    def _has(self, kid: object) -> bool:
        return self._set is not None and any(key.kid == kid for key in self._set.keys)

    async def _refresh(self, older_than: timedelta) -> None:
        async with self._lock:
            if self._clock() - self._read_at < older_than:
                return
            self._read_at = self._clock()
            found = await self._fetched()
            if found is not None:
                self._set = found

    async def _fetched(self) -> KeySet | None:
        """The keys at the configured address, None if they cannot be had: the former ones count on."""
        assert self._origins is not None  # noqa: S101 - there is an address
        body = bytearray()
        try:
            self._origins.followed(self._url, where="jwks_url")
            async with (
                asyncio.timeout(_SECONDS),
                httpx.AsyncClient(
                    transport=self._origins.transport(connections=1, ca_file=self._ca_file),
                    trust_env=False,
                    follow_redirects=False,
                ) as http,
                http.stream("GET", self._url, headers={"Accept": "application/json"}) as answer,
            ):
                async for chunk in answer.aiter_bytes():
                    body += chunk
                    if len(body) > _LARGEST:
                        return None
            return _key_set(bytes(body)) if answer.status_code == 200 else None
        except (AdapterError, TimeoutError, httpx.HTTPError):
            return None


class _Said(NamedTuple):
    header: dict[str, Any]
    claims: dict[str, Any]


def _unproven(token: str) -> _Said:
    """What a token says of itself, to know whose keys to try; nothing of it is believed yet."""
    try:
        parts = jws.extract_compact(token.encode())
        claims = json.loads(parts.payload)
        header = dict(parts.headers())
    except (JoseError, ValueError, TypeError, RecursionError):
        raise NotTrusted("token") from None
    if not isinstance(claims, dict) or header.get("crit"):
        raise NotTrusted("token")
    return _Said(header, claims)


def _from_file(path: Path, where: str) -> KeySet:
    try:
        found = _key_set(path.read_bytes())
    except OSError as fault:
        raise ConfigError(
            f"the keys cannot be read ({fault.strerror})", where=f"{where} {path}", fix="name a JWK Set"
        ) from None
    if found is None:
        raise ConfigError("no keys for ES384 or RS384", where=f"{where} {path}", fix="name a JWK Set")
    return found


def _key_set(body: bytes) -> KeySet | None:
    """Public keys of EC and RSA alone: a shared secret in a key set would make it one."""
    try:
        keys = json.loads(body)["keys"]
        kept = [key for key in keys if key.get("kty") in ("EC", "RSA") and key.get("use", "sig") == "sig"]
        return KeySet.import_key_set({"keys": kept}) if kept else None
    except (JoseError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None


def _time(value: object) -> datetime | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return datetime.fromtimestamp(value, UTC)
    except (OverflowError, ValueError, OSError):
        return None
