"""Runs schedules against real servers, several side by side, and counts what happened."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import sqlite3
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

import httpx

from adapter.store.database import open_database
from adapter.trial import Workspace
from tests.chaos.checks import CHECKS, Scene
from tests.chaos.hearing import order, unheard
from tests.chaos.people import JSON, People
from tests.chaos.proxy import Proxy
from tests.chaos.reading import changed, equal, honest
from tests.chaos.schedule import Edit, Hearing, Reading, Run, Schedule, Script
from tests.chaos.zygote import Zygote
from tests.conftest import SERVERS
from tests.contract.ward import Ward
from tests.writeback_cases import NOW

LANES = 10
LONGEST = 90.0  # seconds that one run may take before it counts as hanging
CLEAN_RUNS = 6


class Finding(NamedTuple):
    """Something that does not hold, with the schedule that shows it."""

    schedule: str
    what: tuple[str, ...]

    def __str__(self) -> str:
        return "\n    ".join([self.schedule, *self.what])


@dataclass
class Tally:
    """What was done and seen."""

    schedules: Counter[str] = field(default_factory=Counter)
    runs: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    kills: Counter[str] = field(default_factory=Counter)
    ends: Counter[str] = field(default_factory=Counter)
    outcomes: Counter[str] = field(default_factory=Counter)
    edits: Counter[str] = field(default_factory=Counter)
    checks: Counter[str] = field(default_factory=Counter)
    requests: int = 0
    seconds: float = 0.0
    findings: list[Finding] = field(default_factory=list)

    def lines(self) -> list[str]:
        """The table of counts."""
        total = sum(self.schedules.values())
        rows = [
            f"chaos: {total} schedules in {self.seconds:.0f} s, {self.requests} requests through the proxy"
        ]
        for name, counts in (
            ("schedules", self.schedules),
            ("runs", self.runs),
            ("faults", self.faults),
            ("kill -9", self.kills),
            ("ends of disturbed runs", self.ends),
            ("outcomes of disturbed runs", self.outcomes),
            ("persons' changes", self.edits),
            ("checks that held", self.checks),
        ):
            said = ", ".join(f"{key} {number}" for key, number in sorted(counts.items()))
            rows.append(f"  {name} ({sum(counts.values())}): {said}")
        rows.append(f"  findings: {len(self.findings)}")
        return rows


class Hospital(NamedTuple):
    """A real server: its base URL and the types it has."""

    name: str
    base: str
    types: frozenset[str]


async def hospital(name: str, base: str) -> Hospital:
    # sekmet-fhir says that it is ready a moment before it listens
    waiting = httpx.AsyncHTTPTransport(retries=8)
    async with httpx.AsyncClient(timeout=120, transport=waiting) as http:
        said = (await http.get(f"{base}/metadata", headers=JSON)).json()
    types = frozenset(one["type"] for rest in said["rest"] for one in rest.get("resource", []))
    return Hospital(name, base, types)


async def run_all(
    schedules: Sequence[Script],
    servers: Mapping[str, str],
    *,
    lanes: int = LANES,
    told: Callable[[str], None] = lambda line: None,
) -> Tally:
    """``servers`` are base URLs by name. All findings are in the tally; nothing is raised for them."""
    started, tally = time.monotonic(), Tally()
    hospitals = {name: await hospital(name, base) for name, base in servers.items()}
    waiting = list(reversed(schedules))
    with tempfile.TemporaryDirectory(prefix="chaos-") as folder:
        root = Path(folder)
        open_database(root / "template.sqlite").dispose()
        # no connection is kept: the server may close one at the moment it is used again
        once = httpx.Limits(max_keepalive_connections=0)
        async with Zygote() as zygote, httpx.AsyncClient(timeout=120, trust_env=False, limits=once) as http:

            async def lane(number: int) -> None:
                proxies: dict[str, Proxy] = {}
                try:
                    while waiting:
                        schedule = waiting.pop()
                        at = hospitals[schedule.server]
                        if at.name not in proxies:
                            place = root / f"{number}-{at.name}"
                            place.mkdir()
                            proxies[at.name] = Proxy(at.base, place)
                            await proxies[at.name].start()
                        proxy = proxies[at.name]
                        stage = Stage(at, proxy, zygote, http, root, tally)
                        one = _play(schedule, stage)
                        await one.perform()
                        for line in one.said:
                            told(line)
                finally:
                    for proxy in proxies.values():
                        await proxy.stop()
                        tally.requests += proxy.requests
                        tally.faults += proxy.counts

            await asyncio.gather(*(lane(number) for number in range(lanes)))
    tally.seconds = time.monotonic() - started
    return tally


class Stage(NamedTuple):
    at: Hospital
    proxy: Proxy
    zygote: Zygote
    http: httpx.AsyncClient
    root: Path
    tally: Tally


class Play:
    """One schedule, from admission to the checks."""

    def __init__(self, script: Script, stage: Stage) -> None:
        self._script = script
        self._at, self._proxy, self._zygote, self._http, root, self._tally = stage
        self._key = f"{script.seed}x{os.urandom(3).hex()}"
        self._root = root / self._key / "workspace"
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
        try:
            wrong = await self._performed()
        except Exception as fault:  # noqa: BLE001 - a schedule that breaks the runner is a finding too
            wrong = [f"the schedule could not be performed: {type(fault).__name__} {fault}"]
        what = "" if isinstance(self._script, Hearing) else f" on {self._at.name}"
        self._tally.schedules[f"{type(self).__name__.lower()}{what}"] += 1
        if wrong:
            self._tally.findings.append(Finding(str(self._script), tuple(wrong)))
            self.said.append(str(self._tally.findings[-1]))
        shutil.rmtree(self._root.parent, ignore_errors=True)

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
        holding = self._lock(move.locked)
        try:
            code, said = await self._run(hurried=True, steps=dict(move.steps))
        finally:
            for one in holding:
                one.close()
        await self._proxy.idle()
        self._proxy.disturb()
        if code == -signal.SIGKILL:
            step = next((step for step, what in move.steps if what == "kill"), "")
            where = "by the proxy" if killer else f"at {step}" if step else "of receiver or worker"
            self._tally.kills[where] += 1
        elif any(what == "disk full" for _, what in move.steps) and code:
            self._tally.faults["disk full"] += 1
        self._tally.faults[move.locked] += bool(move.locked)
        self._tally.faults = +self._tally.faults
        self._tally.ends["killed" if code == -signal.SIGKILL else said.get("fault") or "ended"] += 1
        self._tally.outcomes.update(row["outcome"] for row in said.get("rows", ()))
        if "crash" in said or (code < 0 and code != -signal.SIGKILL):
            return [f"{move}: exit {code}: {said.get('crash', '')}"]
        return []

    def _lock(self, locked: str) -> list[sqlite3.Connection]:
        """Another process at the database: for a moment, or for the whole run."""
        if not locked:
            return []
        database = Workspace(self._root, embedded=True).database
        held = sqlite3.connect(database, isolation_level=None, timeout=30)
        held.execute("BEGIN IMMEDIATE")
        if locked == "database locked":
            asyncio.get_running_loop().call_later(0.4, held.close)
        return [held]

    async def _recovered(self) -> list[str]:
        """Run undisturbed until nothing is left to write."""
        for _ in range(CLEAN_RUNS):
            code, said = await self._run(hurried=False, steps={})
            if code or said.get("fault"):
                continue
            if not said["written"]:
                return []
        return [f"after {CLEAN_RUNS} undisturbed runs there is still: exit {code}, {said}"]

    async def _run(self, *, hurried: bool, steps: Mapping[str, str]) -> tuple[int, dict[str, Any]]:
        self._runs += 1
        self._tally.runs["disturbed" if hurried else "undisturbed"] += 1
        result = self._root.parent / f"result-{self._runs}.json"
        job = {
            "root": str(self._root),
            "result": str(result),
            "base": self._proxy.base,
            "token_file": str(self._proxy.token_file),
            "now": (NOW + timedelta(hours=self._runs)).isoformat(),
            "hurried": hurried,
            "steps": steps,
            **self._job(),
        }
        self._pid = 0
        self._pid, end = await self._zygote.start(job)
        try:
            code = await asyncio.wait_for(asyncio.shield(end), LONGEST)
        except TimeoutError:
            _signal(self._pid)
            await end
            return 72, {"crash": f"no end within {LONGEST:g} s"}
        return code, json.loads(result.read_text()) if result.exists() and result.stat().st_size else {}


class Write(Play):
    """Decisions are told, people change what was told, and all is looked at in the end."""

    def __init__(self, script: Schedule, stage: Stage) -> None:
        super().__init__(script, stage)
        self._news = script.news
        self._rungs, self._habits = script.rungs, script.habits
        self._people = People(stage.http, stage.at.base, self._key, len(script.news[0].verdicts))
        self._verdicts: tuple[str, ...] = ()

    async def _performed(self) -> list[str]:
        self._root.mkdir(parents=True)
        database = Path(Workspace(self._root, embedded=True).database)
        shutil.copy(self._root.parents[1] / "template.sqlite", database)
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
                else:
                    await self._edited(move)
        wrong += await self._recovered()
        scene = Scene(
            self._people,
            dict(zip(self._people.ids, self._verdicts, strict=True)),
            self._root,
            self._proxy.base,
            self._at.types,
            "subject closed" in self._habits,
        )
        for name, check in CHECKS.items():
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
            "folder": "",
        }


class Read(Play):
    """A ward is fetched or brought up to date; what is landed says truly how much it is."""

    def __init__(self, script: Reading, stage: Stage) -> None:
        super().__init__(script, stage)
        self._script: Reading = script
        self._ward = Ward(readings=8)
        self._landing, self._sync = "landing", False

    async def _performed(self) -> list[str]:
        self._root.mkdir(parents=True)
        self._proxy.habits = frozenset()
        self._proxy.disturb()
        at_once = SERVERS[self._at.name].at_once
        await asyncio.to_thread(self._ward.admit, self._at.base, at_once)
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
        same = equal(self._root)
        self._tally.checks["landing is the undisturbed one"] += not same
        return wrong + same

    async def _whole(self, landing: str, *, sync: bool = False) -> list[str]:
        self._landing, self._sync = landing, sync
        code, said = await self._run(hurried=False, steps={})
        return [f"undisturbed: exit {code}, {said}"] if code else []

    def _job(self) -> dict[str, Any]:
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
        self._root.mkdir(parents=True)
        database = Path(Workspace(self._root, embedded=True).database)
        shutil.copy(self._root.parents[1] / "template.sqlite", database)
        wrong: list[str] = []
        for number, (when, place, look) in enumerate(self._hearing.deaths):
            self._kill, self._look = [when, place], look
            wrong += await self._disturbed(Run(locked="" if number else self._hearing.locked))
        self._kill, self._look = [], "done"
        for _ in range(2):
            code, said = await self._run(hurried=False, steps={})
            wrong += [f"undisturbed: exit {code}, {said}"] if code else []
        missing = unheard(self._root, self._hearing.events)
        self._tally.checks["every event was looked at"] += not missing
        return wrong + missing

    def _job(self) -> dict[str, Any]:
        numbers = order(self._hearing.seed, self._hearing.events)
        return {"kind": "hear", "numbers": numbers, "kill": self._kill, "look": self._look}


def _play(script: Script, stage: Stage) -> Play:
    if isinstance(script, Reading):
        return Read(script, stage)
    return Hear(script, stage) if isinstance(script, Hearing) else Write(script, stage)


def _signal(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def allot(seeds: Iterable[int], shares: Mapping[str, int]) -> list[tuple[int, str]]:
    """Which server each seed runs against: in turn, as often in a hundred as its share."""
    turns = [name for name, share in shares.items() for _ in range(share)]  # 37 is prime to any usual length
    return [(seed, turns[seed * 37 % len(turns)]) for seed in seeds]
