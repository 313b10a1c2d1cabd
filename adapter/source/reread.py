"""Read again only the charts that a hospital told of: one type of one patient, not everybody's record.

A message names a resource; whose it is now is read from the server, whose it was from the landing, and each
chart (all of one type of one patient) that it touches is searched in full. The landing then holds, byte for
byte, what a whole sync would have left had nothing else changed. Whenever that is not certain there is no
answer, and a sync has to find out: another patient may be a candidate now, an answer is not whole, a drug or
a patient record itself changed. What is read this way tells nothing about other charts, so the manifest
notes it (``reread``) and the next sync asks for changes from before it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import msgspec

from adapter.model.candidates import CandidateQuery
from adapter.source.changes import Key, head_of, is_older
from adapter.source.charts import WHOLE, medications_of
from adapter.source.client import Announced, FhirClient, Refusal
from adapter.source.landing import LandedFile, Landing, LandingWriter, open_landing
from adapter.source.nominate import holds, subjects_of
from adapter.source.questions import BY_PATIENT
from adapter.source.remembered import Remembered
from adapter.source.search import Entry
from adapter.source.sync import Syncer, other_question

MOST = 50  # resources told of at once; of more, a sync is the shorter way
_JSON = msgspec.json.Decoder()
_GONE = frozenset({404, 410})
Chart = tuple[str, str]  # a type, a patient


class Reread(NamedTuple):
    """``latest`` revises ``former``, unless nothing had changed: then they are the same."""

    former: Landing
    latest: Landing
    changes: dict[str, int]
    charts: tuple[Chart, ...]
    requests: int


async def reread(
    client: FhirClient,
    query: CandidateQuery,
    target: Path,
    references: Iterable[str],
    *,
    now: datetime,
    announced: Announced | None = None,
) -> Reread | None:
    """Bring the charts up to date that these resources (``Type/id``) touch; None where it takes a sync.

    What the server ``announced`` is not asked again while it is known. Raises what reading a server raises;
    then, and without an answer, the landing stands as it was.
    """
    former = open_landing(target)
    asked = former.manifest.asked
    named = sorted(set(references))
    if asked.get("kind") != "rest" or asked.get("server") != str(client.base) or len(named) > MOST:
        return None
    if other_question(asked, query) or former.moved:
        return None
    return await _Charts(client, query, former, now, announced or Announced()).reread(named)


class _Charts:
    def __init__(
        self, client: FhirClient, query: CandidateQuery, former: Landing, now: datetime, announced: Announced
    ) -> None:
        self._client, self._query, self._former, self._now = client, query, former, now
        self._announced = announced
        self._memory = Remembered(former)
        self._owners: dict[Key, set[str]] = dict(self._memory.owners())
        self._read: dict[Key, Entry] = {}
        self._why: dict[Key, str] = {}

    async def reread(self, named: list[str]) -> Reread | None:
        touched: set[Chart] = set()
        for reference in named:
            kind, _, name = reference.partition("/")
            found = await self._touched(kind, name) if kind in BY_PATIENT else None
            if found is None:
                return None
            touched |= found
        if not touched:
            return Reread(self._former, self._former, {}, (), self._client.requests)
        if not all(self._is_plain(chart) for chart in touched):
            return None
        can = await self._announced.by(self._client, self._now)
        syncer = Syncer(self._client, can, lambda kind, raw: None, self._memory, asked_on=self._now.date())
        charts: dict[Chart, list[Entry]] = {}
        for kind, patient in sorted(touched):
            entries, lack = await syncer.of_patient(kind, BY_PATIENT[kind], patient)
            if lack != WHOLE or syncer.issues or self._client.withheld(kind):
                return None
            if not self._drugs_stand(entries):
                return None
            charts[kind, patient] = self._with_what_was_read(kind, patient, entries)
        return self._landed(charts)

    async def _touched(self, kind: str, name: str) -> set[Chart] | None:
        """The candidates' charts that a resource is or was part of; None if only a sync can tell."""
        before = self._owners.get((kind, name), set()) & self._memory.patients
        where = f"{kind} read"
        try:
            url = self._client.url(f"{kind}/{name}")
            raw = bytes(await self._client.get(url, msgspec.Raw, where=where))
        except Refusal as refusal:
            if refusal.status not in _GONE:
                return None
            self._why[kind, name] = refusal.reason
            return {(kind, patient) for patient in before}
        if head_of(raw).key != (kind, name):
            return None
        ids, identifiers = subjects_of(_JSON.decode(raw))
        if identifiers or not ids or (ids - self._memory.patients and self._may_nominate(kind, raw)):
            return None
        self._read[kind, name] = Entry(raw, kind, name, head_of(raw).meta.versionId, where)
        if before - ids:
            self._why[kind, name] = "now another patient's"
        return {(kind, patient) for patient in before | (ids & self._memory.patients)}

    def _may_nominate(self, kind: str, raw: bytes) -> bool:
        query = self._query
        needles = query.codes | query.texts | query.studies
        return kind == "ResearchSubject" or (kind in query.resource_types and holds(raw, needles))

    def _is_plain(self, chart: Chart) -> bool:
        """Whether the chart was read whole before, all of the patient's today, and the file it stands in is
        as a sync would write it."""
        kind, patient = chart
        rows = [row for row in self._former.coverage if (row.resource_type, row.subject) == chart]
        if chart not in self._memory.complete or len(rows) != 1 or rows[0].limited:
            return False
        ends = {row.end for row in self._former.coverage if row.subject == patient and row.complete}
        if ends != {self._now.date()}:
            return False
        stands = [raw.line for raw in self._former.resources(frozenset({kind}))]
        return stands == self._lines(kind, {}) and len(self._files_of(kind)) <= 1

    def _files_of(self, kind: str) -> list[LandedFile]:
        return [one for one in self._former.manifest.files if kind in one.types or "" in one.types]

    def _lines(self, kind: str, charts: Mapping[Chart, list[Entry]]) -> list[bytes]:
        """Everybody's resources of a type in the order in which a crawl hands them over."""
        lines: dict[tuple[str, str], bytes] = {}
        for patient in sorted(self._memory.patients):
            known = charts.get((kind, patient))
            entries = self._memory.chart(kind, patient).values() if known is None else known
            for one in sorted(entries, key=lambda one: (one.id, one.version)):
                if one.resource_type == kind:
                    lines.setdefault((one.id, one.version), one.raw)
        return list(lines.values())

    def _drugs_stand(self, entries: Iterable[Entry]) -> bool:
        """Whether every Medication that a chart names or brings is landed, as it is."""
        drugs = self._former.resources(frozenset({"Medication"}))
        known = {head_of(one.line).id: one.line for one in drugs}
        for entry in entries:
            if entry.resource_type == "Medication" and known.get(entry.id) != entry.raw:
                return False
            named = medications_of(_JSON.decode(entry.raw)) if b"medicationReference" in entry.raw else ()
            if not known.keys() >= set(named):
                return False
        return True

    def _with_what_was_read(self, kind: str, patient: str, entries: list[Entry]) -> list[Entry]:
        """A search may lag behind the resource itself: the version that was read stands."""
        found = {one.id: one for one in entries if one.resource_type == kind}
        for (of, name), read in self._read.items():
            if of != kind or patient not in subjects_of(_JSON.decode(read.raw))[0]:
                continue
            if name not in found or is_older(found[name].raw, read.raw):
                found[name] = read
        for (of, name), why in self._why.items():
            if of == kind and why.startswith("HTTP"):
                found.pop(name, None)
        return list(found.values())

    def _landed(self, charts: Mapping[Chart, list[Entry]]) -> Reread:
        kinds = {kind for kind, _ in charts}
        lines = {kind: self._lines(kind, charts) for kind in sorted(kinds)}
        same = {kind for kind in kinds if lines[kind] == self._lines(kind, {})}
        if same == kinds:
            return Reread(self._former, self._former, {}, tuple(charts), self._client.requests)
        manifest = self._former.manifest
        replaced = set(chain.from_iterable(self._files_of(kind) for kind in kinds - same))
        with LandingWriter(self._former.folder, revises=self._former) as writer:
            for kind in sorted(kinds - same):
                for line in lines[kind]:
                    writer.write(kind, line)
            writer.why |= self._why
            latest = writer.finish(
                now=self._now,
                asked=manifest.asked,
                coverage=manifest.coverage,
                issues=manifest.issues,
                standing=[one for one in manifest.files if one not in replaced],
                reread=self._memory.reread | {f"{kind}/{patient}" for kind, patient in charts},
            )
            changes = dict(sorted(writer.changes.items()))
            return Reread(self._former, latest, changes, tuple(charts), self._client.requests)
