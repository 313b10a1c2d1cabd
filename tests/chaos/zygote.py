"""A process with one thread and everything imported, which forks a child for each run of the adapter.

``python -m tests.chaos.zygote`` reads one job a line from its standard input and says who runs it and how it
ended: ``{"id": 7, "pid": 1234}``, ``{"id": 7, "exit": 0}`` (negative: the signal). It ends with its input.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import select
import signal
import sys
from collections.abc import Callable
from typing import Any, Self

Job = dict[str, Any]


def main() -> int:
    from tests.chaos.jobs import perform, warm

    warm()
    gc.freeze()  # a collection in a child would copy every page that it looks at
    woken, waking = os.pipe()
    os.set_blocking(waking, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(waking, warn_on_full_buffer=False)
    running: dict[int, int] = {}
    waiting, ended = b"", False
    while not ended or running:
        ready = select.select([woken] if ended else [0, woken], [], [])[0]
        if woken in ready:
            os.read(woken, 4096)
        for pid, code in _over(running):
            _say({"id": running.pop(pid), "exit": code})
        if 0 in ready:
            read = os.read(0, 2**16)
            ended = not read
            *lines, waiting = (waiting + read).split(b"\n")
            for line in lines:
                job = json.loads(line)
                pid = os.fork()
                if pid == 0:
                    _child(perform, job)
                running[pid] = job["id"]
                _say({"id": job["id"], "pid": pid})
    return 0


def _over(running: dict[int, int]) -> list[tuple[int, int]]:
    found = []
    for pid in running:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            found.append((pid, os.waitstatus_to_exitcode(status)))
    return found


def _child(perform: Callable[[Job], int], job: Job) -> None:
    code = 70
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.dup2(os.open(os.devnull, os.O_RDWR), 0)
        os.dup2(2, 1)
        code = perform(job)
    finally:
        os._exit(code)


def _say(what: Job) -> None:
    os.write(1, json.dumps(what).encode() + b"\n")


class Zygote:
    """The runner's side of it."""

    def __init__(self) -> None:
        self._numbers = 0
        self._pids: dict[int, asyncio.Future[int]] = {}
        self._ends: dict[int, asyncio.Future[int]] = {}

    async def __aenter__(self) -> Self:
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.chaos.zygote",
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        self._listening = asyncio.create_task(self._listen())
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        await self._process.wait()
        await self._listening

    async def start(self, job: Job) -> tuple[int, asyncio.Future[int]]:
        """The process id, and a future of its exit code; negative is the signal that ended it."""
        assert self._process.stdin is not None
        self._numbers += 1
        number, loop = self._numbers, asyncio.get_running_loop()
        self._pids[number], self._ends[number] = loop.create_future(), loop.create_future()
        self._process.stdin.write(json.dumps({**job, "id": number}).encode() + b"\n")
        return await self._pids[number], self._ends[number]

    async def _listen(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            said = json.loads(line)
            if "pid" in said:
                self._pids.pop(said["id"]).set_result(said["pid"])
            else:
                self._ends[said["id"]].set_result(said["exit"])


if __name__ == "__main__":
    sys.exit(main())
