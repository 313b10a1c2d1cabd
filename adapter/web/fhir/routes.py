"""The endpoint over HTTP: what is asked for, in which form, and answers that say why they refuse.

Source: https://hl7.org/fhir/R4/http.html: conditional read, content types, OperationOutcome for every error.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, tzinfo
from email.utils import format_datetime, parsedate_to_datetime
from typing import Annotated, Any
from urllib.parse import parse_qsl

import msgspec
from fastapi import APIRouter, Depends, Request, Response
from starlette.concurrency import run_in_threadpool
from starlette.routing import compile_path

from adapter.access import Principal, reaches
from adapter.store.resources import ResourceStore
from adapter.web.access import Denied, allowed, open_to_all, premises, routes_of
from adapter.web.fhir.capability import capability_statement
from adapter.web.fhir.endpoint import Endpoint, etag, known
from adapter.web.fhir.searching import PAGE, Search, page_size, searchset
from adapter.web.interactions import Clock, Refused
from adapter.writeback.resources import Json, decode, encode

FHIR_JSON = "application/fhir+json"
MAX_BYTES = 20_000_000
_JSON = frozenset({"application/fhir+json", "application/json", "text/json"})
_READABLE = _JSON | {"application/*", "*/*"}
_FORMATS = _JSON | {"json"}
_OPEN = [Depends(open_to_all("a server's CapabilityStatement is public, FHIR R4 http.html#capabilities"))]
_WRITES = [Depends(allowed("write-fhir"))]
# What FastAPI cannot see, since resources are read as they come.
TAKES_RESOURCE: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            FHIR_JSON: {
                "schema": {
                    "type": "object",
                    "required": ["resourceType"],
                    "properties": {"resourceType": {"type": "string"}, "id": {"type": "string"}},
                }
            }
        },
    }
}
_QUERY = {
    "parameters": [
        {"name": name, "in": "query", "required": False, "schema": {"type": "string"}}
        for name in ("_id", "_lastUpdated", "_count", "_sort", "_total", "identifier", "status", "date")
    ]
}
Reader = Annotated[Principal, Depends(allowed("read-fhir"))]


def router(store: ResourceStore, clock: Clock = lambda: datetime.now(UTC), zone: tzinfo = UTC) -> APIRouter:
    """The endpoint under ``/fhir``. ``zone`` is where dates without an offset are from."""
    endpoint = Endpoint(store, clock, zone)
    routes = APIRouter(prefix="/fhir")

    @routes.get("/metadata", dependencies=_OPEN)
    def metadata(request: Request) -> Response:
        return _answer(request, capability_statement(clock(), _operations(request)))

    @routes.post("", dependencies=_WRITES, openapi_extra=TAKES_RESOURCE)
    @routes.post("/", dependencies=_WRITES, include_in_schema=False)
    async def transact(request: Request) -> Response:
        body = await resource_in(request)
        return _answer(request, await run_in_threadpool(endpoint.transact, body))

    @routes.get("/{kind}", openapi_extra=_QUERY)
    def search(kind: str, request: Request, principal: Reader) -> Response:
        return found(kind, request, principal, request.query_params.multi_items())

    @routes.post("/{kind}/_search")
    async def search_by_form(kind: str, request: Request, principal: Reader) -> Response:
        if _media(request.headers.get("content-type", "")) != "application/x-www-form-urlencoded":
            raise Refused(415, "not-supported", "_search takes application/x-www-form-urlencoded")
        form = parse_qsl((await _bytes_in(request)).decode("utf-8", "replace"), keep_blank_values=True)
        parameters = [*request.query_params.multi_items(), *form]
        return await run_in_threadpool(found, kind, request, principal, parameters)

    @routes.post("/{kind}", dependencies=_WRITES, openapi_extra=TAKES_RESOURCE)
    async def create(kind: str, request: Request) -> Response:
        if "if-none-exist" in request.headers:
            raise Refused(400, "not-supported", "no conditional create: PUT under an id of your own")
        body = await resource_in(request)
        return _answer(request, await run_in_threadpool(endpoint.create, kind, body), 201)

    @routes.get("/{kind}/{key}")
    def read(kind: str, key: str, request: Request, principal: Reader) -> Response:
        resource = endpoint.read(kind, key)
        _may_see(request, principal, kind, resource)
        return _unless_known(request, resource)

    @routes.get("/{kind}/{key}/_history")
    def history(kind: str, key: str, request: Request, principal: Reader) -> Response:
        return _answer(request, _versions(endpoint, kind, key, request))

    @routes.get("/{kind}/{key}/_history/{version}")
    def vread(kind: str, key: str, version: str, request: Request, principal: Reader) -> Response:
        return _unless_known(request, endpoint.read(kind, key, version))

    @routes.put("/{kind}/{key}", dependencies=_WRITES, openapi_extra=TAKES_RESOURCE)
    async def update(kind: str, key: str, request: Request) -> Response:
        body = await resource_in(request)
        guards = request.headers.get("if-match", ""), request.headers.get("if-none-match", "")
        stored = await run_in_threadpool(endpoint.update, kind, key, body, *guards)
        return _answer(request, stored, 201 if stored["meta"]["versionId"] == "1" else 200)

    def found(
        kind: str, request: Request, principal: Principal, parameters: list[tuple[str, str]]
    ) -> Response:
        known(kind)
        asked, page = endpoint.search(kind, [*parameters, *_own_only(request, principal, kind)])
        shown: Search = asked._replace(asked=tuple(one for one in asked.asked if one in parameters))
        return _answer(request, searchset(shown, page, base_of(request)))

    return routes


def last_resort() -> APIRouter:
    """What no other route of ``/fhir`` answers, with an OperationOutcome too; to be included last."""
    routes = APIRouter(prefix="/fhir")
    why = [Depends(open_to_all("says only that there is no such interaction"))]

    @routes.api_route(
        "/{rest:path}",
        methods=["GET", "POST", "PUT", "PATCH", "DELETE"],
        dependencies=why,
        include_in_schema=False,
    )
    def nothing(rest: str, request: Request) -> Response:
        methods = sorted(_methods(request) - {"HEAD"})
        if not methods:
            raise Refused(404, "not-found", "there is nothing at this address")
        refusal = Refused(405, "not-supported", f"this address takes {', '.join(methods)} only")
        answer = _answer(request, refusal.outcome, 405)
        answer.headers["Allow"] = ", ".join(methods)
        return answer

    return routes


def refused(request: Request, fault: Exception) -> Response:
    """Turns :class:`Refused` into an OperationOutcome."""
    assert isinstance(fault, Refused)  # noqa: S101 - registered for this class only
    return Response(encode(fault.outcome), fault.status, media_type=FHIR_JSON)


def unavailable(request: Request, _fault: Exception) -> Response:
    """The database is locked, full or gone: 503, and nothing happened."""
    answer = refused(request, Refused(503, "transient", "the database takes nothing now; try again later"))
    answer.headers["Retry-After"] = "30"
    return answer


def base_of(request: Request) -> str:
    """The endpoint's own address as the caller spelled it."""
    return f"{request.url.scheme}://{request.url.netloc}/fhir"


