"""How the tests run a real server: a process that prints ``READY <base URL>`` ends with its stdin."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from queue import Empty, Queue


class ServerUnavailable(Exception):
    """The server cannot be had on this machine; the message says what to do."""


class ServerDied(Exception):
    """The server was started and did not answer; the message holds the end of its log."""


@contextmanager
def started(command: Sequence[str], *, log: Path, seconds: float, cwd: Path | None = None) -> Iterator[str]:
    """Run a server; yield its base URL, stop it at the end. ``log`` receives what it says on stderr.

    Its standard input is a pipe of ours, so that neither a crash nor ``kill -9`` of the test run leaves one
    behind. Raises ServerDied if it is not ready within ``seconds``.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w") as stderr:
        server = subprocess.Popen(
            command, cwd=cwd, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr, text=True
        )
    try:
        yield _ready_url(server, log, seconds)
    finally:
        assert server.stdin is not None
        server.stdin.close()
        try:
            server.wait(timeout=15)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def _ready_url(server: subprocess.Popen[str], log: Path, seconds: float) -> str:
    lines: Queue[str] = Queue()
    assert server.stdout is not None
    stdout = server.stdout

    def read() -> None:
        for line in stdout:
            lines.put(line)
        lines.put("")

    threading.Thread(target=read, daemon=True).start()
    try:
        while line := lines.get(timeout=seconds):
            if line.startswith("READY "):
                return line.split()[1]
    except Empty:
        pass
    tail = log.read_text(errors="replace")[-3000:] if log.exists() else "(no log)"
    raise ServerDied(f"not ready within {seconds:g} s, see {log}:\n{tail}")
