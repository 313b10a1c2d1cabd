"""``adapter fetch --bulk`` as an engineer runs it: killed, run again, refused, and asked for what changed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.servers.bulk import TOKEN, Answer, Exports, Request, ndjson, observation, patient

ROOT = Path(__file__).parents[2]
STATUS = "/fhir/status/1"


@pytest.fixture
def server() -> Iterator[Exports]:
    with Exports().running() as running:
        assert isinstance(running, Exports)
        yield running


class Command:
    def __init__(self, server: Exports, folder: Path) -> None:
        self.server = server
        self.workspace = folder / "workspace"
        token = folder / "token"
        token.write_text(TOKEN)
        self.environment = {**os.environ, "ADAPTER_TOKEN_FILE": str(token), "NO_COLOR": "1", "COLUMNS": "200"}

    def start(self, *more: str) -> subprocess.Popen[str]:
        program = [sys.executable, "-c", "from adapter.cli import main; main()"]
        asked = [
            "fetch",
            "--bulk",
            "--base-url",
            self.server.base,
            "-w",
            str(self.workspace),
            "--json",
            *more,
        ]
        return subprocess.Popen(
            [*program, *asked],
            cwd=ROOT,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *more: str) -> tuple[int, str, str]:
        process = self.start(*more)
        out, err = process.communicate(timeout=120)
        return process.returncode, out, err


@pytest.fixture
def command(server: Exports, tmp_path: Path) -> Command:
    return Command(server, tmp_path)


def test_kill_9_again_and_again_downloads_nothing_twice(command: Command) -> None:
    """Killed while it waits, and then after every seventh file, with six more on their way each time.

    What was verified before a kill is never asked for again; what was on its way comes again.
    """
    server = command.server
    for number in range(40):
        server.files[f"x{number}.ndjson"] = ("Observation", ndjson(observation(f"x{number}", "p1")))
    usual = server.otherwise
    served: Counter[str] = Counter()
    hanging: list[str] = []
    left = 0

    def gated(request: Request) -> Answer:
        """So many files, and then none: the connections hang until the adapter is killed."""
        nonlocal left
        if not request.path.startswith("/files/"):
            return usual(request)
        left -= 1
        if left < 0:
            hanging.append(request.path)
            return Answer(200, b"never comes", delay=120)
        served[request.path] += 1
        return usual(request)

    server.otherwise = gated
    server.on("GET", STATUS, Answer(202, headers={"Retry-After": "60"}))
    _kill_when(command.start(), lambda: bool(server.asked("GET", STATUS)))
    del server.replies["GET", STATUS]
    for _ in range(5):
        left = 7
        hanging.clear()
        _kill_when(command.start(), lambda: len(hanging) == 6)
    assert len(served) == 35
    assert set(served.values()) == {1}, "six workers hang, so what they had before was verified"
    left = 1000
    code, out, err = command.run()
    assert code == 0, err
    told = json.loads(out)
    assert told["resources"] == 45
    assert told["incomplete"] == []
    assert server.jobs == 1, "one export at the server, however often we were killed"
    assert len(served) == 42
    assert set(served.values()) == {1}
    assert not (command.workspace / "bulk").exists()


def _kill_when(process: subprocess.Popen[str], reached: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not reached():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()


def test_killed_at_each_phase_the_next_run_ends_well(command: Command) -> None:
    """Stopped right after kick-off, in the middle of a file, and before the job is deleted."""
    server = command.server
    for method, path in (("GET", STATUS), ("GET", "/files/2.ndjson"), ("DELETE", STATUS)):
        server.on(method, path, Answer(200, b"x" * 1000, delay=30))
        before = len(server.asked(method, path))
        _kill_when(command.start(), partial(_more, server, method, path, before))
        del server.replies[method, path]
    assert (command.workspace / "landing" / "manifest.json").exists(), "landed before it was cleaned up"
    code, out, err = command.run()
    assert code == 0, err
    assert json.loads(out)["resources"] == 5
    assert server.jobs == 1
    assert len(server.asked("DELETE", STATUS)) == 2


def _more(server: Exports, method: str, path: str, than: int) -> bool:
    return len(server.asked(method, path)) > than


def test_two_at_once_do_not_mix(command: Command) -> None:
    command.server.on("GET", STATUS, Answer(202))
    first = command.start()
    deadline = time.monotonic() + 60
    while not command.server.asked("GET", STATUS) and time.monotonic() < deadline:
        time.sleep(0.01)
    code, _, err = command.run()
    first.kill()
    first.communicate()
    assert code == 75
    assert "another process" in err


def test_not_ready_is_exit_75_and_the_next_run_picks_it_up(command: Command) -> None:
    command.server.on("GET", STATUS, Answer(202))
    code, _, err = command.run("--wait", "0.01")
    assert code == 75
    assert "run the same command again" in err
    del command.server.replies["GET", STATUS]
    assert command.run()[0] == 0
    assert command.server.jobs == 1


def test_no_export_is_said_and_searched_for(command: Command) -> None:
    """The server has searches only: candidates are looked for, and the landing says why."""
    server = command.server
    usual = server.otherwise
    nothing = json.dumps({"resourceType": "Bundle", "type": "searchset", "entry": []}).encode()

    def searches(request: Request) -> Answer:
        if request.path.endswith("$export"):
            return Answer(404)
        if request.path.startswith("/fhir/") and request.method == "GET" and request.query:
            return Answer(200, nothing, {"Content-Type": "application/fhir+json"})
        return usual(request)

    server.otherwise = searches
    code, out, err = command.run()
    assert code == 0, err
    told = json.loads(out)
    assert (told["how"], told["why_not_bulk"]) == ("rest", "HTTP 404")
    assert "candidates are searched for instead" in err
    landed = json.loads((command.workspace / "landing" / "manifest.json").read_bytes())
    assert landed["asked"]["kind"] == "rest"
    assert "EXPORT_REFUSED" in {issue["code"] for issue in landed["issues"]}


def test_since_last_fetches_changes_and_a_changed_group_everything(command: Command) -> None:
    server = command.server
    members = ["p1", "p2"]

    def group(request: Request) -> Answer:
        member = [{"entity": {"reference": f"Patient/{name}"}} for name in members]
        return Answer(200, json.dumps({"resourceType": "Group", "id": "g1", "member": member}).encode())

    server.on("GET", "/fhir/Group/g1", group)
    assert command.run("--group", "g1", "--since", "last")[0] == 0, "the first one is a full export"
    server.files = {"2.ndjson": ("Observation", ndjson(observation("o1", "p1", 9, "2")))}
    code, out, err = command.run("--group", "g1", "--since", "last")
    assert code == 0, err
    assert json.loads(out)["resources"] == 5
    members.append("p3")
    server.files = {
        "1.ndjson": ("Patient", ndjson(patient("p1"), patient("p2"), patient("p3"))),
        "2.ndjson": ("Observation", ndjson(observation("o1", "p1", 9, "2"))),
    }
    code, out, err = command.run("--group", "g1", "--since", "last")
    assert code == 0, err
    assert "members of the Group" in err
    assert json.loads(out)["resources"] == 4
    asked = server.asked("GET", "/fhir/Group/g1/$export")
    assert [one.query.get("_since") for one in asked] == [None, ["2026-11-01T08:00:00+08:00"], None]


def test_a_since_that_leaves_a_hole_is_refused(command: Command) -> None:
    assert command.run()[0] == 0
    code, _, err = command.run("--since", "2026-11-20T00:00:00+08:00")
    assert code == 78
    assert "would be missed" in err


def test_a_make_that_exports_groups_only_is_told_so(command: Command) -> None:
    """Epic: without a Group nothing is kicked off, and the reason says what to ask the hospital for."""
    server = command.server
    recorded = json.loads((ROOT / "tests" / "recorded" / "epic.json").read_text())
    body = json.dumps(recorded["statement"]).encode()
    server.on("GET", "/fhir/metadata", Answer(200, body, {"Content-Type": "application/fhir+json"}))
    _, _, err = command.run()
    assert "exports Groups only" in err
    assert server.jobs == 0
    assert command.run("--group", "g1")[0] == 0
    assert server.jobs == 1
