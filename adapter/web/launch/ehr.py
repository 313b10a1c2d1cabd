"""The system that launches: where it lets people say yes, and what its answer proves.

As signing in at an identity provider (:mod:`adapter.web.signin.openid`), but the addresses are those of a
FHIR server's ``.well-known/smart-configuration``, the request names the launch and the server it is for
(``aud``), and the answer names the patient. Source: SMART App Launch 2.2, "EHR launch", "Token response".
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import urlencode

import httpx
import msgspec

from adapter.access import Grant, is_proper
from adapter.config import Launch, OpenId
from adapter.errors import ConfigError, SourceUntrustworthy
from adapter.web.access import Clock
from adapter.web.signin.openid import Asked, Metadata, NotProven, Provider

_PATIENT = re.compile(r"[A-Za-z0-9\-.]{1,64}")


class Opened(NamedTuple):
    """Who launched, and which patient was open."""

    patient: str
    account: str
    name: str


class _Smart(msgspec.Struct):
    authorization_endpoint: str
    token_endpoint: str
    issuer: str = ""
    jwks_uri: str = ""
    code_challenge_methods_supported: tuple[str, ...] = ()
    token_endpoint_auth_methods_supported: tuple[str, ...] = ("client_secret_basic",)


class Ehr(Provider):
    """One configured system. Raises :class:`ConfigError` for a role that does not exist."""

    def __init__(
        self,
        name: str,
        launch: Launch,
        clock: Clock,
        *,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        where = f"[launch.{name}]"
        if not is_proper(Grant(launch.role, "study", "site")):
            raise ConfigError(f"no role {launch.role!r}", where=where, fix="see docs/sign-in-and-roles.md")
        launch.secret(name)
        settings = OpenId(
            issuer=launch.iss,
            client_id=launch.client_id,
            client_secret_file=launch.client_secret_file,
            scopes=launch.scopes,
            allowed_origins=launch.allowed_origins,
            ca_file=launch.ca_file,
        )
        super().__init__(settings, clock, transport=transport)
        self.name, self.launch = name, launch

    async def begin(self, handle: str, state: str, redirect_uri: str) -> Asked:
        """Where to send the browser for the launch that the system named."""
        asked = await self.ask(state, redirect_uri)
        return asked._replace(url=f"{asked.url}&{urlencode({'launch': handle, 'aud': self.launch.iss})}")

    async def opened(
        self, answer: Mapping[str, str], *, nonce: str, verifier: str, redirect_uri: str
    ) -> Opened:
        """The patient for the code in an answer; raises :class:`NotProven`."""
        known = await self._known()
        if answer.get("error"):
            raise NotProven("provider")
        form = {
            "grant_type": "authorization_code",
            "code": answer.get("code", ""),
            "redirect_uri": redirect_uri,
            "code_verifier": verifier,
        }
        given = await self._token(known, form)
        if str(given.get("token_type", "")).lower() != "bearer" or not given.get("access_token"):
            raise NotProven("token")
        patient = given.get("patient")
        if not isinstance(patient, str) or not _PATIENT.fullmatch(patient):
            raise NotProven("patient")
        token = given.get("id_token")
        if not isinstance(token, str):
            if self.launch.id_token:
                raise NotProven("id_token")
            return Opened(patient, f"launch:{self.name}", self.name)
        claims = await self.verified(token, nonce=nonce)
        told = next((str(claims[key]) for key in ("name", "fhirUser") if claims.get(key)), claims["sub"])
        name = "".join(one for one in told if one.isprintable())[:100]
        return Opened(patient, f"{self._openid.issuer}#{claims['sub']}", name)

    async def _known(self) -> Metadata:
        async with self._reading:
            if self._metadata is None:
                url = f"{self.launch.iss.rstrip('/')}/.well-known/smart-configuration"
                try:
                    found = msgspec.convert(await self._get(url), _Smart)
                except msgspec.ValidationError:
                    raise NotProven("discovery") from None
                if "S256" not in found.code_challenge_methods_supported:
                    raise NotProven("pkce")
                try:
                    self._origins.followed(found.authorization_endpoint, where="launch", strangers=True)
                except SourceUntrustworthy:
                    raise NotProven("address") from None
                issuer = found.issuer or self.launch.iss
                self._openid = msgspec.structs.replace(self._openid, issuer=issuer)
                self._metadata = Metadata(
                    issuer=issuer,
                    authorization_endpoint=found.authorization_endpoint,
                    token_endpoint=found.token_endpoint,
                    jwks_uri=found.jwks_uri,
                    token_endpoint_auth_methods_supported=found.token_endpoint_auth_methods_supported,
                )
            return self._metadata
