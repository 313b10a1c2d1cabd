"""The web application: pages, own FHIR endpoint, subscriptions of hospitals, a health check.

Every route says who may use it (:mod:`adapter.web.access`); an application with a route that does not is
never made. Who asks is told by sign-in (:mod:`adapter.web.signin`); without accounts nobody is let in.
"""

from __future__ import annotations

import ipaddress
import signal
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

import httpx
from fastapi import Depends, FastAPI
from fastapi.exceptions import RequestValidationError
from prometheus_client import CollectorRegistry
from sqlalchemy import Engine
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.staticfiles import StaticFiles

from adapter import __version__, logs
from adapter.config import Site
from adapter.consult import Counsel, counsel
from adapter.errors import ConfigError, StoreUnavailable
from adapter.model.decision import Decision
from adapter.store.casebook import secret
from adapter.store.database import open_database
from adapter.store.inbox import Inbox
from adapter.store.resources import ResourceStore
from adapter.trial import Trial, Workspace
from adapter.web import (
    auditing,
    datasets,
    frame,
    hooks,
    launch,
    mappings,
    operations,
    signin,
    sponsor,
    subscriptions,
    worklist,
)
from adapter.web.access import Denied, Premises, open_to_all, require_declared
from adapter.web.fhir import evaluate, last_resort, refused, router, unavailable
from adapter.web.interactions import Clock, Refused
from adapter.web.launch.ehr import Ehr
from adapter.web.refusals import Refusals
from adapter.web.signin.openid import NotProven
from adapter.worklist.board import key_of

GRACE_SECONDS = 20  # for requests under way when told to end


def create_app(
    database: Engine | Path,
    clock: Clock = lambda: datetime.now(UTC),
    site: Site | None = None,
    *,
    study: str = "",
    premises: Premises | None = None,
    packages: sponsor.Folders | None = None,
    people: worklist.Counter | None = None,
    trial: Trial | None = None,
) -> FastAPI:
    """The application on a database, for one study at one site: people and services sign in, unless
    ``premises`` says otherwise what it serves and who is let in.

    ``site`` brings settings of sign-in and the channels on which its hospital's subscriptions arrive,
    ``packages`` the snapshots that sponsors pull, ``people`` the worklist of a screened workspace,
    ``trial`` what judges one patient at once: CDS Hooks, where the site has callers.
    """
    engine = database if isinstance(database, Engine) else open_database(database)
    store, refusals = ResourceStore(engine), Refusals(engine, clock)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        yield
        if people is not None:
            await run_in_threadpool(people.runs.wait)
        with suppress(StoreUnavailable):
            await run_in_threadpool(refusals.finish)
        if engine is not database:
            engine.dispose()

    app = FastAPI(
        title="trial-fhir-adapter", version=__version__, openapi_url=None, docs_url=None, lifespan=lifespan
    )
    pages = frame.Pages()
    desk = None
    if premises is None:
        desk = signin.Desk(engine, site or Site(name="", site_id=""), clock)
        premises = Premises(study, desk.site.site_id, desk, clock)
        app.include_router(signin.router(desk, pages))
    app.state.premises = premises
    registry = CollectorRegistry()
    app.add_middleware(frame.SecurityHeaders)
    app.add_middleware(operations.Requests, registry=registry)
    app.mount("/static", StaticFiles(directory=frame.STATIC), name="static")
    app.include_router(frame.router(pages))
    checkpoints = people.workspace.checkpoints if people is not None else None
    app.include_router(auditing.router(engine, pages, clock, checkpoints))
    app.include_router(router(store, clock, site.zone if site is not None else UTC))
    if site is not None and site.subscriptions:
        app.include_router(subscriptions.router(Inbox(engine), site.subscriptions, site.base_url, clock))
    if people is not None:
        app.include_router(worklist.router(people, pages))
        bench = mappings.Workbench(lambda: people.trial, people.workspace, engine, clock, people.adopt)
        app.include_router(mappings.router(bench, pages))
    if desk is not None and desk.site.launch:
        ehrs = [Ehr(name, one, clock) for name, one in desk.site.launch.items()]
        key = secret(engine, "worklist")
        app.include_router(launch.router(desk, ehrs, study, lambda patient: key_of(key, patient)))
    trial = trial or (people.trial if people is not None else None)
    if trial is not None:
        judge, kept = counsels(lambda: people.trial if people is not None else trial), decisions_of(people)
        app.include_router(evaluate.router(judge, kept, store, clock))
        if trial.site.hooks is not None:
            app.include_router(hooks.router(judge, trial.site.hooks, engine, clock))
    if packages is not None:
        app.include_router(sponsor.router(packages, engine, clock))
        public = site.sign_in.public_url if site is not None else ""
        app.include_router(datasets.router(packages, engine, pages, clock, public))
    app.add_exception_handler(Refused, refused)
    for trouble in (StoreUnavailable, ConfigError):
        app.add_exception_handler(trouble, frame.answer_unavailable(pages, unavailable))
    app.add_exception_handler(Denied, frame.answer_denied(pages, refusals.note))
    app.add_exception_handler(NotProven, signin.answer_not_proven(pages))
    for fault in (HTTPException, RequestValidationError):
        app.add_exception_handler(fault, frame.answer_fault(pages))

    watch = operations.Watch(engine, people.workspace if people is not None else None)
    app.include_router(operations.router(watch, registry, pages, clock))

    @app.get("/healthz", dependencies=[Depends(open_to_all("says only that it runs"))])
    def healthz() -> dict[str, str]:
        with store.view():
            return {"status": "ok", "version": __version__}

    app.include_router(last_resort())
    require_declared(app)
    return app


