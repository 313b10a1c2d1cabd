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


@pytest.fixture(scope="module")
def spark(spark_is_there: None) -> Iterator[Any]:
    import pyspark

    settings = {"spark.speculation": "true", "spark.speculation.multiplier": "1.1"}
    with running("local-cluster[2,1,1024]", **settings) as session:
        application = session.sparkContext.applicationId
        yield session
    shutil.rmtree(Path(pyspark.__file__).parent / "work" / application, ignore_errors=True)


def test_a_killed_worker_and_a_killed_executor_change_no_byte(spark: Any, tmp_path: Path) -> None:
    trial, workspace = landed(tmp_path)
    expected = locally(trial, workspace)
    killed: list[str] = []

    def progress(message: str) -> None:
        if message.startswith("reading"):
            threading.Thread(target=_kill_when_busy, args=(spark, "pyspark.daemon", killed)).start()
        elif message.startswith("judging"):
            threading.Thread(target=_kill_when_busy, args=(spark, _EXECUTOR, killed)).start()

    done = engine.screen(spark, task_of(trial, workspace), sizes=Sizes(3 * MIB, MIB), progress=progress)
    assert killed == ["pyspark.daemon", _EXECUTOR]
    assert differing(files(workspace), expected) == []
    assert done.sifted.balanced


_EXECUTOR = "CoarseGrainedExecutorBackend"


def _kill_when_busy(spark: Any, name: str, killed: list[str]) -> None:
    """SIGKILL one process of an executor while a task is running."""
    tracker = spark.sparkContext.statusTracker()
    until = time.monotonic() + 60
    while time.monotonic() < until:
        stages = [tracker.getStageInfo(one) for one in tracker.getActiveStageIds()]
        if any(one is not None and one.numActiveTasks for one in stages):
            found = _below(spark.sparkContext._gateway.proc.pid, name)
            if found:
                os.kill(found[-1], signal.SIGKILL)
                killed.append(name)
                return
        time.sleep(0.01)


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
