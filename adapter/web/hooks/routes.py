"""CDS Hooks over HTTP: what there is, what it says of a patient or an order, and what became of it.

Discovery is open; everything else is for configured callers, who prove themselves with each call. Source: CDS
Hooks 2.0, https://cds-hooks.hl7.org/2.0/.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import date, datetime
from typing import Annotated, Any, NamedTuple

import msgspec
from fastapi import APIRouter, Depends, Request, Response
from sqlalchemy import Engine
from starlette.concurrency import run_in_threadpool

from adapter import trial as trials
from adapter.access import Grant, Principal
from adapter.config import Hooks
from adapter.consult import Counsel, Record, in_force
from adapter.errors import SourceUntrustworthy
from adapter.model.resource import RawResource
from adapter.source.dialects import named
from adapter.store.casebook import secret
from adapter.store.hook_log import Feedback, HookLog
from adapter.web.access import Denied, allowed, open_to_all, premises
from adapter.web.hooks import chart
from adapter.web.hooks.bench import Bench, Tokens
from adapter.web.hooks.callers import Caller, Callers, NotTrusted
from adapter.web.hooks.cards import Press, Told
from adapter.web.hooks.prefetch import Gathered, templates
from adapter.web.hooks.words import language_of
from adapter.web.interactions import Clock
from adapter.worklist.board import key_of

MAX_BYTES = 20_000_000
_OPEN = [Depends(open_to_all("CDS Hooks 2.0: discovery is public; it names no patient"))]
_ID = r"[A-Za-z0-9\-.]{1,64}"


class Service(NamedTuple):
    hook: str
    title: str
    description: str


SERVICES = {
    "trial-patient-view": Service(
        "patient-view",
        "Trial: is this patient maybe eligible",
        "Says whether a patient may be eligible, why, and what is missing; and what to look at for people on "
        "the study.",
    ),
    "trial-order-select": Service(
        "order-select",
        "Trial: what an order means",
        "Says before an order is signed what it would break for people on the study, or cost a candidate.",
    ),
    "trial-order-sign": Service(
        "order-sign",
        "Trial: what an order means",
        "Says when an order is signed what it breaks for people on the study, or costs a candidate.",
    ),
}


class _Context(msgspec.Struct):
    patientId: Annotated[str, msgspec.Meta(pattern=f"^{_ID}$")]
    userId: str = ""
    draftOrders: dict[str, Any] = {}
    selections: list[str] = []


class Call(msgspec.Struct):
    """The body of a call; what a hook sends besides is not looked at."""

    hook: str
    hookInstance: Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
    context: _Context
    fhirServer: str = ""
    fhirAuthorization: chart.Authorization | None = None
    prefetch: dict[str, msgspec.Raw] | None = None


class _Reason(msgspec.Struct):
    reason: dict[str, str] | None = None
    userComment: str = ""


class _Said(msgspec.Struct):
    card: Annotated[str, msgspec.Meta(min_length=1, max_length=100)]
    outcome: Annotated[str, msgspec.Meta(pattern="^(accepted|overridden)$")]
    outcomeTimestamp: Annotated[str, msgspec.Meta(max_length=100)] = ""
    overrideReason: _Reason | None = None


class _Feedback(msgspec.Struct):
    feedback: list[_Said]


_CALL, _FEEDBACK = msgspec.json.Decoder(Call), msgspec.json.Decoder(_Feedback)


def router(ready: Callable[[], Counsel], hooks: Hooks, engine: Engine, clock: Clock) -> APIRouter:
    """``/cds-services``, judging by the rules and mappings that ``ready`` gives at each call. Raises
    :class:`ConfigError` for callers that could prove nothing."""
    site = ready().trial.site
    callers = Callers(
        hooks.clients,
        lambda url: trials.origins_of(site, site.base_url or url).including(url),
        clock=clock,
        ca_file=site.ca_file,
    )
    log, key = HookLog(engine), secret(engine, "worklist")
    tokens, bench = Tokens(log, clock), Bench(ready, hooks.workers)
    study = ready().trial.protocol.id
    public_url = hooks.public_url.rstrip("/")

    @asynccontextmanager
    async def lasting(_: object) -> AsyncIterator[None]:
        yield
        bench.close()

    routes = APIRouter(lifespan=lasting)

    async def prove(request: Request) -> Caller:
        """Before anything else: whose call this is, as the principal of the request."""
        try:
            header = request.headers.get("authorization", "")
            caller = await callers.proven(header, public_url + request.url.path)
            if not await tokens.first_use(caller):
                raise NotTrusted("jti")
        except NotTrusted as fault:
            raise Denied(401, f"the token proves nothing: {fault.reason}") from None
        here = premises(request)
        grant = Grant("service", here.study, here.site)
        account = f"hooks:{caller.name}"
        request.state.principal = Principal(account, (grant,), caller.name, "token")
        return caller

    trusted = [Depends(prove), Depends(allowed("call-hooks"))]

    @routes.get("/cds-services", dependencies=_OPEN)
    def discovery() -> Response:
        wanted = templates(study)
        found = [
            {"id": key, **one._asdict(), "prefetch": wanted, "usageRequirements": _REQUIREMENTS}
            for key, one in SERVICES.items()
        ]
        return _json({"services": found})

    @routes.post("/cds-services/{service}", dependencies=trusted)
    async def called(service: str, request: Request) -> Response:
        known = _service(service)
        call = _decoded(_CALL, await _body(request))
        if call.hook != known.hook:
            raise Denied(400, f"this service is for {known.hook}")
        now = clock()
        patient, as_of = call.context.patientId, now.astimezone(site.zone).date()
        gathered = Gathered(patient, as_of)
        gathered.take_prefetch(call.prefetch or {})
        await fetch_missing(gathered, call)
        if not gathered.anything:
            raise Denied(412, "neither a prefetch nor access to the record came with this call")
        language = language_of(request.headers.get("accept-language", ""), hooks.language)
        press = Press(
            ready().trial.protocol,
            call.hookInstance,
            service,
            language,
            public_url,
            lambda subject: key_of(key, subject),
            bool(site.launch),
        )
        drafts = [] if known.hook == "patient-view" else _drafts(call)
        told = []
        if drafts or known.hook == "patient-view":
            told = await say(press, gathered.record(), drafts, as_of, now)
        if told:
            account = request.state.principal.account
            await run_in_threadpool(log.given, service, account, [one.given for one in told], now)
        return _json({"cards": [one.card for one in told]})

    async def fetch_missing(gathered: Gathered, call: Call) -> None:
        token = call.fhirAuthorization
        if token is None or not call.fhirServer or not gathered.missing():
            return
        if token.patient and token.patient != call.context.patientId:
            raise Denied(400, "the token is for another patient than the call")
        try:
            await chart.complete(
                gathered,
                call.context.patientId,
                study,
                _own_server(call.fhirServer, site.base_url),
                token,
                origins=trials.origins_of(site, site.base_url) if site.base_url else None,
                dialect=named(site.dialect),
                ca_file=site.ca_file,
            )
        except SourceUntrustworthy:
            if not gathered.anything:
                raise Denied(400, "fhirServer is not the server of this site") from None

    async def say(press: Press, record: Record, drafts: list[Any], as_of: date, now: datetime) -> list[Told]:
        if not drafts:
            return press.patient(await bench.consult(record, as_of))
        orders = in_force(drafts, record.patient, now=now.astimezone(site.zone))
        return press.orders(await bench.advise(record, orders, as_of), _words_of(orders))

    @routes.post("/cds-services/{service}/feedback", dependencies=trusted)
    async def feedback(service: str, request: Request) -> Response:
        _service(service)
        told = _decoded(_FEEDBACK, await _body(request)).feedback
        kept = [
            Feedback(one.card, one.outcome, one.outcomeTimestamp, *_reason(one.overrideReason))
            for one in told
        ]
        account = request.state.principal.account
        _, unknown = await run_in_threadpool(log.keep, service, account, kept, clock())
        if kept and unknown == len(kept):
            raise Denied(404, "no such card was given")
        return _json({})

    return routes


def _service(name: str) -> Service:
    found = SERVICES.get(name)
    if found is None:
        raise Denied(404, "there is no such service")
    return found


def _own_server(told: str, own: str) -> str:
    """The site's own spelling where the caller means the same server."""
    return own if own and told.rstrip("/") == own.rstrip("/") else told


def _drafts(call: Call) -> list[Any]:
    """The orders in question: with order-select those that were selected."""
    entries = call.context.draftOrders.get("entry", [])
    several = entries if isinstance(entries, list) else []
    found = [one.get("resource") for one in several if isinstance(one, dict)]
    drafts = [one for one in found if isinstance(one, dict)]
    if call.hook != "order-select" or not call.context.selections:
        return drafts
    chosen = {one.rpartition("/")[2] for one in call.context.selections}
    return [one for one in drafts if one.get("resourceType") == "Medication" or one.get("id") in chosen]


def _words_of(orders: tuple[RawResource, ...]) -> dict[str, str]:
    """What each order calls its drug."""
    found = {}
    for order in (msgspec.json.decode(one.line) for one in orders):
        if order["resourceType"] == "MedicationRequest":
            concept = order.get("medicationCodeableConcept") or {}
            codings = concept.get("coding") or [{}]
            words = concept.get("text") or codings[0].get("display") or codings[0].get("code") or ""
            found[f"MedicationRequest/{order['id']}"] = str(words)
    return found


def _reason(told: _Reason | None) -> tuple[str, str]:
    if told is None:
        return "", ""
    return (told.reason or {}).get("code", "")[:200], told.userComment[:2000]


def _decoded(decoder: msgspec.json.Decoder[Any], body: bytes) -> Any:
    try:
        return decoder.decode(body)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as fault:
        shape = isinstance(fault, msgspec.ValidationError)
        where = str(fault).rpartition(" - at ")[2] if shape else "it is no JSON"
        raise Denied(400, f"the body is not what CDS Hooks asks for: {where}") from None


async def _body(request: Request) -> bytes:
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > MAX_BYTES:
            raise Denied(413, "the body is too large")
    return bytes(body)


def _json(value: object) -> Response:
    return Response(msgspec.json.encode(value), media_type="application/json")


_REQUIREMENTS = (
    "All prefetch keys, or access to the record with fhirAuthorization; a signed token for each call."
)
