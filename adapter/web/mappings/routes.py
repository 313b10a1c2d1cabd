"""Addresses of the mapping page; each says who may use it. Who proposes does not approve."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Callable
from typing import Annotated, Any, Literal, NamedTuple, TypeVar

import msgspec
from fastapi import APIRouter, Depends, Form, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse
from pydantic import BaseModel, Field
from starlette.concurrency import run_in_threadpool

from adapter.access import Principal
from adapter.errors import AdapterError, NotFound
from adapter.explaining import voice_of
from adapter.mapping import decide
from adapter.mapping.impact import Impact
from adapter.mapping.site_files import COLUMNS
from adapter.model import wire
from adapter.store.mapping_log import Proposal, Version
from adapter.web.access import Denied, allowed
from adapter.web.frame import Pages, language_for
from adapter.web.mappings.workbench import Unknown, Workbench
from adapter.web.signin import sign
from adapter.web.signin.signing import sha256_of
from adapter.worklist.person import texts_of

_HOME = "/mappings"
_USES = ("AUTO", "FLAG", "SUPP", "NEVER")
_KINDS = ("default", "confirm", "spelling")
_MOST = 200
Sees = Annotated[Principal, Depends(allowed("see-mappings"))]
Proposes = Annotated[Principal, Depends(allowed("propose-mapping"))]
Approves = Annotated[Principal, Depends(allowed("approve-mapping"))]
Words = Annotated[str, Form(max_length=400)]
Short = Annotated[str, Field(max_length=100)]
Long = Annotated[str, Field(max_length=400)]
T = TypeVar("T")


class RowForm(BaseModel):
    """A row as it was typed; the columns of the other file stay empty."""

    file: Literal["codes.csv", "units.csv"] = "codes.csv"
    step: Literal["try", "keep"] = "try"
    system: Long = ""
    code: Short = ""
    text: Long = ""
    concept: Short = ""
    use: str = "AUTO"
    method: Short = ""
    unit: Short = ""
    kind: str = "default"
    means: Short = ""
    reason: Long = ""

    def cells(self) -> dict[str, str]:
        columns = (one for one in COLUMNS[self.file] if one not in ("owner", "date"))
        return {column: str(getattr(self, column)).strip() for column in columns}


class Effect(NamedTuple):
    """An impact in counts: how many people go from one verdict to another, and on which lines."""

    people: int
    subjects: int
    readings: int
    verdicts: tuple[tuple[str, str, int], ...]
    lines: tuple[tuple[str, str, str, int], ...]


def router(bench: Workbench, pages: Pages) -> APIRouter:
    """``/mappings`` and everything below it."""
    routes = APIRouter(default_response_class=HTMLResponse, prefix=_HOME)
    _overview(routes, bench, pages)
    _proposing(routes, bench, pages)
    _deciding(routes, bench, pages)
    return routes


def _overview(routes: APIRouter, bench: Workbench, pages: Pages) -> None:
    @routes.get("")
    def overview(request: Request, principal: Sees) -> Response:
        unknown = bench.unknown()
        return pages.show(
            request,
            principal,
            "mappings/list.html",
            unknown=unknown[:_MOST] if unknown is not None else None,
            more=max(0, len(unknown or ()) - _MOST),
            system=bench.trial.terminology.system,
            names=_names(bench, request),
            proposals=bench.log.proposals(bench.site),
            versions=bench.log.versions(bench.site),
        )

    @routes.get("/versions/{number}")
    def version(request: Request, principal: Sees, number: int) -> Response:
        found = _version(bench, number)
        lines = difflib.unified_diff(
            bench.content(found.file).splitlines(), found.content.splitlines(), "now", f"version {number}",
            lineterm="", n=1,
        )  # fmt: skip
        return pages.show(request, principal, "mappings/version.html", version=found, lines=list(lines))


def _proposing(routes: APIRouter, bench: Workbench, pages: Pages) -> None:
    @routes.get("/new")
    def new(
        request: Request, principal: Proposes, of: str = "", concept: str = "", unit: str = ""
    ) -> Response:
        chosen = next((one for one in bench.unknown() or () if one.token == of), None)
        return _form(bench, pages, request, principal, _prefilled(chosen, concept, unit))

    @routes.post("/new")
    def tried(request: Request, principal: Proposes, asked: Annotated[RowForm, Form()]) -> Response:
        """The effect of a row before anything is kept, or the same form with what is wrong."""
        cells, who, now = asked.cells(), principal.account, bench.clock()
        try:
            if asked.step == "keep":
                kept = decide.propose(
                    bench.trial, bench.engine, asked.file, cells, by=who, reason=asked.reason, now=now
                )
                return RedirectResponse(f"{_HOME}/proposals/{kept.number}", 303)
            effect = effect_of(bench.impact(asked.file, decide.owned(cells, who, now)))
        except AdapterError as fault:
            return _form(bench, pages, request, principal, asked, fault=fault)
        return _form(bench, pages, request, principal, asked, effect=effect)


def _deciding(routes: APIRouter, bench: Workbench, pages: Pages) -> None:
    @routes.get("/proposals/{number}")
    def proposal(request: Request, principal: Sees, number: int) -> Response:
        return _proposal(bench, pages, request, principal, number)

    @routes.post("/proposals/{number}/approve")
    async def approve(request: Request, principal: Approves, number: int, reason: Words = "") -> Response:
        proposed = await run_in_threadpool(_own, bench, number)
        if proposed.proposed_by.casefold() == principal.account.casefold():
            raise Denied(403, "a second person has to approve it")
        signed = await _signed(request, principal, f"mapping/{number}", digest_of(proposed), "approval")

        def decided() -> Response:
            try:
                bench.approve(number, by=principal.account, why=reason, signed=signed)
            except AdapterError as fault:
                return _proposal(bench, pages, request, principal, number, fault)
            return RedirectResponse(f"{_HOME}/proposals/{number}", 303)

        return await run_in_threadpool(decided)

    @routes.post("/proposals/{number}/reject")
    async def reject(request: Request, principal: Approves, number: int, reason: Words = "") -> Response:
        digest = digest_of(await run_in_threadpool(_own, bench, number))
        signed = await _signed(request, principal, f"mapping/{number}", digest, "rejection")
        return await run_in_threadpool(_no, bench, pages, request, principal, number, reason, signed)

    @routes.post("/proposals/{number}/withdraw")
    def withdraw(request: Request, principal: Proposes, number: int, reason: Words = "") -> Response:
        if _own(bench, number).proposed_by != principal.account:
            raise Denied(403, "somebody else proposed it")
        return _no(bench, pages, request, principal, number, reason)

    @routes.post("/versions/{number}/rollback")
    async def roll_back(request: Request, principal: Approves, number: int, reason: Words = "") -> Response:
        wanted = await run_in_threadpool(_version, bench, number)
        signed = await _signed(request, principal, f"mapping-version/{number}", wanted.sha256, "approval")
        try:
            await run_in_threadpool(bench.roll_back, number, by=principal.account, why=reason, signed=signed)
        except AdapterError as fault:
            raise Denied(409, str(fault)) from None
        return RedirectResponse(_HOME, 303)


async def _signed(
    request: Request, principal: Principal, record: str, digest: str, meaning: str
) -> dict[str, Any]:
    signature = await sign(request, principal, record=record, record_sha256=digest, meaning=meaning)
    return signature.detail()


def digest_of(proposal: Proposal) -> str:
    """SHA-256 of what is signed: the row, who proposed it when and why, not what became of it."""
    told = msgspec.structs.asdict(proposal)
    signed = {
        name: told[name]
        for name in ("number", "site", "file", "cells", "proposed_by", "proposed_at", "reason")
    }
    return sha256_of(wire.encode(signed))


def _no(
    bench: Workbench,
    pages: Pages,
    request: Request,
    principal: Principal,
    number: int,
    reason: str,
    signed: decide.Signed = None,
) -> Response:
    _own(bench, number)
    who, now = principal.account, bench.clock()
    try:
        decide.reject(bench.trial, bench.engine, number, by=who, why=reason, now=now, signed=signed)
    except AdapterError as fault:
        return _proposal(bench, pages, request, principal, number, fault)
    return RedirectResponse(f"{_HOME}/proposals/{number}", 303)


def _version(bench: Workbench, number: int) -> Version:
    found = _there(lambda: bench.log.version(number))
    if found.site != bench.site:
        raise Denied(404, "there is nothing here for you")
    return found


def _own(bench: Workbench, number: int) -> Proposal:
    found = _there(lambda: bench.log.proposal(number))
    if found.site != bench.site:
        raise Denied(404, "there is nothing here for you")
    return found


def _there(find: Callable[[], T]) -> T:
    try:
        return find()
    except NotFound:
        raise Denied(404, "there is nothing here for you") from None


def _prefilled(chosen: Unknown | None, concept: str, unit: str) -> RowForm:
    """The form of an unknown code or unit, with the suggestion that was clicked; an empty one for none."""
    if chosen is None:
        return RowForm(concept=concept)
    row = chosen.row
    if row.kind == "code":
        text = "" if row.code.code else row.code.display
        return RowForm(system=row.code.system, code=row.code.code, text=text, concept=concept)
    spelled = {"kind": "spelling", "unit": row.unit, "means": unit}
    named = {"kind": "default", "unit": unit}
    about = {"file": "units.csv", "concept": row.concept, "code": row.code.code}
    return RowForm.model_validate({**about, **(spelled if row.kind == "unit" else named)})


def _form(
    bench: Workbench,
    pages: Pages,
    request: Request,
    principal: Principal,
    asked: RowForm,
    *,
    effect: Effect | None = None,
    fault: AdapterError | None = None,
) -> Response:
    return pages.show(
        request,
        principal,
        "mappings/form.html",
        status=422 if fault else 200,
        asked=asked,
        effect=effect,
        fault=fault,
        concepts=sorted(bench.trial.terminology.concepts),
        names=_names(bench, request),
        sentences=texts_of(bench.trial.protocol, language_for(request)),
        uses=_USES,
        kinds=_KINDS,
    )


def _proposal(
    bench: Workbench,
    pages: Pages,
    request: Request,
    principal: Principal,
    number: int,
    fault: AdapterError | None = None,
) -> Response:
    found = _own(bench, number)
    effect = None
    if found.state == "proposed" and fault is None:
        try:
            effect = effect_of(bench.impact(found.file, found.cells))
        except AdapterError as refused:
            fault = refused
    return pages.show(
        request,
        principal,
        "mappings/proposal.html",
        status=409 if fault else 200,
        proposal=found,
        digest=digest_of(found),
        sentences=texts_of(bench.trial.protocol, language_for(request)),
        effect=effect,
        fault=fault,
    )


def _names(bench: Workbench, request: Request) -> dict[str, str]:
    """What concepts are called in the language of the page."""
    voice = voice_of(bench.trial, language_for(request))
    return {key: voice.name(key) for key in bench.trial.terminology.concepts}


def effect_of(impact: Impact) -> Effect:
    """The same without the people."""
    verdicts = Counter((one.before, one.after) for one in impact.verdicts)
    lines = Counter((one.what, one.before, one.after) for one in impact.criteria)
    return Effect(
        impact.people,
        impact.subjects,
        impact.readings,
        tuple((*key, count) for key, count in sorted(verdicts.items())),
        tuple((*key, count) for key, count in sorted(lines.items())),
    )
