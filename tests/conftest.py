"""Fixtures shared by all tests: the real servers."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import NamedTuple

import pytest

from tests.chaos.tally import summed, table
from tests.databases import database, postgres_database, postgres_url, where  # noqa: F401 - fixtures
from tests.servers import hapi, medplum, sekmet
from tests.servers.behaviour import HAPI, MEDPLUM, SEKMET, Behaviour
from tests.servers.process import ServerUnavailable

SERVERS = {"hapi": HAPI, "sekmet": SEKMET, "medplum": MEDPLUM}


class RealServer(NamedTuple):
    """One of the real servers: its base URL and what it does where servers differ."""

    name: str
    base_url: str
    does: Behaviour


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what needs a server by what it asks for; under ``xdist --dist loadgroup`` it shares one."""
    for item in items:
        asked = getattr(item, "fixturenames", ())
        parameters = getattr(getattr(item, "callspec", None), "params", {})
        for name in SERVERS:
            if f"{name}_base_url" in asked or name in parameters.values():
                item.add_marker(getattr(pytest.mark, name))
                item.add_marker(pytest.mark.xdist_group(name=name))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What tests counted is shown also where they passed; the parts of the chaos run as one table."""
    counted = [
        one
        for reports in terminalreporter.stats.values()
        for report in reports
        if getattr(report, "when", "") == "call"
        for one in report.user_properties
    ]
    for name, value in counted:
        if name == "counts":
            terminalreporter.write_line(str(value))
    if parts := [value for name, value in counted if name == "chaos"]:
        terminalreporter.write_line("\n".join(table(summed(parts))))


def _running(
    name: str, prefetch: Callable[[], object], running: Callable[[], AbstractContextManager[str]]
) -> Iterator[str]:
    """Started at first use and shared by the whole session; not to be had is a skip, under CI=true a failure.

    A server's database starts empty but is shared: a test makes its own ids and never counts all of a type.
    """
    try:
        prefetch()
    except ServerUnavailable as reason:
        if os.environ.get("CI") == "true":
            pytest.fail(f"CI requires a real {name} server: {reason}", pytrace=False)
        pytest.skip(f"no {name} server: {reason}")
    with running() as base_url:
        yield base_url


@pytest.fixture(scope="session")
def hapi_base_url() -> Iterator[str]:
    """A real HAPI FHIR R4 server."""
    yield from _running("HAPI", hapi.prefetch, hapi.running)


@pytest.fixture(scope="session")
def sekmet_base_url() -> Iterator[str]:
    """A real sekmet-fhir server."""
    yield from _running("sekmet-fhir", sekmet.prefetch, sekmet.running)


@pytest.fixture(scope="session")
def medplum_base_url() -> Iterator[str]:
    """Medplum's FHIR router on its MemoryRepository."""
    yield from _running("Medplum", medplum.prefetch, medplum.running)


@pytest.fixture(scope="session", params=list(SERVERS))
def server(request: pytest.FixtureRequest) -> RealServer:
    """Each of the real servers in turn."""
    base_url = request.getfixturevalue(f"{request.param}_base_url")
    return RealServer(request.param, base_url, SERVERS[request.param])
