"""Can the hospital's server be reached safely, and does it let us in: address, TLS, clock, token, scopes."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path

import httpx

from adapter.config import Site
from adapter.doctor.finding import Finding, State, some
from adapter.errors import SourceUnavailable
from adapter.origins import Origins, origin_of, tls_context
from adapter.source.auth.keys import is_private_file
from adapter.source.auth.smart import SKEW, SmartToken
from adapter.source.auth.token import FileToken, TokenSource

SECONDS = 10.0
_SOON = timedelta(days=30)
_FATAL_SKEW = 240.0  # a signed statement lives no longer


async def certificate(base_url: str, site: Site, now: datetime) -> list[Finding]:
    """The server's certificate as a client sees it, and when it ends."""
    origin = origin_of(base_url)
    if origin.scheme == "http":
        local = origin.host in ("127.0.0.1", "::1", "localhost")
        seen = f"{origin} is not encrypted"
        return [Finding("tls", "ok" if local else "fail", seen, "" if local else "use https")]
    try:
        async with asyncio.timeout(SECONDS):
            _, writer = await asyncio.open_connection(
                origin.host, origin.port, ssl=tls_context(site.ca_file), server_hostname=origin.host
            )
    except ssl.SSLCertVerificationError as fault:
        fix = "if the hospital has its own authority, name its certificate in ca_file of site.toml"
        return [Finding("tls", "fail", f"{origin}: {fault.verify_message}", fix)]
    except ssl.SSLError as fault:
        return [Finding("tls", "fail", f"{origin}: {fault.reason or 'no TLS'}", "ask for TLS 1.2 or newer")]
    except (OSError, TimeoutError) as fault:
        fix = "check base_url, the firewall between here and there, and VPN"
        return [Finding("tls", "fail", f"{origin} does not answer ({type(fault).__name__})", fix)]
    end: ssl.SSLObject = writer.get_extra_info("ssl_object")
    shown, version = end.getpeercert() or {}, end.version()
    writer.close()
    until = datetime.fromtimestamp(ssl.cert_time_to_seconds(str(shown["notAfter"])), UTC)
    soon = until - now < _SOON
    fix = "ask the hospital when it will be replaced" if soon else ""
    seen = f"{version}, the certificate is valid until {until:%Y-%m-%d}"
    return [Finding("tls", "warn" if soon else "ok", seen, fix)]


async def clock(base_url: str, origins: Origins, site: Site, now: Callable[[], datetime]) -> list[Finding]:
    """The server's clock against ours, from the Date of one answer."""
    try:
        async with (
            asyncio.timeout(SECONDS),
            httpx.AsyncClient(
                transport=origins.transport(ca_file=site.ca_file), trust_env=False, timeout=SECONDS
            ) as http,
        ):
            answer = await http.get(
                f"{base_url.rstrip('/')}/metadata", headers={"Accept": "application/fhir+json"}
            )
        theirs = parsedate_to_datetime(answer.headers["Date"])
    except (httpx.TransportError, httpx.DecodingError, TimeoutError) as fault:
        raise SourceUnavailable(
            f"no answer ({type(fault).__name__})", fix="check base_url and the network"
        ) from None
    except (KeyError, ValueError, TypeError):
        return [Finding("clock", "warn", "the server does not say what time it has")]
    skew = (theirs if theirs.tzinfo else theirs.replace(tzinfo=UTC)) - now()
    seconds = abs(skew.total_seconds())
    if seconds <= SKEW:
        return [Finding("clock", "ok", f"differs by {round(seconds)} s")]
    side = "ahead of" if skew > timedelta() else "behind"
    fix = "set this machine's clock by NTP; if it is right, tell the hospital"
    state: State = "fail" if seconds >= _FATAL_SKEW else "warn"
    return [Finding("clock", state, f"the server is {round(seconds)} s {side} us", fix)]


async def token(source: TokenSource | None, site: Site, key_file: str) -> list[Finding]:
    """How we sign in, and whether that works. Raises what signing in raises."""
    if source is None:
        fix = "adapter keys new, then [smart] in site.toml; or token_file" if site.base_url else ""
        return [Finding("token", "warn", "none configured: requests go without one", fix)]
    if isinstance(source, FileToken):
        await source()
        seen = "read from a file; nobody says what it grants or when it ends"
        return [Finding("token", "ok", seen), Finding("scopes", "warn", "not known for a token from a file")]
    await source()
    if not isinstance(source, SmartToken) or source.grant is None:
        return [Finding("token", "ok", "given")]
    endpoint, grant = await source.endpoint(), source.grant
    how = "found in smart-configuration" if endpoint.discovered else "named in site.toml"
    found = [
        Finding(
            "token",
            "ok",
            f"given by {origin_of(endpoint.url)} ({how}) for {grant.lifetime:g} s, signed with {grant.kid}",
        )
    ]
    if grant.kid != source.newest:
        fix = "register the new jwks.json with the hospital; then retire the old key"
        found.append(Finding("key", "warn", f"the newest key {source.newest} is not accepted yet", fix))
    if key_file and not is_private_file(Path(key_file)):
        found.append(Finding("key", "warn", "others on this machine can read the key file", "chmod 600"))
    if abs(source.skew) > SKEW:
        seen = f"the authorisation server's clock differs by {source.skew:.0f} s; signed by its time"
        found.append(Finding("token", "warn", seen, "set this machine's clock by NTP"))
    return found


def scopes(source: TokenSource | None, essential: set[str], wanted: set[str]) -> list[Finding]:
    """What was granted against what the protocol needs; nothing to say without a grant."""
    if not isinstance(source, SmartToken) or source.grant is None:
        return []
    grant = source.grant
    shown = some(sorted(grant.scopes.written)) or "none"
    if not grant.said:
        return [Finding("scopes", "ok", f"the server says none, so all that were asked for: {shown}")]
    missing = sorted(kind for kind in wanted | essential if not grant.scopes.reads(kind))
    if not missing:
        return [Finding("scopes", "ok", f"granted: {shown}")]
    parts = [kind for kind in missing if grant.scopes.in_part(kind)]
    seen = f"granted: {shown}; not readable: {some(missing, 20)}"
    seen += f" (in part: {', '.join(parts)})" if parts else ""
    fix = "ask the hospital for system/<type>.rs of these; until then their absence proves nothing"
    return [Finding("scopes", "fail" if essential & set(missing) else "warn", seen, fix)]
