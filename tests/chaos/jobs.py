"""What a child of the zygote does: one run of the adapter, told what to do at which step.

It leaves ``result`` (a JSON file): what was reported, or the fault it ended with. A fault that is none of
ours is a crash, and a crash is a finding.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import signal
import traceback
from collections.abc import Callable
from datetime import datetime
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

from sqlalchemy import Engine

from adapter import origins
from adapter.config import Smart
from adapter.errors import AdapterError
from adapter.model.candidates import CandidateQuery
from adapter.source import client
from adapter.source.auth.keys import load_keys
from adapter.source.auth.server import Waiting
from adapter.source.auth.smart import SmartToken
from adapter.source.auth.token import FileToken, TokenSource
from adapter.source.bulk import BulkExport, Manners
from adapter.source.bulk_download import Care
from adapter.source.bulk_http import BulkConnection
from adapter.source.bulk_request import ExportRequest
from adapter.source.bulk_status import Pace
from adapter.source.client import FhirClient
from adapter.source.crawl import land_server
from adapter.source.sync import sync
from adapter.store.checkpoints import CheckpointFile
from adapter.store.database import open_database
from adapter.store.outbox import Outbox
from adapter.trial import Workspace, checkpoint
from adapter.writeback.research_study import StudyReference
from adapter.writeback.resources import _profiles as profiles
from adapter.writeback.resources import r4_faults
from adapter.writeback.send import Ladder, write_back
from adapter.writeback.server import PATIENCE, Patience
from tests.chaos.hearing import hear
from tests.chaos.schedule import NOTES
from tests.chaos.zygote import Job
from tests.writeback_cases import decision, source

HURRIED = Patience(
    attempts=3, connect=0.5, read=0.6, total=1.2, wait_initial=0.02, max_wait=0.1, max_bytes=2**22
)
BRIEF = client.Patience(
    attempts=3, connect=0.5, read=0.6, total=1.2, wait_initial=0.02, max_wait=0.1, max_bytes=2**22
)
BRIEFLY = Waiting(attempts=3, connect=0.5, total=1.2, wait_initial=0.02, max_wait=0.1)
SOON = Manners(
    pace=Pace(first=0.05, longest=0.2, longest_asked=0.3, wait=20.0, faults=3),
    care=Care(attempts=3, first=0.02, longest=0.1, longest_asked=0.2, renewals=3, silent=3),
)
CRASHED = 71
WRITTEN = ("ResearchStudy", "ResearchSubject", "Device", "Flag", "Provenance", *NOTES)


def warm() -> None:
    """Load once, before the first fork, what each run would load again: models, profiles, authorities."""
    for module in ("anyio._backends._asyncio", "encodings.idna", "pydantic.v1"):
        import_module(module)
    for kind in WRITTEN:
        r4_faults({"resourceType": kind})
    profiles()
    origins.tls_context = cache(origins.tls_context)
    origins.tls_context(None)


def perform(job: Job) -> int:
    """0, the exit code of one of our faults, or CRASHED."""
    try:
        said, code = _JOBS[job["kind"]](job), 0
    except AdapterError as fault:
        said, code = {"fault": type(fault).__name__, "message": fault.message}, fault.exit_code
    except BaseException:  # noqa: BLE001 - whatever it is, it is told
        said, code = {"crash": traceback.format_exc()}, CRASHED
    Path(job["result"]).write_text(json.dumps(said))
    return code


def write(job: Job) -> dict[str, Any]:
    workspace = Workspace(Path(job["root"]), embedded=True)
    now = datetime.fromisoformat(job["now"])
    study = StudyReference(job["study"], "A trial")
    folder = Path(job["folder"]) if job["folder"] else None
    decisions = [
        decision(
            overall,
            patient,
            study=study.id,
            evidence=(source(f"Observation/protein-{patient}", version),),
        )
        for patient, overall, version in job["decisions"]
    ]
    checkpoints = CheckpointFile(workspace.checkpoints)
    engine = _database(job)
    try:
        report = asyncio.run(
            write_back(
                job["base"],
                decisions,
                study=study,
                database=engine,
                now=now,
                token=_token(job),
                ladder=Ladder(
                    job["rungs"],
                    approval=job["approval"],
                    folder=folder,
                    at=_at(job),
                    patience=HURRIED if job["hurried"] else PATIENCE,
                ),
            )
        )
    finally:
        checkpoint(engine, checkpoints, now)
        engine.dispose()
    fault = report.fault()
    return {
        "rows": list(report.rows),
        "written": report.resources_written,
        "duplicates": list(report.duplicates),
        "fault": type(fault).__name__ if fault else "",
    }


def decide(job: Job) -> dict[str, Any]:
    """A person's word on every row that waits; killed after the first where the job says so."""
    workspace, now = Workspace(Path(job["root"]), embedded=True), datetime.fromisoformat(job["now"])
    engine = _database(job)
    outbox, asked = Outbox(engine), ("planned", "rejected") if job["verdict"] == "approved" else ("planned",)
    for row in outbox.rows(asked):
        outbox.decide(row.number, job["verdict"], "Dr. L.", "seen", now)
        if job["dies"]:
            os.kill(os.getpid(), signal.SIGKILL)
    checkpoint(engine, CheckpointFile(workspace.checkpoints), now)
    engine.dispose()
    return {"fault": "", "written": 0}


