"""What to ask a FHIR server for one protocol, and what the answers cover.

First candidates: resources that hold a code or text of the query, and subjects of the study. Then for each
candidate every type the mappers read, one search per type and subject. A type that is refused, unsupported or
not wholly read costs its coverage row, not the run: the row says why, and nothing is read as absent there.

Over REST a code must be whole, so national extensions of an ICD-10 stem are found by text or not at all;
where that matters, use a bulk export. ``sync.py`` crawls again and asks only for what changed. Place kept:
``dialects.py`` (servers that want a category, cap a search or break the glass).
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable
from datetime import date, datetime
from pathlib import Path

import msgspec

from adapter.errors import SourceRefused, SourceUnavailable
from adapter.model.candidates import CandidateQuery
from adapter.model.coverage import Coverage
from adapter.model.issue import Issue
from adapter.source.charts import WHOLE, Lack, joined, medications_of
from adapter.source.client import Capabilities, FhirClient, Refusal, capabilities
from adapter.source.landing import Landing, LandingWriter
from adapter.source.ndjson import type_of
from adapter.source.nominate import closure, holds, linked_patients, subjects_of
from adapter.source.questions import BY_CODE, BY_PATIENT, CODES_PER_SEARCH, asked_of
from adapter.source.search import Entry, Found, search

UNANSWERED = 4  # searches in a row without an answer: then the server is down, not a type refused
_JSON = msgspec.json.Decoder()

Sink = Callable[[str, bytes], None]
Progress = Callable[[int, int], None]


class CrawlReport(msgspec.Struct):
    """What a crawl found: candidates, coverage per type and subject, issues, resources given to the sink."""

    candidates: tuple[str, ...] = ()
    coverage: tuple[Coverage, ...] = ()
    issues: tuple[Issue, ...] = ()
    resources: int = 0
    requests: int = 0
    unanswered: tuple[str, ...] = ()
    """Searches for candidates that were refused or not answered to the end, as ``Condition by code``."""


async def crawl(
    client: FhirClient,
    query: CandidateQuery,
    sink: Sink,
    *,
    patients: Iterable[str] = (),
    concurrency: int = 4,
    progress: Progress = lambda done, of: None,
    asked_on: date | None = None,
) -> CrawlReport:
    """Fetch everything about every candidate of the query, and about ``patients`` named beforehand.

    ``sink(resource_type, raw)`` receives each resource once, bytes as received, in an order that depends
    neither on timing nor on the server's. Nothing is covered after the day ``asked_on``.
    ``progress(done, of)`` counts subjects. Raises SourceUnavailable, SourceUntrustworthy or ConfigError (401)
    when the server as a whole cannot be used, SourceRefused if it answers no search for candidates and no
    ``patients`` are named; a refusal of one type does not stop the crawl.
    """
    crawler = Crawler(client, await capabilities(client), sink, concurrency, asked_on)
    return await crawler.run(query, patients, progress)


async def land_server(
    client: FhirClient,
    query: CandidateQuery,
    target: Path,
    *,
    now: datetime,
    patients: Iterable[str] = (),
    issues: Iterable[Issue] = (),
    concurrency: int = 4,
    progress: Progress = lambda done, of: None,
) -> tuple[Landing, CrawlReport]:
    """Crawl one server into a landing at ``target``; a crawl that fails leaves an older landing as it was."""
    with LandingWriter(target) as writer:
        report = await crawl(
            client,
            query,
            writer.write,
            patients=patients,
            concurrency=concurrency,
            progress=progress,
            asked_on=now.date(),
        )
        return writer.finish(
            now=now,
            asked=asked_of(str(client.base), query, report.unanswered, client.scopes()),
            coverage=report.coverage,
            issues=(*issues, *report.issues),
        ), report


class Crawler:
    """One crawl; :mod:`adapter.source.sync` overrides how one type of one patient is asked for."""

    def __init__(
        self,
        client: FhirClient,
        can: Capabilities,
        sink: Sink,
        concurrency: int = 4,
        asked_on: date | None = None,
    ) -> None:
        self._client = client
        self._can = can
        self._sink = sink
        self._concurrency = concurrency
        self._asked_on = asked_on
        self._turnstile = asyncio.Semaphore(concurrency)
        self._handed: set[tuple[str, str, str]] = set()
        self._drugs: dict[tuple[str, str], Entry] = {}
        self._wanted_medications: set[str] = set()
        self.unanswered: set[str] = set()
        self._unanswered = 0
        self._answered = False
        self._refused: set[tuple[str, str]] = set()
        self.coverage: list[Coverage] = []
        self.issues: list[Issue] = []
        self.resources = 0

    async def run(self, query: CandidateQuery, patients: Iterable[str], progress: Progress) -> CrawlReport:
        """The whole crawl: candidates, their records, their charts, the drugs these name."""
        found = set(patients)
        found |= await self.candidates(query, may_be_refused=bool(found))
        groups = await self.patients(found)
        names = sorted(groups)
        await self.before_charts(names)
        for start in range(0, len(names), self._concurrency):
            batch = names[start : start + self._concurrency]
            for charts in await asyncio.gather(*(self.chart(name) for name in batch)):
                self.hand_over(charts)
            progress(min(start + self._concurrency, len(names)), len(names))
        await self.medications()
        return CrawlReport(
            candidates=tuple(names),
            coverage=tuple(joined(self.coverage, groups, self._refused)),
            issues=tuple(
                sorted(self.issues, key=lambda one: (one.subject, one.resource_type, one.reference))
            ),
            resources=self.resources,
            requests=self._client.requests,
            unanswered=tuple(sorted(self.unanswered)),
        )

    async def before_charts(self, names: list[str]) -> None:
        """A place for what has to be known of a server before the charts of these patients are asked for."""

    async def candidates(self, query: CandidateQuery, *, may_be_refused: bool) -> set[str]:
        """Patient ids nominated by code, by text and by study."""
        needles = query.codes | query.texts
        asked: list[tuple[str, str, str]] = []
        codes = sorted(query.codes)
        batches = [codes[at : at + CODES_PER_SEARCH] for at in range(0, len(codes), CODES_PER_SEARCH)]
        for kind in sorted(query.resource_types & BY_CODE.keys()):
            if not self._can.has(kind) or not self._can.searches(kind, BY_CODE[kind]):
                continue
            asked += [(kind, BY_CODE[kind], ",".join(batch)) for batch in batches]
            asked += [(kind, f"{BY_CODE[kind]}:text", text) for text in sorted(query.texts)]
        found: set[str] = set()
        for kind, name, value in asked:
            for entry in await self._nominations(kind, name, value):
                if holds(entry.raw, needles):
                    found |= self._subjects(entry)
        found |= await self._enrolled(query.studies)
        if (needles or query.studies) and not self._answered and not may_be_refused:
            raise SourceRefused(
                "no search for candidates was answered: nobody found is not nobody there",
                where=str(self._client.base),
                fix="ask the hospital for search by code, name the patients, or land a bulk export",
            )
        return found

    async def patients(self, found: set[str]) -> dict[str, frozenset[str]]:
        """Read the candidates and every record linked to one; maps each id to the ids of its person."""
        links: defaultdict[str, set[str]] = defaultdict(set)
        waiting, seen = sorted(found), set(found)
        while waiting:
            name = waiting.pop()
            entries, reason = await self.records_of(name)
            self._cover("Patient", name, Lack(reason), "read", came=bool(entries))
            self.hand_over([entry for entry in entries if entry.id == name])
            for entry in entries:
                for other in linked_patients(_JSON.decode(entry.raw)):
                    links[entry.id].add(other)
                    links[other].add(entry.id)
            for other in sorted(links[name] - seen):
                seen.add(other)
                waiting.append(other)
        return {name: frozenset(closure([name], links)) for name in seen}

    async def chart(self, patient: str) -> list[Entry]:
        """Everything the plan asks for about one patient; notes coverage as it goes."""
        entries: list[Entry] = []
        for kind, parameters in BY_PATIENT.items():
            found, lack = await self.of_patient(kind, parameters, patient)
            self._cover(kind, patient, lack, "searched", came=bool(found))
            entries += sorted(found, key=lambda one: (one.resource_type, one.id, one.version))
        return entries

    def hand_over(self, entries: Iterable[Entry]) -> None:
        """Give each resource to the sink once, and remember medications named but not yet seen."""
        for entry in entries:
            key = (entry.resource_type, entry.id, entry.version)
            if key in self._handed:
                continue
            self._handed.add(key)
            if entry.resource_type == "Medication":
                self._drugs[entry.id, entry.version] = entry
            else:
                self._give(entry)
            if entry.resource_type.startswith("Medication") and b"Reference" in entry.raw:
                self._wanted_medications |= set(medications_of(_JSON.decode(entry.raw)))

    async def medications(self) -> None:
        """Give Medications in order of id; those referred to and not included are read. Foreign references
        are not followed."""
        have, lost = {name for kind, name, _ in self._handed if kind == "Medication"}, ""
        for name in sorted(self._wanted_medications - have):
            try:
                self.hand_over([await self._read("Medication", name)])
            except SourceRefused as refusal:
                why = reason_of(refusal)
                self._issue("REFERENCE_UNREAD", "Medication", f"Medication/{name}", why)
                lost = lost or why
        if lost:
            self.coverage.append(
                Coverage("Medication", False, "", None, None, f"of those referred to: {lost}")
            )
        for _, drug in sorted(self._drugs.items()):
            self._give(drug)

    def _give(self, entry: Entry) -> None:
        self._sink(entry.resource_type, entry.raw)
        self.resources += 1

    def _cover(self, kind: str, patient: str, lack: Lack, how: str, *, came: bool) -> None:
        """One coverage row; what is complete is so up to the day it was asked for. A server may answer for a
        type that the token does not cover as if there were nothing of it: that is as if it refused."""
        withheld = self._client.withheld(kind)
        reason = lack.reason or withheld
        if lack.refused or (withheld and not came and not lack.reason):
            self._refused.add((kind, patient))
        limited = lack.limited and not withheld
        end = None if reason else self._asked_on
        self.coverage.append(Coverage(kind, not reason, patient, None, end, reason or how, limited))

    async def _nominations(self, kind: str, name: str, value: str) -> list[Entry]:
        try:
            found = await self._search(kind, {name: value})
        except SourceRefused as refusal:
            code = "CANDIDATE_SEARCH_LIMITED" if name.endswith(":text") else "CANDIDATE_SEARCH_REFUSED"
            self._issue(code, kind, f"{kind} by {name}", reason_of(refusal))
            self.unanswered.add(f"{kind} by {name}")
            return []
        if withheld := self._client.withheld(kind):
            self._issue("CANDIDATE_SEARCH_LIMITED", kind, f"{kind} by {name}", withheld)
        self._answered = self._answered or not withheld
        self.unanswered |= {f"{kind} by {name}"} if found.reason or withheld else set()
        return found.entries

    async def _enrolled(self, studies: frozenset[str]) -> set[str]:
        found: set[str] = set()
        if not studies or not self._can.has("ResearchSubject"):
            return found
        for study in await self._nominations("ResearchStudy", "identifier", ",".join(sorted(studies))):
            if not holds(study.raw, studies):
                continue
            self.hand_over([study])
            reference = f"ResearchStudy/{study.id}"
            for entry in await self._nominations("ResearchSubject", "study", reference):
                if holds(entry.raw, frozenset({reference})):
                    found |= self._subjects(entry)
        return found

    def _subjects(self, entry: Entry) -> set[str]:
        ids, _ = subjects_of(_JSON.decode(entry.raw))
        if not ids:
            self._issue(
                "CANDIDATE_WITHOUT_SUBJECT",
                entry.resource_type,
                f"{entry.resource_type}/{entry.id}",
                "no literal reference to a patient",
            )
        return ids

    async def records_of(self, name: str) -> tuple[list[Entry], str]:
        """The Patient record and those that link to it; why not, if it cannot be read."""
        try:
            entries = [await self._read("Patient", name)]
        except SourceRefused as fault:
            self._issue("PATIENT_UNREAD", "Patient", f"Patient/{name}", reason_of(fault), name)
            return [], reason_of(fault)
        if self._can.searches("Patient", "link"):
            try:
                entries += (await self._search("Patient", {"link": f"Patient/{name}"})).entries
            except SourceRefused:
                return entries, ""
        return entries, ""

    async def of_patient(
        self, kind: str, parameters: tuple[str, ...], patient: str
    ) -> tuple[list[Entry], Lack]:
        if not self._can.has(kind):
            return [], Lack("the server does not have this type", limited=True)
        name = next((one for one in parameters if self._can.searches(kind, one)), parameters[0])
        params = {name: f"Patient/{patient}"}
        if self._can.includes(kind, f"{kind}:medication"):
            params["_include"] = f"{kind}:medication"
        try:
            found = await self._search(kind, params, patient)
        except (SourceRefused, SourceUnavailable) as fault:
            self._issue("TYPE_UNREAD", kind, f"{kind} search", reason_of(fault), patient)
            self._unanswered += isinstance(fault, SourceUnavailable)
            if self._unanswered >= UNANSWERED:
                raise
            refused = isinstance(fault, Refusal) and not fault.meaning
            return [], Lack(reason_of(fault), refused=refused)
        lack = Lack(found.reason, found.limited, found.refused) if found.reason else WHOLE
        return found.entries, lack

    async def _search(self, kind: str, params: dict[str, str], patient: str = "") -> Found:
        """One search in its turn; with ``patient``, only what is that patient's."""
        async with self._turnstile:
            found = await search(
                self._client,
                kind,
                params,
                belongs=lambda raw: not patient or patient in subjects_of(_JSON.decode(raw))[0],
            )
        self._unanswered = 0
        self.issues += [msgspec.structs.replace(issue, subject=patient) for issue in found.issues]
        return found

    async def _read(self, kind: str, name: str) -> Entry:
        where = f"{kind} read"
        async with self._turnstile:
            raw = bytes(await self._client.get(self._client.url(f"{kind}/{name}"), msgspec.Raw, where=where))
        if type_of(raw) != kind:
            raise Refusal(200, where, f"{type_of(raw) or 'something'} instead of a {kind}")
        return Entry(raw, kind, name, "", where)

    def _issue(self, code: str, kind: str, reference: str, detail: str, subject: str = "") -> None:
        self.issues.append(Issue(code, "warning", kind, reference, detail=detail, subject=subject))


def reason_of(fault: SourceRefused | SourceUnavailable) -> str:
    return fault.reason if isinstance(fault, Refusal) else fault.message
