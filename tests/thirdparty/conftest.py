"""Each package's data, generated, landed and mapped once."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from adapter import pipeline
from adapter.mappers import map_resources
from adapter.model.facts import Facts
from adapter.model.issue import Issue
from adapter.source.landing import Landing
from tests.thirdparty import packages

NOW = datetime(2026, 1, 1, tzinfo=UTC)
AS_OF = date(2025, 12, 31)


class Read(NamedTuple):
    """A package's resources as a plain walk sees them, and what the adapter made of them."""

    name: str
    rows: list[dict[str, Any]]
    distinct: list[dict[str, Any]]  # without lines that repeat another, byte for byte
    landing: Landing
    facts: Facts
    trial: pipeline.Trial

    @property
    def issues(self) -> tuple[Issue, ...]:
        return (*self.landing.issues, *self.facts.issues)


@pytest.fixture(scope="session")
def trial() -> pipeline.Trial:
    """The protocol at no particular site: no local codes, default time zone."""
    return pipeline.open_trial(site="")


def read(name: str, folder: Path, workspace: Path, trial: pipeline.Trial) -> Read:
    landing = pipeline.land(folder, pipeline.Workspace(workspace), now=NOW)
    facts = map_resources(
        landing.resources(), terminology=trial.terminology, zone=trial.site.zone, coverage=landing.coverage
    )
    raw = list(packages.lines(folder))
    rows = [packages.walked(line) for line in raw]
    distinct = [packages.walked(line) for line in dict.fromkeys(raw)]
    return Read(name, rows, distinct, landing, facts, trial)


@pytest.fixture(scope="session")
def clinosim_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return packages.clinosim(tmp_path_factory.mktemp("clinosim"))


@pytest.fixture(scope="session")
def carebundle_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return packages.carebundle(tmp_path_factory.mktemp("carebundle"))


@pytest.fixture(scope="session")
def synthea(tmp_path_factory: pytest.TempPathFactory, trial: pipeline.Trial) -> Read:
    home = tmp_path_factory.mktemp("synthea")
    return read("synthea", packages.synthea(home), home / "workspace", trial)


@pytest.fixture(scope="session")
def clinosim(tmp_path_factory: pytest.TempPathFactory, clinosim_folder: Path, trial: pipeline.Trial) -> Read:
    return read("clinosim", clinosim_folder, tmp_path_factory.mktemp("workspace") / "w", trial)


@pytest.fixture(scope="session")
def carebundle(
    tmp_path_factory: pytest.TempPathFactory, carebundle_folder: Path, trial: pipeline.Trial
) -> Read:
    home = tmp_path_factory.mktemp("carebundle-ndjson")
    folder = packages.unpacked(carebundle_folder, home / "ndjson")
    return read("carebundle", folder, home / "workspace", trial)


@pytest.fixture(params=["synthea", "clinosim", "carebundle"])
def package(request: pytest.FixtureRequest) -> Read:
    """Each package in turn."""
    found: Read = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def tolerance(record_property: Callable[[str, object], None]) -> Callable[[str, dict[str, int]], None]:
    """Show counts in the captured output and keep them in the test report."""

    def show(title: str, counts: dict[str, int]) -> None:
        print(f"\n{title}")
        for name, count in sorted(counts.items(), key=lambda item: (-item[1], item[0])):
            print(f"{count:8,}  {name}")
            record_property(f"{title}: {name}", count)

    return show
