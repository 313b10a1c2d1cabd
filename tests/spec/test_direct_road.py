"""A change that a hospital told of is read and judged alone, and leaves what looking at everything leaves.

The other side of every comparison is a second workspace that read the same hospital whole and judged all.
"""

from __future__ import annotations

import copy
import json
import re
import shutil
from collections import Counter
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from adapter import following, monitoring, pipeline
from adapter.demo import hospital as demo
from adapter.errors import SourceUnavailable
from adapter.model.notification import Event, Notification
from adapter.pipeline import Workspace
from adapter.source.client import ANNOUNCED_FOR
from adapter.source.landing import open_landing
from adapter.source.nominate import subjects_of
from adapter.store.inbox import Inbox
from adapter.trial import open_store
from tests.fhir_server import BASE, FhirServer, Resource

NOON = datetime(2019, 6, 3, 4, tzinfo=UTC)  # noon at the hospital
LATER = NOON + timedelta(hours=3)
TRIAL = pipeline.open_trial()
_GENERATION = re.compile(rb'generation"?:? \d+|"coverage_sha256":"\w+"')


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Resource]]:
    """The records of some candidates and of some people on the study of the demo hospital."""
    root = tmp_path_factory.mktemp("people")
    made = demo.generate(root / "fhir", patients=demo.PLANTED + 10, gzip=False)
    whole = Workspace(root / "whole", embedded=True)
    pipeline.land(made.folder, whole, now=NOON)
    screening = pipeline.screen(TRIAL, whole, as_of=NOON.date())
    enrolled = pipeline.enrolment_days(screening.facts, TRIAL.protocol.id, NOON.date())
    free = [one.subject for one in screening.decisions if one.subject not in enrolled]
    rows = Counter(one.subject for one in screening.facts.findings)
    simple = {one.id for one in screening.facts.subjects if not one.merged}
    alone = {*_fewest(rows, simple & {*free}, 5), *_fewest(rows, simple & enrolled.keys(), 1)}
    found: dict[str, list[Resource]] = {name: [] for name in sorted(alone)}
    for path in sorted(made.folder.glob("*.ndjson")):
        for line in path.read_bytes().splitlines():
            try:
                one = json.loads(line)
            except ValueError:
                continue
            ids = subjects_of(one)[0] & alone if isinstance(one, dict) else set()
            if one.get("resourceType") in ("Medication", "ResearchStudy"):
                found.setdefault("", []).append(one)
            for name in ids:
                found[name].append(one)
    return found


def _fewest(rows: Counter[str], wanted: Iterable[str], number: int) -> list[str]:
    return sorted((one for one in wanted if rows[one]), key=lambda one: (rows[one], one))[:number]


class Ward:
    """A hospital, and a workspace that follows it."""

    def __init__(self, server: FhirServer, root: Path) -> None:
        self.server = server
        self.here = Workspace(root / "here", embedded=True)
        self.root = root
        self.between = following.Between()

    async def begin(self) -> None:
        await pipeline.land_server(TRIAL, self.here, BASE, now=NOON)
        done = pipeline.screen(TRIAL, self.here, as_of=NOON.date())
        followed = monitoring.monitor(TRIAL, self.here, as_of=NOON.date()).rows
        enrolled = [one.subject for one in followed]
        self.candidates = [one.subject for one in done.decisions if one.subject not in enrolled]
        self.enrolled = enrolled

    async def told(self, *references: str, now: datetime = LATER) -> following.Answer:
        with open_store(self.here, now) as engine:
            Inbox(engine).receive("lab", Notification("event", (Event(0, references),)), now)
        done = await following.answer(TRIAL, self.here, BASE, now=now, between=self.between)
        assert done is not None
        return done

    async def whole(self) -> Workspace:
        """What reading and judging everything leaves."""
        shutil.rmtree(self.root / "whole", ignore_errors=True)
        there = Workspace(self.root / "whole", embedded=True)
        landed_at = datetime.fromisoformat(open_landing(self.here.landing).manifest.landed_at)
        await pipeline.land_server(TRIAL, there, BASE, now=landed_at)
        pipeline.screen(TRIAL, there, as_of=NOON.date(), full=True)
        monitoring.monitor(TRIAL, there, as_of=NOON.date())
        return there

    def any(self, kind: str, whose: str) -> Resource:
        return copy.deepcopy(
            next(
                one
                for (of, _), one in sorted(self.server.store.items())
                if of == kind
                and whose in subjects_of(one)[0]
                and "valueQuantity" in one | {"valueQuantity": 1}
            )
        )


