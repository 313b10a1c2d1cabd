"""Where a request may go, and where a token may go: decided here and nowhere else.

Links inside answers (``next``, redirects, bulk manifests, token and JWKS addresses, Subscription endpoints)
are chosen by the other side. For one site an :class:`Origins` answers three questions about such a URL:

>>> site = Origins("https://ehr.example/fhir", listed=("https://files.example",))
>>> str(site.followed("https://ehr.example/fhir?page=2", where="search"))
'https://ehr.example/fhir?page=2'
>>> site.may_carry_token("https://ehr.example.evil.example/fhir")
False
>>> site.may_carry_token("https://files.example/1.ndjson", asked="https://ehr.example/fhir/1.ndjson")
False

- :meth:`Origins.followed` parses it and raises SourceUntrustworthy unless a request may go there: to the
  site's own origin (scheme, host and port of ``base_url``) or to one that ``allowed_origins`` of site.toml
  lists; with ``strangers=True`` (files of a bulk export, a discovered token address) to any other ``https``
  origin too.
- :meth:`Origins.may_carry_token` says whether Authorization or an API key may go along: to own and listed
  origins only, and after a redirect (``asked`` is the URL before it) only if the origin stayed the same.
- :meth:`Origins.transport` is the httpx transport to use. It looks each name up once, refuses addresses that
  are not public (loopback, private, link-local, metadata, IPv4 in IPv6 ...) and connects to the very address
  it looked at, so a name that changes its answer (DNS rebinding) gains nothing. Own and listed origins may be
  private, since hospital servers are; link-local and metadata addresses only where they are written as such.
  Follow redirects yourself, asking ``followed`` and ``may_carry_token`` again (``follow_redirects=False``).

TLS still verifies the name, not the address. Nothing here reads proxies from the environment.
Sources: RFC 6454 (origin), RFC 3986 (userinfo, host), RFC 6890 (special addresses), RFC 9110, 15.4
(redirects); SMART App Launch 2.2 ("never follow a foreign reference with the token");
CVE-2026-34359, -34360, -34361.
"""

from __future__ import annotations

import asyncio
import ipaddress
import os
import re
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterable
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import httpcore
import httpx

from adapter.errors import ConfigError, SourceUntrustworthy

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Resolve = Callable[[str, int], Awaitable[list[str]]]

_PORTS = {"http": 80, "https": 443}
_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_NAME = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
# Where clouds hand out credentials to whoever asks from inside: AWS (and most others), its IPv6 form, GCP's,
# Azure's wire server, Alibaba's, Oracle's. The last three lie outside the link-local range.
_METADATA = frozenset(
    ipaddress.ip_address(address)
    for address in (
        "169.254.169.254",
        "fd00:ec2::254",
        "fd20:ce::254",
        "168.63.129.16",
        "100.100.100.200",
        "192.0.0.192",
    )
)
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_ADDRESSES = 4  # of one name that are tried


class Origin(NamedTuple):
    """Scheme, host (ASCII, lower case, no final dot) and port of a URL."""

    scheme: str
    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}" + ("" if self.port == _PORTS[self.scheme] else f":{self.port}")


def parsed(url: str | httpx.URL) -> httpx.URL:
    """The URL, if every reader would read it alike; raises ValueError saying why not.

    Refused: other schemes than http and https, user or password, no host, backslashes, hosts with escapes or
    zone ids, and IPv4 addresses in any form but four decimal numbers.
    """
    if "\\" in str(url):
        raise ValueError("a backslash in a URL")
    try:
        known = httpx.URL(url)
    except httpx.InvalidURL:
        raise ValueError("not a URL") from None
    if known.scheme not in _PORTS:
        raise ValueError("neither http nor https")
    if known.userinfo:
        raise ValueError("a URL with a user or password")
    host = _host(known)
    if known.port is not None and not 0 < known.port < 2**16:
        raise ValueError("a URL with an impossible port")
    if _literal(host) is None:
        if not _NAME.fullmatch(host):
            raise ValueError("a URL without a usable host name")
        if _NUMBER.fullmatch(host.rpartition(".")[2]):
            raise ValueError("an IP address in an unusual form")
    return known


