"""The web application: pages, own FHIR endpoint, subscriptions of hospitals, a health check.

Every route says who may use it (:mod:`adapter.web.access`); an application with a route that does not is
never made. Without accounts nobody is let in.
"""

from __future__ import annotations

import ipaddress
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

from fastapi import Depends, FastAPI
from sqlalchemy import Engine
from starlette.staticfiles import StaticFiles

from adapter import __version__
from adapter.config import Site
from adapter.errors import ConfigError, StoreUnavailable
from adapter.store.database import open_database
from adapter.store.inbox import Inbox
from adapter.store.resources import ResourceStore
from adapter.web import frame, subscriptions
from adapter.web.access import Denied, Premises, open_to_all, require_declared
from adapter.web.fhir import last_resort, refused, router, unavailable
from adapter.web.interactions import Clock, Refused


def create_app(
    database: Engine | Path,
    clock: Clock = lambda: datetime.now(UTC),
    site: Site | None = None,
    *,
    premises: Premises | None = None,
) -> FastAPI:
    """The application on a database. ``premises`` says what it serves and who is let in; without: nobody.

    ``site`` brings the channels on which its hospital's subscriptions arrive.
    """
    engine = database if isinstance(database, Engine) else open_database(database)
    store = ResourceStore(engine)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        yield
        if engine is not database:
            engine.dispose()

    app = FastAPI(
        title="trial-fhir-adapter", version=__version__, openapi_url=None, docs_url=None, lifespan=lifespan
    )
    app.state.premises = premises or Premises("", "", clock=clock)
    pages = frame.Pages()
    app.add_middleware(frame.SecurityHeaders)
    app.mount("/static", StaticFiles(directory=frame.STATIC), name="static")
    app.include_router(frame.router(pages))
    app.include_router(router(store, clock, site.zone if site is not None else UTC))
    if site is not None and site.subscriptions:
        app.include_router(subscriptions.router(Inbox(engine), site.subscriptions, site.base_url, clock))
    app.add_exception_handler(Refused, refused)
    app.add_exception_handler(StoreUnavailable, unavailable)
    app.add_exception_handler(Denied, frame.answer_denied(pages))

    @app.get("/healthz", dependencies=[Depends(open_to_all("says only that it runs"))])
    def healthz() -> dict[str, str]:
        with store.view():
            return {"status": "ok", "version": __version__}

    app.include_router(last_resort())
    require_declared(app)
    return app


def own_endpoint(
    database: Engine | Path,
    clock: Clock = lambda: datetime.now(UTC),
    *,
    study: str = "own",
    site: str = "own",
) -> FastAPI:
    """The same for this program alone, without a socket: whoever calls is the service account ``adapter``.
    ``write_back("http://127.0.0.1/fhir", ..., transport=httpx.ASGITransport(own_endpoint(database)))``.
    """
    inside = Premises(study, site, clock=clock).in_process("adapter")
    return create_app(database, clock, premises=inside)


def serve(
    database: Engine | Path,
    host: str = "127.0.0.1",
    port: int = 8077,
    *,
    shielded: bool = False,
    site: Site | None = None,
) -> None:
    """Serve until interrupted. Raises :class:`ConfigError` for a host that is not loopback, unless
    ``shielded``: a container's own network of which only 127.0.0.1 of the machine is published."""
    import uvicorn

    if not shielded and host != "localhost" and not _is_loopback(host):
        raise ConfigError(
            "the FHIR endpoint has no access control yet and listens on this machine only",
            where=host,
            fix="use 127.0.0.1, ::1 or localhost; --shielded only behind something that keeps strangers out",
        )
    uvicorn.run(create_app(database, site=site), host=host, port=port, log_level="warning", access_log=False)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
