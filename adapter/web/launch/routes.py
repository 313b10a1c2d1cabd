"""``/launch``, where a system opens a patient's page, and where its authorisation server answers."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import RedirectResponse
from starlette.concurrency import run_in_threadpool

from adapter.access import Grant
from adapter.web.access import Denied, open_to_all
from adapter.web.launch.ehr import Ehr, Opened
from adapter.web.signin import cookies
from adapter.web.signin.desk import Desk, signed_in
from adapter.web.signin.openid import NotProven

_STRANGERS = [Depends(open_to_all("the way in from a configured system, which proves who it is"))]
_KIND = "launch"


def router(desk: Desk, ehrs: Iterable[Ehr], study: str, key_of: Callable[[str], str]) -> APIRouter:
    """``key_of`` gives what stands for a Patient.id in addresses."""
    known = {one.launch.iss: one for one in ehrs}
    named = {one.name: one for one in known.values()}
    routes = APIRouter()

    def callback(request: Request) -> str:
        base = desk.public_origin or f"{request.url.scheme}://{request.headers.get('host', '')}"
        return f"{base}/launch/answer"

    @routes.get("/launch", dependencies=_STRANGERS)
    async def launch(request: Request, iss: str = "", launch: str = "") -> Response:
        ehr = known.get(iss)
        if ehr is None or not 0 < len(launch) <= 4000:
            raise Denied(403, "this system may not open pages here")
        state = secrets.token_urlsafe(32)
        asked = await ehr.begin(launch, state, callback(request))
        kept = {"ehr": ehr.name, "nonce": asked.nonce, "verifier": asked.verifier}
        browser = await run_in_threadpool(desk.handshakes.begin, _KIND, state, kept, desk.clock())
        answer = RedirectResponse(asked.url, 303)
        cookies.give(answer, "visit", browser, desk.secure)
        return answer

    @routes.get("/launch/answer", dependencies=_STRANGERS)
    async def answered(request: Request) -> Response:
        given = dict(request.query_params)
        browser = cookies.number_in(request, "visit", desk.secure)
        state = given.get("state", "")
        kept = await run_in_threadpool(desk.handshakes.finish, _KIND, state, browser, desk.clock())
        if kept is None or kept["ehr"] not in named:
            raise NotProven("state")
        ehr = named[kept["ehr"]]
        opened = await ehr.opened(
            given, nonce=kept["nonce"], verifier=kept["verifier"], redirect_uri=callback(request)
        )
        number, key = await run_in_threadpool(enter, desk.number(request), ehr, opened)
        return signed_in(desk, number, f"/worklist/patients/{key}")

    def enter(former: str, ehr: Ehr, opened: Opened) -> tuple[str, str]:
        """A session for this one patient; what the browser had before ends."""
        key = key_of(opened.patient)
        grants = (Grant(ehr.launch.role, study, desk.site.site_id, patient=key),)
        desk.sessions.end(former, desk.clock())
        return desk.sessions.start(opened.account, opened.name, _KIND, desk.clock(), grants), key

    return routes
