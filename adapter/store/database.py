"""Where the adapter remembers: a SQLite file, or PostgreSQL where a site runs one.

SQLite keeps a write-ahead log and has every commit on disk before it is acknowledged. PostgreSQL is spoken to
by psycopg 3. Opening brings the tables to this version's state (:mod:`adapter.store.migrate`). What a
database answers never quotes parameters or a password.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.exc import ArgumentError, DBAPIError, InterfaceError, OperationalError

from adapter.errors import AdapterError, ConfigError, StoreUnavailable
from adapter.store.migrate import bring_to_head

BUSY_SECONDS = 30
_SCHEMES = {
    "sqlite": "sqlite",
    "postgres": "postgresql+psycopg",
    "postgresql": "postgresql+psycopg",
    "postgresql+psycopg": "postgresql+psycopg",
}
# https://www.sqlite.org/rescode.html: a site can do something about these, and then run the command again.
_PASSING = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR}
_BROKEN = {sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
# https://www.postgresql.org/docs/current/errcodes-appendix.html: connection, rollback, resources,
# intervention, system error; and lock not available.
_PASSING_CLASSES = ("08", "40", "53", "57", "58", "55P03")


def open_database(where: Path | str, *, busy_seconds: float = BUSY_SECONDS) -> Engine:
    """An engine on a SQLite file (made if missing, for this user only) or a URL, its tables up to date.

    URLs: ``sqlite:///file``, ``postgresql://user:password@host/name``. Raises :class:`ConfigError` for a
    place that cannot be used, :class:`StoreUnavailable` for one that cannot be reached now.
    """
    url = _url(where)
    engine = _sqlite(url, busy_seconds) if url.drivername == "sqlite" else _postgresql(url, busy_seconds)
    event.listen(engine, "handle_error", _translate)
    try:
        bring_to_head(engine)
    except AdapterError:
        engine.dispose()
        raise
    except DBAPIError as fault:
        engine.dispose()
        raise _as_ours(fault, url) or ConfigError(
            f"the database cannot be used: {_said(fault, url)}",
            where=place(url),
            fix="see that the address is right, the database exists and its user may create tables",
        ) from None
    return engine


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """One consistent view of everything committed so far; it holds no writer up."""
    with engine.connect() as connection:
        if connection.dialect.name == "sqlite":
            connection = connection.execution_options(deferred=True)
        else:
            connection = connection.execution_options(isolation_level="REPEATABLE READ")
        with connection.begin():
            yield connection


def only_writer(connection: Connection, name: str) -> None:
    """Wait until nobody else is the only writer of ``name``; it is given back when the transaction ends.

    In SQLite a transaction excludes every other writer from its start.
    """
    if connection.dialect.name == "postgresql":
        key = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], signed=True)
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": key})


def place(url: URL) -> str:
    """The address without user or password."""
    if url.drivername == "sqlite":
        return url.database or ""
    return f"{url.get_backend_name()}://{url.host or ''}{f':{url.port}' if url.port else ''}/{url.database}"


def _url(where: Path | str) -> URL:
    if isinstance(where, Path) or "://" not in where:
        return URL.create("sqlite", database=str(where))
    fix = "write postgresql://user:password@host/database, or sqlite:///file"
    try:
        url = make_url(where)
    except (ArgumentError, ValueError):
        raise ConfigError("the database's address cannot be read", where="database", fix=fix) from None
    if url.drivername not in _SCHEMES:
        raise ConfigError(f"{url.drivername!r} is no database we know", where="database", fix=fix)
    if not url.database or url.database == ":memory:":
        raise ConfigError("the database's address names no database", where="database", fix=fix)
    return url.set(drivername=_SCHEMES[url.drivername])


def _sqlite(url: URL, busy_seconds: float) -> Engine:
    path = Path(url.database or "")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    except OSError as fault:
        raise ConfigError(
            f"the database cannot be opened ({fault.strerror})",
            where=str(path),
            fix="choose a workspace this user may write to",
        ) from fault
    engine = create_engine(url, connect_args={"timeout": busy_seconds}, hide_parameters=True)

    def configure(connection: sqlite3.Connection, _record: Any) -> None:
        connection.isolation_level = None  # the driver's own implicit BEGIN is deferred; see _begin
        _write_ahead(connection, busy_seconds)
        for pragma in ("synchronous=FULL", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}")

    event.listen(engine, "connect", configure)
    event.listen(engine, "begin", _begin)
    return engine


def _write_ahead(connection: sqlite3.Connection, busy_seconds: float) -> None:
    """Two who make the same new file at once: SQLite does not wait for the change of mode, so we do."""
    until = time.monotonic() + busy_seconds
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as fault:
            if fault.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > until:
                raise
            time.sleep(0.02)


def _begin(connection: Connection) -> None:
    # A deferred transaction that reads first cannot always become a writer (SQLITE_BUSY_SNAPSHOT).
    deferred = connection.get_execution_options().get("deferred", False)
    connection.exec_driver_sql("BEGIN DEFERRED" if deferred else "BEGIN IMMEDIATE")


def _postgresql(url: URL, busy_seconds: float) -> Engine:
    waits = f"-c lock_timeout={int(busy_seconds * 1000)} -c synchronous_commit=on"
    try:
        return create_engine(
            url,
            connect_args={"connect_timeout": 10, "options": waits, "application_name": "trial-fhir-adapter"},
            hide_parameters=True,
            pool_pre_ping=True,
        )
    except ModuleNotFoundError:
        raise ConfigError(
            "the driver for PostgreSQL is not installed",
            where="psycopg",
            fix="pip install 'trial-fhir-adapter[postgres]'",
        ) from None


def _translate(context: ExceptionContext) -> None:
    fault = context.sqlalchemy_exception
    if context.engine is not None and isinstance(fault, DBAPIError):
        ours = _as_ours(fault, context.engine.url)
        if ours is not None:
            raise ours from None


def _as_ours(fault: DBAPIError, url: URL) -> AdapterError | None:
    """The fault as one of ours if it is the database that fails and not what we asked of it."""
    if not isinstance(fault, OperationalError | InterfaceError):
        return None
    said, at = _said(fault, url), place(url)
    if isinstance(fault.orig, sqlite3.Error):
        code = getattr(fault.orig, "sqlite_errorcode", 0)
        if code & 0xFF in _BROKEN:
            return ConfigError(f"the database cannot be used: {said}", where=at, fix="restore it from a copy")
        passing = code & 0xFF in _PASSING
    else:
        state = getattr(fault.orig, "sqlstate", None)
        passing = state is None or state.startswith(_PASSING_CLASSES)
    if not passing:
        return None
    return StoreUnavailable(
        f"the database cannot be reached or written now: {said}",
        where=at,
        fix="see that it runs, lets this user in, and that its disk is not full; then run again",
    )


def _said(fault: DBAPIError, url: URL) -> str:
    said = " ".join(str(fault.orig).split())
    password = url.password
    if password:
        for form in {str(password), quote(str(password), safe=""), quote_plus(str(password))}:
            said = said.replace(form, "***")
    return said
