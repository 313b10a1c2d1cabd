"""The pages of signing in and out."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Form, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse
from starlette.concurrency import run_in_threadpool

from adapter.web.access import Denied, open_to_all
from adapter.web.frame import Pages, own_path
from adapter.web.signin import cookies
from adapter.web.signin.desk import Desk, address_of, signed_in
from adapter.web.signin.openid import NotProven
from adapter.web.signin.openid_routes import through_provider
from adapter.web.signin.own_account import own_account

_STRANGERS = Depends(open_to_all("the way in"))
_log = logging.getLogger(__name__)


def router(desk: Desk, pages: Pages) -> APIRouter:
    """``/sign-in``, ``/sign-out``, and under ``/sign-in/openid`` the way to a provider and back."""
    routes = APIRouter()

    def form(request: Request, next: str, *, status: int = 200, wrong: str = "") -> Response:
        visit = cookies.number_in(request, "visit", desk.secure) or secrets.token_urlsafe(32)
        answer = pages.show(
            request,
            None,
            "signin/sign-in.html",
            status=status,
            token=cookies.csrf_token(visit),
            next=own_path(next),
            wrong=wrong,
            local=desk.settings.local_accounts and any(not one.is_service for one in desk.accounts.listed()),
            provider=desk.provider,
        )
        cookies.give(answer, "visit", visit, desk.secure)
        return answer

    @routes.get("/sign-in", response_class=HTMLResponse, dependencies=[_STRANGERS])
    def ask(request: Request, next: str = "/") -> Response:
        return form(request, next)

    @routes.post("/sign-in", response_class=HTMLResponse, dependencies=[_STRANGERS])
    async def enter(
        request: Request,
        account: Annotated[str, Form(max_length=200)] = "",
        password: Annotated[str, Form(max_length=2000)] = "",
        next: Annotated[str, Form(max_length=2000)] = "/",
    ) -> Response:
        visit = cookies.number_in(request, "visit", desk.secure)
        if not await cookies.comes_from_us(request, visit, desk.public_origin):
            raise Denied(403, "this form did not come from a page of this application")
        found = await run_in_threadpool(desk.with_password, account, password, address_of(request))
        if found is None:
            return await run_in_threadpool(form, request, next, status=401, wrong="sign-in.wrong")
        number = await run_in_threadpool(begin, request, found.name, found.shown_as)
        return signed_in(desk, number, next)

    def begin(request: Request, account: str, shown_as: str) -> str:
        desk.sessions.end(desk.number(request), desk.clock())
        return desk.sessions.start(account, shown_as, "password", desk.clock())

    @routes.post("/sign-out", dependencies=[Depends(open_to_all("ends one's own session and no other"))])
    async def leave(request: Request) -> Response:
        await desk.check(request)
        await run_in_threadpool(desk.sessions.end, desk.number(request), desk.clock())
        answer = RedirectResponse("/sign-in", HTTPStatus.SEE_OTHER, {"Clear-Site-Data": '"cache", "storage"'})
        cookies.take(answer, "session", desk.secure)
        return answer

    own_account(routes, desk, pages)
    if desk.provider is not None:
        through_provider(routes, desk, desk.provider)
    return routes


def answer_not_proven(pages: Pages) -> Callable[[Request, Exception], Any]:
    """Turns :class:`~adapter.web.signin.openid.NotProven` into a page with the reason, one word."""

    async def not_proven(request: Request, fault: Exception) -> Response:
        assert isinstance(fault, NotProven)  # noqa: S101 - registered for this class only
        _log.warning("sign-in refused: %s", fault.reason)
        return pages.show(request, None, "signin/refused.html", status=403, reason=fault.reason)

    return not_proven
