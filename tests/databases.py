"""Fixtures: the databases the store is tested on, SQLite and a PostgreSQL server of our own."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import Engine, make_url

from adapter.store.database import open_database
from tests.servers import postgres
from tests.servers.process import ServerUnavailable


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """URL of a PostgreSQL cluster of our own, started at first use and shared by the whole session.

    Where there is no server to start the test is skipped; under CI=true that is a failure.
    """
    try:
        postgres.programs()
    except ServerUnavailable as reason:
        if os.environ.get("CI") == "true":
            pytest.fail(f"CI requires a real PostgreSQL server: {reason}", pytrace=False)
        pytest.skip(f"no PostgreSQL server: {reason}")
    with postgres.running() as url:
        yield url


@pytest.fixture
def postgres_database(postgres_url: str) -> Iterator[str]:
    """URL of an empty PostgreSQL database of this test's own."""
    name = f"t{uuid.uuid4().hex}"
    with psycopg.connect(postgres_url, autocommit=True) as server:
        server.execute(f"CREATE DATABASE {name}")
        yield make_url(postgres_url).set(database=name).render_as_string(hide_password=False)
        server.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(params=["sqlite", "postgresql"])
def where(request: pytest.FixtureRequest, tmp_path: Path) -> Path | str:
    """An empty place for a database, once of each kind: what uses it is tested on both."""
    if request.param == "sqlite":
        return tmp_path / "adapter.sqlite"
    return str(request.getfixturevalue("postgres_database"))


@pytest.fixture
def database(where: Path | str) -> Iterator[Engine]:
    """A database of either kind, opened, its tables made."""
    engine = open_database(where)
    yield engine
    engine.dispose()
