"""What is seen of a screening while it runs: a bar on a terminal, lines elsewhere, nothing with --json."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest

from adapter.trial import Workspace
from tests.faults.test_killed_screening import land

# Three steps told with a little time in between, so that there is a rate.
STEPS = """
import time
from adapter.cli.screen_view import following
from adapter.cli.terminal import Terminal
from adapter.screening import Step

with following(Terminal(stderr=True)) as (remark, told):
    remark("reading the records of 5 candidates")
    for done in (0, 100, 200, 300):
        told(Step("lines", done * 10**6, 400 * 10**6))
        time.sleep(0.2)
    told(Step("people", 5 * 10**6, 10 * 10**6))
"""
MAIN = "import sys; from adapter.cli import main; sys.exit(main())"
COLUMNS = 80


def on_terminal(*command: str) -> tuple[list[str], bytes]:
    """The lines that a command's standard error shows on a terminal, one after the other, and its output."""
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 24, COLUMNS, 0, 0))
    environment = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "COLUMNS")}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=follower, env={**environment, "TERM": "xterm"}
    ) as process:
        os.close(follower)
        shown = b""
        while chunk := _read(leader):
            shown += chunk
        assert process.stdout is not None
        output = process.stdout.read()
    os.close(leader)
    assert process.returncode == 0, shown
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown.decode())
    return [line.rstrip() for line in re.split(r"[\r\n]+", text) if line.strip()], output


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 2**16)
    except OSError:  # the other side is closed
        return b""


def test_a_terminal_shows_step_rate_and_time_left_in_one_line() -> None:
    lines, _ = on_terminal(sys.executable, "-c", STEPS)
    assert lines[0] == "reading the records of 5 candidates"
    bars = [line for line in lines if "━" in line]
    assert all(len(line) <= COLUMNS for line in bars)
    whole = r"reading their records [━╸╺ ]+ 300\.0/400\.0 MB +\d[\d.,]* [kM]?B/s +\d:\d\d:\d\d"
    assert any(re.fullmatch(whole, line) for line in bars), bars
    assert any(line.startswith("judging them ") and "5.0/10.0 MB" in line for line in bars)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("screened")
    made = Workspace(folder / "workspace")
    land(folder / "export", made)
    return made.root


def command(workspace: Path, *more: str) -> list[str]:
    screen = ["screen", "--workspace", str(workspace), "--as-of", "2019-06-03", "--workers", "1"]
    return [sys.executable, "-c", MAIN, *screen, *more]


def test_the_command_shows_it(workspace: Path) -> None:
    lines, output = on_terminal(*command(workspace))
    assert "looking for candidates" in lines
    assert any("━" in line for line in lines)
    assert b"all patients" in output


def test_elsewhere_each_step_is_a_line(workspace: Path) -> None:
    done = subprocess.run(command(workspace), capture_output=True, check=True, text=True)
    said = done.stderr.splitlines()
    assert said[0] == "looking for candidates"
    assert re.fullmatch(r"reading the records of \d+ candidates", said[1])
    assert re.fullmatch(r"judging them in \d+ batches", said[2])
    assert re.match(r"\d+ people evaluated, \d+ unchanged", " ".join(said[3:]))
    assert "\x1b" not in done.stderr
    assert "━" not in done.stderr


def test_with_json_nothing_is_said_beside_it(workspace: Path) -> None:
    done = subprocess.run(command(workspace, "--json"), capture_output=True, check=True, text=True)
    assert done.stderr == ""
    assert json.loads(done.stdout)["candidates"] > 0
    lines, output = on_terminal(*command(workspace, "--json"))
    assert lines == []
    assert json.loads(output)["candidates"] > 0
