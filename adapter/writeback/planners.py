"""Planners: for each rung, how to read what is there and plan a screening's or a monitoring's writes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import datetime

from adapter.model.decision import Decision, Overall
from adapter.model.monitoring import Monitoring
from adapter.store.ledger import Memory
from adapter.store.outbox import OutboxRow
from adapter.writeback.courier import Planner
from adapter.writeback.current import read_current, read_monitoring_state
from adapter.writeback.file import state_of_files
from adapter.writeback.monitoring_flag import ProtocolLine
from adapter.writeback.monitoring_plan import plan_monitoring
from adapter.writeback.note import Purpose, monitoring_note, screening_note
from adapter.writeback.note_current import read_notes
from adapter.writeback.note_plan import NoteState, Told, plan_notes
from adapter.writeback.plan import CurrentState, Plan, plan_writeback, refusal
from adapter.writeback.research_study import StudyReference
from adapter.writeback.rungs import NOTES, Way
from adapter.writeback.server import Server

Filed = Callable[[], Iterable[OutboxRow]]


class Screened:
    """Decisions about people who are not on the study."""

    purpose: Purpose = "screening"

    def __init__(self, decisions: Iterable[Decision], study: StudyReference, now: datetime) -> None:
        self.study = study
        self._chosen = tuple(decisions)
        self._now = now
        self.subjects = frozenset(one.subject for one in self._chosen)

    async def state(
        self, server: Server, only: Collection[str], memory: Memory, aliases: Mapping[str, str]
    ) -> CurrentState:
        return await read_current(server, self.study, only, memory, aliases)

    def plan(self, state: CurrentState, memory: Memory, only: Collection[str]) -> tuple[Plan, str]:
        some = [one for one in self._chosen if one.subject in only]
        plan = plan_writeback(some, state, memory, self.study, self._now)
        return plan, state.study or self.study.own_reference

    def told(self, state: NoteState, only: Collection[str]) -> list[Told]:
        some = [one for one in self._chosen if one.subject in only]
        times = Counter(one.subject for one in some)
        found: dict[str, Told] = {}
        for one in some:
            note = screening_note(one, self.study.title, _moved(state, one.subject))
            refused = "SEVERAL_DECISIONS" if times[one.subject] > 1 else refusal(one)
            found[one.subject] = Told(note, one.overall is not Overall.INELIGIBLE, refused)
        return list(found.values())


class Followed:
    """Alerts about people on the study; ``lines`` is what the protocol says by criterion, ``recorded`` the
    status of ResearchSubjects that the server does not hold."""

    purpose: Purpose = "monitoring"

    def __init__(
        self,
        rows: Iterable[Monitoring],
        lines: Mapping[str, ProtocolLine],
        recorded: Mapping[str, str],
        study: StudyReference,
        now: datetime,
    ) -> None:
        self.study = study
        self._rows = tuple(rows)
        self._lines = lines
        self._recorded = recorded
        self._now = now
        self.subjects = frozenset(row.subject for row in self._rows)

    async def state(
        self, server: Server, only: Collection[str], memory: Memory, aliases: Mapping[str, str]
    ) -> CurrentState:
        return await read_monitoring_state(server, self.study, only, memory, aliases)

    def plan(self, state: CurrentState, memory: Memory, only: Collection[str]) -> tuple[Plan, str]:
        some = [row for row in self._rows if row.subject in only]
        return plan_monitoring(some, self._lines, state, memory, self._now, self._recorded), state.study

    def told(self, state: NoteState, only: Collection[str]) -> list[Told]:
        found = []
        for row in self._rows:
            if row.subject in only:
                status = state.people.get(row.subject) or self._recorded.get(row.subject, "")
                note = monitoring_note(row, self._lines, status)
                refused = "" if row.fingerprint else "NO_FINGERPRINT"
                refused = refused or ("NO_EVIDENCE" if note.safety and not note.evidence else "")
                found.append(Told(note, bool(note.safety), refused))
        return found


News = Screened | Followed


def on_server(news: News, server: Server, way: Way, aliases: Mapping[str, str]) -> Planner:
    """Plans against what a server holds."""

    async def resources(memory: Memory, only: Collection[str]) -> tuple[Plan, str]:
        return news.plan(await news.state(server, only, memory, aliases), memory, only)

    async def notes(memory: Memory, only: Collection[str]) -> tuple[Plan, str]:
        state = await read_notes(server, news.study, only, memory, aliases, way)
        return plan_notes(news.told(state, only), state, memory, way), ""

    return notes if way.rung in NOTES else resources


def on_file(news: News, filed: Filed, base_url: str) -> Planner:
    """Plans against what earlier files said."""

    async def plan(memory: Memory, only: Collection[str]) -> tuple[Plan, str]:
        found, _ = news.plan(state_of_files(filed(), base_url), memory, only)
        return found, ""

    return plan


def _moved(state: NoteState, subject: str) -> str:
    """The status that a person gave; our own proposals are none of theirs."""
    status = state.people.get(subject, "")
    return "" if status in ("candidate", "potential-candidate", "ineligible") else status
