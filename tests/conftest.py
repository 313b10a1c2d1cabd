"""Fixtures shared by all tests: the real servers."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.servers import hapi


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what needs HAPI by what it asks for; under ``xdist --dist loadgroup`` it shares one server."""
    for item in items:
        if "hapi_base_url" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.hapi)
            item.add_marker(pytest.mark.xdist_group(name="hapi"))


@pytest.fixture(scope="session")
def hapi_base_url() -> Iterator[str]:
    """Base URL of a real HAPI FHIR R4 server, started at first use and shared by the whole session.

    Its database starts empty but is shared: a test makes its own ids and never counts all of a type.
    Where HAPI cannot be had the test is skipped; under CI=true that is a failure.
    """
    try:
        hapi.prefetch()
    except hapi.HapiUnavailable as reason:
        if os.environ.get("CI") == "true":
            pytest.fail(f"CI requires a real HAPI server: {reason}", pytrace=False)
        pytest.skip(f"no HAPI server: {reason}")
    with hapi.running() as base_url:
        yield base_url
