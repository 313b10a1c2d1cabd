"""A small FHIR R4 endpoint: where trial resources live when the hospital's own server takes none.

It speaks for seven types: read, version read, search by a few parameters, update with a client-assigned id
(If-Match, If-None-Match), create, and transactions that happen as a whole or not at all.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec
from fastapi import APIRouter, Depends, Request, Response
from starlette.concurrency import run_in_threadpool

from adapter.store.resources import ResourceStore
from adapter.web.access import allowed, open_to_all
from adapter.web.interactions import Clock, Endpoint, Refused, capability_statement
from adapter.writeback.resources import Json, decode, encode

FHIR_JSON = "application/fhir+json"
MAX_BYTES = 20_000_000
_READ = [Depends(allowed("read-fhir"))]
_WRITE = [Depends(allowed("write-fhir"))]
_ANYONE = [Depends(open_to_all("a server's CapabilityStatement is public, FHIR R4 http.html#capabilities"))]


def router(store: ResourceStore, clock: Clock = lambda: datetime.now(UTC)) -> APIRouter:
    """The endpoint under ``/fhir``."""
    endpoint = Endpoint(store, clock)
    routes = APIRouter(prefix="/fhir")

    @routes.get("/metadata", dependencies=_ANYONE)
    def metadata() -> Response:
        return _answer(capability_statement(clock()))

    @routes.post("", dependencies=_WRITE)
    @routes.post("/", dependencies=_WRITE)
    async def transact(request: Request) -> Response:
        body = await _body(request)
        return _answer(await run_in_threadpool(endpoint.transact, body))

    @routes.get("/{kind}", dependencies=_READ)
    def search(kind: str, request: Request) -> Response:
        found = endpoint.search(kind, request.query_params.multi_items())
        return _answer(_searchset(request, kind, found))

    @routes.post("/{kind}", dependencies=_WRITE)
    async def create(kind: str, request: Request) -> Response:
        body = await _body(request)
        return _answer(await run_in_threadpool(endpoint.create, kind, body), 201)

    @routes.get("/{kind}/{key}", dependencies=_READ)
    def read(kind: str, key: str) -> Response:
        return _answer(endpoint.read(kind, key))

    @routes.get("/{kind}/{key}/_history/{version}", dependencies=_READ)
    def vread(kind: str, key: str, version: str) -> Response:
        return _answer(endpoint.read(kind, key, version))

    @routes.put("/{kind}/{key}", dependencies=_WRITE)
    async def update(kind: str, key: str, request: Request) -> Response:
        body = await _body(request)
        guards = request.headers.get("if-match", ""), request.headers.get("if-none-match", "")
        stored = await run_in_threadpool(endpoint.update, kind, key, body, *guards)
        return _answer(stored, 201 if stored["meta"]["versionId"] == "1" else 200)

    return routes


def refused(_request: Request, fault: Exception) -> Response:
    """Turns :class:`Refused` into an OperationOutcome."""
    assert isinstance(fault, Refused)  # noqa: S101 - registered for this class only
    return _answer(fault.outcome, fault.status)


def unavailable(_request: Request, _fault: Exception) -> Response:
    """The database is locked, full or gone: 503, and nothing happened."""
    busy = Refused(503, "transient", "the database takes nothing now; try again later")
    answer = _answer(busy.outcome, busy.status)
    answer.headers["Retry-After"] = "30"
    return answer


def _answer(resource: Json, status: int = 200) -> Response:
    headers = {}
    meta = resource.get("meta", {})
    if "versionId" in meta:
        headers["ETag"] = f'W/"{meta["versionId"]}"'
        if status == 201:
            location = f"{resource['resourceType']}/{resource['id']}/_history/{meta['versionId']}"
            headers["Location"] = f"/fhir/{location}"
    return Response(encode(resource), status, headers, media_type=FHIR_JSON)


def _searchset(request: Request, kind: str, found: list[Json]) -> Json:
    base = f"{request.url.scheme}://{request.url.netloc}/fhir/{kind}"
    entries = [
        {"fullUrl": f"{base}/{one['id']}", "resource": one, "search": {"mode": "match"}} for one in found
    ]
    bundle: Json = {
        "resourceType": "Bundle",
        "type": "searchset",
        "total": len(found),
        "link": [{"relation": "self", "url": str(request.url)}],
    }
    return {**bundle, "entry": entries} if entries else bundle


async def _body(request: Request) -> Any:
    size = 0
    parts = []
    async for part in request.stream():
        size += len(part)
        if size > MAX_BYTES:
            raise Refused(413, "too-long", "the body is too large")
        parts.append(part)
    try:
        return decode(b"".join(parts))
    except (msgspec.DecodeError, RecursionError):
        raise Refused(400, "structure", "the body is not JSON") from None
