"""A database comes to this version's tables from any earlier state, and no row is lost on the way."""

from __future__ import annotations

import importlib
import pkgutil
import sqlite3
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, inspect, text

import adapter.store
from adapter.errors import ConfigError
from adapter.store import audit
from adapter.store.adopt import adopt
from adapter.store.database import open_database, reading
from adapter.store.ledger import Intent, Ledger, Receipt, Written
from adapter.store.migrate import FOLDER, migrate, revision_of, revisions
from adapter.store.resources import ResourceStore
from adapter.store.tables import TABLES

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
SERVER = "https://hospital.example/fhir"

# What version 0.1.0 made with create_all, as `.schema` of such a file printed it.
EARLY_LEDGER = """
CREATE TABLE intent (server VARCHAR NOT NULL, reference VARCHAR NOT NULL, status VARCHAR NOT NULL,
    content_sha256 VARCHAR(64) NOT NULL, fingerprint VARCHAR NOT NULL, at VARCHAR NOT NULL,
    PRIMARY KEY (server, reference));
CREATE TABLE written (server VARCHAR NOT NULL, reference VARCHAR NOT NULL, version VARCHAR NOT NULL,
    status VARCHAR NOT NULL, content_sha256 VARCHAR(64) NOT NULL, fingerprint VARCHAR NOT NULL,
    at VARCHAR NOT NULL, PRIMARY KEY (server, reference));
CREATE TABLE receipt (number INTEGER NOT NULL, server VARCHAR NOT NULL, reference VARCHAR NOT NULL,
    version VARCHAR NOT NULL, subject VARCHAR NOT NULL, fingerprint VARCHAR NOT NULL, rung VARCHAR NOT NULL,
    at VARCHAR NOT NULL, PRIMARY KEY (number));
CREATE INDEX ix_receipt_reference ON receipt (reference);
CREATE INDEX ix_receipt_subject ON receipt (subject);
INSERT INTO intent VALUES ('https://hospital.example/fhir', 'Flag/f9', 'active', 'c', 'p', '2026-01-01');
INSERT INTO written VALUES ('https://hospital.example/fhir', 'Flag/f1', '2', 'active', 'c', 'p',
    '2026-01-01');
INSERT INTO receipt VALUES (3, 'https://hospital.example/fhir', 'Flag/f1', '1', 's1', 'p', 'ResearchSubject',
    '2026-01-01T00:00:00+00:00');
INSERT INTO receipt VALUES (7, 'https://hospital.example/fhir', 'Flag/f1', '2', 's1', 'q', 'ResearchSubject',
    '2026-01-02T00:00:00+00:00');
"""
EARLY_RESOURCES = """
CREATE TABLE resource_version (type VARCHAR NOT NULL, id VARCHAR NOT NULL, version INTEGER NOT NULL,
    body BLOB NOT NULL, PRIMARY KEY (type, id, version));
CREATE TABLE resource_current (type VARCHAR NOT NULL, id VARCHAR NOT NULL, version INTEGER NOT NULL,
    PRIMARY KEY (type, id));
CREATE TABLE resource_key (type VARCHAR NOT NULL, id VARCHAR NOT NULL, name VARCHAR NOT NULL,
    value VARCHAR NOT NULL, PRIMARY KEY (type, id, name, value));
CREATE INDEX ix_resource_key_value ON resource_key (value);
INSERT INTO resource_version VALUES ('Flag', 'f1', 1,
    CAST('{"resourceType":"Flag","id":"f1","x":8.000000000000000010}' AS BLOB));
INSERT INTO resource_current VALUES ('Flag', 'f1', 1);
INSERT INTO resource_key VALUES ('Flag', 'f1', 'patient', 'Patient/p1');
"""


def early(path: Path, script: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with sqlite3.connect(path) as old:
        old.execute("PRAGMA journal_mode=WAL")
        old.executescript(script)
    old.close()
    return path


def ledger_rows(engine: Engine) -> tuple[Any, ...]:
    ledger = Ledger(engine, SERVER)
    memory = ledger.recall()
    return (
        {key: (row.version, row.fingerprint) for key, row in memory.written.items()},
        set(memory.intents),
        [(row.version, row.fingerprint, row.at.day) for row in ledger.receipts()],
    )


LEDGER_ROWS = ({"Flag/f1": ("2", "p")}, {"Flag/f9"}, [("1", "p", 1), ("2", "q", 2)])


def flag(engine: Engine) -> Any:
    with ResourceStore(engine).view() as shelf:
        (found,) = shelf.search("Flag", {"patient": {"Patient/p1"}})
    return found["id"], str(found["x"])


def test_there_is_one_line_of_migrations() -> None:
    config = Config()
    config.set_main_option("script_location", str(FOLDER))
    config.set_main_option("path_separator", "os")
    scripts = list(ScriptDirectory.from_config(config).walk_revisions())[::-1]
    assert tuple(script.revision for script in scripts) == revisions()
    assert [script.down_revision for script in scripts] == [None, *revisions()[:-1]]
    assert all(Path(script.path).name.startswith(f"{script.revision}_") for script in scripts)


def test_migrations_make_the_tables_that_the_program_describes(database: Engine) -> None:
    for module in pkgutil.iter_modules(adapter.store.__path__):
        if module.name != "migrations":
            importlib.import_module(f"adapter.store.{module.name}")
    with reading(database) as connection:
        assert revision_of(connection) == revisions()[-1]
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, TABLES) == []


