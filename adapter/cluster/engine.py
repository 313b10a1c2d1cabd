"""A screening on a cluster, from the landing to what lies under ``screening/``: the bytes of a local run.

The driver holds what grows with the candidates (ids, ties, issues), the executors what grows with the
hospital. Nobody's former decision is reused: everyone is judged anew, which gives the same.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import ExitStack
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from adapter.cluster import passes
from adapter.cluster.judging import Brief
from adapter.cluster.parts import Parts
from adapter.cluster.passes import Counts
from adapter.cluster.ranges import MIB, plan, stored, verify
from adapter.cluster.tasks import Reading
from adapter.mappers.terminology.vocabulary import candidate_query
from adapter.model import wire
from adapter.model.candidates import Candidates
from adapter.model.coverage import order
from adapter.model.funnel import Sifted, together
from adapter.screening import results
from adapter.screening.dropped import SPECIMEN, Sought
from adapter.screening.judge import (
    Question,
    by_subject,
    gathered,
    issue_order,
    rules_of,
)
from adapter.screening.results import Screening
from adapter.screening.task import Task
from adapter.screening.ties import Met, homes
from adapter.source.landing import Landing, open_landing
from adapter.source.ndjson import Limits

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

Progress = Callable[[str], None]


class Sizes(NamedTuple):
    """How work is cut: bytes a task reads, bytes of lines judged together. The result is the same."""

    read: int = 128 * MIB
    unit: int = 8 * MIB


class Lines(NamedTuple):
    """What is to be judged: dealt rows, what they hold, and what their keys come to."""

    rows: DataFrame
    counts: Counts
    met: Met


def screen(
    spark: SparkSession,
    task: Task,
    *,
    data_at: str = "",
    sizes: Sizes | None = None,
    limits: Limits | None = None,
    progress: Progress = lambda _: None,
) -> Screening:
    """:func:`adapter.screening.screen` on a cluster; leaves the same bytes under ``screening/``.

    ``data_at`` is the landing's folder as executors see it, a path or URI; the landing itself unless given.
    Raises :class:`SourceUntrustworthy` if a file is not there, :class:`Retriable` if the cluster gives up.
    """
    landing = open_landing(task.workspace.landing)
    sizes = sizes or Sizes()
    files = stored(landing.manifest.files, str(landing.folder.resolve()), data_at)
    verify(files)
    reading = Reading(plan(files, sizes.read), limits)
    with passes.as_cut(spark):
        return _Run(spark, task, landing, reading, sizes, progress).screening()


class _Run:
    """One screening under way."""

    def __init__(
        self,
        spark: SparkSession,
        task: Task,
        landing: Landing,
        reading: Reading,
        sizes: Sizes,
        progress: Progress,
    ) -> None:
        self.spark, self.task, self.landing, self.reading = spark, task, landing, reading
        self.sizes, self.progress = sizes, progress

    def screening(self) -> Screening:
        trial = self.task.trial
        self.progress(f"looking for candidates in {len(self.reading.tasks)} pieces")
        query = candidate_query(trial.terminology, trial.protocol.candidates, trial.protocol.id)
        nominated = passes.nominated(self.spark, self.reading, query, self.landing.moved)
        self.progress(f"reading the records of {len(nominated.ids)} candidates")
        answers = self.task.answers(nominated.ids)
        with ExitStack() as held:
            kept = passes.dealt(self.spark, self.reading, nominated.read, trial, answers.asked)
            lines = self._with_what_they_need(held, held.enter_context(kept), nominated)
            opinions = self._opinions(held, lines, nominated)
            self.progress("writing what was decided")
            return self._kept(opinions, lines.counts, nominated, answers.given)

    def _with_what_they_need(self, held: ExitStack, rows: DataFrame, nominated: Candidates) -> Lines:
        """The lines kept, with those of others that they look up."""
        pieces = [piece for one in self.reading.tasks for piece in one]
        specimens = any(piece.may_hold(SPECIMEN) for piece in pieces)
        counts = Counts(rows, pieces)
        met = passes.met(rows, counts, specimens)
        others = held.enter_context(passes.beyond(self.spark, self.reading, Sought.of(met), nominated.read))
        if others is not None:
            rows = rows.union(others)
            counts = Counts(rows, pieces)
            met = passes.met(rows, counts, specimens)
        return Lines(rows, counts, met)

    def _opinions(self, held: ExitStack, kept: Lines, nominated: Candidates) -> DataFrame:
        """Judge all units; again if one more line turns out to cost everybody, which one unit cannot know."""
        task, trial, counts = self.task, self.task.trial, kept.counts
        units = max(1, counts.bytes // self.sizes.unit)
        tied = homes(kept.met.pairs)
        passes.shuffle_into(self.spark, units)
        lines = passes.in_units(self.spark, kept.rows, tied, units)
        _, versions = task.versions(self.landing)
        coverage, rules = by_subject(self.landing.coverage), rules_of(trial, versions)
        self.progress(f"judging {counts.lines} lines in {units} units")
        question = Question(trial, task.as_of, nominated.ids, coverage, counts.gaps, rules)
        while True:
            brief = Brief(question, counts.shelf, counts.places)
            judged = held.enter_context(passes.judged(lines, brief))
            gaps = passes.gaps(judged)
            if gaps == question.gaps:
                return judged
            question = question._replace(gaps=gaps)

    def _kept(self, judged: DataFrame, counts: Counts, nominated: Candidates, answers: int) -> Screening:
        task, landing = self.task, self.landing
        certificate, versions = task.versions(landing)
        landed = landing.lines + answers
        patients = counts.patients + sum(
            file.lines for file in landing.manifest.files if file.types == ("Patient",)
        )
        found = (
            msgspec.structs.replace(one, reference=counts.place(one.reference)) for one in nominated.issues
        )
        with results.draft(task.workspace) as folder:
            parts = Parts(folder / "parts")
            for one in passes.opinions(judged):
                parts.add(one)
            parts.write(folder, sorted({*landing.issues, *found}, key=issue_order))
            shutil.rmtree(folder / "parts")
            wire.write_rows(folder / "facts" / "accounts.ndjson", parts.accounts)
            coverage = sorted((*landing.coverage, *gathered(parts.lost)), key=order)
            wire.write_rows(folder / "facts" / "coverage.ndjson", coverage)
            screening = Screening(
                as_of=task.as_of,
                protocol=task.trial.protocol.id,
                versions=versions,
                sifted=Sifted(landed=landed, sieved=landed - counts.lines, accounts=parts.accounts),
                funnel=together(patients, (parts.funnel,)),
                facts=task.workspace.screening,
                decisions=task.workspace.screening,
            )
            results.finish(screening, certificate, folder)
        return screening
