"""The worklist for tests: a planted ward, the clock on its day, one account with a password for each role."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import cache
from pathlib import Path

import httpx
import msgspec
from fastapi import FastAPI

from adapter.access import Grant
from adapter.access.passwords import hash_password
from adapter.store.accounts import Accounts
from adapter.store.database import open_database
from adapter.trial import Trial
from adapter.web.app import create_app, own_endpoint
from adapter.web.worklist.counter import Counter
from adapter.web.worklist.runs import Runs
from tests.worklist_case import NOW, trial, ward

EMBEDDED = "http://127.0.0.1/fhir"
PASSWORD = "nephron tubule loop glomerulus"
NAMES = {
    "coordinator": "Wang Min",
    "investigator": "Dr Li",
    "monitor": "Ann Example",
    "sponsor": "Sam Example",
    "admin": "Root Example",
}


def clock() -> datetime:
    return NOW


@cache
def _kept() -> str:
    return hash_password(PASSWORD)


def approving() -> Trial:
    """The demo site, where a person allows each content before it is sent."""
    site = msgspec.structs.replace(trial().site, approval=True, rungs=("ResearchSubject",))
    return trial()._replace(site=site)


@contextmanager
def served(folder: Path) -> Iterator[tuple[FastAPI, Counter]]:
    """The application on a ward of its own; what is written goes to its own FHIR endpoint."""
    workspace = ward(folder)
    engine = open_database(workspace.database)
    here = approving()
    accounts = Accounts(engine)
    for role, name in NAMES.items():
        grants = [Grant(role, here.protocol.id, here.site.site_id)]
        accounts.add(role, name, _kept(), grants, now=clock(), by="root")
    inside = httpx.ASGITransport(own_endpoint(engine, clock))
    runs = Runs(here, workspace, engine, clock, base_url=EMBEDDED, transport=inside)
    counter = Counter(here, workspace, engine, clock, runs)
    try:
        yield create_app(engine, clock, here.site, study=here.protocol.id, people=counter), counter
    finally:
        runs.wait()
        engine.dispose()
