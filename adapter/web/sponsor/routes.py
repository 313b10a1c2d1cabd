"""``/sponsor``: the routes. Every request is in the audit before its first byte leaves, the refused ones too.

GET only, and PUT of a receipt. Whatever is outside a token's study, site and profile is not there (404).
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from fastapi import APIRouter, Depends, Request, Response
from fastapi.routing import APIRoute
from sqlalchemy import Engine
from starlette.concurrency import run_in_threadpool

from adapter.errors import StoreUnavailable
from adapter.web.access import open_to_all
from adapter.web.problem import Problem, answer
from adapter.web.sponsor.desk import Desk

Clock = Callable[[], datetime]
_MOST = 4096
_PROVEN = Depends(open_to_all("a sponsor's own token proves who asks, in adapter/web/sponsor/asker.py"))


class _Receipt(msgspec.Struct):
    manifest_sha256: str


class _Route(APIRoute):
    """Problems of these routes are problem+json, also a database that is busy."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        usual = super().get_route_handler()

        async def handler(request: Request) -> Response:
            try:
                return await usual(request)
            except Problem as problem:
                return answer(problem, request)
            except StoreUnavailable:
                busy = Problem(
                    503, "busy", "Not now", "The site's database takes nothing now.", {"Retry-After": "30"}
                )
                return answer(busy, request)

        return handler


class Folders(NamedTuple):
    """Where the snapshots lie, and a folder for what is made of them on demand."""

    snapshots: Path
    made: Path


def router(folders: Folders, database: Engine, clock: Clock = lambda: datetime.now(UTC)) -> APIRouter:
    """The routes under ``/sponsor``."""
    desk = Desk(folders.snapshots, folders.made, database, clock)
    routes = APIRouter(prefix="/sponsor", route_class=_Route, dependencies=[_PROVEN])

    @routes.get("/snapshots")
    def listed(request: Request) -> Response:
        return desk.listed(request)

    @routes.api_route("/snapshots/{name}/manifest", methods=["GET", "HEAD"])
    def manifest(request: Request, name: str) -> Response:
        return desk.manifest(request, name)

    @routes.get("/snapshots/{name}/difference")
    def difference(request: Request, name: str, since: str = "") -> Response:
        return desk.difference(request, name, since)

    @routes.put("/snapshots/{name}/receipt")
    async def receipt(request: Request, name: str) -> Response:
        body = await _body(request)
        try:
            said = msgspec.json.decode(body, type=_Receipt).manifest_sha256
        except msgspec.MsgspecError:
            said = ""
        return await run_in_threadpool(desk.receipt, request, name, said)

    @routes.api_route("/snapshots/{name}/files/{path:path}", methods=["GET", "HEAD"])
    def file(request: Request, name: str, path: str) -> Response:
        return desk.file(request, name, path)

    @routes.api_route("/{rest:path}", methods=["GET", "HEAD", "PUT", "POST", "PATCH", "DELETE"])
    def nothing(request: Request, rest: str) -> Response:
        return desk.nothing(request)

    return routes


async def _body(request: Request) -> bytes:
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > _MOST:
            raise Problem(413, "too-large", "A receipt is small")
        parts.append(part)
    return b"".join(parts)
