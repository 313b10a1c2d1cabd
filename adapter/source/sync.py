"""Bring a landing up to date: crawl again, and take what did not change from what is already here.

The result is the landing that a whole crawl would leave, byte for byte; only less is asked for. Who is a
candidate, their Patient records with the links, and the Medications they refer to are read as in any crawl,
so that new and former candidates, merges and partings need no rule of their own. Of each other type and
patient two short questions are asked: which resources there are (``_elements=id``), and which changed since
the newest stamp seen (``_lastUpdated=ge...``, an hour's overlap).

``_lastUpdated`` is believed of a type only where it was seen to be honoured: the ``self`` link repeats it,
nothing older comes, and the resource that bears the newest stamp, asked for first, comes again. Otherwise,
and wherever the answers do not fit together, the type is searched in full for that patient and compared.

Which version stands: of two the newer by ``versionId``, else by ``lastUpdated`` (``model/versions.py``), so
that a lagging replica cannot undo a correction; if neither tells, the one read later. A full refresh
(``full``) is the server's last word: what it brings stands, even if older.
Source: FHIR R4 search.html (``_lastUpdated``, ``_elements``); http.html#read (410 for what was deleted).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime
from pathlib import Path

import msgspec

from adapter.errors import ConfigError, SourceRefused, SourceUnavailable
from adapter.model.candidates import CandidateQuery
from adapter.source import search as searching
from adapter.source.changes import Key, head_of, is_older
from adapter.source.charts import WHOLE, Lack
from adapter.source.client import Capabilities, FhirClient, Refusal, capabilities
from adapter.source.crawl import Crawler, CrawlReport, Progress, Sink
from adapter.source.landing import Landing, LandingWriter, open_landing
from adapter.source.nominate import subjects_of
from adapter.source.questions import BY_PATIENT, asked_of
from adapter.source.remembered import Remembered, Stamp
from adapter.source.search import Entry, Found

_JSON = msgspec.json.Decoder()
_GONE = frozenset({404, 410})


class SyncReport(msgspec.Struct, frozen=True):
    """What a sync found: changes by kind (``changes.py``), people, and how many charts were asked how.

    ``full`` says why everything was read anew; "" if only changes were asked for.
    """

    generation: int
    changes: dict[str, int]
    candidates: int
    new_candidates: int
    former_candidates: int
    charts_by_change: int
    charts_in_full: int
    requests: int
    full: str = ""


async def sync(
    client: FhirClient,
    query: CandidateQuery,
    target: Path,
    *,
    now: datetime,
    full: bool = False,
    concurrency: int = 4,
    progress: Progress = lambda done, of: None,
) -> tuple[Landing, SyncReport]:
    """Bring the landing at ``target`` up to date from the server it came from.

    Raises ConfigError if there is no landing or it came from elsewhere, and what a crawl raises; then the
    former landing stands as it was.
    """
    former = open_landing(target)
    asked = former.manifest.asked
    if asked.get("kind") != "rest" or asked.get("server") != str(client.base):
        raise ConfigError(
            "what is landed here did not come from this server over REST",
            where=str(target),
            fix="run adapter fetch for this server, or sync the export it came from",
        )
    why = "as asked" if full else other_question(asked, query)
    memory = Remembered(former)
    with LandingWriter(target, revises=former) as writer:
        can = await capabilities(client)
        crawler: Crawler
        if why:
            crawler = Crawler(client, can, writer.write, concurrency, now.date())
        else:
            crawler = Syncer(client, can, writer.write, memory, concurrency, now.date())
        report = await crawler.run(query, (), progress)
        known = crawler.why if isinstance(crawler, Syncer) else {}
        writer.why |= _reasons(memory, report, known)
        landing = writer.finish(
            now=now,
            asked=asked_of(str(client.base), query, report.unanswered, client.scopes()),
            coverage=report.coverage,
            issues=report.issues,
        )
        by_change = crawler.by_change if isinstance(crawler, Syncer) else 0
        people = frozenset(report.candidates)
        return landing, SyncReport(
            generation=landing.manifest.generation,
            changes=dict(sorted(writer.changes.items())),
            candidates=len(people),
            new_candidates=len(people - memory.patients),
            former_candidates=len(memory.patients - people),
            charts_by_change=by_change,
            charts_in_full=len(people) * len(BY_PATIENT) - by_change,
            requests=report.requests,
            full=why,
        )


def other_question(asked: Mapping[str, str], query: CandidateQuery) -> str:
    """Why what is landed answers another question than is asked now; "" if it does not."""
    now = {"codes": query.codes, "texts": query.texts, "studies": query.studies}
    changed = [name for name, words in now.items() if asked.get(name, "") != ",".join(sorted(words))]
    return f"other {' and '.join(changed)} are asked for now" if changed else ""


def _reasons(memory: Remembered, report: CrawlReport, known: Mapping[Key, str]) -> dict[Key, str]:
    """How it is known of each resource, should it be gone, that it is."""
    people = frozenset(report.candidates)
    return {
        key: known.get(key)
        or ("no longer a candidate's" if owners and not owners & people else "absent from a complete answer")
        for key, owners in memory.owners()
    }


class Syncer(Crawler):
    """A crawl with a memory."""

    def __init__(
        self,
        client: FhirClient,
        can: Capabilities,
        sink: Sink,
        memory: Remembered,
        concurrency: int = 4,
        asked_on: date | None = None,
    ) -> None:
        super().__init__(client, can, sink, concurrency, asked_on)
        self._memory = memory
        self._since: dict[str, datetime] = {}
        self._ready: dict[tuple[str, str], list[Entry]] = {}
        self.why: dict[Key, str] = {}
        self.by_change = 0

    async def candidates(self, query: CandidateQuery, *, may_be_refused: bool) -> set[str]:
        """Former candidates stay if a search for candidates that was answered before is not answered now."""
        found = await super().candidates(query, may_be_refused=may_be_refused)
        silent = self.unanswered - self._memory.unanswered
        if silent:
            found |= self._memory.patients
        return found

    async def records_of(self, name: str) -> tuple[list[Entry], str]:
        """A record that is refused, but not gone, stands as it was read before; its coverage is lost."""
        entries, reason = await super().records_of(name)
        before = self._memory.chart("Patient", name).get(name)
        if not entries and before is not None and reason not in _gone_reasons():
            entries = [before]
        elif not entries:
            self.why["Patient", name] = reason
        return entries, reason

    async def before_charts(self, names: list[str]) -> None:
        """Ask each type about the patient who has its newest resource: does ``_lastUpdated`` bring it?"""
        for kind, parameters in BY_PATIENT.items():
            newest = self._memory.newest(kind, names)
            since = self._memory.since(newest) if newest else None
            if newest is None or not self._can.has(kind):
                continue
            if since is None:
                self._disbelieve(kind, "the server's stamps are of the future")
                continue
            self._since[kind] = since
            brought = await self._brought(kind, parameters, newest.patient, control=newest)
            if brought is not None:
                self._ready[kind, newest.patient] = brought

    async def of_patient(
        self, kind: str, parameters: tuple[str, ...], patient: str
    ) -> tuple[list[Entry], Lack]:
        """What there is now of one type of one patient, from the wire or from memory."""
        entries = self._ready.pop((kind, patient), None)
        if entries is None and kind in self._since and (kind, patient) in self._memory.complete:
            entries = await self._brought(kind, parameters, patient)
        if entries is not None:
            self.by_change += 1
            return entries, WHOLE
        entries, lack = await super().of_patient(kind, parameters, patient)
        known = self._memory.chart(kind, patient)
        entries = [self._newer(entry, known, patient) for entry in entries]
        if lack.reason:
            have = {entry.id for entry in entries if entry.resource_type == kind}
            older = [entry for name, entry in known.items() if name not in have]
            entries += older
            lack = Lack(lack.reason, lack.limited, lack.refused and not older)
        return entries, lack

    def _newer(self, entry: Entry, known: Mapping[str, Entry], patient: str) -> Entry:
        """The entry, or what was read before if that is the newer version."""
        old = known.get(entry.id)
        if old is None or old.resource_type != entry.resource_type or not is_older(entry.raw, old.raw):
            return entry
        reference = f"{entry.resource_type}/{entry.id}"
        self._issue(
            "STALE_ANSWER", entry.resource_type, reference, "older than what was read before", patient
        )
        return old

    async def _brought(
        self, kind: str, parameters: tuple[str, ...], patient: str, control: Stamp | None = None
    ) -> list[Entry] | None:
        """The chart brought up to date by its changes; None if it has to be read in full."""
        name = next((one for one in parameters if self._can.searches(kind, one)), parameters[0])
        params = {name: f"Patient/{patient}"}
        listed = await self._quietly(kind, {**params, "_elements": "id"})
        if listed is None or listed.reason:
            return None
        since = self._since[kind].astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        params["_lastUpdated"] = f"ge{since}"
        if self._can.includes(kind, f"{kind}:medication"):
            params["_include"] = f"{kind}:medication"
        delta = await self._quietly(kind, params, patient)
        there = {entry.id for entry in listed.entries if entry.resource_type == kind}
        if wrong := self._dishonoured(kind, delta, there, control):
            self._disbelieve(kind, wrong)
        if wrong or delta is None or delta.reason:
            return None
        return await self._joined(kind, patient, there, delta)

    def _dishonoured(self, kind: str, delta: Found | None, there: set[str], control: Stamp | None) -> str:
        """How a server shows that it does not do as ``_lastUpdated`` says; "" if it does not show it."""
        if delta is None:
            return "it is not answered"
        if delta.reason == "IGNORED_PARAMETER":
            return "the server ignores it"
        own = [entry for entry in delta.entries if entry.resource_type == kind]
        stamps = [stamp for entry in own if (stamp := head_of(entry.raw).version.updated)]
        if any(stamp < self._since[kind] for stamp in stamps):
            return "older resources came too"
        if control and control.id in there and control.id not in {entry.id for entry in own}:
            return "the newest resource did not come"
        return ""

    async def _joined(self, kind: str, patient: str, there: set[str], delta: Found) -> list[Entry] | None:
        """What is there now: changed or known before. None if something is listed that is neither."""
        changed = {entry.id: entry for entry in delta.entries if entry.resource_type == kind}
        known = self._memory.chart(kind, patient)
        if there - changed.keys() - known.keys():
            return None
        entries = [self._newer(entry, known, patient) for entry in delta.entries]
        entries += [known[name] for name in sorted(there - changed.keys())]
        for name in sorted(known.keys() - there - changed.keys()):
            if not await self._is_gone(kind, name, patient):
                return None
        return entries

    async def _is_gone(self, kind: str, name: str, patient: str) -> bool:
        """Whether a resource that is not listed any more is not this patient's; notes how that is known."""
        try:
            entry = await self._read(kind, name)
        except SourceUnavailable:
            return False
        except Refusal as refusal:
            self.why[kind, name] = refusal.reason
            return True
        if patient in subjects_of(_JSON.decode(entry.raw))[0]:
            return False
        self.why[kind, name] = "now another patient's"
        return True

    async def _quietly(self, kind: str, params: Mapping[str, str], patient: str = "") -> Found | None:
        """A search whose remarks are not the landing's: if it fails, the full one will say so."""
        try:
            async with self._turnstile:
                return await searching.search(
                    self._client,
                    kind,
                    params,
                    belongs=lambda raw: not patient or patient in subjects_of(_JSON.decode(raw))[0],
                )
        except (SourceRefused, SourceUnavailable):
            return None

    def _disbelieve(self, kind: str, why: str) -> None:
        self._since.pop(kind, None)
        self._issue("CHANGES_NOT_TOLD", kind, f"{kind} search", f"_lastUpdated is not relied on: {why}")


def _gone_reasons() -> Iterable[str]:
    return tuple(f"HTTP {status}" for status in sorted(_GONE))
