"""A synced landing is what a whole crawl would leave, byte for byte, whatever changed and whoever lies."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adapter.model.candidates import CandidateQuery
from adapter.source.changes import read_changes, superseded
from adapter.source.client import FhirClient, Patience
from adapter.source.crawl import land_server
from adapter.source.landing import Landing
from adapter.source.sync import SyncReport, sync
from tests.fhir_server import BASE, FhirServer

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
QUERY = CandidateQuery(codes=frozenset({"N04.2"}))
QUICK = Patience(attempts=2, wait_initial=0.001, max_wait=0.01)
HABITS: tuple[tuple[str, ...], ...] = (
    (),
    ("ignores",),
    ("echoes",),
    ("shifts",),
    ("silent",),
    ("silent", "ignores"),
    ("silent", "shifts"),
    ("no listing",),
)
PEOPLE = ("a", "b", "c", "d")


def condition(patient: str, code: str = "N04.2") -> dict[str, Any]:
    return _of(patient, "Condition", f"mn-{patient}", code={"coding": [{"code": code}]})


def result(name: str, patient: str, value: int = 1) -> dict[str, Any]:
    return _of(patient, "Observation", name, valueInteger=value)


def order(name: str, patient: str, drug: str) -> dict[str, Any]:
    return _of(patient, "MedicationRequest", name, medicationReference={"reference": f"Medication/{drug}"})


def _of(patient: str, kind: str, name: str, **more: Any) -> dict[str, Any]:
    return {"resourceType": kind, "id": name, "subject": {"reference": f"Patient/{patient}"}, **more}


def ward(clock: datetime, *habits: str) -> FhirServer:
    server = FhirServer(clock - timedelta(days=30), *habits)
    for name in PEOPLE:
        server.put({"resourceType": "Patient", "id": name})
        for number in range(5):
            server.put(result(f"o{number}-{name}", name))
        server.clock += timedelta(days=5)
    for drug in ("tac", "pred"):
        server.put({"resourceType": "Medication", "id": drug, "code": {"text": drug}})
    server.clock = clock  # some of everything is new, so that changes follow close upon it
    for name in PEOPLE[:3]:
        server.put(condition(name))
        server.put(order(f"m-{name}", name, "tac"))
        server.put(result(f"o5-{name}", name))
    return server


async def fetched(server: FhirServer, target: Path, now: datetime) -> Landing:
    with server.answering():
        async with FhirClient(BASE, patience=QUICK) as client:
            return (await land_server(client, QUERY, target, now=now))[0]


async def synced(
    server: FhirServer, target: Path, now: datetime, *, full: bool = False
) -> tuple[Landing, SyncReport]:
    with server.answering():
        async with FhirClient(BASE, patience=QUICK) as client:
            return await sync(client, QUERY, target, now=now, full=full)


def content(landing: Landing) -> dict[str, bytes]:
    landing.verify()
    return {
        file.name: (landing.folder / (file.path or file.name)).read_bytes() for file in landing.manifest.files
    }


def change(server: FhirServer, draw: st.DataObject) -> None:
    patient, other = draw.draw(st.permutations(PEOPLE))[:2]
    number = draw.draw(st.integers(0, 6))
    kind = draw.draw(
        st.sampled_from(
            (
                "correct",
                "delete",
                "move",
                "merge",
                "part",
                "diagnose",
                "undo",
                "drug",
                "rename",
                "erase",
                "wait",
            )
        )
    )
    if kind == "correct":
        server.put(result(f"o{number}-{patient}", patient, draw.draw(st.integers(2, 99))))
    elif kind == "delete":
        server.delete("Observation", f"o{number}-{patient}")
    elif kind == "move":
        server.put(result(f"o{number}-{patient}", other))
    elif kind == "merge":
        link = [{"type": "replaced-by", "other": {"reference": f"Patient/{other}"}}]
        server.put({"resourceType": "Patient", "id": patient, "link": link})
    elif kind == "part":
        server.put({"resourceType": "Patient", "id": patient})
    elif kind == "diagnose":
        server.put(condition(patient))
    elif kind == "undo":
        server.put(condition(patient, "I10"))
    elif kind == "drug":
        server.put(order(f"m-{patient}", patient, draw.draw(st.sampled_from(["tac", "pred", "gone"]))))
    elif kind == "rename":
        server.put({"resourceType": "Medication", "id": "tac", "code": {"text": f"t{number}"}})
    elif kind == "erase":
        server.delete("Patient", patient)
    server.clock += timedelta(minutes=draw.draw(st.integers(0, 300)))


@pytest.mark.parametrize("habits", HABITS, ids="+".join)
@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data(), skew_hours=st.sampled_from([-200, -3, 0, 3, 200]))
async def test_a_synced_landing_is_a_fetched_landing(
    data: st.DataObject, habits: tuple[str, ...], skew_hours: int
) -> None:
    """Clocks may differ by days, and the server may treat ``_lastUpdated`` as it likes."""
    server = ward(NOON + timedelta(hours=skew_hours), *habits)
    with TemporaryDirectory() as name:
        target, now = Path(name) / "landing", NOON
        await fetched(server, target, now)
        for turn in range(data.draw(st.integers(1, 2))):
            for _ in range(data.draw(st.integers(1, 6))):
                change(server, data)
            now += timedelta(days=1)
            latest, _ = await synced(server, target, now)
            anew = await fetched(server, Path(name) / f"anew{turn}", now)
            assert content(latest) == content(anew)
            assert latest.coverage == anew.coverage


async def test_only_what_changed_is_asked_for(tmp_path: Path) -> None:
    server = ward(NOON)
    await fetched(server, tmp_path / "landing", NOON)
    server.put(result("o1-a", "a", 7))
    server.delete("Observation", "o2-b")
    latest, report = await synced(server, tmp_path / "landing", NOON + timedelta(days=1))
    assert report.full == ""
    assert report.changes == {"corrected": 1, "gone": 1}
    assert report.charts_by_change == 9  # three patients; the ward has three types of a patient's own
    changes = {change.reference: change for _, change in read_changes(latest.folder, 2)}
    corrected, gone = changes["Observation/o1-a"], changes["Observation/o2-b"]
    assert (corrected.former_version, corrected.version) == ("1", "2")
    assert (gone.kind, gone.why) == ("gone", "HTTP 410")
    before = superseded(latest.folder, corrected.former_sha256)
    assert before is not None
    assert b'"valueInteger":1' in before.replace(b" ", b"")


async def test_who_comes_and_who_goes(tmp_path: Path) -> None:
    server = ward(NOON)
    await fetched(server, tmp_path / "landing", NOON)
    server.put(condition("d"))
    server.put(condition("a", "I10"))
    latest, report = await synced(server, tmp_path / "landing", NOON + timedelta(days=1))
    assert (report.new_candidates, report.former_candidates, report.candidates) == (1, 1, 3)
    why = {
        change.reference: change.why for _, change in read_changes(latest.folder, 2) if change.kind == "gone"
    }
    assert why["Observation/o0-a"] == "no longer a candidate's"
    assert {raw.line.count(b"Patient/a") for raw in latest.resources()} == {0}


async def test_nobody_goes_while_a_search_for_candidates_is_refused(tmp_path: Path) -> None:
    server = ward(NOON)
    await fetched(server, tmp_path / "landing", NOON)
    server.refused.add("Condition")
    server.put(result("o1-a", "a", 7))
    latest, report = await synced(server, tmp_path / "landing", NOON + timedelta(days=1))
    assert report.former_candidates == 0
    refused = [row for row in latest.coverage if row.resource_type == "Condition"]
    assert [row.complete for row in refused] == [False] * 3
    assert sum(raw.resource_type == "Condition" for raw in latest.resources()) == 3, "what was read stands"
