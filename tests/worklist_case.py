"""One small synthetic hospital, landed, screened and followed once, for every test of the worklist."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, date, datetime
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

from adapter import monitoring, pipeline
from adapter.demo import hospital
from adapter.pipeline import Trial, Workspace

AS_OF = date(2019, 6, 3)
NOW = datetime(2019, 6, 3, 9, 30, tzinfo=UTC)


@cache
def trial() -> Trial:
    return pipeline.open_trial()


@cache
def _made() -> Path:
    folder = Path(mkdtemp(prefix="worklist-"))
    made = hospital.generate(folder / "hospital" / "fhir", patients=120)
    workspace = Workspace(folder / "workspace", embedded=True)
    pipeline.land(made.folder, workspace, now=NOW)
    pipeline.screen(trial(), workspace, as_of=AS_OF)
    monitoring.monitor(trial(), workspace, as_of=AS_OF)
    return folder


def ward(target: Path) -> Workspace:
    """A copy of the workspace for one test."""
    shutil.copytree(_made() / "workspace", target / "workspace")
    return Workspace(target / "workspace", embedded=True)


def hospital_folder() -> Path:
    """Where the hospital's own files lie, of which the ward was landed."""
    return _made() / "hospital" / "fhir"


@cache
def truth() -> dict[str, dict[str, object]]:
    """What was planted, by story."""
    lines = (_made() / "hospital" / "truth.ndjson").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    return {row["story"]: row for row in rows if row.get("story")}


def planted(story: str) -> str:
    """The Patient.id of the person of this story."""
    return str(truth()[story]["patient"])
