"""A screening that is killed goes on where it stopped, and its memory does not grow with the data."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec
import pytest

from adapter import screening
from adapter.demo.hospital import PLANTED, everyone
from adapter.errors import WorkerLost
from adapter.screening import Cut, Step
from adapter.screening.parallel import judging, verdicts, work
from adapter.screening.parallel.parts import account_of
from adapter.screening.parallel.pool import Pool
from adapter.source.landing import land_folder
from adapter.trial import Workspace, open_trial

TRIAL = open_trial()
AS_OF = date(2019, 6, 3)
NOW = datetime(2019, 6, 3, 12, tzinfo=UTC)
ENCODER = msgspec.json.Encoder(decimal_format="number")
CUT = Cut(range=60_000, batch=30_000)


def rows() -> Iterator[tuple[str, bytes]]:
    """A few of the synthetic hospital's people: type and line."""
    found = (chart for chart, truth in everyone(20190603, PLANTED) if truth)
    for chart in islice(found, 0, None, PLANTED // 8):
        for row in (*chart.rows, *chart.late):
            yield str(row["resourceType"]), ENCODER.encode(row)


def land(folder: Path, workspace: Workspace) -> None:
    folder.mkdir()
    for kind, line in rows():
        with (folder / f"{kind}.ndjson").open("ab") as out:
            out.write(line + b"\n")
    land_folder(folder, workspace.landing, now=NOW)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    made = Workspace(tmp_path / "workspace")
    land(tmp_path / "export", made)
    return made


def left(root: Path) -> dict[str, bytes]:
    return {
        path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()
    }


class Counted:
    """How often each piece of work was done in this process."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.times: Counter[str] = Counter()
        for room, name in ((work, "nominated"), (work, "dealt"), (judging, "judge")):
            patch.setattr(room, name, self._counting(name, getattr(room, name)))

    def _counting(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*arguments: Any) -> Any:
            self.times[name] += 1
            return real(*arguments)

        return counted


def finished(workspace: Workspace) -> Counter[str]:
    """What a killed run left whole."""
    folder = workspace.root / ".screening-work"
    return Counter(
        nominated=sum(".partial" not in path.name for path in folder.glob("candidates-*")),
        dealt=sum(account_of(path).parts > 0 for path in folder.glob("lines-*.part")),
        judge=sum(len(verdicts.contents_of(path).units) for path in folder.glob("judged-*.rows")),
    )


def screen(workspace: Workspace, **more: Any) -> screening.Screening:
    return screening.screen(TRIAL, workspace, as_of=AS_OF, cut=CUT, **more)


def killed_at(name: str, times: int, workspace: Workspace) -> bool:
    """Whether a run in a process of its own finished so much of a step, and was killed there."""
    child = os.fork()
    if child == 0:
        seen = 0

        def told(step: Step) -> None:
            nonlocal seen
            seen += step.name == name
            if seen > times:
                os.kill(os.getpid(), signal.SIGKILL)

        try:
            screen(workspace, workers=1, told=told)
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status)


def test_what_was_finished_is_not_done_again(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = Workspace(tmp_path / "whole")
    land_folder(tmp_path / "export", whole.landing, now=NOW)
    counted = Counted(monkeypatch)
    screen(whole, workers=1)
    everything = Counter(counted.times)
    assert min(everything.values()) >= 5
    for name, times in (("candidates", 0), ("candidates", 2), ("lines", 3), ("lines", 2), ("people", 2)):
        assert killed_at(name, times, workspace), "the run ended before it could be killed"
        done = finished(workspace)
        assert not workspace.screening.exists()
    assert done["judge"] > 0
    counted.times.clear()
    screen(workspace, workers=1)
    assert counted.times + done == everything
    assert left(workspace.screening) == left(whole.screening)
    assert not list((workspace.root / ".screening-work").glob("*.partial-*"))
    counted.times.clear()
    screen(workspace, workers=1)
    assert not +counted.times


def test_a_worker_that_dies_is_a_fault_to_retry(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[Any] = []
    start = Pool._start
    monkeypatch.setattr(Pool, "_start", lambda self: started.append(start(self)) or started[-1])

    def told(step: Step) -> None:
        if step.name == "lines" and step.done:
            for process in started[0]._processes.values():
                os.kill(process.pid, signal.SIGKILL)

    with pytest.raises(WorkerLost, match="run adapter screen again") as fault:
        screen(workspace, workers=2, told=told)
    assert fault.value.exit_code == 75
    monkeypatch.undo()
    whole = Workspace(tmp_path / "whole")
    land_folder(tmp_path / "export", whole.landing, now=NOW)
    screening.screen(TRIAL, whole, as_of=AS_OF)
    screen(workspace, workers=2)
    assert left(workspace.screening) == left(whole.screening)


def test_only_units_that_a_change_touches_are_judged_anew(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that comes beside those landed: only it is read, only whom it is about is judged."""
    counted = Counted(monkeypatch)
    screen(workspace, workers=1)
    before = Counter(counted.times)
    line = next(line for kind, line in rows() if kind == "Observation")
    row = msgspec.json.decode(line) | {"id": "another"}
    (tmp_path / "export" / "Observation.2.ndjson").write_bytes(json.dumps(row).encode() + b"\n")
    land_folder(tmp_path / "export", workspace.landing, now=NOW)
    counted.times.clear()
    screen(workspace, workers=1)
    assert counted.times == Counter(nominated=1, dealt=1, judge=1)
    assert before["judge"] > 5
    assert b"Observation/another" in (workspace.screening / "facts" / "findings.ndjson").read_bytes()


MEASURED = """
import sys
from adapter import screening
from adapter.screening.parallel.pool import Pool
from tests.faults.test_killed_screening import AS_OF, CUT, TRIAL, Workspace, Path

def peak(process):
    status = open(f"/proc/{process}/status").read()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))

end = Pool.__exit__
peaks = []
def measured(self, *fault):
    workers = self._processes._processes if self._processes else {}
    peaks.extend(peak(process) for process in ("self", *workers))
    return end(self, *fault)

if __name__ == "__main__":
    Pool.__exit__ = measured
    screening.screen(TRIAL, Workspace(Path(sys.argv[1])), as_of=AS_OF, cut=CUT, workers=int(sys.argv[2]))
    print(max(peaks))
"""


def populated(root: Path, times: int) -> Workspace:
    """The same people many times, under other ids."""
    people = list(rows())
    names = {msgspec.json.decode(line)["id"] for kind, line in people if kind == "Patient"}
    (root / "export").mkdir(parents=True)
    for kind in {kind for kind, _ in people}:
        with (root / "export" / f"{kind}.ndjson").open("wb") as out:
            for number in range(times):
                for own, line in people:
                    if own == kind:
                        for name in names:
                            line = line.replace(name.encode(), b"%sx%d" % (name.encode(), number))
                        out.write(line + b"\n")
    workspace = Workspace(root / "workspace")
    land_folder(root / "export", workspace.landing, now=NOW, copy=False)
    return workspace


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="VmHWM is told by Linux")
@pytest.mark.parametrize("workers", [1, 2])
def test_twice_the_data_needs_the_same_memory(tmp_path: Path, workers: int) -> None:
    """Everybody is a candidate: 6 MB more lines become 16 MB more rows, and several times that in memory."""
    script = tmp_path / "measured.py"
    script.write_text(MEASURED)
    peaks = []
    for times in (6, 18):
        made = populated(tmp_path / str(times), times)
        done = subprocess.run(
            [sys.executable, str(script), str(made.root), str(workers)],
            env={**os.environ, "PYTHONPATH": os.getcwd()},
            capture_output=True,
            text=True,
            check=True,
        )
        peaks.append(int(done.stdout.split()[-1]))
    assert peaks[1] - peaks[0] < 8_000, peaks
