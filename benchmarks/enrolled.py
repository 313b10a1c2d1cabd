"""As many people on the study as are asked for: the synthetic hospital's, copied under ids of their own."""

from __future__ import annotations

import shutil
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path

import msgspec

from adapter import pipeline
from adapter.demo import hospital
from adapter.screening import people
from adapter.trial import Trial, Workspace

DAY = date(2019, 6, 3)
NOW = datetime(2019, 6, 3, 1, 0, tzinfo=UTC)
TABLES = ("facts/subjects", "facts/findings", "facts/events", "facts/interventions", "decisions")


def screened(root: Path, trial: Trial, patients: int = 92) -> Workspace:
    """The synthetic hospital landed and screened; all of its enrolled are among the first 92."""
    workspace = Workspace(root / "demo")
    made = hospital.generate(root / "hospital" / "fhir", patients=patients)
    pipeline.land(made.folder, workspace, now=NOW)
    pipeline.screen(trial, workspace, as_of=DAY)
    return workspace


def copied(demo: Workspace, root: Path, trial: Trial, number: int) -> Workspace:
    """A workspace whose screening holds so many people on the study; every one with facts to be read."""
    workspace = Workspace(root / "many")
    shutil.rmtree(workspace.screening, ignore_errors=True)
    shutil.copytree(demo.screening, workspace.screening)
    known = sorted(people.enrolled(demo, trial.protocol.id, DAY))
    for table in TABLES:
        lines = _lines(demo.screening / f"{table}.ndjson")
        with (workspace.screening / f"{table}.ndjson").open("wb") as out:
            for copy in range(number):
                name = known[copy % len(known)]
                old, new = f'"{name}"'.encode(), f'"copy-{copy:07d}"'.encode()
                out.writelines(line.replace(old, new) for line in lines[name])
    return workspace


def _lines(path: Path) -> dict[str, list[bytes]]:
    found: defaultdict[str, list[bytes]] = defaultdict(list)
    for line in _read(path):
        row = msgspec.json.decode(line)
        found[row["id"] if path.stem == "subjects" else row["subject"]].append(line)
    return found


def _read(path: Path) -> Iterator[bytes]:
    with path.open("rb") as lines:
        yield from lines
