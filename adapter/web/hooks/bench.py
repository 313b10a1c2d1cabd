"""Where calls are worked on: tokens looked up together, patients judged in processes of their own.

A physician waits for the slowest of these, so nothing here does for one call alone what many calls can share,
and nothing that takes tens of milliseconds holds up the others.
"""

from __future__ import annotations

import asyncio
import hashlib
import multiprocessing
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from datetime import date
from pathlib import Path
from typing import TypeVar

import msgspec
from starlette.concurrency import run_in_threadpool

from adapter.config import Site
from adapter.consult import Advice, Consultation, Counsel, Record, advise, consult, counsel, nominated
from adapter.model.resource import RawResource
from adapter.store.hook_log import HookLog
from adapter.trial import open_trial
from adapter.web.hooks.callers import Caller
from adapter.web.interactions import Clock

T = TypeVar("T")
_REMEMBERED = 256  # consultations kept in memory while a chart is opened again and again
_worker: Counsel | None = None  # in a process of the pool: made once, by _prepare


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


class Bench:
    """Judges patients, in ``workers`` processes beside this one if there are any. The same bytes on the same
    day under the same rules give the same answer, so it is not worked out twice."""

    def __init__(self, ready: Counsel, workers: int) -> None:
        self._ready = ready
        self._known: OrderedDict[bytes, Consultation] = OrderedDict()
        self._pool: ProcessPoolExecutor | None = None
        if workers:
            trial = ready.trial
            self._pool = ProcessPoolExecutor(
                workers,
                multiprocessing.get_context("spawn"),
                initializer=_prepare,
                initargs=(trial.folder, trial.site, trial.mappings),
            )
            for _ in range(workers):
                self._pool.submit(_wake)

    async def consult(self, record: Record, as_of: date) -> Consultation:
        if not nominated(self._ready, record):
            return consult(self._ready, record, as_of=as_of)
        key = _digest(record, as_of)
        known = self._known.get(key)
        if known is None:
            known = await self._done(_consult, record, as_of)
            self._known[key] = known
            if len(self._known) > _REMEMBERED:
                self._known.popitem(last=False)
        self._known.move_to_end(key)
        return known

    async def advise(self, record: Record, orders: tuple[RawResource, ...], as_of: date) -> Advice:
        before = await self.consult(record, as_of)
        if before.standing in ("no candidate", "unknown"):
            return Advice(before)
        return await self._done(_advise, record, as_of, orders, before)

    async def _done(self, work: Callable[..., T], *given: object) -> T:
        if self._pool is None:
            return await run_in_threadpool(lambda: work(*given, self._ready))
        return await asyncio.get_running_loop().run_in_executor(self._pool, work, *given)


def _prepare(folder: Path, site: Site, mappings: Path) -> None:
    global _worker
    _worker = counsel(open_trial(folder, site.site_id, mappings)._replace(site=site))


def _wake() -> None:
    """Nothing: a process that is asked for something is there when somebody waits for it."""


def _mine(ready: Counsel | None) -> Counsel:
    found = ready or _worker
    assert found is not None  # noqa: S101 - _prepare ran before any work
    return found


def _consult(record: Record, as_of: date, ready: Counsel | None = None) -> Consultation:
    return consult(_mine(ready), record, as_of=as_of)


def _advise(
    record: Record,
    as_of: date,
    orders: tuple[RawResource, ...],
    before: Consultation,
    ready: Counsel | None = None,
) -> Advice:
    return advise(_mine(ready), record, orders, as_of=as_of, before=before)


def _digest(record: Record, as_of: date) -> bytes:
    digest = hashlib.sha256(f"{record.patient}\n{as_of}\n".encode())
    for one in record.resources:
        digest.update(one.line)
        digest.update(b"\n")
    digest.update(msgspec.json.encode(record.coverage))
    return digest.digest()
