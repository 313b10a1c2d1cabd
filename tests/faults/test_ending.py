"""``adapter serve`` and ``adapter run`` are told to end (SIGTERM) at work: what was begun is finished.

Real processes over real sockets. A request is held under way by a body that has not been sent whole.
"""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import httpx

from adapter import pipeline
from adapter.access import Grant
from adapter.access.passwords import hash_password
from adapter.model.decision import Overall
from adapter.store import audit
from adapter.store.accounts import Accounts, new_token
from adapter.store.casebook import secret
from adapter.store.database import open_database, reading
from adapter.store.resources import ResourceStore
from adapter.trial import Workspace, open_store
from adapter.worklist.board import key_of
from tests.web.browser import csrf_in
from tests.worklist_case import AS_OF, planted, ward

STUDY, SITE, PASSWORD = "NCT03864250", "demo", "four quiet lamps swim"
GRACE = "from adapter.web import app; app.GRACE_SECONDS = {}; from adapter.cli import main; main()"


@contextmanager
def serving(workspace: Path, grace: int = 20) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """The process and its port, once it answers. ``grace``: seconds for requests under way."""
    with socket.create_server(("127.0.0.1", 0)) as held:
        port = int(held.getsockname()[1])
    command = [sys.executable, "-c", GRACE.format(grace), "serve", "--workspace", str(workspace)]
    process = subprocess.Popen([*command, "--port", str(port)], stderr=subprocess.DEVNULL)
    try:
        until = time.monotonic() + 120
        while not answers(port):
            assert process.poll() is None, "it ended by itself"
            assert time.monotonic() < until
            time.sleep(0.2)
        yield process, port
    finally:
        process.kill()
        process.wait()


def answers(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/healthz", trust_env=False).status_code == 200
    except httpx.TransportError:
        return False


def service(workspace: Path) -> str:
    """The token of a service that may write to the FHIR endpoint."""
    token, kept = new_token("robot")
    with open_store(Workspace(workspace), datetime.now(UTC)) as engine:
        Accounts(engine).add(
            "robot", "", kept, [Grant("service", STUDY, SITE)], now=datetime.now(UTC), by="test"
        )
    return token


class UnderWay:
    """A PUT of a Flag whose last byte is not sent before :meth:`finish`."""

    def __init__(self, port: int, token: str, number: int) -> None:
        flag = {
            "resourceType": "Flag",
            "id": f"under-way-{number}",
            "status": "active",
            "code": {"text": "x"},
            "subject": {"reference": "Patient/1"},
        }
        body = json.dumps(flag).encode()
        head = (
            f"PUT /fhir/Flag/under-way-{number} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n"
            f"Authorization: Bearer {token}\r\nContent-Type: application/fhir+json\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=60)
        self.socket.sendall(head.encode() + body[:-1])
        self.last = body[-1:]

    def finish(self) -> int:
        self.socket.sendall(self.last)
        with self.socket, self.socket.makefile("rb") as answer:
            return int(answer.readline().split()[1])


def refused_within(port: int, seconds: float) -> bool:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=5).close()
        except ConnectionRefusedError:
            return True
        time.sleep(0.05)
    return False


def test_what_is_under_way_is_answered_and_nothing_new_is_taken(tmp_path: Path) -> None:
    token = service(tmp_path)
    with serving(tmp_path) as (process, port):
        begun = [UnderWay(port, token, number) for number in range(8)]
        time.sleep(1)  # so that each has been taken, not only sent
        process.send_signal(signal.SIGTERM)
        assert refused_within(port, 10), "new connections are taken"
        assert process.poll() is None, "it did not wait for what was under way"
        assert [one.finish() for one in begun] == [201] * 8
        assert process.wait(timeout=30) == 0
    engine = open_database(tmp_path / "adapter.sqlite")
    with ResourceStore(engine).view() as shelf:
        assert len(list(shelf.search("Flag", {}))) == 8
    engine.dispose()


def test_who_never_finishes_is_not_waited_for_without_end(tmp_path: Path) -> None:
    token = service(tmp_path)
    with serving(tmp_path, grace=2) as (process, port):
        stuck = UnderWay(port, token, 0)
        time.sleep(1)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=30) == 0
        stuck.socket.close()
    engine = open_database(tmp_path / "adapter.sqlite")
    with ResourceStore(engine).view() as shelf:
        assert list(shelf.search("Flag", {})) == []
    engine.dispose()


def test_a_screening_that_a_page_started_is_finished(tmp_path: Path) -> None:
    workspace, now = ward(tmp_path), datetime.now(UTC)
    engine = open_database(workspace.database)
    Accounts(engine).add(
        "pi", "", hash_password(PASSWORD), [Grant("investigator", STUDY, SITE)], now=now, by="test"
    )
    subject = planted("ulcer-not-attested")
    key = key_of(secret(engine, "worklist"), subject)
    with serving(workspace.root) as (process, port):
        base = f"http://127.0.0.1:{port}"
        with httpx.Client(
            base_url=base, headers={"Origin": base, "Accept": "text/html"}, timeout=60
        ) as person:
            form = {"csrf": csrf_in(person.get("/sign-in")), "account": "pi", "password": PASSWORD}
            assert person.post("/sign-in", data=form).status_code == 303
            page = f"/worklist/patients/{key}"
            answer = {
                "csrf": csrf_in(person.get(page)),
                "day": AS_OF.isoformat(),
                "q-ulcer": "treated-or-healed",
            }
            assert person.post(f"{page}/attest", data=answer).status_code == 303
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=120) == 0
    [decision] = [one for one in pipeline.read_screening(workspace).decisions if one.subject == subject]
    assert decision.overall is Overall.ELIGIBLE
    with reading(engine) as connection:
        assert [link.actor for link in audit.links(connection) if link.action == "screen"] == ["pi"]
    engine.dispose()


def test_rounds_end_after_the_round_they_are_at(tmp_path: Path) -> None:
    """Nobody listens at the hospital's address: each step ends by itself, the process waits for the next."""
    command = [sys.executable, "-c", "from adapter.cli import main; main()", "run", "--every", "24", "--json"]
    command += ["--workspace", str(tmp_path), "--base-url", "http://127.0.0.1:9/fhir"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        first = json.loads(process.stdout.readline())
        assert [one["state"] for one in first["steps"]][:3] == ["failed", "left", "left"]
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=30) == 0
        assert process.stdout.read() == ""
