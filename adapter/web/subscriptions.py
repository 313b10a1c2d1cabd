"""Where a hospital's subscriptions arrive: prove who you are, be kept on disk, then get your 2xx.

``POST /subscriptions/{channel}`` takes every form of message; a classic subscription with a payload may
also PUT or DELETE ``/subscriptions/{channel}/{Type}/{id}``. What arrives is only ever a reason to read the
hospital again (:mod:`adapter.model.notification`). Nothing tells a stranger whether a channel exists.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from datetime import UTC, datetime

from fastapi import APIRouter, Depends, Request, Response
from starlette.concurrency import run_in_threadpool

from adapter.config import Channel
from adapter.errors import SourceUntrustworthy, StoreUnavailable
from adapter.source.notifications import is_signed, read_notification, read_path
from adapter.store.inbox import Inbox
from adapter.web.access import open_to_all
from adapter.web.interactions import Clock, Refused

MAX_BYTES = 20_000_000


def router(
    inbox: Inbox,
    channels: Mapping[str, Channel],
    base_url: str,
    clock: Clock = lambda: datetime.now(UTC),
) -> APIRouter:
    """The routes for a site's channels; raises :class:`ConfigError` for a channel that proves nothing.

    ``base_url`` is the hospital's FHIR base: only references there are its own.
    """
    secrets = {name: channel.secrets(name) for name, channel in channels.items()}
    proven = Depends(open_to_all("the channel's own secret proves the sender"))
    routes = APIRouter(prefix="/subscriptions", dependencies=[proven])

    @routes.post("/{channel}")
    async def message(channel: str, request: Request) -> Response:
        body = await _proven(request, secrets.get(channel))
        deleted = request.headers.get("x-medplum-deleted-resource", "")
        return await run_in_threadpool(keep, channel, body, deleted)

    @routes.put("/{channel}/{kind}/{key}")
    @routes.delete("/{channel}/{kind}/{key}")
    async def payload(channel: str, kind: str, key: str, request: Request) -> Response:
        await _proven(request, secrets.get(channel))
        return await run_in_threadpool(keep, channel, b"", f"{kind}/{key}")

    def keep(channel: str, body: bytes, named: str) -> Response:
        """200 for a message, 202 for one we could not read: then we look for ourselves. An error would make
        some servers end the subscription, and nothing would come any more."""
        now = clock()
        try:
            told = read_path(named) if named else read_notification(body, base_url)
        except SourceUntrustworthy:
            told = None
        try:
            if told is None:
                inbox.sweep(channel, now)
            else:
                inbox.receive(channel, told, now)
        except StoreUnavailable:
            raise Refused(503, "transient", "it could not be kept; send it again") from None
        return Response(status_code=202 if told is None else 200)

    return routes


async def _proven(request: Request, secrets: tuple[bytes, bytes] | None) -> bytes:
    """The body, once header and signature are right; raises :class:`Refused`."""
    header, key = secrets or (b"", b"")
    given = request.headers.get("authorization", "").encode()
    proven = secrets is not None and (not header or hmac.compare_digest(given, header))
    body = await _body(request) if proven else b""
    if not proven or (key and not is_signed(body, request.headers.get("x-signature", ""), key)):
        raise Refused(401, "login", "this message does not prove where it comes from")
    return body


async def _body(request: Request) -> bytes:
    size = 0
    parts = []
    async for part in request.stream():
        size += len(part)
        if size > MAX_BYTES:
            raise Refused(413, "too-long", "the message is too large; send ids only")
        parts.append(part)
    return b"".join(parts)
