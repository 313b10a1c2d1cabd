"""Requests to one site with a token, and what its refusals mean for whoever pulls.

TLS is verified, plain http goes to this machine only, redirects are not followed (a token would go along),
and what fails in passing (500, 502, 503, 504, connections) is tried again by urllib3.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase
from urllib3.response import BaseHTTPResponse
from urllib3.util.retry import Retry

from adapter.errors import AdapterError, ConfigError, PullRefused, PullUnavailable, PullUntrustworthy

CONNECT_SECONDS, READ_SECONDS = 10.0, 120.0  # a large file is packed before its first byte comes
LONGEST_WAIT = 60.0
_TOKEN = re.compile(r"[\x21-\x7e]+")
_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
_REFUSALS: Mapping[int, tuple[str, str]] = {
    401: ("the site does not take this token", "ask the site for a new one, and see that it is whole"),
    403: ("this token may not read datasets", "ask the site what it was granted for"),
    404: ("the site has nothing of this name for this token", "see adapter pull URL --list, and the address"),
    410: ("the site withdrew this snapshot", "pull the latest one; ask the site why"),
    429: ("the site has seen too many wrong tokens from here", "wait, and see that the token is right"),
}


class _Waiting(Retry):
    """429 is told at once, not slept through; a 503 may make us wait, but not for hours."""

    RETRY_AFTER_STATUS_CODES = frozenset({503})

    def get_retry_after(self, response: BaseHTTPResponse) -> float | None:
        asked = super().get_retry_after(response)
        return None if asked is None else min(asked, LONGEST_WAIT)


class _Bearer(AuthBase):
    """Set as authentication proper, or requests would send what ~/.netrc has for the host instead."""

    def __init__(self, token: str) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._token}"
        return request


def token_of(token: str = "", file: Path | str | None = None) -> str:
    """The token given, or in the file, or that ``ADAPTER_SPONSOR_TOKEN_FILE`` or ``ADAPTER_SPONSOR_TOKEN``
    names; raises :class:`ConfigError` if there is none, or nothing that could be one."""
    where = "token"
    file = file or ("" if token else os.environ.get("ADAPTER_SPONSOR_TOKEN_FILE", ""))
    if file:
        where = str(file)
        try:
            token = Path(file).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as fault:
            raise ConfigError("the token's file cannot be read", where=where, fix="name the file") from fault
    token = (token or os.environ.get("ADAPTER_SPONSOR_TOKEN", "")).strip()
    if not _TOKEN.fullmatch(token):
        raise ConfigError(
            "no token" if not token else "this is no token: it has spaces or other signs in it",
            where=where,
            fix="--token-file FILE, or ADAPTER_SPONSOR_TOKEN_FILE; the site makes one: adapter sponsor grant",
        )
    return token


class Connection:
    """``url`` is the address the site tells, such as https://adapter.hospital.example/sponsor."""

    def __init__(
        self, url: str, token: str, *, ca_file: Path | str | None = None, read_seconds: float = READ_SECONDS
    ) -> None:
        strange = ConfigError(  # not quoted: there may be a password in it
            "this is no address of a site", where="the site's address", fix="https://HOST/sponsor"
        )
        try:
            parts = urlsplit(url)
        except ValueError:
            raise strange from None
        if parts.scheme not in ("https", "http") or not parts.hostname or parts.username or parts.query:
            raise strange
        if parts.scheme == "http" and parts.hostname not in _LOOPBACK:
            raise ConfigError(
                "over plain http anybody on the way could read the token", where=url, fix="use https://"
            )
        self.url = url.rstrip("/")
        self._timeout = (CONNECT_SECONDS, read_seconds)
        self._session = requests.Session()
        self._session.auth = _Bearer(token)
        # said with each request, or requests would let REQUESTS_CA_BUNDLE overrule it
        self._authorities = None if ca_file is None else str(ca_file)
        retry = _Waiting(
            total=4,
            other=0,  # a certificate gets no better
            backoff_factor=0.5,
            status_forcelist=(500, 502, 503, 504),
            allowed_methods=("GET", "PUT"),
            raise_on_status=False,
        )
        for scheme in ("https://", "http://"):
            self._session.mount(scheme, HTTPAdapter(max_retries=retry))

    def get(self, path: str, headers: Mapping[str, str] | None = None) -> requests.Response:
        """A response with 200, 206, 304 or 416, its body unread; raises for any other."""
        return self._asked("GET", path, headers, None)

    def json(self, path: str) -> bytes:
        """The body of a JSON answer; raises :class:`PullUntrustworthy` for anything else."""
        with self.get(path) as answer:
            return _json(answer)

    def put(self, path: str, body: object) -> None:
        self._asked("PUT", path, {"Content-Type": "application/json"}, json.dumps(body).encode()).close()

    def _asked(
        self, method: str, path: str, headers: Mapping[str, str] | None, body: bytes | None
    ) -> requests.Response:
        try:
            answer = self._session.request(
                method,
                f"{self.url}/{path}",
                headers={"Accept-Encoding": "gzip", **(headers or {})},
                data=body,
                timeout=self._timeout,
                verify=self._authorities,
                stream=True,
                allow_redirects=False,
            )
        except requests.exceptions.SSLError as fault:
            raise PullUntrustworthy(
                "the site's certificate is not to be trusted",
                where=self.url,
                fix="name the authority that signed it with --ca-file; ask the site for it",
            ) from fault
        except (requests.RequestException, OSError) as fault:
            raise PullUnavailable(
                f"the site does not answer ({type(fault).__name__})",
                where=self.url,
                fix="run the same command later: it goes on where it stopped",
            ) from fault
        if answer.status_code in (200, 204, 206, 304, 416):
            return answer
        with answer:
            raise _fault(answer, self.url)


