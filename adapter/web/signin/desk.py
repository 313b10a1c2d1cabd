"""Where people and services prove who they are: the gate of an application with accounts.

A browser shows a session, a service a token (``Authorization: Bearer``). A request with an Authorization
header is judged by it alone: nobody is let in by a cookie who shows a wrong token.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from http import HTTPStatus

from fastapi import Request, Response
from fastapi.responses import RedirectResponse
from sqlalchemy import Engine
from starlette.concurrency import run_in_threadpool

from adapter.access import Grant, Principal
from adapter.access.passwords import is_password
from adapter.config import Site
from adapter.errors import ConfigError
from adapter.origins import origin_of
from adapter.store import audit
from adapter.store.accounts import Account, Accounts
from adapter.store.attempts import Attempts
from adapter.store.audit import Entry
from adapter.store.handshakes import Handshakes
from adapter.store.sessions import Sessions
from adapter.web.access import Clock, Denied
from adapter.web.frame import own_path
from adapter.web.signin import cookies
from adapter.web.signin.openid import Provider

PROOF_LASTS = timedelta(minutes=5)


class Desk:
    """Raises :class:`ConfigError` for settings of ``site.toml`` under which signing in would not be safe."""

    def __init__(self, engine: Engine, site: Site, clock: Clock, *, provider: Provider | None = None) -> None:
        settings = site.sign_in
        self.engine, self.site, self.clock, self.settings = engine, site, clock, settings
        self.public_origin, self.secure = _public(settings.public_url)
        self.accounts = Accounts(engine)
        self.attempts = Attempts(engine)
        self.handshakes = Handshakes(engine)
        self.sessions = Sessions(
            engine,
            idle=timedelta(minutes=settings.idle_minutes),
            longest=timedelta(hours=settings.longest_hours),
        )
        self.provider = provider
        if provider is None and settings.openid is not None:
            self.provider = Provider(settings.openid, clock)

    def who(self, request: Request) -> Principal | None:
        now = self.clock()
        header = request.headers.get("authorization")
        if header is not None:
            scheme, _, text = header.partition(" ")
            found = self.accounts.shown_token(text.strip()) if scheme.lower() == "bearer" else None
            return None if found is None else _principal(found, "token", now)
        number = self.number(request)
        session = self.sessions.of(number, now) if number else None
        if session is None:
            return None
        if session.grants is not None:
            return Principal(session.account, _in_force(session.grants, now), session.shown_as, session.how)
        known = self.accounts.working(session.account)
        return None if known is None else _principal(known[0], session.how, now)

    async def check(self, request: Request) -> None:
        """Raises :class:`Denied` (403) for an unsafe request with a session that no page of ours sent."""
        if request.method in cookies.SAFE or "authorization" in request.headers:
            return
        if not await cookies.comes_from_us(request, self.number(request), self.public_origin):
            raise Denied(403, "this request did not come from a page of this application")

    def csrf(self, request: Request) -> str:
        """The token for the pages of this session."""
        return cookies.csrf_token(self.number(request))

    def is_proven(self, request: Request, record_sha256: str) -> bool:
        """Whether this session's holder signed in at the provider for this record in the last minutes."""
        now, number = self.clock(), self.number(request)
        found = self.sessions.of(number, now) if number else None
        return (
            found is not None
            and found.proven_for == record_sha256
            and now < datetime.fromisoformat(found.proven_at) + PROOF_LASTS
        )

    async def proves(self, request: Request, principal: Principal, record_sha256: str) -> bool:
        """By the form's field ``signature-password``; who came by OpenID, by a sign-in of the last minutes
        for this very record (``/sign-in/again``), which counts once."""
        if principal.how == "openid":
            number, now = self.number(request), self.clock()
            return await run_in_threadpool(self.sessions.use_proof, number, record_sha256, now, PROOF_LASTS)
        if principal.how != "password":
            return False
        given = (await request.form(max_files=0)).get("signature-password", "")
        password = given if isinstance(given, str) else ""
        name, address = principal.account, address_of(request)
        found = await run_in_threadpool(self.with_password, name, password, address, purpose="signature")
        return found is not None and found.name == name

    def number(self, request: Request) -> str:
        """The number of this browser's session; "" if it brings none."""
        return cookies.number_in(request, "session", self.secure)

    def with_password(
        self, name: str, password: str, address: str, *, purpose: str = "sign-in"
    ) -> Account | None:
        """The account whose password this is. None for a wrong one, an unknown, disabled or locked account,
        and a service: all cost the same and look the same. Raises :class:`Denied` (429) if too much was tried
        from one address.
        """
        now = self.clock()
        if self.attempts.locked("address", address, now):
            raise Denied(429, "too many attempts; wait a while")
        name = name.strip().lower()[:64]
        locked = self.attempts.locked("account", name, now)
        known = self.accounts.working(name) if self.settings.local_accounts else None
        person = known is not None and not known[0].is_service
        right = is_password(password, known[1] if known is not None and person else None)
        if known is not None and right and not locked:
            self.attempts.forget("account", name)
            return known[0]
        if not locked:
            self.attempts.failed("address", address, now)
            closed = self.attempts.failed("account", name, now)
            self.note(name if known is not None else "nobody", f"{purpose}-failed", {"locked": closed})
        return None

    def note(self, account: str, action: str, detail: Mapping[str, object]) -> None:
        """A row of the audit about signing in."""
        with self.engine.begin() as connection:
            audit.append(connection, Entry(self.clock(), account, action, (), detail))

    def has_accounts(self) -> bool:
        """Whether anybody could sign in here at all."""
        return self.provider is not None or any(not one.is_service for one in self.accounts.listed())


def signed_in(desk: Desk, number: str, next: str) -> Response:
    """On to where somebody wanted to go, with their session's new number."""
    answer = RedirectResponse(own_path(next), HTTPStatus.SEE_OTHER)
    cookies.give(answer, "session", number, desk.secure)
    cookies.take(answer, "visit", desk.secure)
    return answer


def address_of(request: Request) -> str:
    return request.client.host if request.client is not None else "nowhere"


def _principal(account: Account, how: str, now: datetime) -> Principal:
    return Principal(account.name, _in_force(account.grants, now), account.shown_as, how)


def _in_force(grants: tuple[Grant, ...], now: datetime) -> tuple[Grant, ...]:
    return tuple(grant for grant in grants if grant.in_force(now))


def _public(url: str) -> tuple[str, bool]:
    """The origin that browsers know us by ("" if it is wherever they ask), and whether it is https."""
    if not url:
        return "", False
    fix = "https://adapter.hospital.example, without a path"
    try:
        origin = origin_of(url)
    except ValueError as fault:
        raise ConfigError(str(fault), where="site.toml, sign_in.public_url", fix=fix) from None
    if origin.scheme != "https" and origin.host not in ("127.0.0.1", "::1", "localhost"):
        raise ConfigError(
            "passwords and sessions would travel in the clear", where="site.toml, sign_in.public_url", fix=fix
        )
    return str(origin), origin.scheme == "https"