@pytest.fixture
async def ward(people: dict[str, list[Resource]], tmp_path: Path) -> Any:
    server = FhirServer(NOON - timedelta(days=3))
    server.page = 500
    for some in people.values():
        for one in some:
            server.put({key: value for key, value in one.items() if key != "meta"})
    server.clock = NOON - timedelta(hours=2)
    made = Ward(server, tmp_path)
    with server.answering():
        await made.begin()
        server.clock = NOON + timedelta(hours=2)
        yield made


def laid_out(workspace: Workspace) -> dict[str, bytes]:
    """Every byte of a screening and a monitoring, but for how often it was landed."""
    return {
        str(path.relative_to(workspace.root)): _GENERATION.sub(b"generation", path.read_bytes())
        for folder in (workspace.screening, workspace.monitoring)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def corrected(ward: Ward, name: str) -> str:
    one = ward.any("Observation", name)
    one["status"] = "corrected"
    one["valueQuantity"] = {
        "value": 21.5,
        "unit": "g/L",
        "system": "http://unitsofmeasure.org",
        "code": "g/L",
    }
    ward.server.put(one)
    return f"Observation/{one['id']}"


def added(ward: Ward, name: str) -> str:
    ward.server.put(
        {
            "resourceType": "Observation",
            "id": "brand-new",
            "status": "final",
            "subject": {"reference": f"Patient/{name}"},
            "code": {"coding": [{"system": "http://loinc.org", "code": "1751-7"}]},
            "effectiveDateTime": "2019-06-02T08:00:00+08:00",
            "valueQuantity": {
                "value": 19,
                "unit": "g/L",
                "system": "http://unitsofmeasure.org",
                "code": "g/L",
            },
        }
    )
    return "Observation/brand-new"


def deleted(ward: Ward, name: str) -> str:
    one = ward.any("Observation", name)
    ward.server.delete("Observation", one["id"])
    return f"Observation/{one['id']}"


def given_to_another(ward: Ward, name: str) -> str:
    one = ward.any("Observation", name)
    other = next(key for kind, key in ward.server.store if kind == "Patient" and key != name)
    one["subject"] = {"reference": f"Patient/{other}"}
    ward.server.put(one)
    return f"Observation/{one['id']}"


def resolved(ward: Ward, name: str) -> str:
    one = ward.any("Condition", name)
    one["verificationStatus"] = {"coding": [{"code": "refuted"}]}
    ward.server.put(one)
    return f"Condition/{one['id']}"


def untouched(ward: Ward, name: str) -> str:
    return f"Observation/{ward.any('Observation', name)['id']}"


@pytest.mark.parametrize("change", [corrected, added, deleted, given_to_another, resolved, untouched])
@pytest.mark.parametrize("whose", ["candidates", "enrolled"])
async def test_the_same_bytes_as_of_looking_at_everything(
    ward: Ward, change: Callable[[Ward, str], str], whose: str
) -> None:
    reference = change(ward, getattr(ward, whose)[0])
    told = await ward.told(reference)
    assert told.direct
    assert sum(told.sync.changes.values()) == (change is not untouched)
    there = await ward.whole()
    assert laid_out(ward.here) == laid_out(there)


async def test_twice_and_in_another_order_is_the_same(ward: Ward) -> None:
    first, second = corrected(ward, ward.candidates[0]), added(ward, ward.enrolled[0])
    assert (await ward.told(second)).direct
    assert (await ward.told(first)).direct
    assert (await ward.told(second, first)).direct
    assert laid_out(ward.here) == laid_out(await ward.whole())


async def test_killed_between_reading_and_judging_it_is_judged_the_next_time(
    ward: Ward, monkeypatch: pytest.MonkeyPatch
) -> None:
    reference = corrected(ward, ward.candidates[0])
    with monkeypatch.context() as broken:
        broken.setattr(following, "renewed", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            await ward.told(reference)
    await ward.told(reference)
    assert laid_out(ward.here) == laid_out(await ward.whole())


async def test_what_no_message_told_of_is_found_by_the_next_sync(
    ward: Ward,
) -> None:
    """A correction at one o'clock whose message was lost; at two another one is read directly, with a newer
    stamp. A sync that asked for changes since that stamp would never see the first."""
    ward.server.clock = NOON + timedelta(hours=1)
    silent = corrected(ward, ward.candidates[0])
    ward.server.clock = NOON + timedelta(hours=2, minutes=30)
    assert (await ward.told(corrected(ward, ward.enrolled[0]))).direct
    landing, report = await pipeline.sync(TRIAL, ward.here, BASE, now=LATER)
    pipeline.screen(TRIAL, ward.here, as_of=NOON.date())
    monitoring.monitor(TRIAL, ward.here, as_of=NOON.date())
    assert report.changes == {"corrected": 1}, silent
    assert laid_out(ward.here) == laid_out(await ward.whole())
    assert "reread" not in json.loads((landing.folder / "manifest.json").read_bytes())


async def test_of_somebody_who_is_no_candidate_nothing_more_is_read(ward: Ward) -> None:
    ward.server.put({"resourceType": "Patient", "id": "stranger"})
    ward.server.put(
        {
            "resourceType": "Observation",
            "id": "strange",
            "status": "final",
            "subject": {"reference": "Patient/stranger"},
            "code": {"text": "体温"},
        }
    )
    before = laid_out(ward.here)
    told = await ward.told("Observation/strange")
    assert (told.direct, told.sync.requests, told.sync.changes) == (True, 1, {})
    assert laid_out(ward.here) == before


@pytest.mark.parametrize("kind", ["Patient", "Medication", "ResearchSubject"])
async def test_what_may_concern_anybody_takes_a_look_at_everything(ward: Ward, kind: str) -> None:
    told = await ward.told(f"{kind}/unheard-of")
    assert (told.direct, told.sync.charts_in_full > 0) == (
        kind == "ResearchSubject",
        kind != "ResearchSubject",
    )


async def test_a_new_candidate_is_found(ward: Ward) -> None:
    ward.server.put({"resourceType": "Patient", "id": "newcomer", "birthDate": "1980-01-01"})
    coding = {"system": "http://snomed.info/sct", "code": "77182004"}
    condition = {"resourceType": "Condition", "id": "mn", "subject": {"reference": "Patient/newcomer"}}
    ward.server.put(condition | {"code": {"coding": [coding]}})
    told = await ward.told("Condition/mn")
    assert (told.direct, told.sync.new_candidates) == (False, 1)
    assert "newcomer" in {one.subject for one in pipeline.read_screening(ward.here).decisions}


async def test_on_another_day_everything_is_looked_at(ward: Ward) -> None:
    reference = corrected(ward, ward.candidates[0])
    tomorrow = LATER + timedelta(days=1)
    assert not (await ward.told(reference, now=tomorrow)).direct


async def test_what_is_kept_between_looks_is_of_the_files_that_stand(ward: Ward) -> None:
    for change in (corrected, added, corrected, deleted):
        name = ward.candidates[0] if change is not added else ward.candidates[1]
        assert (await ward.told(change(ward, name))).direct
        assert laid_out(ward.here) == laid_out(await ward.whole())
    standing = {(one.name, one.sha256) for one in open_landing(ward.here.landing).manifest.files}
    assert ward.between.files.held == standing


async def test_a_look_that_judged_nobody_directly_keeps_nothing_wrong(ward: Ward) -> None:
    """A screening by somebody else lies between two looks of one program."""
    assert (await ward.told(corrected(ward, ward.candidates[0]))).direct
    corrected(ward, ward.candidates[1])
    await pipeline.sync(TRIAL, ward.here, BASE, now=LATER)
    pipeline.screen(TRIAL, ward.here, as_of=NOON.date())
    monitoring.monitor(TRIAL, ward.here, as_of=NOON.date())
    await ward.told(deleted(ward, ward.candidates[2]))
    assert laid_out(ward.here) == laid_out(await ward.whole())


async def test_the_server_is_asked_anew_what_it_can_do_when_that_may_have_changed(
    ward: Ward, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def asks(now: datetime) -> int:
        return (await ward.told(corrected(ward, ward.candidates[0]), now=now)).sync.requests

    soon = LATER + ANNOUNCED_FOR
    assert [await asks(LATER), await asks(soon - timedelta(seconds=1)), await asks(soon)] == [3, 2, 3]
    assert await asks(LATER) == 3, "the clock was set back"
    with monkeypatch.context() as broken:
        broken.setattr(following, "renewed", lambda *_: (_ for _ in ()).throw(SourceUnavailable("gone")))
        with pytest.raises(SourceUnavailable):
            await asks(LATER)
    assert await asks(LATER) == 3, "after a fault it may have been started anew, as another version"
