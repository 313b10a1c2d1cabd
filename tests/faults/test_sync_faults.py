"""An interrupted sync, a wrong clock, a server that lags or lies: what stands is never less true."""

from __future__ import annotations

from datetime import UTC, timedelta
from pathlib import Path

import pytest

from adapter.errors import ConfigError, SourceUnavailable
from adapter.source import generations
from adapter.source.changes import read_changes
from adapter.source.landing import LandingWriter, open_landing
from tests.fhir_server import FhirServer
from tests.property.test_sync import NOON, content, fetched, result, synced, ward

TOMORROW = NOON + timedelta(days=1)


def folder(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


@pytest.mark.parametrize("requests", [1, 4, 12, 30])
async def test_an_interrupted_sync_leaves_the_former_landing(tmp_path: Path, requests: int) -> None:
    server = ward(NOON)
    await fetched(server, tmp_path / "landing", NOON)
    before = folder(tmp_path)
    server.put(result("o1-a", "a", 7))
    server.dies_after = len(server.requests) + requests
    with pytest.raises(SourceUnavailable):
        await synced(server, tmp_path / "landing", TOMORROW)
    assert folder(tmp_path) == before


async def test_a_crash_before_the_switch_leaves_the_former_landing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The new generation and its history are on disk, the manifest is not: then they never came to be."""
    server, target = ward(NOON), tmp_path / "landing"
    first = await fetched(server, target, NOON)
    before = content(first)
    server.put(result("o1-a", "a", 7))
    with monkeypatch.context() as patched:
        patched.setattr(
            generations, "write_whole", lambda path, data: (_ for _ in ()).throw(KeyboardInterrupt)
        )
        with pytest.raises(KeyboardInterrupt):
            await synced(server, target, TOMORROW)
    assert content(open_landing(target)) == before
    assert list(read_changes(target, open_landing(target).manifest.generation)) == []
    latest, report = await synced(server, target, TOMORROW)
    assert report.changes == {"corrected": 1}
    assert len(list(read_changes(target, latest.manifest.generation))) == 1


async def test_what_a_killed_process_left_is_removed(tmp_path: Path) -> None:
    abandoned = tmp_path / ".landing.partial-999999999"
    abandoned.mkdir()
    with LandingWriter(tmp_path / "landing"):
        assert not abandoned.exists()


@pytest.mark.parametrize(
    ("habit", "why"),
    [
        ("ignores", "the server ignores it"),
        ("echoes", "older resources came too"),
        ("shifts", "the newest resource did not come"),
    ],
)
async def test_a_server_that_lies_about_last_updated_is_read_in_full(
    tmp_path: Path, habit: str, why: str
) -> None:
    server = ward(NOON, habit)
    await fetched(server, tmp_path / "landing", NOON)
    server.put(result("o1-a", "a", 7))
    latest, report = await synced(server, tmp_path / "landing", TOMORROW)
    assert report.changes == {"corrected": 1}
    told = {(one.resource_type, one.detail) for one in latest.issues if one.code == "CHANGES_NOT_TOLD"}
    assert ("Observation", f"_lastUpdated is not relied on: {why}") in told


@pytest.mark.parametrize("hours", [-9000, -5, 5, 9000])
async def test_clocks_that_differ_lose_nothing(tmp_path: Path, hours: int) -> None:
    """A result corrected a minute after the landing is found whatever the server's clock says."""
    server = ward(NOON + timedelta(hours=hours))
    await fetched(server, tmp_path / "landing", NOON)
    server.clock += timedelta(minutes=1)
    server.put(result("o1-a", "a", 7))
    _, report = await synced(server, tmp_path / "landing", NOON + timedelta(minutes=5))
    assert report.changes == {"corrected": 1}


async def test_a_lagging_replica_cannot_undo_a_correction(tmp_path: Path) -> None:
    """Neither by the delta nor by the search in full: the newer stands, unless a full refresh is asked."""
    server, target = ward(NOON), tmp_path / "landing"
    server.freeze()
    server.put(result("o5-a", "a", 7))
    await fetched(server, target, NOON)
    server.habits.add("stale")
    latest, report = await synced(server, target, TOMORROW)
    assert report.changes == {}
    assert {one.reference for one in latest.issues if one.code == "STALE_ANSWER"} == {"Observation/o5-a"}
    _, report = await synced(server, target, TOMORROW + timedelta(days=1), full=True)
    assert report.changes == {"set back": 1}


async def test_a_landing_from_elsewhere_is_not_synced(tmp_path: Path) -> None:
    with LandingWriter(tmp_path / "landing") as writer:
        writer.finish(now=NOON, asked={"kind": "folder"}, coverage=())
    with pytest.raises(ConfigError, match="did not come from this server"):
        await synced(FhirServer(NOON.astimezone(UTC)), tmp_path / "landing", TOMORROW)


async def test_one_former_generation_stays_and_history_for_good(tmp_path: Path) -> None:
    server, target = ward(NOON), tmp_path / "landing"
    await fetched(server, target, NOON)
    for day in range(1, 4):
        server.put(result("o1-a", "a", day + 6))
        latest, _ = await synced(server, target, NOON + timedelta(days=day))
    assert latest.manifest.generation == 4
    assert sorted(path.name for path in target.iterdir()) == ["g0003", "g0004", "history", "manifest.json"]
    versions = [(change.former_version, change.version) for _, change in read_changes(target, 4)]
    assert versions == [("1", "2"), ("2", "3"), ("3", "4")]
