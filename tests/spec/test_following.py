"""A hospital tells of a change; the change reaches the verdict. And what happens when it cannot be read."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from adapter import following, pipeline
from adapter.errors import SourceUnavailable
from adapter.model.notification import Event, Notification
from adapter.pipeline import Workspace
from adapter.store.inbox import ChannelState, Inbox
from adapter.trial import Standing, open_store
from tests.fhir_server import BASE, FhirServer

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
LATER = NOON + timedelta(hours=1)


def albumin(value: str) -> dict[str, object]:
    return {
        "resourceType": "Observation",
        "id": "albumin",
        "status": "final",
        "subject": {"reference": "Patient/anna"},
        "code": {"coding": [{"system": "http://loinc.org", "code": "1751-7"}]},
        "effectiveDateTime": "2026-03-01T08:00:00+00:00",
        "valueQuantity": {
            "value": float(value),
            "unit": "g/L",
            "system": "http://unitsofmeasure.org",
            "code": "g/L",
        },
    }


@pytest.fixture
def hospital() -> FhirServer:
    server = FhirServer(NOON - timedelta(days=3))
    server.put({"resourceType": "Patient", "id": "anna", "birthDate": "1980-01-01"})
    server.put(
        {
            "resourceType": "Condition",
            "id": "mn",
            "subject": {"reference": "Patient/anna"},
            "code": {"coding": [{"system": "http://hl7.org/fhir/sid/icd-10", "code": "N04.2"}]},
        }
    )
    server.put(albumin("27"))
    return server


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "workspace")


def values(workspace: Workspace) -> list[str]:
    facts = pipeline.read_screening(workspace).facts
    return [str(row.value.low) for row in facts.findings if row.concept == "albumin" and not row.excluded]


async def test_a_correction_that_was_told_of_is_read_and_judged(
    hospital: FhirServer, workspace: Workspace
) -> None:
    trial = pipeline.open_trial()
    with hospital.answering():
        await pipeline.land_server(trial, workspace, BASE, now=NOON)
        pipeline.screen(trial, workspace, as_of=NOON.date())
        assert await following.answer(trial, workspace, BASE, now=NOON) is None
        hospital.clock = LATER
        hospital.put(albumin("22"))
        with open_store(workspace, LATER) as engine:
            Inbox(engine).receive("lab", Notification("event", (Event(1, ("Observation/albumin",)),)), LATER)
        told = await following.answer(trial, workspace, BASE, now=LATER)
        again = await following.answer(trial, workspace, BASE, now=LATER)
    assert told is not None
    assert (told.messages, told.judged, told.unchanged) == (1, 1, 0)
    assert told.sync.changes == {"corrected": 1}
    assert again is None
    assert values(workspace) == ["22"]


async def test_what_could_not_be_read_waits(hospital: FhirServer, workspace: Workspace) -> None:
    trial = pipeline.open_trial()
    with hospital.answering():
        await pipeline.land_server(trial, workspace, BASE, now=NOON)
        with open_store(workspace, LATER) as engine:
            Inbox(engine).receive("lab", Notification("event", (Event(1, ("Observation/albumin",)),)), LATER)
        hospital.dies_after = len(hospital.requests) + 1
        with pytest.raises(SourceUnavailable):
            await following.answer(trial, workspace, BASE, now=LATER)
        hospital.dies_after = None
        told = await following.answer(trial, workspace, BASE, now=LATER)
    assert told is not None
    assert told.messages == 1


@pytest.mark.parametrize(
    ("swept_at", "expected"),
    [
        ("", ("lab",)),
        ((NOON - timedelta(hours=24)).isoformat(), ("lab",)),
        ((NOON - timedelta(hours=23)).isoformat(), ()),
    ],
    ids=["never", "a day ago", "less than a day ago"],
)
def test_everything_is_looked_at_from_time_to_time(swept_at: str, expected: tuple[str, ...]) -> None:
    state = ChannelState("lab", 7, "", swept_at, 0, 0)
    assert following.due(("lab",), (state,), NOON, timedelta(hours=24)) == expected


def test_a_channel_nobody_heard_of_yet_is_looked_behind() -> None:
    assert following.due(("ward",), (), NOON, timedelta(hours=24)) == ("ward",)


def test_an_empty_inbox_asks_for_nothing(workspace: Workspace) -> None:
    with open_store(workspace, NOON) as engine:
        inbox = Inbox(engine)
        assert not inbox.waits(NOON)
        inbox.receive("lab", Notification("event", (Event(1, ("Observation/albumin",)),)), NOON)
        assert inbox.waits(NOON)
        taken = inbox.take(NOON)
        assert not inbox.waits(LATER - timedelta(minutes=50))
        assert inbox.waits(LATER), "whoever took it is taken for dead"
        inbox.done(taken, LATER)
        assert not inbox.waits(LATER)


def test_a_program_that_runs_on_judges_by_the_files_of_the_moment(tmp_path: Path) -> None:
    shutil.copytree(pipeline.open_trial().mappings, tmp_path / "mappings")
    first = pipeline.open_trial(site="demo", mappings=tmp_path / "mappings")
    folder = tmp_path / "mappings" / "protocols" / "NCT03864250"
    standing = Standing(first._replace(folder=folder))
    assert standing.trial() is standing.held
    codes = tmp_path / "mappings" / "sites" / "demo" / "codes.csv"
    row = (
        "https://fhir.demo-hospital.example/codes/lis-item,NDB24X,,urine_protein_24h,AUTO,,anna,2019-06-04\n"
    )
    codes.write_text(codes.read_text(encoding="utf-8") + row, encoding="utf-8")
    now = standing.trial()
    assert now is not first
    assert now.site == first.site
    assert standing.trial() is now
