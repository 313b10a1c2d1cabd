"""``$evaluate``: what the protocol says about one patient, with the evidence of each verdict, as Parameters.

With a Bundle of the patient's records (``record``) these are judged and nothing is kept; without one the
answer is the decision that the last screening left. The definitions are
``fhir_profiles/OperationDefinition-Patient-evaluate.json`` and ``-ResearchSubject-evaluate.json``. Source:
https://hl7.org/fhir/R4/operations.html.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import date
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response
from starlette.concurrency import run_in_threadpool

from adapter.access import Principal
from adapter.consult import TYPES, Consultation, Counsel, Record, consult
from adapter.model.coverage import Coverage
from adapter.model.decision import CriterionResult, Decision, Evidence
from adapter.model.resource import RawResource
from adapter.store import audit
from adapter.store.audit import Entry
from adapter.store.parameters import relative
from adapter.store.resources import ResourceStore
from adapter.web.access import allowed
from adapter.web.fhir.routes import FHIR_JSON, TAKES_RESOURCE, resource_in
from adapter.web.interactions import Clock, Refused
from adapter.writeback.identity import is_fhir_id
from adapter.writeback.resources import Json, encode

Kept = Callable[[str], Decision | None]
Asker = Annotated[Principal, Depends(allowed("see-results"))]
_NAMES = frozenset({"record", "asOf", "complete"})


def router(ready: Callable[[], Counsel], kept: Kept, store: ResourceStore, clock: Clock) -> APIRouter:
    """``kept`` gives the decision of the last screening about a Patient.id, None if there is none."""
    routes = APIRouter(prefix="/fhir")

    @routes.post("/Patient/{key}/$evaluate", openapi_extra=TAKES_RESOURCE)
    async def of_patient(key: str, request: Request, principal: Asker) -> Response:
        asked = await _asked(request)
        return await run_in_threadpool(answer, key, asked, principal)

    @routes.post("/ResearchSubject/{key}/$evaluate", openapi_extra=TAKES_RESOURCE)
    async def of_subject(key: str, request: Request, principal: Asker) -> Response:
        asked = await _asked(request)
        with store.view() as shelf:
            subject = shelf.read("ResearchSubject", key)
        individual = (subject or {}).get("individual", {}).get("reference", "")
        kind, _, patient = relative(str(individual)).partition("/")
        if kind != "Patient":
            raise Refused(404, "not-found", "no ResearchSubject with this id, or it names no patient")
        return await run_in_threadpool(answer, patient, asked, principal)

    def answer(patient: str, asked: Mapping[str, list[Json]], principal: Principal) -> Response:
        now = clock()
        if "record" in asked:
            if not is_fhir_id(patient):
                raise Refused(404, "not-found", "no such patient")
            as_of = _day(asked, now.astimezone(ready().trial.site.zone).date())
            found = consult(ready(), _record(asked, patient, as_of), as_of=as_of, entry=True)
        else:
            decision = kept(patient)
            if decision is None:
                raise Refused(404, "not-found", "the last screening says nothing about this patient")
            found = Consultation(decision.subject, decision.as_of, "candidate", decision)
        with store.transaction() as shelf:
            detail = {"as_of": found.as_of.isoformat(), "by": "record" if "record" in asked else "screening"}
            entry = Entry(now, principal.account, "evaluate", (f"Patient/{found.subject}",), detail)
            audit.append(shelf.connection, entry)
        return Response(encode(parameters(ready().trial.protocol.id, found)), media_type=FHIR_JSON)

    return routes


def parameters(study: str, found: Consultation) -> Json:
    """The answer. ``standing`` says where the patient stands; without a decision it says all there is."""
    parts: list[Json] = [
        {"name": "study", "valueString": study},
        {"name": "asOf", "valueDate": found.as_of.isoformat()},
        {"name": "standing", "valueCode": found.standing.replace(" ", "-")},
    ]
    decision = found.decision
    if decision is not None:
        parts += [
            {"name": "verdict", "valueCode": decision.overall.value},
            {"name": "protocolVersion", "valueString": decision.protocol_version},
            {"name": "review", "valueBoolean": decision.review},
            {"name": "fingerprint", "valueString": decision.fingerprint},
            *(_criterion(result) for result in decision.criteria),
        ]
    for kind, why in found.lacking:
        parts.append(_named("lacking", [{"name": "type", "valueCode": kind}, _text("reason", why)]))
    return {"resourceType": "Parameters", "parameter": parts}


def _criterion(result: CriterionResult) -> Json:
    return _named(
        "criterion",
        [
            {"name": "id", "valueCode": result.id},
            {"name": "verdict", "valueCode": result.verdict.value},
            _text("reason", result.reason),
            _text("distance", result.distance),
            {"name": "review", "valueBoolean": result.review},
            *({"name": "flag", "valueCode": flag} for flag in result.flags),
            *(_text("settles", one) for one in result.settles),
            *(_evidence(one) for one in result.evidence),
            *(_criterion(child) for child in result.children),
        ],
    )


def _evidence(one: Evidence) -> Json:
    source = one.source
    return _named(
        "evidence",
        [
            {"name": "role", "valueCode": one.role},
            {"name": "source", "valueReference": {"reference": source.reference}},
            _text("version", source.version),
            _text("path", source.path),
            _text("sha256", source.sha256),
            _text("concept", one.concept),
            _text("when", one.when),
            _text("original", one.original),
            _text("value", one.value),
            _text("conversion", one.conversion),
            _text("compared", one.compared),
            _text("why", one.why),
        ],
    )


def _named(name: str, parts: Iterable[Json]) -> Json:
    return {"name": name, "part": [one for one in parts if one]}


def _text(name: str, words: str) -> Json:
    """Nothing for no words: FHIR has no empty strings."""
    return {"name": name, "valueString": words} if words.strip() else {}


async def _asked(request: Request) -> dict[str, list[Json]]:
    body: Any = await resource_in(request) if int(request.headers.get("content-length") or 1) else {}
    if body == {}:
        return {}
    if not isinstance(body, dict) or body.get("resourceType") != "Parameters":
        raise Refused(400, "structure", "Parameters are expected, or no body")
    found: dict[str, list[Json]] = {}
    given = body.get("parameter", [])
    for one in given if isinstance(given, list) else [None]:
        if not isinstance(one, dict) or one.get("name") not in _NAMES:
            raise Refused(400, "not-supported", f"parameters are {', '.join(sorted(_NAMES))}")
        found.setdefault(one["name"], []).append(one)
    return found


def _day(asked: Mapping[str, list[Json]], today: date) -> date:
    given = [one.get("valueDate") for one in asked.get("asOf", ())]
    if not given:
        return today
    try:
        return date.fromisoformat(str(given[0]))
    except ValueError:
        raise Refused(400, "invalid", "asOf is a whole day, YYYY-MM-DD") from None


def _record(asked: Mapping[str, list[Json]], patient: str, as_of: date) -> Record:
    """The resources of the Bundles; only types that ``complete`` names are known to be whole."""
    resources = []
    for bundle in (one.get("resource") for one in asked["record"]):
        if not isinstance(bundle, dict) or bundle.get("resourceType") != "Bundle":
            raise Refused(400, "structure", "record is a Bundle")
        entries = bundle.get("entry", [])
        for number, entry in enumerate(entries if isinstance(entries, list) else []):
            one = entry.get("resource") if isinstance(entry, dict) else None
            if isinstance(one, dict):
                kind = str(one.get("resourceType", ""))
                resources.append(RawResource(encode(one), f"record:{number}", kind))
    whole = {str(one.get("valueCode")) for one in asked.get("complete", ())}
    if unknown := sorted(whole - {*TYPES, "ResearchStudy"}):
        raise Refused(400, "code-invalid", f"complete names {len(unknown)} types that are not asked about")
    rows = [
        Coverage(kind, True, patient, None, as_of, "said to be complete")
        if kind in whole
        else Coverage(kind, False, patient, reason="not said to be complete")
        for kind in (*TYPES, "ResearchStudy")
    ]
    return Record(patient, tuple(resources), tuple(rows))
