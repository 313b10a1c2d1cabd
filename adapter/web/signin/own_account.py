"""``/account``: what one may do here, and another password for one's own account.

Who changes it proves once more to know the present one; wrong ones count as at sign-in. The change ends every
session of the account, also those that somebody else may have, and this browser gets a new one. Source: NIST
SP 800-63B-4, 3.1.1.2; OWASP ASVS 5.0, 6.2 (the present password asked for) and 7.4 (other sessions ended).
"""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Form, Request, Response
from fastapi.responses import HTMLResponse
from starlette.concurrency import run_in_threadpool

from adapter.access.passwords import SHORTEST, check_password, hash_password
from adapter.errors import ConfigError
from adapter.web.access import Denied
from adapter.web.frame import OwnAccount, Pages
from adapter.web.signin.desk import Desk, address_of, signed_in

_Typed = Annotated[str, Form(max_length=2000)]


def own_account(routes: APIRouter, desk: Desk, pages: Pages) -> None:
    """Adds the page and its form."""

    def page(request: Request, principal: OwnAccount, *, status: int = 200, wrong: str = "") -> Response:
        return pages.show(
            request,
            principal,
            "signin/account.html",
            status=status,
            wrong=wrong,
            shortest=SHORTEST,
            changed=not wrong and "changed" in request.query_params,
        )

    @routes.get("/account", response_class=HTMLResponse)
    def own(request: Request, principal: OwnAccount) -> Response:
        return page(request, principal)

    @routes.post("/account/password", response_class=HTMLResponse)
    async def change(
        request: Request, principal: OwnAccount, present: _Typed = "", new: _Typed = "", again: _Typed = ""
    ) -> Response:
        if principal.how != "password":
            raise Denied(403, "this account has no password here")
        wrong, status = await run_in_threadpool(faulty, request, principal, present, new, again)
        if wrong:
            return await run_in_threadpool(page, request, principal, status=status, wrong=wrong)
        number = await run_in_threadpool(changed, principal, new)
        return signed_in(desk, number, "/account?changed=1")

    def faulty(
        request: Request, principal: OwnAccount, present: str, new: str, again: str
    ) -> tuple[str, int]:
        """The text that says what is wrong, and the status; ("", 0) if nothing is."""
        name, address = principal.account, address_of(request)
        known = desk.with_password(name, present, address, purpose="password-change")
        if known is None or known.name != name:
            return "account.wrong", 403
        if new != again:
            return "account.differ", 422
        try:
            check_password(new, known.name, known.shown_as)
        except ConfigError:
            return "account.weak", 422
        return ("account.same", 422) if new == present else ("", 0)

    def changed(principal: OwnAccount, new: str) -> str:
        name, now = principal.account, desk.clock()
        desk.accounts.set_secret(name, hash_password(new), now=now, by=name)
        return desk.sessions.start(name, principal.name, "password", desk.clock())
