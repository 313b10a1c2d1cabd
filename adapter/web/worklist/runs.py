"""Runs that a page starts: screen again after an answer, and plan or send what is to be written.

One at a time and in the background; a page asks how far it is. A run uses the day of the last screening, so
that an answer changes what it is about and nothing else.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from typing import Literal

import httpx
from sqlalchemy import Engine

from adapter import monitoring, pipeline
from adapter.errors import AdapterError
from adapter.store import audit
from adapter.store.audit import Entry
from adapter.trial import Trial, Workspace
from adapter.web.access import Clock

Kind = Literal["screen", "write"]
State = Literal["idle", "running", "failed"]
_log = logging.getLogger(__name__)


class Runs:
    """``base_url`` is the server that is told, "" for none; ``transport`` leads to it where it is this very
    program, ``own`` to our own endpoint where the site names that rung."""

    def __init__(
        self,
        trial: Trial,
        workspace: Workspace,
        engine: Engine,
        clock: Clock,
        *,
        base_url: str = "",
        transport: httpx.AsyncBaseTransport | None = None,
        own: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self.trial = trial
        self.workspace = workspace
        self.engine = engine
        self.clock = clock
        self.base_url = base_url
        self._transport = transport
        self._own = own
        self._lock = threading.Lock()
        self._wanted: list[tuple[Kind, str]] = []
        self._worker: threading.Thread | None = None
        self.failure = ""
        self.after: Callable[[], object] = lambda: None  # what has to be ready before a run counts as ended

    @property
    def state(self) -> State:
        with self._lock:
            if self._worker is not None:
                return "running"
            return "failed" if self.failure else "idle"

    @property
    def writes(self) -> bool:
        """Whether there is a server to be told from here."""
        return bool(self.base_url)

    def ask(self, kind: Kind, who: str) -> None:
        """Do it as soon as what runs now has ended; asked for twice it is done once."""
        with self._lock:
            if (kind, who) not in self._wanted:
                self._wanted.append((kind, who))
            if self._worker is None:
                self.failure = ""
                self._worker = threading.Thread(target=self._work, name="runs", daemon=True)
                self._worker.start()

    def wait(self, seconds: float = 60) -> None:
        """Until nothing runs; for those who stop the program, and for tests."""
        worker = self._worker
        if worker is not None:
            worker.join(seconds)

    def _work(self) -> None:
        while True:
            with self._lock:
                if not self._wanted:
                    self._worker = None
                    return
                kind, who = self._wanted.pop(0)
            try:
                self._do(kind, who)
                self.after()
            except AdapterError as fault:
                self.failure = type(fault).__name__
                _log.warning("a run started from a page failed: %s", type(fault).__name__)
            except Exception as fault:  # noqa: BLE001 - whatever it was, the page has to say that it failed
                self.failure = type(fault).__name__
                _log.error("a run started from a page failed: %s", type(fault).__name__)

    def _do(self, kind: Kind, who: str) -> None:
        if kind == "screen":
            former = pipeline.read_screening(self.workspace)
            done = pipeline.screen(self.trial, self.workspace, as_of=former.as_of)
            if monitoring.read_monitoring(self.workspace) is not None:
                monitoring.monitor(self.trial, self.workspace, as_of=former.as_of)
            detail = {"as_of": done.as_of, "versions": done.versions}
            with self.engine.begin() as connection:
                audit.append(connection, Entry(self.clock(), who, "screen", (), detail))
        if kind == "write" or self.trial.site.approval:
            self._write()

    def _write(self) -> None:
        """Plan what is new and send what is allowed; where the site wants approval, nothing else."""
        if not self.writes:
            return
        asyncio.run(
            monitoring.write_back(
                self.trial,
                self.workspace,
                self.base_url,
                now=self.clock(),
                transport=self._transport,
                own=self._own,
            )
        )
