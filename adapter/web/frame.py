"""The frame of every page: language, navigation by role, security headers, and what a refusal looks like."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import cache
from http import HTTPStatus
from pathlib import Path
from typing import Annotated, Any, NamedTuple
from urllib.parse import quote, urlsplit

from fastapi import APIRouter, Depends, FastAPI, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from adapter.access import Principal, allows
from adapter.logs import log
from adapter.web.access import Denied, allowed, open_to_all, premises, routes_of
from adapter.web.texts import LANGUAGES, Language, Voice, language_of

HERE = Path(__file__).parent
STATIC = HERE / "static"
# Nothing inline, nothing from elsewhere, no frames, no plug-ins. Source: CSP level 3.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; font-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    # with no-referrer a browser would say "Origin: null" of our own forms (Fetch, 3.1)
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}
LANGUAGE_COOKIE = "language"
TAGS = {"en": "en", "zh": "zh-Hans"}


OwnAccount = Annotated[Principal, Depends(allowed("use-own-account"))]


class NavItem(NamedTuple):
    """An entry of the navigation, shown if the application has the path and the principal may do this."""

    path: str
    text: str
    action: str


NAVIGATION = (
    NavItem("/worklist", "frame.worklist", "see-results"),
    NavItem("/study", "frame.study", "see-study"),
    NavItem("/mappings", "frame.mappings", "see-mappings"),
    NavItem("/datasets", "frame.datasets", "read-datasets"),
    NavItem("/audit", "frame.audit", "see-audit"),
    NavItem("/operations", "frame.operations", "see-operations"),
)


class Pages:
    """Renders templates: ``pages.show(request, principal, "worklist/list.html", rows=rows)``.

    A template gets ``t`` (texts), ``lang``, ``principal``, ``may(action)``, ``csrf``, ``here`` and what is
    passed; an unknown name in it is an error. ``csrf`` belongs as hidden field ``csrf`` into every form that
    posts; requests by htmx carry it by themselves.
    """

    def __init__(self) -> None:
        self._environment = Environment(
            loader=FileSystemLoader(HERE / "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )

    def show(
        self,
        request: Request,
        principal: Principal | None,
        template: str,
        *,
        status: int = 200,
        **context: Any,
    ) -> HTMLResponse:
        """The page, or a part of it that htmx asked for; never kept by a browser or proxy."""
        here = premises(request)
        language = language_for(request)

        def may(action: str) -> bool:
            return principal is not None and allows(principal, action, here.study, here.site)

        path = request.url.path
        known = _paths(request.app)
        nav = [
            {**item._asdict(), "current": path == item.path or path.startswith(f"{item.path}/")}
            for item in NAVIGATION
            if item.path in known and may(item.action)
        ]
        page = self._environment.get_template(template).render(
            t=Voice(language),
            lang=language,
            lang_tag=TAGS[language],
            principal=principal,
            may=may,
            nav=nav,
            csrf=here.gate.csrf(request),
            own_page="/account" in known,
            is_proven=lambda record_sha256: here.gate.is_proven(request, record_sha256),
            static=static_url,
            here=path + (f"?{request.url.query}" if request.url.query else ""),
            place=" · ".join(one for one in (here.study, here.site) if one) if principal else "",
            **context,
        )
        return HTMLResponse(page, status, {"Cache-Control": "no-store", "Content-Language": TAGS[language]})


def language_for(request: Request) -> Language:
    """What the person chose, else what the browser asks for, else English."""
    chosen = request.cookies.get(LANGUAGE_COOKIE)
    for one in LANGUAGES:
        if one == chosen:
            return one
    return language_of(request.headers.get("accept-language", ""))


def own_path(asked: str) -> str:
    """A path of this application to go on to; the start for whatever might lead elsewhere."""
    parts = urlsplit(asked)
    plain = asked.isprintable() and asked.startswith("/") and not asked.startswith("//")
    return asked if plain and "\\" not in asked and not (parts.scheme or parts.netloc) else "/"


@cache
def static_url(name: str) -> str:
    """The address of a file under ``static/`` with a hash of its content, so that it may be kept for ever."""
    digest = hashlib.sha256((STATIC / name).read_bytes()).hexdigest()[:16]
    return f"/static/{name}?{digest}"


def router(pages: Pages) -> APIRouter:
    """The start page and the choice of language."""
    routes = APIRouter()

    @routes.get("/", response_class=HTMLResponse)
    def start(request: Request, principal: OwnAccount) -> Response:
        return pages.show(request, principal, "frame/start.html")

    @routes.get("/language/{language}", dependencies=[Depends(open_to_all("a preference, about nobody"))])
    def choose(language: str, next: str = "/") -> Response:
        answer = RedirectResponse(own_path(next), HTTPStatus.SEE_OTHER)
        if language in LANGUAGES:
            answer.set_cookie(LANGUAGE_COOKIE, language, max_age=31_536_000, httponly=True, samesite="lax")
        return answer

    return routes


def answer_denied(
    pages: Pages, note: Callable[[Request, Principal, Denied], None]
) -> Callable[[Request, Exception], Any]:
    """Turns :class:`Denied` into the sign-in page, a page that says why, or JSON for a machine; what is
    refused to somebody who is signed in goes to ``note`` first."""

    async def denied(request: Request, fault: Exception) -> Response:
        assert isinstance(fault, Denied)  # noqa: S101 - registered for this class only
        if fault.status == 401:
            return _to_sign_in(request) if wants_page(request) else _machine(request, fault)
        principal = await _signed_in(request)
        if principal is not None:
            await run_in_threadpool(note, request, principal, fault)
        if not wants_page(request):
            return _machine(request, fault)
        return await run_in_threadpool(not_possible, pages, request, principal, fault.status)

    return denied


def answer_fault(pages: Pages) -> Callable[[Request, Exception], Any]:
    """Turns what FastAPI itself refuses (no such page, a form that cannot be read) into a page or JSON.
    Quotes nothing of what was sent."""

    async def faulty(request: Request, fault: Exception) -> Response:
        status = fault.status_code if isinstance(fault, HTTPException) else 422
        if wants_page(request):
            principal = await _signed_in(request)
            return await run_in_threadpool(not_possible, pages, request, principal, status)
        return _machine(request, Denied(status, HTTPStatus(status).phrase))

    return faulty


def answer_unavailable(
    pages: Pages, machine: Callable[[Request, Exception], Response]
) -> Callable[[Request, Exception], Any]:
    """Turns a database (or a setting) that cannot be used now into 503: a page, or what ``machine`` says.
    Nothing was done, and nobody was let in."""

    async def closed(request: Request, fault: Exception) -> Response:
        log().error("out of order", fault=type(fault).__name__)
        if not wants_page(request):
            return machine(request, fault)
        page = await run_in_threadpool(not_possible, pages, request, None, 503)
        page.headers["Retry-After"] = "30"
        return page

    return closed


async def _signed_in(request: Request) -> Principal | None:
    """Who asked, or looks at a page about a fault; looking is safe, whatever the request wanted."""
    known: Principal | None = getattr(request.state, "principal", None)
    if known is not None:
        return known
    gate = premises(request).gate
    return await run_in_threadpool(gate.who, request)


def not_possible(pages: Pages, request: Request, principal: Principal | None, status: int) -> HTMLResponse:
    """A page that says what is not possible, by HTTP status."""
    voice = Voice(language_for(request))
    key = f"denied.{status}"
    words = voice(key if voice.has(key) else "denied.other")
    return pages.show(request, principal, "frame/denied.html", status=status, words=words)


def wants_page(request: Request) -> bool:
    """Whether a person looks at it in a browser."""
    if request.url.path.startswith("/fhir"):
        return False
    return "hx-request" in request.headers or "text/html" in request.headers.get("accept", "")


def _to_sign_in(request: Request) -> Response:
    asked = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    to = "/sign-in" + (f"?next={quote(asked, safe='')}" if request.method == "GET" and asked != "/" else "")
    if "hx-request" in request.headers:  # a redirect would be followed inside the page
        return Response(status_code=401, headers={"HX-Redirect": "/sign-in", "Cache-Control": "no-store"})
    return RedirectResponse(to, HTTPStatus.SEE_OTHER, {"Cache-Control": "no-store"})


_ISSUE = {401: "login", 403: "forbidden", 404: "not-found", 429: "throttled"}


def _machine(request: Request, fault: Denied) -> Response:
    headers = {"Cache-Control": "no-store"}
    if fault.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    if request.url.path.startswith("/fhir"):
        code = _ISSUE.get(fault.status, "processing")
        issue = {"severity": "error", "code": code, "diagnostics": fault.text}
        outcome = {"resourceType": "OperationOutcome", "issue": [issue]}
        return JSONResponse(outcome, fault.status, headers, media_type="application/fhir+json")
    problem = {"type": "about:blank", "title": fault.text, "status": fault.status}
    return JSONResponse(problem, fault.status, headers, media_type="application/problem+json")


def _paths(app: FastAPI) -> frozenset[str]:
    found: frozenset[str] | None = getattr(app.state, "paths", None)
    if found is None:
        found = app.state.paths = frozenset(route.path for route in routes_of(app))
    return found


class SecurityHeaders:
    """Adds :data:`HEADERS` to every answer, and forbids keeping it unless it says itself for how long."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def sealed(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
                if scope["path"].startswith("/static/") and message["status"] == 200:
                    headers["Cache-Control"] = "public, max-age=31536000, immutable"
                elif "cache-control" not in headers:
                    headers["Cache-Control"] = "no-store"
                if scope["scheme"] == "https":
                    headers["Strict-Transport-Security"] = "max-age=31536000"
            await send(message)

        await self._app(scope, receive, sealed)
