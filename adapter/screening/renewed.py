"""The screening of a landing in which a few charts changed: the former one, but for the people they touch.

Everybody is in one unit with whoever shares evidence with them (:mod:`adapter.screening.ties`); a unit in
which no line changed comes to what it came to before. So the units of the lines that changed are judged as
they were and as they are: what the former opinion added to the screening is taken out, what the present one
adds is put in. The result is the same bytes as of a screening of everything. Where that is not certain
there is no answer, and everything is screened: another day, other rules, a former opinion that is not the
one on disk, a line that nobody can be told to own.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain
from typing import TypeVar

from adapter.errors import ConfigError
from adapter.mappers.terminology.vocabulary import candidate_query
from adapter.model.candidates import Candidates
from adapter.model.coverage import order
from adapter.model.facts import Event, Facts, Finding, Intervention, Subject
from adapter.model.funnel import Sifted, funnel_of
from adapter.model.resource import RawResource
from adapter.screening import results
from adapter.screening.deal import LENT, Dealt, Node, deal
from adapter.screening.dropped import Sought, dropped
from adapter.screening.judge import (
    Former,
    Opinion,
    Question,
    accounts_of,
    by_subject,
    decide,
    enrolment_days,
    issue_order,
    rules_of,
    without,
)
from adapter.screening.readfiles import ReadFiles
from adapter.screening.results import Screening
from adapter.screening.task import Task
from adapter.screening.ties import Met, homes, meet
from adapter.screening.whole import patients_in
from adapter.source.landing import Landing, Tally
from adapter.trial import landing_sha256

Row = Subject | Finding | Event | Intervention
T = TypeVar("T", bound=Row)


class _State:
    """One landing with what was answered on our own pages, line by line, and where each line belongs."""

    def __init__(self, task: Task, landing: Landing, files: ReadFiles) -> None:
        query = candidate_query(
            task.trial.terminology, task.trial.protocol.candidates, task.trial.protocol.id
        )
        self.landing = landing
        self.nominated: Candidates = files.candidates(landing, query)
        read = self.nominated.read
        self.answers = task.answers(self.nominated.ids)
        kept = [files.kept(landing, file, read) for file in landing.manifest.files]
        self.tally = Tally(sum(one.tally.read for one in kept), sum(one.tally.given for one in kept))
        asked = self.answers.asked
        dealt = tuple(chain.from_iterable(one.dealt for one in kept))
        besides = (*dropped(landing, Sought.of(_met(dealt)), read, self.tally), *asked)
        self.lines = (*chain.from_iterable(one.lines for one in kept), *besides)
        self.dealt = (*dealt, *(deal(one.line, one.where, read) for one in besides))

    @property
    def whom(self) -> tuple[frozenset[str], frozenset[str]]:
        return self.nominated.ids, self.nominated.read

    def of(self, units: frozenset[Node], home: dict[Node, Node]) -> list[RawResource]:
        return [
            line
            for line, dealt in zip(self.lines, self.dealt, strict=True)
            if home.get(dealt.node, dealt.node) in units
        ]

    @property
    def lent(self) -> list[RawResource]:
        return [one for one in self.lines if one.resource_type in LENT]


def renewed(
    task: Task, former_landing: Landing, landing: Landing, files: ReadFiles | None = None
) -> tuple[Screening, frozenset[str]] | None:
    """The screening of ``landing``, kept in the workspace, and whom it judged anew; None where everything has
    to be screened. ``former_landing`` is the one that the screening in the workspace is of. What was read in
    ``files`` is not read again."""
    files = files or ReadFiles()
    try:
        before = results.read_screening(task.workspace)
    except ConfigError:
        return None
    if not _is_of(before, task, former_landing):
        return None
    if landing is former_landing:
        return before, frozenset()
    was, now = _State(task, former_landing, files), _State(task, landing, files)
    files.keep(landing)
    if was.whom != now.whom or not all(one.named for one in (*was.dealt, *now.dealt)):
        return None
    units, home = _touched(was, now)
    certificate, versions = task.versions(landing)
    rules = rules_of(task.trial, versions)
    stands = results.read_former(task.workspace)
    old, new = (_opinion(task, state, units, home, rules, stands) for state in (was, now))
    people = frozenset(one.subject for one in (*old.basis, *new.basis))
    basis = {subject: row for subject, (row, _) in stands.items()}
    if old.lost or new.lost or any(basis.get(one.subject) != one for one in old.basis):
        return None
    if before.facts.coverage != tuple(sorted(former_landing.coverage, key=order)):
        return None
    screening = _joined(task, before, was, now, old, new, people, versions)
    kept = [row for subject, row in basis.items() if subject not in people]
    rows = sorted((*kept, *new.basis), key=lambda one: one.subject)
    results.keep(screening, rows, certificate, task.workspace)
    return screening, people


def _is_of(before: Screening, task: Task, landing: Landing) -> bool:
    """Whether a screening is of this day, landing, rules and answers."""
    _, versions = task.versions(landing)
    same = before.as_of == task.as_of and before.protocol == task.trial.protocol.id
    return (
        same and before.versions == versions and before.versions["landing_sha256"] == landing_sha256(landing)
    )


def _touched(was: _State, now: _State) -> tuple[frozenset[Node], dict[Node, Node]]:
    """The units of the lines that are in one landing alone, tied as in both together."""
    ties = chain.from_iterable(
        chain(
            ((one.node, other) for one in state.dealt for other in one.ties),
            _met(state.dealt).pairs,
        )
        for state in (was, now)
    )
    home = homes(ties)
    lines = [{one.line for one in state.lines} for state in (was, now)]
    changed = lines[0] ^ lines[1]
    nodes = {
        dealt.node
        for state in (was, now)
        for line, dealt in zip(state.lines, state.dealt, strict=True)
        if line.line in changed
    }
    return frozenset(home.get(node, node) for node in nodes), home


def _met(dealt: Iterable[Dealt]) -> Met:
    return meet((key, one.node, role) for one in dealt for key, role in one.keys)


def _opinion(
    task: Task,
    state: _State,
    units: frozenset[Node],
    home: dict[Node, Node],
    rules: bytes,
    former: Former,
) -> Opinion:
    lines = state.of(units, home)
    mine = {one.line for one in lines}
    lent = [one for one in state.lent if one.line not in mine]
    coverage = by_subject(state.landing.coverage)
    question = Question(task.trial, task.as_of, state.nominated.ids, coverage, (), rules)
    return decide(lines, lent, question, former)


def _joined(
    task: Task,
    before: Screening,
    was: _State,
    now: _State,
    old: Opinion,
    new: Opinion,
    people: frozenset[str],
    versions: dict[str, str],
) -> Screening:
    gone = {*old.facts.issues, *was.nominated.issues, *was.landing.issues}
    come = (*new.facts.issues, *now.nominated.issues, *now.landing.issues)
    facts = Facts(
        subjects=_rows(before.facts.subjects, new.facts.subjects, people),
        findings=_rows(before.facts.findings, new.facts.findings, people),
        events=_rows(before.facts.events, new.facts.events, people),
        interventions=_rows(before.facts.interventions, new.facts.interventions, people),
        issues=tuple(sorted({*(set(before.facts.issues) - gone), *come}, key=issue_order)),
        accounts=without(accounts_of((before.facts.accounts, new.facts.accounts)), old.facts.accounts),
        coverage=tuple(sorted(now.landing.coverage, key=order)),
    )
    others = [one for one in before.decisions if one.subject not in people]
    decisions = tuple(sorted((*others, *new.decisions), key=lambda one: one.subject))
    rules = task.trial.protocol
    decided = frozenset(one.subject for one in decisions)
    funnel = funnel_of(
        patients_in(now.landing),
        facts,
        decisions,
        enrolled=decided & enrolment_days(facts, rules.id, task.as_of).keys(),
        diagnoses=rules.candidates.events,
        counted=rules.counts,
    )
    given, asked = now.answers.given, len(now.answers.asked)
    sifted = Sifted(now.tally.read + given, now.tally.sieved + given - asked, facts.accounts)
    reused = len(before.decisions) - len(old.decisions) + new.reused
    return Screening(task.as_of, rules.id, versions, sifted, funnel, facts, decisions, reused)


def _rows(before: Sequence[T], new: Sequence[T], people: frozenset[str]) -> tuple[T, ...]:
    return tuple(sorted((*(one for one in before if _subject(one) not in people), *new), key=_subject))


def _subject(row: Row) -> str:
    return row.id if isinstance(row, Subject) else row.subject
