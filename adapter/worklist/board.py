"""The whole worklist of one run, read once and kept until another run has put new results in its place.

Only the lines of the list are held in memory. A person's evidence is read from the workspace when their page
is asked for (:class:`adapter.worklist.lines.Lines`): ten thousand candidates cost megabytes, not gigabytes.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import re
import threading
import time
from collections.abc import Iterable, Mapping
from datetime import date
from pathlib import Path
from typing import NamedTuple

from adapter.errors import AdapterError, ConfigError
from adapter.model import wire
from adapter.model.coverage import Coverage
from adapter.model.decision import Decision
from adapter.model.facts import Event, Facts, Finding, Intervention, Subject
from adapter.model.issue import Issue
from adapter.model.ladder import Ladder
from adapter.model.monitoring import Monitoring
from adapter.model.results import ResultsTable
from adapter.monitoring import read_monitoring
from adapter.pipeline import Trial, Workspace, enrolment_days
from adapter.protocol.ladder_load import load_ladders
from adapter.screening import Summary
from adapter.worklist.candidate import Row, row_of
from adapter.worklist.lines import Lines

PATIENCE = 1.0  # seconds that a page may wait for a board
_TRIES = 5
_SWAPPED = 0.02  # seconds in which a screening takes another's place
_log = logging.getLogger(__name__)
# A result of which nobody has said what it measures; answers to questions have no concept either.
_UNMAPPED = re.compile(rb'"concept":"","source":\{[^{}]*\},"category":"laboratory"')


class Tables(NamedTuple):
    """The screening's facts, to be read person by person; ``coverage`` is everybody's."""

    findings: Lines[Finding]
    events: Lines[Event]
    interventions: Lines[Intervention]
    issues: tuple[Issue, ...]
    coverage: tuple[Coverage, ...]


class Board:
    """One run's results. ``rows`` are in Patient.id order; ``version`` tells one run from another."""

    def __init__(
        self,
        trial: Trial,
        version: str,
        summary: Summary,
        rows: tuple[Row, ...],
        decisions: Lines[Decision],
        people: Mapping[str, Subject],
        tables: Tables,
        ladders: tuple[Ladder, ...],
        followed: Mapping[str, Monitoring],
        results: ResultsTable | None,
    ) -> None:
        self.trial = trial
        self.version = version
        self.summary = summary
        self.rows = rows
        self.ladders = ladders
        self.followed = followed
        self.results = results
        self.people = people
        self.tables = tables
        self._decisions = decisions
        self._by_key = {row.key: row for row in rows}
        self._keys = {row.subject: row.key for row in rows}

    @property
    def as_of(self) -> date:
        return self.summary.as_of

    def row(self, key: str) -> Row | None:
        return self._by_key.get(key)

    def key_of(self, subject: str) -> str:
        """The key in addresses of a Patient.id, also of one merged into another; "" for nobody here."""
        survivor = next((one.id for one in self.people.values() if subject in one.merged), subject)
        return self._keys.get(survivor, "")

    def decision(self, row: Row) -> Decision:
        [found] = self._decisions.of(row.subject)
        return found

    def facts(self, row: Row) -> Facts:
        """The person's own facts, as the screening left them."""
        tables = self.tables
        return Facts(
            subjects=(self.people[row.subject],),
            findings=tables.findings.of(row.subject),
            events=tables.events.of(row.subject),
            interventions=tables.interventions.of(row.subject),
            issues=tuple(one for one in tables.issues if one.subject == row.subject),
            coverage=tuple(one for one in tables.coverage if one.subject in ("", row.subject)),
        )


def key_of(secret: bytes, subject: str) -> str:
    """What stands in addresses instead of a Patient.id: without the secret nobody can tell whose it is."""
    return hmac.new(secret, subject.encode(), hashlib.sha256).hexdigest()[:20]