def _json(answer: requests.Response) -> bytes:
    try:
        body = answer.content
    except (requests.RequestException, OSError) as fault:
        raise PullUnavailable("the answer broke off", where=answer.url, fix="run it again") from fault
    if answer.headers.get("Content-Type", "").split(";")[0].strip() != "application/json":
        raise _no_adapter(answer.url)
    return body


def _no_adapter(url: str) -> AdapterError:
    return PullUntrustworthy(
        "what answers is not an adapter (a sign-in page, a proxy?)",
        where=url,
        fix="see that the address is the one that the site told, ending in /sponsor",
    )


def _fault(answer: requests.Response, url: str) -> AdapterError:
    status, told = answer.status_code, _told(answer)
    if 300 <= status < 400:
        return _no_adapter(url)
    if status in _REFUSALS:
        message, fix = _REFUSALS[status]
        wait = answer.headers.get("Retry-After", "")
        if status == 429 and wait.isdigit():
            fix = f"wait {wait} seconds, and see that the token is right"
        return PullRefused(f"{message} ({status}{told})", where=url, fix=fix)
    if status >= 500:
        damaged = "damaged" in told
        return (PullRefused if damaged else PullUnavailable)(
            f"the site cannot send this now ({status}{told})",
            where=url,
            fix="tell the site" if damaged else "run the same command later: it goes on where it stopped",
        )
    return PullUntrustworthy(f"an answer that makes no sense here ({status}{told})", where=url)


def _told(answer: requests.Response) -> str:
    """What a problem of RFC 9457 says; nothing of a body of any other kind."""
    if answer.headers.get("Content-Type", "") != "application/problem+json":
        return ""
    try:
        body = json.loads(answer.raw.read(10_000, decode_content=True))
        said = [str(body[name])[:300] for name in ("type", "detail") if body.get(name)]
    except (ValueError, AttributeError, OSError, KeyError):
        return ""
    return ", " + ": ".join(said).removeprefix("urn:trial-fhir-adapter:problem:")