def test_opening_again_changes_nothing(where: Path | str) -> None:
    with_rows = Ledger(first := open_database(where), SERVER)
    with_rows.intend([Intent("Flag/f1", "active", "c", "p")], NOW)
    first.dispose()
    again = open_database(where)
    assert set(Ledger(again, SERVER).recall().intents) == {"Flag/f1"}
    again.dispose()


@pytest.mark.parametrize("name", revisions())
def test_up_from_every_version(where: Path | str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("adapter.store.database.bring_to_head", lambda engine: None)
        engine = open_database(where)
    with engine.begin() as connection:
        migrate(connection, name)
        assert revision_of(connection) == name
    engine.dispose()
    engine = open_database(where)
    with reading(engine) as connection:
        assert revision_of(connection) == revisions()[-1]
    engine.dispose()


def test_a_file_without_versions_is_adopted_where_it_is(tmp_path: Path) -> None:
    path = early(early(tmp_path / "old.sqlite", EARLY_LEDGER), EARLY_RESOURCES)
    engine = open_database(path)
    assert ledger_rows(engine) == LEDGER_ROWS
    assert flag(engine) == ("f1", "8.000000000000000010")
    Ledger(engine, SERVER).acknowledge(
        [Written("Flag/f9", "1", "active", "c", "p")],
        [Receipt("Flag/f9", "1", "s1", "p", "ResearchSubject", NOW)],
        NOW,
    )
    assert audit.verify(engine, ()).rows == 1
    engine.dispose()


def test_a_failed_migration_leaves_the_database_as_it_was(where: Path | str) -> None:
    engine = open_database(where)
    with engine.begin() as connection:
        connection.execute(text("DROP TABLE alembic_version"))
    engine.dispose()
    with pytest.raises(ConfigError):  # the audit's table exists already: this is no early layout
        open_database(where)


def test_files_of_early_versions_move_into_the_one_database(database: Engine, tmp_path: Path) -> None:
    ledger = early(tmp_path / "writeback" / "ledger.sqlite", EARLY_LEDGER)
    resources = early(tmp_path / "fhir.sqlite", EARLY_RESOURCES)
    for _ in range(2):  # the second time there is nothing left to move
        adopt(database, (ledger, resources), NOW)
    assert ledger_rows(database) == LEDGER_ROWS
    assert flag(database) == ("f1", "8.000000000000000010")
    assert sorted(path.name for path in ledger.parent.iterdir()) == ["ledger.sqlite.adopted"]
    with reading(database) as connection:
        assert [link.action for link in audit.links(connection)] == ["adopt", "adopt"]


def test_a_move_that_died_before_the_renaming_takes_nothing_twice(database: Engine, tmp_path: Path) -> None:
    ledger = early(tmp_path / "ledger.sqlite", EARLY_LEDGER)
    adopt(database, (ledger,), NOW)
    ledger.with_name("ledger.sqlite.adopted").rename(ledger)
    adopt(database, (ledger,), NOW)
    assert ledger_rows(database) == LEDGER_ROWS


def test_two_ledgers_of_one_server_are_for_a_person(database: Engine, tmp_path: Path) -> None:
    Ledger(database, SERVER).intend([Intent("Flag/f9", "active", "other", "other")], NOW)
    ledger = early(tmp_path / "ledger.sqlite", EARLY_LEDGER)
    with pytest.raises(ConfigError, match="both hold"):
        adopt(database, (ledger,), NOW)
    assert ledger.exists()
    assert Ledger(database, SERVER).receipts() == ()  # nothing of it came half way


def test_a_database_of_a_newer_version_is_left_alone(where: Path | str) -> None:
    engine = open_database(where)
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    engine.dispose()
    with pytest.raises(ConfigError, match="newer version"):
        open_database(where)


def test_an_early_file_that_is_no_database_stops_the_run(database: Engine, tmp_path: Path) -> None:
    (tmp_path / "ledger.sqlite").write_text("lost in a copy " * 100)
    with pytest.raises(ConfigError, match="cannot be read"):
        adopt(database, (tmp_path / "ledger.sqlite",), NOW)
    assert (tmp_path / "ledger.sqlite").exists()


def test_receipts_go_on_counting_after_a_move(database: Engine, tmp_path: Path) -> None:
    """PostgreSQL counts in a sequence, which rows that bring their own numbers would not move."""
    adopt(database, (early(tmp_path / "ledger.sqlite", EARLY_LEDGER),), NOW)
    later = Receipt("Flag/f1", "3", "s1", "r", "ResearchSubject", NOW)
    Ledger(database, SERVER).acknowledge([], [later], NOW)
    assert [row.version for row in Ledger(database, SERVER).receipts()] == ["1", "2", "3"]


def test_tables_have_no_types_of_one_database_only(database: Engine) -> None:
    names = set(inspect(database).get_table_names())
    assert {"intent", "written", "receipt", "resource_version", "audit", "alembic_version"} <= names
