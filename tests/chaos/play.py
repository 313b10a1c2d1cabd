"""How one schedule is played: admission, runs, edits, recovery, checks."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

import httpx

from adapter.trial import Workspace
from tests.chaos.checks import CHECKS, LEAVE, Scene
from tests.chaos.hearing import order, unheard
from tests.chaos.people import JSON, People
from tests.chaos.proxy import Proxy
from tests.chaos.reading import changed, equal, honest
from tests.chaos.schedule import Edit, Hearing, Leave, Reading, Run, Schedule, Script
from tests.chaos.stores import Store, Stores
from tests.chaos.tally import Finding, Tally
from tests.chaos.zygote import Zygote
from tests.conftest import SERVERS
from tests.contract.ward import Ward
from tests.servers import medplum
from tests.writeback_cases import NOW

LONGEST = 90.0  # seconds that one disturbed run may take before it counts as hanging
LONGEST_UNDISTURBED = 300.0  # it waits as long as production, for HAPI on a busy machine too
CLEAN_RUNS = 9
EXPORTED = ("Condition", "MedicationRequest", "Observation", "Patient")
# A repository to each schedule where a server can: Medplum's looks at everything it keeps in each search.
OWN: dict[str, Callable[[str, str], str]] = {"medplum": medplum.own}


class Hospital(NamedTuple):
    """A real server: its base URL and the types it has."""

    name: str
    base: str
    types: frozenset[str]


class Stage(NamedTuple):
    """What schedules share; ``key_file`` holds our private keys, ``keys`` the public ones, newest first."""

    at: Hospital
    proxy: Proxy
    zygote: Zygote
    http: httpx.AsyncClient
    root: Path
    tally: Tally
    stores: Stores
    key_file: Path
    keys: tuple[dict[str, Any], ...]


class Play:
    """One schedule, from admission to the checks."""

    def __init__(self, script: Script, stage: Stage) -> None:
        self._script = script
        self._at, self._proxy, self._zygote, self._http, root, self._tally, self._stores = stage[:7]
        self._key_file, self._keys = stage.key_file, stage.keys
        self._key = f"{script.seed}x{os.urandom(3).hex()}"
        if self._at.name in OWN:
            self._at = self._at._replace(base=OWN[self._at.name](self._at.base, self._key))
        self._proxy.lead(self._at.base)
        self._root = root / self._key / "workspace"
        self._store: Store | None = None
        smart = script.setting.sign_in == "SMART"
        self._proxy.sign_in.expect(self._keys if smart else ())
        self._runs = 0
        self._pid = 0
        self.said: list[str] = []

    async def _performed(self) -> list[str]:
        raise NotImplementedError

    def _job(self) -> dict[str, Any]:
        raise NotImplementedError

    async def _edited(self, edit: Edit) -> None:
        raise NotImplementedError

    async def perform(self) -> None:
        wrong: list[str] = []
        self._root.mkdir(parents=True)
        try:
            wrong = await self._performed()
        except Exception as fault:  # noqa: BLE001 - a schedule that breaks the runner is a finding too
            wrong = [f"the schedule could not be performed: {type(fault).__name__} {fault}"]
        what = "" if isinstance(self._script, Hearing) else f" on {self._at.name}"
        self._tally.schedules[f"{type(self).__name__.lower()}{what}"] += 1
        if self._at.name in OWN:
            await self._http.delete(self._at.base.removesuffix("/fhir/R4"))
        if wrong:
            self._tally.findings.append(Finding(str(self._script), tuple(wrong)))
            self.said.append(str(self._tally.findings[-1]))
        if self._store is not None:
            await self._store.forget()
        self._tally.settings[str(self._script.setting)] += 1
        shutil.rmtree(self._root.parent, ignore_errors=True)

    async def _database(self) -> Store:
        """An empty one, of the kind that the schedule asks for and this machine has."""
        if self._script.setting.store == "postgresql" and self._stores.has_postgresql:
            return await self._stores.postgresql(self._key)
        return await self._stores.sqlite(Path(Workspace(self._root, embedded=True).database))

    async def _disturbed(self, move: Run) -> list[str]:
        killer: list[str] = []

        def kill() -> None:
            if self._pid:
                killer.append("")
                _signal(self._pid)

        async def person() -> None:
            if move.meanwhile is not None:
                await self._edited(move.meanwhile)

        self._proxy.disturb(move.injections, kill=kill, person=person)
        with self._store.withheld(move.locked) if self._store else nullcontext():
            code, said = await self._run(hurried=True, steps=dict(move.steps))
        await self._proxy.idle()
        self._proxy.disturb()
        if code == -signal.SIGKILL:
            step = next((step for step, what in move.steps if what == "kill"), "")
            where = "by the proxy" if killer else f"at {step}" if step else "of receiver or worker"
            self._tally.kills[where] += 1
        elif any(what == "disk full" for _, what in move.steps) and code:
            self._tally.faults["disk full"] += 1
        if self._store and move.locked:
            self._tally.faults[self._store.words[move.locked]] += 1
        self._tally.ends["killed" if code == -signal.SIGKILL else said.get("fault") or "ended"] += 1
        self._tally.outcomes.update(row["outcome"] for row in said.get("rows", ()))
        if "crash" in said or (code < 0 and code != -signal.SIGKILL):
            return [f"{move}: exit {code}: {said.get('crash', '')}"]
        return []

    async def _recovered(self) -> list[str]:
        """Run undisturbed until nothing is left to write."""
        for _ in range(CLEAN_RUNS):
            code, said = await self._run(hurried=False, steps={})
            if code or said.get("fault"):
                continue
            waiting = any(row["outcome"] in ("awaiting_approval", "rejected") for row in said["rows"])
            if waiting:
                await self._asked(Leave("approved"))
            elif not said["written"]:
                return []
        return [f"after {CLEAN_RUNS} undisturbed runs there is still: exit {code}, {said}"]

    async def _asked(self, leave: Leave) -> list[str]:
        """A person says something to whatever waits."""
        more = {"kind": "decide", "verdict": leave.verdict, "dies": leave.dies}
        code, said = await self._run(hurried=False, steps={}, **more)
        self._tally.kills["of whoever allows"] += code == -signal.SIGKILL
        self._tally.edits[leave.verdict] += code != -signal.SIGKILL
        return [] if code in (0, -signal.SIGKILL) else [f"{leave}: exit {code}: {said}"]

    async def _run(
        self, *, hurried: bool, steps: Mapping[str, str], **more: Any
    ) -> tuple[int, dict[str, Any]]:
        self._runs += 1
        self._tally.runs["disturbed" if hurried else "undisturbed"] += 1
        result = self._root.parent / f"result-{self._runs}.json"
        job = {
            "root": str(self._root),
            "result": str(result),
            "base": self._proxy.base,
            "token_file": str(self._proxy.sign_in.token_file),
            "key_file": str(self._key_file) if self._script.setting.sign_in == "SMART" else "",
            "database": str(self._store.where) if self._store else "",
            "now": (NOW + timedelta(hours=self._runs)).isoformat(),
            "hurried": hurried,
            "steps": steps,
            **self._job(),
            **more,
        }
        longest = LONGEST if hurried else LONGEST_UNDISTURBED
        self._pid = 0
        self._pid, end = await self._zygote.start(job)
        try:
            code = await asyncio.wait_for(asyncio.shield(end), longest)
        except TimeoutError:
            _signal(self._pid)
            await end
            return 72, {"crash": f"no end within {longest:g} s"}
        return code, json.loads(result.read_text()) if result.exists() and result.stat().st_size else {}


class Write(Play):
    """Decisions are told, people change what was told, and all is looked at in the end."""

    def __init__(self, script: Schedule, stage: Stage) -> None:
        super().__init__(script, stage)
        self._news = script.news
        self._rungs, self._habits = script.rungs, script.habits
        self._people = People(stage.http, self._at.base, self._key, len(script.news[0].verdicts))
        self._verdicts: tuple[str, ...] = ()

    async def _performed(self) -> list[str]:
        self._store = await self._database()
        self._proxy.habits = frozenset(self._habits)
        self._proxy.disturb()
        await self._people.admit()
        wrong: list[str] = []
        for number, news in enumerate(self._news):
            if number:
                await self._people.measure()
            self._verdicts = news.verdicts
            for move in news.moves:
                if isinstance(move, Run):
                    wrong += await self._disturbed(move)
                elif isinstance(move, Leave):
                    wrong += await self._asked(move)
                else:
                    await self._edited(move)
        wrong += await self._recovered()
        scene = Scene(
            self._people,
            dict(zip(self._people.ids, self._verdicts, strict=True)),
            self._root,
            self._store.where,
            self._proxy.base,
            self._at.types,
            bool({"subject closed", "closed"} & set(self._habits)),
            self._script.setting.approval,
        )
        for name, check in CHECKS.items():
            if name == LEAVE and not scene.approval:
                continue
            found = await check(scene)
            wrong += [f"{name}: {one}" for one in found]
            self._tally.checks[name] += not found
        return wrong

    async def _edited(self, edit: Edit) -> None:
        if await self._people.change(edit, self._at.types):
            self._tally.edits[edit.what] += 1

    def _job(self) -> dict[str, Any]:
        return {
            "kind": "write",
            "study": self._people.study,
            "decisions": [
                (patient, overall, str(self._people.version))
                for patient, overall in zip(self._people.ids, self._verdicts, strict=True)
            ],
            "rungs": list(self._rungs),
            "folder": str(self._root / "told") if "closed" in self._habits else "",
            "approval": self._script.setting.approval,
        }


class Read(Play):
    """A ward is fetched or brought up to date; what is landed says truly how much it is."""

    def __init__(self, script: Reading, stage: Stage) -> None:
        super().__init__(script, stage)
        self._script: Reading = script
        self._ward = Ward(readings=8)
        self._group = f"group-{self._ward.key}"
        self._landing, self._sync = "landing", False

    async def _performed(self) -> list[str]:
        self._proxy.habits = frozenset()
        self._proxy.disturb()
        at_once = SERVERS[self._at.name].at_once
        await asyncio.to_thread(self._ward.admit, self._at.base, at_once)
        if self._script.bulk:
            await self._gathered()
        wrong: list[str] = []
        if self._script.sync:
            wrong += await self._whole("landing")
            await asyncio.to_thread(changed, self._ward, self._at.base)
        wrong += await self._whole("truth")
        self._landing = "landing"
        self._sync = self._script.sync
        for move in self._script.runs:
            wrong += await self._disturbed(move)
            untold = honest(self._root, self._ward, former=self._sync)
            self._tally.checks["partial landing says so"] += not untold
            wrong += [f"after {move}: {one}" for one in untold]
        wrong += await self._whole("landing", sync=self._sync)
        same = equal(self._root) if not wrong else []
        self._tally.checks["landing is the undisturbed one"] += not same
        return wrong + same

    async def _gathered(self) -> None:
        """A Group of everybody in the ward but the bystander."""
        members = [{"entity": self._ward.ref("Patient", name)} for name in ("old", "kept", "other")]
        group = {"resourceType": "Group", "id": self._group, "type": "person", "actual": True}
        answer = await self._http.put(
            f"{self._at.base}/Group/{self._group}", json={**group, "member": members}, headers=JSON
        )
        assert answer.status_code in (200, 201), answer.text[:300]

    async def _whole(self, landing: str, *, sync: bool = False) -> list[str]:
        self._landing, self._sync = landing, sync
        code, said = await self._run(hurried=False, steps={})
        return [f"undisturbed: exit {code}, {said}"] if code else []

    def _job(self) -> dict[str, Any]:
        if self._script.bulk:
            return {
                "kind": "export",
                "types": EXPORTED,
                "group": self._group,
                "landing": self._landing,
            }
        query = self._ward.query()
        return {
            "kind": "fetch",
            "codes": sorted(query.codes),
            "studies": sorted(query.studies),
            "landing": self._landing,
            "sync": self._sync,
        }


class Hear(Play):
    """Messages come, and whoever hears them or works at them dies; nothing that was heard is forgotten."""

    def __init__(self, script: Hearing, stage: Stage) -> None:
        super().__init__(script, stage)
        self._hearing = script
        self._kill: list[Any] = []
        self._look = ""

    async def _performed(self) -> list[str]:
        self._store = await self._database()
        wrong: list[str] = []
        for number, (when, place, look) in enumerate(self._hearing.deaths):
            self._kill, self._look = [when, place], look
            wrong += await self._disturbed(Run(locked="" if number else self._hearing.locked))
        self._kill, self._look = [], "done"
        for _ in range(2):
            code, said = await self._run(hurried=False, steps={})
            wrong += [f"undisturbed: exit {code}, {said}"] if code else []
        missing = unheard(self._root, self._store.where, self._hearing.events)
        self._tally.checks["every event was looked at"] += not missing
        return wrong + missing

    def _job(self) -> dict[str, Any]:
        numbers = order(self._hearing.seed, self._hearing.events)
        return {"kind": "hear", "numbers": numbers, "kill": self._kill, "look": self._look}


def play(script: Script, stage: Stage) -> Play:
    if isinstance(script, Reading):
        return Read(script, stage)
    return Hear(script, stage) if isinstance(script, Hearing) else Write(script, stage)


def _signal(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return
