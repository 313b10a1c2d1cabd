"""The worklist in a browser for tests: a planted ward, the clock on its day, everybody let in by one role."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import httpx
import msgspec
from fastapi import FastAPI

from adapter.access import Grant, Principal
from adapter.store.database import open_database
from adapter.trial import Trial
from adapter.web.access import Inside, Premises
from adapter.web.app import create_app, own_endpoint
from adapter.web.worklist.counter import Counter
from adapter.web.worklist.runs import Runs
from tests.worklist_case import NOW, trial, ward

EMBEDDED = "http://127.0.0.1/fhir"


def clock() -> datetime:
    return NOW


def approving() -> Trial:
    """The demo site, where a person allows each content before it is sent."""
    site = msgspec.structs.replace(trial().site, approval=True, rungs=("ResearchSubject",))
    return trial()._replace(site=site)


@contextmanager
def served(
    folder: Path, role: str = "investigator", *, name: str = "Dr Li"
) -> Iterator[tuple[FastAPI, Counter]]:
    """The application on a ward of its own; what is written goes to its own FHIR endpoint."""
    workspace = ward(folder)
    engine = open_database(workspace.database)
    here = approving()
    inside = httpx.ASGITransport(own_endpoint(engine, clock))
    runs = Runs(here, workspace, engine, clock, base_url=EMBEDDED, transport=inside)
    counter = Counter(here, workspace, engine, clock, runs)
    grants = (Grant(role, here.protocol.id, here.site.site_id),)
    gate = Inside(Principal(role, grants, name))
    premises = Premises(here.protocol.id, here.site.site_id, gate, clock)
    try:
        yield create_app(engine, clock, here.site, premises=premises, people=counter), counter
    finally:
        runs.wait()
        engine.dispose()
