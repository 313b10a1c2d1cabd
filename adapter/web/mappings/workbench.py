"""What the mapping page works on: the rules in force, the last screening, and what was proposed."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Mapping
from typing import NamedTuple

from sqlalchemy import Engine

from adapter.errors import ConfigError
from adapter.mapping import decide
from adapter.mapping.impact import Impact, impact
from adapter.mapping.suggest import Suggestion, suggestions
from adapter.mapping.unmapped import Unmapped, unmapped
from adapter.model import wire
from adapter.pipeline import read_screening
from adapter.source.landing import open_landing
from adapter.store.mapping_log import MappingLog, Proposal
from adapter.trial import Trial, Workspace, versions_of
from adapter.web.access import Clock

_REMEMBERED = 32  # impacts; one takes as long as a screening


class Unknown(NamedTuple):
    """An unknown code or unit with what it may mean; ``token`` stands for it in an address."""

    token: str
    row: Unmapped
    suggestions: tuple[Suggestion, ...]


class Workbench:
    """``current`` gives the trial in force; ``adopted`` is told another, and who changed it."""

    def __init__(
        self,
        current: Callable[[], Trial],
        workspace: Workspace,
        engine: Engine,
        clock: Clock,
        adopted: Callable[[Trial, str], None],
    ) -> None:
        self._current = current
        self.workspace = workspace
        self.engine = engine
        self.clock = clock
        self.log = MappingLog(engine)
        self._adopted = adopted
        self._impacts: dict[str, Impact] = {}
        self._busy = threading.Lock()

    @property
    def trial(self) -> Trial:
        return self._current()

    @property
    def site(self) -> str:
        return self.trial.site.site_id

    def unknown(self) -> tuple[Unknown, ...] | None:
        """The most people first; None if nothing was screened yet."""
        try:
            facts = read_screening(self.workspace).facts
        except ConfigError:
            return None
        terminology = self.trial.terminology
        return tuple(
            Unknown(hashlib.sha256(row.key.encode()).hexdigest()[:16], row, suggestions(row, terminology))
            for row in unmapped(facts, terminology)
        )

    def impact(self, file: str, cells: Mapping[str, str]) -> Impact:
        """What the row would change; remembered while rules, records and row are the same."""
        versions = versions_of(self.trial, open_landing(self.workspace.landing))
        asked = {**versions, **cells, "file": file, "screening": _digest(self.workspace)}
        key = hashlib.sha256(wire.encode(dict(sorted(asked.items())))).hexdigest()
        with self._busy:  # one at a time: each reads every candidate's record
            if key not in self._impacts:
                while len(self._impacts) >= _REMEMBERED:
                    del self._impacts[next(iter(self._impacts))]
                self._impacts[key] = impact(self.trial, self.workspace, file, cells)
            return self._impacts[key]

    def approve(self, number: int, *, by: str, why: str, signed: decide.Signed) -> Proposal:
        done, now = decide.approve(
            self.trial, self.engine, number, by=by, why=why, now=self.clock(), signed=signed
        )
        self._adopted(now, by)
        return done

    def roll_back(self, number: int, *, by: str, why: str, signed: decide.Signed) -> None:
        _, now = decide.roll_back(
            self.trial, self.engine, number, by=by, why=why, now=self.clock(), signed=signed
        )
        self._adopted(now, by)

    def content(self, file: str) -> str:
        """The site's file as it is; "" if there is none."""
        path = self.trial.mappings / "sites" / self.site / file
        return path.read_text(encoding="utf-8") if path.exists() else ""


def _digest(workspace: Workspace) -> str:
    summary = workspace.screening / "screening.json"
    return hashlib.sha256(summary.read_bytes()).hexdigest() if summary.exists() else ""
