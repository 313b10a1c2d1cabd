"""Where calls are worked on: tokens looked up together, patients judged in processes of their own.

A physician waits for the slowest of these, so nothing here does for one call alone what many calls can share,
and nothing that takes tens of milliseconds holds up the others. Every call is judged by the mappings of its
moment: a process that still holds former ones reads them again first.
"""

from __future__ import annotations

import asyncio
import gc
import hashlib
import multiprocessing
import os
import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from datetime import date
from pathlib import Path
from typing import NamedTuple, TypeVar

import msgspec
from starlette.concurrency import run_in_threadpool

from adapter.config import Site
from adapter.consult import (
    Advice,
    Consultation,
    Counsel,
    Record,
    advise,
    consult,
    counsel,
    nominated,
    unnominated,
)
from adapter.model.resource import RawResource
from adapter.store.hook_log import HookLog
from adapter.trial import open_trial
from adapter.web.hooks.callers import Caller
from adapter.web.interactions import Clock

T = TypeVar("T")
_REMEMBERED = 256  # consultations kept in memory while a chart is opened again and again


class Tokens:
    """Whether a token comes for the first time. Those that arrive while the database is at work wait for the
    next turn and share it: one write to disk for all of them."""

    def __init__(self, log: HookLog, clock: Clock) -> None:
        self._log, self._clock = log, clock
        self._waiting: list[tuple[Caller, asyncio.Future[bool]]] = []
        self._turn: asyncio.Task[None] | None = None

    async def first_use(self, caller: Caller) -> bool:
        mine: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting.append((caller, mine))
        if self._turn is None or self._turn.done():
            self._turn = asyncio.create_task(self._take_turns())
        return await mine

    async def _take_turns(self) -> None:
        while self._waiting:
            several, self._waiting = self._waiting, []
            tokens = [(one.iss, one.jti, one.until) for one, _ in several]
            try:
                found = await run_in_threadpool(self._log.first_uses, tokens, self._clock())
            except Exception as fault:  # noqa: BLE001 - each of those who wait is told
                for _, future in several:
                    if not future.done():
                        future.set_exception(fault)
                continue
            for (_, future), first in zip(several, found, strict=True):
                if not future.done():
                    future.set_result(first)


class Edition(NamedTuple):
    """Rules and mappings as they are from some moment on: ``number`` goes up with each change, the rest is
    where another process reads them."""

    number: int
    folder: Path
    site: Site
    mappings: Path


class Bench:
    """Judges patients, in ``workers`` processes beside this one if there are any, by what ``ready`` gives at
    each call. The same bytes on the same day under the same rules give the same answer, so it is not worked
    out twice."""

    def __init__(self, ready: Callable[[], Counsel], workers: int) -> None:
        self._ready = ready
        self._held: Counsel = ready()
        self._edition = _edition(0, self._held)
        self._known: OrderedDict[tuple[int, bytes], Consultation] = OrderedDict()
        self._pool: ProcessPoolExecutor | None = None
        if workers:
            context = multiprocessing.get_context("spawn")
            self._pool = ProcessPoolExecutor(
                workers, context, initializer=_prepare, initargs=(self._edition,)
            )
            for _ in range(workers):
                self._pool.submit(_wake)

    def close(self) -> None:
        """Let the processes end; work under way is finished first."""
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)

    async def consult(self, record: Record, as_of: date) -> Consultation:
        ready, edition = self._current()
        if not nominated(ready, record):
            return unnominated(record, as_of)
        key = (edition.number, _digest(record, as_of))
        known = self._known.get(key)
        if known is None:
            known = await self._done(_consult, ready, edition, record, as_of)
            self._known[key] = known
            if len(self._known) > _REMEMBERED:
                self._known.popitem(last=False)
        else:
            self._known.move_to_end(key)
        return known

    async def advise(self, record: Record, orders: tuple[RawResource, ...], as_of: date) -> Advice:
        ready, edition = self._current()
        before = await self.consult(record, as_of)
        if before.standing in ("no candidate", "unknown"):
            return Advice(before)
        return await self._done(_advise, ready, edition, record, as_of, orders, before)

    def _current(self) -> tuple[Counsel, Edition]:
        ready = self._ready()
        if ready is not self._held:
            self._held, self._edition = ready, _edition(self._edition.number + 1, ready)
            self._known.clear()
        return self._held, self._edition

    async def _done(self, work: Callable[..., T], ready: Counsel, edition: Edition, *given: object) -> T:
        if self._pool is None:
            return await run_in_threadpool(work, ready, *given)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._pool, _by_edition, edition, work, *given)


_worker: tuple[int, Counsel] | None = None  # in a process of the pool: the edition held, and its counsel


def _edition(number: int, ready: Counsel) -> Edition:
    trial = ready.trial
    return Edition(number, trial.folder, trial.site, trial.mappings)


def _prepare(edition: Edition) -> None:
    """In a process of the pool: read the rules, and end when the service is gone, however it went."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _of(edition)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(0)


def _of(edition: Edition) -> Counsel:
    global _worker
    if _worker is None or _worker[0] < edition.number:
        site = edition.site
        trial = open_trial(edition.folder, site.site_id, edition.mappings)._replace(site=site)
        _worker = edition.number, counsel(trial)
        gc.collect()
        gc.freeze()  # rules and tables last: to look through them for garbage would cost calls their time
    return _worker[1]


def _wake() -> None:
    """Nothing: a process that is asked for something is there when somebody waits for it."""


def _by_edition(edition: Edition, work: Callable[..., T], *given: object) -> T:
    return work(_of(edition), *given)


def _consult(ready: Counsel, record: Record, as_of: date) -> Consultation:
    return consult(ready, record, as_of=as_of, known=True)


def _advise(
    ready: Counsel,
    record: Record,
    as_of: date,
    orders: tuple[RawResource, ...],
    before: Consultation,
) -> Advice:
    return advise(ready, record, orders, as_of=as_of, before=before)


def _digest(record: Record, as_of: date) -> bytes:
    digest = hashlib.sha256(f"{record.patient}\n{as_of}\n".encode())
    for one in record.resources:
        digest.update(one.line)
        digest.update(b"\n")
    digest.update(msgspec.json.encode(record.coverage))
    return digest.digest()