def export(job: Job) -> dict[str, Any]:
    """A bulk export of a Group into ``landing`` of the root."""
    return asyncio.run(_exported(job))


async def _exported(job: Job) -> dict[str, Any]:
    root, now = Path(job["root"]), datetime.fromisoformat(job["now"])
    request = ExportRequest(tuple(job["types"]), level="Group", group=job["group"])
    patience, token = BRIEF if job["hurried"] else None, _token(job)
    async with (
        FhirClient(job["base"], token, patience=patience) as fhir,
        BulkConnection(fhir, token, patience=patience) as bulk,
    ):
        run = BulkExport(bulk, request, root / f"bulk-{job['landing']}", manners=SOON)
        landing = await run.run(root / job["landing"], now=now)
    return {"fault": "", "written": 0, "issues": sorted({one.code for one in landing.issues})}


def fetch(job: Job) -> dict[str, Any]:
    """A whole crawl of the ward into ``landing`` of the root, or a sync of what is landed there."""
    return asyncio.run(_fetched(job))


async def _fetched(job: Job) -> dict[str, Any]:
    target, now = Path(job["root"]) / job["landing"], datetime.fromisoformat(job["now"])
    query = CandidateQuery(codes=frozenset(job["codes"]), studies=frozenset(job["studies"]))
    async with FhirClient(job["base"], _token(job), patience=BRIEF if job["hurried"] else None) as fhir:
        if job["sync"]:
            landing, _ = await sync(fhir, query, target, now=now)
        else:
            landing, _ = await land_server(fhir, query, target, now=now)
    return {"fault": "", "written": 0, "issues": sorted({one.code for one in landing.issues})}


def _database(job: Job) -> Engine:
    return open_database(
        job["database"] if "://" in job["database"] else Path(job["database"]),
        busy_seconds=1 if job["hurried"] else 30,
    )


def _token(job: Job) -> TokenSource:
    if not job.get("key_file"):
        return FileToken(Path(job["token_file"]))
    smart = Smart("adapter", scopes=("system/*.cruds",))
    waiting = BRIEFLY if job["hurried"] else Waiting()
    return SmartToken(smart, job["base"], load_keys(Path(job["key_file"])), waiting=waiting)


def _at(job: Job) -> Callable[[str], None]:
    """Die, or run out of disk, at the step named."""
    left = dict(job.get("steps", {}))

    def at(step: str) -> None:
        what = left.pop(step, "")
        if what == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if what == "disk full":
            wal = Path(f"{Workspace(Path(job['root']), embedded=True).database}-wal")
            limit = wal.stat().st_size if wal.exists() else 2**15
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))

    return at


_JOBS: dict[str, Callable[[Job], dict[str, Any]]] = {
    "write": write,
    "fetch": fetch,
    "hear": hear,
    "decide": decide,
    "export": export,
}
