"""Spark on two cores leaves the bytes that a local run leaves, and tells nothing to its logs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from adapter.cluster import engine
from adapter.cluster.engine import Sizes
from adapter.pipeline import Workspace
from adapter.trial import Trial
from tests.cluster.conftest import running
from tests.cluster.hospital import differing, files, landed, locally, task_of

pytestmark = pytest.mark.xdist_group("spark")
MIB = 2**20


@pytest.fixture(scope="module")
def spark() -> Iterator[Any]:
    with running("local[2]") as session:
        yield session


@pytest.fixture(scope="module")
def bad(tmp_path_factory: pytest.TempPathFactory) -> tuple[Trial, Workspace, dict[str, bytes]]:
    """The worst hospital, and what a local run makes of it."""
    trial, workspace = landed(tmp_path_factory.mktemp("bad"))
    return trial, workspace, locally(trial, workspace)


@pytest.mark.parametrize(("read", "unit"), [(3 * MIB, MIB)])
def test_verdicts_evidence_and_accounts_are_those_of_a_local_run(
    spark: Any, bad: tuple[Trial, Workspace, dict[str, bytes]], read: int, unit: int
) -> None:
    trial, workspace, expected = bad
    done = engine.screen(spark, task_of(trial, workspace), sizes=Sizes(read, unit))
    assert differing(files(workspace), expected) == []
    assert done.sifted.balanced
    assert done.decisions
