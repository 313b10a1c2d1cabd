"""A file or a body on its way: ETag, ranges, digest (RFC 9110, RFC 9530), and the audit's row before it."""

from __future__ import annotations

import base64
import mimetypes
from pathlib import Path
from typing import Any, Protocol

from fastapi import Request, Response

from adapter.web.problem import Problem
from adapter.web.sponsor import representation
from adapter.web.sponsor.delivery import Delivery
from adapter.web.sponsor.made import Made

_MEDIA = {
    ".csv": "text/csv; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".json": "application/json",
    ".ndjson": "application/x-ndjson",
    ".parquet": "application/vnd.apache.parquet",
    ".xml": "application/xml",
    ".xpt": "application/octet-stream",
    ".xsl": "application/xslt+xml",
}


class Call(Protocol):
    """A request of somebody known; ``note`` puts what is answered into the audit."""

    request: Request

    def note(self, status: int, size: int, **more: Any) -> None: ...


def delivered(call: Call, made: Made, path: str, packing: str) -> Response:
    """A file whose hash is known, or the part of it that was asked for; closed when sent. ``packing`` is its
    Content-Encoding, "" for none. Raises :class:`Problem` for 412 and 416."""
    opened, sha256 = made
    tag = f'"{sha256}"'
    head = call.request.method == "HEAD"
    found = representation.answer(call.request.headers, tag, opened.size, head=head)
    headers = _headers(tag, packing)
    more: dict[str, Any] = {"encoding": packing} if packing else {}
    try:
        if found.status in (304, 412, 416):
            refused = _bodiless(call, found.status, headers, opened.size)
            opened.close()
            return refused
        ending = Path(path).suffix
        media = _MEDIA.get(ending) or mimetypes.guess_type(path)[0] or "application/octet-stream"
        headers["Content-Length"] = str(found.end - found.first)
        headers["Content-Disposition"] = f'attachment; filename="{Path(path).name}"'
        headers["Repr-Digest"] = f"sha-256=:{base64.b64encode(bytes.fromhex(sha256)).decode()}:"
        if found.status == 206:
            headers["Content-Range"] = f"bytes {found.first}-{found.end - 1}/{opened.size}"
            more["range"] = [found.first, found.end]
        end = found.first if head else found.end
        call.note(found.status, end - found.first, **more)
    except BaseException:
        opened.close()
        raise

    def cut_short(sent: int) -> None:
        call.note(found.status, sent, cut_short=True, **more)

    return Delivery(opened, (found.first, end), found.status, headers, media, cut_short)


def _bodiless(call: Call, status: int, headers: dict[str, str], size: int) -> Response:
    """304 by itself; 412 and 416 as problems."""
    if status == 304:
        call.note(304, 0)
        return Response(status_code=304, headers=headers)
    if status == 412:
        raise Problem(412, "other-version", "If-Match names another version")
    raise Problem(
        416, "range", "The file has no such bytes", f"It has {size}.", {"Content-Range": f"bytes */{size}"}
    )


def conditional(call: Call, body: bytes, sha256: str, media: str) -> Response:
    """A body in memory, under its hash as ETag."""
    tag = f'"{sha256}"'
    found = representation.answer(call.request.headers, tag, len(body), head=True)
    headers = _headers(tag, "")
    if found.status != 200:
        return _bodiless(call, found.status, headers, len(body))
    call.note(200, 0 if call.request.method == "HEAD" else len(body))
    return Response(body, 200, headers, media_type=media)


def _headers(tag: str, packing: str) -> dict[str, str]:
    headers = {
        "ETag": tag,
        "Cache-Control": "private, no-cache",
        "Vary": "Accept-Encoding",
        "Accept-Ranges": "bytes",
    }
    return {**headers, "Content-Encoding": packing} if packing else headers
