"""A landing small enough to be screened in memory, all people together."""

from __future__ import annotations

from collections.abc import Callable
from itertools import chain

import msgspec

from adapter.mappers.terminology.vocabulary import candidate_query
from adapter.model.coverage import order
from adapter.model.funnel import Sifted
from adapter.screening import results
from adapter.screening.dropped import SPECIMEN, dropped, sought_by
from adapter.screening.judge import Question, by_subject, decide, gathered, only, rules_of
from adapter.screening.results import Screening
from adapter.screening.task import Task
from adapter.source.landing import Landing, Tally


def screen_whole(task: Task, landing: Landing, progress: Callable[[str], None]) -> Screening:
    """Nominate, sieve, map and decide in one process, with everything that is kept in memory."""
    trial, workspace = task.trial, task.workspace
    progress("looking for candidates")
    nominated = landing.candidates(
        candidate_query(trial.terminology, trial.protocol.candidates, trial.protocol.id)
    )
    progress(f"reading the records of {len(nominated.ids)} candidates")
    tally = Tally()
    kept = tuple(landing.resources(candidates=nominated.read, tally=tally))
    sought = sought_by(kept, nominated.read, any(True for _ in landing.files(SPECIMEN)))
    others = dropped(landing, sought, nominated.read, tally)
    answers = task.answers(nominated.ids)
    certificate, versions = task.versions(landing)
    question = Question(
        trial, task.as_of, nominated.ids, by_subject(landing.coverage), (), rules_of(trial, versions)
    )
    former = {} if task.full else results.read_former(workspace)
    opinion = decide(chain(kept, others, answers.asked), (), question, former)
    progress(
        f"{len(opinion.basis) - opinion.reused} people evaluated, "
        f"{opinion.reused} unchanged since the last screening"
    )
    facts = only(opinion.facts, nominated.ids, (*landing.issues, *nominated.issues))
    facts = msgspec.structs.replace(
        facts, coverage=tuple(sorted((*landing.coverage, *gathered(opinion.lost)), key=order))
    )
    read = tally.read + answers.given
    screening = Screening(
        as_of=task.as_of,
        protocol=trial.protocol.id,
        versions=versions,
        sifted=Sifted(
            landed=read,
            sieved=tally.sieved + answers.given - len(answers.asked),
            accounts=facts.accounts,
        ),
        funnel=msgspec.structs.replace(opinion.funnel, patients=patients_in(landing)),
        facts=facts,
        decisions=opinion.decisions,
        reused=opinion.reused,
    )
    results.keep(screening, opinion.basis, certificate, workspace)
    return screening


def patients_in(landing: Landing) -> int:
    return sum(1 for _ in landing.resources(frozenset({"Patient"})))
