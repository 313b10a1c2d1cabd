"""The hospital's identity provider: where to send a browser, and what its answer proves.

Authorization code with PKCE (S256), state and nonce; the ID token is checked as OpenID Connect Core 1.0,
3.1.3.7 asks, by keys read from the provider and read again when it signs with one we do not know. Only
signatures with public keys count. Sources: OpenID Connect Core 1.0 and Discovery 1.0; RFC 7636; RFC 9207; RFC
9700; RFC 8725."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import secrets
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from urllib.parse import quote, urlencode

import httpx
import msgspec
from joserfc import jws, jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from adapter.access import Grant, is_proper
from adapter.config import OpenId
from adapter.errors import AdapterError, ConfigError
from adapter.origins import Origins
from adapter.web.access import Clock

ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
SKEW = timedelta(seconds=60)
_OLDEST = timedelta(minutes=10)  # an ID token is fetched the moment it is made
_KEYS_ANEW = timedelta(seconds=30)
_LARGEST = 1_000_000
_SECONDS = 10.0


class NotProven(Exception):
    """The answer of a provider proves nothing. ``reason`` is one word, and quotes nothing of it."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"sign-in refused: {reason}")
        self.reason = reason


class Metadata(msgspec.Struct, frozen=True):
    """What we need of ``.well-known/openid-configuration``."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    token_endpoint_auth_methods_supported: tuple[str, ...] = ("client_secret_basic",)
    authorization_response_iss_parameter_supported: bool = False


class Asked(NamedTuple):
    """What goes to the provider (``url``) and what stays here until its answer comes."""

    url: str
    nonce: str
    verifier: str


class Person(NamedTuple):
    """Who signed in there: ``account`` is issuer and subject, since names may pass to somebody else."""

    account: str
    name: str
    grants: tuple[Grant, ...]


class Provider:
    """One provider. ``transport`` stands in for the network in tests."""

    def __init__(
        self, openid: OpenId, clock: Clock, *, transport: httpx.AsyncBaseTransport | None = None
    ) -> None:
        self._openid, self._clock = openid, clock
        self._secret = openid.secret().decode()
        self._origins = Origins(openid.issuer, openid.allowed_origins)
        self._transport = transport
        self._metadata: Metadata | None = None
        self._keys: KeySet | None = None
        self._keys_at: datetime | None = None
        self._reading = asyncio.Lock()

    @property
    def shown_as(self) -> str:
        return self._openid.shown_as

    async def ask(self, state: str, redirect_uri: str, *, again: bool = False) -> Asked:
        """The address to send a browser to. ``again`` has a person sign in anew who is signed in there."""
        known = await self._known()
        nonce, verifier = secrets.token_urlsafe(32), secrets.token_urlsafe(48)
        challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
        query = {
            "response_type": "code",
            "client_id": self._openid.client_id,
            "redirect_uri": redirect_uri,
            "scope": " ".join(self._openid.scopes),
            "state": state,
            "nonce": nonce,
            "code_challenge": challenge,
            "code_challenge_method": "S256",
        }
        if again:
            query |= {"prompt": "login", "max_age": "0"}
        joined = "&" if "?" in known.authorization_endpoint else "?"
        return Asked(f"{known.authorization_endpoint}{joined}{urlencode(query)}", nonce, verifier)

    async def redeem(
        self,
        answer: Mapping[str, str],
        *,
        nonce: str,
        verifier: str,
        redirect_uri: str,
        since: datetime | None = None,
    ) -> dict[str, Any]:
        """The claims of the ID token for the code in an answer; raises :class:`NotProven`.

        ``since`` asks that the person signed in there at or after that instant (``auth_time``).
        """
        known = await self._known()
        if answer.get("error"):
            raise NotProven("provider")
        iss = answer.get("iss")
        if iss != known.issuer and (iss is not None or known.authorization_response_iss_parameter_supported):
            raise NotProven("iss")
        form = {
            "grant_type": "authorization_code",
            "code": answer.get("code", ""),
            "redirect_uri": redirect_uri,
            "code_verifier": verifier,
        }
        token = (await self._token(known, form)).get("id_token")
        if not isinstance(token, str):
            raise NotProven("id_token")
        return await self.verified(token, nonce=nonce, since=since)

    async def verified(self, token: str, *, nonce: str, since: datetime | None = None) -> dict[str, Any]:
        """The claims of an ID token that this provider made for us just now; raises :class:`NotProven`."""
        claims = await self._signed(token)
        now, ours = self._clock(), self._openid.client_id
        audience = claims.get("aud")
        several = audience if isinstance(audience, list) else [audience]
        azp = claims.get("azp")
        if claims.get("iss") != self._openid.issuer:
            raise NotProven("iss")
        if ours not in several:
            raise NotProven("aud")
        if (len(several) > 1 or azp is not None) and azp != ours:
            raise NotProven("azp")
        if now >= _instant(claims, "exp") + SKEW:
            raise NotProven("exp")
        issued = _instant(claims, "iat")
        if not now - _OLDEST - SKEW <= issued <= now + SKEW:
            raise NotProven("iat")
        if "nbf" in claims and now + SKEW < _instant(claims, "nbf"):
            raise NotProven("nbf")
        if not hmac.compare_digest(str(claims.get("nonce", "")).encode(), nonce.encode()):
            raise NotProven("nonce")
        subject = claims.get("sub")
        if not isinstance(subject, str) or not subject or len(subject) > 255:
            raise NotProven("sub")
        if since is not None and _instant(claims, "auth_time") < since - SKEW:
            raise NotProven("auth_time")
        return claims

    def person(self, claims: Mapping[str, Any], site: str) -> Person:
        """Who the claims are about and what their roles open here, by ``[[sign_in.openid.roles]]``."""
        has = _values(claims, self._openid.claim)
        rules = [rule for rule in self._openid.roles if rule.value in has]
        grants = tuple(sorted({Grant(rule.role, rule.study, site, rule.until) for rule in rules}))
        told = next(
            (str(claims[key]) for key in ("name", "preferred_username") if claims.get(key)), claims["sub"]
        )
        name = "".join(one for one in told if one.isprintable())[:100]
        account = f"{self._openid.issuer}#{claims['sub']}"
        return Person(account, name, tuple(one for one in grants if is_proper(one)))

    async def _signed(self, token: str) -> dict[str, Any]:
        for anew in (False, True):
            keys = await self._key_set(anew=anew)
            try:
                header = jws.extract_compact(token.encode()).headers()
                if header.get("alg") not in ALGORITHMS:
                    raise NotProven("alg")
                unknown = header.get("kid") is not None and header["kid"] not in {
                    key.kid for key in keys.keys
                }
                if unknown and not anew:
                    continue
                return dict(jwt.decode(token, keys, algorithms=list(ALGORITHMS)).claims)
            except (JoseError, ValueError):
                if anew:
                    break
        raise NotProven("signature")

    async def _known(self) -> Metadata:
        async with self._reading:
            if self._metadata is None:
                url = f"{self._openid.issuer.rstrip('/')}/.well-known/openid-configuration"
                try:
                    found = msgspec.convert(await self._get(url), Metadata)
                except msgspec.ValidationError:
                    raise NotProven("discovery") from None
                if found.issuer != self._openid.issuer:
                    raise NotProven("issuer")
                self._origins.followed(found.authorization_endpoint, where="openid", strangers=True)
                self._metadata = found
        return self._metadata

    async def _key_set(self, *, anew: bool) -> KeySet:
        known = await self._known()
        async with self._reading:
            now = self._clock()
            rested = self._keys_at is None or abs(now - self._keys_at) >= _KEYS_ANEW
            if self._keys is None or (anew and rested):
                try:
                    found = await self._get(known.jwks_uri)
                    public = [key for key in found.get("keys", []) if key.get("kty") in ("RSA", "EC", "OKP")]
                    self._keys = KeySet.import_key_set(
                        {"keys": [k for k in public if k.get("use", "sig") == "sig"]}
                    )
                except (JoseError, ValueError, TypeError, AttributeError, KeyError):
                    raise NotProven("jwks") from None
                self._keys_at = now
            return self._keys

    async def _token(self, known: Metadata, form: dict[str, str]) -> dict[str, Any]:
        headers = {"Accept": "application/json"}
        if not self._secret:
            form = {**form, "client_id": self._openid.client_id}
        elif "client_secret_basic" in known.token_endpoint_auth_methods_supported:
            pair = f"{quote(self._openid.client_id, safe='')}:{quote(self._secret, safe='')}"
            headers["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
        else:
            form = {**form, "client_id": self._openid.client_id, "client_secret": self._secret}
        return await self._fetch("POST", known.token_endpoint, headers=headers, data=form, reason="token")

    async def _get(self, url: str) -> dict[str, Any]:
        return await self._fetch("GET", url, headers={"Accept": "application/json"}, reason="unreachable")

    async def _fetch(self, method: str, url: str, *, reason: str, **request: Any) -> dict[str, Any]:
        """A JSON object; redirects are not followed, and neither waiting nor size is without end."""
        transport = self._transport or self._origins.transport(ca_file=self._openid.ca_file)
        try:
            target = self._origins.followed(url, where="openid", strangers=True)
            async with (
                asyncio.timeout(_SECONDS),
                httpx.AsyncClient(transport=transport, trust_env=False) as client,
                client.stream(method, target, **request) as answer,
            ):
                body = bytearray()
                async for part in answer.aiter_bytes():
                    body += part
                    if len(body) > _LARGEST:
                        raise NotProven("size")
                if answer.status_code != 200:
                    raise NotProven(reason)
            found = msgspec.json.decode(body)
        except (httpx.HTTPError, TimeoutError, msgspec.DecodeError):
            raise NotProven(reason) from None
        except ConfigError:
            raise
        except AdapterError:
            raise NotProven("address") from None
        if not isinstance(found, dict):
            raise NotProven(reason)
        return found


def _instant(claims: Mapping[str, Any], name: str) -> datetime:
    value = claims.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e11:
        raise NotProven(name)
    return datetime.fromtimestamp(value, tz=UTC)


def _values(claims: Mapping[str, Any], path: str) -> frozenset[str]:
    """The texts at a claim: one, or those of a list. A claim whose own name has dots is found first."""
    found: Any = claims.get(path)
    if found is None:
        found = claims
        for part in path.split("."):
            found = found.get(part) if isinstance(found, Mapping) else None
    several = found if isinstance(found, list) else [found]
    return frozenset(one for one in several if isinstance(one, str))
