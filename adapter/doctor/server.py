"""What the server says it can do, and what it does when asked: /metadata, searches, export, rungs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from adapter.config import Site
from adapter.doctor.finding import Finding, State, some
from adapter.errors import SourceRefused, SourceUnavailable
from adapter.model.candidates import CandidateQuery
from adapter.source.auth.smart import SmartToken
from adapter.source.auth.token import TokenSource
from adapter.source.client import Capabilities, FhirClient
from adapter.source.dialects import STANDARD, recognised
from adapter.source.probe import Probe, probe
from adapter.source.questions import BY_CODE, BY_PATIENT
from adapter.writeback import rungs
from adapter.writeback.capabilities import capabilities_of

Json = dict[str, Any]
_NOBODY = "adapter-doctor-nobody"
_CODES = 5  # of the protocol's, in the search that is tried


async def statement(client: FhirClient) -> Json:
    """The CapabilityStatement; empty if the server refuses it or sends something else. From then on the
    client speaks the dialect of the server's make."""
    try:
        found = await client.get(client.url("metadata"), Json, where="metadata")
    except SourceRefused:
        return {}
    found = found if found.get("resourceType") == "CapabilityStatement" else {}
    client.dialect = client.named_dialect or recognised(found, client.base.host)
    return found


def dialect(client: FhirClient) -> list[Finding]:
    """The make whose ways the client takes into account."""
    known = client.dialect
    if known.name == STANDARD.name:
        return [Finding("dialect", "ok", "no known make: spoken to as the specification says")]
    how = "named in site.toml" if client.named_dialect else "recognised"
    ways = f": {some([quirk.name for quirk in known.quirks])}" if known.quirks else ""
    return [Finding("dialect", "ok", f"{known.name} ({how}){ways}")]


def capabilities(said: Json, essential: set[str], wanted: set[str]) -> list[Finding]:
    """Version, types and search parameters against what a crawl for the protocol asks."""
    if not said:
        return [
            Finding("metadata", "fail", "no CapabilityStatement", "check that base_url is a FHIR R4 base")
        ]
    version, can = str(said.get("fhirVersion", "")), Capabilities(said)
    software = said.get("software")
    make = str(software.get("name", "")) if isinstance(software, dict) else ""
    found = [_version(version, make)]
    if not any(_dicts(rest.get("resource")) for rest in _dicts(said.get("rest"))):
        return [*found, Finding("types", "warn", "the server lists none", "see below what it answers")]
    missing = sorted(kind for kind in essential | wanted if not can.has(kind))
    if missing:
        state: State = "fail" if essential & set(missing) else "warn"
        fix = "what rests on these stays unknown; ask whether the hospital can offer them"
        found.append(Finding("types", state, f"not offered: {some(missing, 20)}", fix))
    else:
        found.append(Finding("types", "ok", f"all {len(essential | wanted)} are offered"))
    unsearchable = [
        f"{kind} by {' or '.join(names)}"
        for kind, names in sorted(BY_PATIENT.items())
        if can.has(kind) and not any(can.searches(kind, name) for name in names)
    ]
    unsearchable += [
        f"{kind} by {name}"
        for kind, name in sorted(BY_CODE.items())
        if can.has(kind) and not can.searches(kind, name)
    ]
    if unsearchable:
        seen = f"not announced: {some(unsearchable, 12)}"
        found.append(Finding("parameters", "warn", seen, "see below whether they work all the same"))
    else:
        found.append(Finding("parameters", "ok", "all are announced"))
    return found


def _version(version: str, make: str) -> Finding:
    seen = f"FHIR {version or '(not said)'}{f', {make}' if make else ''}"
    if version.startswith("4.0"):
        return Finding("metadata", "ok", seen)
    if version.startswith("4.3"):
        return Finding("metadata", "warn", seen, "R4B is read as R4; look at the first landing with care")
    return Finding("metadata", "fail", seen, "the adapter reads R4 (4.0.1); ask for that base URL")


async def searches(
    client: FhirClient, said: Json, query: CandidateQuery, essential: set[str]
) -> list[Finding]:
    """Every kind of search that a crawl sends, once, for one entry; nothing of the answers is shown."""
    can = Capabilities(said or None)
    try:
        people = await probe(client, "Patient", {})
    except SourceUnavailable as fault:
        return [Finding("searches", "fail", fault.message, fault.fix)]
    patient = next((str(one.get("id", "")) for one in people.entries), "") or _NOBODY
    codes = ",".join(sorted(query.codes)[:_CODES])
    tried: list[tuple[str, str, Mapping[str, str]]] = [
        (kind, BY_CODE[kind], {BY_CODE[kind]: codes})
        for kind in sorted(query.resource_types & BY_CODE.keys())
        if can.has(kind) and codes
    ]
    text = next(iter(sorted(query.texts)), "")
    if text and can.has("Condition"):
        tried.append(("Condition", "code:text", {"code:text": text}))
    for kind, names in sorted(BY_PATIENT.items()):
        if can.has(kind):
            name = next((one for one in names if can.searches(kind, one)), names[0])
            tried.append((kind, name, {name: f"Patient/{patient}", **_category(client, kind)}))
    bad: list[str] = []
    fatal = False
    by_code_works = False
    silent = 0
    for kind, name, params in tried:
        why, answer = await _tried(client, kind, params)
        silent += not why and not answer.says_what_it_used
        by_code_works |= not why and params.get(BY_CODE.get(kind, "")) == codes
        if why:
            bad.append(f"{kind}?{name}= {why}")
            fatal |= kind in essential and name in BY_PATIENT.get(kind, ())
    found = [_summary(len(tried), bad, fatal)]
    if codes and not by_code_works:
        fix = "ask for search by code, name the patients, or land a bulk export"
        found.append(
            Finding("candidates", "fail", "no search by code is answered: nobody would be found", fix)
        )
    found += await _sync(client, patient)
    if silent:
        seen = f"{silent} answers do not say which parameters were used"
        found.append(
            Finding("searches", "warn", seen, "what does not fit is left out on reading, and counted")
        )
    if patient == _NOBODY:
        fix = "searches by patient were tried for nobody; try again when there are records"
        found.append(Finding("searches", "warn", "no Patient could be read to try with", fix))
    return found


