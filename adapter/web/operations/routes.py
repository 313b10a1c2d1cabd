"""``/readyz``, ``/metrics`` and the page ``/operations``."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from adapter.access import Principal
from adapter.web.access import Clock, allowed, open_to_all
from adapter.web.frame import Pages
from adapter.web.operations.standing import Gauges, Watch

Sees = Annotated[Principal, Depends(allowed("see-operations"))]


def router(watch: Watch, registry: CollectorRegistry, pages: Pages, clock: Clock) -> APIRouter:
    """``registry`` already holds what counts requests; the gauges are added to it."""
    registry.register(Gauges(watch, clock))
    routes = APIRouter()

    @routes.get("/readyz", dependencies=[Depends(open_to_all("says only whether it can work"))])
    def readyz() -> JSONResponse:
        """200 while the database answers, 503 while it does not; what sends traffic here asks this."""
        ready = watch.ready()
        return JSONResponse({"status": "ready" if ready else "not ready"}, 200 if ready else 503)

    @routes.get("/metrics")
    def metrics(principal: Sees) -> Response:
        """Prometheus text; a scraper signs in with a service token."""
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    @routes.get("/operations", response_class=HTMLResponse)
    def operations(request: Request, principal: Sees) -> Response:
        return pages.show(request, principal, "operations/standing.html", now=watch.standing(), clock=clock())

    return routes
