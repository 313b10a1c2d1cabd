"""Problem details for what is not FHIR: RFC 9457, ``application/problem+json``. They quote no content."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from fastapi import Request, Response

MEDIA = "application/problem+json"
_NAMES = "urn:trial-fhir-adapter:problem:"


class Problem(Exception):
    """An answer other than success; ``kind`` is a word for programs, ``detail`` is for people."""

    def __init__(
        self, status: int, kind: str, title: str, detail: str = "", headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(title)
        self.status = status
        self.kind = kind
        self.title = title
        self.detail = detail
        self.headers = dict(headers or {})


def answer(problem: Problem, request: Request) -> Response:
    """The problem as a response; ``instance`` is the path that was asked, without its query."""
    body = {"type": f"{_NAMES}{problem.kind}", "title": problem.title, "status": problem.status}
    if problem.detail:
        body["detail"] = problem.detail
    body["instance"] = request.scope["path"][:300].encode("utf-8", "replace").decode()
    headers = {"Cache-Control": "no-store", **problem.headers}
    return Response(msgspec.json.encode(body), problem.status, headers, media_type=MEDIA)
