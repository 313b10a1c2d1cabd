"""The database on bad days: several processes at once, locked, full, killed, unreachable, misnamed."""

from __future__ import annotations

import errno
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine, make_url, text

from adapter import config
from adapter.cli import main
from adapter.errors import AdapterError, ConfigError, StoreUnavailable
from adapter.store import audit
from adapter.store.audit import Entry
from adapter.store.checkpoints import CheckpointFile
from adapter.store.database import open_database, reading
from adapter.store.ledger import Intent, Ledger, Receipt, Written
from adapter.store.resources import ResourceStore, VersionConflict
from adapter.trial import Workspace

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
SERVER = "https://hospital.example/fhir"
ROOT = Path(__file__).resolve().parents[2]
# A database is named to a process as a person would: a path, or a URL.
OPENED = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from adapter.store import audit
from adapter.store.audit import Entry
from adapter.store.database import open_database
from adapter.store.ledger import Ledger, Receipt, Written
where = sys.argv[1] if "://" in sys.argv[1] else Path(sys.argv[1])
now = datetime(2026, 3, 1, 12, tzinfo=UTC)
sys.stdin.readline()
database = open_database(where)
"""
APPEND = (
    OPENED
    + """
for number in range(40):
    with database.begin() as connection:
        audit.append(connection, Entry(now, sys.argv[2], "write", (f"Flag/{sys.argv[2]}-{number}",)))
"""
)
ACKNOWLEDGE = OPENED + """
ledger = Ledger(database, "https://hospital.example/fhir")
for number in range(1_000_000):
    reference = f"Flag/f{number}"
    ledger.acknowledge(
        [Written(reference, "1", "active", "c", "p")],
        [Receipt(reference, "1", "s", "p", "ResearchSubject", now)],
        now,
    )
    print(number, flush=True)
"""  # fmt: skip


def process(script: str, where: Path | str, *words: str) -> subprocess.Popen[str]:
    """Starts Python and has it wait for a line; only then does it touch the database."""
    return subprocess.Popen(
        [sys.executable, "-c", script, str(where), *words],
        cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def go(one: subprocess.Popen[str]) -> None:
    assert one.stdin
    one.stdin.write("\n")
    one.stdin.flush()


def acknowledge(engine: Engine, number: int, words: str = "p") -> None:
    reference = f"Flag/f{number}"
    Ledger(engine, SERVER).acknowledge(
        [Written(reference, "1", "active", "c", words)],
        [Receipt(reference, "1", "s", words, "ResearchSubject", NOW)],
        NOW,
    )


@contextmanager
def opened(where: Path | str, **options: float) -> Iterator[Engine]:
    engine = open_database(where, **options)
    try:
        yield engine
    finally:
        engine.dispose()


class TestSeveralAtOnce:
    def test_processes_that_open_a_new_database_together_all_succeed(self, where: Path | str) -> None:
        together = [process(OPENED, where) for _ in range(4)]
        time.sleep(1)
        for one in together:
            go(one)
        said = [one.communicate(timeout=120) for one in together]
        assert [one.returncode for one in together] == [0] * 4, said
        with opened(where) as engine:
            assert audit.verify(engine, ()).sound

    def test_the_chain_does_not_fork(self, where: Path | str) -> None:
        together = [process(APPEND, where, name) for name in "abc"]
        for one in together:
            go(one)
        said = [one.communicate(timeout=120) for one in together]
        assert [one.returncode for one in together] == [0] * 3, said
        with opened(where) as engine:
            verdict = audit.verify(engine, ())
            with reading(engine) as connection:
                who = [link.actor for link in audit.links(connection)]
        assert verdict.sound
        assert (verdict.rows, {name: who.count(name) for name in "abc"}) == (120, {"a": 40, "b": 40, "c": 40})

    def test_of_two_writers_of_one_version_one_is_told(self, database: Engine) -> None:
        """Both read version 1; whoever comes second has not seen what it would overwrite."""
        store = ResourceStore(database)
        flag = {"resourceType": "Flag", "id": "f", "status": "active"}
        with store.transaction() as shelf:
            shelf.write(flag, {}, NOW)
        told: list[str] = []
        meet = threading.Barrier(2)

        def write(status: str) -> None:
            meet.wait()
            try:
                with store.transaction() as shelf:
                    shelf.write({**flag, "status": status}, {}, NOW, based_on=1)
                told.append("written")
            except VersionConflict as conflict:
                told.append(f"conflict {conflict.current}")

        both = [threading.Thread(target=write, args=(status,)) for status in ("inactive", "entered-in-error")]
        for one in both:
            one.start()
        for one in both:
            one.join()
        assert sorted(told) == ["conflict 2", "written"]

    def test_whoever_reads_holds_no_writer_up(self, where: Path | str) -> None:
        with opened(where, busy_seconds=0.2) as engine, reading(engine) as connection:
            audit.head(connection)
            acknowledge(engine, 1)
            assert audit.head(connection)[0] == 0  # one view, as it was when it began
            assert len(Ledger(engine, SERVER).receipts()) == 1


class TestLocked:
    def test_a_database_held_by_another_is_a_fault_that_may_pass(self, where: Path | str) -> None:
        with opened(where) as holder, opened(where, busy_seconds=0.3) as engine:
            acknowledge(engine, 1)
            with holder.begin() as held:
                audit.append(held, Entry(NOW, "other", "write"))
                with pytest.raises(StoreUnavailable) as fault:
                    acknowledge(engine, 2)
            assert fault.value.exit_code == 75
            acknowledge(engine, 2)
            assert audit.verify(engine, ()).rows == 3

    def test_the_command_says_so_in_two_lines(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setattr("adapter.store.database.open_database.__kwdefaults__", {"busy_seconds": 0.2})
        workspace = Workspace(tmp_path / "w")
        open_database(workspace.database).dispose()
        holder = sqlite3.connect(str(workspace.database), isolation_level=None)
        holder.execute("BEGIN EXCLUSIVE")
        folder = tmp_path / "bulk"
        folder.mkdir()
        (folder / "Patient.ndjson").write_text('{"resourceType":"Patient","id":"p1"}\n')
        words = ["adapter", "fetch", "--folder", str(folder), "-w", str(workspace.root)]
        monkeypatch.setattr(sys, "argv", words)
        with pytest.raises(SystemExit) as ended:
            main()
        holder.close()
        assert ended.value.code == 75
        said = capsys.readouterr().err
        assert "locked" in said
        assert "fix:" in said
        assert "Traceback" not in said


class TestFull:
    def test_a_full_disk_refuses_the_whole_and_keeps_what_was_there(self, tmp_path: Path) -> None:
        """``max_page_count`` makes SQLite answer as it does when the disk is full (SQLITE_FULL)."""
        with opened(tmp_path / "adapter.sqlite") as engine:
            acknowledge(engine, 1)
            with engine.connect() as connection:
                pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
                connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")
            kept = 1
            with pytest.raises(StoreUnavailable, match="full") as fault:  # noqa: PT012
                for number in range(2, 2000):
                    acknowledge(engine, number, "p" * 500)
                    kept = number
            assert "pppp" not in str(fault.value)  # nothing that was to be written is quoted
            assert len(Ledger(engine, SERVER).receipts()) == kept
            verdict = audit.verify(engine, ())
            assert (verdict.sound, verdict.rows) == (True, kept)
            with engine.connect() as connection:
                connection.exec_driver_sql("PRAGMA max_page_count = 1000000")
            acknowledge(engine, kept + 1)
            assert audit.verify(engine, ()).rows == kept + 1

    def test_a_checkpoint_that_cannot_be_kept_is_told(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def full(_file: int) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(ConfigError, match="No space left"):
            CheckpointFile(tmp_path / "checkpoints").add(1, "a" * 64, NOW)


class TestKilled:
    @pytest.mark.parametrize("times", [12])
    def test_no_acknowledged_row_is_lost(self, where: Path | str, times: int) -> None:
        """``kill -9`` in the middle of commits; all that was told as done is there, and nothing by halves."""
        told = 0
        for round_number in range(times):
            one = process(ACKNOWLEDGE.replace('f"Flag/f', f'f"Flag/{round_number}-f'), where)
            go(one)
            assert one.stdout
            one.stdout.readline()
            time.sleep(0.005 * round_number)
            os.kill(one.pid, signal.SIGKILL)
            told += 1 + len([line for line in one.stdout.read().split("\n")[:-1] if line])
            one.wait()
        with opened(where) as engine:
            verdict = audit.verify(engine, ())
            receipts = Ledger(engine, SERVER).receipts()
            written = Ledger(engine, SERVER).recall().written
        assert verdict.sound
        assert len(receipts) >= told
        assert len(receipts) <= told + times  # at most the one commit whose telling was cut off
        assert verdict.rows == len(receipts) == len(written)


class TestAddresses:
    SECRET = "hunter2 & co/@"
    QUOTED = "hunter2%20%26%20co%2F%40"

    def tells_nothing(self, fault: AdapterError) -> None:
        told = [str(fault), repr(fault)]
        cause: BaseException | None = fault
        while cause is not None:
            told.append(repr(cause))
            cause = cause.__cause__ or (None if cause.__suppress_context__ else cause.__context__)
        assert "hunter2" not in " ".join(told)

    def test_a_wrong_password_is_not_shown(self, postgres_database: str) -> None:
        wrong = make_url(postgres_database).set(password=self.SECRET).render_as_string(hide_password=False)
        with pytest.raises(AdapterError, match="authentication failed") as fault:
            open_database(wrong)
        self.tells_nothing(fault.value)

    @pytest.mark.parametrize(
        "address",
        [
            "postgresql://adapter:{}@127.0.0.1:1/adapter",  # nobody listens
            "postgresql://adapter:{}@name.invalid/adapter",
            "postgresql://adapter:{}@127.0.0.1:port/adapter",
            "postgresql://adapter:{}@127.0.0.1:1/adapter?nonsense=1",
            "mysql://adapter:{}@127.0.0.1/adapter",
            "postgresql+nothing://adapter:{}@127.0.0.1/adapter",
            "postgresql://adapter:{}@127.0.0.1/",
            "://adapter:{}@",
        ],
    )
    def test_no_fault_shows_the_password(self, address: str) -> None:
        with pytest.raises(AdapterError) as fault:
            open_database(address.format(self.QUOTED))
        self.tells_nothing(fault.value)

    def test_a_server_that_goes_away_is_a_fault_that_may_pass(self, postgres_database: str) -> None:
        with opened(postgres_database) as engine, engine.connect() as connection:
            pid = connection.execute(text("SELECT pg_backend_pid()")).scalar()
            other = create_engine(engine.url)
            with other.begin() as killer:
                killer.execute(text("SELECT pg_terminate_backend(:pid)"), {"pid": pid})
            other.dispose()
            with pytest.raises(StoreUnavailable) as fault:
                audit.append(connection, Entry(NOW, "a", "write"))
            self.tells_nothing(fault.value)

    def test_a_file_that_is_no_database_is_not_touched(self, tmp_path: Path) -> None:
        path = tmp_path / "adapter.sqlite"
        path.write_bytes(b"something else entirely, and long enough to have a header" * 40)
        before = path.read_bytes()
        with pytest.raises(ConfigError, match="not a database"):
            open_database(path)
        assert path.read_bytes() == before

    @pytest.mark.parametrize("content", ["", "\n", "hunter2", "host=db password=hunter2"])
    def test_an_address_that_is_none_stops_the_run(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str
    ) -> None:
        """Rather than go on with another database than the one that was meant."""
        (tmp_path / "url").write_text(content)
        monkeypatch.setenv("ADAPTER_DATABASE_URL_FILE", str(tmp_path / "url"))
        with pytest.raises(ConfigError) as fault:
            _ = Workspace(tmp_path).database
        self.tells_nothing(fault.value)
        monkeypatch.setenv("ADAPTER_DATABASE_URL", "postgresql://a@b/c")
        with pytest.raises(ConfigError, match="twice"):
            config.database_url()
        monkeypatch.delenv("ADAPTER_DATABASE_URL_FILE")
        assert config.database_url() == "postgresql://a@b/c"
        monkeypatch.setenv("ADAPTER_DATABASE_URL", content)
        with pytest.raises(ConfigError):
            config.database_url()

    def test_a_file_that_is_missing_stops_the_run(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("ADAPTER_DATABASE_URL_FILE", str(tmp_path / "nowhere"))
        with pytest.raises(ConfigError, match="nowhere"):
            config.database_url()

    def test_the_demo_keeps_to_its_own_file(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("ADAPTER_DATABASE_URL", "postgresql://a@b/c")
        assert Workspace(tmp_path, embedded=True).database == tmp_path / "adapter.sqlite"
        assert Workspace(tmp_path).database == "postgresql://a@b/c"


def test_only_this_user_may_read_the_file(tmp_path: Path) -> None:
    with opened(tmp_path / "adapter.sqlite") as engine:
        Ledger(engine, SERVER).intend([Intent("Flag/f", "active", "c", "p")], NOW)
        modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
    assert modes
    assert set(modes.values()) == {0o600}
