"""Spark on two cores leaves the bytes that a local run leaves, and no record in the clear on its disks."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from adapter import attestations
from adapter.cluster import engine
from adapter.cluster.engine import Sizes
from adapter.pipeline import Workspace
from adapter.screening import read_screening
from adapter.trial import Trial, open_store
from tests.cluster.conftest import running
from tests.cluster.hospital import differing, files, landed, locally, task_of

pytestmark = pytest.mark.xdist_group("spark")
MIB = 2**20
NOW = datetime(2019, 6, 3, 12, tzinfo=UTC)


class Cluster(NamedTuple):
    spark: Any
    disk: Path


@pytest.fixture(scope="module")
def cluster(spark_is_there: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    disk = tmp_path_factory.mktemp("disk")
    with running("local[2]", **{"spark.local.dir": str(disk)}) as spark:
        yield Cluster(spark, disk)


def answered(trial: Trial, workspace: Workspace) -> None:
    """Somebody screened before is answered for on our own pages, and somebody nobody knows."""
    item = {"linkId": "ulcer", "answer": [{"valueCoding": {"system": "urn:x", "code": "none"}}]}
    for subject in (read_screening(workspace).decisions[0].subject, "nobody"):
        made = attestations.response(
            trial.protocol.questionnaire, subject, [item], authored="2019-06-01", author="dr-li"
        )
        with open_store(workspace, NOW) as database:
            attestations.record(database, made, "dr-li", NOW)


def test_verdicts_evidence_and_accounts_are_those_of_a_local_run(cluster: Cluster, tmp_path: Path) -> None:
    trial, workspace = landed(tmp_path)
    locally(trial, workspace)
    answered(trial, workspace)
    expected = locally(trial, workspace)
    in_the_clear: list[str] = []
    on_disk: list[int] = []

    def progress(message: str) -> None:
        if message.startswith(("judging", "writing")):
            for path in (path for path in cluster.disk.rglob("*") if path.is_file()):
                data = path.read_bytes()
                on_disk.append(len(data))
                if b"Patient/" in data or b"CANARY" in data:
                    in_the_clear.append(path.name)

    done = engine.screen(
        cluster.spark, task_of(trial, workspace), sizes=Sizes(3 * MIB, MIB), progress=progress
    )
    assert differing(files(workspace), expected) == []
    assert done.sifted.balanced
    assert len(done.decisions) > 90
    assert sum(on_disk) > MIB
    assert in_the_clear == []
