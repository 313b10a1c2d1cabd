"""The results of all batches, merged into ``screening/`` as one run over everything would have written it."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from adapter.model import wire
from adapter.model.certificate import Certificate
from adapter.model.coverage import order
from adapter.model.funnel import Sifted, together
from adapter.model.issue import Issue
from adapter.screening import results
from adapter.screening.judge import accounts_of, gathered, issue_order
from adapter.screening.merge import issues_in_order
from adapter.screening.parallel import verdicts
from adapter.screening.results import Screening
from adapter.screening.task import Task
from adapter.source.landing import Landing


class Written(NamedTuple):
    screening: Screening
    people: int


class Counts(NamedTuple):
    """Of everything landed: lines, lines that the sieve kept, Patients."""

    read: int
    kept: int
    patients: int


def write(
    task: Task,
    landing: Landing,
    issues: Iterable[Issue],
    certificate: Certificate,
    versions: dict[str, str],
    judged: Sequence[Path],
    counts: Counts,
    reused: int,
) -> Written:
    """Merge by streaming: what is in memory at a time is one person's rows of each file."""
    totals = [verdicts.total_of(path) for path in judged]
    accounts = accounts_of(one.accounts for one in totals)
    funnel = together(counts.patients, (one.funnel for one in totals))
    lost = gathered(row for one in totals for row in one.lost)
    screening = Screening(
        task.as_of,
        task.trial.protocol.id,
        versions,
        Sifted(counts.read, counts.read - counts.kept, accounts),
        funnel,
        task.workspace.screening,
        task.workspace.screening,
        reused,
    )
    with results.draft(task.workspace) as folder:
        facts = folder / "facts"
        people = _tables(folder, judged)
        own = sorted({*landing.issues, *issues}, key=issue_order)
        wire.write_rows(
            facts / "issues.ndjson", issues_in_order([own, *(verdicts.issues_of(path) for path in judged)])
        )
        wire.write_rows(facts / "accounts.ndjson", accounts)
        wire.write_rows(facts / "coverage.ndjson", sorted((*landing.coverage, *lost), key=order))
        results.finish(screening, certificate, folder)
    return Written(screening, people)


def _tables(folder: Path, judged: Sequence[Path]) -> int:
    people = 0
    with (
        (folder / "facts" / "subjects.ndjson").open("wb") as subjects,
        (folder / "facts" / "findings.ndjson").open("wb") as findings,
        (folder / "facts" / "events.ndjson").open("wb") as events,
        (folder / "facts" / "interventions.ndjson").open("wb") as interventions,
        (folder / "decisions.ndjson").open("wb") as decisions,
        (folder / "basis.ndjson").open("wb") as basis,
        ExitStack() as stack,
    ):
        tables = (subjects, findings, events, interventions)
        files = {path: stack.enter_context(path.open("rb")) for path in judged}
        for _, path, span in heapq.merge(*(verdicts.people_of(path) for path in judged)):
            person = verdicts.person_at(files[path], span)
            for table, rows in zip(tables, person.tables, strict=True):
                table.write(rows)
            decisions.write(person.decision)
            basis.write(person.basis)
            people += 1
    return people
