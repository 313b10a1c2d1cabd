"""A monitoring that is killed goes on where it stopped; readers find the one before or the one after; who
nothing changed for is not judged again."""

from __future__ import annotations

import json
import os
import shutil
import signal
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from adapter import monitoring, pipeline, protocol
from adapter.demo import hospital
from adapter.errors import ConfigError, WorkerLost
from adapter.monitoring import Done, run
from adapter.screening.parallel.pool import Pool
from adapter.source import generations
from adapter.trial import Workspace, open_trial

TRIAL = open_trial()
DAY = date(2019, 6, 3)
NOW = datetime(2019, 6, 3, 9, tzinfo=UTC)
ENROLLED = 22  # of the planted hospital, as tests/spec/test_monitor_command.py counts them


@pytest.fixture(scope="module")
def screened(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    root = tmp_path_factory.mktemp("screened")
    made = hospital.generate(root / "hospital" / "fhir", patients=92)
    workspace = Workspace(root / "work", embedded=True)
    pipeline.land(made.folder, workspace, now=NOW)
    pipeline.screen(TRIAL, workspace, as_of=DAY)
    monitoring.monitor(TRIAL, workspace, as_of=DAY, workers=1)
    return workspace


@pytest.fixture
def workspace(screened: Workspace, tmp_path: Path) -> Workspace:
    shutil.copytree(screened.screening, tmp_path / "work" / "screening")
    return Workspace(tmp_path / "work", embedded=True)


@pytest.fixture
def judged(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Whom this process judged."""
    seen: list[str] = []
    real = protocol.monitor

    def counted(rules: Any, facts: Any, **more: Any) -> Any:
        seen.append(facts.subjects[0].id)
        return real(rules, facts, **more)

    monkeypatch.setattr(run.protocol, "monitor", counted)
    monkeypatch.setattr(run, "_PEOPLE_A_STEP", 3)
    return seen


def follow(workspace: Workspace, day: date = DAY, **more: Any) -> monitoring.MonitoringReport:
    return monitoring.monitor(TRIAL, workspace, as_of=day, workers=1, **more)


def left(workspace: Workspace) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in workspace.monitoring.iterdir()}


def killed_after(people: int, workspace: Workspace) -> bool:
    child = os.fork()
    if child == 0:

        def told(done: Done) -> None:
            if done.people >= people:
                os.kill(os.getpid(), signal.SIGKILL)

        try:
            follow(workspace, told=told)
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status)


def drafts(workspace: Workspace) -> list[Path]:
    return sorted(workspace.root.glob(".monitoring*"))


def test_what_was_finished_is_not_done_again(
    workspace: Workspace, screened: Workspace, judged: list[str]
) -> None:
    assert killed_after(6, workspace)
    assert killed_after(12, workspace)
    assert not workspace.monitoring.exists()
    assert monitoring.read_monitoring(workspace) is None
    follow(workspace)
    assert len(judged) == ENROLLED - 12
    assert left(workspace) == left(screened)
    assert not drafts(workspace)


@pytest.mark.parametrize("torn", [0, 1, 70, 100])
def test_of_what_was_half_written_nothing_is_taken(
    workspace: Workspace, screened: Workspace, judged: list[str], torn: int
) -> None:
    """The machine stopped: the end of either file is missing, or is another's bytes."""
    assert killed_after(6, workspace)
    [draft] = drafts(workspace)
    for name in ("basis.ndjson", "monitoring.ndjson"):
        data = (draft / name).read_bytes()
        (draft / name).write_bytes(data[: len(data) - torn - 2] + b"\0" * torn)
    follow(workspace)
    assert len(judged) == ENROLLED - 5
    assert left(workspace) == left(screened)


def test_who_nothing_changed_for_is_not_judged_again(
    workspace: Workspace, screened: Workspace, judged: list[str]
) -> None:
    follow(workspace)
    assert len(judged) == ENROLLED
    judged.clear()
    assert follow(workspace).people == ENROLLED
    assert not judged
    assert left(workspace) == left(screened)
    follow(workspace, full=True)
    assert len(judged) == ENROLLED
    assert left(workspace) == left(screened)


def altered(workspace: Workspace, table: str, change: Callable[[dict[str, Any]], None]) -> str:
    """Whose row was changed: the first of the table that is of somebody on the study."""
    path = workspace.screening / "facts" / f"{table}.ndjson"
    lines = path.read_bytes().splitlines(keepends=True)
    on_study = {row.subject for row in monitoring.read_monitoring(workspace).rows}  # type: ignore[union-attr]
    for number, line in enumerate(lines):
        row = json.loads(line)
        if row.get("subject", row.get("id")) in on_study:
            change(row)
            lines[number] = msgspec.json.encode(row) + b"\n"
            path.write_bytes(b"".join(lines))
            return str(row.get("subject", row.get("id")))
    raise AssertionError("nobody on the study has a row")


def test_whom_a_change_touches_is_judged_and_nobody_else(workspace: Workspace, judged: list[str]) -> None:
    follow(workspace)

    def excluded(row: dict[str, Any]) -> None:
        row["excluded"] = "ENTERED_IN_ERROR"

    def male(row: dict[str, Any]) -> None:
        row["sex"] = "male" if row["sex"] == "female" else "female"

    for table, change in (("findings", excluded), ("events", excluded), ("subjects", male)):
        judged.clear()
        before = left(workspace)
        name = altered(workspace, table, change)
        follow(workspace)
        assert judged == [name]
        again = left(workspace)
        assert again["basis.ndjson"] != before["basis.ndjson"]
        follow(workspace, full=True)
        assert left(workspace) == again


def test_a_person_who_left_the_study_or_came_to_it_is_no_bar_to_the_others(
    workspace: Workspace, judged: list[str]
) -> None:
    follow(workspace)
    judged.clear()
    gone = altered(workspace, "subjects", lambda row: None)
    path = workspace.screening / "facts" / "events.ndjson"
    whole = path.read_bytes()
    own = [
        line
        for line in whole.splitlines(keepends=True)
        if not (b'"research_subject"' in line and line.startswith(f'{{"subject":"{gone}"'.encode()))
    ]
    path.write_bytes(b"".join(own))
    assert follow(workspace).people == ENROLLED - 1
    assert not judged
    path.write_bytes(whole)
    assert follow(workspace).people == ENROLLED
    assert judged == [gone]


def test_another_day_other_rules_or_another_program_judge_everybody(
    workspace: Workspace, judged: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def everybody(trial: Any = TRIAL, day: date = DAY) -> bool:
        judged.clear()
        monitoring.monitor(trial, workspace, as_of=day, workers=1)
        return len(judged) == ENROLLED

    assert everybody()
    assert not everybody()
    assert everybody(day=DAY + timedelta(days=1))
    newer = msgspec.structs.replace(TRIAL.protocol, version="another")
    assert everybody(TRIAL._replace(protocol=newer), DAY + timedelta(days=1))
    assert everybody()
    monkeypatch.setattr(run, "software_sha256", lambda: "another")
    assert everybody()
    monkeypatch.setattr(run, "load_ladders", lambda *_: ())
    assert everybody()


def test_coverage_that_changed_counts_as_a_change(workspace: Workspace, judged: list[str]) -> None:
    follow(workspace)
    judged.clear()
    path = workspace.screening / "facts" / "coverage.ndjson"
    rows = [json.loads(line) for line in path.read_bytes().splitlines()]
    rows[0]["end"] = "2019-05-01"
    path.write_bytes(b"".join(msgspec.json.encode(row) + b"\n" for row in rows))
    follow(workspace)
    assert len(judged) == (1 if rows[0]["subject"] else ENROLLED)


def test_a_row_that_was_altered_on_disk_is_not_believed(
    workspace: Workspace, screened: Workspace, judged: list[str]
) -> None:
    follow(workspace)
    judged.clear()
    path = workspace.monitoring / "monitoring.ndjson"
    path.write_bytes(path.read_bytes().replace(b'"verdict":"met"', b'"verdict":"MET"', 1))
    follow(workspace)
    assert len(judged) == 1
    assert left(workspace) == left(screened)


def test_steps_that_end_in_another_order_leave_the_same_bytes(
    workspace: Workspace, screened: Workspace, judged: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def backwards(self: Pool, step: Any, arguments: Any, seconds: float) -> Iterator[tuple[int, Any]]:
        yield from reversed([(number, step(*one)) for number, one in enumerate(arguments)])

    monkeypatch.setattr(Pool, "each", backwards)
    follow(workspace)
    assert left(workspace) == left(screened)


def test_two_processes_leave_the_same_bytes_also_after_a_kill(
    workspace: Workspace, screened: Workspace, judged: list[str]
) -> None:
    assert killed_after(9, workspace)
    monitoring.monitor(TRIAL, workspace, as_of=DAY, workers=2)
    assert left(workspace) == left(screened)


def test_a_worker_that_dies_is_a_fault_to_retry(
    workspace: Workspace, screened: Workspace, judged: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[Any] = []
    start = Pool._start
    monkeypatch.setattr(Pool, "_start", lambda self: started.append(start(self)) or started[-1])

    def told(done: Done) -> None:
        for process in started[0]._processes.values():
            os.kill(process.pid, signal.SIGKILL)

    with pytest.raises(WorkerLost, match="run adapter monitor again"):
        monitoring.monitor(TRIAL, workspace, as_of=DAY, workers=2, told=told)
    assert not workspace.monitoring.exists()
    monkeypatch.undo()
    follow(workspace)
    assert left(workspace) == left(screened)


def test_rows_out_of_order_are_refused(workspace: Workspace) -> None:
    path = workspace.screening / "facts" / "findings.ndjson"
    lines = path.read_bytes().splitlines(keepends=True)
    for place in (0, len(lines) // 2, len(lines) - 1):
        one = lines[place]
        elsewhere = [*lines[:place], *lines[place + 1 :]]
        elsewhere.insert(0 if place else len(elsewhere), one)
        path.write_bytes(b"".join(elsewhere))
        with pytest.raises(ConfigError):
            follow(workspace)
        assert not workspace.monitoring.exists()


@pytest.mark.parametrize("at_once", [True, False])
def test_a_reader_finds_the_one_before_or_the_one_after(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, at_once: bool
) -> None:
    if at_once and not generations.exchanges(workspace.root):
        pytest.skip("this file system cannot exchange two folders in one step")
    if not at_once:
        monkeypatch.setattr(generations, "_exchanged", lambda *_: False)
    days = [DAY, DAY + timedelta(days=1)]
    follow(workspace)
    ended = threading.Event()
    seen: list[str] = []

    def reading() -> None:
        while not ended.is_set():
            try:
                found = monitoring.read_monitoring(workspace)
            except ConfigError as fault:
                seen.append(str(fault))
                return
            if found is None:
                seen.append("none")
                continue
            whole = {row.as_of for row in found.rows} == {found.results.as_of} and len(found.rows) == ENROLLED
            seen.append("whole" if whole else "half")

    reader = threading.Thread(target=reading)
    reader.start()
    try:
        kept = {day: workspace.root / f"kept-{day}" for day in days}
        for day in days:
            follow(workspace, day)
            shutil.copytree(workspace.monitoring, kept[day])
        for turn in range(200):
            draft = workspace.root / f".monitoring.partial-{turn}x"
            shutil.copytree(kept[days[turn % 2]], draft)
            generations.take_place(draft, workspace.monitoring)
    finally:
        ended.set()
        reader.join()
    assert {"whole"} <= {*seen} <= ({"whole"} if at_once else {"whole", "none"})