async def resource_in(request: Request) -> Any:
    """The JSON in the body; raises :class:`Refused` for another type (415), too much (413), no JSON (400)."""
    header = request.headers.get("content-type", "")
    if _media(header) not in {"", *_JSON} or _version(header) not in ("", "4.0"):
        raise Refused(415, "not-supported", "resources are taken as application/fhir+json of FHIR 4.0")
    try:
        return decode(await _bytes_in(request))
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        raise Refused(400, "structure", "the body is not JSON") from None


async def _bytes_in(request: Request) -> bytes:
    size = 0
    parts = []
    async for part in request.stream():
        size += len(part)
        if size > MAX_BYTES:
            raise Refused(413, "too-long", "the body is too large")
        parts.append(part)
    return b"".join(parts)


def _answer(request: Request, resource: Json, status: int = 200) -> Response:
    """Raises :class:`Refused` (406) if the caller takes no JSON."""
    _acceptable(request)
    headers = {}
    meta = resource.get("meta", {})
    if "versionId" in meta:
        headers["ETag"] = f'W/"{meta["versionId"]}"'
        if moment := _moment(meta.get("lastUpdated")):
            headers["Last-Modified"] = format_datetime(moment, usegmt=True)
        if status == 201:
            location = f"{resource['resourceType']}/{resource['id']}/_history/{meta['versionId']}"
            headers["Location"] = f"/fhir/{location}"
    body = encode(resource)
    if request.query_params.get("_pretty") == "true":
        body = msgspec.json.format(body, indent=2)
    return Response(body, status, headers, media_type=FHIR_JSON)


