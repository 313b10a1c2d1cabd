"""Brings a database to the tables of this version, whatever version it comes from.

Migrations lie beside this file, inside the package, in one line: ``versions/0001_*.py``, ``0002_*.py`` ...
The whole way up is one transaction with nobody beside it: it happens once and wholly, or not at all.
"""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Connection, Engine, inspect, text

from adapter.errors import ConfigError

FOLDER = Path(__file__).resolve().parent / "migrations"
_LOCK = 7_031_864_250  # any number that is ours alone among PostgreSQL's advisory locks


def revisions() -> tuple[str, ...]:
    """All revisions in order; the last is the head."""
    return tuple(sorted(path.name.partition("_")[0] for path in (FOLDER / "versions").glob("[0-9]*_*.py")))


def revision_of(connection: Connection) -> str:
    """An empty text for an empty database, and for one that an early version made without numbering it."""
    if not inspect(connection).has_table("alembic_version"):
        return ""
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar() or ""


def bring_to_head(engine: Engine) -> None:
    """Run the migrations that are missing. Raises :class:`ConfigError` for a database of a newer version."""
    known = revisions()
    with engine.connect().execution_options(deferred=True) as connection:
        found = revision_of(connection)
    if found == known[-1]:
        return
    with engine.begin() as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
        found = revision_of(connection)
        if found and found not in known:
            raise ConfigError(
                f"the database is of a newer version of this program (tables {found}, known {known[-1]})",
                where=engine.url.database or "",
                fix="install that version or a later one; an older one must not write here",
            )
        if found != known[-1]:
            migrate(connection, known[-1])


def migrate(connection: Connection, revision: str) -> None:
    """Up to ``revision`` within the caller's transaction."""
    from alembic import command  # a third of a second, needed once in a database's life
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(FOLDER).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    command.upgrade(config, revision)
