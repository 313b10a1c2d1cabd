"""The way to the identity provider and back: to sign in, and to sign in again for a signature."""

from __future__ import annotations

import re
import secrets
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import RedirectResponse
from starlette.concurrency import run_in_threadpool

from adapter.access import Principal
from adapter.web.access import Denied, allowed, open_to_all
from adapter.web.frame import own_path
from adapter.web.signin import cookies
from adapter.web.signin.desk import Desk, signed_in
from adapter.web.signin.openid import NotProven, Person, Provider

_STRANGERS = Depends(open_to_all("the way in"))
Signer = Annotated[Principal, Depends(allowed("sign"))]
_SHA256 = re.compile(r"[0-9a-f]{64}")


def through_provider(routes: APIRouter, desk: Desk, provider: Provider) -> None:
    """Adds ``/sign-in/openid``, ``/sign-in/again`` and where the provider sends its answers."""

    def callback(request: Request) -> str:
        base = desk.public_origin or f"{request.url.scheme}://{request.headers.get('host', '')}"
        return f"{base}/sign-in/openid/answer"

    async def send(request: Request, kind: str, kept: dict[str, str], *, again: bool = False) -> Response:
        state = secrets.token_urlsafe(32)
        asked = await provider.ask(state, callback(request), again=again)
        kept = {**kept, "nonce": asked.nonce, "verifier": asked.verifier}
        browser = await run_in_threadpool(desk.handshakes.begin, kind, state, kept, desk.clock())
        answer = RedirectResponse(asked.url, 303)
        cookies.give(answer, "visit", browser, desk.secure)
        return answer

    @routes.get("/sign-in/openid", dependencies=[_STRANGERS])
    async def go(request: Request, next: str = "/") -> Response:
        return await send(request, "sign-in", {"next": own_path(next)})

    @routes.get("/sign-in/again")
    async def again(request: Request, principal: Signer, record: str, next: str = "/") -> Response:
        if principal.how != "openid" or not _SHA256.fullmatch(record):
            raise Denied(403, "sign with your password")
        kept = {"next": own_path(next), "record": record, "account": principal.account}
        return await send(request, "sign", {**kept, "since": desk.clock().isoformat()}, again=True)

    @routes.get("/sign-in/openid/answer", dependencies=[_STRANGERS])
    async def answered(request: Request) -> Response:
        browser = cookies.number_in(request, "visit", desk.secure)
        given = dict(request.query_params)
        for kind, finish in (("sign-in", entered), ("sign", proven)):
            state = given.get("state", "")
            kept = await run_in_threadpool(desk.handshakes.finish, kind, state, browser, desk.clock())
            if kept is not None:
                since = datetime.fromisoformat(kept["since"]) if "since" in kept else None
                claims = await provider.redeem(
                    given,
                    nonce=kept["nonce"],
                    verifier=kept["verifier"],
                    redirect_uri=callback(request),
                    since=since,
                )
                person = provider.person(claims, desk.site.site_id)
                number = await run_in_threadpool(finish, desk.number(request), person, kept)
                return signed_in(desk, number, kept["next"])
        raise NotProven("state")

    def entered(number: str, person: Person, _kept: dict[str, str]) -> str:
        if not person.grants:
            desk.note(person.account, "sign-in-failed", {"reason": "no role"})
            raise NotProven("role")
        desk.sessions.end(number, desk.clock())
        return desk.sessions.start(person.account, person.name, "openid", desk.clock(), person.grants)

    def proven(number: str, person: Person, kept: dict[str, str]) -> str:
        session = desk.sessions.of(number, desk.clock())
        if session is None or not session.account == person.account == kept["account"]:
            raise NotProven("sub")
        return desk.sessions.prove(number, kept["record"], desk.clock())
