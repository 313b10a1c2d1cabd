"""Snapshots made by hand, a real server that serves them on loopback, and proxies that let it down."""

from __future__ import annotations

import hashlib
import json
import re
import socket
import struct
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import requests
import uvicorn
from sqlalchemy import Engine

from adapter.store import audit
from adapter.store.database import open_database, reading
from adapter.store.sponsor_tokens import Scope, SponsorTokens
from adapter.web.app import create_app
from adapter.web.sponsor import Folders

STUDY, SITE = "NCT03864250", "DEMO"
FILES: Mapping[str, bytes] = {
    "csv/lb.csv": b"STUDYID,USUBJID\n" + b"NCT03864250,DEMO-001\n" * 2000,
    "parquet/lb.parquet": bytes(range(256)) * 40,
    "define.xml": b"<ODM/>",
}


def shelve(
    snapshots: Path,
    files: Mapping[str, bytes] = FILES,
    *,
    day: str = "2019-06-03",
    study: str = STUDY,
    site: str = SITE,
    profile: str = "sponsor",
) -> str:
    """A snapshot as docs/snapshots-and-lineage.md has it; the id is day and the head of manifest's hash."""
    told = {
        path: {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)} for path, data in files.items()
    }
    manifest: dict[str, Any] = {
        "format": "2",
        "study": study,
        "site": site,
        "snapshotTime": f"{day}T00:00:00+08:00",
        "producer": {"name": "trial-fhir-adapter", "version": "0.1.0"},
        "pseudonymisation": {"profile": profile},
        "standards": {"SDTMIG": "3.4"},
        "versions": {"protocol": "1"},
        "datasets": [
            {
                "name": "LB",
                "label": "Laboratory Test Results",
                "rows": 2000,
                "files": {path: one for path, one in told.items() if "/" in path},
            }
        ],
        "documents": {path: one for path, one in told.items() if "/" not in path},
    }
    data = json.dumps(manifest, indent=1).encode()
    name = f"{day.replace('-', '')}-{hashlib.sha256(data).hexdigest()[:12]}"
    for path, content in files.items():
        (snapshots / name / path).parent.mkdir(parents=True, exist_ok=True)
        (snapshots / name / path).write_bytes(content)
    (snapshots / name / "manifest.json").write_bytes(data)
    return name


class Served(NamedTuple):
    """A server and what it serves; ``now`` is a list of one: the time it has."""

    url: str
    token: str
    snapshots: Path
    engine: Engine
    now: list[datetime]

    @property
    def root(self) -> Path:
        return self.snapshots.parent.parent

    def headers(self, **more: str) -> dict[str, str]:
        named = {name.replace("_", "-"): value for name, value in more.items()}
        return {"Authorization": f"Bearer {self.token}", "Accept-Encoding": "identity", **named}

    def get(self, path: str, **headers: str) -> requests.Response:
        return requests.get(f"{self.url}/{path}", headers=self.headers(**headers), timeout=30)

    def grant(self, name: str, *, days: int = 30, **scope: str) -> str:
        return granted(self.engine, name, self.now[0], days=days, **scope)

    def told(self, action: str = "pull") -> list[tuple[str, str, dict[str, Any]]]:
        """(actor, what, detail) of the audit's rows."""
        with reading(self.engine) as connection:
            return [
                (one.actor, json.loads(one.what)[0], json.loads(one.detail))
                for one in audit.links(connection)
                if one.action == action
            ]


def granted(engine: Engine, name: str, now: datetime, *, days: int = 30, **scope: str) -> str:
    opened = Scope(**{"study": STUDY, "site": SITE, "profile": "sponsor", **scope})
    return SponsorTokens(engine).grant(name, opened, now + timedelta(days=days), now=now, by="tests")[1]


@contextmanager
def serving(root: Path) -> Iterator[Served]:
    """Serve ``root/exports/snapshots`` by uvicorn on a free port of loopback."""
    now = [datetime(2026, 3, 1, 12, tzinfo=UTC)]
    snapshots = root / "exports" / "snapshots"
    snapshots.mkdir(parents=True, exist_ok=True)
    engine = open_database(root / "adapter.sqlite")
    app = create_app(engine, lambda: now[0], packages=Folders(snapshots, root / "served"))
    with running(app) as origin:
        yield Served(f"{origin}/sponsor", granted(engine, "statistics", now[0]), snapshots, engine, now)
    engine.dispose()


@contextmanager
def running(app: Any, **options: Any) -> Iterator[str]:
    """``options`` are uvicorn's (``ssl_keyfile`` and the like)."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        server = uvicorn.Server(uvicorn.Config(app, log_level="critical", **options))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [taken]}, daemon=True)
        thread.start()
        while not server.started:
            time.sleep(0.01)
        try:
            yield f"http{'s' if options else ''}://127.0.0.1:{taken.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(15)


class Cutter:
    """A proxy on loopback that ends each connection after so many bytes of an answer, as bad lines do.

    ``cuts`` are the numbers of bytes, one per connection that asks for a file; then all goes through.
    ``slow`` waits so many seconds after each piece. ``seen`` holds the head of every request.
    """

    def __init__(self, upstream: str, cuts: list[int] | None = None, slow: float = 0.0) -> None:
        host, _, port = upstream.split("/")[2].partition(":")
        self._upstream = host, int(port)
        self.cuts = cuts or []
        self.slow = slow
        self.seen: list[str] = []

    @contextmanager
    def running(self) -> Iterator[str]:
        with socket.create_server(("127.0.0.1", 0)) as listening:
            threading.Thread(target=self._accept, args=(listening,), daemon=True).start()
            yield f"http://127.0.0.1:{listening.getsockname()[1]}/sponsor"

    def _accept(self, listening: socket.socket) -> None:
        while True:
            try:
                wire, _ = listening.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(wire,), daemon=True).start()

    def _serve(self, wire: socket.socket) -> None:
        """One request per connection: a line that breaks takes no second one along."""
        with wire, socket.create_connection(self._upstream) as up:
            head = b""
            while b"\r\n\r\n" not in head:
                piece = wire.recv(65536)
                if not piece:
                    return
                head += piece
            length = re.search(rb"(?i)\r\ncontent-length: ([0-9]+)", head)
            while length and len(head.partition(b"\r\n\r\n")[2]) < int(length[1]):
                head += wire.recv(65536)
            self.seen.append(head.decode("latin-1"))
            cut = self.cuts.pop(0) if b"/files/" in head and self.cuts else -1
            head = re.sub(rb"(?i)\r\nconnection: [^\r]*", b"", head)
            up.sendall(head.replace(b"\r\n", b"\r\nConnection: close\r\n", 1))
            sent = 0
            while piece := up.recv(16384):
                if 0 <= cut <= sent + len(piece):
                    wire.sendall(piece[: cut - sent])
                    # a reset, not a proper end
                    wire.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    return
                try:
                    wire.sendall(piece)
                except OSError:
                    return
                sent += len(piece)
                time.sleep(self.slow)
