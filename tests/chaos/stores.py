"""The adapter's database of a schedule: a SQLite file in its folder, or a database of a PostgreSQL server."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import psycopg
from sqlalchemy import make_url

from adapter.store.database import open_database
from tests.chaos.schedule import LOCKED

TEMPLATE = "chaos_template"


class Stores:
    """Makes empty databases, all from one whose tables are there; ``postgres`` is a server's URL or ""."""

    def __init__(self, folder: Path, postgres: str = "") -> None:
        self._template = folder / "template.sqlite"
        self._postgres = postgres
        open_database(self._template).dispose()
        if postgres:
            self._tell(f"DROP DATABASE IF EXISTS {TEMPLATE}", f"CREATE DATABASE {TEMPLATE}")
            open_database(self._url(TEMPLATE)).dispose()

    async def sqlite(self, path: Path) -> SqliteStore:
        await asyncio.to_thread(shutil.copy, self._template, path)
        return SqliteStore(path)

    async def postgresql(self, key: str) -> PostgresStore:
        name = f"chaos_{key}"
        await asyncio.to_thread(self._tell, f"CREATE DATABASE {name} TEMPLATE {TEMPLATE}")
        return PostgresStore(self._url(name), name, self)

    @property
    def has_postgresql(self) -> bool:
        return bool(self._postgres)

    def _tell(self, *statements: str) -> None:
        with psycopg.connect(self._postgres, autocommit=True) as server:
            for statement in statements:
                server.execute(statement.encode())

    def _url(self, name: str) -> str:
        return make_url(self._postgres).set(database=name).render_as_string(hide_password=False)


class SqliteStore:
    def __init__(self, path: Path) -> None:
        self.where: Path | str = path
        self.words = {"database locked": "database locked", LOCKED: LOCKED}

    @contextlib.contextmanager
    def withheld(self, how: str) -> Iterator[None]:
        """Another process at the database: for a moment, or for as long as this lasts."""
        if not how:
            yield
            return
        held = sqlite3.connect(self.where, isolation_level=None, timeout=30)
        held.execute("BEGIN IMMEDIATE")
        if how != LOCKED:
            asyncio.get_running_loop().call_later(0.4, held.close)
        try:
            yield
        finally:
            held.close()

    async def forget(self) -> None:
        return None


class PostgresStore:
    def __init__(self, url: str, name: str, stores: Stores) -> None:
        self.where: Path | str = url
        self._name = name
        self._stores = stores
        self.words = {"database locked": "connections cut", LOCKED: "no connections"}

    @contextlib.contextmanager
    def withheld(self, how: str) -> Iterator[None]:
        """All connections ended once, soon; or none taken for as long as this lasts."""
        cut = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{self._name}'"  # noqa: S608
        if how == LOCKED:
            self._stores._tell(f"ALTER DATABASE {self._name} ALLOW_CONNECTIONS false", cut)
        elif how:
            asyncio.get_running_loop().call_later(0.15, self._stores._tell, cut)
        try:
            yield
        finally:
            if how == LOCKED:
                self._stores._tell(f"ALTER DATABASE {self._name} ALLOW_CONNECTIONS true")

    async def forget(self) -> None:
        await asyncio.to_thread(self._stores._tell, f"DROP DATABASE {self._name} WITH (FORCE)")


Store = SqliteStore | PostgresStore
