"""Who asks, and whether they may: what every route declares. Whatever is not declared is refused.

A route declares itself by one of two dependencies: ``Depends(allowed("see-results"))`` for an action of
``adapter/access/matrix.yaml``, or ``Depends(open_to_all("why"))``. :func:`require_declared` refuses to start
an application with any other route. A handler that needs the principal takes it from the same dependency::

    Asks = Annotated[Principal, Depends(allowed("see-results"))]  # at the level of the module

    @routes.get("/worklist")
    def worklist(request: Request, principal: Asks) -> Response: ...
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime
from typing import Any, NamedTuple, Protocol

from fastapi import FastAPI, Request
from fastapi.routing import RouteContext, iter_route_contexts
from starlette.concurrency import run_in_threadpool
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles

from adapter.access import MATRIX, Grant, Principal, allows

Clock = Callable[[], datetime]


class Denied(Exception):
    """Nobody signed in (401), not allowed (403), or nothing of theirs there (404). Quotes no content."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.text = text


class Gate(Protocol):
    """How this application tells who asks; None for nobody. May read the database: not on the event loop."""

    def who(self, request: Request) -> Principal | None: ...

    async def check(self, request: Request) -> None:
        """Raises :class:`Denied` for a request that the principal's browser was tricked into (CSRF)."""

    def csrf(self, request: Request) -> str:
        """The token that forms on this principal's pages carry; "" where none is needed."""

    def is_proven(self, request: Request, record_sha256: str) -> bool:
        """Whether the principal signed in once more for this record, and may sign it without a password."""

    async def proves(self, request: Request, principal: Principal, record_sha256: str) -> bool:
        """Whether this request's form proves once more who its principal is, to sign this record."""


class Shut:
    """Nobody is let in; what an application without accounts does."""

    def who(self, request: Request) -> Principal | None:
        return None

    async def check(self, request: Request) -> None:
        return None

    def csrf(self, request: Request) -> str:
        return ""

    def is_proven(self, request: Request, record_sha256: str) -> bool:
        return False

    async def proves(self, request: Request, principal: Principal, record_sha256: str) -> bool:
        return False


class Inside(NamedTuple):
    """Calls from inside this very program, over no socket (``httpx.ASGITransport``): always the same caller.

    Never for an application that :func:`adapter.web.app.serve` binds to a port.
    """

    principal: Principal

    def who(self, request: Request) -> Principal | None:
        return self.principal

    async def check(self, request: Request) -> None:
        return None

    def csrf(self, request: Request) -> str:
        return ""

    def is_proven(self, request: Request, record_sha256: str) -> bool:
        return False

    async def proves(self, request: Request, principal: Principal, record_sha256: str) -> bool:
        return False


class Premises(NamedTuple):
    """What the application serves: one study at one site, who is let in, and what time it is."""

    study: str
    site: str
    gate: Gate = Shut()
    clock: Clock = lambda: datetime.now(UTC)

    def in_process(self, account: str) -> Premises:
        """The same for calls inside this program, which act as the service account of this name."""
        grant = Grant("service", self.study, self.site)
        return self._replace(gate=Inside(Principal(account, (grant,), account, "process")))


def premises(request: Request) -> Premises:
    """What this application serves. Raises if nobody set it: a mistake of ours that lets nobody in."""
    found = request.app.state.premises
    if not isinstance(found, Premises):
        raise Denied(403, "this application does not know what it serves")
    return found


async def who(request: Request) -> Principal:
    """The principal of this request; raises :class:`Denied` (401) if nobody is signed in. Asked once."""
    found: Principal | None = getattr(request.state, "principal", None)
    if found is not None:
        return found
    gate = premises(request).gate
    found = await run_in_threadpool(gate.who, request)
    if found is None:
        raise Denied(401, "sign in first")
    await gate.check(request)
    request.state.principal = found
    return found


class Declared:
    """The dependency that :func:`allowed` and :func:`open_to_all` give; ``action`` is "" for the latter."""

    def __init__(self, action: str, why: str = "") -> None:
        self.action = action
        self.why = why


class _Allowed(Declared):
    async def __call__(self, request: Request) -> Principal:
        request.state.asked = self.action
        principal = await who(request)
        here = premises(request)
        study = request.path_params.get("study", here.study)
        site = request.path_params.get("site", here.site)
        if not _reaches_patient(principal, request, study, site):
            raise Denied(404, "there is nothing here for you")
        if allows(principal, self.action, study, site):
            return principal
        if principal.at(study, site):
            raise Denied(403, "your role does not allow this")
        raise Denied(404, "you have no role at this place")


def _reaches_patient(principal: Principal, request: Request, study: str, site: str) -> bool:
    """Whether somebody whose grants are about single patients asks for the page of one of them."""
    patients = {one.patient for one in principal.at(study, site)}
    if not patients or "" in patients:
        return True
    asked = request.path_params.get("key")
    return request.url.path.startswith("/worklist/patients/") and asked in patients


class _Open(Declared):
    async def __call__(self) -> None:
        return None


def allowed(action: str) -> Callable[[Request], Awaitable[Principal]]:
    """A dependency that gives the :class:`Principal` if it may do this where the request asks.

    Where: path parameters ``study`` and ``site`` if the route has them, else what the application serves.
    Raises :class:`Denied`: 401 nobody signed in, 403 a role without the action, 404 no grant for that place,
    so that a stranger does not learn what exists. Raises KeyError at once for an unknown action.
    """
    _ = MATRIX.actions[action]
    return _Allowed(action)


def open_to_all(why: str) -> Callable[[], Awaitable[None]]:
    """A dependency for a route that needs nobody signed in; ``why`` is shown by the test of the matrix."""
    return _Open("", why)


class Route(NamedTuple):
    """One method of one path and what it declares; ``declared`` is empty if it declares nothing."""

    method: str
    path: str
    declared: tuple[Declared, ...]


def routes_of(app: FastAPI) -> Iterator[Route]:
    """Every route of the application, also those of included routers; static files declare themselves."""
    for route in iter_route_contexts(app.routes):
        original = route.original_route
        if isinstance(original, Mount) and isinstance(original.app, StaticFiles):
            continue
        for method in sorted(route.methods or {"*"}):
            yield Route(method, route.path or "?", tuple(_declared(route)))


def require_declared(app: FastAPI) -> None:
    """Raises RuntimeError naming the routes that declare nothing, or more than one thing."""
    wrong = [f"{one.method} {one.path}" for one in routes_of(app) if len(one.declared) != 1]
    if wrong:
        raise RuntimeError(
            f"routes must declare exactly one of allowed(action) and open_to_all(why): {', '.join(wrong)}"
        )


def _declared(route: RouteContext) -> Iterator[Declared]:
    def walk(dependant: Any) -> Iterator[Declared]:
        for one in dependant.dependencies:
            if isinstance(one.call, Declared):
                yield one.call
            yield from walk(one)

    dependant = getattr(route, "dependant", None)
    found = {} if dependant is None else {id(one): one for one in walk(dependant)}
    yield from found.values()
