"""``/datasets``: the packages that a data manager's account opens, each file of them, and their hashes.

What is sent is what ``adapter pull`` is sent: files that a manifest names, verified, each with a row in the
audit before its first byte leaves. Only the profile ``sponsor`` is here; a token may open another one.
"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import HTMLResponse, PlainTextResponse
from sqlalchemy import Engine

from adapter.access import Principal
from adapter.store import audit
from adapter.store.audit import Entry
from adapter.store.sponsor_tokens import Scope
from adapter.web.access import Clock, Denied, allowed, premises
from adapter.web.datasets.package import Package, package_of, sums
from adapter.web.frame import Pages
from adapter.web.problem import Problem
from adapter.web.sponsor import Folders
from adapter.web.sponsor.made import Made
from adapter.web.sponsor.sending import conditional, delivered
from adapter.web.sponsor.shelf import Damaged, Held, Shelf

PROFILE = "sponsor"
Reads = Annotated[Principal, Depends(allowed("read-datasets"))]


class _Visit:
    """One request of somebody signed in; ``note`` writes it into the audit as a pull."""

    def __init__(
        self, engine: Engine, clock: Clock, request: Request, principal: Principal, what: str
    ) -> None:
        self.request = request
        self._engine = engine
        self._clock = clock
        self._principal = principal
        self._what = what

    def note(self, status: int, size: int, **more: Any) -> None:
        told = {"page": "datasets", "status": status, "bytes": size, **more}
        with self._engine.begin() as connection:
            audit.append(
                connection, Entry(self._clock(), self._principal.account, "pull", (self._what,), told)
            )


def router(folders: Folders, engine: Engine, pages: Pages, clock: Clock, public_url: str = "") -> APIRouter:
    """``/datasets`` and everything below it; ``public_url`` is where the site says that browsers find it."""
    shelf = Shelf(folders.snapshots)
    routes = APIRouter(prefix="/datasets", default_response_class=HTMLResponse)

    @routes.get("")
    def listed(request: Request, principal: Reads) -> Response:
        found, damaged = shelf.listed(_scope(request))
        shown = [one for held in reversed(found) if (one := _package(held, shelf)) is not None]
        _seen(engine, clock, principal, ())
        broken = len(damaged) + len(found) - len(shown)
        return pages.show(
            request,
            principal,
            "datasets/list.html",
            packages=shown,
            damaged=broken,
            address=_address(request, public_url),
        )

    @routes.get("/{name}")
    def package(request: Request, principal: Reads, name: str) -> Response:
        held = _held(shelf, request, name)
        shown = _package(held, shelf)
        if shown is None:
            raise Denied(500, "this package is not as it was kept")
        _seen(engine, clock, principal, (held.id,))
        address = _address(request, public_url)
        return pages.show(request, principal, "datasets/package.html", package=shown, address=address)

    @routes.get("/{name}/SHA256SUMS")
    def hashes(request: Request, principal: Reads, name: str) -> Response:
        held = _held(shelf, request, name)
        text = sums(held)
        visit = _Visit(engine, clock, request, principal, f"{held.id}/SHA256SUMS")
        visit.note(200, len(text.encode()))
        return PlainTextResponse(text, headers={"Content-Disposition": 'attachment; filename="SHA256SUMS"'})

    @routes.get("/{name}/manifest.json")
    def manifest(request: Request, principal: Reads, name: str) -> Response:
        held = _held(shelf, request, name)
        visit = _Visit(engine, clock, request, principal, f"{held.id}/manifest.json")
        try:
            sent = conditional(visit, held.manifest, held.sha256, "application/json")
        except Problem as problem:
            raise Denied(problem.status, problem.title) from None
        sent.headers["Content-Disposition"] = 'attachment; filename="manifest.json"'
        return sent

    @routes.get("/{name}/files/{path:path}")
    def file(request: Request, principal: Reads, name: str, path: str) -> Response:
        held = _held(shelf, request, name)
        if path not in held.files:
            raise Denied(404, "there is nothing here for you")
        visit = _Visit(engine, clock, request, principal, f"{held.id}/{path}")
        try:
            return delivered(visit, Made(shelf.open(held, path), held.files[path].sha256), path, "")
        except Problem as problem:
            raise Denied(problem.status, problem.title) from None
        except Damaged as damage:
            visit.note(500, 0, refused="damaged", damaged=f"{damage.snapshot}/{damage.what}")
            raise Denied(500, "this package is not as it was kept") from None

    return routes


def _scope(request: Request) -> Scope:
    """Study and site as manifests name them."""
    here = premises(request)
    return Scope(here.study, here.site.upper(), PROFILE)


def _held(shelf: Shelf, request: Request, name: str) -> Held:
    try:
        held = shelf.held(name)
    except Damaged:
        raise Denied(500, "this package is not as it was kept") from None
    if held is None or held.scope != _scope(request):
        raise Denied(404, "there is nothing here for you")
    return held


def _package(held: Held, shelf: Shelf) -> Package | None:
    """None for one of which a part is not as it was kept."""
    try:
        return package_of(held, shelf)
    except Damaged:
        return None


def _address(request: Request, public_url: str) -> str:
    """Where ``adapter pull`` finds the packages."""
    return f"{(public_url or str(request.base_url)).rstrip('/')}/sponsor"


def _seen(engine: Engine, clock: Clock, principal: Principal, what: tuple[str, ...]) -> None:
    with engine.begin() as connection:
        audit.append(connection, Entry(clock(), principal.account, "see", what, {"page": "datasets"}))
