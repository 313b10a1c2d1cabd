"""Spark on two cores leaves the bytes that a local run leaves, and no record in the clear on its disks."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from adapter import attestations
from adapter.cluster import engine, passes
from adapter.cluster.engine import Sizes
from adapter.pipeline import Workspace
from adapter.screening import read_screening, screen
from adapter.trial import Trial, open_store
from tests.cluster.conftest import running
from tests.cluster.hospital import (
    DAY,
    changed,
    copy_of,
    differing,
    files,
    landed,
    locally,
    skewed,
    task_of,
)

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


def test_verdicts_evidence_and_accounts_are_those_of_a_local_run(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
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

    judged: list[int] = []
    once = passes.judged
    monkeypatch.setattr(passes, "judged", lambda *given: judged.append(1) or once(*given))
    done = engine.screen(
        cluster.spark, task_of(trial, workspace), sizes=Sizes(3 * MIB, MIB), progress=progress
    )
    assert judged == [1], "what unreadable lines cost everybody is known before anybody is judged"
    assert differing(files(workspace), expected) == []
    assert done.sifted.balanced
    assert len(done.decisions) > 90
    assert sum(on_disk) > MIB
    assert in_the_clear == []


def test_a_screening_after_a_change_is_the_same_whoever_screened_before(
    cluster: Cluster, tmp_path: Path
) -> None:
    """Locally a former decision stands where nothing it rests on changed, on a cluster everybody is judged
    anew: neither leaves a trace, and either goes on from what the other left."""
    trial, workspace = landed(tmp_path)
    before = locally(trial, workspace)
    changed(tmp_path / "export", workspace)
    first, second = copy_of(workspace, tmp_path / "first"), copy_of(workspace, tmp_path / "second")

    here = screen(trial, first, as_of=DAY)
    assert 0 < here.reused < len(here.decisions)
    expected = files(first)
    assert {"decisions.ndjson", "facts/findings.ndjson"} <= set(differing(before, expected))

    engine.screen(cluster.spark, task_of(trial, second), sizes=Sizes(3 * MIB, MIB))
    assert differing(files(second), expected) == []

    again = screen(trial, second, as_of=DAY)
    assert again.reused == expected["basis.ndjson"].count(b"\n")
    assert differing(files(second), expected) == []


def test_a_skewed_person_is_judged_whole_and_changes_no_byte(cluster: Cluster, tmp_path: Path) -> None:
    """More than half of the lines kept are one candidate's: more than a row or several units hold."""
    trial, workspace = skewed(tmp_path, 8_000)
    expected = locally(trial, workspace)
    told: list[str] = []
    engine.screen(cluster.spark, task_of(trial, workspace), sizes=Sizes(MIB, MIB // 2), progress=told.append)
    assert differing(files(workspace), expected) == []
    lines, units = (int(word) for word in re.findall("[0-9]+", told[2]))
    assert (8_000 / lines > 0.5, units > 4) == (True, True)