def origin_of(url: str | httpx.URL) -> Origin:
    """The origin of a URL; raises ValueError as :func:`parsed` does."""
    known = parsed(url)
    return Origin(known.scheme, _host(known), known.port or _PORTS[known.scheme])


def is_public(address: str) -> bool:
    """Whether anyone on the Internet could be meant: no special range, nor one wrapped in an IPv6 address."""
    return all(
        one.is_global
        and not one.is_multicast
        and one not in _METADATA
        and not getattr(one, "is_site_local", 0)
        for one in _meanings(ipaddress.ip_address(address))
    )


class Origins:
    """The origins of one site. ``resolve`` stands in for DNS in tests."""

    def __init__(self, base_url: str, listed: Iterable[str] = (), *, resolve: Resolve | None = None) -> None:
        self.base = _configured(base_url, "base_url")
        self.known = frozenset({self.base, *(_configured(one, "allowed_origins") for one in listed)})
        self._resolve = resolve or _system_resolve

    def including(self, url: str) -> Origins:
        """The same with one more origin, which a person has configured."""
        known = {*self.known, _configured(url, "site.toml")}
        return Origins(str(self.base), map(str, known), resolve=self._resolve)

    def is_base(self, url: str | httpx.URL) -> bool:
        """Whether the URL is of the site's own FHIR server: same scheme, host and port."""
        return _origin_or_none(url) == self.base

    def is_known(self, url: str | httpx.URL) -> bool:
        """Whether the URL is of the site's own server or of one that the site lists."""
        return _origin_or_none(url) in self.known

    def followed(self, url: str | httpx.URL, *, where: str, strangers: bool = False) -> httpx.URL:
        """The URL, if a request may go there (without saying yet whether a token may).

        Raises SourceUntrustworthy, whose text names the origin but not the rest of the URL.
        """
        try:
            origin = origin_of(url)
        except ValueError as fault:
            raise SourceUntrustworthy(f"a link in the answer is refused: {fault}", where=where) from None
        if origin in self.known:
            return httpx.URL(url)
        if not strangers:
            raise SourceUntrustworthy(
                f"a link leads to another server ({origin}); it was not followed",
                where=where,
                fix="if the server calls itself by that name, make it base_url; "
                "if the hospital runs it, list it in allowed_origins of site.toml",
            )
        literal = _literal(origin.host)
        if origin.scheme != "https" or (literal is not None and not is_public(str(literal))):
            raise _not_public(origin.host, where)
        return httpx.URL(url)

    def may_carry_token(self, url: str | httpx.URL, *, asked: str | httpx.URL | None = None) -> bool:
        """Whether Authorization or X-Api-Key may go there; ``asked`` is the URL that redirected to it."""
        return self.is_known(url) and (asked is None or _origin_or_none(asked) == _origin_or_none(url))

    def transport(
        self, *, connections: int = 8, ca_file: str | Path | None = None
    ) -> httpx.AsyncHTTPTransport:
        """A transport that connects only to addresses it has checked.

        ``ca_file`` holds further certificate authorities (PEM), such as a hospital's own. Raises ConfigError
        if it cannot be read. A request to a refused address raises SourceUntrustworthy.
        """
        return _PinnedTransport(
            _PinnedBackend(self.known, self._resolve), tls_context(ca_file), connections=connections
        )


def tls_context(ca_file: str | Path | None = None) -> ssl.SSLContext:
    """How servers are verified: the usual authorities, and those in ``ca_file``; read anew when that file is
    another."""
    try:
        changed = os.stat(ca_file).st_mtime_ns if ca_file else 0
    except OSError:
        raise _no_certificates(ca_file) from None
    return _tls_context(str(ca_file or ""), changed)


@lru_cache(maxsize=4)  # to read the usual authorities takes longer than to ask a server
def _tls_context(ca_file: str, changed: int) -> ssl.SSLContext:
    context = httpx.create_ssl_context(trust_env=False)
    if ca_file:
        try:
            context.load_verify_locations(cafile=ca_file)
        except (OSError, ssl.SSLError):
            raise _no_certificates(ca_file) from None
    return context


