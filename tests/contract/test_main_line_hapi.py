"""The whole line on a real HAPI FHIR server: load, fetch over REST, screen, write back twice, read back.

A slice of the synthetic hospital is loaded by plain HTTP; what the adapter wrote is read by plain HTTP too.
The verdicts over REST equal those on the same people's bulk files: the way data arrives changes nothing.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import re
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest

from adapter import pipeline
from adapter.demo import hospital
from adapter.model.decision import Decision

AS_OF = date(2019, 6, 3)
NOW = datetime(2019, 6, 3, 12, tzinfo=UTC)
STORIES = 14
_REFERENCE = re.compile(r'"reference": "([A-Z][A-Za-z]+/[A-Za-z0-9.-]+)')
JSON = {"Content-Type": "application/fhir+json"}


@pytest.fixture(scope="module")
def trial() -> pipeline.Trial:
    return pipeline.open_trial()


class Line(NamedTuple):
    """One resource as its bytes are, and decoded."""

    text: str
    resource: dict[str, Any]


@pytest.fixture(scope="module")
def slice_of_hospital(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Line]]:
    """The first planted stories of people with one record each: a bulk folder, and the same lines."""
    root = tmp_path_factory.mktemp("slice")
    made = hospital.generate(root / "whole" / "fhir", patients=120)
    truths = [json.loads(line) for line in made.truth.read_text(encoding="utf-8").splitlines()]
    lines = list(_lines(made.folder))
    merged = {name for line in lines if line.resource.get("link") for name in _owners(line)}
    planted = sorted({truth["patient"] for truth in truths if truth.get("patient")} - merged)
    chosen = set(planted[:STORIES])
    kept = _closed([line for line in lines if _owners(line) <= chosen and _loadable(line)])
    (root / "bulk").mkdir()
    for kind in {line.resource["resourceType"] for line in kept}:
        texts = [line.text for line in kept if line.resource["resourceType"] == kind]
        (root / "bulk" / f"{kind}.ndjson").write_text("\n".join(texts) + "\n", encoding="utf-8")
    return root / "bulk", kept


def _lines(folder: Path) -> Iterator[Line]:
    for path in sorted(folder.glob("*.ndjson*")):
        data = path.read_bytes()
        for line in (gzip.decompress(data) if path.suffix == ".gz" else data).decode().splitlines():
            try:
                yield Line(line, json.loads(line))
            except json.JSONDecodeError:
                continue  # the two lines the generator truncates on purpose


def _owners(line: Line) -> set[str]:
    own = {line.resource["id"]} if line.resource["resourceType"] == "Patient" else set()
    return own | set(re.findall(r"Patient/(p\d+m?)", json.dumps(line.resource)))


def _loadable(line: Line) -> bool:
    """What a HAPI server takes by default: no references into another server."""
    return '"reference":"http' not in line.text


def _closed(lines: list[Line]) -> list[Line]:
    """Without what refers to something left out: HAPI refuses dangling references."""
    known = {f"{line.resource['resourceType']}/{line.resource['id']}" for line in lines}
    kept = [line for line in lines if set(_REFERENCE.findall(json.dumps(line.resource))) <= known]
    return kept if len(kept) == len(lines) else _closed(kept)


def _load(base_url: str, lines: list[Line]) -> None:
    """One transaction, so that resources may refer to one another in any order; newest version of each."""
    ordered = sorted(lines, key=lambda line: int(line.resource.get("meta", {}).get("versionId", "1")))
    newest = {f"{line.resource['resourceType']}/{line.resource['id']}": line.text for line in ordered}
    entries = ",".join(
        f'{{"resource":{text},"request":{{"method":"PUT","url":"{name}"}}}}' for name, text in newest.items()
    )
    bundle = f'{{"resourceType":"Bundle","type":"transaction","entry":[{entries}]}}'
    answer = httpx.post(base_url, content=bundle.encode(), headers=JSON, timeout=240, trust_env=False)
    assert answer.status_code == 200, answer.text[:500]


def _verdicts(decisions: tuple[Decision, ...]) -> dict[str, Any]:
    return {
        one.subject: (
            one.overall.value,
            {found.id: found.verdict.value for top in one.criteria for found in top.walk()},
        )
        for one in decisions
    }


def test_the_whole_line(
    hapi_base_url: str, slice_of_hospital: tuple[Path, list[Line]], trial: pipeline.Trial, tmp_path: Path
) -> None:
    folder, lines = slice_of_hospital
    _load(hapi_base_url, lines)
    bulk, rest = pipeline.Workspace(tmp_path / "bulk"), pipeline.Workspace(tmp_path / "rest")
    pipeline.land(folder, bulk, now=NOW)
    from_files = pipeline.screen(trial, bulk, as_of=AS_OF)

    asyncio.run(pipeline.land_server(trial, rest, hapi_base_url, now=NOW))
    over_rest = pipeline.screen(trial, rest, as_of=AS_OF)
    ours = {one.subject for one in from_files.decisions}
    same_people = tuple(one for one in over_rest.decisions if one.subject in ours)
    assert len(ours) >= STORIES - 2
    assert _verdicts(same_people) == _verdicts(from_files.decisions)

    first = asyncio.run(pipeline.write_back(trial, rest, hapi_base_url, now=NOW))
    assert first.resources_written > 0
    assert first.fault() is None
    again = asyncio.run(pipeline.write_back(trial, rest, hapi_base_url, now=NOW))
    assert again.resources_written == 0

    entered = pipeline.enrolment_days(over_rest.facts, trial.protocol.id, AS_OF)
    for decision in same_people:
        if decision.subject in entered:
            continue
        found = httpx.get(
            f"{hapi_base_url}/ResearchSubject",
            params={"patient": f"Patient/{decision.subject}"},
            headers={"Cache-Control": "no-cache"},
            trust_env=False,
            timeout=60,
        ).json()
        written = [entry["resource"]["status"] for entry in found.get("entry", [])]
        expected = {"eligible": ["candidate"], "undetermined": ["potential-candidate"], "ineligible": []}
        assert written == expected[decision.overall.value], decision.subject