def _unless_known(request: Request, resource: Json) -> Response:
    """The resource, or 304 if the caller has this version (https://hl7.org/fhir/R4/http.html#cread)."""
    answer = _answer(request, resource)
    versions = {etag(one) for one in request.headers.get("if-none-match", "").split(",") if one.strip()}
    since = _http_date(request.headers.get("if-modified-since", ""))
    moment = _moment(resource.get("meta", {}).get("lastUpdated"))
    unchanged = resource.get("meta", {}).get("versionId") in versions
    if not versions and since is not None and moment is not None:
        unchanged = moment < since + timedelta(seconds=1)  # the header has whole seconds only
    if not unchanged:
        return answer
    kept = {name: value for name, value in answer.headers.items() if name in ("etag", "last-modified")}
    return Response(status_code=304, headers=kept)


def _versions(endpoint: Endpoint, kind: str, key: str, request: Request) -> Json:
    """A history Bundle, newest first; a page goes on below the last version of the one before."""
    count, before = PAGE, None
    for name, value in request.query_params.multi_items():
        if name == "_count":
            count = max(1, page_size(value))
        elif name == "_before" and value.isascii() and value.isdigit():
            before = int(value[:18])
        elif name not in ("_format", "_pretty"):
            raise Refused(400, "not-supported", "a history takes _count only")
    found, total = endpoint.history(kind, key, count, before)
    here = f"{base_of(request)}/{kind}/{key}"
    links = [{"relation": "self", "url": f"{here}/_history?_count={count}"}]
    if found and int(found[-1]["meta"]["versionId"]) > 1:
        oldest = found[-1]["meta"]["versionId"]
        links.append({"relation": "next", "url": f"{here}/_history?_count={count}&_before={oldest}"})
    bundle: Json = {"resourceType": "Bundle", "type": "history", "total": total, "link": links}
    entries = [
        {
            "fullUrl": here,
            "resource": one,
            "request": {"method": "PUT", "url": f"{kind}/{key}"},
            "response": {
                "status": "201" if one["meta"]["versionId"] == "1" else "200",
                "etag": f'W/"{one["meta"]["versionId"]}"',
                "lastModified": one["meta"]["lastUpdated"],
            },
        }
        for one in found
    ]
    return {**bundle, "entry": entries} if entries else bundle


def _own_only(request: Request, principal: Principal, kind: str) -> list[tuple[str, str]]:
    """What else has to hold of what a principal may see: of the audit perhaps only what they did."""
    if kind != "AuditEvent":
        return []
    here = premises(request)
    reach = reaches(principal, "see-audit", here.study, here.site)
    if not reach & {"site", "dated", "own-actions"}:
        raise Denied(403, "your role does not allow this")
    return [] if reach & {"site", "dated"} else [("agent-name", principal.account)]


def _may_see(request: Request, principal: Principal, kind: str, resource: Json) -> None:
    mine = [account for _, account in _own_only(request, principal, kind)]
    if mine and [one.get("name") for one in resource["agent"]] != mine:
        raise Denied(404, f"no {kind} with this id or version")


def _operations(request: Request) -> list[tuple[str, str]]:
    """(resource type, name) of every operation that this application routes."""
    found = set()
    for path in request.app.openapi()["paths"]:
        parts = path.split("/")
        if path.startswith("/fhir/") and parts[-1].startswith("$"):
            found.add((parts[2], parts[-1][1:]))
    return sorted(found)


def _methods(request: Request) -> set[str]:
    """Which methods the other routes take at this address."""
    address = request.scope["path"]
    return {
        route.method
        for route in routes_of(request.app)
        if route.path.startswith("/fhir")
        and "{rest" not in route.path
        and compile_path(route.path)[0].match(address)
    }


def _acceptable(request: Request) -> None:
    chosen = request.query_params.get("_format")
    if chosen is not None:
        if _media(chosen) not in _FORMATS:
            raise Refused(406, "not-supported", "answers are application/fhir+json")
        return
    ranges = [one for one in request.headers.get("accept", "").split(",") if one.strip()]
    if ranges and not any(_media(one) in _READABLE and _version(one) in ("", "4.0") for one in ranges):
        raise Refused(406, "not-supported", "answers are application/fhir+json of FHIR 4.0")


def _media(header: str) -> str:
    return header.partition(";")[0].strip().lower()


def _version(header: str) -> str:
    parts = dict(part.strip().partition("=")[::2] for part in header.split(";")[1:])
    return parts.get("fhirVersion", "").strip('"').removesuffix(".1")


def _moment(text: object) -> datetime | None:
    try:
        return datetime.fromisoformat(str(text)).astimezone(UTC)
    except ValueError:
        return None


def _http_date(text: str) -> datetime | None:
    try:
        found = parsedate_to_datetime(text)
    except (ValueError, IndexError):
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)
