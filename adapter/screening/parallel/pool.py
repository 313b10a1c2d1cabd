"""Steps carried out by several processes, or one after the other in this one; in whatever order they end.

Processes are forked from one that has nothing but the program loaded (``forkserver``), or started afresh
where there is no such thing: that is safe beside threads and open databases, costs seconds, and needs the
program that starts them to be importable, as every command here is.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from types import TracebackType
from typing import Any, Self, TypeVar

from adapter.errors import WorkerLost
from adapter.screening.parallel.work import Brief, begin
from adapter.trial import Trial

T = TypeVar("T")
# Where the steps of a screening are defined: loaded once, before processes are forked.
_STEPS = [f"adapter.screening.parallel.{name}" for name in ("work", "beyond", "judging")]
_AHEAD = 3  # steps handed out for each process, so that none waits


def cores() -> int:
    """How many processes can run at once here."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Pool:
    """At most ``workers`` processes that know the brief. They are started when a number of steps is estimated
    to take ``worth`` seconds or more; until then, and with one worker, the steps run here."""

    def __init__(self, workers: int, brief: Brief, trial: Trial, worth: float = 0) -> None:
        self.workers = workers
        self._worth = worth
        self._brief = brief
        self._trial = trial
        self._processes: ProcessPoolExecutor | None = None

    def __enter__(self) -> Self:
        begin(self._brief, self._trial)
        return self

    def _start(self) -> ProcessPoolExecutor:
        methods = multiprocessing.get_all_start_methods()
        context = multiprocessing.get_context("forkserver" if "forkserver" in methods else "spawn")
        context.set_forkserver_preload(_STEPS)
        return ProcessPoolExecutor(
            self.workers, mp_context=context, initializer=begin, initargs=(self._brief,)
        )

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._processes is not None:
            self._processes.shutdown(wait=kind is None, cancel_futures=True)

    def each(
        self, step: Callable[..., T], arguments: Sequence[tuple[Any, ...]], seconds: float
    ) -> Iterator[tuple[int, T]]:
        """(position, result) of each call, as they end, which may take so many seconds of one processor.

        Raises :class:`WorkerLost` if a process dies.
        """
        if self._processes is None and (self.workers == 1 or len(arguments) < 2 or seconds < self._worth):
            yield from ((number, step(*one)) for number, one in enumerate(arguments))
            return
        self._processes = self._processes or self._start()
        waiting = iter(enumerate(arguments))
        running: dict[Future[T], int] = {}
        try:
            while True:
                while len(running) < self.workers * _AHEAD and (following := next(waiting, None)):
                    number, one = following
                    running[self._processes.submit(step, *one)] = number
                if not running:
                    return
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    yield running.pop(future), future.result()
        except BrokenProcessPool:
            raise WorkerLost(
                "a worker process died, perhaps for want of memory",
                where="screen",
                fix="run adapter screen again: what was finished is kept; fewer --workers need less memory",
            ) from None
