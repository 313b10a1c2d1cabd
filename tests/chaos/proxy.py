"""A proxy on loopback between the adapter and a real server, by hand on sockets, because faults live there.

One proxy serves one schedule at a time and keeps its port: the ledger knows a server by its address. Absolute
links of the server are made to lead through the proxy. Each request is forwarded on a connection of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
import socket
import struct
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from email.utils import formatdate
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from tests.chaos.faults import FAULTS, Injection
from tests.chaos.sign_in import TOKEN_PATH, SignIn, encoded

JSON = "application/fhir+json"
LOGIN = b"<!DOCTYPE html><html><body><form action='/login'>Please sign in</form></body></html>"
OUTCOME = json.dumps(
    {
        "resourceType": "OperationOutcome",
        "issue": [{"severity": "error", "code": "processing", "diagnostics": "try later"}],
    }
).encode()
BOMB = gzip.compress(bytes(2**24))
NEVER = 3.0  # seconds: longer than the patience of a disturbed run
_AFTER = frozenset({"502 after", "reset after"})
_PAGES = frozenset({"pages doubled", "pages reordered", "paging loop", "total changed"})
_BODIES = _PAGES | {"truncated", "truncated unframed", "total timeout", "slow-loris"}


class Request(NamedTuple):
    method: str
    target: str
    headers: dict[str, str]
    body: bytes

    @property
    def kinds(self) -> tuple[str, ...]:
        path = urlsplit(self.target)
        for part, kind in (("/bulk-status/", "job"), ("/bulk-files/", "file")):
            if part in path.path:
                return ("any", "read", kind)
        if path.path == TOKEN_PATH:
            return ("any",)
        if self.method != "GET":
            return ("any", "write")
        return ("any", "read", "page") if path.query else ("any", "read")


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes = b""


class Gone(Exception):
    """Nothing more is said on this connection; ``reset`` ends it with RST."""

    def __init__(self, *, reset: bool) -> None:
        super().__init__()
        self.reset = reset


async def _nobody() -> None:
    return None


class Proxy:
    """``counts`` holds every fault that fired, ``requests`` how many came."""

    def __init__(self, upstream: str, folder: Path) -> None:
        self.lead(upstream)
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()
        self._at_work = 0
        self.sign_in = SignIn(folder / "token")
        self.port = 0
        self.requests = 0
        self.counts: Counter[str] = Counter()
        self.habits: frozenset[str] = frozenset()
        self.disturb()

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self.port}{self._path}"

    def lead(self, upstream: str) -> None:
        """Where requests are forwarded from now on, a base URL."""
        there = urlsplit(upstream)
        self._host, self._port = there.hostname or "", there.port or 80
        self._there = f"http://{there.netloc}".encode()
        self._path = there.path

    async def start(self) -> None:
        self._server = await asyncio.start_server(
            self._serve, "127.0.0.1", self.port, limit=2**22, reuse_address=True
        )
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        await self.idle()
        if self._server is not None:
            self._server.close()
        for one in list(self._open):
            one.close()

    def disturb(
        self,
        injections: Sequence[Injection] = (),
        *,
        kill: Callable[[], None] = lambda: None,
        person: Callable[[], Awaitable[None]] = _nobody,
    ) -> None:
        """What happens to the requests from now on, counted anew."""
        self._injections = tuple(injections)
        self._kill = kill
        self._person = person
        self._seen: Counter[str] = Counter()

    async def idle(self) -> None:
        """Wait until nothing is on its way any more, also what nobody waits for."""
        while self._at_work or self._server is None:
            await asyncio.sleep(0.01)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                while request := await _request(reader):
                    self._at_work += 1
                    try:
                        await self._handle(request, reader, writer)
                    finally:
                        self._at_work -= 1
        except Gone as gone:
            if gone.reset:
                linger = struct.pack("ii", 1, 0)
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        finally:
            self._open.discard(writer)
            writer.close()

    async def _handle(
        self, request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.requests += 1
        fault = self._due(request)
        if fault:
            self.counts[fault] += 1
        if fault == "read timeout":
            await _until_given_up(reader)
        answer = await self._answer(request, fault)
        if fault == "read timeout after":
            await _until_given_up(reader)
        await _send(writer, answer, fault)
        if fault == "kill before acknowledge":
            self._kill()

    def _due(self, request: Request) -> str:
        """The fault for this request; the first that is due wins."""
        due = ""
        for kind in request.kinds:
            self._seen[kind] += 1
            for one in self._injections:
                if one.on == kind and one.nth <= self._seen[kind] < one.nth + one.times:
                    due = due or one.fault
        return due

    async def _answer(self, request: Request, fault: str) -> Answer:
        if fault in ("token expired", "key rotated"):
            self.sign_in.expire(rotated=fault == "key rotated")
        path = urlsplit(request.target).path
        signing_in = self.sign_in.asked(path)
        if not signing_in and not self.sign_in.admits(request.headers.get("authorization", "")):
            return Answer(401, {"Content-Type": JSON}, OUTCOME)
        if not signing_in and self._closed(request):
            return Answer(403, {"Content-Type": JSON}, b'{"resourceType":"OperationOutcome","issue":[]}')
        instead = await self._instead(request, fault)
        if instead is not None:
            return instead
        if signing_in:
            status, said = self.sign_in.answer(path, request.body, f"http://127.0.0.1:{self.port}")
            return Answer(status, {"Content-Type": "application/json"}, encoded(said))
        if fault == "job deleted":
            await self._forward(request._replace(method="DELETE"))
        if fault == "person first":
            await self._person()
        if fault == "late":
            await asyncio.sleep(1.7)
        answering = asyncio.ensure_future(self._forward(request))
        if fault == "kill after send":
            await asyncio.sleep(0.002)
            self._kill()
        answer = await answering
        if fault in ("late", "kill after send"):
            raise Gone(reset=True)
        if fault in _AFTER:
            await self._lost(fault)
            return Answer(502, {"Content-Type": "text/html"}, b"<html>Bad Gateway</html>")
        return _page(answer, fault, self.base) if fault in _PAGES else answer

    def _closed(self, request: Request) -> bool:
        """Whether this server takes no such write."""
        about = b"ResearchSubject" in request.body
        closed = "closed" in self.habits or (about and "subject closed" in self.habits)
        return closed and request.method != "GET"

    async def _instead(self, request: Request, fault: str) -> Answer | None:
        """What is said without asking the server; None if it is asked."""
        if fault == "kill before send":
            self._kill()
            raise Gone(reset=True)
        if fault in ("reset before", "refused"):
            await self._lost(fault)
        if fault in ("500", "502", "503"):
            return Answer(int(fault), {"Content-Type": "text/plain"}, b"out of order")
        if fault.startswith("429"):
            return Answer(429, _retry_after(fault))
        if fault.startswith("clock"):
            theirs = time.time() + (600 if fault == "clock ahead" else -600)
            now, then = formatdate(theirs, usegmt=True), formatdate(theirs + 1, usegmt=True)
            return Answer(503, {"Date": now, "Retry-After": then})
        if fault in ("409", "412"):
            return Answer(int(fault), {"Content-Type": JSON}, OUTCOME)
        if fault == "job failed":
            return Answer(500, {"Content-Type": JSON}, OUTCOME)
        if fault == "file gone":
            return Answer(404, {"Content-Type": JSON}, OUTCOME)
        if fault == "gzip bomb":
            return Answer(200, {"Content-Type": JSON, "Content-Encoding": "gzip"}, BOMB)
        if fault == "login page":
            return Answer(200, {"Content-Type": "text/html"}, LOGIN)
        if fault == "outcome":
            return Answer(200, {"Content-Type": JSON}, OUTCOME)
        return None

    async def _lost(self, fault: str) -> None:
        if fault == "refused":
            if self._server is None:
                raise Gone(reset=True)
            self._server.close()
            self._server = None
            asyncio.get_running_loop().call_later(0.15, lambda: asyncio.ensure_future(self._reopen()))
            raise Gone(reset=True)
        if fault.startswith("reset"):
            raise Gone(reset=True)

    async def _reopen(self) -> None:
        await self.start()

    async def _forward(self, request: Request) -> Answer:
        reader, writer = await asyncio.open_connection(self._host, self._port, limit=2**22)
        here = self._there.replace(f"{self._host}:{self._port}".encode(), f"127.0.0.1:{self.port}".encode())
        body = request.body.replace(here, self._there)
        headers = {**request.headers, "host": f"{self._host}:{self._port}", "connection": "close"}
        for name in ("accept-encoding", "authorization", "content-length", "transfer-encoding"):
            headers.pop(name, None)
        if body or request.method in ("POST", "PUT"):
            headers["content-length"] = str(len(body))
        head = f"{request.method} {request.target} HTTP/1.1\r\n"
        head += "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        try:
            writer.write(head.encode() + b"\r\n" + body)
            await writer.drain()
            return self._here(await _read_answer(reader), here)
        finally:
            writer.close()

    def _here(self, answer: Answer, here: bytes) -> Answer:
        headers = {
            name: value.replace(self._there.decode(), here.decode()) for name, value in answer.headers.items()
        }
        body = answer.body.replace(self._there, here)
        body = body.replace(b'"requiresAccessToken":false', b'"requiresAccessToken":true')  # here it does
        if "one by one" in self.habits and b'"CapabilityStatement"' in body:
            said = json.loads(body)
            said["rest"][0]["interaction"] = []
            body = json.dumps(said).encode()
        return Answer(answer.status, headers, body)


def _retry_after(fault: str) -> dict[str, str]:
    said = {
        "429 seconds": "1",
        "429 date": formatdate(time.time() + 1, usegmt=True),
        "429 absurd": "99999999999999999999",
    }.get(fault)
    return {"Date": formatdate(time.time(), usegmt=True)} | ({"Retry-After": said} if said else {})


def _page(answer: Answer, fault: str, base: str) -> Answer:
    """The page as a server would give it that cannot count."""
    try:
        page: Any = json.loads(answer.body)
        entries = page.get("entry", [])
    except (ValueError, AttributeError):
        return answer
    if fault == "pages doubled":
        page["entry"] = [one for entry in entries for one in (entry, entry)]
    elif fault == "pages reordered":
        page["entry"] = entries[::-1]
    elif fault == "total changed":
        page["total"] = len(entries) + 7
    elif fault == "paging loop":
        own = next((one["url"] for one in page.get("link", []) if one.get("relation") == "self"), "")
        kept = [one for one in page.get("link", []) if one.get("relation") != "next"]
        page["link"] = [*kept, {"relation": "next", "url": own or f"{base}/Patient?_loop=1"}]
    return Answer(answer.status, answer.headers, json.dumps(page).encode())


async def _send(writer: asyncio.StreamWriter, answer: Answer, fault: str) -> None:
    headers = dict(answer.headers)
    if fault != "truncated unframed":
        headers["Content-Length"] = str(len(answer.body))
    head = f"HTTP/1.1 {answer.status} Said\r\n"
    head += "".join(f"{name}: {value}\r\n" for name, value in headers.items()) + "\r\n"
    whole = head.encode() + answer.body
    if fault not in _BODIES - _PAGES:
        writer.write(whole)
        await writer.drain()
        return
    if fault.startswith("truncated"):
        writer.write(whole[: len(head) + len(answer.body) // 2])
        await writer.drain()
        raise Gone(reset=False)
    sent = 0 if fault == "slow-loris" else len(head)
    writer.write(whole[:sent])
    ends = time.monotonic() + NEVER
    while time.monotonic() < ends and sent < len(whole) - 1:
        writer.write(whole[sent : sent + 1])
        await writer.drain()
        sent += 1
        await asyncio.sleep(0.05)
    raise Gone(reset=False)


async def _until_given_up(reader: asyncio.StreamReader) -> None:
    """Say nothing until the other side hangs up."""
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(reader.read(1), NEVER)
    raise Gone(reset=False)


async def _head(reader: asyncio.StreamReader) -> tuple[str, dict[str, str]]:
    raw = await reader.readuntil(b"\r\n\r\n")
    first, *lines = raw.decode("latin-1").strip().split("\r\n")
    pairs = (line.partition(":") for line in lines)
    return first, {name.strip().lower(): value.strip() for name, _, value in pairs}


async def _request(reader: asyncio.StreamReader) -> Request | None:
    try:
        first, headers = await _head(reader)
    except asyncio.IncompleteReadError:
        return None
    method, target, _ = first.split(" ", 2)
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Request(method, target, headers, body)


async def _read_answer(reader: asyncio.StreamReader) -> Answer:
    first, headers = await _head(reader)
    status = int(first.split(" ")[1])
    if status == 100:
        return await _read_answer(reader)
    if headers.pop("transfer-encoding", "").lower() == "chunked":
        body = bytearray()
        while size := int((await reader.readline()).split(b";")[0], 16):
            body += await reader.readexactly(size)
            await reader.readline()
        content = bytes(body)
    elif "content-length" in headers:
        content = await reader.readexactly(int(headers["content-length"])) if status != 204 else b""
    else:
        content = await reader.read()
    for name in ("content-length", "connection", "keep-alive"):
        headers.pop(name, None)
    return Answer(status, headers, content)


assert FAULTS.keys() >= _AFTER | _BODIES