def _no_certificates(ca_file: str | Path | None) -> ConfigError:
    return ConfigError(
        "no certificates can be read",
        where=str(ca_file),
        fix="a PEM file with the authority's certificate",
    )


class _PinnedTransport(httpx.AsyncHTTPTransport):
    """httpx has no argument for httpcore's (public) network backend, so its pool is replaced once."""

    def __init__(
        self, backend: httpcore.AsyncNetworkBackend, context: ssl.SSLContext, connections: int
    ) -> None:
        super().__init__(verify=context, trust_env=False)
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=context, max_connections=connections, keepalive_expiry=5.0, network_backend=backend
        )


class _PinnedBackend(httpcore.AsyncNetworkBackend):
    def __init__(self, known: frozenset[Origin], resolve: Resolve) -> None:
        self._known = {(origin.host, origin.port) for origin in known}
        self._resolve = resolve
        self._sockets = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        name = _canonical(host)
        try:
            async with asyncio.timeout(timeout):
                addresses = await self._resolve(name, port)
        except TimeoutError:
            raise httpcore.ConnectTimeout("looking the name up took too long") from None
        except OSError:
            raise httpcore.ConnectError("the name cannot be looked up") from None
        allowed = _is_own_address if (name, port) in self._known else _is_public_address
        # One bad answer among good ones is what an attacker's name server sends: none is used.
        if not addresses or not all(allowed(address, name) for address in addresses):
            raise _not_public(name, "connection")
        failed: Exception = httpcore.ConnectError()
        for address in addresses[:_ADDRESSES]:
            try:
                return await self._sockets.connect_tcp(address, port, timeout, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as fault:
                failed = fault
        raise failed

    async def sleep(self, seconds: float) -> None:
        await self._sockets.sleep(seconds)


async def _system_resolve(host: str, port: int) -> list[str]:
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


def _is_public_address(address: str, name: str) -> bool:
    return is_public(address)


def _is_own_address(address: str, name: str) -> bool:
    """A hospital's name may be private; link-local and metadata only as a written address."""
    meanings = _meanings(ipaddress.ip_address(address))
    special = any(one.is_link_local or one in _METADATA for one in meanings)
    return not special or _literal(name) == ipaddress.ip_address(address)


def _meanings(address: Address) -> Iterable[Address]:
    """The address, and the IPv4 addresses that a translator or tunnel would make of it."""
    yield address
    if isinstance(address, ipaddress.IPv4Address):
        return
    wrapped = [address.ipv4_mapped, address.sixtofour, *(address.teredo or ())]
    if address in _NAT64 or 1 < int(address) < 2**32:
        wrapped.append(ipaddress.IPv4Address(int(address) % 2**32))
    yield from (one for one in wrapped if one is not None)


def _not_public(host: str, where: str) -> SourceUntrustworthy:
    return SourceUntrustworthy(
        f"a link leads to {host}, which is no public https server; no connection was made",
        where=where,
        fix="if the hospital runs it, list its origin in allowed_origins of site.toml",
    )


def _configured(url: str, where: str) -> Origin:
    try:
        return origin_of(url)
    except ValueError as fault:
        raise ConfigError(
            f"not the base URL of a server: {fault}",
            where=where,
            fix="https://host/path, no user or password",
        ) from None


def _origin_or_none(url: str | httpx.URL) -> Origin | None:
    try:
        return origin_of(url)
    except ValueError:
        return None


def _host(url: httpx.URL) -> str:
    return _canonical(url.raw_host.decode("ascii"))


def _canonical(host: str) -> str:
    """Lower case, no final dot, an IPv6 address in its shortest form."""
    plain = host.lower().removesuffix(".").strip("[]")
    return str(_literal(plain) or plain)


def _literal(host: str) -> Address | None:
    try:
        return ipaddress.ip_address(host) if "%" not in host else None
    except ValueError:
        return None