def counsels(trial: Callable[[], Trial]) -> Callable[[], Counsel]:
    """What judges by the rules and mappings of this moment; prepared again when they change."""
    held: list[Counsel] = []

    def current() -> Counsel:
        now = trial()
        if not held or held[0].trial is not now:
            held[:] = [counsel(now)]
        return held[0]

    return current


def decisions_of(people: worklist.Counter | None) -> Callable[[str], Decision | None]:
    """The decision of the last screening about a Patient.id."""

    def kept(patient: str) -> Decision | None:
        try:
            board = people.board() if people is not None else None
        except ConfigError:
            return None  # nothing was screened yet
        row = board.row(board.key_of(patient)) if board is not None else None
        return board.decision(row) if board is not None and row is not None else None

    return kept


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


def people_of(
    trial: Trial, workspace: Workspace, engine: Engine, clock: Clock = lambda: datetime.now(UTC)
) -> worklist.Counter:
    """The worklist of a workspace; what a person allows is written to the site's server, or to our own
    endpoint where the site names that rung."""
    own = httpx.ASGITransport(own_endpoint(engine, clock)) if "own" in trial.site.rungs else None
    runs = worklist.Runs(trial, workspace, engine, clock, base_url=trial.site.base_url, own=own)
    return worklist.Counter(trial, workspace, engine, clock, runs)


def serve(
    database: Engine | Path,
    host: str = "127.0.0.1",
    port: int = 8077,
    *,
    shielded: bool = False,
    site: Site | None = None,
    study: str = "",
    packages: sponsor.Folders | None = None,
    people: worklist.Counter | None = None,
) -> None:
    """Serve until told to end (SIGTERM, Ctrl-C): requests under way are answered first.

    Raises :class:`ConfigError` for a host that is not loopback, unless the site names its https
    ``public_url``, or it is ``shielded``: a container's own network of which only 127.0.0.1 of the machine is
    published."""
    import uvicorn

    public = site is not None and site.sign_in.public_url.startswith("https://")
    if not (shielded or public or host == "localhost" or _is_loopback(host)):
        raise ConfigError(
            "passwords and patients' data would travel in the clear",
            where=host,
            fix="use 127.0.0.1 behind something that ends TLS, and name its address: site.toml, "
            "sign_in.public_url",
        )
    app = create_app(database, site=site, study=study, packages=packages, people=people)
    logs.configure()
    if threading.current_thread() is threading.main_thread():
        # uvicorn ends in order and then raises the signal again: having ended in order is success
        signal.signal(signal.SIGTERM, lambda _signal, _frame: None)
    uvicorn.run(
        app,
        host=host,
        port=port,
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
