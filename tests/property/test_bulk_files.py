"""However a server cuts, orders, repeats and packs the files of an export, the facts are the same.

Compared with the same resources in one plain file a type, in order, landed as a folder.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from hypothesis import given, settings
from hypothesis import strategies as st

from adapter import mappers
from adapter.config import product_folder
from adapter.mappers.terminology import Terminology
from adapter.model.facts import Facts
from adapter.source.auth.token import FixedToken
from adapter.source.bulk import BulkExport
from adapter.source.bulk_http import BulkConnection
from adapter.source.bulk_request import ExportRequest
from adapter.source.client import FhirClient
from adapter.source.landing import Landing, land_folder
from tests.servers.bulk import TOKEN, Exports, ndjson, observation, patient, zipped

NOW = datetime(2026, 11, 22, 8, tzinfo=UTC)
TERMINOLOGY = Terminology.load(product_folder("mappings"), None)
NAMES = [f"p{number}" for number in range(4)]
TYPES = ("Observation", "Patient")

results = st.lists(
    st.builds(
        observation,
        name=st.sampled_from([f"o{number}" for number in range(12)]),
        subject=st.sampled_from(NAMES),
        value=st.sampled_from([1.5, 2.25, 3.5]),
        version=st.just("1"),
    ),
    max_size=12,
    unique_by=lambda one: one["id"],
)


@st.composite
def cut(draw: st.DrawFn, kind: str, resources: list[dict[str, Any]]) -> list[tuple[str, bytes]]:
    """Files of one type: in any order, cut anywhere, some twice, plain or packed."""
    resources = draw(st.permutations(resources))
    ends = sorted(draw(st.sets(st.integers(0, len(resources)), max_size=4)) | {len(resources)})
    files, start = [], 0
    for end in ends:
        body = ndjson(*resources[start:end])
        files += [body] * draw(st.sampled_from([1, 1, 1, 2]))
        start = end
    return [(kind, zipped(body) if draw(st.booleans()) else body) for body in draw(st.permutations(files))]


def facts_of(landing: Landing) -> Facts:
    return mappers.map_resources(
        landing.resources(),
        terminology=TERMINOLOGY,
        zone=ZoneInfo("Asia/Shanghai"),
        coverage=landing.coverage,
        options={},
    )


def told(facts: Facts) -> tuple[Any, ...]:
    """What is judged by. Accounts count lines, so that repeated ones show there, as they should."""
    issues = {issue for issue in facts.issues if issue.code != "DUPLICATE_RESOURCE"}
    return facts.subjects, facts.findings, facts.events, facts.interventions, facts.coverage, issues


async def exported(server: Exports, folder: Path) -> Landing:
    token = FixedToken(TOKEN.encode())
    async with FhirClient(server.base, token) as client, BulkConnection(client, token) as bulk:
        return await BulkExport(bulk, ExportRequest(TYPES), folder / "bulk").run(folder / "landing", now=NOW)


def whole(folder: Path, observations: Iterable[dict[str, Any]]) -> Landing:
    source = folder / "whole"
    source.mkdir()
    (source / "Patient.ndjson").write_bytes(ndjson(*map(patient, NAMES)))
    (source / "Observation.ndjson").write_bytes(ndjson(*observations))
    (source / "manifest.json").write_text(
        '{"request": "https://ehr.example/$export?_type=Observation,Patient", "output": [],'
        ' "transactionTime": "2026-11-01T08:00:00+08:00"}'
    )
    return land_folder(source, folder / "expected", now=NOW)


@settings(max_examples=25, deadline=None)
@given(data=st.data(), observations=results)
def test_files_in_any_order_split_and_repeated_give_the_same_facts(
    data: st.DataObject, observations: list[dict[str, Any]]
) -> None:
    files = data.draw(cut("Patient", [patient(name) for name in NAMES]))
    files += data.draw(cut("Observation", observations))
    files = data.draw(st.permutations(files))
    with tempfile.TemporaryDirectory() as name, Exports().running() as server:
        assert isinstance(server, Exports)
        server.counts = False
        server.files = {f"{number}": file for number, file in enumerate(files)}
        landing = asyncio.run(exported(server, Path(name)))
        expected = whole(Path(name), observations)
        assert told(facts_of(landing)) == told(facts_of(expected))