async def _sync(client: FhirClient, patient: str) -> list[Finding]:
    """Whether only what changed can be asked for."""
    params = {"patient": f"Patient/{patient}", "_lastUpdated": "gt2000-01-01"}
    params |= _category(client, "Observation")
    why, _ = await _tried(client, "Observation", params)
    if not why:
        return [Finding("changes", "ok", "_lastUpdated is answered: only what changed can be fetched")]
    return [
        Finding("changes", "warn", f"_lastUpdated: {why}", "everything is fetched each time and compared")
    ]


def _category(client: FhirClient, kind: str) -> dict[str, str]:
    """One of the categories that the make of the server wants named, if it wants any."""
    ways = client.dialect.categories.get(kind, ())
    return {"category": ways[0]} if ways else {}


def _summary(tried: int, bad: Sequence[str], fatal: bool) -> Finding:
    if not bad:
        return Finding("searches", "ok", f"{tried} tried, all answered as asked")
    seen = f"{tried} tried, {len(bad)} not answered as asked: {some(list(bad), 20)}"
    fix = "these types stay incomplete; ask the hospital, or set the server's dialect in site.toml"
    return Finding("searches", "fail" if fatal else "warn", seen, fix)


async def _tried(client: FhirClient, kind: str, params: Mapping[str, str]) -> tuple[str, Probe]:
    try:
        answer = await probe(client, kind, params)
    except SourceUnavailable as fault:
        return fault.message, Probe()
    if answer.refused:
        return answer.refused, answer
    return (f"ignores {', '.join(answer.ignored)}" if answer.ignored else ""), answer


def export(said: Json) -> list[Finding]:
    """Whether a bulk export is announced, and for whom."""
    offered = []
    for rest in _dicts(said.get("rest")):
        places = [("system", rest), *((str(one.get("type")), one) for one in _dicts(rest.get("resource")))]
        for name, place in places:
            operations = {
                str(one.get("name", "")).removeprefix("$") for one in _dicts(place.get("operation"))
            }
            definitions = " ".join(str(one.get("definition", "")) for one in _dicts(place.get("operation")))
            if (
                operations & {"export", "patient-export", "group-export"}
                or f"{name.lower()}-export" in definitions
            ):
                offered.append(name)
    if offered:
        return [Finding("export", "ok", f"$export is announced for {', '.join(dict.fromkeys(offered))}")]
    return [
        Finding("export", "warn", "$export is not announced", "records are read patient by patient instead")
    ]


def write_back(said: Json, site: Site, source: TokenSource | None) -> list[Finding]:
    """The rungs of the ladder this server has, by /metadata and by what the site says. Raises ConfigError."""
    can = capabilities_of(said)
    ways = rungs.choose(can, site.rungs)
    names = [way.rung for way in ways]
    if not set(names) - {"own", "file"}:
        fix = "the CTMS file it is; or ask for create on one of these types"
        return [Finding("write-back", "warn", f"no rung on the server; left: {some(list(names))}", fix)]
    found = [Finding("write-back", "ok", f"rungs, best first: {some(list(names), 9)} ({ways[0].why})")]
    offered: list[str] = [way.rung for way in rungs.choose(can, own=True)]
    if unseen := [name for name in names if name not in offered]:
        told = f"named by the site, not offered by /metadata: {some(list(unseen))}"
        fix = f"unless it was seen to work, take it out of rungs in site.toml; offered: {some(offered, 9)}"
        found.append(Finding("write-back", "warn", told, fix))
    if isinstance(source, SmartToken) and source.scopes is not None:
        best = names[0]
        types = ["ResearchSubject", "Flag", "Provenance"] if best == "ResearchSubject" else [best]
        missing = [kind for kind in types if not source.scopes.allow(kind, "cu")]
        if missing:
            fix = "ask for system/<type>.cruds of these if the adapter shall write"
            found.append(
                Finding("write-back", "warn", f"scopes do not allow to write {', '.join(missing)}", fix)
            )
    return found


def _dicts(value: object) -> list[Json]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []
