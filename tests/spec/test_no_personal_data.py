"""Nothing that names a person leaves the landed files: searched for, byte by byte, everywhere else.

The demo hospital plants canaries in names, identifiers, telephone numbers and addresses; more are planted
here in what people type: narratives, notes, displays of references. The whole line then runs, with the log
open to everything, and every file, printed table, log record and request is searched.
"""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import json
import logging
import re
import shutil
import sqlite3
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest
from typer.testing import CliRunner

from adapter import monitoring, pipeline
from adapter.cli.app import app
from adapter.client import SponsorClient
from adapter.demo.hospital import PLANTED, generate
from adapter.pipeline import Workspace
from adapter.web.app import own_endpoint
from tests.shelves import serving

CANARY = b"CANARY"
KINDS = (
    *("CANARY-NAME-", "CANARY-MRN-", "CANARY-IDCARD-", "CANARY-TEL-", "CANARY-ADDRESS-", "CANARY-SUBJ-"),
    *("CANARY-NARRATIVE", "CANARY-NOTE", "CANARY-DISPLAY"),
)
# A FHIR id of the demo hospital: a patient's own, or that of a resource of theirs, which begins with it.
PATIENT_ID = re.compile(rb"(?<![A-Za-z0-9])p\d{5}m?(?![A-Za-z0-9])")
AS_OF, NOW = date(2019, 6, 3), datetime(2019, 6, 4, tzinfo=UTC)
KEY = b"a key for tests only, 32 bytes .."


class Run(NamedTuple):
    """The folder after a whole run, and what was said on the way."""

    workspace: Workspace
    patients: frozenset[str]
    printed: dict[str, str]
    logged: str
    requests: list[str]


class Overheard(httpx.AsyncBaseTransport):
    """The embedded FHIR server; remembers every request line it was sent."""

    def __init__(self, database: Path) -> None:
        self.requests: list[str] = []
        self._server = httpx.ASGITransport(own_endpoint(database))

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(f"{request.method} {request.url}")
        return await self._server.handle_async_request(request)


