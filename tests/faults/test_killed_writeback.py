"""``kill -9`` at every step of a write-back, by a process of its own, against our own endpoint over HTTP.

Afterwards the next run has to leave exactly what an undisturbed run leaves: no decision lost, nothing
doubled, a person's change kept, the audit sound. The same on a real HAPI: tests/contract/test_rungs_hapi.py.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest

from adapter.store import audit
from adapter.store.database import open_database
from adapter.store.ledger import Ledger
from adapter.store.outbox import Outbox
from adapter.store.outbox_state import FINAL
from adapter.writeback.courier import STEPS
from adapter.writeback.research_study import StudyReference
from adapter.writeback.send import Ladder, WriteReport, write_back
from tests.killing import At, killed_at
from tests.servers.process import started
from tests.writeback_cases import NOW, decision

SERVE = """
import os, socket, sys, threading
import uvicorn
from pathlib import Path
from adapter.web.app import own_endpoint
threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
taken = socket.create_server(("127.0.0.1", 0))
print(f"READY http://127.0.0.1:{taken.getsockname()[1]}/fhir", flush=True)
uvicorn.Server(uvicorn.Config(own_endpoint(Path(sys.argv[1])), log_level="error")).run(sockets=[taken])
"""
WHOLE = [step for step in STEPS if not step.startswith("part ") and step != "failed"]
ONE_BY_ONE = [step for step in STEPS if step != "failed"]


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("endpoint")
    command = [sys.executable, "-c", SERVE, str(folder / "a.sqlite")]
    with started(command, log=folder / "log", seconds=120) as base:
        yield base


class OneByOne(httpx.AsyncBaseTransport):
    """The server as if it knew no transactions."""

    def __init__(self) -> None:
        self._network = httpx.AsyncHTTPTransport()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        answer = await self._network.handle_async_request(request)
        if not request.url.path.endswith("/metadata"):
            return answer
        said = json.loads(await answer.aread())
        said["rest"][0]["interaction"] = []
        return httpx.Response(200, json=said, request=request)


class Trial:
    """A study, people and a workspace of their own on the shared endpoint."""

    def __init__(self, base: str, folder: Path, transport: Callable[[], Any] = lambda: None) -> None:
        self.base = base
        self.key = uuid4().hex[:10]
        self.study = StudyReference(f"NCT{self.key}", "A trial")
        self.database = folder / "adapter.sqlite"
        self.folder = folder
        self.transport = transport
        self.http = httpx.Client(trust_env=False)

    async def run(self, at: At = lambda step: None, first: str = "eligible") -> WriteReport:
        verdicts = [
            decision(first, f"anna-{self.key}", study=self.study.id),
            decision("undetermined", f"bao-{self.key}", study=self.study.id),
        ]
        ladder = Ladder((), folder=self.folder / "files", at=at)
        return await write_back(
            self.base, verdicts, study=self.study, database=self.database, now=NOW,
            ladder=ladder, transport=self.transport(),
        )  # fmt: skip

    def again(self, first: str = "eligible") -> WriteReport:
        return asyncio.run(self.run(first=first))

    def found(self, query: str) -> list[dict[str, Any]]:
        answer = self.http.get(f"{self.base}/{query}").json()
        return [entry["resource"] for entry in answer.get("entry", [])]

    def anna(self) -> list[dict[str, Any]]:
        return self.found(f"ResearchSubject?patient=Patient/anna-{self.key}")

    def flags(self) -> dict[str, str]:
        flags = self.found(f"Flag?patient=Patient/anna-{self.key}")
        return {one["code"]["coding"][0]["code"]: one["status"] for one in flags}

    def explained(self, reference: str) -> int:
        return len(self.found(f"Provenance?target={reference}"))

    def settled(self) -> None:
        """Nothing is open, the chain of the audit is whole, and every receipt names a row that is done."""
        engine = open_database(self.database)
        rows = Outbox(engine).rows()
        assert {row.state for row in rows} <= FINAL
        assert audit.verify(engine, ()).sound
        with Ledger(engine, self.base) as ledger:
            told = [receipt for receipt in ledger.receipts() if receipt.subject]
        assert {receipt.outbox for receipt in told} <= {row.number for row in rows}
        engine.dispose()


@pytest.mark.parametrize(
    ("step", "transport"),
    [*((step, lambda: None) for step in WHOLE), *((step, OneByOne) for step in ONE_BY_ONE)],
    ids=[*(f"{step}, whole" for step in WHOLE), *(f"{step}, one by one" for step in ONE_BY_ONE)],
)
def test_killed_at_a_step_the_next_run_makes_it_whole(
    step: str, transport: Callable[[], Any], endpoint: str, tmp_path: Path
) -> None:
    trial = Trial(endpoint, tmp_path, transport)
    assert killed_at(step, trial.run)
    report = trial.again()
    assert set(report.outcomes) <= {"created", "updated", "unchanged"}
    (anna,) = trial.anna()
    assert (anna["status"], anna["meta"]["versionId"]) == ("candidate", "1")
    assert trial.flags() == {"candidate": "active"}
    assert trial.explained(f"ResearchSubject/{anna['id']}") == 1
    assert len(trial.found(f"ResearchSubject?patient=Patient/bao-{trial.key}")) == 1
    assert trial.again().resources_written == 0
    trial.settled()


@pytest.mark.parametrize("step", ["sending", "sent"])
def test_a_person_is_faster_than_the_next_run(step: str, endpoint: str, tmp_path: Path) -> None:
    """Killed on the way to "ineligible"; a nurse begins to screen before the next run."""
    trial = Trial(endpoint, tmp_path)
    trial.again()
    assert killed_at(step, lambda at: trial.run(at, first="ineligible"))
    (anna,) = trial.anna()
    nurse = {**anna, "status": "screening"}
    trial.http.put(f"{trial.base}/ResearchSubject/{anna['id']}", json=nurse).raise_for_status()
    report = trial.again("ineligible")
    assert report.outcomes == {"respected_human": 1, "unchanged": 1}
    assert [one["status"] for one in trial.anna()] == ["screening"]
    assert trial.flags() == {"candidate": "inactive", "contradiction": "active"}
    assert trial.again("ineligible").resources_written == 0
    trial.settled()


@pytest.mark.parametrize("step", ["sending", "sent", "done"])
def test_killed_while_a_file_is_written(step: str, tmp_path: Path) -> None:
    async def nothing(request: httpx.Request) -> httpx.Response:
        return httpx.Response(404, json={})

    trial = Trial("https://hospital.example/fhir", tmp_path, lambda: httpx.MockTransport(nothing))
    assert killed_at(step, trial.run)
    trial.again()
    assert [path.suffix for path in (tmp_path / "files").iterdir()] == [".json"]
    assert trial.again().files == ()
    trial.settled()


def test_two_processes_at_once_write_once(endpoint: str, tmp_path: Path) -> None:
    """Two processes start together; whoever comes second skips, and a third run finds nothing to do."""
    for number in range(2):
        (tmp_path / str(number)).mkdir()
        trial = Trial(endpoint, tmp_path / str(number))
        open_database(trial.database).dispose()
        commands = [
            [sys.executable, "-c", TWIN, trial.base, str(trial.database), trial.study.id, trial.key]
            for _ in "ab"
        ]
        running = [subprocess.Popen(command) for command in commands]
        codes = [one.wait(timeout=120) for one in running]
        assert set(codes) <= {0, 75}
        trial.again()
        (anna,) = trial.anna()
        assert (anna["meta"]["versionId"], trial.explained(f"ResearchSubject/{anna['id']}")) == ("1", 1)
        assert trial.again().resources_written == 0
        trial.settled()


TWIN = """
import asyncio, sys
from pathlib import Path
from adapter.writeback.research_study import StudyReference
from adapter.writeback.send import Ladder, write_back
from tests.writeback_cases import NOW, decision
base, database, study, key = sys.argv[1:]
people = (("eligible", f"anna-{key}"), ("undetermined", f"bao-{key}"))
report = asyncio.run(write_back(
    base, [decision(verdict, who, study=study) for verdict, who in people],
    study=StudyReference(study, "A trial"), database=Path(database), now=NOW, ladder=Ladder(()),
))
fault = report.fault()
sys.exit(fault.exit_code if fault else 0)
"""
