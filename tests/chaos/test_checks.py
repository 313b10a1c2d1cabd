"""Each check is able to fail: a violation is planted by hand on a real server, and the check names it."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest

from adapter.source.client import FhirClient
from adapter.source.crawl import land_server
from adapter.source.landing import open_landing
from adapter.trial import Workspace
from tests.chaos.checks import CHECKS, LEAVE, Scene
from tests.chaos.jobs import perform
from tests.chaos.people import JSON, Done, People
from tests.chaos.reading import equal, untrue
from tests.chaos.run import hospital
from tests.contract.ward import Ward
from tests.writeback_cases import NOW

Plant = Callable[[Scene], Awaitable[None]]


async def told(base: str, root: Path, http: httpx.AsyncClient) -> Scene:
    """Two people who were told of, and nothing wrong."""
    people = People(http, base, uuid4().hex[:10], 2)
    await people.admit()
    (root / "token").write_text("t0")
    verdicts = dict(zip(people.ids, ("eligible", "undetermined"), strict=True))
    job: dict[str, Any] = {
        "kind": "write", "root": str(root / "workspace"), "result": str(root / "result"), "base": base,
        "token_file": str(root / "token"), "study": people.study, "now": NOW.isoformat(), "rungs": [],
        "decisions": [(patient, verdict, "1") for patient, verdict in verdicts.items()], "folder": "",
        "hurried": False, "approval": False,
        "database": str(Workspace(root / "workspace", embedded=True).database),
    }  # fmt: skip
    assert await asyncio.to_thread(perform, job) == 0
    where = Path(job["database"])
    return Scene(people, verdicts, root / "workspace", where, base, (await hospital("it", base)).types)


async def _subject(scene: Scene) -> dict[str, Any]:
    return (await scene.people.subjects(scene.people.ids[0]))[0]


async def _put(scene: Scene, resource: dict[str, Any]) -> None:
    url = f"{scene.people.base}/{resource['resourceType']}/{resource['id']}"
    assert (await scene.people.http.put(url, json=resource, headers=JSON)).status_code in (200, 201)


async def decision_lost(scene: Scene) -> None:
    await scene.people.http.delete(f"{scene.people.base}/ResearchSubject/{(await _subject(scene))['id']}")


async def status_wrong(scene: Scene) -> None:
    await _put(scene, {**await _subject(scene), "status": "ineligible"})


async def subject_doubled(scene: Scene) -> None:
    await _put(scene, {**await _subject(scene), "id": f"second-{scene.people.ids[0]}"})


async def flag_doubled(scene: Scene) -> None:
    (flag,) = await scene.people.flags(scene.people.ids[0])
    await _put(scene, {**flag, "id": f"second-{scene.people.ids[0]}"})


async def change_overwritten(scene: Scene) -> None:
    there = await _subject(scene)
    scene.people.done.append(Done(f"ResearchSubject/{there['id']}", "x", {"status": "screening"}))


async def deletion_undone(scene: Scene) -> None:
    scene.people.done.append(Done(f"ResearchSubject/{(await _subject(scene))['id']}", "", {}))


async def version_without_receipt(scene: Scene) -> None:
    await _put(scene, await _subject(scene) | {"period": {"start": "2026-01-01"}})


def _sql(scene: Scene, *statements: str) -> None:
    with sqlite3.connect(Workspace(scene.root, embedded=True).database) as connection:
        for statement in statements:
            connection.execute(statement)
    connection.close()


async def receipt_false(scene: Scene) -> None:
    _sql(scene, "UPDATE receipt SET version = 'never' WHERE reference LIKE 'ResearchSubject/%'")


async def row_left_open(scene: Scene) -> None:
    _sql(scene, "UPDATE outbox SET state = 'sending' WHERE number = 1")


async def audit_changed(scene: Scene) -> None:
    _sql(scene, "DROP TRIGGER audit_update", "UPDATE audit SET actor = 'nobody' WHERE number = 1")


async def audit_cut(scene: Scene) -> None:
    last = "number = (SELECT max(number) FROM audit)"
    _sql(scene, "DROP TRIGGER audit_delete", f"DELETE FROM audit WHERE {last}")  # noqa: S608


async def sent_without_leave(scene: Scene) -> None:
    """Nobody was asked about what :func:`told` wrote."""


async def leave_for_other_content(scene: Scene) -> None:
    _sql(
        scene,
        "INSERT INTO approval (outbox, content_sha256, verdict, who, reason, at) "
        "SELECT number, 'of something else', 'approved', 'Dr. L.', 'seen', '2026' FROM outbox",
        "UPDATE receipt SET approval = (SELECT number FROM approval WHERE outbox = receipt.outbox) "
        "WHERE outbox > 0",
    )


PLANTED: dict[str, tuple[Plant, ...]] = {
    "no lost decision": (decision_lost, status_wrong),
    "no doubled resource": (subject_doubled, flag_doubled),
    "no overwritten change": (change_overwritten, deletion_undone),
    "receipts are true": (receipt_false, version_without_receipt),
    "outbox is final": (row_left_open,),
    "audit verifies": (audit_changed, audit_cut),
    LEAVE: (sent_without_leave, leave_for_other_content),
}


async def test_nothing_is_found_where_nothing_is_wrong(medplum_base_url: str, tmp_path: Path) -> None:
    async with httpx.AsyncClient(timeout=60, trust_env=False) as http:
        scene = await told(medplum_base_url, tmp_path, http)
        assert {name: await check(scene) for name, check in CHECKS.items()} == {name: [] for name in CHECKS}


@pytest.mark.parametrize(
    ("name", "plant"), [pytest.param(n, p, id=p.__name__) for n, ps in PLANTED.items() for p in ps]
)
async def test_a_planted_violation_is_named(
    name: str, plant: Plant, medplum_base_url: str, tmp_path: Path
) -> None:
    async with httpx.AsyncClient(timeout=60, trust_env=False) as http:
        scene = await told(medplum_base_url, tmp_path, http)
        await plant(scene)
        assert await CHECKS[name](scene._replace(approval=name == LEAVE))


def test_every_check_has_a_planted_violation() -> None:
    assert PLANTED.keys() == CHECKS.keys()


async def test_a_landing_that_claims_too_much_is_named(medplum_base_url: str, tmp_path: Path) -> None:
    """The same landing, with a reading taken out of it and the claim left as it was."""
    ward = Ward(readings=2)
    await asyncio.to_thread(ward.admit, medplum_base_url, 50)
    for name in ("truth", "landing"):
        async with FhirClient(medplum_base_url) as client:
            await land_server(client, ward.query(), tmp_path / name, now=NOW)
    truth, landing = open_landing(tmp_path / "truth"), open_landing(tmp_path / "landing")
    assert (untrue(landing, truth, ward), equal(tmp_path)) == ([], [])
    (path,) = (tmp_path / "landing").rglob("Observation*.ndjson")
    path.write_bytes(path.read_bytes().partition(b"\n")[2])
    assert untrue(open_landing(tmp_path / "landing"), truth, ward)
    assert equal(tmp_path)
