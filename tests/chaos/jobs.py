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
from pathlib import Path
from typing import Any

from adapter.errors import AdapterError
from adapter.model.candidates import CandidateQuery
from adapter.source import client
from adapter.source.auth.token import FileToken
from adapter.source.client import FhirClient
from adapter.source.crawl import land_server
from adapter.source.sync import sync
from adapter.store.checkpoints import CheckpointFile
from adapter.store.database import open_database
from adapter.trial import Workspace, checkpoint
from adapter.writeback.research_study import StudyReference
from adapter.writeback.send import Ladder, write_back
from adapter.writeback.server import PATIENCE, Patience
from tests.chaos.hearing import hear
from tests.chaos.zygote import Job
from tests.writeback_cases import decision, source

HURRIED = Patience(
    attempts=3, connect=0.5, read=0.6, total=1.2, wait_initial=0.02, max_wait=0.1, max_bytes=2**22
)
BRIEF = client.Patience(
    attempts=3, connect=0.5, read=0.6, total=1.2, wait_initial=0.02, max_wait=0.1, max_bytes=2**22
)
CRASHED = 71


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
    engine = open_database(workspace.database, busy_seconds=1 if job["hurried"] else 30)
    try:
        report = asyncio.run(
            write_back(
                job["base"],
                decisions,
                study=study,
                database=engine,
                now=now,
                token=FileToken(Path(job["token_file"])),
                ladder=Ladder(
                    job["rungs"],
                    folder=Path(job["folder"]) if job["folder"] else None,
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


def fetch(job: Job) -> dict[str, Any]:
    """A whole crawl of the ward into ``landing`` of the root, or a sync of what is landed there."""
    return asyncio.run(_fetched(job))


async def _fetched(job: Job) -> dict[str, Any]:
    target, now = Path(job["root"]) / job["landing"], datetime.fromisoformat(job["now"])
    query = CandidateQuery(codes=frozenset(job["codes"]), studies=frozenset(job["studies"]))
    token = FileToken(Path(job["token_file"]))
    async with FhirClient(job["base"], token, patience=BRIEF if job["hurried"] else None) as fhir:
        if job["sync"]:
            landing, _ = await sync(fhir, query, target, now=now)
        else:
            landing, _ = await land_server(fhir, query, target, now=now)
    return {"fault": "", "written": 0, "issues": sorted({one.code for one in landing.issues})}


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


_JOBS: dict[str, Callable[[Job], dict[str, Any]]] = {"write": write, "fetch": fetch, "hear": hear}
