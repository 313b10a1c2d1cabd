"""Who asks with a sponsor's token. Too many wrong ones from one address, and it waits.

A token comes in the Authorization header only (RFC 6750, section 2.1): what stands in a URL ends up in logs.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from datetime import datetime, timedelta
from typing import NamedTuple

from fastapi import Request

from adapter.access import Grant, Principal, allows
from adapter.store.sponsor_tokens import SponsorTokens, Token
from adapter.web.problem import Problem

WRONG_TOKENS, WINDOW = 10, timedelta(minutes=5)
NOBODY = "unknown sponsor"
ACTION = "read-datasets"
_REASONS = {
    "unknown": "This token is not known here.",
    "expired": "This token has expired; ask the site for a new one.",
    "revoked": "This token was revoked by the site.",
}


class Refused(Exception):
    """A problem, and what the audit calls whoever met it; ``tell`` is False where the audit has enough."""

    def __init__(self, problem: Problem, actor: str, token: str, reason: str, tell: bool = True) -> None:
        super().__init__(problem.title)
        self.problem = problem
        self.actor = actor
        self.token = token
        self.reason = reason
        self.tell = tell


class Tries(NamedTuple):
    since: datetime
    number: int


class Failures:
    """Wrong tokens by address and token: whoever shares an address with a clumsy neighbour is not shut out.

    Keeps at most ``most`` addresses, the latest.
    """

    def __init__(self, limit: int = WRONG_TOKENS, window: timedelta = WINDOW, most: int = 10_000) -> None:
        self._limit = limit
        self._window = window
        self._most = most
        self._tries: OrderedDict[tuple[str, str], Tries] = OrderedDict()
        self._lock = threading.Lock()

    def wait(self, key: tuple[str, str], now: datetime) -> int:
        """Seconds until another token is looked at; 0: now."""
        with self._lock:
            found = self._tries.get(key)
            if found is None or found.number < self._limit or now >= found.since + self._window:
                return 0
            return int((found.since + self._window - now).total_seconds()) + 1

    def add(self, key: tuple[str, str], now: datetime) -> None:
        with self._lock:
            found = self._tries.pop(key, None)
            if found is None or now >= found.since + self._window:
                found = Tries(now, 0)
            self._tries[key] = Tries(found.since, found.number + 1)
            while len(self._tries) > self._most:
                self._tries.popitem(last=False)


def asker(request: Request, tokens: SponsorTokens, failures: Failures, now: datetime) -> Token:
    """The token that this request proves to hold; raises :class:`Refused`: 401, 403, 429."""
    scheme, _, text = request.headers.get("authorization", "").partition(" ")
    shown = tokens.shown(text.strip() if scheme.lower() == "bearer" else "", now)
    host = request.client.host if request.client else ""
    key = host, shown.key
    actor, token = (shown.token.name, shown.token.id) if shown.token else (NOBODY, "")
    if wait := failures.wait(key, now):
        late = Problem(
            429,
            "too-many-wrong-tokens",
            "Too many wrong tokens",
            f"Try again in {wait} seconds.",
            {"Retry-After": str(wait)},
        )
        raise Refused(late, actor, token, "too many", tell=False)
    if shown.refusal:
        failures.add(key, now)
        given = scheme.lower() == "bearer"
        challenge = 'Bearer realm="sponsor"' + (', error="invalid_token"' if given else "")
        detail = _REASONS[shown.refusal] if given else "Send the header Authorization: Bearer <token>."
        problem = Problem(401, "token", "A valid token is needed", detail, {"WWW-Authenticate": challenge})
        raise Refused(problem, actor, token, shown.refusal if given else "no token")
    assert shown.token is not None  # noqa: S101 - no refusal means a token
    if not allows(principal(shown.token), ACTION, shown.token.scope.study, shown.token.scope.site):
        raise Refused(Problem(403, "forbidden", "Sponsors may not read datasets here"), actor, token, "role")
    return shown.token


def principal(token: Token) -> Principal:
    """The token's holder as the access matrix knows it."""
    grant = Grant("sponsor", token.scope.study, token.scope.site, token.expires_at.isoformat())
    return Principal(token.name, (grant,), token.name, "token")