class Boards:
    """The board of a workspace, read anew when a screening or a monitoring has replaced the former one."""

    def __init__(self, trial: Trial, workspace: Workspace, secret: bytes) -> None:
        self.trial = trial
        self.workspace = workspace
        self._secret = secret
        self._held: Board | None = None
        self._ladders: tuple[Trial, tuple[Ladder, ...]] | None = None
        self._told: frozenset[str] = frozenset()
        self._took = 0.0
        self._reading = threading.Lock()

    def current(self, told_eligible: Iterable[str] = (), *, newest: bool = False) -> Board:
        """Raises :class:`ConfigError` if nothing was screened, or another protocol. ``told_eligible`` are the
        people of whom the hospital was once told that they are eligible.

        A board that takes long to read is read in the background and the former one shown meanwhile, unless
        it has to be the ``newest``.
        """
        told = frozenset(told_eligible)
        held = self._held
        if held is not None and self._is_current(held, told):
            return held
        if held is not None and self._took > PATIENCE and not newest:
            if self._reading.acquire(blocking=False):
                threading.Thread(target=self._refresh, args=(told,), daemon=True).start()
            return held
        with self._reading:
            return self._renewed(told)

    def _is_current(self, held: Board, told: frozenset[str]) -> bool:
        return held.version == self._version() and self._told == told and held.trial is self.trial

    def _refresh(self, told: frozenset[str]) -> None:
        try:
            self._renewed(told)
        except AdapterError as fault:  # who asks next is told
            _log.warning("the worklist could not be read again: %s", type(fault).__name__)
        finally:
            self._reading.release()

    def _renewed(self, told: frozenset[str]) -> Board:
        held = self._held
        if held is None or not self._is_current(held, told):
            began = time.monotonic()
            held = self._held = self._read(told)
            self._told, self._took = told, time.monotonic() - began
        return held

    def _version(self) -> str:
        return " ".join(
            _state_of(path)
            for path in (
                self.workspace.screening / "screening.json",
                self.workspace.monitoring / "results.json",
            )
        )

    def _read(self, told: frozenset[str]) -> Board:
        for _ in range(_TRIES):
            version = self._version()
            try:
                found = self._read_once(version, told)
            except (FileNotFoundError, ConfigError):
                if self._held is not None:  # there was one: another is about to take its place
                    time.sleep(_SWAPPED)
                elif version == self._version():
                    raise ConfigError(
                        "no screening here",
                        where=str(self.workspace.screening),
                        fix="run adapter screen first",
                    ) from None
                continue
            if version == self._version():
                return found
        raise ConfigError(
            "the results change faster than they can be read",
            where=str(self.workspace.screening),
            fix="load the page again",
        )

    def _read_once(self, version: str, told: frozenset[str]) -> Board:
        folder = self.workspace.screening
        summary = wire.decode((folder / "screening.json").read_bytes(), Summary)
        if summary.protocol != self.trial.protocol.id:
            raise ConfigError(f"the screening here is of {summary.protocol}", where=str(folder))
        facts = folder / "facts"
        findings = Lines(facts / "findings.ndjson", Finding, _UNMAPPED)
        people = {one.id: one for one in wire.read_rows(facts / "subjects.ndjson", Subject)}
        enrolments = _enrolments(facts / "events.ndjson")
        entered = enrolment_days(
            Facts(events=tuple(one for rows in enrolments.values() for one in rows)),
            self.trial.protocol.id,
            summary.as_of,
        )
        report = read_monitoring(self.workspace)
        followed = {row.subject: row for row in report.rows} if report is not None else {}
        rows = tuple(
            row_of(
                self.trial.protocol,
                decision,
                people[decision.subject],
                enrolments.get(decision.subject, ()),
                followed.get(decision.subject),
                as_of=summary.as_of,
                key=key_of(self._secret, decision.subject),
                entered=entered.get(decision.subject),
                told_eligible=decision.subject in told,
                unmapped=decision.subject in findings.marked,
            )
            for decision in wire.read_rows(folder / "decisions.ndjson", Decision)
        )
        tables = Tables(
            findings,
            Lines(facts / "events.ndjson", Event),
            Lines(facts / "interventions.ndjson", Intervention),
            tuple(wire.read_rows(facts / "issues.ndjson", Issue)),
            tuple(wire.read_rows(facts / "coverage.ndjson", Coverage)),
        )
        decisions = Lines(folder / "decisions.ndjson", Decision)
        results = report.results if report is not None else None
        if self._ladders is None or self._ladders[0] is not self.trial:
            trial = self.trial
            self._ladders = trial, load_ladders(trial.folder, trial.vocabulary, trial.protocol)
        ladders = self._ladders[1]
        return Board(
            self.trial, version, summary, rows, decisions, people, tables, ladders, followed, results
        )


def _enrolments(path: Path) -> dict[str, list[Event]]:
    """Who is or was on any study; other events are not even parsed."""
    found: dict[str, list[Event]] = {}
    with path.open("rb") as lines:
        for line in lines:
            if b'"category":"research-subject"' in line:
                event = wire.decode(line, Event)
                found.setdefault(event.subject, []).append(event)
    return found


def _state_of(path: Path) -> str:
    try:
        found = path.stat()
    except FileNotFoundError:
        return "-"
    return f"{found.st_ino}.{found.st_mtime_ns}.{found.st_size}"
