"""Every request counted, timed and logged by its route as declared: never by the path that was sent."""

from __future__ import annotations

import secrets
import time
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Histogram
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from adapter.logs import log

# Seconds; 0.3 is the limit that a CDS service is held to, the others are halves and doubles about it.
BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.15, 0.3, 0.6, 1.2, 2.5, 5.0, 10.0)
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class Requests:
    """ASGI middleware. Each request gets a random number, in its log line and its answer (X-Request-ID), by
    which a person may ask about it."""

    def __init__(self, app: ASGIApp, registry: CollectorRegistry) -> None:
        self._app = app
        labels = ("method", "route", "status")
        self._count = Counter("adapter_http_requests", "Requests answered.", labels, registry=registry)
        self._seconds = Histogram(
            "adapter_http_request_seconds",
            "Time to answer.",
            ("method", "route"),
            buckets=BUCKETS,
            registry=registry,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        number, began, status = secrets.token_hex(8), time.monotonic(), 500

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), (b"x-request-id", number.encode())]
            await send(message)

        fault = ""
        try:
            await self._app(scope, receive, answer)
        except Exception as problem:
            fault = type(problem).__name__
            raise
        finally:
            self._tell(scope, status, time.monotonic() - began, number, fault)

    def _tell(self, scope: Scope, status: int, seconds: float, number: str, fault: str) -> None:
        method = scope["method"] if scope["method"] in _METHODS else "other"
        route = route_of(scope)
        self._count.labels(method, route, str(status)).inc()
        self._seconds.labels(method, route).observe(seconds)
        told = {"method": method, "route": route, "status": status, "request": number}
        if fault:
            log().error("request failed", fault=fault, **told)
        else:
            log().info("request", milliseconds=round(seconds * 1000), **told)


def route_of(scope: Scope) -> str:
    """The path as the route declares it (``/patients/{key}``), "static", or "none" for a path nobody has."""
    route: Any = scope.get("route")
    path = getattr(route, "path_format", None) or getattr(route, "path", None)
    if not path:
        return "static" if scope.get("path", "").startswith("/static/") else "none"
    return str(scope.get("root_path", "")) + str(path)
