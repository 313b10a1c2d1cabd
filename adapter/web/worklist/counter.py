"""What the pages stand on: the workspace's board, what people wrote, what waits, and runs they start."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import Engine

from adapter import attestations
from adapter.access import Principal
from adapter.store import audit
from adapter.store.audit import Entry
from adapter.store.casebook import Casebook, secret
from adapter.store.outbox import Outbox, OutboxRow
from adapter.trial import Trial, Workspace
from adapter.web.access import Clock
from adapter.web.worklist.runs import Runs
from adapter.worklist.board import Board, Boards

_WAITS = ("planned",)


class Counter:
    """One trial's workspace and database, as the pages use them."""

    def __init__(
        self, trial: Trial, workspace: Workspace, engine: Engine, clock: Clock, runs: Runs | None = None
    ) -> None:
        self.trial = trial
        self.workspace = workspace
        self.engine = engine
        self.clock = clock
        self.casebook = Casebook(engine, trial.protocol.id)
        self.outbox = Outbox(engine)
        self.runs = runs or Runs(trial, workspace, engine, clock)
        self._boards = Boards(trial, workspace, secret(engine, "worklist"))
        self.runs.after = self.newest

    def adopt(self, trial: Trial, who: str) -> None:
        """Judge by other rules or mappings from now on, and judge everybody again by them."""
        self.trial = self.runs.trial = self._boards.trial = trial
        self.runs.ask("screen", who)

    def board(self) -> Board:
        """The board as it stands; raises ConfigError if nothing was screened yet."""
        return self._boards.current(self._told_eligible())

    def newest(self) -> Board:
        """The board of the latest run, however long it takes to read."""
        return self._boards.current(self._told_eligible(), newest=True)

    def _told_eligible(self) -> frozenset[str]:
        """Whom the hospital was once told to be eligible."""
        done = self.outbox.verdicts(("done",), self.trial.protocol.id)
        return frozenset(subject for subject, verdict in done if verdict == "eligible")

    def waiting(self) -> frozenset[str]:
        """About whom something is planned that a person has to allow first."""
        if not self.trial.site.approval:
            return frozenset()
        return frozenset(subject for subject, _ in self.outbox.verdicts(_WAITS, self.trial.protocol.id))

    def outbox_of(self, subject: str) -> tuple[OutboxRow, ...]:
        """Everything planned or sent about somebody, newest first."""
        rows = self.outbox.rows(subject=subject)
        return tuple(row for row in reversed(rows) if row.study == self.trial.protocol.id)

    def attested(self, subject: str) -> tuple[attestations.Json, ...]:
        """Answers given here about somebody, newest first."""
        found = attestations.given(self.engine, subject)
        wanted = self.trial.protocol.questionnaire
        own = [one for one in found if str(one.get("questionnaire", "")).partition("|")[0] == wanted]
        return tuple(sorted(own, key=lambda one: (one["authored"], one["meta"]["lastUpdated"]), reverse=True))

    def seen(self, principal: Principal, page: str, what: Iterable[str] = (), **detail: object) -> None:
        """A row of the audit: who looked at what. References only, no words about anybody."""
        now: datetime = self.clock()
        with self.engine.begin() as connection:
            audit.append(
                connection, Entry(now, principal.account, "see", tuple(what), {"page": page, **detail})
            )