class Ear(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.heard: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.heard.append(logging.Formatter().format(record))


def with_canaries(row: dict[str, object]) -> dict[str, object]:
    """The resource with what people type into it."""
    row.setdefault("text", {"status": "generated", "div": "<div>CANARY-NARRATIVE</div>"})
    row.setdefault("note", [{"text": "CANARY-NOTE"}])
    for name in ("subject", "patient", "individual"):
        reference = row.get(name)
        if isinstance(reference, dict):
            reference.setdefault("display", "CANARY-DISPLAY")
    return row


def plant(folder: Path) -> None:
    for path in folder.glob("*.ndjson"):
        planted = []
        for line in path.read_bytes().splitlines():
            try:
                row = with_canaries(json.loads(line))
            except json.JSONDecodeError:
                planted.append(line)
                continue
            planted.append(json.dumps(row, ensure_ascii=False).encode())
        path.write_bytes(b"\n".join(planted) + b"\n")


def ran(arguments: list[str]) -> str:
    done = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    root = tmp_path_factory.mktemp("run")
    workspace = Workspace(root / "workspace")
    made = generate(root / "hospital" / "fhir", patients=PLANTED + 30, gzip=False)
    plant(made.folder)
    patients = {json.loads(line)["id"] for line in (made.folder / "Patient.ndjson").read_bytes().splitlines()}
    key = root / "key"
    key.write_bytes(KEY)
    ear = Ear()
    logging.getLogger().addHandler(ear)
    level = logging.getLogger().level
    logging.getLogger().setLevel(logging.DEBUG)
    logging.getLogger("adapter").debug("the ear is open")
    folder = str(workspace.root)
    printed = {
        "fetch": ran(["fetch", "--folder", str(made.folder), "-w", folder]),
        "screen": ran(["screen", "-w", folder, "--as-of", AS_OF.isoformat()]),
        "screen --json": ran(["screen", "-w", folder, "--as-of", AS_OF.isoformat(), "--json"]),
        "monitor": ran(["monitor", "-w", folder, "--as-of", AS_OF.isoformat()]),
    }
    transport = Overheard(Path(workspace.database))
    trial = pipeline.open_trial()
    report = asyncio.run(
        monitoring.write_back(trial, workspace, "http://127.0.0.1/fhir", now=NOW, transport=transport)
    )
    assert report.fault() is None
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ADAPTER_PSEUDONYM_KEY_FILE", str(key))
        printed["export"] = ran(["export", "-w", folder])
        printed["export --json"] = ran(["export", "-w", folder, "--json"])
    yield Run(workspace, frozenset(patients), printed, "\n".join(ear.heard), transport.requests)
    logging.getLogger().setLevel(level)
    logging.getLogger().removeHandler(ear)


def content(path: Path) -> bytes:
    """What a file says: unpacked, and a database as the text of its rows as well."""
    data = path.read_bytes()
    if path.suffix == ".gz":
        return gzip.decompress(data)
    if data.startswith(b"SQLite format 3\0"):
        with sqlite3.connect(path) as database:
            return data + "\n".join(database.iterdump()).encode()
    return data


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def test_the_canaries_are_really_there(run: Run) -> None:
    """Without this the search could pass because it searches nothing."""
    landed = b"".join(content(path) for path in files(run.workspace.landing) if path.suffix == ".ndjson")
    assert [kind for kind in KINDS if kind.encode() not in landed] == []


def test_only_landed_lines_name_anybody(run: Run) -> None:
    """Allowed: the NDJSON files of the landing, which are the hospital's own bytes. Nothing else."""
    found = {path.relative_to(run.workspace.root).as_posix() for path in files(run.workspace.root)
             if CANARY in content(path)}  # fmt: skip
    allowed = {f"landing/{path.name}" for path in run.workspace.landing.glob("*.ndjson")}
    assert found <= allowed
    names = {path.relative_to(run.workspace.root).parts[0] for path in files(run.workspace.root)}
    assert {"landing", "screening", "monitoring", "exports", "adapter.sqlite"} <= names


def test_every_step_is_on_record(run: Run) -> None:
    """In order, in the audit; plans and writes in between; an export before and after it."""
    done = ran(["audit", "show", "--json", "-w", str(run.workspace.root)])
    rows = [json.loads(line) for line in done.splitlines()]
    actions = [row["action"] for row in rows]
    assert actions[:4] == ["fetch", "screen", "screen", "monitor"]
    assert actions[-4:] == ["export"] * 4
    assert "write" in actions[4:-4]
    exports = [json.loads(row["detail"]) for row in rows if row["action"] == "export"]
    assert [one["phase"] for one in exports] == ["begun", "done", "begun", "done"]
    for package in ("sdtm", "adam"):
        manifest = run.workspace.exports("sponsor", package) / "manifest.json"
        digest = hashlib.sha256(manifest.read_bytes()).hexdigest()
        assert exports[-1]["packages"][package]["manifest_sha256"] == digest
    assert "CANARY" not in done
    assert ran(["audit", "verify", "-w", str(run.workspace.root)])


def test_names_of_files_name_nobody(run: Run) -> None:
    names = "\n".join(path.relative_to(run.workspace.root).as_posix() for path in files(run.workspace.root))
    assert "CANARY" not in names
    assert PATIENT_ID.search(names.encode()) is None


@pytest.mark.parametrize("command", ["fetch", "screen", "screen --json", "export", "export --json"])
def test_what_is_printed_names_nobody(run: Run, command: str) -> None:
    assert run.printed[command].strip()
    assert "CANARY" not in run.printed[command]
    assert PATIENT_ID.findall(run.printed[command].encode()) == []


def test_who_is_followed_is_named_by_id_alone(run: Run) -> None:
    """The team has to know whom to look at: monitoring prints FHIR ids, and nothing else about anybody."""
    assert "CANARY" not in run.printed["monitor"]
    assert PATIENT_ID.findall(run.printed["monitor"].encode())


def test_the_log_names_nobody(run: Run) -> None:
    """With every logger at DEBUG."""
    assert "the ear is open" in run.logged
    assert "CANARY" not in run.logged
    assert PATIENT_ID.findall(run.logged.encode()) == []


def test_requests_name_nobody_but_by_id(run: Run) -> None:
    assert run.requests
    assert [one for one in run.requests if "CANARY" in one or "name=" in one] == []


def test_no_fhir_id_leaves_with_the_datasets(run: Run) -> None:
    """Neither a patient's id nor that of any resource of theirs, in any file of the package."""
    exported = files(run.workspace.root / "exports")
    assert {path.suffix for path in exported} >= {".xpt", ".json"}
    assert [name for name in run.patients if not PATIENT_ID.fullmatch(name.encode())] == []
    for path in exported:
        assert PATIENT_ID.findall(content(path)) == [], path.name
        assert CANARY not in content(path), path.name


def test_the_datasets_hold_somebody(run: Run) -> None:
    """An empty export would leak nothing either."""
    manifest = json.loads((run.workspace.sdtm / "manifest.json").read_bytes())
    assert manifest
    datasets = [path for path in files(run.workspace.sdtm) if path.name.lower() == "dm.json"]
    assert len(json.loads(datasets[0].read_bytes())["rows"]) > 5


def test_nothing_that_a_sponsor_pulls_names_anybody(
    run: Run, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever lies in the workspace is asked for; what comes, is said and is kept of it is searched."""
    root = tmp_path / "workspace"
    shutil.copytree(run.workspace.root, root)
    caplog.set_level("DEBUG")
    with serving(root) as served:
        client = SponsorClient(served.url, served.token)
        client.pull(tmp_path / "pulled")
        (only,) = client.snapshots()
        said = [json.dumps(client.difference(since=only.id)), served.get("snapshots").text]
        inside = [path for path in files(root) if root / "exports" not in path.parents]
        assert {"landing", "lineage", "screening"} <= {path.relative_to(root).parts[0] for path in inside}
        for path in inside:
            for asked in (path.relative_to(root).as_posix(), path.name, str(path)):
                got = served.get(f"snapshots/{only.id}/files/{asked}")
                assert got.status_code == 404
                said.append(got.text)
        audited = json.dumps(served.told())
    pulled = files(tmp_path / "pulled")
    assert len(pulled) > 100
    leaving = [content(path) for path in pulled] + [one.encode() for one in (*said, caplog.text)]
    assert [one[:200] for one in leaving if CANARY in one] == []
    assert [PATIENT_ID.findall(content(path)) for path in pulled if PATIENT_ID.search(content(path))] == []
    assert "CANARY" not in audited
    assert served.token.rpartition("_")[2] not in caplog.text + audited
