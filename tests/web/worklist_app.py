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
from adapter.web.sponsor import Folders
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
def served(
    folder: Path, here: Trial | None = None, *, base_url: str = "", packages: bool = False
) -> Iterator[tuple[FastAPI, Counter]]:
    """The application on a ward of its own; what is written goes to ``base_url``, else to its own FHIR
    endpoint. ``here`` is the trial, else :func:`approving`; ``packages`` serves what was exported of it."""
    workspace = ward(folder)
    engine = open_database(workspace.database)
    here = here or approving()
    accounts = Accounts(engine)
    for role, name in NAMES.items():
        grants = [Grant(role, here.protocol.id, here.site.site_id)]
        accounts.add(role, name, _kept(), grants, now=clock(), by="root")
    inside = None if base_url else httpx.ASGITransport(own_endpoint(engine, clock))
    runs = Runs(here, workspace, engine, clock, base_url=base_url or EMBEDDED, transport=inside)
    counter = Counter(here, workspace, engine, clock, runs)
    try:
        folders = Folders(workspace.snapshots, workspace.root / "served") if packages else None
        yield (
            create_app(engine, clock, here.site, study=here.protocol.id, people=counter, packages=folders),
            counter,
        )
    finally:
        runs.wait()
        engine.dispose()
