"""Two executors in processes of their own; a worker and an executor are killed in the middle, one task runs
twice, and nothing of it shows in what is left."""

from __future__ import annotations

import os
import shutil
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from adapter.cluster import engine
from adapter.cluster.engine import Sizes
from tests.cluster.conftest import running
from tests.cluster.hospital import differing, files, landed, locally, task_of

pytestmark = pytest.mark.xdist_group("spark")
MIB = 2**20
_CORES = 2


@pytest.fixture(scope="module")
def spark(spark_is_there: None) -> Iterator[Any]:
    import pyspark

    settings = {
        "spark.speculation": "true",
        "spark.speculation.multiplier": "1.1",
        "spark.shuffle.io.retryWait": "1s",  # what was lost stays lost
    }
    with running(f"local-cluster[{_CORES},1,1024]", **settings) as session:
        application = session.sparkContext.applicationId
        yield session
    shutil.rmtree(Path(pyspark.__file__).parent / "work" / application, ignore_errors=True)


def test_killed_workers_and_a_killed_executor_change_no_byte(spark: Any, tmp_path: Path) -> None:
    trial, workspace = landed(tmp_path)
    expected = locally(trial, workspace)
    killers: list[_Killer] = []
    troubles: list[set[tuple[int, int, int]]] = []

    def progress(message: str) -> None:
        if message.startswith("reading"):
            killers.append(_Killer(spark, "pyspark.daemon", many=True))
        elif message.startswith("judging"):
            troubles.append(_troubles(spark))
            killers.append(_Killer(spark, "CoarseGrainedExecutorBackend", many=False))

    done = engine.screen(spark, task_of(trial, workspace), sizes=Sizes(3 * MIB, MIB), progress=progress)
    troubles.append(_troubles(spark))
    assert [bool(one.killed()) for one in killers] == [True, True]
    while_dealing, by_the_end = troubles
    assert while_dealing
    assert by_the_end - while_dealing
    assert differing(files(workspace), expected) == []
    assert done.sifted.balanced


class _Killer:
    """SIGKILL to processes of executors, by their command line, once every core is busy: to one or to all."""

    def __init__(self, spark: Any, name: str, *, many: bool) -> None:
        self._spark, self._name, self._many = spark, name, many
        self._killed: list[int] = []
        self._thread = threading.Thread(target=self._when_busy)
        self._thread.start()

    def killed(self) -> list[int]:
        self._thread.join()
        return self._killed

    def _when_busy(self) -> None:
        tracker = self._spark.sparkContext.statusTracker()
        until = time.monotonic() + 60
        while time.monotonic() < until and not self._killed:
            stages = [tracker.getStageInfo(one) for one in tracker.getActiveStageIds()]
            if sum(one.numActiveTasks for one in stages if one is not None) >= _CORES:
                found = _below(self._spark.sparkContext._gateway.proc.pid, self._name)
                for process in found if self._many else found[-1:]:
                    os.kill(process, signal.SIGKILL)
                    self._killed.append(process)
            time.sleep(0.01)


def _troubles(spark: Any) -> set[tuple[int, int, int]]:
    """Stages so far that were attempted again, or of whose last attempt tasks failed, with both numbers; what
    Spark tells of a task comes a little later than the task."""
    time.sleep(1)
    tracker = spark.sparkContext.statusTracker()
    jobs = [tracker.getJobInfo(job) for job in tracker.getJobIdsForGroup(None)]
    stages = {stage for job in jobs if job is not None for stage in job.stageIds}
    found = (tracker.getStageInfo(stage) for stage in stages)
    numbers = {(one.stageId, one.currentAttemptId, one.numFailedTasks) for one in found if one is not None}
    return {one for one in numbers if any(one[1:])}


def _below(root: int, name: str) -> list[int]:
    """Processes started by this one's Spark, by what their command line holds; the last is the latest."""
    parents: dict[int, int] = {}
    lines: dict[int, str] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                lines[int(entry.name)] = (entry / "cmdline").read_bytes().decode(errors="replace")
            except (FileNotFoundError, ProcessLookupError):
                continue

    def is_below(number: int) -> bool:
        while number in parents:
            if number == root:
                return True
            number = parents[number]
        return False

    return sorted(one for one, line in lines.items() if name in line and is_below(one))
