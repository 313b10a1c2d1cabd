"""A day in a hospital, on a real HAPI server: sync and screen leave what a whole fetch and screen would.

Changes are made by plain HTTP between the two: a result is corrected, one is deleted, two patient records are
merged, and somebody new is diagnosed.
"""

from __future__ import annotations

import asyncio
import json
import re
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from adapter import pipeline
from adapter.source.changes import read_changes, superseded
from tests.contract import planted

pytestmark = pytest.mark.hapi
AS_OF = date(2019, 6, 3)


@pytest.fixture(scope="module")
def trial() -> pipeline.Trial:
    return pipeline.open_trial()


def renamed(lines: list[planted.Line]) -> list[planted.Line]:
    """The same people under ids of this test: the server is shared with others, and has each study once."""
    text = "\n".join(line.text for line in lines)
    names = {line.resource["id"] for line in lines if line.resource["resourceType"] != "ResearchStudy"}
    marked = re.sub(
        r"(?<![\w.-])(" + "|".join(sorted(map(re.escape, names), key=len, reverse=True)) + r")(?![\w.-])",
        r"sync-\1",
        text,
    )
    return [planted.Line(one, json.loads(one)) for one in marked.splitlines()]


def of(lines: list[planted.Line], patient: str) -> list[planted.Line]:
    return [line for line in lines if re.search(rf'(Patient/|"id":\s*"){patient}"', line.text)]


def put(base: str, resource: dict[str, Any]) -> None:
    url = f"{base}/{resource['resourceType']}/{resource['id']}"
    answer = httpx.put(url, json=resource, headers=planted.JSON, timeout=60, trust_env=False)
    assert answer.status_code in (200, 201), answer.text[:300]


def results_of(workspace: pipeline.Workspace) -> dict[str, bytes]:
    """Facts and decisions; screening.json also says when and how the landing came about."""
    folder = workspace.screening
    names = [*folder.glob("facts/*.ndjson"), folder / "decisions.ndjson", folder / "basis.ndjson"]
    return {path.name: path.read_bytes() for path in names}


def landed(workspace: pipeline.Workspace) -> dict[str, bytes]:
    manifest = json.loads((workspace.landing / "manifest.json").read_bytes())
    return {
        file["name"]: (workspace.landing / (file["path"] or file["name"])).read_bytes()
        for file in manifest["files"]
    }


def test_a_sync_gives_what_a_fetch_gives(hapi_base_url: str, trial: pipeline.Trial, tmp_path: Path) -> None:
    lines = renamed(planted.slice_of_hospital(tmp_path / "hospital"))
    people = sorted(line.resource["id"] for line in lines if line.resource["resourceType"] == "Patient")
    late, given_up, kept = people[0], people[1], people[2]
    later = of(lines, late)
    planted.load(hapi_base_url, [line for line in lines if line not in later], 1000)
    here = pipeline.Workspace(tmp_path / "here")
    asyncio.run(pipeline.land_server(trial, here, hapi_base_url, now=datetime.now(UTC)))
    before = pipeline.screen(trial, here, as_of=AS_OF)
    assert late not in {one.subject for one in before.decisions}

    text = "\n".join(line.text for line in lines)
    observed = [
        line.resource
        for line in of(lines, people[3])
        if line.resource["resourceType"] == "Observation"
        and "valueQuantity" in line.resource
        and f"Observation/{line.resource['id']}" not in text
    ]
    corrected, deleted = observed[0], observed[1]
    put(
        hapi_base_url,
        {**corrected, "status": "corrected", "valueQuantity": {**corrected["valueQuantity"], "value": 77}},
    )
    gone = httpx.delete(f"{hapi_base_url}/Observation/{deleted['id']}", timeout=60, trust_env=False)
    assert gone.status_code in (200, 204), gone.text[:300]
    patient = next(line.resource for line in lines if line.resource["id"] == given_up)
    link = [{"type": "replaced-by", "other": {"reference": f"Patient/{kept}"}}]
    put(hapi_base_url, {**patient, "link": link})
    planted.load(hapi_base_url, later, 1000)

    now = datetime.now(UTC)
    landing, report = asyncio.run(pipeline.sync(trial, here, hapi_base_url, now=now))
    incremental = pipeline.screen(trial, here, as_of=AS_OF)
    anew = pipeline.Workspace(tmp_path / "anew")
    asyncio.run(pipeline.land_server(trial, anew, hapi_base_url, now=now))
    pipeline.screen(trial, anew, as_of=AS_OF, full=True)
    assert landed(here) == landed(anew)
    assert results_of(here) == results_of(anew)

    assert (report.full, report.new_candidates) == ("", 1)
    assert report.charts_by_change > report.charts_in_full
    assert incremental.reused > 0
    assert late in {one.subject for one in incremental.decisions}
    assert given_up not in {one.id for one in incremental.facts.subjects}
    changes = {change.reference: change for _, change in read_changes(landing.folder, 2)}
    assert changes[f"Observation/{deleted['id']}"].why == "HTTP 410"
    told = changes[f"Observation/{corrected['id']}"]
    assert (told.kind, told.former_version, told.version) == ("corrected", "1", "2")
    assert superseded(landing.folder, told.former_sha256) is not None
    _, again = asyncio.run(pipeline.sync(trial, here, hapi_base_url, now=datetime.now(UTC)))
    assert again.changes == {}
