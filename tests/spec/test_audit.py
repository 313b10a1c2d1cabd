"""The audit as an auditor sees it: a database refuses to change rows; where it was made to, it shows."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError
from typer.testing import CliRunner

from adapter.cli.app import app
from adapter.errors import ConfigError
from adapter.store import audit
from adapter.store.audit import GUARDS, Entry
from adapter.store.chain import Link, sealed
from adapter.store.checkpoints import CheckpointFile
from adapter.store.database import open_database, reading
from adapter.store.ledger import Ledger, Receipt
from adapter.trial import Workspace, note, open_store

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def entry(number: int) -> Entry:
    return Entry(NOW, "anna", "write", (f"Flag/f{number}/_history/1",), {"count": number})


def fill(engine: Engine, rows: int = 5) -> list[Link]:
    with engine.begin() as connection:
        return [audit.append(connection, entry(number)) for number in range(1, rows + 1)]


def rows(engine: Engine) -> list[Link]:
    with reading(engine) as connection:
        return list(audit.links(connection))


def without_guards(engine: Engine) -> None:
    """What somebody does who owns the database."""
    with engine.begin() as connection:
        for name in GUARDS[engine.dialect.name]:
            on = "" if engine.dialect.name == "sqlite" else " ON audit"
            connection.execute(text(f"DROP TRIGGER {name}{on}"))


def test_a_row_is_what_was_said(database: Engine) -> None:
    links = fill(database, 2)
    assert rows(database) == links
    first = links[0]
    assert (first.number, first.actor, first.action, first.at) == (1, "anna", "write", NOW.isoformat())
    assert (first.what, first.detail) == ('["Flag/f1/_history/1"]', '{"count":1}')
    assert links[1].previous == first.hash
    assert audit.verify(database, ()).sound


def test_a_row_shares_the_fate_of_what_it_records(database: Engine) -> None:
    with pytest.raises(KeyError), database.begin() as connection:  # noqa: PT012
        audit.append(connection, entry(1))
        raise KeyError
    assert rows(database) == []


def test_receipts_and_their_row_are_one(database: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADAPTER_ACTOR", "carl")
    receipt = Receipt("Flag/f1", "1", "p1", "print", "ResearchSubject", NOW)
    Ledger(database, "https://hospital.example/fhir").acknowledge([], [receipt], NOW)
    (link,) = rows(database)
    assert (link.actor, link.action, json.loads(link.what)) == ("carl", "write", ["Flag/f1/_history/1"])
    detail = json.loads(link.detail)
    assert detail["server"] == "https://hospital.example/fhir"
    (told,) = detail["receipts"]
    assert told.items() >= {"fingerprint": "print", "rung": "ResearchSubject", "subject": "p1"}.items()


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit SET actor = 'nobody' WHERE number = 2",
        "DELETE FROM audit WHERE number = 5",
        "DELETE FROM audit",
        "INSERT INTO audit SELECT number + 9, at, actor, action, what, detail, 'x', hash FROM audit"
        " WHERE number = 1",
        "INSERT INTO audit SELECT 6, at, actor, action, what, detail, 'x', hash FROM audit WHERE number = 1",
    ],
)
def test_the_database_itself_refuses(database: Engine, statement: str) -> None:
    before = fill(database)
    with pytest.raises(DBAPIError, match="only ever added"), database.begin() as connection:
        connection.execute(text(statement))
    assert rows(database) == before


# TRUNCATE fires no row trigger in PostgreSQL, REPLACE deletes without one in SQLite
ROUND_A_DELETE = {
    "sqlite": "INSERT OR REPLACE INTO audit SELECT 2, at, 'nobody', action, what, detail, previous, hash"
    " FROM audit WHERE number = 2",
    "postgresql": "TRUNCATE audit",
}


def test_the_way_round_a_delete_is_closed(database: Engine) -> None:
    statement = ROUND_A_DELETE[database.dialect.name]
    before = fill(database)
    with pytest.raises(DBAPIError, match="only ever added"), database.begin() as connection:
        connection.execute(text(statement))
    assert rows(database) == before


@pytest.mark.parametrize(
    ("statement", "first_bad", "kind"),
    [
        ("UPDATE audit SET actor = 'nobody' WHERE number = 3", 3, "changed"),
        ("UPDATE audit SET at = '2020-01-01T00:00:00+00:00' WHERE number = 1", 1, "changed"),
        ("UPDATE audit SET what = '[]' WHERE number = 5", 5, "changed"),
        ("UPDATE audit SET detail = '{\"count\": 4}' WHERE number = 4", 4, "changed"),
        ("DELETE FROM audit WHERE number = 1", 2, "misplaced"),
        ("DELETE FROM audit WHERE number IN (3, 4)", 5, "misplaced"),
        ("DELETE FROM audit WHERE number >= 4", 4, "cut"),
        ("DELETE FROM audit", 1, "cut"),
    ],
)
def test_what_an_owner_of_the_database_does_shows(
    database: Engine, tmp_path: Path, statement: str, first_bad: int, kind: str
) -> None:
    checkpoints = CheckpointFile(tmp_path / "elsewhere" / "checkpoints")
    last = fill(database)[-1]
    checkpoints.add(last.number, last.hash, NOW)
    without_guards(database)
    with database.begin() as connection:
        connection.execute(text(statement))
    flaws = [flaw for flaw in audit.verify(database, checkpoints.read()).flaws if flaw.kind != "unguarded"]
    assert (flaws[0].number, flaws[0].kind) == (first_bad, kind)


def test_rows_exchanged_show(database: Engine) -> None:
    fill(database)
    without_guards(database)
    with database.begin() as connection:
        for old, new in ((2, 99), (4, 2), (99, 4)):
            connection.execute(
                text("UPDATE audit SET number = :new WHERE number = :old"), {"new": new, "old": old}
            )
    flaws = [flaw for flaw in audit.verify(database, ()).flaws if flaw.kind != "unguarded"]
    assert flaws[0].number == 2


def test_history_written_anew_shows_by_the_checkpoint(database: Engine, tmp_path: Path) -> None:
    checkpoints = CheckpointFile(tmp_path / "checkpoints")
    before = fill(database)
    checkpoints.add(before[3].number, before[3].hash, NOW)
    without_guards(database)
    with database.begin() as connection:
        connection.execute(text("DELETE FROM audit WHERE number >= 3"))
        for number in (3, 4, 5):
            audit.append(connection, Entry(NOW, "forged", "write", (), {"count": number}))
    assert [flaw.kind for flaw in audit.verify(database, ()).flaws] == ["unguarded"] * 3
    flaws = audit.verify(database, checkpoints.read()).flaws
    assert (4, "rewritten") in {(flaw.number, flaw.kind) for flaw in flaws}


def test_guards_that_are_gone_show_though_the_rows_are_sound(database: Engine) -> None:
    fill(database)
    without_guards(database)
    assert {flaw.kind for flaw in audit.verify(database, ()).flaws} == {"unguarded"}


def test_a_table_that_is_gone_shows(database: Engine) -> None:
    fill(database)
    with database.begin() as connection:
        connection.execute(text("DROP TABLE audit"))
    (flaw,) = audit.verify(database, ()).flaws
    assert (flaw.number, flaw.kind) == (1, "cut")


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit SET actor = X'00FF' WHERE number = 3",
        "UPDATE audit SET actor = CAST(X'FFFE' AS TEXT) WHERE number = 3",
    ],
)
def test_cells_that_cannot_be_read_are_told(tmp_path: Path, statement: str) -> None:
    """SQLite stores what it is given; PostgreSQL does not take such a value."""
    engine = open_database(tmp_path / "adapter.sqlite")
    fill(engine)
    without_guards(engine)
    with engine.begin() as connection:
        connection.execute(text(statement))
    flaws = [flaw for flaw in audit.verify(engine, ()).flaws if flaw.kind != "unguarded"]
    assert flaws[0].kind == "unreadable"
    assert flaws[0].number <= 3
    engine.dispose()


def test_odd_words_are_kept_by_both_databases(database: Engine) -> None:
    with database.begin() as connection:
        audit.append(connection, Entry(NOW, "a\0b \udc80 李", "write", ("Flag/é",), {"n": "% \\ \" '"}))
    assert audit.verify(database, ()).sound
    assert rows(database)[0].actor == "a?b ? 李"


class TestCheckpoints:
    def test_lines_are_only_added(self, tmp_path: Path) -> None:
        file = CheckpointFile(tmp_path / "c")
        assert file.add(1, "a" * 64, NOW)
        first = file.path.read_bytes()
        assert not file.add(1, "a" * 64, NOW)  # it says so already
        assert file.add(2, "b" * 64, NOW)
        assert file.path.read_bytes().startswith(first)
        assert [(one.number, one.hash[0]) for one in file.read()] == [(1, "a"), (2, "b")]

    def test_a_line_cut_short_by_a_power_failure_is_passed_over(self, tmp_path: Path) -> None:
        file = CheckpointFile(tmp_path / "c")
        file.add(1, "a" * 64, NOW)
        with file.path.open("ab") as raw:
            raw.write(b'{"number":2,"has')
        file.add(3, "c" * 64, NOW)
        assert [one.number for one in file.read()] == [1, 3]

    @pytest.mark.parametrize("line", [b"nothing\n", b'{"number":"x"}\n', b'{"number":1}\n'])
    def test_a_line_that_says_something_else_is_an_error(self, tmp_path: Path, line: bytes) -> None:
        file = CheckpointFile(tmp_path / "c")
        file.add(1, "a" * 64, NOW)
        with file.path.open("ab") as raw:
            raw.write(line)
        with pytest.raises(ConfigError, match=r"c:2"):
            file.read()

    def test_a_place_that_cannot_be_written_is_told_before_the_work(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "file").touch()
        monkeypatch.setenv("ADAPTER_AUDIT_CHECKPOINTS", str(tmp_path / "file" / "c"))
        with pytest.raises(ConfigError, match="ADAPTER_AUDIT_CHECKPOINTS"):
            note(Workspace(tmp_path / "workspace"), "screen", NOW)
        assert not (tmp_path / "workspace").exists()


Command = Callable[..., tuple[int, str]]


@pytest.fixture
def command(where: Path | str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """``adapter audit ...`` on a workspace with three rows, in the database of either kind."""
    workspace = Workspace(tmp_path)
    if isinstance(where, str):
        (tmp_path / "url").write_text(where + "\n")
        monkeypatch.setenv("ADAPTER_DATABASE_URL_FILE", str(tmp_path / "url"))
    monkeypatch.setenv("ADAPTER_AUDIT_CHECKPOINTS", str(tmp_path / "elsewhere" / "checkpoints.ndjson"))
    monkeypatch.setenv("ADAPTER_ACTOR", "anna")
    for day in (1, 2, 3):
        note(workspace, "screen", NOW.replace(day=day), count=day)

    def run(*words: str) -> tuple[int, str]:
        done = CliRunner().invoke(app, ["audit", *words, "-w", str(tmp_path)], env={"COLUMNS": "200"})
        assert done.exception is None or isinstance(done.exception, SystemExit), done.output
        return done.exit_code, done.output

    return run


class TestCommand:
    def test_verify_says_where_it_stands(self, command: Command) -> None:
        code, said = command("verify")
        assert code == 0
        assert "3 rows, 3 checkpoints" in said
        assert "sound: row 3 has hash" in said

    def test_verify_fails_and_names_the_first_bad_row(self, command: Command, where: Path | str) -> None:
        engine = open_database(where)
        without_guards(engine)
        with engine.begin() as connection:
            connection.execute(text("UPDATE audit SET actor = 'nobody' WHERE number = 2"))
        engine.dispose()
        code, said = command("verify")
        assert code == 1
        assert "row 2  changed" in said
        code, said = command("verify", "--json")
        kinds = {(flaw["number"], flaw["kind"]) for flaw in json.loads(said)["flaws"]}
        assert code == 1
        assert (2, "changed") in kinds

    def test_a_tail_cut_off_shows_because_each_command_left_a_checkpoint(
        self, command: Command, where: Path | str
    ) -> None:
        engine = open_database(where)
        without_guards(engine)
        with engine.begin() as connection:
            connection.execute(text("DELETE FROM audit WHERE number = 3"))
        engine.dispose()
        code, said = command("verify")
        assert code == 1
        assert "row 3  cut" in said

    def test_verify_writes_a_checkpoint_when_asked(
        self, command: Command, where: Path | str, tmp_path: Path
    ) -> None:
        checkpoints = tmp_path / "elsewhere" / "checkpoints.ndjson"
        checkpoints.unlink()
        assert command("verify")[0] == 0
        assert not checkpoints.exists()
        assert command("verify", "--checkpoint")[0] == 0
        assert len(CheckpointFile(checkpoints).read()) == 1

    def test_show_prints_rows_from_a_day_on(self, command: Command) -> None:
        code, said = command("show")
        assert code == 0
        assert [word in said for word in ("2026-03-01", "2026-03-02", "anna", "screen")] == [True] * 4
        found = [
            json.loads(line) for line in command("show", "--json", "--since", "2026-03-02")[1].splitlines()
        ]
        assert [row["number"] for row in found] == [2, 3]

    def test_show_prints_rows_that_were_tampered_with_as_they_are(
        self, command: Command, where: Path | str
    ) -> None:
        engine = open_database(where)
        without_guards(engine)
        with engine.begin() as connection:
            connection.execute(text("UPDATE audit SET at = 'once upon a time' WHERE number = 2"))
        engine.dispose()
        code, said = command("show")
        assert code == 0
        assert "once upon a time" in said

    def test_a_look_makes_no_database(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        done = CliRunner().invoke(app, ["audit", "verify", "-w", str(tmp_path / "nowhere")])
        assert isinstance(done.exception, ConfigError)
        assert not (tmp_path / "nowhere").exists()


def test_a_checkpoint_is_left_even_if_the_command_fails(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "workspace")
    with pytest.raises(KeyError), open_store(workspace, NOW) as database:  # noqa: PT012
        fill(database, 2)
        raise KeyError
    assert workspace.checkpoints == tmp_path / "workspace.audit-checkpoints.ndjson"
    assert [one.number for one in CheckpointFile(workspace.checkpoints).read()] == [2]


def test_a_link_names_its_own_content() -> None:
    link = Link(1, "t", "a", "b", "[]", "{}", "0" * 64, "")
    assert len(sealed(link).hash) == 64


def test_triggers_are_those_that_verify_looks_for(database: Engine) -> None:
    assert audit.verify(database, ()).flaws == ()
