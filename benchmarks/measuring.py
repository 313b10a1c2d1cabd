"""CPU seconds, wall seconds and memory of a piece of work and of every process it starts (Linux)."""

from __future__ import annotations

import os
import resource
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Generic, NamedTuple, TypeVar

T = TypeVar("T")
_TICKS = os.sysconf("SC_CLK_TCK")
_EVERY = 0.1


class Measured(NamedTuple, Generic[T]):
    """``cpu`` is user and system time of the whole process tree; ``result`` what the work returned."""

    wall: float
    cpu: float
    result: T


def measured(work: Callable[[], T], rounds: int = 1) -> Measured[T]:
    """The round that took least CPU."""
    runs = []
    for _ in range(rounds):
        cpu, wall = cpu_of_tree(), time.perf_counter()
        result = work()
        runs.append(Measured(time.perf_counter() - wall, cpu_of_tree() - cpu, result))
    return min(runs, key=lambda run: run.cpu)


def cpu_of_tree() -> float:
    """CPU seconds of this process, of children it has waited for, and of descendants still alive."""
    own = sum(
        used.ru_utime + used.ru_stime
        for used in (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    )
    return own + sum(_ticks(child) for child in descendants(os.getpid())) / _TICKS


def descendants(pid: int) -> Iterator[int]:
    """Processes below this one that are alive."""
    waiting = [pid]
    while waiting:
        try:
            folders = list(Path(f"/proc/{waiting.pop()}/task").iterdir())
            found = [int(one) for task in folders for one in (task / "children").read_text().split()]
        except (OSError, ValueError):
            continue
        waiting += found
        yield from found


def _ticks(pid: int) -> int:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="latin-1").rpartition(")")[2].split()
    except OSError:
        return 0
    return sum(int(one) for one in fields[11:15])  # utime, stime, cutime, cstime: proc_pid_stat(5)


class Peak:
    """The most memory a process tree had while the block lasted: PSS, which counts a shared page once."""

    def __init__(self) -> None:
        self.bytes = 0
        self._done = threading.Event()
        self._watch = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> Peak:
        self._watch.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._watch.join()

    def _look(self) -> None:
        while True:
            self.bytes = max(self.bytes, memory_of_tree())
            if self._done.wait(_EVERY):
                return


def memory_of_tree() -> int:
    """Bytes that this process and all below it hold now."""
    return sum(map(_pss, (os.getpid(), *descendants(os.getpid()))))


def _pss(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))
    except (OSError, StopIteration):
        return 0
